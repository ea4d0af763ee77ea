"""A running otad with services of its own, for tests: started by conf/up on free ports, in a directory of its own.

Owner: whoever calls start(); stop() ends it, checks that nothing is left running and that no sanitizer complained.
The build directory is that of OTAD_BUILD, as for conf/up itself. What a first start makes (a database, keys) is copied
from OTAD_TEMPLATE where that is given: `system.py DIRECTORY` makes one.
"""
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import httpx

from ports import free_ports
from psql import Psql

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("OTAD_BUILD") or ROOT / "build").resolve()
PROGRAM = BUILD / "otad"
PORTS = ("HTTP", "HTTPS", "MQTT", "MQTTS", "MQTT_WS", "PG", "REDIS")
COMPLAINT = re.compile(r"(ERROR|WARNING|SUMMARY): \w*Sanitizer|runtime error:|LeakSanitizer")
# Not to be taken over from the tester's own shell.
FOREIGN = re.compile(r"^(OTAD_(?!BUILD$).*|DATABASE_URL|REDIS_URL|MQTT_URL|PORT)(_FILE)?$")


def linked_with(binary, library):
    """Where the loader finds this library for a binary; "" if the binary does not want it."""
    listing = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
    found = re.search(rf"{library}\.so\S* => (\S+)", listing)
    return found.group(1) if found else ""


SANITIZED = bool(linked_with(PROGRAM, "libasan"))


def preload_for_plugin():
    """What must be loaded into Mosquitto first, since it was not built with the plugin's AddressSanitizer; "" if not."""
    runtime = linked_with(BUILD / "otad_auth.so", "libasan")
    if not runtime:
        return ""
    return f"{runtime}:{BUILD / 'otad_auth_preload.so'}"


class System:
    host = "localhost"
    body_budget = 128 << 20  # http.body_budget of conf/otad.lua

    def __init__(self, **settings):
        """settings: further environment, such as OTAD_DEVICE_OFFLINE_AFTER="3s"; OTAD_TEMPLATE="": a first start."""
        self.template = settings.pop("OTAD_TEMPLATE", os.environ.get("OTAD_TEMPLATE"))
        self.var = pathlib.Path(tempfile.mkdtemp(prefix="otad-test-"))
        self.scripts = shutil.copytree(ROOT / "scripts", self.var / "scripts")  # otad writes policies there
        ports = dict(zip(PORTS, free_ports(len(PORTS))))
        self.http_port, self.https_port = ports["HTTP"], ports["HTTPS"]
        self.mqtt_port, self.mqtts_port, self.ws_port = ports["MQTT"], ports["MQTTS"], ports["MQTT_WS"]
        self.pg_port, self.redis_port = ports["PG"], ports["REDIS"]
        self.url = f"http://{self.host}:{self.http_port}"
        self.https_url = f"https://{self.host}:{self.https_port}"
        # By how much a sanitized program may miss bounds on time and memory.
        self.slack = 8 if SANITIZED else 1
        self.ca = self.var / "certs/ca.pem"
        self.log_path = self.var / "log/otad.log"
        self.sessions = Psql(lambda: self.database_url)
        self.environ = {k: v for k, v in os.environ.items() if not FOREIGN.match(k)}
        self.environ.update({f"OTAD_{name}_PORT": str(port) for name, port in ports.items()})
        self.environ.update(OTAD_VAR=str(self.var), OTAD_SCRIPTS=str(self.scripts), OTAD_MOSQUITTO_PRELOAD=preload_for_plugin())
        self.environ.update({"OTAD_AUTH_MAX_REGISTRATIONS": "100000",  # all accounts of tests are ours
                             # The console, built or not, is for tests/console.
                             "OTAD_CONSOLE": "off", "OTAD_CONSOLE_DIR": str(self.var / "none")} | settings)

    def up(self, *arguments, timeout=150):
        """conf/up with these arguments; returns what it printed."""
        done = subprocess.run([ROOT / "conf/up", *arguments], env=self.environ, timeout=timeout, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise RuntimeError(f"conf/up {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def start(self):
        if self.template:
            subprocess.run(["cp", "-a", f"{self.template}/.", self.var], check=True)
        self.up("--detach", timeout=600)
        return self

    def stop(self, keep=False):
        self.sessions.close()
        self.up("--stop")
        with open(self.var / "run/lock") as lock:  # inherited by every process conf/up starts
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        complaints = self.complaints()
        if not keep and not complaints:
            place = self.var / "postgresql"
            shutil.rmtree(place.resolve(), ignore_errors=True)  # may be a link out of var
            shutil.rmtree(self.var, ignore_errors=True)
        assert not complaints, f"see {self.var}/log:\n" + "\n".join(complaints)

    def complaints(self):
        """Lines of sanitizers in any log."""
        found = []
        for path in sorted((self.var / "log").iterdir()):
            for line in path.read_text(errors="replace").splitlines():
                if COMPLAINT.search(line):
                    found.append(f"{path.name}: {line}")
        return found

    def service(self, name, action):
        """Stops or starts one of postgresql, redis, mosquitto, otad; returns when that is done."""
        self.up("--service", name, action)

    def ready(self):
        """Does /readyz say so?"""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def service_pid(self, name):
        return int((self.var / f"run/{name}.pid").read_text())

    @property
    def pid(self):
        """The process that serves: the child, where `otad serve` watches over one."""
        parent = self.service_pid("otad")
        children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(children[0]) if children else parent

    @property
    def database_url(self):
        return (self.var / "keys/database.url").read_text().strip()

    @property
    def redis_url(self):
        return (self.var / "keys/redis.url").read_text().strip()

    def psql(self, sql):
        """Runs statements; returns rows as text, columns split by |."""
        return self.sessions.run(sql)

    def environment(self):
        """What conf/up gave the running otad; for its command line, or another instance beside it."""
        entries = pathlib.Path(f"/proc/{self.service_pid('otad')}/environ").read_bytes().split(b"\0")
        return dict(entry.decode().split("=", 1) for entry in entries if b"=" in entry)

    def cli(self, *arguments, check=True, **options):
        """build/otad with these arguments, against this system."""
        done = subprocess.run([PROGRAM, *map(str, arguments)], env=self.environment(), cwd=ROOT, text=True,
                              capture_output=True, timeout=120, **options)
        assert not check or done.returncode == 0, f"otad {arguments} ended with {done.returncode}: {done.stderr}"
        return done

    def log_tail(self, lines=50):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


def make_template(directory):
    system = System(OTAD_TEMPLATE="")
    system.start().stop(keep=True)
    shutil.rmtree(system.scripts)
    for name in ("log", "run"):
        shutil.rmtree(system.var / name)
    os.rename(system.var, directory)


if __name__ == "__main__":
    make_template(sys.argv[1])
