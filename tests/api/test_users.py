"""Accounts as operators see and change them, and the change of one's own password."""
import concurrent.futures
import time

import httpx
import pytest

from accounts import PASSWORD, Account
from answers import client_from, problem, without_id
from devices import wait_for
from instances import Instance
from test_devices import pages, register

OTHER = "another battery, staple & horse"
USER = ["id", "email", "role", "created_at", "last_login", "devices"]
NOBODY = 2**31 - 1


@pytest.fixture(scope="module")
def own(start_otad):
    return start_otad()


def log_in(otad, account, password=PASSWORD):
    with client_from(otad) as client:  # failures count for the address, too
        return client.post("/auth/login", json={"email": account.email, "password": password})


def session_of(otad, account):
    answer = log_in(otad, account)
    assert answer.status_code == 200, answer.text
    return answer.json()


def get_me(otad, session):
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    return httpx.get(f"{otad.url}/auth/me", headers=headers, timeout=30).status_code


def is_over(otad, session):
    """At once: this instance is told before it answers, its other workers in the same moment."""
    wait_for(lambda: get_me(otad, session) == 401, 0.5)
    refresh = {"refresh_token": session["refresh_token"]}
    return httpx.post(f"{otad.url}/auth/refresh", json=refresh, timeout=30).status_code == 401


def find(operator, account):
    found = [row for row in operator.client.get("/users", params={"q": account.email}).json()["items"]
             if row["id"] == account.id]
    return found[0] if found else None


def set_role(operator, account, role):
    return operator.client.patch(f"/users/{account.id}", json={"role": role})


# GET /users


def test_list(otad, operator, make_user):
    account = make_user()
    row = find(operator, account)
    assert list(row) == USER
    assert row == {"id": account.id, "email": account.email, "role": "user", "created_at": row["created_at"],
                   "last_login": None, "devices": 0}
    register(account)
    register(account)
    session_of(otad, account)
    row = find(operator, account)
    assert row["devices"] == 2 and row["last_login"] > row["created_at"]
    # Sessions are forgotten in time, the last login is not.
    otad.psql(f"delete from sessions where user_id = {account.id}")
    assert find(operator, account)["last_login"] == row["last_login"]


def test_list_is_searched_and_paged(operator, make_user):
    made = [make_user(email=f"Page-{i}%_x@pages.example.org") for i in range(5)]
    ids = [account.id for account in made]
    assert [row["id"] for row in pages(operator, "/users", 2, q="@PAGES.example")] == ids
    assert [row["id"] for row in pages(operator, "/users", 2, q="3%_x@pages")] == [ids[3]]
    assert pages(operator, "/users", 2, q="3%x@pages") == []
    assert len(pages(operator, "/users", 100)) >= 5
    for query in ("q=", "q=" + "x" * 255, "limit=0", "limit=201", "cursor=x", "role=user"):
        problem(operator.client.get(f"/users?{query}"), 422, query.split("=")[0])


def test_operators_only(client, user):
    for method, path, body in (("GET", "/users", None), ("PATCH", f"/users/{user.id}", {"role": "operator"}),
                               ("DELETE", f"/users/{user.id}", None), ("GET", "/audit", None)):
        problem(user.client.request(method, path, json=body), 403)
        problem(client.request(method, path, json=body), 401)
    assert user.client.get("/auth/me").json()["user"]["role"] == "user"


# PATCH /users/:id


def test_a_role_given_comes_with_the_next_token_and_one_taken_ends_sessions(otad, operator, user):
    session = session_of(otad, user)
    answer = set_role(operator, user, "operator")
    assert answer.status_code == 200 and list(answer.json()) == ["user"]
    shown = answer.json()["user"]
    assert shown == find(operator, user) and list(shown) == USER and shown["role"] == "operator"
    session = httpx.post(f"{otad.url}/auth/refresh", json={"refresh_token": session["refresh_token"]}).json()
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    assert httpx.get(f"{otad.url}/users", headers=headers).status_code == 200
    assert set_role(operator, user, "user").json()["user"]["role"] == "user"
    assert is_over(otad, session)


def test_the_same_role_again_changes_nothing(otad, operator, user):
    session = session_of(otad, user)
    answer = set_role(operator, user, "user")
    assert answer.status_code == 200 and answer.json()["user"] == find(operator, user)
    assert get_me(otad, session) == 200
    assert httpx.post(f"{otad.url}/auth/refresh", json={"refresh_token": session["refresh_token"]}).status_code == 200


@pytest.mark.parametrize("body, field", [({}, "role"), ({"role": "root"}, "role"), ({"role": None}, "role"),
                                         ({"role": "user", "email": "x@example.org"}, "email")])
def test_wrong_roles(operator, user, body, field):
    problem(operator.client.patch(f"/users/{user.id}", json=body), 422, field)
    problem(operator.client.patch(f"/users/{user.id}", content=b"{", headers={"content-type": "application/json"}), 400)
    assert find(operator, user)["role"] == "user"


