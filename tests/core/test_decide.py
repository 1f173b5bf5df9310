"""The decision law: every outcome, as a table."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import QUICK, a_claim

from simpleworkflow.core.decide import decide, outcome_of
from simpleworkflow.core.errors import PermanentFailure, RetryAfter, UsageError
from simpleworkflow.core.records import (
    Crashed,
    Failed,
    Outcome,
    Released,
    Settlement,
    Succeeded,
)
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.states import Move, Status

POLICY = RetryPolicy.linear(10, jitter=0)
SECONDS_7 = timedelta(seconds=7)


def decided(outcome: Outcome, **claim: Any) -> Settlement:
    return decide(a_claim(**claim), outcome, POLICY, Random(1), SECONDS_7)


def test_a_success_keeps_its_result_and_its_attempt() -> None:
    """Only failures count."""
    settlement = decided(Succeeded('{"ok":true}'), attempt=1)

    assert settlement == Settlement(
        a_claim(attempt=1), Move.SUCCEED, 1, result_json='{"ok":true}', ran=SECONDS_7
    )
    assert settlement.status is Status.SUCCEEDED


def test_a_failure_counts_and_waits_by_the_policy() -> None:
    """Attempt 1 is the second failure."""
    settlement = decided(Failed("boom"), attempt=1)

    assert (settlement.move, settlement.attempt) == (Move.RETRY, 2)
    assert settlement.delay == timedelta(seconds=20)
    assert (settlement.error, settlement.ran) == ("boom", SECONDS_7)


def test_the_last_failure_ends_the_run() -> None:
    """Once n reaches max_attempts, whatever delay was asked for."""
    for outcome in (Failed("boom"), Failed("boom", retry_after=SECONDS_7)):
        settlement = decided(outcome, attempt=2, max_attempts=3)

        assert (settlement.move, settlement.attempt) == (Move.FAIL, 3)
        assert (settlement.delay, settlement.error) == (None, "boom")


def test_a_permanent_failure_ends_the_run_with_attempts_left() -> None:
    """It counts as one attempt."""
    settlement = decided(Failed("no such customer", is_permanent=True))

    assert (settlement.move, settlement.attempt, settlement.delay) == (Move.FAIL, 1, None)


def test_a_delay_the_executor_asked_for_is_kept_as_it_is() -> None:
    """No jitter is added and the policy has no say; zero is a delay too."""
    for delay in (SECONDS_7, timedelta(0)):
        assert decided(Failed("busy", retry_after=delay)).delay == delay


def test_a_crash_counts_and_is_tried_again_at_once() -> None:
    """It has waited out its lease; the error names the worker and the attempt."""
    settlement = decided(Crashed("worker-9"), attempt=0)

    assert (settlement.move, settlement.attempt, settlement.delay) == (
        Move.RETRY,
        1,
        timedelta(0),
    )
    assert settlement.error is not None
    assert "worker-9" in settlement.error
    assert "attempt 1 of 3" in settlement.error
    assert settlement.ran is None


def test_a_run_that_keeps_killing_its_workers_ends_failed() -> None:
    """After max_attempts, with an error that says so."""
    settlement = decided(Crashed(None), attempt=2)

    assert (settlement.move, settlement.attempt) == (Move.FAIL, 3)
    assert settlement.error is not None
    assert "lease ran out during attempt 3 of 3" in settlement.error


def test_a_release_costs_no_attempt_and_no_wait() -> None:
    """The run goes back as it came."""
    settlement = decided(Released(), attempt=2)

    assert (settlement.move, settlement.attempt) == (Move.RELEASE, 2)
    assert (settlement.delay, settlement.error, settlement.result_json) == (None, None, None)


@given(
    st.integers(0, 9),
    st.integers(1, 9),
    st.sampled_from([Succeeded("null"), Failed("e"), Failed("e", True), Crashed("w"), Released()]),
)
@QUICK
def test_a_run_never_gets_more_attempts_than_it_has(
    attempt: int, max_attempts: int, outcome: Outcome
) -> None:
    """Whoever goes back to pending after a counted attempt has another one left."""
    settlement = decided(outcome, attempt=attempt, max_attempts=max_attempts)

    if settlement.move is Move.RETRY:
        assert settlement.attempt < max_attempts
    assert settlement.attempt - attempt == isinstance(outcome, (Failed, Crashed))
    assert (settlement.move is Move.RETRY) == (settlement.delay is not None)


@pytest.mark.parametrize("dirty", ["nul \x00", "surrogate \udc80"])
def test_errors_are_made_storable(dirty: str) -> None:
    """An error text that no database can hold would fail to be written."""
    for outcome in (Failed(dirty), Crashed(dirty)):
        error = decided(outcome).error

        assert error is not None
        assert "\x00" not in error
        assert error.encode()


def test_errors_are_cut_to_their_limit() -> None:
    """To 16,384 characters where none is set; what is cut says so."""
    for outcome in (Failed("x" * 99_999), Crashed("x" * 99_999)):
        for limit, settlement in (
            (16_384, decide(a_claim(), outcome, POLICY, Random(1))),
            (100, decide(a_claim(), outcome, POLICY, Random(1), max_error_chars=100)),
        ):
            assert settlement.error is not None
            assert len(settlement.error) == limit
            assert "… [cut: " in settlement.error


def test_a_raised_exception_becomes_the_outcome_it_stands_for() -> None:
    """Two exceptions mean something to the library, all others are failures."""
    told = "Traceback …"

    assert outcome_of(KeyError("x"), told) == Failed(told)
    assert outcome_of(SystemExit(1), told) == Failed(told)
    assert outcome_of(PermanentFailure("no"), told) == Failed(told, is_permanent=True)
    assert outcome_of(RetryAfter(7), told) == Failed(told, retry_after=SECONDS_7)
    assert outcome_of(RetryAfter(0), told) == Failed(told, retry_after=timedelta(0))


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "7", None, 10**400])
def test_a_senseless_retry_after_is_an_ordinary_failure_that_says_so(seconds: Any) -> None:
    """The executor's slip must not cost the run."""
    outcome = outcome_of(RetryAfter(seconds), "Traceback …")

    assert (outcome.retry_after, outcome.is_permanent) == (None, False)
    assert "RetryAfter(seconds)" in outcome.error
    assert "Traceback …" in outcome.error


def test_a_custom_curve_that_gives_nonsense_is_an_error_of_its_owner() -> None:
    """It is not turned into some delay in silence."""
    policy = RetryPolicy(lambda n: None)  # type: ignore[arg-type,return-value]

    with pytest.raises(UsageError, match="curve"):
        decide(a_claim(), Failed("boom"), policy, Random(1))
