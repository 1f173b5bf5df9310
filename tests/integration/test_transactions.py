"""Submitting in the caller's transaction, by the connections of every library that has them."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any

import attrs
import psycopg
import pytest
from callers import KINDS, Caller, calling, login, use_in_django, wait_for_a_lock
from documents import ROOT, blocks_in
from proxy import Proxy
from schemas import Schemas
from servers import Server, with_schema
from strangers import new_database
from workers import PATIENCE, Seen, a_poller, met, working

from simpleworkflow import (
    Client,
    RunNotFound,
    SchemaNotReady,
    SimpleWorkflowError,
    StoreUnavailable,
    Submitted,
    UsageError,
    migrate,
)
from simpleworkflow.backends.postgres.callers import _marked
from simpleworkflow.backends.postgres.url import parse_url
from simpleworkflow.backends.postgres.wakeup import channel
from simpleworkflow.core.errors import NotStorable, StoreConflict
from simpleworkflow.core.events import PollSucceeded

AWKWARD = {"text": "100 % :n %s %(n)s $1 ? \\ ' \" {} é ☃ 😀", "n": [1, 2.5, None, True]}
SECRET = "hunter2"


@pytest.fixture(scope="module")
def schemas(_running: None) -> Iterator[Schemas]:
    """One schema for each server."""
    with Schemas() as made:
        yield made


@pytest.fixture
def url(server: Server, schemas: Schemas) -> str:
    """The URL of tables that are there and empty."""
    return schemas.empty(server)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """A client of these tables."""
    with Client(url) as client:
        yield client


@pytest.fixture(params=KINDS)
def caller(request: pytest.FixtureRequest, url: str) -> Iterator[Caller]:
    """A program of each kind in turn, with a table of its own."""
    with calling(request.param, url) as caller:
        caller.execute(f"drop table if exists {_table(url)}")
        caller.execute(f"create table {_table(url)} (item text)")
        caller.commit()
        yield caller
        caller.rollback()


class Listener:
    """Listens as our workers do."""

    def __init__(self, url: str) -> None:
        address = parse_url(url)
        self._channel = channel(address.schema)
        self._sender = psycopg.connect(address.url, autocommit=True)
        self._listener = psycopg.connect(address.url, autocommit=True)
        self._listener.execute(f"listen {self._channel}")

    def count(self) -> int:
        """Say how many notifications came since the last time.

        Notifications come in the order of the commits, so that one of our own ends the count.
        """
        self._sender.execute(f"notify {self._channel}, 'end'")
        for count, notification in enumerate(self._listener.notifies(timeout=PATIENCE)):
            if notification.payload == "end":
                return count
        raise AssertionError("the notification that ends the count did not come")

    def close(self) -> None:
        """Disconnect."""
        self._sender.close()
        self._listener.close()


@pytest.fixture
def listener(url: str) -> Iterator[Listener]:
    """A listener on the database."""
    with closing(Listener(url)) as listener:
        yield listener


def _table(url: str) -> str:
    return f"{parse_url(url).quoted_schema}.item"


def add(caller: Caller, url: str, item: str) -> None:
    """Write a row of the caller's own."""
    caller.execute(f"insert into {_table(url)} values ('{item}')")


def found(url: str, what: str) -> list[Any]:
    """What another session sees, one column of it."""
    with psycopg.connect(parse_url(url).url) as connection:
        schema = parse_url(url).quoted_schema
        query = f"set search_path to {schema}; select {what}"
        cursor = connection.execute(query.encode())
        assert cursor.nextset()
        return sorted(row[0] for row in cursor)


def is_there(client: Client, run_id: str) -> bool:
    """Whether others see the run."""
    try:
        client.get(run_id)
    except RunNotFound:
        return False
    return True


# What a transaction is for


def test_a_commit_submits(caller, client, url):
    """Two submits, a batch and a row of the caller's own are there together, and are executed."""
    add(caller, url, "book")
    sent = [client.submit("shop.ship.v1", {"n": n}, connection=caller.connection) for n in (0, 1)]
    sent += client.submit_many(
        [{"type": "shop.ship.v1", "payload": {"n": n}} for n in (2, 3, 4)],
        connection=caller.connection,
    )
    assert [each.created for each in sent] == [True] * 5
    assert not any(is_there(client, each.id) for each in sent)
    assert found(url, "item from item") == []
    caller.commit()
    assert found(url, "item from item") == ["book"]
    done = []
    poller = a_poller(url)
    poller.register_executor("shop.%", lambda run: done.append(run.payload["n"]))
    assert poller.drain(PATIENCE) == 5
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert [event.type for event in client.events(sent[0].id)] == ["created", "leased", "succeeded"]


