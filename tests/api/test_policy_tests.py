"""Tests of policies over HTTP (POST /policies/:name/test), which run where policies do: what they answer, what they
cannot do, and what others notice of them."""
import json
import pathlib
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from answers import problem
from services import otad as run
from system import ROOT, SANITIZED
from test_rollouts import new_policy

CANARY = (ROOT / "scripts/policies/canary.lua").read_text()
SHIPPED = sorted(path.stem for path in (ROOT / "scripts/policies").glob("*.lua") if not path.stem.endswith("_test"))

HALF = """return {
  admit = function(device)
    if device.online then return "offer" end
    return "hold", "is offline"
  end,
}"""


def name():
    return "t_" + secrets.token_hex(6)


def ask(account, policy, **body):
    return account.client.post(f"/policies/{policy}/test", json=body, timeout=120)


def outcome(operator, tests, source=HALF, policy=None):
    """The answer for a policy that is yet to be made, and its tests by name."""
    answer = ask(operator, policy or name(), source=source, tests=tests)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["passed"] + said["failed"] == len(said["tests"])
    assert said["ok"] == (said["failed"] == 0) and [one["ok"] for one in said["tests"]].count(True) == said["passed"]
    return said, {one["name"]: one for one in said["tests"]}


# What is answered


@pytest.mark.parametrize("policy", SHIPPED)
def test_as_on_the_command_line(operator, policy):
    """The tests that come with it, of what is in force; lines and tests are those that `otad test` counts."""
    answer = ask(operator, policy)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["ok"] and said["failed"] == 0 and said["passed"] > 0
    names = re.findall(r"^  (\w+) = function", (ROOT / f"scripts/policies/{policy}_test.lua").read_text(), re.M)
    assert [one["name"] for one in said["tests"]] == sorted(names)
    assert all(one == {"file": f"scripts/policies/{policy}_test.lua", "name": one["name"], "ok": True, "message": None,
                       "line": None} for one in said["tests"])
    coverage = json.loads(run("test", "--json", "scripts").stdout)["coverage"]
    here = next(one for one in coverage if one["file"] == f"scripts/policies/{policy}.lua")
    assert said["coverage"] == {"lines": here["lines"], "ran": here["ran"], "missed": here["not_run"]}


def test_another_source_fails_where_it_differs(operator):
    said = ask(operator, "canary", source=CANARY.replace("< 30", "< 40")).json()
    assert (said["ok"], said["passed"], said["failed"]) == (False, 4, 1)
    failed = next(one for one in said["tests"] if not one["ok"])
    assert failed == {"file": "scripts/policies/canary_test.lua", "name": "batteries_below_30_percent_wait", "ok": False,
                      "message": 'expected "offer", got "hold"', "line": 21}
    assert operator.client.get("/policies/canary").json()["source"] == CANARY


def test_tests_of_the_request(operator):
    policy = name()
    said, tests = outcome(operator, f"""local mine = policy "{policy}"
return {{
  offers = function() equal(mine.admit {{}}, "offer") end,
  raises = function() mine.admit {{ chp = 1 }} end,
}}""", policy=policy)
    assert tests["offers"]["ok"] and not tests["raises"]["ok"]
    assert tests["raises"]["line"] == 4 and tests["raises"]["message"] == 'a device has no field "chp"'
    assert said["coverage"] == {"lines": 3, "ran": 2, "missed": [4]}


def test_a_policy_without_tests(operator):
    policy = new_policy(operator, HALF)
    for body in ({}, {"source": HALF}, {"tests": ""}):
        assert ask(operator, policy, **body).json() == {
            "ok": True, "passed": 0, "failed": 0, "tests": [], "coverage": {"lines": 3, "ran": 0, "missed": [1, 3, 4]}}


def test_the_source_of_tests(operator, user):
    shipped = operator.client.get("/policies/canary/test")
    assert shipped.json() == {"tests": (ROOT / "scripts/policies/canary_test.lua").read_text()}
    assert operator.client.get(f"/policies/{new_policy(operator, HALF)}/test").json() == {"tests": None}
    problem(operator.client.get(f"/policies/{name()}/test"), 404)
    assert user.client.get("/policies/canary/test").status_code == 403


