"""Rollouts from the order to the end: policies decide, devices that answer at once do what they are told to."""
import json

from answers import problem
from devices import Device, wait_for
from rollouts import counts, decisions, fleet, new_policy, reaches, roll, rollout

assert fleet  # the fixture


def test_all_at_once_reaches_everybody(operator, fleet):
    devices, _, new = fleet(5)
    made = roll(operator, fleet, "all_at_once", new)
    assert made["state"] == "running" and made["counts"]["targeted"] == 5, rollout(operator, made)
    done = reaches(operator, made, "completed")
    assert done["counts"]["succeeded"] == 5 and done["counts"]["under_way"] == 0
    assert {device.runs["version"] for device in devices} == {new["version"]}
    offers = [d for d in decisions(operator, made) if d["verdict"] == "offer"]
    assert {d["device_id"] for d in offers} == {device.id for device in devices}
    assert all(d["policy"] == "all_at_once" and len(d["revision"]) == 64 for d in offers)


def test_stages_go_one_after_the_other(operator, fleet):
    devices, _, new = fleet(8)
    policy = new_policy(operator, """return { stages = {
      { name = "first", share = 0.25, soak = "1s" }, { name = "all", share = 1 } } }""")
    made = roll(operator, fleet, policy, new)
    done = reaches(operator, made, "completed")
    assert done["counts"]["succeeded"] == 8
    steps = [d for d in reversed(decisions(operator, made)) if d["device_id"] is None]
    assert [d["verdict"] for d in steps if d["verdict"] == "advance"] == ["advance", "advance"]


def test_a_failing_canary_pauses_and_is_rolled_back(operator, fleet):
    devices, old, new = fleet(6, outcome=lambda i: "confirmed" if i % 2 else "failed")
    policy = new_policy(operator, 'return { stages = { { name = "all", share = 1 } }, retry = { max = 0 } }')
    made = roll(operator, fleet, policy, new)
    paused = reaches(operator, made, "paused")
    assert paused["counts"]["failed"] == 3 and "failed" in paused["reason"]
    answer = operator.client.post(f"/rollouts/{made['id']}/rollback", json={"reason": "as tested"})
    assert answer.status_code == 200, answer.text
    done = reaches(operator, made, "rolled_back")
    assert done["counts"]["rolled_back"] == 3
    assert {device.runs["version"] for device in devices} == {old["version"]}


def test_a_hold_says_why(operator, fleet):
    devices, _, new = fleet(2)
    policy = new_policy(operator, """return {
  admit = function(device)
    if device.telemetry.battery < 90 then return "hold", "battery below 90 %" end
    return "offer"
  end,
}""")
    made = roll(operator, fleet, policy, new)
    held = wait_for(lambda: (lambda r: r if r["counts"]["held"] == 2 else None)(rollout(operator, made)), 20)
    assert held["state"] == "running"
    found = [d for d in decisions(operator, made) if d["verdict"] == "hold" and d["device_id"]]
    assert {(d["reason"], d["line"]) for d in found} == {("battery below 90 %", 3)}


def test_a_policy_edited_meanwhile_applies_at_once(operator, fleet):
    devices, _, new = fleet(2)
    policy = new_policy(operator, 'return { admit = function() return "hold", "not yet" end }')
    made = roll(operator, fleet, policy, new)
    wait_for(lambda: rollout(operator, made)["counts"]["held"] == 2, 20)
    now = operator.client.get(f"/policies/{policy}").json()
    answer = operator.client.put(f"/policies/{policy}", json={"source": "return {"}, headers={"If-Match": now["revision"]})
    problem(answer, 422, "source")
    answer = operator.client.put(f"/policies/{policy}", json={"source": "return {}"}, headers={"If-Match": "0" * 64})
    problem(answer, 412)
    answer = operator.client.put(f"/policies/{policy}", json={"source": "return {}"},
                                 headers={"If-Match": f'"{now["revision"]}"'})
    assert answer.status_code == 200, answer.text
    done = reaches(operator, made, "completed", 90)
    assert done["revision"] == answer.json()["revision"] and done["counts"]["succeeded"] == 2


def test_abort_ends_what_is_under_way(operator, fleet):
    devices, _, new = fleet(2, outcome=lambda i: "silent")
    made = roll(operator, fleet, "all_at_once", new)
    wait_for(lambda: rollout(operator, made)["counts"]["downloading"] == 2, 20)
    answer = operator.client.post(f"/rollouts/{made['id']}/abort", json={})
    assert answer.json()["rollout"]["state"] == "aborted"
    problem(operator.client.post(f"/rollouts/{made['id']}/resume", json={}), 409)
    for device in devices:
        path = f"/devices/{device.id}/updates"
        wait_for(lambda: operator.client.get(path).json()["items"][0]["state"] == "cancelled", 5)


def test_explain_tells_the_rule_its_line_and_what_it_saw(otad, operator, fleet):
    devices, _, new = fleet(1)
    policy = new_policy(operator, 'return {\n  admit = function(device)\n    return "hold", "too cold"\n  end,\n}')
    made = roll(operator, fleet, policy, new)
    wait_for(lambda: rollout(operator, made)["counts"]["held"] == 1, 20)
    answer = operator.client.get(f"/devices/{devices[0].id}/explain").json()
    found = next(r for r in answer["rollouts"] if r["rollout_id"] == made["id"])
    assert (found["state"], found["reason"], found["line"]) == ("held", "too cold", 3)
    for words in (f"Rollout {made['id']}", "line 3", '"too cold"', "battery 80", "asked again at"):
        assert words in found["explanation"] and words in answer["explanation"], found["explanation"]
    said = otad.cli("explain", str(devices[0].id)).stdout
    assert found["explanation"] in said
    assert json.loads(otad.cli("explain", "--json", devices[0].device_code).stdout)["device_id"] == devices[0].id
    assert otad.cli("explain", "no-such", check=False).returncode == 1
    answer = operator.client.get(f"/rollouts/{made['id']}").json()["explanation"]
    said = otad.cli("explain", "--rollout", made["id"]).stdout
    assert answer.partition(" It was given ")[0] in said  # how often grows by the second
    for words in ("1 of them held back", "the rule of the server"):
        assert words in answer, answer
    assert f"Rollout {made['id']}" in said and "is running" in said and "It can be paused." in said
    assert otad.cli("explain", "--rollout", "999999999", check=False).returncode == 1
    assert otad.cli("explain", "--rollout", "first", check=False).returncode == 2
    other = Device(devices[0].system, operator, tags={"test": "another"})
    answer = operator.client.get(f"/devices/{other.id}/explain").json()
    found = next(r for r in answer["rollouts"] if r["rollout_id"] == made["id"])
    assert found["state"] == "untargeted" and "it wants the tag test" in found["explanation"]
