"""Accounts over HTTP: registration, login and its limits, sessions and their end."""
import concurrent.futures
import re
import secrets
import statistics
import subprocess
import time

import httpx
import pytest

from accounts import PASSWORD
from answers import client_from, problem, some_address, without_id
from system import PROGRAM, ROOT

WRONG = "not the password at all"


def new_email():
    return f"u-{secrets.token_hex(6)}@example.org"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def login(client, email, password=PASSWORD, **more):
    return client.post("/auth/login", json={"email": email, "password": password, **more})


def refresh(client, token):
    return client.post("/auth/refresh", json={"refresh_token": token})


def me(client, token):
    return client.get("/auth/me", headers=bearer(token)).status_code


@pytest.fixture
def email(client):
    """Of a fresh account."""
    address = new_email()
    assert client.post("/auth/register", json={"email": address, "password": PASSWORD}).status_code == 201
    return address


@pytest.fixture
def session(client, email):
    """The answer to a login."""
    answer = login(client, email)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def own(start_otad):
    """A system of this module's own, for what stops services or needs it empty."""
    return start_otad()


# Registration


def test_register_answers_with_the_account(client, operator):
    address = new_email()
    answer = client.post("/auth/register", json={"email": address.upper(), "password": PASSWORD})
    assert answer.status_code == 201
    user = answer.json()["user"]
    assert list(user) == ["id", "email", "role", "created_at"]
    assert user["email"] == address and user["role"] == "user" and isinstance(user["id"], int)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", user["created_at"])


def test_an_address_is_taken_whatever_its_case(client, email):
    problem(client.post("/auth/register", json={"email": email.swapcase(), "password": PASSWORD}), 409)


def test_nobody_makes_himself_operator(client, operator):
    address = new_email()
    body = {"email": address, "password": PASSWORD}
    problem(client.post("/auth/register", json={**body, "role": "operator"}), 422, "role")
    user = client.post("/auth/register", json=body).json()["user"]
    assert user["role"] == "user"
    token = login(client, address).json()["access_token"]
    problem(client.get("/admin/scripts", headers=bearer(token)), 403)


@pytest.mark.parametrize("password", ["123456789", "äöüäöüäöü", "x9" * 65, "", "password123", "PASSWORD123",
                                      "qwertyuiop", "1234567890", "aaaaaaaaaaaa"])
def test_bad_passwords_are_refused(client, password):
    problem(client.post("/auth/register", json={"email": new_email(), "password": password}), 422, "password")


@pytest.mark.parametrize("password", ["k7#mQ2$vLp", "äöüßäöüßxy", "x9" * 64, "öä" * 64])
def test_no_password_is_cut(otad, client, password):
    address = new_email()
    assert client.post("/auth/register", json={"email": address, "password": password}).status_code == 201
    with client_from(otad) as other:
        problem(login(other, address, password[:-1]), 401)
        problem(login(other, address, password + "x"), 401)
        assert login(other, address, password).status_code == 200


@pytest.mark.parametrize("email", ["", "x", "x@", "@x.org", "a b@x.org", "a@b@c.org", "a@x..org", "a@x.org ", "ä@x.org",
                                   "a" * 250 + "@x.org", 5, None, ["a@x.org"], {"a": 1}])
def test_what_is_no_address_is_refused(client, email):
    problem(client.post("/auth/register", json={"email": email, "password": PASSWORD}), 422, "email")


def test_of_first_accounts_at_once_one_becomes_operator(own):
    def register(i):
        with httpx.Client(base_url=own.url, timeout=60) as client:
            return client.post("/auth/register", json={"email": f"first{i}@example.org", "password": PASSWORD})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(register, range(8)))
    roles = [answer.json()["user"]["role"] for answer in answers]
    assert sorted(roles) == ["operator"] + ["user"] * 7
    operator = answers[roles.index("operator")].json()["user"]["email"]
    own.cli("user", "role", "first0@example.org", "operator")
    with httpx.Client(base_url=own.url) as client:
        for address in (operator, "first0@example.org"):
            token = login(client, address).json()["access_token"]
            assert client.get("/auth/me", headers=bearer(token)).json()["user"]["role"] == "operator"


