"""simpleworkflow as it is measured: through its public names alone."""

from __future__ import annotations

import time
from typing import Any

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
from simpleworkflow import (
    Client,
    IntentPoller,
    PrometheusMetrics,
    WorkflowExecutor,
    WorkflowRun,
)
from simpleworkflow.core.store import Store

TYPE = "bench.noop.v1"
CHUNK = 10_000
"""Runs handed to `submit_many` at once, so that a million of them need no million dicts."""

HISTORY = ["created", "leased", "succeeded"]

WITHOUT_WAKEUP = 1e-6
"""A delay: a run that is not due at once wakes nobody, however soon it is due."""


class _Noop(WorkflowExecutor):
    def execute(self, run: WorkflowRun) -> Any:
        return None


def _noop(run: WorkflowRun) -> None:
    return None


async def _noop_coroutine(run: WorkflowRun) -> None:
    return None


EXECUTORS: dict[str, Any] = {"class": _Noop(), "function": _noop, "coroutine": _noop_coroutine}


def _poller(task: Task, url_or_store: str | Store | None = None) -> IntentPoller:
    return IntentPoller(
        url_or_store or task["url"],
        worker_id=task.get("worker_id", "worker"),
        poll_interval=task.get("poll_interval", 2),
        lease_duration=task.get("lease", 30),
        concurrency=task.get("concurrency", 1),
        wakeups=task.get("wakeups", True),
        metrics=PrometheusMetrics() if task.get("metrics") else None,
    )


def fill(client: Client, runs: int, type_: str = TYPE) -> None:
    """Submit so many runs."""
    for start in range(0, runs, CHUNK):
        numbers = range(start, min(start + CHUNK, runs))
        client.submit_many({"type": type_, "payload": {"i": i}} for i in numbers)


def drain(task: Task) -> None:
    """Work until nothing is left; connecting and the last commit are in the time."""
    poller = _poller(task)
    poller.register_executor(TYPE, EXECUTORS[task["executor"]])
    wait_for_go()
    started, computed = clock(), cpu()
    executed = poller.drain()
    tell(started=started, ended=clock(), executed=executed, cpu=cpu() - computed)


def drain_memory(task: Task) -> None:
    """Submit to a store in this process, then drain it and look at every run's history."""
    with Client("memory://bench") as client:
        answers = client.submit_many(
            {"type": TYPE, "payload": {"i": i}} for i in range(task["runs"])
        )
        poller = _poller(task, "memory://bench")
        poller.register_executor(TYPE, EXECUTORS[task["executor"]])
        wait_for_go()
        started, computed = clock(), cpu()
        executed = poller.drain()
        ended, computed = clock(), cpu() - computed
        complete = sum(
            [event.type for event in client.events(answer.id)] == HISTORY for answer in answers
        )
    tell(started=started, ended=ended, executed=executed, complete=complete, cpu=computed)


def serve(task: Task) -> None:
    """Note when each run starts, until told to stop."""
    starts: dict[int, float] = {}
    poller = _poller(task)

    @poller.handler(TYPE)
    def note(run: WorkflowRun) -> None:
        starts[run.payload["i"]] = clock()

    on_stop(poller.stop)
    poller.start()
    tell(starts=starts)


def work(task: Task) -> None:
    """Work on runs that take a while, until killed."""
    poller = _poller(task)

    @poller.handler(TYPE)
    def pause(run: WorkflowRun) -> None:
        time.sleep(task["takes"])

    wait_for_go_till_killed()
    poller.start()


def timed(task: Task) -> None:
    """Submit one run after the other to an idle worker, and note when."""
    times: dict[int, float] = {}
    with Client(task["url"]) as client:
        wait_for_go()
        for i, pause in enumerate(pauses(task["runs"])):
            time.sleep(pause)
            times[i] = clock()
            client.submit(TYPE, {"i": i})
    tell(times=times)


def single(task: Task) -> None:
    """Submit runs one at a time."""
    delay = None if task.get("wakeups", True) else WITHOUT_WAKEUP
    with Client(task["url"]) as client:
        client.submit(TYPE, {"i": -1}, delay=delay)
        wait_for_go()
        started = clock()
        for i in range(task["runs"]):
            client.submit(TYPE, {"i": i}, delay=delay)
        tell(started=started, ended=clock())


def bulk(task: Task) -> None:
    """Submit runs a thousand at a time."""
    with Client(task["url"]) as client:
        client.submit(TYPE, {"i": -1})
        wait_for_go()
        started = clock()
        for start in range(0, task["runs"], 1_000):
            client.submit_many({"type": TYPE, "payload": {"i": start + i}} for i in range(1_000))
        tell(started=started, ended=clock())


if __name__ == "__main__":
    main(
        {
            "drain": drain,
            "drain_memory": drain_memory,
            "serve": serve,
            "work": work,
            "timed": timed,
            "single": single,
            "bulk": bulk,
        }
    )
