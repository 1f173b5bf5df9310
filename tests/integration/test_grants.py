"""The SQL of `simpleworkflow grants`: each role can do its part by it, and nothing else."""

from __future__ import annotations

import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from servers import Server, schema_of, without_schema
from workers import AT_ONCE, PATIENCE, Seen, a_poller, met, until, working

from simpleworkflow import (
    Client,
    Operator,
    PermanentFailure,
    RetryAfter,
    RunNotFound,
    StoreError,
    UsageError,
    cli,
    grants,
    migrate,
    open_store,
)
from simpleworkflow.core.events import PollSucceeded
from simpleworkflow.core.routing import Route
from simpleworkflow.testing import FakeClock

PARTS = ["producer", "worker", "operator"]
LEASE = timedelta(seconds=30)
EVERYTHING = Route.of(["%"])

MAY_INSERT = {
    "producer": {
        "workflow_run": "id type payload priority run_at max_attempts idempotency_key headers"
        " key_while_active key_until created_at updated_at",
        "workflow_event": "workflow_id event_type data created_at",
        "workflow_schedule": "id type payload schedule timezone next_run_at enabled priority"
        " max_attempts catch_up headers created_at updated_at",
    },
    "worker": {
        # No id: it fires schedules, and submits nothing else.
        "workflow_run": "type payload priority run_at max_attempts idempotency_key headers"
        " created_at updated_at",
        "workflow_event": "workflow_id event_type data created_at",
        "workflow_worker": "*",
    },
    "operator": {
        "workflow_run": "id type payload priority run_at max_attempts idempotency_key headers"
        " created_at updated_at",
        "workflow_event": "workflow_id event_type data created_at",
        "workflow_schedule": "*",
    },
}
MAY_UPDATE = {
    "producer": {
        "workflow_run": "status lease_until updated_at idempotency_key former_key",
        "workflow_schedule": "type payload schedule timezone next_run_at enabled priority"
        " max_attempts catch_up headers updated_at deleted_at",
    },
    "worker": {
        "workflow_run": "status run_at attempt leased_by lease_until fence crashes last_error"
        " result updated_at",
        "workflow_schedule": "next_run_at last_run_at updated_at",
        "workflow_worker": "patterns seen_at clock",
    },
    "operator": {
        "workflow_run": "status priority run_at attempt max_attempts leased_by lease_until fence"
        " last_error updated_at deleted_at",
        "workflow_schedule": "*",
    },
}
MAY_SELECT = {
    "producer": {
        "workflow_run": "*",
        "workflow_event": "*",
        "workflow_migration": "version",
        "workflow_schedule": "*",
    },
    "worker": {
        "workflow_run": "*",
        "workflow_event": "*",
        "workflow_migration": "version",
        "workflow_schedule": "*",
        "workflow_worker": "*",
    },
    "operator": {
        "workflow_run": "*",
        "workflow_event": "*",
        "workflow_migration": "*",
        "workflow_schedule": "*",
        "workflow_worker": "*",
    },
}
MAY_DELETE = {
    "producer": set(),
    "worker": {"workflow_worker"},
    "operator": {"workflow_run", "workflow_schedule"},
}

FOR_THE_OWNER = [
    "truncate {schema}.workflow_run",
    "truncate {schema}.workflow_event",
    "truncate {schema}.workflow_schedule",
    "truncate {schema}.workflow_migration",
    "truncate {schema}.workflow_worker",
    "drop table {schema}.workflow_run cascade",
    "drop schema {schema} cascade",
    "drop function {schema}.workflow_delete_history() cascade",
    "drop trigger workflow_delete_history on {schema}.workflow_run",
    "drop index {schema}.idx_workflow_run_pending",
    "alter table {schema}.workflow_run add column more text",
    "alter table {schema}.workflow_run disable trigger all",
    "alter table {schema}.workflow_run owner to current_user",
    "alter table {schema}.workflow_run enable row level security",
    "create table {schema}.mine (id int)",
    "create index on {schema}.workflow_run (status)",
    "create function {schema}.mine() returns int language sql as 'select 1'",
    "alter function {schema}.workflow_delete_history() security invoker",
    "create rule mine as on insert to {schema}.workflow_run do instead nothing",
    "lock table {schema}.workflow_migration in access exclusive mode",
    "select setval('{schema}.workflow_event_id_seq', 1)",
    "select * from {schema}.workflow_event_id_seq",
]
FOR_THE_ADMINISTRATOR = [
    "set role {owner}",
    "set session authorization {owner}",
    "create role mine",
    "select pg_read_file('/etc/passwd')",
    "copy (select 1) to program 'true'",
]


