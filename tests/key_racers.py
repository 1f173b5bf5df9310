"""Many producers that submit the same idempotency keys, each in an order of its own.

A module of its own: a process that is spawned imports what it runs by its name, and no test module
is on the path.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random

from simpleworkflow import Client

THREADS = 4
KEYS = [f"key-{n}" for n in range(20)]


def submit_all(url: str, seed: int) -> list[tuple[str, str, bool]]:
    """Submit every key by several threads, each in an order of its own; say what was answered."""
    with Client(url) as client, ThreadPoolExecutor(THREADS) as pool:

        def submit_in_some_order(order: int) -> list[tuple[str, str, bool]]:
            answers = []
            for key in Random(order).sample(KEYS, len(KEYS)):
                answer = client.submit("t.v1", {}, idempotency_key=key, key_scope="active")
                answers.append((key, answer.id, answer.created))
            return answers

        orders = range(seed * THREADS, (seed + 1) * THREADS)
        return [one for answers in pool.map(submit_in_some_order, orders) for one in answers]
