"""conf/up as its user meets it: what it starts, guards, starts again and ends."""
import fcntl
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess

import httpx
import pytest
from devices import wait_for
from system import PROGRAM, ROOT, System

SERVICES = ("postgresql", "redis", "mosquitto", "otad")


@pytest.fixture(scope="module")
def system(start_otad):
    return start_otad(OTAD_TEMPLATE="")


def ready(system):
    try:
        return httpx.get(f"{system.url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def descendants(pid):
    """Process ids started by a process, by those, and so on."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [p for child in map(int, children) for p in (child, *descendants(child))]


def secrets_of(system):
    """Every password and private key, as text where it is text."""
    found = [p.read_bytes().strip() for p in (system.var / "keys").iterdir() if p.suffix in (".password", ".key")]
    assert len(found) >= 6
    return found


def test_keys_are_private(system):
    private = [*(system.var / "keys").glob("*"), *(system.var / "certs").glob("*.key"),
               *(system.var / "run").glob("*.conf")]
    assert len(private) > 8
    for path in private:
        if path.suffix != ".pub":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_no_secret_in_arguments_or_logs(system):
    everything = b"".join(p.read_bytes() for p in (system.var / "log").iterdir())
    for pid in descendants(int((system.var / "run/up.pid").read_text())):
        try:
            everything += pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except FileNotFoundError:
            pass
    assert b"postgres" in everything and b"mosquitto" in everything
    for secret in secrets_of(system):
        assert secret not in everything


def test_postgresql_does_not_run_as_root(system):
    assert pathlib.Path(f"/proc/{system.service_pid('postgresql')}").stat().st_uid != 0


def test_database_wants_a_password(system):
    bare = system.database_url.split("?")[0]
    done = subprocess.run(["psql", "-w", "-X", bare, "-c", "select 1"], capture_output=True, text=True,
                          env={**system.environ, "PGPASSFILE": "/dev/null"})
    assert done.returncode != 0 and "password" in done.stderr
    assert system.psql("select current_user, rolsuper from pg_roles where rolname = current_user") == "otad|f"


def test_certificate_is_good_for_this_machine(system):
    context = ssl.create_default_context(cafile=str(system.ca))
    for name in ("localhost", "127.0.0.1", socket.gethostname()):
        for port in (system.https_port, system.mqtts_port):
            with socket.create_connection(("127.0.0.1", port), 10) as s, context.wrap_socket(s, server_hostname=name):
                pass


def test_second_start_is_refused_and_harmless(system):
    before = {name: system.service_pid(name) for name in SERVICES}
    with pytest.raises(RuntimeError, match="already runs from"):
        system.up("--detach")
    assert before == {name: system.service_pid(name) for name in SERVICES}


def test_taken_port_is_named(system):
    other = System()
    other.environ["OTAD_HTTPS_PORT"] = str(system.https_port)
    with pytest.raises(RuntimeError, match=f"port {system.https_port} .HTTPS. is taken"):
        other.up("--detach")
    assert not list((other.var / "run").glob("*.pid"))
    other.stop()


@pytest.mark.parametrize("settings, said", [
    ({"OTAD_HTTP_PORT": "eighty"}, "OTAD_HTTP_PORT is no port: eighty"),
    ({"OTAD_PG_PORT": "65536"}, "OTAD_PG_PORT is no port: 65536"),
    ({"OTAD_MQTT_PORT": "15001", "OTAD_HTTPS_PORT": "15001"}, "OTAD_HTTPS_PORT and OTAD_MQTT_PORT are the same port"),
])
def test_wrong_ports_are_named(settings, said):
    other = System(**settings)
    with pytest.raises(RuntimeError, match=said):
        other.up("--detach")
    shutil.rmtree(other.var)


@pytest.mark.parametrize("arguments", (("--stpo",), ("--stop", "now"), ("--service", "redis"), ("now",)))
def test_wrong_arguments(arguments):
    other = System()
    with pytest.raises(RuntimeError, match="ended with 2:\nusage: conf/up"):
        other.up(*arguments)
    shutil.rmtree(other.var)


def test_the_next_step_is_the_one_that_works():
    """A second start said to make the first account, which the first start had made."""
    other = System()
    try:
        for call, answer in (("register", '"role":"operator"'), ("login", '"access_token"')):
            said = other.up("--detach")
            command = re.search(r"^  (curl .*\n.*)$", said, re.M).group(1)
            assert f"/auth/{call} " in command
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
            assert answer in done.stdout, done
            assert int(re.search(r"^Ready after (\d+) s\.", said, re.M).group(1)) < (60, 5)[call == "login"] * other.slack
            other.up("--stop")
    finally:
        other.stop()


def test_what_does_not_start_is_shown(tmp_path):
    """And nothing of what earlier runs said."""
    other = System().start()
    other.up("--stop")
    scripts = shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (scripts / "routes/zz.lua").write_text("return {\n")
    other.environ["OTAD_SCRIPTS"] = str(scripts)
    with pytest.raises(RuntimeError) as refusal:
        other.up("--detach")
    assert "scripts/routes/zz.lua:2: unexpected symbol" in str(refusal.value)
    assert "otad did not start" in str(refusal.value) and '"msg":"serving"' not in str(refusal.value)
    assert not list((other.var / "run").glob("*.pid"))
    other.stop()


def test_it_starts_from_any_directory(tmp_path):
    other = System()
    try:
        said = subprocess.run([ROOT / "conf/up", "--detach"], env=other.environ, cwd=tmp_path, text=True, timeout=150,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
        assert ready(other), said
        command = re.search(r"^To end it: (.*)$", said, re.M).group(1)
        subprocess.run(["bash", "-c", command], env=other.environ, cwd=tmp_path, check=True, timeout=60)
        assert not ready(other)
    finally:
        other.stop()


def test_two_copies_side_by_side(system):
    other = System().start()
    try:
        assert ready(other) and ready(system)
        other.psql("create table only_here ()")
        assert system.psql("select count(*) from pg_tables where tablename = 'only_here'") == "0"
    finally:
        other.stop()
    assert ready(system)


def test_keys_that_others_may_read_stop_it_at_the_start(system):
    """Each in turn; what is said names the file."""
    environment = system.environment()
    keys = [environment["OTAD_HTTPS_KEY"], *map(str, (system.var / "keys").glob("*.key"))]
    assert len(keys) >= 4
    for path in keys:
        os.chmod(path, 0o644)
        try:
            done = subprocess.run([PROGRAM, "serve"], env=environment, cwd=ROOT, capture_output=True, text=True,
                                  timeout=60)
        finally:
            os.chmod(path, 0o600)
        assert done.returncode == 1 and path in done.stderr.splitlines()[0], (path, done.stderr)


def test_a_core_file_would_hold_keys(system):
    limits = pathlib.Path(f"/proc/{system.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.M), limits


@pytest.mark.parametrize("name", SERVICES)
def test_killed_service_is_started_again(system, name):
    pid = system.service_pid(name)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: (system.var / f"run/{name}.pid").exists() and system.service_pid(name) != pid, 20)
    wait_for(lambda: ready(system), 20)


@pytest.mark.parametrize("name", ("postgresql", "redis", "mosquitto"))
def test_stopped_service_stays_stopped_until_started(system, name):
    system.service(name, "stop")
    wait_for(lambda: httpx.get(f"{system.url}/readyz", timeout=10).status_code == 503, 20)
    assert httpx.get(f"{system.url}/healthz", timeout=10).status_code == 200
    assert not (system.var / f"run/{name}.pid").exists()
    system.service(name, "start")
    wait_for(lambda: ready(system), 10)


@pytest.mark.parametrize("ending", (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL))
def test_nothing_outlives_conf_up(ending):
    system = System().start()
    try:
        os.kill(int((system.var / "run/up.pid").read_text()), ending)

        def all_gone():
            with open(system.var / "run/lock") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                except BlockingIOError:
                    return False

        wait_for(all_gone, 45)
        system.start()  # the same directory serves again
        assert ready(system)
    finally:
        system.stop()
