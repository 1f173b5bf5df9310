"""What operators ask of a PostgresStore; see RunAdmin."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from simpleworkflow.backends.postgres import params, rows
from simpleworkflow.backends.postgres.again import AGAIN, tries
from simpleworkflow.backends.postgres.driver import Connection, Row
from simpleworkflow.backends.postgres.pool import Pool
from simpleworkflow.backends.postgres.url import Address
from simpleworkflow.core.admin import (
    HOUR,
    MINUTE,
    NEWEST_EVENTS,
    Answer,
    Purged,
    RunFilter,
    TypeStats,
    estimate,
    place_of,
)
from simpleworkflow.core.records import Run
from simpleworkflow.core.states import TERMINAL, Status
from simpleworkflow.core.storable import check_run_id

FEW = 10_000
"""So many runs that have not ended are looked at one and all; more, from the newest on."""

OPEN = frozenset(Status) - TERMINAL
UNLUCKY = frozenset({Status.FAILED, Status.CANCELLED})


class Admin:
    """The part of a PostgresStore that is a RunAdmin."""

    if TYPE_CHECKING:
        address: Address
        _pool: Pool

        def _fetch(self, name: str, given: Mapping[str, object]) -> Sequence[Row]: ...

        def _notify(self, connection: Connection) -> None: ...

    def find(self, wanted: RunFilter, limit: int, after: Run | None) -> list[Run]:
        """See RunAdmin.find."""
        given = params.of_find(wanted, max(0, limit), after)
        lists = [
            map(rows.to_run, self._fetch(f"find:{part}", given)) for part in self._parts(wanted)
        ]
        return list(islice(merge(*lists, key=place_of, reverse=True), max(0, limit)))

    def retry(self, run_ids: Sequence[str]) -> list[Answer]:
        """See RunAdmin.retry."""
        answers = self._change("retry", run_ids, {})
        if any(answer.done for answer in answers):
            with self._pool.connection() as connection:
                self._notify(connection)
        return answers

    def delete(self, run_ids: Sequence[str]) -> list[Answer]:
        """See RunAdmin.delete."""
        return self._change("delete", run_ids, params.of_statuses(TERMINAL))

    def stats(self) -> list[TypeStats]:
        """See RunAdmin.stats."""
        waiting = {type_: rest for type_, *rest in self._fetch("stats_open", {})}
        ended = {
            type_: rest for type_, *rest in self._fetch("stats_ended", {"limit": NEWEST_EVENTS})
        }
        return [
            _to_stats(type_, waiting.get(type_), ended.get(type_))
            for type_ in sorted(waiting.keys() | ended.keys())
        ]

    def purge(
        self, older_than: timedelta, statuses: frozenset[Status], limit: int, after: str | None
    ) -> Purged:
        """See RunAdmin.purge."""
        given = {
            **params.of_statuses(statuses),
            "older_than": older_than.total_seconds(),
            "limit": limit,
            "after": after,
            "lock": lock_of(self.address),
        }
        [(count, last, is_ours)] = self._fetch("purge", given)
        return Purged(count, last, is_busy=not is_ours)

    def _parts(self, wanted: RunFilter) -> Sequence[str]:
        """Return where these runs are looked for: where the fewest others are in the way."""
        if wanted.idempotency_key is not None:
            return ["asked_key"]
        if wanted.statuses <= OPEN and self._are_few(wanted.statuses):
            return ["asked_open"]
        if wanted.statuses <= UNLUCKY:
            return ["asked_unlucky", "asked_others"]
        return ["asked_by_time", "asked_others"]

    def _are_few(self, statuses: frozenset[Status]) -> bool:
        given = {**params.of_statuses(statuses), "limit": FEW}
        return int(self._fetch("count_open", given)[0][0]) < FEW

    def _change(
        self, name: str, run_ids: Sequence[str], given: Mapping[str, object]
    ) -> list[Answer]:
        """Send a statement that changes runs until none was changed by others meanwhile."""
        ids = [check_run_id(run_id) for run_id in run_ids]
        answers = [Answer(run_id, None, False) for run_id in ids]
        asked = list(range(len(ids)))
        for _ in tries(name, asked):
            found = self._fetch(name, {**params.of_ids([ids[i] for i in asked]), **given})
            again = []
            for place, status, done in found:
                if status == AGAIN:
                    again.append(asked[place])
                else:
                    answers[asked[place]] = Answer(ids[asked[place]], Status(status), done)
            asked[:] = again
        return answers


def lock_of(address: Address) -> int:
    """Return the advisory lock that lets one purge of a schema at a time be at work."""
    return zlib.crc32(f"simpleworkflow purge:{address.schema}".encode())


def _to_stats(type_: str, waiting: Row | None, ended: Row | None) -> TypeStats:
    """Join a row of stats_open.sql and one of stats_ended.sql, each without its type."""
    due, scheduled, leased, oldest = waiting or (0, 0, 0, None)
    minute, hour, failed, seconds = ended or (0, 0, 0, None)
    seen = None if seconds is None else timedelta(seconds=seconds)
    return TypeStats(
        type=type_,
        due=due,
        scheduled=scheduled,
        leased=leased,
        oldest_due=None if oldest is None else timedelta(seconds=oldest),
        ended_last_minute=estimate(minute, MINUTE, seen),
        ended_last_hour=estimate(hour, HOUR, seen),
        failed_last_hour=estimate(failed, HOUR, seen),
        is_estimate=seen is not None and seen < HOUR,
    )
