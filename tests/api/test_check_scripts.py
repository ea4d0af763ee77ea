"""otad check and otad test on directories of scripts: what they print, and how they end."""
import json
import re
import shutil

import pytest

from services import otad as run
from system import ROOT

CANARY = (ROOT / "scripts/policies/canary.lua").read_text()


@pytest.fixture
def scripts(tmp_path):
    """Writes files of a new directory scripts/: path = content."""
    def write(**files):
        for name, text in files.items():
            path = tmp_path / "scripts" / f"{name.replace('__', '/')}.lua"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "scripts"
    return write


# otad check


def test_what_is_wrong_with_a_policy(scripts):
    directory = scripts(policies__canary=CANARY.replace("device.telemetry.battery", "device.chp", 1))
    done = run("check", directory, code=1)
    assert done.stdout == "scripts/policies/canary.lua:15: unknown field device.chp (did you mean chip?)\n"


def test_what_is_right(scripts):
    assert run("check", scripts(policies__canary=CANARY)).stdout == "1 file, no problems\n"


def test_warnings_are_no_failure(scripts):
    directory = scripts(policies__idle="local unused = 1\nreturn {}\n")
    assert run("check", directory).stdout == "scripts/policies/idle.lua:1: warning: unused local 'unused'\n"
    answer = json.loads(run("check", "--json", directory).stdout)
    assert answer == {"ok": True, "problems": [{"file": "scripts/policies/idle.lua", "line": 1, "column": 7,
                                                "severity": "warning", "message": "unused local 'unused'"}]}


def test_loading_and_reading_are_told_together(scripts):
    directory = scripts(
        policies__bad="return {\n  concurency = 3,\n  admit = function(d) return 'ofer' end,\n}\n",
        policies__worse="return { admit = functoin }\n",
        policies__worst="return {\n",
        routes__hello="return { { method = 'GET', path = '/', who = 'anyone', handler = function() dbb.one() end } }")
    assert run("check", directory, code=1).stdout.splitlines() == [
        "scripts/policies/bad.lua:2: unknown field concurency (did you mean concurrency?)",
        'scripts/policies/bad.lua:3: "ofer" is no verdict (did you mean offer?)',
        "scripts/policies/worse.lua:1: undefined global 'functoin'",
        "scripts/policies/worst.lua:2: unexpected symbol near <eof>",
        "scripts/routes/hello.lua:1: undefined global 'dbb' (did you mean db?)",
    ]


def test_each_folder_has_its_own_globals(scripts):
    uses = "return { function() return db, now(), policy, device, print end }\n"
    pure = "return { x = function() return now(), db end }\n"
    directory = scripts(lib__a=uses, lib__a_test=uses, lib__policy__b=pure)
    found = run("check", directory, code=1).stdout
    assert re.findall(r"(\S+):1: undefined global '(\w+)'", found) == [
        ("scripts/lib/a.lua", "device"), ("scripts/lib/a.lua", "policy"), ("scripts/lib/a.lua", "print"),
        ("scripts/lib/a_test.lua", "print"),
        ("scripts/lib/policy/b.lua", "db"), ("scripts/lib/policy/b.lua", "now")]


def test_what_is_shipped_has_not_even_warnings():
    assert re.fullmatch(r"\d+ files, no problems\n", run("check", "scripts").stdout)


# otad test


def test_policies_are_asked(scripts):
    directory = scripts(policies__canary=CANARY, policies__canary_test="""
local canary = policy "canary"
return {
  passes = function() equal(canary.admit(device { telemetry = { battery = 30 } }), "offer") end,
  fails = function()
    equal(canary.admit { telemetry = { battery = 29 } }, "offer", "a weak battery")
  end,
}
""")
    done = run("test", directory, code=1).stdout
    assert 'scripts/policies/canary_test.lua:6: a weak battery: expected "offer", got "hold"' in done
    assert done.endswith("scripts/policies/canary.lua: 3 of 7 lines ran\n1 passed, 1 failed\n")


def test_coverage_names_lines(scripts):
    directory = scripts(policies__canary=CANARY, policies__canary_test="""
local canary = policy "canary"
return { asks = function() equal(canary.advance {}, "hold") end }
""", policies__other="return {}")
    done = run("test", "--coverage", directory).stdout
    assert "scripts/policies/canary.lua: 5 of 7 lines ran, not 15-16\n" in done
    assert "scripts/policies/other.lua: 0 of 1 lines ran, not 1\n" in done
    answer = json.loads(run("test", "--json", directory).stdout)
    assert (answer["passed"], answer["failed"], answer["problems"]) == (1, 0, [])
    assert answer["coverage"] == [
        {"file": "scripts/policies/canary.lua", "lines": 7, "ran": 5, "not_run": [15, 16]},
        {"file": "scripts/policies/other.lua", "lines": 1, "ran": 0, "not_run": [1]}]


