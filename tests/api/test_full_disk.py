"""The store of images on a file system that is full: refused as such, and nothing else suffers."""
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import make_image
from accounts import Account
from answers import problem
from devices import wait_for
from system import PROGRAM, ROOT
from test_firmware import upload, version

ROOM = 1 << 20
# A file system of its own that nobody else sees, and that ends with the program.
OWN_MOUNTS = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
MOUNT = f'mount -t tmpfs -o size={ROOM} tmpfs "$OTAD_VAR/firmware" && exec "$@"'


def may_mount():
    return shutil.which("unshare") and subprocess.run(
        [*OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def cramped(start_otad):
    """(system, store): with room for a mebibyte of images; the store as a path."""
    if not may_mount():
        pytest.skip("this user may not mount a file system; test_faults.py has single writes fail for want of space")
    system = start_otad()
    environment = system.environment()
    system.service("otad", "stop")
    with open(system.var / "log/cramped.log", "a") as log:
        process = subprocess.Popen([*OWN_MOUNTS, "sh", "-c", MOUNT, "sh", PROGRAM, "serve"], env=environment, cwd=ROOT,
                                   stderr=log)
    wait_for(system.ready, 60)
    yield system, pathlib.Path(f"/proc/{process.pid}/root") / str(system.var / "firmware").lstrip("/")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    system.service("otad", "start")


def image_of(size):
    return make_image.build(version=version(), size=size)


def test_a_full_disk(cramped):
    system, store = cramped
    operator = Account(system, role="operator")
    kept = []
    while True:
        image = image_of(ROOM // 4)
        answer = upload(operator, image)
        if answer.status_code != 201:
            break
        kept.append((answer.json()["firmware"], image))
    assert 2 <= len(kept) <= 4
    names = {firmware["sha256"] for firmware, _ in kept}
    for _ in range(3):
        assert "room" in problem(upload(operator, image_of(ROOM // 2)), 507)["detail"]
        assert {path.name for path in store.iterdir()} == names
        assert system.psql("select count(*) from firmware") == str(len(kept))
    # The rest goes on: what is stored is served, stored again, and known.
    for firmware, image in kept:
        answer = operator.client.get(f"/firmware/{firmware['id']}/download")
        assert answer.status_code == 200 and answer.content == image
        assert upload(operator, image).status_code == 200
    assert system.ready()
    # And room that is made is used,
    assert operator.client.request("DELETE", f"/firmware/{kept[0][0]['id']}/delete").status_code == 204
    fresh = image_of(ROOM // 4)  # a little later: what was just sent is let go when its script's memory is collected
    wait_for(lambda: upload(operator, fresh).status_code == 201, 60)
