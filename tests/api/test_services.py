"""otad without conf/up: against services that somebody else runs, named as the contract says, and as a process that is
stopped, crashes and does not start."""
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import httpx
import pytest

from accounts import PASSWORD
from devices import wait_for
from ports import free_ports
from services import Server, Services, otad
from system import System


@pytest.fixture(scope="module")
def services():
    made = Services()
    yield made
    made.stop()


@pytest.fixture
def serve(services):
    """serve(NAME=value, ...): a Server; at the end it must have ended, or end, with exit code 0."""
    running = []

    def start(urls=True, **settings):
        running.append(Server(services, **{**(services.urls() if urls else {}), **settings}))
        return running[-1]

    yield start
    for server in running:
        if server.process.poll() is None:
            server.stop()


def token_of(url, email="somebody@example.org"):
    httpx.post(f"{url}/auth/register", json={"email": email, "password": PASSWORD}, timeout=30)
    return httpx.post(f"{url}/auth/login", json={"email": email, "password": PASSWORD}, timeout=30).json()["access_token"]


def proves_all_three(server, services):
    """A device's word reaches the API: through broker (whose plugin asks PostgreSQL and Redis) and otad."""
    bearer = {"Authorization": f"Bearer {token_of(server.url)}"}
    body = {"device_code": f"d-{server.http}"}
    made = httpx.post(f"{server.url}/devices/register", headers=bearer, json=body).json()
    credentials = made["credentials"]
    subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(services.mosquitto.port), "-q", "1",
                    "-i", credentials["client_id"], "-u", credentials["username"], "-P", credentials["password"],
                    "-t", made["mqtt"]["topics"]["status"], "-m", '{"status": "online", "firmware_version": "7.7"}'],
                   check=True, timeout=20)
    where = f"{server.url}/devices/{made['device']['id']}"
    wait_for(lambda: httpx.get(where, headers=bearer).json()["firmware_version"] == "7.7")
    assert services.redis.size() > 0


def test_urls_and_port(services, serve):
    """DATABASE_URL, REDIS_URL, MQTT_URL and PORT."""
    server = serve(OTAD_HTTP_PORT=None).ready()
    proves_all_three(server, services)


def test_urls_under_their_other_names(services, serve):
    """Each key has a variable of its own, and it stands before the customary one."""
    urls = services.urls()
    nowhere = free_ports(1)[0]
    server = serve(OTAD_DATABASE_URL=urls["DATABASE_URL"], OTAD_REDIS_URL=urls["REDIS_URL"],
                   OTAD_MQTT_URL=urls["MQTT_URL"], DATABASE_URL=f"postgresql://otad@127.0.0.1:{nowhere}/otad",
                   REDIS_URL=f"redis://127.0.0.1:{nowhere}", MQTT_URL=f"mqtt://127.0.0.1:{nowhere}").ready()
    proves_all_three(server, services)


def test_urls_from_files(services, serve):
    """NAME_FILE reads the value of a secret."""
    urls = services.urls()
    files = {f"{name}_FILE": services.secret(f"{name}.txt", urls[name] + "\n") for name in ("DATABASE_URL", "REDIS_URL")}
    server = serve(urls=False, **files, MQTT_URL=urls["MQTT_URL"],
                   OTAD_MQTT_PASSWORD_FILE=urls["OTAD_MQTT_PASSWORD_FILE"]).ready()
    proves_all_three(server, services)
    for url in (urls["DATABASE_URL"], urls["REDIS_URL"]):
        assert url not in server.text()


def test_a_broker_over_tls(services, serve):
    """mqtts:// is checked against mqtt.ca, or else what the system trusts."""
    url = f"mqtts://localhost:{services.mosquitto.tls_port}"
    serve(MQTT_URL=url, OTAD_MQTT_CA=services.mosquitto.cert).ready()
    distrustful = serve(MQTT_URL=url)
    wait_for(lambda: distrustful.answers("/readyz", 503) or distrustful.process.poll() is not None, 30)
    assert distrustful.process.poll() is None, distrustful.text()
    wait_for(lambda: "broker connection failed" in distrustful.text(), 30)
    assert httpx.get(f"{distrustful.url}/readyz").json()["parts"]["mqtt"] == "down"