def test_a_rollback_leaves_nothing(caller, client, url):
    """No run, no event, no row, and the key is free."""
    add(caller, url, "book")
    client.submit("shop.ship.v1", {}, idempotency_key="k", connection=caller.connection)
    client.submit_many([{"type": "a.v1", "payload": 1}] * 2, connection=caller.connection)
    caller.rollback()
    assert found(url, "item from item") == []
    assert found(url, "id from workflow_run") == []
    assert found(url, "id from workflow_event") == []
    assert client.submit("shop.ship.v1", {}, idempotency_key="k").created


def test_a_savepoint_takes_back_what_came_after_it(caller, client, url):
    """And nothing that came before."""
    kept = client.submit("shop.ship.v1", {}, connection=caller.connection)
    caller.execute("savepoint here")
    gone = client.submit("shop.ship.v1", {}, connection=caller.connection)
    add(caller, url, "book")
    caller.execute("rollback to savepoint here")
    caller.commit()
    assert (is_there(client, kept.id), is_there(client, gone.id)) == (True, False)
    assert found(url, "item from item") == []


def test_a_commit_wakes_and_nothing_before(caller, client, listener):
    """One word for the whole transaction; none for one that is undone or due later."""
    for _ in range(3):
        client.submit("shop.ship.v1", {}, connection=caller.connection)
    assert listener.count() == 0
    caller.commit()
    assert listener.count() == 1
    client.submit("shop.ship.v1", {}, connection=caller.connection)
    caller.rollback()
    client.submit("shop.ship.v1", {}, delay=60, connection=caller.connection)
    caller.commit()
    assert listener.count() == 0


def test_an_idle_worker_starts_at_the_commit(url, client):
    """One that would look again in an hour."""
    seen, begun = Seen(), threading.Event()
    poller = a_poller(url, poll_interval=3600, observers=[seen])
    poller.register_executor("shop.%", lambda run: begun.set())
    with working(poller), calling("psycopg", url) as caller:
        # The first time it finds nothing it begins to listen, and looks once more.
        seen.wait(PollSucceeded, 2)
        client.submit("shop.ship.v1", {}, connection=caller.connection)
        assert not begun.is_set()
        caller.commit()
        met(begun)


def test_keys_answer_within_the_transaction(caller, client):
    """With the run that has the key: of this transaction, or committed before."""
    before = client.submit("shop.ship.v1", {}, idempotency_key="before")
    first = client.submit("shop.ship.v1", {}, idempotency_key="k", connection=caller.connection)
    again = client.submit("shop.ship.v1", {}, idempotency_key="k", connection=caller.connection)
    many = client.submit_many(
        [
            {"type": "a.v1", "payload": 1, "idempotency_key": key}
            for key in ("k", "before", "new", "new")
        ],
        connection=caller.connection,
    )
    assert first.created
    assert again == Submitted(first.id, created=False)
    new = many[2].id
    assert many == [
        Submitted(first.id, False),
        Submitted(before.id, False),
        Submitted(new, True),
        Submitted(new, False),
    ]
    caller.commit()
    assert client.submit("a.v1", {}, idempotency_key="k") == Submitted(first.id, created=False)


def test_a_run_is_as_it_was_given(caller, client):
    """Letter by letter what a plain submit makes of it, alone and in a batch."""
    options: dict[str, Any] = {
        "priority": -3,
        "run_at": datetime(2031, 2, 3, 4, 5, 6, 789, tzinfo=UTC),
        "max_attempts": 7,
        "headers": AWKWARD,
    }
    key = str(AWKWARD["text"])
    plain = client.submit("shop.ship.v1", AWKWARD, idempotency_key=key + "0", **options)
    one = client.submit(
        "shop.ship.v1",
        AWKWARD,
        idempotency_key=key + "1",
        connection=caller.connection,
        **options,
    )
    run = {"type": "shop.ship.v1", "payload": AWKWARD, **options}
    many = client.submit_many(
        [run | {"idempotency_key": key + n} for n in "23"], connection=caller.connection
    )
    caller.commit()
    expected = client.get(plain.id)
    assert (expected.payload, expected.headers) == (AWKWARD, AWKWARD)
    for n, sent in enumerate([one, *many], 1):
        found = client.get(sent.id)
        assert found.idempotency_key == key + str(n)
        own = {
            name: getattr(expected, name)
            for name in ("id", "idempotency_key", "created_at", "updated_at")
        }
        assert attrs.evolve(found, **own) == expected


