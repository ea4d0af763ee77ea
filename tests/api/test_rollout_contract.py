"""Rollouts over HTTP, row by row, on registered devices that are never there: every field, every list, every refusal."""
import secrets

import pytest

import make_image
from accounts import Account
from answers import UPDATE, problem
from devices import Device, wait_for
from test_firmware import upload, version
from test_rollouts import decisions, new_policy, reaches, rollout

ROLLOUT = ["id", "name", "state", "policy", "revision", "firmware", "target", "params", "priority", "stage", "counts",
           "reason", "starts_at", "created_at", "updated_at"]
COUNTS = ["targeted", "excluded", "under_way", "waiting", "held", "pending", "offered", "downloading", "installing",
          "succeeded", "vanished", "failed", "rolled_back", "rejected", "timed_out", "cancelled", "skipped"]
MEMBER = ["device_id", "device_code", "name", "state", "verdict", "reason", "line", "file", "ask_at", "attempts", "update_id",
          "since"]
RATES = ["ended", "succeeded", "failed", "failure_rate", "failure_low", "failure_high"]
DECISION = ["id", "at", "device_id", "verdict", "reason", "policy", "revision", "line", "file"]
HOLDS = 'return { admit = function()\n  return "hold", "not today"\nend }'


@pytest.fixture(scope="module")
def image(operator):
    return upload(operator, make_image.build(project="p" + secrets.token_hex(4), version=version())).json()["firmware"]


@pytest.fixture
def target(otad, operator):
    """target(count): devices of the test's own, and what names them."""
    tag = secrets.token_hex(4)

    def make(count, **fields):
        return [Device(otad, operator, tags={"test": tag}, **fields) for _ in range(count)]

    make.tags = {"test": tag}
    return make


@pytest.fixture
def roll(operator, image, target):
    """roll(policy, ...): a rollout to those devices, aborted at the end."""
    made = []

    def make(policy="all_at_once", **fields):
        answer = operator.client.post("/rollouts", json={
            "name": "test", "firmware_id": image["id"], "policy": policy, "target": {"tags": target.tags}, **fields})
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["rollout"])
        return made[-1]

    yield make
    for one in made:
        operator.client.post(f"/rollouts/{one['id']}/abort", json={})


def pages(operator, path, limit):
    """All items of a list, a page at a time."""
    items, cursor = [], ""
    while cursor is not None:
        answer = operator.client.get(f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor and '&cursor=' + cursor}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert sorted(page) == ["items", "next"] and len(page["items"]) <= limit
        items += page["items"]
        cursor = page["next"]
    return items


NOBODY = {"tags": {"of": "none"}}


def steer(operator, made, verb, **body):
    return operator.client.post(f"/rollouts/{made['id']}/{verb}", json=body)


# What is made, and shown


def test_a_rollout_has_all_its_fields(operator, image, target, roll):
    target(2), target(1, chip="esp32s3")
    policy = new_policy(operator, HOLDS)
    made = roll(policy, name="Frühling ☀", params={"limit": 3, "deep": {"list": [1, None]}}, priority=-5)
    assert sorted(made) == sorted(ROLLOUT) and sorted(made["counts"]) == sorted(COUNTS)
    assert (made["name"], made["state"], made["policy"], made["priority"]) == ("Frühling ☀", "running", policy, -5)
    assert made["revision"] == operator.client.get(f"/policies/{policy}").json()["revision"]
    assert made["target"] == {"tags": target.tags} and made["params"] == {"limit": 3, "deep": {"list": [1, None]}}
    assert made["firmware"] == {key: image[key] for key in ("id", "version", "chip", "project", "size")}
    assert (made["counts"]["targeted"], made["counts"]["excluded"]) == (2, 1)
    held = wait_for(lambda: (lambda r: r if r["counts"]["held"] == 2 else None)(rollout(operator, made)), 20)
    assert sorted(held) == sorted([*ROLLOUT, "stats", "held", "excluded", "plan", "explanation"])
    assert held["held"] == [{"verdict": "hold", "reason": "not today", "count": 2}]
    rates = dict.fromkeys(RATES, 0) | {"failure_high": 1}
    assert held["stats"] == {**rates, "since_resume": rates}
    assert list(held["stats"]) == [*RATES, "since_resume"] and list(held["stats"]["since_resume"]) == RATES
    assert held["stage"] | {"entered_at": 0} == {"index": 0, "name": "all", "share": 1, "entered_at": 0, "of": 1}
    assert held["stage"]["entered_at"] >= held["created_at"]
    assert [(row["count"], "esp32s3" in row["reason"]) for row in held["excluded"]] == [(1, True)]
    listed = operator.client.get("/rollouts?limit=1").json()["items"][0]
    assert {**listed, "updated_at": 0, "reason": 0} == {**{key: held[key] for key in ROLLOUT}, "updated_at": 0, "reason": 0}


