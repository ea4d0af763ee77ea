"""What keeps an installation sound over time: clocks that jump, images nobody has, links to scripts, ends that hang."""
import hashlib
import os
import re
import signal
import subprocess
import time

import pytest

from accounts import Account
from devices import Device, wait_for
from system import PROGRAM, ROOT
from test_firmware import stored
from instances import Instance

QUERIES = (ROOT / "sql/queries/ingest.sql").read_text()
SETTINGS = {"OTAD_TELEMETRY_KEEP_DAYS": "20", "OTAD_LOGS_KEEP_DAYS": "40", "OTAD_DECISIONS_KEEP_DAYS": "60"}
KEEP_DAYS = {"telemetry": 20, "telemetry_hours": 20, "device_logs": 40, "device_events": 40, "decisions": 60}


@pytest.fixture(scope="module")
def system(start_otad):
    return start_otad(OTAD_DEVICE_OFFLINE_AFTER="5s", **SETTINGS)


@pytest.fixture(scope="module")
def account(system):
    return Account(system, role="operator")


@pytest.fixture
def device(system, account):
    one = Device(system, account)
    assert one.connect() == 0
    yield one
    one.disconnect()


def ahead(system, device):
    return system.psql(f"select last_seen > now() + interval '1 minute' from devices where id = {device.id}") == "t"


def test_what_was_seen_in_the_future_does_not_deafen(system, device):
    device.status(firmware_version="1.0")
    device.wait(lambda d: d["status"] == "online")
    device.publish(device.topics["status"], {"status": "offline", "session": device.session})
    device.wait(lambda d: d["status"] == "offline")  # the sweep leaves it alone
    system.psql(f"update devices set last_seen = now() + interval '1 hour' where id = {device.id}")
    device.status(firmware_version="2.0")
    device.wait(lambda d: d["firmware_version"] == "2.0" and d["status"] == "online")
    assert not ahead(system, device)
    device.publish(device.topics["status"], {"status": "offline", "session": device.session})
    device.wait(lambda d: d["status"] == "offline")


def test_a_silent_device_seen_in_the_future_becomes_offline(system, device):
    device.status(firmware_version="1.0")
    device.wait(lambda d: d["status"] == "online")
    system.psql(f"update devices set last_seen = now() + interval '1 hour' where id = {device.id}")
    wait_for(lambda: not ahead(system, device), 15)
    device.wait(lambda d: d["status"] == "offline", 30)


def test_a_clock_that_is_ahead_writes_nothing_into_the_future(system, device):
    statement = re.search(r"-- name: ingest_devices\n(.*?);", QUERIES, re.S).group(1)

    def write(seconds, version):
        at = time.time() + seconds
        row = (f"'{{{device.id}}}'", f"'{{{at}}}'", "'{online}'", "'{s}'", "'{null}'", "'{null}'", f"'{{{version}}}'",
               "'{null}'", "'{null}'", "'{null}'", "'{f}'")
        system.psql(f"prepare s as {statement}; execute s ({', '.join(row)})")
        return device.get()["firmware_version"]

    assert write(86400, "ahead") == "ahead"
    assert not ahead(system, device)
    assert write(0, "now") == "now"
    assert write(-10, "late") == "now"


def orphan(system, text, age):
    path = system.var / "firmware" / hashlib.sha256(text).hexdigest()
    path.write_bytes(text)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_images_that_no_firmware_has_are_removed(system, account):
    image, firmware = stored(account)
    kept = system.var / "firmware" / firmware["sha256"]
    os.utime(kept, (time.time() - 7200,) * 2)
    old, young = orphan(system, b"of a killed upload", 7200), orphan(system, b"of an upload under way", 60)
    other = system.var / "firmware/notes.txt"
    other.write_text("not an image")
    os.utime(other, (time.time() - 7200,) * 2)
    system.service("otad", "stop")
    system.service("otad", "start")
    wait_for(lambda: not old.exists(), 20 * system.slack)
    assert young.exists() and kept.exists() and other.exists()
    assert account.client.get(f"/firmware/{firmware['id']}/download").content == image


def test_images_stay_where_the_database_knows_none(system, account):
    assert system.psql("select count(*) from firmware") != "0"
    old = orphan(system, b"of another database", 7200)
    system.psql("alter table firmware rename column sha256 to hidden; alter table firmware add sha256 text")
    try:
        system.service("otad", "stop")
        system.service("otad", "start")
        wait_for(lambda: "although the database knows none" in system.log_path.read_text(), 20 * system.slack)
        assert old.exists()
    finally:
        system.psql("alter table firmware drop sha256; alter table firmware rename column hidden to sha256")