# Login


def test_login_answers_with_tokens(client, email):
    answer = login(client, email.upper())
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert body["token_type"] == "Bearer" and body["expires_in"] == 900
    assert answer.headers["cache-control"] == "no-store" and "set-cookie" not in answer.headers
    account = client.get("/auth/me", headers=bearer(body["access_token"])).json()
    assert account["user"]["email"] == email


def test_unknown_and_known_accounts_look_the_same(otad, client, email):
    def attempt(address, password):
        with client_from(otad) as other:
            other.get("/healthz")
            begun = time.monotonic()
            answer = login(other, address, password)
            return answer, time.monotonic() - begun
    known, unknown = zip(*((attempt(email, WRONG), attempt(new_email(), WRONG)) for _ in range(5)))
    for answer, _ in (*known, *unknown):
        problem(answer, 401)
        assert without_id(answer) == without_id(known[0][0])
        assert [h for h in answer.headers if h != "date"] == [h for h in known[0][0].headers if h != "date"]
    times = [min(seconds for _, seconds in attempts) for attempts in (known, unknown)]  # others may delay the rest
    assert 0.5 < times[0] / times[1] < 2, times
    assert min(times) > 0.005, "no password was hashed"


def test_the_sixth_failure_of_an_account_is_429_from_anywhere(otad, client, email):
    for _ in range(5):
        with client_from(otad) as other:
            problem(login(other, email, WRONG), 401)
    for password in (WRONG, PASSWORD):
        with client_from(otad) as other:
            answer = login(other, email, password)
            problem(answer, 429)
            assert 0 < int(answer.headers["retry-after"]) <= 900


def test_an_unknown_account_is_limited_likewise(otad):
    address = new_email()
    codes = []
    for _ in range(6):
        with client_from(otad) as other:
            codes.append(login(other, address, WRONG).status_code)
    assert codes == [401] * 5 + [429]


def test_the_sixth_failure_of_an_address_is_429_for_any_account(otad, email):
    address = some_address()
    with client_from(otad, address) as other:
        for _ in range(5):
            problem(login(other, new_email(), WRONG), 401)
        problem(login(other, new_email(), WRONG), 429)
        problem(login(other, email), 429)
    with client_from(otad) as elsewhere:
        assert login(elsewhere, email).status_code == 200


def test_a_success_forgets_the_failures_of_the_account(otad, email):
    for _ in range(2):
        for _ in range(4):
            with client_from(otad) as other:
                problem(login(other, email, WRONG), 401)
        with client_from(otad) as other:
            assert login(other, email).status_code == 200


def test_guessing_in_parallel_gains_nothing(otad, email):
    def guess(i):
        with client_from(otad) as other:
            return login(other, email, WRONG + str(i)).status_code
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        codes = list(pool.map(guess, range(30)))
    assert codes.count(401) <= 5 and set(codes) <= {401, 429, 503}, codes


def test_a_flood_of_logins_leaves_the_rest_alone(otad, client, email):
    def flood(_):
        with httpx.Client(base_url=otad.url, timeout=60) as other:
            return login(other, email).status_code
    times = []
    with concurrent.futures.ThreadPoolExecutor(250) as pool:
        logins = [pool.submit(flood, i) for i in range(500)]
        while not all(future.done() for future in logins):
            begun = time.monotonic()
            assert client.get("/healthz").status_code == 200
            times.append(time.monotonic() - begun)
            time.sleep(0.02)
    codes = [future.result() for future in logins]
    assert set(codes) <= {200, 503} and codes.count(200) >= 64, {code: codes.count(code) for code in set(codes)}
    # The clients here take most of the processors: what is left over is no more than a hint.
    assert statistics.median(times) < 0.2 * otad.slack, statistics.quantiles(times)


def test_the_limit_holds_without_redis(own):
    address = new_email()
    own.service("redis", "stop")
    try:
        with client_from(own) as client:
            answer = client.post("/auth/register", json={"email": address, "password": PASSWORD})
            assert answer.status_code == 201, answer.text
            assert login(client, address).status_code == 200
        codes = []
        for _ in range(6):
            with client_from(own) as client:
                codes.append(login(client, address, WRONG).status_code)
        assert codes == [401] * 5 + [429]
    finally:
        own.service("redis", "start")


