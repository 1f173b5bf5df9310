"""Operating law: only this module says what a filter means, in which order runs are listed, which
of them may be deleted and purged, and what stats estimate.

Runs are listed the newest first. An id of UUID version 7, which this library's producers make,
begins with the time and says how old its run is, until the year 2100; of any other id, `created_at`
does.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from attrs import frozen

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.records import Run
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import TERMINAL, Status
from simpleworkflow.core.storable import (
    check_duration,
    check_key,
    check_text,
    check_worker_id,
    shown,
)

EVERY_TYPE = Route.of(["%"])

NEWEST_EVENTS = 50_000
"""Of the history, stats read no more than this, however much there was within the hour."""

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

PASSES_PER_RETENTION = 10
SHORTEST_INTERVAL, LONGEST_INTERVAL = timedelta(seconds=1), HOUR
"""How often old runs are looked for: ten times within what they are kept, at least once an hour and
at most once a second."""

REST = 4
"""A batch of deleted runs is followed by this many times as long of nothing."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NIL = "00000000-0000-0000-0000-000000000000"
_END_OF_TIME = "03bb2cc3-d800-0000-0000-000000000000"
"""The year 2100 in an id. Without an end, the ids that begin with the time would have to be looked
for among all the random ones of other programs; so, among one in seventy."""


@frozen
class RunFilter:
    """Which runs are meant: those for which all of this holds; `new_filter` makes and checks one.

    Args:
        route: the types.
        statuses: where they stand.
        older_than: how long ago they were created, at least.
        newer_than: how long ago they were created, at most.
        error: part of their `last_error`, in small or capital letters.
        worker_id: who holds their lease.
        idempotency_key: the key they were submitted with.
    """

    route: Route = EVERY_TYPE
    statuses: frozenset[Status] = frozenset(Status)
    older_than: timedelta | None = None
    newer_than: timedelta | None = None
    error: str | None = None
    worker_id: str | None = None
    idempotency_key: str | None = None

    def matches(self, run: Run, now: datetime) -> bool:
        """Say whether a run is meant."""
        age = now - run.created_at
        return (
            self.route.matches(run.type)
            and run.status in self.statuses
            and (self.older_than is None or age >= self.older_than)
            and (self.newer_than is None or age < self.newer_than)
            and (self.error is None or self.error.lower() in (run.last_error or "").lower())
            and self.worker_id in (None, run.leased_by)
            and self.idempotency_key in (None, run.idempotency_key)
        )


def new_filter(
    *,
    types: str | Iterable[str] | None = None,
    statuses: str | Iterable[str] | None = None,
    older_than: float | timedelta | None = None,
    newer_than: float | timedelta | None = None,
    error: str | None = None,
    worker_id: str | None = None,
    idempotency_key: str | None = None,
) -> RunFilter:
    """Check what an operator gave and make the filter of it; what is None leaves all runs in.

    Raises:
        UsageError: something in it can mean no run; the message names it.
    """
    wanted = frozenset(Status) if statuses is None else check_statuses(statuses)
    return RunFilter(
        route=EVERY_TYPE if types is None else _route(types),
        # Only a lease has a holder.
        statuses=wanted if worker_id is None else wanted & {Status.LEASED},
        older_than=None if older_than is None else check_duration(older_than, "older_than"),
        newer_than=None if newer_than is None else check_duration(newer_than, "newer_than"),
        error=None if error is None else _error(error),
        worker_id=None if worker_id is None else check_worker_id(worker_id),
        idempotency_key=None if idempotency_key is None else check_key(idempotency_key),
    )


def _route(types: object) -> Route:
    given = [types] if isinstance(types, str) else types
    route = Route.of(given) if isinstance(given, Iterable) else None
    if not route:
        raise UsageError(f"types={shown(types)} must be patterns, such as ['billing.%']")
    return route


def _error(error: object) -> str:
    if not isinstance(error, str) or not error:
        raise UsageError(f"error={shown(error)} must be text that is not empty")
    return check_text(error, "error")


def check_statuses(statuses: object) -> frozenset[Status]:
    """Return one status, or several, as a set.

    Raises:
        UsageError: it is empty, or one is none; the message lists them all.
    """
    given = [statuses] if isinstance(statuses, str) else statuses
    found = set(given) if isinstance(given, Iterable) else set()
    if not found or not found <= set(Status):
        raise UsageError(f"statuses={shown(statuses)} must be some of {', '.join(Status)}")
    return frozenset(map(Status, found))


