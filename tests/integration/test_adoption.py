"""Adoption: a database is migrated while programs in another language use it, and they go on.

What holds afterwards, with both sides at work, is in test_interop.py.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import foreign
import psycopg
import pytest
from click.testing import CliRunner
from foreign_team import Shared, Team
from servers import Server, schema_of, without_schema
from workers import PATIENCE, a_poller, met

from simpleworkflow import StoreUnavailable, cli, migrate, pending_migrations
from simpleworkflow.backends.postgres import migrate as migrations
from simpleworkflow.backends.postgres import steps
from simpleworkflow.backends.postgres.driver import open_session
from simpleworkflow.backends.postgres.url import parse_url

UNTOUCHED = ["billing.invoice.v1", "notify.email.v1", "report.daily.v1"]
"""The types of the rows that are there at the beginning, and that the team leaves alone."""

ALL = [migration.name for migration in migrations.all_migrations()]


@pytest.fixture
def shared(server: Server, database_url: str) -> Iterator[Shared]:
    """A database as they made it, with rows in flight; not migrated."""
    with Shared(server, database_url) as shared:
        yield shared


@pytest.fixture(params=["psycopg", "pg8000"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each driver in turn."""
    return str(request.param)


def by(driver: str, url: str) -> str:
    return url.replace("postgresql:", f"postgresql+{driver}:")


@contextmanager
def migrating(url: str) -> Iterator[threading.Thread]:
    """Migrate in a thread, which has to have come to an end with the block; what it raises, too."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            migrate(url)
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield thread
    thread.join(PATIENCE)
    assert not thread.is_alive(), "it still waits"
    if raised:
        raise raised[0]


class Told(logging.Handler):
    """What the migrations said, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())
        self.came.set()


@pytest.fixture
def told() -> Iterator[Told]:
    """Hears what is logged."""
    handler, logger = Told(), logging.getLogger("simpleworkflow.store")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


MIGRATING = """
select exists (select from pg_stat_activity
                where application_name = 'simpleworkflow' and wait_event_type = 'Lock'
                  and datname = current_database()) = %s
"""
"""Whether somebody of ours waits for a lock, as is asked."""

WAITING_WITH_AN_INDEX = """
select exists (select from pg_stat_progress_create_index
                where phase = 'waiting for old snapshots' and datname = current_database())
"""

IN_THE_WAY = "lock table {schema}.workflow_run in row exclusive mode"
"""What every insert does."""


# Migrating a live database


def test_theirs_go_on_while_the_tables_are_migrated(shared, driver):
    """By many at once; no statement of theirs fails, no row is lost, and none is rewritten."""
    before = foreign.snapshot(shared.ask, UNTOUCHED)
    with Team(shared.server, shared.schema) as team:
        team.go_round(10)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(migrate, [by(driver, shared.url)] * 4))
        assert [name for answer in answers for name in answer] == ALL
        team.go_round(10)
    assert team.errors == []
    assert foreign.snapshot(shared.ask, UNTOUCHED) == before
    there = shared.ask(
        "select id::text, status, attempt from {schema}.workflow_run where type like 'go.%'"
    )
    assert {run_id for run_id, _, _ in there} == set(team.inserted)
    became = {run_id: (status, attempt) for run_id, status, attempt in there}
    assert {became[run_id] for run_id in team.settled} == {("succeeded", 0)}
    assert {became[run_id] for run_id in team.failed} == {("pending", 1)}
    assert len(set(team.settled)) == len(team.settled)


def test_a_long_transaction_of_theirs_holds_nobody_up(shared, driver, told):
    """The migration says once that it waits; the others go on, and so does it in the end."""
    with (
        Team(shared.server, shared.schema, lock_timeout="3s") as team,
        shared.transaction(IN_THE_WAY) as other,
        migrating(by(driver, shared.url)),
    ):
        pid = other.info.backend_pid
        met(told.came)
        for _ in range(3):  # It tries, and stands aside.
            shared.until(MIGRATING, True)
            team.go_round(1)
            shared.until(MIGRATING, False)
            team.go_round(1)
        assert pending_migrations(shared.url) != []
        other.commit()
    assert pending_migrations(shared.url) == []
    [line] = [line for line in told.lines if f"process {pid} of" in line]
    said = r"^\w+ (has|may have) to wait for .*'go-report', in a transaction for .* s: lock table"
    assert re.search(said, line)


def test_it_gives_up_in_one_sentence(shared, driver, monkeypatch):
    """After so long it says who is in the way and what to do; afterwards it goes on from there."""
    monkeypatch.setattr(steps, "PATIENCE", 0.0)
    with shared.transaction(IN_THE_WAY) as other:
        done = CliRunner().invoke(cli.main, ["migrate", by(driver, shared.url)])
        assert done.exit_code == 1
        assert done.stderr.count("\n") == 1
        assert f"locked by process {other.info.backend_pid} of" in done.stderr
        assert "migrate again" in done.stderr
        assert shared.insert() is not None
    assert [name for name, _ in pending_migrations(shared.url)] == ALL[1:]
    monkeypatch.undo()
    migrate(shared.url)
    assert pending_migrations(shared.url) == []