# Registrations, and proxies


@pytest.fixture(scope="module")
def behind_proxies(start_otad):
    return start_otad(OTAD_AUTH_MAX_REGISTRATIONS="3", OTAD_AUTH_REGISTRATION_WINDOW="6s",
                      OTAD_HTTP_TRUSTED_PROXIES="127.0.0.8, 127.9.0.0/16")


def register(client, email=None, **options):
    return client.post("/auth/register", json={"email": email or new_email(), "password": PASSWORD}, **options)


def test_registrations_of_an_address_are_limited(behind_proxies):
    with client_from(behind_proxies, "127.0.0.5") as client:
        taken = new_email()
        # One that is taken counts; what is refused before the password would be hashed does not.
        assert [register(client, email).status_code for email in (None, taken, taken)] == [201, 201, 409]
        begun = time.monotonic()
        problem(client.post("/auth/register", json={"email": "x", "password": PASSWORD}), 422)
        refused = register(client)
        problem(refused, 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 6
        with client_from(behind_proxies, "127.0.0.6") as other:
            assert register(other).status_code == 201
        assert login(client, taken).status_code == 200
        while register(client).status_code == 429:  # each refusal counts for nothing
            assert time.monotonic() - begun < 60
            time.sleep(0.3)


def test_registrations_in_parallel_gain_nothing(behind_proxies):
    def ask(_):
        with client_from(behind_proxies, "127.0.0.7") as client:
            return register(client).status_code
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(ask, range(20)))
    assert codes.count(201) <= 3 and set(codes) <= {201, 429}, codes


def test_clients_of_a_proxy_are_told_apart(behind_proxies):
    taken = new_email()
    with client_from(behind_proxies, "127.0.0.8") as client:
        assert register(client, taken, headers={"x-forwarded-for": "192.0.2.1"}).status_code == 201
        for i in range(6):  # what a client writes itself stands on the left
            forged = {"x-forwarded-for": f"192.0.2.1, 198.51.100.{i}, 203.0.113.5, 127.9.1.1"}
            answer = client.post("/auth/login", json={"email": new_email(), "password": WRONG}, headers=forged)
            problem(answer, 401 if i < 5 else 429)
        several = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "203.0.113.5")]
        answer = client.post("/auth/login", json={"email": taken, "password": PASSWORD}, headers=several)
        problem(answer, 429)
        mapped = {"x-forwarded-for": "[::ffff:203.0.113.5]:4711"}
        problem(client.post("/auth/login", json={"email": taken, "password": PASSWORD}, headers=mapped), 429)
        for other in ("203.0.113.6", "2001:db8::5"):
            answer = client.post("/auth/login", json={"email": taken, "password": PASSWORD},
                                 headers={"x-forwarded-for": other})
            assert answer.status_code == 200, answer.text


def test_nobody_else_is_believed(behind_proxies):
    with client_from(behind_proxies, "127.0.0.9") as client:
        codes = [client.post("/auth/login", json={"email": new_email(), "password": WRONG},
                             headers={"x-forwarded-for": f"192.0.2.{i}"}).status_code for i in range(6)]
    assert codes == [401] * 5 + [429]


