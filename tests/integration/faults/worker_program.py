"""A worker process of the harness: it serves `fault.%`, and writes down what it does.

Arguments: the URL, the worker's id, and the arena's folder.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from faults.facts import LEASE, POLL_INTERVAL, Pen, killing

from simpleworkflow import IntentPoller, RetryPolicy, WorkflowRun
from simpleworkflow.core.events import RunsSettled

WORK = 0.02
"""Seconds that an executor takes."""


def main() -> None:
    """Work until SIGTERM."""
    url, worker_id, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    tell = Pen(folder, worker_id)
    poller = IntentPoller(
        url,
        ["fault.%"],
        worker_id,
        POLL_INTERVAL,
        LEASE,
        concurrency=4,
        retry_policy=RetryPolicy.constant(0.2),
        observers=[lambda event: _tell_settled(tell, event)],
    )

    @poller.handler("fault.steady.v1")
    def steady(run: WorkflowRun) -> object:
        tell("effect", run.id, run.fence)
        # Killed between what an executor does to the world and the word of it.
        if run.attempt == 0 and run.payload["number"] % 10 == 0 and killing(folder).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait(WORK)
        return run.payload

    @poller.handler("fault.flaky.v1")
    def flaky(run: WorkflowRun) -> object:
        tell("effect", run.id, run.fence)
        threading.Event().wait(WORK)
        if run.attempt == 0:
            raise RuntimeError("the first attempt fails")
        return run.payload

    poller.start()


def _tell_settled(tell: Pen, event: object) -> None:
    if isinstance(event, RunsSettled):
        for one in event.settled:
            claim = one.settlement.claim
            tell("settled", claim.run_id, claim.fence, one.settlement.move, one.verdict)


if __name__ == "__main__":
    main()
