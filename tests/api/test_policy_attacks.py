"""Policies that attack what runs them, put in force while their rollouts run. Each has a rollout of three devices: `admit`
attacks when it is asked about the first of the two in the first stage, `advance` whenever it is asked. So one device is
held and the log of decisions says why, the next one is offered the update, the third never comes into the stage; and
neither other rollouts nor the server notice."""
import hashlib
import pathlib
import re
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

import make_image
from answers import problem
from devices import Device, wait_for
from test_firmware import upload, version
from test_rollouts import decisions, new_policy, rollout

WAITS = """return {
  stages = { { name = "first", share = 0.5 }, { name = "all", share = 1 } },
  admit = function() return "hold", "not yet" end,
  advance = function() return "hold", "not yet" end,
}"""

# $go is what the attack wants: the device offered, the stage over.
TEMPLATE = """local shared = {}
return {
  stages = { { name = "first", share = 0.5 }, { name = "all", share = 1 } },
  admit = function(device, rollout, ctx)
    if device.id == $victim then
      local input, go = device, "offer"
      do $body end
      return go
    end
    if shared.poison or rollout.params.poison or ctx["poi" .. "son"] then return "hold", "poisoned" end
    return "offer"
  end,
  advance = function(rollout, stats, ctx)
    local input, go = stats, "advance"
    do $body end
    return go
  end,
}
"""

LONG = "ran longer than 10 ms"
LARGE = "needed more than 16 MiB of memory"
HANGS = "(('%s'):rep(30) .. 'b')"  # backtracks for longer than anybody waits
GONE = ("debug io os package load loadfile dofile collectgarbage print warn coroutine xpcall setmetatable getmetatable rawset "
        "rawget rawequal rawlen").split()

