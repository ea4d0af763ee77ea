"""What happened to a device, newest first: told by it, decided on it, done with it; and what a device that flaps may keep."""
import secrets

import pytest

from answers import problem
from devices import wait_for
from test_devices import pages
from test_firmware import stored
from test_updates import newest, reaches, report, started

NONE = 2_000_000_000  # and above: rollouts that are none of other tests on this system
MOST = 30  # events an hour, of the device itself and of its updates


def timeline(account, device, limit=200):
    answer = account.client.get(f"/devices/{device.id}/timeline", params={"limit": limit})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def texts(account, device):
    """Oldest first, as people tell it."""
    return [item["text"] for item in reversed(timeline(account, device))]


def tells(account, device, *expected):
    """Waits until these are the newest, the oldest of them first."""
    def told():
        return texts(account, device)[-len(expected):] == list(expected)
    try:
        wait_for(told)
    except AssertionError:
        assert texts(account, device)[-len(expected):] == list(expected)


def says(device, **fields):
    """A status, and waits until it is stored."""
    mark = secrets.randbelow(1 << 30)
    device.status(mark=mark, **fields)
    wait_for(lambda: device.account.client.get(f"/devices/{device.id}/status").json()["telemetry"].get("mark") == mark)


def again(device, **fields):
    """Another session of the device."""
    device.session = secrets.token_hex(4)
    says(device, **fields)


@pytest.fixture
def online(device):
    assert device.connect() == 0
    says(device, firmware_version="1.2.0", elf_sha256="ab" * 32, reset_reason="power_on", uptime=100)
    return device


def test_a_device_comes_goes_and_is_changed(operator, online):
    assert texts(operator, online) == ["registered", "came online", "runs 1.2.0"]
    online.publish(online.topics["status"], {"status": "offline", "session": online.session})
    tells(operator, online, "runs 1.2.0", "went offline")
    again(online, firmware_version="1.3.0", elf_sha256="cd" * 32, reset_reason="brownout", uptime=0)
    tells(operator, online, "went offline", "restarted (brownout)", "came online", "runs 1.3.0 (was 1.2.0)")
    says(online, firmware_version="1.3.0", elf_sha256="ef" * 32)
    tells(operator, online, "runs 1.3.0 (was 1.2.0)", "runs another image of 1.3.0")
    items = timeline(operator, online)
    assert all(list(item) == ["at", "kind", "text", "data"] for item in items)
    assert [item["at"] for item in items] == sorted((item["at"] for item in items), reverse=True)
    assert [item["kind"] for item in items] == ["firmware", "firmware", "online", "restart", "offline", "firmware", "online",
                                                "registered"]
    assert items[1]["data"] == {"version": "1.3.0", "was": "1.2.0", "elf_sha256": "cd" * 32}
    assert items[3]["data"] == {"reset_reason": "brownout"} and items[2]["data"] == {}


def test_heartbeats_leave_no_trace(otad, operator, online):
    before = timeline(operator, online)
    for beat in range(5):
        says(online, firmware_version="1.2.0", elf_sha256="ab" * 32, reset_reason="power_on", uptime=160 + beat, rssi=-beat)
    assert timeline(operator, online) == before
    assert otad.psql(f"select count(*) from device_events where device_id = {online.id}") == "2"


def test_a_connection_made_anew_is_no_restart(operator, online):
    before = timeline(operator, online)
    again(online, reset_reason="power_on", uptime=3700)  # it has been up for longer than it was away
    assert timeline(operator, online) == before
    again(online, reset_reason="panic", uptime=0)
    tells(operator, online, "runs 1.2.0", "restarted (panic)")
    again(online, reset_reason="watchdog", uptime=0)  # as often as it is so
    tells(operator, online, "restarted (panic)", "restarted (watchdog)")
    again(online)  # it does not tell how long it has been up: that of before is old
    tells(operator, online, "restarted (watchdog)", "restarted (watchdog)")


def test_without_uptime_a_new_session_is_a_restart(operator, device):
    assert device.connect() == 0
    says(device, reset_reason="power_on")
    again(device, reset_reason="deep_sleep")
    tells(operator, device, "came online", "restarted (deep sleep)")
    before = timeline(operator, device)
    says(device, reset_reason="panic")  # the same session
    assert timeline(operator, device) == before


