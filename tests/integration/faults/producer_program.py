"""The producer of the harness: submits until its standard input ends, and writes down each answer.

What was refused is submitted again with the same idempotency key. Arguments: the URL, and the
arena's folder.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from faults.facts import Pen

from simpleworkflow import Client, StoreError

PAUSE = 0.02
"""Seconds between two submits."""

BATCH = 20
"""Runs of every tenth submit; the others submit one."""


def main() -> None:
    """Submit until told to stop."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    tell = Pen(folder, "producer")
    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
    number = submits = 0
    with Client(url) as client:
        while not stopped.wait(PAUSE):
            runs = [_run(number + i) for i in range(BATCH if submits % 10 == 0 else 1)]
            try:
                answers = client.submit_many(runs)
            except StoreError as exc:
                tell("refused", type(exc).__name__)
                continue
            for answer in answers:
                tell("submitted", answer.id)
            number += len(runs)
            submits += 1


def _run(number: int) -> dict[str, object]:
    kind = "flaky" if number % 20 == 5 else "steady"
    return {
        "type": f"fault.{kind}.v1",
        "payload": {"number": number},
        "idempotency_key": f"number-{number}",
    }


if __name__ == "__main__":
    main()
