"""The audit log: an entry of each change that a person made, none of anything else, and none that can be taken back."""
import concurrent.futures
import datetime
import getpass
import hashlib
import secrets
import socket
import subprocess

import httpx
import pytest

import make_image
from accounts import PASSWORD
from answers import client_from, problem
from devices import wait_for
from rollouts import fleet, new_policy, roll, steer, updates
from psql import PSQL
from test_devices import code, pages, register
from test_firmware import stored, upload, version
from test_updates import newest, start, started

assert fleet  # the fixture

ENTRY = ["id", "at", "user", "via", "address", "request_id", "action", "target", "before", "after"]


def entries(operator, **query):
    """What the log has, the newest first."""
    return pages(operator, "/audit", 200, **query)


def of(operator, kind, id, **query):
    return entries(operator, kind=kind, id=id, **query)


def actions(operator, kind, id):
    """The oldest first."""
    return [entry["action"] for entry in reversed(of(operator, kind, id))]


def at(entry):
    return datetime.datetime.fromisoformat(entry["at"])


def by(account):
    return {"id": account.id, "email": account.email}


@pytest.fixture
def silent(otad):
    """silent(): asserts that nobody has written anything to the log since the last call."""
    def last():
        return int(otad.psql("select coalesce(max(id), 0) from audit"))

    seen = [last()]

    def check():
        rows = otad.psql(f"select action, kind, target_id, target_name, after from audit where id > {seen[0]}")
        assert rows == ""
    check.again = lambda: seen.__setitem__(0, last())
    return check


# What is written


def test_a_device(otad, operator, user):
    made = register(user, name="Küche", chip="esp32", tags={"site": "a"})
    answer = user.client.patch(f"/devices/{made['id']}", json={"name": "Bad", "tags": {}},
                               headers={"x-request-id": "the-change"})
    assert answer.status_code == 200
    assert user.client.post(f"/devices/{made['id']}/credentials").status_code == 200
    assert user.client.patch(f"/devices/{made['id']}", json={"chip": "esp32s3"}).status_code == 200
    assert operator.client.delete(f"/devices/{made['id']}/delete").status_code == 204
    gone, chip, credentials, change, create = of(operator, "device", made["id"])
    for entry in (gone, chip, credentials, change, create):
        assert list(entry) == ENTRY and list(entry["target"]) == ["kind", "id", "name"]
        assert entry["target"] == {"kind": "device", "id": made["id"], "name": made["device_code"]}
        assert entry["via"] == "http" and entry["address"] in ("127.0.0.1", "::1") and entry["request_id"]
        assert entry["user"] == by(operator if entry is gone else user)
    kept = {"device_code": made["device_code"], "user_id": user.id}
    assert (create["action"], create["before"]) == ("device.create", None)
    assert create["after"] == {**kept, "name": "Küche", "chip": "esp32", "tags": {"site": "a"}}
    assert create["at"] == made["created_at"]
    assert (change["action"], change["request_id"]) == ("device.change", "the-change")
    assert change["before"] == {"name": "Küche", "tags": {"site": "a"}} and change["after"] == {"name": "Bad", "tags": {}}
    assert (credentials["action"], credentials["before"], credentials["after"]) == ("device.credentials", None, None)
    assert (chip["before"], chip["after"]) == ({"chip": "esp32"}, {"chip": "esp32s3"})
    assert (gone["action"], gone["after"]) == ("device.delete", None)
    assert gone["before"] == {**kept, "name": "Bad", "chip": "esp32s3", "tags": {}, "firmware_version": None,
                              "created_at": made["created_at"]}


def test_updates_of_a_device(otad, operator, user, make_device):
    device = make_device(user, chip="esp32")
    _, image = stored(operator)
    first = started(user, device, image)
    answer = user.client.post(f"/devices/{device.id}/update/cancel")
    assert answer.status_code == 200
    cancel, create, _ = of(operator, "device", device.id)
    assert (create["action"], cancel["action"]) == ("update.create", "update.cancel")
    assert create["user"] == cancel["user"] == by(user) and create["target"]["name"] == device.device_code
    about = {"update_id": first["id"], "firmware_id": image["id"], "rollout_id": None, "version": image["version"]}
    assert create["before"] is None and create["after"] == {**about, "state": "pending", "reason": None}
    assert cancel["before"]["state"] in ("pending", "offered")
    assert cancel["after"] == {**about, "state": "cancelled", "reason": answer.json()["update"]["reason"]}
    # One that ends on the spot: the device runs it.
    assert device.connect() == 0
    device.status(firmware_version=image["version"], elf_sha256=image["elf_sha256"])
    device.wait(lambda d: d["elf_sha256"] == image["elf_sha256"])
    assert start(user, device, firmware_id=image["id"]).json()["update"]["state"] == "succeeded"
    assert of(operator, "device", device.id)[0]["after"]["state"] == "succeeded"


