"""The value law: what a run may hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import A_RUN_ID, QUICK, json_values

from simpleworkflow.core import storable
from simpleworkflow.core.errors import InvalidType, NotStorable, UsageError


class Unspeakable:
    """An object of a user whose repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __hash__ = object.__hash__


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


A_RING: list[Any] = []
A_RING.append(A_RING)


@given(json_values)
@QUICK
def test_what_json_holds_comes_back_as_it_was(value: Any) -> None:
    """Encoding then decoding changes nothing."""
    text = storable.encode_json(value, "payload")

    assert storable.decode_json(text, "payload") == value


def test_white_space_around_json_is_read_over() -> None:
    """Text of `jsonb` has none there, but other stores may keep it as it came."""
    assert storable.decode_json(' {"a": 1}\n', "payload") == {"a": 1}
    assert storable.decode_json("1 ", "payload") == 1


def test_the_deepest_json_is_read() -> None:
    """What may be submitted, an executor gets."""
    deepest = [[]] * 300 + nested(500)

    assert storable.decode_json(json.dumps(deepest), "payload") == deepest


@given(json_values)
@QUICK
def test_the_canonical_form_means_the_same_and_is_final(value: Any) -> None:
    """A database's way of writing JSON changes no value, and is its own canonical form."""
    canonical = storable.canonical_json(json.dumps(value), "payload")

    # A float with an exponent is written out in full, so it may come back as the equal integer.
    assert json.loads(canonical, parse_int=float) == json.loads(json.dumps(value), parse_int=float)
    assert storable.canonical_json(canonical, "payload") == canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('{"bb": 1, "a": 2, "B": 3}', '{"B":3,"a":2,"bb":1}'),
        ('{"a": 1, "a": 2}', '{"a":2}'),
        ('{"é": 1, "zz": 2, "b": [{"d": 1, "c": 2}]}', '{"b":[{"c":2,"d":1}],"zz":2,"é":1}'),
        ("1e2", "100"),
        ("1.5E3", "1500"),
        ("1.00e1", "10.0"),
        ("25e-1", "2.5"),
        ("-0.0", "0.0"),
        ("-0", "0"),
        ("0e5", "0"),
        ("0.0e-3", "0.0"),
        ("1.25", "1.25"),
        (' "\\u00e9" ', '"é"'),
    ],
)
def test_the_canonical_form_is_that_of_jsonb(text: str, canonical: str) -> None:
    """Keys by length then bytes, the last of equal keys, numbers without exponent."""
    assert storable.canonical_json(text, "payload") == canonical


def test_the_deepest_value_has_a_canonical_form() -> None:
    """What a producer may submit, a store in memory can hold."""
    deepest = [{"a": nested(498)}]

    assert json.loads(storable.canonical_json(json.dumps(deepest), "payload")) == deepest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        "-Infinity",
        '"\\u0000"',
        '"\\ud800"',
        '{"\\ud800": 1}',
        "1e999999999",
        "1e99999999999999999999",
        "9" * 4301,
        "[" * 501 + "]" * 501,
        "[" * 100_000,
    ],
    ids=lambda text: text[:12],
)
def test_text_that_jsonb_refuses_has_no_canonical_form(text: str) -> None:
    """Nor has text that Python could not read back."""
    with pytest.raises(NotStorable, match="result"):
        storable.canonical_json(text, "result")


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (float("nan"), "payload is nan"),
        ({"a": [0, float("inf")]}, r"payload\['a'\]\[1\] is inf"),
        ("nul \x00", "payload has a NUL"),
        ({"a": "\ud800"}, r"payload\['a'\] has a NUL or a lone surrogate"),
        ({"\x00": 1}, "payload has a key"),
        ({"\udfff": 1}, "payload has a key"),
        ({(1, 2): 1}, "of type tuple: use text"),
        ({float("nan"): 1}, "payload cannot be stored"),
        ({"a": {1, 2}}, r"payload\['a'\] is a set"),
        ((1, b"bytes"), r"payload\[1\] is a bytes"),
        ([datetime(2030, 1, 1)], r"payload\[0\] is a datetime"),
        (Unspeakable(), "payload is a Unspeakable"),
        ({Unspeakable(): 1}, "a Unspeakable that cannot be shown"),
        (10**4300, "more than 4,300 digits"),
        ([-(10**5000)], r"payload\[0\] is a number"),
        (nested(501), "nested deeper than 500"),
        ({"a": [[]] * 300 + [{"b": (nested(498),)}]}, "nested deeper than 500"),
        (nested(100_000), "nested deeper than 500"),
        ([{1}, 1.5, True, None, "fine", 7], r"payload\[0\] is a set"),
        (A_RING, "nested deeper than 500"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "value",
)
def test_a_value_that_json_cannot_hold_is_found(value: Any, where: str) -> None:
    """The message says where in the value, and what to do."""
    with pytest.raises(NotStorable, match=where):
        storable.encode_json(value, "payload")


