"""Ticker: fires schedules and executes nothing."""

from __future__ import annotations

import time

from simpleworkflow.backends.registry import open_store
from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.store import Migratable, ScheduleStore, Store
from simpleworkflow.worker.bell import Bell
from simpleworkflow.worker.log import logger
from simpleworkflow.worker.signals import stopping_on_signals
from simpleworkflow.worker.ticker import Ticks


class Ticker:
    """Submits the runs of schedules when they are due, where no poller does or should.

    Args:
        url_or_store: a database URL, `memory://name`, or a Store, which stays the caller's to
            close.

    Raises:
        UsageError: the URL names no store that can be opened, or the store keeps no schedules.
    """

    def __init__(self, url_or_store: str | Store) -> None:
        self._url_or_store = url_or_store
        store = open_store(url_or_store)
        if not isinstance(store, ScheduleStore):
            raise UsageError(f"{store!r} keeps no schedules")
        self._store: Store = store
        self._ticks = Ticks(store)
        self._changed = Bell()
        self._is_stopping = False

    def __repr__(self) -> str:
        return f"<Ticker of {self._store!r}>"

    def start(self) -> None:
        """Fire schedules until `stop()`; blocks. May be called once.

        In the main thread SIGTERM and SIGINT stop it too.

        Raises:
            StoreUnavailable: the store cannot be reached now. Once started, the ticker waits and
                tries again by itself.
            SchemaNotReady: the tables are missing or too old; the message names the command.
        """
        try:
            if isinstance(self._store, Migratable):
                self._store.check_schema()
            with stopping_on_signals(self.stop):
                logger.info("ticker starts")
                self._tick_until_stopped()
        finally:
            if self._store is not self._url_or_store:
                self._store.close()

    def stop(self) -> None:
        """Let `start()` return. Does not wait. Safe from any thread and a signal handler."""
        self._is_stopping = True
        self._changed.ring()

    def _tick_until_stopped(self) -> None:
        while not self._is_stopping:
            self._ticks.tick()
            self._changed.wait(self._ticks.due_at - time.monotonic())