class Staff:
    """A schema with its tables, and three roles that have the rights that are printed for them.

    Args:
        server: where they are.
        url: of the schema, by the owner.
    """

    def __init__(self, server: Server, url: str) -> None:
        migrate(url)
        self.url = url
        self.schema = schema_of(url)
        self.roles = {part: f"{part}_{uuid.uuid4().hex[:12]}" for part in PARTS}
        self.owner = server.connect()
        self.owner.execute(grants(self.schema, **self.roles).encode())
        for role in self.roles.values():
            self.owner.execute(f"alter role {role} password 'less-is-more'".encode())

    def url_of(self, part: str, driver: str = "psycopg") -> str:
        """The URL by which this role logs in."""
        return login(self.url, self.roles[part]).replace("postgresql:", f"postgresql+{driver}:")

    def connect(self, part: str) -> psycopg.Connection[Any]:
        """A session of this role, for bare SQL."""
        return psycopg.connect(without_schema(self.url_of(part).replace("+psycopg", "")))

    def columns(self) -> list[tuple[str, str, str]]:
        """Every column there is: its table, its name, its type."""
        return self.owner.execute(
            "select table_name, column_name, udt_name from information_schema.columns"
            " where table_schema = %s order by 1, ordinal_position",
            [self.schema],
        ).fetchall()

    def close(self) -> None:
        """Take the roles away again."""
        for role in self.roles.values():
            drop_role(self.owner, role)
        self.owner.close()


def login(url: str, role: str) -> str:
    """The URL by which a role of ours logs in."""
    parts = urlsplit(url)
    netloc = f"{quote(role, safe='')}:less-is-more@{parts.netloc.rpartition('@')[2]}"
    return parts._replace(netloc=netloc).geturl()


def drop_role(owner: psycopg.Connection[Any], role: str) -> None:
    """Drop a role with all its rights."""
    for statement in ("drop owned by {}", "drop role {}"):
        owner.execute(sql.SQL(statement).format(sql.Identifier(role)))


@pytest.fixture
def staff(server: Server, database_url: str) -> Iterator[Staff]:
    """Three roles, on each real server in turn."""
    with closing(Staff(server, database_url)) as staff:
        yield staff


@pytest.fixture(params=["psycopg", "pg8000"])
def driver(request: pytest.FixtureRequest) -> str:
    """The name of each driver in turn."""
    if request.param == "pg8000":
        pytest.importorskip("pg8000")
    return str(request.param)


def allowed(columns: str, column: str) -> bool:
    """Whether a list of columns has this one."""
    return columns == "*" or column in columns.split()


def is_refused(connection: psycopg.Connection[Any], statement: str) -> bool:
    """Whether the server refuses a statement for want of a right; it has no effect in any case."""
    try:
        connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return True
    finally:
        connection.rollback()
    return False


# What each role is for


def test_a_producer_submits_in_a_transaction_of_its_own(staff):
    """By its own connection, with a key that is taken; the client's store is not asked."""
    with Client(staff.url) as client, staff.connect("producer") as connection:
        first = client.submit("a.b.v1", {}, idempotency_key="k", connection=connection)
        again = client.submit("a.b.v1", {}, idempotency_key="k", connection=connection)
        assert (first.created, again.created, again.id) == (True, False, first.id)
        connection.commit()
        assert client.get(first.id).type == "a.b.v1"


