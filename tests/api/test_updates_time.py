"""Updates that end by themselves: offers that run out or are renewed, silence; and the task that does it."""
import datetime
import json
import time

import httpx
import pytest

from accounts import Account
from devices import Device, wait_for
from test_firmware import stored
from test_updates import cleared, newest, reaches, report, started


@pytest.fixture(scope="module")
def hasty(start_otad):
    return start_otad(OTAD_UPDATE_TIMEOUT="5s", OTAD_UPDATE_OFFER_TIMEOUT="10s", OTAD_UPDATE_OFFER_TTL="4s")


@pytest.fixture
def hurry(hasty):
    """Operator, device and firmware on that system."""
    operator = Account(hasty, role="operator")
    device = Device(hasty, operator)
    assert device.connect() == 0
    yield operator, device, stored(operator)[1]
    device.disconnect()


def test_an_offer_nobody_takes_times_out(hurry):
    operator, device, firmware = hurry
    started(operator, device, firmware)
    assert device.offer()
    reaches(operator, device, "offered", "timed_out")
    ended = reaches(operator, device, "timed_out")
    assert "never took" in ended["reason"]
    waited = [datetime.datetime.fromisoformat(ended[name]) for name in ("created_at", "updated_at")]
    assert (waited[1] - waited[0]).total_seconds() > 9.9
    cleared(device)


def test_silence_times_out(hurry):
    operator, device, firmware = hurry
    update = started(operator, device, firmware)
    for progress in range(7):  # longer than the time-out in all, and never silent for it
        report(device, update, "downloading", progress=progress)
        time.sleep(1)
    assert newest(operator, device)["state"] == "downloading"
    assert "silent" in reaches(operator, device, "timed_out")["reason"]
    cleared(device)
    report(device, update, "downloading", progress=50)
    time.sleep(1)
    assert newest(operator, device)["state"] == "timed_out"


def test_a_wrong_confirmation_times_out_however_often_it_is_told(hurry):
    operator, device, firmware = hurry
    update = started(operator, device, firmware)
    begun = time.monotonic()
    while newest(operator, device)["state"] != "timed_out":
        report(device, update, "confirmed", firmware_version="0.0.1", uptime=int(time.monotonic() * 1000))
        assert time.monotonic() - begun < 60
        time.sleep(0.5)
    assert "0.0.1" in newest(operator, device)["reason"]


def test_offers_are_renewed_while_under_way(hurry):
    operator, device, firmware = hurry
    update = started(operator, device, firmware)
    first = device.offer()
    renewed = device.offer()
    assert renewed["expires_at"] > first["expires_at"] and renewed["issued_at"] > first["issued_at"]
    changes = {"issued_at": 0, "expires_at": 0, "_message": 0}
    assert {**renewed, **changes} == {**first, **changes}
    assert renewed["update_id"] == update["id"] and httpx.head(first["url"]).status_code == 200
    assert json.loads(renewed["_message"]["manifest"])["expires_at"] > time.time()


def test_a_failing_task_is_logged_once(start_otad):
    own = start_otad()

    def lines():
        return [json.loads(line) for line in own.log_path.read_text().splitlines() if '"tasks/updates"' in line]
    wait_for(lambda: httpx.get(f"{own.url}/readyz").status_code == 200)
    wait_for(lambda: not lines() or lines()[-1]["msg"] == "script works again") # it may have begun before the database
    before = len(lines())
    own.service("postgresql", "stop")
    try:
        wait_for(lambda: len(lines()) > before, 30)
        time.sleep(4)
    finally:
        own.service("postgresql", "start")
    wait_for(lambda: lines()[-1]["msg"] == "script works again")
    failed, works = lines()[before:]
    assert failed["level"] == "warn" and failed["msg"] == "script failed"
    assert works["level"] == "info" and works["failed"] >= 2
