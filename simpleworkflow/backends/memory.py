"""MemoryStore: runs kept in this process, under the same laws as in a database.

Nothing here decides: the transition, lease, routing and value rules are asked of the core. What is
kept here is the order in which runs are claimed, one queue a type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from threading import TIMEOUT_MAX, Lock
from typing import Any, Literal

from attrs import define

from simpleworkflow.backends.memory_admin import MemoryAdmin
from simpleworkflow.backends.memory_roster import MemoryRoster
from simpleworkflow.backends.memory_schedules import MemorySchedules
from simpleworkflow.backends.memory_tables import Row, Tables
from simpleworkflow.core import lease as lease_law
from simpleworkflow.core.doctor import Finding
from simpleworkflow.core.errors import NotStorable, StoreClosed
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
from simpleworkflow.core.states import (
    EVENT_OF,
    EventType,
    Move,
    Status,
    is_legal,
)
from simpleworkflow.core.storable import (
    canonical_json,
    check_instant,
    check_run_id,
    check_text,
    clean_text,
    decode_json,
)
from simpleworkflow.core.store import Bell

EVENT_ERROR_CHARS = 1_000
"""Most characters of an error in an event; the run itself keeps all of it."""

_APPLIED = Settled(Verdict.APPLIED)


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


class MemoryStore(MemoryAdmin, MemorySchedules, MemoryRoster):
    """A Store in memory: for unit tests, for trying things out, and as the model of the others.

    Args:
        clock: gives the present instant, a datetime with a time zone; the system's by default.
            A test hands in one that it moves.
    """

    minds_key_scopes: Literal[True] = True

    def __init__(self, clock: Callable[[], datetime] | None = None) -> None:
        self._clock = clock or utc_now
        self._tables = Tables()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self._tables.rows):,} runs>"

    def submit(self, runs: Sequence[NewRun]) -> list[Submitted]:
        """Create these runs and their `created` events, all of them or none."""
        checked = [_Checked.of(run) for run in runs]
        with self._locked() as (tables, now):
            answers = [self._submit_one(tables, run, now) for run in checked]
            tables.ring()
            return answers

    def claim(self, route: Route, limit: int, worker_id: str, lease: timedelta) -> list[Claim]:
        """Lease up to `limit` due runs, the first by (priority, run_at, created_at)."""
        with self._locked() as (tables, now):
            return [
                self._lease(tables, row, Move.CLAIM, worker_id, lease, now)
                for row in tables.take_due(route, limit, now)
            ]

    def extend(self, extensions: Sequence[Extension]) -> list[Hold]:
        """Renew leases that are still held, and say how each stands."""
        with self._locked() as (tables, now):
            return [self._extend_one(tables, extension, now) for extension in extensions]

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Write the outcome of claimed runs, each with its event, if its claim is the current."""
        with self._locked() as (tables, now):
            answers = [self._settle_one(tables, settlement, now) for settlement in settlements]
            if any(s.status is Status.PENDING and not s.delay for s in settlements):
                tables.ring()
            return answers

    def rescue(self, route: Route, limit: int, worker_id: str, lease: timedelta) -> list[Rescued]:
        """Take over up to `limit` expired leases of the route, the longest expired first."""
        with self._locked() as (tables, now):
            rescued = []
            for row in tables.expired(route, now)[: max(0, limit)]:
                lost_by = row.leased_by
                claim = self._lease(tables, row, Move.RESCUE, worker_id, lease, now)
                rescued.append(Rescued(claim, lost_by))
            return rescued

    def cancel(self, run_ids: Sequence[str]) -> list[Status | None]:
        """Cancel runs that have not ended, and say the status of each afterwards."""
        ids = [check_run_id(run_id) for run_id in run_ids]
        with self._locked() as (tables, now):
            return [self._cancel_one(tables, run_id, now) for run_id in ids]

    def get(self, run_id: str) -> Run | None:
        """Return the run, or None when there is none or it was deleted."""
        run_id = check_run_id(run_id)
        with self._locked() as (tables, _):
            row = tables.visible(run_id)
            return None if row is None else _to_run(row)

    def events(self, run_id: str) -> list[Event]:
        """Return the history of a run, oldest first; empty when there is no such run."""
        run_id = check_run_id(run_id)
        with self._locked() as (tables, _):
            row = tables.rows.get(run_id)
            if row is None:
                return []
            # Copied: what a reader does to an event's data must not rewrite history.
            return [
                Event(id, row.id, EventType(kind), deepcopy(data), at)
                for id, kind, data, at in row.history
            ]

    def runs(self, route: Route, limit: int) -> list[Run]:
        """Return up to `limit` runs of the route, in any status, the newest first, then by id."""
        with self._locked() as (tables, _):
            found = [
                row
                for row in tables.rows.values()
                if row.deleted_at is None and route.matches(row.type)
            ]
            found.sort(key=lambda row: row.id)
            found.sort(key=lambda row: row.created_at, reverse=True)
            return [_to_run(row) for row in found[: max(0, limit)]]

    def hide(self, run_ids: Sequence[str]) -> list[bool]:
        """Mark runs as deleted, as another program does: even those that have not ended."""
        ids = [check_run_id(run_id) for run_id in run_ids]
        with self._locked() as (tables, now):
            return [self._hide_one(tables, run_id, now) for run_id in ids]

    def wait_for_runs(self, bell: Bell, seconds: float) -> None:
        """Return when the bell rings, as it does for each new run, or `seconds` are over."""
        with self._locked() as (tables, _):
            is_known = bell in tables.bells
            tables.bells.add(bell)
        if not is_known:
            # At first, what was submitted before is found by claiming once more.
            bell.ring()
        bell.wait(seconds)

    def wait_for_end(self, run_id: str, seconds: float) -> None:
        """Return when the run has ended or is not there, or `seconds` are over."""
        run_id = check_run_id(run_id)
        with self._locked() as (tables, _):
            tables.ended.wait_for(
                lambda: self._is_closed or tables.is_over(run_id), min(seconds, TIMEOUT_MAX)
            )

    def examine(self) -> list[Finding]:
        """Return nothing: there is no server, no table and no other process to look at."""
        return []

    def close(self) -> None:
        """Let go of the runs; any later use raises StoreClosed. Closing twice does nothing."""
        self._is_closed = True
        with self._tables.lock:
            self._tables.ended.notify_all()

    @contextmanager
    def _locked(self) -> Iterator[tuple[Tables, datetime]]:
        """Hold the lock, and give the tables and one instant for all that is done meanwhile."""
        if self._is_closed:
            raise StoreClosed("this memory store was closed: open it again to go on")
        with self._tables.lock:
            yield self._tables, check_instant(self._clock(), "clock()")

    def _create(self, tables: Tables, run: NewRun, now: datetime) -> Submitted:
        return self._submit_one(tables, _Checked.of(run), now)

    def _submit_one(self, tables: Tables, checked: _Checked, now: datetime) -> Submitted:
        run = checked.run
        taken = tables.rows.get(checked.id)
        if taken is None and run.idempotency_key is not None:
            taken = tables.holder(run.idempotency_key, now)
        if taken is not None:
            return Submitted(taken.id, created=False)
        row = Row(
            id=checked.id,
            type=run.type,
            payload_json=checked.payload_json,
            priority=run.priority,
            run_at=checked.run_at or now + run.delay,
            max_attempts=run.max_attempts,
            idempotency_key=run.idempotency_key,
            headers_json=checked.headers_json,
            key_scope=run.key_scope,
            created_at=now,
            updated_at=now,
            sequence=tables.submitted,
        )
        tables.add(row, now)
        self._record(tables, row, EventType.CREATED, {}, now)
        return Submitted(row.id, created=True)

    def _lease(
        self,
        tables: Tables,
        row: Row,
        move: Move,
        worker_id: str,
        lease: timedelta,
        now: datetime,
    ) -> Claim:
        """Make `worker_id` the holder of a run, by a claim or by a rescue."""
        row.fence += 1
        row.crashes += move is Move.RESCUE
        claim = Claim(
            row.id,
            worker_id,
            row.fence,
            row.type,
            row.payload_json,
            row.headers_json,
            row.attempt,
            row.max_attempts,
            waited=(now - row.run_at).total_seconds(),
            crashes=row.crashes,
        )
        data = _who_and_which(claim)
        if move is Move.RESCUE:
            data["lost_by"] = row.leased_by
        row.leased_by = worker_id
        row.lease_until = lease_law.lease_end(now, lease)
        tables.move(row, move, now)
        self._record(tables, row, EVENT_OF[move], data, now)
        return claim

    def _extend_one(self, tables: Tables, extension: Extension, now: datetime) -> Hold:
        row = tables.rows.get(extension.claim.run_id)
        if row is None or row.fence != extension.claim.fence:
            return Hold.LOST
        # Whoever cancels may empty leased_by: the fence alone is enough then.
        if row.status is Status.CANCELLED and row.leased_by in (None, extension.claim.worker_id):
            return Hold.CANCELLED
        if not (_is_holder(row, extension.claim) and is_legal(row.status, Move.EXTEND)):
            return Hold.LOST
        if extension.duration and row.lease_until is not None:
            row.lease_until = lease_law.extended(row.lease_until, now, extension.duration)
            tables.move(row, Move.EXTEND, now)
        return Hold.KEPT

    def _settle_one(self, tables: Tables, settlement: Settlement, now: datetime) -> Settled:
        row = tables.rows.get(settlement.claim.run_id)
        if row is None or row.fence != settlement.claim.fence:
            return Settled(Verdict.LOST)
        if _is_holder(row, settlement.claim):
            try:
                result_json = _check_outcome(settlement)
            except NotStorable as exc:
                return Settled(Verdict.UNSTORABLE, str(exc))
            if is_legal(row.status, settlement.move):
                self._apply(tables, row, settlement, result_json, now)
                return _APPLIED
            if row.status is Status.CANCELLED:
                self._discard(tables, row, settlement, result_json, now)
                return Settled(Verdict.CANCELLED)
        if row.leased_by is None:
            # The fence outlives the lease: a settlement whose reply was lost is known again.
            if (row.status, row.attempt) == (settlement.status, settlement.attempt):
                return Settled(Verdict.APPLIED)
            if row.status is Status.CANCELLED:
                return Settled(Verdict.CANCELLED)
        return Settled(Verdict.LOST)

    def _apply(
        self,
        tables: Tables,
        row: Row,
        settlement: Settlement,
        result_json: str | None,
        now: datetime,
    ) -> None:
        row.attempt = settlement.attempt
        if settlement.move is Move.SUCCEED:
            row.result_json = result_json
        if settlement.error is not None:
            row.last_error = settlement.error
        if settlement.delay is not None:
            row.run_at = now + settlement.delay
        row.leased_by = None
        row.lease_until = None
        tables.move(row, settlement.move, now)
        data = _who_and_which(settlement.claim)
        if settlement.ran is not None:
            data["ran"] = settlement.ran.total_seconds()
        if settlement.error is not None:
            data["error"] = clean_text(settlement.error, EVENT_ERROR_CHARS)
        if settlement.delay is not None:
            data["delay"] = settlement.delay.total_seconds()
        self._record(tables, row, EVENT_OF[settlement.move], data, now)

    def _discard(
        self,
        tables: Tables,
        row: Row,
        settlement: Settlement,
        result_json: str | None,
        now: datetime,
    ) -> None:
        """Keep the outcome of a cancelled run in its history, and nowhere else."""
        row.leased_by = None
        row.updated_at = now
        data = _who_and_which(settlement.claim)
        data["outcome"] = str(EVENT_OF[settlement.move])
        if result_json is not None:
            data["result"] = decode_json(result_json, "result")
        if settlement.error is not None:
            data["error"] = clean_text(settlement.error, EVENT_ERROR_CHARS)
        self._record(tables, row, EventType.DISCARDED, data, now)

    def _cancel_one(self, tables: Tables, run_id: str, now: datetime) -> Status | None:
        row = tables.visible(run_id)
        if row is None:
            return None
        if is_legal(row.status, Move.CANCEL):
            data = {"was": str(row.status)}
            # leased_by stays: by it the worker's late outcome is recognised as the last holder's.
            row.lease_until = None
            tables.move(row, Move.CANCEL, now)
            self._record(tables, row, EVENT_OF[Move.CANCEL], data, now)
        return row.status

    def _hide_one(self, tables: Tables, run_id: str, now: datetime) -> bool:
        row = tables.visible(run_id)
        if row is None:
            return False
        row.deleted_at = row.updated_at = now
        row.ticket = None
        tables.ended.notify_all()
        return True

    def _record(
        self, tables: Tables, row: Row, kind: EventType, data: dict[str, Any], now: datetime
    ) -> None:
        tables.last_event_id += 1
        row.history.append((tables.last_event_id, kind.value, data, now))


