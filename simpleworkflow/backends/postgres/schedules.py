"""The schedules of a PostgresStore: a part of it, with statements of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from simpleworkflow.backends.postgres import params, rows
from simpleworkflow.backends.postgres.driver import DataRefused, Row
from simpleworkflow.backends.postgres.url import Address
from simpleworkflow.backends.postgres.wakeup import channel
from simpleworkflow.core.errors import NotStorable
from simpleworkflow.core.schedule import DueSchedules, Firing, Schedule


class PostgresSchedules:
    """What makes a PostgresStore a ScheduleStore."""

    if TYPE_CHECKING:
        address: Address

        def _fetch(self, name: str, given: Mapping[str, object]) -> Sequence[Row]: ...

    def now(self) -> datetime:
        """See ScheduleStore.now."""
        return rows.to_instant(self._fetch("now", {})[0][0])

    def schedules(self, schedule_id: str | None = None) -> list[Schedule]:
        """See ScheduleStore.schedules."""
        found = self._fetch("schedules", {"id": schedule_id})
        return [rows.to_schedule(row) for row in found]

    def add_schedule(self, schedule: Schedule) -> None:
        """See ScheduleStore.add_schedule."""
        self._write_schedules("add_schedule", params.of_schedule(schedule))

    def change_schedule(self, seen: Schedule, wanted: Schedule) -> bool:
        """See ScheduleStore.change_schedule."""
        given = {**params.of_schedule(wanted), **params.of_schedule(seen, "seen_")}
        return bool(self._write_schedules("change_schedule", given))

    def delete_schedule(self, schedule_id: str) -> bool:
        """See ScheduleStore.delete_schedule."""
        return bool(self._fetch("delete_schedule", {"id": schedule_id}))

    def due_schedules(self, limit: int) -> DueSchedules:
        """See ScheduleStore.due_schedules."""
        return rows.to_due_schedules(self._fetch("due_schedules", {"limit": limit}))

    def fire_schedules(self, firings: Sequence[Firing]) -> int:
        """See ScheduleStore.fire_schedules."""
        given = {**params.of_fire(firings), "channel": channel(self.address.schema)}
        return int(self._write_schedules("fire_schedules", given)[0][0])

    def _write_schedules(self, name: str, given: Mapping[str, object]) -> Sequence[Row]:
        try:
            return self._fetch(name, given)
        except DataRefused as exc:
            raise NotStorable(f"nothing was written: {exc}") from exc
