"""Updates of one device, from the order to its end: offers as the device sees them, its reports, cancellation."""
import base64
import concurrent.futures
import hashlib
import re
import subprocess
import time

import httpx
import pytest

import make_image
from answers import UPDATE, UNDER_WAY, problem
from devices import wait_for
from test_devices import pages
from test_firmware import stored, upload, version

MANIFEST = ["action", "update_id", "device_id", "version", "chip", "size", "sha256", "elf_sha256", "url",
            "release_signature", "release_key", "issued_at", "expires_at"]


def start(account, device, **body):
    return account.client.post(f"/devices/{device.id}/update", json=body)


def started(account, device, firmware):
    answer = start(account, device, firmware_id=firmware["id"])
    assert answer.status_code == 202, answer.text
    return answer.json()["update"]


def newest(account, device):
    return account.client.get(f"/devices/{device.id}/updates?limit=1").json()["items"][0]


def report(device, update, state, **more):
    """Tells a state; `progress` and `error` go into the block, the rest beside it."""
    block = {name: more.pop(name) for name in ("progress", "error") if name in more}
    device.status(ota={"update_id": update["id"], "state": state, "error": None, **block}, **more)


def reaches(account, device, *states):
    return wait_for(lambda: (lambda u: u if u["state"] in states else None)(newest(account, device)))


def sleeps(system):
    """Has a statement come to its pg_sleep()?"""
    return system.psql("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") != "0"


def cleared(device):
    """Waits until the device hears that there is no offer."""
    wait_for(lambda: device.offer() is None)


@pytest.fixture
def online(device):
    assert device.connect() == 0
    return device


# The order


def test_the_order_and_its_answer(operator, device):
    _, firmware = stored(operator)
    answer = start(operator, device, firmware_id=firmware["id"])
    assert answer.status_code == 202
    update = answer.json()["update"]
    assert list(update) == UPDATE
    assert update["device_id"] == device.id and update["firmware_id"] == firmware["id"]
    assert update["version"] == firmware["version"] and update["state"] in UNDER_WAY
    assert update["rollout_id"] is None and update["reason"] is None and update["progress"] == 0
    problem(start(operator, device, firmware_id=firmware["id"]), 409)
    assert operator.client.get(f"/devices/{device.id}/status").json()["update"]["id"] == update["id"]


def test_by_version(operator, device):
    _, firmware = stored(operator)
    answer = start(operator, device, version=firmware["version"])
    assert answer.status_code == 202 and answer.json()["update"]["firmware_id"] == firmware["id"]


@pytest.mark.parametrize("body, field", [
    ({}, "firmware_id"), ({"firmware_id": 1, "version": "1"}, "firmware_id"), ({"firmware_id": 2147483647}, "firmware_id"),
    ({"firmware_id": 0}, "firmware_id"), ({"firmware_id": "1"}, "firmware_id"), ({"firmware_id": 2**31}, "firmware_id"),
    ({"version": "no such version"}, "version"), ({"version": ""}, "version"), ({"version": 1}, "version"),
    ({"firmware_id": 1, "force": True}, "force")])
def test_bad_orders(operator, device, body, field):
    problem(start(operator, device, **body), 422, field)
    assert operator.client.get(f"/devices/{device.id}/updates").json()["items"] == []


def test_wrong_chip(operator, device):
    _, firmware = stored(operator, chip="esp32s3")
    problem(start(operator, device, firmware_id=firmware["id"]), 422, "firmware_id")
    problem(start(operator, device, version=firmware["version"]), 422, "version")


def test_a_device_of_doubtful_chip_gets_no_update(operator, online):
    firmware = {chip: stored(operator, chip=chip)[1] for chip in ("esp32", "esp32s3")}
    online.status(chip="esp32s3")
    online.wait(lambda d: d["chip_reported"] == "esp32s3")
    for image in firmware.values():
        body = problem(start(operator, online, firmware_id=image["id"]), 422, "firmware_id")
        assert "reports the chip esp32s3" in body["errors"][0]["message"]
    assert operator.client.patch(f"/devices/{online.id}", json={"chip": "esp32s3"}).status_code == 200
    problem(start(operator, online, firmware_id=firmware["esp32"]["id"]), 422, "firmware_id")
    assert start(operator, online, firmware_id=firmware["esp32s3"]["id"]).status_code == 202