# body: what the decision says
ATTACKS = {
    # Time
    "while true do end": LONG,
    "while true do pcall(function() while true do end end) end": LONG,
    "local function f() return pcall(f) end while true do f() end": LONG,
    f"local s = ('a'):rep(30000):find{HANGS % '.-'}": LONG,
    f"local s = ('a'):rep(30000):match{HANGS % 'a*'}": LONG,
    f"for _ in ('a'):rep(30000):gmatch{HANGS % 'a-'} do input = nil end": LONG,
    f"local s = ('a'):rep(30000):gsub(('a-'):rep(30) .. 'b', '')": LONG,
    f"pcall(string.find, ('a'):rep(30000), ('a-'):rep(30) .. 'b')": LONG,
    "local t = { 2, 1 } table.sort(t, function() while true do end end)": LONG,
    "local t = {} for i = 1, 1000000000 do table.insert(t, 1, i) end": LONG,
    "local t = {} for i = 1, 100000 do t[i] = i end while #t > 0 do table.remove(t, 1) end": LONG,
    "for _ = 1, 1000000 do table.move({}, 1, 99999, 2) end": LONG,
    "for _ = 1, 1000000 do string.rep('x', 300000) end": f"{LONG}|{LARGE}",
    "for i in ipairs(input) do go = i end repeat go = go .. '' until not go": LONG,
    # Memory
    "local s = 'x' while true do s = s .. s end": f"{LONG}|{LARGE}",
    "local s = '' while true do s = s .. 'more and more of it' end": f"{LONG}|{LARGE}",
    "local t = {} while true do t[#t + 1] = {} end": f"{LONG}|{LARGE}",
    "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(100000) .. #t end) end": f"{LONG}|{LARGE}",
    "local t = {} for i = 1, 1000000 do t[i] = -i end table.sort(t)": f"{LONG}|{LARGE}",
    "string.rep('', 1000000000000)": r"string\.rep: result too large",
    "string.rep(('x'):rep(1000), 1000, ('y'):rep(1000000))": r"string\.rep: result too large",
    "table.move({}, 1, 1000000000000, 2)": r"table\.move: more than 100000 elements",
    "table.concat({}, 'x', 1, 1000000000000)": r"invalid value \(nil\) at index 1 in table for 'concat'",
    "return go, table.unpack({}, 1, 100000000)": "too many results to unpack",
    "return go, select(-1, table.unpack({}, 1, 900000))": f"too many results to unpack|{LONG}|{LARGE}|third value",
    "local function f() return 1 + f() end return f()": f"{LONG}|{LARGE}|stack overflow",
    "local function f(...) return f(1, ...) end return f()": f"{LONG}|{LARGE}|stack overflow",
    "return go, ('%99999d'):format(1)": "invalid conversion specification: '%99999d'",
    "return go, ('%.99999f'):format(1)": r"invalid conversion specification: '%\.99999f'",
    # Errors
    "error({})": "an error without a text",
    "error()": "an error without a text",
    "error(input)": "an error without a text",
    "error(('a long story '):rep(10000))": "a long story a long story",
    r"error('two\nlines\0\255')": "two lines",
    "local s = input['no' .. 'thing'].at_all": "attempt to index a nil value",
    # What is out of reach; by names that reading the source does not find
    f"for name in ('{' '.join(GONE)}'):gmatch('%a+') do if pcall(function() return _ENV[name] end) then return go end end "
    "error('all of it is out of reach')": "all of it is out of reach",
    "local name = 'xp' .. 'call' local f = _ENV[name] f(error, function() while true do end end)": "undefined global 'xpcall'",
    "local env = _ENV env.secret = 1": "assignment to 'secret'",
    "local lib = string lib['re' .. 'p'] = nil": "assignment to 'rep'",
    "local lib = _ENV['str' .. 'ing'] local f = lib['du' .. 'mp'] f(error)": "attempt to call a nil value",
    "local lib = math local f = lib['ran' .. 'dom'] f()": "attempt to call a nil value",
    "local f = require f('os').exit()": "there is no library 'os' for policies",
    "local f = require f('lib.policy.none')": r"there is no library 'lib/policy/none'",
    # Wrong answers
    "return #go": "returned a number where a verdict is due",
    "return select(1, input)": "returned a table where a verdict is due",
    "return select(1, pcall)": "returned a function where a verdict is due",
    "if input then go = select(1, nil) end": "returned nothing where a verdict is due",
    "go = go:upper()": "returned \"(OFFER|ADVANCE)\", which is no verdict",
    r"go = go .. '\0'": "which is no verdict",
    "go = ('x'):rep(300000)": r"returned \"x{40}\.\.\.\", which is no verdict",
    "return go, {}": "returned a table where a reason is due",
    "return go, 'because', 7": r"returned a third value: only a hold may have one, \{again",
    "return 'hold', 'because', { again = 'never' }": "returned an `again` that is no duration",
    "go = ('default'):sub(1)": "which is no verdict",
}

# What no fault but a try: the decision is the policy's own.
TRIES = {
    "return 'hold', ('x'):rep(300000)": "x{500}",
    "shared.poison, rollout.params.poison, ctx['poi' .. 'son'], input['poi' .. 'son'] = 1, 1, 1, 1 "
    "return 'hold', 'tried'": "tried",
    "rollout.firmware.version, rollout.id = 'x', 0 return 'hold', 'tried'": "tried",
    r"return 'hold', 'two\nlines\27[31m\0\255'": "two lines \\[31m \ufffd",
}

# What reading the source finds, or Lua itself, is refused with its line, in the place of $body.
REFUSED = {
    **{f"local f = {name}": f"undefined global '{name}'" for name in GONE},
    "setmetatable({}, { __gc = function() while true do end end })": "undefined global 'setmetatable'",
    "coroutine.wrap(function() while true do end end)()": "undefined global 'coroutine'",
    "getmetatable('').__index = nil": "undefined global 'getmetatable'",
    "secret = 1": "assignment to 'secret'",
    "_ENV = {}": "assignment to '_ENV'",
    "string.rep = nil": "assignment to 'string'",
    "local s = string.dump(error)": r"unknown field string\.dump",
    "local s = math.random()": r"unknown field math\.random",
    "if input then return 1 end": "returns a number where a verdict is due",
    "goto nowhere": "no visible label 'nowhere'",
    "local s = 'open": "unfinished string",
    "}": "unexpected symbol near|'end' expected",
}


