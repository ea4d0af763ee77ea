"""What any request may meet: bad JSON, odd cursors, wrong methods and types, parts behind the server that are down."""
import http.client
import json
import re
import secrets
import time

import httpx
import pytest

from accounts import Account
from answers import client_from, problem
from devices import Device, wait_for
from test_feed import Feed
from test_firmware import stored

JSON = {"content-type": "application/json"}


def register(account, content):
    return account.client.post("/devices/register", content=content, headers=JSON)


def code():
    return f"code-{secrets.token_hex(6)}"


# Bodies


@pytest.mark.parametrize("body", [
    b"", b" ", b"{", b"}", b'{"device_code"', b'{"device_code":"a"', b'{"device_code":"a",}', b'{"device_code":"a"} x',
    b'{"device_code":"a"}{}', b"{'device_code':'a'}", b'{device_code:"a"}', b"nul", b"NaN", b'{"device_code":NaN}',
    b'{"device_code":Infinity}', b'{"device_code":-Infinity}', b'{"device_code":1e999}', b'{"device_code":01}',
    b'{"device_code":+1}', b'{"device_code":.5}', b'{"device_code":"a","device_code":"b"}',
    b'{"device_code":"a","tags":{"x":"1","x":"2"}}', b'{"device_code":"\xff"}', b'{"device_code":"\xc0\x80"}',
    b'{"device_code":"\xed\xa0\x80"}', b'{"device_code":"\\ud800"}', b'{"device_code":"\\udc00\\ud800"}',
    b'{"device_code":"a\\u0000b"}', b'{"\\u0000":"a"}', b'{"device_code":"a\x00b"}', b'{"device_code":"a\nb"}',
    b'{"device_code":"\\x"}', b'{"device_code":"a"}\x00', b"\xef\xbb\xbf{}",
    b"[" * 10000, b"[" * 10000 + b"]" * 10000, b'{"a":' * 10000 + b"1" + b"}" * 10000, b"/* */ {}", b"// x\n{}"])
def test_what_is_not_json_is_400(user, body):
    problem(register(user, body), 400)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"true", b"null", b"[1]", b"1e3"])
def test_json_of_another_kind_is_422(user, body):
    problem(register(user, body), 422)


def test_sound_json_however_written(user):
    name = code()
    escaped = "".join(f"\\u{ord(c):04x}" for c in name).encode()
    answer = register(user, b' \r\n\t{ "device_code" : "' + escaped + b'" , "name":"\\ud83d\\ude00 \xc3\xa4" } \n')
    assert answer.status_code == 201
    assert answer.json()["device"]["device_code"] == name and answer.json()["device"]["name"] == "😀 ä"


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx",
                                  "multipart/form-data; boundary=x", "application/xml",
                                  "application/json; charset=utf-16", 'application/json;Charset="latin1"'])
def test_other_types_are_415(user, kind):
    headers = {} if kind is None else {"content-type": kind}
    problem(user.client.post("/devices/register", content=b'{"device_code":"a"}', headers=headers), 415)


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"Utf-8"'])
def test_a_charset_may_be_named(user, charset):
    headers = {"content-type": f"application/json; charset={charset}"}
    body = json.dumps({"device_code": code()})
    assert user.client.post("/devices/register", content=body, headers=headers).status_code == 201


def test_errors_name_every_field(user):
    body = problem(user.client.post("/devices/register", json={"device_cod": "a", "name": 5, "chip": "x"}), 422)
    assert {e["field"] for e in body["errors"]} == {"device_code", "device_cod", "name", "chip"}
    assert all(set(e) == {"field", "message"} for e in body["errors"])
    assert "did you mean device_code?" in next(e["message"] for e in body["errors"] if e["field"] == "device_cod")


def test_too_large(user):
    problem(register(user, b'{"device_code":"' + b"a" * (1 << 20) + b'"}'), 413)
    problem(user.client.post("/auth/login", content=b" " * (2 << 20), headers=JSON), 413)


def test_foreign_signs_stay_text(user):
    for text in ("'; drop table devices; --", "$1", "%s%n", "{{7*7}}", "<script>", "\\", '"', "${jndi:x}", "\u202e"):
        tags = {} if ":" in text else {text: text}
        answer = user.client.post("/devices/register", json={"device_code": code(), "name": text, "tags": tags})
        assert answer.status_code == 201, answer.text
        assert answer.json()["device"]["name"] == text and answer.json()["device"]["tags"] == tags


# Paths, methods, queries


def test_unknown_paths(client, operator):
    for path in ("/", "/nothing", "/devices/", "/devices//1", "/auth", "/Devices", "/devices/1/nothing", "/%00",
                 "/firmware", "/ota", "/ota/", "/..", "/%2e%2e/etc/passwd", "/healthz/", "/" + "a" * 4000):
        assert client.get(path).status_code in (400, 401, 404), path
        assert operator.client.get(path).status_code in (400, 404), path
    problem(operator.client.get("/nothing"), 404)


