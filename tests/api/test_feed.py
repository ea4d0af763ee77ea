"""The live feed (CONTRACT 4), seen by a WebSocket client nobody here wrote (python3-websocket)."""
import json
import os
import queue
import secrets
import signal
import socket
import struct
import threading
import time

import httpx
import pytest
import websocket

from accounts import Account
from answers import FIRMWARE, UPDATE, problem
from devices import Device, wait_for
from instances import Instance
from test_firmware import stored
from test_instances import log_in
from test_updates import started

WAIT = 15


class Feed:
    """A connection to the live feed; what it is sent is taken from a queue."""

    def __init__(self, url, token=None, ticket=None, subscribe=(), **options):
        url = url.replace("http", "ws", 1) + "/ws" + (f"?ticket={ticket}" if ticket else "")
        header = {"Authorization": f"Bearer {token}"} if token else {}
        self.ws = websocket.create_connection(url, header=header, timeout=WAIT, **options)
        self.ws.settimeout(None)
        self.messages, self.closed = queue.Queue(), queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        if subscribe:
            self.subscribe(*subscribe)

    def _read(self):
        code = None
        try:
            while True:
                opcode, data = self.ws.recv_data(control_frame=True)
                if opcode == websocket.ABNF.OPCODE_TEXT:
                    self.messages.put(json.loads(data))
                elif opcode == websocket.ABNF.OPCODE_CLOSE:
                    code = struct.unpack("!H", data[:2])[0] if len(data) >= 2 else 1005
                    break
        except (OSError, websocket.WebSocketException):
            pass
        self.closed.put(code)

    def say(self, message):
        self.ws.send(message if isinstance(message, str) else json.dumps(message))

    def settle(self):
        """All that was said before has been done."""
        self.ask(secrets.randbelow(2**53))

    def ask(self, id, **message):
        """Says it, and waits until it is in force."""
        self.say({**message, "id": id})
        self.get(lambda m: m == {"event": "done", "data": {"id": id}})

    def subscribe(self, *topics):
        self.say({"subscribe": list(topics)})
        self.settle()

    def get(self, condition=lambda m: True, timeout=WAIT):
        """The next message that fits; others before it are dropped."""
        end = time.monotonic() + timeout
        while True:
            message = self.messages.get(timeout=max(end - time.monotonic(), 0.001))
            if condition(message):
                return message

    def event(self, event, topic=None, condition=lambda data: True, timeout=WAIT):
        message = self.get(lambda m: m["event"] == event and topic in (None, m.get("topic")) and condition(m["data"]),
                           timeout)
        assert list(message) == ["topic", "event", "at", "data"], message
        assert message["at"].endswith("Z")
        return message["data"]

    def error(self, topic=None):
        return self.get(lambda m: m["event"] == "error" and m["data"]["topic"] == topic)["data"]["detail"]

    def quiet(self):
        """What came up to now, but for errors."""
        self.say({"id": -1})
        came = []
        while (message := self.get())["event"] != "done":
            came.append(message)
        return [m for m in came if m["event"] != "error"]

    def close_code(self, timeout=WAIT):
        return self.closed.get(timeout=timeout)

    def close(self):
        self.ws.close()


@pytest.fixture
def feed(otad, operator):
    """feed(account=operator, subscribe=[...]): a connection, closed at the end."""
    open_ones = []

    def connect(account=operator, url=None, **options):
        options.setdefault("token", None if "ticket" in options else account.token)
        open_ones.append(Feed(url or otad.url, **options))
        return open_ones[-1]

    yield connect
    for one in open_ones:
        one.close()


def refused(otad, status, path="/ws", **headers):
    """The answer to a handshake that must fail."""
    wanted = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
              "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **headers}
    answer = httpx.get(otad.url + path, headers={k: v for k, v in wanted.items() if v})
    problem(answer, status)
    return answer


