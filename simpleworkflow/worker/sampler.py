"""The sampler thread: tells observers how the worker is, and what waits in the store.

It has a thread of its own, which starts only where somebody listens, so that no run waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from simpleworkflow.core.errors import StoreUnavailable
from simpleworkflow.core.events import BacklogSampled, WorkerInfo, WorkerSampled
from simpleworkflow.core.pacing import rest_of_look
from simpleworkflow.core.roster import unserved
from simpleworkflow.core.store import Roster, RunAdmin, Store
from simpleworkflow.report import Report
from simpleworkflow.worker.log import StateLog

EVERY = 5.0
"""Seconds from one look at the worker to the next: a few for each scrape of its metrics."""


STOP_TIMEOUT = 1.0
"""Seconds that a stop waits for what is asked of the store: others may need what it still holds."""


class Sampler(threading.Thread):
    """Looks at a worker and at its store again and again, until it is stopped.

    Args:
        worker: which.
        store: where its runs are.
        report: who is told.
        look: returns how the worker is.
    """

    def __init__(
        self, worker: WorkerInfo, store: Store, report: Report, look: Callable[[], WorkerSampled]
    ) -> None:
        super().__init__(name="simpleworkflow-sampler", daemon=True)
        self._worker = worker
        self._admin = store if isinstance(store, RunAdmin) else None
        self._roster = store if isinstance(store, Roster) else None
        self._report = report
        self._look = look
        self._changed = threading.Event()
        self._is_stopping = False
        self._backlog_at = 0.0
        self._log = StateLog("looking at what waits")

    def begin(self) -> None:
        """Start the thread, if anyone listens; where the system gives none, nobody is told."""
        if self._report.hears(WorkerSampled) or self._report.hears(BacklogSampled):
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
            self._changed.wait(EVERY)
            self._changed.clear()
            if self._is_stopping:
                return
            self._report.tell(self._look())
            if time.monotonic() >= self._backlog_at:
                self._tell_of_backlog()

    def _tell_of_backlog(self) -> None:
        if self._admin is None or not self._report.hears(BacklogSampled):
            return
        began_at = time.monotonic()
        try:
            stats = self._admin.stats()
            workers = None if self._roster is None else self._roster.workers()
        except StoreUnavailable:
            # Who polls for runs meets it too, and tells.
            pass
        except Exception as exc:
            # A store that was closed meanwhile is no trouble.
            if not self._is_stopping:
                self._log.failed(exc)
        else:
            self._log.worked()
            due = {each.type: each.oldest_due for each in stats if each.oldest_due is not None}
            unroutable = None if workers is None else unserved(due, workers)
            self._report.tell(BacklogSampled(self._worker, stats, unroutable))
        now = time.monotonic()
        self._backlog_at = now + rest_of_look(now - began_at)
