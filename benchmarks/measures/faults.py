"""Faults: what becomes of 2,000 runs when something breaks, with nobody there to repair it.

Two worker processes execute runs of 20 ms each. When a fifth of the runs is done, the server
crashes and comes back, or all connections are cut five times in five seconds, or one of the workers
is killed. Then everybody has 75 s for the rest. Nothing starts a worker again that has ended. What
is done is what the database says.

Every library has its own defaults. A worker of simpleworkflow, procrastinate or absurd executes one
run at once, and one of pgqueuer as many as it finds. oban has no default, so it has the 10 of its
documentation, and simpleworkflow is struck with 10 at once too. A dead worker's runs are up for
others after 30 s with simpleworkflow and pgqueuer, and after 300 s with oban; with procrastinate
they stay until a task of one's own retries them. absurd's 120 s would outlast the wait, so it is
told the 30 s of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from attrs import evolve

from benchmarks.harness import Bench, Contestant, Peer
from benchmarks.programs.protocol import clock
from benchmarks.records import BenchmarkError, Record, Setting
from benchmarks.server import Database
from benchmarks.systems import OURS, Program, System
from benchmarks.workload import check_settled_once, filled

OURS_AS = (("psycopg", 1), ("psycopg", 10), ("pg8000", 1))
"""Drivers, and runs at once: the default, and as many as oban executes."""

WORKERS = 2

TAKES = 0.02
"""Seconds that a run takes."""

LOOK = 0.1
"""Seconds between looks at how many runs are done."""

DONE = "select count(*) from workflow.workflow_run where status = 'succeeded'"

_TERMINATE = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"

Fault = Callable[[Bench, Database, Sequence[Program]], Sequence[Program]]
"""Strikes, and returns the workers that it did not kill itself."""


def measure(bench: Bench) -> list[Record]:
    """Let every fault strike ours, by each driver, and peers; once each, for these are counts."""
    bench = evolve(bench, sizes=evolve(bench.sizes, rounds=1))
    contestants = [
        contestant
        for fault in FAULTS
        for contestant in (
            *(_ours(bench, driver, at_once, fault) for driver, at_once in OURS_AS),
            *(_peer(bench, peer, fault) for peer in bench.peers),
        )
    ]
    units = {
        "done": f"of {bench.sizes.struck:,} runs done",
        "last done": "last done, s after the fault",
        "exited": f"of {WORKERS} workers exited by themselves",
    }
    return bench.take_turns("faults", contestants, units)


def _ours(bench: Bench, driver: str, at_once: int, fault: str) -> Contestant:
    def play() -> Mapping[str, float]:
        with filled(bench, bench.sizes.struck) as database:
            figures = _struck(bench, OURS, database, database.url_for(driver), DONE, fault, at_once)
            check_settled_once(database)
            return figures

    settings: dict[str, Setting] = {"driver": driver, "at once": at_once, "fault": fault}
    note = f"lease {bench.sizes.lease:g} s"
    return Contestant(OURS.name, settings, play, note=note)


def _peer(bench: Bench, peer: Peer, fault: str) -> Contestant:
    def play() -> Mapping[str, float]:
        system = peer.found()
        with bench.server.database() as database:
            system.play("fill", url=database.url, runs=bench.sizes.struck)
            return _struck(bench, system, database, database.url, peer.done, fault)

    return Contestant(peer.name, {"fault": fault}, play, note=peer.defaults)


def _struck(
    bench: Bench,
    system: System,
    database: Database,
    url: str,
    done: str,
    fault: str,
    at_once: int | None = None,
) -> Mapping[str, float]:
    """Start workers, let the fault strike them and return what became of the runs."""
    runs = bench.sizes.struck
    # Peers execute as many at once as they do by themselves.
    task = {"url": url, "takes": TAKES, "lease": bench.sizes.lease, "concurrency": at_once}

    def count() -> int:
        return int(database.value(done))

    with ExitStack() as stack:
        workers = [
            stack.enter_context(system.started("work", worker_id=f"worker-{number}", **task))
            for number in range(WORKERS)
        ]
        for worker in workers:
            worker.say_go()
        before, _ = _follow(count, runs // 5, workers, bench.sizes.patience)
        if before < runs // 5:
            raise BenchmarkError(f"only {before} of {runs} runs were done before the fault")
        left = FAULTS[fault](bench, database, workers)
        after, last = _follow(count, runs, left, bench.sizes.patience)
        exited = sum(not worker.is_running for worker in left)
    return {"done": after, "last done": last, "exited": exited}


def _follow(
    count: Callable[[], int], wanted: int, workers: Sequence[Program], patience: float
) -> tuple[int, float]:
    """Wait until so many runs are done, all workers have exited, or the time is up.

    Returns:
        How many are done, and after how many seconds the last of them was.
    """
    started = clock()
    done, last, is_over = count(), 0.0, False
    while done < wanted and not is_over:
        time.sleep(LOOK)
        # Asked before the count: what a worker did before it exited counts.
        is_over = clock() - started > patience or not any(one.is_running for one in workers)
        before, done = done, count()
        if done > before:
            last = clock() - started
    return done, last


def _restart(bench: Bench, database: Database, workers: Sequence[Program]) -> Sequence[Program]:
    bench.server.restart()
    return workers


def _cut(bench: Bench, database: Database, workers: Sequence[Program]) -> Sequence[Program]:
    for _ in range(bench.sizes.terminations):
        with database.beside() as connection:
            connection.execute(_TERMINATE, [database.name])
        time.sleep(1.0)
    return workers


def _kill(bench: Bench, database: Database, workers: Sequence[Program]) -> Sequence[Program]:
    workers[0].kill()
    return workers[1:]


FAULTS: Mapping[str, Fault] = {
    "server crashes": _restart,
    "connections cut": _cut,
    "worker killed": _kill,
}
