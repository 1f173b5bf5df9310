"""Turns records into the parameters of statements: one array a column, for `unnest`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from simpleworkflow.backends.postgres.hints import Pair
from simpleworkflow.core.records import Extension, NewRun, Settlement
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import EVENT_OF
from simpleworkflow.core.storable import clean_text

NOTE_CHARS = 1_000
"""How much of an error goes into the history; the run's last_error has more."""

Params = dict[str, object]

T = TypeVar("T")


def of_submit(runs: Sequence[NewRun]) -> Params:
    """Return the parameters of submit.sql."""
    return _columns(
        runs,
        ids=lambda run: run.id,
        run_types=lambda run: run.type,
        payloads=lambda run: run.payload_json,
        priorities=lambda run: run.priority,
        run_ats=lambda run: run.run_at,
        delays=lambda run: run.delay.total_seconds(),
        max_attempts=lambda run: run.max_attempts,
        keys=lambda run: run.idempotency_key,
        headers=lambda run: run.headers_json,
    )


def of_lookup(runs: Sequence[NewRun]) -> Params:
    """Return the parameters of find_taken.sql."""
    return _columns(runs, ids=lambda run: run.id, keys=lambda run: run.idempotency_key)


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
    pairs = _columns(
        list(floors.items()),
        pair_types=lambda item: item[0][0],
        pair_priorities=lambda item: item[0][1],
        pair_floors=lambda item: item[1],
    )
    lease_params = of_rescue(route, limit, worker_id, lease)
    return {**lease_params, **pairs, "remember": remember, "slack": slack}


def of_rescue(route: Route, limit: int, worker_id: str, lease: timedelta) -> Params:
    """Return the parameters of rescue.sql."""
    return {
        **of_route(route),
        "limit": limit,
        "worker_id": worker_id,
        "lease": lease.total_seconds(),
    }


def of_route(route: Route) -> Params:
    """Return the ranges of types that a route means."""
    return _columns(
        [pattern.bounds() for pattern in route.patterns],
        lows=lambda bounds: bounds[0],
        highs=lambda bounds: bounds[1],
    )


def of_extend(extensions: Sequence[Extension]) -> Params:
    """Return the parameters of extend.sql."""
    return _columns(
        extensions,
        ids=lambda e: e.claim.run_id,
        worker_ids=lambda e: e.claim.worker_id,
        fences=lambda e: e.claim.fence,
        durations=lambda e: e.duration.total_seconds(),
    )


def of_settle(settlements: Sequence[Settlement]) -> Params:
    """Return the parameters of settle.sql and settle_refused.sql."""
    return _columns(
        settlements,
        ids=lambda s: s.claim.run_id,
        worker_ids=lambda s: s.claim.worker_id,
        fences=lambda s: s.claim.fence,
        statuses=lambda s: s.status.value,
        attempts=lambda s: s.attempt,
        delays=lambda s: _seconds(s.delay),
        results=lambda s: s.result_json,
        errors=lambda s: s.error,
        event_types=lambda s: EVENT_OF[s.move].value,
        tried=lambda s: s.claim.attempt,
        rans=lambda s: _seconds(s.ran),
        notes=lambda s: s.error and clean_text(s.error, NOTE_CHARS),
    )


def of_cancel(run_ids: Sequence[str]) -> Params:
    """Return the parameters of cancel.sql."""
    return {"ids": _array(run_ids)}


def _columns(items: Sequence[T], **columns: Callable[[T], object]) -> Params:
    return {name: _array(map(value, items)) for name, value in columns.items()}


def _array(values: Iterable[object]) -> str:
    """Write an array as PostgreSQL reads it; drivers do it element by element, and slowly.

    Source: PostgreSQL documentation, "Arrays", section 8.15.6.
    """
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