def test_who_may_not_submit_may_not_by_a_connection_either(staff):
    """The refusal names the command, as any other."""
    with Client(staff.url) as client, staff.connect("worker") as connection:
        with pytest.raises(StoreError, match="`simpleworkflow grants` prints"):
            client.submit("a.b.v1", {}, connection=connection)
        connection.rollback()


def test_a_producer_and_a_worker_bring_runs_to_every_end(staff, driver):
    """Success, retries, failure, a cancel before and during work, keys that are taken."""
    poller = a_poller(staff.url_of("worker", driver), retry_policy=AT_ONCE)
    with Client(staff.url_of("producer", driver), auto_migrate=True) as client:

        def fail_first(run: Any) -> None:
            if run.attempt == 0:
                raise RetryAfter(0)

        def fail(run: Any) -> None:
            raise PermanentFailure("never")

        def cancel_itself(run: Any) -> dict[str, bool]:
            client.cancel(run.id)
            return {"done": run.is_cancelled()}

        poller.register_executor("good.v1", lambda run: run.heartbeat(60))
        poller.register_executor("again.v1", fail_first)
        poller.register_executor("bad.v1", fail)
        poller.register_executor("cancelled.v1", cancel_itself)
        kinds = ["good", "again", "bad", "cancelled"]
        ids = [client.submit(f"{kind}.v1", {"a": 1}, headers={"b": 2}).id for kind in kinds]
        waiting = client.submit("good.v1", {}, delay=3600).id
        assert client.cancel(waiting)
        many = client.submit_many(
            [{"type": "good.v1", "payload": n, "idempotency_key": f"{n % 2}"} for n in range(4)]
        )
        assert [answer.created for answer in many] == [True, True, False, False]
        assert many[2].id == many[0].id

        assert poller.drain(PATIENCE) == 7
        ends = {client.get(id_).type: client.get(id_).status for id_ in ids}
        assert ends == {
            "good.v1": "succeeded",
            "again.v1": "succeeded",
            "bad.v1": "failed",
            "cancelled.v1": "cancelled",
        }
        histories = [[event.type for event in client.events(id_)] for id_ in [*ids, waiting]]
    assert histories == [
        ["created", "leased", "succeeded"],
        ["created", "leased", "retried", "leased", "succeeded"],
        ["created", "leased", "failed"],
        ["created", "leased", "cancelled", "discarded"],
        ["created", "cancelled"],
    ]


def test_a_producer_takes_over_a_key_and_waits_for_a_result(staff, driver):
    """A key whose run has ended, in a submit of one and of several; and what came of it."""
    poller = a_poller(staff.url_of("worker", driver))
    poller.register_executor("a.b.v1", lambda run: run.payload)
    run = {"type": "a.b.v1", "payload": 7, "idempotency_key": "k", "key_scope": "active"}
    with Client(staff.url_of("producer", driver)) as client, working(poller):
        for _ in range(2):
            again = client.submit_many([run, run])
            assert [answer.created for answer in again] == [True, False]
            assert client.result(again[0].id, PATIENCE) == 7
            answer = client.submit(**run)
            assert answer.created
            assert client.result(answer.id, PATIENCE) == 7


def test_a_worker_takes_over_from_a_dead_one(staff, driver):
    """The lease of the first runs out, and the second brings the run to its end."""
    with Client(staff.url_of("producer", driver)) as client:
        run_id = client.submit("a.b.v1", {}).id
        clock = FakeClock(client.get(run_id).run_at)
        with closing(open_store(staff.url_of("worker", driver), clock=clock)) as store:
            assert len(store.claim(EVERYTHING, 1, "dead", LEASE)) == 1
            clock.advance(2 * LEASE)
            poller = a_poller(store)
            poller.register_executor("a.b.v1", lambda run: None)
            poller.drain(PATIENCE)
        events = [event.type for event in client.events(run_id)]
    assert events == ["created", "leased", "rescued", "retried", "leased", "succeeded"]


