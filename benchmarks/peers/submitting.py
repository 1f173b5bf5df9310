"""How asynchronous peers submit, whichever it is: all at once, as fast as they can, or slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from benchmarks.programs.protocol import Task, clock, pauses, wait_for_go

BATCH = 1_000
"""Jobs submitted at once, where they are submitted in bulk."""

Enqueue = Callable[[range], Awaitable[object]]
"""Submits the jobs of these numbers."""


async def submit_all(task: Task, enqueue: Enqueue) -> None:
    """Submit in bulk, without measuring."""
    for first in range(0, task["runs"], BATCH):
        await enqueue(range(first, min(first + BATCH, task["runs"])))


async def submit_quickly(task: Task, size: int, enqueue: Enqueue) -> dict[str, float]:
    """Submit so many at a time once the parent says so, and return when that began and ended."""
    await enqueue(range(-1, 0))
    wait_for_go()
    started = clock()
    for first in range(0, task["runs"], size):
        await enqueue(range(first, first + size))
    return {"started": started, "ended": clock()}


async def submit_slowly(task: Task, enqueue: Enqueue) -> dict[int, float]:
    """Submit one job after the other to an idle worker, and return when."""
    times: dict[int, float] = {}
    for i, pause in enumerate(pauses(task["runs"])):
        # Meanwhile the loop does what the library has left to do, such as to notify.
        await asyncio.sleep(pause)
        times[i] = clock()
        await enqueue(range(i, i + 1))
    return times
