"""How rollouts go on, or do not: what ends badly, silence, operators' words, the way back, and orders that are refused."""
import json
import secrets
import time

from answers import problem
from devices import wait_for
from rollouts import (counts, course, decisions, explained, fleet, history, most_at_once, new_policy, put_again, reaches, roll,
                      rollout, steer, together, updates)

assert course and fleet  # the fixtures

STAY = 'advance = function() return "hold", "as the test asked" end'  # the rollout stays in its stage


def look(otad, made):
    """Lets the driver look for silent devices now, and not within half a minute."""
    otad.psql(f"update rollouts set control_at = null where id = {made['id']}")


def states(operator, device):
    """Of its updates, the first one first."""
    return [update["state"] for update in reversed(updates(operator, device))]


def offers_to(operator, made, device):
    return [d["reason"] for d in reversed(decisions(operator, made)) if d["device_id"] == device.id and d["verdict"] == "offer"]


@together
def test_what_is_tried_again(otad, operator, fleet):
    devices, _, new = fleet(6, outcome=lambda i: ["failed", "failed", "silent", "rolled_back", "rejected", "deaf"][i])
    policy = new_policy(operator, f"""return {{ timeout = "1s", retry = {{ max = 1, after = "2s" }}, {STAY},
      admit = function(device) return "offer", "after " .. device.attempts end }}""")
    made = roll(operator, fleet, policy, new)
    counts(operator, made, failed=2, rolled_back=1, rejected=1)
    assert "It is tried again at" in explained(operator, devices[0], made)["explanation"]
    devices[1].outcome = "confirmed"
    counts(operator, made, failed=1, succeeded=1, timed_out=2, rolled_back=1, rejected=1)
    wait_for(lambda: [states(operator, device) for device in devices] == [
        ["failed", "failed"], ["failed", "succeeded"], ["timed_out", "timed_out"], ["rolled_back"], ["rejected"],
        ["timed_out"]])
    assert offers_to(operator, made, devices[0]) == ["after 0", "after 1"]
    assert "not tried again" in explained(operator, devices[0], made)["explanation"]
    assert updates(operator, devices[5])[0]["reason"] == "the device never took the offer"
    spans = [start for device, start, _ in history(otad, made) if device == devices[0].id]
    assert spans[1] - spans[0] >= 2
    devices[5].outcome = "confirmed"  # what never took its offer is asked again when it comes back
    devices[5].vanish()
    devices[5].wait(lambda d: d["status"] == "offline")
    devices[5].connect(tls=False)
    counts(operator, made, failed=1, succeeded=2, timed_out=1, rolled_back=1, rejected=1)


@together
def test_a_failure_that_is_not_tried_again_stays_one(otad, operator, fleet):
    devices, _, new = fleet(2, outcome=lambda i: "failed")
    policy = new_policy(operator, f"""return {{ retry = {{ max = 5, after = "1s" }}, {STAY},
      admit = function(device)
        if device.attempts > 0 then
          if device.name == "held" then return "hold", "once is enough for now" end
          return "skip", "once is enough"
        end
        return "offer"
      end }}""")
    operator.client.patch(f"/devices/{devices[0].id}", json={"name": "held"})
    made = roll(operator, fleet, policy, new)
    wait_for(lambda: {d["verdict"] for d in decisions(operator, made) if d["device_id"]} == {"offer", "hold", "skip"})
    assert rollout(operator, made)["counts"]["failed"] == 2 and rollout(operator, made)["counts"]["skipped"] == 0
    assert all(len(device.taken) == 1 for device in devices)


@together
def test_it_succeeded_later_than_it_was_waited_for(otad, operator, fleet):
    devices, _, new = fleet(1, outcome=lambda i: "silent")
    policy = new_policy(operator, f'return {{ timeout = "1s", retry = {{ max = 1, after = "1h" }}, {STAY} }}')
    made = roll(operator, fleet, policy, new)
    counts(operator, made, timed_out=1)
    devices[0].runs = new
    devices[0].tell()
    counts(operator, made, timed_out=0, succeeded=1)


