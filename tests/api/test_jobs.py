"""Jobs: one action on many devices, in parts, each done once whatever happens to the server, as its account may by then."""
import os
import secrets
import signal
import time

import pytest

from accounts import Account
from answers import UNDER_WAY, problem
from devices import wait_for
from instances import Instance
from test_devices import pages, register
from test_feed import Feed
from test_firmware import stored

JOB = ["id", "action", "state", "total", "done", "changed", "problems", "created_by", "created_at", "updated_at"]
GONE = "there is no such device"
NOT_UNDER_WAY = "no update of the device is under way"


def order(account, select, action, **more):
    return account.client.post("/devices/bulk", json={"select": select, "action": action, **more})


def begun(account, select, action, **more):
    answer = order(account, select, action, **more)
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert list(body) == ["job"] and list(body["job"]) == JOB
    return body["job"]


def look(account, job):
    answer = account.client.get(f"/jobs/{job['id']}")
    assert answer.status_code == 200 and list(answer.json()["job"]) == JOB
    return answer.json()["job"]


def ended(account, job, timeout=30):
    return wait_for(lambda: (lambda j: j if j["state"] == "done" else None)(look(account, job)), timeout)


def done(account, select, action, **more):
    return ended(account, begun(account, select, action, **more))


def sums(job):
    """(total, done, changed, {reason: count})"""
    return job["total"], job["done"], job["changed"], {p["reason"]: p["count"] for p in job["problems"]}


def ids(devices):
    return {"device_ids": [device["id"] for device in devices]}


def tags(account, device):
    return account.client.get(f"/devices/{device['id']}").json()["tags"]


def many(otad, account, count):
    """Devices by the thousand; the tag `mark` that all of them have."""
    mark = secrets.token_hex(5)
    otad.psql(f"insert into devices (user_id, device_code, chip, tags) select {account.id}, '{mark}-' || n, 'esp32', "
              f"'{{\"mark\": \"{mark}\"}}' from generate_series(1, {count}) n")
    return f"mark:{mark}"


def slow(otad, account, code, seconds):
    """The part that meets such a device takes so long. Others do not wait: the condition is the account's own."""
    name = f"slow_{secrets.token_hex(4)}"
    otad.psql(f"create function {name}() returns trigger language plpgsql as "
              f"$$ begin perform pg_sleep({seconds}); return new; end $$; create trigger {name} before update on devices "
              f"for each row when (old.user_id = {account.id} and old.device_code like '{code}') execute function {name}()")


@pytest.fixture
def devices(user):
    return [register(user, tags={"site": "x", "n": str(n)}) for n in range(4)]


# What jobs do


def test_tags(user, devices):
    job = done(user, ids(devices[:3]), "tag", set={"ring": "1", "site": "y"}, remove=["n", "none"])
    assert sums(job) == (3, 3, 3, {}) and job["action"] == "tag" and job["created_by"] == user.id
    assert [tags(user, device) for device in devices] == [{"site": "y", "ring": "1"}] * 3 + [{"site": "x", "n": "3"}]
    assert sums(done(user, ids(devices), "tag", remove=["n"])) == (4, 4, 1, {})
    assert sums(done(user, ids(devices[:1]), "tag", set={"a": "1"}, remove=["a"])) == (1, 1, 1, {})
    assert tags(user, devices[0])["a"] == "1"


def test_no_more_tags_than_a_device_may_have(user):
    full = register(user, tags={f"t{n}": "" for n in range(31)})
    few = register(user)
    job = done(user, ids([full, few]), "tag", set={"a": "1", "b": "2"})
    assert sums(job) == (2, 2, 1, {"the device would have more than 32 tags": 1})
    assert tags(user, few) == {"a": "1", "b": "2"} and len(tags(user, full)) == 31
    assert sums(done(user, ids([full]), "tag", set={"a": "1", "b": "2"}, remove=["t0"])) == (1, 1, 1, {})