def test_handshakes(otad, operator):
    good = {"Authorization": f"Bearer {operator.token}"}
    assert "www-authenticate" in refused(otad, 401).headers
    refused(otad, 401, Authorization="Bearer nonsense")
    refused(otad, 401, path="/ws?ticket=nonsense")
    assert refused(otad, 426, **good, Upgrade=None).headers["sec-websocket-version"] == "13"
    refused(otad, 426, **good, **{"Sec-WebSocket-Version": "8"})
    for key in (None, "short", "A" * 24, "not base64 at all, no!!="):
        refused(otad, 400, **good, **{"Sec-WebSocket-Key": key})
    for origin in ("https://evil.example", "null", f"{otad.url}.evil.example", "http://"):
        refused(otad, 403, **good, Origin=origin)
    with httpx.Client(http1=False, http2=True, base_url=otad.url, headers=good) as client:
        problem(client.get("/ws"), 426)


def test_pages_of_the_same_host_and_listed_ones_may(otad, second, feed):
    assert feed(origin=otad.url).quiet() == []
    assert feed(url=second.url, origin="https://console.example").quiet() == []
    assert feed(url=second.url, origin="http://localhost:5173").quiet() == []


def test_over_tls(otad, operator, device):
    one = Feed(otad.https_url, token=operator.token, subscribe=[f"device:{device.id}"],
               sslopt={"ca_certs": str(otad.ca)})
    assert device.connect() == 0
    device.status(heap=1)
    assert one.event("status")["status"] == "online"
    one.close()


def test_a_ticket_is_good_once_on_any_instance(otad, second, operator, user, feed, make_device):
    answer = user.client.post("/ws/ticket")
    assert answer.status_code == 201 and answer.json()["expires_in"] == 30
    mine, ticket = make_device(user), answer.json()["ticket"]
    one = feed(url=second.url, ticket=ticket, subscribe=[f"device:{mine.id}"])
    refused(otad, 401, path=f"/ws?ticket={ticket}")
    assert mine.connect() == 0
    mine.status(heap=1)
    assert one.event("status")["device_id"] == mine.id
    old = user.client.post("/ws/ticket").json()["ticket"]
    otad.psql("update feed_tickets set expires_at = now()")
    refused(otad, 401, path=f"/ws?ticket={old}")
    problem(httpx.post(f"{otad.url}/ws/ticket"), 401)