def test_firmware(operator):
    image = make_image.build(version=version())
    made = upload(operator, image, notes="what is new").json()["firmware"]
    assert upload(operator, image).status_code == 200  # known: nothing new
    assert operator.client.delete(f"/firmware/{made['id']}/delete").status_code == 204
    gone, create = of(operator, "firmware", made["id"])
    assert (create["action"], gone["action"]) == ("firmware.create", "firmware.delete")
    assert create["target"] == gone["target"] == {"kind": "firmware", "id": made["id"], "name": made["version"]}
    assert create["after"] == gone["before"] and create["before"] is None and gone["after"] is None
    for name in ("version", "chip", "project", "size", "sha256", "release_key", "notes"):
        assert create["after"][name] == made[name]


def test_a_signature_that_comes_later(otad, operator):
    image, made = stored(operator)
    otad.psql(f"update firmware set release_signature = null, release_key = null where id = {made['id']}")
    assert upload(operator, image).json()["firmware"]["release_key"] == made["release_key"]
    sign, create = of(operator, "firmware", made["id"])
    assert (sign["action"], create["action"]) == ("firmware.sign", "firmware.create")
    assert (sign["before"], sign["after"]) == ({"release_key": None}, {"release_key": made["release_key"]})


def test_a_rollout(operator, fleet):
    devices, old, new = fleet(3, outcome=lambda i: "silent")
    made = roll(operator, fleet, "all_at_once", new, params={"a": 1})
    wait_for(lambda: all(updates(operator, device) for device in devices))
    for verb, state in (("pause", "paused"), ("resume", "running"), ("abort", "aborted"), ("rollback", "rolling_back")):
        steer(operator, made, verb, f"to {verb} it")
    found = list(reversed(of(operator, "rollout", made["id"])))
    assert [entry["action"] for entry in found] == ["rollout.create", "rollout.pause", "rollout.resume", "rollout.abort",
                                                    "rollout.rollback"]
    assert all(entry["user"] == by(operator) and entry["target"]["name"] == "test" for entry in found)
    create = found[0]
    assert create["after"] == {"name": "test", "policy": "all_at_once", "revision": made["revision"], "params": {"a": 1},
                               "firmware": made["firmware"], "target": made["target"], "priority": made["priority"],
                               "starts_at": made["starts_at"]}
    assert found[1]["before"] == {"state": "running", "reason": found[1]["before"]["reason"]}
    assert found[1]["after"] == {"state": "paused", "reason": "to pause it"}
    assert found[4]["before"] == {"state": "aborted", "reason": "to abort it"}
    # What the driver and the devices did, and what ended with the rollout, no person did.
    for device in devices:
        assert actions(operator, "device", device.id) == ["device.create"]
        assert updates(operator, device)[0]["state"] == "cancelled"


def test_one_device_cancelled_by_hand(operator, fleet):
    devices, old, new = fleet(2, outcome=lambda i: "silent")
    made = roll(operator, fleet, "all_at_once", new)
    wait_for(lambda: all(updates(operator, device) for device in devices))
    assert operator.client.post(f"/devices/{devices[0].id}/update/cancel").status_code == 200
    steer(operator, made, "abort")
    assert actions(operator, "device", devices[0].id) == ["device.create", "update.cancel"]
    assert of(operator, "device", devices[0].id)[0]["after"]["rollout_id"] == made["id"]
    assert actions(operator, "device", devices[1].id) == ["device.create"]


