"""Turns records into the parameters of statements: one array a column, for `unnest`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache

from simpleworkflow.backends.postgres.hints import Pair
from simpleworkflow.core.admin import RunFilter, ids_below, others_below, place_of
from simpleworkflow.core.keys import ACTIVE, FOREVER, KeyScope
from simpleworkflow.core.records import Extension, NewRun, Run, Settlement
from simpleworkflow.core.roster import KEPT_FOR, Announcement
from simpleworkflow.core.routing import Route
from simpleworkflow.core.schedule import Firing, Schedule, firing_key
from simpleworkflow.core.states import EVENT_OF, Move, Status
from simpleworkflow.core.storable import check_run_id, clean_text

NOTE_CHARS = 1_000
"""How much of an error goes into the history; the run's last_error has more."""

MAX_STATEMENT_CHARS = 2**27
"""Most characters sent with one statement for several runs: in UTF-8 half of what the server takes,
which is 1 GB. It hangs up on more."""

Params = dict[str, object]


def name_of_submit(runs: Sequence[NewRun]) -> str:
    """Return which form of submit.sql submits these runs."""
    has_keys = any(run.idempotency_key is not None for run in runs)
    return "submit:ready_keys" if has_keys else "submit:ready_runs"


def of_submit(runs: Sequence[NewRun]) -> Params:
    """Return the parameters of submit.sql."""
    return {
        "ids": _plain([run.id for run in runs]),
        "run_types": _texts([run.type for run in runs]),
        "payloads": _texts([run.payload_json for run in runs]),
        "priorities": _plain([run.priority for run in runs]),
        "run_ats": _texts([None if r.run_at is None else r.run_at.isoformat() for r in runs]),
        "delays": _plain([run.delay.total_seconds() for run in runs]),
        "max_attempts": _plain([run.max_attempts for run in runs]),
        "keys": _texts([run.idempotency_key for run in runs]),
        "headers": _texts([run.headers_json for run in runs]),
        **_of_scopes([run.key_scope for run in runs]),
    }


def of_submit_one(run: NewRun) -> Params:
    """Return the parameters of submit_one.sql."""
    return {
        "id": run.id,
        "run_type": run.type,
        "payload": run.payload_json,
        "priority": run.priority,
        "run_at": run.run_at,
        "delay": run.delay.total_seconds(),
        "max_attempts": run.max_attempts,
        "key": run.idempotency_key,
        "headers": run.headers_json,
    }


def _of_scopes(scopes: Sequence[KeyScope]) -> Params:
    if all(scope == FOREVER for scope in scopes):
        # Mostly so: what is missing, the server fills up.
        return {"key_while_actives": None, "key_seconds": None}
    seconds = [None if isinstance(scope, str) else scope.total_seconds() for scope in scopes]
    return {
        "key_while_actives": _plain(["t" if scope == ACTIVE else "NULL" for scope in scopes]),
        "key_seconds": _plain(["NULL" if value is None else value for value in seconds]),
    }


def of_lookup(runs: Sequence[NewRun]) -> Params:
    """Return the parameters of find_taken.sql."""
    return {
        "ids": _plain([run.id for run in runs]),
        "keys": _texts([run.idempotency_key for run in runs]),
    }


def of_claim(
    route: Route,
    limit: int,
    worker_id: str,
    lease: timedelta,
    *,
    floors: Mapping[Pair, str],
    remember: bool,
    slack: int = 0,
) -> Params:
    """Return the parameters of claim.sql."""
    return {
        **of_rescue(route, limit, worker_id, lease),
        "pair_types": _texts([type_ for type_, _ in floors]),
        "pair_priorities": _plain([priority for _, priority in floors]),
        "pair_floors": _texts(list(floors.values())),
        "remember": remember,
        "slack": slack,
    }


def of_rescue(route: Route, limit: int, worker_id: str, lease: timedelta) -> Params:
    """Return the parameters of rescue.sql."""
    return {
        **of_route(route),
        "limit": limit,
        "worker_id": worker_id,
        "lease": lease.total_seconds(),
    }


@lru_cache(maxsize=64)
def of_route(route: Route) -> Mapping[str, str]:
    """Return the ranges of types that a route means."""
    bounds = [pattern.bounds() for pattern in route.patterns]
    return {
        "lows": _texts([low for low, _ in bounds]),
        "highs": _texts([high for _, high in bounds]),
    }


def of_extend(extensions: Sequence[Extension]) -> Params:
    """Return the parameters of extend.sql."""
    return {
        "ids": _plain([extension.claim.run_id for extension in extensions]),
        "worker_ids": _texts([extension.claim.worker_id for extension in extensions]),
        "fences": _plain([extension.claim.fence for extension in extensions]),
        "durations": _plain([extension.duration.total_seconds() for extension in extensions]),
    }


def of_settle(settlements: Sequence[Settlement]) -> Params:
    """Return the parameters of settle.sql and settle_refused.sql."""
    return {
        **_of_settlements(settlements),
        "worker_ids": _texts([s.claim.worker_id for s in settlements]),
        "statuses": _texts([s.status for s in settlements]),
        "delays": _durations([s.delay for s in settlements]),
        "errors": _texts([s.error for s in settlements]),
        "event_types": _texts([EVENT_OF[s.move] for s in settlements]),
        "notes": _texts([s.error and clean_text(s.error, NOTE_CHARS) for s in settlements]),
    }