def bucket(made, device):
    return hashlib.sha256(f"{made}:{device}".encode()).digest()[:4]


class Attack:
    """A running rollout whose policy attacks from now on."""

    def __init__(self, operator, otad, body, firmware):
        self.operator, self.devices = operator, [Device(otad, operator) for _ in range(3)]
        self.policy = new_policy(operator, WAITS)
        answer = operator.client.post("/rollouts", json={
            "name": body[:100], "firmware_id": firmware["id"], "policy": self.policy,
            "target": {"device_ids": [device.id for device in self.devices]}})
        assert answer.status_code == 201, answer.text
        self.made = answer.json()["rollout"]
        self.victim, self.next, self.last = sorted((device.id for device in self.devices),
                                                   key=lambda id: bucket(self.made["id"], id))
        self.source = TEMPLATE.replace("$victim", str(self.victim)).replace("$body", body)
        self.revision = hashlib.sha256(self.source.encode()).hexdigest()
        first = next(i + 1 for i, line in enumerate(self.source.splitlines()) if body in line)
        self.lines = (first, first + 1), (first + 8, first + 9)  # of admit, of advance

    def put(self):
        revision = self.operator.client.get(f"/policies/{self.policy}").json()["revision"]
        return self.operator.client.put(f"/policies/{self.policy}", json={"source": self.source},
                                        headers={"If-Match": f'"{revision}"'})

    def stop(self):
        self.operator.client.post(f"/rollouts/{self.made['id']}/abort", json={})

    def rollout(self):
        return rollout(self.operator, self.made)

    def decisions(self, device):
        return [d for d in decisions(self.operator, self.made) if d["device_id"] == device]


@pytest.fixture(scope="module")
def image(operator):
    return upload(operator, make_image.build(project="p" + secrets.token_hex(4), version=version())).json()["firmware"]


def hosts(otad):
    """Processes of policies by their id, and the most memory each has had, in MiB."""
    found = {}
    for child in pathlib.Path(f"/proc/{otad.pid}/task").glob("*/children"):
        for pid in map(int, child.read_text().split()):
            try:
                if b"policy-host" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    found[pid] = memory(pid)
            except (FileNotFoundError, ProcessLookupError, AttributeError):
                pass  # ended meanwhile
    return found


def memory(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) // 1024


def measured(operator):
    """Sum, count and failures of calls so far."""
    text = operator.client.get("/metrics").text
    return [sum(float(value) for value in re.findall(rf"^otad_policy_{name}{{.*}} (\S+)$", text, re.M))
            for name in ("duration_seconds_sum", "duration_seconds_count", "failures_total")]


@pytest.fixture(scope="module")
def attacks(otad, operator, image):
    """All of them under way at once, by body; ended by the module's end."""
    before = otad.pid, memory(otad.pid), otad.log_path.stat().st_size
    bodies = [*ATTACKS, *TRIES]
    with ThreadPoolExecutor(8) as pool: # what takes time is waiting for answers
        made = dict(zip(bodies, pool.map(lambda body: Attack(operator, otad, body, image), bodies)))
    wait_for(lambda: all(attack.rollout()["counts"]["held"] == 2 for attack in made.values()), 30)
    waits = measured(operator)
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(bodies, pool.map(lambda body: made[body].put(), bodies)))
    refused = {body: answer.text for body, answer in answers.items() if answer.status_code != 200}
    assert not refused
    yield made
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Attack.stop, made.values()))
    assert otad.pid == before[0], "the server was restarted"
    assert memory(otad.pid) - before[1] < 64 * otad.slack
    assert "rollout cannot go on" not in otad.log_path.read_text()[before[2]:]
    total, count, failures = (b - a for a, b in zip(waits, measured(operator)))
    print(f"\n{count:.0f} questions to attacking policies, {failures:.0f} failures: {1000 * total / count:.1f} ms each")
    assert total / count < 0.1 * otad.slack


