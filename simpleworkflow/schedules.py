"""Schedules: how a client makes and manages what submits runs at set times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from attrs import evolve

from simpleworkflow.core.errors import ScheduleNotFound, StoreConflict, UsageError
from simpleworkflow.core.records import (
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_PRIORITY,
    NewRun,
    Submitted,
)
from simpleworkflow.core.schedule import (
    CatchUp,
    Schedule,
    check_catch_up,
    check_cron,
    next_fire,
)
from simpleworkflow.core.storable import check_schedule_id
from simpleworkflow.core.store import ScheduleStore, Store
from simpleworkflow.typed import new_run

CHANGE_TRIES = 20
"""How often a change is tried anew when somebody else changed the schedule meanwhile."""

_AS_IT_IS: object = object()


class Schedules:
    """The schedules of a store, as `client.schedules`; safe to share between threads.

    Each firing of a schedule submits a run, once, however many tickers there are. Every poller is
    one, unless told `schedules=False`, and `simpleworkflow ticker` is nothing else.

    Raises:
        UsageError: this store keeps no schedules.
    """

    def __init__(self, store: Store, max_payload_bytes: int) -> None:
        if not isinstance(store, ScheduleStore):
            raise UsageError(f"{store!r} keeps no schedules")
        self._runs: Store = store
        self._store: ScheduleStore = store
        self._max_payload_bytes = max_payload_bytes

    def create(
        self,
        type: str,
        payload: object,
        *,
        cron: str,
        timezone: str = "UTC",
        priority: int = DEFAULT_PRIORITY,
        max_attempts: int = DEFAULT_MAX_ATTEMPTS,
        catch_up: str = CatchUp.LATEST.value,
        headers: Mapping[str, object] | None = None,
    ) -> Schedule:
        """Make a schedule, which fires from now on; called twice it makes two.

        Args:
            type, payload, priority, max_attempts, headers: of its runs, as for `Client.submit`.
            cron: when it fires, in five fields: minute, hour, day of month, month, day of week.
            timezone: on whose wall clock that is, a name of the IANA's list; UTC by default.
            catch_up: what becomes of firings that no ticker was there for: `latest` (by default)
                submits one run for the latest of them, `all` one for each, `none` none.

        Raises:
            UsageError: something in it cannot be stored or read, or it would never fire.
            StoreError: the store cannot be reached or refuses.
        """
        run = self._checked(type, payload, priority, max_attempts, headers)
        now = self._store.now()
        schedule = Schedule(
            id=str(uuid4()),
            type=run.type,
            payload_json=run.payload_json,
            cron=check_cron(cron),
            timezone=timezone,
            next_run_at=next_fire(cron, timezone, now),
            created_at=now,
            updated_at=now,
            priority=run.priority,
            max_attempts=run.max_attempts,
            catch_up=check_catch_up(catch_up).value,
            headers_json=run.headers_json,
        )
        self._store.add_schedule(schedule)
        return self.get(schedule.id)

    def list(self) -> list[Schedule]:
        """Return all schedules but the deleted ones, the oldest first."""
        return self._store.schedules()

    def get(self, schedule_id: str) -> Schedule:
        """Return a schedule as it stands.

        Raises:
            ScheduleNotFound: there is no such schedule, or it was deleted.
        """
        found = self._store.schedules(check_schedule_id(schedule_id))
        if not found:
            raise _not_found(schedule_id)
        return found[0]

    def pause(self, schedule_id: str) -> Schedule:
        """Let a schedule fire no more until it is resumed.

        Raises:
            ScheduleNotFound: there is no such schedule.
        """
        return self._change(schedule_id, lambda seen, now: evolve(seen, enabled=False))

    def resume(self, schedule_id: str) -> Schedule:
        """Let a paused schedule fire again, from now on: firings of the pause are not made up for.

        Raises:
            ScheduleNotFound: there is no such schedule.
            UsageError: its cron line or zone, which another program wrote, cannot be read.
        """

        def resumed(seen: Schedule, now: datetime) -> Schedule:
            return seen if seen.enabled else _from_now_on(evolve(seen, enabled=True), now)

        return self._change(schedule_id, resumed)

    def update(
        self,
        schedule_id: str,
        *,
        type: str | None = None,
        payload: object = _AS_IT_IS,
        cron: str | None = None,
        timezone: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        catch_up: str | None = None,
        headers: Mapping[str, object] | None = None,
    ) -> Schedule:
        """Change what is given of a schedule, and leave the rest; `headers={}` takes them away.

        Another `cron` or `timezone` counts from now on, and firings that are due are left out.

        Raises:
            ScheduleNotFound: there is no such schedule.
            UsageError: nothing is given, or it cannot be stored or read, or would never fire.
        """
        run = self._checked(
            "left.as.it.is" if type is None else type,
            None if payload is _AS_IT_IS else payload,
            DEFAULT_PRIORITY if priority is None else priority,
            DEFAULT_MAX_ATTEMPTS if max_attempts is None else max_attempts,
            headers,
        )
        # What another program wrote is left as it is, too, and not looked at.
        asked = {
            "type": type,
            "payload_json": None if payload is _AS_IT_IS else run.payload_json,
            "cron": None if cron is None else check_cron(cron),
            "timezone": timezone,
            "priority": priority,
            "max_attempts": max_attempts,
            "catch_up": None if catch_up is None else check_catch_up(catch_up).value,
            "headers_json": run.headers_json,
        }
        given: dict[str, Any] = {name: new for name, new in asked.items() if new is not None}
        if not given:
            raise UsageError(f"nothing to change was given for the schedule {schedule_id!r}")

        def updated(seen: Schedule, now: datetime) -> Schedule:
            wanted = evolve(seen, **given)
            is_same = (wanted.cron, wanted.timezone) == (seen.cron, seen.timezone)
            return wanted if is_same else _from_now_on(wanted, now)

        return self._change(schedule_id, updated)

    def delete(self, schedule_id: str) -> None:
        """Delete a schedule: it fires no more and is shown no more; its runs stay.

        Raises:
            ScheduleNotFound: there is no such schedule.
        """
        if not self._store.delete_schedule(check_schedule_id(schedule_id)):
            raise _not_found(schedule_id)

    def run_now(self, schedule_id: str) -> Submitted:
        """Submit a run of a schedule at once, paused or not, besides those of its firings.

        Raises:
            ScheduleNotFound: there is no such schedule.
        """
        schedule = self.get(schedule_id)
        run = NewRun(
            id=str(uuid4()),
            type=schedule.type,
            payload_json=schedule.payload_json,
            priority=schedule.priority,
            max_attempts=schedule.max_attempts,
            headers_json=schedule.headers_json,
        )
        return self._runs.submit([run])[0]

    def _checked(
        self,
        type: str,
        payload: object,
        priority: int,
        max_attempts: int,
        headers: Mapping[str, object] | None,
    ) -> NewRun:
        return new_run(
            "",
            type,
            payload,
            priority=priority,
            max_attempts=max_attempts,
            headers=headers,
            max_payload_bytes=self._max_payload_bytes,
        )

    def _change(self, schedule_id: str, make: Callable[[Schedule, datetime], Schedule]) -> Schedule:
        """Make a schedule another one, of what it is at that moment and no earlier."""
        for _ in range(CHANGE_TRIES):
            seen = self.get(schedule_id)
            wanted = make(seen, self._store.now())
            if wanted == seen:
                return seen
            if self._store.change_schedule(seen, wanted):
                return self.get(schedule_id)
        raise StoreConflict(
            f"the schedule {schedule_id!r} was changed by others at every try: try once more"
        )


def _from_now_on(schedule: Schedule, now: datetime) -> Schedule:
    return evolve(schedule, next_run_at=next_fire(schedule.cron, schedule.timezone, now))


def _not_found(schedule_id: str) -> ScheduleNotFound:
    return ScheduleNotFound(f"there is no schedule with the id {schedule_id!r}")