def test_a_delay_counts_from_the_transaction(caller, client):
    """Alone and in a batch, to the microsecond."""
    sent = [client.submit("a.v1", {}, delay=0.25, connection=caller.connection)]
    sent += client.submit_many(
        [{"type": "a.v1", "payload": 1, "delay": 1e-6}] * 2, connection=caller.connection
    )
    caller.commit()
    runs = [client.get(each.id) for each in sent]
    waits = [(run.run_at - run.created_at).total_seconds() for run in runs]
    assert waits == [0.25, 1e-6, 1e-6]


# Whose connection it is


def test_nothing_but_the_callers_connection_is_used(caller, url):
    """Not even where the client's own database cannot be reached."""
    nowhere = url.replace(str(parse_url(url).parameters()["port"]), "1")
    with Client(nowhere) as client:
        first = client.submit("a.v1", {}, idempotency_key="k", connection=caller.connection)
        again = client.submit("a.v1", {}, idempotency_key="k", connection=caller.connection)
        with pytest.raises(StoreUnavailable):
            client.get(first.id)
    caller.commit()
    assert again == Submitted(first.id, created=False)
    assert [str(id_) for id_ in found(url, "id from workflow_run")] == [first.id]


@pytest.mark.parametrize("kind", ["psycopg", "pg8000", "django"])
def test_without_a_transaction_it_is_submitted_at_once(url, client, kind):
    """As every statement of a connection in autocommit."""
    from django.db import connection
    from pg8000.native import Connection

    use_in_django(url)
    opened = {
        "psycopg": lambda: psycopg.connect(parse_url(url).url, autocommit=True),
        "pg8000": lambda: Connection(**login(url)),
        "django": lambda: connection,
    }[kind]()
    with closing(opened):
        assert is_there(client, client.submit("a.v1", {}, connection=opened).id)


def test_djangos_atomic_blocks(url, client):
    """The outer one decides; an inner one that fails takes back its own."""
    from django.db import connection, transaction

    use_in_django(url)
    with closing(connection), transaction.atomic():
        kept = client.submit("a.v1", {}, connection=connection)
        with suppress(ZeroDivisionError), transaction.atomic():
            gone = client.submit("a.v1", {}, connection=connection)
            raise ZeroDivisionError
        assert not is_there(client, kept.id)
    assert (is_there(client, kept.id), is_there(client, gone.id)) == (True, False)


def test_statements_are_prepared_where_the_caller_has_it_so(url, client):
    """Psycopg does so after five of a kind, and goes on as before."""
    with calling("psycopg", url) as caller:
        sent = [client.submit("a.v1", n, connection=caller.connection) for n in range(20)]
        names = caller.connection.execute("select statement from pg_prepared_statements").fetchall()
        assert any("workflow_run" in name for (name,) in names)
        caller.commit()
    assert [client.get(each.id).payload for each in sent] == list(range(20))


def test_a_schema_whose_name_needs_quotes(server):
    """A word of SQL is a schema like any other."""
    with new_database(server) as database:
        url = with_schema(database.url, '"order"')
        migrate(url)
        with Client(url) as client, calling("psycopg", url) as caller:
            sent = client.submit("a.v1", {}, connection=caller.connection)
            caller.commit()
            assert is_there(client, sent.id)


def test_marks_of_each_style():
    """Casts are no parameters, and a % of the statement's own is doubled where it would be one."""
    statement = "select :a::int % :b_c, :a::text"
    assert _marked(statement, "named") == (
        "select :a::text::int % :b_c::text, :a::text::text",
        ("a", "b_c", "a"),
    )
    assert _marked(statement, "format")[0] == ("select %s::text::int %% %s::text, %s::text::text")
    assert _marked(statement, "numeric_dollar")[0] == (
        "select $1::text::int % $2::text, $3::text::text"
    )


# What can go wrong


def refused(client: Client, caller: Caller, kind: type[SimpleWorkflowError], **options: Any) -> str:
    """The one sentence with which a submit is refused."""
    with pytest.raises(kind) as told:
        client.submit(
            "a.v1", {"password": SECRET}, connection=caller.connection, **{"headers": {}} | options
        )
    words = str(told.value)
    assert "\n" not in words
    assert SECRET not in words
    assert len(words) < 400
    return words


def test_a_transaction_that_failed_before(caller, client, url):
    """It is said so; after a rollback the connection serves again, and nothing was submitted."""
    with pytest.raises(Exception, match="zero"):
        caller.execute("select 1 / 0")
    assert "failed before: roll it back" in refused(client, caller, UsageError)
    caller.rollback()
    assert found(url, "id from workflow_run") == []
    sent = client.submit("a.v1", {}, connection=caller.connection)
    caller.commit()
    assert is_there(client, sent.id)