@together
def test_those_that_fall_silent_after_their_update(otad, operator, fleet):
    devices, _, new = fleet(3)
    policy = new_policy(operator, f"""return {{ vanish_after = "1s", {STAY},
      stages = {{ {{ share = 0.999, soak = "2h" }}, {{ share = 1 }} }} }}""")
    made = roll(operator, fleet, policy, new)
    counts(operator, made, succeeded=3)
    lasts = otad.psql(f"select distinct round(extract(epoch from watched_until - since)) from rollout_devices "
                      f"where rollout_id = {made['id']}")
    assert lasts == "7200"
    otad.psql(f"update rollout_devices set watched_until = now() - interval '1 s' where device_id = {devices[1].id}")
    for device in devices[:2]:  # the second one sleeps by habit: it was watched long enough
        device.vanish()
        device.wait(lambda d: d["status"] == "offline")
    time.sleep(1)  # what the policy takes for silence
    look(otad, made)
    counts(operator, made, vanished=1, succeeded=2)
    assert "silent since" in explained(operator, devices[0], made)["explanation"]
    assert states(operator, devices[0]) == ["succeeded"]
    devices[0].connect(tls=False)
    devices[0].wait(lambda d: d["status"] == "online")
    look(otad, made)
    counts(operator, made, vanished=0, succeeded=3)


@together
def test_a_stage_does_not_wait_for_those_held_for_good(otad, operator, fleet):
    devices, _, new = fleet(4)
    policy = new_policy(operator, """return { stages = { { name = "most", share = 0.999, soak = "1s" }, { name = "all", share = 1 } },
      admit = function(device)
        if device.telemetry.battery < 50 then return "hold", "battery low", { again = "1s" } end
        return "offer"
      end }""")
    devices[0].tell(battery=10)
    wait_for(lambda: operator.client.get(f"/devices/{devices[0].id}/status").json()["telemetry"].get("battery") == 10)
    made = roll(operator, fleet, policy, new)
    now = wait_for(lambda: (lambda r: r if r["stage"] and r["stage"]["name"] == "all" else None)(rollout(operator, made)))
    assert now["counts"]["held"] == 1 and now["counts"]["succeeded"] == 3 and now["state"] == "running"
    devices[0].tell(battery=90)
    assert reaches(operator, made, "completed")["counts"]["succeeded"] == 4


@together
def test_resumed_knowingly_it_waits_for_new_evidence(otad, operator, fleet):
    devices, _, new = fleet(8, outcome=lambda i: "failed")
    policy = new_policy(operator, """return { retry = { max = 0 }, stages = {
      { name = "few", share = 0.25 }, { name = "more", share = 0.5 }, { name = "all", share = 1 } } }""")
    made = roll(operator, fleet, policy, new)
    paused = reaches(operator, made, "paused")
    assert (paused["reason"], paused["stage"]["name"]) == ("2 of 2 failed: surely more than 5 %", "few")
    assert steer(operator, made, "resume", "known, go on")["reason"] == "known, go on"
    paused = wait_for(lambda: (lambda r: r if r["stage"]["name"] == "more" and r["state"] == "paused" else None)(
        rollout(operator, made)))
    assert paused["reason"] == "2 of 2 failed since it was resumed: surely more than 5 %"
    assert paused["counts"]["failed"] == 4
    seen = json.loads(otad.psql(f"""select inputs->'stats' from decisions
                                    where rollout_id = {made["id"]} and verdict = 'pause' order by id desc limit 1"""))
    stats = paused["stats"]  # as the policy has them
    assert (stats["failed"], stats["since_resume"]["failed"]) == (4, 2)
    assert stats == {name: seen[name] for name in stats}
    steer(operator, made, "resume", "again")
    now = rollout(operator, made)["stats"]
    assert (now["failed"], now["since_resume"]["ended"]) == (4, 0)


