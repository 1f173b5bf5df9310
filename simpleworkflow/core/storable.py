"""Value law: only this module says what a run may hold, so every store refuses the same things.

Text is what PostgreSQL holds: no NUL, no lone surrogate. JSON is what `jsonb` holds: no NaN, no
infinity, no `\\u0000`, numbers of at most MAX_DIGITS digits, nesting of at most MAX_DEPTH, and no
more bytes than the producer or the worker sets as its limit.
"""

from __future__ import annotations

import json
import json.encoder
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from uuid import UUID

from simpleworkflow.core.errors import InvalidType, NotStorable, UsageError

MAX_DURATION = timedelta(days=36_525)
"""100 years: longer waits are mistakes, and PostgreSQL's timestamps end some day."""

MAX_DEPTH = 500
"""Levels of nested JSON: Python's own reader stops at about 1,000, PostgreSQL's later."""

MAX_DIGITS = 4_300
"""Digits of a JSON integer: Python reads no longer one by default, `jsonb` holds 131,072."""

MAX_TYPE_BYTES = 1_000
MAX_KEY_BYTES = 2_000
"""Both are indexed, and an index entry of PostgreSQL holds at most 2,704 bytes."""

MAX_JSON_BYTES = 2**28 - 1
"""What `jsonb` can hold. Source: PostgreSQL, src/include/utils/jsonb.h, JENTRY_OFFLENMASK."""

DEFAULT_JSON_BYTES = 64 * 2**20
"""The limit of a payload with its headers, and of a result, where none is set."""

MAX_ERROR_CHARS = MAX_JSON_BYTES // 4
"""The same room, in the largest characters: a field of PostgreSQL holds 1 GB, and so does all that
is sent with a statement."""

DEFAULT_ERROR_CHARS = 16_384

MIN_LIMIT = 100
"""A lower limit would refuse ordinary values, and leave of a cut error its mark alone."""

_MAX_SHOWN = 200
_MAX_INT32 = 2**31 - 1
_UNSTORABLE_TEXT = re.compile("[\x00\ud800-\udfff]")
_LONG_NUMBER = re.compile(rf"\d{{{MAX_DIGITS + 1}}}")
_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def _make_encoder() -> Callable[[object], str]:
    """Return a function that writes compact JSON and refuses NaN and infinity.

    JSONEncoder builds its C encoder anew for every value, which takes four times as long as
    encoding a small one. Built once, without its shared memory of what it is in the middle of, it
    serves all threads; a circular value ends in a RecursionError.
    """
    plain = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    make: Any = json.encoder.c_make_encoder  # type: ignore[attr-defined]
    if make is None:  # pragma: no cover - only where Python is built without its C parts
        return plain.encode
    text = json.encoder.encode_basestring
    encoder = make(None, plain.default, text, None, ":", ",", False, False, False)
    return lambda value: "".join(encoder(value, 0))


_encode = _make_encoder()


def shown(value: object) -> str:
    """Return `value` as an error message shows it: short, whatever it is."""
    try:
        text = repr(value)
    except Exception:
        # A number of too many digits, or a user's own class: the error must still be told.
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def encode_json(value: object, what: str) -> str:
    """Return `value` as JSON text that every store can hold.

    Args:
        value: what `json.dumps` takes: dicts, lists, text, numbers, booleans, None.
        what: how an error names it, such as `payload`.

    Raises:
        NotStorable: it cannot be held; the message says where in the value and why.
    """
    if value is None:
        return "null"
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise _not_storable(value, what, str(exc)) from exc
    if (
        "\\u0000" in text
        or (not text.isascii() and _UNSTORABLE_TEXT.search(text))
        or _is_suspicious(value, text)
    ):
        problem = _problem(value, what)
        if problem is not None:
            raise NotStorable(problem)
    return text


def decode_json(text: str, what: str) -> Any:
    """Return the value that JSON `text` stands for.

    Raises:
        NotStorable: it is no JSON, nested deeper than MAX_DEPTH, or has a number of too many
            digits; what another program wrote may be.
    """
    try:
        # json.loads looks for white space with two regular expressions; a store's text has none.
        value, end = _scan(text, 0)
    except (StopIteration, ValueError, RecursionError):
        value, end = None, -1  # What is wrong with it, json.loads says well.
    if end != len(text):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise NotStorable(f"the {what} cannot be read as JSON: {exc}") from exc
    # Newer Pythons read deeper than they write.
    if len(text) > MAX_DEPTH and _is_deep(value, text):
        raise NotStorable(
            f"the {what} cannot be read as JSON: it is nested deeper than {MAX_DEPTH} levels"
        )
    return value


