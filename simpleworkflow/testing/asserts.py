"""Asserts about the runs in a store; when one fails, it shows what is there instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import fields

from simpleworkflow.core.errors import NotStorable, UsageError
from simpleworkflow.core.records import Event, Run
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import EventType, Status
from simpleworkflow.core.storable import check_int, decode_json, encode_json
from simpleworkflow.core.store import RunReader, Store

ALL = 1_000_000
"""More runs than a test has."""

SHOWN = 10
"""Runs that a failed assert shows."""

_FIELDS = {a.name for a in fields(Run)} | {"payload", "result", "headers"}


def assert_submitted(store: Store, type: str, *, times: int | None = None, **expected: Any) -> Run:
    """Assert that a run like this was submitted, whatever became of it, and return the newest.

    Args:
        store: where to look.
        type: its type, or a pattern such as `notify.%`.
        times: how many there must be; by default at least one.
        expected: its fields as `Run` names them, such as `payload={…}` or `priority=10`. What is
            not given may be anything.
    """
    __tracebackhide__ = True
    if times is not None:
        check_int(times, "times", at_least=1)
    found = _matching(store, type, expected)
    if not found or times not in (None, len(found)):
        wanted = {None: "a run", 1: "1 run"}.get(times, f"{times} runs")
        raise AssertionError(
            f"expected {wanted} of {_described(type, expected)}, found {len(found) or 'none'}; "
            f"{_what_is_there(store, type)}"
        )
    return found[0]


def assert_not_submitted(store: Store, type: str, **expected: Any) -> None:
    """Assert that no run like this was submitted.

    The arguments are those of `assert_submitted`.
    """
    __tracebackhide__ = True
    found = _matching(store, type, expected)
    if found:
        raise AssertionError(
            f"expected no run of {_described(type, expected)}, found {len(found)}:{_lines(found)}"
        )


def assert_status(store: Store, run_id: str, status: Status | str) -> Run:
    """Assert where a run stands, and return it.

    Args:
        store: where it is.
        run_id: which one.
        status: `Status.SUCCEEDED`, or just `"succeeded"`.
    """
    __tracebackhide__ = True
    expected = _status(status)
    run = store.get(run_id)
    if run is None:
        raise AssertionError(f"expected run {run_id} to be {expected}, there is no such run")
    if run.status is not expected:
        lines = [f"expected run {run_id} to be {expected}, it is {run.status}:", f"  {_line(run)}"]
        if isinstance(store, RunReader):
            lines.append(f"  history: {', '.join(_types(store.events(run_id)))}")
        if run.last_error is not None:
            lines.append(f"  last_error: {run.last_error}")
        raise AssertionError("\n".join(lines))
    return run


def assert_history(store: Store, run_id: str, types: Sequence[EventType | str]) -> list[Event]:
    """Assert what happened to a run, oldest first, and return its events.

    Args:
        store: where it is.
        run_id: which one.
        types: such as `["created", "leased", "succeeded"]`.
    """
    __tracebackhide__ = True
    events = _reader(store).events(run_id)
    expected, found = [str(type_) for type_ in types], _types(events)
    if expected != found:
        lines = [f"expected this history of run {run_id}:", f"  {', '.join(expected) or 'none'}"]
        lines += (
            ["it is:", f"  {', '.join(found) or 'none'}", "in full:"] if found else ["it has none"]
        )
        lines += [f"  {event.created_at} {event.type} {event.data}" for event in events]
        raise AssertionError("\n".join(lines))
    return events


def _reader(store: Store) -> RunReader:
    if not isinstance(store, RunReader):
        raise UsageError(f"{store!r} cannot list its runs: it is no RunReader")
    return store


def _matching(store: Store, type: str, expected: dict[str, Any]) -> list[Run]:
    unknown = sorted(expected.keys() - _FIELDS)
    if unknown:
        raise UsageError(f"a run has no {', '.join(unknown)}: it has {', '.join(sorted(_FIELDS))}")
    return [
        run
        for run in _reader(store).runs(Route.of([type]), ALL)
        if all(_equal(getattr(run, name), value) for name, value in expected.items())
    ]


def _equal(found: object, expected: object) -> bool:
    return bool(found == expected) or found == _as_json(expected)


def _as_json(value: object) -> object:
    """Return a value as it comes back from a store, a tuple as a list."""
    try:
        return decode_json(encode_json(value, "value"), "value")
    except NotStorable:
        return value


def _status(value: Status | str) -> Status:
    try:
        return Status(value)
    except ValueError:
        raise UsageError(f"{value!r} is no status: there are {', '.join(Status)}") from None


def _types(events: Sequence[Event]) -> list[str]:
    return [str(event.type) for event in events]


def _described(type: str, expected: dict[str, Any]) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in expected.items())
    return f"{type!r} with {values}" if values else repr(type)


def _what_is_there(store: Store, type: str) -> str:
    """Show the runs of this type, or of every type when it has none."""
    same = _reader(store).runs(Route.of([type]), ALL)
    if same:
        return f"of {type!r} there are:{_lines(same)}"
    others = _reader(store).runs(Route.of(["%"]), ALL)
    return f"the store has:{_lines(others)}" if others else "the store has no runs at all"


def _lines(runs: Sequence[Run]) -> str:
    more = [f"… and {len(runs) - SHOWN:,} more"] if len(runs) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*map(_line, runs[:SHOWN]), *more])


def _line(run: Run) -> str:
    return (
        f"{run.type} {run.id} {run.status} attempt={run.attempt}/{run.max_attempts} "
        f"priority={run.priority} payload={run.payload!r}"
    )