def test_unknown_accounts(operator):
    answers = []
    for odd in (NOBODY, 0, "x", "1e3", -1):
        answers.append(operator.client.patch(f"/users/{odd}", json={"role": "user"}))
        answers.append(operator.client.delete(f"/users/{odd}"))
    for answer in answers:
        problem(answer, 404)
        assert without_id(answer) == without_id(answers[0])


# DELETE /users/:id


def test_delete(otad, operator, user):
    session = session_of(otad, user)
    assert operator.client.delete(f"/users/{user.id}").status_code == 204
    assert find(operator, user) is None
    assert is_over(otad, session)
    assert log_in(otad, user).status_code == 401
    problem(operator.client.delete(f"/users/{user.id}"), 404)
    assert Account(otad, email=user.email).id != user.id


def test_an_instance_that_starts_later_knows_of_it(otad, operator, make_user):
    account = make_user(role="operator")
    session = session_of(otad, account)
    assert operator.client.delete(f"/users/{account.id}").status_code == 204
    later = Instance(otad)
    assert later.get("/users", session["access_token"]).status_code == 401
    later.end()
    assert otad.psql(f"select count(*) from sessions where user_id = {account.id}") == "0"


def test_an_account_with_devices_stays(otad, operator, user):
    device = register(user)
    session = session_of(otad, user)
    assert "1 device" in problem(operator.client.delete(f"/users/{user.id}"), 409)["detail"]
    assert find(operator, user)["devices"] == 1 and get_me(otad, session) == 200
    assert user.client.delete(f"/devices/{device['id']}/delete").status_code == 204
    assert operator.client.delete(f"/users/{user.id}").status_code == 204


def test_no_device_is_lost_to_a_race(otad, operator, make_user):
    """Whoever registers one while the account is deleted has no account any more, or keeps it."""
    for _ in range(8):
        account = make_user()
        account.token  # logged in before
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            device = pool.submit(account.client.post, "/devices/register", json={"device_code": f"race-{account.id}"})
            gone = pool.submit(operator.client.delete, f"/users/{account.id}")
        codes = (device.result().status_code, gone.result().status_code)
        assert codes in ((201, 409), (401, 204)), codes
        there = otad.psql(f"select count(*) from devices where device_code = 'race-{account.id}'")
        assert there == ("1" if codes[0] == 201 else "0")


# The last operator


def operators_of(own, count):
    accounts = [Account(own, role="operator") for _ in range(count)]
    own.psql(f"update users set role = 'user' where id not in ({', '.join(str(one.id) for one in accounts)})")
    for one in accounts:
        one.token
    return accounts


def test_the_last_operator_stays(own):
    [last] = operators_of(own, 1)
    problem(set_role(last, last, "user"), 409)
    problem(last.client.delete(f"/users/{last.id}"), 409)
    assert set_role(last, last, "operator").status_code == 200
    assert last.client.get("/auth/me").json()["user"]["role"] == "operator"
    [other] = [Account(own)]
    assert set_role(last, other, "operator").status_code == 200
    assert set_role(last, last, "user").status_code == 200
    assert last.client.get("/users").status_code == 401


@pytest.mark.parametrize("way", ["demote", "delete", "both"])
def test_of_the_last_two_one_stays(own, way):
    for _ in range(6):
        both = operators_of(own, 2)

        def end(i):
            account = both[i]
            if way == "demote" or way == "both" and i == 0:
                return set_role(account, account, "user").status_code
            return account.client.delete(f"/users/{account.id}").status_code
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            codes = sorted(pool.map(end, (0, 1)))
        assert codes[0] in (200, 204) and codes[1] == 409, codes
        assert own.psql("select count(*) from users where role = 'operator'") == "1"


def test_of_many_who_demote_each_other_one_stays(own):
    some = operators_of(own, 5)
    pairs = [(one, other) for one in some for other in some if one is not other]
    with concurrent.futures.ThreadPoolExecutor(len(pairs)) as pool:
        codes = list(pool.map(lambda pair: set_role(*pair, "user").status_code, pairs))
    assert set(codes) <= {200, 401, 409} and codes.count(200) >= 1, codes
    assert int(own.psql("select count(*) from users where role = 'operator'")) >= 1


# POST /auth/password


def change(account, password=PASSWORD, new=OTHER, **more):
    return account.client.post("/auth/password", json={"password": password, "new_password": new, **more})


def change_from(otad, session, password, address=None):
    with client_from(otad, address) as client:
        return client.post("/auth/password", json={"password": password, "new_password": OTHER},
                           headers={"Authorization": f"Bearer {session['access_token']}"})


def test_a_new_password_ends_all_sessions(otad, user):
    others = [session_of(otad, user) for _ in range(3)]
    answer = change(user)
    assert answer.status_code == 204 and answer.content == b"" and "set-cookie" not in answer.headers
    assert get_me(otad, user.login.answer) == 401
    assert all(is_over(otad, session) for session in others)
    assert log_in(otad, user).status_code == 401
    assert log_in(otad, user, OTHER).status_code == 200


