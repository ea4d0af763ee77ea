"""Policies over HTTP, row by row: what is answered, what is refused and in which words, what two people at once see."""
import hashlib
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from answers import problem
from devices import wait_for
from rollouts import fleet, new_policy, roll  # noqa: F401 (a fixture)

POLICY = ["name", "revision", "source", "author", "message", "parent", "created_at", "updated_at", "note", "declaration",
          "problems", "rollouts", "description"]
JSON = {"content-type": "application/json"}


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def name():
    return "t_" + secrets.token_hex(6)


def put(operator, policy, source, match=None, **more):
    headers = {"If-None-Match": "*"} if match is None else {"If-Match": match}
    return operator.client.put(f"/policies/{policy}", json={"source": source, **more}, headers=headers)


def get(operator, policy):
    return operator.client.get(f"/policies/{policy}").json()


# Reading


def test_a_policy_has_all_its_fields(operator):
    source, policy = 'return { stages = { { name = "ä", share = 1, soak = "1h" } } }', name()
    answer = put(operator, policy, source, message="why")
    assert answer.status_code == 201, answer.text
    assert answer.headers["etag"] == f'"{sha256(source)}"'
    made = answer.json()
    assert sorted(made) == sorted(POLICY)
    assert (made["name"], made["source"], made["revision"]) == (policy, source, sha256(source))
    assert (made["author"], made["message"], made["parent"], made["note"]) == (operator.email, "why", None, None)
    assert made["declaration"]["stages"] == [{"name": "ä", "share": 1, "soak": 3600}] and made["problems"] == []
    answer = operator.client.get(f"/policies/{policy}")
    assert answer.json() == made and answer.headers["etag"] == f'"{made["revision"]}"'


def test_the_list_comes_in_pages(operator):
    made = sorted(new_policy(operator, f"return {{}} -- {i}") for i in range(5))
    names, cursor = [], None
    while True:
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = operator.client.get("/policies", params=query).json()
        assert list(page) == ["items", "next"] or sorted(page) == ["items", "next"]
        assert len(page["items"]) == 3 or page["next"] is None
        names += [item["name"] for item in page["items"]]
        assert all(sorted(item) == sorted(POLICY) for item in page["items"])
        cursor = page["next"]
        if cursor is None:
            break
    assert names == sorted(names) and len(set(names)) == len(names)
    assert {"canary", "linear", *made} <= set(names)
    page = operator.client.get("/policies?limit=1").json()
    assert page["items"] == [get(operator, names[0])]
    other = operator.client.get("/rollouts?limit=1").json()["next"] or "x"
    for query in ("limit=0", "limit=-1", "limit=201", "limit=x", "cursor=x", f"cursor={page['next'][:-2]}",
                  f"cursor={other}", "nonsense=1"):
        problem(operator.client.get(f"/policies?{query}"), 422, query.split("=")[0])


def test_the_list_without_sources(operator):
    new_policy(operator, "return {}")
    full, light = (operator.client.get(f"/policies?limit=200&source={source}").json()["items"] for source in ("true", "false"))
    assert light == [{key: value for key, value in one.items() if key != "source"} for one in full]
    problem(operator.client.get("/policies?source=no"), 422, "source")


@pytest.mark.parametrize("source, said", [
    ("-- Updates at night.\n-- In `two` nights. \n\nreturn {}", "Updates at night. In two nights."),
    ("--- One.\n--\n-- Another paragraph.\nreturn {}", "One."),
    ("return {} -- no", None), ("--[[ long ]]\nreturn {}", None), ("-- only\r\nreturn {}\r\n", "only"),
    (f"-- {'ä' * 700}\nreturn {{}}", "ä" * 500 + "…"), ("--\nreturn {}", None),
])
def test_what_the_comment_at_the_top_says(operator, source, said):
    policy = new_policy(operator, source)
    assert get(operator, policy)["description"] == said
    rows = operator.client.get("/policies?source=false&limit=200").json()["items"]
    assert next(one for one in rows if one["name"] == policy)["description"] == said


