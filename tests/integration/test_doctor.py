"""The doctor: silent on a healthy database; each trouble is told, and mended as advised."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner, Result
from documents import ROOT
from goldens import check_golden
from pgbouncer import PgBouncer
from servers import OwnServer, Server, Unavailable, known_servers, new_server, schema_of

from simpleworkflow import (
    Client,
    Finding,
    Level,
    StoreUnavailable,
    UsageError,
    cli,
    examine,
    grants,
    migrate,
    open_store,
)
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.cli.doctor import show
from simpleworkflow.core import doctor
from simpleworkflow.core.roster import Announcement
from simpleworkflow.core.routing import Route

LEASE = timedelta(seconds=30)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OK, NOTE, WARNING, CRITICAL = Level
NEWEST = 8
SETTINGS = {
    # As a server in earnest, and small enough to be filled.
    "fsync": "on",
    "full_page_writes": "on",
    "max_connections": "20",
    "max_prepared_transactions": "2",
}
QUEUE = {"max_notify_queue_pages": "64"}
"""The shortest queue of notifications; from PostgreSQL 17 on it can be chosen."""


@pytest.fixture(scope="module", params=known_servers(), ids=lambda known: known.name)
def healthy(request: pytest.FixtureRequest, _running: None) -> Iterator[Server]:
    """A healthy server of each kind, with nobody else on it."""
    try:
        own: OwnServer = new_server(
            request.param, SETTINGS | (QUEUE if "18" in request.param.name else {})
        )
        own.start()
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        yield own
    finally:
        own.close()


@pytest.fixture
def url(healthy: Server) -> Iterator[str]:
    """A URL whose tables are there and empty."""
    with healthy.fresh_schema() as url:
        migrate(url)
        yield url


@pytest.fixture
def connection(healthy: Server, url: str) -> Iterator[psycopg.Connection[Any]]:
    """A session of the owner's, in the schema."""
    with healthy.connect() as connection:
        connection.execute(f"set search_path = {schema_of(url)}")
        yield connection


def found(store: Any, name: str) -> Finding:
    """What is found of one thing."""
    [finding] = [each for each in examine(store) if each.name == name]
    return finding


def seen(store: Any, name: str) -> tuple[Level, str]:
    """How bad one thing is, and what is told of it."""
    finding = found(store, name)
    return finding.level, finding.seen


@contextmanager
def later(url: str, by: timedelta) -> Iterator[Any]:
    """The store as it will be when so much time has passed."""
    with closing(open_store(url, clock=lambda: datetime.now(UTC) + by)) as store:
        yield store


def a_worker(clock: datetime, *patterns: str, worker_id: str = "w-1") -> Announcement:
    """What a worker says of itself."""
    return Announcement(str(uuid4()), worker_id, "box", 7, "1.0", patterns or ("%",), 1, clock)


def advised(connection: psycopg.Connection[Any], finding: Finding) -> None:
    """Do as advised."""
    for statement in finding.advice.split("; "):
        connection.execute(statement.encode())


@pytest.mark.parametrize("driver", ["psycopg", "pg8000"])
def test_a_healthy_database_is_ok(url, driver):
    """All that can be looked at, by either driver."""
    with closing(open_store(url.replace("postgresql", f"postgresql+{driver}"))) as store:
        store.announce(a_worker(datetime.now(UTC)))
        with Client(store) as client:
            client.submit("mail.v1", {})
            client.submit("mail.v1", {}, delay=HOUR)
        findings = examine(store)
    assert [finding for finding in findings if finding.level is not OK] == []
    assert all(finding.seen and not finding.advice for finding in findings)


# The tables and the version


def test_a_schema_without_tables_is_told(healthy):
    """And nothing else of the tables; of the server all the same."""
    with healthy.fresh_schema() as url:
        findings = {finding.name: finding for finding in examine(url)}
    assert findings["schema-version"].level is CRITICAL
    assert "`simpleworkflow migrate`" in findings["schema-version"].advice
    assert findings.keys() >= {"server", "connections", "clocks"}
    assert not findings.keys() & {"oldest-run", "indexes", "workers"}
    assert {f.level for f in findings.values() if f.name != "schema-version"} == {OK}