def test_a_worker_without_the_right_to_announce_itself_works_all_the_same(staff, driver, caplog):
    """As where rights were granted before there was a roster; the log names the command, once."""
    role = staff.roles["worker"]
    staff.owner.execute(f"revoke all on {staff.schema}.workflow_worker from {role}".encode())
    poller = a_poller(staff.url_of("worker", driver))
    poller.register_executor("a.b.v1", lambda run: until(lambda: "announcing" in caplog.text))
    with Client(staff.url_of("producer", driver)) as client:
        run_id = client.submit("a.b.v1", {}).id
        assert poller.drain(PATIENCE) == 1
        assert client.get(run_id).status == "succeeded"
    said = [line for line in map(logging.LogRecord.getMessage, caplog.records) if "ann" in line]
    assert len(said) == 1
    assert "`simpleworkflow grants` prints" in said[0]


def test_a_producer_wakes_an_idle_worker(staff, driver):
    """Neither listening nor notifying takes a right."""
    seen, began = Seen(), threading.Event()
    url = staff.url_of("worker", driver)
    poller = a_poller(url, poll_interval=3600, observers=[seen])
    poller.register_executor("a.b.v1", lambda run: began.set())
    with Client(staff.url_of("producer", driver)) as client, working(poller):
        # The first time it finds nothing it begins to listen, and looks once more.
        seen.wait(PollSucceeded, 2)
        client.submit("a.b.v1", {})
        met(began)


def test_an_operator_reads_cancels_sets_back_and_deletes(staff, driver):
    """What a person on duty does, by the library and by SQL."""
    with Client(staff.url_of("producer", driver)) as client:
        bad, old, wanted = (client.submit("a.b.v1", {}).id for _ in range(3))
    poller = a_poller(staff.url_of("worker", driver), retry_policy=AT_ONCE)
    poller.register_executor("a.b.v1", lambda run: 1 / (run.attempt - run.attempt))
    with Client(staff.url_of("operator", driver)) as client:
        assert client.cancel(wanted)
        poller.drain(PATIENCE)
        assert client.get(bad).status == "failed"
        assert client.events(old)[-1].type == "failed"
        with closing(open_store(staff.url_of("operator", driver))) as store:
            assert len(store.runs(EVERYTHING, 10)) == 3
        with staff.connect("operator") as connection:
            connection.execute(
                f"update {staff.schema}.workflow_run set status = 'pending', attempt = 0,"
                " max_attempts = 5, priority = 1, run_at = now(), leased_by = null,"
                " lease_until = null, last_error = null, updated_at = now() where id = %s",
                [bad],
            )
            connection.execute(f"delete from {staff.schema}.workflow_run where id = %s", [old])
            connection.execute(
                f"update {staff.schema}.workflow_run set deleted_at = now() where id = %s", [wanted]
            )
            connection.execute(
                f"insert into {staff.schema}.workflow_schedule (type, schedule, next_run_at)"
                " values ('a.b.v1', '* * * * *', now())"
            )
            connection.execute(f"update {staff.schema}.workflow_schedule set enabled = false")
            connection.execute(f"delete from {staff.schema}.workflow_schedule")
        assert client.get(bad).status == "pending"
        assert client.events(old) == []
        with pytest.raises(RunNotFound):
            client.get(wanted)


@pytest.mark.parametrize("part", ["producer", "operator"])
def test_who_manages_schedules_makes_and_changes_them_and_a_worker_fires_them(staff, driver, part):
    """Each by its own rights, and no other's."""
    with Client(staff.url_of(part, driver)) as client:
        made = client.schedules.create("a.b.v1", {"n": 1}, cron="0 9 * * 1", headers={"h": 1})
        client.schedules.pause(made.id)
        client.schedules.update(made.id, payload={"n": 2}, cron="* * * * *", catch_up="all")
        due = client.schedules.resume(made.id).next_run_at
        with closing(
            open_store(staff.url_of("worker", driver), clock=FakeClock(due + 2 * LEASE))
        ) as store:
            poller = a_poller(store)
            poller.register_executor("a.b.v1", lambda run: run.payload)
            assert poller.drain(PATIENCE) == 2
        extra = client.schedules.run_now(made.id).id
        assert client.get(extra).payload == {"n": 2}
        assert client.schedules.get(made.id).last_run_at == due + 2 * LEASE
        client.schedules.delete(made.id)
        assert client.schedules.list() == []