def test_what_may_be_left_out(operator, image):
    answer = operator.client.post("/rollouts", json={
        "name": "x", "firmware_id": image["id"], "policy": "all_at_once", "target": NOBODY})
    made = answer.json()["rollout"]
    assert (made["params"], made["priority"], made["reason"], made["stage"]) == ({}, 0, None, None)
    assert set(made["counts"].values()) == {0}
    assert reaches(operator, made, "completed")["counts"]["targeted"] == 0
    problem(steer(operator, made, "abort"), 409)


@pytest.mark.parametrize("wrong, field", [
    ({"name": ""}, "name"), ({"name": "x" * 101}, "name"), ({"name": 1}, "name"), ({"name": None}, "name"),
    ({"firmware_id": 0}, "firmware_id"), ({"firmware_id": 2147483647}, "firmware_id"), ({"firmware_id": "1"}, "firmware_id"),
    ({"policy": "nobody"}, "policy"), ({"policy": ""}, "policy"), ({"policy": "../canary"}, "policy"),
    ({"policy": None}, "policy"), ({"target": []}, "target"), ({"target": {"chips": "x"}}, "target.chips"),
    ({"target": {"tags": {"a": 1}}}, "target.tags.a"),
    ({"target": {"versions": []}}, "target.versions"), ({"target": {"device_ids": []}}, "target.device_ids"),
    ({"params": "x"}, "params"), ({"priority": 1001}, "priority"), ({"starts_at": "soon"}, "starts_at"),
    ({"stats": {}}, "stats")])
def test_what_no_rollout_is_made_of(operator, image, wrong, field):
    before = operator.client.get("/rollouts?limit=1").json()["items"]
    body = {"name": "x", "firmware_id": image["id"], "policy": "all_at_once", **wrong}
    problem(operator.client.post("/rollouts", json=body), 422, field)
    assert [one["id"] for one in operator.client.get("/rollouts?limit=1").json()["items"]] == [one["id"] for one in before]


def test_the_list_comes_in_pages(operator, roll):
    made = [roll(name=f"listed {i}", target=NOBODY) for i in range(5)]
    items = pages(operator, "/rollouts", 2)
    ids = [one["id"] for one in items]
    assert ids == sorted(set(ids), reverse=True) and ids[:5] == [one["id"] for one in reversed(made)]
    for one in made:
        reaches(operator, one, "completed")
    assert {one["id"] for one in made} <= {one["id"] for one in pages(operator, "/rollouts?state=completed", 200)}
    assert not {one["id"] for one in made} & {one["id"] for one in pages(operator, "/rollouts?state=running", 200)}
    foreign = operator.client.get("/policies?limit=1").json()["next"]
    for query, field in (("state=new", "state"), ("limit=0", "limit"), ("limit=201", "limit"), ("cursor=x", "cursor"),
                         (f"cursor={foreign}", "cursor"), ("sort=id", "sort")):
        problem(operator.client.get(f"/rollouts?{query}"), 422, field)


@pytest.mark.parametrize("path", ["", "/devices", "/decisions"])
@pytest.mark.parametrize("odd", ["0", "-1", "2147483647", "2147483648", "9223372036854775808", "1e3", "x", "%00", "1;drop",
                                 "../1"])
