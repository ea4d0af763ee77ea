"""Fixtures of the tests that talk to a running system over its sockets; the helpers are in tests/lib."""
import os
import pathlib
import sys

import httpx
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from accounts import Account  # noqa: E402
from devices import Device  # noqa: E402
from system import SANITIZED, System  # noqa: E402

# httpx reads all certificates of the machine for each client, 40 ms: these tests trust nobody but their own CA.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(pathlib.Path(__file__).parent)

# Those that take longest, which xdist begins with; what is short fills the gaps at the end.
FIRST = ("test_faults.py", "test_outages.py", "test_services.py", "test_broker_outages.py", "test_deployment.py",
         "test_simulated_device.py", "test_http_attacks.py", "test_updates_time.py", "test_updates.py", "test_upkeep.py",
         "test_policy_tests.py", "test_jobs.py", "test_history.py", "test_simulate.py", "test_accounts.py", "test_users.py",
         "test_fleet_rollouts.py")


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the tests marked `long` (soaks)")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes minutes; run by --long only")
    config.addinivalue_line("markers", "measured(sanitized=True): bounds time or memory (times otad.slack); run without "
                                       "sanitizers, too, or only so")


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))
    for item in items:
        measured = item.get_closest_marker("measured")
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="--long runs it"))
        elif SANITIZED and measured and not measured.kwargs.get("sanitized", True):
            item.add_marker(pytest.mark.skip(reason="for programs without sanitizers"))


def run(session, system):
    """Yields the started system; at the end stops it and checks what is left of it."""
    try:
        system.start()
    except RuntimeError as error:
        pytest.exit(str(error), returncode=1)
    failed = session.testsfailed
    yield system
    keep = session.testsfailed > failed
    if keep:
        print(f"\nlogs are kept in {system.var}/log")
    system.stop(keep=keep)


@pytest.fixture(scope="session")
def otad(request):
    """The system most tests share: see tests/lib/system.py for what it knows and can do."""
    yield from run(request.session, System())


@pytest.fixture(scope="module")
def start_otad(request):
    """start_otad(OTAD_DEVICE_OFFLINE_AFTER="3s", ...): a system of the module's own, with these settings."""
    running = []

    def start(**settings):
        running.append(run(request.session, System(**settings)))
        return next(running[-1])

    yield start
    for system in running:
        next(system, None)


@pytest.fixture
def client(otad):
    """httpx.Client without a token."""
    with httpx.Client(base_url=otad.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def operator(otad):
    return Account(otad, role="operator")


@pytest.fixture
def make_user(otad):
    return lambda **options: Account(otad, **options)


@pytest.fixture
def user(make_user):
    """A fresh account without rights over other people's things."""
    return make_user()


@pytest.fixture
def make_device(otad, operator):
    """make_device(account=operator, chip="esp32", tags={...}): a registered Device, disconnected at the end."""
    made = []

    def make(account=None, **fields):
        made.append(Device(otad, account or operator, **fields))
        return made[-1]

    yield make
    for device in made:
        device.disconnect()


@pytest.fixture
def device(make_device):
    return make_device()
