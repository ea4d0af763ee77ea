"""GET /policies/fields: the names that policies are written with, as editors are told them, are those that the checker, the
server, tests of policies and the documentation know."""
import re

import pytest

from services import otad as run
from system import ROOT
from test_policy_tests import HALF, outcome


@pytest.fixture(scope="module")
def known(operator):
    answer = operator.client.get("/policies/fields")
    assert answer.status_code == 200
    return answer.json()


def paths(fields, prefix=""):
    for field in fields:
        yield prefix + field["name"]
        yield from paths(field.get("fields", []), prefix + field["name"] + ".")


def test_fields_have_names_types_and_texts(known):
    assert sorted(known) == ["ctx", "device", "policy", "rollout", "stats", "verdicts"]

    def look(fields):
        assert len({field["name"] for field in fields}) == len(fields)
        for field in fields:
            assert set(field) - {"fields"} == {"name", "type", "text"} and field["text"], field
            assert field["type"] in ("integer", "number", "string", "boolean", "table", "list", "function", "duration")
            look(field.get("fields", []))
    for record in ("policy", "device", "rollout", "stats", "ctx"):
        look(known[record])
    assert known["verdicts"] == {"admit": ["offer", "hold", "skip"],
                                 "advance": ["hold", "advance", "pause", "abort", "rollback"]}
    assert {"firmware.version", "soak"} <= set(paths(known["rollout"]))
    assert {"since_resume.failure_low", "control.devices"} <= set(paths(known["stats"]))


def test_the_checker_knows_the_same_fields(operator, known):
    """It takes every one of them, and none with a letter more."""
    def check(letter):
        admit = [f"{record}.{path}{letter}" for record in ("device", "rollout", "ctx") for path in paths(known[record])]
        advance = [f"stats.{path}{letter}" for path in paths(known["stats"])]
        source = "local function use(...) return ... end\nreturn {\nadmit = function(device, rollout, ctx)\n"
        source += "".join(f"use({path})\n" for path in admit) + "return 'offer' end,\n"
        source += "advance = function(rollout, stats, ctx)\n"
        source += "".join(f"use({path}, rollout, ctx)\n" for path in advance) + "return 'hold' end }"
        problems = operator.client.post("/policies/check", json={"source": source}).json()["problems"]
        return {re.search(r"unknown field (\S+)|$", one["message"]).group(1) for one in problems}, set(admit + advance)
    assert check("")[0] - {None} == set()
    unknown, used = check("z")
    assert unknown == used


def test_what_may_be_declared(operator, known):
    """The server knows each name, and none with a letter more."""
    def unknown(letter):
        def value(field):
            if "fields" not in field or letter:
                return "1"
            return f"{{ {table(field['fields'])} }}" if field["type"] == "list" else table(field["fields"])

        def table(fields):
            return "{" + ", ".join(f"{field['name']}{letter} = {value(field)}" for field in fields) + "}"
        answer = operator.client.post("/policies/check", json={"source": "return " + table(known["policy"])})
        return {re.search(r"unknown field (\S+)|$", one["message"]).group(1) for one in answer.json()["problems"]}
    assert unknown("") - {None} == set()
    assert unknown("z") == {field["name"] + "z" for field in known["policy"]}
    declared = operator.client.get("/policies/canary").json()["declaration"]
    assert set(declared) <= {field["name"] for field in known["policy"]}
    stages = next(field for field in known["policy"] if field["name"] == "stages")
    assert set(declared["stages"][0]) == {field["name"] for field in stages["fields"]}


def test_tests_make_the_same_fields(operator, known):
    """device and stats of tests have what devices and stats have."""
    for record in ("device", "stats"):
        names = ", ".join(f'"{field["name"]}"' for field in known[record])
        said, found = outcome(operator, f"""return {{ same = function()
  local made, n = {record} {{}}, 0
  for _, name in ipairs {{ {names} }} do assert(made[name] ~= nil, name) n = n + 1 end
  for _ in pairs(made) do n = n - 1 end
  equal(n, 0)
end }}""")
        assert said["ok"], found


def test_the_documentation_has_them_all(known):
    text = (ROOT / "scripts/README.md").read_text()
    policies = text[text.index("## A policy"):text.index("## Tests")]
    for record in ("policy", "device", "rollout", "stats"):
        for path in paths(known[record]):
            assert re.search(rf"\b{path.split('.')[-1]}\b", policies), path
    for field in known["ctx"]:
        assert f"ctx.{field['name']}" in policies


@pytest.mark.parametrize("taken", ["check", "fields", "simulate"])
def test_no_policy_has_the_name_of_a_path(operator, tmp_path, taken):
    answer = operator.client.put(f"/policies/{taken}", json={"source": HALF}, headers={"If-None-Match": "*"})
    assert answer.status_code == 405
    directory = tmp_path / "scripts"
    (directory / "policies").mkdir(parents=True)
    (directory / f"policies/{taken}.lua").write_text(HALF)
    assert "no policy can be called so" in run("check", directory, code=1).stdout


def test_fields_are_for_operators(user, client):
    assert user.client.get("/policies/fields").status_code == 403
    assert client.get("/policies/fields").status_code == 401
