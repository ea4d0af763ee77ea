"""Rollouts over fleets of real device clients: what the server believes equals what each device runs, no device has two
updates at once, caps hold, and whatever dies meanwhile, everything ends."""
import os
import random
import signal
import time

import pytest

import fleet_check
from accounts import Account
from devices import wait_for
from fleet import Writer
from otad_fleet import MODES, FirstImage, register
from test_firmware import stored, upload
from test_fleet import SIZE, make_fleet  # noqa: F401 (a fixture)
from rollouts import new_policy, reaches, rollout

OVER = {"completed", "paused", "aborted", "rolled_back"}
CANARY = """return {{
  stages = {{
    {{ name = "canary", share = {canary}, soak = "2s" }},
    {{ name = "half", share = 0.5, soak = "1s" }},
    {{ name = "all", share = 1 }},
  }},
  rate = {{ per_minute = {per_minute} }}, concurrency = {concurrency}, timeout = "40s", retry = {{ max = 1, after = "3s" }},
  vanish_after = "60s", max_failure = {max_failure},
}}"""


def start(account, firmware, tag, **numbers):
    numbers = {"canary": 0.1, "per_minute": 60000, "concurrency": 100, "max_failure": 0.9, **numbers}
    policy = new_policy(account, CANARY.format(**numbers))
    answer = account.client.post("/rollouts", json={"name": "fleet", "firmware_id": firmware["id"], "policy": policy,
                                                    "target": {"tags": {"fleet": tag}}})
    assert answer.status_code == 201, answer.text
    return answer.json()["rollout"], numbers


def followed(account, made, timeout):
    """Waits until it is over and prints how it went: a line for each change."""
    begun, last, end = time.monotonic(), None, time.monotonic() + timeout
    while True:
        now = rollout(account, made)
        counts = {state: n for state, n in now["counts"].items() if n and state not in ("targeted", "under_way")}
        line = (now["state"], now["stage"] and now["stage"]["name"], counts)
        if line != last:
            print(f"{time.monotonic() - begun:7.1f} s  {line[0]:12} {line[1] or '-':8} {counts}")
            last = line
        if now["state"] in OVER:
            return now
        assert time.monotonic() < end, now
        time.sleep(0.5)


def ended(system, fleet, made, report=None, **caps):
    end = time.monotonic() + 60
    while fleet_check.problems(fleet.report(), fleet_check.rows(system, fleet.ids), **caps) and time.monotonic() < end:
        time.sleep(0.5)
    report = fleet.stop()
    rows = fleet_check.rows(system, fleet.ids)
    fleet_check.check(report, rows, **caps)
    return report, rows


def fleet_of(make, system, account, place, count, tag, **options):
    registrations = register(system, account, count, tags=lambda number: {"fleet": tag})
    first = FirstImage(place)
    assert upload(account, first.path.read_bytes()).status_code in (200, 201)  # what a rollback goes back to
    fleet = make(system, account, registrations=registrations, image=first, **options)
    fleet.wait_connected(300)
    wait_for(lambda: int(system.psql(f"select count(*) from devices where tags->>'fleet' = '{tag}' "
                                     "and firmware_version is not null")) == count, 60)
    return fleet


def everything_ends(system, account, make, place, count, **numbers):
    fleet = fleet_of(make, system, account, place, count, "ends", shares=dict.fromkeys(set(MODES) - {"sleeping"}, 0.04))
    _, firmware = stored(account, size=SIZE)
    made, numbers = start(account, firmware, "ends", **numbers)
    done = followed(account, made, 60 + count / 10)
    assert done["state"] == "completed", done
    report, rows = ended(system, fleet, made, concurrency=numbers["concurrency"])
    assert sum(n for state, n in done["counts"].items() if state not in ("targeted", "under_way")) == count
    assert done["counts"]["succeeded"] + done["counts"]["vanished"] > count * 0.7
    return report, rows


def bad_firmware_comes_back(system, account, make, place, count, **numbers):
    fleet = fleet_of(make, system, account, place, count, "bad", shares={"crashing": 0.08})
    _, firmware = stored(account, size=SIZE)
    made, numbers = start(account, firmware, "bad", max_failure=0.01, **numbers)
    paused = followed(account, made, 60 + count / 10)
    assert paused["state"] == "paused" and "failed" in paused["reason"], paused
    assert paused["counts"]["waiting"] > 0, "it paused before everybody was reached"
    updated = paused["counts"]["succeeded"]
    assert updated > 0
    answer = account.client.post(f"/rollouts/{made['id']}/rollback", json={})
    assert answer.status_code == 200, answer.text
    done = wait_for(lambda: (lambda r: r if r["state"] == "rolled_back" else None)(rollout(account, made)), 60 + count / 10)
    print(done["counts"])
    report, rows = ended(system, fleet, made, concurrency=numbers["concurrency"])
    assert all(device["runs"]["elf_sha256"] == fleet.first[device["id"]] for device in report["devices"])


