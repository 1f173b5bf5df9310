"""A worker whose settings come from the environment and from worker.env, as in a container."""

import os
from pathlib import Path

from simpleworkflow import Client, IntentPoller, WorkflowRun

os.environ.setdefault("DATABASE_URL", "memory://from_env")
poller = IntentPoller.from_env(Path(__file__).with_name("worker.env"), auto_migrate=True)


@poller.handler("%")
def do(run: WorkflowRun) -> str:
    """Serve every type that WORKER_TYPE_PREFIXES lets through."""
    print(f"{run.worker_id} does {run.type}")
    return "done"


if __name__ == "__main__":
    with Client(os.environ["DATABASE_URL"], auto_migrate=True) as client:
        for type_ in ("billing.invoice.v1", "payment.card.v1", "notify.email.v1"):
            client.submit(type_, {})
        print(poller.drain(), "runs executed")
