"""Operator: what a program on duty does, and what a worker with a retention does by itself."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from servers import schema_of, without_schema
from workers import PATIENCE, Seen, a_poller, memory_url, met, working

from simpleworkflow import Answer, Client, IntentPoller, Operator, UsageError, migrate, open_store
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.backends.postgres import statements
from simpleworkflow.backends.postgres.admin import lock_of
from simpleworkflow.backends.postgres.url import parse_url
from simpleworkflow.core.admin import Purged
from simpleworkflow.core.events import PollSucceeded
from simpleworkflow.core.records import new_run
from simpleworkflow.core.states import TERMINAL
from simpleworkflow.core.store import Store
from simpleworkflow.testing import FakeClock
from simpleworkflow.testing.contract.examination import submit_many

DAY = timedelta(days=1)
NOBODY = "00000000-0000-4000-8000-000000000000"


def fail(run):
    raise ValueError("no use")


def work_off(store: Store, function=lambda run: None) -> int:
    """Execute what is due, once."""
    poller = a_poller(store, type_prefixes=["a.%"])
    poller.register_executor("a.%", function)
    return poller.drain(PATIENCE)


def ended_long_ago(count: int, url: str) -> None:
    """Runs in this store that were cancelled ten days ago."""
    with closing(open_store(url, clock=FakeClock(datetime.now(UTC) - 10 * DAY))) as store:
        store.cancel(submit_many(store, count))


# By hand


def test_an_operator_finds_retries_deletes_and_counts(one_database_url):
    """From a failure to its success, with the types that users see."""
    with Client(one_database_url, auto_migrate=True) as client:
        run_id = client.submit("a.v1", {}, max_attempts=1).id
        other = client.submit("a.v1", {}, delay=3600).id
        with Operator(one_database_url) as operator:
            work_off(open_store(one_database_url), fail)
            [failed] = operator.find(types="a.%", statuses=["failed"], error="NO USE")
            assert failed.id == run_id
            assert operator.retry([failed.id]) == [Answer(run_id, "pending", True)]
            work_off(open_store(one_database_url))
            assert client.get(run_id).status == "succeeded"
            assert operator.cancel([other, run_id, NOBODY]) == [
                Answer(other, "cancelled", True),
                Answer(run_id, "succeeded", False),
                Answer(NOBODY, None, False),
            ]
            assert [answer.done for answer in operator.delete([run_id, other])] == [True, True]
            assert operator.find() == []
            [stats] = operator.stats()
            assert (stats.type, stats.ended_last_minute, stats.failed_last_hour) == ("a.v1", 2, 1)


def test_pages_follow_each_other():
    """The last run of a page is where the next begins; none is missed and none comes twice."""
    store = MemoryStore()
    ids = set(submit_many(store, 25))
    operator = Operator(store)
    found, after = [], None
    while page := operator.find(limit=10, after=after):
        found += [run.id for run in page]
        after = page[-1]
    assert len(found) == 25
    assert set(found) == ids


def test_many_ids_are_changed_in_groups():
    """However many there are; the answers stand in their order."""
    store = MemoryStore()
    ids = submit_many(store, 2_345)
    operator = Operator(store)
    assert [answer.id for answer in operator.cancel(ids)] == ids
    assert sum(answer.done for answer in operator.delete(iter(ids))) == 2_345


def test_an_id_that_is_none_changes_nothing():
    """All are looked at before the first is sent."""
    store = MemoryStore()
    [run_id] = submit_many(store, 1)
    operator = Operator(store)
    with pytest.raises(UsageError, match="the run id '17' is no UUID"):
        operator.cancel([run_id, "17"])
    with pytest.raises(UsageError, match="must be a list of ids"):
        operator.cancel(run_id)
    assert store.get(run_id).status == "pending"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda o: o.find(limit=0), "limit=0"),
        (lambda o: o.find(after=NOBODY), "after='0000"),
        (lambda o: o.find(statuses="done"), "statuses="),
        (lambda o: o.purge(0), "older_than=0"),
        (lambda o: o.purge(None), "older_than=None"),
        (lambda o: o.purge(DAY, statuses="pending"), "statuses="),
        (lambda o: o.purge(DAY, batch=0), "batch=0"),
        (lambda o: Operator("nonsense"), "is no store"),
    ],
)
def test_what_cannot_work_is_refused(call, says):
    """In one sentence with its name."""
    with pytest.raises(UsageError, match=says):
        call(Operator(MemoryStore()))


def test_a_store_may_offer_none_of_this():
    """An operator and a retention need a RunAdmin, and say so before anything begins."""

    class Bare(MemoryStore):
        find = None  # type: ignore[assignment]

    for make in (Operator, lambda store: IntentPoller(store, retention=DAY)):
        with pytest.raises(UsageError, match="it is no RunAdmin"):
            make(Bare())
    assert IntentPoller(Bare())


def test_a_store_of_the_callers_is_not_closed():
    """One that was opened from a URL is."""
    store = MemoryStore()
    with Operator(store) as operator:
        assert repr(operator) == f"<Operator of {store!r}>"
    assert store.find
    submit_many(store, 1)


# Purging on a real server


def test_a_purge_deletes_in_batches_and_tells(database_url):
    """Runs and events go; what has not ended stays."""
    migrate(database_url)
    ended_long_ago(25, database_url)
    with Client(database_url) as client, Operator(database_url) as operator:
        waiting = client.submit("a.v1", {}).id
        told = []
        assert operator.purge(DAY, batch=10, on_batch=told.append) == 25
        assert told[-1] == 25
        assert len(told) >= 3
        assert [run.id for run in operator.find()] == [waiting]
    with psycopg.connect(without_schema(database_url)) as connection:
        events = connection.execute(
            f"select count(*) from {schema_of(database_url)}.workflow_event".encode()
        )
        assert events.fetchone() == (1,)


@contextmanager
def purging(url: str) -> Iterator[int]:
    """A purge by a transaction that stays open, after which it is undone; how many it deleted."""
    address = parse_url(url)
    text = statements.load("purge", address.quoted_schema)
    given = {
        "now": None,
        "lock": lock_of(address),
        "older_than": DAY.total_seconds(),
        "after": None,
        "limit": 100,
        "statuses": "{succeeded,failed,cancelled}",
    }
    for name in given:
        text = text.replace(f":{name}::", f"%({name})s::")
    with psycopg.connect(without_schema(url)) as connection:
        yield connection.execute(text.encode(), given).fetchone()[0]
        connection.rollback()


def test_one_purge_at_a_time(database_url):
    """While another is at work, a batch does nothing and says so; an operator's waits for it."""
    migrate(database_url)
    ended_long_ago(3, database_url)
    counts = []
    with closing(open_store(database_url)) as store, Operator(store) as operator:
        thread = threading.Thread(target=lambda: counts.append(operator.purge(DAY)))
        with purging(database_url) as deleted:
            assert deleted == 3
            assert store.purge(DAY, TERMINAL, 10, None) == Purged(0, None, is_busy=True)
            thread.start()
        thread.join(PATIENCE)
    assert counts == [3]