def test_how_many_rollouts_run_by_it(operator, fleet):
    _, _, new = fleet(1)
    policy = new_policy(operator, "return { admit = function() return 'hold', 'not yet' end }")
    assert get(operator, policy)["rollouts"] == 0
    made = [roll(operator, fleet, policy, new) for _ in range(2)]

    def count():
        rows = operator.client.get("/policies?source=false&limit=200").json()["items"]
        row = next(one for one in rows if one["name"] == policy)
        assert row["rollouts"] == get(operator, policy)["rollouts"]
        return row["rollouts"]
    assert count() == 2
    assert operator.client.post(f"/rollouts/{made[0]['id']}/pause", json={}).status_code == 200
    assert count() == 1
    assert operator.client.post(f"/rollouts/{made[1]['id']}/abort", json={}).status_code == 200
    assert count() == 0
    operator.client.post(f"/rollouts/{made[0]['id']}/abort", json={})


@pytest.mark.parametrize("odd", ["nothing", "../x", "..%2fx", "%2e%2e", "a" * 300, "%C3%A4%E2%82%AC", "%ff", "a%00b", "a b",
                                 "canary%20", "Canary", "canary.lua", "'", "%25", "a;b", "-1"])
def test_names_of_nothing(operator, odd):
    problem(operator.client.get(f"/policies/{odd}"), 404)
    problem(operator.client.post(f"/policies/{odd}/rollback", headers={"If-Match": "*"}), 404)
    problem(operator.client.post(f"/policies/{odd}/replay", json={}), 404)


@pytest.mark.parametrize("odd", ["Canary", "1st", "_x", "a-b", "a.b", "a_test", "a" * 33, "%C3%A4", "a b", "a%27"])
def test_names_that_no_policy_gets(operator, odd):
    answer = operator.client.put(f"/policies/{odd}", json={"source": "return {}"})
    assert "name has 1 to 32 characters" in problem(answer, 422)["detail"]


# Writing


def test_who_makes_it_first(operator):
    policy = name()
    problem(put(operator, policy, "return {}", match="*"), 412)
    problem(put(operator, policy, "return {}", match=f'"{"0" * 64}"'), 412)
    problem(operator.client.get(f"/policies/{policy}"), 404)
    assert put(operator, policy, "return {}").status_code == 201
    answer = put(operator, policy, "return { }")
    assert problem(answer, 412)["revision"] == sha256("return {}")
    assert answer.headers["etag"] == f'"{sha256("return {}")}"'


def test_what_is_in_force_is_in_its_file(otad, operator):
    policy = name()
    file = otad.scripts / f"policies/{policy}.lua"
    assert put(operator, policy, "return {}").status_code == 201
    assert file.read_text() == "return {}" and file.stat().st_mode & 0o777 == 0o644
    file.chmod(0o640)
    assert put(operator, policy, "return { }", match=sha256("return {}")).status_code == 200
    assert file.read_text() == "return { }" and file.stat().st_mode & 0o777 == 0o640
    assert "otad simulate" not in otad.cli("simulate", policy, "--devices", "10").stderr
    answer = operator.client.post(f"/policies/{policy}/rollback", headers={"If-Match": sha256("return { }")})
    assert answer.status_code == 200 and file.read_text() == "return {}"
    assert {one["author"] for one in operator.client.get(f"/policies/{policy}/revisions").json()["items"]} == {operator.email}
    assert not [*file.parent.glob(".*")]


def test_a_file_that_cannot_be_written_keeps_nothing_from_being_in_force(otad, operator):
    policy = name()
    (otad.scripts / f"policies/{policy}.lua/in_the_way").mkdir(parents=True)
    assert put(operator, policy, "return {}").status_code == 201
    assert get(operator, policy)["source"] == "return {}"
    wait_for(lambda: [line for line in otad.log_tail(500).splitlines() if policy in line and "policy not saved" in line
                      and "Is a directory" in line])
    assert not [*(otad.scripts / "policies").glob(".*")]


