"""The optional trigger: rows that other programs insert by SQL wake idle workers, at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import foreign
import psycopg
import pytest
from servers import Server, schema_of, with_schema
from strangers import new_database
from workers import PATIENCE, Seen, a_poller, met, working

from simpleworkflow import (
    Client,
    SchemaNotReady,
    StoreError,
    UsageError,
    migrate,
    open_store,
    pending_migrations,
)
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.backends.postgres.url import parse_url
from simpleworkflow.backends.postgres.wakeup import channel
from simpleworkflow.core.events import PollSucceeded

NOW = "insert into {table} (type, payload) values ('go.task.v1', '{}')"
MANY = (
    "insert into {table} (type, payload, run_at) select 'go.task.v1', '{}', {run_at} "
    "from generate_series(1, 1000) as g (n)"
)


def now_with(column: str, value: str) -> str:
    """The insert of a run that has this besides."""
    return f"insert into {{table}} (type, payload, {column}) values ('go.task.v1', '{{}}', {value})"


class Producer:
    """A program in another language, which inserts by SQL; and whoever listens for it.

    Args:
        server: where.
        url: of the schema, whose tables are there.
    """

    def __init__(self, server: Server, url: str) -> None:
        address = parse_url(url)
        self.table = f"{address.quoted_schema}.workflow_run"
        self.channel = channel(address.schema)
        self.connection = psycopg.connect(address.url, autocommit=True)
        self._listener = psycopg.connect(address.url, autocommit=True)
        self._listener.execute(f"listen {self.channel}")

    def send(self, sql: str) -> None:
        """Run a statement on the table of runs."""
        self.connection.execute(sql.replace("{table}", self.table).encode())

    def wakeups(self) -> int:
        """Say how many notifications came since the last time.

        Notifications come in the order of the commits, so that one of our own ends the count.
        """
        self.connection.execute(f"notify {self.channel}, 'end'")
        for count, notification in enumerate(self._listener.notifies(timeout=PATIENCE)):
            if notification.payload == "end":
                return count
        raise AssertionError("the notification that ends the count did not come")

    def parts(self) -> tuple[int, int]:
        """How many triggers and functions of that name there are."""
        schema, _, _ = self.table.partition(".")
        found = self.connection.execute(
            "select (select count(*) from pg_trigger where tgname = 'simpleworkflow_notify' "
            "and tgrelid = %s::regclass), (select count(*) from pg_proc p join pg_namespace n "
            "on n.oid = pronamespace where proname = 'simpleworkflow_notify' and nspname = %s)",
            [self.table, schema.strip('"')],
        ).fetchone()
        assert found is not None
        return found

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()
        self._listener.close()


@pytest.fixture
def producer(server: Server, database_url: str) -> Iterator[Producer]:
    """On a database with the tables and the trigger."""
    migrate(database_url, notify_trigger=True)
    producer = Producer(server, database_url)
    yield producer
    producer.close()


# What it notifies of


def test_a_bare_insert_wakes_who_listens(producer):
    """A row that is due is one notification, for whoever listens as our workers do."""
    producer.send(NOW)
    assert producer.wakeups() == 1


def test_a_thousand_rows_of_one_statement_are_one_notification(producer):
    """It is paid for by the statement, and not by the row."""
    producer.send(MANY.replace("{run_at}", "now()"))
    assert producer.wakeups() == 1
    # The server itself makes one of many in a transaction: only its catalogue tells the difference.
    for_each_row = "select tgtype & 1 from pg_trigger where tgname = 'simpleworkflow_notify'"
    assert set(producer.connection.execute(for_each_row)) == {(0,)}


def test_one_due_row_among_many_is_enough(producer):
    """Whichever row of the statement it is."""
    run_at = "now() + case n when 700 then 0 else 1 end * interval '1 day'"
    producer.send(MANY.replace("{run_at}", run_at))
    assert producer.wakeups() == 1


def test_a_transaction_is_one_notification(producer):
    """However many statements it has; and none before its commit."""
    with producer.connection.transaction():
        for _ in range(5):
            producer.send(NOW)
    assert producer.wakeups() == 1


def test_a_copy_is_an_insert(producer):
    """Programs that load many rows at once are heard too."""
    copy = f"copy {producer.table} (type, payload) from stdin"
    with producer.connection.cursor() as cursor, cursor.copy(copy) as rows:
        rows.write_row(("go.task.v1", "{}"))
        rows.write_row(("go.task.v1", "{}"))
    assert producer.wakeups() == 1


def test_due_at_the_producers_own_clock_is_due(producer):
    """A program that sends its time does so after its transaction began."""
    with producer.connection.transaction():
        producer.send("select 1")
        producer.send(now_with("run_at", "clock_timestamp()"))
    assert producer.wakeups() == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("run_at", "now() + interval '1 day'"),
        ("run_at", "'infinity'"),
        ("status", "'succeeded'"),
        ("deleted_at", "now()"),
    ],
)
def test_a_row_that_nobody_may_claim_yet_wakes_nobody(producer, column, value):
    """Due later, ended already, or deleted."""
    producer.send(now_with(column, value))
    assert producer.wakeups() == 0


def test_what_was_not_inserted_wakes_nobody(producer):
    """A key that is taken, a transaction that was undone, an update."""
    keyed = now_with("idempotency_key", "'k'")
    producer.send(keyed)
    assert producer.wakeups() == 1
    producer.send(keyed + " on conflict (idempotency_key) do nothing")
    producer.send("update {table} set priority = 1")
    with producer.connection.transaction(force_rollback=True):
        producer.send(NOW)
    assert producer.wakeups() == 0


@pytest.mark.parametrize("driver", ["psycopg", "pg8000"])
def test_our_own_submits_notify_once(producer, database_url, driver):
    """They have their own notification, after the commit: the trigger leaves them alone."""
    with Client(database_url.replace("postgresql:", f"postgresql+{driver}:")) as client:
        client.submit("py.task.v1", {})
    assert producer.wakeups() == 1


# Who is woken


@pytest.mark.parametrize("driver", ["psycopg", "pg8000"])
def test_an_idle_worker_starts_what_was_inserted(producer, database_url, driver):
    """One that would look again in an hour; each time anew."""
    url = database_url.replace("postgresql:", f"postgresql+{driver}:")
    seen, began = Seen(), [threading.Event() for _ in range(3)]
    poller = a_poller(url, poll_interval=3600, observers=[seen])
    poller.register_executor("go.%", lambda run: began[run.payload].set())
    with working(poller):
        # The first time it finds nothing it begins to listen, and looks once more.
        seen.wait(PollSucceeded, 2)
        for number, event in enumerate(began):
            producer.send(NOW.replace("{}", str(number)))
            met(event)


def test_what_the_other_language_sends_wakes_an_idle_worker(server, database_url):
    """On a database that it made, by its own statement."""
    schema = schema_of(database_url)
    with server.connect() as connection:
        connection.execute(foreign.TABLES.format(schema=schema))
        migrate(database_url, notify_trigger=True)
        seen, began = Seen(), threading.Event()
        poller = a_poller(database_url, poll_interval=3600, observers=[seen])
        poller.register_executor("go.%", lambda run: began.set())
        with working(poller):
            seen.wait(PollSucceeded, 2)
            insert = foreign.INSERT.format(schema=schema)
            connection.execute(insert, ["go.task.v1", "{}", "k"])
            met(began)


# Putting it in place, and taking it away


def test_it_is_put_in_place_once_and_taken_away_once(producer, database_url):
    """However often it is asked for; what is taken away is gone, and does nothing."""
    assert migrate(database_url, notify_trigger=True) == []
    assert producer.parts() == (1, 1)
    assert migrate(database_url, notify_trigger=False) == ["without_notify_trigger"]
    assert migrate(database_url, notify_trigger=False) == []
    assert producer.parts() == (0, 0)
    producer.send(NOW)
    assert producer.wakeups() == 0
    assert migrate(database_url, notify_trigger=True) == ["with_notify_trigger"]
    producer.send(NOW)
    assert producer.wakeups() == 1


@pytest.mark.parametrize("driver", ["psycopg", "pg8000"])
def test_it_comes_along_with_the_tables(server, database_url, driver):
    """One call makes them and the trigger, by either driver; a plain one leaves it alone."""
    url = database_url.replace("postgresql:", f"postgresql+{driver}:")
    shown = [name for name, _ in pending_migrations(url, notify_trigger=True)]
    assert shown[-1] == "with_notify_trigger"
    assert migrate(url, notify_trigger=True) == shown
    assert migrate(url) == []
    producer = Producer(server, url.replace(f"+{driver}", ""))
    assert producer.parts() == (1, 1)
    assert migrate(url, notify_trigger=False) == ["without_notify_trigger"]
    assert producer.parts() == (0, 0)
    producer.close()


def test_it_is_left_out_unless_asked_for(server, database_url):
    """`migrate` alone makes no trigger for inserts."""
    migrate(database_url)
    assert pending_migrations(database_url, notify_trigger=False) == []
    producer = Producer(server, database_url)
    assert producer.parts() == (0, 0)
    producer.close()


def test_the_shown_sql_can_be_run_by_hand_and_again(producer, database_url):
    """An administrator may send it with any client, as often as he likes."""
    ((_, without),) = pending_migrations(database_url, notify_trigger=False)
    for _ in range(2):
        producer.connection.execute(without.encode())
    ((_, with_),) = pending_migrations(database_url, notify_trigger=True)
    for _ in range(2):
        producer.connection.execute(with_.encode())
    assert pending_migrations(database_url, notify_trigger=True) == []
    assert producer.parts() == (1, 1)


@pytest.mark.parametrize(
    "damage",
    [
        "alter table {table} disable trigger simpleworkflow_notify",
        "drop trigger simpleworkflow_notify on {table}",
    ],
)
def test_a_broken_one_is_mended_or_removed(producer, database_url, damage):
    """Half of it is neither there nor gone."""
    producer.send(damage)
    assert migrate(database_url, notify_trigger=True) == ["with_notify_trigger"]
    producer.send(NOW)
    assert producer.wakeups() == 1
    producer.send(damage)
    assert migrate(database_url, notify_trigger=False) == ["without_notify_trigger"]
    assert producer.parts() == (0, 0)


def test_eight_threads_ask_for_it_at_once(server, database_url):
    """One of them puts it in place; and one of them takes it away."""

    def ask(on: bool) -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda _: migrate(database_url, notify_trigger=on), range(8))
            return [name for answer in answers for name in answer]

    assert ask(True).count("with_notify_trigger") == 1
    assert ask(False) == ["without_notify_trigger"]


@pytest.mark.parametrize("name", ["order", "_", "user" + "_" * 59])
def test_a_schema_whose_name_needs_quotes(server, name):
    """Words of SQL and the longest name are schemas like any other."""
    with new_database(server) as database:
        url = with_schema(database.url, f'"{name}"')
        assert "with_notify_trigger" in migrate(url, notify_trigger=True)
        producer = Producer(server, url)
        producer.send(NOW)
        assert producer.wakeups() == 1
        assert migrate(url, notify_trigger=False) == ["without_notify_trigger"]
        assert producer.parts() == (0, 0)
        producer.close()


# Rights


@pytest.fixture
def stranger(server: Server, producer: Producer) -> Iterator[tuple[str, str]]:
    """The name and the URL of a role that may log in and see the schema, and nothing more."""
    name = f"r_{uuid.uuid4().hex[:12]}"
    schema, _, _ = producer.table.partition(".")
    with server.connect() as connection:
        connection.execute(f"create role {name} login password 'pw'")
        connection.execute(f"grant usage on schema {schema} to {name}")
        parts = urlsplit(server.url)
        netloc = f"{name}:{quote('pw')}@{parts.netloc.rpartition('@')[2]}"
        yield name, parts._replace(netloc=netloc).geturl()
        connection.execute(f"drop owned by {name}")
        connection.execute(f"drop role {name}")


def test_a_role_that_may_only_insert_still_can(producer, stranger):
    """It needs no right to read the table, nor to call the function or to notify."""
    name, url = stranger
    schema, _, _ = producer.table.partition(".")
    producer.send(f"grant insert on {producer.table} to {name}")
    producer.send(f"revoke all on function {schema}.simpleworkflow_notify() from public")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(NOW.replace("{table}", producer.table).encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"select from {producer.table}".encode())
    assert producer.wakeups() == 1


def test_who_does_not_own_the_table_is_told(producer, stranger, database_url):
    """The server's own words, in one sentence; and nothing is changed."""
    name, url = stranger
    schema = schema_of(database_url)
    # It can see that nothing else is missing.
    producer.send(f"grant select on {schema}.workflow_migration to {name}")
    with pytest.raises(StoreError, match="must be owner of"):
        migrate(with_schema(url, schema), notify_trigger=False)
    assert producer.parts() == (1, 1)


