"""otad-device against a real Mosquitto with TLS and a small HTTPS server, both started here on free ports.

Run: python3 -m pytest plugins/esp32/tests   (OTAD_DEVICE names the program, default build/otad-device)
"""

import base64
import contextlib
import ctypes
import ctypes.util
import hashlib
import http.server
import json
import os
import pathlib
import queue
import re
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time

import paho.mqtt.client
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "tests" / "lib"))

from ports import free_port  # noqa: E402

DEVICE = os.environ.get("OTAD_DEVICE", str(pathlib.Path(__file__).parents[3] / "build" / "otad-device"))
SIZE = 400_000
sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
sodium.sodium_init()


class Key:
    def __init__(self):
        public, self.secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        sodium.crypto_sign_keypair(public, self.secret)
        self.public = public.raw
        self.name = hashlib.sha256(self.public).hexdigest()[:8]

    def sign(self, message):
        signature = ctypes.create_string_buffer(64)
        sodium.crypto_sign_detached(signature, None, message, ctypes.c_ulonglong(len(message)), self.secret)
        return base64.b64encode(signature.raw).decode()


def image(version, seed, secure_version=0):
    head = bytearray(288)
    head[0], head[1] = 0xE9, 3
    head[0x20:0x28] = (0xABCD5432).to_bytes(4, "little") + secure_version.to_bytes(4, "little")
    head[0x30:0x50] = version.encode().ljust(32, b"\0")
    head[0xB0:0xD0] = bytes([seed]) * 32
    return bytes(head) + bytes((i * 7 + seed) & 255 for i in range(SIZE - 288))


OLD, NEW = image("1.2.0", 1), image("dd8478c", 2)


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


