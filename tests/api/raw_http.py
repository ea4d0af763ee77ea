"""Raw HTTP for attacks: frames and requests as no well-behaved client library would send them."""
import socket
import struct
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 1
END_HEADERS = 4
INITIAL_WINDOW_SIZE = 4
ENHANCE_YOUR_CALM = 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def setting(name, value):
    return struct.pack(">HI", name, value)


def literal(index, value):
    """HPACK: a header whose name is in the static table, not added to the dynamic one; value up to 126 bytes."""
    return (bytes([index]) if index < 15 else bytes([15, index - 15])) + bytes([len(value)]) + value


def get(path=b"/healthz"):
    return b"\x82\x86" + literal(4, path) + literal(1, b"localhost")


def post(path, length=None):
    block = b"\x83\x86" + literal(4, path) + literal(1, b"localhost") + literal(31, b"application/json")
    return block if length is None else block + literal(28, str(length).encode())


class Connection:
    def __init__(self, otad, receive_buffer=0):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect((otad.host, otad.http_port))
        self.opened = time.monotonic()

    def send(self, data, timeout=10):
        """True if all of it was taken; False if the other side has closed or takes no more."""
        self.sock.settimeout(timeout)
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def reset(self):
        """Ends it with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def start_http2(self, settings=b""):
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))
        return self

    def read(self, timeout=30, until=lambda got: False):
        """What comes until the other side closes, or until(all that came); second: whether it closed, within `timeout`
        seconds."""
        end = time.monotonic() + timeout
        got = bytearray()
        while True:
            self.sock.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                return bytes(got), False
            except OSError:
                return bytes(got), True
            if not data:
                return bytes(got), True
            got += data
            if until(got):
                return bytes(got), False

    def close(self):
        self.sock.close()


def frames(data):
    at = 0
    while at + 9 <= len(data):
        length = int.from_bytes(data[at:at + 3], "big")
        stream = int.from_bytes(data[at + 5:at + 9], "big") & 0x7FFFFFFF
        yield data[at + 3], data[at + 4], stream, data[at + 9:at + 9 + length]
        at += 9 + length


def answer(data, stream):
    """Status (0: none) and body of a stream's answer, and the code of an RST_STREAM (None: none)."""
    status, body, reset = 0, b"", None
    for kind, _, of, payload in frames(data):
        if of == stream and kind == HEADERS:
            status = {0x88: 200, 0x8C: 400}.get(payload[0]) or int(payload[2:5])
        elif of == stream and kind == DATA:
            body += payload
        elif of == stream and kind == RST_STREAM:
            reset = int.from_bytes(payload, "big")
    return status, body, reset


def goaway(data):
    """Error code of the last GOAWAY, or None."""
    codes = [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in frames(data) if kind == GOAWAY]
    return codes[-1] if codes else None
