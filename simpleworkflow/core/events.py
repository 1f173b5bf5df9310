"""What observers are told. An observer is any callable that takes one of these records.

Observers are called on the worker's threads: they must be quick, and what they raise is logged and
harms no run.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from simpleworkflow.core.records import Claim, NewRun, Settlement, Submitted, Verdict


@frozen
class RunSubmitted:
    """A client submitted a run."""

    run: NewRun
    answer: Submitted


@frozen
class PollSucceeded:
    """A worker asked for runs and the store answered."""

    worker_id: str
    claimed: int


@frozen
class PollFailed:
    """A worker asked for runs and the store failed; `failures` counts them in a row."""

    worker_id: str
    error: BaseException
    failures: int


@frozen
class RunClaimed:
    """A worker leased a run."""

    claim: Claim


@frozen
class RunStarted:
    """An executor begins."""

    claim: Claim


@frozen
class RunSettled:
    """The store answered to a settlement; only an APPLIED verdict changed the run.

    Args:
        settlement: what was to be written.
        verdict: what the store said.
        error: the exception of a failed attempt.
    """

    settlement: Settlement
    verdict: Verdict
    error: BaseException | None = None


@frozen
class RunRescued:
    """A worker took over an expired lease from `lost_by`."""

    claim: Claim
    lost_by: str | None


@frozen
class RunLost:
    """A worker learned that a lease it held is no longer its own."""

    claim: Claim


ObserverEvent = (
    RunSubmitted
    | PollSucceeded
    | PollFailed
    | RunClaimed
    | RunStarted
    | RunSettled
    | RunRescued
    | RunLost
)

Observer = Callable[[ObserverEvent], None]
