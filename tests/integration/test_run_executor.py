"""run_executor says what a worker would do: it goes the worker's way, and a worker agrees."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from simpleworkflow import (
    Client,
    IntentPoller,
    LeaseLost,
    PermanentFailure,
    RetryAfter,
    RetryPolicy,
    Status,
    UsageError,
    WorkflowExecutor,
    WorkflowRun,
)
from simpleworkflow.core.records import Failed, Succeeded, Verdict
from simpleworkflow.testing import run_executor

MINUTE = timedelta(minutes=1)

Executor = Callable[[WorkflowRun], Any]


class Doubling(WorkflowExecutor):
    """Doubles a number."""

    def execute(self, run: WorkflowRun) -> Any:
        return {"doubled": run.payload["n"] * 2}


class AsyncDoubling(WorkflowExecutor):
    """The same, as a coroutine."""

    async def execute(self, run: WorkflowRun) -> Any:
        return {"doubled": run.payload["n"] * 2}


async def doubling(run: WorkflowRun) -> Any:
    """The same, as a coroutine function."""
    return {"doubled": run.payload["n"] * 2}


class Patient(Doubling):
    """Fails, and waits by a policy of its own."""

    retry_policy = RetryPolicy.constant(5)

    def execute(self, run: WorkflowRun) -> Any:
        raise ValueError("no")


class Unprintable(Exception):
    """Refuses to say what happened."""

    def __str__(self) -> str:
        raise RuntimeError("I will not")


def raising(error: BaseException) -> Executor:
    """An executor that raises."""

    def executor(run: WorkflowRun) -> Any:
        raise error

    return executor


def test_a_success_is_told_with_its_result():
    """Status, result and settlement are those of a run that succeeded."""
    ran = run_executor(Doubling(), {"n": 21})

    assert ran.status is Status.SUCCEEDED
    assert ran.result == {"doubled": 42}
    assert ran.outcome == Succeeded('{"doubled":42}')
    assert (ran.error, ran.delay, ran.last_error) == (None, None, None)


@pytest.mark.parametrize(
    "executor",
    [Doubling(), AsyncDoubling(), doubling, lambda run: {"doubled": run.payload["n"] * 2}],
    ids=["class", "async class", "coroutine function", "function"],
)
def test_every_form_of_executor_is_run(executor):
    """What can be registered can be run."""
    assert run_executor(executor, {"n": 21}).result == {"doubled": 42}


def test_an_executor_sees_the_run_that_was_asked_for():
    """Type, attempt, limits, headers and payload are as given, the payload as JSON makes it."""
    seen: list[WorkflowRun] = []

    run_executor(
        seen.append,
        {"pair": (1, 2)},
        type="billing.invoice.v1",
        attempt=1,
        max_attempts=5,
        headers={"trace": "abc"},
        run_id="0B9D7C52-5a8e-4a9b-8f43-0d8a4c6d2f10",
    )

    [run] = seen
    assert (run.id, run.type) == ("0b9d7c52-5a8e-4a9b-8f43-0d8a4c6d2f10", "billing.invoice.v1")
    assert (run.attempt, run.max_attempts, run.headers) == (1, 5, {"trace": "abc"})
    assert run.payload == {"pair": [1, 2]}


@pytest.mark.parametrize(("attempt", "minutes"), [(0, 1), (1, 4), (2, 9)])
def test_a_failure_waits_as_the_retry_law_says(attempt, minutes):
    """n² minutes after the n-th failure, and without jitter unless it is asked for."""
    error = ConnectionError("the mail server is down")

    ran = run_executor(raising(error), attempt=attempt, max_attempts=4)

    assert (ran.status, ran.delay) == (Status.PENDING, minutes * MINUTE)
    assert ran.error is error
    assert ran.last_error.startswith("ConnectionError: the mail server is down")
    assert "Traceback" in ran.last_error
    assert ran.settlement.attempt == attempt + 1


def test_jitter_is_drawn_from_the_generator_that_is_given():
    """The same seed gives the same delay, above the shortest."""
    delays = [run_executor(Patient(), {}, rng=Random(7)).delay for _ in range(2)]

    assert delays[0] == delays[1]
    assert timedelta(seconds=5) < delays[0] <= timedelta(seconds=5.5)


@pytest.mark.parametrize(
    ("policy", "seconds"), [(None, 5), (RetryPolicy.constant(9), 9)], ids=["own", "given"]
)
def test_the_policy_is_found_as_for_a_registration(policy, seconds):
    """The one that is given, else the executor's own."""
    ran = run_executor(Patient(), {}, retry_policy=policy)

    assert ran.delay == timedelta(seconds=seconds)


