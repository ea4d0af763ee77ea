"""Devices over HTTP: registration, lists, changes, credentials, deletion, and what they told."""
import base64
import hashlib
import secrets

import pytest

from answers import DEVICE, problem, without_id
from devices import wait_for


def code():
    return f"code-{secrets.token_hex(6)}"


def register(account, **fields):
    answer = account.client.post("/devices/register", json={"device_code": code(), **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()["device"]


def pages(account, path, limit, **query):
    """All items, fetched page by page."""
    items, cursor = [], None
    while True:
        params = {"limit": limit, **query} | ({"cursor": cursor} if cursor else {})
        answer = account.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert set(page) == {"items", "next"} and len(page["items"]) <= limit
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items
        assert len(page["items"]) == limit


def test_registration_tells_all_a_device_needs(otad, user):
    name = code()
    answer = user.client.post("/devices/register", json={
        "device_code": name, "name": "Küche", "chip": "esp32s3", "tags": {"site": "berlin", "ring": ""}})
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"device", "credentials", "mqtt", "keys"}
    device = body["device"]
    assert list(device) == DEVICE
    assert device["device_code"] == name and device["name"] == "Küche" and device["chip"] == "esp32s3"
    assert device["tags"] == {"site": "berlin", "ring": ""} and device["status"] == "offline"
    assert device["user_id"] == user.id and device["last_seen"] is None and device["firmware_version"] is None
    who = f"device-{device['id']}"
    assert body["credentials"].keys() == {"username", "password", "client_id"}
    assert body["credentials"]["username"] == body["credentials"]["client_id"] == who
    assert len(body["credentials"]["password"]) >= 43
    mqtt = body["mqtt"]
    assert set(mqtt) == {"host", "port", "tls", "ca", "topics"}
    assert mqtt["port"] == otad.mqtts_port and mqtt["tls"] is True and mqtt["ca"] == otad.ca.read_text()
    assert mqtt["topics"] == {name: f"device/{device['id']}/{name}" for name in ("status", "ota", "logs")}
    assert set(body["keys"]) == {"manifest", "release"} and body["keys"]["release"]
    for key in [body["keys"]["manifest"], *body["keys"]["release"]]:
        assert len(base64.b64decode(key, validate=True)) == 32


def test_the_password_is_shown_once_and_kept_as_hash(otad, user, make_device):
    device = make_device(user)
    password = device.credentials["password"]
    row = otad.psql(f"select encode(password_sha256, 'hex') from device_credentials where device_id = {device.id}")
    assert row == hashlib.sha256(password.encode()).hexdigest()
    assert password not in user.client.get(f"/devices/{device.id}").text


def test_least_registration(user):
    device = register(user)
    assert device["name"] is None and device["chip"] is None and device["tags"] == {}


def test_a_code_is_taken_once(user, make_user):
    device = register(user)
    problem(user.client.post("/devices/register", json={"device_code": device["device_code"]}), 409)
    problem(make_user().client.post("/devices/register", json={"device_code": device["device_code"]}), 409)


@pytest.mark.parametrize("field, value", [
    ("device_code", ""), ("device_code", "x" * 51), ("device_code", "a b"), ("device_code", "ä"), ("device_code", "a/b"),
    ("device_code", "a\n"), ("device_code", 5), ("device_code", None), ("device_code", "+"), ("device_code", "#"),
    ("chip", "esp8266"), ("chip", "ESP32"), ("chip", 32), ("name", ""), ("name", "x" * 101), ("name", 5),
    ("tags", []), ("tags", "a"), ("tags.a", {"a": 1}), ("tags.a", {"a": None}), ("tags.a", {"a": {"b": "c"}}),
    ("tags.a", {"a": "x" * 101}), ("tags", {str(i): "x" for i in range(33)}), ("tags.a:b", {"a:b": "x"}), ("tags.", {"": "x"})])
def test_bad_fields(user, field, value):
    body = {"device_code": code()} | {field.split(".")[0]: value}
    problem(user.client.post("/devices/register", json=body), 422, field)


@pytest.mark.parametrize("good", ["a", "x" * 50, "A-Z.a_z:0-9", "::", "-"])
def test_good_codes(otad, user, good):
    otad.psql(f"delete from devices where device_code = '{good}'")
    answer = user.client.post("/devices/register", json={"device_code": good})
    assert answer.status_code == 201 and answer.json()["device"]["device_code"] == good


def test_get_and_patch(user):
    device = register(user, name="one", tags={"a": "b"})
    path = f"/devices/{device['id']}"
    assert user.client.get(path).json() == device
    changed = user.client.patch(path, json={"name": "two"})
    assert changed.status_code == 200 and changed.json() == {**device, "name": "two"}
    assert user.client.patch(path, json={"tags": {"c": "d"}}).json() == {**device, "name": "two", "tags": {"c": "d"}}
    assert user.client.patch(path, json={"name": None, "tags": {}}).json() == {**device, "name": None, "tags": {}}
    assert user.client.patch(path, json={}).json() == {**device, "name": None, "tags": {}}
    assert user.client.patch(path, json={"chip": "esp32c6"}).json()["chip"] == "esp32c6"
    assert user.client.patch(path, json={"chip": None}).json()["chip"] is None
    for field in ("id", "user_id", "status", "chip", "device_code", "firmware_version"):
        problem(user.client.patch(path, json={field: 1}), 422, field)
    assert user.client.get(path).json() == {**device, "name": None, "tags": {}}


def test_the_list_goes_page_by_page(user):
    made = [{**register(user), "update": None} for _ in range(7)]
    for limit in (1, 3, 7, 8, 200):
        assert pages(user, "/devices", limit) == made
    assert user.client.get("/devices").json() == {"items": made, "next": None}


def test_filters(otad, user):
    a = register(user, chip="esp32", tags={"site": "a:b", "ring": "1"})
    b = register(user, chip="esp32c3", tags={"site": "b"})
    c = register(user, chip="esp32c3", tags={"site": "b", "ring": "1"})
    otad.psql(f"update devices set status = 'online', firmware_version = '1.2.0' where id = {c['id']}")

    def ids(**query):
        return [device["id"] for device in pages(user, "/devices", 1, **query)]
    assert ids(chip="esp32c3") == [b["id"], c["id"]]
    assert ids(tag="ring:1") == [a["id"], c["id"]]
    assert ids(tag="site:a:b") == [a["id"]]
    assert ids(tag="site:") == []
    assert ids(online="true") == [c["id"]]
    assert ids(online="false") == [a["id"], b["id"]]
    assert ids(version="1.2.0") == [c["id"]]
    assert ids(chip="esp32c3", tag="site:b", online="false") == [b["id"]]
    assert ids(chip="nothing") == []


def test_operators_see_all_and_filter_too(operator, user):
    mark = secrets.token_hex(4)
    made = [{**register(user, tags={"mark": mark}, chip=chip), "update": None} for chip in ("esp32", "esp32c3", "esp32")]
    assert pages(operator, "/devices", 2, tag=f"mark:{mark}") == made
    assert pages(operator, "/devices", 2, tag=f"mark:{mark}", chip="esp32") == [made[0], made[2]]
    everything = [device["id"] for device in pages(operator, "/devices", 200)]
    assert everything == sorted(everything) and {device["id"] for device in made} <= set(everything)
    assert {**operator.client.get(f"/devices/{made[0]['id']}").json(), "update": None} == made[0]


CALLS = [("GET", "/devices/{}"), ("PATCH", "/devices/{}"), ("GET", "/devices/{}/status"), ("POST", "/devices/{}/update"),
         ("POST", "/devices/{}/update/cancel"), ("GET", "/devices/{}/updates"), ("GET", "/devices/{}/logs"),
         ("GET", "/devices/{}/telemetry?name=rssi"), ("GET", "/devices/{}/explain"), ("POST", "/devices/{}/credentials"),
         ("DELETE", "/devices/{}/delete")]
BODIES = {"PATCH": {"name": "mine"}, "/update": {"version": "1.0"}}


def call(account, method, path, id):
    body = BODIES.get(method) or BODIES.get(path[path.rindex("/"):])
    return account.client.request(method, path.format(id), json=body)


@pytest.mark.parametrize("method, path", CALLS)
def test_a_foreign_device_is_like_none(make_user, user, method, path):
    device = register(make_user())
    foreign, none = call(user, method, path, device["id"]), call(user, method, path, 2147483647)
    problem(foreign, 404)
    assert foreign.status_code == none.status_code and without_id(foreign) == without_id(none)


@pytest.mark.parametrize("id", ["0", "-1", "2147483648", "9223372036854775808", "1e3", "1;drop", "%00", "..%2f", "01", "+1",
                                "1.0", "x", "%31%00", "null", "%f0%9f%92%a9", "1%20"])
@pytest.mark.parametrize("method, path", CALLS)
def test_odd_ids_are_404(operator, method, path, id):
    assert call(operator, method, path, id).status_code in (400, 404)


@pytest.mark.parametrize("method, path", CALLS)
def test_who_asks_comes_before_what_for(client, operator, user, method, path):
    """/devices/0 was 404 without a token, where /devices/1 was 401."""
    for id in ("0", "1", "x", "9223372036854775808"):
        assert problem(client.request(method, path.format(id)), 401)
    odd, none = call(operator, method, path, "0"), call(operator, method, path, 2147483647)
    problem(odd, 404)
    assert without_id(odd) == without_id(none)
    assert client.request("PUT", "/devices/0").headers["allow"] == client.request("PUT", "/devices/1").headers["allow"]


@pytest.mark.parametrize("method, path", [("POST", "/devices/{}/update/cancel"), ("POST", "/devices/{}/credentials"),
                                          ("DELETE", "/devices/{}/delete")])
def test_calls_without_a_body_take_none(otad, operator, device, method, path):
    path = path.format(device.id)
    before = otad.psql(f"select password_sha256 from device_credentials where device_id = {device.id}")
    problem(operator.client.request(method, path, json={"reason": "x"}), 422, "reason")
    problem(operator.client.request(method, path, json=[1]), 422)
    problem(operator.client.request(method, path, content=b"{", headers={"content-type": "application/json"}), 400)
    problem(operator.client.request(method, path, content=b"x=1"), 415)
    assert otad.psql(f"select password_sha256 from device_credentials where device_id = {device.id}") == before
    assert operator.client.request(method, path, json={}).status_code in (200, 204, 409)


@pytest.mark.parametrize("number", ["2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
                                    "1" + "0" * 200])
def test_integers_too_large(operator, device, number):
    """Those beyond 64 bits were 400: no JSON."""
    answer = operator.client.post(f"/devices/{device.id}/update", content=f'{{"firmware_id": {number}}}',
                                  headers={"content-type": "application/json"})
    body = problem(answer, 422, "firmware_id")
    assert body["errors"][0]["message"] == "must be between 1 and 2147483647"
    for path, field in (("/devices", "limit"), (f"/devices/{device.id}/telemetry?name=x", "points")):
        body = problem(operator.client.get(path, params=({"name": "x"} if "name" in path else {}) | {field: number}), 422, field)
        assert body["errors"][0]["message"].startswith("must be between 1 and ")


# The chip


def test_the_chip_as_the_device_tells_it(make_device):
    known, unknown = make_device(chip="esp32"), make_device(chip=None)
    assert known.get()["chip_reported"] is None
    for device in (known, unknown):
        assert device.connect() == 0
        device.status(chip="esp32s3")
        device.wait(lambda d: d["chip_reported"] == "esp32s3")
    assert known.get()["chip"] == "esp32" and unknown.get()["chip"] == "esp32s3"
    assert "reports the chip esp32s3" in known.account.client.get(f"/devices/{known.id}/explain").json()["explanation"]
    changed = known.account.client.patch(f"/devices/{known.id}", json={"chip": None}).json()
    assert changed["chip"] == changed["chip_reported"] == "esp32s3"


def test_status_of_a_device_never_heard_of(user):
    device = register(user)
    body = user.client.get(f"/devices/{device['id']}/status").json()
    assert body == {"status": "offline", "last_seen": None, "firmware_version": None, "telemetry": {}, "update": None}


def test_status_after_the_device_spoke(device, operator):
    assert device.connect() == 0
    device.status(firmware_version="1.2.0", rssi=-61, battery=87.5, door="open")
    device.wait(lambda d: d["firmware_version"] == "1.2.0")
    body = operator.client.get(f"/devices/{device.id}/status").json()
    assert list(body) == ["status", "last_seen", "firmware_version", "telemetry", "update"]
    assert body["status"] == "online" and body["update"] is None
    assert body["telemetry"]["rssi"] == -61 and body["telemetry"]["battery"] == 87.5
    assert body["telemetry"]["door"] == "open"


def test_rotation_ends_the_old_password(otad, operator, device):
    old = dict(device.credentials)
    assert device.connect() == 0
    answer = operator.client.post(f"/devices/{device.id}/credentials")
    assert answer.status_code == 200 and set(answer.json()) == {"credentials"}
    new = answer.json()["credentials"]
    assert {**new, "password": ""} == {**old, "password": ""} and new["password"] != old["password"]
    wait_for(lambda: not device.mqtt.is_connected())
    device.disconnect()
    assert device.connect(credentials=old) != 0
    device.disconnect()
    assert device.connect(credentials=new) == 0


def test_deletion_takes_all_away(otad, operator, device):
    assert device.connect() == 0
    answer = operator.client.request("DELETE", f"/devices/{device.id}/delete")
    assert answer.status_code == 204 and answer.content == b""
    wait_for(lambda: not device.mqtt.is_connected())
    device.disconnect()
    assert device.connect() != 0
    for method, path in CALLS:
        problem(call(operator, method, path, device.id), 404)
    assert otad.psql(f"select count(*) from device_credentials where device_id = {device.id}") == "0"


# Logs


def test_logs_newest_first(device, operator):
    assert device.connect() == 0
    for i in range(5):
        device.log(f"line {i}", level="warn" if i == 3 else "info")
    path = f"/devices/{device.id}/logs"
    wait_for(lambda: len(operator.client.get(path).json()["items"]) == 5)
    items = pages(operator, path, 2)
    assert [item["message"] for item in items] == [f"line {i}" for i in (4, 3, 2, 1, 0)]
    assert all(set(item) == {"at", "level", "message"} for item in items) and items[1]["level"] == "warn"


def test_log_pages_are_whole_where_times_are_equal(otad, operator, device):
    otad.psql(f"insert into device_logs (device_id, at, level, message) "
              f"select {device.id}, date_trunc('day', now()) + i / 4 * interval '1 microsecond', 'info', i::text "
              f"from generate_series(0, 21) i")
    items = pages(operator, f"/devices/{device.id}/logs", 3)
    assert [int(item["message"]) for item in items] == list(range(21, -1, -1))


def test_logs_since(otad, operator, device):
    otad.psql(f"insert into device_logs (device_id, at, level, message) "
              f"select {device.id}, date_trunc('day', now()) + i * interval '1 second', 'info', i::text "
              f"from generate_series(0, 9) i")
    path = f"/devices/{device.id}/logs"
    at = next(item["at"] for item in operator.client.get(path).json()["items"] if item["message"] == "7")
    for text in (at, at.replace("Z", "+00:00"), at.replace("Z", "%2B00:00")):
        items = operator.client.get(f"{path}?since={text}").json()["items"]
        assert [item["message"] for item in items] == ["9", "8", "7"]
    for text in ("", "yesterday", "2026-02-30T00:00:00Z", "2026-01-01", "1700000000", "9999-99-99T99:99:99Z"):
        problem(operator.client.get(path, params={"since": text}), 422, "since")


# Telemetry


def test_points_begin_at_round_instants(otad, operator, device):
    otad.psql(f"insert into telemetry (device_id, at, fields) select {device.id}, date_trunc('day', now()) + i * "
              f"interval '10 s', '{{\"rssi\": [1, -60, -60, -60]}}' from generate_series(0, 8639) i")
    day = otad.psql("select to_char(date_trunc('day', now() at time zone 'utc'), 'YYYY-MM-DD')")
    query = {"name": "rssi", "from": f"{day}T00:00:07Z", "to": f"{day}T23:59:53Z", "points": 100}
    points = operator.client.get(f"/devices/{device.id}/telemetry", params=query).json()["points"]
    assert 90 < len(points) <= 100
    assert points[0]["at"] == query["from"]  # it tells what is since then
    assert all(point["at"][14:] in ("00:00Z", "15:00Z", "30:00Z", "45:00Z") for point in points[1:])
    single = operator.client.get(f"/devices/{device.id}/telemetry", params={**query, "points": 1}).json()["points"]
    assert [point["at"] for point in single] == [query["from"]]
    month = {"name": "rssi", "from": otad.psql(f"select date '{day}' - 29") + "T00:00:00Z", "to": query["to"], "points": 30}
    points = operator.client.get(f"/devices/{device.id}/telemetry", params=month).json()["points"]
    assert points == [{"at": f"{day}T00:00:00Z", "min": -60, "avg": -60, "max": -60}]


def test_telemetry_in_points(otad, operator, device):
    otad.psql(f"insert into telemetry (device_id, at, fields) values "
              f"({device.id}, date_trunc('day', now()), '{{\"rssi\": [2, -70, -60, -130], \"heap\": [1, 5, 5, 5]}}'), "
              f"({device.id}, date_trunc('day', now()) + interval '30 s', '{{\"rssi\": [1, -50, -50, -50]}}'), "
              f"({device.id}, date_trunc('day', now()) + interval '90 s', '{{\"rssi\": [4, 1.5, 2.5, 8]}}'), "
              f"({device.id}, date_trunc('day', now()) + interval '120 s', '{{\"rssi\": [1, 9, 9, 9]}}')")
    day = otad.psql("select to_char(date_trunc('day', now() at time zone 'utc'), 'YYYY-MM-DD')")
    path = f"/devices/{device.id}/telemetry"
    span = {"from": f"{day}T00:00:00Z", "to": f"{day}T00:02:00Z"}
    answer = operator.client.get(path, params={"name": "rssi", "points": 2, **span})
    assert answer.status_code == 200
    assert answer.json() == {"name": "rssi", "points": [
        {"at": f"{day}T00:00:00Z", "min": -70, "avg": -60, "max": -50},
        {"at": f"{day}T00:01:00Z", "min": 1.5, "avg": 2, "max": 2.5}]}
    assert len(operator.client.get(path, params={"name": "rssi", "points": 1000, **span}).json()["points"]) == 3
    assert operator.client.get(path, params={"name": "nothing", **span}).json() == {"name": "nothing", "points": []}
    assert operator.client.get(path, params={"name": "heap"}).status_code == 200


@pytest.mark.parametrize("query, field", [
    ({}, "name"), ({"name": ""}, "name"), ({"name": "x" * 65}, "name"), ({"name": "a", "points": "0"}, "points"),
    ({"name": "a", "points": "1001"}, "points"), ({"name": "a", "points": "1e2"}, "points"), ({"name": "a", "from": "x"}, "from"),
    ({"name": "a", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"), ({"name": "a", "x": "1"}, "x"),
    ({"name": "a\0b"}, "name")])
def test_telemetry_checks_its_query(operator, device, query, field):
    problem(operator.client.get(f"/devices/{device.id}/telemetry", params=query), 422, field)