def test_history_is_kept_as_long_as_configured(system):
    """Each kind for its own number of days; a day's table goes when that day is over for longer."""
    for table in KEEP_DAYS:
        for age in (19, 39, 59, 61):
            system.psql(f"""do $$ begin execute format('create table %I partition of {table} for values from (%L) to (%L)',
                '{table}_' || to_char(current_date - {age}, 'YYYYMMDD'), current_date - {age}, current_date - {age} + 1);
                end $$""")
    system.service("otad", "stop")
    system.service("otad", "start")
    for table, most in KEEP_DAYS.items():
        kept = [age for age in (19, 39, 59, 61) if age <= most]
        wait_for(lambda: system.psql(
            f"select current_date - right(inhrelid::regclass::text, 8)::date as age from pg_inherits "
            f"where inhparent = '{table}'::regclass and right(inhrelid::regclass::text, 8) < "
            f"to_char(current_date - 10, 'YYYYMMDD') order by 1").split() == [str(age) for age in kept], 20)


def test_days_are_made_by_two_at_once_while_others_read(system):
    """Where all went in one transaction, whoever read two tables and made it wait for one was its deadlock; where two
    waited for the same table, the second made a day that existed by then."""
    reader = subprocess.Popen(["psql", "-XAtq", system.database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, bufsize=1)
    try:
        for table in KEEP_DAYS:
            system.psql(f"do $$ begin execute 'drop table {table}_' || to_char(current_date + 7, 'YYYYMMDD'); end $$")
        reader.stdin.write("begin; select count(*) from decisions;\n")
        reader.stdout.readline()
        migration = subprocess.Popen([PROGRAM, "migrate"], env=system.environment(), cwd=ROOT, stdout=subprocess.DEVNULL)
        upkeep = subprocess.Popen(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", system.database_url, "-c",
                                   f"call keep_days({KEEP_DAYS['telemetry']}, {KEEP_DAYS['device_logs']}, {KEEP_DAYS['decisions']})"])
        wait_for(lambda: system.psql("""select count(distinct pid) > 1 from pg_locks where not granted
            and (relation = 'decisions'::regclass or locktype = 'advisory')""") == "t")
        reader.stdin.write("select count(*) from device_events, telemetry, telemetry_hours, device_logs; select 'read';\n")
        assert reader.stdout.readline() and reader.stdout.readline() == "read\n"
        reader.stdin.write("commit;\n")
        assert (migration.wait(10 * system.slack), upkeep.wait(10 * system.slack)) == (0, 0)
        for table in KEEP_DAYS:
            assert system.psql(f"select to_regclass('{table}_' || to_char(current_date + 7, 'YYYYMMDD')) is not null") == "t"
    finally:
        reader.kill()


def test_the_brokers_account_may_stand_in_its_url(system, tmp_path):
    password = (system.var / "keys/mqtt.password").read_text().strip()
    escaped = "".join(f"%{byte:02X}" for byte in password.encode())
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    instance = Instance(system, OTAD_MQTT_USERNAME="nobody", OTAD_MQTT_PASSWORD_FILE=str(wrong),
                        MQTT_URL=f"mqtt://ot%61d:{escaped}@127.0.0.1:{system.mqtt_port}")
    assert instance.ready()  # the broker, too
    instance.end()


def test_an_end_with_statements_under_way(system, account):
    """After 30 s it waits no longer: for what runs still, nothing may be gone that it comes back to."""
    instance = Instance(system, OTAD_DATABASE_TIMEOUT="100s", PGAPPNAME="ending")
    lock = subprocess.Popen(["psql", "-XAtq", system.database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True, bufsize=1)
    try:
        lock.stdin.write("begin; lock table offers in access exclusive mode; select 'locked';\n")
        assert lock.stdout.readline() == "locked\n"
        wait_for(lambda: system.psql("select count(*) from pg_stat_activity where wait_event_type = 'Lock' "
                                     "and application_name = 'ending'") != "0", 20 * system.slack)
        began = time.monotonic()
        instance.process.terminate()
        assert instance.process.wait(60) == 0
        assert time.monotonic() - began > 25  # else nothing was under way
    finally:
        lock.kill()
        lock.wait()
    assert system.complaints() == []


def test_an_end_in_the_midst_of_a_reload(system):
    for pause in (0, 0.001, 0.003, 0.01, 0.03):
        instance = Instance(system)
        for _ in range(20):
            instance.process.send_signal(signal.SIGHUP)
        time.sleep(pause)
        began = time.monotonic()
        instance.end()
        assert time.monotonic() - began < 20  # it waits for the reload, and not for 30 s
    assert system.complaints() == []