def test_updates_and_their_end(otad, operator, make_device):
    _, firmware = stored(operator)
    device = make_device()
    assert device.connect() == 0
    device.status(firmware_version="0.1", elf_sha256="ab" * 32)
    device.wait(lambda d: d["firmware_version"] == "0.1")
    runs, other, busy = (register(operator, chip=chip) for chip in ("esp32", "esp32c3", "esp32"))
    otad.psql(f"update devices set elf_sha256 = '{firmware['elf_sha256']}' where id = {runs['id']}")
    assert operator.client.post(f"/devices/{busy['id']}/update", json={"firmware_id": firmware["id"]}).status_code == 202
    select = {"device_ids": [device.id, runs["id"], other["id"], busy["id"], 2147483647]}
    feed = Feed(otad.url, operator.token, subscribe=[f"device:{device.id}"])
    job = done(operator, select, "update", firmware_id=firmware["id"])
    assert sums(job) == (5, 5, 1, {
        GONE: 1, "the device runs this image already": 1, "an update of the device is under way already": 1,
        "the firmware is for esp32, and the device is an esp32c3": 1})
    offer = device.offer()
    update = operator.client.get(f"/devices/{device.id}/updates").json()["items"][0]
    assert offer["update_id"] == update["id"] and offer["sha256"] == firmware["sha256"] and update["from_version"] == "0.1"
    assert update["state"] in UNDER_WAY and update["rollout_id"] is None

    job = done(operator, select, "cancel")
    assert sums(job) == (5, 5, 2, {GONE: 1, NOT_UNDER_WAY: 2})
    assert device.offer() is None
    assert operator.client.get(f"/devices/{device.id}/updates").json()["items"][0]["state"] == "cancelled"
    feed.event("update", f"device:{device.id}", lambda data: data["id"] == update["id"] and data["state"] in UNDER_WAY)
    feed.event("update", f"device:{device.id}", lambda data: data["id"] == update["id"] and data["state"] == "cancelled")
    feed.ws.close()


def test_deletion(otad, user, make_device):
    device = make_device(account=user)
    kept, gone = register(user), register(user)
    assert device.connect() == 0
    job = done(user, {"device_ids": [device.id, gone["id"]]}, "delete")
    assert sums(job) == (2, 2, 2, {})
    wait_for(lambda: not device.mqtt.is_connected())
    assert [row["id"] for row in user.client.get("/devices").json()["items"]] == [kept["id"]]
    assert otad.psql(f"select count(*) from device_credentials where device_id in ({device.id}, {gone['id']})") == "0"


def test_deletion_clears_offers(otad, operator, user, make_device):
    _, firmware = stored(operator)
    device = make_device(account=user)
    assert device.connect() == 0
    assert sums(done(user, {"device_ids": [device.id]}, "update", firmware_id=firmware["id"])) == (1, 1, 1, {})
    assert device.offer()
    done(user, {"device_ids": [device.id]}, "delete")
    wait_for(lambda: otad.psql(f"select count(*) from offers where device_id = {device.id}") == "0")


# Whom they are about


@pytest.mark.parametrize("filter, expected", [
    ({}, [0, 1, 2, 3]), ({"chip": "esp32"}, [0, 2]), ({"tag": "site:x"}, [2, 3]), ({"online": True}, [1]),
    ({"version": "1.0"}, [1, 3]), ({"q": "lamp"}, [3]), ({"silent_for": 600}, [0, 2, 3]), ({"update": "under_way"}, [2]),
    ({"update": "failed"}, [0]), ({"chip": "esp32", "update": "failed"}, [0]), ({"q": "nothing like this"}, [])])
def test_selection_by_filter(otad, user, filter, expected):
    devices = [register(user, chip="esp32"), register(user), register(user, chip="esp32", tags={"site": "x"}),
               register(user, tags={"site": "x"}, name="Lamp")]
    a, b, c, d = (device["id"] for device in devices)
    otad.psql(f"update devices set firmware_version = '1.0' where id in ({b}, {d}); "
              f"update devices set status = 'online', last_seen = now() where id = {b}; "
              f"insert into updates (device_id, version, state) values ({a}, '2', 'failed'), ({c}, '2', 'offered')")
    job = done(user, {"filter": filter}, "tag", set={"seen": "yes"})
    assert sums(job) == (len(expected), len(expected), len(expected), {})
    assert [n for n, device in enumerate(devices) if tags(user, device).get("seen")] == expected


