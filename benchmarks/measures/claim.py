"""Claim: claiming 100 runs from a huge table against a small one.

The small table holds the visible runs alone. The huge one holds, beside them, ten times as many
pending runs of other types that sort first, ten times as many of the own types that are scheduled
for tomorrow, and fifty times as many that have ended. Once with one type, once with 200 types of 20
priorities behind 50 patterns. The two tables are claimed from in turn, claim by claim.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from statistics import median

from attrs import frozen

from benchmarks.harness import Bench, Contestant
from benchmarks.records import BenchmarkError, Record, Setting
from benchmarks.server import Database
from benchmarks.systems import OURS
from benchmarks.workload import TABLES
from simpleworkflow import migrate, open_store
from simpleworkflow.core.routing import Route
from simpleworkflow.core.store import Store

BATCH = 100
LEASE = timedelta(seconds=30)
WARM_UP = 5
UNITS = {"small": "ms", "huge": "ms", "huge, slowest": "ms", "growth": "×"}

_INSERT = """
insert into workflow.workflow_run (type, payload, priority, status, run_at, created_at)
select {type}, '{{"i": 1}}', {priority}, '{status}', {run_at},
       now() - interval '1 hour' + g * interval '1 microsecond'
  from generate_series(0, %s - 1) g
"""


@frozen
class _Shape:
    """How the own runs are spread.

    Args:
        types: how many types there are, behind `patterns` patterns.
        priorities: how many priorities each type has.
    """

    types: int
    patterns: int
    priorities: int

    @property
    def route(self) -> Route:
        """What the worker serves."""
        if self.types == 1:
            return Route.of(["m.noop.v1"])
        return Route.of([f"m{number:02}.%" for number in range(self.patterns)])

    def type_sql(self) -> str:
        """The type of the run with the number g."""
        if self.types == 1:
            return "'m.noop.v1'"
        number = f"mod(g, {self.types})"
        return (
            f"'m' || lpad(mod({number}, {self.patterns})::text, 2, '0') || '.t'"
            f" || ({number} / {self.patterns})::text || '.v1'"
        )

    def priority_sql(self) -> str:
        """The priority of the run with the number g."""
        return f"100 + mod(g / {self.types}, {self.priorities})"


SHAPES = (_Shape(1, 1, 1), _Shape(200, 50, 20))


def measure(bench: Bench) -> list[Record]:
    """Claim from both tables in each shape, before and after their statistics are made."""
    records = []
    for shape in SHAPES:
        # The tables are filled once: that takes minutes, and claims alone wear them little.
        with ExitStack() as stack:
            small, huge = (stack.enter_context(bench.server.database()) for _ in range(2))
            _fill(bench, small, shape, is_huge=False)
            _fill(bench, huge, shape, is_huge=True)
            for statistics in ("never", "analysed"):
                if statistics == "analysed":
                    for database in (small, huge):
                        database.run(f"vacuum analyze {TABLES[0]}")
                contestant = _contestant(bench, small, huge, shape, statistics)
                records += bench.take_turns("claim", [contestant], UNITS)
    return records


def _contestant(
    bench: Bench, small: Database, huge: Database, shape: _Shape, statistics: str
) -> Contestant:
    def play() -> Mapping[str, float]:
        with ExitStack() as stack:
            stores = [open_store(database.url) for database in (small, huge)]
            for store in stores:
                stack.callback(store.close)
            pairs = [
                [_claim_ms(store, shape.route) for store in stores]
                for _ in range(bench.sizes.claims + WARM_UP)
            ][WARM_UP:]
        on_small, on_huge = ([pair[i] for pair in pairs] for i in (0, 1))
        return {
            "small": median(on_small),
            "huge": median(on_huge),
            "huge, slowest": max(on_huge),
            "growth": median(on_huge) / median(on_small),
        }

    settings: dict[str, Setting] = {
        "types": shape.types,
        "patterns": shape.patterns,
        "priorities": shape.priorities,
        "statistics": statistics,
        "backlog": bench.sizes.backlog,
    }
    return Contestant(OURS.name, settings, play)


def _claim_ms(store: Store, route: Route) -> float:
    started = time.perf_counter()
    claims = store.claim(route, BATCH, "bench", LEASE)
    taken = time.perf_counter() - started
    if len(claims) != BATCH:
        raise BenchmarkError(f"{len(claims)} of {BATCH} runs were claimed")
    return 1e3 * taken


def _fill(bench: Bench, database: Database, shape: _Shape, *, is_huge: bool) -> None:
    million = bench.sizes.backlog
    # All claims of all rounds, before and after, must find enough.
    needed = 2 * bench.sizes.rounds * (bench.sizes.claims + WARM_UP) * BATCH
    visible = max(million // 10, needed)
    bench.say(f"claim: filling a {'huge' if is_huge else 'small'} table")
    migrate(database.url)
    database.run(f"alter table {TABLES[0]} set (autovacuum_enabled = off)")
    own, priority = shape.type_sql(), shape.priority_sql()
    due, tomorrow = "now() - interval '1 minute'", "now() + interval '1 day'"
    if is_huge:
        _insert(database, 5 * million, own, priority, "succeeded", due)
        _insert(database, million, "'a' || mod(g, 100)::text || '.other.v1'", "1", "pending", due)
        _insert(database, million, own, priority, "pending", tomorrow)
    _insert(database, visible, own, priority, "pending", due)


def _insert(
    database: Database, count: int, type_: str, priority: str, status: str, run_at: str
) -> None:
    statement = _INSERT.format(type=type_, priority=priority, status=status, run_at=run_at)
    with database.connect() as connection:
        connection.execute(statement.encode(), [count])
