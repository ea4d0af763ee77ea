"""Attacks on the HTTP port. After each the same process serves on, at once."""
import http.client
import json
import random
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

from devices import wait_for
from raw_http import (CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, INITIAL_WINDOW_SIZE,
                      PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, Connection, answer, frame, frames, get,
                      goaway, post, setting)

MIB = 1 << 20


def memory(otad):
    """Resident bytes of the serving process; nothing under AddressSanitizer, which keeps what was freed."""
    with open(f"/proc/{otad.pid}/maps") as maps:
        if "libasan" in maps.read():
            return 0
    with open(f"/proc/{otad.pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def fetch(otad, path="/healthz"):
    """Status, body and seconds of a well-behaved request."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection(otad.host, otad.http_port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, time.monotonic() - begun


def requests_handled(otad):
    _, body, _ = fetch(otad, "/metrics")
    return sum(float(n) for n in re.findall(rb"^otad_http_requests_total\{.*\} (\S+)$", body, re.M))


def log_lines(otad):
    with open(otad.log_path, "rb") as log:
        return log.read().count(b"\n")


@pytest.fixture(autouse=True)
def survives(otad):
    yield
    with open(f"/proc/{otad.pid}/stat") as stat:
        assert stat.read().split()[2] != "Z"
    assert fetch(otad)[0] == 200


def computed(otad):
    """Nothing is left of what an attack asked for, which sanitized takes seconds: several in a row are answered at once."""
    try:
        return all(time.sleep(0.3) or fetch(otad)[2] < 0.3 for _ in range(5))
    except (OSError, http.client.HTTPException):
        return False


def every_stream(kind, payload):
    """100,000 times a request and what resets it."""
    return b"".join(frame(HEADERS, END_STREAM | END_HEADERS, stream, get()) + frame(kind, 0, stream, payload)
                    for stream in range(1, 200001, 2))


# H1
@pytest.mark.parametrize("kind, payload", [
    (RST_STREAM, b"\0\0\0\x08"),
    (WINDOW_UPDATE, b"\0\0\0\0"),
    (WINDOW_UPDATE, b"\x7f\xff\xff\xff"),
    (DATA, b"x"),
], ids=["rst", "window-zero", "window-overflow", "data-after-end"])
def test_rapid_reset_starts_few_requests(otad, kind, payload):
    before = requests_handled(otad)
    connection = Connection(otad).start_http2()
    connection.send(every_stream(kind, payload))
    answer, closed = connection.read(5 * otad.slack)
    assert closed and goaway(answer) == ENHANCE_YOUR_CALM
    assert requests_handled(otad) - before <= 200


# H2
def test_window_reopened_while_a_write_waits(otad):
    """libh2o asserts that no stream's window opens again while its last bytes wait for the socket."""
    length = len(fetch(otad)[1])
    for batch in (20, 50, 80):
        connection = Connection(otad, receive_buffer=4096).start_http2(setting(INITIAL_WINDOW_SIZE, length))
        connection.send(frame(WINDOW_UPDATE, 0, 0, b"\x3f\0\0\0"))
        for first in range(1, 2 * batch * 400, 2 * batch):  # unread answers fill the buffers, until a write must wait
            streams = range(first, first + 2 * batch, 2)
            if not connection.send(b"".join(frame(HEADERS, END_STREAM | END_HEADERS, s, get()) for s in streams), 0.5):
                break
            time.sleep(0.003)
            if not connection.send(b"".join(frame(WINDOW_UPDATE, 0, s, b"\0\0\0\1") for s in streams), 0.5):
                break
        connection.close()
        assert fetch(otad)[0] == 200


def test_initial_window_toggled_over_unread_answers(otad):
    small, large = (frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, n)) for n in (0, MIB))
    for _ in range(36):
        connection = Connection(otad, receive_buffer=4096).start_http2(setting(INITIAL_WINDOW_SIZE, MIB))
        connection.send(frame(WINDOW_UPDATE, 0, 0, b"\x3f\0\0\0"))
        connection.send(b"".join(frame(HEADERS, END_STREAM | END_HEADERS, s, get(b"/metrics"))
                                 for s in range(1, 200, 2)))
        for _ in range(40):
            if not connection.send(small + large, 1):
                break
        connection.close()
    wait_for(lambda: computed(otad), 30)


