"""Firmware reaching build/otad-device through the whole system: power cuts, images that fail, and what was tampered with.

Between device and server stands a small HTTP server (public_url points at it) that passes requests on and can spoil the
answers; offers are tampered with by publishing in otad's own name.
"""
import http.server
import json
import subprocess
import threading
import time

import httpx
import paho.mqtt.client as mqtt
import pytest

import make_image
from accounts import Account
from devices import Device, wait_for
from system import BUILD, ROOT
from test_firmware import stored, upload
from test_updates import cleared, newest, started

SIZE = 262144
REAL = ROOT.parent / "shared/firmware"


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes GET and HEAD on; server.spoil(body) makes what the device gets of it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        headers = {name: self.headers[name] for name in ("Range", "If-Range") if name in self.headers}
        answer = httpx.request(self.command, self.server.target + self.path, headers=headers, timeout=30)
        body = self.server.spoil(answer.content)
        self.send_response(answer.status_code)
        for name in ("ETag", "Content-Range", "Accept-Ranges", "Content-Type"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(body)) if self.command == "GET" else answer.headers["Content-Length"])
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def proxy():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.spoil = bytes
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def system(start_otad, proxy):
    system = start_otad(OTAD_PUBLIC_URL=f"http://127.0.0.1:{proxy.server_port}", OTAD_UPDATE_OFFER_TTL="1h")
    proxy.target = system.url
    return system


@pytest.fixture(scope="module")
def owner(system):
    return Account(system, role="operator")


class Simulated:
    """A registered device and its otad-device program, which keeps slots and record in a directory."""

    def __init__(self, system, owner, place, **fields):
        self.device = Device(system, owner, **fields)
        self.id, self.account, self.system = self.device.id, owner, system
        self.place = place
        self.registration = place / "registration.json"
        self.registration.write_text(json.dumps(self.device.registration))
        self.running = None

    def command(self, *options):
        return [BUILD / "otad-device", "--config", self.registration, "--state", self.place / "state",
                "--heartbeat", "1s", "--backoff", "200ms", *map(str, options)]

    def start(self, *options):
        self.output = self.place / "output"
        self.running = subprocess.Popen(self.command(*options), stdout=open(self.output, "a"), stderr=subprocess.STDOUT)

    def run(self, *options, timeout=60):
        return subprocess.run(self.command(*options), capture_output=True, text=True, timeout=timeout)

    def stop(self):
        if self.running:
            self.running.terminate()
            self.running.wait(10)
            self.running = None

    def says(self, text, timeout=20):
        wait_for(lambda: text in self.output.read_text(), timeout)

    def update(self):
        return newest(self.account, self)

    def ends(self, timeout=40):
        return wait_for(lambda: (lambda u: u if u["state"] not in
                                 ("pending", "offered", "downloading", "installing") else None)(self.update()), timeout)

    def runs(self, version):
        return wait_for(lambda: self.device.get()["firmware_version"] == version)


@pytest.fixture
def simulated(system, owner, tmp_path, proxy):
    proxy.spoil = bytes
    simulated = Simulated(system, owner, tmp_path)
    yield simulated
    simulated.stop()


@pytest.fixture(scope="module")
def release(system, owner):
    """An image and its firmware row, shared by the tests that only install it."""
    return stored(owner, size=SIZE)


def in_otads_name(system, topic, payload):
    password = (system.var / "keys/mqtt.password").read_text().strip()
    client = mqtt.Client("otad-test", clean_session=True)
    client.username_pw_set("otad", password)
    client.connect(system.host, system.mqtt_port)
    client.loop_start()
    client.publish(topic, payload, qos=1, retain=True).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


# Good ends