def test_a_proxy_that_is_none_is_refused_at_start(otad):
    done = subprocess.run([PROGRAM, "serve"], env=otad.environment() | {"OTAD_HTTP_TRUSTED_PROXIES": "10.0.0.0/33"}, cwd=ROOT,
                          capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and "http.trusted_proxies: 10.0.0.0/33 is neither" in done.stdout + done.stderr


# Refresh


def test_refresh_spends_the_old_token(client, session):
    answer = refresh(client, session["refresh_token"])
    assert answer.status_code == 200
    fresh = answer.json()
    assert set(fresh) == set(session) and fresh["refresh_token"] != session["refresh_token"]
    assert me(client, fresh["access_token"]) == 200
    assert refresh(client, fresh["refresh_token"]).status_code == 200


def test_a_spent_token_ends_the_session(client, session):
    fresh = refresh(client, session["refresh_token"]).json()
    problem(refresh(client, session["refresh_token"]), 401)
    problem(refresh(client, fresh["refresh_token"]), 401)
    assert me(client, fresh["access_token"]) == 401
    assert me(client, session["access_token"]) == 401


def test_of_twenty_refreshes_at_once_one_succeeds(otad, client, session):
    def attempt(_):
        with httpx.Client(base_url=otad.url, timeout=30) as other:
            return refresh(other, session["refresh_token"])
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(attempt, range(20)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] + [401] * 19
    good = next(answer.json() for answer in answers if answer.status_code == 200)
    problem(refresh(client, good["refresh_token"]), 401)
    assert me(client, good["access_token"]) == 401


def test_one_session_ends_alone(client, email):
    first, second = login(client, email).json(), login(client, email).json()
    assert client.post("/auth/logout", headers=bearer(first["access_token"])).status_code == 204
    assert me(client, second["access_token"]) == 200
    assert refresh(client, second["refresh_token"]).status_code == 200


@pytest.mark.parametrize("token", ["", "x", ".", "0" * 36 + "." + "a" * 43, "a" * 200,
                                   "00000000-0000-4000-8000-000000000000." + "a" * 43, "%00", "' or 1=1 --"])
def test_what_is_no_refresh_token_is_401(client, token):
    problem(refresh(client, token), 401)


def test_refresh_checks_its_body(client, session):
    token = session["refresh_token"]
    problem(client.post("/auth/refresh", content=b"{", headers={"content-type": "application/json"}), 400)
    problem(client.post("/auth/refresh", content=b"x", headers={"content-type": "text/plain"}), 415)
    utf16 = {"content-type": "application/json; charset=utf-16"}
    problem(client.post("/auth/refresh", content=b'{"refresh_token":"x"}', headers=utf16), 415)
    problem(client.post("/auth/refresh", json={}), 422, "refresh_token")
    problem(client.post("/auth/refresh", json={"refresh_token": 5}), 422, "refresh_token")
    problem(client.post("/auth/refresh", json={"refresh_token": token, "x": 1}), 422, "x")
    problem(client.post("/auth/refresh", json=[token]), 422)
    problem(client.post("/auth/refresh"), 401)
    assert refresh(client, token).status_code == 200


def test_tokens_are_not_interchangeable(client, session):
    assert me(client, session["refresh_token"]) == 401
    problem(refresh(client, session["access_token"]), 401)


def test_the_database_holds_no_token(otad, session):
    secret = session["refresh_token"].split(".")[1]
    rows = otad.psql("select * from sessions")
    assert secret not in rows and session["access_token"] not in rows


def test_an_expired_session_is_over(otad, client, session):
    sid = session["refresh_token"].split(".")[0]
    otad.psql(f"update sessions set expires_at = now() where id = '{sid}'")
    problem(refresh(client, session["refresh_token"]), 401)


# Cookies


def test_a_cookie_in_place_of_the_refresh_token(client, email):
    answer = login(client, email, cookie=True)
    assert set(answer.json()) == {"access_token", "token_type", "expires_in"}
    name_value, *attributes = answer.headers["set-cookie"].split("; ")
    assert set(attributes) == {"Path=/auth", "HttpOnly", "Secure", "SameSite=Strict", "Max-Age=2592000"}
    # httpx keeps Secure cookies from plain HTTP: the header is ours.
    answer = client.post("/auth/refresh", headers={"cookie": f"a=b; {name_value}"})
    assert answer.status_code == 200 and "refresh_token" not in answer.json()
    fresh = answer.headers["set-cookie"].split("; ")[0]
    assert fresh != name_value
    problem(client.post("/auth/refresh", headers={"cookie": name_value}), 401)
    problem(client.post("/auth/refresh", headers={"cookie": fresh}), 401)


def test_logout_takes_the_cookie_away(client, email):
    answer = login(client, email, cookie=True)
    cookie = answer.headers["set-cookie"].split("; ")[0]
    answer = client.post("/auth/logout", headers={**bearer(answer.json()["access_token"]), "cookie": cookie})
    assert answer.status_code == 204 and "Max-Age=0" in answer.headers["set-cookie"]
    problem(client.post("/auth/refresh", headers={"cookie": cookie}), 401)


def ends_cookie(answer):
    return answer.headers.get("set-cookie", "").startswith("otad_refresh=; ") and "Max-Age=0" in answer.headers["set-cookie"]


def test_a_cookie_that_is_no_good_is_taken_away(client, email):
    cookie = login(client, email, cookie=True).headers["set-cookie"].split("; ")[0]
    assert client.post("/auth/refresh", headers={"cookie": cookie}).status_code == 200
    for bad in (cookie, "otad_refresh=", "otad_refresh=x", "a=b; otad_refresh=\"x y\""):
        answer = client.post("/auth/refresh", headers={"cookie": bad})
        problem(answer, 401)
        assert ends_cookie(answer), bad
    assert "set-cookie" not in client.post("/auth/refresh").headers
    assert "set-cookie" not in client.post("/auth/refresh", headers={"cookie": "xotad_refresh=a"}).headers
    answer = client.post("/auth/refresh", json={"refresh_token": "x"}, headers={"cookie": cookie})
    problem(answer, 401)
    assert "set-cookie" not in answer.headers  # it was not the cookie that was asked about


@pytest.mark.parametrize("cookie", ["otad_refresh=", "otad_refresh=\"x y\"", "a=b; otad_refresh=%20"])
def test_logout_takes_any_cookie_away(client, email, cookie):
    token = login(client, email).json()["access_token"]
    answer = client.post("/auth/logout", headers={**bearer(token), "cookie": cookie})
    assert answer.status_code == 204 and ends_cookie(answer)


# Logout and the end of sessions


def test_logout_ends_access_and_refresh(client, session):
    answer = client.post("/auth/logout", headers=bearer(session["access_token"]))
    assert answer.status_code == 204 and answer.content == b""
    problem(client.get("/auth/me", headers=bearer(session["access_token"])), 401)
    problem(client.post("/auth/logout", headers=bearer(session["access_token"])), 401)
    problem(refresh(client, session["refresh_token"]), 401)


def test_logout_reaches_every_worker(otad, session):
    clients = [httpx.Client(base_url=otad.url) for _ in range(16)]  # connections are spread over the workers
    for client in clients:
        assert me(client, session["access_token"]) == 200
    assert clients[0].post("/auth/logout", headers=bearer(session["access_token"])).status_code == 204
    time.sleep(otad.slack)  # the second that the contract allows
    assert [me(client, session["access_token"]) for client in clients] == [401] * 16


def test_a_new_password_ends_every_session(otad, client, email):
    tokens = [login(client, email).json() for _ in range(3)]
    done = otad.cli("user", "password", email, input="another fine password\n")
    assert done.returncode == 0
    time.sleep(otad.slack)
    for token in tokens:
        assert me(client, token["access_token"]) == 401
        problem(refresh(client, token["refresh_token"]), 401)
    with client_from(otad) as other:
        problem(login(other, email), 401)
        assert login(other, email, "another fine password").status_code == 200


def test_what_was_revoked_stays_revoked(own):
    """Through a flushed Redis, a restart of otad, and both."""
    address = new_email()
    with httpx.Client(base_url=own.url, timeout=30) as client:
        client.post("/auth/register", json={"email": address, "password": PASSWORD})
        ended, alive = login(client, address).json(), login(client, address).json()
        assert client.post("/auth/logout", headers=bearer(ended["access_token"])).status_code == 204
    own.service("redis", "stop")
    own.service("otad", "stop")
    own.service("redis", "start")
    own.service("otad", "start")
    with httpx.Client(base_url=own.url, timeout=30) as client:
        assert me(client, alive["access_token"]) == 200
        assert me(client, ended["access_token"]) == 401
        problem(refresh(client, ended["refresh_token"]), 401)
        assert refresh(client, alive["refresh_token"]).status_code == 200