def test_a_chip_told_after_the_order_ends_it(operator, online):
    _, firmware = stored(operator)
    update = started(operator, online, firmware)
    assert online.offer()["update_id"] == update["id"]
    online.status(chip="esp32s3")
    assert "reports the chip esp32s3" in reaches(operator, online, "cancelled")["reason"]
    cleared(online)


def test_a_device_of_unknown_chip_is_offered_nothing_before_it_spoke(otad, operator, make_device):
    _, firmware = stored(operator)
    wrong, right, silent = (make_device(chip=None) for _ in range(3))
    for device in (wrong, right, silent):
        assert device.connect(will=False) == 0
        update = started(operator, device, firmware)
    time.sleep(2.5)  # the outbox looks each second
    for device in (wrong, right, silent):
        assert device.messages.empty() and newest(operator, device)["state"] == "pending"
        assert "held" in operator.client.get(f"/devices/{device.id}/explain").json()["explanation"]
    wrong.status(chip="esp32s3")
    right.status(chip="esp32")
    silent.status()  # what it is it never tells: the offer names the chip, and it judges itself
    assert "reports the chip esp32s3" in reaches(operator, wrong, "cancelled")["reason"]
    for device in (right, silent):
        assert device.offer()["chip"] == "esp32"
        reaches(operator, device, "offered")
    time.sleep(1.5)
    assert all(not message.payload for message in list(wrong.messages.queue))


def test_orders_raced_by_the_word_of_another_chip(operator, make_device):
    _, firmware = stored(operator)
    for _ in range(10):
        device = make_device()
        assert device.connect() == 0
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            told = pool.submit(device.status, chip="esp32s3")
            answer = start(operator, device, firmware_id=firmware["id"])
            told.result()
        device.wait(lambda d: d["chip_reported"] == "esp32s3")
        if answer.status_code == 202:
            reaches(operator, device, "cancelled")
        else:
            problem(answer, 422, "firmware_id")
        assert operator.client.get(f"/devices/{device.id}/status").json()["update"] is None


def test_the_order_waits_for_what_is_being_learnt_of_the_chip(otad, operator, device):
    _, firmware = stored(operator)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        told = pool.submit(otad.psql, f"begin; update devices set chip_reported = 'esp32s3' where id = {device.id};"
                           "select pg_sleep(2); commit")
        wait_for(lambda: sleeps(otad))
        body = problem(start(operator, device, firmware_id=firmware["id"]), 422, "firmware_id")
        assert "reports the chip esp32s3" in body["errors"][0]["message"]
        told.result()
    assert operator.client.get(f"/devices/{device.id}/updates").json()["items"] == []


def test_counters_count_what_entered_a_state(client, operator, device):
    _, firmware = stored(operator)

    def metrics():
        text = client.get("/metrics").text
        assert "# TYPE otad_updates_total counter" in text and "# TYPE otad_updates_under_way gauge" in text
        return {name: float(value) for name, value in re.findall(r"^(otad_updates_\S+) (\S+)$", text, re.M)}
    earlier = metrics()
    started(operator, device, firmware)
    operator.client.post(f"/devices/{device.id}/update/cancel")
    cancelled = 'otad_updates_total{state="cancelled"}'
    wait_for(lambda: metrics()[cancelled] > earlier[cancelled])  # all that was before is counted by then
    before = metrics()
    for _ in range(3):
        started(operator, device, firmware)
        operator.client.post(f"/devices/{device.id}/update/cancel")
    started(operator, device, firmware)
    wait_for(lambda: metrics()[cancelled] >= before[cancelled] + 3)
    time.sleep(5.1)  # they are counted that often
    after = metrics()
    grown = {name: after[name] - before[name] for name in after}
    assert grown['otad_updates_total{state="pending"}'] == 4 and grown[cancelled] == 3
    assert grown['otad_updates_under_way{state="pending"}'] + grown['otad_updates_under_way{state="offered"}'] == 1
    assert operator.client.request("DELETE", f"/devices/{device.id}/delete").status_code == 204
    time.sleep(5.1)
    assert all(metrics()[name] >= after[name] for name in after if "total" in name)


