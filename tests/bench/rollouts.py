"""What rollouts cost: offers a second to a whole fleet, one that has nothing to do, and one call of a policy.

Everything goes the way it does in service: a policy that was PUT, the process of policies, PostgreSQL, and retained
messages in Mosquitto, which has acknowledged what counts as published.
"""
import contextlib
import http.client
import json
import os
import pathlib
import random
import socket
import statistics
import struct
import subprocess
import threading
import time
import urllib.parse

from image import make_image
from lab import ROOT, Broken, call, listeners, wait_until
from parts import DEVICES, Goal, Table, in_turn, median_row, ratios

EDGE = 20_000      # offers at both ends of a rollout whose rates are compared
PAYLOAD = 1200     # bytes of an offer, about
WINDOW = 32        # unacknowledged publications of the floor, as of otad
HEARTBEATS = DEVICES / 60  # a second: each device one a minute

CONDITIONS = 'local conditions = require "lib.policy.conditions"\n'
BATTERY_AND_WIFI = CONDITIONS + "return { concurrency = 1000000, " \
    "admit = conditions.all { conditions.battery(50), conditions.wifi(-75) } }"
DONE = 'return { stages = { { name = "first", share = 0.01, soak = "1d" }, { name = "all", share = 1 } },\n' \
       '  admit = function() return "skip", "not for the bench" end }'
HELD = 'return { admit = function(device)\n' \
       '  if device.telemetry.battery < 90 then return "hold", "battery below 90 %" end return "offer" end }'


class Rollouts:
    """The fleet and the image of the bench; makes rollouts and ends them."""

    def __init__(self, services):
        self.services, self.url, self.made = services, services.otad_url, 0
        self.firmware = call(f"{self.url}/firmware/upload", "POST", 201, token=self.token(),
                             body=make_image(65536, "1.4.0"), content_type="application/octet-stream")["firmware"]["id"]
        services.psql("update devices set status = 'online', last_seen = now(), telemetry = '{\"battery\": 80, \"rssi\": -60, \"heap\": 180000, "
                      "\"uptime\": 3600, \"reset_reason\": \"power_on\"}'", "vacuum analyze devices")

    def token(self):
        if not hasattr(self, "_token"):
            self._token = self.services.log_in("operator")
        return self._token

    def make(self, name, source):
        """(rollout's id, seconds that POST /rollouts took)"""
        self.made += 1
        name = f"{name}_{self.made}"
        call(f"{self.url}/policies/{name}", "PUT", 201, token=self.token(), body={"source": source})
        began = time.monotonic()
        made = call(f"{self.url}/rollouts", "POST", 201, token=self.token(), body={
            "name": name, "firmware_id": self.firmware, "policy": name})["rollout"]
        return made["id"], time.monotonic() - began

    def counts(self, rollout):
        return call(f"{self.url}/rollouts/{rollout}", "GET", 200, token=self.token())["counts"]

    def abort(self, rollout):
        """Seconds until nothing of it stands any more. Then all is as it was."""
        began = time.monotonic()
        call(f"{self.url}/rollouts/{rollout}/abort", "POST", 200, token=self.token(), body={})
        standing = "select count(*) from offers"
        wait_until(lambda: self.services.psql(standing) == "0", "clearing the offers", 120, 0.2)
        took = time.monotonic() - began
        left = self.services.psql("select count(*) from updates where state in ('pending', 'offered')")
        if left != "0":
            raise Broken(f"{left} updates are left of an aborted rollout")
        return took


class Probe(threading.Thread):
    """Asks for a device every few milliseconds; what it waited is told as p99."""

    def __init__(self, rollouts):
        super().__init__(daemon=True)
        where = urllib.parse.urlsplit(rollouts.url)
        self.connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
        self.headers = {"Authorization": f"Bearer {rollouts.token()}"}
        self.device, self.took, self.problem, self.done = rollouts.services.first_device, [], None, threading.Event()

    def run(self):
        try:
            while not self.done.wait(0.005):
                began = time.monotonic()
                self.connection.request("GET", f"/devices/{self.device}", headers=self.headers)
                answer = self.connection.getresponse()
                answer.read()
                if answer.status != 200:
                    raise Broken(f"GET /devices/:id: {answer.status}")
                self.took.append((time.monotonic() - began) * 1000)
        except (Broken, OSError, http.client.HTTPException) as error:
            self.problem = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.done.set()
        self.join()

    def result(self):
        if self.problem:
            raise Broken(f"while the rollout ran: {self.problem}")
        return {"HTTP p99 ms": statistics.quantiles(self.took, n=100)[98], "HTTP max ms": max(self.took)}


