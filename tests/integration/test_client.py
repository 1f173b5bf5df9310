"""What a client does before it asks a store."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

from simpleworkflow.client import new_run_ids


def test_ids_begin_with_the_time_and_differ() -> None:
    """They are UUIDs of version 7: those of a later millisecond are greater."""
    before = time.time_ns() // 1_000_000
    ids = [UUID(id_) for id_ in new_run_ids(10_000)]
    after = time.time_ns() // 1_000_000

    assert len(set(ids)) == 10_000
    assert {(id_.version, id_.variant) for id_ in ids} == {(7, RFC_4122)}
    assert all(before <= id_.int >> 80 <= after for id_ in ids)


def test_all_bits_of_an_id_that_may_differ_do() -> None:
    """74 of them are random: every one is set in some ids and not in others."""
    numbers = [UUID(id_).int for id_ in new_run_ids(10_000)]
    ever, always = 0, ~0
    for number in numbers:
        ever, always = ever | number, always & number

    free = (1 << 76) - 1 - (0b11 << 62)
    assert (ever & ~always) & free == free & ~(0xF << 76)


def test_ids_are_made_in_their_usual_form() -> None:
    """The form in which every store gives them back."""
    [id_] = new_run_ids(1)

    assert id_ == str(UUID(id_))
    assert new_run_ids(0) == []
