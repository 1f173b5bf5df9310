"""Waits for runs to end by asking: nobody else pays for it.

A NOTIFY with each settlement would wake who waits at once, but holds a lock of the whole server
while the transaction commits: workers that settle one run at a time would wait for each other's
disk writes, whether anybody listens or not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from simpleworkflow.core.pacing import pause_of_wait


class EndWatch:
    """Lets threads wait for runs to end: whose turn it is to ask, asks for the others as well.

    Args:
        find_ended: returns which of these runs need not be waited for any longer.
    """

    def __init__(self, find_ended: Callable[[Sequence[str]], set[str]]) -> None:
        self._find_ended = find_ended
        self._lock = threading.Lock()
        self._watched: set[_Watched] = set()

    def wait(self, run_id: str, seconds: float) -> None:
        """Return when the run has ended or is not there, or `seconds` are over.

        Raises:
            StoreError: the store could not be asked, when it was this thread's turn.
        """
        now = time.monotonic()
        end = now + seconds
        one = _Watched(run_id, now)
        with self._lock:
            self._watched.add(one)
        try:
            while now < end and not one.is_over.wait(min(one.next_look(), end) - now):
                now = time.monotonic()
                self._look(now)
        finally:
            with self._lock:
                self._watched.discard(one)

    def _look(self, now: float) -> None:
        """Ask once for all whose turn is near."""
        with self._lock:
            near = [one for one in self._watched if one.is_near(now)]
            for one in near:
                one.looked_at = now
        if near:
            ended = self._find_ended([one.run_id for one in near])
            for one in near:
                if one.run_id in ended:
                    one.is_over.set()


class _Watched:
    """A run that one thread waits for."""

    __slots__ = ("_since", "is_over", "looked_at", "run_id")

    def __init__(self, run_id: str, now: float) -> None:
        self.run_id = run_id
        self.looked_at = self._since = now
        self.is_over = threading.Event()

    def next_look(self) -> float:
        """Return when it is to be asked for."""
        return self.looked_at + self._pause()

    def is_near(self, now: float) -> bool:
        """Say whether more than half of the pause is over, so that it may come along."""
        return now >= self.looked_at + self._pause() / 2

    def _pause(self) -> float:
        return pause_of_wait(self.looked_at - self._since)
