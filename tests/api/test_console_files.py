"""The console's files as otad serves them, and consoles on other hosts (CORS, cookies). What is in the files is the
console's own matter: here they are made up."""
import gzip
import http.client
import random
import re
import subprocess

import httpx
import pytest

from accounts import Account
from answers import problem
from instances import Instance
from raw_http import Connection

ELSEWHERE = "https://console.example"
SCRIPT = "/ui/main-ABCD1234.js"
INDEX = '<base href="/ui/"><app-root ngCspNonce="CSP_NONCE"></app-root><script nonce="CSP_NONCE">start()</script>'


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("console") / "browser"
    (place / "media").mkdir(parents=True)
    (place / "index.html").write_text(INDEX)
    (place / "main-ABCD1234.js").write_bytes(b"// a script\n" * 30_000)
    (place / "main-ABCD1234.js.gz").write_bytes(gzip.compress(b"// a script\n" * 30_000))
    (place / "main-ABCD1234.js.br").write_bytes(b"(brotli)")
    (place / "media/noise.bin").write_bytes(random.Random(1).randbytes(3_000_000))
    (place / "favicon.ico").write_bytes(b"icon")
    (place.parent / "secret.txt").write_text("hush")
    return place


@pytest.fixture(scope="module")
def console(otad, files):
    instance = Instance(otad, "console", OTAD_CONSOLE_DIR=str(files), OTAD_HTTP_ORIGINS=ELSEWHERE,
                        OTAD_AUTH_COOKIE_SAMESITE="None")
    yield instance
    instance.end()


@pytest.fixture(scope="module", params=(False, True), ids=("HTTP/1.1", "HTTP/2"))
def client(request, console):
    with httpx.Client(http1=not request.param, http2=request.param, base_url=console.url, timeout=30,
                      headers={"accept-encoding": "identity"}) as client:
        yield client


@pytest.mark.parametrize("path", ("/", "/ui", "/ui/", "/ui/index.html", "/ui/devices", "/ui/rollouts/3?tab=x", "/ui/a/../b"))
def test_every_page_is_the_index_with_a_nonce_of_its_own(client, path):
    nonces = set()
    for _ in range(3):
        answer = client.get(path)
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        nonce = re.search(r'ngCspNonce="([A-Za-z0-9+/]{22}==)"', answer.text).group(1)
        assert answer.text == INDEX.replace("CSP_NONCE", nonce)
        (policy,) = answer.headers.get_list("content-security-policy")
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == f"'self' 'nonce-{nonce}'"
        host = client.base_url.netloc.decode()
        assert rules["connect-src"] == f"'self' ws://{host} wss://{host}"
        nonces.add(nonce)
    assert len(nonces) == 3
    assert answer.headers["permissions-policy"].startswith("serial=(self), ")
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_host_that_is_none_stays_out_of_the_policy(console):
    answer = httpx.get(console.url, headers={"host": "a; script-src * 'unsafe-inline'"})
    assert "unsafe-inline" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("accepted, encoding", [
    ("gzip, deflate, br, zstd", "br"), ("gzip", "gzip"), ("br;q=0, gzip;q=0.1", "gzip"), ("identity", None), ("zstd", None)])
def test_encodings(client, files, accepted, encoding):
    name = SCRIPT.removeprefix("/ui/") + {"br": ".br", "gzip": ".gz", None: ""}[encoding]
    with client.stream("GET", SCRIPT, headers={"accept-encoding": accepted}) as answer:
        assert b"".join(answer.iter_raw()) == (files / name).read_bytes()
    assert answer.status_code == 200 and answer.headers.get("content-encoding") == encoding
    assert {"accept-encoding", "origin"} == set(answer.headers.get_list("vary", split_commas=True))
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    again = client.get(SCRIPT, headers={"accept-encoding": accepted, "if-none-match": answer.headers["etag"]})
    assert again.status_code == 304 and not again.content and again.headers["etag"] == answer.headers["etag"]


def test_no_two_encodings_share_a_tag(client):
    tags = {client.head(SCRIPT, headers={"accept-encoding": name}).headers["etag"] for name in ("br", "gzip", "identity")}
    assert len(tags) == 3


