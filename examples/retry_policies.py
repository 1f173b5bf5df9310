"""Failures of every kind: how long a run waits, and when it is given up.

Without a policy a run waits one minute after its first failure, four after its second, and so on.
"""

import os
import time
from datetime import timedelta

from simpleworkflow import (
    Client,
    IntentPoller,
    PermanentFailure,
    RetryAfter,
    RetryPolicy,
    Status,
    WorkflowExecutor,
    WorkflowRun,
)


class CardExecutor(WorkflowExecutor):
    """Charges a card; a policy in the class serves all types it is registered for."""

    retry_policy = RetryPolicy.exponential(timedelta(milliseconds=20), factor=2, cap=60)

    def execute(self, run: WorkflowRun) -> str:
        """Fail once in the way that the payload says."""
        if run.attempt > 0:
            return f"charged in attempt {run.attempt + 1}"
        match run.payload["trouble"]:
            case "network":
                raise ConnectionError("the bank does not answer")  # waits as the policy says
            case "busy":
                raise RetryAfter(0.05, "the bank is busy")  # waits as it says itself
            case _:
                raise PermanentFailure("the card has expired")  # is not tried again


def always_fail(run: WorkflowRun) -> None:
    """Fail as often as it may."""
    raise ValueError(f"attempt {run.attempt + 1} of {run.max_attempts} failed")


def main() -> None:
    """Submit four runs, execute them until all have ended, and tell how each went."""
    url = os.getenv("DATABASE_URL", "memory://retry_policies")
    poller = IntentPoller(url, worker_id="cashier", retry_policy=RetryPolicy.linear(0.02))
    poller.register_executor("card.charge.v1", CardExecutor())
    poller.register_executor("card.report.v1", always_fail)
    poller.register_executor("card.audit.v1", always_fail, retry_policy=RetryPolicy(wait_a_little))
    with Client(url, auto_migrate=True) as client:
        submitted = [
            client.submit("card.charge.v1", {"trouble": trouble})
            for trouble in ("network", "busy", "expired")
        ]
        submitted.append(client.submit("card.report.v1", {}, max_attempts=2))
        submitted.append(client.submit("card.audit.v1", {}))
        while any(client.get(s.id).status in (Status.PENDING, Status.LEASED) for s in submitted):
            poller.drain()  # what waits for its next attempt is not due yet
            time.sleep(0.02)
        for run in (client.get(s.id) for s in submitted):
            why = run.result or (run.last_error or "").splitlines()[0]
            print(f"{run.type}: {run.status} after {run.attempt} failures: {why}")


def wait_a_little(failures: int) -> timedelta:
    """Say how long to wait after so many failures: a policy takes any such function."""
    return timedelta(milliseconds=[10, 30, 50][min(failures, 3) - 1])


if __name__ == "__main__":
    main()
