import os

from simpleworkflow import Client, IntentPoller

url = os.getenv("DATABASE_URL", "memory://quickstart")
poller = IntentPoller(url, worker_id="email-worker-1")


@poller.handler("notify.email.v1")
def send_email(run):
    print(f"Sending {run.payload['subject']!r} to {run.payload['to']}")
    return {"sent": True}


with Client(url, auto_migrate=True) as client:
    sent = client.submit("notify.email.v1", {"to": "ada@example.org", "subject": "Hello"})
    poller.drain()
    run = client.get(sent.id)
    print(run.status, run.result)