def test_libraries_and_other_policies(operator):
    source = 'local c = require "lib.policy.conditions" return { admit = c.all { c.battery(20) } }'
    policy = name()
    said, tests = outcome(operator, f"""return {{
  libraries = function() equal((policy "{policy}".admit {{ telemetry = {{ battery = 19 }} }}), "hold") end,
  another = function() equal(#policy "canary".stages, 4) end,
  zones = function()
    clock.set "2026-07-15T10:00:00Z"
    local hour = policy {{ source = "return {{ admit = function(d, r, ctx) return 'hold', ctx.hour .. '' end }}" }}
    equal(select(2, hour.admit {{ tags = {{ timezone = "Europe/Berlin" }} }}), "12")
  end,
  random = function() equal(time.rfc3339(clock.now()), "2026-01-01T00:00:00Z") end,
}}""", source, policy)
    assert said["ok"], tests


@pytest.mark.parametrize("tests, says, line", [
    ("return {\n  a = function( end }", "expected near 'end'", 2), ("x", "unexpected symbol|syntax error", 1),
    ("return 7", "must return a table of named functions", 1), ("", None, None),
    ("return { function() end }", "must return a table of named functions", 1),
    ("local p\n= policy 'none'\nreturn {}", "there is no policy 'none'", 2), ("error 'no'", "no", 1),
    ("\x1bLua", "binary|unexpected", None), ("local x = undefined_name return {}", "undefined global 'undefined_name'", 1),
    ("local t = {} for i = 1, 600 do t['t' .. i] = function() end end return t", "more than 500 tests", 1),
    ("return { [('x'):rep(300)] = function() end }", "more than 200 bytes", 1),
    ("while true do end", "ran longer than 1 s", 1),
    ("local s = 'x' while true do s = s .. s end", "needed more than 64 MiB", None)], ids=range(13))
def test_tests_that_do_not_load(operator, tests, says, line):
    answer = ask(operator, "canary", tests=tests)
    if says is None:
        assert answer.json()["tests"] == []
        return
    problem(answer, 422, "tests")
    first = answer.json()["problems"][0]
    assert re.search(says, first["message"]) and (line is None or first["line"] == line), first


def test_sources_that_do_not_load(operator):
    for source, line in (("return {\n  rat = 1 }", 2), ("return {", 1), ("return 7", 1)):
        answer = ask(operator, name(), source=source, tests="return {}")
        problem(answer, 422, "source")
        assert answer.json()["problems"][0]["line"] == line


def test_who_may_and_what(operator, user, client):
    assert ask(user, "canary").status_code == 403
    assert client.post("/policies/canary/test", json={}).status_code == 401
    problem(ask(operator, name()), 404)
    problem(ask(operator, "Not-A-Name", source=HALF), 404)
    problem(ask(operator, "canary", source="x" * 65537), 422, "source")
    problem(ask(operator, "canary", tests="x" * 65537), 422, "tests")
    problem(ask(operator, "canary", other=1), 422, "other")


# What tests cannot do

LONG, LARGE, ENDED = "ran longer than 1 s", "needed more than 64 MiB of memory", "its process had to be ended"
if SANITIZED:  # memory takes its time to fill
    LARGE = f"{LARGE}|{LONG}"
HANGS = "('a'):rep(30000):find(('.-'):rep(30) .. 'b')"

ATTACKS = {
    "while true do end": LONG,
    "while true do pcall(function() while true do end end) end": LONG,
    "local f f = function() return pcall(f) end while true do f() end": LONG,
    "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) local x = t[1]": "stack overflow|" + LONG,
    "local x <close> = setmetatable({}, { __close = function() while true do end end }) while true do end": LONG,
    f"local s = {HANGS}": "could run too long",
    "local t = {} while true do t[#t + 1] = ('x'):rep(1000):rep(100) .. #t end": LARGE,
    "local s = 'x' while true do s = s .. s end": LARGE,
    "while true do pcall(function() local t = {} while true do t[#t + 1] = {} end end) end": LONG,
    "local s = json.encode { ('x'):rep(1000):rep(300) } for i = 1, 30 do s = s .. s end": LARGE,
    "for i = 1, 1e9 do policy 'canary' end": f"the policies that were loaded hold more than 128 MiB|{LONG}|{ENDED}",
    "policy { source = 'while true do end' }": "ran longer than 10 ms",
    "policy { source = \"local t = {} while true do t[#t + 1] = {} end\" }": "ran longer than 10 ms|needed more than 16 MiB",
    "policy { source = 'return { admit = function() while true do end end }' }.admit {}": "ran longer than 10 ms",
    f"policy {{ source = \"return {{ admit = function() return {HANGS} end }}\" }}.admit {{}}": ENDED,
    f"policy {{ source = \"local x = {HANGS} return {{}}\" }}": ENDED,
    "error {}": "error without a text",
    "error(('long '):rep(100000))": "long long",
    "require 'lib.schema'": "there is no script 'lib/schema.lua'",
    "require 'routes.accounts'": "there is no script 'routes/accounts.lua'",
    **{f"return {gone}": f"undefined global '{gone}'" for gone in (
        "db", "redis", "crypto", "jwt", "firmware", "config", "server", "policies", "log", "events", "blob", "os", "io",
        "load", "debug", "coroutine", "collectgarbage", "print", "xpcall", "dofile")},
    "string.dump(error)": "attempt to call a nil value",
    "setmetatable({}, { __gc = function() end })": "__gc is not for scripts",
    "leak = 1": "assignment to global 'leak'",
}


