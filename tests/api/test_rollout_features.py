"""What policies may declare, through the engine that runs: who is in a rollout, in which order, how many at once."""
import hashlib
import time

from devices import wait_for
from rollouts import (counts, course, decisions, explained, history, most_at_once, new_policy, put_again, reaches, roll,
                      rollout, steer, together, updates)

assert course  # the fixture

STAY = 'advance = function() return "hold", "as the test asked" end'  # the rollout stays in its stage


def members(otad, made):
    rows = otad.psql(f"select device_id, state, in_stage, bucket from rollout_devices where rollout_id = {made['id']}")
    return {int(row.split("|")[0]): row.split("|")[1:] for row in rows.splitlines()}


def excluded(operator, made):
    return {row["reason"]: row["count"] for row in rollout(operator, made)["excluded"]}


def tag(operator, fleet, device, **tags):
    answer = operator.client.patch(f"/devices/{device.id}", json={"tags": {"test": fleet.tag, **tags}})
    assert answer.status_code == 200, answer.text


@together
def test_a_site_is_updated_a_few_devices_at_a_time(otad, operator, fleet):
    site = {i: {"site": "north" if i < 6 else "south"} for i in range(10)}
    devices, _, new = fleet(13, tags=lambda i: site.get(i, {}), outcome=lambda i: "silent" if i == 12 else "confirmed")
    policy = new_policy(operator, 'return { concurrency = 5, spread = { tag = "site", concurrency = 2 } }')
    made = roll(operator, fleet, policy, new)
    counts(operator, made, succeeded=12, downloading=1)
    spans = history(otad, made)
    assert most_at_once(spans) <= 5
    groups = [[d.id for d in devices[:6]], [d.id for d in devices[6:10]], [d.id for d in devices[10:]]]
    found = [most_at_once([span for span in spans if span[0] in group]) for group in groups]
    assert found[0] == 2 and max(found) == 2, found
    devices[12].end()
    reaches(operator, made, "completed")


@together
def test_a_device_counts_where_it_is_now(otad, operator, fleet):
    """One waits that was moved to a site whose only place is taken."""
    devices, _, new = fleet(3, outcome=lambda i: "silent", tags=lambda i: {"site": "ab"[i > 1]})
    policy = new_policy(operator, """return { spread = { tag = "site", concurrency = 1 },
      admit = function(device) if device.name == "wait" then return "hold", "not yet", { again = 1 } end return "offer" end }""")
    operator.client.patch(f"/devices/{devices[2].id}", json={"name": "wait"})
    made = roll(operator, fleet, policy, new)
    counts(operator, made, downloading=1, held=1, waiting=1)
    tag(operator, fleet, devices[2], site="a")
    operator.client.patch(f"/devices/{devices[2].id}", json={"name": "now"})
    wait_for(lambda: otad.psql(f"select grp from rollout_devices where device_id = {devices[2].id}") == "a")
    for ended in range(3):
        counts(operator, made, downloading=1, succeeded=ended)
        busy, = [d for d in devices if d.current and d.runs != d.current]
        busy.end()
    reaches(operator, made, "completed")
    assert most_at_once(history(otad, made)) == 1