def test_a_purge_waits_for_nobody(database_url):
    """A run that somebody else has locked is passed over."""
    migrate(database_url)
    ended_long_ago(3, database_url)
    held = f"select from {schema_of(database_url)}.workflow_run limit 1 for update"
    with closing(open_store(database_url)) as store:
        with psycopg.connect(without_schema(database_url)) as other:
            other.execute(held.encode())
            assert store.purge(DAY, TERMINAL, 10, None) == Purged(2)
        assert store.purge(DAY, TERMINAL, 10, None) == Purged(1)


def test_nobody_waits_for_a_purge(database_url):
    """It locks what it deletes and nothing else: workers go on beside it."""
    migrate(database_url)
    ended_long_ago(3, database_url)
    with closing(open_store(database_url)) as store:
        ids = submit_many(store, 5)
        with purging(database_url) as deleted:
            assert deleted == 3
            store.cancel(ids[:1])
            poller = a_poller(store)
            poller.register_executor("media.%", lambda run: None)
            assert poller.drain(PATIENCE) == 4


# Retention


class Watched(MemoryStore):
    """A store that tells when a purge of it was over."""

    def __init__(self, clock=None):
        super().__init__(clock)
        self.purged = threading.Event()
        self.batches = 0

    def purge(self, older_than, statuses, limit, after):
        done = super().purge(older_than, statuses, limit, after)
        self.batches += 1
        if done.after is None:
            self.purged.set()
        return done


def test_a_worker_with_a_retention_deletes_old_runs(caplog):
    """All that ended so long ago, batch by batch, beside its work; the log tells."""
    clock = FakeClock()
    store = Watched(clock)
    store.cancel(submit_many(store, 250))
    clock.advance(31 * DAY)
    [young] = submit_many(store, 1)
    store.cancel([young])
    poller = a_poller(store, retention=30 * DAY)
    done = threading.Event()
    poller.register_executor("a.v1", lambda run: done.set())
    with caplog.at_level(logging.INFO, "simpleworkflow.worker"), working(poller):
        store.submit([new_run(str(uuid.uuid4()), "a.v1", {})])
        met(done)
        met(store.purged)
    assert store.get(young)
    assert len(Operator(store).find()) == 2
    assert store.batches == 3
    assert "deleted 250 runs that ended more than 30 days" in caplog.text


