"""What the demo submits: the kinds of runs, and their executors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from attrs import frozen

from simpleworkflow import RetryPolicy, Status, WorkflowRun

PREFIX = "demo.%"
RETRY_POLICY = RetryPolicy.constant(0.2)
LEASE = 3.0
"""Seconds a worker's claim holds without a heartbeat."""

REPORT_PAGES = 10
SECONDS_A_PAGE = 0.4
"""A report takes longer than its lease, so that only heartbeats keep it."""

LONGEST_EXPORT = 30.0


def send_email(run: WorkflowRun) -> dict[str, Any]:
    """Work for a moment."""
    time.sleep(0.03)
    return {"sent_to": run.payload["to"]}


async def make_thumbnail(run: WorkflowRun) -> dict[str, Any]:
    """Work for a moment, as a coroutine."""
    await asyncio.sleep(0.05)
    return {"width": run.payload["width"]}


def book_invoice(run: WorkflowRun) -> dict[str, Any]:
    """Fail at the first attempt, work at the second."""
    time.sleep(0.02)
    if run.attempt == 0:
        raise ConnectionError("the ledger did not answer")
    return {"booked": run.payload["number"]}


def charge_card(run: WorkflowRun) -> None:
    """Fail at every attempt."""
    time.sleep(0.03)
    raise ValueError(f"the card {run.payload['card']} is expired")


def write_report(run: WorkflowRun) -> dict[str, Any]:
    """Take longer than the lease, and send a heartbeat after each page."""
    for _ in range(REPORT_PAGES):
        time.sleep(SECONDS_A_PAGE)
        run.heartbeat(LEASE)
    return {"pages": REPORT_PAGES, "heartbeats": REPORT_PAGES}


def export_all(run: WorkflowRun) -> None:
    """Work until told to stop."""
    ends_at = time.monotonic() + LONGEST_EXPORT
    while time.monotonic() < ends_at:
        run.raise_if_cancelled()
        time.sleep(0.05)


@frozen(eq=False)
class Kind:
    """The runs of one type.

    Args:
        type: the type.
        says: what they show, in a few words.
        execute: their executor.
        payload: makes the payload of the n-th.
        ends: how they end.
        share: which part of all runs they are; 0 is a single one.
        is_cancelled_at_work: the demo cancels it while a worker has it.
    """

    type: str
    says: str
    execute: Callable[[WorkflowRun], Any]
    payload: Callable[[int], dict[str, Any]]
    ends: Status = Status.SUCCEEDED
    share: float = 0.0
    is_cancelled_at_work: bool = False

    @property
    def priority(self) -> int:
        """The single ones run first, as they take longest; less is sooner."""
        return 100 if self.share else 10


KINDS = (
    Kind(
        "demo.email.v1",
        "work at once",
        send_email,
        lambda n: {"to": f"user{n}@example.org"},
        share=0.7,
    ),
    Kind(
        "demo.thumbnail.v1",
        "coroutines",
        make_thumbnail,
        lambda n: {"width": 100 + n},
        share=0.15,
    ),
    Kind(
        "demo.invoice.v1",
        "fail once, then work",
        book_invoice,
        lambda n: {"number": n},
        share=0.15,
    ),
    Kind(
        "demo.charge.v1",
        "always fails",
        charge_card,
        lambda n: {"card": "4242"},
        ends=Status.FAILED,
    ),
    Kind(
        "demo.report.v1",
        "outlives its lease",
        write_report,
        lambda n: {"year": 2025},
    ),
    Kind(
        "demo.export.v1",
        "cancelled at work",
        export_all,
        lambda n: {"table": "orders"},
        ends=Status.CANCELLED,
        is_cancelled_at_work=True,
    ),
)

FEWEST_RUNS = len(KINDS)


def counts(runs: int) -> dict[Kind, int]:
    """Return how many runs of each kind make `runs` together, at least one of each."""
    number = {kind: max(1, int(runs * kind.share)) for kind in KINDS}
    # What rounding left over, or took too much, is the first kind's.
    number[KINDS[0]] += runs - sum(number.values())
    return number


def submissions(runs: int) -> list[tuple[Kind, dict[str, object]]]:
    """Return what to submit, each with its kind."""
    return [
        (kind, {"type": kind.type, "payload": kind.payload(n), "priority": kind.priority})
        for kind, number in counts(runs).items()
        for n in range(number)
    ]