class Files(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body, start = self.server.body, 0
        self.server.requests.append(self.headers.get("Range"))
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if match:
            start = int(match[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:])

    def log_message(self, *arguments):
        pass


class Place:
    """A broker, a file server and the keys; one device with id 42, and a client that hears what it says."""

    def __init__(self, folder):
        self.folder = folder
        self.manifest_key, self.release_key = Key(), Key()
        self.mqtts, self.mqtt = free_port(), free_port()
        openssl(folder, "req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj",
                "/CN=test ca", "-days", "2")
        openssl(folder, "req", *NEW_KEY, "-keyout", "server.key", "-out", "server.csr", "-subj",
                "/CN=localhost")
        (folder / "ext").write_text("subjectAltName=DNS:localhost\n")
        openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                "server.pem", "-days", "2", "-extfile", "ext")
        (folder / "passwords").write_text("device-42:secret\nserver:secret\n")
        subprocess.run(["mosquitto_passwd", "-U", str(folder / "passwords")], check=True, capture_output=True)
        os.chmod(folder / "passwords", 0o644)
        (folder / "mosquitto.conf").write_text(
            f"per_listener_settings false\npassword_file {folder}/passwords\nallow_anonymous false\nuser root\n"
            f"listener {self.mqtt} 127.0.0.1\nlistener {self.mqtts} 127.0.0.1\ncertfile {folder}/server.pem\n"
            f"keyfile {folder}/server.key\n")
        self.start_broker()
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
        self.http.body, self.http.requests = NEW, []
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.http.socket = tls.wrap_socket(self.http.socket, server_side=True)
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        self.messages = queue.Queue()
        self.marks = queue.Queue()
        self.seen = []
        self.client = paho.mqtt.client.Client()
        self.client.username_pw_set("server", "secret")
        self.client.on_connect = lambda c, u, f, code: c.subscribe([(f"device/42/{topic}", 1) for topic in
                                                                            ("status", "logs", "mark")])
        self.client.on_message = self.on_message
        self.clears = False  # the offer, as soon as it is confirmed
        self.client.reconnect_delay_set(0.2, 0.2)
        self.client.connect("127.0.0.1", self.mqtt)
        self.client.loop_start()
        self.register()
        (folder / "old.bin").write_bytes(OLD)

    def start_broker(self):
        self.broker = subprocess.Popen(["/usr/sbin/mosquitto", "-c", str(self.folder / "mosquitto.conf")],
                                       stderr=subprocess.DEVNULL)
        for _ in range(600):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.mqtt)) == 0:
                    return
            assert self.broker.poll() is None, "Mosquitto does not start"
            time.sleep(0.05)
        raise AssertionError("Mosquitto does not listen")

    def on_message(self, client, userdata, message):
        if message.topic.endswith("/mark"):
            self.marks.put(message.payload.decode())
            return
        self.messages.put((message.topic, message.payload))
        if self.clears and b'"state":"confirmed"' in message.payload:
            client.publish("device/42/ota", "", 1, retain=True)

    def register(self, host="localhost", port=None, tls=True, ca=...):
        (self.folder / "registration.json").write_text(json.dumps({
            "device": {"id": 42, "chip": "esp32", "device_code": "bench-1"},
            "credentials": {"username": "device-42", "password": "secret", "client_id": "device-42"},
            "mqtt": {"host": host, "port": port or self.mqtts, "tls": tls,
                     "ca": (self.folder / "ca.pem").read_text() if ca is ... else ca,
                     "topics": {"status": "device/42/status", "ota": "device/42/ota", "logs": "device/42/logs"}},
            "keys": {"manifest": base64.b64encode(self.manifest_key.public).decode(),
                     "release": [base64.b64encode(self.release_key.public).decode()]}}))

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()
        self.broker.terminate()
        self.broker.wait()
        self.http.shutdown()

    def offer(self, update_id, version="1.3.0", body=NEW, release_key=None, **other):
        digest = hashlib.sha256(body).hexdigest()
        manifest = {"action": "install", "update_id": update_id, "device_id": 42, "version": version, "chip": "esp32",
                    "size": len(body), "sha256": digest, "elf_sha256": body[0xB0:0xD0].hex(),
                    "url": f"https://localhost:{self.http.server_port}/ota/token",
                    "release_signature": (release_key or self.release_key).sign(
                        f"otad-firmware-1\nesp32\n{version}\n{digest}\n".encode()),
                    "release_key": self.release_key.name, "issued_at": int(time.time()),
                    "expires_at": int(time.time()) + 600}
        text = json.dumps(manifest | other)
        self.publish(json.dumps({"manifest": text, "signature": self.manifest_key.sign(text.encode()),
                                 "key": self.manifest_key.name}))

    def publish(self, text):
        self.client.publish("device/42/ota", text, 1, retain=True).wait_for_publish()

    def device(self, *arguments):
        return [DEVICE, "--config", str(self.folder / "registration.json"), "--state", str(self.folder / "state"),
                "--initial", str(self.folder / "old.bin"), "--backoff", "100ms", *arguments]

    def run(self, *arguments, timeout=120):
        return subprocess.run(self.device(*arguments), capture_output=True, text=True, timeout=timeout)

    def hear(self):
        """Waits for what the broker has been told by now."""
        mark, end = secrets.token_hex(8), time.monotonic() + 60
        while True:  # again, for a broker that was away forgets
            self.client.publish("device/42/mark", mark, 1)
            with contextlib.suppress(queue.Empty):
                while self.marks.get(timeout=2) != mark:
                    pass
                return
            assert time.monotonic() < end, "the broker does not answer"

    def statuses(self, until=lambda found: found and found[-1]["status"] == "offline"):
        """What the device has published to its status topic since the last call, once until(that) holds; a device that
        ended said that it is offline, or its will does."""
        found, end = [], time.monotonic() + 60
        while True:
            self.hear()
            while not self.messages.empty():
                topic, payload = self.messages.get()
                if topic.endswith("/status"):
                    found.append(json.loads(payload))
                else:
                    self.seen.append(json.loads(payload)["message"])
            if until(found):
                return found
            assert time.monotonic() < end, found
            time.sleep(0.05)


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.close()


