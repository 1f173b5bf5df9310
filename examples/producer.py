"""What a producer can do: submit once, later or first, submit many, look, cancel."""

import os
from datetime import UTC, datetime, timedelta

from simpleworkflow import Client

with Client(os.getenv("DATABASE_URL", "memory://producer"), auto_migrate=True) as client:
    # A key makes a submit repeatable: the second one finds the run of the first.
    first = client.submit("billing.invoice.v1", {"number": 7}, idempotency_key="invoice-7")
    again = client.submit("billing.invoice.v1", {"number": 7}, idempotency_key="invoice-7")
    print("created:", first.created, again.created, "same run:", first.id == again.id)

    urgent = client.submit("billing.invoice.v1", {"number": 8}, priority=1)
    later = client.submit("billing.reminder.v1", {"number": 7}, delay=timedelta(days=14))
    client.submit("billing.report.v1", {}, run_at=datetime(2100, 1, 1, tzinfo=UTC))
    print("priority:", client.get(urgent.id).priority)

    many = client.submit_many(
        {"type": "billing.invoice.v1", "payload": {"number": number}, "max_attempts": 5}
        for number in range(100, 1100)
    )
    print("submitted:", len(many))

    print("cancelled:", client.cancel(later.id), client.get(later.id).status)
    print("history:", [event.type.value for event in client.events(later.id)])
