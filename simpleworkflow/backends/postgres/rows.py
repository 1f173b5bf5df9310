"""Turns raw rows into records; no other module sees a row's shape."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from simpleworkflow.backends.postgres.driver import Row
from simpleworkflow.core.records import Claim, Event, Rescued, Run
from simpleworkflow.core.roster import Worker
from simpleworkflow.core.schedule import DueSchedule, DueSchedules, Schedule
from simpleworkflow.core.states import EventType, Status


def to_claim(row: Row, worker_id: str) -> Claim:
    """Read a row of claim.sql or rescue.sql; what follows the crashes is for others."""
    # By place, the quickest way: every run comes by here.
    id_, fence, type_, payload, headers, attempt, max_attempts, waited, crashes = row[:9]
    return Claim(
        id_, worker_id, fence, type_, payload, headers, attempt, max_attempts, waited, crashes
    )


def to_rescued(row: Row, worker_id: str) -> Rescued:
    """Read a row of rescue.sql."""
    return Rescued(to_claim(row, worker_id), row[-1])


def to_run(row: Row) -> Run:
    """Read a row of get.sql, whose columns stand in the order of the record's fields."""
    values: list[Any] = [to_instant(v) if isinstance(v, datetime) else v for v in row]
    values[2] = Status(values[2])
    return Run(*values)


def to_event(row: Row) -> Event:
    """Read a row of events.sql."""
    id_, run_id, type_, data, created_at = row
    known = type_ in EventType.__members__.values()
    return Event(
        id_, run_id, EventType(type_) if known else type_, json.loads(data), to_instant(created_at)
    )


def to_worker(row: Row) -> Worker:
    """Read a row of workers.sql, whose columns stand in the order of the record's fields."""
    values: list[Any] = [to_instant(v) if isinstance(v, datetime) else v for v in row]
    values[5] = tuple(values[5])
    values[-2:] = [timedelta(seconds=seconds) for seconds in values[-2:]]
    return Worker(*values)


def to_schedule(row: Row) -> Schedule:
    """Read a row of schedules.sql, whose columns stand in the order of the record's fields."""
    values: list[Any] = [to_instant(v) if isinstance(v, datetime) else v for v in row]
    return Schedule(*values)


def to_due_schedules(found: Sequence[Row]) -> DueSchedules:
    """Read the rows of due_schedules.sql; the one that is not due is the last, if there is one."""
    now = to_instant(found[0][5])
    seen = [
        DueSchedule(id_, cron, timezone, catch_up, to_instant(next_run_at))
        for id_, cron, timezone, catch_up, next_run_at, _ in found
        if id_ is not None
    ]
    due = tuple(schedule for schedule in seen if schedule.next_run_at <= now)
    return DueSchedules(now, due, seen[-1].next_run_at if len(seen) > len(due) else None)


def to_instant(instant: datetime) -> datetime:
    """Read an instant."""
    # Drivers answer in the session's time zone, which is the server's business.
    return instant.astimezone(UTC)
