"""SqliteStore: a Store in an SQLite file.

Every call is one write transaction: it reads runs, asks the core what may become of them, and
writes them back with their events. So each call is atomic, and no two of them run at once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from attrs import astuple, evolve, fields

from simpleworkflow.core import lease as lease_law
from simpleworkflow.core.errors import NotStorable, StoreClosed, StoreError, StoreUnavailable
from simpleworkflow.core.records import (
    Claim,
    Event,
    Extension,
    Hold,
    NewRun,
    Rescued,
    Run,
    Settled,
    Settlement,
    Submitted,
    Verdict,
)
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import EVENT_OF, EventType, Move, Status, is_legal, next_status
from simpleworkflow.core.storable import (
    canonical_json,
    check_instant,
    check_run_id,
    check_text,
    clean_text,
)

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process's transaction."""

NOTE_CHARS = 1_000
"""How much of an error goes into the history; the run's last_error has all of it."""

# The columns stand in the order of the record Run. Instants are microseconds since 1970.
TABLES = """
create table if not exists run (
    id text primary key, type text not null, status text not null, payload text not null,
    priority integer not null, run_at integer not null, attempt integer not null,
    max_attempts integer not null, idempotency_key text unique, leased_by text,
    lease_until integer, fence integer not null, last_error text, result text, headers text,
    created_at integer not null, updated_at integer not null
);
create index if not exists run_due on run (status, priority, run_at, created_at);
create table if not exists event (
    id integer primary key autoincrement, run_id text not null references run (id),
    type text not null, data text not null, created_at integer not null
);
create index if not exists event_of_run on event (run_id);
"""

