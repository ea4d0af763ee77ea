"""Many devices at once, each with a fault of its own, against a real broker and real downloads: whatever they do, the
server ends up believing what is true. The devices are those of build/otad-fleet."""
import time

import pytest

import fleet_check
from accounts import Account
from otad_fleet import MODES, FirstImage, OtadFleet, register, register_over_http
from test_firmware import stored

SIZE = 204800
ENDS = {"corrupting": "failed", "crashing": "rolled_back", "refusing": "rejected"}
TIMES = {"heartbeat": "2s", "boot": "100ms", "away": "1s", "period": "5s", "awake": "1500ms", "backoff": "200ms",
         "slow_rate": 65536}


@pytest.fixture
def make_fleet(tmp_path):
    made = []

    def make(system, account, **options):
        made.append(OtadFleet(system, account, tmp_path, **{**TIMES, **options}))
        return made[-1]

    yield make
    for fleet in made:
        if fleet.process:
            fleet.process.kill()


def settled(system, fleet, timeout=30):
    """Waits until nothing is left that the server could still be told: the newest status of each device is stored."""
    end = time.monotonic() + timeout
    while fleet_check.problems(fleet.report(), fleet_check.rows(system, fleet.ids)) and time.monotonic() < end:
        time.sleep(0.5)


def updated(system, account, fleet, firmware, timeout):
    """Orders an update for every device and follows it to its end; returns the last report and the rows."""
    fleet.order(firmware)
    fleet.wait_ended(timeout)
    settled(system, fleet)
    fleet.wait(lambda totals: totals["vanished"] == totals["modes"].get("vanishing", 0))
    report = fleet.stop()
    rows = fleet_check.rows(system, fleet.ids)
    fleet_check.check(report, rows)
    return report, rows


def ends_as_its_mode(report, rows):
    modes = {device["id"]: device["mode"] for device in report["devices"]}
    wrong = [(modes[u["device_id"]], u) for u in rows.updates.values()
             if u["state"] != ENDS.get(modes[u["device_id"]], "succeeded")]
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_every_fault_at_once(otad, operator, make_fleet, tmp_path, tls):
    first = FirstImage(tmp_path)
    _, firmware = stored(operator, size=SIZE)
    fleet = make_fleet(otad, operator, count=100, image=first, tls=tls, seed=7, shares=dict.fromkeys(MODES, 0.1))
    fleet.wait_connected()
    report, rows = updated(otad, operator, fleet, firmware, 120)
    totals = report["totals"]
    assert set(MODES) <= set(totals["modes"]), totals
    ends_as_its_mode(report, rows)
    # The faults did happen.
    assert totals["power_cuts"] > 0 and totals["breaks"] > 0
    assert totals["cut_offs"] == totals["modes"]["cut_off"]
    assert totals["vanished"] == totals["modes"]["vanishing"]
    for device in report["devices"]:
        images = [boot["elf_sha256"] for boot in device["booted"]]
        assert images[0] == first.elf_sha256
        if device["mode"] == "crashing":  # there and back
            assert images[-2:] == [firmware["elf_sha256"], first.elf_sha256]
        assert (device["runs"]["elf_sha256"] == firmware["elf_sha256"]) == (device["mode"] not in ENDS)


def test_the_same_seed_gives_the_same_faults(otad, operator, make_fleet):
    registrations = register(otad, operator, 60)
    drawn = []
    for seed in (3, 3, 4):
        fleet = make_fleet(otad, operator, registrations=registrations, seed=seed, shares=dict.fromkeys(MODES, 0.1))
        drawn.append({device["id"]: device["mode"] for device in fleet.stop()["devices"]})
    assert drawn[0] == drawn[1] != drawn[2]


def test_equal_images_are_kept_once(otad, operator, make_fleet, tmp_path):
    """Flash is shared, and one wrong bit costs a sector."""
    first = FirstImage(tmp_path)
    _, firmware = stored(operator, size=SIZE)
    fleet = make_fleet(otad, operator, count=50, image=first, shares={"corrupting": 0.2})
    fleet.wait_connected()
    report, _ = updated(otad, operator, fleet, firmware, 60)
    totals, sectors = report["totals"], (first.path.stat().st_size + SIZE) // 4096
    assert totals["sectors_used"] > 50 * SIZE // 4096 and totals["modes"]["corrupting"] > 0
    assert totals["sectors_stored"] <= sectors + totals["modes"]["corrupting"]


def test_what_the_check_finds(otad, operator, make_fleet, tmp_path):
    """Each thing it looks for, put into rows that were right."""
    first = FirstImage(tmp_path)
    _, firmware = stored(operator, size=65536)
    _, other = stored(operator, size=65536)
    fleet = make_fleet(otad, operator, count=3, image=first)
    fleet.wait_connected()
    fleet.order(firmware)
    fleet.wait_ended()
    settled(otad, fleet)
    fleet.order(other)
    report, rows = updated_again(otad, fleet)
    update, last = list(rows.updates.values())[0], list(rows.updates.values())[-1]
    device = report["devices"][0]

    def finds(text, **caps):
        told = fleet_check.problems(report, rows, **caps)
        assert any(text in sentence for sentence in told), told

    assert fleet_check.problems(report, rows, concurrency=3, per_minute=6) == []
    finds("were under way at once", concurrency=fleet_check.peak_at_once(rows.updates.values()) - 1)
    finds("began within a minute", per_minute=5)
    for row, field, value, text in [(rows.devices[device["id"]], "elf_sha256", "00", "the server believes"),
                                    (rows.devices[device["id"]], "version", "0", "the server believes"),
                                    (last, "state", "installing", "not ended"), (last, "state", "failed", "is failed"),
                                    (update, "ended", update["ended"] + 3600, "at once"),
                                    (last, "created", last["created"] + 3600, "nobody had offered"),
                                    (device["booted"][-1], "elf_sha256", "00", "never booted")]:
        right, row[field] = row[field], value
        finds(text)
        row[field] = right
    assert fleet_check.problems(report, rows) == []


def updated_again(system, fleet):
    fleet.wait_ended()
    settled(system, fleet)
    return fleet.stop(), fleet_check.rows(system, fleet.ids)


def test_registrations_over_http(otad, operator, make_fleet):
    fleet = make_fleet(otad, operator, registrations=register_over_http(operator, 40))
    assert fleet.wait_connected(30)["online"] == 40
    fleet.stop()


@pytest.mark.long
def test_thousands_with_every_fault(start_otad, make_fleet, tmp_path):
    system = start_otad()
    account = Account(system, role="operator")
    fleet = make_fleet(system, account, count=5000, image=FirstImage(tmp_path), tls=True, heartbeat="20s", period="20s",
                       awake="5s", shares=dict.fromkeys(MODES, 0.05))
    fleet.wait_connected(300)
    _, firmware = stored(account, size=SIZE)
    report, rows = updated(system, account, fleet, firmware, 900)
    ends_as_its_mode(report, rows)
    assert report["totals"]["rss_bytes"] < 5000 * 80_000 * system.slack