def canonical_json(text: str, what: str) -> str:
    """Return JSON `text` as PostgreSQL's `jsonb` gives it back, so that all stores agree.

    Keys are ordered by length, then bytes; numbers lose their exponent and the sign of zero.
    Source: PostgreSQL documentation, "JSON Types", section 8.14.

    Raises:
        NotStorable: it is not JSON, or `jsonb` refuses it.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_ordered,
            parse_float=_canonical_number,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as exc:
        raise NotStorable(f"the {what} is not JSON that can be stored: {exc}") from exc
    return encode_json(value, what)


def check_size(text: str, what: str, limit: int, setting: str) -> None:
    """Refuse JSON `text` of more than `limit` bytes of UTF-8.

    Args:
        text: what `encode_json` gave.
        what: how an error names it, such as `payload`.
        limit: the most bytes.
        setting: the argument that sets the limit.

    Raises:
        NotStorable: it is larger; the message says how large.
    """
    # To count the bytes is to write them all: only where four for each character are too many.
    if 4 * len(text) <= limit:
        return
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise NotStorable(
            f"the {what} takes {size:,} bytes as JSON, more than {setting}={limit:,}: keep the "
            "data elsewhere and pass on where they are, or raise the limit"
        )


def clean_text(text: str, limit: int = DEFAULT_ERROR_CHARS) -> str:
    """Return `text` without what PostgreSQL cannot hold, cut to `limit` characters and marked."""
    if len(text) > limit:
        mark = f" … [cut: {len(text):,} characters in all]"
        text = text[: max(0, limit - len(mark))] + mark
    return _UNSTORABLE_TEXT.sub("\ufffd", text)


def check_type(value: object) -> str:
    """Return `value` if it can be the type of a run.

    Raises:
        InvalidType: it is no text, empty, too long, carries `%`, or cannot be stored.
    """
    if not isinstance(value, str) or not value:
        raise InvalidType(f"the type {shown(value)} must be text such as 'billing.invoice.v1'")
    return _checked_type(value)


@lru_cache(maxsize=1_000)
def _checked_type(value: str) -> str:
    # Remembered: a program submits few types, again and again.
    if "%" in value:
        raise InvalidType(
            f"the type {shown(value)} carries '%', which only a pattern may: name one exact type"
        )
    return _check_text(value, "type", MAX_TYPE_BYTES, InvalidType)


def check_key(value: object) -> str:
    """Return `value` if it can be an idempotency key.

    Raises:
        UsageError: it is no text, empty, too long, or cannot be stored.
    """
    if not isinstance(value, str) or not value:
        raise UsageError(f"idempotency_key={shown(value)} must be text that is not empty")
    return _check_text(value, "idempotency_key", MAX_KEY_BYTES, UsageError)


def check_worker_id(value: object) -> str:
    """Return `value` if it can name a worker.

    Raises:
        UsageError: it is no text, empty, too long, or cannot be stored.
    """
    if not isinstance(value, str) or not value:
        raise UsageError(f"worker_id={shown(value)} must be text that is not empty")
    return _check_text(value, "worker_id", MAX_KEY_BYTES, UsageError)


def check_run_id(value: object) -> str:
    """Return `value`, a UUID as text, in the form that every store gives back.

    Raises:
        UsageError: it is no UUID.
    """
    # Looked at here: every run comes by.
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    return _read_id(value, "run", "submit")


def check_schedule_id(value: object) -> str:
    """Return `value`, a UUID as text, in the form that every store gives back.

    Raises:
        UsageError: it is no UUID.
    """
    return _read_id(value, "schedule", "schedules.create")


def check_text(value: str, what: str) -> str:
    """Return `value` if every store can hold it as text.

    Raises:
        NotStorable: it has a NUL or a lone surrogate.
    """
    if _UNSTORABLE_TEXT.search(value):
        raise NotStorable(f"the {what} has a NUL or a lone surrogate, which no store can hold")
    return value


def check_int(
    value: object, what: str, *, at_least: int = -_MAX_INT32 - 1, at_most: int = _MAX_INT32
) -> int:
    """Return `value` if it is a whole number that a 32-bit column holds.

    Raises:
        UsageError: it is not, or lies below `at_least` or above `at_most`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not at_least <= value <= at_most:
        raise UsageError(
            f"{what}={shown(value)} must be a whole number from {at_least:,} to {at_most:,}"
        )
    return value


def check_max_bytes(value: object, what: str) -> int:
    """Return `value` if it can be the limit of a payload or a result.

    Raises:
        UsageError: it is no whole number, too small to be of use, or more than `jsonb` holds.
    """
    return check_int(value, what, at_least=MIN_LIMIT, at_most=MAX_JSON_BYTES)


def check_max_chars(value: object, what: str) -> int:
    """Return `value` if it can be the limit of an error's text.

    Raises:
        UsageError: it is no whole number, too small to be of use, or more than can be sent.
    """
    return check_int(value, what, at_least=MIN_LIMIT, at_most=MAX_ERROR_CHARS)


