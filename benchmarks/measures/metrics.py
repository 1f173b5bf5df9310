"""Metrics: what it costs to count. No-op runs are drained with Prometheus metrics and without.

The two take turns, drain by drain, and every other pair begins with the other one. A ratio is the
median of the pairs' own ratios, for drains differ by more than metrics take. The worker's own CPU
time is told beside: it says what they take on a busy machine too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.harness import Bench, Contestant
from benchmarks.measures.drain import rate
from benchmarks.records import Record, Setting
from benchmarks.systems import OURS
from benchmarks.workload import NEVER, check_complete, filled

DRIVER = "psycopg"
CONCURRENCIES = (1, 50)

UNITS = {
    "drain, without": "runs/s",
    "drain, with": "runs/s",
    "drain, with to without": "×",
    "CPU, without": "µs per run",
    "CPU, with": "µs per run",
    "CPU, with to without": "×",
}

Pair = tuple[Mapping[str, float], Mapping[str, float]]
"""The figures of a drain without metrics, and of one with them."""


def measure(bench: Bench) -> list[Record]:
    """Drain in pairs, with one run at a time and with fifty."""
    concurrencies = CONCURRENCIES if bench.sizes.is_thorough else CONCURRENCIES[:1]
    contestants = [_contestant(bench, concurrency) for concurrency in concurrencies]
    return bench.take_turns("metrics", contestants, UNITS)


def _contestant(bench: Bench, concurrency: int) -> Contestant:
    def play() -> Mapping[str, float]:
        pairs = [_pair(bench, concurrency, number) for number in range(bench.sizes.pairs)]
        return {**_compared("drain", pairs), **_compared("CPU", pairs)}

    settings: dict[str, Setting] = {"driver": DRIVER, "concurrency": concurrency}
    return Contestant(OURS.name, settings, play)


def _pair(bench: Bench, concurrency: int, number: int) -> Pair:
    order = (False, True) if number % 2 == 0 else (True, False)
    figures = {metrics: _drained(bench, concurrency, metrics) for metrics in order}
    return figures[False], figures[True]


def _compared(of: str, pairs: Sequence[Pair]) -> Mapping[str, float]:
    return {
        f"{of}, without": median(without[of] for without, _ in pairs),
        f"{of}, with": median(counted[of] for _, counted in pairs),
        f"{of}, with to without": median(counted[of] / without[of] for without, counted in pairs),
    }


def _drained(bench: Bench, concurrency: int, metrics: bool) -> Mapping[str, float]:
    runs = bench.sizes.runs
    with filled(bench, runs, NEVER) as database:
        answer = OURS.play(
            "drain",
            url=database.url_for(DRIVER),
            concurrency=concurrency,
            executor="class",
            metrics=metrics,
        )
        check_complete(database, runs)
        return rate(answer, runs)
