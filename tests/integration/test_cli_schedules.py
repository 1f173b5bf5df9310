"""`simpleworkflow schedules` and `simpleworkflow ticker`, as they are typed."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import closing

import pytest
from click.testing import CliRunner, Result
from workers import PATIENCE, python

from simpleworkflow import Client, cli, migrate, open_store
from simpleworkflow.core.routing import Route

EVERYTHING = Route.of(["%"])


def call(url: str, *arguments: str, stdin: str = "") -> Result:
    """Run `simpleworkflow schedules` in this process."""
    given = ["schedules", *arguments, "--store", url]
    wide = {"COLUMNS": "200"}
    return CliRunner(env=wide).invoke(cli.main, given, input=stdin, prog_name="simpleworkflow")


def answer(url: str, *arguments: str, stdin: str = ""):
    """What it answers as JSON."""
    result = call(url, *arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def url(database_url):
    migrate(database_url)
    return database_url


def test_a_schedule_from_its_making_to_its_end(url):
    """Every command, as programs read it."""
    made = answer(
        url,
        *("create", "report.v1", '{"n": 1}', "--cron", "0 9 * * 1"),
        *("--timezone", "Europe/Zurich", "--priority", "7", "--max-attempts", "5"),
        *("--catch-up", "all", "--headers", '{"trace": "t"}'),
    )
    id_ = made["id"]
    with Client(url) as client:
        assert client.schedules.get(id_).next_run_at.isoformat() == made["next_run_at"]
    assert {name: made[name] for name in ("type", "payload", "cron", "timezone", "headers")} == {
        "type": "report.v1",
        "payload": {"n": 1},
        "cron": "0 9 * * 1",
        "timezone": "Europe/Zurich",
        "headers": {"trace": "t"},
    }
    assert (made["priority"], made["max_attempts"], made["catch_up"]) == (7, 5, "all")
    assert (made["enabled"], made["last_run_at"], made["problem"]) == (True, None, None)
    assert answer(url, "show", id_) == made
    assert answer(url, "list") == [made]

    assert answer(url, "pause", id_)["enabled"] is False
    assert answer(url, "resume", id_)["enabled"] is True
    changed = answer(
        url,
        *("update", id_, "--type", "c.d.v1", "--payload", "null", "--cron", "5 * * * *"),
        *("--timezone", "UTC", "--priority", "1", "--max-attempts", "2", "--catch-up", "none"),
        *("--headers", "{}"),
    )
    assert changed | {"updated_at": 0, "next_run_at": 0} == made | {
        "type": "c.d.v1",
        "payload": None,
        "cron": "5 * * * *",
        "timezone": "UTC",
        "priority": 1,
        "max_attempts": 2,
        "catch_up": "none",
        "headers": {},
        "updated_at": 0,
        "next_run_at": 0,
    }
    run_id = answer(url, "run", id_)["run_id"]
    with Client(url) as client:
        assert client.get(run_id).type == "c.d.v1"
    assert answer(url, "delete", id_) == {"id": id_, "deleted": True}
    assert answer(url, "list") == []


def test_a_schedule_as_people_read_it(one_database_url):
    """A line for each in the list, and all of one."""
    migrate(one_database_url)
    assert call(one_database_url, "list").stdout == "no schedules\n"
    created = call(one_database_url, "create", "report.v1", "--cron", "0 9 * * 1")
    assert created.exit_code == 0
    assert "report.v1" in created.stdout
    with Client(one_database_url) as client:
        [schedule] = client.schedules.list()
    assert schedule.payload == {}
    listed = call(one_database_url, "list").stdout
    heads, line = (text.split() for text in listed.splitlines() if text.strip(" ─"))
    next_run_at = f"{schedule.next_run_at.astimezone():%Y-%m-%d %H:%M:%S}"
    assert heads == ["id", "type", "cron", "timezone", "next", "last", "problem"]
    assert " ".join(line) == f"{schedule.id} report.v1 0 9 * * 1 UTC {next_run_at} - -"
    call(one_database_url, "pause", schedule.id)
    assert "paused" in call(one_database_url, "list").stdout
    shown = call(one_database_url, "show", schedule.id).stdout
    assert schedule.id in shown
    assert next_run_at in shown
    ran = call(one_database_url, "run", schedule.id).stdout
    with closing(open_store(one_database_url)) as store:
        assert ran == f"submitted {store.runs(EVERYTHING, 10)[0].id}\n"
    assert call(one_database_url, "delete", schedule.id).stdout == f"deleted {schedule.id}\n"


def test_a_schedule_that_cannot_fire_says_so_in_the_list(one_database_url, one_server):
    """What another program wrote may be more than we can read."""
    migrate(one_database_url)
    schema = open_store(one_database_url).address.quoted_schema
    with one_server.connect() as connection:
        connection.execute(
            f"insert into {schema}.workflow_schedule (type, schedule, next_run_at)"
            " values ('go.v1', '@daily', now())"
        )
    [row] = answer(one_database_url, "list")
    assert "five fields" in row["problem"]
    assert "@daily" in call(one_database_url, "list").stdout


def test_a_payload_is_read_from_standard_input(one_database_url):
    """As `submit` reads it."""
    migrate(one_database_url)
    id_ = answer(one_database_url, "create", "a.v1", "-", "--cron", "0 9 * * 1", stdin="[1]")["id"]
    assert answer(one_database_url, "show", id_)["payload"] == [1]
    assert answer(one_database_url, "update", id_, "--payload", "-", stdin="2")["payload"] == 2
    refused = call(one_database_url, "update", id_, "--payload", "-", stdin="{")
    assert refused.exit_code == 2
    assert "does not parse: Expecting property name" in refused.stderr
    assert "(standard input, line 1, column 2)" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["create", "a.b.v1"], 2, "Missing option '--cron'"),
        (["create", "a.b.v1", "{", "--cron", "0 9 * * 1"], 2, "payload does not parse: Expecting"),
        (["create", "a.b.v1", "[" * 9**5, "--cron", "0 9 * * 1"], 2, "is nested too deeply"),
        (["create", "a.b.v1", "--cron", "0 9 * *"], 2, "five fields"),
        (["create", "a.b.v1", "--cron", "0 0 9 * * 1"], 2, "five fields"),
        (["create", "a.b.v1", "--cron", "0 0 30 2 *"], 2, "never fires"),
        (["create", "a.b.v1", "--cron", "0 9 * * 1", "--timezone", "Mars"], 2, "is no zone"),
        (["create", "a.b.v1", "--cron", "0 9 * * 1", "--headers", "["], 2, "--headers does not"),
        (["create", "a.b.v1", "--cron", "0 9 * * 1", "--headers", "[]"], 2, "must be a mapping"),
        (["create", "a.%", "--cron", "0 9 * * 1"], 2, "carries '%'"),
        (["create", "a.b.v1", "--cron", "0 9 * * 1", "--catch-up", "some"], 2, "--catch-up"),
        (["show", "x"], 2, "the schedule id 'x' is no UUID"),
        (["show", "00000000-0000-4000-8000-000000000000"], 2, "there is no schedule"),
        (["pause", "00000000-0000-4000-8000-000000000000"], 2, "there is no schedule"),
        (["run", "00000000-0000-4000-8000-000000000000"], 2, "there is no schedule"),
        (["delete", "00000000-0000-4000-8000-000000000000"], 2, "there is no schedule"),
        (["update", "00000000-0000-4000-8000-000000000000"], 2, "nothing to change"),
        (["update", "x", "--payload", "9" * 5000], 2, "--payload has a number of more than 4,300"),
    ],
)
def test_a_mistake_is_answered_in_one_line(arguments, exit_code, says):
    """What, where, and what would do; without a traceback."""
    result = call("memory://", *arguments)
    assert result.exit_code == exit_code
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_schedules_alone_tells_its_commands():
    """A question is answered."""
    result = CliRunner().invoke(cli.main, ["schedules"])
    assert result.exit_code == 0
    assert {"create", "list", "pause", "resume", "run", "update"} <= set(result.stdout.split())


@pytest.mark.parametrize("arguments", [["schedules", "list"], ["ticker"]])
def test_without_a_database_it_says_how_to_name_one(arguments, monkeypatch, tmp_path):
    """By the option, the environment, or a file; and one that is away is a failure."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2
    assert "DATABASE_URL is not set" in result.stderr
    assert "--store URL" in result.stderr
    monkeypatch.setenv("DATABASE_URL", "postgresql://anna:s3cret@127.0.0.1:1/shop")
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "unavailable" in result.stderr
    assert "s3cret" not in result.output


def test_the_ticker_fires_until_it_is_told_to_end(url, server):
    """SIGTERM ends it well."""
    schema = open_store(url).address.quoted_schema
    with server.connect() as connection:
        connection.execute(
            f"insert into {schema}.workflow_schedule (type, schedule, next_run_at)"
            " values ('go.v1', '0 9 * * 1', now())"
        )
    program = "from simpleworkflow.cli import main; main()"
    pause = threading.Event()
    with (
        python(program, "ticker", "--store", url) as process,
        closing(open_store(url)) as store,
    ):
        try:
            while not (runs := store.runs(EVERYTHING, 10)):
                assert process.poll() is None, process.communicate()
                pause.wait(0.05)
            assert [run.type for run in runs] == ["go.v1"]
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=PATIENCE)
            assert (process.returncode, out) == (0, "")
            assert "ticker starts" in err
            assert "Traceback" not in err
        finally:
            process.kill()
