"""How a client waits for a run, and what comes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

from simpleworkflow.core.errors import (
    RunCancelled,
    RunFailed,
    StoreUnavailable,
    UsageError,
    WaitTimeout,
)
from simpleworkflow.core.pacing import pause_after_failures, pause_of_wait
from simpleworkflow.core.records import Run
from simpleworkflow.core.states import TERMINAL, Status
from simpleworkflow.core.storable import check_duration
from simpleworkflow.core.store import Endings, Store


def wait_for(
    store: Store, get: Callable[[str], Run], run_id: str, timeout: float | timedelta | None
) -> Run:
    """Return a run when it has ended; a store that is lost on the way is waited for, too.

    Args:
        store: where the run is.
        get: reads a run of it.
        run_id: the run's id.
        timeout: seconds or a timedelta; None waits for ever.

    Raises:
        WaitTimeout: it has not ended by then.
        UsageError: the timeout is no duration, or nobody can wait in this store.
    """
    patience = Patience(timeout)
    if not isinstance(store, Endings):
        raise UsageError(f"{store!r} cannot be waited in: ask with `get` now and then instead")
    run = get(run_id)
    while run.status not in TERMINAL:
        left = patience.left(run)
        try:
            store.wait_for_end(run_id, left)
            run = get(run_id)
            patience.answered()
        except StoreUnavailable as exc:
            time.sleep(min(left, patience.after(exc)))
    return run


class Patience:
    """How long somebody waits for a run, a store that is lost on the way included.

    Args:
        timeout: seconds or a timedelta; None waits for ever.

    Raises:
        UsageError: the timeout is no duration.
    """

    def __init__(self, timeout: float | timedelta | None) -> None:
        self._timeout = timeout
        self._began = time.monotonic()
        self._end = self._began + _seconds(timeout)
        self._failures = 0
        self._trouble: StoreUnavailable | None = None

    def left(self, run: Run) -> float:
        """Return the seconds that are left for this run to end.

        Raises:
            WaitTimeout: none are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise WaitTimeout(
                f"run {run.id} was still {run.status} when last seen, after "
                f"timeout={self._timeout!r}: wait for it again, or cancel it"
            ) from self._trouble
        return left

    def pause(self) -> float:
        """Return the seconds until whoever asks for the run itself asks again."""
        return pause_of_wait(time.monotonic() - self._began)

    def answered(self) -> None:
        """Note that the store is there."""
        self._failures, self._trouble = 0, None

    def after(self, trouble: StoreUnavailable) -> float:
        """Note that the store is not there; return the seconds until it is tried again."""
        self._failures, self._trouble = self._failures + 1, trouble
        return pause_after_failures(self._failures, Random())


def result_of(run: Run) -> Any:
    """Return what the executor of a run that has ended returned.

    Raises:
        RunFailed: it has failed.
        RunCancelled: it was cancelled.
    """
    if run.status is Status.FAILED:
        raise RunFailed(run.id, run.last_error)
    if run.status is Status.CANCELLED:
        raise RunCancelled(f"run {run.id} was cancelled: it has no result")
    return run.result


def _seconds(timeout: float | timedelta | None) -> float:
    if timeout is None:
        return math.inf
    return check_duration(timeout, "timeout", allow_zero=True).total_seconds()