def killed_again_and_again(system, account, make, place, count, kills, most, restarts, **numbers):
    """SIGKILL so often, each at a random time (up to `most` seconds) after otad was ready again, while the rollout runs
    and people write; after the kills numbered in `restarts` PostgreSQL is restarted, too."""
    fleet = fleet_of(make, system, account, place, count, "kills", heartbeat="10s" if count > 1000 else "2s",
                     shares=dict.fromkeys(("lossy", "power_cut", "crashing"), 0.05))
    _, firmware = stored(account, size=SIZE)
    made, numbers = start(account, firmware, "kills", **numbers)
    writer, draw, done_at_kill = Writer(system, account.headers), random.Random(kills), []
    writer.start()
    for number in range(kills):
        time.sleep(draw.uniform(0, most))
        writer.headers = account.headers
        state, over = system.psql(f"""select state, (select count(*) from updates u where rollout_id = r.id and u.state not in
            ('pending', 'offered', 'downloading', 'installing')) from rollouts r where id = {made['id']}""").split("|")
        assert state == "running", f"{state} before kill {number}: the rollout is to last for all of them"
        done_at_kill.append(int(over))
        os.kill(system.pid, signal.SIGKILL)
        wait_for(system.ready, 30)
        if number in restarts:
            system.service("postgresql", "stop")
            system.service("postgresql", "start")
            wait_for(system.ready, 30)
    print(f"updates that had ended at each kill: {done_at_kill}")
    assert len(set(done_at_kill)) > kills / 4, "it went on between the kills"
    done = followed(account, made, 120 + count / 3)
    assert done["state"] == "completed", done
    report, rows = ended(system, fleet, made, concurrency=numbers["concurrency"])
    assert writer.finish() == [] and len(writer.acknowledged) > kills
    print(f"{len(writer.acknowledged)} acknowledged writes, {done['counts']}")
    bricked = [device for device in report["devices"] if device["state"] != "online" or device["mode"] != "crashing"
               and device["runs"]["elf_sha256"] != firmware["elf_sha256"] and rows_end(rows, device) == "succeeded"]
    assert not bricked, bricked[:5]


def rows_end(rows, device):
    """How the last update of a device ended."""
    mine = [update for update in rows.updates.values() if update["device_id"] == device["id"]]
    return max(mine, key=lambda update: update["id"])["state"]


def test_everything_ends(otad, operator, make_fleet, tmp_path):
    everything_ends(otad, operator, make_fleet, tmp_path, 150, concurrency=30)


def test_bad_firmware_comes_back(otad, operator, make_fleet, tmp_path):
    bad_firmware_comes_back(otad, operator, make_fleet, tmp_path, 200, canary=0.3, concurrency=50)


def test_killed_again_and_again(start_otad, make_fleet, tmp_path):
    system = start_otad()
    killed_again_and_again(system, Account(system, role="operator"), make_fleet, tmp_path, 150, kills=5, most=4,
                           restarts={2}, concurrency=30, per_minute=250)


def test_silence_counts_while_somebody_listens(start_otad, make_fleet, tmp_path):
    """otad away for an hour (clocks are put back so far), with updates under way and a stage that soaks: nobody has fallen
    silent, and the hour is no part of the soak."""
    system = start_otad()
    operator = Account(system, role="operator")
    fleet = fleet_of(make_fleet, system, operator, tmp_path, 30, "deaf", shares={"slow": 0.5}, slow_rate=30000)
    _, firmware = stored(operator, size=SIZE)
    source = """return { stages = { { name = "most", share = 0.8, soak = "%s" }, { name = "all", share = 1 } },
                        timeout = "60s", vanish_after = "60s", max_failure = 0.01 }"""
    policy = new_policy(operator, source % "30m")
    answer = operator.client.post("/rollouts", json={"name": "deaf", "firmware_id": firmware["id"], "policy": policy,
                                                     "target": {"tags": {"fleet": "deaf"}}})
    made = answer.json()["rollout"]
    wait_for(lambda: (lambda c: c["succeeded"] >= 2 and c["downloading"] >= 2)(rollout(operator, made)["counts"]))
    system.service("otad", "stop")
    back = " - interval '1 hour'"
    system.psql(f"update updates set created_at = created_at{back}, taken_at = taken_at{back}, updated_at = updated_at{back};"
                f"update rollouts set stage_entered_at = stage_entered_at{back}, control_at = control_at{back};"
                f"update rollout_driver set until = until{back}, heard_at = heard_at{back}, heard_since = heard_since{back};"
                f"update devices set last_seen = last_seen{back}, status = 'offline' where id % 2 = 0")
    system.service("otad", "start")
    now = wait_for(lambda: (lambda r: r if r["counts"]["succeeded"] == 24 else None)(rollout(operator, made)), 40)
    time.sleep(2.5)
    now = rollout(operator, made)
    assert now["state"] == "running" and now["stage"]["name"] == "most" and now["counts"]["succeeded"] == 24, now
    was = operator.client.get(f"/policies/{policy}").json()["revision"]
    assert operator.client.put(f"/policies/{policy}", json={"source": source % "1s"}, headers={"If-Match": was}).status_code == 200
    done = reaches(operator, made, "completed")
    assert done["counts"]["succeeded"] == 30
    assert not system.psql(f"select distinct state from updates where rollout_id = {made['id']} and state <> 'succeeded'")
    ended(system, fleet, made)


@pytest.mark.long
@pytest.mark.parametrize("run", [everything_ends, bad_firmware_comes_back])
def test_thousands(start_otad, make_fleet, tmp_path, run):
    system = start_otad()
    run(system, Account(system, role="operator"), make_fleet, tmp_path, 5000, concurrency=500)


@pytest.mark.long
def test_thousands_killed_two_hundred_times(start_otad, make_fleet, tmp_path):
    system = start_otad()
    killed_again_and_again(system, Account(system, role="operator"), make_fleet, tmp_path, 5000, kills=200, most=4,
                           restarts={60, 120}, concurrency=100, per_minute=400)
