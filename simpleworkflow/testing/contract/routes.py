"""Laws about which types a worker gets."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from simpleworkflow.core.routing import Route
from simpleworkflow.core.store import Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    HALF_MINUTE,
    Examination,
    claim,
    rescue,
    submit,
)

Serve = Callable[..., set[str]]

EDGES = [
    ("exact.v1", {"exact.v1"}, {"exact.v10", "exact.v", "Exact.v1", "exact.v1.", " exact.v1"}),
    ("a.%", {"a.", "a.b", "a.b.c", "a..", "a._"}, {"a", "a-", "a-b", "ab", "a/", "A.b"}),
    ("a%", {"a", "a.", "a-", "ab", "a_", "aé"}, {"b", "A", "ba", "é"}),
    ("a_b.%", {"a_b.", "a_b.c"}, {"axb.c", "a.b.c", "ab.c", "a__b.c"}),
    ("a_b", {"a_b"}, {"axb", "a-b", "a.b"}),
    ("_%", {"_", "_x"}, {"x", "xx"}),
    ("a\\%", {"a\\", "a\\b"}, {"a", "ab", "a%".replace("%", "x")}),
    ("a'%", {"a'", "a'b"}, {"a", "a''".replace("'", '"')}),
    ("é%", {"é", "éa", "é\U0001f600"}, {"e\u0301", "e", "É", "ê"}),
    ("ß", {"ß"}, {"ss", "ẞ", "s"}),
    ("日本.%", {"日本.", "日本.請求"}, {"日本", "日木.請求"}),
    (
        "a\U0010ffff%",
        {"a\U0010ffff", "a\U0010ffff\U0010ffff", "a\U0010ffffb"},
        {"a", "b", "a\ue000"},
    ),
    ("a\ud7ff%", {"a\ud7ff", "a\ud7ffz"}, {"a\ue000", "a\ud7fe", "b"}),
    ("a.[b-c]*", {"a.[b-c]*"}, {"a.b", "a.c"}),
    ("a b%", {"a b", "a b c"}, {"a", "ab", "a  b"}),
    ("%", {"a", "_", "é", "\U0010ffff", "\x01", "A.b"}, set()),
]


class RouteLaws(Examination):
    """A worker gets the types of its route, to the letter, and no others."""

    @pytest.fixture(params=["claim", "rescue"])
    def served(self, request: pytest.FixtureRequest, store: Store, clock: FakeClock) -> Serve:
        """Gives the types that are handed out for some patterns, by a claim or by a rescue."""

        def by_claim(*patterns: str) -> set[str]:
            return {c.type for c in claim(store, *patterns)}

        def by_rescue(*patterns: str) -> set[str]:
            claim(store)
            clock.advance(HALF_MINUTE)
            return {r.claim.type for r in rescue(store, *patterns)}

        return by_claim if request.param == "claim" else by_rescue

    @pytest.mark.parametrize(
        ("pattern", "inside", "outside"), EDGES, ids=[ascii(edge[0]) for edge in EDGES]
    )
    def test_a_pattern_serves_its_types_to_the_letter(
        self, store: Store, served: Serve, pattern: str, inside: set[str], outside: set[str]
    ) -> None:
        """`_` is a letter, `%` at the end is any rest, and nothing else means anything."""
        for type_ in sorted(inside | outside):
            submit(store, type_)

        assert served(pattern) == inside

    def test_a_route_without_patterns_serves_nothing(self, store: Store, served: Serve) -> None:
        """An empty route is not a route of everything."""
        submit(store)

        assert store.claim(Route(()), 10, "worker-a", HALF_MINUTE) == []
        assert store.rescue(Route(()), 10, "worker-a", HALF_MINUTE) == []

    def test_patterns_that_overlap_give_a_run_once(self, store: Store) -> None:
        """A run that three patterns match is one run."""
        submit(store, "a.b.c")

        assert len(claim(store, "a.%", "a.b.%", "a.b.c")) == 1

    def test_a_thousand_patterns_serve_exactly_theirs(self, store: Store, served: Serve) -> None:
        """Half of them exact, half prefixes, with look-alikes on every side."""
        exact = {f"exact.{n:03}" for n in range(500)}
        prefixed = {f"prefix.{n:03}.v1" for n in range(500)}
        others = {f"exact.{n:03}.v1" for n in range(0, 500, 25)}
        others |= {f"prefix.{n:03}" for n in range(0, 500, 25)} | {"exact", "prefix.", "z"}
        for type_ in [*sorted(exact)[::10], *sorted(prefixed)[::10], *sorted(others)]:
            submit(store, type_)

        found = served(*exact, *(type_.removesuffix("v1") + "%" for type_ in prefixed))

        assert found == set(sorted(exact)[::10]) | set(sorted(prefixed)[::10])

    def test_any_patterns_serve_what_they_match(self, store: Store, served: Serve) -> None:
        """Sixty types of few letters against five patterns drawn from the same letters."""
        rng, letters = Random(5), "ab._-é\U0010ffff"
        words = {"".join(rng.choices(letters, k=rng.randint(1, 4))) for _ in range(60)}
        patterns = {word + rng.choice(["", "%"]) for word in rng.sample(sorted(words), 5)}
        for type_ in sorted(words):
            submit(store, type_)

        found = served(*patterns)

        assert found == {type_ for type_ in words if Route.of(patterns).matches(type_)}

    def test_types_that_nobody_here_serves_are_left_alone(self, store: Store) -> None:
        """They wait for the worker that serves them."""
        run_id = submit(store, "other.v1")
        submit(store, "mine.v1")

        claim(store, "mine.%")

        assert [c.run_id for c in claim(store, "other.%")] == [run_id]