# H3
def bomb(references, streams):
    """A table entry of 4 KB, then requests that refer to it by one byte, again and again."""
    request = b"\x82\x86\x84"
    entry = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000
    return frame(HEADERS, END_STREAM | END_HEADERS, 1, request + entry) + b"".join(
        frame(HEADERS, END_STREAM | END_HEADERS, stream, request + b"\xbe" * references)
        for stream in range(3, 3 + 2 * streams, 2))


@pytest.mark.measured
@pytest.mark.parametrize("references, streams", [(16000, 25), (120, 3334)])
def test_hpack_bomb(otad, references, streams):
    before = memory(otad)
    connection = Connection(otad).start_http2()
    connection.send(bomb(references, streams))
    answer, closed = connection.read(5 * otad.slack)
    assert closed and goaway(answer) == ENHANCE_YOUR_CALM
    assert memory(otad) - before < 64 * MIB * otad.slack


# H4
@pytest.mark.measured
@pytest.mark.parametrize("flood", [
    frame(HEADERS, END_STREAM, 1, get()) + frame(CONTINUATION, 0, 1) * 1000000,
    frame(HEADERS, END_STREAM, 1, get()) + frame(CONTINUATION, 0, 1, bytes(16000)) * 60,
    frame(0x2A, 0, 0, b"x") * 140000,
    frame(PING, 0, 0, b"12345678") * 1000000,
    frame(SETTINGS, 0, 0) * 1000000,
    frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 1000000,
    frame(HEADERS, END_HEADERS, 1, post(b"/auth/login")) + frame(DATA, 0, 1) * 1000000,
], ids=["continuation-empty", "continuation-large", "unknown", "ping", "settings", "priority", "data-empty"])
def test_flood_is_cut(otad, flood):
    lines_before = log_lines(otad)
    for attempt in range(2):  # the first touches buffers that are kept for good; the second must add nothing
        memory_before = memory(otad)
        connection = Connection(otad, receive_buffer=4096).start_http2()
        begun = time.monotonic()
        connection.send(flood, 1)  # nothing is read meanwhile
        _, closed = connection.read(max(0.1, begun + 1 * otad.slack - time.monotonic()))
        assert closed
        assert memory(otad) - memory_before < (2 if attempt else 8) * MIB
    assert log_lines(otad) - lines_before <= 20


def test_a_few_unknown_frames_are_ignored(otad):
    connection = Connection(otad).start_http2()
    connection.send(frame(0x2A, 7, 5, b"grease") * 10 + frame(HEADERS, END_STREAM | END_HEADERS, 1, get()))
    answer, closed = connection.read(30, lambda got: any(kind == DATA for kind, *_ in frames(got)))
    assert not closed and goaway(answer) is None and not connection.read(0.5)[1]
    assert [kind for kind, _, stream, _ in frames(answer) if stream == 1] == [HEADERS, DATA]


# H5
def trickle(connection, data, every, until):
    for byte in data:
        if time.monotonic() > until or not connection.send(bytes([byte]), 1):
            return
        time.sleep(every)


def repeat(connection, data, every, until):
    while time.monotonic() < until and connection.send(data, 1):
        time.sleep(every)


