"""A worker as it is deployed: one executor for two types, at work until SIGTERM or Ctrl-C.

Run it in as many processes as you like, on as many machines. The rows come from any producer; so
that there is something to see, this program submits three itself.
"""

import logging
import os

from simpleworkflow import Client, IntentPoller, WorkflowExecutor, WorkflowRun


class NotificationExecutor(WorkflowExecutor):
    """Sends emails and text messages."""

    def execute(self, run: WorkflowRun) -> dict[str, object]:
        """Send what the run's type asks for."""
        if run.type == "notify.email.v1":
            return self.send("email", run.payload["to"])
        return self.send("sms", run.payload["phone"])

    def send(self, method: str, to: str) -> dict[str, object]:
        """Send it; the place for your own code."""
        print(f"Sending {method} to {to}", flush=True)
        return {"sent": True, "to": to, "method": method}


def main() -> None:
    """Submit three runs, then serve `notify.*` until told to stop."""
    logging.basicConfig(level=logging.INFO)
    url = os.getenv("DATABASE_URL", "memory://email_worker")
    with Client(url, auto_migrate=True) as client:
        client.submit("notify.email.v1", {"to": "ada@example.org", "subject": "Hello"})
        client.submit("notify.sms.v1", {"phone": "+49 30 1234", "message": "Hello"})
        client.submit("notify.email.v1", {"to": "bob@example.org", "subject": "Hello"}, delay=0.1)

    poller = IntentPoller(
        url,
        type_prefixes=["notify.%"],
        worker_id="notification-worker",
        poll_interval=0.5,  # seconds an idle worker sleeps; a busy one does not
        lease_duration=30,  # seconds until others take over the runs of a dead worker
        concurrency=4,
    )
    executor = NotificationExecutor()
    poller.register_executor("notify.email.v1", executor)
    poller.register_executor("notify.sms.v1", executor)
    poller.start()
    print("Stopped, and nothing was left half done")


if __name__ == "__main__":
    main()