def test_selection_by_image(otad, operator, user, devices):
    _, firmware = stored(operator)
    otad.psql(f"update devices set elf_sha256 = '{firmware['elf_sha256']}' where id = {devices[1]['id']}")
    assert sums(done(user, {"filter": {"firmware_id": firmware["id"]}}, "tag", set={"a": "b"})) == (1, 1, 1, {})
    assert tags(user, devices[1])["a"] == "b"


def test_ids_count_once(user, devices):
    a, b = devices[0]["id"], devices[1]["id"]
    assert sums(done(user, {"device_ids": [b, a, b, a, a]}, "tag", set={"a": "b"})) == (2, 2, 2, {})


def test_only_ones_own_devices(operator, make_user, user, devices):
    theirs = register(make_user(), tags={"site": "x"})
    job = done(user, ids([theirs, devices[0]]), "tag", set={"a": "b"})
    assert sums(job) == (2, 2, 1, {GONE: 1})
    for action in ("cancel", "delete"):
        assert sums(done(user, ids([theirs]), action)) == (1, 1, 0, {GONE: 1})
    assert sums(done(user, {"filter": {"tag": "site:x"}}, "tag", set={"c": "d"})) == (4, 4, 4, {})
    assert tags(operator, theirs) == {"site": "x"}
    assert sums(done(operator, ids([theirs, devices[0]]), "tag", set={"e": "f"})) == (2, 2, 2, {})


def test_devices_registered_later_are_none_of_it(otad, user):
    mark = many(otad, user, 2500)
    slow(otad, user, "%-1", 3)
    job = begun(user, {"filter": {"tag": mark}}, "tag", set={"a": "b"})
    late = register(user, tags=dict([mark.split(":")]))
    assert sums(ended(user, job)) == (2500, 2500, 2500, {})
    assert "a" not in tags(user, late)


def test_devices_that_go_meanwhile(otad, user):
    mark = many(otad, user, 2500)
    slow(otad, user, "%-1", 2)
    job = begun(user, {"filter": {"tag": mark}}, "tag", set={"a": "b"})
    otad.psql(f"delete from devices where id in (select id from devices where user_id = {user.id} order by id desc limit 300)")
    assert sums(ended(user, job)) == (2200, 2200, 2200, {})


# Roles


def test_a_demoted_operator_goes_on_with_his_own(otad, make_user, user):
    operator = make_user(role="operator")
    mark = many(otad, user, 2500)
    otad.psql(f"update devices set user_id = {operator.id} where id in "
              f"(select id from devices where user_id = {user.id} order by id desc limit 100)")
    slow(otad, user, "%-1", 3)
    job = begun(operator, {"filter": {"tag": mark}}, "tag", set={"a": "b"})
    otad.psql(f"update users set role = 'user' where id = {operator.id}")
    wait_for(lambda: otad.psql(f"select state from jobs where id = {job['id']}") == "done")
    changed = int(otad.psql(f"select count(*) from devices where tags->>'a' = 'b' and user_id = {user.id}"))
    assert changed in (0, 1000)  # what the part that was under way had
    assert otad.psql(f"select count(*) from devices where tags->>'a' = 'b' and user_id = {operator.id}") == "100"


def test_who_becomes_operator_later_is_none_for_it(otad, make_user):
    account, other = make_user(), make_user()
    mark = many(otad, account, 1500)
    register(other, tags=dict([mark.split(":")]))
    slow(otad, account, "%-1", 2)
    job = begun(account, {"filter": {"tag": mark}}, "tag", set={"a": "b"})
    otad.psql(f"update users set role = 'operator' where id = {account.id}")
    assert sums(ended(account, job)) == (1500, 1500, 1500, {})


def test_the_account_is_deleted(otad, operator, make_user):
    account = make_user()
    devices = [register(operator) for _ in range(2)]
    otad.psql(f"insert into jobs (created_by, operator, action, arguments, device_ids, newest, total, address, request_id) "
              f"values (null, true, 'delete', '{{}}', array[{devices[0]['id']}, {devices[1]['id']}], {devices[1]['id']}, 2, '', '')")
    job = wait_for(lambda: next((j for j in operator.client.get("/jobs").json()["items"] if j["created_by"] is None
                                 and j["state"] == "done"), None))
    assert sums(job) == (2, 2, 0, {"the account that asked for this was deleted": 2})
    assert operator.client.get(f"/devices/{devices[0]['id']}").status_code == 200