@pytest.mark.parametrize("form, status", [
    ('"{}"', 200), ("{}", 200), ("*", 200), ('"x", "{}"', 200), ('"{}","x"', 200), ('W/"{}"', 412), ('"x"', 412), ("x", 412),
    ('"', 412), ('"{}', 412), ('""', 412), ("", 412), (",", 412), ('"%s"' % ("0" * 64), 412), ('"{}x"', 412),
    ("x" * 3000, 412)])
def test_forms_of_if_match(operator, form, status):
    policy, old, new = name(), "return {}", 'return { concurrency = 1 }'
    assert put(operator, policy, old).status_code == 201
    answer = put(operator, policy, new, match=form.replace("{}", sha256(old)))
    if status == 200:
        assert answer.status_code == 200, answer.text
        assert answer.json()["revision"] == sha256(new) and answer.json()["parent"] == sha256(old)
    else:
        assert problem(answer, 412)["revision"] == sha256(old)
        assert get(operator, policy)["source"] == old


def test_without_if_match(operator):
    policy = new_policy(operator, "return {}")
    for answer in (operator.client.put(f"/policies/{policy}", json={"source": "return { }"}),
                   operator.client.post(f"/policies/{policy}/rollback")):
        said = problem(answer, 428)
        assert said["title"] == "Precondition Required" and "If-Match" in said["detail"]
    assert get(operator, policy)["source"] == "return {}"


def test_the_same_source_again_changes_nothing(operator):
    policy = new_policy(operator, "return {}")
    before = get(operator, policy)
    answer = put(operator, policy, "return {}", match=before["revision"])
    assert answer.status_code == 200
    assert {**answer.json(), "updated_at": None} == {**before, "updated_at": None}


def test_many_at_once(operator):
    policy = new_policy(operator, "return {}")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: put(operator, policy, f"return {{}} -- {i}", sha256("return {}")), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    won = next(answer.json() for answer in answers if answer.status_code == 200)
    assert get(operator, policy) == won
    assert {problem(answer, 412)["revision"] for answer in answers if answer.status_code == 412} == {won["revision"]}


def test_what_has_problems_changes_nothing(operator):
    policy = new_policy(operator, "return {}")
    before = get(operator, policy)
    source = "local idle = 1\nreturn {\n  rat = { per_minute = 1 },\n  admit = function(device) return device.chp end,\n}\n"
    said = problem(put(operator, policy, source, before["revision"]), 422, "source")
    assert [(p["line"], p["severity"], p["message"]) for p in said["problems"]] == [
        (1, "warning", "unused local 'idle'"), (3, "error", "unknown field rat (did you mean rate?)"),
        (4, "error", "unknown field device.chp (did you mean chip?)")]
    assert [error["message"] for error in said["errors"]] == [
        "line 3: unknown field rat (did you mean rate?)", "line 4: unknown field device.chp (did you mean chip?)"]
    assert get(operator, policy) == before
    for body in ({}, {"source": 1}, {"source": ""}, {"source": "return {}", "mesage": "x"},
                 {"source": "return {}", "message": 1}, {"source": "return {}", "message": "x" * 501}):
        problem(operator.client.put(f"/policies/{policy}", json=body, headers={"If-Match": before["revision"]}), 422)
    assert get(operator, policy) == before


def test_warnings_do_not_hinder(operator):
    policy = name()
    assert put(operator, policy, "local idle = 1\nreturn {}\n").status_code == 201
    assert get(operator, policy)["declaration"]["concurrency"] == 500


# Going back


def back(operator, policy, match):
    return operator.client.post(f"/policies/{policy}/rollback", headers={"If-Match": match})


