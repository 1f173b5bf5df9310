"""The module that the files here serve; put your own in its place.

`DATABASE_URL` says where the runs are, and the host's name tells the workers apart.
"""

import os
import socket

from simpleworkflow import IntentPoller, WorkflowRun

poller = IntentPoller.from_env(worker_id=os.environ.get("WORKER_ID") or socket.gethostname())


@poller.handler("notify.email.v1")
def send_email(run: WorkflowRun) -> dict[str, object]:
    """Send one email; the place for your own code."""
    print(f"Sending {run.payload['subject']!r} to {run.payload['to']}", flush=True)
    return {"sent": True}