@together
def test_pause_and_resume(otad, operator, fleet):
    devices, _, new = fleet(4, outcome=lambda i: "silent")
    made = roll(operator, fleet, new_policy(operator, "return { concurrency = 2 }"), new)
    counts(operator, made, downloading=2, waiting=2)
    problem(operator.client.post(f"/rollouts/{made['id']}/resume", json={}), 409)
    shown = steer(operator, made, "pause", "to look at it")
    assert (shown["state"], shown["reason"]) == ("paused", "to look at it")
    problem(operator.client.post(f"/rollouts/{made['id']}/pause", json={}), 409)
    for device in devices:
        if device.current:
            device.end()
    counts(operator, made, succeeded=2, waiting=2)
    probe = roll(operator, fleet, new_policy(operator, f"return {{ priority = -1, {STAY}, admit = function() return 'hold' end }}"), new)
    counts(operator, probe, held=2)  # the driver has been through all rollouts meanwhile
    assert rollout(operator, made)["counts"]["waiting"] == 2 and sum(len(d.taken) for d in devices) == 2
    assert "is paused: to look at it" in explained(operator, devices[0], made)["explanation"]
    steer(operator, made, "resume", "looks fine")
    counts(operator, made, succeeded=2, downloading=2)
    said = [(d["verdict"], d["reason"]) for d in decisions(operator, made) if d["device_id"] is None]
    assert ("pause", "to look at it") in said and ("resume", "looks fine") in said


def aborted(otad, operator, fleet, who):
    old, new = fleet.image(), fleet.image("99999.1.0")
    asleep, deaf, ends = fleet.device(old, online=False), fleet.device(old, "deaf"), fleet.device(old)
    fleet.settle([deaf, ends])
    told = "return 'abort', 'enough' " if who == "the policy" else "return 'hold' "
    policy = new_policy(operator, f"""return {{ advance = function(rollout, stats)
      if stats.under_way == 2 and stats.succeeded == 1 then {told} end return "hold" end }}""")
    made = roll(operator, fleet, policy, new)
    if who == "an operator":
        counts(operator, made, offered=2, succeeded=1)
        steer(operator, made, "abort", "enough")
    done = counts(operator, made, cancelled=2, succeeded=1)
    assert (done["state"], done["reason"]) == ("aborted", "enough")
    wait_for(lambda: deaf.current is None and deaf.messages.empty())
    wait_for(lambda: otad.psql(f"select count(*) from offers where device_id in ({asleep.id}, {deaf.id})") == "0")
    assert asleep.connect(tls=False) == 0 and asleep.current is None and not asleep.taken
    for verb in ("abort", "pause", "resume"):
        problem(operator.client.post(f"/rollouts/{made['id']}/{verb}", json={}), 409)
    assert [states(operator, device) for device in (asleep, deaf, ends)] == [["cancelled"], ["cancelled"], ["succeeded"]]


@together
def test_abort_withdraws_offers(otad, operator, fleet):
    aborted(otad, operator, fleet, "an operator")


@together
def test_a_policy_that_aborts_does_so_too(otad, operator, fleet):
    aborted(otad, operator, fleet, "the policy")


@together
def test_the_way_back_keeps_to_the_caps(otad, operator, fleet):
    devices, old, new = fleet(6)
    policy = new_policy(operator, "return {}")
    made = roll(operator, fleet, policy, new)
    reaches(operator, made, "completed")
    put_again(operator, policy, 'return { concurrency = 2, stages = { { share = 0.4, soak = "1h" }, { share = 1 } } }')
    asleep = devices[0]
    asleep.vanish()
    asleep.wait(lambda d: d["status"] == "offline")
    assert steer(operator, made, "rollback", "it was no good")["reason"] == "it was no good"
    counts(operator, made, rolled_back=5)
    assert rollout(operator, made)["state"] == "rolling_back"
    asleep.connect(tls=False)
    done = reaches(operator, made, "rolled_back")
    assert done["counts"]["rolled_back"] == 6 and {d.runs["version"] for d in devices} == {old["version"]}
    back = history(otad, made, "rollback")
    assert len(back) == 6 and most_at_once(back) <= 2
    problem(operator.client.post(f"/rollouts/{made['id']}/rollback", json={}), 409)


