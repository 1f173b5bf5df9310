"""absurd on psycopg: all moves are functions in the database; every task and attempt stays."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from absurd_sdk import Absurd
from absurdctl import BUNDLED_SCHEMA_SQL

from benchmarks.programs.protocol import (
    Task,
    clock,
    cpu,
    main,
    on_stop,
    pauses,
    tell,
    wait_for_go,
    wait_for_go_till_killed,
)

QUEUE = "default"
LEASE = 120


def _absurd(task: Task) -> Any:
    return Absurd(psycopg.connect(task["url"], autocommit=True), queue_name=QUEUE)


def _install(task: Task) -> Any:
    with psycopg.connect(task["url"], autocommit=True) as connection:
        connection.execute(BUNDLED_SCHEMA_SQL)
    absurd = _absurd(task)
    absurd.create_queue(QUEUE)
    return absurd


def _spawn(absurd: Any, i: int) -> None:
    absurd.spawn("noop", {"i": i}, queue=QUEUE)


def fill(task: Task) -> None:
    """Create its tables and submit."""
    absurd = _install(task)
    for i in range(task["runs"]):
        _spawn(absurd, i)
    wait_for_go()
    tell(filled=True)


def drain(task: Task) -> None:
    """Work until every task was called."""
    done = 0
    absurd = _absurd(task)

    @absurd.register_task("noop")
    def noop(params: Any, context: Any) -> None:
        nonlocal done
        done += 1

    wait_for_go()
    started, computed = clock(), cpu()
    while done < task["runs"]:
        absurd.work_batch("worker", LEASE, task["concurrency"])
    tell(started=started, ended=clock(), executed=done, cpu=cpu() - computed)


def serve(task: Task) -> None:
    """Note when each task starts, until told to stop."""
    starts: dict[int, float] = {}
    absurd = _absurd(task)

    @absurd.register_task("noop")
    def note(params: Any, context: Any) -> None:
        starts[params["i"]] = clock()

    on_stop(absurd.stop_worker)
    absurd.start_worker("worker", LEASE)
    tell(starts=starts)


def work(task: Task) -> None:
    """Work on tasks that take a while, until killed."""
    absurd = _absurd(task)

    @absurd.register_task("noop")
    def pause(params: Any, context: Any) -> None:
        time.sleep(task["takes"])

    wait_for_go_till_killed()
    absurd.start_worker(claim_timeout=int(task["lease"]))


def timed(task: Task) -> None:
    """Submit one task after the other to an idle worker, and note when."""
    times: dict[int, float] = {}
    absurd = _absurd(task)
    wait_for_go()
    for i, pause in enumerate(pauses(task["runs"])):
        time.sleep(pause)
        times[i] = clock()
        _spawn(absurd, i)
    tell(times=times)


def single(task: Task) -> None:
    """Submit tasks one at a time."""
    absurd = _absurd(task)
    _spawn(absurd, -1)
    wait_for_go()
    started = clock()
    for i in range(task["runs"]):
        _spawn(absurd, i)
    tell(started=started, ended=clock())


MODES = {
    "fill": fill,
    "drain": drain,
    "serve": serve,
    "work": work,
    "timed": timed,
    "single": single,
}

if __name__ == "__main__":
    main(MODES)
