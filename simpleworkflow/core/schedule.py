"""Schedule law: only this module says when a schedule fires, by which key, and what is made up for.

A cron line has five fields and is read on the wall clock of its zone. One that names its minutes
and hours (neither field begins with `*`) fires at those times: one that the clock leaves out fires
right after the gap, one that it shows twice fires the first time. Any other line fires whenever the
clock shows a minute of it: not in a gap, and twice where the clock is set back.
Source: cron(8) of Debian, "Daylight Saving Time and other time changes".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from attrs import frozen

from simpleworkflow.core.errors import InvalidSchedule, UsageError
from simpleworkflow.core.records import (
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_PRIORITY,
    decode_headers,
)
from simpleworkflow.core.storable import decode_json, shown

MISSED_AFTER = timedelta(minutes=1)
"""A firing that is so late was missed: longer than a ticker ever looks away, and no longer than the
shortest time between two firings, so that never two of a schedule are due and not missed."""

MAX_FIRINGS = 100
"""Most firings of one schedule in one tick; the next tick goes on."""

MAX_CRON_CHARS = 200
"""Every minute of an hour in a list of its own is 169."""

_MINUTE = timedelta(minutes=1)

_EACH_MACHINES_OWN = frozenset({"localtime", "posixrules"})
"""Files beside the zones': tickers on two machines would fire one schedule at two times."""

_NAME_A_ZONE = "give a name of the IANA's list, such as 'Europe/Zurich' or 'UTC'"


class CatchUp(StrEnum):
    """What becomes of firings that nobody was there for."""

    LATEST = "latest"
    """One run, for the latest of them."""
    ALL = "all"
    """A run for each."""
    NONE = "none"
    """No run: what is more than a minute late is left out."""


@frozen
class Schedule:
    """A schedule as the store holds it; each of its firings submits a run of its type.

    Args:
        id: the schedule's id, a UUID as text.
        type, payload_json, priority, max_attempts, headers_json: of the runs.
        cron: when it fires, five fields: minute, hour, day of month, month, day of week.
        timezone: on whose wall clock, such as `Europe/Zurich`.
        catch_up: a CatchUp, as text.
        next_run_at: the next firing; in the past, it is due.
        last_run_at: the last firing, None before the first.
        enabled: False while it is paused.
    """

    id: str
    type: str
    payload_json: str
    cron: str
    timezone: str
    next_run_at: datetime
    created_at: datetime
    updated_at: datetime
    last_run_at: datetime | None = None
    enabled: bool = True
    priority: int = DEFAULT_PRIORITY
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    catch_up: str = CatchUp.LATEST.value
    headers_json: str | None = None

    @property
    def payload(self) -> Any:
        """The payload of its runs, read from its JSON text."""
        return decode_json(self.payload_json, "payload")

    @property
    def headers(self) -> dict[str, Any]:
        """What travels beside the payload; empty when nothing does."""
        return decode_headers(self.headers_json)

    @property
    def problem(self) -> str | None:
        """Why no ticker of this library can fire it; None when one can."""
        try:
            check_catch_up(self.catch_up)
            next_fire(self.cron, self.timezone, self.updated_at)
        except UsageError as exc:
            return str(exc)
        return None


@frozen
class DueSchedule:
    """What a ticker must know of a schedule to plan its firings."""

    id: str
    cron: str
    timezone: str
    catch_up: str
    next_run_at: datetime


@frozen
class DueSchedules:
    """What a ticker sees when it looks.

    Args:
        now: when it looked, by the store's clock.
        due: schedules whose next firing has come, the longest due first.
        next_at: the first firing that has not, None when there is none.
    """

    now: datetime
    due: tuple[DueSchedule, ...]
    next_at: datetime | None


@frozen
class Firing:
    """A schedule's part of a tick: the instants it fires for, and when it fires next."""

    schedule: DueSchedule
    instants: tuple[datetime, ...]
    next_run_at: datetime


def firing_key(schedule_id: str, instant: datetime) -> str:
    """Return the idempotency key of a firing's run: `schedule:<id>:<unix seconds>`."""
    return f"schedule:{schedule_id}:{math.floor(instant.timestamp())}"


def plan(schedule: DueSchedule, now: datetime) -> Firing:
    """Return what a tick at `now` does for a schedule that is due.

    Raises:
        InvalidSchedule: it cannot be read.
    """
    catch_up = check_catch_up(schedule.catch_up)
    if catch_up is CatchUp.ALL:
        return _plan_all(schedule, now)
    latest, following = _latest(schedule, now)
    is_missed = catch_up is CatchUp.NONE and now - latest >= MISSED_AFTER
    return Firing(schedule, () if is_missed else (latest,), following)


