"""Tells what happens in a worker: to the log, and to observers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from simpleworkflow.core.events import Observer, ObserverEvent
from simpleworkflow.core.records import Claim

logger = logging.getLogger("simpleworkflow.worker")


class Report:
    """Passes events to observers; an observer that raises is logged and harms nothing.

    Attributes:
        is_heard: whether anyone listens; without, no event needs to be made.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self.is_heard = bool(observers)

    def tell(self, event: ObserverEvent) -> None:
        """Give the event to every observer."""
        for observer in self._observers:
            try:
                observer(event)
            except BaseException:
                # SystemExit included: it would end a thread of the worker.
                logger.exception("observer %r failed on %s", observer, type(event).__name__)


def fields(claim: Claim) -> dict[str, object]:
    """Return what every log line that concerns a run carries as `extra`."""
    return {
        "run_id": claim.run_id,
        "type": claim.type,
        "attempt": claim.attempt,
        "worker_id": claim.worker_id,
    }


class StateLog:
    """Logs a trouble once when it begins and once when it ends, however often it is met."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = 0

    def failed(self, error: BaseException) -> int:
        """Note a failure and return how many there were in a row."""
        self._failures += 1
        if self._failures == 1:
            logger.warning("%s fails, will keep trying: %s", self._what, error)
        return self._failures

    def worked(self) -> None:
        """Note that it works."""
        if self._failures:
            logger.info("%s works again after %d failures", self._what, self._failures)
            self._failures = 0
