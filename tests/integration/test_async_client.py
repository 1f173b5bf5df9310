"""AsyncClient: a Client for asyncio programs, which never keeps their event loop waiting."""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextvars import ContextVar
from typing import Any

import psycopg
import pytest
from callers import login, wait_for_a_lock
from proxy import Proxy
from workers import PATIENCE, a_poller

from simpleworkflow import (
    AsyncClient,
    Client,
    PermanentFailure,
    RunFailed,
    RunNotFound,
    StoreUnavailable,
    UsageError,
    WaitTimeout,
    migrate,
    open_store,
)
from simpleworkflow.async_client import THREADS, AsyncSchedules
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.backends.postgres.url import parse_url
from simpleworkflow.core.errors import StoreClosed
from simpleworkflow.schedules import Schedules

METHODS = [
    name
    for name, _ in inspect.getmembers(Client, inspect.isfunction)
    if not name.startswith("_") and name != "close"
]

SCHEDULE_METHODS = [
    name for name, _ in inspect.getmembers(Schedules, inspect.isfunction) if name[0] != "_"
]

NO_SUCH_RUN = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("kind", "plain", "name"),
    [(AsyncClient, Client, name) for name in METHODS]
    + [(AsyncSchedules, Schedules, name) for name in SCHEDULE_METHODS],
)
def test_it_has_every_method_of_a_client(kind, plain, name):
    """With the same arguments and the same words, to be awaited; and so have its schedules."""
    ours, theirs = getattr(kind, name), getattr(plain, name)
    assert inspect.iscoroutinefunction(ours)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert ours.__doc__ == theirs.__doc__


def test_a_run_is_submitted_and_followed(store_url):
    """On every store."""

    async def program() -> None:
        async with AsyncClient(store_url) as client:
            sent = await client.submit("a.b.v1", {"n": 1}, priority=3)
            many = await client.submit_many({"type": "a.b.v1", "payload": n} for n in range(3))
            assert [each.created for each in (sent, *many)] == [True] * 4
            run = await client.get(sent.id)
            assert (run.payload, run.priority) == ({"n": 1}, 3)
            assert await client.cancel(many[0].id)
            kinds = [event.type for event in await client.events(many[0].id)]
            assert kinds == ["created", "cancelled"]
            with pytest.raises(RunNotFound):
                await client.get(NO_SUCH_RUN)
            with pytest.raises(UsageError, match="payload is nan"):
                await client.submit("a.b.v1", float("nan"))

    asyncio.run(program())
    poller = a_poller(store_url)
    poller.register_executor("a.%", lambda run: None)
    assert poller.drain(PATIENCE) == 3


def test_the_loop_goes_on_while_the_database_is_silent(one_database_url):
    """What would let a blocked loop go on is done by that loop."""
    migrate(one_database_url)

    async def program(proxy: Proxy) -> None:
        async with AsyncClient(proxy.url) as client:
            await client.submit("a.b.v1", 1)
            proxy.blackhole()
            calls = [asyncio.create_task(client.submit("a.b.v1", n)) for n in range(THREADS + 1)]
            for _ in range(1_000):
                await asyncio.sleep(0)
            assert not any(call.done() for call in calls)
            proxy.resume()
            assert all(sent.created for sent in await asyncio.gather(*calls))

    with Proxy(one_database_url) as proxy:
        asyncio.run(program(proxy))


def test_more_tasks_wait_than_there_are_threads(store_url):
    """Calls go on meanwhile, and each task gets the result of its own run."""

    async def program() -> None:
        async with AsyncClient(store_url) as client:
            ids = [(await client.submit("a.b.v1", n)).id for n in range(2 * THREADS)]
            tasks = [asyncio.create_task(client.result(run_id, PATIENCE)) for run_id in ids]
            gone = asyncio.create_task(client.wait(ids[0]))
            await asyncio.sleep(0)
            assert (await client.get(ids[0])).status == "pending"
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            await asyncio.to_thread(poller.drain, PATIENCE)
            assert await asyncio.gather(*tasks) == list(range(2 * THREADS))

    poller = a_poller(store_url)
    poller.register_executor("a.%", lambda run: run.payload)
    asyncio.run(program())