def named_store(name: str, clock: Callable[[], datetime] | None = None) -> MemoryStore:
    """Open the store of this name: one within the process, so that a client and a worker meet.

    Every call gives a handle of its own: closing one leaves the runs to the others.
    """
    store = MemoryStore(clock)
    with _named_lock:
        store._tables = _named.setdefault(name, store._tables)
    return store


@define
class _Checked:
    """A new run whose values were found to be storable, as they will be given back."""

    run: NewRun
    id: str
    payload_json: str
    headers_json: str | None
    run_at: datetime | None

    @classmethod
    def of(cls, run: NewRun) -> _Checked:
        return cls(
            run,
            check_run_id(run.id),
            _canonical(run.payload_json, "payload"),
            None if run.headers_json is None else _canonical(run.headers_json, "headers"),
            None if run.run_at is None else check_instant(run.run_at, "run_at"),
        )


def _canonical(text: str, what: str) -> str:
    return (canonical_json if len(text) > _LONG_TEXT else _remembered)(text, what)


_remembered = lru_cache(maxsize=256)(canonical_json)
"""Most results are `null`, and many payloads are alike."""

_LONG_TEXT = 10_000
"""JSON of more characters is rarely met twice, and takes too much room to be remembered."""

_named: dict[str, Tables] = {}
_named_lock = Lock()


def _check_outcome(settlement: Settlement) -> str | None:
    """Return the result as it will be given back; refuse what a database could not hold."""
    if settlement.error is not None:
        check_text(settlement.error, "error")
    if settlement.result_json is None:
        return None
    return _canonical(settlement.result_json, "result")


def _is_holder(row: Row, claim: Claim) -> bool:
    # The worker's name too: other programs take over leases without touching the fence.
    return row.fence == claim.fence and row.leased_by == claim.worker_id


def _who_and_which(claim: Claim) -> dict[str, Any]:
    return {"worker_id": claim.worker_id, "fence": claim.fence, "attempt": claim.attempt}


def _to_run(row: Row) -> Run:
    return Run(
        id=row.id,
        type=row.type,
        status=row.status,
        payload_json=row.payload_json,
        priority=row.priority,
        run_at=row.run_at,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        idempotency_key=row.idempotency_key,
        leased_by=row.leased_by,
        lease_until=row.lease_until,
        fence=row.fence,
        last_error=row.last_error,
        result_json=row.result_json,
        headers_json=row.headers_json,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