def test_deletion_beside_a_report_is_no_deadlock(otad, operator, device):
    """It locked the offer before the update, and a device's report locks them the other way round."""
    _, firmware = stored(operator)
    update = operator.client.post(f"/devices/{device.id}/update", json={"firmware_id": firmware["id"]}).json()["update"]
    wait_for(lambda: otad.psql(f"select published_at from offers where device_id = {device.id}"))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        report = pool.submit(otad.psql, f"begin; select from updates where id = {update['id']} for update;"
                             f"select pg_sleep(2); update offers set changed_at = now() where device_id = {device.id}; commit")
        wait_for(lambda: sleeps(otad))
        assert operator.client.request("DELETE", f"/devices/{device.id}/delete").status_code == 204
        report.result()


def test_a_version_of_several_projects_is_ambiguous(operator, device):
    name = version()
    ids = [upload(operator, make_image.build(version=name, project=p)).json()["firmware"]["id"] for p in ("one", "two")]
    problem(start(operator, device, version=name), 422, "version")
    assert start(operator, device, firmware_id=ids[0]).status_code == 202


def test_unsigned_firmware_is_never_offered(otad, operator, device):
    _, firmware = stored(operator)
    otad.psql(f"update firmware set release_signature = null, release_key = null where id = {firmware['id']}")
    body = problem(start(operator, device, firmware_id=firmware["id"]), 422, "firmware_id")
    assert "signature" in body["errors"][0]["message"]


def test_a_lower_secure_version_is_refused(operator, online):
    _, running = stored(operator, secure_version=2)
    _, lower = stored(operator, secure_version=1)
    _, equal = stored(operator, secure_version=2)
    online.status(firmware_version=running["version"], elf_sha256=running["elf_sha256"])
    online.wait(lambda d: d["elf_sha256"] == running["elf_sha256"])
    body = problem(start(operator, online, firmware_id=lower["id"]), 422, "firmware_id")
    assert "secure version" in body["errors"][0]["message"]
    assert start(operator, online, firmware_id=equal["id"]).status_code == 202


def test_what_runs_already_succeeds_at_once(operator, online):
    _, firmware = stored(operator)
    online.status(firmware_version="anything", elf_sha256=firmware["elf_sha256"])
    online.wait(lambda d: d["elf_sha256"] == firmware["elf_sha256"])
    answer = start(operator, online, firmware_id=firmware["id"])
    assert answer.status_code == 200 and answer.json()["update"]["state"] == "succeeded"
    assert operator.client.get(f"/devices/{online.id}/status").json()["update"] is None


def test_of_twenty_orders_at_once_one_is_made(otad, operator, device):
    _, firmware = stored(operator)
    headers = operator.headers

    def order(_):
        with httpx.Client(base_url=otad.url, headers=headers, timeout=30) as client:
            return client.post(f"/devices/{device.id}/update", json={"firmware_id": firmware["id"]}).status_code
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = sorted(pool.map(order, range(20)))
    assert codes == [202] + [409] * 19
    assert len(operator.client.get(f"/devices/{device.id}/updates").json()["items"]) == 1


def test_the_list_goes_page_by_page(operator, device):
    _, firmware = stored(operator)
    made = []
    for _ in range(5):
        made.append(started(operator, device, firmware)["id"])
        assert operator.client.post(f"/devices/{device.id}/update/cancel").status_code == 200
    assert [update["id"] for update in pages(operator, f"/devices/{device.id}/updates", 2)] == made[::-1]


