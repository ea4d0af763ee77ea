"""otad simulate, replay and diff as an operator types them, on scripts and on a database of their own."""
import json
import re
import shutil
import subprocess
import time

import pytest

from devices import wait_for
from services import GuardedPostgres, otad as run, service_directory
from system import ROOT
from rollouts import fleet, new_policy  # noqa: F401 (a fixture)

CANARY = ROOT / "scripts/policies/canary.lua"

TABLES = """
insert into firmware (id, version, file_url, chip, project, size, sha256, elf_sha256, secure_version, idf_version, min_chip_revision)
values (5, '2.0.0', 'file:x', 'esp32', 'p', 1000, 'x', repeat('e', 64), 0, 'v5.1', 0);
insert into devices (device_code, chip, status, firmware_version, last_seen, tags, telemetry)
select 'device-' || i, case when i <= 190 then 'esp32' else 'esp32s3' end,
       case when i % 10 = 0 then 'offline' else 'online' end, '1.0.0', now() - interval '1 minute',
       jsonb_build_object('site', case when i <= 100 then 'berlin' else 'oslo' end),
       jsonb_build_object('battery', case when i % 20 = 5 then 10 else 90 end)
from generate_series(1, 200) i;
insert into policy_revisions (policy, revision, source, author) values ('canary', repeat('a', 64), $lua$SOURCE$lua$, 'file');
insert into policies (name, revision) values ('canary', repeat('a', 64));
insert into rollouts (id, name, policy, plan, firmware_id, firmware, target, params)
values (3, 'spring', 'canary', '{"stages": [{"name": "canary", "share": 0.01, "soak": 1800}, {"name": "all", "share": 1, "soak": 0}]}',
        5, '{"id": 5, "version": "2.0.0", "chip": "esp32", "size": 1000}', '{"tags": {"site": "berlin"}}', '{"lowest": 20}');
"""

DECISIONS = """
create table decisions_all partition of decisions default;
insert into decisions (rollout_id, device_id, verdict, reason, policy, line, inputs)
select 3, i, case when i % 20 = 5 then 'hold' else 'offer' end, case when i % 20 = 5 then 'battery below 30 %' end,
       'canary', case when i % 20 = 5 then 15 else 16 end,
       jsonb_build_object('now', 1790000000, 'stage', 0, 'device', jsonb_build_object('id', i, 'tags', '{}'::jsonb,
         'telemetry', jsonb_build_object('battery', case when i % 20 = 5 then 10 else 90 end)))
from generate_series(1, 100) i;
insert into decisions (rollout_id, verdict, reason, policy, line, inputs)
values (3, 'pause', 'failures above 5 %', 'canary', 21, '{"now": 1790000060, "rollout": {"stage": "canary", "age": 60},
  "stats": {"ended": 25, "failed": 5, "succeeded": 20, "stage_done": false, "stage_age": 60,
            "since_resume": {"ended": 25, "failed": 5, "failure_low": 0.09}}}'),
       (3, 'resume', 'resumed on request', 'canary', null, '{"by": "operator@example.org"}');
"""


@pytest.fixture(scope="module")
def postgres():
    directory = service_directory()
    server = GuardedPostgres(directory)
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def database(postgres):
    """The URL of a database with 200 devices, a rollout to half of them, and its decisions."""
    url = postgres.url_of(postgres.create())
    run("migrate", DATABASE_URL=url)
    for text in (TABLES.replace("SOURCE", CANARY.read_text()), DECISIONS):
        done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", url], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return url


def simulate(*arguments, **settings):
    return json.loads(run("simulate", *arguments, "--json", **settings).stdout)


def test_it_pauses_in_the_canary_stage():
    """What the project promises of `otad simulate canary --failure-rate 0.08`."""
    for seed in range(1, 6):
        answer = simulate("canary", "--devices", 100000, "--failure-rate", 0.08, "--seed", seed)
        assert (answer["outcome"], answer["stage"], answer["reason"]) == ("paused", "canary", "failures above 5 %")
        assert answer["timeline"][-1]["verdict"] == "pause" and answer["timeline"][-1]["failure_low"] > 0.05
        assert answer["counts"]["waiting"] >= 99000
    said = run("simulate", "canary", "--failure-rate", 0.08).stdout
    assert re.search(r"Pauses after .*, in stage canary: failures above 5 %\n  scripts/policies/canary.lua:21\n"
                     r'    if seen.ended >= 20 and .* return "pause"', said)