def test_jobs_are_seen_by_their_account_and_operators(operator, make_user, user, devices):
    other = make_user()
    made = [done(user, ids(devices), "tag", set={"n": str(n)}) for n in range(3)]
    assert pages(user, "/jobs", 2) == made[::-1] and pages(other, "/jobs", 2) == []
    problem(other.client.get(f"/jobs/{made[0]['id']}"), 404)
    problem(other.client.get("/jobs/2147483647"), 404)
    assert look(operator, made[0]) == made[0]
    assert {job["id"] for job in made} <= {job["id"] for job in pages(operator, "/jobs", 200)}


def test_who_asks(client):
    for method, path in (("POST", "/devices/bulk"), ("GET", "/jobs"), ("GET", "/jobs/1")):
        problem(client.request(method, path), 401)


# What is refused


@pytest.mark.parametrize("body, field", [
    ({}, "action"), ({"action": "cancel"}, "select"), ({"action": "cancel", "select": {}}, "select"),
    ({"action": "cancel", "select": {"device_ids": [1], "filter": {}}}, "select"),
    ({"action": "cancel", "select": {"device_ids": []}}, "select.device_ids"),
    ({"action": "cancel", "select": {"device_ids": [0]}}, "select.device_ids[0]"),
    ({"action": "cancel", "select": {"device_ids": ["1"]}}, "select.device_ids[0]"),
    ({"action": "cancel", "select": {"device_ids": [1, 2**31]}}, "select.device_ids[1]"),
    ({"action": "cancel", "select": {"device_ids": list(range(1, 10002))}}, "select.device_ids"),
    ({"action": "cancel", "select": {"device_ids": {}}}, "select.device_ids"),
    ({"action": "cancel", "select": {"filter": {"colour": "red"}}}, "select.filter.colour"),
    ({"action": "cancel", "select": {"filter": {"limit": 5}}}, "select.filter.limit"),
    ({"action": "cancel", "select": {"filter": {"q": ""}}}, "select.filter.q"),
    ({"action": "cancel", "select": {"filter": {"online": "true"}}}, "select.filter.online"),
    ({"action": "cancel", "select": {"filter": {"silent_for": "5"}}}, "select.filter.silent_for"),
    ({"action": "cancel", "select": {"filter": {"firmware_id": 2147483647}}}, "select.filter.firmware_id"),
    ({"action": "cancel", "select": {"all": True}}, "select.all"), ({"action": "cancel", "select": [1]}, "select"),
    ({"action": "burn", "select": {"filter": {}}}, "action"), ({"select": {"filter": {}}}, "action"),
    ({"action": "cancel", "select": {"filter": {}}, "force": True}, "force"),
    ({"action": "cancel", "select": {"filter": {}}, "set": {"a": "b"}}, "set"),
    ({"action": "delete", "select": {"filter": {}}, "remove": ["a"]}, "remove"),
    ({"action": "tag", "select": {"filter": {}}, "set": {"a": "b"}, "firmware_id": 1}, "firmware_id"),
    ({"action": "tag", "select": {"filter": {}}}, "set"), ({"action": "tag", "select": {"filter": {}}, "set": {}, "remove": []}, "set"),
    ({"action": "tag", "select": {"filter": {}}, "set": {"a:b": "c"}}, "set.a:b"),
    ({"action": "tag", "select": {"filter": {}}, "set": {"a": 1}}, "set.a"),
    ({"action": "tag", "select": {"filter": {}}, "set": {str(n): "" for n in range(33)}}, "set"),
    ({"action": "tag", "select": {"filter": {}}, "remove": [""]}, "remove[0]"),
    ({"action": "update", "select": {"filter": {}}}, "firmware_id"),
    ({"action": "update", "select": {"filter": {}}, "firmware_id": 2147483647}, "firmware_id"),
    ({"action": "update", "select": {"filter": {}}, "version": "1.0"}, "version")])
