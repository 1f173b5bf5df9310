"""Doctor's law: what is healthy, from which figure on it is not, and that advice is given then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from simpleworkflow.core import doctor
from simpleworkflow.core.doctor import (
    Finding,
    Holder,
    Index,
    Level,
    Missing,
    Slot,
    Table,
    Waiting,
)
from simpleworkflow.core.roster import ALIVE_FOR, Worker

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ZERO, SECOND, MINUTE, HOUR = (timedelta(seconds=s) for s in (0, 1, 60, 3_600))
OK, NOTE, WARNING, CRITICAL = Level
ALIVE = Worker("1", "w-1", "box", 7, "1.0", ("mail.%",), 1, NOW, NOW, ZERO, ZERO)
GONE = evolve(ALIVE, worker_id="w-2", silence=ALIVE_FOR + SECOND)
PENDING = Index("idx_pending", '"workflow".idx_pending', True, True, False, 20_000)
GB = 2**30


def waiting(longest: timedelta, type: str = "mail.v1", count: int | None = 2) -> list[Waiting]:
    return [Waiting(type, longest, count)]


def table(rows: int = 0, dead: int = 0, size: int = 0, ago: timedelta | None = None) -> list[Table]:
    return [Table("workflow_run", rows, dead, size, ago)]


CASES: dict[str, tuple[Callable[[], Finding], Level, str]] = {
    "no tables": (lambda: doctor.schema_version(0, 7, ["0001_tables"]), CRITICAL, "no tables"),
    "behind": (
        lambda: doctor.schema_version(3, 7, ["0007_workers"]),
        CRITICAL,
        "at version 3, this library needs 7; to be applied: 0007_workers",
    ),
    "current": (lambda: doctor.schema_version(7, 7, []), OK, "at version 7"),
    "ahead": (lambda: doctor.schema_version(8, 7, []), NOTE, "newer than this library"),
    "tested server": (lambda: doctor.server(15, False), OK, "PostgreSQL 15"),
    "newest server": (lambda: doctor.server(18, False), OK, "PostgreSQL 18"),
    "old server": (lambda: doctor.server(14, False), WARNING, "older than 15"),
    "new server": (lambda: doctor.server(19, False), NOTE, "newer than 18"),
    "read-only server": (lambda: doctor.server(18, True), CRITICAL, "read-only"),
    "no expired lease": (lambda: doctor.expired_leases([]), OK, "none"),
    "just expired": (lambda: doctor.expired_leases(waiting(MINUTE - SECOND)), OK, "none"),
    "expired": (
        lambda: doctor.expired_leases(waiting(MINUTE) + waiting(2 * MINUTE, "a.v1", 1_000)),
        WARNING,
        "1,002 waiting for a rescue, the first for 2 min: mail.v1 (2), a.v1 (1,000)",
    ),
    "expired long ago": (
        lambda: doctor.expired_leases(waiting(15 * MINUTE)),
        CRITICAL,
        "the first for 15 min",
    ),
    "nothing due": (lambda: doctor.oldest_run([]), OK, "none waits for 1 min or more"),
    "just due": (lambda: doctor.oldest_run(waiting(SECOND)), OK, "none waits"),
    "due": (lambda: doctor.oldest_run(waiting(MINUTE)), NOTE, "mail.v1 for 1 min"),
    "due for longer": (lambda: doctor.oldest_run(waiting(10 * MINUTE)), WARNING, "for 10 min"),
    "due for too long": (
        lambda: doctor.oldest_run(waiting(MINUTE) + waiting(HOUR, "a.v1")),
        CRITICAL,
        "a.v1 for 1 h, mail.v1 for 1 min",
    ),
    "served": (lambda: doctor.unserved_types(waiting(HOUR), [ALIVE]), OK, "no type"),
    "not served yet": (lambda: doctor.unserved_types(waiting(SECOND), []), OK, "no type"),
    "served by the dead": (
        lambda: doctor.unserved_types(waiting(MINUTE), [GONE]),
        WARNING,
        "no live worker of this library serves mail.v1, which has had due runs for 1 min or more",
    ),
    "not served": (
        lambda: doctor.unserved_types(waiting(HOUR, "a.v1") + waiting(HOUR, "b.v1"), [ALIVE]),
        WARNING,
        "serves a.v1, b.v1, which have had",
    ),
    "at work": (lambda: doctor.workers([ALIVE]), OK, "1 alive: w-1 on box (mail.%)"),
    "nobody at work": (lambda: doctor.workers([]), NOTE, "0 alive"),
    "one vanished": (
        lambda: doctor.workers([ALIVE, GONE]),
        NOTE,
        "silent for more than 90 s: w-2 on box, process 7",
    ),
    "on time": (lambda: doctor.schedules(waiting(MINUTE - SECOND)), OK, "none is late"),
    "late": (
        lambda: doctor.schedules(waiting(MINUTE)),
        WARNING,
        "nobody fires mail.v1, late by 1 min",
    ),
    "some dead": (lambda: doctor.dead_rows(table(10, 10_000)), OK, "10,000 in all"),
    "few dead beside many": (lambda: doctor.dead_rows(table(500_000, 100_000)), OK, "100,000"),
    "a fifth dead": (
        lambda: doctor.dead_rows(table(50_000, 10_001, ago=HOUR)),
        NOTE,
        "workflow_run has 10,001 beside 50,000 rows, vacuumed 1 h ago",
    ),
    "most dead": (lambda: doctor.dead_rows(table(100_000, 100_001)), WARNING, "never vacuumed"),
    "small": (lambda: doctor.size(table(10, size=900)), OK, "workflow_run 900 bytes with about 10"),
    "many rows": (lambda: doctor.size(table(10_000_000)), NOTE, "about 10,000,000 rows"),
    "large": (lambda: doctor.size(table(1, size=10 * GB)), NOTE, "10.0 GB: workflow_run 10.0 GB"),
    "indexes there": (lambda: doctor.indexes([PENDING], []), OK, "1 needed, all there"),
    "index lost": (
        lambda: doctor.indexes([PENDING], [Missing("idx", "create index idx on t (a)")]),
        WARNING,
        "idx is missing",
    ),
    "index invalid": (
        lambda: doctor.indexes([evolve(PENDING, is_valid=False)], []),
        WARNING,
        "idx_pending is invalid",
    ),
    "index of others": (
        lambda: doctor.indexes([evolve(PENDING, name="x", is_needed=False, is_unused=True)], []),
        NOTE,
        "not this library's: x",
    ),
    "index of ours not used": (
        lambda: doctor.indexes([evolve(PENDING, is_unused=True)], []),
        OK,
        "1 needed, all there",
    ),
    "small index of others": (
        lambda: doctor.indexes([evolve(PENDING, is_needed=False, is_unused=True, rows=9_999)], []),
        OK,
        "0 needed, all there",
    ),
    "triggers there": (lambda: doctor.triggers([]), OK, "all there"),
    "trigger lost": (
        lambda: doctor.triggers([Missing("workflow_delete_history", "create trigger x")]),
        WARNING,
        "workflow_delete_history",
    ),
    "settings there": (lambda: doctor.table_settings([], True), OK, "as the migrations"),
    "setting lost": (
        lambda: doctor.table_settings([Missing("fillfactor of t", "alter table t")], True),
        WARNING,
        "lost: fillfactor of t",
    ),
    "no autovacuum": (lambda: doctor.table_settings([], False), WARNING, "autovacuum is off"),
    "no transaction": (lambda: doctor.held_back([]), OK, "no transaction"),
    "short transaction": (lambda: doctor.held_back([Holder("x", MINUTE)]), OK, "no transaction"),
    "open transaction": (
        lambda: doctor.held_back([Holder("a", 5 * MINUTE), Holder("b", 6 * MINUTE)]),
        NOTE,
        "by b, open for 6 min, a, open for 5 min",
    ),
    "forgotten transaction": (
        lambda: doctor.held_back([Holder("a", HOUR)]),
        WARNING,
        "a, open for 1 h",
    ),
    "hidden transaction": (
        lambda: doctor.held_back([Holder("a", None), Holder("b", MINUTE)]),
        NOTE,
        "cannot be seen since when these are open: a",
    ),
    "slots in use": (lambda: doctor.replication_slots([]), OK, "none"),
    "unused slot": (
        lambda: doctor.replication_slots([Slot("s", 2**20)]),
        NOTE,
        "without a reader: s keeps 1.0 MB of WAL",
    ),
    "dear slot": (lambda: doctor.replication_slots([Slot("s", GB)]), WARNING, "keeps 1.0 GB"),
    "clocks agree": (lambda: doctor.clocks(5 * SECOND, ZERO, [ALIVE]), OK, "within 5 s"),
    "clock perhaps wrong": (lambda: doctor.clocks(6 * SECOND, SECOND, []), OK, "within"),
    "clock ahead": (
        lambda: doctor.clocks(6 * SECOND, ZERO, []),
        WARNING,
        "this machine is 6 s ahead",
    ),
    "worker behind": (
        lambda: doctor.clocks(ZERO, ZERO, [evolve(ALIVE, skew=-MINUTE)]),
        WARNING,
        "w-1 on box is 1 min behind",
    ),
    "clock of the dead": (
        lambda: doctor.clocks(ZERO, ZERO, [evolve(GONE, skew=HOUR)]),
        OK,
        "within",
    ),
    "direct": (lambda: doctor.pooler(True), OK, "none"),
    "pooled": (lambda: doctor.pooler(False), NOTE, "PgBouncer"),
    "woken": (lambda: doctor.wake_ups(True, False, 0.0), OK, "not for bare inserts"),
    "woken by all": (lambda: doctor.wake_ups(True, True, 0.4), OK, "that other programs insert"),
    "not woken": (lambda: doctor.wake_ups(False, True, 0.0), NOTE, "workers poll"),
    "long queue": (lambda: doctor.wake_ups(True, False, 0.5), WARNING, "50% full"),
    "full queue": (lambda: doctor.wake_ups(False, False, 0.95), CRITICAL, "95% full"),
    "few connections": (
        lambda: doctor.connections(79, 100, 3),
        OK,
        "79 of 100 in use, 3 of them by this library",
    ),
    "many connections": (lambda: doctor.connections(80, 100, 3), WARNING, "80 of 100"),
    "no connections left": (lambda: doctor.connections(95, 100, 3), CRITICAL, "95 of 100"),
    "durable": (lambda: doctor.durability([]), OK, "on the disk"),
    "one off": (lambda: doctor.durability(["fsync"]), NOTE, "fsync is off"),
    "two off": (lambda: doctor.durability(["fsync", "b"]), NOTE, "fsync and b are off"),
    "unseen": (lambda: doctor.unseen("size", "no right"), NOTE, "it cannot be seen: no right"),
}


@pytest.mark.parametrize(("judge", "level", "seen"), CASES.values(), ids=CASES)
def test_what_is_found(judge: Callable[[], Finding], level: Level, seen: str) -> None:
    """The level is right on both sides of each threshold, and the figures are told."""
    found = judge()

    assert (found.level, seen in found.seen) == (level, True), found


@pytest.mark.parametrize(("judge", "level", "seen"), CASES.values(), ids=CASES)
def test_advice_is_given_where_something_can_be_done(
    judge: Callable[[], Finding], level: Level, seen: str
) -> None:
    """And only there, in one line."""
    advice = judge().advice

    assert bool(advice) == (level is not Level.OK)
    assert "\n" not in advice


def test_what_is_missing_comes_with_the_sql_that_makes_it() -> None:
    """And what is broken with the SQL that mends it, each in its own way."""
    broken = evolve(PENDING, is_valid=False)
    foreign = evolve(broken, place='"workflow".x', is_needed=False)

    found = doctor.indexes([broken, foreign], [Missing("idx", "create index idx on t (a)")])

    assert found.advice == (
        'create index idx on t (a); reindex index concurrently "workflow".idx_pending; '
        'drop index concurrently "workflow".x'
    )


def test_long_lists_are_cut() -> None:
    """A database with thousands of types is told of in one line."""
    due = [Waiting(f"t{n}.v1", HOUR) for n in range(1_234)]

    found = doctor.unserved_types(due, [])

    assert "serves t0.v1, t1.v1, t2.v1 and 1,231 more, which" in found.seen


@pytest.mark.parametrize(
    ("duration", "written"),
    [
        (timedelta(milliseconds=1_500), "1.5 s"),
        (timedelta(seconds=1), "1 s"),
        (timedelta(seconds=90), "90 s"),
        (timedelta(minutes=3, seconds=59), "3 min"),
        (timedelta(hours=26), "26 h"),
        (timedelta(days=3), "3 d"),
        (timedelta(days=700_000), "700,000 d"),
    ],
)
def test_durations_are_written_in_a_unit_that_fits(duration: timedelta, written: str) -> None:
    """Two of a unit at least, or exactly one."""
    assert f"vacuumed {written} ago" in doctor.dead_rows(table(dead=20_000, ago=duration)).seen
