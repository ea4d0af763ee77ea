"""Scripts that change while the server runs: all or nothing, at once, and without a failed request."""
import re
import shutil
import subprocess
import time

import httpx
import pytest

from accounts import Account
from devices import wait_for
from system import ROOT

ROUTE = """return {
  { method = "GET", path = "/greeting", who = "anyone",
    handler = function() return 200, { text = "%s" } end },
}
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    place = tmp_path_factory.mktemp("reload") / "scripts"
    shutil.copytree(ROOT / "scripts", place)
    (place / "routes/greeting.lua").write_text(ROUTE % "first")
    return place


@pytest.fixture(scope="module")
def system(start_otad, scripts):
    return start_otad(OTAD_SCRIPTS=str(scripts))


@pytest.fixture(scope="module")
def admin(system):
    return Account(system, role="operator").client


@pytest.fixture(autouse=True)
def tidy(scripts, system, admin):
    yield
    for name in ("zz_broken.lua", "slow.lua"):
        (scripts / "routes" / name).unlink(missing_ok=True)
    (scripts / "routes/greeting.lua").write_text(ROUTE % "first")
    wait_for(lambda: greeting(system) == "first" and not admin.get("/admin/scripts").json()["problems"])


def greeting(system):
    return httpx.get(f"{system.url}/greeting").json()["text"]


def test_a_change_under_full_load(system, scripts, admin):
    """wrk keeps both workers busy; scripts change five times meanwhile."""
    load = subprocess.Popen(["wrk", "-t1", "-c64", "-d6", f"{system.url}/greeting"], stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    for n in range(5):
        (scripts / "routes/greeting.lua").write_text(ROUTE % f"change {n}")
        written = time.monotonic()
        wait_for(lambda: greeting(system) == f"change {n}", 10, 0.01)
        assert time.monotonic() - written < 1 * system.slack
        time.sleep(0.3)
    printed = load.communicate(timeout=30)[0]
    assert int(re.search(r"(\d+) requests in", printed).group(1)) > 100
    assert "Non-2xx" not in printed and "Socket errors" not in printed, printed


@pytest.mark.parametrize("source, line, word", [
    ("return {\n  { method = 'GET',, }\n}\n", 2, "unexpected symbol"),
    ("local x = 1\nreturn {\n{ method = 'GET', path = '/x', who = 'nobody',\n handler = function() end } }\n", 4, "who"),
    ("return { { method = 'GET', path = '/greeting', who = 'anyone', handler = function() end } }\n", 1, "already"),
    ("error('out of order')\n", 1, "out of order"),
    ("return undefined_thing\n", 1, "undefined_thing"),
    ("while true do end\n", 1, "longer than"),
    ("local t = {} for i = 1, 1e9 do t[i] = 'x' .. i end\n", 1, ""),
    ("return setmetatable({}, { __gc = function() end })\n", 1, "__gc"),
])
def test_a_broken_file_changes_nothing(system, scripts, admin, source, line, word):
    before = admin.get("/admin/scripts").json()
    (scripts / "routes/greeting.lua").write_text(ROUTE % "second")
    (scripts / "routes/zz_broken.lua").write_text(source)
    state = wait_for(lambda: (lambda s: s if s["problems"] else None)(admin.get("/admin/scripts").json()))
    problem = state["problems"][0]
    assert problem["file"] == "scripts/routes/zz_broken.lua", problem
    assert word in problem["message"], problem
    if word:
        assert problem["line"] == line, problem
    assert state["revision"] == before["revision"]
    assert greeting(system) == "first"
    assert admin.post("/admin/reload").status_code == 422
    (scripts / "routes/zz_broken.lua").unlink()
    wait_for(lambda: greeting(system) == "second")
    wait_for(lambda: admin.get("/admin/scripts").json()["problems"] == [])


def test_sighup_and_the_route_reload_too(system, scripts, admin):
    (scripts / "routes/greeting.lua").write_text(ROUTE % "third")
    answer = admin.post("/admin/reload")
    assert answer.status_code == 200
    assert greeting(system) == "third"
    assert answer.json()["revision"] == admin.get("/admin/scripts").json()["revision"]
    count = reloads(system)
    system_pid = system.service_pid("otad")
    subprocess.run(["kill", "-HUP", str(system_pid)], check=True)
    wait_for(lambda: reloads(system) > count)


def reloads(system):
    text = httpx.get(f"{system.url}/metrics").text
    return int(re.search(r'otad_script_reloads_total\{result="ok"\} (\d+)', text).group(1))


def test_a_handler_that_never_ends_is_stopped(system, scripts):
    """Also where it catches the error; others are served meanwhile, and after."""
    (scripts / "routes/slow.lua").write_text("""return {
      { method = "GET", path = "/loop", who = "anyone", handler = function() while true do end end },
      { method = "GET", path = "/stubborn", who = "anyone",
        handler = function() while true do pcall(function() while true do end end) end end },
      { method = "GET", path = "/grow", who = "anyone",
        handler = function() local s = "x" while true do s = s .. s end end },
      { method = "GET", path = "/wrong", who = "anyone", handler = function() return "200" end },
    }""")
    wait_for(lambda: httpx.get(f"{system.url}/wrong").status_code == 500)
    # One connection, so one worker: a thread of Lua that was stopped once must be stoppable again.
    connection = httpx.Client(base_url=system.url, timeout=60)
    for path in ("/loop", "/stubborn", "/grow", "/loop", "/stubborn"):
        answer = connection.get(path)
        assert answer.status_code == 500, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert "slow.lua" not in answer.text
        assert greeting(system) == "first"
    assert "slow.lua" in system.log_tail(20)


def test_requests_under_way_end_in_what_they_began_in(system, scripts, admin):
    """A request that waits for its body's check on the pool when its script goes away is answered all the same."""
    email = "reload@example.org"
    for n in range(5):
        (scripts / "routes/greeting.lua").write_text(ROUTE % f"under way {n}")
        answer = httpx.post(f"{system.url}/auth/login", json={"email": email, "password": "not a password"}, timeout=30)
        assert answer.status_code in (401, 429)