def check_ended(statuses: object) -> frozenset[Status]:
    """Return one status, or several, of runs that have ended.

    Raises:
        UsageError: a run that stands in one of them has not ended.
    """
    found = check_statuses(statuses)
    if not found <= TERMINAL:
        raise UsageError(
            f"statuses={shown(statuses)} must be some of {', '.join(sorted(TERMINAL))}: what has "
            "not ended is never purged"
        )
    return found


Place = tuple[int, str]
"""Where a run stands in a list: when it came to be, in microseconds, then its id."""


def begins_with_time(run_id: str) -> bool:
    """Say whether an id is a UUID of version 7, of a time before 2100."""
    return run_id[14] == "7" and run_id < _END_OF_TIME


def place_of(run: Run) -> Place:
    """Return a run's place in a list; the greatest comes first."""
    if begins_with_time(run.id):
        return 1_000 * _milliseconds_in(run.id), run.id
    return (run.created_at - _EPOCH) // _MICROSECOND, run.id


def ids_below(after: Run | None) -> str:
    """Return the id below which those lie that begin with the time and come after this run."""
    if after is None:
        return _END_OF_TIME
    if begins_with_time(after.id):
        return after.id
    milliseconds, rest = divmod(place_of(after)[0], 1_000)
    following = min(_END_OF_TIME, _first_id_at(milliseconds + 1))
    # At the same moment the ids decide.
    return following if rest else min(following, max(_first_id_at(milliseconds), after.id))


def others_below(after: Run | None) -> tuple[datetime | None, str]:
    """Return the (time, id) below which other ids come after this run; None is any time."""
    if after is None:
        return None, _NIL
    microseconds, run_id = place_of(after)
    return _EPOCH + timedelta(microseconds=microseconds), run_id


def _milliseconds_in(run_id: str) -> int:
    return int(run_id[:8] + run_id[9:13], 16)


def _first_id_at(milliseconds: int) -> str:
    digits = f"{max(0, milliseconds):012x}"
    return f"{digits[:8]}-{digits[8:]}{_NIL[13:]}"


def is_purgeable(
    status: Status,
    updated_at: datetime,
    deleted_at: datetime | None,
    *,
    statuses: frozenset[Status],
    older_than: timedelta,
    now: datetime,
) -> bool:
    """Say whether a run may go: it has ended in one of `statuses`, or was deleted, so long ago.

    A deleted run that is leased all the same is kept by its worker's heartbeats.
    """
    last = updated_at if deleted_at is None else max(updated_at, deleted_at)
    return (status in statuses or deleted_at is not None) and last < now - older_than


def rest_after(seconds: float) -> float:
    """Return how many seconds to rest after a batch of a purge that took so many."""
    return REST * seconds


def pass_interval(retention: timedelta) -> timedelta:
    """Return how long after one search for old runs the next one begins."""
    return min(max(retention / PASSES_PER_RETENTION, SHORTEST_INTERVAL), LONGEST_INTERVAL)


@frozen
class Answer:
    """What came of one run that an operator named.

    Args:
        id: the run.
        status: where it stands now; None when there is no such run.
        done: whether it stands as was wanted: cancelled, tried again, deleted.
    """

    id: str
    status: Status | None
    done: bool


@frozen
class Purged:
    """What came of one batch of a purge.

    Args:
        count: how many runs were deleted.
        after: the id after which to go on; None when there is no more.
        is_busy: nothing was done, since another purge is at work at this moment.
    """

    count: int
    after: str | None = None
    is_busy: bool = False


@frozen
class TypeStats:
    """How the runs of one type stand.

    Args:
        type: the type.
        due: pending, and could run now: the depth of the queue.
        scheduled: pending, for later.
        leased: at work, or claimed to be.
        oldest_due: how long the first of those that are due has been so; None when none is.
        ended_last_minute: how many succeeded or failed within the last minute.
        ended_last_hour: the same within the last hour.
        failed_last_hour: how many of these failed.
        is_estimate: whether the last three are estimates. They are counted in the newest 50,000
            events of the history; where these do not reach back so far, what they tell is taken
            for the whole time.
    """

    type: str
    due: int = 0
    scheduled: int = 0
    leased: int = 0
    oldest_due: timedelta | None = None
    ended_last_minute: int = 0
    ended_last_hour: int = 0
    failed_last_hour: int = 0
    is_estimate: bool = False


def estimate(count: int, within: timedelta, seen: timedelta | None) -> int:
    """Return how many there were `within` a time of which the last part, `seen`, has `count`.

    None says that all of it was seen.
    """
    if seen is None or seen >= within:
        return count
    return round(count * (within / max(seen, _MICROSECOND)))