def test_waiting_ends_as_a_clients_does(store_url):
    """With a timeout, a failure, an unknown run, and what is no timeout."""

    async def program() -> None:
        async with AsyncClient(store_url) as client:
            run_id = (await client.submit("a.b.v1", 1)).id
            for timeout in (0, 0.03):
                with pytest.raises(WaitTimeout, match=f"{run_id} was still pending"):
                    await client.wait(run_id, timeout)
            with pytest.raises(RunNotFound):
                await client.wait(NO_SUCH_RUN)
            with pytest.raises(UsageError, match=r"^timeout="):
                await client.wait(run_id, -1)
            await asyncio.to_thread(poller.drain, PATIENCE)
            with pytest.raises(RunFailed, match="no more"):
                await client.result(run_id, PATIENCE)

    poller = a_poller(store_url)

    @poller.handler("a.b.v1")
    def fail(run):
        raise PermanentFailure("no more")

    asyncio.run(program())


class Away(MemoryStore):
    """A store that is out of reach for the next few questions."""

    questions = 0

    def get(self, run_id: str) -> Any:
        """Answer when it is back."""
        self.questions -= 1
        if self.questions >= 0:
            raise StoreUnavailable("gone")
        return super().get(run_id)


def test_waiting_outlives_a_lost_store():
    """It is asked again until it answers; out of reach from the start, it is told at once."""

    async def program() -> None:
        store = Away()
        async with AsyncClient(store) as client:
            run_id = (await client.submit("a.b.v1", 1)).id
            waiting = asyncio.create_task(client.wait(run_id, PATIENCE))
            while store.questions > -2:
                await asyncio.sleep(0)
            store.questions = 2
            assert await client.cancel(run_id)
            assert (await waiting).status == "cancelled"
            assert store.questions == -1
            store.questions = 1
            with pytest.raises(StoreUnavailable):
                await client.wait(run_id)

    asyncio.run(program())


def test_schedules_are_managed(store_url):
    """As by a Client."""

    async def program() -> None:
        async with AsyncClient(store_url) as client:
            made = await client.schedules.create("a.b.v1", {}, cron="0 9 * * 1")
            await client.schedules.pause(made.id)
            assert [each.enabled for each in await client.schedules.list()] == [False]
            sent = await client.schedules.run_now(made.id)
            assert (await client.get(sent.id)).type == "a.b.v1"
            await client.schedules.delete(made.id)
            assert await client.schedules.list() == []

    asyncio.run(program())