def test_ids_of_nothing(operator, odd, path):
    problem(operator.client.get(f"/rollouts/{odd}{path}"), 404)


# Steering


def test_who_may_go_where(operator, target, roll):
    target(1)
    made = roll(new_policy(operator, HOLDS))
    for verb, state, said in (("resume", None, None), ("pause", "paused", "too windy"), ("pause", None, None),
                              ("resume", "running", None), ("pause", "paused", None), ("abort", "aborted", "enough"),
                              ("abort", None, None), ("pause", None, None), ("resume", None, None),
                              ("rollback", "rolling_back", None), ("rollback", None, None), ("pause", None, None)):
        before = rollout(operator, made)
        answer = steer(operator, made, verb, **({"reason": said} if said else {}))
        if state is None:
            words = problem(answer, 409)["detail"]
            assert words.startswith("The rollout is ") and words.endswith(f": it cannot {VERBS[verb]}.")
            assert before["state"] == "rolling_back" or f" {before['state']}:" in words
            continue
        assert answer.status_code == 200, answer.text
        after = answer.json()["rollout"]
        assert (after["state"], sorted(after)) == (state, sorted(ROLLOUT))
        assert after["reason"] == said or (said is None and "on request" in after["reason"])
        newest = next(d for d in decisions(operator, made) if d["device_id"] is None and d["verdict"] == verb)
        assert newest["reason"] == after["reason"] and newest["line"] is None
    reaches(operator, made, "rolled_back")
    for verb in VERBS:
        problem(steer(operator, made, verb), 409)


VERBS = {"pause": "be paused", "resume": "be resumed", "abort": "be aborted", "rollback": "be rolled back"}


@pytest.mark.parametrize("verb", VERBS)
def test_wrong_words_of_steering(operator, roll, verb):
    made = roll(target=NOBODY, starts_at="2099-01-01T00:00:00Z")
    for body in ({"reason": ""}, {"reason": 1}, {"reason": "x" * 501}, {"why": "x"}):
        problem(steer(operator, made, verb, **body), 422)
    assert rollout(operator, made)["state"] == "running"
    for odd in ("0", "2147483647", "x"):
        problem(operator.client.post(f"/rollouts/{odd}/{verb}", json={}), 404)


def test_nothing_begins_before_its_time(operator, target, roll):
    target(1)
    made = roll(starts_at="2099-01-01T00:00:00Z")
    other = roll(target=NOBODY)
    reaches(operator, other, "completed")  # so the driver has looked at both
    now = rollout(operator, made)
    assert (now["stage"], now["counts"]["waiting"], now["starts_at"][:4]) == (None, 1, "2099")


# What became of it


