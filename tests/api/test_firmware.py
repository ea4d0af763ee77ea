"""Firmware over HTTP: upload in both forms, lists, download with ranges, deletion."""
import base64
import concurrent.futures
import email.utils
import hashlib
import pathlib
import random
import time

import pytest

import make_image
from answers import FIRMWARE, problem
from devices import wait_for
from test_devices import pages


def version():
    return f"9.{random.randrange(10**6)}.{random.randrange(10**6)}"


def upload(account, image, name="firmware.bin", **fields):
    return account.client.post("/firmware/upload", files={"file": (name, image)}, data=fields)


def stored(account, **options):
    """Uploads an image of its own; returns bytes and firmware."""
    image = make_image.build(version=version(), **options)
    answer = upload(account, image)
    assert answer.status_code == 201, answer.text
    return image, answer.json()["firmware"]


def files_of(otad):
    return {path.name for path in (otad.var / "firmware").rglob("*") if path.is_file()}


def test_upload_tells_what_the_image_says(otad, operator):
    name = version()
    image = make_image.build(chip="esp32s3", version=name, project="demo-x", size=20480, secure_version=3,
                             min_chip_revision=102, elf_sha256=bytes(range(32)))
    answer = upload(operator, image, notes="what is new")
    assert answer.status_code == 201, answer.text
    firmware = answer.json()["firmware"]
    assert list(firmware) == FIRMWARE
    digest = hashlib.sha256(image).hexdigest()
    assert firmware | {"id": 0, "uploaded_at": ""} == {
        "id": 0, "version": name, "chip": "esp32s3", "project": "demo-x", "size": 20480, "sha256": digest,
        "elf_sha256": bytes(range(32)).hex(), "secure_version": 3, "idf_version": "v5.2.1", "min_chip_revision": 102,
        "signature_kind": "none", "release_key": firmware["release_key"], "file_url": f"{otad.url}/firmware/{firmware['id']}/download",
        "notes": "what is new", "uploaded_at": ""}
    assert operator.client.get(f"/firmware/{firmware['id']}").json() == firmware


def test_upload_of_the_bytes_alone(operator):
    image, name = make_image.build(version=version()), version()
    headers = {"content-type": "application/octet-stream"}
    answer = operator.client.post("/firmware/upload", params={"version": name}, content=image, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.json()["firmware"]["version"] == name


def test_the_uploader_may_name_the_version(operator):
    image, name = make_image.build(version=version()), version()
    assert upload(operator, image, version=name).json()["firmware"]["version"] == name


def test_the_identical_image_again(operator):
    image, firmware = stored(operator)
    for fields in ({}, {"version": firmware["version"]}, {"version": version()}, {"notes": "again"}):
        answer = upload(operator, image, **fields)
        assert answer.status_code == 200 and answer.json()["firmware"] == firmware
        other = [name for name in fields if fields[name] != firmware[name]]
        assert [entry["field"] for entry in answer.json().get("ignored", [])] == other


def test_the_same_version_with_other_bytes(otad, operator):
    name = version()
    first = make_image.build(version=name, seed="a")
    other = make_image.build(version=name, seed="b")
    assert upload(operator, first).status_code == 201
    before = files_of(otad)
    problem(upload(operator, other), 409)
    assert files_of(otad) == before
    assert upload(operator, make_image.build(version=name, project="other")).status_code == 201
    assert upload(operator, make_image.build(version=name, chip="esp32c3")).status_code == 201


def test_the_same_image_at_once(operator):
    image = make_image.build(version=version())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: upload(operator, image), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["firmware"]["id"] for answer in answers}) == 1