@pytest.mark.parametrize(
    "value",
    [
        nested(500),
        [[]] * 600,
        ["[" * 600, 1, {"a": [nested(497)] * 3}],
        10**4299,
        "9" * 5000,
        "\\u0000 as six letters",
        "[" * 600,
        {1: "a", False: None, None: 1.5, 2.5: False},
        {"\U0010ffff": "\ud7ff\ue000"},
        [True, None, "é", 1, 1.5, {}],
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_only_looks_odd_is_taken(value: Any) -> None:
    """The careful look finds nothing wrong with it."""
    assert json.loads(storable.encode_json(value, "payload")) is not None


@pytest.mark.parametrize(
    "text",
    ["{", "9" * 4301, "[" * 100_000, "[" * 501 + "]" * 501, " [" * 501 + "]" * 501],
    ids=lambda text: f"{text[:3]}{len(text)}",
)
def test_json_of_other_programs_that_python_cannot_read_is_refused(text: str) -> None:
    """By the name of what it was."""
    with pytest.raises(NotStorable, match="headers"):
        storable.decode_json(text, "headers")


@pytest.mark.parametrize(
    ("text", "size"),
    [("x" * 100, 100), ("é" * 50, 100), ("é" * 40 + "xx", 82), ("\U0010ffff" * 25, 100)],
    ids=ascii,
)
def test_a_size_is_counted_in_bytes(text: str, size: int) -> None:
    """Of UTF-8: what a limit allows is taken to the last byte, and not one more."""
    storable.check_size(text, "payload", size, "max_payload_bytes")
    with pytest.raises(
        NotStorable, match=rf"the payload takes {size} bytes.*max_payload_bytes={size - 1}: keep"
    ):
        storable.check_size(text, "payload", size - 1, "max_payload_bytes")


@pytest.mark.parametrize(
    ("check", "most"),
    [
        (storable.check_max_bytes, 268_435_455),
        (storable.check_max_chars, 67_108_863),
    ],
)
def test_a_limit_is_of_use_and_can_be_kept(check: Callable[[object, str], int], most: int) -> None:
    """From a hundred to what the database takes."""
    assert [check(value, "limit") for value in (100, most)] == [100, most]
    for bad in (99, 0, -1, most + 1, 1e6, "1000", None, True):
        with pytest.raises(UsageError, match=r"limit=.* must be a whole number from 100 to"):
            check(bad, "limit")


@given(st.text(st.characters(), max_size=60), st.integers(45, 60))
@QUICK
def test_cleaned_text_fits_and_can_be_stored(text: str, limit: int) -> None:
    """Whatever an exception said; text that was storable and fitted is untouched."""
    clean = storable.clean_text(text, limit)

    assert len(clean) <= limit
    assert storable.check_text(clean, "error") == clean
    if len(text) <= limit and not any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in text):
        assert clean == text


def test_cut_text_says_so() -> None:
    """With the length it had."""
    assert storable.clean_text("x" * 2_000, 100).endswith("… [cut: 2,000 characters in all]")


@pytest.mark.parametrize("bad", ["a\x00", "\udc00"])
def test_text_that_no_store_holds_is_refused(bad: str) -> None:
    """By its name."""
    with pytest.raises(NotStorable, match="error has a NUL"):
        storable.check_text(bad, "error")


@pytest.mark.parametrize("good", ["a", "a.b.v1", "a_b", "Ä", "\U0010ffff", "x" * 1000, " "])
def test_a_type_is_any_text_without_percent(good: str) -> None:
    """Up to 1,000 bytes."""
    assert storable.check_type(good) == good


@pytest.mark.parametrize(
    "bad", ["", "%", "a.%", "a\x00", "\ud800", "x" * 1001, "é" * 501, None, 7, b"a"], ids=repr
)
def test_a_type_that_could_not_be_routed_or_held_is_refused(bad: Any) -> None:
    """Empty, with `%`, too long, no text."""
    with pytest.raises(InvalidType, match="type"):
        storable.check_type(bad)


@pytest.mark.parametrize("check", [storable.check_key, storable.check_worker_id])
def test_keys_and_worker_ids_are_text(check: Callable[[object], str]) -> None:
    """Of at most 2,000 bytes; `%` has no meaning in them."""
    assert check("50%") == "50%"
    for bad in ("", None, 7, "a\x00", "\ud800", "é" * 1001):
        with pytest.raises(UsageError):
            check(bad)


@pytest.mark.parametrize(
    "given_id", [A_RUN_ID, A_RUN_ID.upper(), A_RUN_ID.replace("-", ""), f"{{{A_RUN_ID}}}"]
)
def test_a_run_id_is_a_uuid_in_any_spelling(given_id: str) -> None:
    """And is given back in one."""
    assert storable.check_run_id(given_id) == A_RUN_ID


def test_a_schedules_id_is_read_likewise() -> None:
    """And a bad one is told to be one of a schedule."""
    assert storable.check_schedule_id(A_RUN_ID.upper()) == A_RUN_ID
    with pytest.raises(UsageError, match="the schedule id '7' is no UUID"):
        storable.check_schedule_id("7")


@pytest.mark.parametrize("bad", ["", "7", A_RUN_ID + "0", A_RUN_ID + "\n", None, 7, b"x"])
def test_what_is_no_uuid_is_no_run_id(bad: Any) -> None:
    """The error shows what one looks like."""
    with pytest.raises(UsageError, match=r"no UUID.*0b9d7c52"):
        storable.check_run_id(bad)


@pytest.mark.parametrize("good", [0, -(2**31), 2**31 - 1])
def test_whole_numbers_of_32_bits_are_taken(good: int) -> None:
    """Both ends included."""
    assert storable.check_int(good, "priority") == good


@pytest.mark.parametrize(
    "bad", [2**31, -(2**31) - 1, 1.0, True, "1", None, 10**5000], ids=lambda bad: type(bad).__name__
)
def test_other_numbers_are_refused(bad: Any) -> None:
    """However large: the error must still be told."""
    with pytest.raises(UsageError, match=r"priority=.* must be a whole number"):
        storable.check_int(bad, "priority")


@pytest.mark.parametrize("good", [1, 0.25, timedelta(seconds=2), 36_525 * 86_400])
def test_a_duration_is_seconds_or_a_timedelta(good: Any) -> None:
    """Up to 100 years."""
    expected = good if isinstance(good, timedelta) else timedelta(seconds=good)

    assert storable.check_duration(good, "delay") == expected


def test_zero_is_a_duration_where_it_means_something() -> None:
    """A delay of nothing, but no lease of nothing."""
    assert storable.check_duration(0, "delay", allow_zero=True) == timedelta(0)
    with pytest.raises(UsageError, match="delay=0 must be positive"):
        storable.check_duration(0, "delay")


@pytest.mark.parametrize(
    "bad",
    [
        -1,
        -0.001,
        float("nan"),
        float("inf"),
        float("-inf"),
        10**400,
        -(10**400),
        10**5000,
        True,
        "5",
        None,
        timedelta(seconds=-1),
        timedelta.max,
    ],
    ids=lambda bad: type(bad).__name__,
)
def test_a_senseless_duration_is_refused(bad: Any) -> None:
    """Negative, endless, or no number at all."""
    for allow_zero in (False, True):
        with pytest.raises(UsageError, match="delay="):
            storable.check_duration(bad, "delay", allow_zero=allow_zero)


def test_an_instant_is_given_back_in_utc() -> None:
    """To the microsecond."""
    zone = timezone(timedelta(hours=-3))
    instant = datetime(2030, 1, 1, 9, 0, 0, 123456, tzinfo=zone)

    checked = storable.check_instant(instant, "run_at")

    assert checked == instant
    assert checked.isoformat() == "2030-01-01T12:00:00.123456+00:00"


@pytest.mark.parametrize(
    "bad",
    [
        datetime(2030, 1, 1),
        "2030-01-01",
        0,
        None,
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_an_instant_without_a_zone_or_outside_the_calendar_is_refused(bad: Any) -> None:
    """A naive one would mean something else on each machine."""
    with pytest.raises(UsageError, match="run_at="):
        storable.check_instant(bad, "run_at")


def test_a_long_value_is_shown_short() -> None:
    """An error is read by people."""
    assert storable.shown("x") == "'x'"
    assert len(storable.shown("x" * 10**6)) < 250