MISTAKES = {
    'equal({ a = { 1, 2 } }, { a = { 1, 3 } })': 'a[2]: expected 3, got 2',
    'equal(1, "1", "one")': 'one: expected "1", got 1',
    'equal({}, { x = true })': 'x: expected true, got nil',
    'raises("no", function() end)': 'expected an error with "no", got none',
    'raises("no", error, "yes")': 'expected an error with "no", got "yes"',
    'policy "none"': "there is no policy 'none'",
    'policy { source = "return { admitt = 1 }" }': "scripts/policies/source.lua:1: unknown field admitt (did",
    'device { chp = 1 }': 'a device has no field "chp"',
    'policy("p").admit { chp = 1 }': 'a device has no field "chp"',
    'policy("p").admit({}, { stage = "two" })': 'the policy has no stage "two", but all',
    'policy("p").advance { endd = 1 }': 'a stats has no field "endd"',
    'policy("p").admit { telemetry = { raise = true } }': "admit failed: line 2: no",
    'clock.set "noon"': 'clock.set: "noon" is no time',
    'clock.advance "3 weeks"': 'clock.advance: "3 weeks" is no duration',
}


@pytest.mark.parametrize("call", MISTAKES)
def test_mistakes_in_tests(scripts, call):
    policy = "return { admit = function(device)\nif device.telemetry.raise then error 'no' end\nreturn 'offer' end }"
    directory = scripts(policies__p=policy, policies__p_test=f"return {{ t = function()\n\n{call} end }}")
    done = run("test", directory, code=1)
    assert f"scripts/policies/p_test.lua:3: {MISTAKES[call]}" in done.stdout, done.stdout


def test_each_test_begins_anew(scripts):
    policy = "return { admit = function(d, r, ctx) return 'hold', ctx.now .. ' ' .. ctx.random() end }"
    directory = scripts(policies__p=policy, policies__p_test="""
local p = policy "p"
local first
local function say() return (select(2, p.admit {})) end
local function test()
  first = first or say()
  equal(say(), first)
  seed(7)
  assert(say() ~= first)
  seed(0)
  clock.advance "1h"
  assert(say() ~= first)
  equal(clock.now(), 1767225600 + 3600)
end
return { a = test, b = test }
""")
    assert "2 passed, 0 failed" in run("test", directory).stdout


def test_a_policy_that_hangs_fails_its_test_only(scripts):
    directory = scripts(policies__p="return { admit = function() while true do end end }", policies__p_test="""
return {
  hangs = function() policy("p").admit {} end,
  says_so = function() raises("ran longer than 10 ms", policy("p").admit, {}) end,
}
""")
    assert "1 passed, 1 failed" in run("test", directory, code=1).stdout


def test_the_shipped_tests_reach_every_line_of_the_shipped_policies(tmp_path):
    for folder in ("policies", "lib/policy"):
        shutil.copytree(ROOT / "scripts" / folder, tmp_path / folder)
    coverage = json.loads(run("test", "--json", tmp_path).stdout)["coverage"]
    assert len(coverage) >= 10
    assert [file for file in coverage if file["not_run"]] == []


# POST /policies/check


def test_over_http(operator):
    def check(source):
        answer = operator.client.post("/policies/check", json={"source": source})
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert check(CANARY) == {"ok": True, "problems": []}
    found = check(CANARY.replace("device.telemetry.battery", "device.chp", 1).replace("share = 0.01,", "shar = 0.01,"))
    assert not found["ok"]
    assert [(problem["line"], problem["severity"], problem["message"]) for problem in found["problems"]] == [
        (4, "error", "stages.1.share is missing"),
        (4, "error", "unknown field stages.1.shar (did you mean share?)"),
        (15, "error", "unknown field device.chp (did you mean chip?)")]
    found = check("local unused = 1\nreturn {}")
    assert found["ok"] and [problem["severity"] for problem in found["problems"]] == ["warning"]
    assert not check("return {")["ok"]
    for hostile in ("while true do end", "return " + "{" * 30000, "return 1" + "+1" * 30000,
                    "return {" + "1," * 32000 + "}", "return ('x'):rep(1e5):find(('.-'):rep(100) .. 'y')"):
        assert not check(hostile)["ok"]
    assert check(CANARY)["ok"]