def test_one_version_with_other_bytes_at_once(operator):
    name = version()
    images = [make_image.build(version=name, seed=i) for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = sorted(answer.status_code for answer in pool.map(lambda image: upload(operator, image), images))
    assert codes == [201] + [409] * 7


def test_any_flipped_bit_is_refused(otad, operator):
    image = make_image.build(version=version(), size=1024)
    before, rows = files_of(otad), otad.psql("select count(*) from firmware")
    for at in random.Random(1).sample(range(len(image)), 40):
        damaged = bytearray(image)
        damaged[at] ^= 1 << random.randrange(8)
        body = problem(upload(operator, bytes(damaged)), 422, "file")
        assert body["errors"][0]["check"] and 0 <= body["errors"][0]["offset"] <= len(image)
    assert files_of(otad) == before and otad.psql("select count(*) from firmware") == rows


@pytest.mark.parametrize("make", [
    lambda image: b"", lambda image: b"\xe9", lambda image: image[:-1], lambda image: image[:300],
    lambda image: image + b"x", lambda image: random.Random(2).randbytes(4096), lambda image: b"\xff" * 4096,
    lambda image: image * 2])
def test_what_is_no_image(operator, make):
    problem(upload(operator, make(make_image.build(version=version()))), 422, "file")


@pytest.mark.parametrize("fields, field", [
    ({"version": ""}, "version"), ({"version": "x" * 51}, "version"), ({"version": "a\nb"}, "version"),
    ({"notes": "x" * 2001}, "notes"), ({"chip": "esp32"}, "chip"), ({"signature": "x"}, "signature"),
    ({"signature": "A" * 86 + "=="}, "signature")])
def test_bad_fields(otad, operator, fields, field):
    before = files_of(otad)
    problem(upload(operator, make_image.build(version=version()), **fields), 422, field)
    assert files_of(otad) == before


def test_broken_forms_are_told_in_sentences(operator):
    for content, kind in ((b"--y\r\n", "; boundary=x"), (b"", ""), (b"--x\r\n", "; boundary=x"), (b"--x--z", "; boundary=x")):
        detail = problem(operator.client.post("/firmware/upload", content=content, headers={
            "content-type": "multipart/form-data" + kind}), 400)["detail"]
        assert detail[0].isupper() and detail.endswith("."), detail


def test_without_a_file(operator):
    files = {"notes": (None, "x")}
    problem(operator.client.post("/firmware/upload", files=files), 422, "file")
    problem(operator.client.post("/firmware/upload", files={"file": (None, "x")}), 422, "file")
    problem(operator.client.post("/firmware/upload", json={"file": "x"}), 415)
    problem(operator.client.post("/firmware/upload"), 415)
    broken = {"content-type": "multipart/form-data; boundary=x"}
    problem(operator.client.post("/firmware/upload", content=b"--y\r\n", headers=broken), 400)
    problem(operator.client.post("/firmware/upload", content=b"", headers={"content-type": "multipart/form-data"}), 400)


@pytest.mark.parametrize("name", ["../../../tmp/evil", "/etc/passwd", "a\0b", "..", "con:", "x" * 5000])
def test_file_names_never_reach_the_disk(otad, operator, name):
    image = make_image.build(version=version())
    answer = upload(operator, image, name=name)
    assert answer.status_code in (201, 400)
    for path in files_of(otad):
        assert len(path) >= 64, path
    assert not pathlib.Path("/tmp/evil").exists()


def test_too_large(operator):
    headers = {"content-type": "application/octet-stream"}
    answer = operator.client.post("/firmware/upload", content=bytes((16 << 20) + 1), headers=headers)
    problem(answer, 413)


def test_the_largest_image_in_a_form(operator):
    image = make_image.build(version=version(), size=16 << 20)
    assert upload(operator, image, notes="n" * 2000).status_code == 201
    answer = upload(operator, make_image.build(version=version(), size=(16 << 20) + 16))
    assert "image" in problem(answer, 413)["detail"]


def test_the_largest_image(operator):
    image = make_image.build(version=version(), size=16 << 20)
    headers = {"content-type": "application/octet-stream"}
    answer = operator.client.post("/firmware/upload", content=image, headers=headers)
    assert answer.status_code == 201, answer.text
    assert operator.client.get(f"/firmware/{answer.json()['firmware']['id']}/download").content == image


def test_a_release_signature_is_checked(otad, operator, tmp_path):
    image, name = make_image.build(version=version()), version()
    path = tmp_path / "image.bin"
    path.write_bytes(image)
    otad.cli("keygen", "--out", tmp_path / "foreign")
    foreign = otad.cli("sign", "--key", tmp_path / "foreign.key", "--version", name, path).stdout.strip()
    problem(upload(operator, image, version=name, signature=foreign), 422, "signature")
    good = otad.cli("sign", "--key", otad.var / "keys/release-dev.key", "--version", name, path).stdout.strip()
    problem(upload(operator, image, version=name + "x", signature=good), 422, "signature")
    flipped = ("A" if good[0] != "A" else "B") + good[1:]
    problem(upload(operator, image, version=name, signature=flipped), 422, "signature")
    answer = upload(operator, image, version=name, signature=good)
    assert answer.status_code == 201, answer.text
    firmware = answer.json()["firmware"]
    row = otad.psql(f"select release_signature from firmware where id = {firmware['id']}")
    assert row == good
    key = base64.b64decode((otad.var / "keys/release-dev.pub").read_text())
    assert firmware["release_key"] == hashlib.sha256(key).hexdigest()[:8]
    otad.psql(f"update firmware set release_signature = null, release_key = null where id = {firmware['id']}")
    assert operator.client.get(f"/firmware/{firmware['id']}").json() == firmware | {"release_key": None}
    assert upload(operator, image).json()["firmware"] == firmware  # signed again
    problem(upload(operator, image, signature=foreign), 422, "signature")


def test_lists(operator, user):
    made = [stored(operator, chip=chip)[1] for chip in ("esp32h2", "esp32p4", "esp32h2")]
    for account in (operator, user):
        everything = pages(account, "/firmware/list", 2)
        ids = [firmware["id"] for firmware in everything]
        assert ids == sorted(ids, reverse=True) and everything[:3] == made[::-1]
        assert pages(account, "/firmware/list", 1, chip="esp32h2")[:2] == [made[2], made[0]]
        assert account.client.get("/firmware/list", params={"chip": "none"}).json() == {"items": [], "next": None}
        assert account.client.get(f"/firmware/{made[0]['id']}").json() == made[0]


def counted(account):
    return {row["id"]: row["devices"] for row in pages(account, "/firmware/list", 2, devices="true")}


def test_how_many_devices_run_each(otad, operator, make_user):
    """As the list of devices has it, whatever the account may see of them; the number may be some seconds old."""
    owner, other = make_user(), make_user()
    _, hashed = stored(operator, project="hashed", elf_sha256=bytes(range(1, 33)))
    _, same_version = stored(operator, project="other", elf_sha256=bytes(range(2, 34)))
    _, zeros = stored(operator, project="zeros", elf_sha256=bytes(32))
    _, nowhere = stored(operator)
    otad.psql(f"update firmware set version = '{hashed['version']}' where id = {same_version['id']}")
    reports = [(hashed["elf_sha256"], hashed["version"]), (hashed["elf_sha256"], "another"), (None, hashed["version"]),
               ("f" * 64, zeros["version"]), ("f" * 64, hashed["version"]), (None, None)]
    for elf, name in reports:
        device = owner.client.post("/devices/register", json={"device_code": version(), "chip": "esp32"}).json()["device"]["id"]
        values = ["null" if value is None else f"'{value}'" for value in (elf, name)]
        otad.psql(f"update devices set elf_sha256 = {values[0]}, firmware_version = {values[1]} where id = {device}")
    expected = {hashed["id"]: 3, same_version["id"]: 1, zeros["id"]: 1, nowhere["id"]: 0}
    for account in (owner, operator):
        wait_for(lambda: {id: n for id, n in counted(account).items() if id in expected} == expected)
        for id, n in expected.items():
            assert account.client.get("/devices/count", params={"firmware_id": id}).json() == {"count": n}
    assert set(counted(other).values()) == {0}
    assert "devices" not in owner.client.get("/firmware/list").json()["items"][0]


def test_users_may_look_and_not_touch(operator, user):
    image, firmware = stored(operator)
    problem(upload(user, image), 403)
    problem(user.client.request("DELETE", f"/firmware/{firmware['id']}/delete"), 403)
    assert user.client.get(f"/firmware/{firmware['id']}/download").content == image


def test_unknown_firmware(operator):
    for method, path in (("GET", ""), ("GET", "/download"), ("DELETE", "/delete")):
        for id in ("2147483647", "0", "-1", "x", "2147483648"):
            problem(operator.client.request(method, f"/firmware/{id}{path}"), 404)


# Download


def test_download(operator):
    image, firmware = stored(operator, size=100000)
    answer = operator.client.get(f"/firmware/{firmware['id']}/download")
    assert answer.status_code == 200 and answer.content == image
    assert answer.headers["content-length"] == str(len(image))
    assert answer.headers["etag"] == f'"{firmware["sha256"]}"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "attachment" in answer.headers["content-disposition"]


def test_head(operator):
    image, firmware = stored(operator)
    answer = operator.client.head(f"/firmware/{firmware['id']}/download")
    assert answer.status_code == 200 and answer.content == b""
    assert answer.headers["content-length"] == str(len(image)) and answer.headers["etag"] == f'"{firmware["sha256"]}"'


@pytest.mark.parametrize("header, first, last", [
    ("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=4000-", 4000, 4095), ("bytes=-96", 4000, 4095),
    ("bytes=4000-4096", 4000, 4095), ("bytes=0-99999999", 0, 4095)])
def test_ranges(operator, header, first, last):
    image, firmware = stored(operator)
    answer = operator.client.get(f"/firmware/{firmware['id']}/download", headers={"range": header})
    assert answer.status_code == 206 and answer.content == image[first:last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/4096"
    assert answer.headers["content-length"] == str(last - first + 1)


def test_conditions(operator):
    image, firmware = stored(operator)
    path, tag = f"/firmware/{firmware['id']}/download", f'"{firmware["sha256"]}"'
    modified = operator.client.get(path).headers["last-modified"]
    seconds = email.utils.parsedate_to_datetime(modified).timestamp()
    assert abs(seconds - time.time()) < 60
    earlier = email.utils.formatdate(seconds - 1, usegmt=True)
    for headers, status in (({"if-match": tag}, 200), ({"if-match": '"other"'}, 412), ({"if-match": "*"}, 200),
                            ({"if-match": '"other"', "range": "bytes=0-9"}, 412), ({"if-match": "W/" + tag}, 412),
                            ({"if-unmodified-since": modified}, 200), ({"if-unmodified-since": earlier}, 412),
                            ({"if-match": tag, "if-unmodified-since": earlier}, 200),
                            ({"if-match": tag, "if-none-match": tag}, 304), ({"if-modified-since": modified}, 304),
                            ({"if-range": tag, "range": "bytes=0-9"}, 206)):
        answer = operator.client.get(path, headers=headers)
        assert answer.status_code == status, (headers, answer.status_code)
        if status == 412:
            problem(answer, 412)
        elif status == 200:
            assert answer.content == image


def test_odd_ranges(operator):
    image, firmware = stored(operator)
    path = f"/firmware/{firmware['id']}/download"
    answer = operator.client.get(path, headers={"range": "bytes=4096-"})
    assert problem(answer, 416) and answer.headers["content-range"] == "bytes */4096"
    many = "bytes=" + ",".join(f"{i}-{i}" for i in range(0, 2000, 2))
    for header in (many, "bytes=5-4", "bytes=x", "lines=1-2", "bytes=-", "bytes=0-1,3-4"):
        answer = operator.client.get(path, headers={"range": header})
        assert answer.status_code == 200 and answer.content == image, header


def test_conditional(operator):
    image, firmware = stored(operator)
    path, etag = f"/firmware/{firmware['id']}/download", f'"{firmware["sha256"]}"'
    answer = operator.client.get(path, headers={"if-none-match": etag})
    assert answer.status_code == 304 and answer.content == b""
    assert operator.client.get(path, headers={"if-none-match": '"x"'}).content == image
    answer = operator.client.get(path, headers={"range": "bytes=1-", "if-range": '"x"'})
    assert answer.status_code == 200 and answer.content == image
    answer = operator.client.get(path, headers={"range": "bytes=1-", "if-range": etag})
    assert answer.status_code == 206 and answer.content == image[1:]


# Deletion


def test_deletion(otad, operator):
    image, firmware = stored(operator)
    answer = operator.client.request("DELETE", f"/firmware/{firmware['id']}/delete")
    assert answer.status_code == 204 and answer.content == b""
    problem(operator.client.get(f"/firmware/{firmware['id']}"), 404)
    problem(operator.client.get(f"/firmware/{firmware['id']}/download"), 404)
    problem(operator.client.request("DELETE", f"/firmware/{firmware['id']}/delete"), 404)
    assert firmware["sha256"] not in files_of(otad)
    answer = upload(operator, image)
    assert answer.status_code == 201
    assert operator.client.get(f"/firmware/{answer.json()['firmware']['id']}/download").content == image


def test_a_file_that_was_changed_is_not_sent(otad, operator):
    image, firmware = stored(operator)
    path, file = f"/firmware/{firmware['id']}/download", otad.var / "firmware" / firmware["sha256"]
    assert operator.client.get(path).content == image
    file.write_bytes(image[:-1] + bytes([image[-1] ^ 1]))
    for _ in range(2):
        problem(operator.client.get(path), 503)
        assert operator.client.head(path).status_code == 503
    assert f'"image":"{firmware["sha256"]}"' in [line for line in otad.log_tail(200).splitlines()
                                               if "stored image is damaged" in line][-1]
    file.write_bytes(image)
    assert operator.client.get(path).content == image


def test_upload_and_deletion_at_once_leave_no_row_without_file(operator):
    image = make_image.build(version=version())

    def both(i):
        answer = upload(operator, image)
        assert answer.status_code in (200, 201), answer.text
        if i % 2:
            operator.client.request("DELETE", f"/firmware/{answer.json()['firmware']['id']}/delete")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(both, range(40)))
    firmware = upload(operator, image).json()["firmware"]
    assert operator.client.get(f"/firmware/{firmware['id']}/download").content == image


def test_a_missing_file_is_mended_by_the_same_upload(otad, operator):
    image, firmware = stored(operator)
    (otad.var / "firmware" / firmware["sha256"]).unlink()
    problem(operator.client.get(f"/firmware/{firmware['id']}/download"), 503)
    assert upload(operator, image).status_code == 200
    assert operator.client.get(f"/firmware/{firmware['id']}/download").content == image
