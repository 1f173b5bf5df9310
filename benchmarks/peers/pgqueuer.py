"""pgqueuer on asyncpg: claims and completes in batches; a finished job leaves a row in a log."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import uvloop
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgDriver

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

NAME = "noop"


async def _queries(task: Task) -> Queries:
    return Queries(AsyncpgDriver(await asyncpg.connect(task["url"])))


def fill(task: Task) -> None:
    """Create its tables and submit."""

    async def work() -> None:
        queries = await _queries(task)
        await queries.install()
        await submit_all(task, partial(_enqueue, queries))

    uvloop.run(work())
    wait_for_go()
    tell(filled=True)


async def _enqueue(queries: Queries, numbers: range) -> None:
    count = len(numbers)
    await queries.enqueue([NAME] * count, [b"%d" % i for i in numbers], [0] * count)


def drain(task: Task) -> None:
    """Work until every job was called; its last batch may still be on its way to the log."""

    async def work() -> dict[str, Any]:
        done = 0
        every = asyncio.Event()
        pgq = PgQueuer(AsyncpgDriver(await asyncpg.connect(task["url"])))

        @pgq.entrypoint(NAME)
        async def noop(job: Any) -> None:
            nonlocal done
            done += 1
            if done == task["runs"]:
                every.set()

        working = asyncio.create_task(
            pgq.run(batch_size=task["concurrency"], dequeue_timeout=timedelta(seconds=5))
        )
        await every.wait()
        ended = clock()
        pgq.shutdown.set()
        await working
        return {"ended": ended, "executed": done}

    wait_for_go()
    started, computed = clock(), cpu()
    answer = uvloop.run(work())
    tell(started=started, cpu=cpu() - computed, **answer)


def serve(task: Task) -> None:
    """Note when each job starts, until told to stop."""
    starts: dict[int, float] = {}

    async def work() -> None:
        pgq = PgQueuer(AsyncpgDriver(await asyncpg.connect(task["url"])))
        loop = asyncio.get_running_loop()

        @pgq.entrypoint(NAME)
        async def note(job: Any) -> None:
            starts[int(job.payload)] = clock()

        on_stop(lambda: loop.call_soon_threadsafe(pgq.shutdown.set))
        await pgq.run(batch_size=task["concurrency"])

    uvloop.run(work())
    tell(starts=starts)


def work(task: Task) -> None:
    """Work on jobs that take a while, until killed."""

    async def serve_all() -> None:
        pgq = PgQueuer(AsyncpgDriver(await asyncpg.connect(task["url"])))

        @pgq.entrypoint(NAME)
        async def pause(job: Any) -> None:
            await asyncio.sleep(task["takes"])

        await pgq.run()

    wait_for_go_till_killed()
    uvloop.run(serve_all())


def timed(task: Task) -> None:
    """Submit one job after the other to an idle worker, and note when."""

    async def work() -> dict[int, float]:
        return await submit_slowly(task, partial(_enqueue, await _queries(task)))

    wait_for_go()
    tell(times=uvloop.run(work()))


def _submit(task: Task, size: int) -> None:
    async def work() -> dict[str, float]:
        return await submit_quickly(task, size, partial(_enqueue, await _queries(task)))

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
