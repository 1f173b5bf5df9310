"""Metrics: what Prometheus is told of runs, of what waits, and of workers."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from samples import QUICK
from workers import AT_ONCE, PATIENCE, Seen, a_poller, memory_url, met, python, until, working

from simpleworkflow import Client, LeaseLost, PrometheusMetrics, UsageError, open_store
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.core import pacing
from simpleworkflow.core.events import (
    PollFailed,
    PollSucceeded,
    RunsClaimed,
    RunsSettled,
    WorkerSampled,
)
from simpleworkflow.core.roster import Announcement
from simpleworkflow.core.routing import Route
from simpleworkflow.observers.prometheus import observe_all
from simpleworkflow.observers.series import EXECUTION, GROUPS, PICKUP, SERIES
from simpleworkflow.testing import FakeClock
from simpleworkflow.worker import sampler

LEASE = timedelta(seconds=30)
OF_WORKERS = [s for s in SERIES.values() if s.labels == ("worker_id",) and s.kind == "gauge"]


class Reader:
    """Reads the series of a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of one series; None when there is none."""
        return self.registry.get_sample_value(f"workflow_{name}", labels)

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        """The values of all series of a name, by their labels."""
        return {
            tuple(sample.labels.values()): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == f"workflow_{name}"
        }

    def of_type(self, type_: str) -> dict[str, float]:
        """What was counted of a type, without what is 0."""
        counted = {
            "claimed": self("run_claimed_total", type=type_),
            **{
                status: self("run_completed_total", type=type_, status=status)
                for status in ("succeeded", "failed", "cancelled")
            },
            "failures": self("run_failed_total", type=type_),
            "lost": self("run_lease_lost_total", type=type_),
            "rescued": self("run_rescued_total", type=type_),
            "released": self("run_released_total", type=type_),
            "executed": self("run_execution_duration_seconds_count", type=type_),
            "picked up": self("run_pickup_latency_seconds_count", type=type_),
        }
        return {name: value for name, value in counted.items() if value}

    def attempts(self, type_: str) -> dict[str, float]:
        """How many attempts of a type failed, by their number."""
        found = self.all("run_failed_attempts_total")
        return {attempt: value for (of, attempt), value in found.items() if of == type_}

    def buckets(self, name: str, **labels: str) -> dict[float, float]:
        """The buckets of a histogram, each with those before it."""
        return {
            float(sample.labels["le"]): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == f"workflow_{name}_bucket"
            and {**sample.labels, **labels} == sample.labels
        }


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> PrometheusMetrics:
    return PrometheusMetrics(registry)


@pytest.fixture
def read(registry: CollectorRegistry) -> Reader:
    return Reader(registry)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(store_url: str, clock: FakeClock) -> Iterator[Any]:
    """Each store in turn, at a clock that the test moves."""
    store = open_store(store_url, clock=clock)
    yield store
    store.close()


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look at themselves, and at what waits, all the time."""
    monkeypatch.setattr(sampler, "EVERY", 0.02)
    monkeypatch.setattr(pacing, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(pacing, "LOOK_REST", 1)


def bucketed(values: Iterable[float], bounds: Iterable[float]) -> dict[float, float]:
    """What a histogram with these bounds has to tell of these values."""
    found = list(values)
    return {bound: sum(value <= bound for value in found) for bound in (*bounds, math.inf)}


def test_the_series_are_those_that_dashboards_know(metrics, registry):
    """Names, kinds and labels are a promise: what reads them is written elsewhere."""
    of_type, of_worker = ("type",), ("worker_id",)
    assert {(s.exposed_name, s.kind, s.labels) for s in SERIES.values()} == {
        ("workflow_run_claimed_total", "counter", of_type),
        ("workflow_run_completed_total", "counter", ("type", "status")),
        ("workflow_run_failed_total", "counter", of_type),
        ("workflow_run_failed_attempts_total", "counter", ("type", "attempt")),
        ("workflow_run_execution_duration_seconds", "histogram", of_type),
        ("workflow_run_pickup_latency_seconds", "histogram", of_type),
        ("workflow_run_lease_lost_total", "counter", of_type),
        ("workflow_run_rescued_total", "counter", of_type),
        ("workflow_run_released_total", "counter", of_type),
        ("workflow_run_queue_depth", "gauge", of_type),
        ("workflow_run_oldest_due_age_seconds", "gauge", of_type),
        ("workflow_run_unroutable_types", "gauge", ()),
        ("workflow_worker_poll_cycle_total", "counter", of_worker),
        ("workflow_worker_poll_errors_total", "counter", ("worker_id", "error_type")),
        ("workflow_worker_uptime_seconds", "gauge", of_worker),
        ("workflow_worker_last_poll_timestamp", "gauge", of_worker),
        ("workflow_worker_last_heartbeat_timestamp", "gauge", of_worker),
        ("workflow_worker_ready_until_timestamp", "gauge", of_worker),
        ("workflow_worker_heartbeat_lag_seconds", "gauge", of_worker),
        ("workflow_worker_runs_in_flight", "gauge", of_worker),
        ("workflow_worker_capacity", "gauge", of_worker),
        ("workflow_worker_settle_batch_size", "histogram", of_worker),
        ("workflow_worker_settle_duration_seconds", "histogram", of_worker),
    }
    exposed = {metric.name: metric.type for metric in registry.collect()}
    assert exposed == {series.name: series.kind for series in SERIES.values()}


# Runs


def test_runs_are_counted_by_how_they_end(store, metrics, read):
    """Each claim, each end with its status, each failed attempt: once."""
    client = Client(store)
    poller = a_poller(store, metrics=metrics, retry_policy=AT_ONCE, concurrency=2)

    @poller.handler("fail.%")
    def fail(run):
        raise ValueError("no use")

    @poller.handler("flaky.v1")
    def flaky(run):
        if run.attempt == 0:
            raise ValueError("not yet")

    poller.register_executor("good.v1", lambda run: "fine")
    poller.register_executor("cancel.v1", lambda run: client.cancel(run.id))
    poller.register_executor("odd.v1", lambda run: {run})
    for type_, count in {"good.v1": 3, "fail.a": 2, "fail.b": 1, "flaky.v1": 1}.items():
        client.submit_many([{"type": type_, "payload": n, "max_attempts": 2} for n in range(count)])
    client.submit("cancel.v1", {})
    client.submit("odd.v1", {})
    assert poller.drain(PATIENCE) == 13
    assert read.of_type("good.v1") == {
        "claimed": 3, "succeeded": 3, "executed": 3, "picked up": 3,
    }  # fmt: skip
    assert read.of_type("fail.%") == {
        "claimed": 6, "failed": 3, "failures": 3, "executed": 6, "picked up": 6,
    }  # fmt: skip
    assert read.attempts("fail.%") == {"0": 3, "1": 3}
    assert read.of_type("flaky.v1") == {
        "claimed": 2, "succeeded": 1, "executed": 2, "picked up": 2,
    }  # fmt: skip
    assert read.attempts("flaky.v1") == {"0": 1}
    # What came after the cancel was thrown away, and how long it took with it.
    assert read.of_type("cancel.v1") == {"claimed": 1, "cancelled": 1, "picked up": 1}
    assert read.of_type("odd.v1") == {
        "claimed": 1, "failed": 1, "failures": 1, "executed": 1, "picked up": 1,
    }  # fmt: skip
    assert read.attempts("odd.v1") == {"0": 1}
    assert {type_ for type_, in read.all("run_claimed_total")} == {
        "cancel.v1", "fail.%", "flaky.v1", "good.v1", "odd.v1",
    }  # fmt: skip


def test_late_attempts_share_a_series(store, metrics, read):
    """However many attempts a run has, there are eleven of them."""
    poller = a_poller(store, metrics=metrics, retry_policy=AT_ONCE)

    @poller.handler("t.v1")
    def fail(run):
        raise ValueError("no use")

    Client(store).submit("t.v1", {}, max_attempts=13)
    assert poller.drain(PATIENCE) == 13
    assert read.attempts("t.v1") == {**{str(n): 1 for n in range(10)}, "10+": 3}
    assert read("run_failed_total", type="t.v1") == 1


def test_failures_are_there_before_the_first(metrics, read):
    """So that the first one is a change, which a rate sees; of what was registered alone."""
    poller = a_poller(memory_url(), metrics=metrics, type_prefixes=["a.%"])
    for pattern in ("a.b.v1", "a.c.%", "b.v1"):
        poller.register_executor(pattern, lambda run: None)
    assert poller.drain(PATIENCE) == 0
    for name in ("claimed", "failed", "lease_lost", "rescued", "released"):
        assert read.all(f"run_{name}_total") == {("a.b.v1",): 0, ("a.c.%",): 0}
    assert read.all("run_completed_total") == {
        (type_, status): 0
        for type_ in ("a.b.v1", "a.c.%")
        for status in ("succeeded", "failed", "cancelled")
    }


def test_the_latency_is_from_when_a_run_was_due_to_its_claim(store, clock, metrics, read):
    """By the store's clock, so that a run for later has waited from its time on."""
    client = Client(store)
    client.submit("t.v1", {})
    client.submit("t.v1", {}, delay=6)
    clock.advance(7)
    client.submit("t.v1", {})
    poller = a_poller(store, metrics=metrics)
    poller.register_executor("t.v1", lambda run: None)
    assert poller.drain(PATIENCE) == 3
    name = "run_pickup_latency_seconds"
    assert read.buckets(name, type="t.v1") == bucketed([7, 1, 0], PICKUP)
    assert read(f"{name}_count", type="t.v1") == 3
    assert read(f"{name}_sum", type="t.v1") == 8


def test_the_duration_is_that_of_the_history(store_url, client, metrics, read):
    """What an executor took is in one bucket, and is told once for each attempt."""
    seen = Seen()
    poller = a_poller(store_url, metrics=metrics, observers=[seen], retry_policy=AT_ONCE)

    @poller.handler("t.v1")
    def work(run):
        if run.payload % 3 == 0:
            raise ValueError("no use")

    client.submit_many([{"type": "t.v1", "payload": n, "max_attempts": 2} for n in range(30)])
    assert poller.drain(PATIENCE) == 40
    told = [one for event in seen.of(RunsSettled) for one in event.settled]
    ran = [one.settlement.ran.total_seconds() for one in told]
    name = "run_execution_duration_seconds"
    assert read(f"{name}_count", type="t.v1") == len(ran) == 40
    assert read(f"{name}_sum", type="t.v1") == pytest.approx(sum(ran))
    assert read.buckets(name, type="t.v1") == bucketed(ran, EXECUTION)


@pytest.mark.parametrize("is_noticed", [True, False], ids=["heartbeat", "settlement"])
def test_a_lost_lease_is_counted_once(store, clock, metrics, read, is_noticed):
    """Whether the heartbeat notices and then the settlement, or the settlement alone."""
    thefts = []
    poller = a_poller(store, metrics=metrics)

    @poller.handler("t.v1")
    def work(run):
        clock.advance(LEASE)
        thefts.extend(store.rescue(Route.of(["t.v1"]), 1, "thief", LEASE))
        if is_noticed:
            with pytest.raises(LeaseLost):
                run.heartbeat()

    Client(store).submit("t.v1", {})
    assert poller.drain(PATIENCE) == 1
    assert [theft.lost_by for theft in thefts] == ["w"]
    assert read.of_type("t.v1") == {"claimed": 1, "lost": 1, "picked up": 1}


def test_a_rescue_is_counted_with_the_attempt_that_it_ends(store, clock, metrics, read):
    """By the worker that takes the lease over; no executor of its own has run for that."""
    client = Client(store)
    client.submit_many([{"type": "t.v1", "payload": n, "max_attempts": n} for n in (1, 2)])
    assert len(store.claim(Route.of(["t.v1"]), 2, "dead", LEASE)) == 2
    clock.advance(LEASE)
    poller = a_poller(store, metrics=metrics)
    poller.register_executor("t.v1", lambda run: None)
    with working(poller):
        until(lambda: read("run_completed_total", type="t.v1", status="succeeded") == 1)
        until(lambda: read("run_completed_total", type="t.v1", status="failed") == 1)
    assert read.of_type("t.v1") == {
        "claimed": 1, "succeeded": 1, "failed": 1, "failures": 1, "rescued": 2, "executed": 1,
        "picked up": 1,
    }  # fmt: skip
    assert read.attempts("t.v1") == {"0": 2}


def test_a_run_that_is_given_back_by_a_shutdown_is_counted(store_url, client, metrics, read):
    """Neither as an attempt nor as an end."""
    at_work, end = threading.Event(), threading.Event()
    poller = a_poller(store_url, metrics=metrics, shutdown_timeout=0)

    @poller.handler("t.v1")
    def work(run):
        at_work.set()
        met(end)

    client.submit("t.v1", {})
    try:
        with working(poller):
            met(at_work)
    finally:
        end.set()
    assert read.of_type("t.v1") == {"claimed": 1, "released": 1, "picked up": 1}
    assert read.all("run_failed_attempts_total") == {("t.v1", "0"): 0}


def test_runs_that_were_claimed_and_never_began_are_released(metrics, read):
    """A worker that stops gives back at once what waits in it, before what is at work has ended."""

    class Generous(MemoryStore):
        def claim(self, route, limit, *args):
            return super().claim(route, 6, *args)

    store, at_work, end = Generous(), threading.Event(), threading.Event()
    poller = a_poller(store, metrics=metrics)

    @poller.handler("t.v1")
    def work(run):
        at_work.set()
        met(end)

    Client(store).submit_many([{"type": "t.v1", "payload": n} for n in range(6)])
    try:
        with working(poller):
            met(at_work)
            poller.stop()
            until(lambda: read("run_released_total", type="t.v1") == 5)
            end.set()
            # The second stop, at the end of this block, would give back what is at work.
            until(lambda: read.of_type("t.v1").get("succeeded") == 1)
    finally:
        end.set()
    assert read.of_type("t.v1") == {
        "claimed": 6, "succeeded": 1, "released": 5, "executed": 1, "picked up": 6,
    }  # fmt: skip


def test_an_executor_that_comes_later_has_series_of_its_own(store_url, client, metrics, read):
    """From when it is registered, also where a wider pattern has served its types so far."""
    poller = a_poller(store_url, metrics=metrics)
    poller.register_executor("mail.%", lambda run: None)
    with working(poller):
        client.submit("mail.sms.v1", {})
        until(lambda: read("run_completed_total", type="mail.%", status="succeeded") == 1)
        poller.register_executor("mail.sms.v1", lambda run: None)
        poller.register_executor("bill.v1", lambda run: None)
        until(lambda: read("run_failed_total", type="bill.v1") == 0)
        client.submit("mail.sms.v1", {})
        client.submit("bill.v1", {})
        until(lambda: read("run_completed_total", type="bill.v1", status="succeeded") == 1)
        until(lambda: read("run_completed_total", type="mail.sms.v1", status="succeeded") == 1)
    assert read.of_type("mail.%")["claimed"] == 1


def test_no_run_is_claimed_before_its_executor_is_known(metrics, read):
    """Registered in the middle of a poll, it is told of before what that poll claims."""

    polls = iter(range(10**6))

    class Registering(MemoryStore):
        def rescue(self, *args):
            if next(polls) == 3:
                poller.register_executor("late.v1", lambda run: None)
            return super().rescue(*args)

    store = Registering()
    poller = a_poller(store, metrics=metrics)
    poller.register_executor("t.v1", lambda run: None)
    Client(store).submit("late.v1", {})
    with working(poller):
        until(lambda: read.all("run_claimed_total").keys() > {("t.v1",)})
        until(lambda: sum(read.all("run_claimed_total").values()) == 1)
    assert read.all("run_claimed_total") == {("t.v1",): 0, ("late.v1",): 1}


# What waits


@pytest.mark.usefixtures("quick_looks")
def test_what_waits_is_told_by_what_was_registered(store, clock, metrics, read):
    """How much, and for how long; of types that nobody here serves there is nothing."""
    client, end = Client(store), threading.Event()
    poller = a_poller(store, metrics=metrics)
    poller.register_executor("block.v1", lambda run: met(end))
    for pattern in ("mail.%", "mail.sms.v1", "idle.v1"):
        poller.register_executor(pattern, lambda run: None)
    client.submit("mail.card.v1", {})
    clock.advance(20)
    client.submit("mail.letter.v1", {})
    client.submit("mail.sms.v1", {})
    client.submit("mail.later.v1", {}, delay=60)
    client.submit("other.v1", {})
    client.submit("mailbox.v1", {})
    clock.advance(20)
    client.submit("mail.sms.v1", {})
    client.submit("block.v1", {}, priority=1)
    try:
        with working(poller):
            until(lambda: read("run_queue_depth", type="mail.sms.v1") == 2)
            until(lambda: read("run_queue_depth", type="block.v1") == 0)
            assert read.all("run_queue_depth") == {
                ("block.v1",): 0, ("idle.v1",): 0, ("mail.%",): 2, ("mail.sms.v1",): 2,
            }  # fmt: skip
            assert read.all("run_oldest_due_age_seconds") == {
                ("block.v1",): 0, ("idle.v1",): 0, ("mail.%",): 40, ("mail.sms.v1",): 20,
            }  # fmt: skip
            clock.advance(40)
            until(lambda: read("run_queue_depth", type="mail.%") == 3)
            assert read("run_oldest_due_age_seconds", type="mail.%") == 80
            end.set()
            until(lambda: not any(read.all("run_queue_depth").values()))
            assert not any(read.all("run_oldest_due_age_seconds").values())
    finally:
        end.set()


@pytest.mark.usefixtures("quick_looks")
def test_types_make_no_series(store, metrics, read):
    """Two hundred types below one pattern are one series, in everything that is told of them."""
    client, end = Client(store), threading.Event()
    poller = a_poller(store, metrics=metrics, concurrency=2)
    poller.register_executor("block.v1", lambda run: met(end))
    poller.register_executor("mail.%", lambda run: None)
    client.submit_many([{"type": "block.v1", "payload": n, "priority": 1} for n in range(2)])
    client.submit_many([{"type": f"mail.t{n}.v1", "payload": {}} for n in range(200)])
    try:
        with working(poller):
            until(lambda: read("run_queue_depth", type="mail.%") == 200)
            end.set()
            until(lambda: read("run_completed_total", type="mail.%", status="succeeded") == 200)
    finally:
        end.set()
    labels = {
        sample.labels["type"]
        for metric in read.registry.collect()
        for sample in metric.samples
        if "type" in sample.labels
    }
    assert labels == {"block.v1", "mail.%"}


@pytest.mark.usefixtures("quick_looks")
def test_types_that_nobody_serves_are_counted(store, clock, metrics, read):
    """After a minute, until a worker that serves them announces itself."""
    client = Client(store)
    poller = a_poller(store, metrics=metrics)
    poller.register_executor("mail.%", lambda run: None)
    for type_ in ("lost.a.v1", "lost.b.v1", "lost.b.v1"):
        client.submit(type_, {})
    client.submit("later.v1", {}, delay=60)
    clock.advance(59)
    with working(poller):
        until(lambda: read("run_queue_depth", type="mail.%") == 0)
        assert read("run_unroutable_types") == 0
        clock.advance(1)
        until(lambda: read("run_unroutable_types") == 2)
        store.announce(announcement("lost.a.%", clock()))
        until(lambda: read("run_unroutable_types") == 1)
    assert read.all("run_queue_depth") == {}


def announcement(pattern: str, now: datetime) -> Announcement:
    """What another worker says of itself."""
    return Announcement(str(uuid4()), "other", "box", 1, "1.0", (pattern,), 1, now)


class Unlisted(MemoryStore):
    """A store whose roster nobody can write, nor read when it is `broken`."""

    broken = False

    def announce(self, announcement):
        raise PermissionError("not you")

    def workers(self):
        if self.broken:
            raise LookupError("no such table")
        return super().workers()


@pytest.mark.usefixtures("quick_looks")
@pytest.mark.parametrize("broken", [False, True])
def test_a_worker_that_cannot_announce_itself_knows_what_it_serves(clock, metrics, read, broken):
    """Its own types are not called unroutable; and where nobody can know, nothing is said."""
    store, end = Unlisted(clock), threading.Event()
    store.broken = broken
    client = Client(store)
    poller = a_poller(store, metrics=metrics)
    poller.register_executor("t.v1", lambda run: met(end))
    client.submit_many([{"type": "t.v1", "payload": n} for n in range(3)])
    client.submit("lost.v1", {})
    clock.advance(timedelta(hours=1))
    try:
        with working(poller):
            until(lambda: read("run_queue_depth", type="t.v1") == 2)
            assert read("run_oldest_due_age_seconds", type="t.v1") == 3600
            until(lambda: read("run_unroutable_types") == (0 if broken else 1))
            end.set()
    finally:
        end.set()


def test_a_store_that_cannot_say_what_waits_is_worked_on(metrics, read):
    """A backend may be complete without: what waits is not told then, and all else is."""

    class Bare:
        """Only what every store has."""

        def __init__(self, store: MemoryStore) -> None:
            for name in ("submit", "claim", "rescue", "extend", "settle", "cancel", "get", "close"):
                setattr(self, name, getattr(store, name))

    store = Bare(MemoryStore())
    Client(store).submit("t.v1", {})
    poller = a_poller(store, metrics=metrics)
    poller.register_executor("t.v1", lambda run: None)
    with working(poller):
        until(lambda: read("run_completed_total", type="t.v1", status="succeeded") == 1)
        until(lambda: read("worker_capacity", worker_id="w") == 1)
    assert read("run_unroutable_types") == 0


# Workers


def test_polls_are_counted_by_how_they_went(metrics, read):
    """Each one, whether it brought runs or not, and the errors by their class."""

    errors = [OSError("away"), OSError("away"), ValueError("odd")]

    class Failing(MemoryStore):
        def claim(self, *args):
            if errors:
                raise errors.pop(0)
            return super().claim(*args)

    store, seen = Failing(), Seen()
    Client(store).submit("t.v1", {})
    poller = a_poller(store, metrics=metrics, observers=[seen])
    poller.register_executor("t.v1", lambda run: None)
    assert poller.drain(PATIENCE) == 1
    assert len(seen.of(PollFailed)) == 3
    assert read.all("worker_poll_errors_total") == {("w", "OSError"): 2, ("w", "ValueError"): 1}
    polls = len(seen.of(PollSucceeded))
    assert polls >= 2
    assert read.all("worker_poll_cycle_total") == {("w",): polls}


def test_each_group_of_outcomes_is_told_once(store_url, client, metrics, read):
    """How many one statement wrote, and how long the store took for it."""
    seen = Seen()
    poller = a_poller(store_url, metrics=metrics, observers=[seen], concurrency=4)
    poller.register_executor("t.v1", lambda run: None)
    client.submit_many([{"type": "t.v1", "payload": n} for n in range(100)])
    assert poller.drain(PATIENCE) == 100
    groups = seen.of(RunsSettled)
    sizes = [len(group.settled) for group in groups]
    name = "worker_settle_batch_size"
    assert read(f"{name}_sum", worker_id="w") == sum(sizes) == 100
    assert read.buckets(name, worker_id="w") == bucketed(sizes, GROUPS)
    name = "worker_settle_duration_seconds"
    assert read(f"{name}_count", worker_id="w") == len(groups)
    seconds = [group.seconds for group in groups]
    assert read(f"{name}_sum", worker_id="w") == pytest.approx(sum(seconds))
    claimed = sum(len(event.claims) for event in seen.of(RunsClaimed))
    assert read("run_claimed_total", type="t.v1") == claimed


@pytest.mark.usefixtures("quick_looks")
@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine"])
def test_what_is_at_work_is_told_beside_what_could_be(metrics, read, is_async):
    """Slots that are taken, by functions and coroutines alike."""
    import asyncio

    store, end = MemoryStore(), threading.Event()

    async def wait(run):
        await asyncio.to_thread(met, end)

    poller = a_poller(store, metrics=metrics, concurrency=3)
    poller.register_executor("t.v1", wait if is_async else lambda run: met(end))
    Client(store).submit_many([{"type": "t.v1", "payload": n} for n in range(2)])
    try:
        with working(poller):
            until(lambda: read("worker_runs_in_flight", worker_id="w") == 2)
            assert read("worker_capacity", worker_id="w") == 3
            end.set()
            until(lambda: read("worker_runs_in_flight", worker_id="w") == 0)
    finally:
        end.set()


@pytest.mark.usefixtures("quick_looks")
def test_a_worker_tells_when_it_was_last_heard(store_url, metrics, read):
    """Its last poll and heartbeat are of now, and it is ready for a while."""
    began_at = time.time()
    poller = a_poller(store_url, metrics=metrics, lease_duration=1)
    poller.register_executor("t.v1", lambda run: None)

    def last(what: str) -> float:
        return read(f"worker_{what}_timestamp", worker_id="w") or 0.0

    with working(poller):
        until(lambda: last("last_poll"))
        first_poll, first_beat = last("last_poll"), last("last_heartbeat")
        until(lambda: last("last_poll") > first_poll)
        until(lambda: last("last_heartbeat") > first_beat + 0.1)
        up = read("worker_uptime_seconds", worker_id="w")
        for what in ("last_poll", "last_heartbeat"):
            assert began_at - 1 <= last(what) <= time.time() + 1
        assert 0 < up <= time.time() - began_at + 1
        assert read("worker_heartbeat_lag_seconds", worker_id="w") >= 0
        until(lambda: last("ready_until") > time.time())


def test_the_first_look_waits_for_no_time(metrics, read, monkeypatch):
    """A worker is seen at work as soon as it has polled, however rarely it is looked at."""
    monkeypatch.setattr(sampler, "EVERY", 3600)
    poller = a_poller(memory_url(), metrics=metrics, lease_duration=20_000)
    poller.register_executor("t.v1", lambda run: None)
    with working(poller):
        until(lambda: read("worker_ready_until_timestamp", worker_id="w"))
        assert read("worker_ready_until_timestamp", worker_id="w") > time.time()
        until(lambda: read("run_queue_depth", type="t.v1") == 0)


def test_a_worker_is_looked_at_as_often_as_it_beats(monkeypatch):
    """What is told of it holds until the next time, however short its lease is."""
    monkeypatch.setattr(sampler, "EVERY", 3600)
    seen = Seen()
    poller = a_poller(memory_url(), observers=[seen], lease_duration=1)
    poller.register_executor("t.v1", lambda run: None)
    with working(poller):
        seen.wait(WorkerSampled, 3)


def test_a_poller_that_stops_takes_its_gauges_away(metrics, read):
    """What it was is over; what it counted stays."""
    store = MemoryStore()
    Client(store).submit("t.v1", {})
    poller = a_poller(store, metrics=metrics)
    poller.register_executor("t.v1", lambda run: None)
    for round_ in (1, 2):
        with working(poller):
            until(lambda: read("worker_last_poll_timestamp", worker_id="w"))
            until(lambda: read.all("run_queue_depth") == {("t.v1",): 0})
            assert all(read.all(s.name.removeprefix("workflow_")) for s in OF_WORKERS)
        for series in OF_WORKERS:
            assert read.all(series.name.removeprefix("workflow_")) == {}, series.name
        assert read.all("run_queue_depth") == read.all("run_oldest_due_age_seconds") == {}
        assert read("run_completed_total", type="t.v1", status="succeeded") == 1, round_
    assert read("worker_poll_cycle_total", worker_id="w") >= 2


@pytest.mark.usefixtures("quick_looks")
@pytest.mark.parametrize("names", [("w", "w"), ("one", "two")], ids=["one name", "two names"])
def test_two_pollers_of_a_process_are_counted_together(metrics, read, names):
    """Runs by their types; workers by their names, those of one name as if they were one."""
    store, end = MemoryStore(), threading.Event()
    client = Client(store)
    first = a_poller(store, metrics=metrics, worker_id=names[0], concurrency=2)
    second = a_poller(store, metrics=metrics, worker_id=names[1], concurrency=3)
    for poller in (first, second):
        poller.register_executor("t.v1", lambda run: met(end))
    second.register_executor("u.v1", lambda run: None)
    client.submit_many([{"type": "t.v1", "payload": n} for n in range(7)])

    def told(name: str) -> list[float]:
        found = read.all(f"worker_{name}")
        return [found.get((worker,), 0.0) for worker in dict.fromkeys(names)]

    both = [5] if names == ("w", "w") else [2, 3]
    try:
        with working(second):
            with working(first):
                until(lambda: told("runs_in_flight") == both)
                assert told("capacity") == both
                until(lambda: read("run_queue_depth", type="t.v1") == 2)
                end.set()
                until(lambda: read.of_type("t.v1").get("succeeded") == 7)
                until(lambda: told("runs_in_flight") == [0] * len(both))
            # The other one is at work still, and is told of.
            assert read.all("worker_capacity") == {(names[1],): 3}
            assert read.all("worker_ready_until_timestamp").keys() == {(names[1],)}
            assert read.all("run_queue_depth") == {("t.v1",): 0, ("u.v1",): 0}
        assert read.all("worker_capacity") == read.all("run_queue_depth") == {}
    finally:
        end.set()
    assert read.of_type("t.v1") == {
        "claimed": 7, "succeeded": 7, "executed": 7, "picked up": 7,
    }  # fmt: skip


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Python's threads take turns so often that one is interrupted anywhere."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("restless_threads")
def test_pollers_may_come_and_go_while_others_are_at_work(metrics, read, caplog):
    """None of them takes away what another one tells, nor fails for its sake."""
    pollers = []
    for number in range(6):
        poller = a_poller(MemoryStore(), metrics=metrics, worker_id=f"w{number % 2}")
        for n in range(20):
            poller.register_executor(f"t{number % 3}.n{n}.v1", lambda run: None)
        pollers.append(poller)
    stays = a_poller(MemoryStore(), metrics=metrics, worker_id="w0")
    stays.register_executor("t0.n0.v1", lambda run: None)

    def come_and_go(poller):
        for _ in range(10):
            poller.drain()

    with working(stays):
        threads = [threading.Thread(target=come_and_go, args=(poller,)) for poller in pollers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        until(lambda: read("worker_capacity", worker_id="w0") == 1)
        assert read.all("run_queue_depth").keys() <= {("t0.n0.v1",)}
    assert "observer" not in caplog.text


def test_a_registry_has_one_collector(metrics, registry, read):
    """A second one is refused in a sentence, and the first goes on."""
    with pytest.raises(UsageError, match="make one PrometheusMetrics for it, and give that to"):
        PrometheusMetrics(registry)
    poller = a_poller(memory_url(), metrics=metrics)
    poller.register_executor("t.v1", lambda run: None)
    poller.drain(PATIENCE)
    assert read("run_claimed_total", type="t.v1") == 0


def test_without_a_registry_it_is_the_default_one():
    """Which other metrics of the program are in."""
    program = (
        "from prometheus_client import REGISTRY\n"
        "from simpleworkflow import PrometheusMetrics\n"
        "assert PrometheusMetrics().registry is REGISTRY"
    )
    assert python(program, stderr=subprocess.DEVNULL).wait(PATIENCE) == 0


# Many values at once

values = st.lists(
    st.floats(0, 10**6)
    | st.sampled_from(EXECUTION)
    | st.sampled_from(EXECUTION).map(lambda bound: math.nextafter(bound, math.inf)),
    max_size=30,
)


def a_histogram() -> tuple[Histogram, Reader]:
    """A histogram, and who reads it."""
    registry = CollectorRegistry()
    return Histogram("workflow_h", "…", registry=registry, buckets=EXECUTION), Reader(registry)


@given(values)
@QUICK
def test_many_values_are_observed_as_one_by_one(found):
    """The same count, the same sum, the same buckets; and again on top of what was there."""
    (together, ours), (one_by_one, theirs) = a_histogram(), a_histogram()
    for _ in range(2):
        observe_all(together, iter(found))
        for value in found:
            one_by_one.observe(value)
    assert ours.buckets("h") == theirs.buckets("h") == bucketed(found * 2, EXECUTION)
    assert ours("h_count") == theirs("h_count") == 2 * len(found)
    assert ours("h_sum") == pytest.approx(theirs("h_sum"))


def test_many_values_are_observed_at_once(monkeypatch):
    """The library's parts are where they were; else counting would take longer from now on."""
    histogram, read = a_histogram()
    monkeypatch.setattr(Histogram, "observe", None)
    observe_all(histogram, [0.2, 7200.0, 0.1])
    assert read.buckets("h") == bucketed([0.1, 0.2, 7200.0], EXECUTION)


def test_where_the_librarys_parts_have_changed_values_go_one_by_one():
    """Slower, and as right."""

    class Other:
        """A histogram of a version to come."""

        def __init__(self):
            self.observed = []
            self.observe = self.observed.append

    for parts in ({}, {"_sum": 1}, {"_sum": 1, "_upper_bounds": [1, 2], "_buckets": [1]}):
        other = Other()
        vars(other).update(parts)
        observe_all(other, [3.0, 1.0])
        assert sorted(other.observed) == [1.0, 3.0], parts


# Several processes

COUNTING = """
import sys, threading
from simpleworkflow import Client, IntentPoller, PrometheusMetrics
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.worker import sampler
sampler.EVERY = 0.02
name, runs = sys.argv[1], int(sys.argv[2])
store, metrics = MemoryStore(), PrometheusMetrics()
Client(store).submit_many([{"type": "t.v1", "payload": n} for n in range(runs)])

def poller(concurrency):
    made = IntentPoller(store, None, name, 0.05, metrics=metrics, concurrency=concurrency)
    made.register_executor("t.v1", lambda run: None)
    return made

poller(runs).drain()
lasting = poller(runs)
thread = threading.Thread(target=lasting.start)
thread.start()
print("drained", flush=True)
sys.stdin.readline()
lasting.stop()
thread.join()
print("stopped", flush=True)
sys.stdin.readline()
"""
"""Drains so many runs, is at work until it is told a line, and ends after another."""


@pytest.fixture
def shared(tmp_path: Any) -> Iterator[tuple[Reader, Any]]:
    """A reader of what processes count together, and what starts one of them."""
    registry, started = CollectorRegistry(), []
    MultiProcessCollector(registry, str(tmp_path))

    def start(*arguments: str) -> subprocess.Popen[str]:
        paths = os.pathsep.join(path for path in sys.path if path)
        folder = {"PYTHONPATH": paths, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        process = python(
            COUNTING, *arguments, stdin=subprocess.PIPE, stderr=None, env={**os.environ, **folder}
        )
        started.append(process)
        assert process.stdout.readline() == "drained\n"
        return process

    yield Reader(registry), start
    for process in started:
        process.kill()
        process.communicate()


def tell(process: subprocess.Popen[str]) -> None:
    """Let it go on."""
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("names", [("w", "w"), ("one", "two")], ids=["one name", "two names"])
def test_two_processes_count_together(shared, tmp_path, names):
    """What they count adds up, and so does what is at work, until one stops or is gone."""
    read, start = shared
    first, second = start(names[0], "3"), start(names[1], "4")
    assert read.of_type("t.v1") == {
        "claimed": 7, "succeeded": 7, "executed": 7, "picked up": 7,
    }  # fmt: skip
    pickup = read.buckets("run_pickup_latency_seconds", type="t.v1")
    assert pickup[math.inf] == 7
    both = {("w",): 7} if names == ("w", "w") else {("one",): 3, ("two",): 4}
    until(lambda: read.all("worker_capacity") == both)
    until(lambda: read.all("worker_ready_until_timestamp").keys() == both.keys())
    until(lambda: read.all("run_queue_depth") == {("t.v1",): 0})
    tell(first)
    assert first.stdout.readline() == "stopped\n"
    assert {**both, (names[0],): 0, (names[1],): 4} == read.all("worker_capacity")
    until(lambda: read("worker_ready_until_timestamp", worker_id=names[1]) > time.time())
    first.communicate("\n")
    mark_process_dead(first.pid, str(tmp_path))
    assert read.all("worker_capacity") == {(names[1],): 4}
    assert read.all("worker_ready_until_timestamp").keys() == {(names[1],)}
    assert read.of_type("t.v1")["succeeded"] == 7
    tell(second)
    assert second.stdout.readline() == "stopped\n"
    assert all(math.isnan(value) for value in read.all("worker_last_poll_timestamp").values())


def test_many_values_are_observed_at_once_by_several_processes(tmp_path):
    """The parts that are files are where they were, too."""
    program = """
import math, sys
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.multiprocess import MultiProcessCollector
from simpleworkflow.observers.prometheus import observe_all

ours, theirs = (Histogram(name, "…", buckets=[1, 2, 5], registry=None) for name in "ab")
for values in ([1, 1.5, 9], [2, 2]):
    for value in values:
        theirs.observe(value)
Histogram.observe = None
for values in ([1, 1.5, 9], [2, 2]):
    observe_all(ours, values)
registry = CollectorRegistry()
MultiProcessCollector(registry)
told = {m.name: [(s.labels, s.value) for s in m.samples] for m in registry.collect()}
assert told["a"] == told["b"], told
assert ({}, 5.0) in told["a"], told
"""
    paths = os.pathsep.join(path for path in sys.path if path)
    folder = {"PYTHONPATH": paths, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    process = python(program, env={**os.environ, **folder})
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told


def test_a_folder_that_is_not_there_is_told_in_a_sentence(tmp_path, monkeypatch):
    """Whoever sets the variable has to make the folder."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=r"absent' is no folder: make it, or unset the variable"):
        PrometheusMetrics(CollectorRegistry())
