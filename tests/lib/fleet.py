"""Simulated devices that report while parts of the system fail: build/otad-device programs, and HTTP writes beside them."""
import json
import secrets
import subprocess
import threading
import time

import httpx

from devices import Device
from system import BUILD


class Fleet:
    """`count` devices, each a program of its own that starts again what a real device would: nothing, it reconnects."""

    def __init__(self, system, account, count, place):
        self.system, self.account = system, account
        self.devices = [Device(system, account) for _ in range(count)]
        self.running = []
        for device in self.devices:
            registration = place / f"{device.id}.json"
            registration.write_text(json.dumps(device.registration))
            output = open(place / f"{device.id}.log", "a")
            self.running.append(subprocess.Popen(
                [BUILD / "otad-device", "--config", registration, "--state", place / f"state-{device.id}", "--heartbeat",
                 "1s", "--backoff", "200ms"], stdout=output, stderr=subprocess.STDOUT))

    def ids(self):
        return ",".join(str(device.id) for device in self.devices)

    def online(self):
        return int(self.system.psql(f"select count(*) from devices where id in ({self.ids()}) and status = 'online'"))

    def newest_states(self):
        rows = self.system.psql(f"select distinct on (device_id) state from updates where device_id in ({self.ids()}) "
                                "order by device_id, id desc")
        return rows.split()

    def order(self, firmware):
        """Orders an update for each, as often as it takes: a 503 or a broken connection says nothing of what was done."""
        left = list(self.devices)
        end = time.monotonic() + 120
        while left:
            assert time.monotonic() < end, f"{len(left)} orders were not taken"
            try:
                answer = httpx.post(f"{self.system.url}/devices/{left[-1].id}/update", headers=self.account.headers,
                                    json={"firmware_id": firmware["id"]}, timeout=30)
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            assert answer.status_code in (200, 202, 409, 503), answer.text
            if answer.status_code == 503:
                time.sleep(0.1)
            else:
                left.pop()

    def stop(self):
        for program in self.running:
            program.terminate()
        for program in self.running:
            program.wait(20)


class Writer(threading.Thread):
    """Registers device after device over HTTP; keeps what was answered, and when."""

    def __init__(self, system, headers):
        super().__init__(daemon=True)
        self.system, self.headers = system, headers
        self.acknowledged, self.answers, self.ending = [], [], False

    def run(self):
        while not self.ending:
            code = f"fault-{secrets.token_hex(8)}"
            begun = time.monotonic()
            try:
                answer = httpx.post(f"{self.system.url}/devices/register", headers=self.headers, timeout=30,
                                    json={"device_code": code})
                status = answer.status_code
                if status == 503:
                    assert int(answer.headers["retry-after"]) > 0
            except httpx.TransportError:
                status = None
            self.answers.append((begun, time.monotonic(), status))
            if status == 201:
                self.acknowledged.append(code)
            time.sleep(0.05)

    def finish(self):
        """Returns those acknowledged that are not there."""
        self.ending = True
        self.join(60)
        there = set(self.system.psql("select device_code from devices").split())
        return [code for code in self.acknowledged if code not in there]

    def between(self, start, end):
        """The statuses of requests begun in this time."""
        return [status for begun, _, status in self.answers if start <= begun <= end]

    def first_success_after(self, moment):
        """Seconds from then to the end of the first write that was taken; None: none yet."""
        return next((ended - moment for begun, ended, status in list(self.answers) if begun >= moment and status == 201),
                    None)
