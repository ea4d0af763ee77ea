"""The broker while PostgreSQL or Redis is away, slow, or back with something else: who is connected stays,
nobody stalls it for long, and a revoked password never comes back."""
import hashlib
import os
import socket
import statistics
import subprocess
import threading
import time

import pytest
from broker import Broker, Mosquitto, wait_until
from mqtt_client import Client
from ports import free_port

REDIS_TRUSTED_AFTER = 1 + 5  # redis_ttl and the margin of plugins/mosquitto/shared.h, seconds


@pytest.fixture
def broker():
    broker = Broker({"redis_ttl": 1, "refused_ttl": 1, "recheck_interval": 500})
    broker.clients = []
    yield broker
    for client in broker.clients:
        client.close()
    broker.stop()


def attempt(broker, device, password=None):
    """The answer to a device's CONNECT, and the client."""
    client = Client(broker.mosquitto, f"device-{device}", password or broker.passwords[device])
    code = client.connected()
    if code == 0:
        broker.clients.append(client)
    else:
        client.close()
    return code, client


def come_in(broker, device):
    code, client = attempt(broker, device)
    assert code == 0
    return client


def otad(broker):
    client = Client(broker.mosquitto, "otad", broker.mosquitto.password, client_id="otad-1")
    broker.clients.append(client)
    assert client.connected() == 0
    assert client.subscribe("device/+/status") == [1]
    return client


def is_served(server, client, device):
    client.publish(f"device/{device}/status", "here")
    return server.receive(10) == (f"device/{device}/status", "here")


def service_time(server, client, device):
    """What is_served takes while nothing is wrong, in seconds: on this machine, at this time."""
    times = []
    for _ in range(15):
        start = time.monotonic()
        assert is_served(server, client, device)
        times.append(time.monotonic() - start)
    return statistics.median(times)


def let_in_again(broker, device, within):
    """Tries as a device would until it is let in."""
    start = time.monotonic()
    while time.monotonic() - start < within * 4:
        code, client = attempt(broker, device)
        if code == 0:
            return client
        time.sleep(0.1)
    raise AssertionError(f"not let in within {within} s")


# ---- Redis ----

def test_redis_is_filled_believed_after_a_while_and_told_of_revocations(broker):
    for device in broker.register(20):  # what is filled in lives for a second, which may be over on a busy machine
        key = f"otad:mqtt:{device}"
        started = time.monotonic()
        come_in(broker, device)
        filled = broker.redis.command("get", key)
        if filled:
            break
    assert filled == hashlib.sha256(broker.passwords[device].encode()).hexdigest()
    assert int(broker.redis.command("pttl", key)) <= 1000

    # A value that only Redis has tells when Redis is asked: not before old values must be gone.
    broker.redis.command("set", key, hashlib.sha256(b"only Redis").hexdigest())
    assert attempt(broker, device, "only Redis")[0] == 5
    time.sleep(max(0, REDIS_TRUSTED_AFTER + 0.5 - (time.monotonic() - started)))
    code, client = attempt(broker, device, "only Redis")
    assert code == 0
    # and the standing re-check finds that PostgreSQL knows nothing of it
    assert client.lost_within(2)

    broker.redis.command("del", key)
    come_in(broker, device)
    old = broker.passwords[device]
    broker.rotate(device)
    wait_until(lambda: broker.redis.command("get", key) in ("-", ""), 10, "revocation in Redis")
    assert attempt(broker, device, old)[0] == 5


def test_a_filling_that_comes_late_does_not_undo_a_revocation(broker):
    device = broker.register()
    key = f"otad:mqtt:{device}"
    broker.rotate(device)
    wait_until(lambda: broker.redis.command("get", key) == "-", 10, "revocation in Redis")
    come_in(broker, device)  # its answer from PostgreSQL does not overwrite it
    assert broker.redis.command("get", key) == "-"


def test_redis_gone_and_back_with_an_old_value(broker):
    device, other = broker.register(2)
    server = otad(broker)
    client = come_in(broker, device)
    time.sleep(REDIS_TRUSTED_AFTER)
    broker.redis.stop()
    assert is_served(server, client, device)
    come_in(broker, other)
    old = broker.passwords[device]
    broker.rotate(device)
    assert client.lost_within(1)
    assert attempt(broker, device, old)[0] == 5
    come_in(broker, device)
    # Back, with what it held before: not believed.
    broker.redis.start()
    broker.redis.command("set", f"otad:mqtt:{device}", hashlib.sha256(old.encode()).hexdigest())
    # Its connection is one more than redis-cli's own.
    wait_until(lambda: "\n" in broker.redis.command("client", "list"), 10, "the plugin back at Redis")
    time.sleep(1.2)  # nor is it remembered any more that this password was refused
    assert attempt(broker, device, old)[0] == 5


