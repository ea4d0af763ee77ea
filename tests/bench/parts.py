"""The measurements. Each runs its subjects in turn, round after round, so that what else the machine
does falls on all of them alike, and yields a table and the ratios that the targets are about.
"""
import dataclasses
import datetime
import hashlib
import json
import os
import select
import statistics
import subprocess
import time

from image import make_image
from lab import HERE, ROOT, Broken, call, cpu_seconds, fetch, free_port, listeners, memory_mib, sign_token, wait_until

DEVICES, PUBLISHERS = 100_000, 1_000
WINDOW = 16  # unacknowledged messages a device
IMAGE_SIZE = 1_300_000
DOWNLOADS = 16, 64  # at once


@dataclasses.dataclass
class Goal:
    """`values` is the ratio of each round; their median counts."""
    what: str
    values: list
    limit: float
    at_most: bool = False
    unit: str = ""

    @property
    def value(self):
        return statistics.median(self.values)

    @property
    def reached(self):
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclasses.dataclass
class Table:
    title: str
    rows: dict  # subject -> {column: number}
    goals: list


def median_row(runs):
    return {column: statistics.median(run[column] for run in runs) for column in runs[0]}


def ratios(runs, subject, base, column):
    return [a[column] / b[column] for a, b in zip(runs[subject], runs[base])]


def in_turn(names, rounds):
    """Each name once a round; a different one begins each round."""
    names = list(names)
    for i in range(rounds):
        yield from names[i % len(names):] + names[:i % len(names)]