def test_the_revision_before(operator):
    policy, sources = name(), [f"return {{}} -- {i}" for i in range(3)]
    put(operator, policy, sources[0])
    for i in (1, 2):
        put(operator, policy, sources[i], sha256(sources[i - 1]), message=f"change {i}")
    answer = back(operator, policy, f'"{sha256(sources[1])}"')
    assert problem(answer, 412)["revision"] == sha256(sources[2])
    for i in (1, 0):
        answer = back(operator, policy, f'"{sha256(sources[i + 1])}"')
        assert answer.status_code == 200, answer.text
        assert answer.json()["source"] == sources[i] and answer.headers["etag"] == f'"{sha256(sources[i])}"'
        assert get(operator, policy) == answer.json()
    assert "no revision before" in problem(back(operator, policy, "*"), 409)["detail"]
    assert get(operator, policy)["source"] == sources[0]


def test_a_source_that_comes_back_has_another_one_before_it(operator):
    policy, one, other = name(), "return {} -- one", "return {} -- other"
    put(operator, policy, one)
    put(operator, policy, other, sha256(one))
    put(operator, policy, one, sha256(other))
    assert back(operator, policy, sha256(one)).json()["source"] == other


def test_revisions_come_in_pages(operator):
    policy, sources = name(), [f"return {{}} -- {i}" for i in range(5)]
    put(operator, policy, sources[0])
    for i in range(1, 5):
        put(operator, policy, sources[i], "*", message=f"change {i}")
    found, cursor = [], ""
    while cursor is not None:
        page = operator.client.get(f"/policies/{policy}/revisions?limit=2{cursor and '&cursor=' + cursor}").json()
        found += page["items"]
        cursor = page["next"]
    assert [one["source"] for one in found] == sources[::-1]
    assert [one["parent"] for one in found] == [*(sha256(source) for source in sources[3::-1]), None]
    assert found[0]["message"] == "change 4" and found[0]["author"] == operator.email
    assert sorted(found[0]) == ["author", "created_at", "message", "parent", "revision", "source"]


# Checking


@pytest.mark.parametrize("body, status", [
    (json.dumps({"source": "return {}" + " " * (65536 - 9)}).encode(), 200),
    (json.dumps({"source": "x" * 65537}).encode(), 422), (b'{"source":"return {}\\u0000"}', 400), (b'{"source":"\xff"}', 400),
    (b'{"source":"\xed\xa0\x80"}', 400), (b'{"source":""}', 422),
    (b'{"source":[]}', 422), (b"{}", 422), (b'{"source":"return {}","name":"x"}', 422), (b"[]", 422), (b"", 400),
    (b'{"source":"' + b"x" * (2 << 20) + b'"}', 413)])
def test_bodies_of_check(operator, body, status):
    answer = operator.client.post("/policies/check", content=body, headers=JSON)
    if status == 200:
        assert answer.json() == {"ok": True, "problems": []}
    elif status == 413:
        assert answer.status_code == 413
    else:
        problem(answer, status)


@pytest.mark.parametrize("source, line, message", [
    ("\x1bLuaT", 1, "is compiled: only text is taken"), ("ä" * 40000, 1, "larger than 64 KiB"),
    ("return {\n", 2, "unexpected symbol near <eof>"), ("\n\nretrun 1", 3, "syntax error near '1'"),
    ("local s = '" + "x" * 60000, 1, None), ("x" * 60000 + "()", 1, None),
    ("return { admit = function() return 'offer\\0\\n' end }", 1, "\"offer??\" is no verdict (did you mean offer?)"),
    ("return { admit = function() return '" + "x" * 60000 + "' end }", 1, None)])
def test_words_of_check(operator, source, line, message):
    answer = operator.client.post("/policies/check", json={"source": source}).json()
    assert not answer["ok"]
    errors = [p for p in answer["problems"] if p["severity"] == "error"]
    assert {p["line"] for p in errors} == {line}, errors
    assert all(len(p["message"]) <= 510 and p["message"].isprintable() for p in errors), errors
    if message:
        assert [p["message"] for p in errors] == [message]