def test_a_transaction_that_may_only_read(caller, client, url):
    """Nothing is written, and the transaction has failed as by any statement."""
    caller.execute("set transaction read only")
    assert "may only read" in refused(client, caller, UsageError)
    assert "failed before" in refused(client, caller, UsageError)
    caller.rollback()
    assert found(url, "id from workflow_run") == []


def test_a_database_without_the_tables(caller, server):
    """The schema, the server's words, and where the client's own tables are."""
    with server.fresh_schema() as other, Client(other) as client:
        words = refused(client, caller, SchemaNotReady)
    schema = parse_url(other).schema
    assert f'no current tables in the schema "{schema}"' in words
    assert "does not exist" in words
    assert "`simpleworkflow migrate`" in words
    caller.rollback()


# Sessions of SQLAlchemy and Django's connections open a new one instead.
@pytest.mark.parametrize("kind", [k for k in KINDS if "session" not in k and "django" not in k])
def test_a_closed_connection(kind, url, client):
    """It is said so."""
    caller = KINDS[kind](url)
    caller.connection.close()
    words = refused(client, caller, SimpleWorkflowError)
    assert words.startswith("the given connection cannot be used: ")
    assert "closed" in words
    with suppress(Exception):
        caller.close()
    assert found(url, "id from workflow_run") == []


def test_a_transaction_that_django_has_given_up(url, client):
    """It asks no server any more, and what it says is told as if the server had."""
    from django.db import connection, transaction

    use_in_django(url)
    with closing(connection), transaction.atomic():
        client.submit("a.v1", {}, connection=connection)
        transaction.set_rollback(True)
        with pytest.raises(UsageError, match="failed before: roll it back"):
            client.submit("a.v1", {}, connection=connection)
    assert found(url, "id from workflow_run") == []


def test_a_transaction_that_sqlalchemy_has_given_up(url, client):
    """A session whose flush failed."""
    from sqlalchemy import Column, Text
    from sqlalchemy.orm import declarative_base

    class Item(declarative_base()):  # type: ignore[misc]
        __tablename__ = "missing"
        item = Column(Text, primary_key=True)

    with calling("session-psycopg", url) as caller:
        caller.connection.add(Item(item="book"))
        with pytest.raises(Exception, match="does not exist"):
            caller.connection.flush()
        assert "failed before: roll it back" in refused(client, caller, UsageError)
        caller.rollback()
        assert client.submit("a.v1", {}, connection=caller.connection).created


# From Python 3.13 on, the caller's own pg8000 may complain of what it could not send when it is
# collected: whether it does hangs on when the collector looked at it before.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_connection_is_unavailable(kind, url, client, caplog):
    """Which is no mistake of the caller's, by whatever library; and the run is not there."""
    # What pytest keeps of a log keeps the connection that it tells of, into the next test.
    caplog.set_level("CRITICAL", "sqlalchemy.pool")
    with Proxy(url) as proxy:
        caller = KINDS[kind](proxy.url)
        caller.execute("select 1")
        proxy.reset()
        words = refused(client, caller, StoreUnavailable)
        assert words.startswith("the given connection cannot be used: ")
        with suppress(Exception):
            caller.close()
        del caller
        gc.collect()
    assert found(url, "id from workflow_run") == []


def test_a_letter_that_the_connection_cannot_send(url, client):
    """Its client_encoding is told."""
    with calling("psycopg", url) as caller:
        caller.execute("set client_encoding to latin1")
        with pytest.raises(NotStorable, match="client_encoding"):
            client.submit("a.v1", "☃", connection=caller.connection)
        sent = client.submit("a.v1", "é", connection=caller.connection)
        caller.commit()
    assert client.get(sent.id).payload == "é"


def test_a_key_that_was_taken_behind_a_snapshot(caller, client):
    """A transaction that cannot see the run with its key is told to begin again, and then can."""
    caller.rollback()
    caller.execute("set transaction isolation level repeatable read")
    caller.execute("select 1")
    taken = client.submit("a.v1", {}, idempotency_key="k")
    words = refused(client, caller, StoreConflict, idempotency_key="k")
    assert "repeat all of it" in words
    caller.rollback()
    again = client.submit("a.v1", {}, idempotency_key="k", connection=caller.connection)
    assert again == Submitted(taken.id, created=False)


