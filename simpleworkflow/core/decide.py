"""Decision law: only this module turns what happened to a run into what is written for it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from simpleworkflow.core.errors import PermanentFailure, RetryAfter, UsageError
from simpleworkflow.core.records import (
    Claim,
    Crashed,
    Failed,
    Outcome,
    Released,
    Settlement,
    Succeeded,
)
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.states import Move
from simpleworkflow.core.storable import DEFAULT_ERROR_CHARS, check_duration, clean_text

if TYPE_CHECKING:
    from random import Random

AT_ONCE = timedelta(0)


def decide(
    claim: Claim,
    outcome: Outcome,
    policy: RetryPolicy,
    rng: Random,
    ran: timedelta | None = None,
    max_error_chars: int = DEFAULT_ERROR_CHARS,
) -> Settlement:
    """Return what to write for `claim` now that `outcome` is known.

    Args:
        claim: the leased run.
        outcome: what happened to it.
        policy: how long a failed attempt waits for the next.
        rng: the source of the policy's jitter.
        ran: how long the executor ran, for the history.
        max_error_chars: to how many characters an error is cut.

    A crash counts as an attempt and is tried again at once: it has waited out its lease.
    """
    match outcome:
        case Succeeded():
            return Settlement(
                claim, Move.SUCCEED, claim.attempt, result_json=outcome.result_json, ran=ran
            )
        case Failed():
            error = clean_text(outcome.error, max_error_chars)
            if outcome.is_permanent or policy.is_exhausted(claim.attempt, claim.max_attempts):
                return Settlement(claim, Move.FAIL, claim.attempt + 1, error=error, ran=ran)
            delay = outcome.retry_after
            if delay is None:
                delay = policy.delay(claim.attempt, rng)
            return Settlement(
                claim, Move.RETRY, claim.attempt + 1, delay=delay, error=error, ran=ran
            )
        case Crashed():
            error = clean_text(
                f"worker {outcome.worker_id!r} died or was cut off: its lease ran out during "
                f"attempt {claim.attempt + 1} of {claim.max_attempts}",
                max_error_chars,
            )
            if policy.is_exhausted(claim.attempt, claim.max_attempts):
                return Settlement(claim, Move.FAIL, claim.attempt + 1, error=error)
            return Settlement(claim, Move.RETRY, claim.attempt + 1, delay=AT_ONCE, error=error)
        case Released():
            return Settlement(claim, Move.RELEASE, claim.attempt, ran=ran)
        case _:  # pragma: no cover
            assert_never(outcome)


def outcome_of(error: BaseException, description: str) -> Failed:
    """Return the outcome of an executor that raised `error`, described by `description`."""
    if isinstance(error, PermanentFailure):
        return Failed(description, is_permanent=True)
    if isinstance(error, RetryAfter):
        try:
            delay = check_duration(error.seconds, "RetryAfter(seconds)", allow_zero=True)
        except UsageError as exc:
            return Failed(f"{exc}\n\n{description}")
        return Failed(description, retry_after=delay)
    return Failed(description)
