"""Two instances of otad on the same services: what is said to one holds on the other."""
import time

import httpx
import pytest

from accounts import PASSWORD
from devices import wait_for
from instances import Instance
from test_firmware import stored
from test_updates import newest, started


@pytest.fixture(scope="module")
def second(otad):
    instance = Instance(otad)
    yield instance
    instance.end()


def log_in(otad, account):
    answer = httpx.post(f"{otad.url}/auth/login", json={"email": account.email, "password": PASSWORD}, timeout=30)
    assert answer.status_code == 200
    return answer.json()


def test_a_token_is_good_on_both_and_logout_ends_it_on_both(otad, second, user):
    token = log_in(otad, user)["access_token"]
    assert second.get("/auth/me", token).status_code == 200
    assert httpx.post(f"{second.url}/auth/logout", headers={"Authorization": f"Bearer {token}"}).status_code == 204
    assert second.get("/auth/me", token).status_code == 401
    ended = time.monotonic()
    wait_for(lambda: httpx.get(f"{otad.url}/auth/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401,
             5 * otad.slack)
    assert time.monotonic() - ended < 1 * otad.slack


def test_a_refresh_token_is_spent_on_both(otad, second, user):
    refresh = log_in(otad, user)["refresh_token"]
    first = httpx.post(f"{otad.url}/auth/refresh", json={"refresh_token": refresh})
    assert first.status_code == 200
    assert httpx.post(f"{second.url}/auth/refresh", json={"refresh_token": refresh}).status_code == 401
    token = first.json()["access_token"]  # used twice: the whole session has ended
    wait_for(lambda: httpx.get(f"{otad.url}/auth/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401)


def test_failed_logins_count_on_both(otad, second, make_user):
    account = make_user()
    wrong = {"email": account.email, "password": "not the password at all"}
    codes = []
    for attempt in range(6):
        url = (otad.url, second.url)[attempt % 2]
        # From an address of its own, so that the address's count does not end other tests.
        transport = httpx.HTTPTransport(local_address=f"127.77.0.{attempt + 1}")
        with httpx.Client(transport=transport) as client:
            codes.append(client.post(url.replace("localhost", "127.0.0.1") + "/auth/login", json=wrong).status_code)
    assert codes == [401] * 5 + [429]


def test_status_and_updates_by_whichever_hears_them(otad, second, operator, make_device):
    """The broker gives each message to one of the two; devices cannot tell which."""
    devices = [make_device() for _ in range(8)]
    _, firmware = stored(operator)
    for device in devices:
        assert device.connect() == 0
        device.status(firmware_version="1.0.0", heap=1000)
    for device in devices:
        device.wait(lambda d: d["status"] == "online" and d["firmware_version"] == "1.0.0")
        started(operator, device, firmware)
    for device in devices:
        offer = device.offer()
        for state in ("accepted", "downloading", "verifying", "rebooting"):
            device.status(firmware_version="1.0.0", ota={"update_id": offer["update_id"], "state": state, "error": None})
        device.status(firmware_version=firmware["version"], elf_sha256=firmware["elf_sha256"],
                      ota={"update_id": offer["update_id"], "state": "confirmed", "error": None})
    for device in devices:  # it repeats its word until the offer is cleared: one instance may have been slower
        def told():
            device.status(firmware_version=firmware["version"], elf_sha256=firmware["elf_sha256"],
                          ota={"update_id": newest(operator, device)["id"], "state": "confirmed", "error": None})
            return newest(operator, device)["state"] == "succeeded" and \
                second.get(f"/devices/{device.id}", operator.token).json()["firmware_version"] == firmware["version"]
        wait_for(told, 60, 0.5)


def test_one_killed_the_other_serves_on(otad, second, operator, make_device):
    """SIGKILL of serving and supervising process: what devices say reaches the one that is left."""
    second.kill()
    device = make_device()
    assert device.connect() == 0

    def told():
        device.status(firmware_version="2.0.0")
        return device.get()["firmware_version"] == "2.0.0"

    wait_for(told, 20, 0.5)