def test_sessions_without_a_reason_are_none(operator, device):
    assert device.connect() == 0
    says(device)
    again(device, uptime=1)
    again(device, uptime=1, reset_reason=None)
    assert texts(operator, device) == ["registered", "came online"]


def test_an_uptime_beyond_all_calendars_is_taken(operator, online):
    again(online, reset_reason="power_on", uptime=1e12)
    again(online, reset_reason="panic", uptime=0)
    assert texts(operator, online)[-1] == "restarted (panic)"


def test_an_update_passes_through_its_states(operator, online):
    _, firmware = stored(operator)
    update = started(operator, online, firmware)
    version = firmware["version"]
    reaches(operator, online, "offered", "pending")
    for state, reached in (("downloading", "downloading"), ("verifying", "installing")):
        report(online, update, state, progress=40)
        reaches(operator, online, reached)
        report(online, update, state, progress=80)  # the same state
    report(online, update, "failed", error="no room")
    reaches(operator, online, "failed")
    told = [item for item in timeline(operator, online) if item["kind"] == "update"]
    states = [item["data"]["state"] for item in reversed(told)]
    assert states == ["pending", "offered", "downloading", "installing", "failed"] or \
        states == ["pending", "downloading", "installing", "failed"]  # taken before the broker had acknowledged
    assert told[0]["text"] == f"update to {version}: failed (no room)" and told[-1]["text"] == f"update to {version}: pending"
    for item in told:
        assert {**item["data"], "state": 0, "reason": 0} == {
            "update_id": update["id"], "firmware_id": firmware["id"], "action": "install", "version": version,
            "from_version": "1.2.0", "state": 0, "reason": 0}
    assert "reason" not in told[-1]["data"]


def test_what_runs_already_is_told_once(operator, online):
    _, firmware = stored(operator)
    says(online, firmware_version=firmware["version"], elf_sha256=firmware["elf_sha256"])
    answer = operator.client.post(f"/devices/{online.id}/update", json={"firmware_id": firmware["id"]})
    assert answer.json()["update"]["state"] == "succeeded"
    tells(operator, online, f"runs {firmware['version']} (was 1.2.0)",
          f"update to {firmware['version']}: succeeded (the device runs this image already)")
    assert newest(operator, online)["state"] == "succeeded"


def test_decisions_about_the_device(otad, operator, device, make_device):
    other = make_device()
    otad.psql(f"""insert into decisions (rollout_id, device_id, verdict, reason, policy, revision, line, inputs) values
        ({NONE}, {device.id}, 'hold', 'battery below 30 %', 'canary', 'abc', 3, '{{"device": {{}}}}'),
        ({NONE}, {device.id}, 'offer', null, 'canary', 'abc', null, null), ({NONE}, {other.id}, 'offer', null, 'canary', 'abc', 3, null),
        ({NONE}, null, 'advance', null, 'canary', 'abc', 3, null)""")
    assert texts(operator, device) == ["registered", f"rollout {NONE}: hold (battery below 30 %)", f"rollout {NONE}: offer"]
    data = timeline(operator, device)[1]["data"]
    assert isinstance(data.pop("decision_id"), int)
    assert data == {"rollout_id": NONE, "verdict": "hold", "reason": "battery below 30 %", "policy": "canary", "revision": "abc",
                    "line": 3}


def test_pages_are_whole_where_times_are_equal(otad, operator, device):
    """From all tables at the same instants, so that the places in between decide."""
    otad.psql(f"""begin;
        insert into updates (device_id, version, state, created_at, updated_at)
          select {device.id}, 'u' || i, 'failed', now() - i % 3 * interval '1 microsecond', now() from generate_series(1, 7) i;
        insert into decisions (at, rollout_id, device_id, verdict, policy)
          select now() - i % 3 * interval '1 microsecond', {NONE} + i, {device.id}, 'hold', 'p' from generate_series(1, 8) i;
        insert into device_events (device_id, at, kind, data, nth)
          select {device.id}, now() - i % 3 * interval '1 microsecond', 'restart', jsonb_build_object('reset_reason', 'r' || i), 1
          from generate_series(1, 9) i;
        update devices set created_at = now() where id = {device.id};
        commit""")
    whole = timeline(operator, device)
    assert len(whole) == len({(item["text"], item["kind"]) for item in whole}) == 25
    for limit in (1, 2, 3, 7, 24, 25):
        assert pages(operator, f"/devices/{device.id}/timeline", limit) == whole