def test_two_with_one_ticket(otad, user):
    for _ in range(3):
        ticket, results = user.client.post("/ws/ticket").json()["ticket"], []

        def connect():
            try:
                results.append(Feed(otad.url, ticket=ticket))
            except websocket.WebSocketBadStatusException as error:
                results.append(error.status_code)

        threads = [threading.Thread(target=connect) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([r for r in results if isinstance(r, Feed)]) == 1 and results.count(401) == 5, results
        [r.close() for r in results if isinstance(r, Feed)]


def test_status_and_logs_of_a_device(feed, device):
    one = feed(subscribe=[f"device:{device.id}", "devices"])
    assert device.connect() == 0
    device.status(firmware_version="1.0.0", heap=1000, zone="a\"b")
    for topic in (f"device:{device.id}", "devices"):
        data = one.event("status", topic, lambda d: d["device_id"] == device.id)
        assert data["status"] == "online" and data["firmware_version"] == "1.0.0" and data["last_seen"].endswith("Z")
        assert data["telemetry"] == {"heap": 1000, "zone": "a\"b"}
    device.log("it works \x1f \"well\"", level="warn")
    data = one.event("log")
    assert (data["level"], data["message"]) == ("warn", "it works \x1f \"well\"")
    device.status(heap=2000)
    assert one.event("status")["telemetry"] == {"heap": 2000}
    device.vanish()
    assert one.event("status", condition=lambda d: d["device_id"] == device.id and d["status"] != "online")[
        "status"] == "offline"


@pytest.fixture(scope="module")
def small(start_otad):
    """A system of small limits."""
    return start_otad(OTAD_DEVICE_OFFLINE_AFTER="2s", OTAD_FEED_MAX_PER_ACCOUNT="2", OTAD_AUTH_ACCESS_TTL="6s")


def test_a_silent_device(small):
    account = Account(small)
    device = Device(small, account)
    one = Feed(small.url, token=log_in(small, account)["access_token"], subscribe=["devices"])
    assert device.connect() == 0
    device.status(heap=1)
    assert one.event("status")["status"] == "online"
    assert one.event("status", condition=lambda d: d["status"] == "offline")["device_id"] == device.id
    device.disconnect()


def test_only_what_the_account_may_see(feed, operator, user, make_user, make_device):
    other = make_user()
    mine, theirs = make_device(user), make_device(other)
    one, all_seeing = feed(user, subscribe=["devices", f"device:{mine.id}"]), feed(subscribe=["devices"])
    for name in (f"device:{theirs.id}", "device:2147483647", "device:0", "device:-1", "device:01", "device:1e3", "device:",
                 "devices:1", "rollouts", "rollout:1", "no", ""):
        one.say({"subscribe": [name]})
        assert one.error(name)
    assert mine.connect() == theirs.connect() == 0
    theirs.status(heap=1)
    assert all_seeing.event("status", condition=lambda d: d["device_id"] == theirs.id)
    mine.status(heap=1)
    topics = {one.event("status") and topic for topic in ("devices", f"device:{mine.id}")}
    assert topics and all(m["data"]["device_id"] == mine.id for m in one.quiet())
    all_seeing.say({"subscribe": ["rollout:2147483647"]})
    assert all_seeing.error("rollout:2147483647")


def test_an_update(otad, operator, feed, user, make_device):
    device = make_device(user)
    mine, fleet = feed(user, subscribe=[f"device:{device.id}"]), feed(subscribe=["devices", "fleet"])
    _, firmware = stored(operator)
    data = fleet.event("firmware", "fleet", lambda d: d["firmware"]["id"] == firmware["id"])
    assert data["action"] == "uploaded" and list(data["firmware"]) == FIRMWARE
    assert device.connect() == 0
    device.status(firmware_version="1.0.0")
    update = started(user, device, firmware)
    told = mine.event("update", condition=lambda d: d["state"] == "offered")
    assert list(told) == UPDATE and told["id"] == update["id"] and told["version"] == firmware["version"]
    offer = device.offer()
    for state, shown in (("downloading", "downloading"), ("verifying", "installing")):
        device.status(firmware_version="1.0.0", ota={"update_id": offer["update_id"], "state": state, "progress": 40})
        assert mine.event("update", condition=lambda d: d["state"] == shown)["id"] == update["id"]
    assert fleet.event("update", "devices", lambda d: d["state"] == "installing")["id"] == update["id"]
    assert user.client.post(f"/devices/{device.id}/update/cancel").status_code == 200
    told = mine.event("update", condition=lambda d: d["state"] == "cancelled")
    shown = user.client.get(f"/devices/{device.id}/updates").json()["items"][0]
    assert told == shown
    assert operator.client.delete(f"/firmware/{firmware['id']}/delete").status_code == 204
    assert fleet.event("firmware", condition=lambda d: d["action"] == "deleted")["firmware"]["id"] == firmware["id"]


def test_counts_of_the_fleet(feed, user, make_device):
    one, theirs = feed(subscribe=["fleet"]), feed(user, subscribe=["fleet"])
    first = one.event("status", "fleet")
    assert set(first) == {"online", "offline"}
    device = make_device(user)
    assert device.connect() == 0
    device.status(heap=1)
    assert one.event("status", "fleet", lambda d: d["online"] > first["online"])
    assert theirs.quiet() == []
    again = feed()
    again.say({"subscribe": ["fleet"]})
    assert again.event("status", "fleet")["online"] > first["online"]  # at once, as it is


def test_a_rollout(otad, operator, feed, user, make_device):
    tag = {"feed": secrets.token_hex(4)}
    device = make_device(user, tags=tag)
    assert device.connect() == 0
    device.status(firmware_version="1.0.0")
    device.wait(lambda d: d["status"] == "online")
    _, firmware = stored(operator)
    mine, all_of_them = feed(user, subscribe=[f"device:{device.id}"]), feed(subscribe=["rollouts"])
    rollout = operator.client.post("/rollouts", json={"name": "feed", "firmware_id": firmware["id"], "policy": "all_at_once",
                                                      "target": {"tags": tag}}).json()["rollout"]
    one = feed(subscribe=[f"rollout:{rollout['id']}"])
    assert all_of_them.event("rollout", "rollouts")["id"] == rollout["id"]
    assert mine.event("decision")["verdict"] == "offer"
    assert mine.event("update", condition=lambda d: d["state"] == "offered")["rollout_id"] == rollout["id"]
    assert all_of_them.event("rollout", condition=lambda d: d["counts"]["offered"] == 1)["stage"]["name"]
    assert operator.client.post(f"/rollouts/{rollout['id']}/pause", json={"reason": "lunch"}).status_code == 200
    shown = one.event("rollout", f"rollout:{rollout['id']}", lambda d: d["state"] == "paused")
    assert shown["reason"] == "lunch"
    assert list(shown) == list(rollout)
    assert operator.client.post(f"/rollouts/{rollout['id']}/abort", json={}).status_code == 200
    assert mine.event("update", condition=lambda d: d["state"] == "cancelled")["reason"] == "the rollout was aborted"
    steered = all_of_them.event("rollout", condition=lambda d: d["state"] == "aborted")
    assert steered["id"] == rollout["id"]
    assert one.event("decision", condition=lambda d: d["verdict"] == "abort")["device_id"] is None


def test_unsubscribe_and_too_many(feed, make_device):
    first, second_one = make_device(), make_device()
    one = feed(subscribe=[f"device:{first.id}", f"device:{second_one.id}", f"device:{first.id}"])
    one.say({"unsubscribe": [f"device:{first.id}"]})
    one.settle()
    assert first.connect() == second_one.connect() == 0
    first.status(heap=1)
    first.wait(lambda d: d["status"] == "online")
    second_one.status(heap=1)
    assert one.event("status")["device_id"] == second_one.id
    one.say({"unsubscribe": ["nothing"]})
    assert one.error("nothing")


def test_two_hundred_topics(otad, operator, feed):
    ids = otad.psql("insert into devices (device_code, user_id) "
                    f"select 'feed-' || {secrets.randbelow(10**6)} || '-' || i, {operator.id} "
                    "from generate_series(1, 201) i returning id").split()
    one = feed()
    one.say({"subscribe": [f"device:{i}" for i in ids]})
    assert "as many" in one.error(f"device:{ids[-1]}")
    one.say({"unsubscribe": [f"device:{ids[0]}"], "subscribe": [f"device:{ids[-1]}"], "id": 1})
    assert one.get()["event"] == "done"


@pytest.mark.parametrize("text", ["", "no", "[]", "1", "null", '{"subscribe": "devices"}', '{"subscribe": {"a": 1}}',
                                  '{"subscribe": [1]}', '{"subscribe": [["devices"]]}', '{"subscribe": ["' + "x" * 200 + '"]}',
                                  '{"subscribes": []}', '{"a": 1, "a": 2}', "[" * 5000, '{"subscribe": [' + "0," * 900 + "0]}"])
def test_messages_that_are_none(feed, text):
    one = feed()
    one.say(text)
    assert one.error()
    one.settle()


def test_a_message_with_an_id_is_answered_when_it_is_in_force(feed, device, make_device):
    other, one, witness = make_device(), feed(), feed(subscribe=[f"device:{device.id}"])
    assert device.connect() == 0
    for i in range(1, 6):  # what happens after the answer is heard, or no more
        one.ask(i, unsubscribe=[f"device:{other.id}"], subscribe=[f"device:{device.id}"])
        device.status(heap=i)
        assert one.event("status")["telemetry"] == {"heap": i}
        one.ask(i, unsubscribe=[f"device:{device.id}"], subscribe=[f"device:{other.id}"])
        device.status(heap=100 + i)
        assert witness.event("status", condition=lambda d: d["telemetry"] == {"heap": 100 + i})
        assert one.quiet() == []
    for wrong in (["no-such"], "devices"):
        one.say({"subscribe": wrong, "id": 7})
        assert [one.get()["event"] for _ in range(2)] == ["error", "done"]
    for id in (-2**63, 0, 2**63 - 1):
        one.ask(id)


@pytest.mark.parametrize("id", [1.5, 1.0, "1", None, True, [], {}, 2**63])
def test_ids_that_are_none(feed, id):
    one = feed()
    one.say({"id": id, "subscribe": ["devices"]})
    assert one.error() == "`id` is an integer"
    assert one.quiet() == []  # nor `done`


FRAMES = [  # bytes a client sends, and the code it is closed with
    (b"\x81\x02hi", 1002),                                          # not masked
    (b"\xc1\x80\0\0\0\0", 1002), (b"\xa1\x80\0\0\0\0", 1002),       # reserved bits: compressed, or worse
    (b"\x83\x80\0\0\0\0", 1002), (b"\x8b\x80\0\0\0\0", 1002),       # reserved opcodes
    (b"\x80\x80\0\0\0\0", 1002),                                    # goes on with nothing
    (b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", 1002),                    # a message in a message
    (b"\x09\x80\0\0\0\0", 1002), (b"\x89\xfe\0\x7e\0\0\0\0", 1002),  # PING in pieces; too long
    (b"\x81\xfe\0\x01\0\0\0\0x", 1002),                             # length in more bytes than it needs
    (b"\x82\x80\0\0\0\0", 1003),                                    # binary
    (b"\x81\x81\0\0\0\0\xff", 1007), (b"\x01\x81\0\0\0\0\xc3\x80\x80\0\0\0\0", 1007),
    (b"\x81\xff\0\0\0\0\0\1\0\1\0\0\0\0", 1009),                    # 65,537 bytes
    (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009), (b"\x81\xff\xff\0\0\0\0\0\0\0\0\0\0\0", 1002),
    (b"\x88\x81\0\0\0\0x", 1002), (b"\x88\x82\0\0\0\0\x03\xed", 1002),  # CLOSE with half a code; with 1005
    (b"\x88\x83\0\0\0\0\x03\xe8\xff", 1007), (b"\x88\x82\0\0\0\0\x03\xe8", 1000), (b"\x88\x80\0\0\0\0", 1000),
]


@pytest.mark.parametrize("frames, code", FRAMES, ids=[f.hex()[:24] for f, _ in FRAMES])
def test_frames(feed, frames, code):
    one = feed()
    one.ws.sock.sendall(frames)
    assert one.close_code() == code


def test_fragments_and_pings(feed):
    one = feed()
    text = json.dumps({"subscribe": ["in-pieces"]}).encode()
    mask = b"\1\2\3\4"

    def frame(first, payload):
        return bytes([first, 0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))

    stream = frame(0x01, text[:5]) + frame(0x89, b"ping") + frame(0x00, text[5:9]) + frame(0x80, text[9:])
    for byte in stream:
        one.ws.sock.sendall(bytes([byte]))
    assert one.error("in-pieces")
    one.say(json.dumps({"subscribe": [], "": "x" * 65000})[:65536])
    assert one.error()


def test_logout_ends_the_connection_on_both(otad, second, feed, make_user):
    account = make_user()
    token = log_in(otad, account)["access_token"]
    ones = [feed(url=url, token=token) for url in (otad.url, second.url)]
    ones.append(feed(ticket=httpx.post(f"{otad.url}/ws/ticket", headers={"Authorization": f"Bearer {token}"}).json()["ticket"]))
    unused = httpx.post(f"{otad.url}/ws/ticket", headers={"Authorization": f"Bearer {token}"}).json()["ticket"]
    other = feed(account)
    assert httpx.post(f"{otad.url}/auth/logout", headers={"Authorization": f"Bearer {token}"}).status_code == 204
    assert [one.close_code() for one in ones] == [1008] * 3
    refused(otad, 401, path=f"/ws?ticket={unused}")
    other.settle()
    otad.psql(f"delete from users where id = {account.id}")
    assert other.close_code() == 1008


def test_limits_expiry_and_goodbye(small):
    account = Account(small)
    began = time.monotonic()
    ones = [Feed(small.url, token=log_in(small, account)["access_token"]) for _ in range(2)]
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        Feed(small.url, token=account.token)
    assert refusal.value.status_code == 429
    ones[0].close()
    wait_for(lambda: "otad_feed_connections 1\n" in httpx.get(f"{small.url}/metrics").text)
    ones.append(Feed(small.url, token=account.token))
    assert ones[1].close_code() == 1008
    assert 5 < time.monotonic() - began < 6 + 3 * small.slack
    last = Feed(small.url, token=log_in(small, account)["access_token"])
    small.up("--stop")
    assert last.close_code() == 1001


def test_a_reload_disconnects_nobody(otad, operator, feed, device):
    one = feed(subscribe=[f"device:{device.id}"])
    assert operator.client.post("/admin/reload").status_code == 200
    assert device.connect() == 0
    device.status(heap=1)
    assert one.event("status")
    one.subscribe("devices")


@pytest.fixture(scope="module")
def second(otad):
    instance = Instance(otad, OTAD_HTTP_ORIGINS="https://console.example, http://localhost:5173",
                        OTAD_FEED_MEMORY="64KiB")
    yield instance
    instance.end()


def test_the_other_instance_hears_of_it(otad, second, operator, feed, device, make_device):
    here, there = (feed(url=url, subscribe=[f"device:{device.id}", "devices", "fleet"]) for url in (otad.url, second.url))
    time.sleep(1.1 * otad.slack ** 0.5)  # until each knows what the other wants
    assert device.connect() == 0
    for i in range(6):  # whichever of the two the broker gives it to
        began = time.monotonic()
        device.status(heap=i)
        for one in (here, there):
            one.event("status", f"device:{device.id}", lambda d: d["telemetry"] == {"heap": i})
            assert time.monotonic() - began < 0.5 * otad.slack
    _, firmware = stored(operator)
    for one in (here, there):
        assert one.event("firmware")["firmware"] == firmware


def test_without_redis(otad, second, feed, device):
    one = feed(subscribe=[f"device:{device.id}"])
    there = feed(url=second.url, subscribe=[f"device:{device.id}"])
    os.kill(otad.service_pid("redis"), signal.SIGSTOP)
    try:
        assert device.connect() == 0
        for i in range(4):
            device.status(heap=i)
            time.sleep(0.3)
        # Each hears what its own instance took from the broker, which gives to both in turn.
        wait_for(lambda: one.messages.qsize() + there.messages.qsize() >= 2)
        one.settle()
        there.settle()
    finally:
        os.kill(otad.service_pid("redis"), signal.SIGCONT)
    deadline = time.monotonic() + 60
    for i in range(100, 200):  # and again all of it
        device.status(heap=i)
        try:
            for end in (one, there):
                end.event("status", None, lambda d: d["telemetry"] == {"heap": i}, timeout=1)
            break
        except queue.Empty:
            assert time.monotonic() < deadline


def test_a_slow_reader_is_told_what_it_lost(second, operator, feed, device):
    host, port = second.url.removeprefix("http://").split(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect((host, int(port)))
    slow.sendall(f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 f"Authorization: Bearer {operator.token}\r\n\r\n".encode())
    assert slow.recv(4096).startswith(b"HTTP/1.1 101 ")
    text = json.dumps({"subscribe": [f"device:{device.id}"]}).encode()
    slow.sendall(bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text)
    time.sleep(1.1)
    assert device.connect() == 0
    total = 300
    for i in range(total):  # log lines are events one by one
        device.mqtt.publish(device.topics["logs"], json.dumps({"message": f"{i} " + "x" * 3000}), qos=0)
        time.sleep(0.001)
    wait_for(lambda: len(operator.client.get(f"/devices/{device.id}/logs", params={"limit": 200}).json()["items"]) == 200)
    time.sleep(0.5)
    stream, seen, dropped = b"", set(), 0
    slow.settimeout(WAIT)
    while len(seen) + dropped < total:
        stream += slow.recv(65536)
        while len(stream) >= 4:
            length, head = (struct.unpack("!H", stream[2:4])[0], 4) if stream[1] == 126 else (stream[1], 2)
            if len(stream) < head + length:
                break
            message, stream = stream[head:head + length], stream[head + length:]
            if not message:
                continue
            message = json.loads(message)
            if message["event"] == "dropped":
                assert set(message) == {"event", "data"}
                dropped += message["data"]["count"]
            elif message["event"] == "log":
                seen.add(message["data"]["message"].split()[0])
    assert 0 < dropped and len(seen) + dropped == total, (len(seen), dropped)
    slow.close()


@pytest.mark.long
def test_pings_keep_the_connection_and_end_dead_ones(otad, operator, feed, device):
    one = feed(subscribe=[f"device:{device.id}"])
    dead = socket.create_connection((otad.host, otad.http_port))  # never answers a PING
    dead.sendall(f"GET /ws HTTP/1.1\r\nHost: {otad.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 f"Authorization: Bearer {operator.token}\r\n\r\n".encode())
    dead.settimeout(90)
    began, stream = time.monotonic(), b""
    while True:
        data = dead.recv(4096)
        if not data:
            break
        stream += data
    assert 55 < time.monotonic() - began < 70 and stream.endswith(b"\x89\0")
    time.sleep(60)  # past all deadlines of the guard
    assert device.connect() == 0
    device.status(heap=1)
    assert one.event("status")["device_id"] == device.id
