"""Turns raw rows into records; no other module sees a row's shape."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from simpleworkflow.backends.postgres.driver import Row
from simpleworkflow.core.records import Claim, Event, Rescued, Run
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
    values: list[Any] = [_utc(v) if isinstance(v, datetime) else v for v in row]
    values[2] = Status(values[2])
    return Run(*values)


def to_event(row: Row) -> Event:
    """Read a row of events.sql."""
    id_, run_id, type_, data, created_at = row
    known = type_ in EventType.__members__.values()
    return Event(
        id_, run_id, EventType(type_) if known else type_, json.loads(data), _utc(created_at)
    )


def _utc(instant: datetime) -> datetime:
    # Drivers answer in the session's time zone, which is the server's business.
    return instant.astimezone(UTC)
