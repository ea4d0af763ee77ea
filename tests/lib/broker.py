"""Private PostgreSQL, Redis and Mosquitto (with otad's plugin) on free ports, in one temporary directory.

Other than `system.System` this is the broker alone, whose services tests can stop, freeze and replace. Run as
root, the services run as the user `postgres`, since PostgreSQL refuses root. The plugin is OTAD_BUILD's (default:
build/). If it was built with AddressSanitizer, Mosquitto gets the run-time by LD_PRELOAD, and stop() fails on
anything it reported.
"""
import atexit
import functools
import hashlib
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from ports import free_port
from psql import PSQL

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("OTAD_BUILD", ROOT / "build"))
PG_BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
SERVICE_USER = "postgres"


def wait_until(condition, timeout=10.0, what="condition"):
    """`timeout`: seconds of an idle machine; a busy one gets more."""
    end = time.monotonic() + 4 * timeout
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {timeout} s")


def listening(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def as_service_user(command):
    if os.geteuid() != 0:
        return [str(c) for c in command]
    return ["setpriv", f"--reuid={SERVICE_USER}", f"--regid={SERVICE_USER}", "--init-groups"] + [str(c) for c in command]


def service_directory(purpose="services"):
    """A new directory that the services may write to."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"otad-{purpose}-"))
    directory.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(directory, SERVICE_USER)
    return directory


@functools.cache
def prepared_data():
    """What a server begins with that has otad's tables in the database `broker`: made once, as that takes seconds."""
    directory = service_directory("prepared")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    server = Postgres(directory, prepared=False)
    try:
        server.sql("create database broker", database="postgres")
        files = sorted((ROOT / "sql/migrations").glob("*.sql"))
        subprocess.run([PSQL, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.url, *(f"--file={file}" for file in files)],
                       check=True, stdout=subprocess.DEVNULL)
    finally:
        server.stop()
    return server.data


class Postgres:
    def __init__(self, directory, prepared=True):
        self.data = directory / "pg"
        self.socket_dir = directory
        self.port = free_port()
        self.log = directory / "pg.log"
        self.process = None
        make = ["cp", "-a", prepared_data(), self.data] if prepared else \
            [PG_BIN / "initdb", "-D", self.data, "-U", "otad", "-A", "trust", "--no-sync"]
        subprocess.run(as_service_user(make), check=True, stdout=subprocess.DEVNULL)
        self.start()

    @property
    def url(self):
        return f"postgresql://otad@127.0.0.1:{self.port}/broker"

    def start(self, port=None):
        port = port or self.port
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                as_service_user([PG_BIN / "postgres", "-D", self.data, "-p", port, "-k", self.socket_dir,
                                 "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]), stdout=log, stderr=log)
        wait_until(lambda: subprocess.run(
            [PG_BIN / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0, what="PostgreSQL up")

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGINT)  # fast shutdown
            self.process.wait(30)
            self.process = None

    def processes(self):
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout
        return [int(pid) for pid in children.split()] + [self.process.pid]

    def freeze(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGCONT)

    def sql(self, text, port=None, database="broker"):
        done = subprocess.run(
            [PSQL, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port or self.port),
             "-U", "otad", "-d", database], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class Redis:
    def __init__(self, directory):
        self.directory = directory
        self.port = free_port()
        self.process = None
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self):
        with open(self.directory / "redis.log", "ab") as log:
            self.process = subprocess.Popen(
                as_service_user(["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "",
                                 "--dir", self.directory]), stdout=log, stderr=log)
        wait_until(lambda: listening(self.port), what="Redis up")

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def command(self, *words):
        return subprocess.run(["redis-cli", "-p", str(self.port)] + [str(w) for w in words],
                              capture_output=True, text=True, timeout=10).stdout.strip()


class Mosquitto:
    """From conf/mosquitto.conf, as conf/up would run it. `options`: more options of the plugin."""

    def __init__(self, directory, database_url, redis_url, options=None, run_as_root=False):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="mosquitto-", dir=directory))
        self.run_as_root = run_as_root
        self.port, self.tls_port, self.ws_port = free_port(), free_port(), free_port()
        self.password = secrets.token_urlsafe(32)
        self.password_file = self.directory / "otad.password"
        self.cert, self.key = self.directory / "cert.pem", self.directory / "key.pem"
        self.log = self.directory / "log"
        self.conf = self.directory / "mosquitto.conf"
        self.user = "mosquitto" if run_as_root else SERVICE_USER
        self.process = None
        self.plugin = self.directory / "otad_auth.so"
        for library in BUILD.glob("otad_auth*.so"):  # to where any user can read it
            shutil.copy(library, self.directory)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-days", "2", "-keyout", self.key, "-out", self.cert], check=True, stderr=subprocess.DEVNULL)
        self.password_file.write_text(self.password + "\n")
        self.password_file.chmod(0o600)
        (self.directory / "data").mkdir()
        values = {"MQTT_PORT": self.port, "MQTTS_PORT": self.tls_port, "MQTT_WS_PORT": self.ws_port,
                  "MQTT_DEV_ADDRESS": "127.0.0.1", "MQTT_USER": self.user, "MQTT_DATA": f"{self.directory}/data/",
                  "TLS_CERT": self.cert, "TLS_KEY": self.key, "AUTH_PLUGIN": self.plugin, "DATABASE_URL": database_url,
                  "REDIS_URL": redis_url, "SERVER_PASSWORD_FILE": self.password_file}
        text = re.sub(r"^(#.*)$", "", (ROOT / "conf/mosquitto.conf").read_text(), flags=re.M)
        text = re.sub(r"@([A-Z_]+)@", lambda m: str(values[m.group(1)]), text)
        extra = "".join(f"plugin_opt_{name} {value}\n" for name, value in (options or {}).items())
        anchor = "plugin_opt_server_password_file"
        self.conf.write_text(text.replace(anchor, extra + anchor))
        self.conf.chmod(0o600)
        if os.geteuid() == 0:
            for path in [self.directory, *self.directory.iterdir()]:
                shutil.chown(path, self.user, pwd.getpwnam(self.user).pw_gid)

    def environment(self):
        libraries = subprocess.run(["ldd", self.plugin], capture_output=True, text=True).stdout
        found = re.search(r"libasan\.so\S* => (\S+)", libraries)
        if not found:
            return dict(os.environ)
        return dict(os.environ, LD_PRELOAD=f"{found.group(1)}:{self.directory}/otad_auth_preload.so", ASAN_OPTIONS="detect_leaks=0:abort_on_error=1",
                    UBSAN_OPTIONS="print_stacktrace=1")

    def spawn(self):
        command = ["mosquitto", "-c", str(self.conf)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command if self.run_as_root else as_service_user(command),
                                            stdout=log, stderr=log, env=self.environment())

    def start(self):
        self.spawn()
        wait_until(lambda: self.process.poll() is not None or (listening(self.port) and self.catches_sigterm()),
                   what="Mosquitto up")
        assert self.process.poll() is None, self.text()
        return self

    def catches_sigterm(self):
        """It listens a moment before it sets up its signal handlers."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"SigCgt:\s*(\w+)", status).group(1), 16) >> (signal.SIGTERM - 1) & 1

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            self.process = None
        text = self.text()
        assert "AddressSanitizer" not in text and "runtime error" not in text, text
        assert code == 0, (code, text)

    def text(self):
        return self.log.read_text(errors="replace")


class Broker:
    """All three, and the devices in them."""

    def __init__(self, options=None):
        assert (BUILD / "otad_auth.so").exists(), f"{BUILD}/otad_auth.so is not built"
        self.directory = service_directory("broker")
        self.passwords = {}
        self.mosquitto = self.redis = self.pg = None
        try:
            self.pg = Postgres(self.directory)
            self.redis = Redis(self.directory)
            self.mosquitto = Mosquitto(self.directory, self.pg.url, self.redis.url, options)
            self.mosquitto.start()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        try:
            if self.mosquitto:
                self.mosquitto.stop()
        finally:
            for service in (self.redis, self.pg):
                if service:
                    service.stop()
            shutil.rmtree(self.directory)

    def register(self, count=1):
        """New devices, as otad would write them; their ids, or the one."""
        passwords = [secrets.token_urlsafe(32) for _ in range(count)]
        values = ", ".join(f"('{secrets.token_hex(12)}', '{hashlib.sha256(p.encode()).hexdigest()}')" for p in passwords)
        rows = self.pg.sql(f"""
            with given(code, hash) as (values {values}),
            made as (insert into devices (device_code) select code from given returning id, device_code)
            insert into device_credentials (device_id, password_sha256)
            select id, decode(hash, 'hex') from made join given on code = device_code
            returning device_id, encode(password_sha256, 'hex')""").split("\n")
        by_hash = {hashlib.sha256(p.encode()).hexdigest(): p for p in passwords}
        ids = []
        for row in rows:
            device, digest = row.split("|")
            self.passwords[int(device)] = by_hash[digest]
            ids.append(int(device))
        return ids[0] if count == 1 else ids

    def rotate(self, device, port=None):
        password = secrets.token_urlsafe(32)
        self.pg.sql(f"update device_credentials set password_sha256 = sha256('{password}'), rotated_at = now() "
                    f"where device_id = {device}", port=port)
        self.passwords[device] = password
        return password

    def delete(self, *devices, port=None):
        self.pg.sql(f"delete from devices where id in ({','.join(map(str, devices))})", port=port)
