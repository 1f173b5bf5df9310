"""Ticks: looks for schedules that are due, fires them, and says when to look again."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from random import Random

from simpleworkflow.core.errors import InvalidSchedule, NotStorable
from simpleworkflow.core.pacing import pause_after_failures
from simpleworkflow.core.schedule import DueSchedule, DueSchedules, Firing, plan
from simpleworkflow.core.store import ScheduleStore
from simpleworkflow.worker.log import StateLog, logger

TICK = 10.0
"""Seconds between two looks at most. The next firing is known and met in time; so long a schedule
that somebody has just made or changed may stay unnoticed."""

BATCH = 100
"""Schedules that are fired in one tick; the next one follows at once where there are more."""


class Ticks:
    """Fires the schedules of a store; whoever has one calls `tick` once `due_at` has come.

    Any number of them may do so at once, in any number of processes.

    Args:
        store: where schedules are; None never has any.

    Attributes:
        due_at: when to tick next, by the monotonic clock.
    """

    def __init__(self, store: ScheduleStore | None) -> None:
        self._store = store
        self.due_at = math.inf if store is None else 0.0
        self._left_alone: frozenset[DueSchedule] = frozenset()
        self._log = StateLog("firing schedules")
        self._rng = Random()

    def tick(self) -> int:
        """Fire what is due, and return how many runs were submitted; failures are logged."""
        asked_at = time.monotonic()
        if asked_at < self.due_at or self._store is None:
            return 0
        try:
            submitted, pause = self._fire(self._store)
        except Exception as exc:
            pause = pause_after_failures(self._log.failed(exc), self._rng)
            submitted = 0
        else:
            self._log.worked()
        self.due_at = asked_at + pause
        return submitted

    def _fire(self, store: ScheduleStore) -> tuple[int, float]:
        """Fire what is due; return how many runs were submitted, and the seconds to pause."""
        # Those that are left alone stay due, and must not keep others out.
        limit = BATCH + len(self._left_alone)
        seen = store.due_schedules(limit)
        problems: dict[DueSchedule, Exception] = {}
        firings = _planned(seen, problems)
        submitted = _submit(store, firings, problems)
        for schedule in problems.keys() - self._left_alone:
            logger.warning(
                "schedule %s is left alone until it is changed: %s", schedule.id, problems[schedule]
            )
        self._left_alone = frozenset(problems)
        if len(seen.due) == limit:
            return submitted, 0.0
        return submitted, _pause(seen, firings)


def _planned(seen: DueSchedules, problems: dict[DueSchedule, Exception]) -> list[Firing]:
    """Plan the firings of those that are due; note those that cannot be read."""
    firings = []
    for schedule in seen.due:
        try:
            firings.append(plan(schedule, seen.now))
        except InvalidSchedule as exc:
            problems[schedule] = exc
    return firings


def _submit(
    store: ScheduleStore, firings: Sequence[Firing], problems: dict[DueSchedule, Exception]
) -> int:
    """Fire all at once, or one by one where the store refuses one of them; note that one."""
    if not firings:
        return 0
    try:
        return store.fire_schedules(firings)
    except NotStorable as exc:
        if len(firings) > 1:
            return sum(_submit(store, [firing], problems) for firing in firings)
        problems[firings[0].schedule] = exc
        return 0


def _pause(seen: DueSchedules, firings: Sequence[Firing]) -> float:
    nexts = [firing.next_run_at for firing in firings]
    if seen.next_at is not None:
        nexts.append(seen.next_at)
    waits = [(at - seen.now).total_seconds() for at in nexts]
    return max(0.0, min([TICK, *waits]))
