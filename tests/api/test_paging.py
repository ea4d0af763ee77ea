"""Lists that change while somebody pages through them: what is there all the time is found, and nothing is found twice."""
import secrets

import pytest

from devices import Device

LIMIT, KEPT, GONE = 7, 40, 15
EARLIER = "now() - interval '{} seconds'"  # five rows of each time, so that pages end between rows of the same time


def at(n):
    return EARLIER.format(60 + n % 100 // 5)


class List:
    """Rows that are called by numbers: `insert` and `delete` (None: they are never removed) change them, `name` reads one's number."""

    def __init__(self, path, insert, delete, name, **query):
        self.path, self.insert, self.delete, self.name, self.query = path, insert, delete, name, query


def rows(template, numbers, **fields):
    return ", ".join(template.format(n=n, at=at(n), **fields) for n in numbers)


class Place:
    """Who has all these lists: an account, a device, a rollout, and a word that no other test uses."""

    def __init__(self, otad, operator):
        self.otad, self.account, self.mark = otad, operator, secrets.token_hex(5)
        self.device = Device(otad, operator, device_code=f"device-of-{self.mark}").id
        self.rollout = int(otad.psql(self.rollouts([-1]) + " returning id"))

    def rollouts(self, numbers):
        return "insert into rollouts (name, state, policy, plan, firmware) values " + rows(
            "('{mark}-{n}', 'completed', 'canary', '{{\"stages\": [{{\"name\": \"all\", \"share\": 1}}]}}', '{{}}')", numbers, mark=self.mark)

    def by_mark(self, text):
        return int(text.removeprefix(f"{self.mark}-")) if text.startswith(f"{self.mark}-") else None

    def listed(self, kind):
        return getattr(self, f"list_{kind}")()

    def list_devices(self):
        return List("/devices", lambda ns: "insert into devices (user_id, device_code, chip) values " + rows(
                        "({user}, '{mark}-{n}', 'esp32')", ns, user=self.account.id, mark=self.mark),
                    lambda ns: f"delete from devices where device_code in ({self.names(ns)})",
                    lambda item: self.by_mark(item["device_code"]), q=f"{self.mark}-")

    def list_devices_without_filter(self):
        found = self.list_devices()
        found.query = {}
        return found

    def list_devices_by_name(self):
        """The same rows without an index for the word."""
        found = self.list_devices()
        found.query = {"q": "-", "chip": "esp32"}
        return found

    def list_users(self):
        return List("/users", lambda ns: "insert into users (email, password) values " + rows(
                        "('{mark}-{n}', '-')", ns, mark=self.mark),
                    lambda ns: f"delete from users where email in ({self.names(ns)})", lambda item: self.by_mark(item["email"]),
                    q=f"{self.mark}-")

    def list_audit(self):
        return List("/audit", lambda ns: "insert into audit (at, via, action, kind, target_id, target_name) values " + rows(
                        "({at}, 'http', 'device.change', 'device', '{device}', '{mark}-{n}')", ns, device=self.device, mark=self.mark),
                    None, lambda item: self.by_mark(item["target"]["name"]), kind="device", id=str(self.device))

    def list_jobs(self):
        """Other tests' jobs among them are smaller."""
        return List("/jobs", lambda ns: "insert into jobs (action, filter, state, newest, total, created_by, operator, address, request_id) "
                                        "values " + rows("('tag', '{{}}', 'done', 0, 1000000 + {n}, {user}, true, '', '{mark}')", ns,
                                                         user=self.account.id, mark=self.mark),
                    lambda ns: f"delete from jobs where request_id = '{self.mark}' and total - 1000000 in ({self.numbers(ns)})",
                    lambda item: item["total"] - 1000000 if item["total"] >= 1000000 else None)

    def list_rollouts(self):
        return List("/rollouts", self.rollouts, lambda ns: f"delete from rollouts where name in ({self.names(ns)})",
                    lambda item: self.by_mark(item["name"]), state="completed")

    def updates(self, path, **query):
        return List(path, lambda ns: "insert into updates (device_id, rollout_id, version, state) values " + rows(
                        "({device}, {rollout}, '{n}', 'failed')", ns, device=self.device, rollout=self.rollout),
                    lambda ns: f"delete from updates where rollout_id = {self.rollout} and version::int in ({self.numbers(ns)})",
                    lambda item: int(item["version"]), **query)

    def list_rollout_devices(self):
        return self.updates(f"/rollouts/{self.rollout}/devices", state="failed")

    def list_device_updates(self):
        return self.updates(f"/devices/{self.device}/updates")

    def decisions(self, path, name, **query):
        return List(path, lambda ns: "insert into decisions (at, rollout_id, device_id, verdict, reason, policy) values " + rows(
                        "({at}, {rollout}, {device}, 'hold', '{n}', 'canary')", ns, device=self.device, rollout=self.rollout),
                    lambda ns: f"delete from decisions where rollout_id = {self.rollout} and reason::int in ({self.numbers(ns)})", name,
                    **query)

    def list_decisions(self):
        return self.decisions(f"/rollouts/{self.rollout}/decisions", lambda item: int(item["reason"]))

    def list_decisions_on_device(self):
        return self.decisions(f"/rollouts/{self.rollout}/decisions", lambda item: int(item["reason"]), device_id=self.device)

    def list_timeline(self):
        """Of two sources, at the same times."""
        decisions = self.decisions(f"/devices/{self.device}/timeline", None)

        def insert(ns):
            events = "insert into device_events (device_id, at, kind, data, nth) values " + rows(
                "({device}, {at}, 'firmware', '{{\"version\": \"{n}\"}}', 1)", [n for n in ns if n % 2], device=self.device)
            return f"{events}; {decisions.insert([n for n in ns if n % 2 == 0])}"

        def delete(ns):
            return (f"delete from device_events where device_id = {self.device} and (data->>'version')::int in ({self.numbers(ns)}); "
                    f"{decisions.delete(ns)}")

        def name(item):
            return int(item["data"].get("reason") or item["data"]["version"]) if item["kind"] in ("firmware", "decision") else None
        return List(decisions.path, insert, delete, name)

    def list_logs(self):
        return List(f"/devices/{self.device}/logs", lambda ns: "insert into device_logs (device_id, at, level, message) values " + rows(
                        "({device}, {at}, 'info', '{n}')", ns, device=self.device),
                    lambda ns: f"delete from device_logs where device_id = {self.device} and message::int in ({self.numbers(ns)})",
                    lambda item: int(item["message"]))

    def list_firmware(self):
        return List("/firmware/list", lambda ns: "insert into firmware (version, file_url, chip, project, size, sha256, elf_sha256, "
                                                 "secure_version, idf_version, min_chip_revision) values " + rows(
                        "('{mark}-{n}', '', 'esp32h4', 'paging', 0, '{mark}-{n}', '', 0, '', 0)", ns, mark=self.mark),
                    lambda ns: f"delete from firmware where version in ({self.names(ns)})",
                    lambda item: self.by_mark(item["version"]), chip="esp32h4")

    def list_revisions(self):
        return List("/policies/canary/revisions", lambda ns: "insert into policy_revisions (policy, revision, source, author, message, "
                                                             "created_at) values " + rows(
                        "('canary', md5('{mark}-{n}') || md5('{n}'), '', 'file', '{mark}-{n}', {at})", ns, mark=self.mark),
                    lambda ns: f"delete from policy_revisions where message in ({self.names(ns)})",
                    lambda item: self.by_mark(item["message"] or ""))

    def names(self, numbers):
        return ", ".join(f"'{self.mark}-{n}'" for n in numbers)

    @staticmethod
    def numbers(numbers):
        return ", ".join(map(str, numbers))


KINDS = [name.removeprefix("list_") for name in vars(Place) if name.startswith("list_")]


@pytest.fixture(scope="module")
def place(otad, operator):
    return Place(otad, operator)


def walk(account, listed, between):
    """Numbers of all rows, as pages bring them; `between` runs before each next page."""
    found, cursor = [], None
    while True:
        answer = account.client.get(listed.path, params={"limit": LIMIT, **listed.query} | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        found += [number for item in answer.json()["items"] if (number := listed.name(item)) is not None]
        cursor = answer.json()["next"]
        if cursor is None:
            return found
        between()


@pytest.mark.parametrize("kind", KINDS)
def test_pages_of_a_list_that_changes(otad, place, kind):
    listed = place.listed(kind)
    kept = range(KEPT)
    going = list(range(100, 100 + GONE)) if listed.delete else []
    coming = iter(range(200, 10000, 2))
    made = []
    mixed = sorted([*kept, *going], key=lambda n: (n % 100, n))
    otad.psql(listed.insert(mixed))

    def between():
        new = [n + i for n in (next(coming), next(coming)) for i in (0, 1)] if len(made) < 60 else []
        made.extend(new)
        gone = [going.pop() for _ in range(min(2, len(going)))]
        statements = ([listed.insert(new)] if new else []) + ([listed.delete(gone)] if gone else [])
        if statements:
            otad.psql("; ".join(statements))

    try:
        found = walk(place.account, listed, between)
        assert len(made) >= KEPT // LIMIT, "it changed meanwhile"
        assert len(found) == len(set(found)), f"twice: {sorted(n for n in found if found.count(n) > 1)}"
        assert set(kept) <= set(found), f"skipped: {sorted(set(kept) - set(found))}"
    finally:
        if listed.delete:
            otad.psql(listed.delete([*mixed, *made]))
