"""Laws about waiting for runs to end; a store in which nobody can wait skips them."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from simpleworkflow.core.states import TERMINAL, Status
from simpleworkflow.core.store import Endings, Store
from simpleworkflow.testing.contract.examination import (
    NO_SUCH_RUN,
    DeleteRun,
    Examination,
    claim,
    claim_one,
    failed,
    get,
    retried,
    settle,
    settle_one,
    submit,
    submit_many,
    succeeded,
    together,
)
from simpleworkflow.testing.contract.races import ROUNDS, Handles, together2

WAITERS = 16


class WaitingLaws(Examination):
    """Who waits for a run is told when it has ended, and not before."""

    @pytest.fixture
    def endings(self, store: Store) -> Endings:
        """The store, as one in which one can wait."""
        return as_endings(store)

    @pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
    def test_waiting_ends_with_the_run(
        self, store: Store, endings: Endings, handles: Handles, end: str
    ) -> None:
        """In whichever way it ends, and by whichever handle."""
        other = handles()
        for _ in range(ROUNDS):
            run_id = submit(store)
            wait = partial(endings.wait_for_end, run_id, math.inf)

            together2(partial(wait_and_look, wait, store, run_id), ender(other, run_id, end))

    def test_a_run_that_is_tried_again_is_waited_for(
        self, store: Store, endings: Endings, handles: Handles
    ) -> None:
        """A failed attempt is no end."""
        other = handles()
        for _ in range(ROUNDS):
            run_id = submit(store)
            wait = partial(endings.wait_for_end, run_id, math.inf)

            def twice(run_id: str = run_id) -> None:
                settle_one(other, retried(claim_one(other), delay=timedelta(0)))
                settle_one(other, succeeded(claim_one(other)))

            together2(partial(wait_and_look, wait, store, run_id), twice)

    def test_nobody_waits_for_what_has_ended_or_is_not_there(
        self, store: Store, endings: Endings, delete_run: DeleteRun | None
    ) -> None:
        """It returns by itself."""
        over, gone = submit(store), submit(store)
        store.cancel([over])
        ids = [over, over.upper(), NO_SUCH_RUN]
        if delete_run is not None:
            delete_run(gone)
            ids.append(gone)

        together([partial(endings.wait_for_end, run_id, math.inf) for run_id in ids])

    def test_waiting_ends_when_its_time_is_over(self, store: Store, endings: Endings) -> None:
        """And the run goes on."""
        run_id = submit(store)
        for seconds in (0.0, 0.001, 0.02):
            endings.wait_for_end(run_id, seconds)

        assert get(store, run_id).status is Status.PENDING

    def test_many_wait_at_once_each_for_its_own(
        self, store: Store, endings: Endings, handles: Handles
    ) -> None:
        """Two for each of eight runs that end together, on one handle."""
        other = handles()
        for _ in range(ROUNDS):
            ids = submit_many(store, WAITERS // 2)
            claims = claim(store)
            waits: list[Any] = [
                partial(wait_and_look, partial(endings.wait_for_end, i, math.inf), store, i)
                for i in ids * 2
            ]

            together([*waits, partial(settle, other, *map(succeeded, claims))])

    def test_who_waits_for_one_run_is_not_told_of_another(
        self, store: Store, endings: Endings, handles: Handles
    ) -> None:
        """One has ended before, more end meanwhile: whoever is told of any has time to look."""
        other = handles()
        for _ in range(ROUNDS):
            first, *others, second = submit_many(store, 10)
            other.cancel([first])
            begins = threading.Event()

            def wait(begins: threading.Event = begins, run_id: str = second) -> None:
                begins.set()
                endings.wait_for_end(run_id, math.inf)

            def end_all(
                begins: threading.Event = begins, runs: Sequence[str] = (*others, second)
            ) -> None:
                begins.wait()
                for run_id in runs:
                    other.cancel([run_id])

            together2(partial(wait_and_look, wait, store, second), end_all)


def as_endings(store: Store) -> Endings:
    """Return the store, if one can wait in it; else skip the law."""
    if not isinstance(store, Endings):
        pytest.skip("nobody can wait for runs in this store: it is no Endings")
    return store


def wait_and_look(wait: Any, store: Store, run_id: str) -> None:
    """Wait without limit, and see that the run has ended."""
    wait()
    assert get(store, run_id).status in TERMINAL


def ender(store: Store, run_id: str, end: str) -> Any:
    """What brings a run to its end."""
    if end == "cancelled":
        return partial(store.cancel, [run_id])
    settlement = {"succeeded": succeeded, "failed": failed}[end]
    return lambda: settle_one(store, settlement(claim_one(store)))