def test_who_may_not_look_at_others_learns_their_process(shared, monkeypatch):
    """Their age and what they do are not told to every role."""
    monkeypatch.setattr(steps, "PATIENCE", 0.0)
    role = shared.schema.replace("t_", "r_")
    shared.ask(f"create role {role} login password 'pw'")
    for table in foreign.TABLE_NAMES:
        shared.ask(f"alter table {{schema}}.{table} owner to {role}")
    shared.ask(f"alter schema {{schema}} owner to {role}")
    parts = urlsplit(shared.url)
    url = parts._replace(netloc=f"{role}:pw@{parts.netloc.rpartition('@')[2]}").geturl()
    with shared.transaction(IN_THE_WAY) as other:
        holder = (
            rf"process {other.info.backend_pid} of '.*' \('go-report': <insufficient privilege>"
        )
        with pytest.raises(StoreUnavailable, match=holder):
            migrate(url)
    monkeypatch.undo()
    migrate(url)
    shared.ask(f"drop owned by {role} cascade")
    shared.ask(f"drop role {role}")


@pytest.fixture
def reader(shared: Shared) -> Iterator[Any]:
    """A transaction of theirs that has read something for a while, and uses none of the tables."""
    begin = "set transaction isolation level repeatable read"
    with shared.transaction(begin, "select 1") as other:
        shared.until(
            "select clock_timestamp() - xact_start > %s * interval '1 second' "
            "from pg_stat_activity where pid = %s",
            steps.LOCK_TIMEOUT,
            other.info.backend_pid,
        )
        yield other


def test_indexes_are_built_while_others_write(shared, driver, reader, told):
    """It waits for whoever reads old rows, and holds up nobody; what was inserted is found."""
    with Team(shared.server, shared.schema, lock_timeout="3s") as team:
        with migrating(by(driver, shared.url)):
            shared.until(WAITING_WITH_AN_INDEX)
            team.go_round(5)
            assert shared.ask(WAITING_WITH_AN_INDEX) == [(True,)]
            ours = shared.insert("py.v1")
            reader.commit()
        team.go_round(1)
    [line] = [line for line in told.lines if f"process {reader.info.backend_pid} of" in line]
    assert "before it can build an index" in line
    poller = a_poller(by(driver, shared.url))
    done = []
    poller.register_executor("py.%", lambda run: done.append(run.id))
    poller.drain()
    assert done == [ours]


def test_an_index_that_waits_too_long_is_given_up(shared, driver, reader, monkeypatch):
    """It says for whom, leaves the session as it was, and the next migration builds it anew."""
    monkeypatch.setattr(steps, "PATIENCE", 0.1)
    address = parse_url(shared.url)
    module = pytest.importorskip(f"simpleworkflow.backends.{driver}")
    connection = open_session(module, address)
    settings = "select current_setting('lock_timeout'), current_setting('statement_timeout')"
    before = connection.fetch(settings, {}), connection.answer_timeout
    with pytest.raises(StoreUnavailable, match=f"locked by process {reader.info.backend_pid} of"):
        migrations.migrate(connection, address)
    assert (connection.fetch(settings, {}), connection.answer_timeout) == before
    assert broken(shared) == ["idx_workflow_run_pending"]
    reader.commit()
    monkeypatch.undo()
    assert migrations.migrate(connection, address)
    connection.close()
    assert broken(shared) == []


def broken(shared: Shared) -> list[str]:
    found = shared.ask(
        "select relname from pg_index join pg_class c on c.oid = indexrelid "
        "where relnamespace = '{schema}'::regnamespace and not indisvalid order by 1"
    )
    return [name for (name,) in found]


INDEXES = {
    "idx_workflow_event_workflow_id": "workflow_event (workflow_id, created_at desc)",
    "idx_workflow_run_pending": "workflow_run (type)",
    "idx_workflow_run_leased": "workflow_run (lease_until)",
}


def test_what_was_left_half_built_is_built_anew(shared, reader):
    """An invalid index of ours, by whatever accident, does not pass for one."""
    shared.ask("drop index {schema}.idx_workflow_event_workflow_id")
    shared.ask("set lock_timeout = '50ms'")
    for name, on in INDEXES.items():
        with pytest.raises(psycopg.errors.LockNotAvailable):
            shared.ask(f"create index concurrently {name} on {{schema}}.{on}")
    shared.ask("reset lock_timeout")
    assert broken(shared) == sorted(INDEXES)
    reader.commit()
    migrate(shared.url)
    assert broken(shared) == []
    assert catalogue(shared.server, shared.schema) == in_one_go(shared.server)


