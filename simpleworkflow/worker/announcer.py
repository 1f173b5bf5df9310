"""The announcer thread: tells the store's roster that this worker is at work, for people to see.

It has a thread of its own, so that no lease and no run ever waits for it. What it cannot say is
logged once and harms nothing.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache

from simpleworkflow.core.errors import StoreUnavailable
from simpleworkflow.core.events import WorkerInfo
from simpleworkflow.core.roster import ANNOUNCE_EVERY, Announcement
from simpleworkflow.core.routing import Route
from simpleworkflow.core.storable import clean_text
from simpleworkflow.core.store import Roster
from simpleworkflow.worker.log import StateLog
from simpleworkflow.worker.settings import Settings

LEAVE_TIMEOUT = 1.0
"""Seconds that a stop waits for the worker to be taken off the roster; else others remove it."""


class Announcer(threading.Thread):
    """Announces a worker again and again until it is stopped, and then removes it.

    Args:
        worker: the worker; it is announced by the id of its life.
        roster: where it is announced.
        settings: what it is called, and how much it does at once.
        route: says what it claims now.
    """

    def __init__(
        self, worker: WorkerInfo, roster: Roster, settings: Settings, route: Callable[[], Route]
    ) -> None:
        super().__init__(name="simpleworkflow-announcer", daemon=True)
        self._roster = roster
        self._settings = settings
        self._route = route
        self._id = worker.id
        self._is_stopping = threading.Event()
        self._log = StateLog("announcing the worker")

    def run(self) -> None:
        """Announce until stopped."""
        while not self._is_stopping.is_set():
            self._try(lambda: self._roster.announce(self._announcement()))
            self._is_stopping.wait(ANNOUNCE_EVERY.total_seconds())
        self._try(lambda: self._roster.retire(self._id))

    def begin(self) -> None:
        """Start the thread; where the system gives none, the worker works unannounced."""
        with suppress(RuntimeError):
            self.start()

    def stop(self) -> None:
        """Take the worker off the roster; waits for that no longer than LEAVE_TIMEOUT."""
        self._is_stopping.set()
        if self.is_alive():
            self.join(LEAVE_TIMEOUT)

    def _announcement(self) -> Announcement:
        return Announcement(
            id=self._id,
            worker_id=self._settings.worker_id,
            hostname=clean_text(socket.gethostname()),
            pid=os.getpid(),
            version=_version(),
            patterns=tuple(map(str, self._route().patterns)),
            concurrency=self._settings.concurrency,
            clock=datetime.now(UTC),
        )

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except StoreUnavailable:
            # Who polls for runs meets it too, and tells.
            return
        except Exception as exc:
            self._log.failed(exc)
            return
        self._log.worked()


@cache
def _version() -> str:
    # Imported here, where only this thread waits for it.
    from importlib import metadata

    try:
        return metadata.version("simpleworkflow")
    except metadata.PackageNotFoundError:
        return "unknown"
