"""Three instances of otad on one database and broker: one of them drives the rollouts, whatever happens to it; what is
said to one holds on all."""
import collections
import concurrent.futures
import contextlib
import hashlib
import itertools
import pathlib
import random
import re
import secrets
import shutil
import signal
import time

import pytest

import fleet_check
import make_image
from accounts import Account
from devices import wait_for
from instances import Instance
from otad_fleet import FirstImage, OtadFleet, register
from system import ROOT
from test_firmware import upload
from rollouts import decisions, new_policy, rollout

GROUPS, SIZE, IMAGE = 4, 24, 65536
versions = itertools.count(2)  # devices begin with 1.0.0
# Who wrote what only the driver writes, and who had the lease at that moment: a trigger sees what is committed by then.
WRITERS = """
create table if not exists written (at timestamptz default clock_timestamp(), who text, owner text, what text);
create or replace function note_writer() returns trigger language plpgsql as $$
begin
  insert into written (who, owner, what)
  select current_setting('application_name'), owner, tg_op || ' ' || tg_table_name from rollout_driver;
  return null;
end $$;
create trigger written after update on rollout_devices for each row execute function note_writer();
create trigger written after insert on updates for each row when (new.rollout_id is not null) execute function note_writer();
create trigger written after delete on rollout_reports for each row execute function note_writer();
create trigger written after delete on devices_changed for each row execute function note_writer();
"""


@pytest.fixture(scope="module")
def system(start_otad):
    system = start_otad()
    system.psql(WRITERS)
    return system


@pytest.fixture(scope="module")
def operator(system):
    return Account(system, role="operator")


@pytest.fixture(scope="module")
def others(system, tmp_path_factory):
    """Two more, each with scripts of its own."""
    instances = []
    for name in ("second", "third"):
        scripts = tmp_path_factory.mktemp(name) / "scripts"
        shutil.copytree(ROOT / "scripts", scripts)
        instances.append(Instance(system, name, scripts))
    yield instances
    for instance in instances:
        instance.ask_to_stop()
    for instance in instances:
        instance.end()
        assert "Sanitizer" not in instance.log() and "runtime error" not in instance.log()


class First:
    """The system's own, as an Instance."""

    name = "otad"

    def __init__(self, system):
        self.url = system.url

    request = Instance.request


@pytest.fixture
def all_three(system, others, operator):
    for instance in others:
        if instance.process.poll() is not None:
            instance.start()
    instances = [First(system), *others]
    for instance in instances:
        instance.id = instance.request("GET", "/admin/scripts", operator).json()["instance"]
    assert len({instance.id for instance in instances}) == 3
    return instances


@pytest.fixture(scope="module")
def fleet(system, operator, tmp_path_factory):
    """Devices in groups: each test has one, marked by its tag."""
    place = tmp_path_factory.mktemp("fleet")
    image = FirstImage(place)
    assert upload(operator, image.path.read_bytes()).status_code in (200, 201)
    registrations = register(system, operator, GROUPS * SIZE, tags=lambda number: {"group": str(number % GROUPS)})
    fleet = OtadFleet(system, operator, place, registrations=registrations, image=image, heartbeat="1s", boot="50ms",
                      backoff="200ms", away="1s")
    fleet.wait_connected()
    wait_for(lambda: system.psql("select count(*) from devices where firmware_version is not null and status = 'online'")
             == str(GROUPS * SIZE), 30)
    yield fleet
    fleet.stop()


@pytest.fixture(autouse=True)
def over(system):
    """No rollout of one test has devices that the next one's wants."""
    yield
    system.psql("update rollouts set state = 'aborted' where state in ('running', 'paused', 'rolling_back')")


def roll(operator, policy, group):
    firmware = upload(operator, make_image.build(size=IMAGE, version=f"{next(versions)}.0.0")).json()["firmware"]
    answer = operator.client.post("/rollouts", json={"name": "instances", "firmware_id": firmware["id"], "policy": policy,
                                                     "target": {"tags": {"group": str(group)}}})
    assert answer.status_code == 201, answer.text
    assert answer.json()["rollout"]["counts"]["targeted"] == SIZE
    return answer.json()["rollout"]


