"""What becomes of a run in a worker: outcomes, failures, leases, cancellation, rescue."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from workers import AT_ONCE, PATIENCE, Seen, a_poller, met, python, working

from simpleworkflow import (
    Client,
    LeaseLost,
    PermanentFailure,
    RetryAfter,
    RetryPolicy,
    WorkflowExecutor,
)
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.core.events import RunLost, RunSettled, RunStarted
from simpleworkflow.core.records import Verdict
from simpleworkflow.core.routing import Route


def kinds(client, run_id):
    """The types of a run's events, in order."""
    return [str(event.type) for event in client.events(run_id)]


class RaisesAsText(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class ExitsAsText(Exception):
    def __str__(self):
        raise SystemExit(3)

    __repr__ = __str__


class NeverInitialised(RetryAfter):
    def __init__(self):
        Exception.__init__(self, "no seconds")


class Hidden(Exception):
    @property
    def __notes__(self):
        raise KeyboardInterrupt


def recursive(run):
    return recursive(run)


def chained(run):
    try:
        raise RaisesAsText
    except RaisesAsText as error:
        raise ValueError("after another") from error


def raising(error):
    def execute(run):
        raise error

    return execute


TROUBLES = {
    "ValueError": raising(ValueError("an ordinary one")),
    "SystemExit": raising(SystemExit(1)),
    "KeyboardInterrupt": raising(KeyboardInterrupt()),
    "GeneratorExit": raising(GeneratorExit()),
    "raising str": raising(RaisesAsText()),
    "exiting str": raising(ExitsAsText()),
    "raising notes": raising(Hidden()),
    "half made": raising(NeverInitialised()),
    "odd seconds": raising(RetryAfter("soon")),
    "nan seconds": raising(RetryAfter(float("nan"))),
    "huge": raising(ValueError("x" * 3_000_000)),
    "NUL": raising(ValueError("a\x00b")),
    "surrogate": raising(ValueError("a\udcffb")),
    "group": raising(BaseExceptionGroup("many", [ValueError("one"), SystemExit(2)])),
    "recursion": recursive,
    "chained": chained,
    "cancelled": raising(asyncio.CancelledError()),
    "stop iteration": raising(StopIteration()),
}


class Kept(logging.Handler):
    """Formats each record, as any handler does, and keeps it."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)
        try:
            self.format(record)
        except Exception:
            self.records.append(None)


@pytest.fixture
def kept_log(monkeypatch):
    """The runners' log, kept from pytest: xdist cannot carry text with surrogates in a report."""
    logger, handler = logging.Logger("kept"), Kept()
    logger.addHandler(handler)
    monkeypatch.setattr("simpleworkflow.observers.logging.logger", logger)
    return handler


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine"])
def test_no_exception_ends_the_worker(store_url, client, kept_log, is_async):
    """Each fails its own run with an error and a log entry; the ones between succeed."""
    poller = a_poller(store_url, execution_timeout=PATIENCE)
    ids = {}
    for number, (name, function) in enumerate(TROUBLES.items()):

        async def in_loop(run, function=function):
            await asyncio.sleep(0)
            return function(run)

        poller.register_executor(f"bad.{number}", in_loop if is_async else function)
        ids[name] = client.submit(f"bad.{number}", {}, max_attempts=1, priority=number).id
        client.submit("good.v1", {}, priority=number)
    good = []
    poller.register_executor("good.v1", lambda run: good.append(run.id))
    assert poller.drain(PATIENCE) == 2 * len(TROUBLES)
    assert len(good) == len(TROUBLES)
    assert None not in kept_log.records
    logged = {r.run_id: r for r in kept_log.records if r.levelname == "ERROR"}
    for name, run_id in ids.items():
        run = client.get(run_id)
        assert (run.status, run.attempt) == ("failed", 1), name
        assert run.last_error, name
        assert len(run.last_error) < 20_000
        # Its notes raise whenever its traceback is printed.
        assert name == "raising notes" or logged[run_id].exc_info[2] is not None
        assert run_id in logged[run_id].getMessage()
    assert "an ordinary one" in client.get(ids["ValueError"]).last_error
    assert "Traceback" in client.get(ids["ValueError"]).last_error


def test_a_task_that_exits_does_not_end_the_event_loop(store_url, client):
    """SystemExit in a task an executor started would end asyncio's loop, and other coroutines."""
    poller = a_poller(store_url, concurrency=2)
    both, released = threading.Barrier(2), threading.Event()

    async def wait(run):
        await asyncio.to_thread(both.wait, PATIENCE)
        await asyncio.to_thread(met, released)
        return "unharmed"

    async def leave():
        sys.exit(1)

    async def exit_in_a_task(run):
        await asyncio.to_thread(both.wait, PATIENCE)
        task = asyncio.create_task(leave())
        try:
            await task
        finally:
            released.set()

    poller.register_executor("wait.v1", wait)
    poller.register_executor("exit.v1", exit_in_a_task)
    waiting = client.submit("wait.v1", {}).id
    exiting = client.submit("exit.v1", {}, max_attempts=1).id
    assert poller.drain(PATIENCE) == 2
    assert client.get(waiting).result == "unharmed"
    assert client.get(exiting).status == "failed"
    assert "SystemExit" in client.get(exiting).last_error


def test_coroutines_share_one_event_loop_thread(store_url, client):
    """Ten of them meet on one thread, which is no runner's and not the main one."""
    poller = a_poller(store_url, concurrency=10)
    threads, here = set(), []

    @poller.handler("t.v1")
    async def work(run):
        threads.add(threading.current_thread())
        here.append(run.id)
        while len(here) < 10:
            await asyncio.sleep(0)

    client.submit_many({"type": "t.v1", "payload": {}} for _ in range(10))
    assert poller.drain(PATIENCE) == 10
    assert len(threads) == 1
    assert threads.pop() is not threading.current_thread()


def test_no_more_coroutines_run_at_once_than_concurrency_says(store_url, client):
    """Twenty runs, three at a time, though one thread could begin them all."""
    poller = a_poller(store_url, concurrency=3)
    at_work, most = set(), []

    @poller.handler("t.v1")
    async def work(run):
        at_work.add(run.id)
        most.append(len(at_work))
        for _ in range(20):
            await asyncio.sleep(0)
        at_work.discard(run.id)

    client.submit_many({"type": "t.v1", "payload": {}} for _ in range(20))
    assert poller.drain(PATIENCE) == 20
    assert max(most) == 3


def test_a_slow_run_among_quick_ones_holds_up_none(store_url, client, monkeypatch):
    """Quick runs are done by one thread; when it stays away, another goes on in its place."""
    # What waits is given back only after minutes: it is not how these runs get done.
    monkeypatch.setattr("simpleworkflow.core.pacing.PATIENCE", 1_000)
    seen = Seen()
    poller = a_poller(store_url, concurrency=4, observers=[seen])
    slow_is_there, is_over = threading.Event(), threading.Event()
    poller.register_executor("quick.v1", lambda run: None)

    @poller.handler("slow.v1")
    def slow(run):
        slow_is_there.set()
        met(is_over)

    client.submit_many({"type": "quick.v1", "payload": {}} for _ in range(200))
    with working(poller):
        seen.wait(RunSettled, 200)
        # Three of four slots are taken for long, and there is more to do.
        client.submit_many({"type": "slow.v1", "payload": {}, "priority": 1} for _ in range(3))
        client.submit_many({"type": "quick.v1", "payload": {}} for _ in range(300))
        met(slow_is_there)
        seen.wait(RunSettled, 500)
        is_over.set()
        seen.wait(RunSettled, 503)


def test_an_executor_class_may_be_async(store_url, client):
    """`async def execute` is awaited."""

    class Executor(WorkflowExecutor):
        async def execute(self, run):
            return {"id": run.id}

    poller = a_poller(store_url)
    poller.register_executor("t.v1", Executor())
    run_id = client.submit("t.v1", {}).id
    poller.drain()
    assert client.get(run_id).result == {"id": run_id}


def test_a_permanent_failure_is_not_tried_again(store_url, client):
    """It fails the run at its first attempt."""
    poller = a_poller(store_url, retry_policy=AT_ONCE)
    poller.register_executor("t.v1", raising(PermanentFailure("no such account")))
    run_id = client.submit("t.v1", {}).id
    assert poller.drain() == 1
    run = client.get(run_id)
    assert (run.status, run.attempt) == ("failed", 1)
    assert "no such account" in run.last_error
    assert kinds(client, run_id) == ["created", "leased", "failed"]


def test_retry_after_chooses_the_wait(store_url, client):
    """The run is pending for so long, without jitter, and the attempt counts."""
    poller = a_poller(store_url)
    poller.register_executor("t.v1", raising(RetryAfter(3600, "rate limited")))
    run_id = client.submit("t.v1", {}).id
    poller.drain()
    run = client.get(run_id)
    assert (run.status, run.attempt) == ("pending", 1)
    assert run.run_at - run.updated_at == timedelta(hours=1)
    assert "rate limited" in run.last_error


def test_the_default_retry_waits_n_squared_minutes(store_url, client):
    """After the first failure it is one minute and up to a tenth more."""
    poller = a_poller(store_url)
    poller.register_executor("t.v1", raising(ValueError()))
    run_id = client.submit("t.v1", {}).id
    poller.drain()
    run = client.get(run_id)
    assert timedelta(seconds=60) <= run.run_at - run.updated_at <= timedelta(seconds=66)


def test_a_retry_policy_holds_for_a_poller_or_an_executor(store_url, client):
    """The executor's own wins over the poller's, however it is given."""

    class Executor(WorkflowExecutor):
        retry_policy = RetryPolicy.constant(300, jitter=0)

        def execute(self, run):
            raise ValueError

    poller = a_poller(store_url, retry_policy=RetryPolicy.constant(100, jitter=0))
    poller.register_executor("poller.v1", raising(ValueError()))
    poller.register_executor("class.v1", Executor())
    poller.register_executor("given.v1", Executor(), retry_policy=RetryPolicy.linear(200, jitter=0))
    ids = {s: client.submit(f"{s}.v1", {}).id for s in ("poller", "class", "given")}
    poller.drain()
    waits = {}
    for name, run_id in ids.items():
        run = client.get(run_id)
        waits[name] = (run.run_at - run.updated_at).total_seconds()
    assert waits == {"poller": 100, "class": 300, "given": 200}


@pytest.mark.parametrize(
    "curve",
    [lambda n: 1 / 0, lambda n: -1, lambda n: None, lambda n: sys.exit(1)],
    ids=["raises", "negative", "none", "exits"],
)
def test_a_broken_curve_harms_no_run(store_url, client, caplog, curve):
    """The default serves in its place, and the log says so."""
    poller = a_poller(store_url, retry_policy=RetryPolicy(curve))
    poller.register_executor("t.v1", raising(ValueError("the failure itself")))
    run_id = client.submit("t.v1", {}).id
    assert poller.drain(PATIENCE) == 1
    run = client.get(run_id)
    assert (run.status, run.attempt) == ("pending", 1)
    assert run.run_at - run.updated_at >= timedelta(seconds=60)
    assert "the failure itself" in run.last_error
    assert "the default serves" in caplog.text


class Unfriendly(dict):
    def items(self):
        raise SystemExit(5)


UNSTORABLE = {
    "nan": (float("nan"), "NaN|nan"),
    "infinity": ([1, {"x": float("-inf")}], "inf"),
    "nul": ({"a": ["b\x00"]}, "NUL"),
    "nul in a key": ({"a\x00": 1}, "NUL"),
    "surrogate": ("\ud800", "surrogate"),
    "set": ({"tags": {1, 2}}, "set"),
    "digits": (10**5000, "digits"),
    "bytes": (b"raw", "bytes"),
    "object": (object(), "object"),
    "key": ({(1, 2): 3}, "tuple"),
    "datetime": (datetime.now(UTC), "datetime"),
    "deep": (None, "deeper"),
    "circle": (None, "deeper"),
    "unfriendly": (Unfriendly(a=1), "SystemExit"),
    "generator": ((n for n in range(3)), "generator"),
}
deep: list = []
for _ in range(2_000):
    deep = [deep]
UNSTORABLE["deep"] = (deep, "deeper")
circle: list = []
circle.append(circle)
UNSTORABLE["circle"] = (circle, "deeper")


def test_an_unstorable_result_fails_its_run_and_no_other(store_url, client):
    """Each fails for good with an error that says why; those around it succeed."""
    poller = a_poller(store_url, concurrency=4)
    poller.register_executor("bad.%", lambda run: UNSTORABLE[run.payload][0])
    poller.register_executor("good.v1", lambda run: {"n": run.payload})
    bad = {name: client.submit("bad.v1", name, priority=50).id for name in UNSTORABLE}
    good = client.submit_many({"type": "good.v1", "payload": n, "priority": 50} for n in range(60))
    assert poller.drain(PATIENCE) == len(bad) + 60
    for name, run_id in bad.items():
        run = client.get(run_id)
        assert (run.status, run.attempt, run.result_json) == ("failed", 1, None), name
        first_line = run.last_error.partition("\n")[0]

        assert re.search(UNSTORABLE[name][1], first_line), first_line
        if name != "unfriendly":
            assert "result" in first_line
    assert all(client.get(run.id).status == "succeeded" for run in good)


def test_what_only_the_database_refuses_fails_its_run_and_no_other(one_database_url):
    """A group of outcomes is taken apart until the one that spoils it stands alone."""
    from unittest.mock import patch

    poller = a_poller(one_database_url, concurrency=4, auto_migrate=True)
    poller.register_executor("bad.v1", lambda run: "\x00")
    poller.register_executor("good.v1", lambda run: run.payload)
    with Client(one_database_url, auto_migrate=True) as client:
        bad = client.submit("bad.v1", {}).id
        good = client.submit_many({"type": "good.v1", "payload": n} for n in range(50))
        # Our own check is left out, so that the server's is met.

        with patch("simpleworkflow.worker.execution.encode_json", lambda v, _: json.dumps(v)):
            assert poller.drain(PATIENCE) == 51
        run = client.get(bad)
        assert run.status == "failed"
        assert "the result cannot be stored" in run.last_error
        assert all(client.get(run.id).status == "succeeded" for run in good)


def watched(store):
    """Make a store count its heartbeats."""
    beats = threading.Semaphore(0)
    extend = store.extend

    def counted(extensions):
        holds = extend(extensions)
        if holds:
            beats.release()
        return holds

    store.extend = counted
    return beats


@pytest.fixture
def store(store_url):
    """The store itself, to be wrapped."""
    from simpleworkflow import open_store

    store = open_store(store_url)
    yield store
    store.close()


def test_heartbeats_keep_a_long_run(store, client):
    """With a lease of 1 s, a run of ten beats (3 leases) is never rescued by an eager other."""
    beats = watched(store)
    seen, done = Seen(), Seen()
    busy = a_poller(store, lease_duration=1, observers=[done])
    eager = a_poller(store, worker_id="eager", poll_interval=0.02, observers=[seen])
    run_id = client.submit("t.v1", {}, max_attempts=1).id
    at_work = threading.Event()

    @busy.handler("t.v1")
    def work(run):
        at_work.set()
        for _ in range(10):
            assert beats.acquire(timeout=PATIENCE)
        return run.worker_id

    eager.register_executor("t.v1", lambda run: run.worker_id)
    with working(busy):
        met(at_work)
        with working(eager):
            done.wait(RunSettled)
    assert client.get(run_id).result == "w"
    assert kinds(client, run_id) == ["created", "leased", "succeeded"]


def test_without_auto_heartbeat_the_executor_keeps_its_lease(store, client):
    """No beat is sent for it; its own heartbeat() extends the lease, and says when it is lost."""
    asked = []
    extend = store.extend

    def recorded(extensions):
        asked.extend(extensions)
        return extend(extensions)

    store.extend = recorded
    poller = a_poller(store, lease_duration=1, auto_heartbeat=False)
    done = Seen()
    other = a_poller(store, worker_id="other", observers=[done])
    run_id = client.submit("t.v1", {}).id
    taken, at_work = threading.Event(), threading.Event()
    seen = {}

    @poller.handler("t.v1")
    def work(run):
        run.heartbeat(2)
        at_work.set()
        met(taken)
        with pytest.raises(LeaseLost, match=run.id):
            run.heartbeat()
        assert run.is_cancelled()
        seen["lost"] = True

    @other.handler("t.v1")
    def finish(run):
        return [run.worker_id, run.attempt]

    with working(poller):
        met(at_work)
        with working(other):
            done.wait(RunSettled, 2)  # the crash, and the second attempt
            taken.set()
    assert seen["lost"]
    assert {e.duration for e in asked if e.claim.worker_id == "w"} >= {timedelta(seconds=2)}
    assert client.get(run_id).result == ["other", 1]
    assert kinds(client, run_id) == [
        "created", "leased", "rescued", "retried", "leased", "succeeded",
    ]  # fmt: skip


def test_an_execution_timeout_fails_the_attempt(store_url, client):
    """The run is settled while its executor still hangs, which learns of it."""
    run_id = client.submit("t.v1", {}, max_attempts=1).id
    seen, told = Seen(), threading.Event()
    may_end = threading.Event()
    poller = a_poller(store_url, execution_timeout=0.1, observers=[seen])

    @poller.handler("t.v1")
    def hang(run):
        met(may_end)
        if run.is_cancelled():
            told.set()
        return "too late"

    with working(poller):
        seen.wait(RunSettled)
        run = client.get(run_id)
        assert run.status == "failed"
        assert "execution_timeout of 0.1 s" in run.last_error
        may_end.set()
        met(told)
    assert client.get(run_id).result is None
    assert len(seen.of(RunSettled)) == 1


def test_an_execution_timeout_cancels_a_coroutine(store_url, client):
    """Unlike a thread, it can be ended, and its slot is free at once."""
    poller = a_poller(store_url, execution_timeout=0.1)
    ended = []

    @poller.handler("t.v1")
    async def hang(run):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(run.id)

    run_id = client.submit("t.v1", {}, max_attempts=1).id
    assert poller.drain(PATIENCE) == 1
    assert ended == [run_id]
    assert client.get(run_id).status == "failed"
    assert "TimeoutError" in client.get(run_id).last_error


@pytest.mark.parametrize("reaction", ["raises", "raise_if_cancelled", "succeeds"])
def test_a_cancelled_run_stays_cancelled(store_url, client, reaction):
    """Its executor learns of it, and whatever it does then is kept in the history only."""
    run_id = client.submit("t.v1", {}).id
    at_work, done = threading.Event(), Seen()
    poller = a_poller(store_url, observers=[done], lease_duration=1, retry_policy=AT_ONCE)

    @poller.handler("t.v1")
    def work(run):
        at_work.set()
        ends_at = time.monotonic() + PATIENCE
        while not run.is_cancelled():
            assert time.monotonic() < ends_at
        if reaction == "raise_if_cancelled":
            run.raise_if_cancelled()
        if reaction == "raises":
            raise Exception("Workflow cancelled by user")
        return "finished anyway"

    with working(poller):
        met(at_work)
        assert client.cancel(run_id) is True
        settled = done.wait(RunSettled)
    assert settled[0].verdict is Verdict.CANCELLED
    run = client.get(run_id)
    assert (run.status, run.attempt, run.result) == ("cancelled", 0, None)
    assert kinds(client, run_id) == ["created", "leased", "cancelled", "discarded"]
    if reaction == "succeeds":
        assert client.events(run_id)[-1].data["result"] == "finished anyway"
    assert client.cancel(run_id) is True
    assert poller.drain() == 0


def test_a_run_cancelled_before_its_claim_is_never_executed(store_url, client):
    """Nobody claims it."""
    run_id = client.submit("t.v1", {}).id
    client.cancel(run_id)
    poller = a_poller(store_url)
    poller.register_executor("t.v1", lambda run: None)
    assert poller.drain() == 0
    assert kinds(client, run_id) == ["created", "cancelled"]


def test_a_claim_whose_answer_came_too_late_is_not_executed():
    """The lease runs from before the claim is sent: past it another worker may be at it."""
    done = []

    class SlowAnswer(MemoryStore):
        is_slow = True

        def claim(self, *args):
            claims = super().claim(*args)
            if claims and self.is_slow:
                self.is_slow = False
                # Meanwhile the lease runs out, and another worker rescues the run.
                while not self.rescue(Route.of(["%"]), 1, "other", timedelta(seconds=1)):
                    threading.Event().wait(0.02)
            return claims

    store = SlowAnswer()
    seen = Seen()
    poller = a_poller(store, lease_duration=1, observers=[seen])
    poller.register_executor("t.v1", lambda run: done.append(run.fence))
    Client(store).submit("t.v1", {})
    with working(poller):
        # First the release of the late claim, then the crash of "other", then the second attempt.
        seen.wait(RunStarted)
    assert done
    assert min(done) > 2, "the claim with fence 1 was executed although its lease was over"


def test_a_lost_lease_is_reported_once(store, client):
    """Observers learn of it, and the outcome of the first worker is refused."""
    run_id = client.submit("t.v1", {}).id
    seen, at_work = Seen(), threading.Event()
    poller = a_poller(store, lease_duration=1, observers=[seen])

    @poller.handler("t.v1")
    def work(run):
        at_work.set()
        seen.wait(RunLost)
        for _ in range(3):
            with pytest.raises(LeaseLost):
                run.heartbeat()

    with working(poller):
        met(at_work)
        # Beats are held back until another worker has rescued it.
        extend = store.extend
        store.extend = lambda extensions: (_ for _ in ()).throw(ConnectionError("cut off"))
        rescued = []
        while not rescued:
            rescued = store.rescue(Route.of(["t.v1"]), 1, "other", timedelta(seconds=PATIENCE))
            if not rescued:
                threading.Event().wait(0.02)
        store.extend = extend
        settled = seen.wait(RunSettled)
    assert rescued[0].lost_by == "w"
    assert settled[0].verdict is Verdict.LOST
    assert len(seen.of(RunLost)) == 1
    assert client.get(run_id).leased_by == "other"


VICTIM = """
import os, signal, sys, threading
from simpleworkflow import IntentPoller
poller = IntentPoller(sys.argv[1], None, sys.argv[2], 0.05, 1)

@poller.handler("t.v1")
def work(run):
    if len(sys.argv) > 3:
        os.kill(os.getpid(), signal.SIGKILL)
    print("at work", flush=True)
    threading.Event().wait()

poller.start()
"""


def test_a_killed_workers_run_is_executed_by_another(one_database_url):
    """The crash counts as an attempt, and the history tells of it."""
    with Client(one_database_url, auto_migrate=True) as client:
        run_id = client.submit("t.v1", {}).id
        victim = python(VICTIM, one_database_url, "victim", stderr=subprocess.DEVNULL)
        assert victim.stdout.readline() == "at work\n"
        victim.kill()
        victim.communicate()
        seen = Seen()
        poller = a_poller(one_database_url, observers=[seen])
        poller.register_executor("t.v1", lambda run: [run.worker_id, run.attempt])
        with working(poller):
            seen.wait(RunSettled, 2)
        assert client.get(run_id).result == ["w", 1]
        events = client.events(run_id)
        assert [event.type for event in events] == [
            "created", "leased", "rescued", "retried", "leased", "succeeded",
        ]  # fmt: skip
        assert events[2].data["lost_by"] == "victim"
        assert "'victim' died" in events[3].data["error"]


def test_a_run_that_kills_every_worker_ends_failed(one_database_url):
    """After max_attempts crashes nobody tries it again, and the error says why."""
    with Client(one_database_url, auto_migrate=True) as client:
        run_id = client.submit("t.v1", {}, max_attempts=2).id
        for name in ("first", "second"):
            victim = python(VICTIM, one_database_url, name, "kill", stderr=subprocess.DEVNULL)
            assert victim.wait(PATIENCE) == -signal.SIGKILL
            victim.communicate()
        seen = Seen()
        poller = a_poller(one_database_url, observers=[seen])
        poller.register_executor("t.v1", lambda run: "never")
        with working(poller):
            seen.wait(RunSettled)
        run = client.get(run_id)
        assert (run.status, run.attempt, run.result) == ("failed", 2, None)
        assert "'second' died" in run.last_error
        assert "attempt 2 of 2" in run.last_error


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_an_observer_that_raises_harms_no_run(store_url, client, caplog, error):
    """It is logged, and the observers after it are told as well."""

    def broken(event):
        raise error("the observer is broken")

    seen = Seen()
    poller = a_poller(store_url, observers=[broken, seen], execution_timeout=PATIENCE)
    poller.register_executor("t.v1", lambda run: None)
    client.submit_many({"type": "t.v1", "payload": n} for n in range(20))
    assert poller.drain(PATIENCE) == 20
    assert len(seen.of(RunSettled)) == 20
    assert "the observer is broken" in caplog.text


def test_a_payload_python_cannot_read_fails_for_good(one_database_url, one_server):
    """Another language's producer may store numbers that Python refuses to read."""
    from servers import schema_of

    with Client(one_database_url, auto_migrate=True) as client, one_server.connect() as connection:
        (run_id,) = connection.execute(
            f"insert into {schema_of(one_database_url)}.workflow_run (type, payload) "
            f"values ('t.v1', '{'9' * 5000}') returning id::text"
        ).fetchone()
        ok = client.submit("t.v1", {}).id
        poller = a_poller(one_database_url, concurrency=2)
        poller.register_executor("t.v1", lambda run: None)
        assert poller.drain(PATIENCE) >= 1
        assert client.get(ok).status == "succeeded"
        (status, error) = connection.execute(
            f"select status, last_error from {schema_of(one_database_url)}.workflow_run "
            "where id = %s",
            [run_id],
        ).fetchone()
        assert status == "failed"
        assert "the payload cannot be read as JSON" in error
