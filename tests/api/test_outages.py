"""PostgreSQL, Redis and Mosquitto away, and otad killed, while devices report, update and people write: refused as the
contract says or served, nothing that was acknowledged is lost, and all goes on by itself."""
import os
import random
import signal
import subprocess
import time

import httpx
import pytest

from accounts import Account
from devices import wait_for
from fleet import Fleet, Writer
from test_firmware import stored


@pytest.fixture(scope="module")
def system(start_otad):
    return start_otad()


@pytest.fixture(scope="module")
def operator(system):
    return Account(system, role="operator")


@pytest.fixture
def make_fleet(system, operator, tmp_path):
    made = []

    def make(count):
        made.append(Fleet(system, operator, count, tmp_path))
        wait_for(lambda: made[-1].online() == count, 60)
        return made[-1]

    yield make
    for fleet in made:
        fleet.stop()


@pytest.fixture
def writer(system, operator):
    writer = Writer(system, operator.headers)
    writer.start()
    yield writer
    writer.ending = True


def parts_down(system):
    """Those that any worker says are down: each request is a connection of its own."""
    answers = [httpx.get(f"{system.url}/readyz").json() for _ in range(8)]
    return {name for answer in answers for name, state in answer["parts"].items() if state == "down"}, \
        all(answer["ready"] for answer in answers), any(answer["ready"] for answer in answers)


@pytest.mark.parametrize("name, part", [("postgresql", "postgresql"), ("redis", "redis"), ("mosquitto", "mqtt")])
def test_readiness_follows_a_service_that_hangs(system, name, part):
    """Once said ready for as long as nothing was asked of it, or by turns with down."""
    wait_for(system.ready)
    parent = system.service_pid(name)
    children = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True).stdout
    processes = [parent, *map(int, children.split())]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        wait_for(lambda: not parts_down(system)[2], 4)
        while time.monotonic() - began < 12:
            assert parts_down(system) == ({part}, False, False), f"{time.monotonic() - began} s after the stop"
            time.sleep(0.1)
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: parts_down(system)[1], 10)
    for _ in range(30):
        assert parts_down(system) == (set(), True, True)
        time.sleep(0.1)


LONG = pytest.mark.long


@pytest.mark.parametrize("name, seconds", [
    ("postgresql", 3), ("redis", 3), ("mosquitto", 3), pytest.param("postgresql", 30, marks=LONG),
    pytest.param("redis", 30, marks=LONG), pytest.param("mosquitto", 30, marks=LONG)])
def test_a_service_is_away(system, operator, make_fleet, writer, name, seconds):
    _, firmware = stored(operator, size=65536)
    fleet = make_fleet(10)
    wait_for(lambda: writer.acknowledged)
    pid = system.pid
    if name != "postgresql":
        fleet.order(firmware)  # under way while it is away
    system.service(name, "stop")
    away = time.monotonic()
    time.sleep(seconds)
    back = time.monotonic()
    statuses = writer.between(away + 0.5, back - 0.5)
    system.service(name, "start")  # returns when it answers
    answering = time.monotonic()
    assert statuses and set(statuses) == ({503} if name == "postgresql" else {201})
    wait_for(lambda: writer.first_success_after(back), 30)
    wait_for(system.ready, 30)
    ready = time.monotonic() - answering
    if name == "postgresql":
        fleet.order(firmware)
    wait_for(lambda: fleet.newest_states() == ["succeeded"] * 10, 90, 0.3)
    wait_for(lambda: fleet.online() == 10, 60)
    assert writer.finish() == []
    assert system.pid == pid, "otad was started anew"
    print(f"{name} away {seconds} s: {len(statuses)} writes meanwhile, ready {ready:.1f} s after it answered, "
          f"first write {writer.first_success_after(back):.1f} s after the start was asked for, "
          f"updated after {time.monotonic() - answering:.1f} s, {len(writer.acknowledged)} writes kept")
    assert ready < 5 * system.slack


@pytest.mark.parametrize("kills, count", [(10, 10), pytest.param(200, 40, marks=LONG)])
def test_killed_again_and_again(system, operator, make_fleet, writer, kills, count):
    """SIGKILL of the serving process, now and then of its parent too, during ingest and updates."""
    fleet = make_fleet(count)
    dice, died = random.Random(kills), 0
    _, firmware = stored(operator, size=262144)
    fleet.order(firmware)
    while died < kills:
        # Mostly at once again, but never so often in a row that the parent takes it for hopeless.
        time.sleep(dice.uniform(2.5, 3) if died % 4 == 3 else dice.uniform(0.05, 1.5))
        victim = system.service_pid("otad") if dice.random() < 0.1 else system.pid
        os.kill(victim, signal.SIGKILL)
        died += 1
        wait_for(system.ready, 60)
        doubled = system.psql("select device_id from updates where state in ('pending', 'offered', 'downloading', "
                              "'installing') group by device_id having count(*) > 1")
        assert doubled == "", "two updates under way"
        if died % 10 == 5 and set(fleet.newest_states()) == {"succeeded"}:
            _, firmware = stored(operator, size=262144)
            fleet.order(firmware)
    wait_for(lambda: fleet.newest_states() == ["succeeded"] * count, 120, 0.3)
    wait_for(lambda: system.psql("select count(*) from offers where published_at is null") == "0", 30)
    running = system.psql(f"select distinct firmware_version from devices where id in ({fleet.ids()})")
    assert running == firmware["version"]
    assert writer.finish() == []
    print(f"{kills} kills: {len(writer.acknowledged)} writes kept, {count} devices run {running}")