def test_a_policy_that_fails_is_replaced_as_in_a_worker(caplog):
    """The default serves, and the log says so."""
    ran = run_executor(Patient(), retry_policy=RetryPolicy(lambda n: -MINUTE))

    assert ran.delay == MINUTE
    assert "the retry policy of test.run.v1 failed" in caplog.text


def test_the_last_attempt_fails_the_run():
    """There is nothing to wait for."""
    ran = run_executor(raising(ValueError("no")), attempt=2, max_attempts=3)

    assert (ran.status, ran.delay) == (Status.FAILED, None)


def test_a_permanent_failure_fails_the_run_at_once():
    """However many attempts are left."""
    ran = run_executor(raising(PermanentFailure("the card has expired")))

    assert ran.status is Status.FAILED
    assert isinstance(ran.outcome, Failed)
    assert ran.outcome.is_permanent


def test_an_executor_chooses_its_own_delay():
    """Exactly so long."""
    ran = run_executor(raising(RetryAfter(30, "the bank is busy")))

    assert (ran.status, ran.delay) == (Status.PENDING, timedelta(seconds=30))


@pytest.mark.parametrize(
    "result", [{1}, float("nan"), "\x00", object()], ids=["set", "nan", "NUL", "object"]
)
def test_a_result_that_cannot_be_stored_fails_the_run(result):
    """For good, and the reason names the result."""
    ran = run_executor(lambda run: result)

    assert ran.status is Status.FAILED
    assert "result" in ran.last_error


def test_the_limits_of_a_worker_hold():
    """Those that it has where none are set."""
    too_large = run_executor(lambda run: "x" * 2**26)
    told_at_length = run_executor(raising(ValueError("x" * 10_000_000)))

    assert too_large.status is Status.FAILED
    assert "max_result_bytes=67,108,864" in too_large.last_error
    assert told_at_length.status is Status.PENDING
    assert len(told_at_length.last_error) == 16_384


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), GeneratorExit(), Unprintable(), AssertionError("x")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_is_raised_is_told_and_not_raised(error):
    """As a worker outlives it, so does a test."""
    ran = run_executor(raising(error))

    assert ran.status is Status.PENDING
    assert ran.error is error
    assert type(error).__name__ in ran.last_error


def test_a_keyboard_interrupt_is_the_testers():
    """Ctrl-C ends the test, not the attempt."""
    with pytest.raises(KeyboardInterrupt):
        run_executor(raising(KeyboardInterrupt()))


def test_heartbeats_are_kept_with_their_durations():
    """In the order in which the executor sent them, 30 seconds where it says nothing."""

    def executor(run: WorkflowRun) -> None:
        run.heartbeat()
        run.heartbeat(60)
        run.heartbeat(timedelta(minutes=5))

    ran = run_executor(executor)

    assert ran.heartbeats == (timedelta(seconds=30), MINUTE, 5 * MINUTE)
    assert ran.verdict is Verdict.APPLIED


@pytest.mark.parametrize("cancelled_after", [0, 1, 3])
def test_a_run_is_cancelled_after_so_many_looks(cancelled_after):
    """An executor that looks at each step stops there, and the run stays cancelled."""
    steps = []

    def executor(run: WorkflowRun) -> None:
        for step in range(5):
            run.raise_if_cancelled()
            steps.append(step)

    ran = run_executor(executor, cancelled_after=cancelled_after)

    assert len(steps) == cancelled_after
    assert ran.looks == cancelled_after + 1
    assert (ran.status, ran.verdict) == (Status.CANCELLED, Verdict.CANCELLED)


