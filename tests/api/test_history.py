"""The course of telemetry: the same answers from rows and from hours that are rolled up, whatever came late, was missed
or is in hand of another instance."""
import datetime
import statistics
import subprocess
import time

import pytest

from accounts import Account
from devices import Device, wait_for
from instances import Instance
from psql import PSQL

HOUR, DAY = 3600, 86400
RANGE = 100  # ids (telemetry_range)


@pytest.fixture(scope="module")
def system(start_otad):
    return start_otad()


@pytest.fixture(scope="module")
def account(system):
    return Account(system, role="operator")


@pytest.fixture(scope="module", autouse=True)
def days(system):
    """Tables for 30 days, as an installation that has run so long has them."""
    system.psql("""set timezone = 'UTC'; do $$ declare day date; begin
        for day in select generate_series(current_date - 29, current_date - 2, interval '1 day')::date loop
          execute format('create table telemetry_%1$s partition of telemetry for values from (%2$L) to (%3$L)',
                         to_char(day, 'YYYYMMDD'), day, day + 1);
          execute format('create table telemetry_hours_%1$s partition of telemetry_hours for values from (%2$L) to (%3$L)',
                         to_char(day, 'YYYYMMDD'), day, day + 1);
        end loop; end $$""")


@pytest.fixture
def device(system, account):
    return Device(system, account)


def this_hour():
    return int(time.time()) // HOUR * HOUR


def text(at):
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).isoformat().replace("+00:00", "Z")


def sample(at):
    """[count, min, max, sum] of the row at this minute; sums of them are exact."""
    n = int(at) // 60
    low = n * 37 % 101 / 4
    return [n % 5 + 1, low, low + n % 7, (n % 5 + 1) * (low + n % 7 / 2)]


def fill(system, ids, first, last):
    """A row a minute for each device, the same for all; returns the instants."""
    system.psql(f"""set timezone = 'UTC'; insert into telemetry (device_id, at, fields)
        select d, to_timestamp(60 * n), jsonb_build_object('rssi', jsonb_build_array(n % 5 + 1, low, low + n % 7,
                 (n % 5 + 1) * (low + n % 7 / 2.0)), 'heap', '[1, 7, 7, 7]'::jsonb)
        from (select n, n * 37 % 101 / 4.0 as low from generate_series({first // 60}, {(last - 1) // 60}) n) n
        cross join unnest(array{list(ids)}) d order by n, d""")
    return range(first, last, 60)


def rolled(system, ids=None):
    """Whether nothing is left to do (anew) for these devices."""
    where = f"device_id = any(array{list(ids)})" if ids else "true"
    return system.psql(f"select count(*) from telemetry_late where {where}") == "0" and system.psql(
        "select count(*) from telemetry_ranges where until < date_trunc('hour', now() - interval '65 minutes')") == "0"