def test_an_update_from_order_to_confirmation(simulated, owner, release):
    image, firmware = release
    simulated.start()
    simulated.says("connected")
    started(owner, simulated, firmware)
    update = simulated.ends()
    assert (update["state"], update["progress"], update["reason"]) == ("succeeded", 100, None)
    assert simulated.device.get()["elf_sha256"] == firmware["elf_sha256"]
    assert simulated.runs(firmware["version"])
    simulated.says("offer cleared")
    slots = [p for p in (simulated.place / "state").iterdir() if p.is_file() and p.read_bytes()[:SIZE] == image]
    assert len(slots) == 1


@pytest.mark.skipif(not REAL.exists(), reason="real images are not here")
@pytest.mark.parametrize("name, chip", [("hello_world_esp32.bin", "esp32"), ("blink_esp32s2.bin", "esp32s2")])
def test_real_images(system, owner, tmp_path, proxy, name, chip):
    proxy.spoil = bytes
    answer = upload(owner, (REAL / name).read_bytes(), name)
    assert answer.status_code in (200, 201), answer.text
    firmware = answer.json()["firmware"]
    assert firmware["chip"] == chip and firmware["project"] and len(firmware["elf_sha256"]) == 64
    simulated = Simulated(system, owner, tmp_path, chip=chip)
    started(owner, simulated, firmware)
    done = simulated.run("--exit-when-confirmed")
    assert done.returncode == 0, done.stdout
    assert simulated.ends()["state"] == "succeeded"


@pytest.mark.skipif(not REAL.exists(), reason="real images are not here")
@pytest.mark.parametrize("name", sorted(p.name for p in (REAL / "rejected").glob("*")) if REAL.exists() else ["none"])
def test_real_files_that_are_no_application(owner, name):
    answer = upload(owner, (REAL / "rejected" / name).read_bytes(), name)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("percent", range(5, 100, 5))
