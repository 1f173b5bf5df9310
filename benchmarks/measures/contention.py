"""Contention: worker processes on one queue; more of them must drain it no slower.

No run may be executed twice, and the server must not see a deadlock. The floor is as many processes
of bare SQL.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.harness import Bench, Contestant
from benchmarks.records import BenchmarkError, Record
from benchmarks.server import Database
from benchmarks.systems import FLOOR, OURS, System, play_together, seconds_of
from benchmarks.workload import check_complete, filled

UNITS = {"drain": "runs/s", "deadlocks": "deadlocks"}


def measure(bench: Bench) -> list[Record]:
    """Drain with one, two and many worker processes."""
    many = bench.sizes.workers
    two = _contestant(bench, OURS, 2, None)
    floor_of_two = _contestant(bench, FLOOR, 2, None)
    contestants = [
        _contestant(bench, OURS, 1, two),
        two,
        _contestant(bench, OURS, many, two),
        floor_of_two,
        _contestant(bench, FLOOR, many, floor_of_two),
    ]
    return bench.take_turns("contention", contestants, UNITS)


def _contestant(
    bench: Bench, system: System, workers: int, against: Contestant | None
) -> Contestant:
    runs = bench.sizes.shared

    def play() -> Mapping[str, float]:
        with filled(bench, runs) as database:
            before = _deadlocks(database)
            tasks = [
                {"url": database.url, "worker_id": f"worker-{number}", "executor": "class"}
                for number in range(workers)
            ]
            answers = play_together(system, "drain", tasks)
            executed = sum(answer["executed"] for answer in answers)
            if executed != runs:
                raise BenchmarkError(f"{runs} runs were executed {executed} times")
            check_complete(database, runs)
            return {
                "drain": runs / seconds_of(*answers),
                "deadlocks": _deadlocks(database) - before,
            }

    return Contestant(system.name, {"workers": workers}, play, against=against)


def _deadlocks(database: Database) -> int:
    with database.beside() as connection:
        row = connection.execute(
            "select deadlocks from pg_stat_database where datname = %s", [database.name]
        ).fetchone()
    return int(row[0]) if row else 0