def test_bad_orders(otad, user, devices, body, field):
    problem(user.client.post("/devices/bulk", json=body), 422, field)
    assert user.client.get("/jobs").json()["items"] == []


def test_images_that_nobody_would_install(otad, operator, user, devices):
    _, firmware = stored(operator)
    otad.psql(f"update firmware set release_signature = null, release_key = null where id = {firmware['id']}")
    body = problem(order(user, ids(devices), "update", firmware_id=firmware["id"]), 422, "firmware_id")
    assert "no release signature" in body["errors"][0]["message"]


def test_ten_thousand_ids(user, devices):
    own = [device["id"] for device in devices]
    numbers = own + list(range(max(own) + 10**6, max(own) + 10**6 + 10000 - len(own)))
    assert sums(done(user, {"device_ids": numbers}, "tag", set={"a": "b"})) == (10000, 10000, 4, {GONE: 9996})


def test_a_few_jobs_of_an_account_at_once(otad, make_user, user):
    mark = many(otad, user, 1)
    slow(otad, user, "%", 3)
    for n in range(5):
        begun(user, {"filter": {"tag": mark}}, "tag", set={"n": str(n)})
    answer = order(user, {"filter": {}}, "cancel")
    problem(answer, 429)
    assert int(answer.headers["retry-after"]) > 0
    other = make_user()
    begun(other, ids([register(other)]), "tag", set={"a": "b"})
    wait_for(lambda: order(user, {"filter": {}}, "cancel").status_code == 202, 30)
    wait_for(lambda: all(job["state"] == "done" for job in user.client.get("/jobs").json()["items"]), 60)


# How they go


@pytest.mark.measured
def test_it_begins_at_once(otad, user, devices):
    began = time.monotonic()
    done(user, ids(devices), "tag", set={"a": "b"})
    assert time.monotonic() - began < 1 * otad.slack


def test_progress_is_seen(otad, user):
    mark = many(otad, user, 2500)
    slow(otad, user, "%-1500", 3)
    job = begun(user, {"filter": {"tag": mark}}, "tag", set={"a": "b"})
    assert (job["state"], job["total"], job["done"]) == ("running", 2500, 0)
    seen = wait_for(lambda: (lambda j: j if j["done"] else None)(look(user, job)))
    assert (seen["state"], seen["done"], seen["changed"]) == ("running", 1000, 1000)
    assert sums(ended(user, job)) == (2500, 2500, 2500, {})


def test_a_short_job_does_not_wait_for_a_long_one(otad, make_user, user):
    mark, other = many(otad, user, 6000), make_user()
    slow(otad, user, "%-__01", 0.05)
    long = begun(user, {"filter": {"tag": mark}}, "tag", set={"a": "b"})
    done(other, ids([register(other)]), "tag", set={"a": "b"})
    assert look(user, long)["state"] == "running"
    ended(user, long, 60)


def test_a_part_that_fails_is_done_later_and_others_go_on(otad, make_user, user):
    mark, other = many(otad, user, 10), make_user()
    name = f"fails_{secrets.token_hex(4)}"
    otad.psql(f"create function {name}() returns trigger language plpgsql as $$ begin raise 'not now'; end $$; create trigger "
              f"{name} before update on devices for each row when (old.user_id = {user.id}) execute function {name}()")
    job = begun(user, {"filter": {"tag": mark}}, "tag", set={"a": "b"})
    for _ in range(2):
        done(other, ids([register(other)]), "tag", set={"a": "b"})
    assert look(user, job)["done"] == 0
    otad.psql(f"drop function {name} cascade")
    assert sums(ended(user, job)) == (10, 10, 10, {})


# When the server ends in the middle


HISTORY = """
create table if not exists job_history (device_id int, old jsonb, new jsonb);
create or replace function job_history() returns trigger language plpgsql as $$
begin
  insert into job_history values (new.id, old.tags, new.tags);
  return null;
end $$;
create or replace trigger job_history after update of tags on devices for each row
  when (old.tags is distinct from new.tags) execute function job_history()"""