def test_ports_where_no_url_is_given(services):
    """The command line goes where the ports point, as conf/up's own otad does."""
    database = services.postgres.create()
    services.postgres.run("postgres", f"alter database {database} rename to otad")
    settings = {"OTAD_PG_PORT": services.postgres.port, "PGPASSWORD": services.postgres.password,
                "OTAD_VAR": services.var}
    assert "applied 0001_spine.sql" in otad("migrate", **settings).stdout
    assert otad("user", "list", **settings).stdout == ""


def test_var_holds_what_conf_up_left(services, tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/database.url").write_text(services.database_url + "\n")
    otad("user", "list", OTAD_VAR=tmp_path)
    otad("user", "list", OTAD_VAR="here", cwd=tmp_path.parent, code=1)
    otad("user", "list", OTAD_VAR=tmp_path.name, cwd=tmp_path.parent)


@pytest.mark.parametrize("wrong, part, said", [
    ({"OTAD_MQTT_PASSWORD_FILE": "wrong"}, "mqtt", "Not authorized"),
    ({"REDIS_URL": "redis://:wrong@127.0.0.1:{redis}"}, "redis", "redis"),
    ({"DATABASE_URL": "postgresql://otad:wrong@127.0.0.1:{postgres}/otad"}, "postgresql", "password authentication failed"),
])
def test_a_wrong_password_is_named(services, serve, wrong, part, said):
    ports = {"redis": services.redis.port, "postgres": services.postgres.port}
    wrong = {name: services.secret("wrong", "x" * 40) if value == "wrong" else value.format(**ports)
             for name, value in wrong.items()}
    server = serve(**wrong)
    wait_for(lambda: server.answers("/healthz"), 30)

    def down():
        return [name for name, state in httpx.get(f"{server.url}/readyz").json()["parts"].items() if state == "down"]

    wait_for(lambda: down() == [part], 20)
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    wait_for(lambda: said in server.text(), 10)


def test_conf_up_uses_services_that_are_named(services):
    """And starts none of its own."""
    system = System(OTAD_TEMPLATE="", **services.urls()).start()
    try:
        assert httpx.get(f"{system.url}/readyz").status_code == 200
        assert [p.stem for p in (system.var / "run").glob("*.pid") if p.stem != "up"] == ["otad"]
        assert not (system.var / "postgresql").exists()
        assert "as DATABASE_URL says" in (system.up("--stop") or system.up("--detach"))
    finally:
        system.stop()


WATCHED = ("otad_http_requests_total", "otad_http_request_duration_seconds_bucket", "otad_mqtt_messages_total",
           "otad_mqtt_rejected_total", "otad_ingest_lag_seconds_bucket", "otad_devices", "otad_updates_total",
           "otad_script_reloads_total", "otad_lua_memory_bytes", "otad_pg_queries_total",
           "otad_pg_query_duration_seconds_bucket", "otad_pg_waiting", "otad_offload_waiting", "process_cpu_seconds_total",
           "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds")


def test_what_can_be_watched(services, serve):
    """Each name of the contract is there once something has happened, and nothing tells devices apart."""
    server = serve(OTAD_DEVICE_OFFLINE_AFTER="2s").ready()
    proves_all_three(server, services)
    token = token_of(server.url)
    bearer = {"Authorization": f"Bearer {token}"}
    made = httpx.post(f"{server.url}/devices/register", headers=bearer, json={"device_code": "poison"}).json()
    credentials = made["credentials"]
    subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(services.mosquitto.port), "-q", "1",
                    "-i", credentials["client_id"], "-u", credentials["username"], "-P", credentials["password"],
                    "-t", made["mqtt"]["topics"]["status"], "-m", '{"status": 7}'], check=True, timeout=20)

    def missing():
        text = httpx.get(f"{server.url}/metrics", timeout=30).text
        return [name for name in WATCHED if not re.search(rf"^{name}(\{{.*\}})? ", text, re.M)]

    wait_for(lambda: not missing(), 20)
    text = httpx.get(f"{server.url}/metrics").text
    assert 'kind="status"' in text and 'otad_script_reloads_total{result="ok"}' in text
    for label in re.findall(r"(\w+)=\"", text):
        assert label in ("route", "method", "code", "kind", "reason", "status", "state", "result", "statement", "worker",
                         "event", "le"), label