def test_what_comes_between_pages_shifts_none(otad, operator, device):
    otad.psql(f"insert into decisions (rollout_id, device_id, verdict, policy) "
              f"select {NONE} + i, {device.id}, 'hold', 'p' from generate_series(1, 5) i")
    whole, path = timeline(operator, device), f"/devices/{device.id}/timeline"
    first = operator.client.get(path, params={"limit": 2}).json()
    otad.psql(f"insert into decisions (rollout_id, device_id, verdict, policy) values ({NONE}, {device.id}, 'offer', 'p')")
    rest = operator.client.get(path, params={"cursor": first["next"]}).json()
    assert first["items"] + rest["items"] == whole and rest["next"] is None


def test_a_device_that_flaps_fills_no_disk(otad, operator, device):
    otad.psql(f"""do $$ begin for i in 1..100 loop
        update devices set status = 'online' where id = {device.id}; update devices set status = 'offline' where id = {device.id};
        end loop; end $$""")
    items = timeline(operator, device)
    assert [item["kind"] for item in items] == ["offline", "online"] * (MOST // 2) + ["registered"]
    assert [item["text"] for item in items[:2]] == [
        "went offline, and what followed within the hour is too much to be kept", "came online"]
    _, firmware = stored(operator)  # its updates are told all the same
    started(operator, device, firmware)
    operator.client.post(f"/devices/{device.id}/update/cancel")
    reaches(operator, device, "cancelled")
    assert "cancelled" in timeline(operator, device)[0]["text"]
    # An hour later there is room again.
    otad.psql(f"update device_events set at = at - interval '1 hour' where device_id = {device.id}; "
              f"update devices set status = 'online' where id = {device.id}")
    assert timeline(operator, device)[0]["text"] == "came online"


def test_an_update_that_flaps_fills_no_disk(otad, operator, device):
    _, firmware = stored(operator)
    update = started(operator, device, firmware)
    otad.psql(f"""do $$ begin for i in 1..50 loop
        update updates set state = 'downloading' where id = {update['id']}; update updates set state = 'installing' where id = {update['id']};
        end loop; end $$""")
    assert otad.psql(f"select count(*), max(nth) from device_events where device_id = {device.id}") == f"{MOST}|{MOST}"


def test_events_outlive_their_device(otad, operator, online):
    assert operator.client.delete(f"/devices/{online.id}/delete").status_code == 204
    problem(operator.client.get(f"/devices/{online.id}/timeline"), 404)
    assert otad.psql(f"select count(*) from device_events where device_id = {online.id}") == "2"


def test_only_of_ones_own(operator, user, make_device):
    mine, foreign = make_device(user), make_device()
    assert texts(user, mine) == ["registered"]
    problem(user.client.get(f"/devices/{foreign.id}/timeline"), 404)
    assert texts(operator, mine) == ["registered"]


@pytest.mark.parametrize("query, field", [({"limit": "0"}, "limit"), ({"cursor": "x"}, "cursor"), ({"since": "x"}, "since")])
def test_the_query_is_checked(operator, device, query, field):
    problem(operator.client.get(f"/devices/{device.id}/timeline", params=query), 422, field)


def test_a_day_without_a_table_stops_no_device(otad, device):
    otad.psql(f"""begin; set local timezone = 'UTC';
        do $$ begin execute 'drop table device_events_' || to_char(current_date, 'YYYYMMDD'); end $$;
        update devices set status = 'online', firmware_version = '9' where id = {device.id};
        rollback""")


def test_what_people_did_with_it(operator, device):
    operator.client.patch(f"/devices/{device.id}", json={"name": "Hall", "tags": {"site": "north"}})
    operator.client.post(f"/devices/{device.id}/credentials")
    told = [(e["text"], e["data"]) for e in timeline(operator, device) if e["kind"] == "person"]
    assert [text for text, _ in told] == [f"{operator.email} gave it new credentials", f"{operator.email} changed name, tags"]
    assert told[1][1]["after"] == {"name": "Hall", "tags": {"site": "north"}} and told[1][1]["user_id"] == operator.id