def test_a_target_of_thousands_is_told_by_its_size(operator, fleet):
    devices, old, new = fleet(1)
    ids = [devices[0].id] * 2000
    answer = operator.client.post("/rollouts", json={"name": "large", "firmware_id": new["id"], "policy": "all_at_once",
                                                     "target": {"device_ids": ids}})
    assert answer.status_code == 201, answer.text
    entry = of(operator, "rollout", answer.json()["rollout"]["id"])[-1]
    assert entry["after"]["target"].endswith(" characters") and entry["after"]["name"] == "large"
    steer(operator, answer.json()["rollout"], "abort")


def test_a_policy(operator):
    policy, sources = new_policy(operator, "return {}"), ["return {}", "return { }", "return {  }"]
    revisions = [hashlib.sha256(source.encode()).hexdigest() for source in sources]
    for source, match, message in ((sources[1], revisions[0], "better"), (sources[1], revisions[1], "the same again"),
                                   (sources[0], revisions[1], "back by hand")):
        answer = operator.client.put(f"/policies/{policy}", json={"source": source, "message": message},
                                     headers={"If-Match": match})
        assert answer.status_code == 200, answer.text
    answer = operator.client.post(f"/policies/{policy}/rollback", headers={"If-Match": revisions[0]})
    assert answer.status_code == 200, answer.text
    answer = operator.client.put(f"/policies/{policy}", json={"source": sources[2]}, headers={"If-Match": revisions[0]})
    assert answer.status_code == 412
    found = list(reversed(of(operator, "policy", policy)))
    first, better = ({"revision": revisions[0], "message": "for a test"}, {"revision": revisions[1], "message": "better"})
    assert [(entry["action"], entry["before"], entry["after"]) for entry in found] == [
        ("policy.activate", None, first), ("policy.activate", first, better), ("policy.activate", better, first),
        ("policy.rollback", first, better)]
    assert all(entry["target"] == {"kind": "policy", "id": policy, "name": policy} for entry in found)
    assert all(entry["user"] == by(operator) for entry in found)


def test_an_account(otad, operator, make_user):
    account = make_user()
    session = account.login.token and account.login.answer
    assert operator.client.patch(f"/users/{account.id}", json={"role": "operator"}).status_code == 200
    assert operator.client.patch(f"/users/{account.id}", json={"role": "operator"}).status_code == 200  # nothing new
    account.login.expires = 0
    answer = account.client.post("/auth/password", json={"password": PASSWORD, "new_password": PASSWORD + "!"})
    assert answer.status_code == 204
    account.login.password += "!"
    account.login.expires = 0
    assert account.client.post("/auth/logout").status_code == 204
    httpx.post(f"{otad.url}/auth/refresh", json={"refresh_token": session["refresh_token"]})
    assert operator.client.delete(f"/users/{account.id}").status_code == 204
    found = list(reversed(of(operator, "user", account.id)))
    told = [(entry["action"], entry["user"] and entry["user"]["id"], entry["before"], entry["after"]) for entry in found]
    assert told == [
        ("user.create", account.id, None, {"email": account.email, "role": told[0][3]["role"]}),
        ("session.login", account.id, None, None),
        ("user.role", operator.id, {"role": "user"}, {"role": "operator"}),
        ("session.login", account.id, None, None),
        ("user.password", account.id, None, None),
        ("session.login", account.id, None, None),
        ("session.logout", account.id, None, None),
        ("user.delete", operator.id, {"email": account.email, "role": "operator", "created_at": told[7][2]["created_at"]}, None)]
    assert {entry["target"]["name"] for entry in found} == {account.email}
    # It is gone, and what it did still has its name.
    assert entries(operator, user_id=account.id)[-1]["user"] == by(account)


def test_whoever_deletes_himself_has_a_name(operator, make_user):
    account = make_user(role="operator")
    assert account.client.delete(f"/users/{account.id}").status_code == 204
    entry = of(operator, "user", account.id)[0]
    assert (entry["action"], entry["user"]) == ("user.delete", by(account))


def test_a_refresh_token_used_again(otad, operator, user):
    spent = {"refresh_token": user.token and user.login.answer["refresh_token"]}
    assert httpx.post(f"{otad.url}/auth/refresh", json=spent).status_code == 200
    assert httpx.post(f"{otad.url}/auth/refresh", json=spent).status_code == 401
    entry = of(operator, "user", user.id)[0]
    assert (entry["action"], entry["user"]) == ("session.logout", None)
    assert entry["after"] == {"reason": "a refresh token was used again"}


