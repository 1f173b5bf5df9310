"""The retry law, as a table and as properties."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import QUICK

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.storable import MAX_DURATION

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)

attempts = st.integers(0, 2**31)
seeds = st.integers(0, 2**32)
waits = st.floats(0, 1e6)
shares = st.floats(0, 1)
caps = st.none() | st.floats(1, 1e6)
policies = st.one_of(
    st.builds(RetryPolicy.quadratic, waits, jitter=shares, cap=caps),
    st.builds(RetryPolicy.exponential, waits, factor=st.floats(1, 9), jitter=shares, cap=caps),
    st.builds(RetryPolicy.linear, waits, jitter=shares, cap=caps),
    st.builds(RetryPolicy.constant, waits, jitter=shares),
)


@given(st.integers(0, 1000), seeds)
@QUICK
def test_by_default_the_nth_failure_waits_n_squared_minutes(attempt: int, seed: int) -> None:
    """The delay is n² minutes plus 0 to 10 % of it, and n counts from 1."""
    n = attempt + 1

    delay = RetryPolicy().delay(attempt, Random(seed))

    assert n**2 * MINUTE <= delay <= n**2 * MINUTE * 1.1


def test_the_jitter_is_spread_over_its_whole_share() -> None:
    """The tenth is used: not always nothing, and not always all."""
    rng = Random(1)

    extras = [RetryPolicy().delay(0, rng) / MINUTE - 1 for _ in range(200)]

    assert min(extras) < 0.02
    assert max(extras) > 0.08


@given(policies, attempts, seeds)
@QUICK
def test_a_delay_stays_between_nothing_and_the_cap_plus_jitter(
    policy: RetryPolicy, attempt: int, seed: int
) -> None:
    """No attempt number and no policy gives a negative, an endless or an overflowing wait."""
    cap = MAX_DURATION if policy.cap is None else policy.cap

    delay = policy.delay(attempt, Random(seed))

    assert timedelta(0) <= delay <= min(cap * (1 + policy.jitter), MAX_DURATION)


@given(policies, st.integers(0, 3000), seeds)
@QUICK
def test_waits_never_shrink_from_one_failure_to_the_next(
    policy: RetryPolicy, attempt: int, seed: int
) -> None:
    """With the same luck, the later failure waits at least as long."""
    assert policy.delay(attempt, Random(seed)) <= policy.delay(attempt + 1, Random(seed))


@given(policies, attempts, seeds)
@QUICK
def test_the_same_luck_gives_the_same_delay(policy: RetryPolicy, attempt: int, seed: int) -> None:
    """Chance is an argument: nothing else decides."""
    assert policy.delay(attempt, Random(seed)) == policy.delay(attempt, Random(seed))


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [
        (RetryPolicy.quadratic(2, jitter=0), [2, 8, 18, 32]),
        (RetryPolicy.quadratic(MINUTE, jitter=0, cap=300), [60, 240, 300, 300]),
        (RetryPolicy.exponential(jitter=0), [1, 2, 4, 8]),
        (RetryPolicy.exponential(3, factor=10, jitter=0, cap=MINUTE), [3, 30, 60, 60]),
        (RetryPolicy.exponential(5, factor=1, jitter=0), [5, 5, 5, 5]),
        (RetryPolicy.linear(5, jitter=0), [5, 10, 15, 20]),
        (RetryPolicy.linear(MINUTE, jitter=0, cap=90), [60, 90, 90, 90]),
        (RetryPolicy.constant(7, jitter=0), [7, 7, 7, 7]),
        (RetryPolicy.constant(0), [0, 0, 0, 0]),
        (RetryPolicy(lambda n: n * SECOND, jitter=0), [1, 2, 3, 4]),
    ],
    ids=str,
)
def test_each_curve_as_a_table(policy: RetryPolicy, seconds: list[float]) -> None:
    """What the first four failures wait, without jitter."""
    delays = [policy.delay(attempt, Random(1)) for attempt in range(4)]

    assert delays == [timedelta(seconds=s) for s in seconds]


def test_growth_beyond_any_timedelta_becomes_the_cap() -> None:
    """A power that overflows is a wait of the cap; one that starts at nothing stays nothing."""
    a_day = timedelta(days=1)

    assert RetryPolicy.exponential(1, jitter=0, cap=a_day).delay(10**6, Random(1)) == a_day
    assert RetryPolicy.exponential(1).delay(10**6, Random(1)) == MAX_DURATION
    assert RetryPolicy.exponential(0).delay(10**6, Random(1)) == timedelta(0)
    assert RetryPolicy.quadratic(1).delay(2**31, Random(1)) == MAX_DURATION


@given(st.integers(0, 50), st.integers(1, 50))
@QUICK
def test_attempts_are_used_up_once_n_reaches_max_attempts(attempt: int, max_attempts: int) -> None:
    """The failure of attempt a is the (a + 1)-th."""
    n = attempt + 1

    assert RetryPolicy.is_exhausted(attempt, max_attempts) == (n >= max_attempts)


def test_a_policy_is_a_value() -> None:
    """Equal by its fields, so that two poller configurations can be compared."""
    assert RetryPolicy() == RetryPolicy.quadratic(60)
    assert RetryPolicy.linear(5) != RetryPolicy.linear(6)
    assert hash(RetryPolicy.linear(5)) == hash(RetryPolicy.linear(timedelta(seconds=5)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RetryPolicy(jitter=-0.1),
        lambda: RetryPolicy(jitter=1.1),
        lambda: RetryPolicy(jitter=float("nan")),
        lambda: RetryPolicy(cap=timedelta(0)),
        lambda: RetryPolicy(cap=-MINUTE),
        lambda: RetryPolicy.quadratic(-1),
        lambda: RetryPolicy.linear("60"),  # type: ignore[arg-type]
        lambda: RetryPolicy.constant(float("inf")),
        lambda: RetryPolicy.exponential(1, factor=0.5),
        lambda: RetryPolicy.exponential(1, factor=float("inf")),
        lambda: RetryPolicy.exponential(1, factor=float("nan")),
    ],
)
def test_a_policy_that_cannot_work_is_refused_when_it_is_made(
    make: Callable[[], RetryPolicy],
) -> None:
    """Not at the first failure, when nobody looks."""
    with pytest.raises(UsageError, match="RetryPolicy"):
        make()


@pytest.mark.parametrize("answer", [-SECOND, 5, None])
def test_a_custom_curve_that_gives_no_duration_is_named(answer: Any) -> None:
    """The error says which failure it was asked about."""
    with pytest.raises(UsageError, match="failure 3"):
        RetryPolicy(lambda n: answer).delay(2, Random(1))
