"""Migrations: they create, adopt and update the tables, whoever else asks at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import quote, urlsplit

import foreign
import pytest
from servers import schema_of, with_schema, without_schema
from workers import a_poller, run_once

from simpleworkflow import Client, IntentPoller, SchemaNotReady, StoreError, migrate, open_store
from simpleworkflow.core.records import Extension, Hold, Settlement, Verdict
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import Move

ALL = [
    "0001_tables",
    "0002_fence_and_history",
    "0003_history_without_foreign_key",
    "0004_crashes",
    "0005_schedules",
    "0006_retention",
    "0007_workers",
    "0008_key_scope",
]
LEASE = timedelta(seconds=30)


@pytest.fixture
def shared(server, database_url):
    """A database that programs in another language use, as they made it, and a connection to it."""
    schema = schema_of(database_url)
    with server.connect() as connection:
        connection.execute((foreign.TABLES + foreign.ROWS).format(schema=schema))

        def ask(sql, params=None):
            cursor = connection.execute(sql.format(schema=schema), params)
            return cursor.fetchall() if cursor.description else None

        yield ask


def indexes(ask):
    """The definitions of all indexes of the schema, by name."""
    return dict(ask("select indexname, indexdef from pg_indexes where schemaname = '{schema}'"))


def test_an_empty_database_gets_the_tables(database_url):
    """After migrate a submitted run is executed; a second migrate does nothing."""
    assert migrate(database_url) == ALL
    assert migrate(database_url) == []
    assert run_once(database_url) == "succeeded"


def test_pending_migrations_are_what_migrate_would_apply(database_url):
    """Their names and SQL are shown before, and nothing is left after."""
    store = open_store(database_url)
    pending = store.pending_migrations()
    assert [name for name, _ in pending] == ALL
    assert all(f'"{schema_of(database_url)}"' in sql for _, sql in pending)
    store.migrate()
    assert store.pending_migrations() == []
    store.close()


def test_pending_migrations_can_be_run_by_hand(server, database_url):
    """An administrator may send the shown SQL with any client."""
    store = open_store(database_url)
    with server.connect() as connection:
        for _, sql in store.pending_migrations():
            connection.execute(sql)
    store.check_schema()
    assert store.migrate() == []
    store.close()


def test_adoption_loses_and_rewrites_no_row(shared, database_url):
    """Rows of every status, events and schedules are the same afterwards, in the same place."""
    before = foreign.snapshot(shared)
    assert migrate(database_url) == ALL
    assert foreign.snapshot(shared) == before


def test_adoption_keeps_what_the_others_need(shared, database_url):
    """The plain unique index on the key stays, and every column keeps its type and default."""
    columns = (
        "select table_name, column_name, data_type, is_nullable, column_default "
        "from information_schema.columns where table_schema = '{schema}' order by 1, 2"
    )
    before = set(shared(columns))
    migrate(database_url)
    assert before <= set(shared(columns))
    unique = [d for d in indexes(shared).values() if "UNIQUE" in d and "(idempotency_key)" in d]
    assert len(unique) == 1
    assert " WHERE " not in unique[0]


def test_created_and_adopted_databases_have_the_same_columns(server, shared, database_url):
    """It makes no difference to a worker who made the tables."""
    columns = (
        "select table_name, column_name, data_type, is_nullable, column_default "
        "from information_schema.columns where table_schema = '{schema}' "
        "and table_name <> 'workflow_registry' order by 1, 2"
    )
    migrate(database_url)
    adopted = repr(shared(columns)).replace(schema_of(database_url), "S")
    with server.fresh_schema() as url, server.connect() as connection:
        migrate(url)
        found = connection.execute(columns.format(schema=schema_of(url))).fetchall()
        assert repr(found).replace(schema_of(url), "S") == adopted


def test_adopted_runs_are_executed(shared, database_url):
    """What was due is executed, by its schedule too; a foreign lease is respected until it runs
    out, then rescued.
    """
    migrate(database_url)
    done = []
    poller = a_poller(database_url, concurrency=2)
    poller.register_executor("%", lambda run: done.append(run.payload))
    poller.drain()
    # The rescued one is tried again at once, as its second attempt.
    assert sorted(map(repr, done)) == ["'4'", "{'a': [1]}", "{'n': 1}", "{}"]
    kept = shared(
        "select leased_by, status, attempt from {schema}.workflow_run where payload='[3]'"
    )
    assert kept == [("go-worker-7", "leased", 1)]
    crashed = shared(
        "select attempt, last_error from {schema}.workflow_run where payload = '\"4\"'"
    )
    assert crashed[0][0] == 1
    assert "go-worker-8" in crashed[0][1]


@pytest.mark.parametrize("existing", [False, True], ids=["empty", "adopting"])
def test_eight_threads_migrate_at_once(server, database_url, existing):
    """Each migration is applied by exactly one of them."""
    if existing:
        with server.connect() as connection:
            connection.execute(
                (foreign.TABLES + foreign.ROWS).format(schema=schema_of(database_url))
            )
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(migrate, [database_url] * 8))
    assert sorted(answers, key=len)[-1] == ALL
    assert [name for answer in answers for name in answer] == ALL


def test_four_processes_start_with_auto_migrate(database_url):
    """Workers that start together on an empty database all come up."""
    program = (
        "import sys; from simpleworkflow import IntentPoller\n"
        "p = IntentPoller(sys.argv[1], None, auto_migrate=True)\n"
        "p.register_executor('t.%', lambda run: None)\n"
        "print(p.drain())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, database_url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        for _ in range(4)
    ]
    for process in started:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.strip()) == (0, "0"), err


@pytest.mark.parametrize("form", ["search_path", "schema"])
def test_a_custom_schema_by_either_name(one_database_url, one_server, form):
    """`search_path` and its alias `schema` name the same thing."""
    url = one_database_url.replace("search_path", form)
    assert migrate(url) == ALL
    assert migrate(one_database_url) == []


def test_a_schema_is_folded_as_postgresql_folds_it(one_database_url):
    """Upper-case letters of an unquoted name mean the lower-case schema."""
    schema = schema_of(one_database_url)
    assert migrate(with_schema(one_database_url, schema.upper())) == ALL
    assert migrate(one_database_url) == []


def test_a_url_without_a_schema_means_workflow():
    """Nothing named is the schema `workflow`."""
    assert open_store("postgresql://h/d").address.schema == "workflow"
    assert open_store("postgresql://h/d?search_path=workflow").address.schema == "workflow"


def behind(connection, schema):
    connection.execute(
        f"delete from {schema}.workflow_migration where version = {int(ALL[-1][:4])}"
    )


def without_bookkeeping(connection, schema):
    connection.execute(f"drop table {schema}.workflow_migration")


def without_tables(connection, schema):
    connection.execute(f"drop schema {schema} cascade")


@pytest.mark.parametrize("damage", [behind, without_bookkeeping, without_tables])
def test_a_database_that_is_not_ready_names_the_command(server, database_url, damage):
    """A poller and a client stop with an error to act on; migrating again makes it good."""
    migrate(database_url)
    with server.connect() as connection:
        damage(connection, schema_of(database_url))
    command = f'simpleworkflow migrate "{urlsplit(database_url).scheme}://'
    poller = a_poller(database_url)
    poller.register_executor("t.v1", lambda run: None)
    with Client(database_url) as client:
        for use in (
            poller.start,
            poller.drain,
            lambda: client.submit("t.v1", {}),
            lambda: client.get("0b9d7c52-5a8e-4a9b-8f43-0d8a4c6d2f10"),
        ):
            with pytest.raises(SchemaNotReady) as caught:
                use()
            assert command in str(caught.value)
            assert f"search_path={schema_of(database_url)}" in str(caught.value)
            assert "auto_migrate=True" in str(caught.value)
        migrate(database_url)
        client.submit("t.v1", {})
    assert poller.drain() == 1


def test_auto_migrate_makes_the_tables(database_url):
    """A client or a poller that is told so needs no command before."""
    with Client(database_url, auto_migrate=True) as client:
        client.submit("t.v1", {})
    poller = IntentPoller(database_url, auto_migrate=True)
    poller.register_executor("t.v1", lambda run: None)
    assert poller.drain() == 1


def test_a_newer_database_is_fine(server, database_url):
    """During a rolling update workers of the version before go on."""
    migrate(database_url)
    with server.connect() as connection:
        connection.execute(
            f"insert into {schema_of(database_url)}.workflow_migration values (9999, 'future')"
        )
    assert run_once(database_url) == "succeeded"


@pytest.fixture
def role(server, database_url):
    """A role that may log in and owns the existing schema, and nothing more."""
    name = schema_of(database_url).replace("t_", "r_")
    with server.connect() as connection:
        database = connection.info.dbname
        connection.execute(f"create role {name} login password 'pw'")
        connection.execute(f"create schema {schema_of(database_url)} authorization {name}")
        yield name
        connection.execute(f"drop owned by {name} cascade")
        connection.execute(f'revoke all on database "{database}" from {name}')
        connection.execute(f"drop role {name}")


def as_role(url, name):
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{name}:{quote('pw')}@{host}").geturl()


def test_an_owner_of_the_schema_needs_no_right_on_the_database(server, database_url, role):
    """The schema may be made by an administrator and the tables by us."""
    url = as_role(database_url, role)
    assert migrate(url) == ALL
    assert run_once(url) == "succeeded"


def test_a_role_without_rights_is_told(server, database_url, role):
    """An error of the server is passed on, and nothing is left half done."""
    with server.connect() as connection:
        connection.execute(f"alter schema {schema_of(database_url)} owner to current_user")
    with pytest.raises(StoreError, match="permission denied"):
        migrate(as_role(database_url, role))
    assert migrate(database_url) == ALL


def test_the_others_statements_work_after_adoption(shared, database_url):
    """Their insert, claim, re-claim and settle do what they did before, new event types aside."""
    migrate(database_url)
    (first,) = shared(foreign.INSERT, ["go.task.v1", "{}", "same"])[0]
    assert shared(foreign.INSERT, ["go.task.v1", "{}", "same"]) == []
    assert shared(foreign.CLAIM, {"worker": "go-1", "pattern": "go.%"}) == [(first,)]
    assert shared(foreign.CLAIM, {"worker": "go-1", "pattern": "go.%"}) == []
    shared(foreign.EXPIRE, [first])
    assert shared(foreign.RECLAIM, {"worker": "go-2", "pattern": "go.%"}) == [(first,)]
    shared(foreign.SETTLE, {"id": first, "result": "{}"})
    with Client(database_url) as client:
        assert client.get(first).status == "succeeded"
        assert client.get(first).leased_by == "go-2"


def test_the_others_claim_what_we_submit_and_we_what_they_do(shared, database_url):
    """Both sides see the same queue, and each lease once."""
    migrate(database_url)
    with Client(database_url) as client:
        ours = client.submit("both.v1", {}).id
    theirs = shared(foreign.INSERT, ["both.v1", "{}", None])[0][0]
    assert shared(foreign.CLAIM, {"worker": "go", "pattern": "both.%"}) == [(ours,)]
    store = open_store(database_url)
    claims = store.claim(Route.of(["both.%"]), 10, "py", LEASE)
    assert [claim.run_id for claim in claims] == [theirs]
    store.close()


def test_a_run_they_took_over_is_lost_to_us(shared, database_url):
    """They do not raise the fence, yet our heartbeat and our outcome are refused."""
    migrate(database_url)
    store = open_store(database_url)
    run_id = shared(foreign.INSERT, ["both.v1", "{}", None])[0][0]
    (claim,) = store.claim(Route.of(["both.%"]), 10, "py", LEASE)
    shared(foreign.EXPIRE, [run_id])
    assert shared(foreign.RECLAIM, {"worker": "go", "pattern": "both.%"}) == [(run_id,)]
    assert store.extend([Extension(claim, LEASE)]) == [Hold.LOST]
    done = Settlement(claim, Move.SUCCEED, 0, result_json='"ours"')
    assert [answer.verdict for answer in store.settle([done])] == [Verdict.LOST]
    shared(foreign.SETTLE, {"id": run_id, "result": '"theirs"'})
    assert [answer.verdict for answer in store.settle([done])] == [Verdict.LOST]
    assert store.extend([Extension(claim, LEASE)]) == [Hold.LOST]
    assert store.get(run_id).result == "theirs"
    store.close()


def test_the_schema_of_a_url_is_not_sent_to_the_driver(one_database_url, one_server):
    """Other options of the URL are."""
    store = open_store(one_database_url)
    assert store.address.url == without_schema(one_database_url)
    store.close()