def test_a_large_file_in_parts(client, files):
    whole = (files / "media/noise.bin").read_bytes()
    answer = client.get("/ui/media/noise.bin")
    assert answer.content == whole and answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"] == "application/octet-stream" and "vary" in answer.headers
    answer = client.get("/ui/media/noise.bin", headers={"range": "bytes=1000000-1999999"})
    assert answer.status_code == 206 and answer.content == whole[1_000_000:2_000_000]
    assert answer.headers["content-range"] == "bytes 1000000-1999999/3000000"
    problem(client.get("/ui/media/noise.bin", headers={"range": "bytes=3000000-"}), 416)
    answer = client.head("/ui/media/noise.bin")
    assert answer.headers["content-length"] == "3000000" and not answer.content


@pytest.mark.parametrize("path", (
    "/ui/none.js", "/ui/media/none.woff2", "/ui/main-ABCD1234.js.br", "/favicon.png", "/index.html", "/uis",
    "/ui/%2e%2e/secret.txt", "/ui/..%2fsecret.txt", "/ui/media/..%2f..%2fsecret.txt", "/ui/%2e%2e%2fsecret.txt",
    "/ui/..%5csecret.txt", "/ui/....//secret.txt", "/ui/index.html%00", "/ui/%00", "/ui/main%00.js", "/ui/a%0d%0ab",
    "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/ui//etc/passwd.x", "/ui/C:%5cx.txt"))
def test_what_is_not_there(console, path):
    connection = http.client.HTTPConnection("localhost", int(console.url.rsplit(":", 1)[1]), timeout=30)
    connection.request("GET", path)  # httpx would tidy the path up
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 404 and b"hush" not in body and b"root:" not in body, (path, answer.status, body)
    assert answer.getheader("content-type") == "application/problem+json"
    connection.close()


def test_other_methods(client):
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        for path in ("/", "/ui/devices", SCRIPT, "/favicon.ico"):
            problem(client.request(method, path), 405)
    assert client.post("/").headers["allow"] == "GET, HEAD"
    assert client.head("/").status_code == 200 and not client.head("/").content


def test_scripts_win(client):
    """The API is where it was: its 404s, 405s and 401s too."""
    assert client.get("/healthz").json()["status"] == "ok"
    problem(client.get("/nothing"), 404)
    assert "GET" not in problem_allow(client.get("/auth/login"))
    problem(client.get("/devices"), 401)


def problem_allow(answer):
    problem(answer, 405)
    return answer.headers["allow"].split(", ")


def test_they_count_as_console(console):
    httpx.get(console.url + "/ui/x")
    httpx.get(console.url + "/ui/x.js")
    metrics = httpx.get(console.url + "/metrics").text
    assert re.search(r'otad_http_requests_total\{route="console",method="GET",code="200"\} \d', metrics)
    assert re.search(r'otad_http_requests_total\{route="console",method="GET",code="404"\} \d', metrics)


def test_clients_that_leave_half_way(console):
    class Place:
        host, http_port = "localhost", int(console.url.rsplit(":", 1)[1])
    for _ in range(50):
        connection = Connection(Place, receive_buffer=4096)
        connection.send(b"GET /ui/media/noise.bin HTTP/1.1\r\nHost: h\r\n\r\n")
        connection.read(5, until=lambda got: len(got) > 1000)
        connection.close()
    assert httpx.get(console.url).status_code == 200


def test_under_load(console, files):
    """Answers stay whole while two workers serve many connections."""
    done = subprocess.run(["wrk", "-t2", "-c32", "-d2", "-H", "Accept-Encoding: br", console.url + SCRIPT], capture_output=True,
                          text=True, timeout=60)
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
    assert int(re.search(r"(\d+) requests in", done.stdout).group(1)) > 100