def test_the_same_options_give_the_same_answer():
    options = ("canary", "--devices", 5000, "--failure-rate", 0.03, "--offline-share", 0.1, "--seed", 7)
    assert run("simulate", *options).stdout == run("simulate", *options).stdout
    assert simulate(*options) != simulate(*options[:-1], 8)


def test_every_policy_that_comes_with_it():
    for path in sorted((ROOT / "scripts/policies").glob("*.lua")):
        if not path.stem.endswith("_test"):
            answer = simulate(path.stem, "--devices", 500)
            ends = "paused" if path.stem == "wait_for_approval" else "completed"
            assert answer["outcome"] == ends, (path.stem, answer)
            assert sum(answer["counts"].values()) == answer["devices"] == 500
    assert simulate("wait_for_approval", "--resume", 1)["outcome"] == "completed"


def test_a_file(tmp_path):
    policy = tmp_path / "mine.lua"
    policy.write_text("return { admit = function(device, rollout)\n"
                      "  if device.tags.site == rollout.params.site then return 'skip', 'not there' end\n"
                      "  return 'offer' end }")
    answer = simulate(policy, "--tag", "site=berlin,oslo", "--params", '{"site": "oslo"}')
    assert answer["counts"]["skipped"] + answer["counts"]["succeeded"] == 10000
    assert answer["held"] == [{"verdict": "skip", "count": answer["counts"]["skipped"], "reason": "not there", "line": 2,
                               "file": None}]
    policy.write_text("return {\n  rat = {} }")
    done = run("simulate", policy, code=1)
    assert done.stderr == f"{policy}:2: unknown field rat (did you mean rate?)\n" and done.stdout == ""
    assert json.loads(run("simulate", policy, "--json", code=1).stdout)["problems"][0]["line"] == 2
    policy.write_text("return { admit = function() return ('a'):rep(30000):find(('.-'):rep(30) .. 'b') end }")
    assert "ran longer than 10 ms" in run("simulate", policy, code=1).stderr


def test_simulate_wrong_use(tmp_path):
    for wrong, says in ((("canary", "--devices", "0"), "--devices must be a number from 1 to 200000, not 0"),
                        (("canary", "--failure-rate", "8"), "--failure-rate must be a number from 0 to 1, not 8"),
                        (("canary", "--failure-rate", "nan"), "--failure-rate must be a number"),
                        (("canary", "--params", "[1]"), "--params must be a JSON object"),
                        (("canary", "--start", "now"), "--start must be a time like"),
                        (("canary", "--tag", "site"), "--tag must be like"),
                        (("canary", "--rollout", "x"), "--rollout must be the id of one"),
                        (("canary", "--fleet", "--devices", "10"), "the real fleet is as it is"),
                        (("canary", "--nonsense"), "there is no option --nonsense"),
                        (("canary", "--seed"), "a value is needed after --seed"),
                        ((), "usage: otad simulate"), (("canary", "linear"), "usage: otad simulate")):
        done = run("simulate", *wrong, code=2)
        assert says in done.stderr and done.stdout == "", wrong
    done = run("simulate", "cannary", code=1)
    assert "there is no policy cannary" in done.stderr and "did you mean canary?" in done.stderr
    assert "cannot read" in run("simulate", tmp_path / "none.lua", code=1).stderr
    for command in ("simulate", "replay", "diff"):
        assert run(command, "--help").stdout.startswith(f"usage: otad {command}")


