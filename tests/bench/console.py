"""What the console costs in front of a large fleet: each request of every page, and a page under the fleet's heartbeats."""
import json
import statistics
import subprocess
import sys

from lab import HERE, ROOT, Broken, call, wait_until
from parts import DEVICES, Goal, Table
from rollouts import HEARTBEATS, Heart, open_broker

sys.path.append(str(ROOT / "tests/lib"))
import make_image  # noqa: E402

ACCOUNTS, ENTRIES, RICH = 50, 100_000, 10
CHIPS = "esp32", "esp32s2", "esp32s3", "esp32c3", "esp32c6"
VERSIONS = "1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.2"
REQUEST, PAGE, FIRST_LOAD = 200, 1000, 350  # at most: ms, ms, kB
COMPUTES = "/policies/"  # simulations, replays and tests take as long as they compute
BUSY = "return { concurrency = 1000000, rate = { per_minute = 60000 } }"
COLUMNS = {"events/s": "messages", "requests/s": "requests", "main thread %": "busy", "tasks > 50 ms": "long", "longest ms": "longest",
           "frame p50 ms": "frame", "frame p99 ms": "frame99", "MiB before": "before", "MiB after": "after", "DOM nodes +": "nodes"}

# name, policy, target, state, stage, share of the target reached, under way, held, age in days, hours that it took. Five of all
# devices, others of a site or a chip.
ROLLOUTS = [
    ("Spring", "all_at_once", {}, "completed", 0, 1, 0, 0, 60, 30),
    *((f"Hall {n}", "linear", {"tags": {"site": f"hall-{n}"}}, state, 1, reached, 0, 0, 55 - n, 9)
      for n, (state, reached) in enumerate([("completed", 1), ("aborted", 0.3), ("completed", 1), ("completed", 1),
                                            ("rolled_back", 0.5), ("completed", 1), ("completed", 1)])),
    ("Early summer", "canary", {}, "rolled_back", 1, 0.1, 0, 0, 40, 8),
    *((f"Ring {n}", "exponential", {"tags": {"ring": str(n)}}, "completed" if n else "aborted", 1, 1 if n else 0.2, 0, 0, 30 - n, 12)
      for n in range(4)),
    ("S3 only", "canary", {"chip": "esp32s3"}, "completed", 3, 1, 0, 0, 20, 20),
    ("Summer", "canary", {}, "paused", 2, 0.4, 0, 0, 12, 30),
    ("C3 only", "wait_for_approval", {"chip": "esp32c3"}, "paused", 0, 0.05, 0, 0, 9, 1),
    ("Batteries", "battery_and_wifi", {}, "running", 0, 0.7, 0, 30000, 5, 60),
    ("Autumn", "canary", {}, "running", 2, 0.5, 400, 0, 2, 30),
    ("Hall 9", "by_site", {"tags": {"site": "hall-9"}}, "running", 0, 1, 0, 300, 1, 5),
]


def upload(services, token):
    """{(chip, version): firmware's id}"""
    made = {}
    for chip in CHIPS:
        for version in VERSIONS:
            image = make_image.build(chip, version, "bench", 4096)
            made[chip, version] = call(f"{services.otad_url}/firmware/upload", "POST", 201, token=token, body=image,
                                       content_type="application/octet-stream")["firmware"]["id"]
    return made


def make_rollouts(services, token, firmware):
    """They are enlisted as in service, and look afterwards as if they had run; one has yet to begin."""
    made = []
    for name, policy, target, state, stage, reached, going, held, age, hours in [*ROLLOUTS, ("Winter", "canary", {"chip": "esp32c6"}, None, *[0] * 6)]:
        rollout = call(f"{services.otad_url}/rollouts", "POST", 201, token=token, body={
            "name": name, "policy": policy, "target": target, "starts_at": "2099-01-01T00:00:00Z",
            "firmware_id": firmware[target.get("chip", "esp32"), "1.4.2"]})["rollout"]["id"]
        made.append(rollout)
        if state:
            services.psql(file=HERE / "console/rollout.sql", rollout=rollout, state=state, stage=stage, reached=reached, going=going,
                          held=held, age=age, hours=hours)
    services.psql("vacuum analyze rollout_devices, updates, decisions")
    return made


