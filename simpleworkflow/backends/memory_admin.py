"""What operators ask of a MemoryStore; see RunAdmin."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from simpleworkflow.core.admin import (
    HOUR,
    MINUTE,
    Answer,
    Purged,
    RunFilter,
    TypeStats,
    is_purgeable,
    place_of,
)
from simpleworkflow.core.records import Run
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import EVENT_OF, TERMINAL, EventType, Move, Status, is_legal
from simpleworkflow.core.storable import check_run_id

if TYPE_CHECKING:
    from simpleworkflow.backends.memory_tables import Row, Tables

    Step = Callable[[Tables, Row, datetime], bool]


class MemoryAdmin:
    """The part of a MemoryStore that is a RunAdmin."""

    if TYPE_CHECKING:

        def _locked(self) -> AbstractContextManager[tuple[Tables, datetime]]: ...

        def runs(self, route: Route, limit: int) -> list[Run]: ...

        def _record(
            self, tables: Tables, row: Row, kind: EventType, data: dict[str, Any], now: datetime
        ) -> None: ...

    def find(self, wanted: RunFilter, limit: int, after: Run | None) -> list[Run]:
        """Return up to `limit` runs that are meant, the newest first, those after `after`."""
        with self._locked() as (_, moment):
            now = moment
        found = [
            run
            for run in self.runs(wanted.route, sys.maxsize)
            if wanted.matches(run, now) and (after is None or place_of(run) < place_of(after))
        ]
        return sorted(found, key=place_of, reverse=True)[: max(0, limit)]

    def retry(self, run_ids: Sequence[str]) -> list[Answer]:
        """Make failed runs pending and due, at attempt 0 again, each with a `retried` event."""
        return self._each(run_ids, self._retry_one)

    def delete(self, run_ids: Sequence[str]) -> list[Answer]:
        """Hide runs that have ended from every list, claim and `get`; keys and histories stay."""
        return self._each(run_ids, self._delete_one)

    def stats(self) -> list[TypeStats]:
        """Return how the runs of each type stand."""
        with self._locked() as (tables, now):
            by_type: dict[str, list[Row]] = {}
            for row in tables.rows.values():
                by_type.setdefault(row.type, []).append(row)
            found = [_stats(type_, rows, now) for type_, rows in sorted(by_type.items())]
        return [stats for stats in found if stats != TypeStats(stats.type)]

    def purge(
        self, older_than: timedelta, statuses: frozenset[Status], limit: int, after: str | None
    ) -> Purged:
        """Look at up to `limit` runs whose id is greater than `after`, and delete the old ones."""
        with self._locked() as (tables, now):
            ids = sorted(id_ for id_ in tables.rows if id_ > (after or ""))[:limit]
            old = [
                row
                for row in map(tables.rows.__getitem__, ids)
                if is_purgeable(
                    row.status,
                    row.updated_at,
                    row.deleted_at,
                    statuses=statuses,
                    older_than=older_than,
                    now=now,
                )
            ]
            for row in old:
                tables.remove(row)
        return Purged(len(old), ids[-1] if len(ids) == limit else None)

    def _each(self, run_ids: Sequence[str], step: Step) -> list[Answer]:
        """Take the step with each run, once, and answer for each id."""
        ids = [check_run_id(run_id) for run_id in run_ids]
        answers: dict[str, Answer] = {}
        with self._locked() as (tables, now):
            for run_id in dict.fromkeys(ids):
                row = tables.visible(run_id)
                done = row is not None and step(tables, row, now)
                answers[run_id] = Answer(run_id, None if row is None else row.status, done)
        return [answers[run_id] for run_id in ids]

    def _retry_one(self, tables: Tables, row: Row, now: datetime) -> bool:
        if not is_legal(row.status, Move.REVIVE):
            return False
        data = {"by": "operator", "attempt": row.attempt}
        row.attempt = 0
        # No outcome of an earlier claim, sent late or again, is taken for one of now.
        row.fence += 1
        row.run_at = now
        row.leased_by = row.lease_until = None
        tables.move(row, Move.REVIVE, now)
        self._record(tables, row, EVENT_OF[Move.REVIVE], data, now)
        tables.ring()
        return True

    def _delete_one(self, tables: Tables, row: Row, now: datetime) -> bool:
        if row.status in TERMINAL:
            row.deleted_at = row.updated_at = now
        return row.status in TERMINAL


def _stats(type_: str, rows: Iterable[Row], now: datetime) -> TypeStats:
    rows = list(rows)
    there = [row for row in rows if row.deleted_at is None]
    pending = [row.run_at for row in there if row.status is Status.PENDING]
    due = [run_at for run_at in pending if run_at <= now]
    ends = [
        (kind, now - at)
        for row in rows
        for _, kind, _, at in row.history
        if kind in (EventType.SUCCEEDED, EventType.FAILED)
    ]
    return TypeStats(
        type=type_,
        due=len(due),
        scheduled=len(pending) - len(due),
        leased=sum(row.status is Status.LEASED for row in there),
        oldest_due=now - min(due) if due else None,
        ended_last_minute=sum(age < MINUTE for _, age in ends),
        ended_last_hour=sum(age < HOUR for _, age in ends),
        failed_last_hour=sum(age < HOUR and kind == EventType.FAILED for kind, age in ends),
    )
