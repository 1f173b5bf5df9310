"""The sampler thread: tells observers how the worker is, and what waits in the store.

It has a thread of its own, which starts only where somebody listens, so that no run waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from simpleworkflow.core.admin import TypeStats
from simpleworkflow.core.errors import StoreUnavailable
from simpleworkflow.core.events import BacklogSampled, WorkerInfo, WorkerSampled
from simpleworkflow.core.lease import heartbeat_interval
from simpleworkflow.core.pacing import rest_of_look
from simpleworkflow.core.roster import Worker, unserved
from simpleworkflow.core.routing import Route
from simpleworkflow.core.store import Roster, RunAdmin, Store
from simpleworkflow.report import Report
from simpleworkflow.worker.log import StateLog

EVERY = 5.0
"""Seconds from one look at the worker to the next, at most: a few for each scrape of metrics."""

STOP_TIMEOUT = 1.0
"""Seconds that a stop waits for what is asked of the store: others may need what it still holds."""


class Sampler(threading.Thread):
    """Looks at a worker and at its store again and again, until it is stopped.

    Args:
        worker: which.
        store: where its runs are.
        report: who is told.
        lease: how long its claims hold; it is looked at as often as it beats, or more often.
        look: returns how the worker is.
        route: returns what it claims now.
    """

    def __init__(
        self,
        worker: WorkerInfo,
        store: Store,
        report: Report,
        lease: timedelta,
        look: Callable[[], WorkerSampled],
        route: Callable[[], Route],
    ) -> None:
        super().__init__(name="simpleworkflow-sampler", daemon=True)
        self._worker = worker
        self._admin = store if isinstance(store, RunAdmin) else None
        self._roster = store if isinstance(store, Roster) else None
        self._report = report
        # What is told holds until the next time: a worker is ready for no longer than its lease.
        self._every = min(EVERY, heartbeat_interval(lease).total_seconds())
        self._look = look
        self._route = route
        self._changed = threading.Event()
        self._is_stopping = False
        # Not at once: workers that start together would all ask, and one that drains ends soon.
        self._backlog_at = time.monotonic() + self._every
        self._log = StateLog("looking at what waits")

    def begin(self) -> None:
        """Start the thread, where anyone wants to know how the worker is, as metrics do.

        For the log alone, which would tell of types that nobody serves, the store is not asked.
        Where the system gives no thread, nobody is told.
        """
        if self._report.hears(WorkerSampled):
            with suppress(RuntimeError):
                self.start()

    def look_now(self) -> None:
        """Look without waiting; from any thread."""
        self._changed.set()

    def stop(self) -> None:
        """Look no more; waits no longer than STOP_TIMEOUT for a store that is being asked."""
        self._is_stopping = True
        self._changed.set()
        if self.is_alive():
            self.join(STOP_TIMEOUT)

    def run(self) -> None:
        """Look until stopped."""
        while True:
            self._changed.wait(self._every)
            self._changed.clear()
            if self._is_stopping:
                return
            self._report.tell(self._look())
            if time.monotonic() >= self._backlog_at:
                self._tell_of_backlog()

    def _tell_of_backlog(self) -> None:
        if self._admin is None or not self._report.hears(BacklogSampled):
            return
        began_at, at_work = time.monotonic(), 1
        try:
            stats = self._admin.stats()
            workers = self._workers()
        except StoreUnavailable:
            # Who polls for runs meets it too, and tells.
            pass
        except Exception as exc:
            # A store that was closed meanwhile is no trouble.
            if not self._is_stopping:
                self._log.failed(exc)
        else:
            self._log.worked()
            at_work = max(at_work, sum(worker.is_alive for worker in workers or ()))
            unroutable = None if workers is None else self._unroutable(stats, workers)
            # A worker that has stopped tells nothing more.
            if not self._is_stopping:
                self._report.tell(BacklogSampled(self._worker, stats, unroutable))
        now = time.monotonic()
        self._backlog_at = now + rest_of_look(now - began_at, at_work)

    def _workers(self) -> list[Worker] | None:
        """Return who is at work; None where that cannot be known."""
        if self._roster is None:
            return None
        try:
            return self._roster.workers()
        except StoreUnavailable:
            raise
        except Exception:
            # Such as a database without the table. The announcer meets it too, and tells.
            return None

    def _unroutable(self, stats: Sequence[TypeStats], workers: Sequence[Worker]) -> list[str]:
        """Return the types that wait for want of a worker."""
        own = self._route()
        due = {each.type: each.oldest_due for each in stats if each.oldest_due is not None}
        # This worker may not have announced itself yet, or never can.
        return [type_ for type_ in unserved(due, workers) if not own.matches(type_)]
