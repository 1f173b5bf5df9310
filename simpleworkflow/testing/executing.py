"""run_executor: what a worker would do with an executor and a payload, without a worker or a store.

Executor, outcome and settlement go the worker's own way (`worker.execution`); only the lease is
played here.
"""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from queue import SimpleQueue
from random import Random
from typing import Any

from attrs import field, frozen

from simpleworkflow.core.errors import LeaseLost, UsageError
from simpleworkflow.core.records import (
    DEFAULT_MAX_ATTEMPTS,
    Claim,
    NewRun,
    Outcome,
    Settlement,
    Verdict,
)
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.states import Status
from simpleworkflow.core.storable import canonical_json, check_int, check_run_id, decode_json
from simpleworkflow.executor import ExecutorFunction, ExecutorRegistry, WorkflowExecutor
from simpleworkflow.typed import new_run
from simpleworkflow.worker.coroutines import CoroutineThread
from simpleworkflow.worker.execution import Executed, execute, settlement_of

A_RUN_ID = "00000000-0000-4000-8000-000000000001"
A_TYPE = "test.run.v1"
A_WORKER = "test-worker"


class _NoJitter(Random):
    """Gives the least of everything, so that a delay can be compared with what is expected."""

    def random(self) -> float:
        return 0.0


@frozen
class ExecutorResult:
    """What an executor did with a run, and what its worker would write.

    Attributes:
        outcome: `Succeeded(result_json)` or `Failed(error, is_permanent, retry_after)`.
        settlement: what the worker would send to the store.
        verdict: what the store would say to it: applied; cancelled or lost when the run was that
            by the time the executor returned.
        error: the exception of a failed attempt, as it was raised; None when it succeeded.
        heartbeats: the durations of the executor's own heartbeats that were granted, in order.
        looks: how often the executor asked whether the run was cancelled.
    """

    outcome: Outcome
    settlement: Settlement
    verdict: Verdict
    # Its traceback is in the outcome, and a repr of every local variable helps nobody.
    error: BaseException | None = field(repr=False)
    heartbeats: tuple[timedelta, ...]
    looks: int

    @property
    def status(self) -> Status:
        """Where the run stands afterwards; `leased` if its lease was lost: to somebody else."""
        if self.verdict is Verdict.CANCELLED:
            return Status.CANCELLED
        return Status.LEASED if self.verdict is Verdict.LOST else self.settlement.status

    @property
    def result(self) -> Any:
        """The result as the store would give it back; None when there is none."""
        text = self.settlement.result_json
        return None if text is None else decode_json(canonical_json(text, "result"), "result")

    @property
    def delay(self) -> timedelta | None:
        """How long the run would wait for its next attempt; None when there is none."""
        return self.settlement.delay

    @property
    def last_error(self) -> str | None:
        """What the worker would record as the run's `last_error`."""
        return self.settlement.error


def run_executor(
    executor: WorkflowExecutor | ExecutorFunction,
    payload: object = None,
    *,
    type: str = A_TYPE,
    attempt: int = 0,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    headers: Mapping[str, object] | None = None,
    run_id: str = A_RUN_ID,
    cancelled_after: int | None = None,
    lost_after: int | None = None,
    retry_policy: RetryPolicy | None = None,
    payload_type: builtins.type[Any] | None = None,
    rng: Random | None = None,
) -> ExecutorResult:
    """Execute one attempt of a run as a worker does, and say what the worker would write.

    It runs on the caller's thread; a coroutine function on an event loop of its own. Whatever the
    executor raises is in the answer and not raised, but for KeyboardInterrupt, which is yours.

    Args:
        executor: a WorkflowExecutor, a function, or a coroutine function, as it is registered.
        payload: what the run carries: anything that can be submitted.
        type: the run's type.
        attempt: which try this is, from 0.
        max_attempts: how many there are.
        headers: what travels beside the payload.
        run_id: the run's id, a UUID as text.
        cancelled_after: how often the executor may ask `run.is_cancelled()` before the answer is
            yes; 0 means at once, None (the default) never.
        lost_after: how many heartbeats are granted before the lease is lost; 0 means none of them,
            None (the default) all.
        retry_policy: as given to `register_executor`; else the executor's own, else the default.
        payload_type: as given to `register_executor`; else the executor's own.
        rng: the source of the delay's jitter; by default none is added.

    Raises:
        UsageError: that is no executor, or one of these no producer could submit.
    """
    run = new_run(run_id, type, payload, max_attempts=max_attempts, headers=headers)
    claim = _claim_of(run, attempt)
    registry = ExecutorRegistry()
    registry.register(type, executor, retry_policy, payload_type)
    registration = registry.find(type)
    assert registration is not None  # noqa: S101
    lease = _PlayedLease(cancelled_after, lost_after)
    executed = execute(registration, claim, lease)
    outcome, error = executed if isinstance(executed, tuple) else _awaited(executed)
    if isinstance(error, KeyboardInterrupt):
        raise error
    settlement = settlement_of(
        claim, outcome, registration.retry_policy or RetryPolicy(), rng or _NoJitter()
    )
    return ExecutorResult(
        outcome, settlement, lease.verdict, error, tuple(lease.granted), lease.looks
    )


def _awaited(executed: Awaitable[Executed]) -> Executed:
    # On a thread of its own, because the caller may be on an event loop already.
    coroutines = CoroutineThread()
    answers: SimpleQueue[Executed] = SimpleQueue()
    try:
        coroutines.start(executed, answers.put)
        return answers.get()
    finally:
        coroutines.stop()


def _claim_of(run: NewRun, attempt: int) -> Claim:
    check_int(attempt, "attempt", at_least=0)
    if attempt >= run.max_attempts:
        raise UsageError(
            f"attempt={attempt} of max_attempts={run.max_attempts} is never executed: attempts "
            f"count from 0, so the last one is {run.max_attempts - 1}"
        )
    return Claim(
        run_id=check_run_id(run.id),
        worker_id=A_WORKER,
        fence=attempt + 1,
        type=run.type,
        payload_json=canonical_json(run.payload_json, "payload"),
        headers_json=run.headers_json and canonical_json(run.headers_json, "headers"),
        attempt=attempt,
        max_attempts=run.max_attempts,
        waited=0.0,
    )


class _PlayedLease:
    """A lease that is cancelled or lost at a moment that the test chose."""

    def __init__(self, cancelled_after: int | None, lost_after: int | None) -> None:
        self._cancelled_after = _count(cancelled_after, "cancelled_after")
        self._lost_after = _count(lost_after, "lost_after")
        self.granted: list[timedelta] = []
        self.looks = 0
        self.verdict = Verdict.APPLIED

    def renew(self, duration: timedelta) -> None:
        if self._lost_after is not None and len(self.granted) >= self._lost_after:
            self.verdict = Verdict.LOST
            raise LeaseLost(f"run_executor(lost_after={self._lost_after}): the lease is lost")
        self.granted.append(duration)

    def is_cancelled(self) -> bool:
        if self._cancelled_after is not None and self.looks >= self._cancelled_after:
            self.verdict = Verdict.CANCELLED
        self.looks += 1
        return self.verdict is not Verdict.APPLIED


def _count(value: int | None, what: str) -> int | None:
    return None if value is None else check_int(value, f"run_executor({what})", at_least=0)
