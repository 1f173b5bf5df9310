"""Coroutines as executors: fifty runs that mostly wait, ten of them at a time."""

import asyncio
import os

from simpleworkflow import Client, IntentPoller, WorkflowRun

url = os.getenv("DATABASE_URL", "memory://async_worker")
poller = IntentPoller(url, ["fetch.%"], worker_id="fetcher", concurrency=10, execution_timeout=5)
at_work = most_at_work = 0


@poller.handler("fetch.page.v1")
async def fetch(run: WorkflowRun) -> dict[str, int]:
    """Fetch a page: every coroutine of this worker runs on one event loop."""
    global at_work, most_at_work
    at_work += 1
    most_at_work = max(most_at_work, at_work)
    await asyncio.sleep(0.02)  # the answer of a server
    at_work -= 1
    return {"status": 200}


if __name__ == "__main__":
    with Client(url, auto_migrate=True) as client:
        client.submit_many(
            {"type": "fetch.page.v1", "payload": {"url": f"https://example.org/{n}"}}
            for n in range(50)
        )
        print(poller.drain(), "pages fetched, up to", most_at_work, "at once")