def family(pids):
    """These processes and all that come from them."""
    parents = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def used_seconds(pids):
    """Processor time of the processes and of children that ended: a parent inherits what they used."""
    ticks = 0
    for pid in family(pids):
        with contextlib.suppress(OSError):
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(int(n) for n in stat[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


# --- offers a second ---

class Watch:
    """One session that looks how far it is: sequences count the updates that entered a state, and cost nothing."""

    def __init__(self, lab, services):
        self.psql = subprocess.Popen(["psql", "-XAtq", "-F", " ", "-d", services.database_url], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        lab.stack.callback(lab.end, self.psql, 15)

    def look(self):
        """(made, published) since the beginning of time"""
        self.psql.stdin.write("select p.last_value - (not p.is_called)::int, o.last_value - (not o.is_called)::int "
                              "from updates_entered_pending p, updates_entered_offered o;\n")
        self.psql.stdin.flush()
        return [int(n) for n in self.psql.stdout.readline().split()]

    def until(self, made, published, seconds=180):
        """[(time, published)] until so many are; the first is when the first was decided."""
        seen, end = [], time.monotonic() + seconds
        while not seen or seen[-1][1] < DEVICES:
            at, (now_made, now_published) = time.monotonic(), self.look()
            if seen or now_made > made:
                seen.append((at, now_published - published))
            if at > end:
                raise Broken(f"{now_made - made} made and {now_published - published} published in {seconds} s")
            time.sleep(0.02)
        return seen


def rate(seen, first, last):
    """Offers a second between the first-th and the last-th."""
    at = {n: next(t for t, published in seen if published >= n) for n in (first, last)}
    return (last - first) / max(at[last] - at[first], 1e-3)


def run_offers(rollouts, watch, pids):
    before, used = watch.look(), {name: used_seconds(these) for name, these in pids.items()}
    with Probe(rollouts) as probe:
        rollout, create = rollouts.make("bench_offers", BATTERY_AND_WIFI)
        seen = watch.until(*before)
    cpu = {f"{name} us": (used_seconds(these) - used[name]) / DEVICES * 1e6 for name, these in pids.items()}
    counts = rollouts.counts(rollout)
    dead = rollouts.services.psql("select coalesce(sum(n_dead_tup), 0) from pg_stat_user_tables "
                                  "where relname in ('updates', 'offers', 'rollout_devices')")
    stood = rollouts.services.psql("select count(*) from offers where published_at is not null and payload <> ''")
    if counts["under_way"] != DEVICES or int(stood) != DEVICES:
        raise Broken(f"{stood} offers stand, and {counts} of {DEVICES}")
    return rollout, {"offers/s": DEVICES / (seen[-1][0] - seen[0][0]), "first 20,000/s": rate(seen, 0, EDGE),
                     "last 20,000/s": rate(seen, DEVICES - EDGE, DEVICES), **cpu, "POST s": create,
                     "dead rows": int(dead), **probe.result()}


# The rows of a rollout once more, 500 of each a transaction: tables with the same indexes, without triggers.
PLAIN = """do $$
declare
  ids int[];
  done int := 0;
begin
  loop
    ids := array(select device_id from updates where rollout_id = {rollout} and id > done order by id limit 500);
    exit when cardinality(ids) = 0;
    done := (select max(id) from updates where rollout_id = {rollout} and device_id = any (ids));
    insert into bench_updates select * from updates where rollout_id = {rollout} and device_id = any (ids);
    insert into bench_offers select * from offers where device_id = any (ids);
    insert into bench_decisions select * from decisions where rollout_id = {rollout} and device_id = any (ids);
    commit;
  end loop;
end $$"""
COPIES = "updates", "offers", "decisions"


def run_floor(lab, rollouts, rollout, broker):
    """The same rows and messages by nobody in particular, both at once: offers a second."""
    services, (port, user, password) = rollouts.services, broker
    services.psql(*(f"create table bench_{name} (like {name} including all excluding identity)" for name in COPIES),
                  "analyze updates, offers, decisions")
    psql = subprocess.Popen(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", services.database_url, "-c",
                             PLAIN.format(devices=DEVICES, rollout=rollout)])
    began = time.monotonic()
    publisher = subprocess.Popen([lab.build / "bench-retain", f"tcp://127.0.0.1:{port}", user, password,
                                  str(services.first_device), str(DEVICES), str(PAYLOAD), str(WINDOW)],
                                 stdout=subprocess.PIPE, text=True)
    if not (line := publisher.communicate()[0]):
        raise Broken("bench-retain ended")
    published = json.loads(line)["seconds"]
    psql.wait()
    stored = time.monotonic() - began
    rows = [services.psql(f"select count(*) from bench_{name}") for name in COPIES]
    services.psql(*(f"drop table bench_{name}" for name in COPIES))
    if psql.returncode or any(int(n) != DEVICES for n in rows):
        raise Broken(f"the floor has {rows} rows")
    return {"offers/s": DEVICES / max(stored, published), "inserted/s": DEVICES / stored, "published/s": DEVICES / published}


def offers(lab, services, options):
    rollouts, watch, broker = Rollouts(services), Watch(lab, services), services.counting_broker()
    pids = {"otad": services.otad_pids(), "SQL": services.postgresql_pids(), "MQTT": listeners(services.ports["MQTT"])}
    runs = {"otad": [], "floor": []}
    for _ in range(options.rounds):
        rollout, row = run_offers(rollouts, watch, pids)
        runs["floor"].append(run_floor(lab, rollouts, rollout, broker))
        runs["otad"].append({**row, "abort s": rollouts.abort(rollout)})
    goals = [Goal("offers/s", [run["offers/s"] for run in runs["otad"]], 5000),
             Goal("last 20,000 / first 20,000", [a["last 20,000/s"] / a["first 20,000/s"] for a in runs["otad"]], 0.9),
             Goal("otad / floor", ratios(runs, "otad", "floor", "offers/s"), 0)]
    title = f"One rollout to {DEVICES:,} devices: decided, recorded, published"
    return [Table(title, {"otad": median_row(runs["otad"])}, goals[:2]),
            Table("The same rows and messages by psql and Paho", {"floor": median_row(runs["floor"])}, goals[2:])]


# --- a rollout with nothing to do ---

class Heart(threading.Thread):
    """Plays all devices over one connection to a broker without rules: each tells its status once a minute."""

    def __init__(self, port, first):
        super().__init__(daemon=True)
        self.first, self.sent, self.done, self.problem = first, 0, threading.Event(), None
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(b"\x10\x16\x00\x04MQTT\x04\x02\x00\x00\x00\x0abench-beat")
        if self.socket.recv(4) != b"\x20\x02\x00\x00":
            raise Broken("the open broker refuses")
        self.draw = random.Random(1)
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        with contextlib.suppress(OSError):
            while self.socket.recv(65536):
                pass

    def sender(self, n):
        """Who says the n-th: id, chip and version."""
        return self.first + n % DEVICES, "esp32", "1.2.0"

    def message(self, n):
        device, chip, version = self.sender(n)
        body = json.dumps({"status": "online", "session": "bench", "firmware_version": version, "chip": chip,
                           "uptime": n, "rssi": self.draw.randint(-70, -50), "heap": 180000 + n % 4096, "battery": 80,
                           "reset_reason": "power_on"}).encode()
        topic = f"device/{device}/status".encode()
        rest = struct.pack(">H", len(topic)) + topic + struct.pack(">H", n % 65535 + 1) + body
        return bytes([0x32, len(rest) % 128 | 128, len(rest) // 128]) + rest

    def send(self, count):
        self.socket.sendall(b"".join(self.message(self.sent + i) for i in range(count)))
        self.sent += count

    def run(self):
        began, before = time.monotonic(), self.sent
        try:
            while not self.done.wait(0.1):
                self.send(int((time.monotonic() - began) * HEARTBEATS) - (self.sent - before))
        except OSError as error:
            self.problem = error

    def stop(self):
        self.done.set()
        self.join()
        self.socket.close()
        if self.problem:
            raise Broken(f"heartbeats: {self.problem}")


def open_broker(lab, services):
    """Takes the place of otad's broker: the same port, but anybody may say anything. Nobody counts what it costs."""
    services.service("mosquitto", "stop")
    conf = lab.dir / "open.conf"
    conf.write_text(f"listener {services.ports['MQTT']} 127.0.0.1\nallow_anonymous true\npersistence false\n"
                    f"max_queued_messages 0\n{'user root' if os.geteuid() == 0 else ''}\n")
    lab.serve("open", ["mosquitto", "-c", conf], services.ports["MQTT"])


def all_seen(services):
    first = services.first_device
    return services.psql(f"select count(*) from devices where id between {first} and {first + DEVICES - 1} and "
                         "status = 'online' and last_seen > now() - interval '70 seconds'") == str(DEVICES)


def settle_held(rollouts):
    """A rollout that holds all its devices, as it is after hours: each is asked again within its quarter of an hour."""
    rollout, _ = rollouts.make("bench_held", HELD)
    wait_until(lambda: rollouts.counts(rollout)["held"] == DEVICES, "holding all devices", 120, 0.5)
    rollouts.services.psql("update rollout_devices set asked = 10, ask_at = now() + random() * interval '15 minutes' "
                           f"where rollout_id = {rollout}", "vacuum analyze rollout_devices")
    return rollout


def settle_done(rollouts):
    """A rollout whose first stage is done and soaks."""
    rollout, _ = rollouts.make("bench_done", DONE)
    wait_until(lambda: rollouts.counts(rollout)["skipped"] >= DEVICES // 100, "the first stage", 60, 0.2)
    return rollout


def percent(pids, seconds):
    """A row of processor time, in percent of one core."""
    before, began = {name: used_seconds(these) for name, these in pids.items()}, time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    row = {f"{name} %": 100 * (used_seconds(these) - before[name]) / passed for name, these in pids.items()}
    return {**row, "all %": sum(row.values())}


def idle(lab, services, options):
    rollouts, pids = Rollouts(services), {"otad": services.otad_pids(), "PostgreSQL": services.postgresql_pids()}
    kinds = {"no rollout": None, "nothing due": settle_done, "all held": settle_held}
    tables = []

    def measure(title, base):
        runs = {}
        for name, settle in kinds.items():
            rollout = settle and settle(rollouts)
            time.sleep(5)
            runs[name] = [percent(pids, options.idle_seconds) for _ in range(options.rounds)]
            if rollout:
                rollouts.abort(rollout)
        least = [run["all %"] for run in runs["no rollout"]] if base else [0.0] * options.rounds
        what = "more than without" if base else "of a core"
        goals = [Goal(f"{name}, {what}", [run["all %"] - statistics.median(least) for run in runs[name]], 2, True, " %")
                 for name in ("nothing due", "all held")]
        tables.append(Table(title, {name: median_row(rows) for name, rows in runs.items()}, goals))

    quiet = f"Processor time of otad, its policies and PostgreSQL, {DEVICES:,} devices in a rollout"
    measure(quiet, False)
    open_broker(lab, services)
    heart = Heart(services.ports["MQTT"], services.first_device)
    for _ in range(DEVICES // 2000):
        heart.send(2000)
        time.sleep(0.4)
    heart.start()
    wait_until(lambda: all_seen(services), "heartbeats", 60, 1)
    measure(f"{quiet}, and {HEARTBEATS:,.0f} heartbeats a second", True)
    heart.stop()
    return tables


# --- one call ---

def policy(lab, services, options):
    """bench-policy's medians, call by call in the process and in batches of 500 by way of the other."""
    runs = {"canary": [], "battery_and_wifi": [], "night_window": []}
    for name in in_turn(runs, options.rounds):
        found = json.loads(subprocess.check_output([lab.build / "bench-policy", ROOT / "scripts", name]))
        runs[name].append({"call": found["call_us"]["median"], "of a batch": found["of_batch_us"]["median"],
                           "alone": found["alone_us"]["median"]})
    goals = [Goal(f"{name}, {way}", [run[way] for run in rows], 5, True, " us")
             for name, rows in runs.items() for way in ("call", "of a batch")]
    return [Table("One call of a policy, us", {name: median_row(rows) for name, rows in runs.items()}, goals)]
