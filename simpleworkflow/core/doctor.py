"""Doctor's law: only this module says what of a database is healthy, and what to do where it isn't.

A store measures; each function here judges one thing that was measured. What needs nobody's hand is
OK or a NOTE, what will become trouble a WARNING, and what keeps runs from being executed CRITICAL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import StrEnum

from attrs import frozen

from simpleworkflow.core.roster import ALIVE_FOR, KEPT_FOR, UNSERVED, Worker, unserved

OLDEST_TESTED, NEWEST_TESTED = 15, 18
"""Major versions of PostgreSQL that this library is tested on."""

EXPIRED, LONG_EXPIRED = timedelta(minutes=1), timedelta(minutes=15)
"""How long ago a lease may have expired before that is a warning, and critical: any living worker
would have rescued it within its poll interval."""

WAITING, LONG_WAITING, TOO_LONG_WAITING = (
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
)
"""How long a due run may wait before that is worth a note, a warning, and critical."""

SOME_DEAD, MANY_DEAD = (10_000, 0.2), (100_000, 1.0)
"""Dead rows, and their share of the living ones, that are worth a note and a warning. Autovacuum
comes once a minute: what a busy minute leaves is no trouble."""

OPEN, LONG_OPEN = timedelta(minutes=5), timedelta(hours=1)
"""How long a transaction may stay open before that is worth a note, and a warning: a backup takes
some time, a forgotten one is still there when it is over."""

MUCH_WAL = 2**30
"""Bytes of WAL that an unused replication slot may keep."""

MANY_ROWS = 10_000
"""From so many rows on, an index that is never used costs something worth speaking of."""

LARGE_ROWS, LARGE_BYTES = 10_000_000, 10 * 2**30
"""From here on it is time to think of deleting what is old."""

LATE = timedelta(minutes=1)
"""A ticker fires a schedule within seconds."""

SKEW = timedelta(seconds=5)
"""Clocks that differ by more make logs of two machines hard to read beside each other."""

NEARLY_FULL, FULL = 0.8, 0.95
"""The share of connections in use that is worth a warning, and critical."""

LONG_QUEUE = 0.5
"""How full PostgreSQL's queue of notifications may be. When it is full, commits fail."""