@together
def test_a_rollback_that_fails_is_not_begun_over_and_over(otad, operator, fleet):
    devices, _, new = fleet(1)
    made = roll(operator, fleet, new_policy(operator, 'return { retry = { max = 0 } }'), new)
    reaches(operator, made, "completed")
    devices[0].outcome = "deaf"
    steer(operator, made, "rollback")
    counts(operator, made, offered=1)
    wait_for(lambda: devices[0].current)
    devices[0].end("failed")
    reaches(operator, made, "rolled_back")
    assert rollout(operator, made)["counts"]["failed"] == 1


def test_orders_that_are_refused(otad, operator, user, fleet):
    devices, _, new = fleet(1)
    sound = {"name": "test", "firmware_id": new["id"], "policy": "all_at_once", "target": {"tags": {"test": secrets.token_hex(4)}}}

    def refused(status, field, **changed):
        answer = operator.client.post("/rollouts", json={**sound, **changed})
        problem(answer, status, field)

    refused(422, "more", more=1)
    refused(422, "name", name="")
    refused(422, "firmware_id", firmware_id=2147483647)
    refused(422, "firmware_id", firmware_id="1")
    refused(422, "policy", policy="no_such_policy")
    refused(422, "target", target=[])
    refused(422, "target.chips", target={"chips": "esp32"})
    refused(422, "target.tags.a", target={"tags": {"a": 1}})
    refused(422, "target.versions", target={"versions": []})
    refused(422, "target.device_ids", target={"device_ids": [1] * 10001})
    refused(422, "target.device_ids", target={"device_ids": [2147483647]})
    refused(422, "target.device_ids[0]", target={"device_ids": ["1"]})
    refused(422, "params", params=[1])
    refused(422, "params", params="x")
    refused(422, "starts_at", starts_at="tomorrow")
    refused(422, "priority", priority=1001)
    refused(422, "params", params={"a": "x" * 16384})
    problem(operator.client.post("/rollouts", json={**sound, "params": {"a": "x" * (1 << 20)}}), 413)
    problem(operator.client.post("/rollouts", content=b"[1", headers={"content-type": "application/json"}), 400)
    problem(operator.client.post("/rollouts", content=b"x"), 415)
    problem(operator.client.post("/rollouts"), 422, "name")
    otad.psql(f"update firmware set release_signature = null, release_key = null where id = {new['id']}")
    refused(422, "firmware_id")
    made = fleet.image("99999.2.0")
    answer = operator.client.post("/rollouts", json={**sound, "firmware_id": made["id"]})
    assert answer.status_code == 201 and answer.json()["rollout"]["counts"]["targeted"] == 0
    path = f"/rollouts/{answer.json()['rollout']['id']}"
    for method, where, body in [("POST", "/rollouts", sound), ("GET", "/rollouts", None), ("GET", path, None),
                                *[("POST", f"{path}/{verb}", {}) for verb in ("pause", "resume", "abort", "rollback")],
                                ("GET", f"{path}/devices", None), ("GET", f"{path}/decisions", None)]:
        problem(user.client.request(method, where, json=body), 403)
        problem(operator.client.request(method, where.replace(path, "/rollouts/2147483647"), json=body), 404) \
            if path in where else None
    problem(operator.client.post(f"{path}/pause", json={"reason": 1}), 422, "reason")
    assert operator.client.post(f"{path}/pause").status_code in (200, 409)  # it may be done by now
    problem(operator.client.post(f"{path}/pause", json={"why": "x"}), 422, "why")
    problem(operator.client.get(f"{path}/devices?state=nonsense"), 422, "state")
    problem(operator.client.get("/rollouts?state=nonsense"), 422, "state")
