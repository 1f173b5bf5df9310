"""The retention thread: deletes what ended long ago, a small batch now and then.

A batch is quick and takes whichever connection is free, so claims and settlements hardly meet it.
Of all workers on one store, one is at it at a time.
"""

from __future__ import annotations

import threading
import time
from datetime import timedelta

from simpleworkflow.core.admin import Purged, pass_interval, rest_after
from simpleworkflow.core.states import TERMINAL
from simpleworkflow.core.store import RunAdmin
from simpleworkflow.worker.log import StateLog, logger

BATCH = 100
"""Runs looked at by one statement, which then takes a few milliseconds."""


class Retention(threading.Thread):
    """Purges the store, all of it again and again, until it is stopped.

    Args:
        store: where runs are.
        retention: how long they are kept after they ended.
    """

    def __init__(self, store: RunAdmin, retention: timedelta) -> None:
        super().__init__(name="simpleworkflow-retention", daemon=True)
        self._store = store
        self._kept = retention
        self._interval = pass_interval(retention).total_seconds()
        self._stopping = threading.Event()
        self._log = StateLog("deleting old runs")

    def run(self) -> None:
        """Purge until stopped."""
        while not self._stopping.is_set():
            count = self._purge()
            if count:
                logger.info("deleted %d runs that ended more than %s ago", count, self._kept)
            self._stopping.wait(self._interval)

    def stop(self) -> None:
        """Begin no further batch."""
        self._stopping.set()

    def _purge(self) -> int:
        """Look at all runs once, unless another purge is at it; return how many went."""
        count, after = 0, None
        while not self._stopping.is_set():
            began_at = time.monotonic()
            purged = self._batch(after)
            count, after = count + purged.count, purged.after
            if after is None:
                break
            self._stopping.wait(rest_after(time.monotonic() - began_at))
        return count

    def _batch(self, after: str | None) -> Purged:
        try:
            purged = self._store.purge(self._kept, TERMINAL, BATCH, after)
        except Exception as exc:
            self._log.failed(exc)
            return Purged(0)
        self._log.worked()
        return purged
