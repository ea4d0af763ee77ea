"""Devices of a running otad as tests drive them: registered over HTTP, connected with paho-mqtt.

Messages arrive on paho's thread and are taken from a queue by the test's. For a device that behaves like firmware
(downloads, verifies, reboots) use build/otad-device instead.
"""
import json
import queue
import secrets
import ssl
import time

import paho.mqtt.client as mqtt


class Device:
    """id, device_code, credentials, topics; `registration` is the whole answer."""

    def __init__(self, system, account, chip="esp32", **fields):
        self.system, self.account = system, account
        self.session = secrets.token_hex(4)
        body = {"device_code": f"test-{secrets.token_hex(6)}", "chip": chip, **fields}
        answer = account.client.post("/devices/register", json=body)
        assert answer.status_code == 201, answer.text
        self.registration = answer.json()
        self.device = self.registration["device"]
        self.id, self.device_code = self.device["id"], self.device["device_code"]
        self.credentials = self.registration["credentials"]
        self.topics = self.registration["mqtt"]["topics"]
        self.messages = queue.Queue()
        self.mqtt = None

    def connect(self, tls=True, will=True, credentials=None, protocol=mqtt.MQTTv311, timeout=60):
        """Connects and subscribes to its offers; returns the code of CONNACK (0: accepted)."""
        credentials = credentials or self.credentials
        connected, subscribed = queue.Queue(), queue.Queue()
        client = mqtt.Client(credentials["client_id"], protocol=protocol,
                             **({} if protocol == mqtt.MQTTv5 else {"clean_session": True}))
        client.username_pw_set(credentials["username"], credentials["password"])
        if tls:
            client.tls_set(ca_certs=str(self.system.ca), cert_reqs=ssl.CERT_REQUIRED)
        if will:
            client.will_set(self.topics["status"], json.dumps({"status": "offline", "session": self.session}), qos=1)
        client.on_connect = lambda c, u, flags, code, properties=None: connected.put(code)
        client.on_subscribe = lambda c, u, mid, codes, properties=None: subscribed.put(codes)
        client.on_message = lambda c, u, message: self.messages.put(message)
        client.connect(self.system.host, self.system.mqtts_port if tls else self.system.mqtt_port, keepalive=30)
        client.loop_start()
        self.mqtt = client
        code = connected.get(timeout=timeout)
        if code == 0:
            client.subscribe(self.topics["ota"], qos=1)
            subscribed.get(timeout=timeout)
        return getattr(code, "value", code)

    def publish(self, topic, payload, qos=1, timeout=60):
        """Publishes bytes, a text or a table (as JSON) and waits for the broker's acknowledgement."""
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        info = self.mqtt.publish(topic, payload, qos=qos)
        info.wait_for_publish(timeout)
        assert info.is_published(), "no acknowledgement"

    def status(self, **fields):
        """Tells its status: online, unless told otherwise."""
        self.publish(self.topics["status"], {"status": "online", "session": self.session, **fields})

    def log(self, message, level="info"):
        self.publish(self.topics["logs"], {"level": level, "message": message})

    def offer(self, timeout=60):
        """The next offer: the manifest as a table, with the message as `_message`; None for a cleared one."""
        message = self.messages.get(timeout=timeout)
        if not message.payload:
            return None
        outer = json.loads(message.payload)
        return {**json.loads(outer["manifest"]), "_message": outer}

    def disconnect(self):
        """In good order: the broker drops the will."""
        if self.mqtt is not None:
            self.mqtt.disconnect()
            self.mqtt.loop_stop()
            self.mqtt = None

    def vanish(self):
        """As by a power cut: the connection breaks and the broker publishes the will."""
        self.mqtt._sock_close()
        self.mqtt.loop_stop()
        self.mqtt = None

    def get(self):
        return self.account.client.get(f"/devices/{self.id}").json()

    def wait(self, condition, timeout=15):
        """Waits until condition(device as the server shows it) holds; returns the device."""
        return wait_for(lambda: (lambda d: d if condition(d) else None)(self.get()), timeout)


PATIENCE = 4  # with sanitized programs, other tests beside this one, and a machine that does something else, too


def wait_for(function, timeout=15, interval=None):
    """Waits until function() returns something true, and returns that. `timeout`: seconds of an idle machine. Without an
    `interval` (seconds) it asks ever more seldom, as asking may cost more than what is waited for."""
    end = time.monotonic() + timeout * PATIENCE
    pause = 0.05 if interval is None else interval
    while True:
        value = function()
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout} s"
        time.sleep(pause)
        if interval is None:
            pause = min(pause * 1.2, 0.5)
