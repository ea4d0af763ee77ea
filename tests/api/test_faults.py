"""Calls of the system that fail once, and memory that runs out once, at every place that an upload, a download, a login,
a device's word or a reload comes through: the request is refused or served, the next one is served, the process is the
same, nothing is left half-written and no descriptor is lost."""
import errno
import hashlib
import random
import secrets
import signal
import time

import httpx
import pytest

import make_image
from accounts import Account
from devices import Device, wait_for
from faults import FaultyOtad
from test_firmware import version

# What may fail, how, and whether a client may then see its connection break: on it, or on its way to the server.
FILES = {"open": (errno.EMFILE, errno.EIO), "read_file": (errno.EIO,), "write_file": (errno.ENOSPC, errno.EIO),
         "write_log": (errno.ENOSPC,), "fsync": (errno.EIO, errno.ENOSPC),
         "rename": (errno.EIO, errno.ENOSPC), "unlink": (errno.EIO,), "mmap": (errno.ENOMEM,), "flock": (errno.ENOLCK,)}
SOCKETS = {"socket": (errno.EMFILE,), "connect": (errno.ETIMEDOUT,), "accept": (errno.EMFILE, errno.ECONNABORTED),
           "read_socket": (errno.ECONNRESET,), "write_socket": (errno.EPIPE,), "epoll_wait": (errno.EINTR,), "poll": (errno.EINTR,)}
MEMORY = {name: (errno.ENOMEM,) for name in ("malloc", "calloc", "realloc")}
BROKEN = "connection broken"


class Actions:
    """What is done while something fails. Each returns the status code, or BROKEN; what is answered 2xx is checked."""

    def __init__(self, otad):
        self.system = otad.system
        self.account = Account(self.system, role="operator")
        self.device = Device(self.system, self.account)
        assert self.device.connect() == 0
        self.account.client.close()  # its connection would come and go

    def ask(self, method, path, **options):
        """On a connection of its own, so that all of it is made and ended."""
        return httpx.request(method, self.system.url + path, headers=self.account.headers, timeout=60, **options)

    def upload_image(self, image):
        return self.ask("POST", "/firmware/upload", files={"file": ("a.bin", image)})

    def upload(self):
        image = make_image.build(version=version())
        answer = self.upload_image(image)
        if answer.status_code == 201:
            path = f"/firmware/{answer.json()['firmware']['id']}/download"
            assert hashlib.sha256(wait_for(lambda: self.get(path), 10)).digest() == hashlib.sha256(image).digest()
        return answer.status_code

    def get(self, path):
        try:
            answer = self.ask("GET", path)
            return answer.content if answer.status_code == 200 else None
        except httpx.TransportError:
            return None

    def prepare_download(self):
        """What was never downloaded is not held loaded yet."""
        self.image = make_image.build(version=version())
        self.firmware = wait_for(lambda: self.upload_image(self.image).json().get("firmware"), 10)

    def download(self):
        answer = self.ask("GET", f"/firmware/{self.firmware['id']}/download")
        assert answer.status_code != 200 or answer.content == self.image
        return answer.status_code

    def login(self):
        return httpx.post(f"{self.system.url}/auth/login", timeout=60,
                          json={"email": self.account.email, "password": self.account.password}).status_code

    def word(self):
        """What a device says; it repeats that, as devices do."""
        told = secrets.token_hex(8)
        question = f"select count(*) from devices where id = {self.device.id} and firmware_version = '{told}'"

        def taken():
            self.device.status(firmware_version=told)
            end = time.monotonic() + 1
            while time.monotonic() < end:
                if self.system.psql(question) == "1":
                    return True
                time.sleep(0.05)
            return False

        wait_for(taken, 30)
        return 200

    def reconnect(self):
        """The connections to the database are cut and made anew; until then 503 is right."""
        self.system.psql("select pg_terminate_backend(pid) from pg_stat_activity "
                         "where application_name = 'otad' and pid <> pg_backend_pid()")
        wait_for(lambda: self.system.ready() and self.login() == 200, 30)
        return 200

    def reload(self):
        answer = self.ask("POST", "/admin/reload")
        return 500 if answer.status_code == 422 and answer.json()["problems"] else answer.status_code


class Walk:
    """One action again and again, while each time another call fails."""

    def __init__(self, otad, actions, action):
        self.otad = otad
        self.prepare, self.run = getattr(actions, f"prepare_{action}", lambda: None), getattr(actions, action)
        self.outcomes = {}

    def attempt(self):
        self.prepare()
        return self.result()

    def result(self):
        try:
            return self.run()
        except httpx.TransportError:
            return BROKEN

    def count(self, names):
        """How often each is called when nothing fails; more than once, since what is kept open is not opened again."""
        for _ in range(2):
            self.prepare()
            for name in names:
                self.otad.faults.arm(name, 0, 0)
            assert self.result() in (200, 201)
        return {name: self.otad.faults.calls(name) for name in names}

    def fail(self, name, number, error):
        """Returns what came of the action; True if the call was made."""
        self.prepare()
        self.otad.faults.arm(name, number, error)
        outcome = self.result()
        fired = self.otad.faults.fired(name)
        self.caller = self.otad.faults.caller(name)
        self.otad.faults.arm(name, 0, 0)
        self.outcomes.setdefault((name, error), []).append(outcome)
        return outcome, fired

    def recovers(self):
        wait_for(lambda: self.attempt() in (200, 201), 10)