def test_a_reload(operator):
    state = operator.client.get("/admin/scripts").json()
    assert operator.client.post("/admin/reload").status_code == 200
    entry = of(operator, "scripts", state["instance"])[0]
    assert (entry["action"], entry["user"], entry["target"]["id"]) == ("script.reload", by(operator), state["instance"])
    assert entry["before"] == entry["after"] == {"revision": state["revision"]}


def test_the_command_line(otad, operator):
    email = f"cli-{secrets.token_hex(4)}@example.org"
    made = otad.cli("user", "add", email, input=PASSWORD).stdout
    otad.cli("user", "add", email, input=PASSWORD, check=False)
    otad.cli("user", "role", email, "operator")
    otad.cli("user", "role", email, "operator")
    otad.cli("user", "password", email, input=PASSWORD + "!")
    otad.cli("user", "list")
    found = list(reversed(of(operator, "user", int(made.split()[2].rstrip(",")))))
    assert [entry["action"] for entry in found] == ["user.create", "user.role", "user.password"]
    for entry in found:
        assert (entry["via"], entry["address"]) == ("command line", getpass.getuser())
        assert (entry["user"], entry["request_id"]) == (None, None) and entry["target"]["name"] == email


def test_nothing_secret(otad, operator, make_device):
    device = make_device()
    rotated = operator.client.post(f"/devices/{device.id}/credentials").json()["credentials"]["password"]
    hashes = otad.psql("select password from users union all select encode(password_sha256, 'hex') from device_credentials"
                       " union all select encode(refresh_sha256, 'hex') from sessions").splitlines()
    log = otad.psql("select * from audit")
    assert len(hashes) > 3 and len(log) > 1000
    for secret in (PASSWORD, rotated, device.credentials["password"], "$argon2id$", "ota.url", *hashes):
        assert secret not in log


# What is not


def test_what_was_refused_leaves_nothing(otad, operator, user, silent):
    mine, image = register(operator), stored(operator)[1]
    session = user.token and user.login.answer["access_token"]
    silent.again()
    assert user.client.post("/devices/register", json={"device_code": mine["device_code"]}).status_code == 409
    assert user.client.patch(f"/devices/{mine['id']}", json={"name": "x"}).status_code == 404
    assert user.client.delete(f"/devices/{mine['id']}/delete").status_code == 404
    assert user.client.post(f"/devices/{mine['id']}/credentials").status_code == 404
    assert operator.client.post(f"/devices/{mine['id']}/update/cancel").status_code == 409
    assert operator.client.post(f"/devices/{mine['id']}/update", json={"firmware_id": 2**31 - 1}).status_code == 422
    assert operator.client.delete(f"/firmware/{2**31 - 1}/delete").status_code == 404
    assert user.client.delete(f"/firmware/{image['id']}/delete").status_code == 403
    assert operator.client.patch(f"/users/{2**31 - 1}", json={"role": "user"}).status_code == 404
    assert operator.client.put("/policies/canary", json={"source": "return {"}).status_code in (422, 428)
    assert operator.client.put("/policies/canary", json={"source": "return {}"},
                               headers={"If-Match": "0" * 64}).status_code == 412
    with client_from(otad) as client:
        assert client.post("/auth/login", json={"email": user.email, "password": "wrong wrong"}).status_code == 401
        assert client.post("/auth/register", json={"email": user.email, "password": PASSWORD}).status_code == 409
        assert client.post("/auth/password", json={"password": "wrong wrong", "new_password": PASSWORD + "!"},
                           headers={"Authorization": f"Bearer {session}"}).status_code == 422
    silent()


def test_a_transaction_that_is_rolled_back_leaves_nothing(otad, operator, silent):
    """Its statements had succeeded."""
    image, made = stored(operator)
    path = next((otad.var / "firmware").rglob(made["sha256"] + "*"))
    content = path.read_bytes()
    silent.again()
    path.unlink()
    path.mkdir()
    (path / "in the way").touch()
    try:
        problem(operator.client.delete(f"/firmware/{made['id']}/delete"), 503)
        silent()
        assert operator.client.get(f"/firmware/{made['id']}").status_code == 200
    finally:
        (path / "in the way").unlink()
        path.rmdir()
        path.write_bytes(content)