def paced(operator, per_minute, concurrency, more=""):
    return new_policy(operator, f"return {{ rate = {{ per_minute = {per_minute} }}, concurrency = {concurrency}, "
                                f"timeout = '20s', retry = {{ max = 3, after = '1s' }}, {more} }}")


def give_lease(system, instance):
    """As if it had been the first to find the lease over."""
    system.psql(f"update rollout_driver set owner = '{instance.id}', until = now() + interval '3 s', fence = fence + 1")


def driver(system, instances):
    owner = system.psql("select owner from rollout_driver")
    return next((instance for instance in instances if instance.id == owner), None)


def made(system, rollout_id):
    return int(system.psql(f"select count(*) from updates where rollout_id = {rollout_id}"))


def only_the_driver_wrote(system, instances):
    names = {instance.id: instance.name for instance in instances}
    wrong = [row for row in (row.split("|") for row in system.psql(
        "select at, who, owner, what from written where who <> 'psql'").splitlines()) if names.get(row[2], row[1]) != row[1]]
    assert not wrong, wrong[:5]
    return collections.Counter(row.split("|")[0] for row in system.psql("select who from written").splitlines())


def sound(system, fleet, rollout_id, concurrency, per_minute=None):
    """Caps held, and no device had two updates at once, whichever rollout they were of."""
    rows = fleet_check.rows(system, fleet.ids, rollout=rollout_id)
    peak = fleet_check.peak_at_once(rows.updates.values())
    assert 0 < peak <= concurrency, peak
    if per_minute:  # credit is never more than that of five seconds
        assert fleet_check.peak_rate(rows.updates.values(), 10) <= per_minute / 6 + max(per_minute / 12, 1) + 1
    rows = fleet_check.rows(system, fleet.ids)
    by_device = fleet_check.by_device(rows.updates.values())
    for device in fleet.report()["devices"]:
        assert fleet_check.two_at_once(device, by_device[device["id"]]) == []


def completes(operator, it, timeout=40):
    return wait_for(lambda: (lambda r: r if r.get("state") == "completed" else None)(rollout(operator, it)), timeout)


def test_another_takes_over_from_one_that_was_killed(system, all_three, operator, fleet):
    _, second, third = all_three
    it = roll(operator, paced(operator, 480, 10), 0)
    give_lease(system, second)
    wait_for(lambda: made(system, it["id"]) >= 4)
    assert driver(system, all_three) is second
    second.kill()
    before = made(system, it["id"])
    wait_for(lambda: driver(system, all_three) not in (second, None) and made(system, it["id"]) > before, 5)
    sound(system, fleet, it["id"], 10, 480)
    assert only_the_driver_wrote(system, all_three)["second"] > 0


def computing(instance):
    """Whether one of its processes of policies is: then its driver waits between having read whom to ask and writing
    what was decided."""
    serving = instance.processes()[1]
    for pid in hosts(serving):
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R":
                return True
    return False


def hosts(serving):
    """Children of any thread."""
    return [pid for thread in pathlib.Path(f"/proc/{serving}/task").iterdir()
            for pid in (thread / "children").read_text().split()]