def test_update_over_tls(place):
    place.offer(17)
    done = place.run("--exit-when-confirmed", "--metric", "temperature=21.5")
    assert done.returncode == 0, done.stdout + done.stderr
    statuses = place.statuses()
    states = [s["ota"]["state"] for s in statuses if "ota" in s]
    assert list(dict.fromkeys(states)) == ["accepted", "downloading", "verifying", "rebooting", "confirmed"]
    confirmed = next(s for s in statuses if s.get("ota", {}).get("state") == "confirmed")
    assert confirmed["firmware_version"] == "1.3.0" and confirmed["elf_sha256"] == "02" * 32
    assert confirmed["battery"] == 87 and confirmed["temperature"] == 21.5 and confirmed["chip"] == "esp32"
    assert confirmed["ota"] == {"update_id": 17, "state": "confirmed", "progress": 100, "error": None}
    assert statuses[-1] == {"status": "offline", "session": confirmed["session"]}
    assert "downloading 1.3.0" in place.seen
    assert (place.folder / "state" / "slot1").read_bytes() == NEW


def test_repeats_until_cleared(place):
    place.offer(17)
    assert place.run("--exit-when-confirmed").returncode == 0
    place.statuses()
    with subprocess.Popen(place.device("--heartbeat", "1s"), stdout=subprocess.DEVNULL) as device:
        before = place.statuses(lambda found: len(found) >= 2)
        place.publish("")
        after = place.statuses(lambda found: found and "ota" not in found[-1])
        device.terminate()
        assert device.wait(60) == 0
    assert all(s["ota"]["state"] == "confirmed" for s in before)
    assert after[-1]["firmware_version"] == "1.3.0"


def test_goodbye_is_the_last_word(place):
    place.clears = True
    place.offer(17)
    assert place.run("--exit-when-confirmed").returncode == 0
    statuses = place.statuses()
    assert statuses[-1]["status"] == "offline" and statuses[-1]["session"] == statuses[-2]["session"]


def test_killed_during_the_download_it_resumes(place):
    place.offer(17)
    for limit in (150_000, 100_000):
        assert place.run("--die-after-bytes", str(limit)).returncode == 137
    assert place.statuses()[-1]["status"] == "offline"  # the last will
    assert place.run("--exit-when-confirmed").returncode == 0
    starts = [int(r[6:-1]) if r else 0 for r in place.http.requests]
    assert starts[0] == 0 and 80_000 < starts[1] <= 150_000 and starts[1] < starts[2] <= 250_000