def wrk(url, connections, seconds, token=None, ids=()):
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(HERE / "load.lua")]
    argv += ["-H", f"Authorization: Bearer {token}"] if token else []
    done = subprocess.run(argv + [url, "--"] + [str(i) for i in ids], capture_output=True, text=True)
    if done.returncode != 0:
        raise Broken(f"wrk {url}: {done.stdout}{done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    if result["errors"] or not result["requests"]:
        raise Broken(f"{url}: {result}")
    return result


def measured(pids, run):
    """A row of wrk's result and of what the subject used for it."""
    before = cpu_seconds(pids)
    result = run()
    used = cpu_seconds(pids) - before
    return {"requests/s": result["requests"] / result["seconds"], "MiB/s": result["bytes"] / result["seconds"] / 2**20,
            "p50 ms": result["p50_ms"], "p99 ms": result["p99_ms"], "CPU us/request": used / result["requests"] * 1e6}


# --- GET /devices/:id ---

def start_http(lab, services):
    """{name: (URL, token of the owner)} of every subject that runs."""
    key = lab.dir / "bench.key"
    key.write_bytes(os.urandom(32))
    token = sign_token(key.read_bytes(), services.owner)
    express = HERE / "express"
    if not (express / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=express, check=True)
    programs = {"bare": [lab.build / "bench-bare"], "express": ["node", express / "server.js"]}
    subjects = {}
    if services.otad_url:
        subjects["otad"] = services.otad_url, services.log_in("owner")
    for name, argv in programs.items():
        port = free_port()
        env = {"PORT": str(port), "BENCH_KEY_FILE": str(key), "DATABASE_URL": services.database_url,
               "WORKERS": str(os.cpu_count()), "NODE_ENV": "production"}
        lab.serve(name, argv, port, env)
        subjects[name] = f"http://127.0.0.1:{port}", token
    return subjects


def comparable(device):
    """A device with its times cut to milliseconds, which is what JavaScript keeps."""
    for name in ("last_seen", "created_at"):
        if device[name] is not None:
            device[name] = int(datetime.datetime.fromisoformat(device[name]).timestamp() * 1000)
    return device


def check_answers(services, subjects):
    """All subjects do the same work: same device, nobody else's, nothing without a good token."""
    answers = {}
    for name, (url, token) in subjects.items():
        device = f"{url}/devices/{services.first_device + 41}"
        answers[name] = comparable(call(device, "GET", 200, token=token))
        head, claims, signature = token.split(".")
        forged = f"{head}.{claims}.{signature[::-1]}"
        for other, expected, request in ((device, 401, {}), (device, 401, {"token": forged}),
                                         (f"{url}/devices/{services.foreign_device}", 404, {"token": token})):
            if (status := fetch(other, **request)[0]) != expected:
                raise Broken(f"{name}: {other} answers {status} instead of {expected}")
    first, *others = answers
    for other in others:
        if answers[other] != answers[first]:
            raise Broken(f"{first} and {other} differ: {answers[first]} and {answers[other]}")


def http(lab, services, options):
    subjects = start_http(lab, services)
    check_answers(services, subjects)
    pids = {name: listeners(int(url.rsplit(":", 1)[1])) for name, (url, _) in subjects.items()}
    tables = []

    def run(name, connections, seconds):
        url, token = subjects[name]
        return wrk(f"{url}/devices/", connections, seconds, token, (services.first_device, DEVICES))

    for connections in options.connections:
        for name in subjects:
            run(name, connections, 1)  # warm
        runs = {name: [] for name in subjects}
        for name in in_turn(subjects, options.rounds):
            runs[name].append(measured(pids[name], lambda: run(name, connections, options.seconds)))
        goals = [Goal("bare / express, requests/s", ratios(runs, "bare", "express", "requests/s"), 0)]
        if "otad" in subjects:
            goals = [Goal("otad / express, requests/s", ratios(runs, "otad", "express", "requests/s"), 20),
                     Goal("otad / bare, requests/s", ratios(runs, "otad", "bare", "requests/s"), 0.8),
                     Goal("otad / bare, p99", ratios(runs, "otad", "bare", "p99 ms"), 3, at_most=True)]
        rows = {name: median_row(runs[name]) for name in subjects}
        tables.append(Table(f"GET /devices/:id, JWT, {DEVICES:,} devices, {connections} connections", rows, goals))
    memory = {name: {"MiB": memory_mib(pids[name])} for name in subjects}
    goals = [Goal("otad", [memory["otad"]["MiB"]], 64, at_most=True, unit=" MiB")] if "otad" in subjects else []
    return tables + [Table("Resident memory after it", memory, goals)]


# --- status ingest ---

def read_line(process, what, seconds):
    if not select.select([process.stdout], [], [], seconds)[0]:
        raise Broken(f"{what}: nothing within {seconds} s; messages were lost")
    if not (line := process.stdout.readline()):
        raise Broken(f"{what} ended")
    return json.loads(line)


class Publisher:
    def __init__(self, lab, services, name, port, messages):
        self.process = lab.talk(f"publish-{name}", [lab.build / "bench-publish", "127.0.0.1", port, services.first_device,
                                                    PUBLISHERS, messages, WINDOW])
        self.pid, self.total = self.process.pid, PUBLISHERS * messages

    def publish(self, seq):
        """Starts a run; finish() ends it."""
        self.process.stdin.write(f"{seq}\n")
        self.process.stdin.flush()

    def finish(self):
        return read_line(self.process, "publisher", 300)


class Counting:
    """The yardstick: its own broker, and a subscriber that only counts."""

    def __init__(self, lab, services, messages):
        port, user, password = services.counting_broker()
        self.counter = lab.talk("count", [lab.build / "bench-count", f"tcp://127.0.0.1:{port}", user, password,
                                          PUBLISHERS * messages])
        self.publisher = Publisher(lab, services, "counting", port, messages)
        self.pids = {self.counter.pid}

    def until_taken(self, told):
        return read_line(self.counter, "counter", 300)["at"]


class Durable:
    """otad: a message counts once its value stands in PostgreSQL."""

    def __init__(self, lab, services, messages):
        self.services = services
        self.publisher = Publisher(lab, services, "otad", services.ports["MQTT"], messages)
        self.pids = listeners(services.ports["HTTP"])
        self.psql = subprocess.Popen(["psql", "-XAtq", "-d", services.database_url], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        lab.stack.callback(lab.end, self.psql, 15)

    def ask(self, query):
        self.psql.stdin.write(query + ";\n")
        self.psql.stdin.flush()
        return int(self.psql.stdout.readline())

    def until_taken(self, told):
        first = self.services.first_device
        behind = (f"select count(*) from devices where id between {first} and {first + PUBLISHERS - 1} and "
                  f"coalesce((telemetry->>'seq')::bigint, 0) <> {told['last_seq']}")
        try:
            wait_until(lambda: self.ask(behind) == 0, "ingest", 300, 0.02)
        except Broken:
            raise Broken(f"{self.ask(behind)} of {PUBLISHERS} devices lack their last message") from None
        return time.monotonic()

    def lost(self, total):
        """Of all messages, those that the history does not hold; it is written once its window has passed."""
        first = self.services.first_device
        held = (f"select coalesce(sum((fields->'seq'->>0)::bigint), 0) from telemetry "
                f"where device_id between {first} and {first + PUBLISHERS - 1} and fields ? 'seq'")
        end = time.monotonic() + 60
        while (lost := total - self.ask(held)) > 0 and time.monotonic() < end:
            time.sleep(1)
        return lost


def ingest(lab, services, options):
    subjects = {"counter": Counting(lab, services, options.messages)}
    if services.otad_url:
        subjects["otad"] = Durable(lab, services, options.messages)
    runs, seq = {name: [] for name in subjects}, 1
    for name in in_turn(subjects, options.rounds):
        subject = subjects[name]
        before = cpu_seconds(subject.pids), cpu_seconds({subject.publisher.pid})
        subject.publisher.publish(seq)
        told = subject.publisher.finish()
        taken = subject.until_taken(told)
        total = subject.publisher.total
        runs[name].append({
            "messages/s": total / (taken - told["started"]), "published/s": total / (told["ended"] - told["started"]),
            "CPU us/message": (cpu_seconds(subject.pids) - before[0]) / total * 1e6,
            "publisher's CPU us": (cpu_seconds({subject.publisher.pid}) - before[1]) / total * 1e6,
            "MiB": memory_mib(subject.pids)})
        seq = told["last_seq"] + 1
    goals = []
    if "otad" in subjects:
        sent = subjects["otad"].publisher.total * options.rounds
        goals = [Goal("otad / counter, messages/s", ratios(runs, "otad", "counter", "messages/s"), 0.8),
                 Goal(f"messages of {sent:,} lost", [subjects["otad"].lost(sent)], 0, at_most=True)]
    title = f"Status ingest, {PUBLISHERS:,} devices, {options.messages} messages each a round"
    return [Table(title, {name: median_row(runs[name]) for name in subjects}, goals)]


# --- downloads ---

def offer_image(services, image):
    """Uploads it, lets a device be updated to it and returns the URL of its offer."""
    url, token = services.otad_url, services.log_in("operator")
    firmware = call(f"{url}/firmware/upload", "POST", 201, token=token, body=image,
                    content_type="application/octet-stream")["firmware"]
    device = call(f"{url}/devices/register", "POST", 201, token=token,
                  body={"device_code": "bench-download", "chip": "esp32"})["device"]["id"]
    call(f"{url}/devices/{device}/update", "POST", 202, token=token, body={"firmware_id": firmware["id"]})
    payload = wait_until(lambda: services.psql(f"select payload from offers where device_id = {device}"), "offer")
    path = json.loads(json.loads(payload)["manifest"])["url"].split("/", 3)[3]
    return f"{url}/{path}"


def download(lab, services, options):
    image = make_image(IMAGE_SIZE)
    port, name = free_port(), hashlib.sha256(image).hexdigest() + ".bin"
    (lab.dir / "www").mkdir()
    (lab.dir / "www" / name).write_bytes(image)
    conf = (HERE / "nginx.conf").read_text().replace("@DIR@", str(lab.dir)).replace("@PORT@", str(port))
    (lab.dir / "nginx.conf").write_text(conf)
    lab.serve("nginx", ["nginx", "-p", lab.dir, "-e", "stderr", "-c", lab.dir / "nginx.conf"], port)
    subjects = {"nginx": f"http://127.0.0.1:{port}/{name}"}
    if services.otad_url:
        subjects["otad"] = offer_image(services, image)
    for url in subjects.values():
        if fetch(url) != (200, image):
            raise Broken(f"{url} does not give the image")
    pids = {name: listeners(int(url.split(":")[2].split("/")[0])) for name, url in subjects.items()}
    tables = []
    for connections in DOWNLOADS:
        runs = {name: [] for name in subjects}
        for name in in_turn(subjects, options.rounds):
            runs[name].append(measured(pids[name], lambda: wrk(subjects[name], connections, options.seconds)))
            runs[name][-1]["MiB"] = memory_mib(pids[name])
        goals = []
        if "otad" in subjects:
            goals = [Goal("otad / nginx, images/s", ratios(runs, "otad", "nginx", "requests/s"), 0.8)]
        rows = {name: median_row(runs[name]) for name in subjects}
        tables.append(Table(f"Whole images of {len(image):,} bytes, {connections} connections", rows, goals))
    return tables


def simulate(lab, services, options):
    """The command as an operator types it: the policies' process is its child, and counts."""
    runs = {"otad": []}
    command = [options.build / "otad", "simulate", "canary", "--devices", str(DEVICES), "--days", "1", "--json"]
    for seed in range(1, options.rounds + 1):
        began = time.monotonic()
        process = subprocess.Popen([*command, "--seed", str(seed)], cwd=ROOT, stdout=subprocess.PIPE)
        answer = json.load(process.stdout)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0 or answer["outcome"] != "completed":
            raise Broken(f"otad simulate ended with {process.returncode}: {answer}")
        runs["otad"].append({"seconds": time.monotonic() - began, "CPU seconds": used.ru_utime + used.ru_stime,
                             "MiB": used.ru_maxrss / 1024, "virtual hours": answer["at_s"] / 3600})
    goals = [Goal("seconds", [run["seconds"] for run in runs["otad"]], 10, True, " s"),
             Goal("memory", [run["MiB"] for run in runs["otad"]], 256, True, " MiB")]
    return [Table(f"A day of the policy canary, {DEVICES:,} devices", {"otad": median_row(runs["otad"])}, goals)]