@pytest.mark.parametrize("seconds, times", [(4, 1), pytest.param(60, 3, marks=pytest.mark.long)])
def test_one_that_was_stopped_writes_nothing(system, all_three, operator, fleet, seconds, times):
    """Stopped between reading whom to ask and writing what was decided; meanwhile others go on, and it has lost."""
    _, second, _ = all_three
    policy = new_policy(operator, """return {
  concurrency = 12, rate = { per_minute = 240 }, retry = { max = 3, after = "1s" }, timeout = "20s",
  admit = function(device) -- long enough to be interrupted
    local n = 0
    for i = 1, 60000 do n = n + i % 7 end
    return "offer"
  end,
}""")
    for _ in range(times):
        it = roll(operator, policy, 1)
        wait_for(lambda: made(system, it["id"]) > 0, interval=0.01)
        give_lease(system, second)
        wait_for(lambda: computing(second), interval=0)
        second.signal(signal.SIGSTOP)
        try:
            before = made(system, it["id"])
            assert driver(system, all_three) is second and before < SIZE, "it was stopped while it had the lease"
            time.sleep(seconds)
            wait_for(lambda: driver(system, all_three) is not second and made(system, it["id"]) > before)
            fence = system.psql("select fence from rollout_driver")
        finally:
            second.signal(signal.SIGCONT)
        time.sleep(1)
        assert system.psql("select fence from rollout_driver") == fence
        assert completes(operator, it)["counts"]["succeeded"] == SIZE
        assert made(system, it["id"]) == SIZE
        sound(system, fleet, it["id"], 12, 240)
        only_the_driver_wrote(system, all_three)


def test_pause_resume_and_abort_raced(system, all_three, operator, fleet):
    it = roll(operator, paced(operator, 180, 5), 2)
    wait_for(lambda: made(system, it["id"]) > 0)
    operator.token
    begun, answers = time.monotonic(), []

    def enough():
        steered = sum(code == 200 for _, code in answers)
        return time.monotonic() - begun > (1.5 if steered > 10 else 30)

    def steer(number):
        draw = random.Random(number)
        while not enough():
            verb = draw.choice(["pause", "resume"])
            answer = draw.choice(all_three).request("POST", f"/rollouts/{it['id']}/{verb}", operator, {})
            answers.append((verb, answer.status_code))

    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        for done in [pool.submit(steer, number) for number in range(9)]:
            done.result()
        assert {code for _, code in answers} == {200, 409}
        said = [d["verdict"] for d in all_decisions(operator, it) if d["verdict"] in ("pause", "resume")]
        assert len(said) == sum(code == 200 for _, code in answers) > 10
        assert said == [("pause", "resume")[n % 2] for n in range(len(said))], "each answered to the state it found"
        assert rollout(operator, it)["state"] == ("running" if said[-1] == "resume" else "paused")
        all_three[0].request("POST", f"/rollouts/{it['id']}/resume", operator, {})
        before = made(system, it["id"])
        wait_for(lambda: made(system, it["id"]) > before)
        answers = [(verb, pool.submit(instance.request, "POST", f"/rollouts/{it['id']}/{verb}", operator, {}))
                   for instance in all_three for verb in ("abort", "pause", "abort")]
        codes = collections.Counter((verb, answer.result().status_code) for verb, answer in answers)
    assert codes["abort", 200] == 1 and codes["abort", 409] == 5 and codes["pause", 500] == 0, codes
    assert rollout(operator, it)["state"] == "aborted"
    under_way = f"select count(*) from updates where rollout_id = {it['id']} and state in " \
                "('pending', 'offered', 'downloading', 'installing')"
    wait_for(lambda: system.psql(under_way) == "0", 5)  # what was locked then, by who writes a state, the driver ends
    before = made(system, it["id"])
    time.sleep(1.2)
    assert made(system, it["id"]) == before < SIZE, "nothing is offered any more"
    sound(system, fleet, it["id"], 5, 180)
    only_the_driver_wrote(system, all_three)


def test_what_an_abort_left_the_driver_ends(system, all_three, operator, fleet):
    """As if who aborted it had died before it came to what is under way."""
    it = roll(operator, paced(operator, 6000, SIZE), 3)
    wait_for(lambda: made(system, it["id"]) > 0, interval=0.01)
    system.psql(f"update rollouts set state = 'aborted' where id = {it['id']}")
    wait_for(lambda: system.psql(f"select count(*) from updates where rollout_id = {it['id']} and state in "
                                 "('pending', 'offered', 'downloading', 'installing')") == "0", 5)


def all_decisions(operator, it):
    """The oldest first."""
    found, path = [], f"/rollouts/{it['id']}/decisions?limit=200"
    after = ""
    while True:
        body = operator.client.get(path + after).json()
        found += body["items"]
        if not body["next"]:
            return found[::-1]
        after = f"&after={body['next']}"


