"""What every law needs: fixtures, and words in which the laws are written."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from simpleworkflow.core.records import (
    Claim,
    Event,
    Extension,
    Hold,
    Rescued,
    Run,
    Settled,
    Settlement,
    Verdict,
    new_run,
)
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import Move
from simpleworkflow.core.storable import encode_json
from simpleworkflow.core.store import RunReader, Store
from simpleworkflow.testing.clock import FakeClock

OpenStore = Callable[[FakeClock], Store]
"""Opens one more handle onto the runs of this test."""

DeleteRun = Callable[[str], None]
"""Marks a run as deleted, as an operator or another program does."""

HALF_MINUTE = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)

A_TYPE = "media.thumb.v1"
NO_SUCH_RUN = "00000000-0000-4000-8000-000000000000"
PATIENCE = 30.0
"""Seconds until threads are given up that wait for each other, or get nothing done."""

T = TypeVar("T")


class Examination:
    """The fixtures of the contract."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Give a function that opens a store; the one fixture that a binder must replace."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture open_store")

    @pytest.fixture
    def delete_run(self) -> DeleteRun | None:
        """Give a function that marks a run as deleted; None says that there is no such thing."""
        return None

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The time of every handle of this test."""
        return FakeClock()

    @pytest.fixture
    def handles(self, open_store: OpenStore, clock: FakeClock) -> Iterator[Callable[[], Store]]:
        """Opens handles that are closed after the test."""
        opened: list[Store] = []

        def open_one() -> Store:
            opened.append(open_store(clock))
            return opened[-1]

        yield open_one
        for store in opened:
            store.close()

    @pytest.fixture
    def store(self, handles: Callable[[], Store]) -> Store:
        """One handle."""
        return handles()


def submit(store: Store, type: str = A_TYPE, payload: object = None, **fields: Any) -> str:
    """Submit one run, see that it was created, and return its id."""
    [answer] = store.submit([new_run(str(uuid4()), type, payload, **fields)])
    assert answer.created
    return answer.id


def submit_many(store: Store, count: int, type: str = A_TYPE) -> list[str]:
    """Submit so many runs at once and return their ids, in order."""
    answers = store.submit([new_run(str(uuid4()), type, {"n": n}) for n in range(count)])
    assert all(answer.created for answer in answers)
    return [answer.id for answer in answers]


def route(*patterns: str) -> Route:
    """The route of these patterns; of everything when there are none."""
    return Route.of(patterns or ["%"])


def claim(
    store: Store,
    *patterns: str,
    limit: int = 1_000,
    worker: str = "worker-a",
    lease: timedelta = HALF_MINUTE,
) -> list[Claim]:
    """Claim runs that match any of the patterns."""
    return store.claim(route(*patterns), limit, worker, lease)


def claim_one(store: Store, worker: str = "worker-a", lease: timedelta = HALF_MINUTE) -> Claim:
    """Claim the run that comes first; there must be one."""
    [claimed] = claim(store, limit=1, worker=worker, lease=lease)
    return claimed


def claim_all_one_by_one(store: Store) -> list[str]:
    """Claim until there is nothing left, and return the ids in the order they came."""
    ids = []
    while claimed := claim(store, limit=1):
        ids.append(claimed[0].run_id)
    return ids


def rescue(
    store: Store,
    *patterns: str,
    limit: int = 1_000,
    worker: str = "worker-b",
    lease: timedelta = HALF_MINUTE,
) -> list[Rescued]:
    """Take over expired leases."""
    return store.rescue(route(*patterns), limit, worker, lease)


def rescue_one(store: Store, worker: str = "worker-b") -> Claim:
    """Take over the one expired lease there is."""
    [rescued] = rescue(store, worker=worker)
    return rescued.claim


def succeeded(claim: Claim, result: object = None) -> Settlement:
    """The settlement of an executor that returned."""
    return Settlement(claim, Move.SUCCEED, claim.attempt, result_json=encode_json(result, "result"))


def retried(claim: Claim, delay: timedelta = MINUTE, error: str = "boom") -> Settlement:
    """The settlement of a failed attempt that has another one left."""
    return Settlement(claim, Move.RETRY, claim.attempt + 1, delay=delay, error=error)


def failed(claim: Claim, error: str = "boom") -> Settlement:
    """The settlement of the last failed attempt."""
    return Settlement(claim, Move.FAIL, claim.attempt + 1, error=error)


def released(claim: Claim) -> Settlement:
    """The settlement of a run that is given back unfinished."""
    return Settlement(claim, Move.RELEASE, claim.attempt)


Outcome = Callable[[Claim], Settlement]
OUTCOMES: list[Outcome] = [succeeded, retried, failed, released]

every_outcome = pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda o: o.__name__)
"""Runs a law once for each way in which an execution ends."""


def settle(store: Store, *settlements: Settlement) -> list[Verdict]:
    """Settle a group and return the verdicts."""
    return [answer.verdict for answer in store.settle(settlements)]


def settle_one(store: Store, settlement: Settlement) -> Verdict:
    """Settle one run and return the verdict."""
    [answer] = store.settle([settlement])
    assert isinstance(answer, Settled)
    return answer.verdict


def extend(store: Store, claim: Claim, duration: timedelta = HALF_MINUTE) -> Hold:
    """Renew one lease and return how it stands."""
    [hold] = store.extend([Extension(claim, duration)])
    return hold


def ask(store: Store, claim: Claim) -> Hold:
    """Return how a lease stands, without renewing it."""
    return extend(store, claim, timedelta(0))


def get(store: Store, run_id: str) -> Run:
    """Return a run that must be there."""
    run = store.get(run_id)
    assert run is not None
    return run


def events(store: Store, run_id: str) -> list[Event]:
    """Return the history of a run; skip the law when the store keeps none."""
    if not isinstance(store, RunReader):
        pytest.skip("this store keeps no history: it is no RunReader")
    return store.events(run_id)


def event_types(store: Store, run_id: str) -> list[str]:
    """Return what happened to a run, oldest first."""
    return [str(event.type) for event in events(store, run_id)]


def deadline() -> float:
    """Return when to give up what begins now, by the monotonic clock."""
    return time.monotonic() + PATIENCE


def together(actions: Sequence[Callable[[], T]]) -> list[T]:
    """Do all of these at the same moment, each on its own thread, and return what each gave."""
    barrier = Barrier(len(actions), timeout=PATIENCE)
    results: dict[int, T] = {}
    errors: list[BaseException] = []

    def act(index: int, action: Callable[[], T]) -> None:
        try:
            barrier.wait()
            results[index] = action()
        except BaseException as exc:
            errors.append(exc)

    threads = [
        Thread(target=act, args=(index, action), daemon=True)
        for index, action in enumerate(actions)
    ]
    for thread in threads:
        thread.start()
    end = deadline()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if errors:
        raise errors[0]
    assert len(results) == len(actions), "some threads still wait for each other"
    return [results[index] for index in range(len(actions))]
