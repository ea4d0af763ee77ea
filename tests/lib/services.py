"""PostgreSQL, Redis and Mosquitto as an administrator runs them, each with a password, and otad started against them
without conf/up.

Owner: the test; stop() of each ends it. Server keeps what the sanitizers said in its log, and stop() looks for it.
"""
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import tempfile

import httpx
from broker import Mosquitto, Postgres, Redis, as_service_user, listening, service_directory, wait_until
from ports import free_ports
from psql import PSQL
from system import COMPLAINT, FOREIGN, PROGRAM, ROOT


class GuardedPostgres(Postgres):
    """The role otad needs its password over TCP; databases are made with `create`."""

    def __init__(self, directory):
        super().__init__(directory)
        self.password = secrets.token_urlsafe(16)
        self.run("postgres", f"alter role otad password '{self.password}'")
        hba = self.data / "pg_hba.conf"
        hba.write_text("local all all trust\nhost all otad 127.0.0.1/32 scram-sha-256\n")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: subprocess.run([PSQL, "-w", "-X", self.url_of("postgres", ""), "-c", ""], capture_output=True,
                                          env={**os.environ, "PGPASSFILE": "/dev/null"}).returncode != 0,
                   what="a password is asked for")

    def run(self, database, sql):
        """As the administrator, over the socket."""
        done = subprocess.run([PSQL, "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.socket_dir, "-p", str(self.port),
                               "-U", "otad", "-d", database], input=sql, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def create(self):
        """A new, empty database; its name."""
        name = f"d{secrets.token_hex(6)}"
        self.run("postgres", f"create database {name}")
        return name

    def url_of(self, database, password=None):
        password = self.password if password is None else password
        return f"postgresql://otad{':' if password else ''}{password}@127.0.0.1:{self.port}/{database}"


class GuardedRedis(Redis):
    def __init__(self, directory):
        self.password = secrets.token_urlsafe(16)
        super().__init__(directory)

    @property
    def url(self):
        return f"redis://:{self.password}@127.0.0.1:{self.port}"

    def start(self):
        conf = self.directory / "redis.conf"
        conf.write_text(f'bind 127.0.0.1\nport {self.port}\nsave ""\ndir {self.directory}\nrequirepass {self.password}\n')
        with open(self.directory / "redis.log", "ab") as log:
            self.process = subprocess.Popen(as_service_user(["redis-server", conf]), stdout=log, stderr=log)
        wait_until(lambda: listening(self.port), what="Redis up")

    def size(self):
        done = subprocess.run(["redis-cli", "-p", str(self.port), "dbsize"], capture_output=True, text=True, timeout=10,
                              env={**os.environ, "REDISCLI_AUTH": self.password})
        return int(done.stdout.split()[-1])


class Services:
    """All three, with a migrated database; `var` has the keys that otad wants, and nothing of conf/up."""

    def __init__(self):
        self.directory = service_directory()
        self.postgres = self.redis = self.mosquitto = None
        try:
            self.postgres = GuardedPostgres(self.directory)
            self.redis = GuardedRedis(self.directory)
            self.database_url = self.postgres.url_of(self.postgres.create())
            self.var = pathlib.Path(tempfile.mkdtemp(prefix="otad-var-"))
            keys = self.var / "keys"
            keys.mkdir(mode=0o700)
            self.secret("keys/jwt.key", secrets.token_bytes(32))
            otad("keygen", "--out", keys / "manifest")
            otad("migrate", DATABASE_URL=self.database_url)
            self.mosquitto = Mosquitto(self.directory, self.database_url, self.redis.url).start()
            self.secret("mqtt.password", self.mosquitto.password)
        except BaseException:
            self.stop()
            raise

    def secret(self, name, content):
        path = self.var / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o600)
        return str(path)

    def urls(self):
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis.url,
                "MQTT_URL": f"mqtt://127.0.0.1:{self.mosquitto.port}",
                "OTAD_MQTT_PASSWORD_FILE": str(self.var / "mqtt.password")}

    def stop(self):
        for service in (self.mosquitto, self.redis, self.postgres):
            if service:
                service.stop()
        shutil.rmtree(self.directory)
        shutil.rmtree(self.var, ignore_errors=True)


def clean_environment(**settings):
    return {**{k: v for k, v in os.environ.items() if not FOREIGN.match(k)}, **{k: str(v) for k, v in settings.items()}}


def otad(*arguments, cwd=ROOT, code=0, program=PROGRAM, input=None, **settings):
    """Runs otad with this environment; returns the process that ended, with this code."""
    done = subprocess.run([program, *map(str, arguments)], cwd=cwd, env=clean_environment(**settings), input=input,
                          text=True, capture_output=True, timeout=60)
    assert done.returncode == code, f"otad {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done


class Server:
    """A process `otad serve` on ports of its own."""

    def __init__(self, services, cwd=ROOT, **settings):
        self.http, https = free_ports(2)
        self.url = f"http://localhost:{self.http}"
        self.log = services.var / f"log-{self.http}"
        settings = {"OTAD_VAR": services.var, "OTAD_HTTP_PORT": self.http, "OTAD_HTTPS_PORT": https, **settings}
        if settings["OTAD_HTTP_PORT"] is None:
            del settings["OTAD_HTTP_PORT"]
            settings["PORT"] = self.http
        self.process = subprocess.Popen([PROGRAM, "serve"], env=clean_environment(**settings), cwd=cwd,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.log, "w"))

    def answers(self, path="/readyz", status=200):
        try:
            return httpx.get(self.url + path, timeout=10).status_code == status
        except httpx.TransportError:
            return False

    def ready(self, timeout=30):
        wait_until(lambda: self.process.poll() is not None or self.answers(), timeout, "otad ready")
        assert self.process.poll() is None, self.text()
        return self

    def child(self):
        """The process that serves; None between two."""
        found = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(found[0]) if found else None

    def text(self):
        return self.log.read_text(errors="replace")

    def stop(self, code=0):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(45) == code, self.text()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert not COMPLAINT.search(self.text()), self.text()
