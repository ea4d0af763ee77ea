"""Rollouts in tests: devices that answer at once, orders and what becomes of them, and many tests at the same time."""
import concurrent.futures
import contextlib
import json
import random
import secrets

import pytest

import make_image
from devices import Device, wait_for


def version():
    return f"9.{random.randrange(10**6)}.{random.randrange(10**6)}"


class Answering(Device):
    """A device that takes each offer and ends it as `outcome` says: confirmed, failed, rolled_back, rejected, or silent
    (it begins, and end() ends it), or deaf (it takes none)."""

    def __init__(self, system, account, firmware, outcome="confirmed", **fields):
        super().__init__(system, account, **fields)
        self.outcome, self.runs, self.taken, self.current = outcome, firmware, [], None

    def connect(self, **options):
        code = super().connect(**options)
        self.mqtt.on_message = self.on_offer
        while not self.messages.empty():  # what came at once
            self.on_offer(self.mqtt, None, self.messages.get())
        self.tell()
        return code

    def tell(self, **fields):
        self.mqtt.publish(self.topics["status"], json.dumps({
            "status": "online", "session": self.session, "chip": self.device["chip"], "firmware_version": self.runs["version"],
            "elf_sha256": self.runs["elf_sha256"], "battery": 80, **fields}), qos=1)

    def on_offer(self, client, userdata, message):
        self.current = json.loads(json.loads(message.payload)["manifest"]) if message.payload else None
        if not self.current or self.outcome == "deaf" or self.current["update_id"] in self.taken:
            return
        self.taken.append(self.current["update_id"])
        self.report("downloading", progress=50)
        if self.outcome != "silent":
            self.end("confirmed" if self.current["action"] == "rollback" else self.outcome)

    def report(self, state, **more):
        self.tell(ota={"update_id": self.current["update_id"], "state": state, "error": None, **more})

    def end(self, outcome="confirmed"):
        if outcome == "confirmed":
            self.runs = self.current
        self.report(outcome, error=None if outcome == "confirmed" else "as the test asked")


@contextlib.contextmanager
def fleet_of(otad, operator):
    """fleet(count, outcome, tags): connected devices on an older image, marked by a tag of the test's own; with that
    image and a newer one. fleet.image(...) uploads another one, fleet.device(image, ...) makes one that runs it."""
    devices = []

    def image(release=None, **options):
        data = make_image.build(project=project, version=release or version(), **options)
        answer = operator.client.post("/firmware/upload", files={"file": ("firmware.bin", data)})
        assert answer.status_code == 201, answer.text
        return answer.json()["firmware"]

    def device(firmware, outcome="confirmed", tags=None, online=True, **fields):
        made = Answering(otad, operator, firmware, outcome, tags={"test": tag, **(tags or {})}, **fields)
        devices.append(made)
        if online:
            assert made.connect(tls=False) == 0
        return made

    def make(count, outcome=lambda i: "confirmed", tags=lambda i: {}, **fields):
        old, new = image(), image("99999." + version())
        made = [device(old, outcome(i), tags(i), **fields) for i in range(count)]
        settle(made)
        return made, old, new

    def settle(made):
        for one in made:
            one.wait(lambda d: d["firmware_version"] == one.runs["version"])

    project, tag = "p" + secrets.token_hex(4), secrets.token_hex(4)
    make.tag, make.image, make.device, make.settle = tag, image, device, settle
    try:
        yield make
    finally:
        for device in devices:
            device.disconnect()


@pytest.fixture
def fleet(otad, operator):
    with fleet_of(otad, operator) as made:
        yield made


def together(function):
    """A test function(otad, operator, fleet) that runs at the same time as others of its module: they wait most of the
    time, each for rollouts of its own. The module needs the fixture `course`."""
    def test(course):
        course(function)
    test.__name__, test.__doc__, test.scenario = function.__name__, function.__doc__, function
    return test


@pytest.fixture(scope="module")
def course(request, otad, operator):
    def run(function):
        with fleet_of(otad, operator) as made:
            function(otad, operator, made)

    asked = [item.obj.scenario for item in request.session.items
             if item.module is request.module and hasattr(item.obj, "scenario")]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        running = {function: pool.submit(run, function) for function in asked}
        yield lambda function: running[function].result()
        pool.shutdown(cancel_futures=True)


def put(operator, name, source):
    answer = operator.client.put(f"/policies/{name}", json={"source": source, "message": "for a test"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def new_policy(operator, source):
    name = "t_" + secrets.token_hex(4)
    put(operator, name, source)
    return name


def roll(operator, fleet, policy, firmware, **more):
    answer = operator.client.post("/rollouts", json={
        "name": "test", "firmware_id": firmware["id"], "policy": policy, "target": {"tags": {"test": fleet.tag}}, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["rollout"]


def rollout(operator, made):
    return operator.client.get(f"/rollouts/{made['id']}").json()


def reaches(operator, made, state, timeout=40):
    return wait_for(lambda: (lambda r: r if r["state"] == state else None)(rollout(operator, made)), timeout)


def counts(operator, made, timeout=20, **expected):
    """Waits until the counts of the rollout are these, and returns all of it."""
    return wait_for(lambda: (lambda r: r if expected.items() <= r["counts"].items() else None)(rollout(operator, made)),
                    timeout)


def steer(operator, made, verb, reason=None):
    answer = operator.client.post(f"/rollouts/{made['id']}/{verb}", json={"reason": reason} if reason else {})
    assert answer.status_code == 200, answer.text
    return answer.json()["rollout"]


def explained(operator, device, made):
    """What GET /devices/:id/explain says of this rollout."""
    answer = operator.client.get(f"/devices/{device.id}/explain").json()
    return next(r for r in answer["rollouts"] if r["rollout_id"] == made["id"])


def updates(operator, device):
    return operator.client.get(f"/devices/{device.id}/updates").json()["items"]


def decisions(operator, made):
    return operator.client.get(f"/rollouts/{made['id']}/decisions?limit=200").json()["items"]


def put_again(operator, name, source):
    now = operator.client.get(f"/policies/{name}").json()["revision"]
    answer = operator.client.put(f"/policies/{name}", json={"source": source}, headers={"If-Match": now})
    assert answer.status_code == 200, answer.text


def history(otad, made, action="install"):
    """(device, from, to) of each update of the rollout, in seconds; one under way lasts."""
    rows = otad.psql(f"""select device_id, extract(epoch from created_at),
                                case when state in ('pending', 'offered', 'downloading', 'installing') then 'inf'
                                     else extract(epoch from updated_at)::float8 end
                         from updates where rollout_id = {made['id']} and action = '{action}' order by id""")
    return [(int(device), float(start), float(end)) for device, start, end in
            (row.split("|") for row in rows.splitlines())]


def most_at_once(spans):
    return max(sum(start <= at < end for _, start, end in spans) for _, at, _ in spans)