def test_what_changes_nothing_leaves_nothing(operator, device, silent):
    silent.again()
    for path in (f"/devices/{device.id}", "/devices", "/audit", "/users", "/auth/me", f"/devices/{device.id}/explain"):
        assert operator.client.get(path).status_code == 200
    body = {"name": device.get()["name"], "tags": device.get()["tags"]}
    assert operator.client.patch(f"/devices/{device.id}", json=body).status_code == 200
    assert operator.client.post("/ws/ticket").status_code == 201
    silent()


def test_devices_leave_nothing(operator, device, silent):
    _, image = stored(operator)
    assert device.connect() == 0
    update = started(operator, device, image)
    silent.again()
    device.status(chip="esp32", firmware_version="0.1", battery=50, ota={"update_id": update["id"], "state": "accepted"})
    device.log("hello")
    device.status(firmware_version=image["version"], elf_sha256=image["elf_sha256"],
                  ota={"update_id": update["id"], "state": "confirmed"})
    wait_for(lambda: newest(operator, device)["state"] == "succeeded")
    silent()


def test_no_connection_keeps_who_was_on_it(otad, operator, make_device, make_user):
    """People and devices at once on the same few connections: each change has its own person, and devices have none."""
    devices = [make_device() for _ in range(4)]
    people = [make_user(role="operator") for _ in range(4)]
    for device in devices:
        assert device.connect() == 0
    for person in people:
        person.token

    def change(i):
        device, person = devices[i % 4], people[i // 4 % 4]
        devices[(i + 1) % 4].status(battery=i % 100, chip="esp32", firmware_version=f"1.{i}")
        answer = person.client.patch(f"/devices/{device.id}", json={"name": f"{person.id} {i}"},
                                     headers={"x-request-id": f"change-{person.id}-{i}"})
        assert answer.status_code == 200
        return f"change-{person.id}-{i}"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(change, range(200)))
    found = [entry for device in devices for entry in of(operator, "device", device.id, action="device.change")]
    assert sorted(entry["request_id"] for entry in found) == sorted(asked)
    for entry in found:
        person, _ = entry["after"]["name"].split()
        assert entry["user"]["id"] == int(person) and entry["request_id"].startswith(f"change-{person}-")
        assert list(entry["after"]) == ["name"]


def test_who_leaves_at_once_is_known(otad, operator, device):
    """The client is gone before its request has written anything."""
    with socket.create_connection((otad.host, otad.http_port)) as sock:
        body = b'{"source": "return {}"}'
        sock.sendall((f"PUT /policies/t_gone_{device.id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {operator.token}\r\n"
                      f"Content-Type: application/json\r\nIf-None-Match: *\r\nContent-Length: {len(body)}\r\n\r\n").encode()
                     + body)
    [entry] = wait_for(lambda: of(operator, "policy", f"t_gone_{device.id}"))
    assert entry["address"] in ("127.0.0.1", "::1") and entry["user"] == by(operator)


@pytest.fixture(scope="module")
def own(start_otad):
    return start_otad()


def test_what_runs_beside_a_request_is_its_own(own):
    """concurrently() and transactions of a route; a task's writes are nobody's."""
    account = register_first(own)
    (own.scripts / "routes/zz_trial.lua").write_text("""
        local function change(name) return function()
          db.run("device_patch", 1, 1, true, true, name, nil, false, nil)
        end end
        return { { method = "POST", path = "/trial", who = "user", handler = function(req)
          concurrently(change "first", function() concurrently(change "second") end)
          db.transaction(function(tx)
            tx.run("device_patch", 1, 1, true, true, "third", nil, false, nil)
          end)
          return 204
        end } }""")
    (own.scripts / "tasks/zz_trial.lua").write_text("""
        return { every = "1s", run = function()
          db.run("device_patch", 1, 1, true, true, "task " .. now(), nil, false, nil)
          db.transaction(function(tx) tx.run("device_patch", 1, 1, true, true, "tx " .. now(), nil, false, nil) end)
        end }""")
    assert account.post("/devices/register", json={"device_code": code()}).json()["device"]["id"] == 1
    assert account.post("/admin/reload").status_code == 200
    wait_for(lambda: account.get("/devices/1").json()["name"] not in (None, "first", "second", "third"))
    assert account.post("/trial", headers={"x-request-id": "trial"}).status_code == 204
    task = account.get("/devices/1").json()["name"]
    wait_for(lambda: account.get("/devices/1").json()["name"] != task)
    found = account.get("/audit?action=device.change").json()["items"]
    assert {entry["after"]["name"] for entry in found} == {"first", "second", "third"}
    assert {entry["request_id"] for entry in found} == {"trial"}


