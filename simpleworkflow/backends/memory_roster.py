"""The part of MemoryStore that is a Roster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from attrs import frozen

from simpleworkflow.core.roster import Announcement, Worker, is_forgotten


@frozen
class Announced:
    """An announcement as it is kept."""

    announcement: Announcement
    started_at: datetime
    seen_at: datetime


class _Tables(Protocol):
    announced: dict[str, Announced]


class _Store(Protocol):
    def _locked(self) -> AbstractContextManager[tuple[_Tables, datetime]]: ...


class MemoryRoster:
    """Keeps announcements beside the runs."""

    def announce(self: _Store, announcement: Announcement) -> None:
        """Note that a worker is at work now, and remove others that were silent for too long."""
        with self._locked() as (tables, now):
            known = tables.announced.pop(announcement.id, None)
            for id_, other in list(tables.announced.items()):
                if is_forgotten(other.seen_at, now):
                    del tables.announced[id_]
            started_at = now if known is None else known.started_at
            tables.announced[announcement.id] = Announced(announcement, started_at, now)

    def retire(self: _Store, id: str) -> None:
        """Remove the worker that announced itself by this id."""
        with self._locked() as (tables, _):
            tables.announced.pop(id, None)

    def workers(self: _Store) -> list[Worker]:
        """Return those that announced themselves, the longest at work first, then by id."""
        with self._locked() as (tables, now):
            found = [_to_worker(each, now) for each in tables.announced.values()]
        return sorted(found, key=lambda worker: (worker.started_at, worker.id))


def _to_worker(announced: Announced, now: datetime) -> Worker:
    said = announced.announcement
    return Worker(
        id=said.id,
        worker_id=said.worker_id,
        hostname=said.hostname,
        pid=said.pid,
        version=said.version,
        patterns=said.patterns,
        concurrency=said.concurrency,
        started_at=announced.started_at,
        seen_at=announced.seen_at,
        silence=now - announced.seen_at,
        skew=said.clock - announced.seen_at,
    )