def are_successes(settlements: Sequence[Settlement]) -> bool:
    """Say whether all are successes of one worker, so that `of_successes` serves."""
    worker_id = settlements[0].claim.worker_id
    return all(
        s.move is Move.SUCCEED
        and s.delay is None
        and s.error is None
        and s.claim.worker_id == worker_id
        for s in settlements
    )


def of_successes(settlements: Sequence[Settlement]) -> Params:
    """Return the parameters of settle.sql for one worker's successes."""
    first = settlements[0]
    return {
        **_of_settlements(settlements),
        "worker_id": first.claim.worker_id,
        "status": first.status.value,
        "event_type": EVENT_OF[first.move].value,
    }


def _of_settlements(settlements: Sequence[Settlement]) -> Params:
    claims = [settlement.claim for settlement in settlements]
    return {
        "ids": _plain([claim.run_id for claim in claims]),
        "fences": _plain([claim.fence for claim in claims]),
        "attempts": _plain([s.attempt for s in settlements]),
        "results": _texts([s.result_json for s in settlements]),
        "tried": _plain([claim.attempt for claim in claims]),
        "rans": _durations([s.ran for s in settlements]),
    }


def are_too_large(given: Params) -> bool:
    """Say whether these parameters are more than one statement for several runs should carry."""
    chars = sum(len(value) for value in given.values() if isinstance(value, str))
    return chars > MAX_STATEMENT_CHARS


def of_ids(run_ids: Sequence[str]) -> Params:
    """Return the parameters of cancel.sql, retry.sql and ended.sql."""
    return {"ids": _plain(run_ids)}


def of_schedule(schedule: Schedule, prefix: str = "") -> Params:
    """Return the parameters of add_schedule.sql, and with a prefix those of change_schedule.sql."""
    given: Params = {
        "run_type": schedule.type,
        "payload": schedule.payload_json,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "next_run_at": schedule.next_run_at,
        "enabled": schedule.enabled,
        "priority": schedule.priority,
        "max_attempts": schedule.max_attempts,
        "catch_up": schedule.catch_up,
        "headers": schedule.headers_json,
    }
    return {"id": schedule.id, **{f"{prefix}{name}": value for name, value in given.items()}}


def of_fire(firings: Sequence[Firing]) -> Params:
    """Return the parameters of fire_schedules.sql."""
    seen = [firing.schedule for firing in firings]
    fired = [(firing.schedule.id, at) for firing in firings for at in firing.instants]
    return {
        "ids": _plain([schedule.id for schedule in seen]),
        "crons": _texts([schedule.cron for schedule in seen]),
        "timezones": _texts([schedule.timezone for schedule in seen]),
        "catch_ups": _texts([schedule.catch_up for schedule in seen]),
        "seen_ats": _texts([schedule.next_run_at.isoformat() for schedule in seen]),
        "next_ats": _texts([firing.next_run_at.isoformat() for firing in firings]),
        "fired_ids": _plain([id_ for id_, _ in fired]),
        "fired_ats": _texts([at.isoformat() for _, at in fired]),
        "keys": _texts([firing_key(id_, at) for id_, at in fired]),
    }


def of_find(wanted: RunFilter, limit: int, after: Run | None) -> Params:
    """Return the parameters of find.sql and its parts."""
    others_before, below = others_below(after)
    at, after_id = (None, None) if after is None else place_of(after)
    return {
        **of_route(wanted.route),
        **of_statuses(wanted.statuses),
        "newer_than": _seconds(wanted.newer_than),
        "older_than": _seconds(wanted.older_than),
        "error": wanted.error,
        "worker_id": wanted.worker_id,
        "key": wanted.idempotency_key,
        "limit": limit,
        "below": ids_below(after),
        "others_before": others_before,
        "others_below": below,
        "at": at,
        "after_id": after_id,
    }


def of_statuses(statuses: Iterable[Status]) -> Params:
    """Return these statuses as a parameter."""
    return {"statuses": _plain(sorted(statuses))}


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def of_announcement(announcement: Announcement) -> Params:
    """Return the parameters of announce.sql."""
    return {
        "id": check_run_id(announcement.id),
        "worker_id": announcement.worker_id,
        "hostname": announcement.hostname,
        "pid": announcement.pid,
        "version": announcement.version,
        "patterns": _texts(announcement.patterns),
        "concurrency": announcement.concurrency,
        "clock": announcement.clock,
        "kept_for": KEPT_FOR.total_seconds(),
    }


# Arrays as PostgreSQL reads them: drivers write them element by element, and slowly.
# Source: PostgreSQL documentation, "Arrays", section 8.15.6.


def _plain(values: Iterable[object]) -> str:
    """Write an array of numbers or UUIDs, which need no quotes."""
    return "{" + ",".join(map(str, values)) + "}"


def _durations(values: Iterable[timedelta | None]) -> str:
    """Write an array of seconds."""
    return _plain(["NULL" if value is None else value.total_seconds() for value in values])


def _texts(values: Sequence[str | None]) -> str:
    """Write an array of texts, each different one quoted once."""
    written: dict[str | None, str] = {None: "NULL"}
    for value in values:
        if value not in written:
            written[value] = _quoted(value)  # type: ignore[arg-type]
    return _plain([written[value] for value in values])


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