@pytest.mark.parametrize("method, path, allow", [
    ("GET", "/auth/login", {"POST"}), ("DELETE", "/auth/me", {"GET", "HEAD"}), ("POST", "/healthz", {"GET", "HEAD"}),
    ("PUT", "/devices/1", {"GET", "HEAD", "PATCH"}), ("DELETE", "/devices/1", {"GET", "HEAD", "PATCH"}),
    ("GET", "/devices/1/delete", {"DELETE"}), ("POST", "/devices", {"GET", "HEAD"}),
    ("PATCH", "/ota/x", {"GET", "HEAD"}), ("GET", "/devices/1/update", {"POST"}),
    ("BREW", "/healthz", {"GET", "HEAD"}), ("OPTIONS", "/healthz", {"GET", "HEAD"})])
def test_other_methods_are_405(client, method, path, allow):
    answer = client.request(method, path)
    problem(answer, 405)
    assert {word.strip() for word in answer.headers["allow"].split(",")} == allow


def test_head_is_get_without_the_body(client, operator):
    for someone, path in ((client, "/healthz"), (operator.client, "/devices"), (operator.client, "/auth/me")):
        head, get = someone.head(path), someone.get(path)
        assert head.status_code == get.status_code == 200 and head.content == b""
        assert head.headers["content-length"] == str(len(get.content))
    assert operator.client.head("/devices/2147483647").status_code == 404


