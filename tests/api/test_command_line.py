"""otad's subcommands as an administrator types them: exit codes 0 (fine), 1 (problems), 2 (wrong usage)."""
import re
import shutil
import subprocess

import httpx
import pytest

from accounts import PASSWORD
from services import GuardedPostgres, clean_environment, otad as run, service_directory
from system import PROGRAM, ROOT


@pytest.fixture(scope="module")
def postgres():
    directory = service_directory()
    server = GuardedPostgres(directory)
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture
def database(postgres):
    """The URL of a new, empty database."""
    return postgres.url_of(postgres.create())


@pytest.fixture
def sql(tmp_path):
    """A copy of sql/ to change."""
    return shutil.copytree(ROOT / "sql", tmp_path / "sql")


def rows(database, query):
    done = subprocess.run(["psql", "-XAtq", database, "-c", query], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def wrong_usage(*arguments):
    done = run(*arguments, code=2)
    assert done.stdout == "" and done.stderr


# otad migrate


def test_migrate_twice(database):
    files = sorted(path.name for path in (ROOT / "sql/migrations").glob("*.sql"))
    assert re.findall(r"applied (\S+)", run("migrate", DATABASE_URL=database).stdout) == files
    assert rows(database, "select name from migrations order by name") == files
    assert run("migrate", DATABASE_URL=database).stdout == ""


def test_migrate_by_many_at_once(database):
    running = [subprocess.Popen([PROGRAM, "migrate"], cwd=ROOT, env=clean_environment(DATABASE_URL=database), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(6)]
    said = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 6, said
    applied = re.findall(r"applied (\S+)", "".join(out for out, _ in said))
    assert sorted(applied) == sorted(path.name for path in (ROOT / "sql/migrations").glob("*.sql"))


def test_migrate_refuses_what_changed(database, sql):
    run("migrate", DATABASE_URL=database, OTAD_SQL=sql)
    with open(sql / "migrations/0001_spine.sql", "a") as file:
        file.write("create table late ();\n")
    done = run("migrate", DATABASE_URL=database, OTAD_SQL=sql, code=1)
    assert "0001_spine.sql was applied with other content" in done.stderr
    assert rows(database, "select count(*) from pg_tables where tablename = 'late'") == ["0"]


def test_migrate_refuses_the_database_of_a_newer_otad(database, sql):
    newer = sql / "migrations/9998_newer.sql"
    newer.write_text("create table newer ();\n")
    run("migrate", DATABASE_URL=database, OTAD_SQL=sql)
    newer.unlink()
    (sql / "migrations/9999_mine.sql").write_text("create table mine ();\n")
    done = run("migrate", DATABASE_URL=database, OTAD_SQL=sql, code=1)
    assert "9998_newer.sql" in done.stderr and "newer otad" in done.stderr and done.stdout == ""
    assert rows(database, "select count(*) from pg_tables where tablename = 'mine'") == ["0"]


def test_migrate_is_whole_or_not_at_all(database, sql):
    """One that fails leaves nothing of its own, and those before it in place; mended, it applies."""
    broken = sql / "migrations/9999_broken.sql"
    broken.write_text("create table half ();\nselect nonsense;\n")
    done = run("migrate", DATABASE_URL=database, OTAD_SQL=sql, code=1)
    assert "applied 0001_spine.sql" in done.stdout and "nonsense" in done.stderr
    assert rows(database, "select count(*) from pg_tables where tablename in ('half', 'users')") == ["1"]
    broken.write_text("create table half ();\n")
    assert run("migrate", DATABASE_URL=database, OTAD_SQL=sql).stdout == "applied 9999_broken.sql\n"


def test_migrate_wrong_use(postgres):
    wrong_usage("migrate", "now")
    done = run("migrate", DATABASE_URL=postgres.url_of("postgres", "wrong"), code=1)
    assert "cannot reach the database" in done.stderr and "DATABASE_URL" in done.stderr
    assert run("migrate", "--help").stdout.startswith("usage: otad migrate")


# otad user


def log_in(system, email, password=PASSWORD):
    return httpx.post(f"{system.url}/auth/login", json={"email": email, "password": password}, timeout=30)


def test_user_add_and_role(otad, operator):
    """What it makes can log in; a new role holds for new tokens and ends the old ones."""
    said = otad.cli("user", "add", "Cli-1@Example.org", input=PASSWORD + "\n").stdout
    assert re.fullmatch(r"cli-1@example.org: account \d+, user\n", said)
    answer = log_in(otad, "cli-1@example.org")
    assert answer.status_code == 200
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert httpx.get(f"{otad.url}/auth/me", headers=headers).json()["user"]["role"] == "user"
    assert otad.cli("user", "role", "cli-1@example.org", "operator").stdout.endswith(", operator\n")
    refresh = {"refresh_token": answer.json()["refresh_token"]}
    assert httpx.post(f"{otad.url}/auth/refresh", json=refresh).status_code == 401
    token = log_in(otad, "cli-1@example.org").json()["access_token"]
    me = httpx.get(f"{otad.url}/auth/me", headers={"Authorization": f"Bearer {token}"}).json()["user"]
    assert me["role"] == "operator"
    assert otad.cli("user", "add", "cli-2@example.org", "--role", "operator", input=PASSWORD).stdout.endswith(
        ", operator\n")
    assert re.search(r"^ +\d+  operator  cli-2@example.org$", otad.cli("user", "list").stdout, re.M)


def test_user_password(otad):
    otad.cli("user", "add", "cli-3@example.org", input=PASSWORD)
    before = log_in(otad, "cli-3@example.org").json()
    otad.cli("user", "password", "cli-3@example.org", input="another long password")
    assert log_in(otad, "cli-3@example.org").status_code == 401
    assert log_in(otad, "cli-3@example.org", "another long password").status_code == 200
    refresh = {"refresh_token": before["refresh_token"]}
    assert httpx.post(f"{otad.url}/auth/refresh", json=refresh).status_code == 401


@pytest.mark.parametrize("code, word, password, arguments", [
    (2, "usage", "", ()),
    (2, "usage", "", ("add",)),
    (2, "usage", "", ("remove", "a@example.org")),
    (2, "usage", "", ("role", "a@example.org")),
    (2, "usage", "", ("list", "all")),
    (2, "user or operator", "", ("role", "a@example.org", "admin")),
    (2, "user or operator", "", ("add", "a@example.org", "--role", "root")),
    (2, "needs a value", "", ("add", "a@example.org", "--role")),
    (2, "is not an option", "", ("add", "a@example.org", "--admin")),
    (2, "e-mail", "", ("add", "example.org")),
    (2, "e-mail", "", ("add", "a b@example.org")),
    (2, "e-mail", "", ("add", "x" * 250 + "@example.org")),
    (1, "10 to 128", "short", ("add", "a@example.org")),
    (1, "10 to 128", "x" * 129, ("add", "a@example.org")),
    (1, "no password", "", ("add", "a@example.org")),
    (1, "there is no account", PASSWORD, ("password", "nobody@example.org")),
    (1, "there is no account", "", ("role", "nobody@example.org", "user")),
])
def test_user_wrong_input(otad, code, word, password, arguments):
    before = otad.psql("select count(*) from users")
    done = otad.cli("user", *arguments, check=False, input=password)
    assert (done.returncode, done.stdout) == (code, "") and word in done.stderr, done
    assert otad.psql("select count(*) from users") == before


def test_user_twice(otad):
    otad.cli("user", "add", "cli-4@example.org", input=PASSWORD)
    done = otad.cli("user", "add", "CLI-4@example.org", check=False, input=PASSWORD)
    assert done.returncode == 1 and "cli-4@example.org has an account already" in done.stderr


# Where otad finds what belongs to it


def test_elsewhere_the_tree_of_the_program_is_used(tmp_path, database):
    assert "no problems" in run("check", cwd=tmp_path).stdout
    assert run("migrate", cwd=tmp_path, DATABASE_URL=database).stdout
    assert f"The configuration is {ROOT}/conf/otad.lua" in run("serve", "--help", cwd=tmp_path).stdout


def test_without_a_tree_it_says_what_is_missing(tmp_path, database):
    """`sql/queries: No such file or directory` was all there was."""
    program = shutil.copy(PROGRAM, tmp_path / "otad")
    (tmp_path / "place").mkdir()
    here = {"cwd": tmp_path / "place", "program": program, "code": 1}
    for command in (("user", "list"), ("migrate",)):
        done = run(*command, **here, DATABASE_URL=database)
        assert f"{tmp_path}/place/sql/queries: No such file or directory" in done.stderr
        assert "The key sql names it" in done.stderr and "set OTAD_SQL" in done.stderr
    done = run("migrate", **here, DATABASE_URL=database, OTAD_SQL="mine")
    assert f"{tmp_path}/place/mine/queries" in done.stderr and "OTAD_SQL names it" in done.stderr
    for command in ("check", "test", "serve"):
        done = run(command, **here)
        assert f"{tmp_path}/place/scripts: No such file" in done.stderr and "set OTAD_SCRIPTS" in done.stderr
    assert "elsewhere: No such file or directory" in run("check", "elsewhere", **here).stderr
    # With a configuration file that is named, the tree is the one that file is in.
    settings = {"OTAD_CONFIG": ROOT / "conf/otad.lua", "DATABASE_URL": database}
    assert run("migrate", cwd=tmp_path / "place", program=program, **settings).stdout


def test_the_working_directory_comes_first(tmp_path, database):
    """A tree one stands in is meant, whichever otad is run; what variables name is under it always."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/otad.lua").write_text("return { scripts = 'mine' }\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/broken.lua").write_text("return {\n")
    assert "broken.lua:2:" in run("check", cwd=tmp_path, code=1).stdout
    (tmp_path / "fine").mkdir()
    for command in ("check", "test"):  # 0 files, no problems: not what was asked for
        assert "no scripts there" in run(command, cwd=tmp_path, code=2, OTAD_SCRIPTS="fine").stderr
    (tmp_path / "fine/one.lua").write_text("return {}\n")
    assert "1 file, no problems" in run("check", cwd=tmp_path, OTAD_SCRIPTS="fine").stdout


# What all have in common


def test_usage():
    listed = re.findall(r"^  (\w+) ", run("--help").stdout, re.M)
    assert {"serve", "migrate", "check", "test", "user", "keygen", "sign", "version"} <= set(listed)
    for command in listed:
        assert run(command, "--help").stdout.startswith(f"usage: otad {command}")
        assert run("help", command).stdout == run(command, "--help").stdout
    assert run("help").stdout == run("--help").stdout
    wrong_usage("help", "swerve")
    wrong_usage()
    wrong_usage("swerve")
    wrong_usage("version", "now")
    wrong_usage("serve", "now")
    wrong_usage("check", "a", "b")
    wrong_usage("check", "--jason")
    assert re.fullmatch(r"otad \d+\.\d+\.\d+\n", run("version").stdout)


def test_every_key_of_the_configuration_is_listed():
    listed = dict(re.findall(r"^  ([a-z._0-9]+) +(OTAD_\w+) ", run("serve", "--help").stdout, re.M))
    assert listed["device.offline_after"] == "OTAD_DEVICE_OFFLINE_AFTER" and len(listed) > 40
    for key, variable in listed.items():
        assert variable == "OTAD_" + key.upper().replace(".", "_")
