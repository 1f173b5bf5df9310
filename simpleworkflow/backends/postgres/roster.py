"""The part of PostgresStore that is a Roster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from simpleworkflow.backends.postgres import params, rows
from simpleworkflow.backends.postgres.driver import Row
from simpleworkflow.core.roster import Announcement, Worker
from simpleworkflow.core.storable import check_run_id


class _Store(Protocol):
    def _fetch(self, name: str, given: Mapping[str, object]) -> Sequence[Row]: ...


class PostgresRoster:
    """Keeps announcements in the table workflow_worker."""

    def announce(self: _Store, announcement: Announcement) -> None:
        """See Roster.announce."""
        self._fetch("announce", params.of_announcement(announcement))

    def retire(self: _Store, id: str) -> None:
        """See Roster.retire."""
        self._fetch("retire", {"id": check_run_id(id)})

    def workers(self: _Store) -> list[Worker]:
        """See Roster.workers."""
        return [rows.to_worker(row) for row in self._fetch("workers", {})]
