"""Execution law: only this module calls an executor, and says what its behaviour means for its run.

A worker's threads and `simpleworkflow.testing.run_executor` both come here, so a unit test is told
what a worker would do.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from datetime import timedelta
from random import Random
from typing import cast

from simpleworkflow.core.decide import decide, outcome_of
from simpleworkflow.core.errors import NotStorable, PayloadMismatch, UsageError
from simpleworkflow.core.events import log_fields
from simpleworkflow.core.records import Claim, Failed, Outcome, Settlement, Succeeded
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.storable import (
    DEFAULT_ERROR_CHARS,
    DEFAULT_JSON_BYTES,
    check_size,
    encode_json,
)
from simpleworkflow.executor import Registration
from simpleworkflow.run import Lease, WorkflowRun
from simpleworkflow.worker.log import logger

Executed = tuple[Outcome, BaseException | None]
"""What came of an executor, and what went wrong if anything did."""

Around = AbstractContextManager[None]


def execute(
    registration: Registration,
    claim: Claim,
    lease: Lease,
    timeout: float | None = None,
    max_result_bytes: int = DEFAULT_JSON_BYTES,
    around: Around | None = None,
) -> Executed | Awaitable[Executed]:
    """Call the executor of a claimed run; return what came of it.

    When it is a coroutine function, that is for an event loop to find out: what is returned then is
    to be awaited, and never raises.

    Args:
        registration: what to call.
        claim: the run.
        lease: what answers the run's heartbeats.
        timeout: seconds after which a coroutine is cancelled; None is no limit.
        max_result_bytes: a larger result fails the run for good: the work is done, and another
            attempt would do it again.
        around: the attempt goes on inside of it, and it sees why one fails; it never raises itself.
            None is nothing.
    """
    try:
        run = WorkflowRun(claim, lease, registration.read_payload)
    except BaseException as exc:
        unreadable = _unreadable(exc), exc
        if around is not None:
            # What would be around the executor sees why it is not called.
            around.__enter__()
            _leave(around, unreadable)
        return unreadable
    # A coroutine function's code runs when it is awaited; of any other, something has run by then.
    now, later = (None, around) if registration.is_coroutine else (around, None)
    if now is not None:
        now.__enter__()
    called = _called(registration, run, max_result_bytes)
    if now is not None:
        _leave(now, called)
    if isinstance(called, tuple):
        return called
    return _awaited(called, timeout, max_result_bytes, later)


def _leave(around: Around, called: Executed | Awaitable[object]) -> None:
    """Let what is around an attempt see how it ended: a result that cannot be stored fails it."""
    error = called[1] if isinstance(called, tuple) else None
    if error is None:
        around.__exit__(None, None, None)
    else:
        around.__exit__(type(error), error, error.__traceback__)


def _unreadable(error: BaseException) -> Failed:
    """Return the outcome of a run whose payload cannot be read, so that no executor is called."""
    if isinstance(error, (NotStorable, PayloadMismatch)):
        return Failed(str(error), is_permanent=True)
    # Of the payload's class, whose code is the user's as the executor is.
    return _outcome_of(error)


def _called(
    registration: Registration, run: WorkflowRun, max_bytes: int
) -> Executed | Awaitable[object]:
    """Call the executor; return what came of it, or what is to be awaited. Never raises."""
    try:
        result = registration.function(run)
    except BaseException as exc:
        # SystemExit and the like included: an executor never ends the worker.
        return _outcome_of(exc), exc
    if hasattr(result, "__await__"):
        return cast("Awaitable[object]", result)
    return _returned(result, max_bytes)


async def _awaited(
    awaitable: Awaitable[object],
    timeout: float | None,
    max_bytes: int,
    around: Around | None,
) -> Executed:
    if around is not None:
        around.__enter__()
    executed = await _finished(awaitable, timeout, max_bytes)
    if around is not None:
        _leave(around, executed)
    return executed


async def _finished(
    awaitable: Awaitable[object], timeout: float | None, max_bytes: int
) -> Executed:
    """Return what came of a coroutine. Never raises."""
    try:
        if timeout is None:
            result = await awaitable
        else:
            import asyncio

            result = await asyncio.wait_for(awaitable, timeout)
    except BaseException as exc:
        return _outcome_of(exc), exc
    return _returned(result, max_bytes)


def _returned(result: object, max_bytes: int) -> Executed:
    try:
        result_json = encode_json(result, "result")
        check_size(result_json, "result", max_bytes, "max_result_bytes")
        return Succeeded(result_json), None
    except BaseException as exc:
        return Failed(_described(exc), is_permanent=True), exc


def settlement_of(
    claim: Claim,
    outcome: Outcome,
    policy: RetryPolicy,
    rng: Random,
    ran: timedelta | None = None,
    max_error_chars: int = DEFAULT_ERROR_CHARS,
) -> Settlement:
    """Return what to write for an outcome; a policy that fails is logged, and the default serves.

    The arguments are those of `core.decide`.
    """
    try:
        return decide(claim, outcome, policy, rng, ran, max_error_chars)
    except UsageError:
        words = "the retry policy of %s failed, the default serves"
        logger.exception(words, claim.type, extra=log_fields(claim, ran))
    except BaseException:
        # SystemExit included: the curve is the user's code, as the executor is.
        words = "the retry curve of %s raised, the default serves"
        logger.exception(words, claim.type, extra=log_fields(claim, ran))
    return decide(claim, outcome, RetryPolicy(), rng, ran, max_error_chars)


def _outcome_of(error: BaseException) -> Failed:
    description = _described(error)
    try:
        return outcome_of(error, description)
    except Exception as broken:
        # Such as a subclass of RetryAfter that never called its __init__.
        return Failed(f"{_described(broken)}\n\n{description}")


def _described(error: BaseException) -> str:
    """Return an exception's own line, then its traceback; an exception may refuse to be printed."""
    try:
        line = "".join(traceback.format_exception_only(error)).strip()
        trace = "".join(traceback.format_exception(error)).strip()
    except BaseException:
        return f"{type(error).__name__} (it cannot be printed)"
    return f"{line}\n\n{trace}"
