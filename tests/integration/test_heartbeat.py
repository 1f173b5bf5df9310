"""The heartbeat thread by itself: what it asks of a store."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import pytest

from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.core.events import WorkerInfo
from simpleworkflow.core.records import Extension, Hold, new_run
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import Status
from simpleworkflow.report import Report
from simpleworkflow.testing import FakeClock
from simpleworkflow.worker.heartbeat import Heartbeat
from simpleworkflow.worker.held import HeldRun, HeldRuns

LEASE = timedelta(seconds=30)
WORKER = WorkerInfo("0b9d7c52-5a8e-4a9b-8f43-0d8a4c6d2f10", "w", 1)


class Watched(MemoryStore):
    """Keeps the groups of extensions that it was asked for."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.groups: list[Sequence[Extension]] = []

    def extend(self, extensions: Sequence[Extension]) -> list[Hold]:
        self.groups.append(extensions)
        return super().extend(extensions)


@pytest.fixture
def store() -> Watched:
    """A store whose clock stands still."""
    return Watched(FakeClock())


@pytest.fixture
def held(store: Watched) -> HeldRun:
    """A claimed run, whose heartbeat has not begun."""
    runs = HeldRuns()
    store.submit([new_run(str(uuid.uuid4()), "a.v1", {})])
    [claim] = store.claim(Route.of(["a.v1"]), 1, "w", LEASE)
    heartbeat = Heartbeat(WORKER, store, runs, LEASE, True, Report(()), lambda held: None)
    held = HeldRun(claim, heartbeat, time.monotonic(), time.monotonic() + 30)
    runs.add([held])
    return held


@contextmanager
def beating(held: HeldRun) -> Iterator[None]:
    """Its heartbeat at work."""
    held._keeper.start()
    try:
        yield
    finally:
        held._keeper.stop()
        held._keeper.join()


def test_a_lease_is_asked_for_once_in_a_group_and_for_the_longest(store, held) -> None:
    """Two wishes for one run that meet in one statement cannot cut each other short."""
    heartbeat = held._keeper
    wishes = [timedelta(minutes=10), timedelta(minutes=1)]
    asking = [threading.Thread(target=heartbeat.renew, args=(held, wish)) for wish in wishes]
    for thread in asking:
        thread.start()
    with heartbeat._changed:
        assert heartbeat._changed.wait_for(lambda: len(heartbeat._questions) == 2, timeout=10)
    with beating(held):
        for thread in asking:
            thread.join()
    assert [[e.duration for e in group] for group in store.groups] == [[wishes[0]]]
    assert store.get(held.claim.run_id).lease_until == store._clock() + wishes[0]


def test_a_tight_loop_asks_the_store_once_an_interval_and_hears_of_a_cancel(
    store, held, monkeypatch
) -> None:
    """However often an executor looks; the first look past the interval knows of the cancel."""
    monkeypatch.setattr("simpleworkflow.worker.heartbeat.CHECK_INTERVAL", 0.05)
    began_at = held.checked_at
    looks = 0
    with beating(held):
        while len(store.groups) < 3:
            looks += 1
            assert not held.is_cancelled()
        assert store.cancel([held.claim.run_id]) == [Status.CANCELLED]
        asked = len(store.groups)
        while not held.is_cancelled():
            looks += 1
    assert len(store.groups) == asked + 1
    assert len(store.groups) <= (time.monotonic() - began_at) / 0.05
    assert looks > len(store.groups)