def test_its_cookie_ends_too(otad, user):
    with client_from(otad) as client:
        made = client.post("/auth/login", json={"email": user.email, "password": PASSWORD, "cookie": True})
        cookie = made.headers["set-cookie"].split(";")[0]
        answer = client.post("/auth/password", json={"password": PASSWORD, "new_password": OTHER},
                             headers={"Authorization": f"Bearer {made.json()['access_token']}", "cookie": cookie})
        assert answer.status_code == 204 and "Max-Age=0" in answer.headers["set-cookie"]
        assert client.post("/auth/refresh", headers={"cookie": cookie}).status_code == 401


def test_a_wrong_old_password(otad, user):
    problem(change(user, "not the password at all"), 422, "password")
    assert get_me(otad, user.login.answer) == 200 and log_in(otad, user).status_code == 200


@pytest.mark.parametrize("body, field", [
    ({"password": PASSWORD}, "new_password"),
    ({"new_password": OTHER}, "password"),
    ({"password": PASSWORD, "new_password": "123456789"}, "new_password"),
    ({"password": PASSWORD, "new_password": "x9" * 65}, "new_password"),
    ({"password": PASSWORD, "new_password": "password123"}, "new_password"),
    ({"password": PASSWORD, "new_password": "aaaaaaaaaaaa"}, "new_password"),
    ({"password": PASSWORD, "new_password": 5}, "new_password"),
    ({"password": "x" * 1001, "new_password": OTHER}, "password"),
    ({"password": PASSWORD, "new_password": OTHER, "role": "operator"}, "role"),
])
def test_bad_new_passwords(otad, user, body, field):
    problem(user.client.post("/auth/password", json=body), 422, field)
    assert log_in(otad, user).status_code == 200


def test_the_own_address_is_no_password(user):
    problem(change(user, new=user.email), 422, "new_password")


def test_nobody_changes_it_without_a_token(client):
    problem(client.post("/auth/password", json={"password": PASSWORD, "new_password": OTHER}), 401)


def test_guesses_count_as_failed_logins(otad, user):
    """Together with those of /auth/login, of the account from anywhere."""
    session = session_of(otad, user)
    for i in range(5):
        if i % 2:
            problem(log_in(otad, user, "not the password at all"), 401)
        else:
            problem(change_from(otad, session, "not the password at all"), 422, "password")
    for password in ("not the password at all", PASSWORD):
        answer = change_from(otad, session, password)
        problem(answer, 429)
        assert 0 < int(answer.headers["retry-after"]) <= 900
    problem(log_in(otad, user), 429)


def test_guesses_count_for_the_address(otad, make_user):
    address = "127.201.7.9"
    users = [make_user() for _ in range(2)]
    first, second = (session_of(otad, one) for one in users)
    for _ in range(5):
        problem(change_from(otad, first, "not the password at all", address), 422)
    problem(change_from(otad, second, PASSWORD, address), 429)
    assert change_from(otad, second, PASSWORD).status_code == 204


def test_success_forgets_failures(otad, user):
    session = session_of(otad, user)
    for _ in range(4):
        problem(change_from(otad, session, "not the password at all"), 422)
    assert change_from(otad, session, PASSWORD).status_code == 204
    for _ in range(5):
        problem(log_in(otad, user), 401)  # the old one


def test_guesses_in_parallel_gain_nothing(otad, user):
    session = session_of(otad, user)
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        codes = list(pool.map(lambda i: change_from(otad, session, f"guess number {i}").status_code, range(30)))
    assert codes.count(422) <= 5 and set(codes) <= {422, 429, 503}, codes


def test_of_changes_at_once_one_counts(otad, user):
    session = session_of(otad, user)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: change_from(otad, session, PASSWORD).status_code, range(8)))
    # Whoever comes later finds another password, or its session gone.
    assert codes.count(204) == 1 and set(codes) <= {204, 401, 409, 422, 429, 503}, codes
    assert log_in(otad, user, OTHER).status_code in (200, 429)


def test_no_login_outlives_the_password_it_was_made_with(otad, make_user):
    """Logins that were under way while it was changed."""
    for _ in range(3):
        account = make_user()
        account.token
        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            logins = [pool.submit(log_in, otad, account) for _ in range(8)]
            time.sleep(0.02)
            changed = pool.submit(change, account)
        assert changed.result().status_code in (204, 503)
        if changed.result().status_code == 503:
            continue
        for answer in [login.result() for login in logins]:
            assert answer.status_code in (200, 401, 429, 503), answer.text
            if answer.status_code == 200:
                assert is_over(otad, answer.json())
        assert otad.psql(f"select count(*) from sessions where user_id = {account.id} and revoked_at is null") == "0"


def test_a_deleted_account_cannot_change_it(otad, operator, user):
    session = session_of(otad, user)
    otad.psql(f"delete from users where id = {user.id}")
    wait_for(lambda: get_me(otad, session) == 401)
    problem(change_from(otad, session, PASSWORD), 401)