def check_duration(value: object, what: str, *, allow_zero: bool = False) -> timedelta:
    """Return `value` (seconds as int or float, or a timedelta) as a timedelta.

    Raises:
        UsageError: it is neither, negative, zero where that has no meaning, or over 100 years.
    """
    if isinstance(value, timedelta):
        duration = value
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        # Clamped while still a number: a timedelta holds no infinity and no 400-digit integer.
        duration = timedelta(seconds=max(-1, min(value, 2 * MAX_DURATION.total_seconds())))
    else:
        raise UsageError(f"{what}={shown(value)} must be seconds (int or float) or a timedelta")
    if not timedelta(0) <= duration <= MAX_DURATION or not (duration or allow_zero):
        least = "0 or more" if allow_zero else "positive"
        raise UsageError(f"{what}={shown(value)} must be {least} and at most 100 years")
    return duration


def check_instant(value: object, what: str) -> datetime:
    """Return `value` as an instant in UTC.

    Raises:
        UsageError: it is no datetime, or one without a time zone.
    """
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise UsageError(
            f"{what}={shown(value)} must be a datetime with a time zone, "
            "such as datetime.now(UTC) + timedelta(hours=1)"
        )
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise UsageError(f"{what}={shown(value)} lies outside the years 1 to 9999 in UTC") from None


def _read_id(value: object, of: str, answered_by: str) -> str:
    if isinstance(value, str):
        try:
            return str(UUID(value))
        except ValueError:
            pass
    raise UsageError(
        f"the {of} id {shown(value)} is no UUID: give the text that {answered_by} answered, "
        "such as '0b9d7c52-5a8e-4a9b-8f43-0d8a4c6d2f10'"
    )


def _check_text(value: str, what: str, limit: int, error: type[UsageError]) -> str:
    if _UNSTORABLE_TEXT.search(value):
        raise error(
            f"the {what} {shown(value)} has a NUL or a lone surrogate: no store can hold it"
        )
    if len(value.encode()) > limit:
        raise error(f"the {what} {shown(value)} is longer than {limit:,} bytes of UTF-8")
    return value


def _not_storable(value: object, what: str, reason: str) -> NotStorable:
    # Walking explains most refusals with a path; the encoder's own words are the rest.
    problem = _problem(value, what)
    return NotStorable(problem or f"the {what} cannot be stored as JSON: {reason}")


def _problem(value: object, path: str) -> str | None:
    """Return why `value` cannot be stored, with the path; None when nothing is found.

    Without Python's own recursion, because depth is one of the problems.
    """
    stack = [(value, path, 0)]
    while stack:
        value, path, depth = stack.pop()
        if depth >= MAX_DEPTH and isinstance(value, (dict, list, tuple)):
            return f"{path[:80]}… is nested deeper than {MAX_DEPTH} levels: flatten it"
        if isinstance(value, dict):
            problem = next(filter(None, (_problem_of_key(key, path) for key in value)), None)
            stack.extend((item, f"{path}[{shown(key)}]", depth + 1) for key, item in value.items())
        elif isinstance(value, (list, tuple)):
            problem = None
            stack.extend((item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value))
        else:
            problem = _problem_of_leaf(value, path)
        if problem is not None:
            return problem
    return None


def _problem_of_key(key: object, path: str) -> str | None:
    if isinstance(key, str) and _UNSTORABLE_TEXT.search(key):
        return f"{path} has a key {shown(key)} with a NUL or a lone surrogate: rename it"
    if not isinstance(key, (str, int, float, bool, type(None))):
        return f"{path} has a key {shown(key)} of type {type(key).__name__}: use text"
    return None


def _problem_of_leaf(value: object, path: str) -> str | None:
    if isinstance(value, str) and _UNSTORABLE_TEXT.search(value):
        return f"{path} has a NUL or a lone surrogate, which jsonb cannot hold: remove it"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{path} is {shown(value)}, which JSON cannot hold: use None or text"
    if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        return f"{path} is a number of more than {MAX_DIGITS:,} digits: store it as text"
    if not isinstance(value, (str, float, int, type(None))):
        return (
            f"{path} is a {type(value).__name__}, which JSON cannot hold: "
            "convert it to dict, list, text, number, boolean or None"
        )
    return None


def _is_suspicious(value: object, text: str) -> bool:
    """Say whether depth or digits may exceed the limits, so that a full look is worth its time."""
    return len(text) > MAX_DEPTH and (
        _is_deep(value, text) or (len(text) > MAX_DIGITS and _LONG_NUMBER.search(text) is not None)
    )


def _is_deep(value: object, text: str) -> bool:
    """Say whether a value, which is `text` as JSON, is nested deeper than MAX_DEPTH."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    # Level by level and without paths, in a hundredth of the time of a full look.
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, (dict, list, tuple))
        ]
        if not level:
            return False
    return True


def _canonical_number(digits: str) -> int | float:
    if "e" not in digits and "E" not in digits:
        return float(digits) or 0.0
    try:
        number = Decimal(digits)
    except InvalidOperation:
        raise ValueError("a number has too large an exponent") from None
    if abs(number.adjusted()) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS:,} digits")
    plain = format(number, "f")
    return float(plain) or 0.0 if "." in plain else int(plain)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _ordered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)  # Of equal keys the last counts.
    return {key: found[key] for key in sorted(found, key=lambda key: (len(key.encode()), key))}
