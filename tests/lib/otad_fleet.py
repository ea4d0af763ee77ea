"""build/otad-fleet: thousands of simulated devices in one process, registered, run, asked and stopped.

    image = FirstImage(place, version="1.0.0")
    fleet = OtadFleet(system, account, place, count=1000, image=image, shares={"crashing": 0.08}, heartbeat="5s")
    fleet.wait(lambda totals: totals["online"] == 1000)
    ... order updates, or start a rollout and wait for its end ...
    report = fleet.stop()          # fleet_check.check(report, fleet_check.rows(system)) is what has to hold

Owner: the test; stop() ends the process, which also ends by itself when the test does. README.md of tests/fleet says
what the report holds.
"""
import concurrent.futures
import contextlib
import copy
import json
import pathlib
import secrets
import subprocess
import time

import httpx

import make_image
from system import BUILD

MODES = ("slow", "lossy", "cut_off", "corrupting", "crashing", "vanishing", "power_cut", "refusing", "sleeping")
PROGRAM = BUILD / "otad-fleet"


class FirstImage:
    """An image that devices run from the beginning: `path`, `elf_sha256`, `version`, `chip`."""

    def __init__(self, place, chip="esp32", version="1.0.0", size=65536, **options):
        data = make_image.build(chip=chip, version=version, size=size, **options)
        self.chip, self.version, self.elf_sha256 = chip, version, data[0xB0:0xD0].hex()
        self.path = pathlib.Path(place) / f"{chip}-{version}-{self.elf_sha256[:8]}.bin"
        self.path.write_bytes(data)


def register(system, account, count, chip="esp32", tags=None, name="fleet"):
    """Registers `count` devices and returns their registrations. The first one over HTTP, the others as rows beside it,
    some 10,000 a second: over HTTP (register_over_http) it is some hundred. tags: a function of the device's number."""
    tags = tags or (lambda number: {})
    prefix = f"{name}-{secrets.token_hex(5)}"
    answer = account.client.post("/devices/register",
                                 json={"device_code": f"{prefix}-0", "chip": chip, "tags": tags(0)})
    assert answer.status_code == 201, answer.text
    first = answer.json()
    wanted = [{"code": f"{prefix}-{number}", "password": secrets.token_urlsafe(32), "tags": tags(number)}
              for number in range(1, count)]
    rows = system.psql(f"""
        with wanted as (
          select * from jsonb_to_recordset($fleet${json.dumps(wanted)}$fleet$::jsonb)
            as w (code text, password text, tags jsonb)
        ), made as (
          insert into devices (user_id, device_code, chip, tags)
          select {int(account.id)}, code, '{chip}', tags from wanted returning id, device_code
        ), credentials as (
          insert into device_credentials (device_id, password_sha256)
          select id, sha256(convert_to(password, 'UTF8')) from made join wanted on code = device_code
        )
        select id, device_code from made""")
    ids = {code: int(id) for id, code in (row.split("|") for row in rows.splitlines())}
    found = [first]
    for entry in wanted:
        device = copy.deepcopy(first)
        id = ids[entry["code"]]
        device["device"].update(id=id, device_code=entry["code"], tags=entry["tags"])
        user = f"device-{id}"
        device["credentials"] = {"username": user, "password": entry["password"], "client_id": user}
        device["mqtt"]["topics"] = {topic: f"device/{id}/{topic}" for topic in ("status", "ota", "logs")}
        found.append(device)
    return found