def test_updates_and_decisions(operator, target, roll):
    devices = target(5)
    policy = new_policy(operator, """return { admit = function(device)
  if device.tags.late then return "hold", "late" end
  return "offer", "welcome"
end }""")
    operator.client.patch(f"/devices/{devices[0].id}", json={"tags": {**target.tags, "late": "yes"}})
    made = roll(policy)
    wait_for(lambda: rollout(operator, made)["counts"]["under_way"] == 4, 20)
    updates = pages(operator, f"/rollouts/{made['id']}/devices", 3)
    assert [update["id"] for update in updates] == sorted((update["id"] for update in updates), reverse=True)
    assert {update["device_id"] for update in updates} == {device.id for device in devices[1:]}
    assert all(sorted(update) == sorted([*UPDATE, "device_code", "name"]) and update["rollout_id"] == made["id"]
               for update in updates)
    assert {update["device_code"] for update in updates} == {device.device["device_code"] for device in devices[1:]}
    wait_for(lambda: len(pages(operator, f"/rollouts/{made['id']}/devices?state=offered", 2)) == 4, 20)
    assert pages(operator, f"/rollouts/{made['id']}/devices?state=succeeded", 2) == []
    for query, field in (("state=held", "state"), ("state=", "state"), ("limit=x", "limit"), ("cursor=x", "cursor")):
        problem(operator.client.get(f"/rollouts/{made['id']}/devices?{query}"), 422, field)

    found = pages(operator, f"/rollouts/{made['id']}/decisions", 2)
    assert [d["id"] for d in found] == sorted((d["id"] for d in found), reverse=True)
    assert all(sorted(d) == sorted(DECISION) for d in found)
    assert {d["policy"] for d in found} == {policy} and {d["revision"] for d in found} == {made["revision"]}
    offers = {d["device_id"]: (d["reason"], d["line"]) for d in found if d["verdict"] == "offer"}
    assert offers == {device.id: ("welcome", 3) for device in devices[1:]}
    mine = pages(operator, f"/rollouts/{made['id']}/decisions?device_id={devices[0].id}", 1)
    assert [(d["verdict"], d["reason"], d["line"]) for d in mine] == [("hold", "late", 2)]
    assert pages(operator, f"/rollouts/{made['id']}/decisions?device_id=2147483647", 1) == []
    for query, field in (("device_id=0", "device_id"), ("device_id=x", "device_id"), ("verdict=hold", "verdict"),
                         ("limit=999", "limit")):
        problem(operator.client.get(f"/rollouts/{made['id']}/decisions?{query}"), 422, field)
    cursor = operator.client.get(f"/rollouts/{made['id']}/decisions?limit=1").json()["next"]
    problem(operator.client.get(f"/rollouts/{made['id']}/devices?cursor={cursor}"), 422, "cursor")


def test_members(operator, target, roll):
    offered, held, skipped, odd = devices = [*target(3), *target(1, chip="esp32s3", name="Odd one")]
    for device, of in zip(devices, ("offer", "hold", "skip", "offer")):
        operator.client.patch(f"/devices/{device.id}", json={"tags": {**target.tags, "of": of}})
    policy = new_policy(operator, """return { admit = function(device)
  if device.tags.of == "hold" then return "hold", "later", { again = "1h" } end
  if device.tags.of == "skip" then return "skip" end
  return "offer", "welcome"
end }""")
    made = roll(policy)
    wait_for(lambda: rollout(operator, made)["counts"] | {"offered": 1, "held": 1, "skipped": 1, "excluded": 1}
             == rollout(operator, made)["counts"], 20)
    path = f"/rollouts/{made['id']}/members"
    found = pages(operator, path, 3)
    assert all(list(member) == MEMBER for member in found)
    assert [(m["device_id"], m["device_code"]) for m in found] == [(d.id, d.device["device_code"]) for d in devices]
    assert [m["name"] for m in found] == [None, None, None, "Odd one"]
    assert [(m["state"], m["verdict"], m["reason"], m["line"], m["file"], m["attempts"]) for m in found] == [
        ("offered", "offer", "welcome", 4, None, 1), ("held", "hold", "later", 2, None, 0),
        ("skipped", "skip", None, 3, None, 0),
        ("excluded", None, "is an esp32s3, the firmware is for esp32", None, None, 0)]
    update, = pages(operator, f"/rollouts/{made['id']}/devices", 2)
    assert [m["update_id"] for m in found] == [update["id"], None, None, None]
    assert [m["ask_at"] is not None for m in found] == [False, True, False, False]
    assert found[1]["ask_at"] > found[1]["since"]
    for member in found:
        assert pages(operator, f"{path}?state={member['state']}", 1) == [member]
    assert pages(operator, f"{path}?state=vanished", 1) == []
    for query, field in (("state=running", "state"), ("state=", "state"), ("limit=0", "limit"), ("device_id=1", "device_id")):
        problem(operator.client.get(f"{path}?{query}"), 422, field)
    cursor = operator.client.get(f"{path}?limit=1").json()["next"]
    problem(operator.client.get(f"/rollouts/{made['id']}/devices?cursor={cursor}"), 422, "cursor")
    problem(operator.client.get("/rollouts/2147483647/members"), 404)