def test_users_update_their_own(operator, user, make_device):
    device = make_device(user)
    _, firmware = stored(operator)
    update = started(user, device, firmware)
    assert user.client.post(f"/devices/{device.id}/update/cancel").json()["update"]["id"] == update["id"]


# The offer


def verify(key, signature, message, tmp_path):
    """Ed25519, by openssl; all in base64."""
    (tmp_path / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + base64.b64decode(key))
    (tmp_path / "signature").write_bytes(base64.b64decode(signature))
    (tmp_path / "message").write_bytes(message)
    return subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "key", "-keyform", "DER",
                           "-rawin", "-in", tmp_path / "message", "-sigfile", tmp_path / "signature"],
                          capture_output=True).returncode == 0


def test_the_offer_is_signed_and_complete(otad, operator, online, tmp_path):
    image, firmware = stored(operator)
    update = started(operator, online, firmware)
    offer = online.offer()
    outer = offer.pop("_message")
    assert list(outer) == ["manifest", "signature", "key"]
    assert list(offer) == MANIFEST
    assert offer["action"] == "install" and offer["update_id"] == update["id"] and offer["device_id"] == online.id
    for name in ("version", "chip", "size", "sha256", "elf_sha256"):
        assert offer[name] == firmware[name]
    assert abs(offer["issued_at"] - time.time()) < 60 and offer["expires_at"] - offer["issued_at"] == 3600
    keys = online.registration["keys"]
    assert verify(keys["manifest"], outer["signature"], outer["manifest"].encode(), tmp_path)
    assert not verify(keys["manifest"], outer["signature"], outer["manifest"].encode() + b" ", tmp_path)
    assert outer["key"] == hashlib.sha256(base64.b64decode(keys["manifest"])).hexdigest()[:8]
    release = f"otad-firmware-1\n{firmware['chip']}\n{firmware['version']}\n{firmware['sha256']}\n".encode()
    assert any(verify(key, offer["release_signature"], release, tmp_path) and
               hashlib.sha256(base64.b64decode(key)).hexdigest()[:8] == offer["release_key"] for key in keys["release"])
    assert httpx.get(offer["url"]).content == image
    assert httpx.get(offer["url"], headers={"if-match": '"other"'}).status_code == 412
    assert httpx.get(offer["url"], headers={"if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}).status_code == 412


def test_the_offer_waits_for_an_offline_device(operator, device):
    _, firmware = stored(operator)
    update = started(operator, device, firmware)
    reaches(operator, device, "offered")
    assert device.connect() == 0
    assert device.offer()["update_id"] == update["id"]


def test_the_download_link(operator, online):
    image, firmware = stored(operator, size=65536)
    started(operator, online, firmware)
    url = online.offer()["url"]
    with httpx.Client() as anyone:
        head = anyone.head(url)
        assert head.status_code == 200 and head.headers["content-length"] == "65536" and head.content == b""
        assert head.headers["etag"] == f'"{firmware["sha256"]}"'
        whole = anyone.get(url)
        assert whole.content == image and whole.headers["content-length"] == "65536"
        part = anyone.get(url, headers={"range": "bytes=60000-65536"})
        assert part.status_code == 206 and part.content == image[60000:]
        assert part.headers["content-range"] == "bytes 60000-65535/65536"
        for i in range(len(url) - 32, len(url), 5):
            changed = url[:i] + ("A" if url[i] != "A" else "B") + url[i + 1:]
            problem(anyone.get(changed), 404)
        for odd in (url + "A", url[:-1], url + "=", url.rsplit("/", 1)[0] + "/" + "A" * 32):
            problem(anyone.get(odd), 404)
        assert operator.client.post(f"/devices/{online.id}/update/cancel").status_code == 200
        problem(anyone.get(url), 404)


# Reports


def test_the_whole_way(operator, online):
    _, firmware = stored(operator)
    online.status(firmware_version="1.0.0", elf_sha256="ab" * 32)
    online.wait(lambda d: d["firmware_version"] == "1.0.0")
    update = started(operator, online, firmware)
    assert update["from_version"] == "1.0.0"
    offer = online.offer()
    report(online, update, "accepted")
    report(online, update, "downloading", progress=40)
    assert reaches(operator, online, "downloading")["progress"] == 40
    report(online, update, "verifying")
    assert reaches(operator, online, "installing")["progress"] == 100
    report(online, update, "rebooting")
    report(online, update, "confirmed", firmware_version=firmware["version"], elf_sha256=firmware["elf_sha256"])
    done = reaches(operator, online, "succeeded")
    assert done["progress"] == 100 and done["reason"] is None
    cleared(online)
    problem(httpx.get(offer["url"]), 404)
    assert operator.client.get(f"/devices/{online.id}/status").json()["update"] is None


@pytest.mark.parametrize("told, state", [("failed", "failed"), ("rolled_back", "rolled_back"), ("rejected", "rejected")])
def test_ends_with_a_reason(operator, online, told, state):
    _, firmware = stored(operator)
    update = started(operator, online, firmware)
    assert online.offer()
    report(online, update, told, error="flash write failed at 0x1000")
    assert reaches(operator, online, state)["reason"] == "flash write failed at 0x1000"
    cleared(online)
    text = operator.client.get(f"/devices/{online.id}/explain").json()
    assert text["updating"] is False and "flash write failed" in text["explanation"]


def test_a_confirmation_without_the_version_is_no_success(operator, online):
    _, firmware = stored(operator)
    online.status(firmware_version="1.0.0", elf_sha256="ab" * 32)
    online.wait(lambda d: d["firmware_version"] == "1.0.0")
    update = started(operator, online, firmware)
    report(online, update, "confirmed")
    installing = reaches(operator, online, "installing")
    assert "1.0.0" in installing["reason"]
    report(online, update, "confirmed", firmware_version=firmware["version"], elf_sha256="ab" * 32)  # the old image
    online.wait(lambda d: d["firmware_version"] == firmware["version"])
    time.sleep(1)
    assert newest(operator, online)["state"] == "installing"
    report(online, update, "confirmed", progress=100, firmware_version=firmware["version"],
           elf_sha256=firmware["elf_sha256"])
    assert reaches(operator, online, "succeeded")["reason"] is None


def test_a_confirmation_counts_once_the_version_is_told(operator, online):
    """The same word again, now with what the device runs: the first, without it, must not be the last one heard."""
    _, firmware = stored(operator)
    online.status(firmware_version="0.9.0")
    online.wait(lambda d: d["firmware_version"] == "0.9.0")
    update = started(operator, online, firmware)
    report(online, update, "confirmed")
    reaches(operator, online, "installing")
    report(online, update, "confirmed", firmware_version=firmware["version"])
    report(online, update, "confirmed", firmware_version=firmware["version"], elf_sha256=firmware["elf_sha256"])
    assert reaches(operator, online, "succeeded")["reason"] is None


def test_an_ended_update_stays_ended(operator, online):
    _, firmware = stored(operator)
    update = started(operator, online, firmware)
    report(online, update, "failed", error="first")
    ended = reaches(operator, online, "failed")
    for state in ("downloading", "confirmed", "rejected"):
        report(online, update, state, error="second", firmware_version=firmware["version"],
               elf_sha256=firmware["elf_sha256"])
        time.sleep(0.5)
    assert newest(operator, online) == ended


def test_nobody_reports_about_the_update_of_another(operator, online, make_device):
    _, firmware = stored(operator)
    other = make_device()
    update = started(operator, other, firmware)
    before = reaches(operator, other, "offered")
    report(online, update, "failed", error="mine now", firmware_version=firmware["version"])
    online.wait(lambda d: d["firmware_version"] == firmware["version"])
    time.sleep(0.5)
    assert newest(operator, other) == before
    assert other.connect() == 0 and other.offer()["update_id"] == update["id"]


def test_who_missed_the_clearing_hears_it_again(operator, online):
    """A device that still repeats a block of an update that has ended: its offer is cleared again."""
    _, firmware = stored(operator)
    update = started(operator, online, firmware)
    assert online.offer()
    assert operator.client.post(f"/devices/{online.id}/update/cancel").status_code == 200
    cleared(online)
    report(online, update, "downloading", progress=1)
    cleared(online)
    assert newest(operator, online)["state"] == "cancelled"


def test_a_late_word_of_an_old_update_leaves_the_new_offer(operator, online):
    _, first = stored(operator)
    _, second = stored(operator)
    old = started(operator, online, first)
    assert operator.client.post(f"/devices/{online.id}/update/cancel").status_code == 200
    new = started(operator, online, second)
    report(online, old, "failed", error="late", firmware_version="x")
    online.wait(lambda d: d["firmware_version"] == "x")
    time.sleep(0.5)
    assert newest(operator, online)["id"] == new["id"] and newest(operator, online)["state"] in UNDER_WAY
    online.disconnect()
    assert online.connect() == 0
    offers = [online.offer()]
    while not online.messages.empty():
        offers.append(online.offer())
    assert offers[-1]["update_id"] == new["id"]


# Cancellation and deletion


def test_cancel(operator, online):
    _, firmware = stored(operator)
    problem(operator.client.post(f"/devices/{online.id}/update/cancel"), 409)
    update = started(operator, online, firmware)
    assert online.offer()
    answer = operator.client.post(f"/devices/{online.id}/update/cancel")
    assert answer.status_code == 200
    assert answer.json()["update"]["id"] == update["id"] and answer.json()["update"]["state"] == "cancelled"
    cleared(online)
    problem(operator.client.post(f"/devices/{online.id}/update/cancel"), 409)
    assert started(operator, online, firmware)["id"] > update["id"]


def test_firmware_under_way_stays(operator, device):
    _, firmware = stored(operator)
    started(operator, device, firmware)
    problem(operator.client.request("DELETE", f"/firmware/{firmware['id']}/delete"), 409)
    assert operator.client.post(f"/devices/{device.id}/update/cancel").status_code == 200
    assert operator.client.request("DELETE", f"/firmware/{firmware['id']}/delete").status_code == 204
    update = newest(operator, device)
    assert update["firmware_id"] is None and update["version"] == firmware["version"]


def test_deleting_firmware_while_devices_order_it(operator, make_device):
    devices = [make_device() for _ in range(6)]
    _, firmware = stored(operator)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        orders = [pool.submit(start, operator, device, firmware_id=firmware["id"]) for device in devices]
        deletion = pool.submit(operator.client.request, "DELETE", f"/firmware/{firmware['id']}/delete")
        codes = {order.result().status_code for order in orders}
    assert codes <= {202, 422}
    if deletion.result().status_code == 204:
        assert codes == {422}, "an update under way lost its image"
    else:
        assert deletion.result().status_code == 409 and 202 in codes


def test_deleting_a_device_clears_its_offer(otad, operator, device):
    _, firmware = stored(operator)
    started(operator, device, firmware)
    reaches(operator, device, "offered")
    assert operator.client.request("DELETE", f"/devices/{device.id}/delete").status_code == 204
    wait_for(lambda: otad.psql(f"select count(*) from offers where device_id = {device.id}") == "0")


def test_explanations(operator, online):
    def explain():
        body = operator.client.get(f"/devices/{online.id}/explain").json()
        assert body["device_id"] == online.id
        return body["updating"], body["explanation"]
    assert explain()[0] is False and "ever ordered" in explain()[1]
    _, firmware = stored(operator)
    update = started(operator, online, firmware)
    assert explain()[0] is True and firmware["version"] in explain()[1]
    report(online, update, "downloading", progress=40)
    reaches(operator, online, "downloading")
    assert "40 %" in explain()[1]