class Slow(MemoryStore):
    """A store whose submits begin, and end when they may."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_end = threading.Semaphore(0), threading.Event()

    def submit(self, runs: Any) -> Any:
        """Submit when it may."""
        self.begun.release()
        assert self.may_end.wait(PATIENCE)
        return super().submit(runs)


async def _begun(store: Slow) -> None:
    assert await asyncio.to_thread(store.begun.acquire, timeout=PATIENCE)


def test_a_call_under_way_goes_on_when_its_task_is_cancelled():
    """The task ends at once; the run is there afterwards, once."""

    async def program() -> None:
        store = Slow()
        async with AsyncClient(store) as client:
            task = asyncio.create_task(client.submit("a.b.v1", 1, idempotency_key="k"))
            await _begun(store)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            store.may_end.set()
        assert not Client(store).submit("a.b.v1", 1, idempotency_key="k").created

    asyncio.run(program())


def test_a_call_that_had_not_begun_is_not_made_when_its_task_is_cancelled():
    """It waited for its turn, and gives it up."""

    async def program() -> None:
        store = Slow()
        async with AsyncClient(store) as client:
            tasks = [asyncio.create_task(client.submit("a.b.v1", 1)) for _ in range(THREADS)]
            for _ in tasks:
                await _begun(store)
            late = asyncio.create_task(client.submit("a.b.v1", 2, idempotency_key="k"))
            await asyncio.sleep(0)
            late.cancel()
            with pytest.raises(asyncio.CancelledError):
                await late
            store.may_end.set()
            await asyncio.gather(*tasks)
            assert (await client.submit("a.b.v1", 2, idempotency_key="k")).created

    asyncio.run(program())


def test_closing_waits_for_what_is_under_way():
    """Afterwards no thread is left, no call is taken, and closing again does nothing."""

    async def program() -> None:
        store, before = Slow(), set(threading.enumerate())
        client = AsyncClient(store)
        task = asyncio.create_task(client.submit("a.b.v1", 1))
        await _begun(store)
        closing = asyncio.create_task(client.aclose())
        await asyncio.sleep(0)
        store.may_end.set()
        await closing
        left = {thread.name for thread in set(threading.enumerate()) - before}
        assert not [name for name in left if name.startswith("simpleworkflow-async")]
        assert (await task).created
        with pytest.raises(StoreClosed, match="open a new one"):
            await client.get(NO_SUCH_RUN)
        await client.aclose()
        # The store is the caller's, and open.
        assert store.get(NO_SUCH_RUN) is None

    asyncio.run(program())


def test_it_closes_a_store_that_it_opened(one_database_url):
    """No connection is left."""
    migrate(one_database_url)
    url = f"{one_database_url}&application_name=closes-it"

    async def program() -> None:
        async with AsyncClient(url) as client:
            await client.submit("a.b.v1", 1)
            assert _sessions(one_database_url) > 0

    asyncio.run(program())
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        # The server takes a moment to see a session's end.
        if _sessions(one_database_url) == 0:
            return
        pause.wait(0.02)
    raise AssertionError("connections are left open")


def _sessions(url: str) -> int:
    with psycopg.connect(parse_url(url).url) as connection:
        asked = "select count(*) from pg_stat_activity where application_name = 'closes-it'"
        [number] = connection.execute(asked).fetchone() or [0]
        return int(number)


@pytest.mark.parametrize("enters", [True, False])
def test_the_tables_are_made_before_the_first_call(one_database_url, enters):
    """With or without `async with`, and by many first calls at once."""

    async def program() -> None:
        client = AsyncClient(one_database_url, auto_migrate=True)
        if enters:
            await client.__aenter__()
            with Client(one_database_url) as other:
                other.submit("a.b.v1", 0)
        sent = await asyncio.gather(*(client.submit("a.b.v1", n) for n in range(4)))
        assert all(each.created for each in sent)
        await client.aclose()

    asyncio.run(program())


def test_a_wrong_url_is_told_at_once():
    """As by Client."""
    with pytest.raises(UsageError, match="no store"):
        AsyncClient("workflow")
    with pytest.raises(UsageError, match="max_payload_bytes"):
        AsyncClient("memory://", max_payload_bytes=1)


def test_its_limit_is_a_clients_limit():
    """It is handed on."""

    async def program() -> None:
        async with AsyncClient("memory://", max_payload_bytes=100) as client:
            with pytest.raises(UsageError, match="max_payload_bytes"):
                await client.submit("a.b.v1", "x" * 200)

    asyncio.run(program())


def test_one_client_serves_several_loops(store_url):
    """It belongs to none."""
    client = AsyncClient(store_url)
    first = asyncio.run(client.submit("a.b.v1", 1))
    assert asyncio.run(client.get(first.id)).payload == 1
    asyncio.run(client.aclose())


variable: ContextVar[str] = ContextVar("variable")


class Looks(MemoryStore):
    """A store that reads the context it is called in, as tracing libraries do."""

    def submit(self, runs: Any) -> Any:
        """Note the context."""
        self.seen = variable.get()
        return super().submit(runs)


def test_a_call_has_the_context_of_its_task():
    """What the task has set is seen where the work is done."""

    async def program() -> None:
        store = Looks()
        variable.set("of this task")
        async with AsyncClient(store) as client:
            await client.submit("a.b.v1", 1)
        assert store.seen == "of this task"

    asyncio.run(program())


def test_it_says_what_it_is():
    """In a debugger, with no password."""
    client = AsyncClient("postgresql://user:hunter2@host/db")
    assert repr(client) == "<AsyncClient of <PostgresStore postgresql://user@host/db>>"
    asyncio.run(client.aclose())


# In the caller's transaction


def an_engine(url: str, driver: str) -> Any:
    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import create_async_engine

    parts = login(url)
    parts["username"] = parts.pop("user")
    return create_async_engine(URL.create(f"postgresql+{driver}", **parts))


@pytest.fixture(params=["asyncpg", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each driver that SQLAlchemy awaits."""
    return str(request.param)