def test_the_most_frequent_reason_comes_first(otad, operator, target, roll):
    """Also of devices that were held before they were excluded, whose policy said different things by then."""
    devices = target(6)
    made = roll(new_policy(operator, HOLDS))
    wait_for(lambda: rollout(operator, made)["counts"]["held"] == 6, 20)
    ids = [device.id for device in devices]
    otad.psql(f"""update rollout_devices set reason = 'rare', ask_at = 'infinity'
                    where rollout_id = {made["id"]} and device_id = {ids[0]};
                  update rollout_devices set state = 'excluded', reason = 'unfit', verdict = case device_id when {ids[5]} then 'hold' end
                    where rollout_id = {made["id"]} and device_id in ({ids[4]}, {ids[5]})""")
    now = rollout(operator, made)
    assert now["held"] == [{"verdict": "hold", "reason": "not today", "count": 3},
                           {"verdict": "hold", "reason": "rare", "count": 1}]
    assert now["excluded"] == [{"reason": "unfit", "count": 2}]
    members = pages(operator, f"/rollouts/{made['id']}/members?state=excluded", 2)
    assert [(member["verdict"], member["line"]) for member in members] == [(None, None)] * 2


def test_what_does_not_load_holds_and_says_so(otad, operator, target, roll):
    """As when a file of the library is gone that the policy requires: no source like this is put in force."""
    target(1)
    policy = new_policy(operator, HOLDS)
    made = roll(policy)
    wait_for(lambda: rollout(operator, made)["counts"]["held"] == 1, 20)
    broken, revision = "return require 'lib.policy.gone'", "b" * 64
    otad.psql(f"""insert into policy_revisions (policy, revision, parent, source, author)
                    values ('{policy}', '{revision}', '{made["revision"]}', $lua${broken}$lua$, 'file');
                  update policies set revision = '{revision}' where name = '{policy}'""")
    found = wait_for(lambda: [d for d in decisions(operator, made) if "does not load" in d["reason"]], 20)
    assert (found[0]["verdict"], found[0]["device_id"], found[0]["line"]) == ("hold", None, 1)
    assert found[0]["reason"] == ("revision bbbbbbbbbbbb of the policy does not load: there is no library "
                                  "'lib/policy/gone' for policies (scripts/lib/policy/ holds them)")
    assert rollout(operator, made)["state"] == "running" and len(found) == 1
    answer = operator.client.get(f"/policies/{policy}").json()
    assert answer["declaration"] is None and answer["problems"][0]["line"] == 1
    assert operator.client.post(f"/policies/{policy}/rollback", headers={"If-Match": revision}).status_code == 200
    otad.psql(f"update rollout_devices set ask_at = now() where rollout_id = {made['id']}")
    wait_for(lambda: decisions(operator, made)[0]["reason"] != found[0]["reason"], 20)


# Who may


@pytest.mark.parametrize("method, path", [
    ("POST", "/rollouts"), ("GET", "/rollouts"), ("GET", "/rollouts/1"), ("GET", "/rollouts/2147483647"),
    ("GET", "/rollouts/1/devices"), ("GET", "/rollouts/1/decisions"), ("GET", "/rollouts/1/members"),
    *(("POST", f"/rollouts/1/{verb}") for verb in VERBS)])
def test_rollouts_are_for_operators(client, user, method, path):
    body = {} if method == "POST" else None
    problem(user.client.request(method, path, json=body), 403)
    problem(client.request(method, path, json=body), 401)


def test_a_user_sees_why_of_devices_that_are_theirs(otad, user, roll, target, operator):
    tags = target.tags
    own, other = Device(otad, user, tags=tags), Device(otad, Account(otad), tags=tags)
    made = roll(new_policy(operator, HOLDS))
    wait_for(lambda: rollout(operator, made)["counts"]["held"] == 2, 20)
    answer = user.client.get(f"/devices/{own.id}/explain")
    assert answer.status_code == 200, answer.text
    said = answer.json()["explanation"]
    assert "not today" in said
    problem(user.client.get(f"/devices/{other.id}/explain"), 404)
    found = operator.client.get(f"/rollouts/{made['id']}/decisions?device_id={other.id}").json()["items"]
    assert [d["device_id"] for d in found] == [other.id]
