"""The routing law, as a table and as properties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import QUICK, crowded_text, type_text

from simpleworkflow.core.errors import InvalidPattern, UsageError
from simpleworkflow.core.routing import Route, TypePattern, most_specific, parse_prefixes
from simpleworkflow.core.storable import MAX_TYPE_BYTES

types = type_text | crowded_text
patterns = st.builds(TypePattern, types, st.booleans()) | st.just(TypePattern("", True))
routes = st.lists(patterns, max_size=5).map(Route.of)


@pytest.mark.parametrize(
    ("pattern", "type_", "expected"),
    [
        ("a.b.v1", "a.b.v1", True),
        ("a.b.v1", "a.b.v10", False),
        ("a.%", "a.", True),
        ("a.%", "a.b", True),
        ("a.%", "a-b", False),
        ("a.%", "a", False),
        ("a%", "a-b", True),
        ("a_b.%", "a_b.c", True),
        ("a_b.%", "axb.c", False),
        ("a_b", "axb", False),
        ("%", "anything at all", True),
        ("Ä.%", "Ä.b", True),
        ("Ä.%", "ä.b", False),
        ("a\\%", "a\\b", True),
        ("a\\%", "ab", False),
        ("*", "a", False),
        ("a.?", "a.b", False),
    ],
)
def test_what_a_pattern_matches(pattern: str, type_: str, expected: bool) -> None:
    """A literal, or a literal and one `%` at its end; no other letter is special."""
    assert TypePattern.parse(pattern).matches(type_) is expected
    assert Route.of([pattern]).matches(type_) is expected


@pytest.mark.parametrize(
    "bad", ["", "%a", "a%b", "a%%", "%%", "a%.b%", "a\x00%", "a\ud800", "x" * 1001, None, 7, b"a"]
)
def test_anything_else_is_refused_with_the_right_form(bad: Any) -> None:
    """The error shows what to write instead, or says why nothing can match."""
    with pytest.raises(InvalidPattern, match=r"billing\.%|cannot match"):
        TypePattern.parse(bad)


@given(types, st.booleans())
@QUICK
def test_a_pattern_reads_as_it_was_written(literal: str, is_prefix: bool) -> None:
    """`str` and `parse` are each other's inverse."""
    pattern = TypePattern(literal, is_prefix)

    assert TypePattern.parse(str(pattern)) == pattern


@given(patterns, types)
@QUICK
def test_bounds_hold_exactly_the_matching_types(pattern: TypePattern, type_: str) -> None:
    """Compared as bytes of UTF-8, as a database with collation "C" compares."""
    low, high = (bound.encode() for bound in pattern.bounds())

    assert (low <= type_.encode() < high) is pattern.matches(type_)


@given(patterns, types)
@QUICK
def test_bounds_hold_whatever_follows_the_literal(pattern: TypePattern, rest: str) -> None:
    """Aimed at the edge: types that do start with the literal."""
    type_ = pattern.literal + rest
    low, high = (bound.encode() for bound in pattern.bounds())

    assert (low <= type_.encode() < high) is pattern.matches(type_) is pattern.is_prefix


@pytest.mark.parametrize("prefix", ["", "a", "\ud7ff", "a\U0010ffff", "\U0010ffff" * 2, "a\x7f"])
def test_bounds_of_prefixes_at_the_edges_of_unicode(prefix: str) -> None:
    """The least and the greatest type that a prefix can have lie within."""
    pattern = TypePattern(prefix, True)
    low, high = (bound.encode() for bound in pattern.bounds())
    room = (MAX_TYPE_BYTES - len(prefix.encode())) // 4

    for type_ in (prefix + "\x01", prefix + "\U0010ffff" * room):
        assert low <= type_.encode() < high


@given(patterns, patterns, types)
@QUICK
def test_what_covers_another_matches_all_that_it_matches(
    wide: TypePattern, narrow: TypePattern, type_: str
) -> None:
    """`covers` is about every type."""
    if wide.covers(narrow) and narrow.matches(type_):
        assert wide.matches(type_)


@given(st.lists(patterns, max_size=6), types)
@QUICK
def test_a_route_serves_what_any_of_its_patterns_matches(
    given_: list[TypePattern], type_: str
) -> None:
    """Leaving out what is covered changes nothing."""
    assert Route.of(given_).matches(type_) == any(p.matches(type_) for p in given_)


@given(routes)
@QUICK
def test_no_pattern_of_a_route_covers_another(route: Route) -> None:
    """So the ranges of a route never overlap, and no run is found twice."""
    for one in route.patterns:
        assert [other for other in route.patterns if one.covers(other)] == [one]
    bounds = [bound.encode() for pattern in route.patterns for bound in pattern.bounds()]
    assert bounds == sorted(bounds)


@given(routes, routes, types)
@QUICK
def test_within_serves_what_both_serve(one: Route, other: Route, type_: str) -> None:
    """The route of a worker is what it was told and what it can execute."""
    both = one.within(other)

    assert both.matches(type_) == (one.matches(type_) and other.matches(type_))
    assert both == other.within(one)


@pytest.mark.parametrize(
    ("registered", "type_", "winner"),
    [
        (["%", "a.%", "a.b.%", "a.b.v1"], "a.b.v1", "a.b.v1"),
        (["%", "a.%", "a.b.%", "a.b.v1"], "a.b.v2", "a.b.%"),
        (["%", "a.%", "a.b.%", "a.b.v1"], "a.c", "a.%"),
        (["%", "a.%"], "b", "%"),
        (["a.%", "a.b%"], "a.b", "a.b%"),
        (["a.b", "a.b%"], "a.b", "a.b"),
        (["a.%"], "b", None),
        ([], "b", None),
    ],
)
def test_the_most_specific_pattern_wins(
    registered: list[str], type_: str, winner: str | None
) -> None:
    """An exact type before a prefix, a longer prefix before a shorter one."""
    found = most_specific(map(TypePattern.parse, registered), type_)

    assert (found and str(found)) == winner


def test_a_route_says_what_it_serves() -> None:
    """As its patterns are written; one without any is false."""
    assert str(Route.of(["b.%", "a", "b.c"])) == "a, b.%"
    assert Route.of(["a"])
    assert not Route.of([])


def test_prefixes_of_a_worker_are_a_route() -> None:
    """Any collection of patterns will do."""
    assert parse_prefixes(["b.%", "a"]) == parse_prefixes(("a", "b.%")) == Route.of({"a", "b.%"})


@pytest.mark.parametrize("bad", ["billing.%", b"a", None, 7, [], [""], ["a", None], ["%.x"]])
def test_prefixes_that_cannot_work_are_refused(bad: Any) -> None:
    """One text is the commonest slip: it would be read letter by letter."""
    with pytest.raises(UsageError, match="pattern"):
        parse_prefixes(bad)