def test_an_operator_finds_retries_deletes_counts_and_purges(staff, driver):
    """The whole of Operator takes no other right."""
    with Client(staff.url_of("producer", driver)) as client:
        bad, done = (client.submit(f"{kind}.v1", {}, max_attempts=1).id for kind in ("bad", "good"))
    poller = a_poller(staff.url_of("worker", driver))
    poller.register_executor("bad.v1", lambda run: 1 / run.attempt)
    poller.register_executor("good.v1", lambda run: None)
    poller.drain(PATIENCE)
    with Operator(staff.url_of("operator", driver)) as operator:
        assert [run.id for run in operator.find(statuses="failed")] == [bad]
        assert operator.stats()[0].failed_last_hour == 1
        assert operator.retry([bad])[0].done
        assert [run.id for run in operator.find(statuses="pending")] == [bad]
        assert operator.delete([done])[0].done
        assert operator.cancel([bad])[0].done
        assert operator.purge(1e-6) == 2
        assert operator.find() == []
    events = f"select count(*) from {staff.schema}.workflow_event"
    assert staff.owner.execute(events.encode()).fetchone() == (0,)


def eventually(happened: Callable[[], object]) -> bool:
    """Whether it happens within fifteen seconds."""
    never = threading.Event()
    return any(happened() or never.wait(0.05) for _ in range(300))


def test_a_worker_with_a_retention_is_an_operator_too(staff, driver, caplog):
    """With its own part alone it says that it may not, and works on; with both it deletes."""

    def work_until(happened: Callable[[], object]) -> bool:
        done = threading.Event()
        poller = a_poller(staff.url_of("worker", driver), retention=1)
        poller.register_executor("a.b.v1", lambda run: done.set())
        with working(poller):
            client.submit("a.b.v1", {})
            met(done)
            return eventually(happened)

    with Client(staff.url_of("producer", driver)) as client, Operator(staff.url) as operator:
        client.cancel(client.submit("a.b.v1", {}).id)
        assert work_until(lambda: "deleting old runs fails" in caplog.text)
        assert "may not do that" in caplog.text
        assert len(operator.find()) == 2
        staff.owner.execute(grants(staff.schema, operator=staff.roles["worker"]).encode())
        assert work_until(lambda: not operator.find())


def test_one_role_may_have_several_parts(server, database_url):
    """A worker whose executors submit runs is a producer too."""
    migrate(database_url)
    role = f"both_{uuid.uuid4().hex[:12]}"
    with server.connect() as owner:
        owner.execute(grants(schema_of(database_url), producer=role, worker=role).encode())
        owner.execute(f"alter role {role} password 'less-is-more'".encode())
        try:
            url = login(database_url, role)
            poller = a_poller(url)
            with Client(url) as client:
                poller.register_executor("first.v1", lambda run: client.submit("second.v1", {}).id)
                poller.register_executor("second.v1", lambda run: None)
                client.submit("first.v1", {})
                assert poller.drain(PATIENCE) == 2
        finally:
            drop_role(owner, role)


# What is refused


@pytest.mark.parametrize("part", PARTS)
def test_each_column_is_for_whom_it_is_meant(staff, part):
    """Each column of each table, read, inserted and updated: the lists above are all there is."""
    found = {"select": [], "insert": [], "update": []}
    meant = {"select": [], "insert": [], "update": []}
    with staff.connect(part) as connection:
        for table, column, kind in staff.columns():
            place = f"{staff.schema}.{table}"
            statements = {
                "select": f'select "{column}" from {place}',
                "insert": f'insert into {place} ("{column}") select null::{kind} where false',
                "update": f'update {place} set "{column}" = null where false',
            }
            lists = {"select": MAY_SELECT, "insert": MAY_INSERT, "update": MAY_UPDATE}
            for verb, statement in statements.items():
                if not is_refused(connection, statement):
                    found[verb].append((table, column))
                if allowed(lists[verb][part].get(table, ""), column):
                    meant[verb].append((table, column))
    assert found == meant