def test_redis_that_hangs(broker):
    device = broker.register()
    server = otad(broker)
    client = come_in(broker, device)
    usual = service_time(server, client, device)
    os.kill(broker.redis.process.pid, 19)
    times = []
    for number in broker.register(20):
        start = time.monotonic()
        come_in(broker, number)
        assert is_served(server, client, device)
        times.append(time.monotonic() - start)
    assert statistics.median(times) < 0.5 + 10 * usual, times  # a busy machine delays some, Redis would delay all
    broker.rotate(device)
    assert client.lost_within(1)


@pytest.fixture
def slow_redis(broker):
    """The broker's Redis answers each command after 50 ms, within its time-out."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pass_on(source, target, delay):
        while data := source.recv(65536):
            time.sleep(delay)
            target.sendall(data)
        target.close()

    def serve():
        while True:
            near, far = listener.accept()[0], socket.create_connection(("127.0.0.1", broker.redis.port))
            threading.Thread(target=pass_on, args=(near, far, 0), daemon=True).start()
            threading.Thread(target=pass_on, args=(far, near, 0.05), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    broker.mosquitto.stop()
    replace(broker.mosquitto, f"redis://127.0.0.1:{broker.redis.port}", f"redis://127.0.0.1:{listener.getsockname()[1]}")
    broker.mosquitto.start()


def test_deleting_many_while_redis_is_slow_stalls_nobody(broker, slow_redis):
    device, *others = broker.register(301)
    server = otad(broker)
    client = come_in(broker, device)
    usual = service_time(server, client, device)
    victim = come_in(broker, others[-1])
    broker.delete(*others)
    worst, end = 0, time.monotonic() + 3
    while time.monotonic() < end:
        start = time.monotonic()
        client.publish(f"device/{device}/status", "here")
        assert server.receive(20) == (f"device/{device}/status", "here")
        worst = max(worst, time.monotonic() - start)
    assert worst < 1.5 + 20 * usual
    assert victim.lost
    assert attempt(broker, others[-1])[0] == 5


@pytest.mark.parametrize("account", ("hu%73h%40%3A", ":hush@:", "def%61ult:hush%40:"))
def test_redis_with_a_password(broker, account):
    device = broker.register()
    broker.mosquitto.stop()
    cli = ["redis-cli", "-p", str(broker.redis.port)]
    subprocess.run([*cli, "config", "set", "requirepass", "hush@:"], check=True, stdout=subprocess.DEVNULL)
    replace(broker.mosquitto, "redis://", f"redis://{account}@")
    broker.mosquitto.start()
    come_in(broker, device).close()
    keys = subprocess.run([*cli, "--no-auth-warning", "-a", "hush@:", "dbsize"], check=True, capture_output=True, text=True)
    assert keys.stdout.strip() != "0"
    assert "Redis:" not in broker.mosquitto.text()


# ---- PostgreSQL ----

def test_postgres_gone_and_back(broker):
    device, other = broker.register(2)
    server = otad(broker)
    client = come_in(broker, device)
    usual = service_time(server, client, device)
    time.sleep(REDIS_TRUSTED_AFTER + 0.5)
    come_in(broker, other).close()  # in every cache
    broker.pg.stop()
    time.sleep(0.3)
    broker.redis.command("set", f"otad:mqtt:{other}", hashlib.sha256(broker.passwords[other].encode()).hexdigest())
    times = []
    for _ in range(5):
        start = time.monotonic()
        assert attempt(broker, other)[0] is None  # no word, so that it tries again
        times.append(time.monotonic() - start)
    assert statistics.median(times) < 0.5 + 10 * usual, times
    assert attempt(broker, other, "wrong")[0] is None
    broker.mosquitto.process.send_signal(1)  # asks for everybody's password again
    time.sleep(3)
    assert is_served(server, client, device)
    broker.pg.start()
    let_in_again(broker, other, 5)
    assert is_served(server, client, device)
    broker.rotate(device)
    assert client.lost_within(1)


def test_what_ended_unheard_is_found_when_postgres_is_back(broker):
    rotated, deleted, kept, cached = broker.register(4)
    clients = {number: come_in(broker, number) for number in (rotated, deleted, kept)}
    come_in(broker, cached).close()
    old = {number: broker.passwords[number] for number in (rotated, cached)}
    broker.pg.stop()
    elsewhere = free_port()
    broker.pg.start(elsewhere)  # where the broker does not find it
    broker.rotate(rotated, elsewhere)
    broker.rotate(cached, elsewhere)
    broker.delete(deleted, port=elsewhere)
    broker.pg.stop()
    assert not any(client.lost for client in clients.values())
    broker.pg.start()
    assert clients[rotated].lost_within(5)
    assert clients[deleted].lost_within(1)
    assert clients[kept].alive()
    for number in old:
        assert attempt(broker, number, old[number])[0] == 5
        come_in(broker, number)


def test_many_are_checked_again(broker):
    numbers = broker.register(600)
    clients = {number: come_in(broker, number) for number in numbers[:300]}
    gone = numbers[0:300:7]
    # Changed without a word: in the transaction that ends the plugin's connection, and without the trigger.
    broker.pg.sql(f"alter table device_credentials disable trigger device_credentials_changed;"
                  f"delete from device_credentials where device_id in ({','.join(map(str, gone))});"
                  f"alter table device_credentials enable trigger device_credentials_changed;"
                  f"select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'otad-broker'")
    for number in gone:
        assert clients[number].lost_within(5)
    time.sleep(1)
    assert all(client.alive() for number, client in clients.items() if number not in gone)


def test_a_change_nobody_told_of_is_found_in_time(broker):
    device, kept = broker.register(2)
    client, other = come_in(broker, device), come_in(broker, kept)
    broker.pg.sql("alter table device_credentials disable trigger device_credentials_changed")
    broker.delete(device)
    assert client.lost_within(3)
    assert other.alive()


def test_postgres_that_hangs(broker):
    device, other = broker.register(2)
    server = otad(broker)
    client = come_in(broker, device)
    usual = service_time(server, client, device)
    broker.pg.freeze()
    try:
        worst = 0
        end = time.monotonic() + 6
        stalls = 0
        while time.monotonic() < end:
            start = time.monotonic()
            assert is_served(server, client, device)
            took = time.monotonic() - start
            worst, stalls = max(worst, took), stalls + (took > 0.3 + 10 * usual)
            assert attempt(broker, other)[0] is None
            time.sleep(0.01)
        assert worst < 1.5 + 20 * usual and stalls <= 2, (worst, stalls, usual)
    finally:
        broker.pg.thaw()
    let_in_again(broker, other, 5)
    assert is_served(server, client, device)


def test_a_locked_table_stalls_it_seldom(broker):
    device, other = broker.register(2)
    server = otad(broker)
    client = come_in(broker, device)
    usual = service_time(server, client, device)
    lock = subprocess.Popen(["psql", "-X", "-q", broker.pg.url], stdin=subprocess.PIPE, text=True)
    lock.stdin.write("begin; lock device_credentials in access exclusive mode; \\echo locked\nselect pg_sleep(7); commit;\n")
    lock.stdin.close()
    time.sleep(0.2)
    stalled, end = 0.0, time.monotonic() + 6
    while time.monotonic() < end:
        start = time.monotonic()
        assert is_served(server, client, device)
        stalled += max(0, time.monotonic() - start - 0.1 - 2 * usual)
        time.sleep(0.01)
    assert stalled < 3
    lock.wait(20)
    let_in_again(broker, other, 6)


def test_a_signal_while_postgres_is_asked_does_not_lose_it(broker):
    device = broker.register()
    lock = subprocess.Popen(["psql", "-X", "-q", broker.pg.url], stdin=subprocess.PIPE, text=True)
    lock.stdin.write("begin; lock device_credentials in access exclusive mode; select pg_sleep(0.7); commit;\n")
    lock.stdin.close()
    time.sleep(0.2)
    waiting = Client(broker.mosquitto, f"device-{device}", broker.passwords[device])
    broker.clients.append(waiting)
    for _ in range(3):
        time.sleep(0.1)
        broker.mosquitto.process.send_signal(1)
    assert waiting.connected() == 0
    lock.wait(20)
    assert "lost" not in broker.mosquitto.text()


def test_many_who_come_while_postgres_is_slow_do_not_stall_the_others_in_turn(broker):
    """Each question takes 0.4 s, within the time-out: those who come at once must not be served one after the other
    before anybody else gets a turn."""
    broker.mosquitto.stop()
    replace(broker.mosquitto, "recheck_interval 500", "recheck_interval 60000")
    broker.mosquitto.start()
    device, *others = broker.register(21)
    server = otad(broker)
    client = come_in(broker, device)
    usual = service_time(server, client, device)
    time.sleep(0.5)  # the first check of all is over
    broker.pg.sql("alter table device_credentials rename to kept; create view device_credentials as "
                  "select * from kept where pg_sleep(0.4) is not null")
    os.kill(broker.mosquitto.process.pid, 19)  # so that all of them come in one turn
    waiting = [Client(broker.mosquitto, f"device-{number}", broker.passwords[number]) for number in others]
    broker.clients += waiting
    time.sleep(0.5)
    os.kill(broker.mosquitto.process.pid, 18)
    worst, end = 0, time.monotonic() + 4
    while time.monotonic() < end:
        start = time.monotonic()
        client.publish(f"device/{device}/status", "here")
        assert server.receive(20) == (f"device/{device}/status", "here")
        worst = max(worst, time.monotonic() - start)
        time.sleep(0.01)
    assert worst < 2.5 + 20 * usual
    let_in_again(broker, others[-1], 20)


# ---- starting ----

def test_starts_without_services_and_finds_them(broker):
    device = broker.register()
    broker.mosquitto.stop()
    broker.pg.stop()
    broker.redis.stop()
    broker.mosquitto.start()
    assert attempt(broker, device)[0] is None
    otad(broker)  # does not depend on either
    broker.redis.start()
    broker.pg.start()
    let_in_again(broker, device, 5)


@pytest.mark.parametrize("wrong, said", [
    (lambda m: m.password_file.chmod(0o644), "must not be readable by others"),
    (lambda m: m.password_file.write_text("short\n"), "16 to 1023 characters"),
    (lambda m: m.password_file.unlink(), "No such file"),
    (lambda m: replace(m, "plugin_opt_redis_url redis", "plugin_opt_redis_url http"), "plugin_opt_redis_url must be"),
    (lambda m: replace(m, "plugin_opt_redis_url", "plugin_opt_reddis_url"), "unknown option plugin_opt_reddis_url"),
    (lambda m: replace(m, "plugin_opt_redis_ttl 1", "plugin_opt_redis_ttl 1h"), "must be a number from 1 to 3600"),
    (lambda m: replace(m, "plugin_opt_database_url", "#"), "are required"),
], ids=["readable", "short", "missing", "redis url", "unknown", "number", "required"])
def test_wrong_options_stop_it_at_the_start(broker, wrong, said):
    m = broker.mosquitto
    m.stop()
    wrong(m)
    m.spawn()
    assert m.process.wait(5) != 0
    m.process = None
    assert said in m.text()


def replace(mosquitto, old, new):
    mosquitto.conf.write_text(mosquitto.conf.read_text().replace(old, new))


def test_with_per_listener_settings_nobody_is_let_in(broker):
    device = broker.register()
    broker.mosquitto.stop()
    replace(broker.mosquitto, "per_listener_settings false", "per_listener_settings true")
    text = broker.mosquitto.conf.read_text()
    plugin = "\n".join(line for line in text.splitlines() if line.startswith(("plugin", "allow_")))
    rest = "\n".join(line for line in text.splitlines() if not line.startswith(("plugin", "allow_")))
    listener = f"listener {broker.mosquitto.port} 127.0.0.1\n"
    broker.mosquitto.conf.write_text(rest.replace(listener, listener + plugin + "\n"))
    broker.mosquitto.start()
    for _ in range(2):
        assert attempt(broker, device)[0] is None
        assert attempt(broker, device, "wrong")[0] is None
        broker.mosquitto.process.send_signal(1)
        time.sleep(0.3)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root's rights")
def test_started_as_root_it_gives_up_root(broker):
    device = broker.register()
    broker.mosquitto.stop()
    broker.mosquitto = Mosquitto(broker.directory, broker.pg.url, broker.redis.url, run_as_root=True).start()
    owner = os.stat(f"/proc/{broker.mosquitto.process.pid}").st_uid
    assert owner not in (0, os.stat(broker.pg.data).st_uid)
    come_in(broker, device)
