"""What operators are told of how an installation is set up."""
import base64
import hashlib

from answers import problem


def test_settings(otad, operator):
    answer = operator.client.get("/admin/settings")
    assert answer.status_code == 200, answer.text
    settings = answer.json()
    assert set(settings) == {"version", "instance", "addresses", "keys", "config"}
    assert settings["version"] == operator.client.get("/healthz").json()["version"]
    assert settings["instance"] == operator.client.get("/admin/scripts").json()["instance"]
    assert settings["addresses"] == {
        "public": otad.url, "http": otad.url, "https": otad.https_url,
        "mqtt": {"host": "localhost", "port": otad.mqtts_port, "tls": True},
    }


def test_keys_with_their_ids(otad, operator, make_device):
    shown = operator.client.get("/admin/settings").json()["keys"]
    registered = make_device().registration["keys"]
    assert shown["auto_sign"] is True
    assert shown["manifest"]["key"] == registered["manifest"]
    assert [key["key"] for key in shown["release"]] == registered["release"] != []
    for key in (shown["manifest"], *shown["release"]):
        assert key["id"] == hashlib.sha256(base64.b64decode(key["key"])).hexdigest()[:8]


def test_no_secret_is_shown(otad, operator):
    text = operator.client.get("/admin/settings").text
    config = {entry["key"]: entry for entry in operator.client.get("/admin/settings").json()["config"]}
    assert not {"database.url", "redis.url", "mqtt.url", "mqtt.password"} & set(config)
    for name in ("postgresql.password", "redis.password", "mqtt.password", "database.url", "redis.url"):
        assert (otad.var / "keys" / name).read_text().strip() not in text
    assert config["http.port"]["value"] == otad.http_port
    assert config["device.offline_after"] == {
        "key": "device.offline_after", "value": 120, "unit": "s", "help": "silence after which a device is offline"}
    assert config["firmware.auto_sign"]["value"] is True
    assert config["public_url"]["value"] == otad.url
    assert all(set(entry) - {"unit"} == {"key", "value", "help"} and entry["help"] for entry in config.values())
    assert {entry.get("unit") for entry in config.values()} == {None, "s", "bytes"}


def test_they_are_for_operators(otad, user, client):
    problem(user.client.get("/admin/settings"), 403)
    problem(client.get("/admin/settings"), 401)