def established(otad):
    """Local ports of connections to the server that stand. Unread bytes would hide an end from recv()."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return {int(row[1].rsplit(":", 1)[1], 16) for row in rows
            if row[3] == "01" and int(row[2].rsplit(":", 1)[1], 16) == otad.http_port}


def test_no_progress_is_closed_within_a_minute_and_slow_progress_is_not(otad):
    until = time.monotonic() + 65
    small = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    large = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    ping = frame(PING, 0, 0, b"12345678")
    doomed, threads = {}, []

    def attack(name, first=b"", loop=None, *args, settings=None, **options):
        connection = doomed[name] = Connection(otad, **options)
        if settings is not None:
            connection.start_http2(settings)
        connection.send(first, 1)
        if loop is not None:
            threads.append(threading.Thread(target=loop, args=(connection, *args, until)))

    attack("silent")
    attack("header", b"", trickle, small * 9, 3)
    attack("kept alive", small)
    attack("body", body + b"Content-Length: 1000\r\n\r\n", trickle, b"x" * 1000, 3)
    attack("chunks", body + b"Transfer-Encoding: chunked\r\n\r\n", repeat, b"1\r\nx\r\n", 1)
    attack("stalled", large * 4000, receive_buffer=4096)
    attack("preface", b"PRI * HTTP/2.0", trickle, b"\r\n\r\nSM\r\n\r\n" * 9, 6)
    attack("http2 silent", settings=b"")
    attack("http2 frame", b"", trickle, frame(HEADERS, END_HEADERS, 1, get()) * 9, 3, settings=b"")
    attack("http2 header", frame(HEADERS, END_STREAM, 1, get()[:3]), settings=b"")
    attack("http2 body", frame(HEADERS, END_HEADERS, 1, post(b"/auth/login")), repeat,
           frame(DATA, 0, 1, b"x"), 3, settings=b"")
    attack("http2 ping", b"", repeat, ping, 2, settings=b"")
    attack("http2 zero window", frame(HEADERS, END_STREAM | END_HEADERS, 1, get()), repeat, ping, 0.2,
           settings=setting(INITIAL_WINDOW_SIZE, 0))
    attack("http2 stalled", frame(WINDOW_UPDATE, 0, 0, b"\x3f\0\0\0") + b"".join(
        frame(HEADERS, END_STREAM | END_HEADERS, s, get(b"/metrics")) for s in range(1, 200, 2)),
        repeat, frame(HEADERS, END_STREAM | END_HEADERS, 201, get(b"/metrics")), 100,
        settings=setting(INITIAL_WINDOW_SIZE, MIB), receive_buffer=4096)

    # Pipelined answers stand for a long download, read at 2 KB a second as by a device that writes flash meanwhile.
    slow, read = Connection(otad, receive_buffer=4096), []
    slow.sock.settimeout(70)
    threads.append(threading.Thread(target=slow.sock.sendall, args=(large * 4000,), daemon=True))

    def read_slowly():
        while len(read) < 61 and 0 not in read:
            read.append(len(slow.sock.recv(2048)))
            time.sleep(1)

    threads.append(threading.Thread(target=read_slowly))
    for thread in threads:
        thread.start()
    ports = {name: connection.sock.getsockname()[1] for name, connection in doomed.items()}
    lived = dict.fromkeys(ports)
    while time.monotonic() < until or threads[-1].is_alive():
        standing = established(otad)
        for name, port in ports.items():
            if lived[name] is None and port not in standing:
                lived[name] = round(time.monotonic() - doomed[name].opened, 1)
        time.sleep(0.25)
    print(lived)
    assert {name: seconds for name, seconds in lived.items() if seconds is None or seconds > 60} == {}
    assert slow.sock.getsockname()[1] in established(otad) and len(read) == 61 and min(read) > 0
    slow.close()


def served(otad):
    """Requests for /metrics so far, this one not counted."""
    counts = re.findall(rb'^otad_http_requests_total\{.*route="/metrics".*\} (\d+)', fetch(otad, "/metrics")[1], re.M)
    return sum(map(int, counts))


def test_nobody_computes_for_a_peer_that_is_gone(otad):
    first = served(otad)
    connection = Connection(otad, receive_buffer=4096)
    connection.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3000)
    wait_for(lambda: served(otad) > first + 10)
    connection.reset()
    time.sleep(1)
    before = served(otad)
    time.sleep(2)
    assert served(otad) == before + 1  # the last question itself
    assert before < first + 2000  # without a reader it cannot get far


def test_resets_while_a_body_is_awaited(otad):
    head = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    chunks = b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    sized = b"Content-Length: 60000\r\n\r\n" + b" " * 30000
    answered = Connection(otad)
    answered.send(head + b"Content-Length: 2\r\n\r\n")
    assert answered.read(30, lambda got: b"100 Continue" in got)[0].startswith(b"HTTP/1.1 100 Continue\r\n")
    answered.send(b"{}")
    assert answered.read(30, lambda got: b"\r\n\r\n" in got)[0].startswith(b"HTTP/1.1 422 ")
    answered.close()
    for n in range(200):
        connection = Connection(otad)
        connection.send(head + (chunks, sized)[n % 2])
        time.sleep(random.random() / 500)
        connection.reset()


# H6
@pytest.mark.measured
def test_idle_connections_leave_room(otad):
    idle, times = [], []
    try:
        for n in range(5000):
            idle.append(Connection(otad))
            if n % 250 == 249:
                times.append(fetch(otad)[2])
        for _ in range(30):
            status, _, seconds = fetch(otad)
            assert status == 200
            times.append(seconds)
            time.sleep(0.1)
    finally:
        for connection in idle:
            connection.close()
    times.sort()
    print(times)
    assert times[-5] < 0.1 * otad.slack  # of 50: a busy machine delays some


# H7
@pytest.mark.measured
def test_unfinished_bodies_stay_within_the_budget(start_otad):
    budget = 64 * MIB
    otad = start_otad(OTAD_HTTP_BODY_BUDGET=str(budget))
    fetch(otad)
    before, peak, stop = memory(otad), [0], threading.Event()

    def watch():
        while not stop.is_set():
            peak[0] = max(peak[0], memory(otad) - before)
            time.sleep(0.01)

    def upload():
        connection = Connection(otad).start_http2()
        held.append(connection)
        for stream in range(1, 200, 2):
            if not connection.send(frame(HEADERS, END_HEADERS, stream, post(b"/auth/login", MIB))):
                return
            if not connection.send(frame(DATA, 0, stream, bytes(16384)) * 63, 3):
                return

    held, watcher = [], threading.Thread(target=watch)
    watcher.start()
    uploads = [threading.Thread(target=upload) for _ in range(50)]
    for thread in uploads:
        thread.start()
    for thread in uploads:
        thread.join()
    status = fetch(otad)[0]
    stop.set()
    watcher.join()
    for connection in held:
        connection.close()
    print(f"peak {peak[0] / MIB:.0f} MiB of {budget / MIB:.0f} MiB")
    assert status == 200
    assert peak[0] < budget + 32 * MIB


# H8
def test_clients_that_leave_during_their_query(otad, operator, device):
    """10,000 of them, while the database, the pool or the store is at work for them."""
    token = operator.token.encode()
    head = b"Host: x\r\nAuthorization: Bearer " + token + b"\r\n"
    body = json.dumps({"email": "nobody@example.org", "password": "not a password"}).encode()
    requests = [
        b"GET /devices/%d HTTP/1.1\r\n" % device.id + head + b"\r\n",
        b"GET /devices?limit=200 HTTP/1.1\r\n" + head + b"\r\n",
        b"GET /devices/%d/status HTTP/1.1\r\n" % device.id + head + b"\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body,
    ]
    weights = [0] * 40 + [1] * 5 + [2] * 40 + [3] * 5 + [4]  # logins are dear

    def leave(seed):
        order = random.Random(seed)
        for _ in range(2500):
            with socket.create_connection((otad.host, otad.http_port), timeout=30) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves by RST
                client.sendall(requests[order.choice(weights)])

    leavers = [threading.Thread(target=leave, args=(seed,)) for seed in range(4)]
    for leaver in leavers:
        leaver.start()
    for leaver in leavers:
        leaver.join()
    assert operator.client.get(f"/devices/{device.id}").status_code == 200


# H9
@pytest.mark.parametrize("head", [
    b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 50\r\n\r\n{}",
    b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST /auth/login HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
    b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length : 2\r\n\r\n{}",
    b"GET /healthz HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\n\r\n",
])
def test_ambiguous_requests_are_refused(otad, head):
    connection = Connection(otad)
    connection.send(head + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    data, closed = connection.read()
    assert closed and data.startswith(b"HTTP/1.1 400 ") and data.count(b"HTTP/1.1 ") == 1
    head, body = data.split(b"\r\n\r\n", 1)
    assert b"content-type: application/problem+json" in head and b"x-content-type-options: nosniff" in head
    assert json.loads(body)["request_id"].encode() == re.search(rb"x-request-id: (\S+)", head)[1]


@pytest.mark.parametrize("head", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /healthz HTTP/3.0\r\nHost: x\r\n\r\n",
    b"GET / healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: \0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"x-a: b\r\n" * 101 + b"\r\n", b"\r\n" * 50 + b"x",
])
def test_what_is_no_http_is_a_problem(otad, head):
    connection = Connection(otad)
    connection.send(head)
    data, closed = connection.read()
    assert closed and data.startswith(b"HTTP/1.1 400 ") and b"\r\nx-request-id: " in data
    assert json.loads(data.split(b"\r\n\r\n", 1)[1])["status"] == 400


# Bodies over the limit, over HTTP/2: a reset stream made clients try again.


def upload(connection, stream, block, length):
    """A body in frames of 16 KiB, as fast as it is taken; the window is not minded."""
    connection.send(frame(HEADERS, END_HEADERS, stream, block))
    for at in range(0, length, 1 << 20):
        connection.send(frame(DATA, 0, stream, bytes(16384)) * 64)
    connection.send(frame(DATA, END_STREAM, stream))


@pytest.mark.parametrize("declared", [False, True])
def test_http2_bodies_over_the_limit_are_413(otad, declared):
    connection, length, data = Connection(otad).start_http2(), 20 * MIB, b""
    for stream in (1, 3, 5):
        upload(connection, stream, post(b"/firmware/upload", length if declared else None), length)
    connection.send(frame(HEADERS, END_STREAM | END_HEADERS, 7, get()))
    end = time.monotonic() + 60
    while (answer(data, 7)[0] == 0 or answer(data, 5)[2] is None) and time.monotonic() < end:
        more, closed = connection.read(0.5)
        data += more
        assert not closed, data
    for stream in (1, 3, 5):
        status, body, reset = answer(data, stream)
        assert status == 413 and json.loads(body)["status"] == 413 and reset == 0
    assert answer(data, 7)[0] == 200 and goaway(data) is None
    credit = sum(int.from_bytes(payload, "big") for kind, _, stream, payload in frames(data)
                 if kind == WINDOW_UPDATE and stream == 0)
    assert credit > 50 * MIB  # what was thrown away counts as read


def test_http2_body_of_the_limit_reaches_its_handler(otad):
    """One byte less than too much; the handler refuses to take it for an image."""
    connection, most = Connection(otad).start_http2(), 16 * MIB + 65536
    for stream, length in ((1, most), (3, most + 1)):
        connection.send(frame(HEADERS, END_HEADERS, stream, post(b"/firmware/upload")))
        connection.send(frame(DATA, 0, stream, bytes(16384)) * (most // 16384))
        connection.send(frame(DATA, END_STREAM, stream, bytes(length - most)))
    data, _ = connection.read(60, lambda got: answer(got, 1)[0] and answer(got, 3)[0])
    assert answer(data, 1)[0] == 401 and answer(data, 3)[0] == 413


def test_http2_body_behind_bad_headers_is_not_waited_for(otad):
    connection = Connection(otad).start_http2()
    bad = post(b"/auth/login") + b"\0\x03x-a\x02\x01\x01"
    upload(connection, 1, bad, MIB)
    data, closed = connection.read(60, lambda got: answer(got, 1)[2] is not None)
    assert not closed and answer(data, 1)[0] == 400 and answer(data, 1)[2] == 0


def test_data_for_closed_streams_is_no_way_around_the_budget_of_frames(otad):
    connection = Connection(otad).start_http2()
    connection.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, get()))
    connection.read(30, lambda got: any(kind == DATA for kind, *_ in frames(got)))
    connection.send(frame(DATA, 0, 1, b"x") * 100000)
    assert goaway(connection.read(30)[0]) == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("declared", [False, True])
def test_curl_gets_413_over_http2(otad, tmp_path, declared):
    large = tmp_path / "large"
    large.write_bytes(bytes(40 * MIB))
    for _ in range(10):
        with large.open("rb") as data:
            done = subprocess.run(
                ["curl", "-sS", "-w", "\n%{http_code} %{num_connects}", "--http2-prior-knowledge", "-X", "POST", "-H",
                 "content-type: application/octet-stream", "-T", str(large) if declared else "-",
                 f"{otad.url}/firmware/upload"], stdin=data, capture_output=True, text=True, timeout=60)
        body, codes = done.stdout.splitlines()
        assert json.loads(body)["status"] == 413 and codes == "413 1", done