def test_without_tables_there_is_nothing_to_put_it_on(database_url):
    """A store that is asked before its tables are there names the command."""
    store = open_store(database_url)
    with pytest.raises(SchemaNotReady, match="simpleworkflow migrate"):
        store.switch_notify_trigger(True)
    assert store.switch_notify_trigger(False) == []
    store.close()


# Stores that have none


class Tables(MemoryStore):
    """A store of somebody else, with migrations."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def check_schema(self) -> None:
        """Never asked here."""

    def migrate(self) -> list[str]:
        """Make what is missing."""
        self.asked.append("migrate")
        return ["0001_theirs"]

    def pending_migrations(self) -> list[tuple[str, str]]:
        """Say what is missing."""
        self.asked.append("pending")
        return [("0001_theirs", "make it")]


@pytest.mark.parametrize("store", [MemoryStore, Tables])
@pytest.mark.parametrize("use", [migrate, pending_migrations])
@pytest.mark.parametrize("on", [True, False])
def test_a_store_without_it_refuses_before_anything_is_done(
    store: Callable[[], MemoryStore], use: Callable[..., object], on: bool
) -> None:
    """The error names the store and the way out; its tables are as they were."""
    given = store()
    with pytest.raises(UsageError, match=f"a {store.__name__} can have no notify trigger"):
        use(given, notify_trigger=on)
    assert getattr(given, "asked", []) == []


def test_a_store_without_it_is_migrated_as_before() -> None:
    """What is not asked for is not missed."""
    store = Tables()
    assert migrate(store) == ["0001_theirs"]
    assert pending_migrations(store) == [("0001_theirs", "make it")]
    assert migrate(MemoryStore()) == pending_migrations(MemoryStore()) == []