def next_fire(cron: str, timezone: str, after: datetime) -> datetime:
    """Return the first instant after `after`, in UTC, at which the line fires.

    Args:
        cron: five fields: minute, hour, day of month, month, day of week.
        timezone: on whose wall clock it is read, a name of the IANA's list.
        after: an instant.

    Raises:
        InvalidSchedule: the line or the zone cannot be read, or it fires no more within 50 years.
    """
    zone = _zone(timezone)
    minute, hour = check_cron(cron).split()[:2]
    names_times = not (minute.startswith("*") or hour.startswith("*"))
    try:
        return (_next_named if names_times else _next_shown)(cron, zone, after)
    except OverflowError as exc:
        raise _never(cron) from exc


def check_cron(value: object) -> str:
    """Return `value` as five fields with one space between, if it is that; what is in them is read
    when it is asked for the next firing.

    Raises:
        InvalidSchedule: it is not.
    """
    fields = value.split() if isinstance(value, str) else []
    if len(fields) != 5 or len(" ".join(fields)) > MAX_CRON_CHARS:
        raise InvalidSchedule(
            f"cron={shown(value)} must be five fields, minute, hour, day of month, month and day "
            f"of week, such as '0 9 * * 1', in {MAX_CRON_CHARS} characters at most"
        )
    return " ".join(fields)


def check_catch_up(value: object) -> CatchUp:
    """Return `value` as a CatchUp.

    Raises:
        InvalidSchedule: it is none.
    """
    try:
        return CatchUp(value)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(repr(each.value) for each in CatchUp)
        raise InvalidSchedule(f"catch_up={shown(value)} must be one of {known}") from None


def _plan_all(schedule: DueSchedule, now: datetime) -> Firing:
    instants: list[datetime] = []
    at = schedule.next_run_at
    while at <= now and len(instants) < MAX_FIRINGS:
        instants.append(at)
        at = next_fire(schedule.cron, schedule.timezone, at)
    return Firing(schedule, tuple(instants), at)


def _latest(schedule: DueSchedule, now: datetime) -> tuple[datetime, datetime]:
    """Return the last firing until `now` and the one that follows it.

    By halves: a year of minutes takes no longer than a day of them.
    """
    latest, last_possible = schedule.next_run_at, now
    while (following := next_fire(schedule.cron, schedule.timezone, latest)) <= now:
        middle = following + (last_possible - following) / 2
        beyond = next_fire(schedule.cron, schedule.timezone, middle)
        if beyond <= now:
            latest = beyond
        else:
            latest, last_possible = following, middle
    return latest, following


def _next_named(cron: str, zone: tzinfo, after: datetime) -> datetime:
    """A line that names its times: once each, right after the gap where there is one."""
    for wall in _walls(cron, _wall(after, zone)):
        instants = _instants(wall, zone)
        while not instants:
            wall += _MINUTE
            instants = _instants(wall, zone)
        if instants[0] > after:
            return instants[0]
    raise _never(cron)


def _next_shown(cron: str, zone: tzinfo, after: datetime) -> datetime:
    """Any other line: whenever the clock shows a minute of it."""
    here = after.astimezone(zone)
    # Where the clock will be set back, it shows the times before this one once more.
    again = here.utcoffset() - here.replace(fold=1).utcoffset()  # type: ignore[operator]
    wall = _wall(after, zone)
    return min(_first_shown(cron, start, zone, after) for start in {wall, wall - again})


def _first_shown(cron: str, start: datetime, zone: tzinfo, after: datetime) -> datetime:
    for wall in _walls(cron, start):
        for instant in _instants(wall, zone):
            if instant > after:
                return instant
    raise _never(cron)


def _walls(cron: str, start: datetime) -> Iterator[datetime]:
    """The times after `start` that match, on a clock that is never changed."""
    from cronsim import CronSim, CronSimError

    try:
        return CronSim(cron, start)
    except CronSimError as exc:
        raise InvalidSchedule(
            f"cron={shown(cron)} cannot be read or never fires: {str(exc).lower()}"
        ) from exc


def _wall(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _instants(wall: datetime, zone: tzinfo) -> list[datetime]:
    """Return the instants at which the clock shows this time: two, one, or none in a gap."""
    either = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(instant for instant in either if _wall(instant, zone) == wall)


def _zone(timezone: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    if timezone in _EACH_MACHINES_OWN:
        raise InvalidSchedule(
            f"timezone={shown(timezone)} is another zone on another machine: {_NAME_A_ZONE}"
        )
    try:
        return ZoneInfo(timezone)
    # The name of a folder, or of what is no zone, fails in many ways.
    except (KeyError, ValueError, OSError, TypeError) as exc:
        raise InvalidSchedule(
            f"timezone={shown(timezone)} is no zone that this machine knows: {_NAME_A_ZONE}"
        ) from exc


def _never(cron: str) -> InvalidSchedule:
    return InvalidSchedule(f"cron={shown(cron)} never fires within 50 years: give another line")
