"""The laboratory of tests/bench: a temporary directory, free ports and the processes of one run.

Everything started here ends with the Lab, whatever happens. Two settings give the same interface:
PrivateServices brings up a PostgreSQL and a broker without otad, OtadServices has conf/up do it.
"""
import base64
import contextlib
import grp
import hashlib
import hmac
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_SECONDS = 60


class Broken(Exception):
    """Something does not work; what was measured would mean nothing."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(check, what, seconds=START_SECONDS, pause=0.1):
    end = time.monotonic() + seconds
    while not (result := check()):
        if time.monotonic() > end:
            raise Broken(f"{what}: not within {seconds} s")
        time.sleep(pause)
    return result


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def listeners(port):
    """Ids of the processes that listen on a TCP port."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            field = line.split()
            if field[3] == "0A" and int(field[1].rsplit(":", 1)[1], 16) == port:
                sockets.add(f"socket:[{field[9]}]")
    found = set()
    for fd in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(fd) in sockets:
                found.add(int(fd.parts[2]))
    return found


def memory_mib(pids):
    total = 0
    for pid in pids:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        total += int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)[1])
    return total / 1024


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        after_name = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(after_name[11]) + int(after_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def fetch(url, method="GET", token=None, body=None, content_type="application/json"):
    """(status, body as bytes); JSON goes out where `body` is not bytes."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = content_type
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def call(url, method, expected, **request):
    status, body = fetch(url, method, **request)
    if status != expected:
        raise Broken(f"{method} {url}: {status} instead of {expected}: {body[:300]!r}")
    return json.loads(body)


def sign_token(key, user, role="user"):
    """An access token as the contract has it, for the baselines."""
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")
    now = int(time.time())
    header = {"alg": "HS256", "typ": "JWT", "kid": hashlib.sha256(key).hexdigest()[:8]}
    claims = {"iss": "otad", "aud": "otad", "sub": str(user), "iat": now, "exp": now + 86400, "jti": os.urandom(16).hex(),
              "role": role, "sid": "7d4c1c4e-6a80-4d0e-9f5e-0d6f3f1f8a11"}
    signed = b".".join(part(json.dumps(o, separators=(",", ":")).encode()) for o in (header, claims))
    return (signed + b"." + part(hmac.new(key, signed, "sha256").digest())).decode()


class Lab:
    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="otad-bench-"))
        self.dir.chmod(0o755)  # PostgreSQL and the broker may run as other users
        self.stack = contextlib.ExitStack()
        self.stack.callback(shutil.rmtree, self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stack.close()

    def start(self, name, argv, env=None, ended_by=signal.SIGTERM, **options):
        """Starts a process whose errors go to NAME.log; it is ended with the lab."""
        log = self.stack.enter_context(open(self.dir / f"{name}.log", "wb"))
        process = subprocess.Popen([str(a) for a in argv], env=os.environ | (env or {}), stderr=log,
                                   stdout=options.pop("stdout", log), **options)
        self.stack.callback(self.end, process, ended_by)
        return process

    @staticmethod
    def end(process, how):
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, name):
        return (self.dir / f"{name}.log").read_text(errors="replace")[-2000:]

    def serve(self, name, argv, port, env=None):
        """Starts a server and waits for its port."""
        process = self.start(name, argv, env)

        def ready():
            if process.poll() is not None:
                raise Broken(f"{name} ended: {self.log(name)}")
            return listens(port)
        wait_until(ready, name)
        return process

    def talk(self, name, argv):
        """Starts a program that is spoken to by lines; returns it once it has printed "ready"."""
        process = self.start(name, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if process.stdout.readline() != "ready\n":
            process.wait(5)
            raise Broken(f"{name}: {self.log(name)}")
        return process


def run_as(user):
    """What makes a child run as `user` where we are root, which PostgreSQL refuses to serve."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(user)
    groups = [g.gr_gid for g in grp.getgrall() if user in g.gr_mem]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}