_INSTANTS = {"run_at", "lease_until", "created_at", "updated_at"}
_NAMES = [column.name for column in fields(Run)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SqliteStore:
    """Keeps runs in an SQLite file, which is made at the first use.

    Args:
        path: the file.
        clock: gives the present instant; the system's by default. Tests hand in one they move.
    """

    def __init__(self, path: Path, *, clock: Callable[[], datetime] | None = None) -> None:
        self._path = path
        self._clock = clock or (lambda: datetime.now(UTC))
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<SqliteStore {self._path}>"

    def submit(self, runs: Sequence[NewRun]) -> list[Submitted]:
        """See Store.submit."""
        with self._transaction() as transaction:
            return [_submit_one(transaction, run) for run in runs]

    def claim(self, route: Route, limit: int, worker_id: str, lease: timedelta) -> list[Claim]:
        """See Store.claim."""
        with self._transaction() as transaction:
            due = transaction.find(
                "status = 'pending' and run_at <= ?",
                "priority, run_at, created_at, rowid",
                route,
                limit,
                to_number(transaction.now),
            )
            return [_lease(transaction, run, Move.CLAIM, worker_id, lease) for run in due]

    def extend(self, extensions: Sequence[Extension]) -> list[Hold]:
        """See Store.extend."""
        with self._transaction() as transaction:
            return [_extend_one(transaction, extension) for extension in extensions]

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """See Store.settle."""
        with self._transaction() as transaction:
            return [_settle_one(transaction, settlement) for settlement in settlements]

    def rescue(self, route: Route, limit: int, worker_id: str, lease: timedelta) -> list[Rescued]:
        """See Store.rescue."""
        with self._transaction() as transaction:
            expired = transaction.find(
                "status = 'leased' and lease_until <= ?",
                "lease_until, rowid",
                route,
                limit,
                to_number(transaction.now),
            )
            return [
                Rescued(_lease(transaction, run, Move.RESCUE, worker_id, lease), run.leased_by)
                for run in expired
            ]

    def cancel(self, run_ids: Sequence[str]) -> list[Status | None]:
        """See Store.cancel."""
        with self._transaction() as transaction:
            return [_cancel_one(transaction, run_id) for run_id in run_ids]

    def get(self, run_id: str) -> Run | None:
        """See Store.get."""
        with self._transaction() as transaction:
            return transaction.get(check_run_id(run_id))

    def events(self, run_id: str) -> list[Event]:
        """See RunReader.events."""
        with self._transaction() as transaction:
            return transaction.events(check_run_id(run_id))

    def runs(self, route: Route, limit: int) -> list[Run]:
        """See RunReader.runs."""
        with self._transaction() as transaction:
            return transaction.find("true", "created_at desc, id", route, limit)

    def close(self) -> None:
        """See Store.close."""
        with self._lock:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[_Transaction]:
        """Do all of the block or nothing of it, at one instant, with nobody in between."""
        with self._lock:
            if self._is_closed:
                raise StoreClosed(f"{self!r} was closed: open it again to go on")
            try:
                connection = self._opened()
                connection.execute("begin immediate")
                try:
                    yield _Transaction(connection, check_instant(self._clock(), "clock()"))
                    connection.execute("commit")
                except BaseException:
                    connection.rollback()
                    raise
            except sqlite3.OperationalError as exc:
                raise StoreUnavailable(f"{self._path} is unavailable: {exc}") from exc
            except sqlite3.Error as exc:
                raise StoreError(f"{self._path} refused a statement: {exc}") from exc

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            # isolation_level None: transactions begin where we say so. The lock makes it safe to
            # use one connection from several threads.
            connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            # A writer from the start: SQLite does not let a reader wait that turns into one.
            connection.executescript(f"begin immediate; {TABLES} commit;")
            self._connection = connection
        return self._connection


class _Transaction:
    """Reads and writes whole runs, within one transaction and at one instant."""

    def __init__(self, connection: sqlite3.Connection, now: datetime) -> None:
        self._connection = connection
        self.now = now

    def get(self, run_id: str) -> Run | None:
        row = self._connection.execute("select * from run where id = ?", [run_id]).fetchone()
        return None if row is None else to_run(row)

    def with_key(self, key: str) -> Run | None:
        row = self._connection.execute(
            "select * from run where idempotency_key = ?", [key]
        ).fetchone()
        return None if row is None else to_run(row)

    def find(
        self, condition: str, order: str, route: Route, limit: int, *params: object
    ) -> list[Run]:
        """Return the first `limit` runs of the route; `condition` and `order` are ours."""
        # The routing rule is the core's: SQLite calls it back.
        self._connection.create_function("is_served", 1, route.matches)
        rows = self._connection.execute(
            f"select * from run where {condition} and is_served(type) order by {order} limit ?",
            [*params, max(0, limit)],
        )
        return [to_run(row) for row in rows.fetchall()]

    def put(self, run: Run) -> None:
        """Write a run, new or changed."""
        values = [
            value if name not in _INSTANTS or value is None else to_number(value)
            for name, value in zip(_NAMES, astuple(run), strict=True)
        ]
        changed = ", ".join(f"{name} = excluded.{name}" for name in _columns()[1:])
        marks = ", ".join("?" * len(values))
        self._connection.execute(
            f"insert into run values ({marks}) on conflict (id) do update set {changed}",
            values,
        )

    def record(self, run_id: str, type_: EventType, data: dict[str, Any]) -> None:
        """Add an event to a run's history."""
        self._connection.execute(
            "insert into event (run_id, type, data, created_at) values (?, ?, ?, ?)",
            [run_id, type_, json.dumps(data), to_number(self.now)],
        )

    def events(self, run_id: str) -> list[Event]:
        rows = self._connection.execute(
            "select id, run_id, type, data, created_at from event where run_id = ? order by id",
            [run_id],
        )
        return [
            Event(id_, owner, EventType(type_), json.loads(data), to_instant(at))
            for id_, owner, type_, data, at in rows
        ]


def _submit_one(transaction: _Transaction, run: NewRun) -> Submitted:
    run_id = check_run_id(run.id)
    taken = None if run.idempotency_key is None else transaction.with_key(run.idempotency_key)
    taken = taken or transaction.get(run_id)
    if taken is not None:
        return Submitted(taken.id, created=False)
    now = transaction.now
    new = Run(
        id=run_id,
        type=run.type,
        status=Status.PENDING,
        payload_json=canonical_json(run.payload_json, "payload"),
        priority=run.priority,
        run_at=now + run.delay if run.run_at is None else check_instant(run.run_at, "run_at"),
        attempt=0,
        max_attempts=run.max_attempts,
        idempotency_key=run.idempotency_key,
        leased_by=None,
        lease_until=None,
        fence=0,
        last_error=None,
        result_json=None,
        headers_json=run.headers_json and canonical_json(run.headers_json, "headers"),
        created_at=now,
        updated_at=now,
    )
    transaction.put(new)
    transaction.record(run_id, EventType.CREATED, {})
    return Submitted(run_id, created=True)


def _lease(
    transaction: _Transaction, run: Run, move: Move, worker_id: str, lease: timedelta
) -> Claim:
    """Make `worker_id` the holder of a run, by a claim or by a rescue."""
    now = transaction.now
    leased = evolve(
        run,
        status=next_status(run.status, move),
        leased_by=worker_id,
        lease_until=lease_law.lease_end(now, lease),
        fence=run.fence + 1,
        updated_at=now,
    )
    transaction.put(leased)
    data = {"worker_id": worker_id, "fence": leased.fence, "attempt": run.attempt}
    if move is Move.RESCUE:
        data["lost_by"] = run.leased_by
    transaction.record(run.id, EVENT_OF[move], data)
    return Claim(
        run_id=run.id,
        worker_id=worker_id,
        fence=leased.fence,
        type=run.type,
        payload_json=run.payload_json,
        headers_json=run.headers_json,
        attempt=run.attempt,
        max_attempts=run.max_attempts,
        waited=(now - run.run_at).total_seconds(),
        # Whoever had it crashed as often as it was taken over.
        crashes=sum(event.type is EventType.RESCUED for event in transaction.events(run.id)),
    )


def _extend_one(transaction: _Transaction, extension: Extension) -> Hold:
    run = transaction.get(extension.claim.run_id)
    if run is None or not _is_holder(run, extension.claim):
        return Hold.LOST
    if run.status is Status.CANCELLED:
        return Hold.CANCELLED
    if not is_legal(run.status, Move.EXTEND) or run.lease_until is None:
        return Hold.LOST
    if extension.duration:
        now = transaction.now
        lease_until = lease_law.extended(run.lease_until, now, extension.duration)
        transaction.put(evolve(run, lease_until=lease_until, updated_at=now))
    return Hold.KEPT


def _settle_one(transaction: _Transaction, settlement: Settlement) -> Settled:
    try:
        result_json = settlement.result_json
        if result_json is not None:
            result_json = canonical_json(result_json, "result")
        if settlement.error is not None:
            check_text(settlement.error, "error")
    except NotStorable as exc:
        return Settled(Verdict.UNSTORABLE, str(exc))
    run = transaction.get(settlement.claim.run_id)
    if run is None or run.fence != settlement.claim.fence:
        return Settled(Verdict.LOST)
    if _is_holder(run, settlement.claim):
        if is_legal(run.status, settlement.move):
            _apply(transaction, run, settlement, result_json)
            return Settled(Verdict.APPLIED)
        if run.status is Status.CANCELLED:
            _discard(transaction, run, settlement, result_json)
            return Settled(Verdict.CANCELLED)
    if run.leased_by is None:
        # Sent again after a lost reply: the fence, which outlives the lease, says whose it was.
        if (run.status, run.attempt) == (settlement.status, settlement.attempt):
            return Settled(Verdict.APPLIED)
        if run.status is Status.CANCELLED:
            return Settled(Verdict.CANCELLED)
    return Settled(Verdict.LOST)


def _apply(
    transaction: _Transaction, run: Run, settlement: Settlement, result_json: str | None
) -> None:
    now = transaction.now
    settled = evolve(
        run,
        status=settlement.status,
        attempt=settlement.attempt,
        run_at=run.run_at if settlement.delay is None else now + settlement.delay,
        result_json=run.result_json if result_json is None else result_json,
        last_error=run.last_error if settlement.error is None else settlement.error,
        leased_by=None,
        lease_until=None,
        updated_at=now,
    )
    transaction.put(settled)
    data = _told(settlement)
    if settlement.ran is not None:
        data["ran"] = settlement.ran.total_seconds()
    if settlement.delay is not None:
        data["delay"] = settlement.delay.total_seconds()
    transaction.record(run.id, EVENT_OF[settlement.move], data)


def _discard(
    transaction: _Transaction, run: Run, settlement: Settlement, result_json: str | None
) -> None:
    """Keep the outcome of a cancelled run in its history, and nowhere else."""
    transaction.put(evolve(run, leased_by=None, updated_at=transaction.now))
    data = _told(settlement)
    data["outcome"] = str(EVENT_OF[settlement.move])
    if result_json is not None:
        data["result"] = json.loads(result_json)
    transaction.record(run.id, EventType.DISCARDED, data)


def _cancel_one(transaction: _Transaction, run_id: str) -> Status | None:
    run = transaction.get(check_run_id(run_id))
    if run is None:
        return None
    if not is_legal(run.status, Move.CANCEL):
        return run.status
    # leased_by stays: by it the worker's heartbeat hears "cancelled", and not "lost".
    cancelled = evolve(
        run,
        status=next_status(run.status, Move.CANCEL),
        lease_until=None,
        updated_at=transaction.now,
    )
    transaction.put(cancelled)
    transaction.record(run.id, EVENT_OF[Move.CANCEL], {"was": str(run.status)})
    return cancelled.status


def _is_holder(run: Run, claim: Claim) -> bool:
    return run.fence == claim.fence and run.leased_by == claim.worker_id


def _told(settlement: Settlement) -> dict[str, Any]:
    claim = settlement.claim
    data: dict[str, Any] = {
        "worker_id": claim.worker_id,
        "fence": claim.fence,
        "attempt": claim.attempt,
    }
    if settlement.error is not None:
        data["error"] = clean_text(settlement.error, NOTE_CHARS)
    return data


def _columns() -> list[str]:
    """Return the columns of `run`: the names of the record, less what they say of JSON."""
    return [name.removesuffix("_json") for name in _NAMES]


def to_run(row: Sequence[Any]) -> Run:
    """Read a row of `run`."""
    values: list[Any] = [
        value if name not in _INSTANTS or value is None else to_instant(value)
        for name, value in zip(_NAMES, row, strict=True)
    ]
    values[_NAMES.index("status")] = Status(row[_NAMES.index("status")])
    return Run(*values)


def to_number(instant: datetime) -> int:
    """Return an instant as SQLite keeps it."""
    return (instant - _EPOCH) // _MICROSECOND


def to_instant(number: int) -> datetime:
    """Return the instant that a number stands for."""
    return _EPOCH + number * _MICROSECOND
