"""FakeClock: time that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Lock

from simpleworkflow.core.storable import check_duration, check_instant

START = datetime(2030, 1, 1, tzinfo=UTC)


class FakeClock:
    """A clock for stores: call it for the present instant, `advance` it to let time pass.

    Give it to a store as its `clock`; a test then walks through retries of minutes in no time.
    Several threads may use one.

    Args:
        start: the first instant, a datetime with a time zone.
    """

    def __init__(self, start: datetime = START) -> None:
        self._now = check_instant(start, "start")
        self._lock = Lock()

    def __call__(self) -> datetime:
        with self._lock:
            return self._now

    def __repr__(self) -> str:
        return f"FakeClock({self().isoformat()})"

    def advance(self, by: float | timedelta) -> datetime:
        """Let this much time pass (seconds or a timedelta, 0 or more) and return the new instant.

        Raises:
            UsageError: it is no duration: time does not run backwards.
        """
        duration = check_duration(by, "advance(by)", allow_zero=True)
        with self._lock:
            self._now += duration
            return self._now