# Policies


HOLD = 'return { admit = function() return "hold", "%s" end }'


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def shows(instance, operator, name):
    return instance.request("GET", f"/policies/{name}", operator).json()["revision"]


def within(seconds, begun, condition, interval=0.02):
    wait_for(condition, 10, interval)
    took = time.monotonic() - begun
    assert took < seconds, took
    return took


def decided(system, rollout_id, revision):
    return int(system.psql(f"select count(*) from decisions where rollout_id = {rollout_id} and revision = '{revision}' "
                           "and device_id is not null"))


def test_a_policy_that_was_put_holds_everywhere(system, all_three, operator, fleet):
    first, second, third = all_three
    name = new_policy(operator, HOLD % "first")
    was = sha256(HOLD % "first")
    it = roll(operator, name, 3)
    wait_for(lambda: decided(system, it["id"], was) == SIZE)
    sources = [HOLD % f"number {n}" for n in range(20)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        begun = time.monotonic()
        answers = list(pool.map(lambda n: all_three[n % 3].request(
            "PUT", f"/policies/{name}", operator, {"source": sources[n]}, If_Match=f'"{was}"'), range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
    winner = next(n for n in range(20) if answers[n].status_code == 200)
    now = sha256(sources[winner])
    assert answers[winner].json()["revision"] == now
    for instance in all_three:
        within(2 * system.slack, begun, lambda: shows(instance, operator, name) == now)
    took = within(2 * system.slack, begun, lambda: decided(system, it["id"], now) == SIZE)
    print(f"in force everywhere; a running rollout decides by it after {took:.2f} s")
    listed = operator.client.get(f"/policies/{name}/revisions").json()["items"]
    assert {item["revision"] for item in listed} == {was, now}, "of those refused nothing is kept"
    assert third.request("POST", f"/policies/{name}/rollback", operator, {}, If_Match=was).status_code == 412
    back = third.request("POST", f"/policies/{name}/rollback", operator, {}, If_Match=now)
    assert back.status_code == 200 and back.json()["revision"] == was
    assert {shows(instance, operator, name) for instance in all_three} == {was}
    for source in ("return {", "return { stages = {} }", HOLD % "x" + " oops"):
        assert second.request("PUT", f"/policies/{name}", operator, {"source": source}, If_Match=was).status_code == 422
    assert {shows(instance, operator, name) for instance in all_three} == {was}


def test_a_saved_file_holds_everywhere(system, all_three, operator, fleet):
    first, second, third = all_three
    name = new_policy(operator, HOLD % "not yet")
    it = roll(operator, name, 3)
    wait_for(lambda: decided(system, it["id"], sha256(HOLD % "not yet")) == SIZE)
    give_lease(system, second)
    source = HOLD % "saved"
    file = second.scripts / f"policies/{name}.lua"
    begun = time.monotonic()
    file.write_text(source)
    took = within(1 * system.slack, begun, lambda: shows(second, operator, name) == sha256(source))
    for instance in all_three:
        within(2 * system.slack, begun, lambda: shows(instance, operator, name) == sha256(source))
    decides = within(3 * system.slack, begun, lambda: decided(system, it["id"], sha256(source)) == SIZE)
    print(f"a saved file is in force after {took:.2f} s, its driver decides by it after {decides:.2f} s")
    # Another instance with another file, which also loads its scripts anew, and which is started anew.
    other = HOLD % "of the third"
    (third.scripts / f"policies/{name}.lua").write_text(other)
    wait_for(lambda: shows(first, operator, name) == sha256(other))
    for instance in (second, third, second):
        (instance.scripts / "lib/of_a_test.lua").write_text(f"return '{secrets.token_hex(4)}'")
        assert instance.request("POST", "/admin/reload", operator).status_code == 200
    third.kill()
    third.start()
    time.sleep(0.6)
    assert shows(first, operator, name) == sha256(other)
    changes = [item["revision"] for item in operator.client.get(f"/policies/{name}/revisions").json()["items"]]
    assert changes == [sha256(other), sha256(source), sha256(HOLD % "not yet")]
    # One that is broken, in two ways: what is in force stays.
    file.write_text("return {")
    shown = wait_for(lambda: second.request("GET", "/admin/scripts", operator).json()["problems"])
    assert shown[0]["file"] == f"scripts/policies/{name}.lua" and shown[0]["line"] == 1
    file.write_text("return { stages = {} }")
    wait_for(lambda: "stages" in second.log() and f"{name}.lua" in second.log())
    assert {shows(instance, operator, name) for instance in all_three} == {sha256(other)}


def test_a_revision_that_fails_is_reverted(system, all_three, operator, fleet):
    name = new_policy(operator, HOLD % "not yet")
    was = sha256(HOLD % "not yet")
    it = roll(operator, name, 3)
    wait_for(lambda: decided(system, it["id"], was) == SIZE)
    bad = 'return { admit = function(device) return device.telemetry.none.such and "offer" or "hold" end }'
    answer = all_three[1].request("PUT", f"/policies/{name}", operator, {"source": bad}, If_Match=was)
    assert answer.status_code == 200, answer.text
    wait_for(lambda: shows(all_three[2], operator, name) == was)
    shown = operator.client.get(f"/policies/{name}").json()
    assert shown["note"].startswith("reverted: ") and "none" in shown["note"], shown
    wait_for(lambda: rollout(operator, it)["revision"] == was)
    told = [d for d in decisions(operator, it) if d["verdict"] == "revert"]
    assert len(told) == 1 and told[0]["revision"] == sha256(bad) and told[0]["reason"] == shown["note"]
    assert logged(system, all_three, "policy reverted", name) == 1
    assert made(system, it["id"]) == 0


def logged(system, instances, message, policy):
    lines = system.log_path.read_text(errors="replace") + "".join(i.log() for i in instances if i.name != "otad")
    return sum(message in line and policy in line for line in lines.splitlines())


def test_a_first_revision_that_fails_holds_everything(system, all_three, operator, fleet):
    """Some of the devices could be offered it: none is, once it shows."""
    name = new_policy(operator, """return { rate = { per_minute = 300 }, admit = function(device)
  if device.id % 7 > 0 then return device.telemetry.none.such end
  return "offer"
end }""")
    was = operator.client.get(f"/policies/{name}").json()["revision"]
    it = roll(operator, name, 3)
    wait_for(lambda: logged(system, all_three, "policy holds everything", name))
    begun = made(system, it["id"])
    told = [d for d in decisions(operator, it) if d["reason"] and d["reason"].startswith("all is held: ")]
    assert told and told[-1]["verdict"] == "hold" and told[-1]["device_id"] is None and told[-1]["revision"] == was
    shown = operator.client.get(f"/policies/{name}").json()
    assert shown["revision"] == was and shown["note"] == told[-1]["reason"]
    system.psql(f"update rollout_devices set ask_at = now() where rollout_id = {it['id']} and state = 'held'")
    time.sleep(1.5)
    assert made(system, it["id"]) == begun
    answer = all_three[2].request("PUT", f"/policies/{name}", operator, {"source": "return {}"}, If_Match=was)
    assert answer.status_code == 200 and answer.json()["note"] is None
    assert completes(operator, it)["counts"]["succeeded"] == SIZE
    assert logged(system, all_three, "policy holds everything", name) == 1


def statements(name):
    """Those of sql/queries/NAME.sql by name: (does it only read, its text)."""
    parts = re.split(r"^-- name: (\w+)( read)?$", (ROOT / f"sql/queries/{name}.sql").read_text(), flags=re.MULTILINE)
    return {parts[i]: (bool(parts[i + 1]), parts[i + 2]) for i in range(1, len(parts), 3)}


# What each statement of the driver is asked, and what it needs to find something to do; R: a rollout, P: its policy.
FENCED = {
    "rollout_leave": ("", ""),
    "rollout_know": ("R, 1, 1", ""),
    "rollout_look_again": ("'[1]'", ""),
    "rollout_regroup": ("R, 0, 10, '{\"spread\": {\"tag\": \"site\"}, \"downgrade\": true}'", ""),
    "rollout_enter_devices": ("R, 10", "update rollout_devices set in_stage = false where rollout_id = R;"),
    "rollouts_cancel": ("10", "update rollouts set state = 'aborted' where id = R; insert into updates (device_id, rollout_id, "
                        "version) select min(device_id), R, '1' from rollout_devices where rollout_id = R;"),
    "rollout_replan": ("R, 'new', :'plan'", ""),
    "rollout_revert": ("'P', :'revision', 'as a test asked'", ""),
    "rollout_fold_reports": ("100", "insert into rollout_reports (rollout_id, update_id) values (R, 0);"),
    "rollout_fold_devices": ("100", "insert into devices_changed (device_id) select device_id from rollout_devices limit 1;"),
    "rollout_watch": ("R, 60", ""),
    "rollout_apply": ("R, 'running', 1.5, 'P', 'new', '[]', true", ""),
    "rollout_enter_stage": ("R, 0, 1, 'as a test asked'", ""),
    "rollout_decide": ("R, 'running', 0, 'pause', 'as a test asked', 1, 'P', 'new', '{}', 'paused', null", ""),
    "rollout_time_out": ("R, 0, 0, 10", "insert into updates (device_id, rollout_id, version, created_at) select min(device_id), "
                         "R, '1', now() - interval '1 day' from rollout_devices where rollout_id = R;"),
    "rollout_turn_back": ("R, 10", "update rollouts set state = 'rolling_back' where id = R;"),
}


def test_each_statement_of_a_driver_that_was_replaced_does_nothing(system, all_three, operator, fleet):
    found = {name: text for subject in ("driver", "changes", "offers", "stages")
             for name, (reads, text) in statements(f"rollout_{subject}").items() if not reads}
    assert found.keys() - {"rollout_drive", "rollout_analyze"} == FENCED.keys()
    policy = new_policy(operator, HOLD % "not yet")
    it = roll(operator, policy, 3)
    wait_for(lambda: rollout(operator, it)["counts"]["held"] == SIZE)
    written = "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) from pg_stat_xact_user_tables"
    wrote = {}
    for name, (arguments, preparation) in FENCED.items():
        for stale in (1, 0):
            values = ", ".join(filter(None, [":fence", arguments]))
            script = f"""begin; update rollout_driver set owner = 'a test', fence = fence + 1, until = now() + interval '1 min';
                select fence - {stale} as fence, plan, revision from rollout_driver, rollouts where id = R \\gset
                {preparation} prepare one as {found[name]}; select 'before', ({written}); execute one({values});
                select 'after', ({written}); rollback;"""
            lines = system.psql(re.sub(r"\bR\b", str(it["id"]), script).replace("'P'", f"'{policy}'")).splitlines()
            before, after = (int(line.split("|")[1]) for line in lines if line.startswith(("before|", "after|")))
            wrote[name, stale] = after - before
    assert {name for (name, stale), n in wrote.items() if stale and n} == set(), wrote
    assert {name for (name, stale), n in wrote.items() if not stale and not n} == set(), "these were asked nothing"


def test_services_that_go_and_come_back(system, all_three, operator, fleet):
    """PostgreSQL, then Redis and the broker, in the midst of a rollout."""
    it = roll(operator, paced(operator, 60, 8), 0)  # slow: it must outlast stops and starts
    wait_for(lambda: made(system, it["id"]) > 0)
    for names in (["postgresql"], ["redis", "mosquitto"]):
        for name in names:
            system.service(name, "stop")
        before = made(system, it["id"]) if names[0] != "postgresql" else 1
        assert before < SIZE
        for name in names:
            system.service(name, "start")
        wait_for(lambda: made(system, it["id"]) > before, 15)
    assert completes(operator, it)["counts"]["succeeded"] == SIZE
    sound(system, fleet, it["id"], 8, 60)
    only_the_driver_wrote(system, all_three)
