"""Who may do what at the broker: the refusals of the contract, and what becomes of credentials that end."""
import queue
import subprocess
import time

import pytest
from broker import Broker, wait_until
from mqtt_client import Client
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

NOT_AUTHORISED = {4: 5, 5: 135}


@pytest.fixture(scope="module")
def broker():
    broker = Broker()
    yield broker
    broker.stop()


@pytest.fixture
def connect(broker):
    """Makes clients that are closed at the end of the test."""
    made = []

    def connect(username, password, **options):
        client = Client(broker.mosquitto, username, password, **options)
        made.append(client)
        return client

    yield connect
    for client in made:
        client.close()


@pytest.fixture
def device(broker, connect):
    """Connects a device as itself."""
    def device(number, **options):
        client = connect(f"device-{number}", broker.passwords[number], **options)
        assert client.connected() == 0
        return client
    return device


@pytest.fixture
def server(broker, connect):
    """otad: hears every device."""
    client = connect("otad", broker.mosquitto.password, client_id="otad-test")
    assert client.connected() == 0
    assert client.subscribe("device/+/status", "device/+/logs") == [1, 1]
    return client


def hears_nothing(client, seconds=0.4):
    with pytest.raises(queue.Empty):
        print(client.receive(seconds))
    return True


# ---- what is allowed ----

@pytest.mark.parametrize("options", [{}, {"version": 5}, {"version": 3}, {"transport": "websockets"}],
                         ids=["3.1.1", "5", "3.1", "websockets"])
def test_a_device_talks_to_otad_and_hears_its_offer(broker, device, server, options):
    number = broker.register()
    client = device(number, **options)
    assert client.subscribe(f"device/{number}/ota") == [1]
    client.publish(f"device/{number}/status", '{"status":"online"}')
    assert server.receive() == (f"device/{number}/status", '{"status":"online"}')
    client.publish(f"device/{number}/logs", "hello", qos=0)
    assert server.receive() == (f"device/{number}/logs", "hello")
    server.publish(f"device/{number}/ota", "offer", retain=True)
    assert client.receive() == (f"device/{number}/ota", "offer")


def test_offers_are_retained_and_larger_than_4_kib(broker, device, server):
    number = broker.register()
    server.publish(f"device/{number}/ota", "x" * 20000, retain=True)
    client = device(number)
    client.subscribe(f"device/{number}/ota")
    assert client.receive() == (f"device/{number}/ota", "x" * 20000)


def test_instances_share_the_messages(broker, connect, device):
    number = broker.register()
    both = [connect("otad", broker.mosquitto.password, client_id=f"otad-{i}") for i in range(2)]
    for instance in both:
        assert instance.connected() == 0
        assert instance.subscribe("$share/otad/device/+/status", "$share/otad/device/+/logs") == [1, 1]
    client = device(number)
    for i in range(10):
        client.publish(f"device/{number}/status", str(i))
    wait_until(lambda: sum(i.inbox.qsize() for i in both) == 10, what="ten messages")
    assert all(i.inbox.qsize() == 5 for i in both)


