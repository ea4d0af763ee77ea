"""paho-mqtt, made to wait for: every method returns what the broker answered."""
import queue
import socket
import time

import paho.mqtt.client as paho


class Client:
    def __init__(self, broker, username, password, client_id=None, version=4, transport="tcp", clean=True, will=None,
                 properties=None, keepalive=60):
        self.inbox = queue.Queue()
        self.subacks = queue.Queue()
        self.pubacks = queue.Queue()
        self.answers = queue.Queue()
        self.lost = []
        # A client that reconnects by itself would hide that it was thrown out.
        options = {"reconnect_on_failure": False} | ({} if version == 5 else {"clean_session": clean})
        self.paho = paho.Client(client_id=username if client_id is None else client_id, protocol=version,
                                transport=transport, **options)
        if username is not None:
            self.paho.username_pw_set(username, password)
        if will:
            self.paho.will_set(**will)
        self.paho.on_connect = lambda *args: self.answers.put(int(getattr(args[3], "value", args[3])))
        self.paho.on_disconnect = lambda *args: (self.lost.append(time.monotonic()), self.answers.put(None))
        self.paho.on_message = lambda client, data, message: self.inbox.put(message)
        self.paho.on_subscribe = lambda *args: self.subacks.put([int(getattr(c, "value", c)) for c in args[3]])
        self.paho.on_publish = lambda *args: self.pubacks.put(args[2])
        port = broker.ws_port if transport == "websockets" else broker.port
        more = {"clean_start": clean, "properties": properties} if version == 5 else {}
        self.paho.connect("127.0.0.1", port, keepalive=keepalive, **more)
        self.paho.loop_start()

    def connected(self, timeout=30):
        """The CONNACK's code, 0 if let in; None if the connection was closed without one."""
        return self.answers.get(timeout=timeout)

    def subscribe(self, *topics, qos=1):
        self.paho.subscribe([(topic, qos) for topic in topics])
        return self.subacks.get(timeout=30)

    def publish(self, topic, payload="", qos=1, retain=False):
        self.paho.publish(topic, payload, qos=qos, retain=retain)
        self.pubacks.get(timeout=30)

    def receive(self, timeout=30):
        message = self.inbox.get(timeout=timeout)
        return message.topic, message.payload.decode()

    def alive(self):
        """Does the broker still answer it?"""
        if self.lost:
            return False
        return len(self.subscribe("$probe/nothing")) == 1

    def lost_within(self, seconds):
        """`seconds` on an idle machine: a busy one gets more, and who is lost in time does not wait for it."""
        end = time.monotonic() + 8 * seconds
        while time.monotonic() < end and not self.lost:
            time.sleep(0.01)
        return bool(self.lost)

    def close(self):
        if self.paho:
            self.paho.disconnect()
            self.paho.loop_stop()
            self.paho = None  # and with it three descriptors

    def drop(self):
        """Goes without a word, so that the broker sends the will."""
        self.paho.socket().shutdown(socket.SHUT_RDWR)
