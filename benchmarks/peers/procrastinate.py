"""procrastinate on psycopg: fetches and finishes jobs one at a time; a finished job stays."""

from __future__ import annotations

import asyncio
from typing import Any

import procrastinate

from benchmarks.programs.protocol import Task, clock, cpu, main, on_stop, pauses, tell, wait_for_go


def _app(task: Task) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(conninfo=task["url"], min_size=4, max_size=10)
    return procrastinate.App(connector=connector)


def fill(task: Task) -> None:
    """Create its tables and submit."""
    asyncio.run(_fill(task))
    wait_for_go()
    tell(filled=True)


async def _fill(task: Task) -> None:
    app = _app(task)
    noop = app.task(name="noop")(_noop)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for first in range(0, task["runs"], 1_000):
            numbers = range(first, min(first + 1_000, task["runs"]))
            await noop.batch_defer_async(*({"i": i} for i in numbers))


async def _noop(i: int) -> None:
    return None


def drain(task: Task) -> None:
    """Work until nothing is left."""
    done = 0

    async def count(i: int) -> None:
        nonlocal done
        done += 1

    async def work() -> None:
        app = _app(task)
        app.task(name="noop")(count)
        async with app.open_async():
            await app.run_worker_async(
                concurrency=task["concurrency"],
                wait=False,
                listen_notify=False,
                install_signal_handlers=False,
            )

    wait_for_go()
    started, computed = clock(), cpu()
    asyncio.run(work())
    tell(started=started, ended=clock(), executed=done, cpu=cpu() - computed)


def serve(task: Task) -> None:
    """Note when each job starts, until told to stop."""
    starts: dict[int, float] = {}

    async def note(i: int) -> None:
        starts[i] = clock()

    async def work() -> None:
        app = _app(task)
        app.task(name="noop")(note)
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        async with app.open_async():
            on_stop(lambda: loop.call_soon_threadsafe(stopped.set))
            working = asyncio.create_task(
                app.run_worker_async(concurrency=task["concurrency"], install_signal_handlers=False)
            )
            await stopped.wait()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    asyncio.run(work())
    tell(starts=starts)


def timed(task: Task) -> None:
    """Submit one job after the other to an idle worker, and note when."""
    times: dict[int, float] = {}

    async def work() -> None:
        app = _app(task)
        noop = app.task(name="noop")(_noop)
        async with app.open_async():
            for i, pause in enumerate(pauses(task["runs"])):
                await asyncio.sleep(pause)
                times[i] = clock()
                await noop.defer_async(i=i)

    wait_for_go()
    asyncio.run(work())
    tell(times=times)


def _submit(task: Task, size: int) -> None:
    async def work() -> dict[str, Any]:
        app = _app(task)
        noop = app.task(name="noop")(_noop)
        async with app.open_async():
            await noop.defer_async(i=-1)
            wait_for_go()
            started = clock()
            for first in range(0, task["runs"], size):
                if size == 1:
                    await noop.defer_async(i=first)
                else:
                    await noop.batch_defer_async(*({"i": first + i} for i in range(size)))
            return {"started": started, "ended": clock()}

    tell(**asyncio.run(work()))


MODES = {
    "fill": fill,
    "drain": drain,
    "serve": serve,
    "timed": timed,
    "single": lambda task: _submit(task, 1),
    "bulk": lambda task: _submit(task, 1_000),
}

if __name__ == "__main__":
    main(MODES)
