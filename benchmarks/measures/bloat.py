"""Bloat: a drain while a transaction stays open, which keeps every old version of every row.

The last tenth of the runs may take at most twice as long as the first. The times are those that the
database wrote into the history. The same drain without the transaction stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.harness import Bench, Contestant
from benchmarks.records import BenchmarkError, Record, Setting
from benchmarks.server import Database
from benchmarks.systems import FLOOR, OURS, System, seconds_of
from benchmarks.workload import check_complete, filled

UNITS = {
    "drain": "runs/s",
    "first tenth": "s",
    "last tenth": "s",
    "last to first": "×",
    "dead rows": "dead rows",
}

_TENTHS = """
with settled as (
    select created_at, row_number() over (order by created_at, id) as place
      from workflow.workflow_event
     where event_type = 'succeeded'
)
select extract(epoch from s.created_at - (
           select min(created_at) from workflow.workflow_event where event_type = 'leased'))::float8
  from settled s
 where s.place in (%(tenth)s, %(runs)s - %(tenth)s, %(runs)s)
 order by s.place
"""


def measure(bench: Bench) -> list[Record]:
    """Drain with and without a transaction held open, ours and bare SQL."""
    contestants = []
    for system in (OURS, FLOOR):
        free = _contestant(bench, system, False, None)
        contestants += [free, _contestant(bench, system, True, free)]
    return bench.take_turns("bloat", contestants, UNITS)


def _contestant(
    bench: Bench, system: System, is_held: bool, against: Contestant | None
) -> Contestant:
    runs = bench.sizes.held_open

    def play() -> Mapping[str, float]:
        with filled(bench, runs) as database, _open_transaction(database, is_held):
            answer = system.play("drain", url=database.url, executor="class")
            check_complete(database, runs)
            return {"drain": runs / seconds_of(answer), **_tenths(database, runs)}

    settings: dict[str, Setting] = {"runs": runs, "transaction held open": is_held}
    return Contestant(system.name, settings, play, against=against)


@contextmanager
def _open_transaction(database: Database, is_held: bool) -> Iterator[None]:
    with database.connect() as connection:
        if is_held:
            connection.execute("begin isolation level repeatable read")
            # Its snapshot is taken now; its number keeps those of others from growing old.
            connection.execute("select txid_current(), count(*) from workflow.workflow_run")
        yield
        if is_held:
            connection.execute("rollback")


def _tenths(database: Database, runs: int) -> Mapping[str, float]:
    tenth = runs // 10
    with database.connect() as connection:
        times = connection.execute(_TENTHS.encode(), {"tenth": tenth, "runs": runs}).fetchall()
        dead = connection.execute(
            "select n_dead_tup from pg_stat_user_tables where relname = 'workflow_run'"
        ).fetchone()
    if len(times) != 3 or dead is None:
        raise BenchmarkError("the history does not tell when the tenths ended")
    first, last = times[0][0], times[2][0] - times[1][0]
    return {
        "first tenth": first,
        "last tenth": last,
        "last to first": last / first if first else 0.0,
        "dead rows": dead[0],
    }
