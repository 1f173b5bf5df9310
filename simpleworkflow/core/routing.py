"""Routing law: only this module matches types against patterns.

A pattern is a literal type, or a literal prefix followed by one `%` at its end; `%` alone is
everything. `_` is a letter like any other. Where several match, the most specific one wins: an
exact type before a prefix, a longer prefix before a shorter one.
Types are ordered by code point, which is what PostgreSQL calls collation "C" in UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from simpleworkflow.core.errors import InvalidPattern, InvalidType, UsageError
from simpleworkflow.core.storable import MAX_TYPE_BYTES, check_type, shown

_RIGHT_FORM = (
    "write an exact type such as 'billing.invoice.v1', or a prefix with one '%' at its end "
    "such as 'billing.%'"
)
_SURROGATES = range(0xD800, 0xE000)
_LAST = "\U0010ffff"
_ABOVE_ALL = _LAST * (MAX_TYPE_BYTES // 4 + 1)
"""Greater than any type: longer than one may be, and of nothing but the last code point."""


@frozen(order=True)
class TypePattern:
    """A literal type, or every type that starts with a literal.

    Args:
        literal: the exact type, or the prefix.
        is_prefix: whether longer types match too.
    """

    literal: str
    is_prefix: bool = False

    @classmethod
    def parse(cls, text: object) -> TypePattern:
        """Read a pattern as users write it.

        Raises:
            InvalidPattern: it is neither a literal nor a literal followed by one `%` at its end.
        """
        if not isinstance(text, str) or not text:
            raise InvalidPattern(f"the type pattern {shown(text)} is not a pattern: {_RIGHT_FORM}")
        literal = text.removesuffix("%")
        if "%" in literal:
            raise InvalidPattern(
                f"the type pattern {shown(text)} has a misplaced '%': {_RIGHT_FORM}"
            )
        try:
            if literal:
                check_type(literal)
        except InvalidType as exc:
            raise InvalidPattern(f"the type pattern {shown(text)} cannot match: {exc}") from exc
        return cls(literal, literal != text)

    def __str__(self) -> str:
        return self.literal + "%" * self.is_prefix

    def matches(self, type_: str) -> bool:
        """Say whether a run of this type is meant."""
        return type_.startswith(self.literal) if self.is_prefix else type_ == self.literal

    def covers(self, other: TypePattern) -> bool:
        """Say whether every type that `other` matches is matched by this one too."""
        return self == other or (self.is_prefix and other.literal.startswith(self.literal))

    def bounds(self) -> tuple[str, str]:
        """Return the half-open range [low, high) of the types that match."""
        if self.is_prefix:
            return self.literal, _after_all_with_prefix(self.literal)
        # No type carries NUL, so U+0001 is the least character that can follow the literal.
        return self.literal, self.literal + "\x01"


def _after_all_with_prefix(prefix: str) -> str:
    """Return the least text greater than all that start with `prefix`."""
    kept = prefix.rstrip(_LAST)
    if not kept:
        return _ABOVE_ALL
    following = ord(kept[-1]) + 1
    if following in _SURROGATES:
        following = _SURROGATES.stop
    return kept[:-1] + chr(following)


@frozen
class Route:
    """What a worker claims: a sorted set of patterns, none of which covers another."""

    patterns: tuple[TypePattern, ...]

    @classmethod
    def of(cls, patterns: Iterable[TypePattern | str]) -> Route:
        """Make the route of all types that any of `patterns` matches.

        Raises:
            InvalidPattern: one of them is not a pattern.
        """
        parsed = {p if isinstance(p, TypePattern) else TypePattern.parse(p) for p in patterns}
        kept: list[TypePattern] = []
        # Sorted, whatever covers a pattern stands before it: the last one kept, or none.
        for pattern in sorted(parsed, key=lambda p: (p.literal, not p.is_prefix)):
            if not (kept and kept[-1].covers(pattern)):
                kept.append(pattern)
        return cls(tuple(kept))

    def within(self, other: Route) -> Route:
        """Return the route of the types that both serve."""
        both = {
            narrow
            for one, two in ((self, other), (other, self))
            for narrow in one.patterns
            if any(wide.covers(narrow) for wide in two.patterns)
        }
        return Route.of(both)

    def matches(self, type_: str) -> bool:
        """Say whether a run of this type is served."""
        return any(pattern.matches(type_) for pattern in self.patterns)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def __str__(self) -> str:
        return ", ".join(map(str, self.patterns))


def most_specific(patterns: Iterable[TypePattern], type_: str) -> TypePattern | None:
    """Return the pattern that decides for this type; None when none matches."""
    matching = (pattern for pattern in patterns if pattern.matches(type_))
    return max(matching, key=lambda p: (not p.is_prefix, len(p.literal)), default=None)


def parse_prefixes(type_prefixes: object) -> Route:
    """Read the `type_prefixes` of a worker: a list of patterns, with at least one in it.

    Raises:
        UsageError: it is no list of patterns; the message shows the right form.
    """
    if isinstance(type_prefixes, (str, bytes)) or not isinstance(type_prefixes, Iterable):
        raise UsageError(
            f"type_prefixes={shown(type_prefixes)} must be a list of patterns, "
            "such as ['billing.%']"
        )
    route = Route.of(type_prefixes)
    if not route:
        raise UsageError(
            "type_prefixes is empty, so nothing would be claimed: "
            "give patterns such as ['billing.%'], or None for all registered types"
        )
    return route