LISTS = ["/devices", "/firmware/list"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("query", [
    "limit=0", "limit=-1", "limit=201", "limit=1e2", "limit=", "limit=abc", "limit=2147483648", "limit=1.0", "limit=%2b5",
    "limit=9223372036854775808", "limit=%205", "limit=05", "limit=0x10", "cursor=", "cursor=x", "cursor=1", "cursor=%00",
    "cursor=" + "A" * 400, "cursor=" + "A" * 4000, "nothing=1", "Limit=5", "cursor=%ff",
    "limit=5&limit=6"])
def test_bad_queries_of_lists(operator, path, query):
    problem(operator.client.get(f"{path}?{query}"), 422, query.split("=")[0])


@pytest.mark.parametrize("query", ["limit=%", "limit=%zz", "limit=%4", "%=1",
                                   "&".join(f"a{i}=1" for i in range(100))])
def test_queries_that_cannot_be_read(otad, operator, query):
    connection = http.client.HTTPConnection(otad.host, otad.http_port, timeout=10)  # httpx mends such queries
    connection.request("GET", f"/devices?{query}", headers=operator.headers)
    answer = connection.getresponse()
    assert answer.status == 400 and json.loads(answer.read())["status"] == 400
    connection.close()


@pytest.mark.parametrize("query", ["online=yes", "online=1", "tag=x", "tag=:x", "tag=", "chip=" + "x" * 51,
                                   "version=%ff", "version=%00", "chip=a%00b"])
def test_bad_filters(operator, query):
    problem(operator.client.get(f"/devices?{query}"), 422, query.split("=")[0])


def test_altered_cursors_are_422(operator, user):
    for _ in range(2):
        user.client.post("/devices/register", json={"device_code": code()})
        stored(operator)
    cursor = user.client.get("/devices?limit=1").json()["next"]
    assert user.client.get("/devices", params={"cursor": cursor}).status_code == 200
    for i in range(len(cursor)):
        altered = cursor[:i] + ("A" if cursor[i] != "A" else "B") + cursor[i + 1:]
        problem(user.client.get("/devices", params={"cursor": altered}), 422, "cursor")
    for altered in (cursor + "A", cursor[:-1], cursor + "=", " " + cursor):
        problem(user.client.get("/devices", params={"cursor": altered}), 422, "cursor")
    problem(user.client.get("/firmware/list", params={"cursor": cursor}), 422, "cursor")


def test_a_path_without_query_takes_none(operator):
    problem(operator.client.get("/auth/me?x=1"), 422)


# Who asks


@pytest.mark.parametrize("method, path", [
    ("GET", "/auth/me"), ("POST", "/auth/logout"), ("GET", "/devices"), ("POST", "/devices/register"),
    ("GET", "/devices/1"), ("POST", "/devices/1/update"), ("GET", "/firmware/list"), ("POST", "/firmware/upload"),
    ("DELETE", "/firmware/1/delete"), ("GET", "/firmware/1/download"), ("POST", "/admin/reload"),
    ("GET", "/admin/scripts"), ("GET", "/admin/routes")])
def test_without_a_token_401(client, method, path):
    answer = client.request(method, path)
    problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("method, path", [
    ("POST", "/firmware/upload"), ("DELETE", "/firmware/1/delete"), ("POST", "/admin/reload"), ("GET", "/admin/scripts"),
    ("GET", "/admin/routes")])
def test_what_is_for_operators_is_403(user, method, path):
    problem(user.client.request(method, path), 403)


# Headers of every answer


def test_request_ids(client):
    for given in ("abc", "A-1_2.3", "x" * 128):
        assert client.get("/healthz", headers={"x-request-id": given}).headers["x-request-id"] == given
        assert client.get("/nothing", headers={"x-request-id": given}).json()["request_id"] == given
    for bad in ("a b", "x" * 129, "<a>", "a\"b", "a;b"):
        made = client.get("/healthz", headers={"x-request-id": bad}).headers["x-request-id"]
        assert made != bad and re.fullmatch(r"[\w.-]{8,128}", made)
    ids = {client.get("/healthz").headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


def test_security_headers(client, operator):
    answers = [client.get("/healthz"), client.get("/nothing"), client.post("/auth/login", content=b"{"),
               operator.client.get("/devices"), client.get("/devices")]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "x-powered-by" not in answer.headers


def test_hsts_over_tls_only(otad, client):
    assert "strict-transport-security" not in client.get("/healthz").headers
    with httpx.Client(base_url=otad.https_url, verify=str(otad.ca), http2=True) as secure:
        answer = secure.get("/healthz")
        assert answer.http_version == "HTTP/2" and "strict-transport-security" in answer.headers


# Scripts and health


def test_scripts_and_reload(operator):
    shown = operator.client.get("/admin/scripts")
    assert shown.status_code == 200
    body = shown.json()
    assert {"revision", "loaded_at", "problems"} <= set(body) and re.fullmatch(r"[0-9a-f]{64}", body["revision"])
    assert body["problems"] == []
    answer = operator.client.post("/admin/reload")
    assert answer.status_code == 200 and answer.json()["revision"] == body["revision"]
    assert answer.json()["files"] > 10


def test_routes_are_listed(operator):
    items = operator.client.get("/admin/routes").json()["items"]
    routes = {(route["method"], route["path"]): route["who"] for route in items}
    assert routes["GET", "/devices/:id"] == "user" and routes["POST", "/firmware/upload"] == "operator"
    assert routes["GET", "/healthz"] == "anyone"


def test_metrics(client, operator, make_device):
    device = make_device()
    operator.client.get(f"/devices/{device.id}")
    answer = client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for name in ("otad_http_requests_total", "otad_http_request_duration_seconds_bucket", "otad_updates_total",
                 "otad_pg_queries_total", "otad_pg_query_duration_seconds_bucket", "otad_devices"):
        assert re.search(rf"^{name}\{{", answer.text, re.M) or re.search(rf"^{name} ", answer.text, re.M), name
    assert 'route="/devices/:id"' in answer.text and f'"/devices/{device.id}"' not in answer.text
    assert 'otad_updates_total{state="succeeded"}' in answer.text


# Outages


@pytest.fixture(scope="module")
def own(start_otad):
    return start_otad()


@pytest.mark.measured
def test_without_postgresql(own):
    account = Account(own)
    device = Device(own, account)
    headers = account.headers
    own.service("postgresql", "stop")
    try:
        begun = time.monotonic()
        while time.monotonic() - begun < 3:
            for answer in (account.client.get(f"/devices/{device.id}"), account.client.post(
                    "/devices/register", json={"device_code": code()}), client_from(own).post(
                    "/auth/login", json={"email": account.email, "password": account.password})):
                problem(answer, 503)
                assert int(answer.headers["retry-after"]) > 0
        assert account.client.get("/healthz").status_code == 200
        ready = account.client.get("/readyz")
        assert ready.status_code == 503 and ready.json()["parts"]["postgresql"] == "down"
        assert ready.json()["parts"]["scripts"] == "ready"
        assert account.client.get("/metrics").status_code == 200
    finally:
        own.service("postgresql", "start")
    path = f"{own.url}/devices/{device.id}"  # asked on new connections, which are spread over the workers
    wait_for(lambda: {httpx.get(path, headers=headers).status_code for _ in range(16)} == {200},
             timeout=5)
    assert {httpx.get(f"{own.url}/readyz").status_code for _ in range(16)} == {200}
    assert account.client.post("/devices/register", json={"device_code": code()}).status_code == 201


def test_the_feed_without_postgresql(own):
    account = Account(own)
    topic = f"device:{Device(own, account).id}"
    feed = Feed(own.url, token=account.token)
    own.service("postgresql", "stop")
    try:
        feed.say({"subscribe": [topic], "id": 1})
        assert "try again" in feed.error()
        feed.say({"id": 2})  # the server is there, whatever is not
        assert feed.get() == {"event": "done", "data": {"id": 2}}
    finally:
        own.service("postgresql", "start")
    wait_for(lambda: httpx.get(f"{own.url}/readyz").status_code == 200)
    feed.ask(3, subscribe=[topic])
    feed.close()


def test_without_redis(own):
    account = Account(own)
    own.service("redis", "stop")
    try:
        wait_for(lambda: account.client.get("/readyz").status_code == 503)
        assert account.client.get("/readyz").json()["parts"]["redis"] == "down"
        device = Device(own, account)
        assert account.client.get(f"/devices/{device.id}").status_code == 200
        assert account.client.post(f"/devices/{device.id}/credentials").status_code == 200
        other = Account(own)
        assert other.client.get("/auth/me").status_code == 200
        assert other.client.post("/auth/logout").status_code == 204
        assert httpx.get(f"{own.url}/auth/me", headers=other.headers).status_code == 401
        assert account.client.request("DELETE", f"/devices/{device.id}/delete").status_code == 204
    finally:
        own.service("redis", "start")
    wait_for(lambda: account.client.get("/readyz").status_code == 200)
