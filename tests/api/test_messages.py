"""What devices say and should not: counted by reason, logged once a minute a device, without effect, and the next
message is taken."""
import json
import re
import time

import httpx
import pytest

from devices import wait_for

# Payload, and the reason it counts under.
MALFORMED = [
    (b"", "syntax"), (b"{", "syntax"), (b"[]", "syntax"), (b"\xff\xfe", "syntax"), (b'{"status":"online"}x', "syntax"),
    (b'{"status":"online","a":NaN}', "syntax"), (b'{"status":"online","a":"\\ud800"}', "syntax"),
    (b'{"status":"online","a":"\x00"}', "syntax"), (b"[" * 4000, "syntax"), (b'{"a":' * 800, "syntax"),
    (b"{}", "type"), (b'{"status":5}', "type"), (b'{"status":"online","firmware_version":7}', "type"),
    (b'{"status":"online","ota":"x"}', "type"), (b'{"status":"online","ota":{"update_id":"1"}}', "type"),
    (b'{"status":"asleep"}', "value"), (b'{"status":"online","elf_sha256":"xyz"}', "value"),
    (b'{"status":"online","ota":{"update_id":99999999999,"state":"accepted"}}', "value"),
    (b'{"status":"online","ota":{"update_id":1,"state":"dancing"}}', "value")]


def rejections(otad):
    """{reason: count}"""
    text = httpx.get(f"{otad.url}/metrics", timeout=30).text
    return {reason: int(float(count))
            for reason, count in re.findall(r'^otad_mqtt_rejected_total\{reason="(\w+)"\} (\S+)$', text, re.M)}


def log_lines(otad, device):
    return [line for line in otad.log_path.read_text(errors="replace").splitlines()
            if '"malformed message"' in line and f'"device":{device.id},' in line]


@pytest.fixture
def online(device):
    assert device.connect() == 0
    device.status(firmware_version="1.0.0", rssi=-50)
    device.wait(lambda d: d["firmware_version"] == "1.0.0")
    return device


def test_malformed_messages_change_nothing(otad, operator, online):
    before, shown = rejections(otad), operator.client.get(f"/devices/{online.id}/status").json()
    for payload, _ in MALFORMED:
        online.publish(online.topics["status"], payload)
    expected = {reason: before.get(reason, 0) + sum(reason == why for _, why in MALFORMED)
                for reason in ("syntax", "type", "value")}
    wait_for(lambda: {reason: rejections(otad).get(reason) for reason in expected} == expected, 20)
    now = operator.client.get(f"/devices/{online.id}/status").json()
    assert {**now, "last_seen": 0} == {**shown, "last_seen": 0}
    assert 1 <= len(log_lines(otad, online)) <= 2  # a minute may have ended in between
    online.status(firmware_version="1.0.1")
    online.wait(lambda d: d["firmware_version"] == "1.0.1")


def test_what_is_nested_or_too_much_is_dropped_and_the_rest_taken(otad, operator, online):
    before = rejections(otad)
    online.status(firmware_version="2.0.0", deep={"a": 1}, list=[1], **{f"field{i}": i for i in range(40)})
    online.wait(lambda d: d["firmware_version"] == "2.0.0")
    after = rejections(otad)
    assert after["nested"] - before.get("nested", 0) == 2
    assert after["surplus"] - before.get("surplus", 0) == 8
    telemetry = operator.client.get(f"/devices/{online.id}/status").json()["telemetry"]
    assert "deep" not in telemetry and "list" not in telemetry
    assert sum(name.startswith("field") for name in telemetry) == 32


def test_new_names_of_telemetry_are_always_taken(operator, online):
    for message in range(9):
        names = {f"n{message}x{i}": i for i in range(20)}
        online.status(**names)
        wait_for(lambda: names.items() <= operator.client.get(f"/devices/{online.id}/status").json()["telemetry"].items())


def test_what_cannot_be_is_dropped_and_the_rest_taken(otad, operator, online):
    before = rejections(otad)
    online.status(firmware_version="3.0.0", chip="esp8266", battery=500, uptime=-1, rssi=-4000, heap=77)
    online.wait(lambda d: d["firmware_version"] == "3.0.0")
    assert rejections(otad)["range"] - before.get("range", 0) == 4
    telemetry = operator.client.get(f"/devices/{online.id}/status").json()["telemetry"]
    assert (telemetry["heap"], telemetry["rssi"]) == (77, -50)
    assert "battery" not in telemetry and "uptime" not in telemetry
    assert online.get()["chip_reported"] is None


def test_wills_of_older_sessions_are_counted_whatever_is_written(otad, online):
    for old in range(3):
        before = rejections(otad).get("old_will", 0)
        online.publish(online.topics["status"], json.dumps({"status": "offline", "session": f"older{old}"}))
        wait_for(lambda: rejections(otad).get("old_will", 0) == before + 1)
        time.sleep(0.5)
    assert online.get()["status"] == "online"


def test_the_will_of_an_older_session_is_not_heard(online):
    online.publish(online.topics["status"], json.dumps({"status": "offline", "session": "older"}))
    online.log("later")  # one worker takes both, in order; statuses are written ten times a second
    wait_for(lambda: online.account.client.get(f"/devices/{online.id}/logs").json()["items"])
    time.sleep(1)
    assert online.get()["status"] == "online"
    online.publish(online.topics["status"], json.dumps({"status": "offline", "session": online.session}))
    online.wait(lambda d: d["status"] == "offline")