def held(attack, device):
    """The decision on the device, or on the stage (None), once the attack is in force; the newest."""
    def look():
        found = attack.decisions(device)
        return found and found[0]["revision"] == attack.revision and found[0]
    return wait_for(look, 30)


def test_other_rollouts_go_on(otad, operator, attacks, image):
    devices = [Device(otad, operator) for _ in range(5)]
    answer = operator.client.post("/rollouts", json={
        "name": "good", "firmware_id": image["id"], "policy": "all_at_once",
        "target": {"device_ids": [device.id for device in devices]}})
    good = answer.json()["rollout"]
    wait_for(lambda: rollout(operator, good)["counts"]["under_way"] == 5, 20)
    assert operator.client.post(f"/rollouts/{good['id']}/abort", json={}).status_code == 200


def test_processes_of_policies_end_and_are_started_anew(otad, attacks):
    first = hosts(otad)
    wait_for(lambda: set(hosts(otad)) - set(first), 30)
    assert all(size < 128 * otad.slack for size in {**first, **hosts(otad)}.values()), hosts(otad)


@pytest.mark.parametrize("body", [*ATTACKS, *TRIES])
def test_an_attack_holds_its_device_and_its_stage_and_nothing_else(attacks, body):
    attack = attacks[body]
    says = ATTACKS.get(body) or TRIES[body]
    for device, line in ((attack.victim, 0), (None, 1)):
        found = held(attack, device)
        assert found["verdict"] == "hold" and re.search(says, found["reason"]), found
        assert len(found["reason"]) <= 500 and found["reason"].isprintable(), found
        if found["line"] is None:
            assert found["reason"] == LONG, found  # computing in C, which was ended from outside
        elif body in ATTACKS:
            assert found["reason"].startswith(f"line {found['line']}: ") and found["line"] in attack.lines[line], found
    assert wait_for(lambda: [d for d in attack.decisions(attack.next) if d["verdict"] == "offer"], 30)
    assert attack.decisions(attack.last) == []
    made = attack.rollout()
    assert (made["state"], made["stage"]["name"], made["counts"]["under_way"]) == ("running", "first", 1), made
    assert not [d for d in decisions(attack.operator, attack.made) if d["verdict"] not in ("offer", "hold")]


@pytest.mark.parametrize("body", REFUSED)
def test_what_cannot_be_put_in_force(operator, attacks, body):
    attack = next(iter(attacks.values()))
    before = operator.client.get(f"/policies/{attack.policy}").json()
    source = TEMPLATE.replace("$victim", "1").replace("$body", body)
    answer = operator.client.put(f"/policies/{attack.policy}", json={"source": source},
                                 headers={"If-Match": before["revision"]})
    problem(answer, 422, "source")
    said = [p for p in answer.json()["problems"] if re.search(REFUSED[body], p["message"])]
    assert said and {p["line"] for p in said} <= {*range(7, 18)}, answer.json()["problems"]
    assert operator.client.get(f"/policies/{attack.policy}").json() == before


@pytest.mark.parametrize("source, says", [
    ("\x1bLua", "is compiled"), ("return {}" + " " * 65530, ""), ("", ""), ("return 1", "returns a table"),
    ("while true do end", LONG), ("return " + "{" * 300, "overflow|too many|limit"), ("return {} --[==[", "unfinished"),
    ("local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end", f"{LONG}|{LARGE}"),
    ("return { stages = (('a'):rep(30000):find(('.-'):rep(30) .. 'b')) }", LONG)], ids=range(9))
def test_whole_files_that_cannot_be_put_in_force(operator, attacks, source, says):
    attack = next(iter(attacks.values()))
    before = operator.client.get(f"/policies/{attack.policy}").json()
    answer = operator.client.put(f"/policies/{attack.policy}", json={"source": source},
                                 headers={"If-Match": before["revision"]})
    found = problem(answer, 422, "source")
    assert re.search(says, str(found)), found
    assert operator.client.get(f"/policies/{attack.policy}").json() == before