@pytest.fixture(scope="module")
def own(start_otad):
    system = start_otad()
    system.psql(HISTORY)
    return system


def once_each(system, account, count):
    """Each device of the account was changed, and none of them twice."""
    changes = system.psql(f"select count(*), count(distinct h.device_id) from job_history h join devices d on d.id = h.device_id "
                          f"where d.user_id = {account.id}")
    assert changes == f"{count}|{count}"


def test_a_killed_server_goes_on_where_it_was(own):
    account = Account(own)
    mark = many(own, account, 5500)
    slow(own, account, "%-2500", 3)
    job = begun(account, {"filter": {"tag": mark}}, "tag", set={"a": "b"})
    wait_for(lambda: own.psql(f"select done from jobs where id = {job['id']}") == "2000")
    os.kill(own.pid, signal.SIGKILL)
    assert own.psql(f"select state, done < 5500 from jobs where id = {job['id']}") == "running|t"
    wait_for(own.ready, 60)
    assert sums(ended(account, job, 60)) == (5500, 5500, 5500, {})
    once_each(own, account, 5500)


def test_another_instance_takes_over(own):
    """And what each does at its start: it removes jobs that ended a month ago."""
    old = Account(own)
    own.psql(f"insert into jobs (created_by, operator, action, filter, newest, total, address, request_id, state, updated_at) select "
             f"{old.id}, false, 'cancel', '{{}}', 0, 0, '', '', 'done', now() - n * interval '1 day' from unnest(array[29, 31]) n")
    account, second = Account(own), Instance(own)
    try:
        mark = many(own, account, 5500)
        slow(own, account, "%-2500", 2)
        job = begun(account, {"filter": {"tag": mark}}, "tag", set={"a": "b"})
        own.service("otad", "stop")
        wait_for(lambda: own.psql(f"select state from jobs where id = {job['id']}") == "done", 60)
        own.service("otad", "start")
        wait_for(own.ready, 60)
        assert sums(look(account, job)) == (5500, 5500, 5500, {})
        once_each(own, account, 5500)
        assert len(pages(old, "/jobs", 5)) == 1
    finally:
        second.end()


def test_two_instances_share_the_jobs(own):
    account, second = Account(own), Instance(own)
    try:
        marks = [many(own, account, 1500) for _ in range(3)]
        jobs = [begun(account, {"filter": {"tag": mark}}, "tag", set={"a": "b"}) for mark in marks]
        for job in jobs:
            assert sums(ended(account, job, 60)) == (1500, 1500, 1500, {})
        once_each(own, account, 4500)
    finally:
        second.end()


def test_updates_by_a_killed_server_are_made_once(own):
    operator = Account(own, role="operator")
    _, firmware = stored(operator)
    mark = many(own, operator, 1200)
    job = begun(operator, {"filter": {"tag": mark}}, "update", firmware_id=firmware["id"])
    wait_for(lambda: int(own.psql(f"select done from jobs where id = {job['id']}")) > 0, interval=0.005)
    os.kill(own.pid, signal.SIGKILL)
    wait_for(own.ready, 60)
    assert sums(ended(operator, job, 60)) == (1200, 1200, 1200, {})
    every = f"from updates u join devices d on d.id = u.device_id where d.user_id = {operator.id}"
    assert own.psql(f"select count(*), count(distinct u.device_id) {every}") == "1200|1200"
    wait_for(lambda: own.psql(f"select count(*) {every} and u.state = 'offered'") == "1200", 60)


def test_the_audit_log_knows_who_ordered_it(operator, user, devices):
    job = done(user, ids(devices), "tag", set={"audited": "yes"})
    entry = operator.client.get(f"/audit?kind=job&id={job['id']}").json()["items"][0]
    assert entry["action"] == "job.create" and entry["user"]["id"] == user.id
    assert entry["after"]["arguments"]["set"] == {"audited": "yes"}
    for device in devices:
        entry = operator.client.get(f"/audit?kind=device&id={device['id']}").json()["items"][0]
        assert entry["action"] == "device.change" and entry["user"]["id"] == user.id and entry["address"]
        assert entry["after"]["tags"]["audited"] == "yes"
