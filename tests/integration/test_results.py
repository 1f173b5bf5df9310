"""A client waits for runs and gets their results, on every store."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from workers import AT_ONCE, PATIENCE, a_poller, memory_url, met, working

from simpleworkflow import (
    Client,
    PermanentFailure,
    RunCancelled,
    RunFailed,
    RunNotFound,
    SimpleWorkflowError,
    StoreUnavailable,
    UsageError,
    WaitTimeout,
    migrate,
    open_store,
)
from simpleworkflow.backends.postgres.waiting import EndWatch
from simpleworkflow.core.errors import StoreClosed
from simpleworkflow.core.routing import Route
from simpleworkflow.core.store import Store
from simpleworkflow.results import wait_for
from simpleworkflow.testing import FakeClock

NO_SUCH_RUN = "0b9d7c52-5a8e-4a9b-8f43-0d8a4c6d2f10"


@pytest.mark.parametrize("result", [{"sent": True}, [1, None], "done", None])
def test_a_result_is_what_the_executor_returned(client, store_url, result):
    """Whatever JSON can hold, null included."""
    poller = a_poller(store_url)
    poller.register_executor("t.v1", lambda run: result)
    with working(poller):
        run_id = client.submit("t.v1", {}).id
        assert client.result(run_id, PATIENCE) == result
    run = client.wait(run_id)
    assert (run.id, run.status, run.result) == (run_id, "succeeded", result)
    assert client.wait(run_id, 0) == run


def test_a_failed_attempt_is_no_end(client, store_url):
    """The second one succeeds, and that is what is told."""
    poller = a_poller(store_url, retry_policy=AT_ONCE)
    poller.register_executor("t.v1", lambda run: 1 / run.attempt)
    with working(poller):
        assert client.result(client.submit("t.v1", {}).id, timedelta(seconds=PATIENCE)) == 1.0


def test_a_failed_run_tells_its_error(client, store_url):
    """In one line, and as a whole; `wait` returns the run without complaint."""
    poller = a_poller(store_url)

    @poller.handler("t.v1")
    def fail(run):
        raise PermanentFailure("the card has expired")

    run_id = client.submit("t.v1", {}).id
    with working(poller), pytest.raises(RunFailed) as told:
        client.result(run_id, PATIENCE)
    assert str(told.value).startswith(f"run {run_id} failed: ")
    assert str(told.value).endswith("PermanentFailure: the card has expired")
    run = client.wait(run_id, PATIENCE)
    assert (told.value.run_id, told.value.error) == (run_id, run.last_error)
    assert "Traceback" in told.value.error


def test_a_cancelled_run_has_no_result(client):
    """Whoever waits hears of it."""
    run_id = client.submit("t.v1", {}).id
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.result, run_id, PATIENCE)
        client.cancel(run_id)
        with pytest.raises(RunCancelled, match=run_id):
            waiting.result(PATIENCE)
    assert client.wait(run_id).status == "cancelled"


def test_a_run_that_takes_too_long_is_a_timeout(client):
    """Of ours and of Python's; the run is untouched. 0 only looks."""
    run_id = client.submit("t.v1", {}).id
    for ask in (client.wait, client.result):
        for timeout in (0, 0.03, timedelta(milliseconds=30)):
            with pytest.raises(TimeoutError, match=f"run {run_id} was still pending") as told:
                ask(run_id, timeout)
            assert isinstance(told.value, WaitTimeout)
            assert isinstance(told.value, SimpleWorkflowError)
    assert client.get(run_id).status == "pending"


def test_an_unknown_run_is_not_waited_for(client):
    """Nor is what is no id; whatever the timeout."""
    for ask in (client.wait, client.result):
        with pytest.raises(RunNotFound, match=NO_SUCH_RUN):
            ask(NO_SUCH_RUN)
        with pytest.raises(UsageError, match="'7' is no UUID"):
            ask("7")


@pytest.mark.parametrize("timeout", [-1, "5", float("nan"), timedelta(-1), [], True])
def test_a_timeout_that_is_none_is_refused(timeout):
    """By its name."""
    with Client(memory_url()) as client:
        run_id = client.submit("t.v1", {}).id
        for ask in (client.wait, client.result):
            with pytest.raises(UsageError, match=r"^timeout="):
                ask(run_id, timeout)


def test_a_clock_that_stands_still_does_not_hold_up_who_waits():
    """The timeout is the caller's own time, and the end of a run wakes at once."""
    store = open_store(memory_url(), clock=FakeClock())
    client, poller = Client(store), a_poller(store)
    poller.register_executor("t.v1", lambda run: run.payload)
    run_id = client.submit("t.v1", 7).id
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.result, run_id)
        poller.drain(PATIENCE)
        assert waiting.result(PATIENCE) == 7
    with pytest.raises(WaitTimeout):
        client.wait(client.submit("t.v1", {}).id, 0.01)