def test_a_database_that_is_behind_is_examined_as_far_as_it_goes(url, connection):
    """What the newest migration brings is told as such; the rest is looked at."""
    connection.execute("delete from workflow_migration where version >= 7")
    connection.execute("drop table workflow_worker")
    findings = {finding.name: finding for finding in examine(url)}
    assert findings["schema-version"].level is CRITICAL
    assert "to be applied: 0007_workers, 0008_key_scope" in findings["schema-version"].seen
    assert findings["workers"].level is NOTE
    assert "it cannot be seen" in findings["workers"].seen
    assert findings["indexes"].level is OK
    migrate(url)
    assert found(url, "schema-version").level is OK


def test_a_newer_database_is_noted(url, connection):
    """During a rolling update that is as it should be."""
    connection.execute("insert into workflow_migration values (9999, 'future')")
    assert seen(url, "schema-version") == (
        NOTE,
        f"at version 9999, newer than this library, which knows {NEWEST}",
    )


def test_a_lost_index_is_told_and_comes_back_as_advised(url, connection):
    """Each that a migration made, also the unique one behind idempotency keys."""
    connection.execute("drop index idx_workflow_run_leased, idx_workflow_event_workflow_id")
    lost = found(url, "indexes")
    assert lost.level is WARNING
    assert "idx_workflow_run_leased is missing" in lost.seen
    advised(connection, lost)
    assert found(url, "indexes").level is OK
    connection.execute("alter table workflow_run drop constraint workflow_run_idempotency_key_key")
    assert seen(url, "indexes") == (WARNING, "unique idempotency_key is missing")
    connection.execute("create unique index other_name on workflow_run (idempotency_key)")
    assert found(url, "indexes").level is OK