def points(account, device_id, since, upto, most, name="rssi"):
    query = {"name": name, "from": text(since), "to": text(upto), "points": most}
    answer = account.client.get(f"/devices/{device_id}/telemetry", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["points"]


def seconds(at):
    return datetime.datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()


def expected(rows, since, upto, found):
    """What the points that were found must say: each holds the rows from its instant to the next one's."""
    starts = [seconds(point["at"]) for point in found] + [upto]
    out = []
    for point, start, end in zip(found, starts, starts[1:]):
        samples = [sample(at) for at in rows if max(start, since) <= at < end]
        out.append({"at": point["at"], "min": min(s[1] for s in samples), "max": max(s[2] for s in samples),
                    "avg": pytest.approx(sum(s[3] for s in samples) / sum(s[0] for s in samples), rel=1e-12)})
    assert [at for at in rows if since <= at < upto][0] >= starts[0]
    return out


def spans(now):
    """Pairs of from and to, and points asked for, with ends on hours, beside them, and within one."""
    five = now - 5 * DAY
    yield from ((five, now, most) for most in (1, 2, 7, 100, 1000))
    yield from ((five + 61, now - 3601, most) for most in (1, 5, 100))
    yield five - 0.25, now + 1800.5, 30
    yield five + 3599, five + 3601, 1
    yield five + 1000, five + 2000, 1
    yield five + 1000, five + 9000, 1
    yield now - 7200, now + 100, 2
    yield now - DAY, now, 6
    yield now - DAY, now, 1000


def agree(account, device_id, rows, now):
    for since, upto, most in spans(now):
        found = points(account, device_id, since, upto, most)
        assert 0 < len(found) <= most
        assert found == expected(rows, since, upto, found), (since - now, upto - now, most)


def test_points_are_the_same_from_rows_and_from_hours(system, account, device):
    now = this_hour()
    rows = fill(system, [device.id], now - 5 * DAY, int(time.time()))
    agree(account, device.id, rows, now)  # while it is rolled up
    wait_for(lambda: rolled(system, [device.id]), 60)
    assert int(system.psql(f"select count(*) from telemetry_hours where device_id = {device.id}")) >= 5 * 24 - 2
    agree(account, device.id, rows, now)


def test_points_of_more_than_two_days_are_hours(system, account, device):
    now = this_hour()
    fill(system, [device.id], now - 3 * DAY, now)
    assert [p["at"][14:] for p in points(account, device.id, now - 3 * DAY, now, 1000)] == ["00:00Z"] * 72
    assert len(points(account, device.id, now - 2 * DAY, now, 1000)) == 2 * 144 * 2  # of 5 minutes


def test_hours_are_read_where_they_are_rolled_up(system, account, device):
    now = this_hour()
    rows = fill(system, [device.id], now - DAY, now)
    wait_for(lambda: rolled(system, [device.id]), 60)
    system.psql(f"update telemetry_hours set fields = '{{\"rssi\": [1, -7, -7, -7]}}' where device_id = {device.id}")
    found = points(account, device.id, now - DAY + 60, now - 6 * HOUR, 1)
    kept = [sample(at) for at in rows if now - DAY + 60 <= at < now - DAY + HOUR]  # the hour that is not whole
    assert found[0]["min"] == -7 and found[0]["max"] == max(s[2] for s in kept)
    assert min(p["min"] for p in points(account, device.id, now - DAY, now - 6 * HOUR, 1000)) >= 0  # narrow: by rows


def test_rows_that_come_late_count_at_once(system, account, device):
    now = this_hour()
    fill(system, [device.id], now - 2 * DAY, now)
    wait_for(lambda: rolled(system, [device.id]), 60)
    at = now - 30 * HOUR
    system.psql(f"insert into telemetry (device_id, at, fields) values "
                f"({device.id}, to_timestamp({at + 7}), '{{\"rssi\": [1, 999, 999, 999], \"late\": [1, 1, 1, 1]}}')")
    highest = [p["max"] for p in points(account, device.id, now - 2 * DAY, now, 48)]
    assert highest[18] == 999 and highest.count(999) == 1
    wait_for(lambda: rolled(system, [device.id]), 30)
    assert highest == [p["max"] for p in points(account, device.id, now - 2 * DAY, now, 48)]
    fields = f"from telemetry_hours where device_id = {device.id} and at = to_timestamp({at})"
    assert system.psql(f"select fields->'late', fields->'rssi'->2 {fields}") == "[1, 1, 1, 1]|999"


def test_what_devices_say_now_is_read_by_row(system, account, device):
    assert device.connect() == 0
    device.status(rssi=-61, note="text", heap=5)
    now = time.time()
    wait_for(lambda: points(account, device.id, now - 3 * DAY, now + 60, 10), 60)
    found = points(account, device.id, now - 3 * DAY, now + 60, 10)
    assert [(p["min"], p["max"]) for p in found] == [(-61, -61)]
    assert account.client.get(f"/devices/{device.id}/telemetry/names").json() == {"names": ["heap", "rssi"]}
    device.disconnect()


def test_names_of_old_and_new_fields(system, account, device):
    path = f"/devices/{device.id}/telemetry/names"
    assert account.client.get(path).json() == {"names": []}
    now = this_hour()
    system.psql(f"insert into telemetry (device_id, at, fields) values "
                f"({device.id}, to_timestamp({now - 20 * DAY}), '{{\"old\": [1, 1, 1, 1], \"both\": [1, 1, 1, 1]}}'), "
                f"({device.id}, now(), '{{\"new\": [1, 1, 1, 1], \"both\": [1, 1, 1, 1]}}')")
    wait_for(lambda: rolled(system, [device.id]), 30)
    assert account.client.get(path).json() == {"names": ["both", "new", "old"]}
    other = Account(system)
    assert other.client.get(path).status_code == 404
    assert account.client.get("/devices/2147483647/telemetry/names").status_code == 404


def untils(system, first=None):
    where = f"where first_id = {first}" if first is not None else ""
    return [float(line) for line in system.psql(f"select extract(epoch from until) from telemetry_ranges {where}").split()]


def test_the_mark_stays_behind_the_clock(system, device):
    wait_for(lambda: rolled(system), 60)
    assert all(until % HOUR == 0 and until <= time.time() - 300 for until in untils(system))
    first = device.id - device.id % RANGE
    system.psql(f"update telemetry_ranges set until = date_trunc('hour', now()) + interval '5 hours' where first_id = {first}")
    wait_for(lambda: untils(system, first)[0] <= time.time(), 30)  # the clock was set back
    assert untils(system, first)[0] >= time.time() - 3 * HOUR


def test_ranges_are_spread_over_the_hour(system):
    ids = [10_000_000 + RANGE * i for i in range(300)]
    system.psql(f"insert into telemetry_ranges select id, date_trunc('hour', now()) - interval '4 hours' from unnest(array{ids}) id")
    wait_for(lambda: rolled(system), 120)

    def share():
        done = system.psql("select count(*) from telemetry_ranges where first_id >= 10000000 and "
                           "until = date_trunc('hour', now())")
        return int(done) / len(ids)

    # Those whose time came: from 5 minutes (and a row) after the hour on for 50 minutes.
    wait_for(lambda: abs(share() - min(max((time.time() % HOUR - 310) / 3000, 0), 1)) < 0.05, 120)
    system.psql("delete from telemetry_ranges where first_id >= 10000000")


def hours(system, ids):
    return system.psql(f"select device_id, extract(epoch from at), fields from telemetry_hours "
                       f"where device_id = any(array{list(ids)}) order by 1, 2")


def test_what_was_missed_is_caught_up(system, account, device):
    """otad was down, or was brought to this version: the rows are there, and nobody rolled them up."""
    now = this_hour()
    rows = fill(system, [device.id], now - 5 * DAY, now)
    wait_for(lambda: rolled(system, [device.id]), 60)
    before = hours(system, [device.id])
    for missed in ("update telemetry_ranges set until = now() - interval '100 hours'; "
                   "update telemetry_ranges set until = date_trunc('hour', until)",
                   f"update devices set created_at = now() - interval '10 days' where id = {device.id}; "
                   "delete from telemetry_ranges"):
        system.service("otad", "stop")
        system.psql(f"{missed}; delete from telemetry_hours h where not exists (select from telemetry_ranges r "
                    f"where r.first_id = telemetry_range(h.device_id) and h.at < r.until)")
        assert hours(system, [device.id]) != before
        system.service("otad", "start")
        wait_for(lambda: untils(system), 30)
        agree(account, device.id, rows, now)
        wait_for(lambda: rolled(system) and hours(system, [device.id]) == before, 120)
        agree(account, device.id, rows, now)


def in_other_ranges(system, account, count):
    """Ids of devices, each alone in its range."""
    first = 20_000_000
    ids = [first + RANGE * i + 1 for i in range(count)]
    system.psql(f"insert into devices (id, user_id, device_code, created_at) select id, {account.id}, 'far-' || id, "
                f"now() - interval '3 days' from unnest(array{ids}) id on conflict do nothing; "
                f"insert into telemetry_ranges select telemetry_range(id), date_trunc('hour', now()) from unnest(array{ids}) id "
                f"on conflict do nothing")
    return ids


def test_a_range_that_fails_stops_no_other(system, account):
    ids = in_other_ranges(system, account, 8)
    now = this_hour()
    bad = f"telemetry where device_id = {ids[3]} and at = to_timestamp({now - 5 * HOUR})"
    system.psql(f"insert into telemetry (device_id, at, fields) select id, to_timestamp({now - 5 * HOUR}), case when id = {ids[3]} "
                f"then '{{\"x\": [\"no\", 1, 1, 1]}}' else '{{\"x\": [1, 1, 1, 1]}}' end::jsonb from unnest(array{ids}) id")
    try:
        wait_for(lambda: len(hours(system, ids).splitlines()) == 7, 60)
        assert hours(system, [ids[3]]) == ""
    finally:
        system.psql(f"delete from {bad}")
    wait_for(lambda: rolled(system, ids), 60)


def test_a_range_that_another_instance_has_in_hand_is_left_to_it(system, account):
    mine, other = in_other_ranges(system, account, 2)
    now = this_hour()
    fill(system, [mine, other], now - 10 * HOUR, now - 3 * HOUR)  # late, all of it
    wait_for(lambda: rolled(system, [mine, other]), 60)
    system.psql("delete from telemetry_hours where device_id >= 20000000")
    lock = subprocess.Popen([PSQL, "-XAtq", system.database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            bufsize=1)
    try:
        lock.stdin.write(f"begin; select 'locked' from telemetry_ranges where first_id = telemetry_range({other}) for update;\n")
        assert lock.stdout.readline() == "locked\n"
        system.psql(f"insert into telemetry_late (device_id, at) select d, to_timestamp({now - 8 * HOUR}) "
                    f"from unnest(array[{mine}, {other}]) d")
        wait_for(lambda: rolled(system, [mine]), 30)
        time.sleep(3)
        assert hours(system, [mine]) and not hours(system, [other]) and not rolled(system, [other])
        lock.stdin.write("commit;\n")
        wait_for(lambda: rolled(system, [other]), 30)
        assert hours(system, [mine]).split("|")[1:] == hours(system, [other]).split("|")[1:]
    finally:
        lock.kill()
        lock.wait()


def test_two_instances_do_each_hour_once(system, account):
    ids = in_other_ranges(system, account, 60)
    now = this_hour()
    second = Instance(system)
    system.psql(f"""delete from telemetry where device_id >= 20000000; delete from telemetry_hours where device_id >= 20000000;
        create table rolled_by (device_id int, at timestamptz, who text);
        create function rolled_by() returns trigger language plpgsql as $$ begin
          insert into rolled_by values (new.device_id, new.at, current_setting('application_name')); return null; end $$;
        create trigger rolled_by after insert or update on telemetry_hours for each row execute function rolled_by();
        alter table telemetry disable trigger telemetry_came""")
    try:
        rows = fill(system, ids, now - 2 * DAY, now - 3 * HOUR)
        system.psql(f"insert into telemetry_ranges select telemetry_range(id), to_timestamp({now - 2 * DAY}) from unnest(array{ids}) id "
                    "on conflict (first_id) do update set until = excluded.until")
        wait_for(lambda: system.psql("select count(*) from rolled_by") == str(45 * 60) and rolled(system), 120)
        assert system.psql("select count(*) from (select from rolled_by group by device_id, at having count(*) > 1) twice") == "0"
        assert len(system.psql("select distinct who from rolled_by").split()) == 2
        found = points(account, ids[7], now - 2 * DAY, now, 48)
        assert found == expected(rows, now - 2 * DAY, now, found)
    finally:
        system.psql("alter table telemetry enable trigger telemetry_came; drop trigger rolled_by on telemetry_hours")
        second.end()


@pytest.mark.measured(sanitized=False)
def test_a_month_of_minutes_answers_at_once(system, account, device):
    now = this_hour()
    fill(system, [device.id, *range(30_000_001, 30_000_004)], now - 28 * DAY, now)
    system.psql("delete from telemetry_late where device_id >= 30000000")
    wait_for(lambda: rolled(system, [device.id]), 120)
    took = []
    for most in (100, 1000, 1) * 5:
        began = time.monotonic()
        assert 0 < len(points(account, device.id, now - 28 * DAY, now, most)) <= most
        took.append(time.monotonic() - began)
    began = time.monotonic()
    assert account.client.get(f"/devices/{device.id}/telemetry/names").json() == {"names": ["heap", "rssi"]}
    assert statistics.median(took) < 0.05 and time.monotonic() - began < 0.1