# Simulating


def simulate(operator, **body):
    return operator.client.post("/policies/simulate", json=body)


def test_a_simulation_has_all_its_fields(operator):
    said = simulate(operator, policy="canary", seed=5, assume={"failure_rate": 0.02}, target={"chip": "nothing"}).json()
    assert {"timeline", "outcome", "excluded", "at_s", "stage", "reason", "counts", "stages", "calls", "seed",
            "fleet"} <= set(said)
    assert said["outcome"] == "completed" and said["seed"] == 5
    for row in said["timeline"]:
        assert {"at_s", "stage", "offered", "succeeded", "failed", "verdict", "reason", "line"} <= set(row)
        assert row["succeeded"] + row["failed"] <= row["offered"] <= row["targeted"]
    assert [row["at_s"] for row in said["timeline"]] == sorted(row["at_s"] for row in said["timeline"])
    assert [stage["name"] for stage in said["stages"]] == ["canary", "early", "half", "all"]


def test_the_same_request_has_the_same_answer_to_the_byte(operator):
    body = {"policy": "canary", "seed": 11, "assume": {"failure_rate": 0.03, "cut_rate": 0.1}, "target": {"chip": "nothing"}}
    answers = [simulate(operator, **body).content for _ in range(6)]  # by several workers, and processes of theirs
    assert len(set(answers)) == 1
    assert simulate(operator, **{**body, "seed": 12}).json()["timeline"] != json.loads(answers[0])["timeline"]


SLOW = "return { admit = function() local n = 0 for i = 1, 20000 do n = n + i end return 'offer' end }"


@pytest.mark.parametrize("option, differs", [
    ({"assume": {"failure_rate": 1}}, lambda s: s["outcome"] == "paused" and s["counts"]["succeeded"] == 0),
    ({"assume": {"rejected_rate": 1}}, lambda s: s["counts"]["rejected"] > 0),
    ({"assume": {"cut_rate": 1}}, lambda s: s["counts"]["failed"] > 0),
    ({"assume": {"hang_rate": 1}}, lambda s: s["counts"]["timed_out"] > 0),
    ({"assume": {"vanish_rate": 1}}, lambda s: s["counts"]["vanished"] > 0),
    ({"assume": {"duration_s": 3600}}, lambda s: s["at_s"] > 3600),
    ({"params": {"stop": True}}, lambda s: s["counts"]["skipped"] == 1000),
    ({"start": "2026-02-03T23:30:00Z"}, lambda s: s["held"][0]["reason"] == "at 23"),
    ({}, lambda s: s["outcome"] == "completed" and s["held"] == [])])
def test_each_option_of_a_simulation(operator, option, differs):
    source = """return { retry = { max = 0 }, admit = function(device, rollout, ctx)
      if rollout.params.stop then return "skip", "stopped" end
      if ctx.hour == 23 then return "skip", "at " .. ctx.hour end
      return "offer"
    end }"""
    answer = simulate(operator, source=source, target={"chip": "nothing"}, **option)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert differs(said), said


def test_resumes_of_a_simulation(operator):
    body = {"policy": "wait_for_approval", "target": {"chip": "nothing"}}
    assert simulate(operator, **body).json()["outcome"] == "paused"
    assert simulate(operator, **body, resumes=1).json()["outcome"] == "completed"


