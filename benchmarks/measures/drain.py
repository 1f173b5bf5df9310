"""Drain: no-op runs already submitted, one worker process, until all are settled.

Measured from the moment a loaded process is told to begin, connecting included, to its last commit.
The floor is bare SQL: claim 200, settle 200, two connections. Each drain is done in every state of
the planner's statistics, and afterwards every run must have succeeded with a complete history.
The worker's own CPU time is told beside: it says what a library costs, on a busy machine too.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from benchmarks.harness import Bench, Contestant, Peer
from benchmarks.programs.ours import EXECUTORS
from benchmarks.records import BenchmarkError, Record, Setting
from benchmarks.systems import FLOOR, OURS, seconds_of
from benchmarks.workload import NEVER, STATES, check_complete, filled

DRIVERS = ("psycopg", "pg8000")
CONCURRENCIES = (1, 50)

UNITS = {"drain": "runs/s", "CPU": "µs of the worker's CPU per run"}


def measure(bench: Bench) -> list[Record]:
    """Drain with every driver, executor and concurrency, bare SQL, and peers."""
    floors = {state: _floor(bench, state, foreign_key=False) for state in STATES}
    ours = [
        _ours(bench, driver, concurrency, executor, state, floors[state])
        for driver, concurrency, executor, state in _combined(
            bench, DRIVERS, CONCURRENCIES, tuple(EXECUTORS), STATES
        )
    ]
    contestants = [
        *floors.values(),
        _floor(bench, NEVER, foreign_key=True),
        *ours,
        *(
            _memory(bench, concurrency, executor)
            for concurrency, executor in _combined(bench, CONCURRENCIES, tuple(EXECUTORS))
        ),
        *(_peer(bench, peer, ours[0]) for peer in bench.peers),
    ]
    return bench.take_turns("drain", contestants, UNITS)


def _combined(bench: Bench, *choices: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    if bench.sizes.is_thorough:
        return list(product(*choices))
    longest = max(map(len, choices))
    return [tuple(choice[i % len(choice)] for choice in choices) for i in range(longest)]


def _floor(bench: Bench, state: str, *, foreign_key: bool) -> Contestant:
    def play() -> Mapping[str, float]:
        with filled(bench, bench.sizes.runs, state, foreign_key=foreign_key) as database:
            answer = FLOOR.play("drain", url=database.url)
            check_complete(database, bench.sizes.runs)
            return rate(answer, bench.sizes.runs)

    return Contestant(FLOOR.name, {"foreign key": foreign_key, "statistics": state}, play)


def _ours(
    bench: Bench, driver: str, concurrency: int, executor: str, state: str, floor: Contestant
) -> Contestant:
    def play() -> Mapping[str, float]:
        with filled(bench, bench.sizes.runs, state) as database:
            url = database.url_for(driver)
            answer = OURS.play("drain", url=url, concurrency=concurrency, executor=executor)
            check_complete(database, bench.sizes.runs)
            return rate(answer, bench.sizes.runs)

    settings: dict[str, Setting] = {
        "driver": driver,
        "concurrency": concurrency,
        "executor": executor,
        "statistics": state,
    }
    return Contestant(OURS.name, settings, play, against=floor)


def _memory(bench: Bench, concurrency: int, executor: str) -> Contestant:
    def play() -> Mapping[str, float]:
        runs = bench.sizes.runs
        answer = OURS.play("drain_memory", runs=runs, concurrency=concurrency, executor=executor)
        if answer["complete"] != runs:
            raise BenchmarkError(f"of {runs} runs, {answer['complete']} have their history")
        return rate(answer, runs)

    settings: dict[str, Setting] = {
        "driver": "memory",
        "concurrency": concurrency,
        "executor": executor,
    }
    return Contestant(OURS.name, settings, play)


def _peer(bench: Bench, peer: Peer, ours: Contestant) -> Contestant:
    runs = max(1, int(bench.sizes.runs * peer.share))

    def play() -> Mapping[str, float]:
        system = peer.found()
        with bench.server.database() as database:
            system.play("fill", url=database.url, runs=runs)
            task = {"url": database.url, "runs": runs, "concurrency": peer.concurrency}
            return rate(system.play("drain", **task), runs)

    settings: dict[str, Setting] = {"concurrency": peer.concurrency, "runs": runs}
    return Contestant(peer.name, settings, play, against=ours, note=peer.keeps)


def rate(answer: Mapping[str, Any], runs: int) -> Mapping[str, float]:
    """Return the figures of a drain of so many runs.

    Raises:
        BenchmarkError: not all of them were executed.
    """
    if answer["executed"] != runs:
        raise BenchmarkError(f"of {runs} runs, {answer['executed']} were executed")
    return {"drain": runs / seconds_of(answer), "CPU": 1e6 * answer["cpu"] / runs}