_SHOWN = 3
"""How many of a list are named."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    CRITICAL = "critical"


@frozen
class Finding:
    """One thing that `examine` looked at.

    Args:
        name: what was looked at; always the same for the same thing.
        level: `ok`, `note` (good to know), `warning` (will become trouble), or `critical` (runs are
            not executed, or soon will not be).
        seen: what was found, with figures.
        advice: what to do about it; empty where there is nothing to do.
    """

    name: str
    level: Level
    seen: str
    advice: str = ""


@frozen
class Waiting:
    """Runs, leases or schedules of one type that wait.

    Args:
        type: their type.
        longest: for how long the first of them has waited.
        count: how many there are; None where they were not counted.
    """

    type: str
    longest: timedelta
    count: int | None = None


@frozen
class Table:
    """A table of ours, by the server's statistics.

    Args:
        name: without the schema.
        rows: how many it has, about.
        dead: how many dead ones, about.
        size: bytes, with its indexes.
        vacuumed: how long ago it was vacuumed; None if it never was.
    """

    name: str
    rows: int
    dead: int
    size: int
    vacuumed: timedelta | None = None


@frozen
class Index:
    """An index on a table of ours.

    Args:
        name: without the schema.
        place: with the schema, as SQL has it.
        is_valid: False after its building was interrupted.
        is_needed: our statements, or a promise of ours, need it.
        is_unused: no statement has used it since statistics are kept, nor does it keep keys unique.
        rows: how many rows the table has, about.
    """

    name: str
    place: str
    is_valid: bool
    is_needed: bool
    is_unused: bool
    rows: int


@frozen
class Missing:
    """What a migration made and somebody took away; `sql` makes it again."""

    name: str
    sql: str


@frozen
class Holder:
    """A transaction that keeps vacuum from its work.

    Args:
        who: the session or the prepared transaction.
        age: for how long it has been open; None where that cannot be seen.
    """

    who: str
    age: timedelta | None


@frozen
class Slot:
    """A replication slot that nobody reads from, and the bytes of WAL that are kept for it."""

    name: str
    kept: int


def schema_version(applied: int, newest: int, pending: Sequence[str]) -> Finding:
    """Judge the version of the tables; 0 means that there are none."""
    name = "schema-version"
    if applied == 0:
        return Finding(
            name,
            Level.CRITICAL,
            "there are no tables of this library",
            "run `simpleworkflow migrate`, or look whether the URL names the right schema",
        )
    if applied < newest:
        return Finding(
            name,
            Level.CRITICAL,
            f"at version {applied}, this library needs {newest}; to be applied: "
            f"{', '.join(pending)}",
            "run `simpleworkflow migrate`: clients and workers of this version refuse to start",
        )
    if applied > newest:
        return Finding(
            name,
            Level.NOTE,
            f"at version {applied}, newer than this library, which knows {newest}",
            "update this library where it runs; until then nothing is wrong",
        )
    return Finding(name, Level.OK, f"at version {applied}, as this library needs it")


def server(version: int, is_read_only: bool) -> Finding:
    """Judge the server by its major version, and by whether sessions may write."""
    name, seen = "server", f"PostgreSQL {version}"
    if is_read_only:
        return Finding(
            name,
            Level.CRITICAL,
            f"{seen}, read-only",
            "connect to the primary server: target_session_attrs=read-write in the URL finds it",
        )
    if version < OLDEST_TESTED:
        return Finding(
            name,
            Level.WARNING,
            f"{seen}, older than {OLDEST_TESTED}, the oldest that is tested",
            "upgrade the server",
        )
    if version > NEWEST_TESTED:
        return Finding(
            name,
            Level.NOTE,
            f"{seen}, newer than {NEWEST_TESTED}, the newest that is tested",
            "update this library when there is a newer version",
        )
    return Finding(name, Level.OK, seen)


def expired_leases(expired: Sequence[Waiting]) -> Finding:
    """Judge leases whose end has passed and that nobody took over, by type."""
    name = "expired-leases"
    late = [each for each in expired if each.longest >= EXPIRED]
    if not late:
        return Finding(name, Level.OK, "none waits for a rescue")
    longest = max(each.longest for each in late)
    return Finding(
        name,
        Level.CRITICAL if longest >= LONG_EXPIRED else Level.WARNING,
        f"{sum(each.count or 0 for each in late):,} waiting for a rescue, the first for "
        f"{_time(longest)}: {_few(f'{each.type} ({each.count:,})' for each in late)}",
        "start a worker that serves these types: it rescues them at once",
    )


def oldest_run(due: Sequence[Waiting]) -> Finding:
    """Judge how long the first due run of each type has been waiting."""
    name = "oldest-run"
    waiting = sorted((w for w in due if w.longest >= WAITING), key=lambda w: w.longest)[::-1]
    if not waiting:
        return Finding(name, Level.OK, f"none waits for {_time(WAITING)} or more")
    longest = waiting[0].longest
    level = Level.NOTE
    if longest >= LONG_WAITING:
        level = Level.CRITICAL if longest >= TOO_LONG_WAITING else Level.WARNING
    return Finding(
        name,
        level,
        f"due and not begun: {_few(f'{w.type} for {_time(w.longest)}' for w in waiting)}",
        "start more workers for these types, or give theirs more concurrency",
    )


def unserved_types(due: Sequence[Waiting], workers: Sequence[Worker]) -> Finding:
    """Judge whether somebody serves each type that has due runs."""
    name = "unserved-types"
    alone = unserved({waiting.type: waiting.longest for waiting in due}, workers)
    if not alone:
        return Finding(name, Level.OK, "no type waits for want of a worker")
    return Finding(
        name,
        Level.WARNING,
        f"no live worker of this library serves {_few(alone)}, which {_has(alone)} had due runs "
        f"for {_time(UNSERVED)} or more",
        "start a worker with an executor for each; workers of other libraries do not announce "
        "themselves and are not counted",
    )


def workers(known: Sequence[Worker]) -> Finding:
    """Judge who is at work."""
    name = "workers"
    alive = [worker for worker in known if worker.is_alive]
    gone = [worker for worker in known if not worker.is_alive]
    seen = f"{len(alive):,} alive"
    if alive:
        seen += f": {_few(f'{_who(w)} ({_few(w.patterns)})' for w in alive)}"
    if gone:
        return Finding(
            name,
            Level.NOTE,
            f"{seen}; silent for more than {_time(ALIVE_FOR)}: "
            + _few(f"{_who(w)}, process {w.pid}" for w in gone),
            "read their logs, if nobody killed them on purpose; they are forgotten "
            f"{_time(KEPT_FOR)} after their last word",
        )
    if not alive:
        return Finding(name, Level.NOTE, seen, "start one, unless others' workers do all the work")
    return Finding(name, Level.OK, seen)


def dead_rows(tables: Sequence[Table]) -> Finding:
    """Judge whether vacuum keeps up."""
    name = "dead-rows"
    some = [t for t in tables if _has_dead(t, *SOME_DEAD)]
    if not some:
        return Finding(name, Level.OK, f"{sum(t.dead for t in tables):,} in all tables together")
    return Finding(
        name,
        Level.WARNING if any(_has_dead(t, *MANY_DEAD) for t in some) else Level.NOTE,
        _few(f"{t.name} has {t.dead:,} beside {t.rows:,} rows, {_vacuumed(t)}" for t in some),
        "see whether something holds vacuum back (held-back, table-settings); then "
        f"`vacuum analyze` of {_few(t.name for t in some)}",
    )


def _has_dead(table: Table, count: int, share: float) -> bool:
    return table.dead > count and table.dead > share * table.rows


def _vacuumed(table: Table) -> str:
    return "never vacuumed" if table.vacuumed is None else f"vacuumed {_time(table.vacuumed)} ago"


def held_back(holders: Sequence[Holder]) -> Finding:
    """Judge transactions that stay open, for which vacuum keeps every dead row."""
    name = "held-back"
    known = [(h.age, h.who) for h in holders if h.age is not None and h.age >= OPEN]
    if known:
        known.sort(reverse=True)
        return Finding(
            name,
            Level.WARNING if known[0][0] >= LONG_OPEN else Level.NOTE,
            f"vacuum is held back by {_few(f'{who}, open for {_time(age)}' for age, who in known)}",
            "end it: commit or roll back there, or select pg_terminate_backend(pid), or "
            "rollback prepared 'name'",
        )
    unknown = [h.who for h in holders if h.age is None]
    if unknown:
        return Finding(
            name,
            Level.NOTE,
            f"it cannot be seen since when these are open: {_few(unknown)}",
            "grant pg_read_all_stats to the role that runs this",
        )
    return Finding(name, Level.OK, f"no transaction is open for {_time(OPEN)} or more")


def replication_slots(unused: Sequence[Slot]) -> Finding:
    """Judge replication slots that nobody reads from."""
    name = "replication-slots"
    if not unused:
        return Finding(name, Level.OK, "none is without a reader")
    return Finding(
        name,
        Level.WARNING if any(slot.kept >= MUCH_WAL for slot in unused) else Level.NOTE,
        f"without a reader: {_few(f'{s.name} keeps {_size(s.kept)} of WAL' for s in unused)}",
        "bring its reader back, or select pg_drop_replication_slot('name') before the disk is full",
    )


def indexes(present: Sequence[Index], missing: Sequence[Missing]) -> Finding:
    """Judge the indexes on our tables."""
    name = "indexes"
    invalid = [index for index in present if not index.is_valid]
    if missing or invalid:
        lost = [f"{each.name} is missing" for each in missing]
        broken = [f"{index.name} is invalid" for index in invalid]
        advice = [*(each.sql for each in missing), *map(_rebuild, invalid)]
        return Finding(name, Level.WARNING, _few([*lost, *broken]), "; ".join(advice))
    foreign = [i.name for i in present if i.is_unused and not i.is_needed and i.rows >= MANY_ROWS]
    if foreign:
        return Finding(
            name,
            Level.NOTE,
            f"never used, and not this library's: {_few(foreign)}",
            "drop it if no other program needs it: every write to the table pays for it",
        )
    return Finding(name, Level.OK, f"{sum(i.is_needed for i in present):,} needed, all there")


def _rebuild(index: Index) -> str:
    what = "reindex index concurrently" if index.is_needed else "drop index concurrently"
    return f"{what} {index.place}"


def triggers(missing: Sequence[Missing]) -> Finding:
    """Judge the triggers on our tables; a disabled one is missing too."""
    name = "triggers"
    if not missing:
        return Finding(name, Level.OK, "all there")
    return Finding(
        name,
        Level.WARNING,
        f"missing or disabled: {_few(each.name for each in missing)}; deleted runs leave their "
        "history behind",
        "; ".join(each.sql for each in missing),
    )


def table_settings(lost: Sequence[Missing], is_vacuuming: bool) -> Finding:
    """Judge the storage parameters of our tables, and whether autovacuum runs at all."""
    name = "table-settings"
    if not is_vacuuming:
        return Finding(
            name,
            Level.WARNING,
            "autovacuum is off, for the server or for a table of ours",
            "set autovacuum = on and track_counts = on, and reset autovacuum_enabled on the table",
        )
    if lost:
        return Finding(
            name,
            Level.WARNING,
            f"lost: {_few(each.name for each in lost)}",
            "; ".join(each.sql for each in lost),
        )
    return Finding(name, Level.OK, "as the migrations set them")


def clocks(machine: timedelta, uncertainty: timedelta, known: Sequence[Worker]) -> Finding:
    """Judge the clock of this machine and those of living workers by the server's.

    Args:
        machine: by how much this machine's clock is ahead of the server's.
        uncertainty: by how much that may be wrong.
        known: the workers.
    """
    name = "clocks"
    off = [("this machine", machine)] if abs(machine) - uncertainty > SKEW else []
    off += [(_who(w), w.skew) for w in known if w.is_alive and abs(w.skew) > SKEW]
    if off:
        return Finding(
            name,
            Level.WARNING,
            f"not the server's time: {_few(f'{who} is {_ahead(skew)}' for who, skew in off)}",
            "let NTP or chrony set these clocks: leases do not depend on them, but run_at as "
            "producers compute it, certificates and logs do",
        )
    return Finding(name, Level.OK, f"within {_time(SKEW)} of the server's")


def _ahead(skew: timedelta) -> str:
    return f"{_time(abs(skew))} {'ahead' if skew > timedelta(0) else 'behind'}"


def pooler(is_direct: bool) -> Finding:
    """Judge how the server is reached."""
    name = "pooler"
    if is_direct:
        return Finding(name, Level.OK, "none: the session is our own")
    return Finding(
        name,
        Level.NOTE,
        "something like PgBouncer stands between, or does not pass our settings on: statements are "
        "planned each time, and idle workers are not woken",
        "give workers a URL that leads to the server itself; producers may stay behind the pooler",
    )


def wake_ups(is_direct: bool, has_trigger: bool, queue_usage: float) -> Finding:
    """Judge whether idle workers hear of new runs; `queue_usage` is from 0 to 1."""
    name = "wake-ups"
    if queue_usage >= LONG_QUEUE:
        return Finding(
            name,
            Level.CRITICAL if queue_usage >= FULL else Level.WARNING,
            f"the server's queue of notifications is {queue_usage:.0%} full",
            "end the session that listens and does not read, which is mostly one that is idle in a "
            "transaction for long: when the queue is full, submits fail",
        )
    if not is_direct:
        return Finding(name, Level.NOTE, "not possible from here: workers poll", "see pooler")
    bare = "and for rows that other programs insert" if has_trigger else "not for bare inserts"
    return Finding(name, Level.OK, f"for what clients of this library submit, {bare}")


def size(tables: Sequence[Table]) -> Finding:
    """Judge how large our tables have become."""
    name = "size"
    seen = ", ".join(
        f"{t.name} {_size(t.size)} with about {t.rows:,} rows"
        for t in sorted(tables, key=lambda t: t.size, reverse=True)[:2]
    )
    total = sum(t.size for t in tables)
    if total >= LARGE_BYTES or any(t.rows >= LARGE_ROWS for t in tables):
        return Finding(
            name,
            Level.NOTE,
            f"{_size(total)}: {seen}",
            "decide how long ended runs are kept, and delete older ones: `simpleworkflow purge`",
        )
    return Finding(name, Level.OK, f"{_size(total)}: {seen}")


def schedules(late: Sequence[Waiting]) -> Finding:
    """Judge enabled schedules whose time has passed."""
    name = "schedules"
    missed = sorted((w for w in late if w.longest >= LATE), key=lambda w: w.longest)[::-1]
    if not missed:
        return Finding(name, Level.OK, "none is late")
    return Finding(
        name,
        Level.WARNING,
        f"nobody fires {_few(f'{w.type}, late by {_time(w.longest)}' for w in missed)}",
        "start a worker without schedules=False, or `simpleworkflow ticker`; if one is at work, "
        "its log says what is wrong with the schedule",
    )


def connections(used: int, limit: int, ours: int) -> Finding:
    """Judge how many connections of those that ordinary roles may have are taken."""
    name = "connections"
    seen = f"{used:,} of {limit:,} in use, {ours:,} of them by this library"
    if used < NEARLY_FULL * limit:
        return Finding(name, Level.OK, seen)
    return Finding(
        name,
        Level.CRITICAL if used >= FULL * limit else Level.WARNING,
        seen,
        "raise max_connections, run fewer worker processes with more concurrency each, or put "
        "PgBouncer before the producers",
    )


def durability(off: Sequence[str]) -> Finding:
    """Judge the settings that let the server forget what it has committed."""
    name = "durability"
    if not off:
        return Finding(name, Level.OK, "what is committed is on the disk")
    return Finding(
        name,
        Level.NOTE,
        f"{' and '.join(off)} {'is' if len(off) == 1 else 'are'} off: after a crash of the server, "
        "runs that were submitted may be missing",
        "set to on where runs must not be lost",
    )


def unseen(name: str, reason: str) -> Finding:
    """Say that something could not be looked at."""
    return Finding(
        name,
        Level.NOTE,
        f"it cannot be seen: {reason}",
        "look again as an operator (`simpleworkflow grants`) or as the owner of the tables, after "
        "`simpleworkflow migrate`",
    )


def _who(worker: Worker) -> str:
    return f"{worker.worker_id} on {worker.hostname}"


def _has(things: Sequence[str]) -> str:
    return "has" if len(things) == 1 else "have"


def _few(things: Iterable[str]) -> str:
    """Write the first few of a list, and how many more there are."""
    listed = list(things)
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _time(duration: timedelta) -> str:
    """Write a duration in the largest unit of which it has two, or one exactly."""
    seconds = duration.total_seconds()
    for length, unit in _UNITS:
        if seconds >= 2 * length or seconds == length:
            return f"{seconds // length:,.0f} {unit}"
    return f"{seconds:.1f} s"


def _size(size: int) -> str:
    """Write bytes in the largest unit that they fill."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if size >= 1_024**power:
            return f"{size / 1_024**power:,.1f} {unit}"
    return f"{size} bytes"
