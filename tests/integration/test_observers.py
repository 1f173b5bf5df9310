"""Observers: told in order, of what they want, and never in the way of what they watch."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from workers import AT_ONCE, PATIENCE, a_poller

from simpleworkflow import Client, IntentPoller, UsageError
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.core.admin import TypeStats
from simpleworkflow.core.events import (
    RunsClaimed,
    RunsSettled,
    RunsSubmitted,
    RunsSubmitting,
    RunStarted,
    WorkerSampled,
)
from simpleworkflow.worker import sampler

AROUND = (RunsSubmitting, RunStarted)
"""What may be answered with a context manager."""


class Around:
    """An observer that answers with context managers, and writes down what becomes of them."""

    event_kinds = AROUND

    def __init__(self, lines: list[str], name: str) -> None:
        self._lines = lines
        self._name = name

    def __call__(self, event: object) -> AbstractContextManager[None]:
        """Write down the kind of the event before, and after it that or the exception."""
        return self._around(type(event).__name__)

    @contextmanager
    def _around(self, kind: str) -> Any:
        self._lines.append(f"{self._name} before {kind}")
        try:
            yield
        except BaseException as exc:
            self._lines.append(f"{self._name} after {type(exc).__name__}")
            raise
        self._lines.append(f"{self._name} after {kind}")


class Manager:
    """A context manager that does one thing wrong."""

    def __init__(self, wrong: str, error: type[BaseException]) -> None:
        self._wrong = wrong
        self._error = error

    def __enter__(self) -> None:
        self._do("__enter__")

    def __exit__(self, *raised: object) -> bool:
        self._do("__exit__")
        return self._wrong == "returns True"

    def _do(self, what: str) -> None:
        if what == self._wrong:
            raise self._error(f"the observer is broken in {what}")


def broken(wrong: str, error: type[BaseException] = ValueError) -> Callable[[Any], Any]:
    """An observer that does one thing wrong where something goes on inside of its answer."""

    def observe(event: object) -> Manager | None:
        if not isinstance(event, AROUND):
            return None
        if wrong == "__call__":
            raise error("the observer is broken in __call__")
        return Manager(wrong, error)

    return observe


WRONG = ["__call__", "__enter__", "__exit__"]


def function(run):
    if run.payload == "fail":
        raise LookupError("as it should")
    return [run.payload, threading.current_thread().name.startswith("simpleworkflow")]


async def coroutine(run):
    return function(run)


EXECUTORS = pytest.mark.parametrize("executor", [function, coroutine])


def a_worker(executor: Any, url: str, *observers: Any, **options: Any) -> IntentPoller:
    poller = a_poller(url, observers=observers, retry_policy=AT_ONCE, **options)
    poller.register_executor("t.v1", executor)
    return poller


@EXECUTORS
@pytest.mark.parametrize("error", [ValueError, SystemExit])
@pytest.mark.parametrize("wrong", WRONG)
def test_an_observer_that_breaks_harms_nothing(caplog, executor, wrong, error):
    """It is logged; submit and executor go on, and other observers are told and entered."""
    url, lines = f"memory://{id(caplog)}", []
    bad, good = broken(wrong, error), Around(lines, "good")
    with Client(url, observers=[bad, good]) as client:
        good_id, bad_id = (r.id for r in client.submit_many(
            [{"type": "t.v1", "payload": p, "max_attempts": 1} for p in ("work", "fail")]
        ))  # fmt: skip
        assert a_worker(executor, url, bad, good, concurrency=1).drain(PATIENCE) == 2
        assert client.get(good_id).result == ["work", True]
        assert client.get(bad_id).last_error.startswith("LookupError: as it should")
    assert lines == [
        "good before RunsSubmitting",
        "good after RunsSubmitting",
        "good before RunStarted",
        "good after RunStarted",
        "good before RunStarted",
        "good after LookupError",
    ]
    told = [record for record in caplog.records if record.name == "simpleworkflow.observers"]
    assert [record.getMessage().rpartition(" ")[2] for record in told] == [
        "RunsSubmitting", "RunStarted", "RunStarted",
    ]  # fmt: skip
    assert all(f"broken in {wrong}" in str(record.exc_info[1]) for record in told)


@EXECUTORS
def test_an_observer_swallows_no_exception(caplog, executor):
    """A context manager that says it has dealt with the exception changes no outcome."""
    url = f"memory://{id(caplog)}"
    swallowing = broken("returns True")
    with Client(url, observers=[swallowing]) as client:
        with pytest.raises(UsageError, match="no transactions"):
            client.submit("t.v1", {}, connection=object())
        run_id = client.submit("t.v1", "fail", max_attempts=2).id
        assert a_worker(executor, url, swallowing).drain(PATIENCE) == 2
        run = client.get(run_id)
    assert (run.status, run.attempt) == ("failed", 2)
    assert run.last_error.startswith("LookupError: as it should")
    assert [r for r in caplog.records if r.name == "simpleworkflow.observers"] == []


@EXECUTORS
def test_an_observer_leaves_no_trace_in_an_error(executor):
    """What is recorded of a failed attempt is the same, whoever watches."""

    def last_error(*observers: Any) -> str:
        url = f"memory://{len(observers)}-{id(observers)}"
        with Client(url) as client:
            run_id = client.submit("t.v1", "fail", max_attempts=1).id
            a_worker(executor, url, *observers).drain(PATIENCE)
            # The worker has a line of its own for calls with nothing around them.
            return re.sub(r"line \d+", "line …", client.get(run_id).last_error or "")

    assert "line …, in function" in last_error()
    assert last_error() == last_error(Around([], "one"), broken("__exit__"))


def test_observers_are_entered_in_order_and_left_in_reverse():
    """As if each `with` stood inside of the one before it."""
    lines: list[str] = []
    observers = [Around(lines, "first"), Around(lines, "second")]
    with Client(f"memory://{id(lines)}", observers=observers) as client:
        client.submit("t.v1", {})
    assert lines == [
        "first before RunsSubmitting",
        "second before RunsSubmitting",
        "second after RunsSubmitting",
        "first after RunsSubmitting",
    ]


def test_what_a_submit_raises_passes_through_observers():
    """They see it, and the caller gets it."""
    lines: list[str] = []
    client = Client(f"memory://{id(lines)}", observers=[Around(lines, "one")])
    with client, pytest.raises(UsageError, match="no transactions"):
        client.submit("t.v1", {}, connection=object())
    assert lines == ["one before RunsSubmitting", "one after UsageError"]


@EXECUTORS
def test_a_payload_that_cannot_be_read_is_seen(executor):
    """The executor is not called, and what is around it sees why all the same."""
    url, lines = f"memory://{id(executor)}-{id(EXECUTORS)}", []
    poller = a_poller(url, observers=[Around(lines, "one")])
    poller.register_executor("t.v1", executor, payload_type=dict[str, int])
    with Client(url) as client:
        client.submit("t.v1", "no dict")
        poller.drain(PATIENCE)
    assert lines == ["one before RunStarted", "one after PayloadMismatch"]


def test_a_coroutine_is_watched_where_it_runs():
    """Its context manager is entered and left on the event loop, around the await."""
    url, threads = "memory://where", []

    @contextmanager
    def around() -> Any:
        threads.append(threading.current_thread().name)
        yield
        threads.append(threading.current_thread().name)

    async def executor(run: Any) -> None:
        threads.append(threading.current_thread().name)

    def observe(event: object) -> Any:
        return around() if isinstance(event, RunStarted) else None

    with Client(url) as client:
        client.submit("t.v1", {})
        a_worker(executor, url, observe).drain(PATIENCE)
    assert threads == ["simpleworkflow-loop"] * 3


def test_an_observer_is_told_of_the_kinds_that_it_wants():
    """Of no others; without the attribute, of all."""

    class Choosy(list):
        event_kinds = (RunsSubmitted, RunsClaimed)
        __call__ = list.append

    url, choosy, everything = "memory://kinds", Choosy(), []
    with Client(url, observers=[choosy, everything.append]) as client:
        client.submit("t.v1", {})
        a_worker(function, url, choosy, everything.append).drain(PATIENCE)
    assert [type(event) for event in choosy] == [RunsSubmitted, RunsClaimed]
    kinds = [type(event) for event in everything]
    assert {RunsSubmitting, RunsSubmitted, RunsClaimed, RunStarted, RunsSettled} <= set(kinds)


def test_a_carrier_travels_with_each_run_and_the_producers_headers_win():
    """What an observer puts in reaches executors; a header that the producer gave stays."""

    def carry(event: Any) -> None:
        event.carrier.update(a="observed", b="observed")

    carry.event_kinds = (RunsSubmitting,)  # type: ignore[attr-defined]
    url = "memory://carrier"
    with Client(url, observers=[carry]) as client:
        alone = client.submit("t.v1", {}, headers={"b": 1, "c": [2]})
        many = client.submit_many([{"type": "t.v1", "payload": n} for n in range(2)])
        assert client.get(alone.id).headers == {"a": "observed", "b": 1, "c": [2]}
        assert all(client.get(run.id).headers == {"a": "observed", "b": "observed"} for run in many)


class Watched(MemoryStore):
    """A store in memory that counts how often somebody asked what waits in it."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def stats(self) -> list[TypeStats]:
        """See RunAdmin.stats."""
        self.looks += 1
        return super().stats()


def test_a_worker_looks_at_itself_at_once_and_later_at_what_waits(monkeypatch):
    """So that a short drain does not pay for what nobody will scrape."""
    monkeypatch.setattr(sampler, "EVERY", 3600.0)
    sampled = threading.Event()

    def observe(event: object) -> None:
        if isinstance(event, WorkerSampled):
            sampled.set()

    store = Watched()
    poller = IntentPoller(store, observers=[observe], lease_duration=timedelta(hours=10))
    poller.register_executor("a.v1", lambda run: sampled.wait(PATIENCE))
    with Client(store) as client:
        client.submit("a.v1", {})
        poller.drain()
        assert sampled.is_set()
        assert store.looks == 0