@pytest.mark.parametrize("wrong, field", [
    ({"assume": {"failure_rate": 2}}, "assume.failure_rate"), ({"assume": {"failure_rate": -0.1}}, "assume.failure_rate"),
    ({"assume": {"failure_rate": "1"}}, "assume.failure_rate"), ({"assume": {"duration_s": -1}}, "assume.duration_s"),
    ({"assume": {"duration_s": 0}}, "assume.duration_s"), ({"assume": {"speed": 1}}, "assume.speed"),
    ({"assume": []}, "assume"),
    ({"seed": -1}, "seed"), ({"seed": 1.5}, "seed"), ({"seed": 2 ** 31}, "seed"), ({"resumes": 1001}, "resumes"),
    ({"firmware_id": 0}, "firmware_id"), ({"firmware_id": 2147483647}, "firmware_id"),
    ({"target": {"chips": "esp32"}}, "target.chips"),
    ({"target": {"device_ids": [0]}}, "target.device_ids[1]"), ({"params": []}, "params"), ({"start": "now"}, "start"),
    ({"start": "2026-02-30T00:00:00Z"}, "start"), ({"devices": 10}, "devices"), ({"source": "return {}"}, "policy")])
def test_wrong_requests_to_simulate(operator, wrong, field):
    said = problem(simulate(operator, policy="canary", **wrong), 422)
    assert [error["field"].replace("[0]", "[1]").replace(".1", "[1]") for error in said["errors"]] == [field], said


@pytest.mark.parametrize("body", [b'{"policy":"canary","assume":{"failure_rate":NaN}}', b'{"policy":"canary","seed":1e999}'])
def test_numbers_that_are_none(operator, body):
    problem(operator.client.post("/policies/simulate", content=body, headers=JSON), 400)


def test_sources_that_do_not_simulate(operator):
    problem(simulate(operator, policy="nobody"), 422, "policy")
    assert problem(simulate(operator, source="return {\n  rat = 1 }"), 422)["problems"] == [
        {"line": 2, "column": None, "severity": "error", "message": "unknown field rat (did you mean rate?)"}]
    hangs = "return { admit = function() return ('a'):rep(30000):find(('.-'):rep(30) .. 'b') end }"
    said = problem(simulate(operator, source=hangs), 422)
    assert said["problems"][0]["line"] is None and "ran longer than 10 ms" in said["problems"][0]["message"]
    source = "return { admit = function()\n  error('not I')\nend }"
    said = simulate(operator, source=source, target={"chip": "nothing"}).json()  # on a fleet that is made up
    assert (said["outcome"], said["held"][0]["reason"], said["held"][0]["line"]) == ("reverted", "line 2: not I", 2)


def test_many_simulations_at_once(otad, operator):
    """A few wait, the rest is sent away; nobody else notices."""
    def run(i):
        with httpx.Client(base_url=otad.url, auth=operator.login, timeout=60) as client:
            return client.post("/policies/simulate", json={"source": SLOW, "seed": i, "target": {"chip": "nothing"}})

    with ThreadPoolExecutor(12) as pool:
        running = [pool.submit(run, i) for i in range(12)]
        asked, slowest = 0, 0
        while not all(one.done() for one in running):
            began = time.monotonic()
            assert httpx.get(f"{otad.url}/healthz", timeout=30).status_code == 200
            asked, slowest = asked + 1, max(slowest, time.monotonic() - began)
            time.sleep(0.01)
        answers = [one.result() for one in running]
    assert {answer.status_code for answer in answers} == {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            problem(answer, 503)
            assert int(answer.headers["retry-after"]) >= 1
    assert asked > 0 and slowest < 5 * otad.slack, slowest


# Who may


@pytest.mark.parametrize("method, path", [
    ("GET", "/policies"), ("GET", "/policies/canary"), ("GET", "/policies/nothing"), ("PUT", "/policies/canary"),
    ("POST", "/policies/canary/rollback"), ("GET", "/policies/canary/revisions"), ("POST", "/policies/check"),
    ("POST", "/policies/simulate"), ("POST", "/policies/canary/replay"), ("POST", "/policies/nothing/replay")])
def test_policies_are_for_operators(client, user, method, path):
    body = {"source": "return {}"} if method != "GET" else None
    problem(user.client.request(method, path, json=body), 403)
    problem(client.request(method, path, json=body), 401)