def test_many_threads_wait_on_one_client(client, store_url):
    """Each gets the result of its own run."""
    poller = a_poller(store_url, concurrency=4)
    poller.register_executor("t.v1", lambda run: run.payload)
    ids = [
        each.id for each in client.submit_many({"type": "t.v1", "payload": n} for n in range(20))
    ]
    with ThreadPoolExecutor(20) as pool, working(poller):
        waiting = [pool.submit(client.result, run_id, PATIENCE) for run_id in ids]
        assert [each.result() for each in waiting] == list(range(20))


def test_one_question_serves_all_who_wait():
    """Two threads wait for different runs, and are asked for together."""
    asked = []

    def ended(run_ids):
        asked.append(set(run_ids))
        return set(run_ids) if {"a", "b"} in asked else set()

    watch = EndWatch(ended)
    with ThreadPoolExecutor(2) as pool:
        for waiting in [pool.submit(watch.wait, run_id, PATIENCE) for run_id in "ab"]:
            waiting.result(PATIENCE)
    assert {"a", "b"} in asked


def test_a_store_that_is_lost_is_an_error_to_who_waits_in_it():
    """What a thread cannot ask it does not hide, and the others go on."""
    may_fail = threading.Event()

    def ended(run_ids):
        if may_fail.is_set():
            return set(run_ids)
        may_fail.set()
        raise StoreUnavailable("gone")

    watch = EndWatch(ended)
    with pytest.raises(StoreUnavailable):
        watch.wait("a", PATIENCE)
    watch.wait("a", PATIENCE)


def test_closing_a_client_ends_its_waiting(store_url):
    """With the error of a store that was closed."""
    with closing(open_store(store_url)) as store:
        with Client(store) as client:
            run_id = client.submit("t.v1", {}).id
        with ThreadPoolExecutor(1) as pool:
            waiting = begin_to_wait(pool, store, run_id)
            store.close()
            with pytest.raises(StoreClosed):
                waiting.result(PATIENCE)


@pytest.mark.parametrize("driver", ["postgresql:", "postgresql+pg8000:"])
def test_waiting_outlives_a_restart_of_the_server(one_server, one_database_url, driver):
    """Whoever waits hears of the end of the run afterwards."""
    url = one_database_url.replace("postgresql:", driver)
    migrate(url)
    with closing(open_store(url)) as store, ThreadPoolExecutor(1) as pool:
        run_id = Client(store).submit("t.v1", {}).id
        waiting = begin_to_wait(pool, store, run_id)
        one_server.restart()
        poller = a_poller(url)
        poller.register_executor("t.v1", lambda run: "after")
        assert poller.drain(PATIENCE) == 1
        assert waiting.result(PATIENCE).result == "after"


def begin_to_wait(pool, store, run_id):
    """Wait on another thread, which has seen the run once when this returns."""
    seen = threading.Event()

    def get(run_id):
        run = Client(store).get(run_id)
        seen.set()
        return run

    waiting = pool.submit(wait_for, store, get, run_id, 2 * PATIENCE)
    met(seen)
    return waiting


def test_a_server_that_is_not_there_is_told_at_once():
    """A wrong URL is seen at the start, and not waited for."""
    url = "postgresql://nobody@127.0.0.1:1/none"
    with Client(url) as client, pytest.raises(StoreUnavailable):
        client.wait(NO_SUCH_RUN)


class AStoreWithoutMore:
    """A third party's store, which has what a Store must have and nothing besides."""

    def __init__(self) -> None:
        store = open_store(memory_url())
        for name in ("submit", "claim", "extend", "settle", "rescue", "cancel", "get", "close"):
            setattr(self, name, getattr(store, name))


def test_a_store_in_which_nobody_can_wait_says_so():
    """And one that keeps keys for ever refuses another scope, in submit and in submit_many."""
    store = AStoreWithoutMore()
    assert isinstance(store, Store)
    client = Client(store)
    run_id = client.submit("t.v1", {}, idempotency_key="k", key_scope="forever").id

    with pytest.raises(UsageError, match=r"AStoreWithoutMore.* cannot be waited in.*`get`"):
        client.wait(run_id, 0)
    with pytest.raises(UsageError, match=r"AStoreWithoutMore.* for ever: leave key_scope out"):
        client.submit("t.v1", {}, idempotency_key="l", key_scope="active")
    run = {"type": "t.v1", "payload": {}, "idempotency_key": "l", "key_scope": 60}
    with pytest.raises(UsageError, match=r"run 0 of submit_many: .*leave key_scope out"):
        client.submit_many([run])
    assert len(store.claim(Route.of(["%"]), 10, "w", timedelta(seconds=30))) == 1
