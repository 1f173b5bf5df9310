"""Latency: from the call of submit in one process to the start of the executor in another.

The worker is idle: submits come 15 to 33 ms apart. The first tenth is not counted. The floor is
bare SQL: an insert that notifies, and a process that listens and claims what comes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import quantiles
from typing import Any

from benchmarks.harness import Bench, Contestant, Peer
from benchmarks.records import BenchmarkError, Record, Setting
from benchmarks.systems import FLOOR, OURS, System
from benchmarks.workload import filled

UNITS = {"p50": "ms", "p99": "ms", "max": "ms"}

POLL_INTERVAL = 0.25
"""Seconds, for the worker that is not woken."""


def measure(bench: Bench) -> list[Record]:
    """Time the pick-up with and without wake-ups, of bare SQL, and of peers."""
    floor = Contestant(FLOOR.name, {}, lambda: _on_our_tables(bench, FLOOR))
    contestants = [
        floor,
        *(_ours(bench, driver, True, floor) for driver in ("psycopg", "pg8000")),
        _ours(bench, "psycopg", False, floor),
        *(_peer(bench, peer, floor) for peer in bench.peers),
    ]
    return bench.take_turns("latency", contestants, UNITS)


def _ours(bench: Bench, driver: str, wakeups: bool, floor: Contestant) -> Contestant:
    def play() -> Mapping[str, float]:
        return _on_our_tables(bench, OURS, driver=driver, wakeups=wakeups, poll_interval=interval)

    interval = 2.0 if wakeups else POLL_INTERVAL
    settings: dict[str, Setting] = {
        "driver": driver,
        "wake-ups": wakeups,
        "poll_interval": interval,
    }
    return Contestant(OURS.name, settings, play, against=floor)


def _on_our_tables(
    bench: Bench, system: System, *, driver: str = "psycopg", **options: object
) -> Mapping[str, float]:
    with filled(bench, 0) as database:
        url = database.url_for(driver) if system is OURS else database.url
        return _times(bench, system, url, **options)


def _peer(bench: Bench, peer: Peer, floor: Contestant) -> Contestant:
    def play() -> Mapping[str, float]:
        system = peer.found()
        with bench.server.database() as database:
            system.play("fill", url=database.url, runs=0)
            return _times(bench, system, database.url, concurrency=peer.concurrency)

    return Contestant(peer.name, {}, play, against=floor)


def _times(bench: Bench, system: System, url: str, **options: object) -> Mapping[str, float]:
    samples = bench.sizes.samples
    with system.started("serve", url=url, **options) as worker:
        # A worker that has just started is still connecting.
        time.sleep(1.0)
        submitted = system.play("timed", url=url, runs=samples)["times"]
        time.sleep(max(0.5, 2 * POLL_INTERVAL))
        started = worker.go()["starts"]
    return _spread(samples, submitted, started)


def _spread(
    samples: int, submitted: dict[str, Any], started: dict[str, Any]
) -> Mapping[str, float]:
    missing = set(submitted) - set(started)
    if missing:
        raise BenchmarkError(f"{len(missing)} of {samples} runs were not picked up")
    counted = sorted(submitted, key=int)[samples // 10 :]
    waits = [1e3 * (started[i] - submitted[i]) for i in counted]
    cuts = quantiles(waits, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98], "max": max(waits)}