@pytest.mark.parametrize("make, said", [
    (lambda place: None, "empty or missing"),
    (lambda place: (place / "main.js").write_text("1"), "without index.html"),
    (lambda place: ((place / "index.html").write_text("x"),
                    (place / "large.bin").write_bytes(bytes(33 << 20))), "holds more than 32 MiB"),
])
def test_without_a_console_there_is_the_api(otad, tmp_path, make, said):
    make(tmp_path)
    instance = Instance(otad, f"without-{len(said)}", OTAD_CONSOLE_DIR=str(tmp_path))
    try:
        assert said in instance.log()
        for path in ("/", "/ui/", "/ui/main.js", "/favicon.ico"):
            problem(httpx.get(instance.url + path), 404)
        assert httpx.get(instance.url + "/healthz").status_code == 200
        answer = httpx.get(instance.url + "/healthz", headers={"origin": ELSEWHERE})
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "vary"]
    finally:
        instance.end()


# Consoles on other hosts


def preflight(url, origin, method="PATCH", path="/devices/1"):
    return httpx.options(url + path, headers={"origin": origin, "access-control-request-method": method,
                                              "access-control-request-headers": "authorization, content-type"})


def test_a_listed_origin_may_use_the_api(console):
    answer = preflight(console.url, ELSEWHERE)
    assert answer.status_code == 204 and not answer.content
    assert answer.headers["access-control-allow-origin"] == ELSEWHERE
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert {"authorization", "content-type", "if-match", "if-none-match", "x-request-id"} == set(
        answer.headers["access-control-allow-headers"].split(", "))
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert "origin" in answer.headers["vary"]
    for path, status in (("/healthz", 200), ("/devices", 401), ("/nothing", 404)):
        answer = httpx.get(console.url + path, headers={"origin": ELSEWHERE})
        assert answer.status_code == status and answer.headers["access-control-allow-origin"] == ELSEWHERE
        assert set(answer.headers["access-control-expose-headers"].split(", ")) == {"etag", "x-request-id", "retry-after"}
    connection = http.client.HTTPConnection("localhost", int(console.url.rsplit(":", 1)[1]), timeout=30)
    connection.putrequest("POST", "/auth/login")
    for header in (("origin", ELSEWHERE), ("content-length", str(99 << 20))):
        connection.putheader(*header)
    connection.endheaders()
    answer = connection.getresponse()  # libh2o's own
    assert answer.status == 413 and answer.getheader("access-control-allow-origin") == ELSEWHERE
    connection.close()


@pytest.mark.parametrize("origin", ("https://evil.example", "null", ELSEWHERE + ".evil.example", "http://console.example", "*"))
def test_others_may_not(console, origin):
    answer = preflight(console.url, origin)
    assert answer.status_code in (404, 405)
    assert "access-control-allow-origin" not in answer.headers
    answer = httpx.get(console.url + "/healthz", headers={"origin": origin})
    assert "access-control-allow-origin" not in answer.headers and answer.headers["vary"] == "origin"


def test_the_cookie_of_a_console_elsewhere(console, otad):
    account = Account(otad)
    answer = httpx.post(console.url + "/auth/login", headers={"origin": ELSEWHERE},
                        json={"email": account.email, "password": account.password, "cookie": True})
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert {"SameSite=None", "Secure", "HttpOnly", "Partitioned"} <= set(attributes)
    port = console.url.rsplit(":", 1)[1]
    for origin in ("https://evil.example", "null", f"http://localhost.evil.example:{port}", f"http://localhost:{int(port) + 1}"):
        answer = httpx.post(console.url + "/auth/refresh", headers={"cookie": cookie, "origin": origin})
        problem(answer, 403)
        assert "set-cookie" not in answer.headers  # the session goes on
    for origin in (ELSEWHERE, console.url, None):
        headers = {"cookie": cookie} | ({"origin": origin} if origin else {})
        answer = httpx.post(console.url + "/auth/refresh", headers=headers)
        assert answer.status_code == 200, answer.text
        cookie = answer.headers["set-cookie"].split("; ")[0]


def test_a_token_in_the_body_is_no_cookie(console, otad):
    """Who has it needs no browser to send it."""
    account = Account(otad)
    login = {"email": account.email, "password": account.password}
    token = httpx.post(console.url + "/auth/login", json=login).json()["refresh_token"]
    answer = httpx.post(console.url + "/auth/refresh", json={"refresh_token": token}, headers={"origin": "https://evil.example"})
    assert answer.status_code == 200