def test_the_rate_is_kept_from_the_first_byte(place):
    """curl's own limit let 1 MiB at 200 kB/s through in half a second."""
    place.offer(17)
    began = time.monotonic()
    done = place.run("--max-rate", str(SIZE // 4), "--exit-when-confirmed")
    assert done.returncode == 0, done.stdout
    assert time.monotonic() - began > 3.9


def test_crash_after_boot_rolls_back(place):
    place.offer(17)
    done = place.run("--exit-when-confirmed", "--crash-after-boot", "1")
    assert done.returncode == 1
    last = place.statuses()[-2]
    assert last["ota"]["state"] == "rolled_back" and last["firmware_version"] == "1.2.0"


@pytest.mark.parametrize("how, why", [("fail", "the self-test failed"), ("crash", "the new image did not start")])
def test_selftest(place, how, why):
    place.offer(17)
    assert place.run("--exit-when-confirmed", "--selftest", how).returncode == 1
    assert place.statuses()[-2]["ota"] == {"update_id": 17, "state": "rolled_back", "progress": 0, "error": why}


@pytest.mark.parametrize("body, why", [(NEW[:-1] + b"!", "image has another SHA-256"),
                                       (NEW + b"more", "image longer than declared")], ids=["changed", "longer"])
def test_wrong_bytes(place, body, why):
    place.http.body = body
    place.offer(17)
    assert place.run("--exit-when-confirmed").returncode == 1
    assert place.statuses()[-2]["ota"]["error"] == why


def test_stolen_manifest_key(place):
    place.offer(17, release_key=Key())
    assert place.run("--exit-when-confirmed").returncode == 1
    assert place.statuses()[-2]["ota"] == {"update_id": 17, "state": "rejected", "progress": 0,
                                           "error": "wrong release signature"}
    assert place.http.requests == []


def test_older_secure_version(place):
    (place.folder / "old.bin").write_bytes(image("1.2.0", 1, secure_version=3))
    place.offer(17)
    assert place.run("--exit-when-confirmed").returncode == 1
    assert "secure version too small" in place.statuses()[-2]["ota"]["error"]


def test_rollback_action(place):
    place.offer(17)
    assert place.run("--exit-when-confirmed").returncode == 0
    place.offer(18, version="1.2.0", body=OLD, action="rollback")
    with subprocess.Popen(place.device("--exit-when-confirmed"), stdout=subprocess.PIPE, text=True) as device:
        assert device.wait(30) == 0
    assert place.statuses()[-2]["firmware_version"] == "1.2.0" and len(place.http.requests) == 1


def other_certificate(place, name):
    openssl(place.folder, "req", "-x509", *NEW_KEY, "-keyout", "other.key", "-out", "other.pem",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-days", "2")
    return (place.folder / "other.pem").read_text()


@pytest.mark.parametrize("wrong", ["host", "ca", "garbage", "none"])
def test_a_broker_that_is_not_the_one_meant_is_refused(place, wrong):
    """The broker's certificate is for localhost and by the CA of the registration."""
    if wrong == "host":
        place.register(host="127.0.0.1")
    else:
        place.register(ca={"ca": other_certificate(place, "test ca"), "garbage": "no certificate", "none": None}[wrong])
    place.offer(17)
    with subprocess.Popen(place.device("--connect-limit", "1s"), stdout=subprocess.PIPE, text=True) as device:
        limit = threading.Timer(60, device.kill)
        limit.start()
        said = []
        for line in device.stdout:
            said.append(line.split(": ", 1)[1].strip())
            if said[-1].startswith("mqtt: "):
                device.terminate()
        limit.cancel()
    assert any(line.startswith("mqtt: ") for line in said)
    assert "connected" not in said and "offer received" not in said
    assert place.statuses(lambda found: True) == []


def test_a_broker_that_never_answers_the_subscription_is_left(place):
    """Takes CONNECT, says nothing more: the device must not wait for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(60)
        place.register(host="127.0.0.1", port=listener.getsockname()[1], tls=False)
        with subprocess.Popen(place.device("--connect-limit", "500ms"), stdout=subprocess.PIPE, text=True) as device:
            open_ones = []
            try:
                for _ in range(3):
                    connection, _ = listener.accept()
                    open_ones.append(connection)
                    connection.recv(1000)
                    connection.sendall(b"\x20\x02\x00\x00")
            finally:
                device.terminate()
                for connection in open_ones:
                    connection.close()
            assert device.wait(60) == 0
            assert "connected" not in [line.split(": ", 1)[1].strip() for line in device.stdout]


def test_wrong_host_name_of_the_file_server(place):
    place.offer(17, url=f"https://127.0.0.1:{place.http.server_port}/ota/token")
    assert place.run("--exit-when-confirmed", "--retries", "1").returncode == 1
    assert place.statuses()[-2]["ota"]["state"] == "failed"
    assert place.http.requests == []


def test_foreign_certificate_of_the_file_server(place):
    other_certificate(place, "localhost")
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    other.body, other.requests = NEW, []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(place.folder / "other.pem", place.folder / "other.key")
    other.socket = tls.wrap_socket(other.socket, server_side=True)
    threading.Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
    place.offer(17, url=f"https://localhost:{other.server_port}/ota/x")
    assert place.run("--exit-when-confirmed", "--retries", "1").returncode == 1
    assert "certificate" in place.statuses()[-2]["ota"]["error"]
    assert other.requests == []
    other.shutdown()


def test_broker_restart(place):
    with subprocess.Popen(place.device("--exit-when-confirmed", "--heartbeat", "1s"), stdout=subprocess.PIPE,
                          text=True) as device:
        first = place.statuses(lambda found: found)[-1]["session"]
        place.broker.terminate()
        place.broker.wait()
        time.sleep(1)
        place.start_broker()
        place.statuses(lambda found: any(s["session"] != first for s in found))  # a new one each connection
        place.offer(17)
        assert device.wait(60) == 0


def test_usage():
    assert subprocess.run([DEVICE, "--help"], capture_output=True).returncode == 0
    assert subprocess.run([DEVICE], capture_output=True).returncode == 2
    assert subprocess.run([DEVICE, "--selftest", "maybe"], capture_output=True).returncode == 2