@pytest.mark.parametrize("kind", ["session", "connection"])
def test_a_transaction_decides(database_url, driver, kind):
    """By an AsyncSession or an AsyncConnection: alone, in a batch, and with a key that is taken."""
    from sqlalchemy.ext.asyncio import AsyncSession

    async def program() -> None:
        engine = an_engine(database_url, driver)
        joined = AsyncSession(engine) if kind == "session" else engine.connect()
        async with AsyncClient(database_url, auto_migrate=True) as client, joined as connection:
            gone = await client.submit("a.b.v1", 1, idempotency_key="k", connection=connection)
            await connection.rollback()
            kept = await client.submit("a.b.v1", 2, idempotency_key="k", connection=connection)
            again = await client.submit_many(
                [
                    {"type": "a.b.v1", "payload": "é ☃ % :x $1", "delay": 1.5, "headers": {"a": 1}},
                    {"type": "a.b.v1", "payload": 3, "idempotency_key": "k"},
                ],
                connection=connection,
            )
            assert [each.created for each in (gone, kept, *again)] == [True, True, True, False]
            assert again[1].id == kept.id
            with pytest.raises(RunNotFound):
                await client.get(kept.id)
            await connection.commit()
            assert (await client.get(kept.id)).payload == 2
            late = await client.get(again[0].id)
            assert (late.payload, late.headers) == ("é ☃ % :x $1", {"a": 1})
            assert (late.run_at - late.created_at).total_seconds() == 1.5
            with pytest.raises(RunNotFound):
                await client.get(gone.id)
        await engine.dispose()

    asyncio.run(program())


def test_an_error_comes_as_it_does_without_asyncio(one_database_url, driver):
    """In one sentence, whichever driver spoke."""

    async def program() -> None:
        engine = an_engine(one_database_url, driver)
        async with AsyncClient(one_database_url) as client, engine.connect() as connection:
            with pytest.raises(Exception, match="no current tables in the schema"):
                await client.submit("a.b.v1", 1, connection=connection)
            with pytest.raises(UsageError, match="failed before: roll it back"):
                await client.submit("a.b.v1", 1, connection=connection)
        await engine.dispose()

    asyncio.run(program())


def test_a_cancelled_call_leaves_its_transaction_to_the_caller(one_database_url, driver):
    """The statement is cancelled with its task, and what the transaction did is undone."""
    migrate(one_database_url)
    schema = parse_url(one_database_url).quoted_schema

    async def program() -> None:
        engine = an_engine(one_database_url, driver)
        async with AsyncClient(one_database_url) as client:
            async with engine.connect() as connection:
                with psycopg.connect(parse_url(one_database_url).url) as other:
                    other.execute(f"lock table {schema}.workflow_event".encode())
                    call = client.submit("a.b.v1", 1, idempotency_key="k", connection=connection)
                    task = asyncio.create_task(call)
                    await asyncio.to_thread(wait_for_a_lock, one_database_url)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
            assert (await client.submit("a.b.v1", 2, idempotency_key="k")).created
        await engine.dispose()

    asyncio.run(program())


@pytest.mark.parametrize("kind", [psycopg.AsyncConnection, psycopg.Connection])
def test_what_it_cannot_join_is_told(kind):
    """By its name, with what would do."""

    async def program() -> None:
        async with AsyncClient("memory://") as client:
            with pytest.raises(UsageError, match=rf"psycopg\.{kind.__name__} is none .* AsyncSess"):
                await client.submit("a.b.v1", 1, connection=kind.__new__(kind))

    asyncio.run(program())


def test_memory_joins_nothing():
    """As by Client."""
    from sqlalchemy.ext.asyncio import AsyncSession

    async def program() -> None:
        async with AsyncClient("memory://") as client, AsyncSession() as session:
            with pytest.raises(UsageError, match="unit tests"):
                await client.submit("a.b.v1", 1, connection=session)

    asyncio.run(program())


def test_a_clients_store_may_be_given(store_url):
    """Which stays open."""
    store = open_store(store_url)

    async def program() -> None:
        async with AsyncClient(store) as client:
            await client.submit("a.b.v1", 1)

    asyncio.run(program())
    assert store.get(NO_SUCH_RUN) is None
    store.close()