@together
def test_devices_that_sleep_leave_room_for_others(otad, operator, fleet):
    """Half of what may be under way, of the rollout and of a site, is for those that are awake."""
    old, new = fleet.image(), fleet.image("99999.1.0")
    asleep = [fleet.device(old, online=False, tags={"site": "ab"[i // 3]}) for i in range(6)]
    awake = [fleet.device(old, tags={"site": "ab"[i]}) for i in range(2)]
    fleet.settle(awake)
    policy = new_policy(operator, """return { concurrency = 6, spread = { tag = "site", concurrency = 2 }, timeout = "1s",
      stages = { { name = "most", share = 0.999, soak = "1s" }, { name = "all", share = 1 } } }""")
    made = roll(operator, fleet, policy, new)
    counts(operator, made, succeeded=2, offered=2, held=4)
    assert "as many offers as may be wait" in next(
        e["explanation"] for e in (explained(operator, device, made) for device in asleep) if e["state"] == "held")
    for device in asleep[:2]:
        assert device.connect(tls=False) == 0
    counts(operator, made, succeeded=4)
    done = wait_for(lambda: (lambda r: r if r["stage"]["name"] == "all" else None)(rollout(operator, made)))
    assert done["counts"]["succeeded"] == 4 and done["counts"]["timed_out"] == 0  # half of the stage: it waits no longer
    for device in asleep[2:]:
        assert device.connect(tls=False) == 0
    assert reaches(operator, made, "completed")["counts"]["succeeded"] == 8


@together
def test_the_rollout_of_higher_priority_has_the_device(otad, operator, fleet):
    devices, _, newest = fleet(2)
    newer = fleet.image("99998.0.0")
    first = new_policy(operator, f"return {{ priority = 7, admit = function() return 'hold', 'not yet' end, {STAY} }}")
    above = roll(operator, fleet, first, newest)
    below = roll(operator, fleet, "all_at_once", newer)
    assert (above["priority"], below["priority"]) == (7, 0)
    assert roll(operator, fleet, first, newer, priority=-3)["priority"] == -3
    counts(operator, above, held=2)
    counts(operator, below, held=2)
    words = f"rollout {above['id']}, which comes first, wants the device"
    assert {d["reason"] for d in decisions(operator, below) if d["device_id"]} == {words}
    assert words in explained(operator, devices[0], below)["explanation"]
    put_again(operator, first, f"return {{ {STAY} }}")
    counts(operator, above, succeeded=2)
    counts(operator, below, excluded=2)
    assert excluded(operator, below) == {f"runs {newest['version']}, which is newer": 2}
    assert all(len(updates(operator, device)) == 1 for device in devices)
    reaches(operator, below, "completed")


@together
def test_devices_come_and_go_while_it_runs(otad, operator, fleet):
    devices, old, new = fleet(4)
    policy = new_policy(operator, f"""return {{ {STAY}, admit = function(device)
      if device.tags.hold then return "hold", "held" end return "offer" end }}""")
    operator.client.patch(f"/devices/{devices[1].id}", json={"tags": {"test": "another"}})
    for device in devices[2:]:
        tag(operator, fleet, device, hold="yes")
    made = roll(operator, fleet, policy, new)
    assert made["counts"]["targeted"] == 3
    counts(operator, made, succeeded=1, held=2)
    tag(operator, fleet, devices[1])
    counts(operator, made, succeeded=2, targeted=4)
    late = fleet.device(old)
    counts(operator, made, succeeded=3, targeted=5)
    unknown = fleet.device(old, chip=None, online=False)
    counts(operator, made, excluded=1)
    assert "has not told its chip" in explained(operator, unknown, made)["explanation"]
    unknown.device["chip"] = "esp32"
    assert unknown.connect(tls=False) == 0
    counts(operator, made, succeeded=4, excluded=0, targeted=6)
    operator.client.patch(f"/devices/{devices[2].id}", json={"tags": {"test": "another"}})
    counts(operator, made, held=1, excluded=1, targeted=5)
    assert excluded(operator, made) == {"is no longer named by the target": 1}
    tag(operator, fleet, devices[2], hold="yes")
    counts(operator, made, held=2, excluded=0)
    assert operator.client.delete(f"/devices/{devices[3].id}/delete").status_code == 204
    assert operator.client.delete(f"/devices/{late.id}/delete").status_code == 204
    seen = counts(operator, made, held=1, succeeded=3, excluded=0, targeted=4)["counts"]
    assert sum(n for state, n in seen.items() if state not in ("targeted", "under_way")) == len(members(otad, made)) == 4


@together
def test_late_devices_are_in_the_stage_of_their_hash(otad, operator, fleet):
    old, new = fleet.image(), fleet.image("99999.1.0")
    for _ in range(10):
        fleet.device(old, online=False)
    policy = new_policy(operator, f"""return {{ stages = {{ {{ share = 0.4 }}, {{ share = 1 }} }}, {STAY},
      admit = function() return "hold", "to see who is asked" end }}""")
    made = roll(operator, fleet, policy, new)
    counts(operator, made, held=4)
    for _ in range(8):
        fleet.device(old, online=False)
    counts(operator, made, targeted=18)
    threshold = int(otad.psql(f"select threshold from rollouts where id = {made['id']}"))
    found = members(otad, made)
    for device, (_, in_stage, bucket) in found.items():
        assert int(hashlib.sha256(f"{made['id']}:{device}".encode()).hexdigest()[:8], 16) == int(bucket)
        assert (in_stage == "t") == (int(bucket) <= threshold)
    counts(operator, made, held=sum(in_stage == "t" for _, in_stage, _ in found.values()))


@together
def test_who_can_have_the_firmware(otad, operator, fleet):
    step, new = fleet.image("1.9.0"), fleet.image("2.0.0", secure_version=1)
    runs = {"1.5.0": {}, "1.9.5": {}, "0.9.0": {}, "3.0.0": {}, "1.10.0": {"secure_version": 2}}
    images = {release: fleet.image(release, **more) for release, more in runs.items()}
    devices = {release: fleet.device(image) for release, image in images.items()}
    there, other = fleet.device(new), fleet.device(fleet.image("1.0.0", chip="esp32s3"), chip="esp32s3")
    fleet.settle([*devices.values(), there, other])
    policy = new_policy(operator, f'return {{ from = {{ "1.*", "3.*" }}, steps = {{ "1.9.0" }}, {STAY} }}')
    made = roll(operator, fleet, policy, new)
    counts(operator, made, succeeded=2, excluded=5, targeted=2)
    assert excluded(operator, made) == {
        "runs this image already": 1, "is an esp32s3, the firmware is for esp32": 1, "runs 3.0.0, which is newer": 1,
        "runs 0.9.0, which the policy does not update from": 1, "could not boot it: its secure version is higher": 1}
    assert [u["version"] for u in updates(operator, devices["1.5.0"])] == ["2.0.0", "1.9.0"]
    assert [u["version"] for u in updates(operator, devices["1.9.5"])] == ["2.0.0"]
    assert devices["1.5.0"].runs["sha256"] == new["sha256"] and not devices["3.0.0"].taken and not other.taken
    put_again(operator, policy, f'return {{ downgrade = true, {STAY} }}')  # it may now be older, and from anywhere
    counts(operator, made, succeeded=4, excluded=3, targeted=4)
    assert devices["3.0.0"].runs["version"] == devices["0.9.0"].runs["version"] == "2.0.0"
    assert operator.client.get(f"/firmware/{step['id']}").status_code == 200


@together
def test_steps_of_a_target_of_versions(otad, operator, fleet):
    """A step takes the device out of the versions that the target names: it goes on all the same."""
    old, new = fleet.image("1.5.0"), fleet.image("2.0.0")
    devices = [fleet.device(old), fleet.device(fleet.image("1.6.0"))]
    fleet.settle(devices)
    policy = new_policy(operator, 'return { from = "1.5.*", steps = { "1.9.0" } }')
    made = roll(operator, fleet, policy, new, target={"tags": {"test": fleet.tag}, "versions": ["1.5.0"]})
    assert made["counts"]["targeted"] == 1
    counts(operator, made, held=1)
    assert "by way of version 1.9.0, which is not here" in explained(operator, devices[0], made)["explanation"]
    fleet.image("1.9.0")
    operator.client.post(f"/rollouts/{made['id']}/pause", json={})
    steer(operator, made, "resume")
    put_again(operator, policy, 'return { from = "1.5.*", steps = { "1.9.0" }, concurrency = 10 }')
    reaches(operator, made, "completed")
    assert [u["version"] for u in updates(operator, devices[0])] == ["2.0.0", "1.9.0"]
    assert updates(operator, devices[1]) == []


@together
def test_rate_and_growth(otad, operator, fleet):
    devices, _, new = fleet(10)
    policy = new_policy(operator, """return { rate = { per_minute = 90, growth = 3 },
      stages = { { share = 0.4 }, { share = 1 } } }""")
    made = roll(operator, fleet, policy, new)
    reaches(operator, made, "completed")
    entered = float(otad.psql(f"select extract(epoch from stage_entered_at) from rollouts where id = {made['id']}"))
    began = float(otad.psql(f"select extract(epoch from created_at) from rollouts where id = {made['id']}"))
    first = [start for _, start, _ in history(otad, made) if start <= entered]
    later = [start for _, start, _ in history(otad, made) if start > entered]
    assert (len(first), len(later)) == (4, 6)
    assert all(n <= (at - began) * 1.5 + 0.1 for n, at in enumerate(first, 1)), (began, first)
    assert all(n <= (at - first[-1]) * 4.5 + 1 for n, at in enumerate(later, 1)), (first[-1], later)
    assert first[-1] - first[0] >= 0.9 and later[-1] - first[-1] >= 0.9


@together
def test_not_before_it_starts(otad, operator, fleet):
    devices, _, new = fleet(1)
    at = time.time() + 4
    made = roll(operator, fleet, "all_at_once", new,
                starts_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)))
    assert "The rollout begins at" in explained(operator, devices[0], made)["explanation"]
    assert rollout(operator, made)["stage"] is None
    done = reaches(operator, made, "completed")
    assert updates(operator, devices[0])[0]["created_at"] >= made["starts_at"] > made["created_at"]
    assert done["counts"]["succeeded"] == 1


@together
def test_windows_are_those_of_the_place(otad, operator, fleet):
    """From 23 to 1 o'clock, where it is 23 o'clock now, and where it is not: by the device's tag, else by params."""
    hour = time.gmtime().tm_hour

    def where(local):  # "Etc/GMT-3" is three hours ahead
        ahead = (local - hour) % 24
        return f"Etc/GMT-{ahead}" if ahead <= 14 else f"Etc/GMT+{24 - ahead}"

    devices, _, new = fleet(3, tags=lambda i: [{"timezone": where(23)}, {"timezone": where(12)}, {}][i])
    policy = new_policy(operator, f"""local conditions = require "lib.policy.conditions"
return {{ admit = conditions.all {{ conditions.hours(23, 1) }}, {STAY} }}""")
    inside = roll(operator, fleet, policy, new, params={"timezone": where(12)})
    counts(operator, inside, succeeded=1, held=2)
    assert devices[0].runs["version"] == new["version"]
    assert "23:00 to 1:00 only" in explained(operator, devices[2], inside)["explanation"]
    steer(operator, inside, "abort")
    roll(operator, fleet, policy, new, params={"timezone": where(23)})
    wait_for(lambda: devices[2].runs["version"] == new["version"])
    assert devices[1].taken == []
