"""What observers are told: the whole set of events, and what an observer is.

An observer is any callable that takes one of these records. It is called on the threads of the
worker, or of the client, and must be quick; what it raises is logged and harms no run. Events come
for groups of runs where the store answers for groups, so that to observe costs little.

An observer with an attribute `event_kinds` is told of the kinds in there only, and what nobody
wants is not even made. To `RunStarted` and `RunsSubmitting` it may answer with a context manager:
the executor, or the submit, then goes on inside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from attrs import frozen

from simpleworkflow.core.admin import TypeStats
from simpleworkflow.core.records import Claim, NewRun, Settlement, Submitted, Verdict
from simpleworkflow.core.routing import TypePattern


@frozen
class WorkerInfo:
    """One life of a worker, from start to stop; every event of a worker has it.

    Args:
        id: of this life alone; a UUID as text.
        worker_id: the worker's name, which several may share.
        concurrency: how many runs it executes at once.
    """

    id: str
    worker_id: str
    concurrency: int


@frozen
class RunsSubmitting:
    """A client is about to submit runs.

    Args:
        runs: the runs, with their ids.
        carrier: what an observer puts in here travels in the headers of each, unless the producer
            gave a header of that name.
    """

    runs: Sequence[NewRun]
    carrier: dict[str, str]


@frozen
class RunsSubmitted:
    """The store answered to a submit.

    Args:
        runs: what was to be submitted.
        answers: of each, in their order, the run that there is now.
    """

    runs: Sequence[NewRun]
    answers: Sequence[Submitted]


@frozen
class WorkerStarted:
    """A worker begins.

    Args:
        worker: which.
        patterns: what its executors are registered for, as far as it claims that.
    """

    worker: WorkerInfo
    patterns: Sequence[TypePattern]


@frozen
class ExecutorsChanged:
    """Executors were registered while a worker is at work.

    Args:
        worker: which.
        patterns: what its executors are registered for now, as far as it claims that.
    """

    worker: WorkerInfo
    patterns: Sequence[TypePattern]


@frozen
class WorkerStopped:
    """A worker has ended; it tells nothing after this.

    Args:
        worker: which.
    """

    worker: WorkerInfo


@frozen
class PollSucceeded:
    """A worker asked for runs and the store answered.

    Args:
        worker: which.
        claimed: how many runs it got.
    """

    worker: WorkerInfo
    claimed: int


@frozen
class PollFailed:
    """A worker asked for runs and the store failed.

    Args:
        worker: which.
        error: what the store raised.
        failures: how many polls in a row have failed, with this one.
    """

    worker: WorkerInfo
    error: BaseException
    failures: int


@frozen
class RunsClaimed:
    """A worker leased runs.

    Args:
        worker: which.
        claims: the runs; none of them has started.
    """

    worker: WorkerInfo
    claims: Sequence[Claim]


@frozen
class RunStarted:
    """An executor is about to be called; a context manager in answer is around the attempt.

    Args:
        worker: whose.
        claim: the run.
    """

    worker: WorkerInfo
    claim: Claim


@frozen
class AttemptFailed:
    """An attempt has failed, which is not written yet.

    Args:
        worker: whose.
        claim: the run.
        reason: why, in one line.
        error: what the executor raised; None where it was not the executor that failed.
        ran: how long the executor ran; None where it was not called.
        was_cancelled: it stopped because the run was cancelled, or the lease lost, as it should.
    """

    worker: WorkerInfo
    claim: Claim
    reason: str
    error: BaseException | None = None
    ran: timedelta | None = None
    was_cancelled: bool = False


# A tuple, as whatever every run makes one of: made in a quarter of the time.
class RunSettled(NamedTuple):
    """The answer to one settlement; only an APPLIED verdict changed the run.

    Args:
        settlement: what was to be written.
        verdict: what the store said.
        error: the exception of a failed attempt.
    """

    settlement: Settlement
    verdict: Verdict
    error: BaseException | None = None


@frozen
class RunsSettled:
    """The store answered to a group of settlements.

    Args:
        worker: whose.
        settled: each settlement with its answer.
        seconds: how long the store took.
    """

    worker: WorkerInfo
    settled: Sequence[RunSettled]
    seconds: float


@frozen
class OutcomeRefused:
    """The store did not write an outcome.

    Args:
        worker: whose.
        settlement: what was to be written.
        verdict: what the store said.
        reason: why, where the store says so.
    """

    worker: WorkerInfo
    settlement: Settlement
    verdict: Verdict
    reason: str | None = None


@frozen
class RunRescued:
    """A run whose lease had run out.

    Args:
        settlement: what will be written of the attempt that was lost.
        lost_by: the worker that had it, by name.
    """

    settlement: Settlement
    lost_by: str | None


@frozen
class RunsRescued:
    """A worker took over leases that had run out.

    Args:
        worker: which.
        rescued: the runs.
    """

    worker: WorkerInfo
    rescued: Sequence[RunRescued]


@frozen
class RunLost:
    """A worker learned that a lease it held is no longer its own.

    Args:
        worker: which.
        claim: what it had held.
    """

    worker: WorkerInfo
    claim: Claim


@frozen
class WorkerSampled:
    """How a worker is, now and then.

    Args:
        worker: which.
        uptime: seconds since it began.
        in_flight: how many executors are at work.
        since_poll: seconds since the store last answered a poll, or no more runs were wanted; None
            before the first.
        since_heartbeat: seconds since the last heartbeat was answered.
        heartbeat_lag: how many seconds late that was.
        ready_for: for how many seconds more it counts as ready (`core.health`); 0 when it does not.
    """

    worker: WorkerInfo
    uptime: float
    in_flight: int
    since_poll: float | None
    since_heartbeat: float
    heartbeat_lag: float
    ready_for: float


@frozen
class BacklogSampled:
    """What waits in the store, now and then; where anyone is told of `WorkerSampled` too.

    Args:
        worker: who asked.
        stats: how the runs of each type stand, of all types.
        unroutable: types whose runs wait for want of a worker; None where the store does not know
            who is at work.
    """

    worker: WorkerInfo
    stats: Sequence[TypeStats]
    unroutable: Sequence[str] | None


ObserverEvent = (
    RunsSubmitting
    | RunsSubmitted
    | WorkerStarted
    | ExecutorsChanged
    | WorkerStopped
    | PollSucceeded
    | PollFailed
    | RunsClaimed
    | RunStarted
    | AttemptFailed
    | RunsSettled
    | OutcomeRefused
    | RunsRescued
    | RunLost
    | WorkerSampled
    | BacklogSampled
)


class Observer(Protocol):
    """Who is told of events: a function, or an object that can be called."""

    def __call__(self, event: Any, /) -> AbstractContextManager[Any] | None:
        """Take in one event, an `ObserverEvent`."""
        ...


def log_fields(claim: Claim, ran: timedelta | None = None) -> dict[str, object]:
    """Return what every log line that concerns a run carries as `extra`.

    `duration` is how long the executor ran, in seconds; None where it did not.
    """
    return {
        "run_id": claim.run_id,
        "type": claim.type,
        "attempt": claim.attempt,
        "worker_id": claim.worker_id,
        "duration": None if ran is None else ran.total_seconds(),
    }