@pytest.mark.parametrize("part", PARTS)
def test_each_row_is_deleted_by_whom_it_is_meant(staff, part):
    """Runs by operators, and no history but with its run."""
    tables = {table for table, _, _ in staff.columns()}
    with staff.connect(part) as connection:
        found = {
            table
            for table in tables
            if not is_refused(connection, f"delete from {staff.schema}.{table} where false")
        }
    assert found == MAY_DELETE[part]


@pytest.mark.parametrize("part", PARTS)
def test_what_is_for_the_owner_is_refused_to_all_others(staff, part):
    """To empty, drop, alter or create anything, to become somebody else, to leave the database."""
    owner = staff.owner.execute("select quote_ident(current_user)").fetchone()[0]
    texts = FOR_THE_OWNER + FOR_THE_ADMINISTRATOR
    statements = [text.format(schema=staff.schema, owner=owner) for text in texts]
    with staff.connect(part) as connection:
        assert [each for each in statements if not is_refused(connection, each)] == []


def test_the_owner_may_do_it(staff):
    """What was refused was so for want of a right, and not for another reason."""
    with psycopg.connect(without_schema(staff.url)) as owner:
        for text in FOR_THE_OWNER:
            owner.execute(text.format(schema=staff.schema).encode())
            owner.rollback()


def refused_calls(staff: Staff, part: str, driver: str) -> Iterator[Any]:
    """What each role cannot do by the library."""
    client = Client(staff.url_of(part, driver))
    store = open_store(staff.url_of(part, driver))
    if part == "worker":
        yield lambda: client.schedules.create("a.b.v1", {}, cron="0 9 * * 1")
        yield lambda: client.submit("a.b.v1", {})
        yield lambda: client.submit_many([{"type": "a.b.v1", "payload": {}}])
    if part == "producer":
        yield lambda: store.claim(EVERYTHING, 1, "w", LEASE)
        yield lambda: store.rescue(EVERYTHING, 1, "w", LEASE)
    yield lambda: migrate(staff.url_of(part, driver), notify_trigger=True)
    operator = Operator(store)
    if part != "operator":
        yield lambda: operator.delete([str(uuid.uuid4())])
        yield lambda: operator.purge(1)
    if part == "producer":
        yield lambda: operator.retry([str(uuid.uuid4())])
    client.close()
    store.close()


@pytest.mark.parametrize("part", PARTS)
def test_a_refused_call_says_so_in_one_sentence(staff, driver, part):
    """It names the database, the server's words and the command; and tells no password."""
    for call in refused_calls(staff, part, driver):
        with pytest.raises(StoreError) as told:
            call()
        words = str(told.value)
        assert re.search(
            r"/\w+\?search_path=t_\w+ may not do that: (permission denied|must be)", words
        )
        assert "`simpleworkflow grants` prints" in words
        assert "less-is-more" not in words
        assert "\n" not in words


# What is printed


def test_the_command_prints_what_the_function_returns():
    """Those that are named, or all three by default names; without a database."""
    for arguments, sql_text in [
        ([], grants()),
        (["--schema", "jobs"], grants("jobs")),
        (["--worker", "w"], grants(worker="w")),
        (
            ["--schema", "jobs", "--producer", "p", "--worker", "w", "--operator", "o"],
            grants("jobs", producer="p", worker="w", operator="o"),
        ),
    ]:
        result = CliRunner().invoke(cli.main, ["grants", *arguments])
        assert (result.exit_code, result.stdout) == (0, sql_text)
        in_json = CliRunner().invoke(cli.main, ["grants", "--json", *arguments])
        assert (in_json.exit_code, json.loads(in_json.stdout)) == (0, {"sql": sql_text})


