"""procrastinate on psycopg: fetches and finishes jobs one at a time; a finished job stays."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import procrastinate

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
        await submit_all(task, partial(_defer, noop))


async def _defer(noop: Any, numbers: range) -> None:
    if len(numbers) == 1:
        await noop.defer_async(i=numbers[0])
    else:
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


def work(task: Task) -> None:
    """Work on jobs that take a while, until killed."""

    async def pause(i: int) -> None:
        await asyncio.sleep(task["takes"])

    async def serve_all() -> None:
        app = _app(task)
        app.task(name="noop")(pause)
        async with app.open_async():
            await app.run_worker_async()

    wait_for_go_till_killed()
    asyncio.run(serve_all())


def timed(task: Task) -> None:
    """Submit one job after the other to an idle worker, and note when."""

    async def work() -> dict[int, float]:
        app = _app(task)
        noop = app.task(name="noop")(_noop)
        async with app.open_async():
            return await submit_slowly(task, partial(_defer, noop))

    wait_for_go()
    tell(times=asyncio.run(work()))


def _submit(task: Task, size: int) -> None:
    async def work() -> dict[str, float]:
        app = _app(task)
        noop = app.task(name="noop")(_noop)
        async with app.open_async():
            return await submit_quickly(task, size, partial(_defer, noop))

    tell(**asyncio.run(work()))


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
