"""The fleet at a glance: counts, versions, updates, rollouts, and what needs somebody's attention."""
import time

import pytest

from accounts import Account
from devices import wait_for
from test_devices import register
from test_firmware import stored

KEPT = 5  # seconds
WORST_FIRST = ["part_down", "policy_problem", "rollout_paused", "update_failed", "went_silent", "battery_low"]
POLICY = "return { advance = function() return 'pause', 'not on a Friday' end }"
IDLE = "return { admit = function() return 'hold', 'later' end, advance = function() return 'hold' end }"


def summary(account):
    answer = account.client.get("/fleet/summary")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert list(body) == ["devices", "versions", "updates", "rollouts", "attention"]
    kinds = [WORST_FIRST.index(entry["kind"]) for entry in body["attention"]]
    assert kinds == sorted(kinds)
    return body


def attention(account, kind):
    return [entry for entry in summary(account)["attention"] if entry["kind"] == kind]


def test_nothing(user):
    assert summary(user) == {
        "devices": {"total": 0, "online": 0, "offline": 0, "never_seen": 0}, "versions": [],
        "updates": {"under_way": 0, "failed": 0, "last_day": dict.fromkeys(
            ["succeeded", "failed", "rolled_back", "rejected", "timed_out", "cancelled"], 0)}, "rollouts": [], "attention": []}


def test_all_about_ones_own_devices(otad, operator, make_user, user):
    _, firmware = stored(operator)
    devices = [register(user, chip="esp32")["id"] for _ in range(6)]
    register(make_user(), chip="esp32")
    a, b, c, d, e, _ = devices
    otad.psql(
        f"update devices set firmware_version = '{firmware['version']}' where id in ({a}, {b}, {c}); "
        f"update devices set firmware_version = 'own build' where id = {d}; "
        f"update devices set elf_sha256 = '{firmware['elf_sha256']}', status = 'online', last_seen = now() where id = {a}; "
        f"update devices set last_seen = now() - interval '23 hours', telemetry = '{{\"battery\": 19}}' where id in ({b}, {c}); "
        f"update devices set last_seen = now() - interval '25 hours', telemetry = '{{\"battery\": 20}}' where id = {d}; "
        f"insert into updates (device_id, version, state, updated_at) values ({a}, '1', 'succeeded', now()), "
        f"({a}, '1', 'failed', now() - interval '25 hours'), ({b}, '1', 'timed_out', now()), ({c}, '1', 'rejected', now()), "
        f"({d}, '1', 'cancelled', now()), ({e}, '1', 'installing', now())")
    body = summary(user)
    assert body["devices"] == {"total": 6, "online": 1, "offline": 5, "never_seen": 2}
    assert body["versions"] == [
        {"chip": "esp32", "version": firmware["version"], "firmware_id": firmware["id"], "devices": 3, "online": 1},
        {"chip": "esp32", "version": "own build", "firmware_id": None, "devices": 1, "online": 0}]
    assert body["updates"] == {"under_way": 1, "failed": 3, "last_day": {
        "succeeded": 1, "failed": 0, "rolled_back": 0, "rejected": 1, "timed_out": 1, "cancelled": 1}}
    assert body["rollouts"] == []
    assert [(entry["kind"], entry["count"], entry["text"]) for entry in body["attention"]] == [
        ("update_failed", 3, "3 devices failed their last update"),
        ("went_silent", 2, "2 devices went silent within a day"),
        ("battery_low", 2, "2 devices have less than 20 % of battery")]
    for entry in body["attention"]:
        assert list(entry) == ["kind", "count", "text", "filter", "rollout_id", "policy"]
        assert user.client.get("/devices/count", params=entry["filter"]).json() == {"count": entry["count"]}


def test_one_device_is_no_devices(otad, user):
    device = register(user)["id"]
    otad.psql(f"update devices set telemetry = '{{\"battery\": 3}}' where id = {device}")
    assert [entry["text"] for entry in summary(user)["attention"]] == ["1 device has less than 20 % of battery"]