class Fleet:
    """The devices of the bench, with the history of a fleet that has been at work for months."""

    def __init__(self, lab, services):
        self.lab, self.services, self.token = lab, services, services.log_in("operator")
        self.firmware = upload(services, self.token)
        services.psql(file=HERE / "console/fleet.sql", first=services.first_device, devices=DEVICES, accounts=ACCOUNTS - 2,
                      entries=ENTRIES, rich=RICH)
        self.rollouts = make_rollouts(services, self.token, self.firmware)
        self.big = [id for id, rollout in zip(self.rollouts, ROLLOUTS) if rollout[2] == {}]
        self.setting = {"url": f"http://localhost:{services.ports['HTTP']}", "email": "console@bench.example"}
        call(f"{services.otad_url}/auth/register", "POST", 201,
             body={"email": self.setting["email"], "password": "correct horse battery"})
        services.psql(f"update users set role = 'operator' where email = '{self.setting['email']}'")
        queues = "select (select count(*) from devices_changed) + (select count(*) from telemetry_late)"
        wait_until(lambda: services.psql(queues) == "0", "taking in what changed", 300, 1)

    def drive(self, what, patience, **setting):
        done = subprocess.run(["node", HERE / "console/drive.mjs", what, json.dumps(self.setting | setting)], capture_output=True,
                              text=True, timeout=patience)
        if done.returncode != 0:
            raise Broken(f"drive.mjs: {done.stderr.strip()}")
        return json.loads(done.stdout)


def row(values):
    return {"median ms": statistics.median(values), "largest ms": max(values), "times": len(values)}


def pages(fleet, options):
    first = fleet.services.first_device
    found = fleet.drive("pages", 3600, rounds=options.rounds, rollouts=fleet.big, firmware=list(fleet.firmware.values()),
                        devices=[first + n for n in range(RICH)])
    requests = {name: row(took) for name, took in sorted(found["requests"].items(), key=lambda item: -statistics.median(item[1]))}
    worst = next(name for name in requests if not (name.startswith("POST") and COMPUTES in name))
    shown = {name: {"there ms": statistics.median(look["settled"] for look in looks),
                    "all answered ms": statistics.median(look["answered"] for look in looks),
                    "largest ms": max(look["answered"] for look in looks)} for name, looks in found["pages"].items()}
    loads = found["loads"]
    return [
        Table(f"Requests of the console, {DEVICES:,} devices, {len(fleet.rollouts)} rollouts", requests,
              [Goal(f"worst median, {worst}", [requests[worst]["median ms"]], REQUEST, True, " ms")]),
        Table("Pages, from one to the next", shown, []),
        Table("The list of devices, loaded anew", {"load": {
            "interactive ms": statistics.median(load["interactive"] for load in loads),
            "kB": statistics.median(load["bytes"] for load in loads) / 1000}},
            [Goal("interactive", [load["interactive"] for load in loads], PAGE, True, " ms"),
             Goal("over the wire", [load["bytes"] / 1000 for load in loads], FIRST_LOAD, True, " kB")])]


class FleetsHeart(Heart):
    """Devices say what they said before: chips and versions stay."""

    def __init__(self, services):
        super().__init__(services.ports["MQTT"], services.first_device)
        heard = services.psql("select id, chip, firmware_version from devices where last_seen is not null order by id")
        self.devices = [(int(id), chip, version) for id, chip, version in (line.split("|") for line in heard.splitlines())]

    def sender(self, n):
        return self.devices[n % len(self.devices)]


def prepare_busy(fleet):
    """The image of a rollout that offers 1,000 a second."""
    url = fleet.services.otad_url
    call(f"{url}/policies/bench_busy", "PUT", 201, token=fleet.token, body={"source": BUSY})
    return call(f"{url}/firmware/upload", "POST", 201, token=fleet.token, content_type="application/octet-stream",
                body=make_image.build("esp32", "1.5.0", "bench", 4096))["firmware"]["id"]


def watched(fleet, options):
    """Pages that are looked at while all devices tell how they are; the last is of a rollout that is busy, too."""
    services, image = fleet.services, prepare_busy(fleet)
    open_broker(fleet.lab, services)
    heart = FleetsHeart(services)
    heart.start()
    found = {}
    for name, path in {"home": "", "devices": "devices", "device": f"devices/{services.first_device}", "rollout": "rollouts/"}.items():
        if name == "rollout":
            path += str(call(f"{services.otad_url}/rollouts", "POST", 201, token=fleet.token, body={
                "name": "Busy", "policy": "bench_busy", "priority": 1000, "firmware_id": image})["rollout"]["id"])
        found[name] = fleet.drive("watch", options.watch_seconds + 120, path=path, seconds=options.watch_seconds)
    heart.stop()
    rows = {name: {column: seen[key] for column, key in COLUMNS.items()} for name, seen in found.items()}
    goals = [Goal("longest task of the main thread", [seen["longest"] for seen in found.values()], 0, True, " ms"),
             Goal("memory after / before", [seen["after"] / seen["before"] for seen in found.values()], 0)]
    return [Table(f"Pages for {options.watch_seconds} s with {HEARTBEATS:,.0f} status messages a second", rows, goals)]


def console(lab, services, options):
    fleet = Fleet(lab, services)
    return pages(fleet, options) + watched(fleet, options)