def test_over_tls_with_mosquittos_own_client(broker, server):
    number = broker.register()
    m = broker.mosquitto
    done = subprocess.run(
        ["mosquitto_pub", "-h", "localhost", "-p", str(m.tls_port), "--cafile", m.cert, "-i", f"device-{number}",
         "-u", f"device-{number}", "-P", broker.passwords[number], "-q", "1", "-t", f"device/{number}/status",
         "-m", "hi"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stderr
    assert server.receive() == (f"device/{number}/status", "hi")


# ---- who is not let in ----

@pytest.mark.parametrize("version", [4, 5])
def test_refused_at_connect(broker, connect, version):
    mine, other = broker.register(2)
    right = broker.passwords[mine]
    name = f"device-{mine}"
    for username, password, client_id in [
            (None, None, "somebody"),
            (None, None, name),
            (name, None, name),
            (name, "", name),
            (name, "wrong", name),
            (name, right + "x", name),
            (name, right[:-1], name),
            (name, broker.passwords[other], name),
            (name, right, f"device-{other}"),
            (name, right, "other"),
            (name, right, "#"),
            (name, right, name + "+"),
            (f"device-{other}", right, f"device-{other}"),
            (f"device-0{mine}", right, f"device-0{mine}"),
            (f"device-+{mine}", right, f"device-+{mine}"),
            (f" {name}", right, f" {name}"),
            (f"{name}#", right, f"{name}#"),
            (f"{mine}", right, f"{mine}"),
            ("device-0", right, "device-0"),
            ("device-+", right, "device-+"),
            ("#", right, "#"),
            ("device-2147483647", right, "device-2147483647"),
            ("device-4294967297", right, "device-4294967297"),
            ("otad", right, "otad-x"),
            ("otad", "", "otad-x"),
            ("otad", broker.mosquitto.password, name),
            ("otad", broker.mosquitto.password, "otad+"),
            ("otad", broker.mosquitto.password, "#"),
            ("Otad", broker.mosquitto.password, "otad-x"),
            ("root", "root", "root")]:
        client = connect(username, password, client_id=client_id, version=version)
        assert client.connected() == NOT_AUTHORISED[version], (username, client_id)
    assert connect(name, right).connected() == 0


def test_no_empty_client_id_and_no_enhanced_authentication(broker, connect):
    number = broker.register()
    assert connect(f"device-{number}", broker.passwords[number], client_id="").connected() != 0
    properties = Properties(PacketTypes.CONNECT)
    properties.AuthenticationMethod = "SCRAM-SHA-1"
    properties.AuthenticationData = b"x"
    client = connect(f"device-{number}", broker.passwords[number], version=5, properties=properties)
    assert client.connected() == 140  # bad authentication method


def test_anonymous_with_mosquittos_own_client(broker):
    for tool in (["mosquitto_pub", "-m", "x"], ["mosquitto_sub", "-C", "1"]):
        done = subprocess.run([*tool, "-i", "x", "-p", str(broker.mosquitto.port), "-t", "device/1/status"],
                              capture_output=True, text=True, timeout=10)
        assert done.returncode == 5 and "not authorised" in done.stderr


def test_a_guess_does_not_lock_the_device_out(broker, connect):
    number = broker.register()
    for _ in range(20):
        assert connect(f"device-{number}", "guess").connected() == 5
    assert connect(f"device-{number}", broker.passwords[number]).connected() == 0
    # Nor one made before the device existed.
    assert connect(f"device-{number + 1}", "guess").connected() == 5
    assert broker.register() == number + 1
    assert connect(f"device-{number + 1}", broker.passwords[number + 1]).connected() == 0


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_nobody_can_throw_a_device_out(broker, connect, device, server, transport):
    victim, attacker = broker.register(2)
    client = device(victim, transport=transport)
    name = f"device-{victim}"
    for username, password in [(f"device-{attacker}", broker.passwords[attacker]), (name, "wrong"),
                               ("otad", broker.mosquitto.password), (None, None)]:
        for version in (4, 5):
            other = connect(username, password, client_id=name, version=version)
            assert other.connected() == NOT_AUTHORISED[version]
    assert client.alive()
    client.publish(f"device/{victim}/status", "still here")
    assert server.receive() == (f"device/{victim}/status", "still here")
    # and a rotation still finds it, whatever the refused ones have named
    broker.rotate(victim)
    assert client.lost_within(1)


def test_a_device_takes_over_from_itself(broker, device):
    number = broker.register()
    old = device(number)
    new = device(number)
    assert old.lost_within(1)
    assert new.alive()
    broker.rotate(number)
    assert new.lost_within(1)


# ---- topics ----

@pytest.mark.parametrize("version", [4, 5])
def test_foreign_subscriptions_are_refused_in_suback(broker, device, server, version):
    mine, other = broker.register(2)
    server.publish(f"device/{other}/ota", "not for you", retain=True)
    client = device(mine, version=version)
    filters = ["#", "+/+/ota", "device/#", "device/+/ota", f"device/{mine}/#", f"device/{mine}/+", f"device/{mine}/status",
               f"device/{other}/ota", f"device/{other}/status", "$SYS/#", "$share/x/device/#", "$share/otad/device/#",
               f"$share/x/device/{mine}/ota", f"device/0{mine}/ota", f"/device/{mine}/ota", "$CONTROL/#", "other"]
    refused = 128 if version == 4 else 135
    assert client.subscribe(*filters) == [refused] * len(filters)
    assert client.subscribe(f"device/{mine}/ota", f"device/{other}/ota") == [1, refused]
    neighbour = device(other)
    neighbour.publish(f"device/{other}/status", "secret")
    assert server.receive()[1] == "secret"
    assert hears_nothing(client)


def test_foreign_and_oversize_messages_are_not_delivered(broker, device, server):
    mine, other = broker.register(2)
    victim = device(other)
    assert victim.subscribe(f"device/{other}/ota") == [1]
    client = device(mine)
    for topic in [f"device/{other}/status", f"device/{other}/logs", f"device/{other}/ota", f"device/{mine}/ota",
                  f"device/{mine}/other", f"device/0{mine}/status", f"device/{mine}/status/x", "device/x", "x"]:
        client.publish(topic, "forged")
        client.publish(topic, "forged", retain=True)
    client.publish(f"device/{mine}/status", "x" * 4097)
    client.publish(f"device/{mine}/logs", "x" * 4097)
    client.publish(f"device/{mine}/status", "x" * 4096)
    assert server.receive() == (f"device/{mine}/status", "x" * 4096)
    assert hears_nothing(server)
    assert hears_nothing(victim)


def test_a_packet_beyond_every_limit_ends_the_connection(broker, device, server):
    number = broker.register()
    client = device(number)
    client.publish(f"device/{number}/status", "x" * 70000, qos=0)
    assert client.lost_within(2)
    client = device(number, transport="websockets")
    client.publish(f"device/{number}/status", "x" * 70000, qos=0)
    assert hears_nothing(server)


def test_otad_itself_is_bounded(broker, server):
    number = broker.register()
    assert server.subscribe("#", "$SYS/#", "$share/x/device/#", "other/+") == [128] * 4
    server.publish(f"device/{number}/status", "not from a device")
    assert hears_nothing(server)


# ---- wills and retained messages ----

def test_wills(broker, device, server):
    mine, other = broker.register(2)
    for topic, payload, told in [(f"device/{other}/status", "forged", False), (f"device/{mine}/ota", "forged", False),
                                 (f"device/{mine}/status", "x" * 4097, False), (f"device/{mine}/status", "offline", True)]:
        client = device(mine, will={"topic": topic, "payload": payload, "qos": 1})
        client.drop()
        if told:
            assert server.receive() == (topic, payload)
        else:
            assert hears_nothing(server)


@pytest.mark.parametrize("version", [4, 5])
def test_nothing_of_a_device_stays_retained(broker, connect, device, server, version):
    number = broker.register()
    status = f"device/{number}/status"
    will = {"topic": status, "payload": "gone", "qos": 1, "retain": True}
    client = device(number, version=version, will=will)
    client.publish(status, "poison", retain=True)
    assert server.receive() == (status, "poison")  # heard, as any other
    client.drop()
    assert server.receive() == (status, "gone")
    # the will of one that is taken over
    first = device(number, version=version, will=will)
    second = device(number, version=version)
    assert first.lost_within(1)
    assert server.receive() == (status, "gone")
    assert second.alive()
    second.publish(f"device/{number}/ota", "poison", retain=True)
    later = connect("otad", broker.mosquitto.password, client_id="otad-later")
    assert later.connected() == 0
    later.subscribe(f"device/{number}/#")
    assert hears_nothing(later)


@pytest.mark.parametrize("ends", ["not", "rotated", "deleted", "rotated and back"])
def test_a_delayed_will_ends_with_its_credentials(broker, connect, device, server, ends):
    """MQTT 5 lets a will wait long after its connection: no word of an old password's holder may come out then."""
    number = broker.register()
    delay, expiry = Properties(PacketTypes.WILLMESSAGE), Properties(PacketTypes.CONNECT)
    delay.WillDelayInterval, expiry.SessionExpiryInterval = 2, 60
    client = device(number, version=5, properties=expiry, will={
        "topic": f"device/{number}/status", "payload": "late", "qos": 1, "properties": delay})
    client.drop()
    time.sleep(0.5)
    if ends.startswith("rotated"):
        broker.rotate(number)
    elif ends == "deleted":
        broker.delete(number)
    if ends == "rotated and back":
        time.sleep(0.3)
        client = device(number, version=5, properties=expiry, will={
            "topic": f"device/{number}/status", "payload": "late", "qos": 1, "properties": delay})
        client.drop()
    if ends in ("not", "rotated and back"):
        assert server.receive(6) == (f"device/{number}/status", "late")
    else:
        assert hears_nothing(server, 5)


# ---- credentials that end ----

@pytest.mark.parametrize("options", [{}, {"version": 5}, {"transport": "websockets"}, {"clean": False}],
                         ids=["3.1.1", "5", "websockets", "persistent"])
def test_rotation_ends_the_connection_and_the_password(broker, connect, device, server, options):
    number = broker.register()
    old = broker.passwords[number]
    client = device(number, will={"topic": f"device/{number}/status", "payload": "will", "qos": 1}, **options)
    start = time.monotonic()
    broker.rotate(number)
    assert client.lost_within(1), "still connected"
    print("disconnected after", client.lost[0] - start)
    refused = connect(f"device-{number}", old, **options)
    assert refused.connected() == NOT_AUTHORISED[options.get("version", 4)]
    device(number, **options)
    assert hears_nothing(server, 0.2)  # no will: it was thrown out


def test_deletion_ends_the_connection_and_the_password(broker, connect, device):
    number = broker.register()
    client = device(number)
    broker.delete(number)
    assert client.lost_within(1)
    assert connect(f"device-{number}", broker.passwords[number]).connected() == 5


def test_deleting_many_at_once(broker, device):
    numbers = broker.register(60)
    clients = [device(number) for number in numbers]
    broker.delete(*numbers[:50])
    for client in clients[:50]:
        assert client.lost_within(1.5)
    assert all(client.alive() for client in clients[50:])


def test_rotating_an_absent_device_with_a_persistent_session(broker, device, server):
    number = broker.register()
    client = device(number, clean=False)
    client.subscribe(f"device/{number}/ota")
    client.close()
    broker.rotate(number)
    server.publish(f"device/{number}/ota", "while you were away")
    time.sleep(0.3)
    client = device(number, clean=False)
    assert client.receive() == (f"device/{number}/ota", "while you were away")


# ---- the log ----

def test_refusals_do_not_flood_the_log_and_secrets_never_reach_it(broker, connect):
    number = broker.register()
    before = len(broker.mosquitto.text().splitlines())
    for _ in range(60):
        assert connect(f"device-{number}", "hunter2-hunter2").connected() == 5
    text = broker.mosquitto.text()
    assert len(text.splitlines()) - before < 25
    assert "refused" in text
    for secret in [broker.mosquitto.password, "hunter2", *broker.passwords.values()]:
        assert secret not in text


# ---- the broker's own life ----

def test_sighup_keeps_sessions_and_lets_nobody_in(broker, connect, device):
    here, away = broker.register(2)
    client = device(here)
    device(away, clean=False).close()
    old = broker.mosquitto.password
    broker.mosquitto.password = "another-password-of-otad"
    broker.mosquitto.password_file.write_text(broker.mosquitto.password)
    for _ in range(3):
        broker.mosquitto.process.send_signal(1)
        time.sleep(0.3)
    assert client.alive()
    assert connect(f"device-{away}", "wrong").connected() == 5
    assert connect("otad", old, client_id="otad-1").connected() == 5
    assert connect("otad", broker.mosquitto.password, client_id="otad-1").connected() == 0
    broker.rotate(here)
    broker.rotate(away)
    assert client.lost_within(1)
    assert f"device-{away} disconnected" not in broker.mosquitto.text()  # the absent one was not taken for present
    device(away, clean=False)


def test_offers_survive_a_kill(broker, device, server):
    number = broker.register()
    server.publish(f"device/{number}/ota", f"offer {number}", retain=True)
    saved = broker.mosquitto.directory / "data/mosquitto.db"
    wait_until(lambda: saved.exists() and b"offer %d" % number in saved.read_bytes(), what="it is saved, every two seconds")
    broker.mosquitto.kill()
    broker.mosquitto.start()
    client = device(number)
    client.subscribe(f"device/{number}/ota")
    assert client.receive() == (f"device/{number}/ota", f"offer {number}")
