"""The heartbeat thread by itself: what it asks of a store."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta

from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.core.records import Extension, Hold, new_run
from simpleworkflow.core.routing import Route
from simpleworkflow.testing import FakeClock
from simpleworkflow.worker.heartbeat import Heartbeat
from simpleworkflow.worker.held import HeldRun, HeldRuns
from simpleworkflow.worker.report import Report

LEASE = timedelta(seconds=30)


class Watched(MemoryStore):
    """Keeps the groups of extensions that it was asked for."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.groups: list[Sequence[Extension]] = []

    def extend(self, extensions: Sequence[Extension]) -> list[Hold]:
        self.groups.append(extensions)
        return super().extend(extensions)


def test_a_lease_is_asked_for_once_in_a_group_and_for_the_longest() -> None:
    """Two wishes for one run that meet in one statement cannot cut each other short."""
    clock = FakeClock()
    store, runs = Watched(clock), HeldRuns()
    store.submit([new_run(str(uuid.uuid4()), "a.v1", {})])
    [claim] = store.claim(Route.of(["a.v1"]), 1, "w", LEASE)
    heartbeat = Heartbeat(store, runs, LEASE, True, Report(()), lambda held: None)
    held = HeldRun(claim, heartbeat, time.monotonic(), time.monotonic() + 30)
    runs.add([held])
    wishes = [timedelta(minutes=10), timedelta(minutes=1)]
    asking = [threading.Thread(target=heartbeat.renew, args=(held, wish)) for wish in wishes]
    for thread in asking:
        thread.start()
    with heartbeat._changed:
        assert heartbeat._changed.wait_for(lambda: len(heartbeat._questions) == 2, timeout=10)
    heartbeat.start()
    for thread in asking:
        thread.join()
    heartbeat.stop()
    heartbeat.join()
    assert [[e.duration for e in group] for group in store.groups] == [[wishes[0]]]
    run = store.get(claim.run_id)
    assert run is not None
    assert run.lease_until == clock() + wishes[0]
