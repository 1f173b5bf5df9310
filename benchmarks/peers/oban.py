"""oban on psycopg: fetches in batches, acknowledges in groups; a finished job stays for a day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvloop
from oban import Oban, worker
from oban.schema import install as install_schema

from benchmarks.peers.submitting import BATCH, submit_all, submit_quickly, submit_slowly
from benchmarks.programs.protocol import (
    Task,
    clock,
    cpu,
    main,
    on_stop,
    tell,
    wait_for_go,
    wait_for_go_till_killed,
)


class _Seen:
    """What the worker below has seen; the library makes its workers itself."""

    def __init__(self) -> None:
        self.starts: dict[int, float] = {}
        self.wanted = -1
        self.every = asyncio.Event()
        self.takes = 0.0


SEEN = _Seen()


@worker(queue="default")
class Noop:
    """Notes when it starts, and takes a while where it is told to."""

    async def process(self, job: Any) -> None:
        """Note it."""
        SEEN.starts[job.args["i"]] = clock()
        if len(SEEN.starts) == SEEN.wanted:
            SEEN.every.set()
        if SEEN.takes:
            await asyncio.sleep(SEEN.takes)


@asynccontextmanager
async def _oban(task: Task, **options: Any) -> AsyncIterator[Oban]:
    pool = await Oban.create_pool(dsn=task["url"])
    try:
        async with Oban(pool=pool, **options) as oban:
            yield oban
    finally:
        await pool.close()


def fill(task: Task) -> None:
    """Create its tables and submit."""
    uvloop.run(_fill(task))
    wait_for_go()
    tell(filled=True)


async def _fill(task: Task) -> None:
    pool = await Oban.create_pool(dsn=task["url"])
    await install_schema(pool)
    await pool.close()
    async with _oban(task) as oban:
        await submit_all(task, partial(_enqueue, oban))


async def _enqueue(oban: Oban, numbers: range) -> None:
    if len(numbers) == 1:
        await oban.enqueue(Noop.new({"i": numbers[0]}))
    else:
        await oban.enqueue_many([Noop.new({"i": i}) for i in numbers])


def drain(task: Task) -> None:
    """Work until every job was called; the last acknowledgements may still be on their way."""

    async def work() -> float:
        SEEN.wanted = task["runs"]
        async with _oban(task, queues={"default": task["concurrency"]}):
            await SEEN.every.wait()
            return clock()

    wait_for_go()
    started, computed = clock(), cpu()
    ended = uvloop.run(work())
    tell(started=started, ended=ended, executed=len(SEEN.starts), cpu=cpu() - computed)


def serve(task: Task) -> None:
    """Note when each job starts, until told to stop."""

    async def work() -> None:
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        async with _oban(task, queues={"default": task["concurrency"]}):
            on_stop(lambda: loop.call_soon_threadsafe(stopped.set))
            await stopped.wait()

    uvloop.run(work())
    tell(starts=SEEN.starts)


def work(task: Task) -> None:
    """Work on jobs that take a while, until killed."""
    SEEN.takes = task["takes"]

    async def serve_all() -> None:
        async with _oban(task, queues={"default": 10}):
            await asyncio.Event().wait()

    wait_for_go_till_killed()
    uvloop.run(serve_all())


def timed(task: Task) -> None:
    """Submit one job after the other to an idle worker, and note when."""

    async def work() -> dict[int, float]:
        async with _oban(task) as oban:
            return await submit_slowly(task, partial(_enqueue, oban))

    wait_for_go()
    tell(times=uvloop.run(work()))


def _submit(task: Task, size: int) -> None:
    async def work() -> dict[str, float]:
        async with _oban(task) as oban:
            return await submit_quickly(task, size, partial(_enqueue, oban))

    tell(**uvloop.run(work()))


MODES = {
    "fill": fill,
    "drain": drain,
    "serve": serve,
    "work": work,
    "timed": timed,
    "single": lambda task: _submit(task, 1),
    "bulk": lambda task: _submit(task, BATCH),
}

if __name__ == "__main__":
    main(MODES)