def test_the_real_fleet(database):
    answer = simulate("canary", "--fleet", DATABASE_URL=database)
    assert answer["devices"] == answer["targeted"] == 200
    answer = simulate("canary", "--fleet", "--firmware", 5, DATABASE_URL=database)
    assert answer["excluded"] == [{"reason": "is an esp32s3, the firmware is for esp32", "count": 10}]
    answer = simulate("canary", "--rollout", 3, "--days", 60, DATABASE_URL=database)
    assert answer["devices"] == 100 and answer["outcome"] == "running"
    assert 0 < answer["counts"]["held"] <= 5 and answer["held"][0]["reason"] == "battery below 30 %"
    answer = simulate("all_at_once", "--rollout", 3, "--days", 60, DATABASE_URL=database)
    assert answer["outcome"] == "completed" and answer["counts"]["succeeded"] + answer["counts"]["timed_out"] == 100
    assert "with 100 real devices" in run("simulate", "canary", "--rollout", 3, DATABASE_URL=database).stdout
    assert "there is no rollout 4" in run("simulate", "canary", "--rollout", 4, DATABASE_URL=database, code=1).stderr
    assert "there is no firmware 4" in run("simulate", "canary", "--firmware", 4, DATABASE_URL=database, code=1).stderr


def test_history(database):
    assert "no update was recorded" in run("simulate", "canary", "--history", DATABASE_URL=database, code=1).stderr
    rows = """insert into updates (device_id, version, state, taken_at, updated_at)
              select i, '1', case when i % 4 = 0 then 'rolled_back' else 'succeeded' end, now() - interval '100 s', now()
              from generate_series(1, 200) i"""
    subprocess.run(["psql", "-XAtq", database, "-c", rows], check=True)
    answer = simulate("all_at_once", "--history", "--devices", 2000, DATABASE_URL=database)
    assert answer["outcome"] == "paused" and answer["at_s"] >= 100
    last = answer["timeline"][-1]
    assert last["failure_low"] < 0.25 < last["failure_high"]


def replay(*arguments, **settings):
    return json.loads(run("replay", *arguments, "--json", **settings).stdout)


def test_replay(database, tmp_path):
    answer = replay("canary", "--rollout", 3, DATABASE_URL=database)
    assert (answer["decisions"], answer["same"], answer["differing"]) == (101, 101, 0)
    braver = tmp_path / "braver.lua"
    braver.write_text(CANARY.read_text().replace("< 30", "< rollout.params.lowest - 11").replace("> 0.05", "> 0.10"))
    answer = replay("canary", "--source", braver, DATABASE_URL=database)
    assert (answer["same"], answer["differing"]) == (95, 6)
    assert answer["now_offered"] == {"count": 5, "device_ids": [5, 25, 45, 65, 85]}
    assert answer["no_longer_offered"]["count"] == 0
    stage = answer["differences"][-1]
    assert stage["device_id"] is None and (stage["was"]["verdict"], stage["is"]["verdict"]) == ("pause", "hold")
    said = run("replay", "canary", "--source", braver, DATABASE_URL=database).stdout
    assert "101 recorded decisions: 95 the same, 6 differ" in said
    assert "5 devices would now be offered the update: 5 25 45 65 85" in said
    assert replay("canary", "--revision", "aaaa", DATABASE_URL=database)["same"] == 101
    for wrong, says in ((("--revision", "bb"), "no revision bb"), (("--rollout", "9"), "there is no rollout 9")):
        assert says in run("replay", "canary", *wrong, DATABASE_URL=database, code=1).stderr
    assert "there is no policy nothing" in run("replay", "nothing", DATABASE_URL=database, code=1).stderr
    run("replay", code=2)
    run("replay", "canary", "--rollout", "three", code=2)


def test_diff(database, tmp_path):
    careful = tmp_path / "careful.lua"
    careful.write_text(CANARY.read_text().replace("< 30", "< 95"))
    said = run("diff", "canary", "aaaa", careful, "--failure-rate", "0.2", DATABASE_URL=database).stdout
    assert "--- canary@aaaaaaaaaaaa" in said and '+    if (device.telemetry.battery or 100) < 95 then' in said
    assert "95 differ" in said and "would no longer be offered it" in said and said.count("Pauses after") == 2
    answer = json.loads(run("diff", "canary", "aaaa", careful, "--json", DATABASE_URL=database).stdout)
    assert answer["replay"]["no_longer_offered"]["count"] == 95
    assert [one["outcome"] for one in answer["simulate"]] == ["completed", "completed"]
    assert "The two sources are the same." in run("diff", "canary", "aaaa", DATABASE_URL=database).stdout
    run("diff", "canary", code=2)
    run("diff", "canary", "a", "--failure-rate", "2", code=2)


# Over HTTP