def test_a_key_that_another_transaction_is_taking(url, client):
    """Who comes second waits for the first's end, and is answered with its run."""
    with calling("psycopg", url) as one, calling("psycopg", url) as two:
        two.execute("set local lock_timeout to '30s'")
        first = client.submit("a.v1", {}, idempotency_key="k", connection=one.connection)
        answers: list[Submitted] = []

        def submit_second() -> None:
            answers.append(
                client.submit("a.v1", {}, idempotency_key="k", connection=two.connection)
            )

        thread = threading.Thread(target=submit_second)
        thread.start()
        wait_for_a_lock(url)
        assert answers == []
        one.commit()
        thread.join(PATIENCE)
        assert answers == [Submitted(first.id, created=False)]


def _async_psycopg() -> object:
    return psycopg.AsyncConnection.__new__(psycopg.AsyncConnection)


def _sqlite_engine() -> Any:
    from sqlalchemy import create_engine

    return create_engine("sqlite://")


def _sqlite_by_django() -> Any:
    from django.db.utils import ConnectionHandler

    engine = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    return ConnectionHandler({"default": engine})["default"]


def _async_session() -> object:
    from sqlalchemy.ext.asyncio import AsyncSession

    return AsyncSession()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: "postgresql://user:hunter2@host/db", "connection=builtins.str is none"),
        (lambda: sqlite3.connect(":memory:"), "connection=sqlite3.Connection is none"),
        (_async_psycopg, "connection=psycopg.AsyncConnection is none"),
        (_sqlite_engine, "connection=sqlalchemy.engine.base.Engine is none"),
        (lambda: _sqlite_engine().connect(), "connection of SQLAlchemy leads to sqlite"),
        (_sqlite_by_django, "connection of Django leads to sqlite"),
        (_async_session, "AsyncSession is asynchronous: give it to AsyncClient.submit"),
    ],
)
def test_what_is_no_connection_of_ours(make: Callable[[], Any], words: str, client):
    """By the name of what it is, with what would do."""
    with pytest.raises(UsageError) as told:
        client.submit("a.v1", {}, connection=make())
    assert words in str(told.value)
    assert SECRET not in str(told.value)


def test_memory_has_no_transactions():
    """What to do in unit tests is said."""
    with Client("memory://") as client, pytest.raises(UsageError, match="unit tests"):
        client.submit("a.v1", {}, connection=object())


def test_what_cannot_be_stored_is_refused_before_it_is_sent(url, client):
    """The caller's transaction goes on."""
    with calling("psycopg", url) as caller:
        with pytest.raises(UsageError, match="payload is nan"):
            client.submit("a.v1", float("nan"), connection=caller.connection)
        sent = client.submit("a.v1", {}, connection=caller.connection)
        caller.commit()
    assert is_there(client, sent.id)


# Other drivers


def _documented(name: str) -> str:
    for block in blocks_in(ROOT / "docs/reference.md", "sql"):
        if block.heading == "Other drivers" and name in block.source:
            return block.source
    raise AssertionError(f"docs/reference.md has no SQL with {name}")


async def _by_asyncpg(url: str, sql: str, *values: str) -> list[Any]:
    import asyncpg

    connection = await asyncpg.connect(parse_url(url).url)
    try:
        return [row[0] for row in await connection.fetch(sql, *values)]
    finally:
        await connection.close()


def _by_psycopg(url: str, sql: str, *values: str) -> list[Any]:
    with psycopg.connect(parse_url(url).url, cursor_factory=psycopg.RawCursor) as connection:
        return [row[0] for row in connection.execute(sql.encode(), values)]


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_the_documented_sql(server, driver):
    """As it stands there: a run with its event, and the wake-up; a taken key creates nothing."""

    def send(sql: str, *values: str) -> list[Any]:
        if driver == "asyncpg":
            return asyncio.run(_by_asyncpg(database.url, sql, *values))
        return _by_psycopg(database.url, sql, *values)

    submit, notify = _documented("insert"), _documented("pg_notify")
    with new_database(server) as database, Client(database.url) as client:
        with closing(Listener(database.url)) as listener:
            [run_id] = send(submit, "shop.ship.v1", '{"item": "book"}', "order-7")
            assert send(submit, "shop.ship.v1", "{}", "order-7") == []
            assert listener.count() == 0
            send(notify)
            assert listener.count() == 1
        assert client.get(str(run_id)).payload == {"item": "book"}
        assert [event.type for event in client.events(str(run_id))] == ["created"]
        again = client.submit("a.v1", {}, idempotency_key="order-7")
        assert again == Submitted(str(run_id), created=False)
        poller = a_poller(database.url)
        poller.register_executor("shop.%", lambda run: None)
        assert poller.drain(PATIENCE) == 1
