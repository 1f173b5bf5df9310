"""What the parts of a worker say of themselves, in the log."""

from __future__ import annotations

import logging

logger = logging.getLogger("simpleworkflow.worker")


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
