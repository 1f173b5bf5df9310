"""A program that uses the public names as a user would: read by pyright, never run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict, assert_type

from simpleworkflow import (
    Answer,
    AsyncClient,
    Client,
    Event,
    Finding,
    IntentPoller,
    Level,
    OpenTelemetry,
    Operator,
    RetryPolicy,
    Run,
    RunCancelled,
    RunFailed,
    Schedule,
    Status,
    Submitted,
    Ticker,
    TypeStats,
    WaitTimeout,
    WorkflowExecutor,
    WorkflowRun,
    examine,
)
from simpleworkflow.embedded import EmbeddedPostgres


@dataclass
class Order:
    """A class for payloads."""

    number: int


class OrderDict(TypedDict):
    """Another kind of one."""

    number: int


class EmailExecutor(WorkflowExecutor):
    """An executor written as a class."""

    def execute(self, run: WorkflowRun) -> dict[str, Any]:
        """See every attribute an executor uses."""
        assert_type(run.id, str)
        assert_type(run.type, str)
        assert_type(run.attempt, int)
        assert_type(run.max_attempts, int)
        assert_type(run.is_cancelled(), bool)
        # Without a class the payload may be used as anything.
        assert_type(run.payload, Any)
        run.heartbeat(30)
        return {"to": run.payload["to"]}


class OrderExecutor(WorkflowExecutor):
    """One that declares what its payload is, for the worker and for type checkers."""

    payload_type = Order

    def execute(self, run: WorkflowRun[Order]) -> int:
        """See an Order."""
        assert_type(run.payload, Order)
        return run.payload.number


def worker(url: str) -> IntentPoller:
    """Positional in the documented order, the rest by keyword."""
    poller = IntentPoller(url, ["notify.%"], "email-worker-1", 2, 30, None)
    poller.register_executor("notify.email.v1", EmailExecutor())
    poller.register_executor("notify.sms.v1", lambda run: run.payload)

    @poller.handler("notify.push.v1")
    def push(run: WorkflowRun) -> str:
        return run.id

    @poller.handler("notify.slow.v1")
    async def slow(run: WorkflowRun) -> None:
        run.heartbeat(timedelta(minutes=1))

    @poller.handler("shop.order.v1", payload_type=Order)
    def order(run: WorkflowRun[Order]) -> int:
        assert_type(run.payload, Order)
        return run.payload.number

    poller.register_executor("shop.order.v2", OrderExecutor())
    poller.register_executor("shop.order.v3", order)
    poller.register_executor("shop.order.v4", lambda run: run.id, payload_type=OrderDict)

    # A decorated function keeps its own type.
    _plain: Callable[[WorkflowRun], str] = push
    _coroutine: Callable[[WorkflowRun], Awaitable[None]] = slow
    _typed: Callable[[WorkflowRun[Order]], int] = order
    return poller


def options(url: str) -> IntentPoller:
    """Every keyword, intervals as numbers and as timedeltas."""
    return IntentPoller(
        url,
        type_prefixes=None,
        poll_interval=0.5,
        lease_duration=timedelta(seconds=30),
        concurrency=4,
        retry_policy=RetryPolicy(),
        auto_heartbeat=False,
        schedules=False,
        execution_timeout=timedelta(minutes=5),
        shutdown_timeout=10,
        max_result_bytes=1_000_000,
        max_error_chars=1_000,
        retention=timedelta(days=30),
        observers=[OpenTelemetry()],
        auto_migrate=True,
    )


def changed(poller: IntentPoller) -> IntentPoller:
    """A poller as the command line changes it."""
    poller.check()
    assert_type(poller.options["worker_id"], Any)
    return poller.with_options(worker_id="email-1", concurrency=4)


def producer(url: str) -> None:
    """What a client answers."""
    with Client(url, auto_migrate=False, max_payload_bytes=1_000_000) as client:
        submitted = client.submit("notify.email.v1", {"to": "a@example.org"}, delay=1.5)
        client.submit("shop.order.v1", Order(7))
        assert_type(submitted, Submitted)
        assert_type(submitted.created, bool)
        assert_type(client.get(submitted.id), Run)
        assert_type(client.events(submitted.id), list[Event])
        assert_type(client.cancel(submitted.id), bool)
        client.submit("a.v1", {}, idempotency_key="k", key_scope="active")
        client.submit("a.v1", {}, idempotency_key="l", key_scope=timedelta(days=1))
        many = client.submit_many(
            ({"type": "a.v1", "payload": n} for n in range(3)), progress=print
        )
        assert_type(many, list[Submitted])
        try:
            assert_type(client.wait(submitted.id), Run)
            assert_type(client.result(submitted.id, timeout=timedelta(seconds=5)), Any)
        except (WaitTimeout, RunCancelled):
            client.cancel(submitted.id)
        except RunFailed as failed:
            assert_type(failed.run_id, str)
            assert_type(failed.error, str | None)


def scheduler(url: str) -> Ticker:
    """What a client's schedules answer."""
    with Client(url) as client:
        made = client.schedules.create(
            "report.v1", {}, cron="0 9 * * 1", timezone="Europe/Zurich", catch_up="all"
        )
        assert_type(made, Schedule)
        assert_type(made.problem, str | None)
        assert_type(client.schedules.list(), list[Schedule])
        assert_type(client.schedules.update(made.id, payload=None, priority=1), Schedule)
        assert_type(client.schedules.resume(client.schedules.pause(made.id).id), Schedule)
        assert_type(client.schedules.run_now(made.id), Submitted)
        client.schedules.delete(made.id)
    return Ticker(url)