def test_an_executor_that_never_looks_is_not_cancelled():
    """Nobody told it, and its success is written."""
    assert run_executor(lambda run: 1, cancelled_after=0).status is Status.SUCCEEDED


def test_a_lease_is_lost_after_so_many_heartbeats():
    """The next one raises, the run is over, and nothing that comes of it is written."""
    told = []

    def executor(run: WorkflowRun) -> None:
        run.heartbeat()
        try:
            run.heartbeat()
        except LeaseLost:
            told.append(run.is_cancelled())

    ran = run_executor(executor, lost_after=1)

    assert told == [True]
    assert ran.heartbeats == (timedelta(seconds=30),)
    assert (ran.status, ran.verdict) == (Status.LEASED, Verdict.LOST)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"executor": Doubling}, "register an instance"),
        ({"payload": {1, 2}}, "payload"),
        ({"type": "notify.%"}, "carries '%'"),
        ({"attempt": 3}, "the last one is 2"),
        ({"attempt": -1}, "attempt=-1"),
        ({"max_attempts": 0}, "max_attempts=0"),
        ({"cancelled_after": -1}, "cancelled_after"),
        ({"run_id": "order-7"}, "no UUID"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(arguments, words):
    """With the same words as a producer and a worker use."""
    with pytest.raises(UsageError, match=words):
        run_executor(**{"executor": Doubling(), "payload": {"n": 1}, **arguments})


CASES: dict[str, Executor] = {
    "success": lambda run: {"b": 1, "aa": [run.payload, run.attempt], "a": 1.50},
    "nothing": lambda run: None,
    "failure": raising(ConnectionError("down")),
    "permanent": raising(PermanentFailure("expired")),
    "own delay": raising(RetryAfter(90)),
    "exit": raising(SystemExit(1)),
    "unstorable": lambda run: {1, 2},
    "coroutine": doubling,
}


@pytest.mark.parametrize("max_attempts", [1, 2])
@pytest.mark.parametrize("executor", CASES.values(), ids=CASES)
def test_a_worker_writes_what_was_said(client, store_url, executor, max_attempts, caplog):
    """For every kind of executor, on every store: the run then stands as run_executor told."""
    caplog.set_level(logging.CRITICAL)
    payload = {"n": 21}
    told = run_executor(executor, payload, type="a.b.v1", max_attempts=max_attempts)

    sent = client.submit("a.b.v1", payload, max_attempts=max_attempts)
    poller = IntentPoller(store_url, retry_policy=RetryPolicy.quadratic(jitter=0))
    poller.register_executor("a.b.v1", executor)
    assert poller.drain(timeout=60) == 1

    run = client.get(sent.id)
    assert (run.status, run.attempt) == (told.status, told.settlement.attempt)
    assert run.result == told.result
    assert _first_line(run.last_error) == _first_line(told.last_error)
    delays = [event.data.get("delay") for event in client.events(sent.id)]
    assert delays[-1] == (None if told.delay is None else told.delay.total_seconds())


def test_a_worker_tells_a_cancelled_run_the_same(client: Client, store_url: str):
    """It ends cancelled, whatever its executor returns."""

    def executor(run: WorkflowRun) -> Any:
        if run.headers.get("real"):
            client.cancel(run.id)
            run.heartbeat(60)
        return run.is_cancelled()

    told = run_executor(executor, cancelled_after=0)
    sent = client.submit("a.b.v1", None, headers={"real": True})
    poller = IntentPoller(store_url)
    poller.register_executor("a.b.v1", executor)
    poller.drain(timeout=60)

    assert client.get(sent.id).status is told.status is Status.CANCELLED


def _first_line(text: str | None) -> str | None:
    return text and text.splitlines()[0]
