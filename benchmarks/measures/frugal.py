"""Frugal: what a worker costs. Statements while it is idle, connections, and memory.

Statements are counted in the server's own log. Memory is the resident set of the worker's process,
looked at from outside while it drains many runs.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import mean

import psutil  # type: ignore[import-untyped,unused-ignore]

from benchmarks.harness import Bench, Contestant
from benchmarks.records import BenchmarkError, Record, Setting
from benchmarks.server import Database
from benchmarks.systems import OURS
from benchmarks.workload import check_complete, filled

UNITS = {
    "statements": "per poll interval",
    "connections": "connections",
    "memory, highest": "MB",
    "memory, growth": "MB",
}

WAKE_UP_TIME = 2.0
"""Seconds after which a worker has done what it does once."""

LOOK = 0.1
"""Seconds between looks at a worker's memory and connections."""

_STATEMENT = re.compile(r"LOG:  (statement|execute [^:]+):")


def measure(bench: Bench) -> list[Record]:
    """Watch an idle worker, then one at work."""
    contestants = [_idle(bench, driver) for driver in ("psycopg", "pg8000")]
    contestants += [_at_work(bench, driver) for driver in ("psycopg", "pg8000")]
    return bench.take_turns("frugal", contestants, UNITS)


def _idle(bench: Bench, driver: str) -> Contestant:
    interval, polls = bench.sizes.poll_interval, bench.sizes.idle_polls

    def play() -> Mapping[str, float]:
        log = _log_of(bench)
        with filled(bench, 0) as database:
            database.run(f"alter database {database.name} set log_statement = 'all'")
            url = database.url_for(driver)
            with OURS.started("serve", url=url, poll_interval=interval) as worker:
                time.sleep(WAKE_UP_TIME)
                before = log.stat().st_size
                time.sleep(interval * polls)
                statements = _statements(log, before)
                connections = _connections(database)
                worker.go()
        return {"statements": statements / polls, "connections": connections}

    settings: dict[str, Setting] = {"driver": driver, "worker": "idle", "poll_interval": interval}
    return Contestant(OURS.name, settings, play)


def _at_work(bench: Bench, driver: str) -> Contestant:
    runs = bench.sizes.memory_runs

    def play() -> Mapping[str, float]:
        with filled(bench, runs) as database:
            url = database.url_for(driver)
            with OURS.started("drain", url=url, executor="class") as worker:
                watch = _Watch(worker.pid, database)
                watch.start()
                worker.go()
                watch.stop()
            check_complete(database, runs)
        return watch.figures()

    return Contestant(OURS.name, {"driver": driver, "worker": "at work", "runs": runs}, play)


class _Watch(threading.Thread):
    """Looks at a process from time to time."""

    def __init__(self, pid: int, database: Database) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._database = database
        self._is_over = threading.Event()
        self._sizes: list[float] = []
        self._connections: list[int] = []

    def run(self) -> None:
        self._look()
        while not self._is_over.wait(LOOK):
            self._look()

    def _look(self) -> None:
        with suppress(psutil.NoSuchProcess):
            size = self._process.memory_info().rss / 1e6
            # A process that has ended and is not yet waited for has no memory.
            self._sizes += [size] if size else []
        self._connections.append(_connections(self._database))

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()
        self.join()

    def figures(self) -> Mapping[str, float]:
        """Return what was seen. Growth is the last tenth against the second one: in the first, a
        worker loads and connects.
        """
        tenth = max(1, len(self._sizes) // 10)
        early = self._sizes[tenth : 2 * tenth] or self._sizes
        return {
            "connections": max(self._connections),
            "memory, highest": max(self._sizes),
            "memory, growth": mean(self._sizes[-tenth:]) - mean(early),
        }


def _connections(database: Database) -> int:
    with database.beside() as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity"
            " where datname = %s and backend_type = 'client backend'",
            [database.name],
        ).fetchone()
    return int(row[0]) if row else 0


def _log_of(bench: Bench) -> Path:
    if bench.server.log is None:
        raise BenchmarkError("statements are counted in the log of a server of our own alone")
    return bench.server.log


def _statements(log: Path, start: int) -> int:
    with log.open("rb") as file:
        file.seek(start)
        text = file.read().decode(errors="replace")
    return len(_STATEMENT.findall(text))
