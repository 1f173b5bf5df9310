"""For how long a run keeps its idempotency key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.keys import ACTIVE, FOREVER, check_key_scope, has_ended
from simpleworkflow.core.states import TERMINAL, Status

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("given", "scope"),
    [
        ("forever", FOREVER),
        ("active", ACTIVE),
        (1.5, timedelta(seconds=1.5)),
        (3_600, HOUR),
        (HOUR, HOUR),
    ],
)
def test_a_scope_is_a_word_or_a_duration(given: Any, scope: object) -> None:
    """A number is seconds."""
    assert check_key_scope(given, "order-7") == scope


@pytest.mark.parametrize("bad", ["", "Active", "5", None, 0, -1, True, float("nan"), [], 10**400])
def test_what_is_no_scope_is_refused_by_name(bad: Any) -> None:
    """In words that name the argument."""
    with pytest.raises(UsageError, match="key_scope="):
        check_key_scope(bad, "order-7")


def test_the_two_words_are_named_to_who_mistypes_them() -> None:
    """So that nobody has to look them up."""
    with pytest.raises(UsageError, match="must be 'forever', 'active' or a duration"):
        check_key_scope("actve", "order-7")


@pytest.mark.parametrize("scope", ["active", 60, "nonsense"])
def test_a_scope_without_a_key_is_refused(scope: Any) -> None:
    """Whoever gives one has forgotten the key; the default needs none."""
    with pytest.raises(UsageError, match="needs an idempotency_key"):
        check_key_scope(scope, None)
    assert check_key_scope("forever", None) == FOREVER


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("is_deleted", [False, True])
def test_for_ever_never_ends(status: Status, is_deleted: bool) -> None:
    """Whatever becomes of the run, and however late it is."""
    assert not has_ended(FOREVER, NOON, status, is_deleted, NOON + 36_525 * 24 * HOUR)


@pytest.mark.parametrize("status", Status)
def test_active_ends_with_the_run(status: Status) -> None:
    """Or with its deletion, after which nobody would end it."""
    assert has_ended(ACTIVE, NOON, status, False, NOON) == (status in TERMINAL)
    assert has_ended(ACTIVE, NOON, status, True, NOON)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_duration_ends_at_its_end_and_not_before(status: Status, is_deleted: bool) -> None:
    """Counted from the submit, wherever the run stands."""
    end = NOON + HOUR

    assert not has_ended(HOUR, NOON, status, is_deleted, end - timedelta(microseconds=1))
    assert has_ended(HOUR, NOON, status, is_deleted, end)