# The process


def test_logs_are_json_on_standard_error(serve):
    server = serve().ready()
    server.stop()
    lines = []
    for line in server.text().splitlines():  # behind the last one sanitizers may tell of suppressions
        lines.append(json.loads(line))
        if lines[-1]["msg"] == "stopped":
            break
    assert all({"at", "level", "msg"} <= set(line) for line in lines)
    assert [line["msg"] for line in lines if line["msg"] in ("serving", "stopping", "stopped")] == \
        ["serving", "stopping", "stopped"]


@pytest.mark.parametrize("ending", (signal.SIGTERM, signal.SIGINT))
def test_what_is_under_way_is_finished(services, serve, ending):
    """A request that waits for the database when the signal comes is answered; nobody else is let in meanwhile."""
    server = serve().ready()
    token = token_of(server.url)
    lock = subprocess.Popen(["psql", "-Xq", services.database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lock.stdin.write("begin;\nlock table users in access exclusive mode;\n\\echo locked\n")
    lock.stdin.flush()
    assert lock.stdout.readline() == "locked\n"
    answers = []
    asking = threading.Thread(target=lambda: answers.append(
        httpx.get(f"{server.url}/auth/me", headers={"Authorization": f"Bearer {token}"}, timeout=30)))
    asking.start()
    wait_for(lambda: services.postgres.run("postgres", "select count(*) from pg_stat_activity where "
                                           "wait_event_type = 'Lock'") != "0")
    server.process.send_signal(ending)

    def refused():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", server.http)) != 0

    wait_for(refused, 10)
    assert not answers and server.process.poll() is None
    lock.communicate("commit;\n", timeout=60)
    asking.join(60)
    assert answers[0].status_code == 200
    server.stop()


def test_a_crash_is_answered_by_a_new_start(serve):
    server = serve().ready()
    for signal_number in (signal.SIGABRT, signal.SIGKILL):
        time.sleep(2.1)  # longer than what counts as crashing over and over
        before = server.child()
        os.kill(before, signal_number)
        wait_for(lambda: server.child() not in (before, None) and server.answers(), 20)
    assert server.text().count('"msg":"server crashed"') == 2
    server.stop()


def test_crashing_over_and_over_ends(serve):
    """Five times within two seconds each: whoever started otad hears of it by exit code 1."""
    server = serve()
    for _ in range(5):
        child = wait_for(server.child)
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: server.child() != child)
    assert server.process.wait(20) == 1
    assert server.text().count('"msg":"server crashed"') == 5


def test_the_server_ends_with_its_parent(serve):
    server = serve().ready()
    child = server.child()
    server.process.kill()
    server.process.wait(10)
    wait_for(lambda: not os.path.exists(f"/proc/{child}"), 40)


def test_what_cannot_start_says_why(services, serve, tmp_path):
    def fails(text, **settings):
        server = serve(**settings)
        assert server.process.wait(30) == 1
        assert text in server.text(), server.text()

    taken = socket.socket()
    taken.bind(("0.0.0.0", 0))
    taken.listen()
    port = taken.getsockname()[1]
    fails(str(port), OTAD_HTTP_PORT=port)
    taken.close()
    loose = services.secret("loose.key", os.urandom(32))
    os.chmod(loose, 0o644)
    fails("loose.key", OTAD_AUTH_JWT_KEYS=loose)
    fails("none.key", OTAD_MANIFEST_KEY=tmp_path / "none.key")
    fails("OTAD_SQL", OTAD_SQL=tmp_path / "nothing")
    fails("OTAD_CONFIG", OTAD_CONFIG=tmp_path / "nothing.lua")
    fails("OTAD_DEVICE_OFFLINE_AFTER must be a duration", OTAD_DEVICE_OFFLINE_AFTER="soon")
    fails("log.level", OTAD_LOG_LEVEL="loud")
    loop = tmp_path / "otad.lua"
    loop.write_text("return {}\n, (function() while true do end end)()\n")
    fails("otad.lua:2:", OTAD_CONFIG=loop)