def test_a_worker_without_a_retention_deletes_nothing():
    """The default keeps everything."""
    clock = FakeClock()
    store = Watched(clock)
    store.cancel(submit_many(store, 5))
    clock.advance(10_000 * DAY)
    assert work_off(store) == 0
    assert store.batches == 0


def test_the_retention_thread_ends_with_its_worker():
    """Not in the midst of a rest that is long; and the worker waits for a batch that has begun."""
    began, may_end, at_rest = threading.Event(), threading.Event(), Watched()

    class Slow(MemoryStore):
        def purge(self, *given):
            began.set()
            met(may_end)
            return super().purge(*given)

    slow = a_poller(Slow(), retention=36_500 * DAY)
    slow.register_executor("a.v1", lambda run: None)
    poller = a_poller(at_rest, retention=36_500 * DAY)
    poller.register_executor("a.v1", lambda run: None)
    with working(poller):
        met(at_rest.purged)
    thread = threading.Thread(target=slow.start)
    thread.start()
    met(began)
    while "simpleworkflow-heartbeat" in names_of_threads():
        slow.stop()
        thread.join(0.05)
    thread.join(0.2)
    assert thread.is_alive()
    may_end.set()
    thread.join(PATIENCE)
    assert "simpleworkflow-retention" not in names_of_threads()


def names_of_threads() -> set[str]:
    """The names of all threads that have not ended."""
    return {thread.name for thread in threading.enumerate()}


def test_a_retention_that_fails_does_no_harm(caplog):
    """It is told once, tried again, and told when it works; runs are executed all the same."""
    clock = FakeClock()

    class Moody(Watched):
        tries = 0
        twice = threading.Event()

        def purge(self, older_than, statuses, limit, after):
            self.tries += 1
            if self.tries == 1:
                raise RuntimeError("out of order")
            return super().purge(older_than, statuses, limit, after)

    store = Moody(clock)
    submit_many(store, 3)
    poller = a_poller(store, retention=0.1)
    poller.register_executor("media.%", lambda run: None)
    with caplog.at_level(logging.INFO, "simpleworkflow.worker"), working(poller):
        met(store.purged)
    assert {run.status.value for run in Operator(store).find()} == {"succeeded"}
    assert caplog.text.count("deleting old runs fails, will keep trying: out of order") == 1
    assert "deleting old runs works again" in caplog.text


@pytest.mark.parametrize("retention", [0, -1, "30d"])
def test_a_retention_that_is_no_duration_is_refused(retention):
    """By its name."""
    with pytest.raises(UsageError, match="retention="):
        IntentPoller(MemoryStore(), retention=retention)


def test_a_worker_with_a_retention_needs_no_further_connection(one_database_url):
    """At most three, as without."""
    migrate(one_database_url)
    ended_long_ago(500, one_database_url)
    url = f"{one_database_url}&application_name=retention_test"
    seen = Seen()
    poller = a_poller(url, retention=DAY, observers=[seen])
    poller.register_executor("a.v1", lambda run: None)
    count = "select count(*) from pg_stat_activity where application_name = 'retention_test'"
    most = 0
    with (
        Operator(one_database_url) as operator,
        working(poller),
        psycopg.connect(without_schema(one_database_url), autocommit=True) as connection,
    ):
        for polls in range(1, 2_000):
            seen.wait(PollSucceeded, polls)
            most = max(most, connection.execute(count).fetchone()[0])
            if not operator.find(limit=1):
                break
        assert operator.find() == []
    assert 1 <= most <= 3


# Waking


@pytest.mark.parametrize("where", ["memory", "postgresql"])
def test_a_retry_wakes_an_idle_worker(request, where):
    """It hears of it at once, like of a submit."""
    url = memory_url()
    if where == "postgresql":
        url = request.getfixturevalue("one_database_url")
    migrate(url)
    seen, began = Seen(), threading.Event()
    with Client(url) as client, Operator(url) as operator:
        run_id = client.submit("a.v1", {}, max_attempts=1).id
        work_off(open_store(url), fail)
        poller = a_poller(url, poll_interval=3600, observers=[seen])
        poller.register_executor("a.v1", lambda run: began.set())
        with working(poller):
            # The first time it finds nothing it begins to listen, and looks once more.
            seen.wait(PollSucceeded, 2)
            operator.retry([run_id])
            met(began)
