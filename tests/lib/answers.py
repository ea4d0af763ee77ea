"""What tests of the HTTP API have in common: the shape of problems, clients at other addresses."""
import random

import httpx

UNDER_WAY = ("pending", "offered", "downloading", "installing")
DEVICE = ["id", "device_code", "name", "chip", "chip_reported", "tags", "status", "firmware_version", "elf_sha256", "last_seen",
          "created_at", "user_id"]
UPDATE = ["id", "device_id", "firmware_id", "rollout_id", "version", "from_version", "state", "progress", "reason",
          "created_at", "updated_at"]
FIRMWARE = ["id", "version", "chip", "project", "size", "sha256", "elf_sha256", "secure_version", "idf_version",
            "min_chip_revision", "signature_kind", "release_key", "file_url", "notes", "uploaded_at"]


def problem(answer, status, field=None):
    """Asserts that the answer is a problem (RFC 9457) of this status and tells nothing it should not; with `field`,
    that it names this one. Returns its JSON."""
    asked = f"{answer.request.method} {answer.request.url}"
    assert answer.status_code == status, f"{asked}: {answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "request_id"} <= set(body), body
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    for secret in ("stack traceback", ".lua", ".c:", "select ", "insert ", "/tmp", "/home", "pg_", "SQLSTATE"):
        assert secret not in answer.text, answer.text
    if field is not None:
        assert field in [error["field"] for error in body["errors"]], body
    return body


def without_id(answer):
    """The answer's bytes, with the request's id taken out."""
    return answer.content.replace(answer.headers["x-request-id"].encode(), b"")


def some_address():
    """An address of this host that no other test fails logins from."""
    return "127." + ".".join(str(random.randrange(1, 255)) for _ in range(3))


def client_from(otad, address=None):
    """httpx.Client that connects from this address of the loopback network."""
    transport = httpx.HTTPTransport(local_address=address or some_address())
    return httpx.Client(base_url=f"http://127.0.0.1:{otad.http_port}", transport=transport, timeout=30)
