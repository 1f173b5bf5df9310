"""Statements that are sent again for rows which others changed while they looked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simpleworkflow.core.errors import StoreConflict

CONFLICT_TRIES = 5

AGAIN = "again"
"""What a statement says of a row that was changed while it looked."""


def tries(what: str, asked: Sequence[object]) -> Iterator[None]:
    """Go on while anything is asked; rows that change under every try are a conflict."""
    for _ in range(CONFLICT_TRIES):
        if not asked:
            return
        yield
    if asked:
        raise StoreConflict(f"{what}: {len(asked)} runs were changed by others at every try")