def register_first(system):
    """A client of an operator, the system's first account."""
    body = {"email": "first@example.org", "password": PASSWORD}
    assert httpx.post(f"{system.url}/auth/register", json=body).status_code == 201
    token = httpx.post(f"{system.url}/auth/login", json=body).json()["access_token"]
    return httpx.Client(base_url=system.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)


# What it is good for


def refused(otad, statement):
    done = subprocess.run([PSQL, "-XAtq", "-v", "ON_ERROR_STOP=1", otad.database_url], input=statement, text=True,
                          capture_output=True, timeout=60)
    return done.stderr if done.returncode != 0 else ""


@pytest.mark.parametrize("statement", ["update audit set email = 'x'", "delete from audit", "truncate audit",
                                       "update audit set email = 'x' where false", "delete from audit where id = 0"])
def test_it_only_grows(otad, operator, device, statement):
    before = otad.psql("select count(*), max(id) from audit")
    assert "permission denied" in refused(otad, statement)
    again = "begin; grant update, delete, truncate on audit to current_user; "
    assert "audit only grows" in refused(otad, f"{again}{statement}; commit;")
    assert otad.psql("select count(*), max(id) from audit") == before


def test_filters(operator, make_user):
    one, other = make_user(), make_user()
    devices = [register(account) for account in (one, one, other)]
    operator.client.patch(f"/devices/{devices[0]['id']}", json={"name": "x"})
    everything = entries(operator)
    order = [(at(entry), entry["id"]) for entry in everything]
    assert order == sorted(order, reverse=True)

    def check(expected, **query):
        assert entries(operator, **query) == [entry for entry in everything if expected(entry)], query
    check(lambda e: e["user"] and e["user"]["id"] == one.id, user_id=one.id)
    check(lambda e: e["action"] == "device.create", action="device.create")
    check(lambda e: e["target"]["kind"] == "user", kind="user")
    check(lambda e: e["target"]["kind"] == "device" and e["target"]["id"] == devices[0]["id"], kind="device",
          id=devices[0]["id"])
    check(lambda e: e["target"]["id"] == devices[0]["id"], id=devices[0]["id"])
    check(lambda e: e["user"] and e["user"]["id"] == one.id and e["action"] == "device.create"
          and e["target"]["kind"] == "device", user_id=one.id, action="device.create", kind="device")
    check(lambda e: False, action="device.nothing")
    check(lambda e: False, kind="policy", id="no_such_policy")
    start, end = everything[-2], everything[1]
    check(lambda e: at(e) >= at(start), **{"from": start["at"]})
    check(lambda e: at(e) < at(end), to=end["at"])
    check(lambda e: at(start) <= at(e) < at(end) and e["action"] == "device.create", **{"from": start["at"]}, to=end["at"],
          action="device.create")
    for limit in (1, 3):
        assert pages(operator, "/audit", limit, user_id=one.id) == entries(operator, user_id=one.id)


def test_a_page_does_not_move(operator, make_user):
    account = make_user()
    for _ in range(4):
        register(account)
    first = operator.client.get("/audit", params={"user_id": account.id, "limit": 2}).json()
    register(account)
    rest = operator.client.get("/audit", params={"user_id": account.id, "limit": 200, "cursor": first["next"]}).json()
    assert first["items"] + rest["items"] == entries(operator, user_id=account.id)[1:]


@pytest.mark.parametrize("query", ["user_id=0", "user_id=x", "action=x", "action=Device.create", "kind=nothing", "id=", "from=x",
                                   "to=2026-13-01T00:00:00Z", "limit=0", "limit=201", "cursor=x", "nonsense=1",
                                   "id=" + "x" * 51])
def test_wrong_queries(operator, query):
    problem(operator.client.get(f"/audit?{query}"), 422, query.split("=")[0])