def grantees(text: str) -> set[str]:
    """The roles to whom something is granted."""
    return set(re.findall(r'to "([^"]*)";$', text, re.MULTILINE))


def test_only_the_named_roles_are_printed():
    """And all three when none is, by the names of their schema and part."""
    assert grantees(grants(worker="w")) == {"w"}
    assert grantees(grants("jobs", producer="p", operator="o")) == {"p", "o"}
    assert grantees(grants()) == {"workflow_producer", "workflow_worker", "workflow_operator"}
    assert grantees(grants("jobs")) == {"jobs_producer", "jobs_worker", "jobs_operator"}
    assert '"workflow"' not in grants("jobs")


def test_it_may_be_run_again_by_an_owner_who_cannot_create_roles(staff):
    """The owner of the tables need not be a superuser once the roles are there."""
    text = grants(staff.schema, **staff.roles)
    name = f"owner_{uuid.uuid4().hex[:12]}"
    staff.owner.execute(f"create role {name}".encode())
    me = staff.owner.execute("select quote_ident(current_user)").fetchone()[0]
    try:
        staff.owner.execute(f"alter schema {staff.schema} owner to {name}".encode())
        for table in {table for table, _, _ in staff.columns()}:
            staff.owner.execute(f"alter table {staff.schema}.{table} owner to {name}".encode())
        staff.owner.execute(f"set role {name}".encode())
        for _ in range(2):
            staff.owner.execute(text.encode())
    finally:
        staff.owner.execute(b"reset role")
        staff.owner.execute(f"reassign owned by {name} to {me}".encode())
        drop_role(staff.owner, name)


@pytest.mark.parametrize(
    "name",
    [
        'x" superuser; drop schema {schema} cascade; --',
        "O'Brien",
        "$$; select 1; $$",
        "{schema}{role}{each}",
        "back\\slash\\",
        ":name %s %(name)s",
        "App Web",
        "ops@example.org",
        "current_user",
        "sélect",
        "x" * 63,
    ],
)
def test_a_role_of_any_name_gets_its_rights(server, database_url, name):
    """Whatever letters it has, it is that role and no other, and no more than a name."""
    migrate(database_url)
    schema = schema_of(database_url)
    with server.connect() as owner:
        before = owner.execute("select count(*) from pg_roles").fetchone()[0]
        owner.execute(grants(schema, producer=name).encode())
        try:
            owner.execute(
                sql.SQL("alter role {} password 'less-is-more'").format(sql.Identifier(name))
            )
            with Client(login(database_url, name)) as client:
                assert client.submit("a.b.v1", {}).created
            after = owner.execute("select count(*) from pg_roles").fetchone()[0]
            assert after == before + 1
            is_super = "select rolsuper from pg_roles where rolname = %s"
            assert owner.execute(is_super, [name]).fetchone() == (False,)
        finally:
            drop_role(owner, name)


@pytest.mark.parametrize(
    "name",
    ["", "public", "none", "pg_mine", "a\nb", "a\0b", "x" * 64, "é" * 32, "\ud800", "\u202e"],
)
def test_a_name_that_no_role_can_have_is_refused(name):
    """Before anything is printed, in one sentence that says for whom."""
    for part in PARTS:
        with pytest.raises(UsageError, match=f"^{part}=.* must name a role: "):
            grants(**{part: name})


@pytest.mark.parametrize("name", ["", "a-b", 'a"b', "pg_catalog", "a; drop", '""', "x" * 64])
def test_a_name_that_no_schema_of_ours_can_have_is_refused(name):
    """By the rule of the URL's search_path."""
    with pytest.raises(UsageError, match=r"^schema=.* must name one schema: "):
        grants(name)


def test_a_schema_is_read_as_in_a_url():
    """In lower case unless it is quoted, and a word of SQL is a name like any other."""
    assert 'on schema "order" to' in grants("Order")
    assert 'on schema "order" to' in grants('"order"')
