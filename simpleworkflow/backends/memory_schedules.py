"""The schedules of a MemoryStore: a part of it, with the rows that its handles share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from attrs import evolve

from simpleworkflow.core.records import NewRun, Submitted
from simpleworkflow.core.schedule import DueSchedule, DueSchedules, Firing, Schedule, firing_key
from simpleworkflow.core.storable import canonical_json

if TYPE_CHECKING:
    from simpleworkflow.backends.memory_tables import Tables


class MemorySchedules:
    """What makes a MemoryStore a ScheduleStore."""

    if TYPE_CHECKING:

        def _locked(self) -> AbstractContextManager[tuple[Tables, datetime]]: ...
        def _create(self, tables: Tables, run: NewRun, now: datetime) -> Submitted: ...

    def now(self) -> datetime:
        """See ScheduleStore.now."""
        with self._locked() as (_, now):
            return now

    def schedules(self, schedule_id: str | None = None) -> list[Schedule]:
        """See ScheduleStore.schedules."""
        with self._locked() as (tables, _):
            found = [s for s in tables.schedules.values() if schedule_id in (None, s.id)]
            return sorted(found, key=lambda schedule: (schedule.created_at, schedule.id))

    def add_schedule(self, schedule: Schedule) -> None:
        """See ScheduleStore.add_schedule."""
        kept = _as_kept(schedule)
        with self._locked() as (tables, now):
            tables.schedules[kept.id] = evolve(kept, created_at=now, updated_at=now)

    def change_schedule(self, seen: Schedule, wanted: Schedule) -> bool:
        """See ScheduleStore.change_schedule."""
        kept = _as_kept(wanted)
        with self._locked() as (tables, now):
            is_same = tables.schedules.get(seen.id) == seen
            if is_same:
                tables.schedules[seen.id] = evolve(kept, updated_at=now)
            return is_same

    def delete_schedule(self, schedule_id: str) -> bool:
        """See ScheduleStore.delete_schedule."""
        with self._locked() as (tables, _):
            return tables.schedules.pop(schedule_id, None) is not None

    def due_schedules(self, limit: int) -> DueSchedules:
        """See ScheduleStore.due_schedules."""
        with self._locked() as (tables, now):
            enabled = sorted(
                (s for s in tables.schedules.values() if s.enabled),
                key=lambda schedule: schedule.next_run_at,
            )
            due = [s for s in enabled if s.next_run_at <= now]
            later = [s.next_run_at for s in enabled[len(due) :]]
            return DueSchedules(now, tuple(map(_to_due, due[:limit])), later[0] if later else None)

    def fire_schedules(self, firings: Sequence[Firing]) -> int:
        """See ScheduleStore.fire_schedules."""
        with self._locked() as (tables, now):
            created = sum(self._fire(tables, firing, now) for firing in firings)
            if created:
                tables.ring()
            return created

    def _fire(self, tables: Tables, firing: Firing, now: datetime) -> int:
        schedule = tables.schedules.get(firing.schedule.id)
        if schedule is None or not schedule.enabled or _to_due(schedule) != firing.schedule:
            return 0
        tables.schedules[schedule.id] = evolve(
            schedule,
            next_run_at=firing.next_run_at,
            last_run_at=max(firing.instants, default=schedule.last_run_at),
            updated_at=now,
        )
        runs = [_run_of(schedule, instant) for instant in firing.instants]
        return sum(self._create(tables, run, now).created for run in runs)


def _as_kept(schedule: Schedule) -> Schedule:
    headers = schedule.headers_json
    return evolve(
        schedule,
        payload_json=canonical_json(schedule.payload_json, "payload"),
        headers_json=None if headers is None else canonical_json(headers, "headers"),
    )


def _to_due(schedule: Schedule) -> DueSchedule:
    return DueSchedule(
        schedule.id, schedule.cron, schedule.timezone, schedule.catch_up, schedule.next_run_at
    )


def _run_of(schedule: Schedule, instant: datetime) -> NewRun:
    return NewRun(
        id=str(uuid4()),
        type=schedule.type,
        payload_json=schedule.payload_json,
        priority=schedule.priority,
        run_at=instant,
        max_attempts=schedule.max_attempts,
        idempotency_key=firing_key(schedule.id, instant),
        headers_json=schedule.headers_json,
    )
