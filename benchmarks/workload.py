"""The work that is measured: no-op runs, the planner's statistics, and a complete history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import Bench
from benchmarks.programs.ours import TYPE, fill
from benchmarks.records import BenchmarkError
from benchmarks.server import Database
from simpleworkflow import Client, migrate

NEVER, EMPTY, FULL, STALE = "never", "analysed empty", "analysed full", "stale"
STATES = (NEVER, EMPTY, FULL, STALE)
"""How fresh the planner's statistics are when a drain begins. Stale ones are of a table a fraction
of the size, in which every run had ended, as those of yesterday are."""

PAST = "bench.past.v1"

TABLES = ("workflow.workflow_run", "workflow.workflow_event")

_PAST_RUNS = f"""
insert into workflow.workflow_run (type, payload, status, result)
select '{PAST}', '{{"i": 1}}', 'succeeded', 'null' from generate_series(1, %s)
"""

_FOREIGN_KEY = """
alter table workflow.workflow_event
  add foreign key (workflow_id) references workflow.workflow_run (id) on delete cascade
"""

_UNFINISHED = """
with history as (
    select workflow_id,
           count(*) filter (where event_type = 'created') as created,
           count(*) filter (where event_type = 'leased') as leased,
           count(*) filter (where event_type = 'released') as released,
           count(*) filter (where event_type = 'succeeded') as succeeded,
           count(*) as total
      from workflow.workflow_event
     group by workflow_id
)
select count(*) filter (
           where r.status = 'succeeded' and r.leased_by is null and r.result is not null
             and h.created = 1 and h.succeeded = 1 and h.leased = h.released + 1
             and h.total = h.created + h.leased + h.released + h.succeeded
       ),
       count(*)
  from workflow.workflow_run r
  left join history h on h.workflow_id = r.id
 where r.type = %s
"""

_MISCOUNTED = """
with settled as (
    select workflow_id, count(*) as times
      from workflow.workflow_event
     where event_type = 'succeeded'
     group by workflow_id
)
select count(*)
  from workflow.workflow_run r
  left join settled s on s.workflow_id = r.id
 where coalesce(s.times, 0) <> (r.status = 'succeeded')::int
"""


@contextmanager
def filled(
    bench: Bench, runs: int, state: str | None = None, *, foreign_key: bool = False
) -> Iterator[Database]:
    """Give a fresh database with so many runs submitted, and the statistics in a state.

    Args:
        bench: what to work with.
        runs: how many.
        state: one of STATES, kept by switching autovacuum off; None leaves all as it comes.
        foreign_key: let events refer to their runs by a foreign key, which ours do without.
    """
    with bench.server.database() as database:
        migrate(database.url)
        if foreign_key:
            database.run(_FOREIGN_KEY)
        if state is not None:
            database.run(*(f"alter table {t} set (autovacuum_enabled = off)" for t in TABLES))
        _before(database, runs, state)
        with Client(database.url) as client:
            fill(client, runs)
        if state == FULL:
            _analyse(database)
        yield database


def check_complete(database: Database, runs: int) -> None:
    """Return if every run succeeded once and its history says so without a gap.

    A run that was claimed and given back unstarted is complete too: its history has both.

    Raises:
        BenchmarkError: some did not.
    """
    with database.connect() as connection:
        # Where the planner takes the tables to be empty, it would look at all pairs of their rows.
        connection.execute("set enable_nestloop = off")
        row = connection.execute(_UNFINISHED.encode(), [TYPE]).fetchone()
    if row != (runs, runs):
        raise BenchmarkError(f"of {runs} runs, (complete, there) are {row}")


def check_settled_once(database: Database) -> None:
    """Return if the history of every run that succeeded says so once, and no other history does.

    Raises:
        BenchmarkError: some do not.
    """
    miscounted = database.value(_MISCOUNTED)
    if miscounted:
        raise BenchmarkError(f"{miscounted} runs did not succeed as often as their history says")


def _before(database: Database, runs: int, state: str | None) -> None:
    if state == EMPTY:
        _analyse(database)
    elif state == STALE:
        with database.connect() as connection:
            connection.execute(_PAST_RUNS.encode(), [max(1, runs // 20)])
            _analyse(database)
            connection.execute(_PAST_RUNS.encode(), [2 * runs])


def _analyse(database: Database) -> None:
    database.run(*(f"analyze {table}" for table in TABLES))