def test_the_image_of_a_version(otad, operator, user):
    """Of two with one version the one that devices run by its hash; without a hash nobody knows."""
    _, first = stored(operator, project="first")
    _, second = stored(operator, project="second")
    otad.psql(f"update firmware set version = '{first['version']}' where id = {second['id']}")
    device = register(user, chip="esp32")["id"]
    otad.psql(f"update devices set firmware_version = '{first['version']}' where id = {device}")
    assert summary(user)["versions"][0]["firmware_id"] is None
    otad.psql(f"update devices set elf_sha256 = '{second['elf_sha256']}' where id = {device}")
    wait_for(lambda: summary(user)["versions"][0]["firmware_id"] == second["id"])


def test_it_is_computed_once_in_a_while_and_nobody_waits(otad, user):
    before, began = summary(user), time.monotonic()
    register(user)
    for _ in range(2):  # a connection that is idle for long is another one, perhaps of another worker
        time.sleep(KEPT / 2 + 0.1)
        assert summary(user) == before  # old by the second time: the next one is being computed
    wait_for(lambda: summary(user) != before)
    took = time.monotonic() - began
    assert summary(user)["devices"]["total"] == 1
    assert took < (KEPT + 2) * otad.slack


@pytest.fixture(scope="module")
def own(start_otad):
    return start_otad()


@pytest.fixture(scope="module")
def chief(own):
    return Account(own, role="operator")


def test_operators_see_all_and_rollouts(own, chief):
    other = Account(own)
    device = register(other, chip="esp32")
    _, firmware = stored(chief)
    made = {}
    for name, source in (("pauses", POLICY), ("waits", IDLE)):
        answer = chief.client.put(f"/policies/{name}", json={"source": source}, headers={"If-None-Match": "*"})
        assert answer.status_code == 201, answer.text
        answer = chief.client.post("/rollouts", json={"name": name, "firmware_id": firmware["id"], "policy": name,
                                                      "target": {"device_ids": [device["id"]]}})
        assert answer.status_code == 201, answer.text
        made[name] = answer.json()["rollout"]["id"]
    assert chief.client.post(f"/rollouts/{made['waits']}/pause", json={}).status_code == 200
    entry, = wait_for(lambda: attention(chief, "rollout_paused"), 30)
    assert entry == {"kind": "rollout_paused", "count": 1, "text": "Rollout pauses is paused: not on a Friday", "filter": None,
                     "rollout_id": made["pauses"], "policy": "pauses"}
    body = summary(chief)
    assert body["devices"]["total"] == 1
    assert [(row["id"], row["state"]) for row in body["rollouts"]] == [(made["waits"], "paused"), (made["pauses"], "paused")]
    assert list(body["rollouts"][0]) == list(chief.client.get("/rollouts").json()["items"][0])
    assert summary(other)["rollouts"] == [] and attention(other, "rollout_paused") == []
    for id in made.values():
        assert chief.client.post(f"/rollouts/{id}/abort", json={}).status_code == 200
    wait_for(lambda: summary(chief)["rollouts"] == [] and attention(chief, "rollout_paused") == [])


def test_policies_that_do_not_load(own, chief):
    path = own.scripts / "policies/broken.lua"
    path.write_text("return {\n  stages = 5,\n}\n")
    try:
        entry, = wait_for(lambda: attention(chief, "policy_problem"))
        assert entry["policy"] == "broken" and entry["text"].startswith("Policy broken: does not load: line ")
        assert attention(Account(own), "policy_problem") == []
    finally:
        path.unlink()
    wait_for(lambda: attention(chief, "policy_problem") == [])
    own.psql("update policies set note = 'reverted: 20 of 20 calls failed' where name = 'canary'")
    entry, = wait_for(lambda: attention(chief, "policy_problem"))
    assert entry["policy"] == "canary" and entry["text"] == "Policy canary: reverted: 20 of 20 calls failed"
    own.psql("update policies set note = null where name = 'canary'")


def test_parts_that_are_down(own, chief):
    own.service("redis", "stop")
    try:
        entry, = wait_for(lambda: attention(chief, "part_down"))
        assert entry["text"] == "Redis cannot be reached" and entry["count"] == 1
    finally:
        own.service("redis", "start")
    wait_for(lambda: attention(chief, "part_down") == [])


def test_who_asks(client, user):
    assert client.get("/fleet/summary").status_code == 401
    assert user.client.get("/fleet/summary?x=1").status_code == 422
