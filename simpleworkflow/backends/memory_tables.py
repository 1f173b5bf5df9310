"""The rows of a MemoryStore, and the queues in which they wait."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from datetime import datetime
from heapq import heapify, heappop, heappush, heapreplace
from threading import Condition, Lock
from typing import Any
from weakref import WeakSet

from attrs import define, field

from simpleworkflow.backends.memory_roster import Announced
from simpleworkflow.core import lease as lease_law
from simpleworkflow.core.keys import FOREVER, KeyScope, has_ended
from simpleworkflow.core.routing import Route
from simpleworkflow.core.schedule import Schedule
from simpleworkflow.core.states import TERMINAL, Move, Status, next_status
from simpleworkflow.core.store import Bell

_GONE_KEPT = 1_000
"""Entries that were taken before a queue is shortened: each time costs a copy of the rest."""

_ROUTES_REMEMBERED = 64
"""More routes than that at once are forgotten and worked out again."""


# An event as it is kept; readers get an Event. Plain, because most are never read, and because the
# garbage collector passes over what holds nothing but text and numbers.
_Moment = tuple[int, str, dict[str, Any], datetime]


@define(eq=False, kw_only=True)
class Row:
    """A run as it is kept; `ticket` is its valid entry in a queue, None while not pending."""

    id: str
    type: str
    payload_json: str
    priority: int
    run_at: datetime
    max_attempts: int
    idempotency_key: str | None
    headers_json: str | None
    created_at: datetime
    updated_at: datetime
    sequence: int
    key_scope: KeyScope = FOREVER
    status: Status = Status.PENDING
    attempt: int = 0
    fence: int = 0
    crashes: int = 0
    leased_by: str | None = None
    lease_until: datetime | None = None
    last_error: str | None = None
    result_json: str | None = None
    deleted_at: datetime | None = None
    ticket: int | None = None
    history: list[_Moment] = field(factory=list)


# Sorted as runs are claimed; the sequence, then the ticket, tell equal ones apart.
_Entry = tuple[int, datetime, datetime, int, int, Row]


class _Queue:
    """The pending runs of one type.

    The due ones are a sorted list whose first `gone` entries were taken: runs mostly come in the
    order in which they leave, so entries are appended and taken without a search. An entry whose
    ticket its run no longer carries is dropped when it comes to the front.
    """

    __slots__ = ("due", "gone", "later", "type")

    def __init__(self, type_: str) -> None:
        self.type = type_
        self.due: list[_Entry] = []
        self.gone = 0
        self.later: list[tuple[datetime, int, _Entry]] = []

    def push(self, entry: _Entry, now: datetime) -> None:
        _, run_at, _, _, ticket, _ = entry
        if run_at > now:
            heappush(self.later, (run_at, ticket, entry))
        elif not self.due or entry > self.due[-1]:
            self.due.append(entry)
        else:
            insort(self.due, entry, lo=self.gone)

    def first(self, now: datetime) -> _Entry | None:
        """Return the entry to claim next, which `drop_first` removes."""
        while self.later and self.later[0][0] <= now:
            self.push(heappop(self.later)[2], now)
        while self.gone < len(self.due):
            entry = self.due[self.gone]
            _, run_at, _, _, ticket, row = entry
            if row.ticket == ticket and run_at <= now:
                return entry
            self.drop_first()
            if row.ticket == ticket:  # the clock was set back
                heappush(self.later, (run_at, ticket, entry))
        return None

    def drop_first(self) -> None:
        self.gone += 1
        if self.gone >= _GONE_KEPT and 2 * self.gone >= len(self.due):
            del self.due[: self.gone]
            self.gone = 0


class Tables:
    """What handles of one name share: the rows, and what finds them."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.ended = Condition(self.lock)
        self.rows: dict[str, Row] = {}
        self.keys: dict[str, Row] = {}
        self.leased: dict[str, Row] = {}
        self.schedules: dict[str, Schedule] = {}
        self.submitted = 0
        self.last_event_id = 0
        self._last_ticket = 0
        self._queues: dict[str, _Queue] = {}
        self._served: dict[Route, list[_Queue]] = {}
        self.bells: WeakSet[Bell] = WeakSet()
        self.announced: dict[str, Announced] = {}

    def ring(self) -> None:
        """Wake the workers that wait for runs."""
        for bell in self.bells:
            bell.ring()

    def visible(self, run_id: str) -> Row | None:
        """Return a row that was not deleted."""
        row = self.rows.get(run_id)
        return None if row is None or row.deleted_at is not None else row

    def is_over(self, run_id: str) -> bool:
        """Say whether a run has ended or is not there."""
        row = self.visible(run_id)
        return row is None or row.status in TERMINAL

    def holder(self, key: str, now: datetime) -> Row | None:
        """Return the row whose key this is, unless its scope has ended."""
        row = self.keys.get(key)
        if row is None or has_ended(
            row.key_scope, row.created_at, row.status, row.deleted_at is not None, now
        ):
            return None
        return row

    def add(self, row: Row, now: datetime) -> None:
        """Keep a new row."""
        self.submitted += 1
        self.rows[row.id] = row
        if row.idempotency_key is not None:
            self.keys[row.idempotency_key] = row
        self._place(row, now)

    def remove(self, row: Row) -> None:
        """Forget a row that nothing is to claim."""
        del self.rows[row.id]
        if row.idempotency_key is not None and self.keys.get(row.idempotency_key) is row:
            del self.keys[row.idempotency_key]
        self.leased.pop(row.id, None)

    def move(self, row: Row, move: Move, now: datetime) -> None:
        """Bring a row to the status that the move leads to, and where it is found by it."""
        row.status = next_status(row.status, move)
        row.updated_at = now
        self._place(row, now)
        if row.status in TERMINAL:
            self.ended.notify_all()

    def take_due(self, route: Route, limit: int, now: datetime) -> Iterator[Row]:
        """Take the first due rows out of the queues; each must be leased before the next."""
        fronts = [
            (entry, queue)
            for queue in self._queues_of(route)
            if (entry := queue.first(now)) is not None
        ]
        heapify(fronts)
        for _ in range(limit):
            if not fronts:
                return
            entry, queue = fronts[0]
            queue.drop_first()
            yield entry[-1]
            following = queue.first(now)
            if following is None:
                heappop(fronts)
            else:
                heapreplace(fronts, (following, queue))

    def expired(self, route: Route, now: datetime) -> list[Row]:
        """Return the rows whose lease others may take over, the longest expired first."""
        found = [
            (row.lease_until, row.sequence, row)
            for row in self.leased.values()
            if row.lease_until is not None
            and lease_law.is_expired(row.lease_until, now)
            and row.deleted_at is None
            and route.matches(row.type)
        ]
        return [row for _, _, row in sorted(found)]

    def _place(self, row: Row, now: datetime) -> None:
        if row.status is Status.LEASED:
            self.leased[row.id] = row
        else:
            self.leased.pop(row.id, None)
        if row.status is not Status.PENDING or row.deleted_at is not None:
            row.ticket = None
            return
        self._last_ticket += 1
        row.ticket = self._last_ticket
        queue = self._queues.get(row.type) or self._new_queue(row.type)
        queue.push((row.priority, row.run_at, row.created_at, row.sequence, row.ticket, row), now)

    def _new_queue(self, type_: str) -> _Queue:
        queue = self._queues[type_] = _Queue(type_)
        for route, served in self._served.items():
            if route.matches(type_):
                served.append(queue)
        return queue

    def _queues_of(self, route: Route) -> list[_Queue]:
        # Remembered: a worker asks with the same route again and again.
        served = self._served.get(route)
        if served is None:
            if len(self._served) >= _ROUTES_REMEMBERED:
                self._served.clear()
            served = [queue for queue in self._queues.values() if route.matches(queue.type)]
            self._served[route] = served
        return served
