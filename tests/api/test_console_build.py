"""conf/lib/console.sh builds the console when something changed, and never keeps otad from starting. The console here is
made up, and needs nothing from a registry."""
import json
import os
import shutil
import subprocess

import pytest

from system import ROOT

BUILD = """
const fs = require("fs");
const text = fs.readFileSync("src/main.js", "utf8");
if (text.includes("broken")) { console.error("src/main.js:1: it is broken"); process.exit(1); }
fs.rmSync("dist", { recursive: true, force: true });
fs.mkdirSync("dist/browser", { recursive: true });
fs.writeFileSync("dist/browser/index.html", text + fs.readdirSync("src").length);
"""
SCRIPT = """
set -euo pipefail
root=$1
mkdir -p "$root/var/log" "$root/var/run"
for part in settings packages build console; do . "$2/conf/lib/$part.sh"; done
build_console || echo "it returned $?"
"""
RUNS = subprocess.run(["bash", "-c", f"root=/; . {ROOT}/conf/lib/console.sh; node_is_fit && command -v npm"],
                      capture_output=True).returncode == 0
pytestmark = pytest.mark.skipif(not RUNS, reason="Node here is none, or too old: it would be fetched")


@pytest.fixture
def tree(tmp_path):
    console = tmp_path / "plugins/console"
    (console / "src").mkdir(parents=True)
    (console / "src/main.js").write_text("first ")
    (console / "build.js").write_text(BUILD)
    package = {"name": "console", "version": "1.0.0", "private": True, "scripts": {"build": "node build.js"}}
    (console / "package.json").write_text(json.dumps(package))
    lock = {"name": "console", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": {"": package}}
    (console / "package-lock.json").write_text(json.dumps(lock))
    return tmp_path


def build(tree, **settings):
    done = subprocess.run(["bash", "-c", SCRIPT, "build", tree, ROOT], text=True, capture_output=True, timeout=120, cwd=tree,
                          env={k: v for k, v in os.environ.items() if not k.startswith("OTAD_")} | settings)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def built(tree):
    return (tree / "plugins/console/dist/browser/index.html").read_text()


def test_it_is_built_when_something_changed(tree):
    source = tree / "plugins/console/src"
    assert "plugins/console/dist, after" in build(tree) and built(tree) == "first 1"
    assert build(tree) == "  console      plugins/console/dist is up to date\n"
    (source / "main.js").write_text("second ")
    assert "compiling" in build(tree) and built(tree) == "second 1"
    (source / "more.js").write_text("")
    build(tree)
    assert built(tree) == "second 2"
    (source / "more.js").unlink()
    build(tree)
    assert built(tree) == "second 1"
    shutil.rmtree(tree / "plugins/console/dist")
    build(tree)
    assert built(tree) == "second 1"
    assert "up to date" in build(tree)


def test_packages_are_fetched_when_the_lock_changed(tree):
    assert "fetching its Node packages" in build(tree)
    lock = tree / "plugins/console/package-lock.json"
    lock.touch()
    assert "fetching" not in build(tree)
    lock.write_text(lock.read_text() + "\n")
    assert "fetching its Node packages" in build(tree)


def test_what_does_not_compile_leaves_what_was_built(tree):
    build(tree)
    (tree / "plugins/console/src/main.js").write_text("broken")
    said = build(tree)
    assert "src/main.js:1: it is broken" in said and "it does not compile; otad starts all the same" in said
    assert "it returned 1" in said and built(tree) == "first 1"
    assert "it does not compile" in build(tree)


NG = """#!/usr/bin/env node
const fs = require("fs");
const into = JSON.parse(fs.readFileSync("angular.json", "utf8")).projects.console.architect.build.options.outputPath;
fs.rmSync(into, { recursive: true, force: true });
%s
fs.mkdirSync(into + "/browser", { recursive: true });
fs.writeFileSync(into + "/browser/index.html", 'name="otad-api" content="" ' + fs.readFileSync("src/main.js", "utf8"));
fs.writeFileSync(into + "/browser/main.js", "x".repeat(10000));
"""


def test_the_console_is_put_in_place_when_it_is_complete(tree):
    console, own = tree / "plugins/console", ROOT / "plugins/console"
    shutil.copytree(own / "tools", console / "tools")
    shutil.copy(own / "angular.json", console)
    package = json.loads((console / "package.json").read_text())
    package["scripts"] = {"build": json.loads((own / "package.json").read_text())["scripts"]["build"]}
    (console / "package.json").write_text(json.dumps(package))
    build(tree)  # there is no ng yet
    ng = console / "node_modules/.bin/ng"
    ng.parent.mkdir(parents=True, exist_ok=True)

    def builds(code=""):
        ng.write_text(NG % code)
        ng.chmod(0o755)
        return build(tree)
    assert "plugins/console/dist, after" in builds() and built(tree).endswith(" first ")
    files = sorted(file.name for file in (console / "dist/browser").iterdir())
    assert files == ["index.html", "main.js", "main.js.br", "main.js.gz"]
    (console / "src/main.js").write_text("second ")
    assert "it does not compile" in builds("process.exit(1)") and built(tree).endswith(" first ")
    assert "it does not compile" in build(tree, OTAD_API="no address") and built(tree).endswith(" first ")
    assert "plugins/console/dist, after" in builds() and built(tree).endswith(" second ")
    assert sorted(file.name for file in (console / "dist").iterdir()) == [".built", "browser"]
    assert "up to date" in build(tree)


def test_a_registry_that_is_away(tree):
    lock = tree / "plugins/console/package-lock.json"
    content = json.loads(lock.read_text())
    package = tree / "plugins/console/package.json"
    wanted = json.loads(package.read_text()) | {"dependencies": {"left": "1.0.0"}}
    content["packages"][""] = wanted
    content["packages"]["node_modules/left"] = {"version": "1.0.0", "resolved": "https://registry.npmjs.org/left/-/left-1.0.0.tgz"}
    package.write_text(json.dumps(wanted))
    lock.write_text(json.dumps(content))
    said = build(tree, npm_config_registry="http://127.0.0.1:9/", npm_config_cache=str(tree / "cache"))
    assert "its packages cannot be had; otad starts all the same" in said and "it returned 1" in said


def test_it_can_be_left_out(tree):
    assert build(tree, OTAD_CONSOLE="off") == ""
    assert not (tree / "plugins/console/dist").exists()
    shutil.rmtree(tree / "plugins")
    assert build(tree) == ""