def in_a_transaction(url: str, connection: object) -> None:
    """A connection of whatever library."""
    with Client(url) as client:
        sent = client.submit("notify.email.v1", {}, connection=connection)
        assert_type(sent, Submitted)
        runs = [{"type": "notify.email.v1", "payload": None}]
        assert_type(client.submit_many(runs, connection=connection), list[Submitted])


async def awaiting(url: str, session: object) -> None:
    """The same methods, awaited."""
    async with AsyncClient(url, auto_migrate=False, max_payload_bytes=1_000_000) as client:
        submitted = await client.submit("notify.email.v1", {"to": "a@example.org"}, delay=1.5)
        assert_type(submitted, Submitted)
        assert_type(await client.submit_many([], connection=session), list[Submitted])
        assert_type(await client.get(submitted.id), Run)
        assert_type(await client.events(submitted.id), list[Event])
        assert_type(await client.cancel(submitted.id), bool)
    await client.aclose()


def on_duty(url: str) -> int:
    """What an operator asks, and what it is told."""
    with Operator(url) as operator:
        runs = operator.find(
            types=["billing.%", "payment.card.v1"],
            statuses=[Status.FAILED, "cancelled"],
            older_than=timedelta(hours=1),
            newer_than=86_400,
            error="timeout",
            limit=50,
        )
        assert_type(runs, list[Run])
        more = operator.find(types="billing.%", statuses="failed", after=runs[-1])
        assert_type(operator.retry([run.id for run in more]), list[Answer])
        assert_type(operator.cancel(run.id for run in more), list[Answer])
        [answer] = operator.delete([runs[0].id])
        assert_type(answer.status, Status | None)
        assert_type(operator.stats(), list[TypeStats])
        return operator.purge(timedelta(days=30), statuses="succeeded", batch=100, on_batch=print)


def monitor(url: str) -> list[str]:
    """What an operator's program reads."""
    findings = examine(url)
    assert_type(findings, list[Finding])
    assert_type(findings[0].level, Level)
    return [f"{each.name}: {each.seen}. {each.advice}" for each in findings]


def demo() -> None:
    """A private server's URL is a URL like any other."""
    with EmbeddedPostgres() as postgres:
        assert_type(postgres.url, str)
        worker(postgres.url).stop()