def in_parallel(account, requests, workers=16):
    """Sends (method, path, JSON) with so many connections; yields the answers in order. 503 and a broken connection
    are tried again for two minutes."""
    def send(client, request):
        method, path, body = request
        end, again = time.monotonic() + 120, False
        while True:
            try:
                answer = client.request(method, path, json=body)
                if answer.status_code != 503 or time.monotonic() > end:
                    answer.extensions["again"] = again  # what it asks for may have been done before
                    return answer
            except httpx.TransportError:
                if time.monotonic() > end:
                    raise
            again = True
            time.sleep(0.1)

    url = str(account.client.base_url)
    account.token  # logged in by one thread
    clients = [httpx.Client(base_url=url, auth=account.login, timeout=60) for _ in range(workers)]
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        parts = [pool.submit(lambda c, part: [send(c, r) for r in part], client, requests[at::workers])
                 for at, client in enumerate(clients)]
        answers = [part.result() for part in parts]
    for client in clients:
        client.close()
    return [answers[at % workers][at // workers] for at in range(len(requests))]


def register_over_http(account, count, chip="esp32", workers=16):
    code = f"fleet-{secrets.token_hex(5)}"
    answers = in_parallel(account, [("POST", "/devices/register", {"device_code": f"{code}-{number}", "chip": chip})
                                    for number in range(count)], workers)
    assert all(answer.status_code == 201 for answer in answers)
    return [answer.json() for answer in answers]


def order(account, ids, firmware, workers=16):
    """POST /devices/:id/update for each; the answers, of which some may be 409 where one is under way."""
    return in_parallel(account, [("POST", f"/devices/{id}/update", {"firmware_id": firmware["id"]}) for id in ids], workers)


class OtadFleet:
    """The running program. `registrations`: of register(), else `count` are made. image: a FirstImage, or a function of
    the device's number that returns one or None. tls: over the TLS listener, as real devices. Further options are those
    of the program, such as heartbeat="5s", away="2s", slow_rate=10000, rate=1000."""

    def __init__(self, system, account, place, count=None, registrations=None, image=None, seed=1, shares=None, tls=False,
                 **options):
        self.system, self.account = system, account
        self.registrations = registrations or register(system, account, count)
        self.ids = [registration["device"]["id"] for registration in self.registrations]
        choose = image if callable(image) else lambda number: image
        self.first = {}  # elf_sha256 of what each ran at first
        place = pathlib.Path(place)
        name = f"fleet-{secrets.token_hex(4)}"
        with open(place / f"{name}.jsonl", "w") as file:
            for number, registration in enumerate(self.registrations):
                line = copy.copy(registration)
                if not tls:
                    line["mqtt"] = line["mqtt"] | {"host": "127.0.0.1", "port": system.mqtt_port, "tls": False}
                chosen = choose(number)
                line["image"] = str(chosen.path) if chosen else None
                self.first[line["device"]["id"]] = chosen.elf_sha256 if chosen else None
                file.write(json.dumps(line) + "\n")
        command = [PROGRAM, "--devices", place / f"{name}.jsonl", "--seed", seed]
        for mode, share in (shares or {}).items():
            command += ["--share", f"{mode}={share}"]
        for option, value in options.items():
            command += [f"--{option.replace('_', '-')}", value]
        self.errors = place / f"{name}.log"
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=open(self.errors, "w"), text=True)

    def ask(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"otad-fleet ended with {self.process.wait(10)}: {self.errors.read_text()[-2000:]}"
        return json.loads(line)

    def totals(self):
        return self.ask("summary")["totals"]

    def report(self):
        return self.ask("report") | {"first": self.first}

    def wait(self, condition, timeout=60, interval=0.2):
        """Until condition(totals) holds; returns them."""
        end = time.monotonic() + timeout
        while True:
            totals = self.totals()
            if condition(totals):
                return totals
            assert time.monotonic() < end, f"not within {timeout} s: {totals}"
            time.sleep(interval)

    def wait_connected(self, timeout=120):
        """Until each device has been let in by the broker once."""
        count = len(self.ids)
        return self.wait(lambda totals: totals["connected_once"] == count, timeout)

    def order(self, firmware, ids=None):
        answers = order(self.account, ids or self.ids, firmware)
        wrong = [answer.text for answer in answers if answer.status_code not in (200, 202)
                 and not (answer.status_code == 409 and answer.extensions["again"])]
        assert not wrong, wrong[:5]

    def under_way(self):
        return int(self.system.psql(f"select count(*) from updates where device_id between {min(self.ids)} and "
                                    f"{max(self.ids)} and state in ('pending', 'offered', 'downloading', 'installing')"))

    def wait_ended(self, timeout=120, interval=0.5):
        """Until no update of its devices is under way for the server. PostgreSQL may be away meanwhile."""
        end, left = time.monotonic() + timeout, "some"
        while left:
            assert time.monotonic() < end, f"{left} updates are under way after {timeout} s: {self.totals()}"
            with contextlib.suppress(AssertionError):
                left = self.under_way()
            if left:
                time.sleep(interval)

    def stop(self):
        """Ends the process; returns its last report."""
        if self.process is None:
            return None
        try:
            report = self.ask("stop")
            assert self.process.wait(30) == 0, self.errors.read_text()[-2000:]
        finally:
            self.process.kill()
            self.process.wait()
            self.process = None
        assert not self.errors.read_text(), self.errors.read_text()[-2000:]
        return report | {"first": self.first}