def spread(calls, most):
    """Numbers from 1 to `calls`, `most` of them: the first, the last and some between."""
    if calls <= most:
        return list(range(1, calls + 1))
    return sorted({1, calls, *random.Random(calls).sample(range(2, calls), most - 2)})


def whole_store(system):
    """Every file of the store is whole, every row has one, and nothing unfinished lies there."""
    names = {path.name for path in (system.var / "firmware").iterdir()}
    for name in names:
        assert hashlib.sha256((system.var / "firmware" / name).read_bytes()).hexdigest() == name
    assert set(system.psql("select sha256 from firmware").split()) <= names


@pytest.fixture(scope="module")
def faulty(start_otad):
    otad = FaultyOtad(start_otad())
    yield otad
    assert otad.stop() == 0


@pytest.fixture(scope="module")
def actions(faulty):
    actions = Actions(faulty)
    yield actions
    actions.device.disconnect()


def walk(otad, actions, action, functions, most):
    """Each function's calls fail in turn; returns the walk."""
    walk = Walk(otad, actions, action)
    pid, fired = otad.pid, 0
    for name, calls in walk.count(functions).items():
        for i, number in enumerate(spread(calls, most)):
            error = functions[name][i % len(functions[name])]
            outcome, made = walk.fail(name, number, error)
            fired += made
            assert outcome in (200, 201, 500, 503, 507) or outcome == BROKEN and name in SOCKETS, \
                f"{name} no. {number} with {errno.errorcode[error]}: {outcome}"
            if name in SOCKETS:
                walk.recovers()  # connections to the services are made anew
            else:
                assert walk.attempt() in (200, 201), f"after {name} no. {number} with {errno.errorcode[error]}"
            assert otad.pid == pid, f"{name} no. {number} with {errno.errorcode[error]} ended the server"
    assert fired > 0
    return walk


def settled(otad):
    """The descriptors, when no connection of a client is left."""
    seen = [{}]

    def unchanged():
        seen.append(otad.descriptors())
        return seen[-1] == seen[-2]
    wait_for(unchanged, 30, 0.5)
    return seen[-1]


@pytest.mark.parametrize("action, functions", [
    ("upload", FILES), ("download", FILES), ("reload", FILES), ("upload", SOCKETS), ("download", SOCKETS),
    ("login", SOCKETS), ("word", SOCKETS), ("reload", SOCKETS), ("reconnect", SOCKETS)],
    ids=lambda value: value if isinstance(value, str) else "files" if value is FILES else "sockets")
def test_a_call_fails_once(request, faulty, actions, action, functions):
    before = settled(faulty)
    most = 40 if request.config.getoption("--long") else 3
    done = walk(faulty, actions, action, functions, most)
    if action == "upload" and functions is FILES:
        assert 507 in done.outcomes["write_file", errno.ENOSPC]
    wait_for(faulty.ready, 10)
    whole_store(faulty.system)
    wait_for(lambda: faulty.descriptors() == before, 60, 0.2)  # those of broken connections end with their deadlines


@pytest.mark.measured(sanitized=False)  # AddressSanitizer has an allocator of its own, which cannot be made to fail like this
@pytest.mark.parametrize("action", ["upload", "download", "login", "word", "reload", "reconnect"])
def test_memory_runs_out_once(request, faulty, actions, action):
    """Where scripts run, an error; elsewhere the abort that base/mem.h documents, and the parent starts the server anew."""
    walk = Walk(faulty, actions, action)
    most = 20 if request.config.getoption("--long") else 2
    for name, calls in walk.count(MEMORY).items():
        for number in spread(calls, most):
            pid = faulty.pid
            outcome, _ = walk.fail(name, number, errno.ENOMEM)
            assert outcome in (200, 201, 500, 503) or outcome == BROKEN, f"{name} no. {number}: {outcome}"
            wait_for(faulty.ready, 20)
            if faulty.pid != pid:
                ended = faulty.crashes()[-1]
                # A library that does not look what it got ends the process, too: nothing of ours may.
                assert ended["signal"] == signal.SIGABRT or walk.caller not in ("", "otad"), \
                    f"{name} no. {number} of {walk.caller}: {ended}"
                if ended["crashes_in_a_row"] >= 2:
                    time.sleep(2)  # one that always ends at once is not started for ever
            walk.recovers()
    whole_store(faulty.system)