def test_power_cut_during_the_download(simulated, owner, release, percent):
    _, firmware = release
    started(owner, simulated, firmware)
    died = simulated.run("--die-after-bytes", SIZE * percent // 100)
    assert died.returncode == 137, died.stdout
    done = simulated.run("--exit-when-confirmed")
    assert done.returncode == 0, done.stdout
    assert simulated.ends()["state"] == "succeeded"


def test_killed_again_and_again(simulated, owner, release):
    """SIGKILL at any moment, also after the restart into the new image: then, as on an ESP32, the old one comes back."""
    _, firmware = release
    started(owner, simulated, firmware)
    for attempt in range(12):
        simulated.start("--max-rate", SIZE)
        time.sleep(0.15 + 0.13 * attempt)
        simulated.running.kill()
        simulated.running.wait()
    simulated.start()
    state = simulated.ends()["state"]
    assert state in ("succeeded", "rolled_back")
    assert simulated.runs(firmware["version"] if state == "succeeded" else "0.0.0")


# Images that are no good


@pytest.mark.parametrize("options, reason", [(("--crash-after-boot", 1), "did not start"),
                                             (("--selftest", "crash"), "did not start"),
                                             (("--selftest", "fail"), "self-test failed")])
def test_a_bad_image_is_rolled_back(simulated, owner, options, reason):
    _, good = stored(owner, size=65536)
    started(owner, simulated, good)
    assert simulated.run("--exit-when-confirmed").returncode == 0
    _, bad = stored(owner, size=65536)
    started(owner, simulated, bad)
    simulated.start(*options)
    update = simulated.ends()
    assert update["state"] == "rolled_back" and reason in update["reason"]
    assert simulated.runs(good["version"])
    assert simulated.device.get()["elf_sha256"] == good["elf_sha256"]


@pytest.mark.parametrize("spoil, reason", [
    (lambda body: body[:-1] + bytes([body[-1] ^ 1]), "SHA-256"),
    (lambda body: body + b"more", "longer"),
])
def test_a_spoiled_download_is_not_installed(simulated, owner, proxy, release, spoil, reason):
    _, firmware = release
    simulated.start()
    simulated.says("connected")
    proxy.spoil = spoil
    started(owner, simulated, firmware)
    update = simulated.ends(90)
    assert update["state"] == "failed" and reason.lower() in update["reason"].lower(), update
    assert simulated.device.get()["firmware_version"] == "0.0.0"


# Offers that are not what they seem


@pytest.fixture
def captured(simulated, owner, release):
    """An offer of the server's for this device, which has not seen it; the update is cancelled again."""
    _, firmware = release
    assert simulated.device.connect(will=False) == 0
    started(owner, simulated, firmware)
    offer = simulated.device.offer()
    owner.client.post(f"/devices/{simulated.id}/update/cancel")
    cleared(simulated.device)
    simulated.device.disconnect()
    wait_for(lambda: simulated.system.psql("select count(*) from offers where published_at is null") == "0")
    return offer["_message"]


def offered(simulated, message, target=None):
    simulated.start()
    simulated.says("connected")
    in_otads_name(simulated.system, f"device/{(target or simulated).id}/ota", json.dumps(message))


def test_a_tampered_manifest_is_rejected(simulated, captured):
    captured["manifest"] = captured["manifest"].replace('"size":', '"size":1')
    offered(simulated, captured)
    simulated.says("rejected")
    simulated.says("signature")
    assert simulated.device.get()["firmware_version"] in (None, "0.0.0")


def test_an_offer_for_another_device_is_rejected(simulated, captured, system, owner, tmp_path):
    place = tmp_path / "other"
    place.mkdir()
    other = Simulated(system, owner, place)
    try:
        offered(other, captured)
        other.says("rejected")
        other.says("another device")
    finally:
        other.stop()


def test_an_expired_offer_is_rejected(start_otad, tmp_path):
    system = start_otad(OTAD_UPDATE_OFFER_TTL="3s")
    owner = Account(system, role="operator")
    simulated = Simulated(system, owner, tmp_path)
    _, firmware = stored(owner, size=65536)
    assert simulated.device.connect(will=False) == 0
    started(owner, simulated, firmware)
    message = simulated.device.offer()["_message"]
    owner.client.post(f"/devices/{simulated.id}/update/cancel")
    simulated.device.disconnect()
    time.sleep(3.5)
    try:
        offered(simulated, message)
        simulated.says("rejected")
        simulated.says("expired")
    finally:
        simulated.stop()


def test_the_manifest_key_alone_installs_nothing(start_otad, tmp_path):
    """The thief of the online key offers an image that nobody released: signed by a release key of his own."""
    system = start_otad()
    owner = Account(system, role="operator")
    simulated = Simulated(system, owner, tmp_path)
    subprocess.run([BUILD / "otad", "keygen", "--out", tmp_path / "thief"], check=True, capture_output=True)
    registration = json.loads(simulated.registration.read_text())
    registration["keys"]["release"] = [(tmp_path / "thief.pub").read_text().strip()]
    simulated.registration.write_text(json.dumps(registration))  # to this device, ours is the unknown key
    _, firmware = stored(owner, size=65536)
    started(owner, simulated, firmware)
    simulated.start()
    try:
        update = simulated.ends()
        assert update["state"] == "rejected" and "release" in update["reason"]
    finally:
        simulated.stop()


def test_it_says_what_is_wrong(system, owner, tmp_path):
    """A refused password was "refused (code 5)", a directory that cannot be made had no reason."""
    simulated = Simulated(system, owner, tmp_path)
    wrong = {**simulated.device.registration}
    wrong["credentials"] = {**wrong["credentials"], "password": "x" * 43}
    simulated.registration.write_text(json.dumps(wrong))
    simulated.start()
    try:
        simulated.says("not authorized")
    finally:
        simulated.stop()
    (tmp_path / "file").write_text("")
    done = subprocess.run([BUILD / "otad-device", "--config", simulated.registration, "--state", tmp_path / "file/state"],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "cannot make the state directory: Not a directory" in done.stderr
    done = subprocess.run([BUILD / "otad-device", "--config", simulated.registration, "--state", tmp_path / "new",
                           "--initial", tmp_path / "none.bin"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "cannot copy the initial image: No such file or directory" in done.stderr