class Services:
    """Common to both settings: database_url, broker (port and arguments of the counter), owner's id."""

    def psql(self, *statements, file=None, **variables):
        argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.database_url]
        for name, value in variables.items():
            argv += ["-v", f"{name}={value}"]
        for statement in statements:
            argv += ["-c", statement]
        argv += ["-f", str(file)] if file else []
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode != 0:
            raise Broken(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    def seed(self, devices, publishers):
        """100,000 devices of the owner, and one of the operator's that the owner may not see."""
        self.psql(file=HERE / "seed.sql", user_id=self.owner, devices=devices, publishers=publishers)
        self.first_device = int(self.psql(f"select min(id) from devices where user_id = {self.owner}"))
        self.foreign_device = int(self.psql("insert into devices (user_id, device_code) values "
                                            f"({self.operator}, 'bench-foreign') returning id"))


class PrivateServices(Services):
    """A PostgreSQL and a broker of our own; no otad."""

    otad_url = None

    def __init__(self, lab):
        self.lab = lab
        programs = pathlib.Path(subprocess.check_output(["pg_config", "--bindir"], text=True).strip())
        who, data, port = run_as("postgres"), lab.dir / "pg", free_port()
        data.mkdir()
        if who:
            os.chown(data, who["user"], who["group"])
        subprocess.run([programs / "initdb", "-D", data, "-U", "otad", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"],
                       check=True, cwd="/", stdout=subprocess.DEVNULL, **who)
        lab.start("postgres", [programs / "postgres", "-D", data, "-p", port, "-k", data, "-h", "127.0.0.1"], cwd="/",
                  ended_by=signal.SIGINT, **who)
        self.database_url = f"postgresql://otad@127.0.0.1:{port}/postgres"
        wait_until(lambda: subprocess.run([programs / "pg_isready", "-q", "-d", self.database_url]).returncode == 0,
                   "PostgreSQL")
        for migration in sorted((ROOT / "sql/migrations").glob("*.sql")):
            self.psql(file=migration)
        accounts = "insert into users (email, password, role) values ('{0}@bench', '-', '{0}') returning id"
        self.operator = int(self.psql(accounts.format("operator")))
        self.owner = int(self.psql(accounts.format("user")))

    def counting_broker(self):
        port, conf = free_port(), self.lab.dir / "mosquitto.conf"
        conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
                        "max_queued_messages 0\nmax_inflight_messages 1000\nset_tcp_nodelay true\n"
                        f"{'user root' if os.geteuid() == 0 else ''}\n")
        self.lab.serve("mosquitto", ["mosquitto", "-c", conf], port)
        return port, "otad", "-"


class OtadServices(Services):
    """otad and its services by conf/up, on free ports and with data of their own."""

    accounts = {name: {"email": f"{name}@bench.example", "password": f"bench {name} password"}
                for name in ("operator", "owner")}

    def __init__(self, lab):
        self.lab = lab
        names = ("HTTP", "HTTPS", "MQTT", "MQTTS", "MQTT_WS", "PG", "REDIS")
        self.ports = {name: free_port() for name in names}
        self.var = lab.dir / "var"
        self.env = os.environ | {f"OTAD_{name}_PORT": str(port) for name, port in self.ports.items()} | {
            "OTAD_VAR": str(self.var), "OTAD_BUILD": str(lab.build), "OTAD_AUTH_ACCESS_TTL": "24h", "OTAD_POLICIES_SAVE": "false",
            "OTAD_DEVICE_OFFLINE_AFTER": "24h"}
        for name in ("PORT", "DATABASE_URL", "REDIS_URL", "MQTT_URL", "OTAD_PUBLIC_URL"):
            self.env.pop(name, None)
        lab.stack.callback(self.up, "--stop")
        if (done := self.up("--detach")).returncode != 0:
            raise Broken(f"conf/up: {done.stdout[-2000:]}")
        password = urllib.parse.quote((self.var / "keys/postgresql.password").read_text().strip())
        self.database_url = f"postgresql://otad:{password}@127.0.0.1:{self.ports['PG']}/otad"
        self.otad_url = f"http://127.0.0.1:{self.ports['HTTP']}"
        # The first account of an empty installation becomes operator.
        self.operator, self.owner = (
            call(f"{self.otad_url}/auth/register", "POST", 201, body=account)["user"]["id"]
            for account in self.accounts.values())

    def up(self, option):
        return subprocess.run([ROOT / "conf/up", option], env=self.env, text=True, cwd=ROOT, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def service(self, name, what):
        """Stops or starts one of them by itself."""
        done = subprocess.run([ROOT / "conf/up", "--service", name, what], env=self.env, text=True, cwd=ROOT,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise Broken(f"conf/up --service {name} {what}: {done.stdout[-2000:]}")

    def otad_pids(self):
        """The process that supervises; the one that serves and those of policies come from it."""
        return {int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
                for pid in listeners(self.ports["HTTP"])}

    def postgresql_pids(self):
        """The first process, which all others come from."""
        return {int((self.var / "postgresql/data/postmaster.pid").read_text().split()[0])}

    def log_in(self, name):
        return call(f"{self.otad_url}/auth/login", "POST", 200, body=self.accounts[name])["access_token"]

    def counting_broker(self):
        """otad's broker once more, with its configuration and plugin, but on other ports and without otad."""
        data = self.lab.dir / "counting"
        data.mkdir()
        ports = {str(port): str(free_port()) for port in self.ports.values()}
        text = (self.var / "run/mosquitto.conf").read_text()
        text = re.sub(r"^(listener )(\d+)", lambda m: m[1] + ports[m[2]], text, flags=re.M)
        text = re.sub(r"^persistence_location .*", f"persistence_location {data}/", text, flags=re.M)
        conf = self.lab.dir / "counting.conf"
        conf.touch(0o600)
        conf.write_text(text)
        port = int(ports[str(self.ports["MQTT"])])
        self.lab.serve("mosquitto", ["mosquitto", "-c", conf], port)
        return port, "otad", (self.var / "keys/mqtt.password").read_text().strip()