def test_simulate_over_http(operator, user, make_device):
    for _ in range(12):
        make_device(tags={"fleet": "simulated"})
    target = {"tags": {"fleet": "simulated"}}
    answer = operator.client.post("/policies/simulate", json={"policy": "all_at_once", "target": target, "seed": 3})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["fleet"] == {"devices": 12, "simulated": 12, "made_up": False}
    assert said["timeline"][0] | {"at_s": 0, "offered": 0, "succeeded": 0, "failed": 0, "stage": "all"} == said["timeline"][0]
    assert said["excluded"] == [] and sum(said["counts"].values()) == 12 and said["seed"] == 3
    source = "return { admit = function(device) return 'skip', device.tags.fleet end }"
    said = operator.client.post("/policies/simulate", json={"source": source, "target": target}).json()
    assert said["counts"]["skipped"] == 12 and said["held"][0]["reason"] == "simulated"
    assert said["outcome"] == "completed"
    said = operator.client.post("/policies/simulate", json={
        "policy": "canary", "target": {"device_ids": [2000000000]}, "assume": {"failure_rate": 0.5}}).json()
    assert said["fleet"]["made_up"] and said["outcome"] == "paused"
    for wrong, where in (({}, "policy"), ({"policy": "canary", "source": source}, "policy"),
                         ({"policy": "canary", "firmware_id": 2000000000}, "firmware_id"),
                         ({"policy": "canary", "assume": {"failure_rate": 2}}, "assume.failure_rate")):
        answer = operator.client.post("/policies/simulate", json=wrong)
        assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == where, answer.text
    answer = operator.client.post("/policies/simulate", json={"source": "return {\n rat = 1 }"})
    assert answer.status_code == 422 and answer.json()["problems"][0]["line"] == 2
    assert operator.client.post("/policies/simulate", json={"policy": "nobody"}).status_code == 422
    assert user.client.post("/policies/simulate", json={"policy": "canary"}).status_code == 403


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_what_nobody_waits_for_is_not_computed(otad, operator, protocol):
    """Each of these would take seconds, and those that come later would wait for all of them."""
    body = json.dumps({"source": "return { admit = function() return 'hold', 'not today' end }", "target": {"device_ids": [2000000000]}})
    leave = ["curl", "-s", protocol, "--cacert", otad.ca, "--max-time", "0.7", f"{otad.https_url}/policies/simulate", "--json", body,
             "-H", f"Authorization: Bearer {operator.login.token}"]
    for _ in range(4):
        assert subprocess.run(leave, capture_output=True).returncode == 28, "it was answered at once"
    began = time.monotonic()
    answer = operator.client.post("/policies/simulate", json={"policy": "all_at_once", "target": {"device_ids": [2000000000]}})
    assert answer.status_code == 200 and time.monotonic() - began < 3 * otad.slack, answer.text


def test_replay_over_http(otad, operator, fleet):
    """What the server itself recorded is the same again; another source differs."""
    devices, _, new = fleet(4)
    name = new_policy(operator, "return { admit = function(d) if d.telemetry.battery > 90 then return 'hold', 'full' end\n"
                                "return 'offer', 'battery ' .. d.telemetry.battery end }")
    made = operator.client.post("/rollouts", json={"name": "replayed", "firmware_id": new["id"], "policy": name,
                                                   "target": {"tags": {"test": fleet.tag}}}).json()["rollout"]
    wait_for(lambda: operator.client.get(f"/rollouts/{made['id']}").json()["state"] == "completed")
    answer = operator.client.post(f"/policies/{name}/replay", json={"rollout_id": made["id"]})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["decisions"] == said["same"] >= 5 and said["differing"] == 0, said
    said = operator.client.post(f"/policies/{name}/replay", json={
        "source": "return { admit = function(d) return d.telemetry.battery == 80 and 'skip' or 'offer' end }"}).json()
    assert said["differing"] == 4 and said["no_longer_offered"]["count"] == 4
    assert sorted(said["no_longer_offered"]["device_ids"]) == sorted(device.id for device in devices)
    said = json.loads(otad.cli("replay", name, "--rollout", made["id"], "--json").stdout)
    assert said["decisions"] == said["same"] and said["differing"] == 0
    assert "The two sources are the same." in otad.cli("diff", name, operator.client.get(f"/policies/{name}").json()["revision"]).stdout
