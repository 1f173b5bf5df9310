"""Where to look for due runs: what a claim that was slow teaches the next ones.

A claim walks the index of pending runs from its beginning. That is slow in two cases: a route with
thousands of (type, priority) pairs, and a long transaction somewhere, which keeps the index entries
of all runs claimed since its start. Claims that follow such a one therefore look only at the pairs
it found and only from the last run on that it took. A run that is due before that place, or of
another pair, waits until the next full walk, for FRESH_TIME at most.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from simpleworkflow.backends.postgres.driver import Row
from simpleworkflow.core.routing import Route

SLOW_TIME = 0.05
"""Seconds that make a claim slow."""

BACKLOG = 100
"""Runs in one claim that make it worth remembering where the next ones are."""

FRESH_TIME = 1.0
"""Seconds for which is believed what a walk found."""

Pair = tuple[str, int]
FROM_THE_START = "-infinity"


class Hints:
    """What is remembered for the last route that was claimed."""

    def __init__(self) -> None:
        self._route: Route | None = None
        self._floors: dict[Pair, str] = {}
        self._walked_at = 0.0
        self._is_slow = False

    def floors(self, route: Route) -> dict[Pair, str]:
        """Return the run_at, as text, from which to look on for each pair; none means to walk."""
        is_fresh = time.monotonic() - self._walked_at < FRESH_TIME
        return self._floors if is_fresh and route == self._route else {}

    def is_wanted(self, route: Route) -> bool:
        """Say whether the next walk should tell which pairs it found."""
        return self._is_slow and route == self._route

    def learn(self, route: Route, limit: int, asked_at: float, rows: Sequence[Row]) -> None:
        """Take in the answer to a claim: runs, then the pairs that were looked at, if asked for."""
        runs = rows
        if rows and rows[-1][0] is None:
            # Those without an id come last.
            runs = [row for row in rows if row[0] is not None]
        if len(runs) < limit or limit < BACKLOG:
            # Few runs are left, or few are wanted: the exact order is worth more than the time.
            self._route, self._floors, self._is_slow = None, {}, False
            return
        if not self.floors(route):
            self._route, self._walked_at = route, asked_at
            self._is_slow = time.monotonic() - asked_at > SLOW_TIME
            self._floors = {_pair_of(r): FROM_THE_START for r in rows[len(runs) :]}
        if self._floors:
            for row in runs:
                if _pair_of(row) in self._floors:
                    self._floors[_pair_of(row)] = row[10]


def _pair_of(row: Row) -> Pair:
    return row[2], row[9]