def test_an_invalid_index_is_told_and_mended_as_advised(url, connection):
    """Whether it is one of ours, or one that somebody failed to build."""
    connection.execute("insert into workflow_run (type, payload) values ('a', '1'), ('a', '1')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("create unique index concurrently theirs on workflow_run (type)")
    connection.execute(
        "update pg_index set indisvalid = false"
        " where indexrelid = 'idx_workflow_run_pending'::regclass"
    )
    broken = found(url, "indexes")
    assert broken.level is WARNING
    assert broken.seen == "idx_workflow_run_pending is invalid, theirs is invalid"
    advised(connection, broken)
    assert found(url, "indexes").level is OK


def test_an_index_that_nobody_uses_is_noted_where_it_costs(url, connection):
    """One of others on a large table; those that keep keys unique are left alone."""
    connection.execute("create index theirs on workflow_run (updated_at)")
    connection.execute("create unique index also_theirs on workflow_run (id, type)")
    assert found(url, "indexes").level is OK
    connection.execute("update pg_class set reltuples = 20000 where oid = 'workflow_run'::regclass")
    assert seen(url, "indexes") == (NOTE, "never used, and not this library's: theirs")


@pytest.mark.parametrize(
    "damage",
    [
        "drop trigger workflow_delete_history on workflow_run",
        "alter table workflow_run disable trigger workflow_delete_history",
        "alter table workflow_run disable trigger user",
    ],
)
def test_a_lost_trigger_is_told_and_comes_back_as_advised(url, connection, damage):
    """Disabled is as good as lost."""
    connection.execute(damage)
    lost = found(url, "triggers")
    assert lost.level is WARNING
    assert "workflow_delete_history" in lost.seen
    advised(connection, lost)
    assert found(url, "triggers").level is OK


def test_a_lost_setting_is_told_and_comes_back_as_advised(url, connection):
    """Another value is somebody's decision; no autovacuum at all is not one to keep."""
    connection.execute("alter table workflow_run set (autovacuum_vacuum_threshold = 5)")
    assert found(url, "table-settings").level is OK
    connection.execute("alter table workflow_run reset (autovacuum_vacuum_threshold)")
    connection.execute("alter table workflow_worker reset (fillfactor)")
    lost = found(url, "table-settings")
    assert lost.level is WARNING
    assert "autovacuum_vacuum_threshold of workflow_run" in lost.seen
    assert "fillfactor of workflow_worker" in lost.seen
    advised(connection, lost)
    assert found(url, "table-settings").level is OK
    connection.execute("alter table workflow_event set (autovacuum_enabled = off)")
    assert seen(url, "table-settings")[1].startswith("autovacuum is off")


# Runs and workers


def test_a_lease_that_nobody_rescues_is_told(url):
    """With its type and for how long; one that has just expired is not."""
    with Client(url) as client:
        client.submit_many([{"type": "mail.v1", "payload": n} for n in range(3)])
    with closing(open_store(url)) as store:
        store.claim(Route.of(["mail.%"]), 2, "gone", LEASE)
    with later(url, MINUTE) as store:
        assert found(store, "expired-leases").level is OK
    with later(url, 3 * MINUTE) as store:
        assert seen(store, "expired-leases") == (
            WARNING,
            "2 waiting for a rescue, the first for 2 min: mail.v1 (2)",
        )
    with later(url, HOUR) as store:
        assert found(store, "expired-leases").level is CRITICAL


def test_the_oldest_due_run_of_each_type_is_told(url, connection):
    """Whatever its priority; what is leased, deleted, ended or of the future does not wait."""
    with Client(url) as client:
        client.submit("old.v1", {}, priority=200)
        client.submit("new.v1", {}, priority=1, delay=9 * MINUTE)
        client.submit("new.v1", {}, priority=2, delay=2 * HOUR)
        client.submit("future.v1", {}, delay=2 * HOUR)
        client.cancel(client.submit("cancelled.v1", {}).id)
        client.submit("deleted.v1", {})
    connection.execute("update workflow_run set deleted_at = now() where type = 'deleted.v1'")
    for by, level, waiting in [
        (MINUTE / 2, OK, "none waits for 1 min or more"),
        (5 * MINUTE, NOTE, "due and not begun: old.v1 for 5 min"),
        (11 * MINUTE, WARNING, "due and not begun: old.v1 for 11 min, new.v1 for 2 min"),
        (70 * MINUTE, CRITICAL, "due and not begun: old.v1 for 70 min, new.v1 for 61 min"),
    ]:
        with later(url, by) as store:
            assert seen(store, "oldest-run") == (level, waiting)


def test_a_type_that_nobody_serves_is_told(url):
    """Until a worker announces that it does."""
    with Client(url) as client:
        client.submit("mail.v1", {})
        client.submit("bill.v1", {})
    with later(url, 2 * MINUTE) as store:
        now = datetime.now(UTC) + 2 * MINUTE
        store.announce(a_worker(now, "bill.%"))
        level, told = seen(store, "unserved-types")
        assert level is WARNING
        assert "serves mail.v1, which has had due runs" in told
        store.announce(a_worker(now, "mail.v1", "other.v1"))
        assert found(store, "unserved-types").level is OK


def test_who_is_at_work_and_who_vanished_is_told(url):
    """Somebody who is silent for long neither counts as alive nor serves anything."""
    assert found(url, "workers").level is NOTE
    with closing(open_store(url)) as store:
        store.announce(a_worker(datetime.now(UTC), "mail.%"))
    assert seen(url, "workers") == (OK, "1 alive: w-1 on box (mail.%)")
    with later(url, 2 * MINUTE) as store:
        store.announce(a_worker(datetime.now(UTC), "bill.%", worker_id="w-2"))
        assert seen(store, "workers") == (
            NOTE,
            "1 alive: w-2 on box (bill.%); silent for more than 90 s: w-1 on box, process 7",
        )


def test_a_schedule_that_nobody_fires_is_told(url, connection):
    """An enabled one; not one that is paused or deleted."""
    connection.execute(
        "insert into workflow_schedule (type, schedule, next_run_at, enabled, deleted_at) values"
        " ('late.v1', '* * * * *', now(), true, null), ('paused.v1', '* * * * *', now(), false,"
        " null), ('deleted.v1', '* * * * *', now(), true, now())"
    )
    assert found(url, "schedules").level is OK
    with later(url, 2 * MINUTE) as store:
        assert seen(store, "schedules") == (WARNING, "nobody fires late.v1, late by 2 min")


# The server


def test_dead_rows_are_told_with_the_last_vacuum(url, connection):
    """From a share of the table on; a vacuum mends it."""
    connection.execute("alter table workflow_run set (autovacuum_enabled = off)")
    connection.execute(
        "insert into workflow_run (type, payload, status)"
        " select 'a', '1', 'succeeded' from generate_series(1, 12000)"
    )
    connection.execute("update workflow_run set priority = 1")
    connection.execute("select pg_stat_force_next_flush()")
    level, told = seen(url, "dead-rows")
    assert level is NOTE
    assert told == "workflow_run has 12,000 beside 12,000 rows, never vacuumed"
    connection.execute("vacuum analyze workflow_run")
    connection.execute("select pg_stat_force_next_flush()")
    assert found(url, "dead-rows").level is OK


def test_a_transaction_that_stays_open_is_told(healthy, url):
    """A session's by its number, a prepared one by its name; over, it is told no more."""
    name = uuid4().hex
    with healthy.connect(application_name="report") as holder:
        holder.execute("begin")
        holder.execute("select pg_current_xact_id()")
        pid = holder.info.backend_pid
        assert found(url, "held-back").level is OK
        with later(url, 10 * MINUTE) as store:
            level, told = seen(store, "held-back")
            assert level is NOTE
            assert re.search(rf"session {pid} of \S+ \(report\), open for (9|10) min", told)
        with later(url, 2 * HOUR) as store:
            assert found(store, "held-back").level is WARNING
        holder.execute(f"prepare transaction '{name}'".encode())
        try:
            with later(url, 10 * MINUTE) as store:
                assert f"prepared transaction '{name}' of " in seen(store, "held-back")[1]
        finally:
            holder.execute(f"rollback prepared '{name}'".encode())
    with later(url, 2 * HOUR) as store:
        assert found(store, "held-back").level is OK


def test_a_replication_slot_without_a_reader_is_told(url, connection):
    """With what it keeps."""
    connection.execute("select pg_create_physical_replication_slot('nobody_reads', true)")
    try:
        level, told = seen(url, "replication-slots")
    finally:
        connection.execute("select pg_drop_replication_slot('nobody_reads')")
    assert level is NOTE
    assert re.fullmatch(r"without a reader: nobody_reads keeps [\d.]+ \w+ of WAL", told)
    assert found(url, "replication-slots").level is OK


def test_a_worker_whose_clock_is_wrong_is_told(url):
    """While it is alive."""
    with closing(open_store(url)) as store:
        store.announce(a_worker(datetime.now(UTC) - HOUR))
        assert seen(store, "clocks") == (
            WARNING,
            "not the server's time: w-1 on box is 60 min behind",
        )


def test_a_machine_whose_clock_is_wrong_is_told(url):
    """The one on which the doctor runs, by a day."""
    preloaded = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not preloaded:
        pytest.skip("no libfaketime: install the package faketime")
    done = subprocess.run(
        [sys.executable, "-m", "simpleworkflow", "doctor", "--store", url, "--json"],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "LD_PRELOAD": str(preloaded[0]),
            "FAKETIME": "+2d",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
        capture_output=True,
        check=False,
        timeout=60,
    )
    [clocks] = [each for each in json.loads(done.stdout) if each["name"] == "clocks"]
    assert (done.returncode, clocks["level"]) == (3, "warning")
    assert re.search(r"this machine is (47 h|48 h|2 d) ahead", clocks["seen"])


def test_a_pooler_and_what_it_means_are_told(healthy, url):
    """Through it, wake-ups are not to be had."""
    try:
        with PgBouncer(healthy) as pooler:
            through = pooler.lead(url)
            assert found(through, "pooler").level is NOTE
            assert seen(through, "wake-ups") == (NOTE, "not possible from here: workers poll")
            assert found(through, "indexes").level is OK
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert found(url, "pooler").level is OK


def test_whom_idle_workers_hear_of_is_told(url):
    """The trigger for others' inserts is there or is not; either is fine."""
    assert seen(url, "wake-ups")[1].endswith("submit, not for bare inserts")
    migrate(url, notify_trigger=True)
    assert found(url, "wake-ups").level is OK
    assert seen(url, "wake-ups")[1].endswith("submit, and for rows that other programs insert")


def test_a_queue_of_notifications_that_is_not_read_is_told(healthy, url):
    """Before it is full, for then submits fail."""
    if healthy.version < 17:
        pytest.skip("the queue has 8 GB, and cannot be made shorter before PostgreSQL 17")
    with healthy.connect() as listener, healthy.connect() as other:
        listener.execute("listen anything")
        listener.execute("begin")
        listener.execute("select 1")
        for n in range(60):
            other.execute("select pg_notify('anything', %s)", [f"{n}".ljust(7_000)])
        level, told = seen(url, "wake-ups")
    assert level in (WARNING, CRITICAL)
    assert re.search(r"queue of notifications is \d+% full", told)


def test_a_database_that_has_grown_is_noted(url, connection):
    """By the server's own estimate."""
    assert found(url, "size").level is OK
    connection.execute("update pg_class set reltuples = 2e7 where oid = 'workflow_run'::regclass")
    level, told = seen(url, "size")
    assert level is NOTE
    assert "workflow_run" in told
    assert "about 20,000,000 rows" in told


def test_few_connections_left_are_told(healthy, url):
    """Of those that ordinary roles may have."""
    opened = [healthy.connect(application_name="crowd") for _ in range(13)]
    try:
        level, told = seen(url, "connections")
    finally:
        for each in opened:
            each.close()
    assert level is WARNING
    assert re.fullmatch(r"1[4-6] of 17 in use, 1 of them by this library", told)


def test_settings_that_lose_what_is_committed_are_noted(url):
    """As they are for the sessions of this URL."""
    url = f"{url}&options=-c%20synchronous_commit%3Doff"
    level, told = seen(url, "durability")
    assert level is NOTE
    assert told.startswith("synchronous_commit is off")


def test_a_read_only_server_is_told(url):
    """Such as a standby: nothing can be executed there."""
    url = f"{url}&options=-c%20default_transaction_read_only%3Don"
    assert found(url, "server").level is CRITICAL


# Who may see it


@pytest.fixture
def role(healthy: Server, url: str) -> Iterator[Callable[[str], str]]:
    """Gives the URL of a role that has the rights of one part."""
    names = []
    with healthy.connect() as owner:

        def as_part(part: str) -> str:
            names.append(f"{part}_{uuid4().hex[:12]}")
            owner.execute(grants(schema_of(url), **{part: names[-1]}).encode())
            owner.execute(f"alter role {names[-1]} password 'pw'".encode())
            before, _, after = url.partition("://")
            return f"{before}://{names[-1]}:pw@{after.rpartition('@')[2]}"

        yield as_part
        for name in names:
            owner.execute(f"drop owned by {name}".encode())
            owner.execute(f"drop role {name}".encode())


def test_an_operator_sees_all_but_the_age_of_others_transactions(healthy, url, role):
    """Of these it is told what right is missing."""
    operator = role("operator")
    with closing(open_store(url)) as store:
        store.announce(a_worker(datetime.now(UTC)))
    assert {finding.level for finding in examine(operator)} == {OK}
    with healthy.connect() as holder:
        holder.execute("begin")
        holder.execute("select pg_current_xact_id()")
        hidden = found(operator, "held-back")
    assert hidden.level is NOTE
    assert f"session {holder.info.backend_pid}" in hidden.seen if not holder.closed else True
    assert "grant pg_read_all_stats" in hidden.advice


def test_what_a_role_may_not_see_is_a_finding(url, role):
    """A producer does not see who is at work; all else is examined."""
    findings = {finding.name: finding for finding in examine(role("producer"))}
    unseen = {name for name, each in findings.items() if "it cannot be seen" in each.seen}
    assert unseen == {"workers", "unserved-types", "clocks"}
    assert {findings[name].level for name in unseen} == {NOTE}
    assert "permission denied" in findings["workers"].seen
    assert findings.keys() == {finding.name for finding in examine(url)}


def test_a_stranger_is_told_what_it_may_not_see(healthy, url, role):
    """Without any right at all there is an answer too."""
    stranger = role("producer")
    name = re.search(r"//(\w+):", stranger)[1]
    with healthy.connect() as owner:
        owner.execute(f"drop owned by {name}".encode())
        findings = {finding.name: finding for finding in examine(stranger)}
    assert "permission denied" in findings["schema-version"].seen
    assert "permission denied" in findings["oldest-run"].seen
    assert findings["server"].level is OK


def test_what_cannot_be_seen_in_time_is_a_finding(healthy, url):
    """Somebody has locked a table: all else is examined."""
    with healthy.connect() as other:
        other.execute("begin")
        other.execute(f"lock table {schema_of(url)}.workflow_run in access exclusive mode")
        impatient = f"{url}&options=-c%20statement_timeout%3D200ms"
        findings = {finding.name: finding for finding in examine(impatient)}
    assert "statement timeout" in findings["oldest-run"].seen
    assert findings["indexes"].level is OK
    assert findings["schedules"].level is OK


class Closed(MemoryStore):
    """A store that cannot be examined, as one of somebody else's may be."""

    examine = None


def test_other_stores_have_nothing_to_examine():
    """In memory there is nothing that could be wrong; a store that cannot say so is a misuse."""
    assert examine("memory://") == []
    with pytest.raises(UsageError, match="cannot be examined"):
        examine(Closed())


# The command


def call(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli.main, ["doctor", *arguments], prog_name="simpleworkflow")


def test_the_exit_code_is_for_monitoring(url, connection):
    """0, 3 and 4, as --fail-on says; and the same for people and programs."""
    assert call("--store", url).exit_code == 0
    connection.execute("drop index idx_workflow_run_leased")
    assert call("--store", url).exit_code == 3
    assert call("--store", url, "--json").exit_code == 3
    assert call("--store", url, "--fail-on", "critical").exit_code == 0
    connection.execute("delete from workflow_migration")
    assert call("--store", url).exit_code == 4
    assert call("--store", url, "--fail-on", "critical").exit_code == 4


def test_json_has_all_that_was_found(url):
    """One object for each finding."""
    shown = json.loads(call("--store", url, "--json").stdout)
    assert [(each["name"], each["level"]) for each in shown] == [
        (finding.name, finding.level) for finding in examine(url)
    ]
    assert all(each.keys() == {"name", "level", "seen", "advice"} for each in shown)


def test_in_memory_it_says_that_there_is_nothing():
    """In one sentence, and for programs as an empty list."""
    assert call("--store", "memory://").output == (
        "nothing to examine: this store has no database behind it\n"
    )
    assert call("--store", "memory://", "--json").output == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["--store", "nonsense"], 2, "is no store"),
        (["--store", "memory://", "--fail-on", "note"], 2, "--fail-on"),
        (["--store", "postgresql://anna:s3cret@127.0.0.1:1/shop"], 1, "unavailable"),
    ],
)
def test_a_mistake_is_answered_in_one_line(arguments, exit_code, says):
    """What a user can get wrong, and a database that is away."""
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert "s3cret" not in result.output


def test_a_database_that_is_away_is_an_error():
    """There is nobody to examine."""
    with pytest.raises(StoreUnavailable):
        examine("postgresql://nobody@127.0.0.1:1/nothing")


def test_what_people_see(capsys):
    """What is fine, and what is not with what to do."""
    show(
        [
            doctor.schema_version(7, 7, []),
            doctor.expired_leases([doctor.Waiting("mail.v1", HOUR, 12)]),
            doctor.oldest_run([doctor.Waiting("mail.v1", MINUTE)]),
            doctor.connections(85, 97, 3),
        ],
        is_json=False,
    )
    check_golden("doctor.txt", capsys.readouterr().out)


def test_the_operations_guide_lists_every_finding(url):
    """In the order in which they are shown."""
    guide = (ROOT / "docs/operations.md").read_text()
    section = re.split(r"^## Doctor$", guide, flags=re.MULTILINE)[1].split("\n## ")[0]
    listed = re.findall(r"^\| `([\w-]+)` \|", section, flags=re.MULTILINE)
    assert listed == [finding.name for finding in examine(url)]