def hosts(otad):
    found = set()
    for child in pathlib.Path(f"/proc/{otad.pid}/task").glob("*/children"):
        for pid in child.read_text().split():
            try:
                if b"policy-host" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.add(int(pid))
            except OSError:
                pass  # ended meanwhile
    return found


@pytest.fixture(scope="module")
def attacked(operator):
    """The answers of all attacks, by number: some at a time, for each file ends after ten seconds of them."""
    bodies, answers = list(ATTACKS), {}
    for first in range(0, len(bodies), 5):
        tests = "return {\n" + "".join(f"a{i} = function() {bodies[i]} end,\n" for i in range(first, min(first + 5, len(bodies))))
        answers |= outcome(operator, tests + "zz = function() end }")[1]
        assert answers.pop("zz")["ok"]
    return {body: answers[f"a{i}"] for i, body in enumerate(bodies)}


@pytest.mark.parametrize("body", ATTACKS)
def test_an_attack_fails_its_test_and_no_other(attacked, body):
    found = attacked[body]
    assert not found["ok"] and re.search(ATTACKS[body], found["message"]), found
    assert len(found["message"]) <= 503 and found["message"].isprintable()
    assert found["file"].endswith("_test.lua")


def test_one_test_knows_nothing_of_another_run(operator):
    """Not even of one that has changed what it could."""
    spoils = "string.rep, table.concat, json.encode = nil, nil, nil return { a = function() end }"
    assert outcome(operator, spoils)[0]["ok"]
    assert outcome(operator, "return { a = function() equal(('x'):rep(3), 'xxx') equal(json.encode { 1 }, '[1]') end }")[0]["ok"]


def test_tests_without_end_together(operator):
    tests = "return {" + "".join(f"t{i:02} = function() while true do end end," for i in range(40)) + "}"
    began = time.monotonic()
    said, found = outcome(operator, tests)
    assert said["failed"] == 40 and found["t00"]["message"] == LONG
    assert found["t39"]["message"] == "did not run: those before it took 10 s"
    assert time.monotonic() - began < 200  # on a busy machine; some 10 s of processor time
    hang = f"policy {{ source = \"return {{ admit = function() return {HANGS} end }}\" }}.admit {{}}"
    tests = "return {" + "".join(f"t{i:02} = function() {hang} end," for i in range(40)) + "}"
    answer = ask(operator, name(), source=HALF, tests=tests)
    assert answer.status_code == 422 and answer.json()["problems"][0]["message"] == "the tests ran too long"


@pytest.mark.measured
def test_others_are_answered_meanwhile(otad, operator, user):
    before, pid, log = hosts(otad), otad.pid, otad.log_path.stat().st_size
    bombs = ("while true do end", "local s = 'x' while true do s = s .. s end",
             f"policy {{ source = \"return {{ admit = function() return {HANGS} end }}\" }}.admit {{}}")
    tests = "return {" + "".join(f"t{i} = function() {body} end," for i, body in enumerate(bombs)) + "}"
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(ask, operator, name(), source=HALF, tests=tests) for _ in range(3)]
        slowest = 0
        while not all(one.done() for one in running):
            began = time.monotonic()
            assert user.client.get("/devices").status_code == 200
            assert operator.client.post("/policies/check", json={"source": HALF}).json()["ok"]
            slowest = max(slowest, time.monotonic() - began)
        assert all(one.result().json()["failed"] == 3 for one in running)
    assert slowest < 0.5 * otad.slack, slowest
    assert otad.pid == pid, "the server was restarted"
    assert hosts(otad) != before
    assert '"fatal"' not in otad.log_path.read_text()[log:]


def test_full(operator):
    """Those who wait are some; others are told to come back."""
    slow = "return { a = function() while true do end end }"
    with ThreadPoolExecutor(12) as pool:
        codes = [answer.status_code for answer in pool.map(lambda _: ask(operator, name(), source=HALF, tests=slow), range(12))]
    assert set(codes) == {200, 503}, codes