CATALOGUE = """
select 'column', c.relname::text, a.attname::text, format_type(atttypid, atttypmod),
       attnotnull::text
  from pg_attribute a join pg_class c on c.oid = attrelid
 where relnamespace = '{schema}'::regnamespace and attnum > 0 and relkind = 'r'
union all
select 'index', c.relname, pg_get_indexdef(c.oid), indisvalid::text, ''
  from pg_class c join pg_index on indexrelid = c.oid where relnamespace = '{schema}'::regnamespace
union all
select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), ''
  from pg_constraint where connamespace = '{schema}'::regnamespace and contype <> 'n'
union all
select 'trigger', tgrelid::regclass::text, pg_get_triggerdef(oid), tgenabled::text, ''
  from pg_trigger where tgrelid::regclass::text like '%{schema}.%' and not tgisinternal
union all
select 'function', proname, pg_get_functiondef(oid), '', ''
  from pg_proc where pronamespace = '{schema}'::regnamespace
union all
select 'options', relname, array_to_string(reloptions, ' '), '', ''
  from pg_class where relnamespace = '{schema}'::regnamespace
union all
select 'migration', version::text, name, '', '' from {schema}.workflow_migration
 order by 1, 2, 3
"""


def catalogue(server: Server, schema: str) -> list[tuple[str, ...]]:
    """All that a database is besides its rows, whatever the schema's name."""
    with server.connect() as connection:
        rows = connection.execute(CATALOGUE.replace("{schema}", schema).encode()).fetchall()
    return [tuple(str(cell).replace(schema, "S") for cell in row) for row in rows]


def scripts(url: str) -> list[steps.Script]:
    """What a database that is in use would be sent."""
    address = parse_url(url)
    return [
        steps.split(migration.name, migration.sql(address), is_in_use=True)
        for migration in migrations.all_migrations()
    ]


def in_one_go(server: Server) -> list[tuple[str, ...]]:
    """The catalogue of such a database that was migrated without any trouble."""
    with server.fresh_schema() as url, Shared(server, url) as shared:
        migrate(url)
        return catalogue(server, shared.schema)


def test_a_migration_may_be_broken_off_after_any_step(server):
    """The next one ends where all others do; and no run is ever deleted without its history."""
    expected, number, sent = in_one_go(server), 0, [""]
    while number <= len(sent):
        with server.fresh_schema() as url, Shared(server, url) as shared:
            sent = [step.sql for script in scripts(url) for step in script.steps]
            for sql in sent[:number]:
                shared.connection.execute(sql.encode())
            gone = shared.insert()
            shared.ask(foreign.RECORD, [gone, "created"])
            shared.ask("delete from {schema}.workflow_run where id = %s", [gone])
            assert shared.events(gone) == []
            migrate(url)
            assert catalogue(server, shared.schema) == expected
        number += 1


def test_every_step_may_be_repeated(shared):
    """What was done already is done again, and nothing becomes of it."""
    migrate(shared.url)
    before = catalogue(shared.server, shared.schema)
    shared.ask("truncate {schema}.workflow_migration")
    assert migrate(shared.url) == ALL
    assert catalogue(shared.server, shared.schema) == before


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "adopting"])
def test_psql_runs_what_is_printed(server, database_url, is_new):
    """A database migrated by that script is the same as one that was migrated by us."""
    found = [shutil.which("psql"), *Path("/usr/lib/postgresql").glob("*/bin/psql")]
    psql = next(filter(None, found), None)
    if psql is None:
        pytest.skip("no psql on this machine")
    if not is_new:
        Shared(server, database_url).connection.close()
    printed = CliRunner().invoke(cli.main, ["migrate", database_url, "--print"])
    alone = printed.stdout.count("create index concurrently")
    assert (alone == 0) is is_new
    assert printed.stdout.count("-- Outside of a transaction") == alone
    done = subprocess.run(
        [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", without_schema(database_url)],
        input=printed.stdout,
        # Words of the script that have no effect would be a warning.
        env=os.environ | {"PGOPTIONS": "-c client_min_messages=warning"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert pending_migrations(database_url) == []
    if not is_new:
        assert catalogue(server, schema_of(database_url)) == in_one_go(server)


def test_the_steps_of_the_files_are_as_they_should_be():
    """Indexes of what grows stand alone behind their marks; a transaction ends each file."""
    for script in scripts("postgresql://h/d"):
        for step in script.steps:
            code = re.sub(r"--.*", "", step.sql).strip()
            assert step.is_alone == code.startswith("create index concurrently")
            if step.is_alone:
                assert code.count(";") == 1
            else:
                assert step.sql.startswith("set local lock_timeout = 300;\n")
                assert not re.search(r"\bindex\b.*\s+on \S+\.workflow_(run|event) ", code)
        assert "workflow_migration (version, name)" in script.steps[-1].sql
        assert not script.steps[-1].is_alone


def test_a_prepared_statement_with_a_star_fails_once(shared):
    """As docs/interop.md says; one that names its columns does not notice."""
    with shared.server.connect() as theirs:
        table = f"{shared.schema}.workflow_run"
        theirs.execute(f"prepare careless as select * from {table}")
        theirs.execute(f"prepare careful as select id, type, payload from {table}")
        theirs.execute("execute careless")
        theirs.execute("execute careful")
        migrate(shared.url)
        theirs.execute("execute careful")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan must not change"):
            theirs.execute("execute careless")
        theirs.execute("deallocate careless")
        theirs.execute(f"prepare careless as select * from {table}")
        theirs.execute("execute careless")
