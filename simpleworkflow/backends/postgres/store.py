"""PostgresStore: the Store of a PostgreSQL database, whichever driver carries the statements."""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from simpleworkflow.backends.postgres import migrate, params, rows, statements
from simpleworkflow.backends.postgres.admin import Admin
from simpleworkflow.backends.postgres.again import AGAIN, CONFLICT_TRIES, tries
from simpleworkflow.backends.postgres.callers import Fetch, fetch_on
from simpleworkflow.backends.postgres.doctor import PostgresDoctor
from simpleworkflow.backends.postgres.driver import (
    OPTIONS,
    Connection,
    DataRefused,
    Driver,
    Row,
    open_session,
)
from simpleworkflow.backends.postgres.hints import Hints, Pair
from simpleworkflow.backends.postgres.pool import Pool
from simpleworkflow.backends.postgres.roster import PostgresRoster
from simpleworkflow.backends.postgres.schedules import PostgresSchedules
from simpleworkflow.backends.postgres.url import Address
from simpleworkflow.backends.postgres.waiting import EndWatch
from simpleworkflow.backends.postgres.wakeup import Notifier, channel
from simpleworkflow.core.errors import NotStorable, StoreConflict
from simpleworkflow.core.keys import FOREVER
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
from simpleworkflow.core.states import Status
from simpleworkflow.core.storable import check_run_id
from simpleworkflow.core.store import Bell

POOL_SIZE = 2
"""Connections beside the one kept for heartbeats: a worker claims on one, settles on the other."""

CONFLICT_PAUSE = 0.1
"""Seconds, of which a random part passes before a statement that was undone is sent again: those
that met in a deadlock would meet in the next one, too."""

SLACK = 1_000
"""How much further a claim looks when others have locked all that it would take."""

_APPLIED = Settled(Verdict.APPLIED)

NOTIFIER_OPTIONS = f"{OPTIONS} -c synchronous_commit=off"
"""A notification is gone with the server that falls: no disk needs to hold it."""

logger = logging.getLogger("simpleworkflow.store")

T = TypeVar("T")


class PostgresStore(Admin, PostgresSchedules, PostgresRoster, PostgresDoctor):
    """Holds runs in one schema of a PostgreSQL database.

    Args:
        driver: carries the statements.
        address: the database and the schema.
        clock: gives the time in place of the server's; for tests only.
        pool_size: how many connections it opens at most, beside one that renews leases.

    Nothing is connected before the first use.
    """

    minds_key_scopes: Literal[True] = True

    def __init__(
        self,
        driver: Driver,
        address: Address,
        *,
        clock: Callable[[], datetime] | None = None,
        pool_size: int = POOL_SIZE,
    ) -> None:
        self.address = address
        self._driver = driver
        self._clock = clock
        self._pool = Pool(self._connect, pool_size)
        # Renewing leases must never wait behind anything else.
        self._heartbeat_pool = Pool(self._connect, 1)
        self._notifier = Notifier(
            lambda: open_session(driver, address, NOTIFIER_OPTIONS), self._notify
        )
        self._listening = threading.Lock()
        self._listener: Callable[[], Connection | None] = lambda: None
        self._hints = Hints()
        self._ends = EndWatch(self._find_ended)
        self._has_logged_polling = False
        self._is_checked = False

    def __repr__(self) -> str:
        return f"<PostgresStore {self.address}>"

    def submit(self, runs: Sequence[NewRun]) -> list[Submitted]:
        """See Store.submit."""
        if not runs:
            return []
        ids = [check_run_id(run.id) for run in runs]
        wakes = any(not run.delay for run in runs)
        carries = wakes and self._notifier.take_turn()
        created = self._create(runs, channel(self.address.schema) if carries else None, self._fetch)
        if wakes and not carries and created != set():
            self._notifier.notify()
        return self._answers(runs, ids, created, self._fetch)

    def submit_on(self, connection: object, runs: Sequence[NewRun]) -> list[Submitted]:
        """See JoinsTransactions.submit_on."""
        self._pool.check_open()
        fetch = fetch_on(connection, self.address, self._clock)
        if not runs:
            return []
        ids = [check_run_id(run.id) for run in runs]
        # Sent with the caller's commit, of which nobody else hears: these cannot share one.
        wakes = any(not run.delay for run in runs)
        created = self._create(runs, channel(self.address.schema) if wakes else None, fetch)
        return self._answers(runs, ids, created, fetch)

    def _answers(
        self, runs: Sequence[NewRun], ids: Sequence[str], created: set[str] | None, fetch: Fetch
    ) -> list[Submitted]:
        """Say of each run whether it is new (`created` None: all are), and which one it met."""
        if created is None:
            return [Submitted(id_, True) for id_ in ids]
        answers = []
        for id_ in ids:
            answers.append(Submitted(id_, id_ in created))
            # A repeat within the group meets the first.
            created.discard(id_)
        taken = [place for place, answer in enumerate(answers) if not answer.created]
        found = self._find_taken([runs[i] for i in taken], fetch)
        for place, id_ in zip(taken, found, strict=True):
            answers[place] = Submitted(id_, False)
        return answers

    def claim(self, route: Route, limit: int, worker_id: str, lease: timedelta) -> list[Claim]:
        """See Store.claim."""
        floors = self._hints.floors(route)
        claims = self._claim(route, limit, worker_id, lease, floors)
        if floors and len(claims) < limit:
            # What was remembered is used up: only a walk knows whether there is more.
            claims += self._claim(route, limit - len(claims), worker_id, lease, {})
        return claims

    def rescue(self, route: Route, limit: int, worker_id: str, lease: timedelta) -> list[Rescued]:
        """See Store.rescue."""
        found = self._fetch("rescue", params.of_rescue(route, limit, worker_id, lease))
        return [rows.to_rescued(row, worker_id) for row in found]

    def extend(self, extensions: Sequence[Extension]) -> list[Hold]:
        """See Store.extend."""
        if not extensions:
            return []
        found = self._fetch("extend", params.of_extend(extensions), pool=self._heartbeat_pool)
        return [Hold(row[0]) for row in found]

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """See Store.settle."""
        if not settlements:
            return []
        try:
            answers = self._settle_group(settlements)
        except DataRefused as exc:
            if len(settlements) == 1:
                return [Settled(Verdict.UNSTORABLE, str(exc))]
            # One of the group spoils the statement for all: halve until it stands alone.
            middle = len(settlements) // 2
            return self.settle(settlements[:middle]) + self.settle(settlements[middle:])
        if any(s.status is Status.PENDING and not s.delay for s in settlements):
            # Given back or rescued: others may go on at once.
            with self._pool.connection() as connection:
                self._notify(connection)
        return answers

    def cancel(self, run_ids: Sequence[str]) -> list[Status | None]:
        """See Store.cancel."""
        ids = [check_run_id(run_id) for run_id in run_ids]
        answers: list[Status | None] = [None] * len(ids)
        asked = list(range(len(ids)))
        for _ in tries("cancel", asked):
            found = self._fetch("cancel", params.of_ids([ids[i] for i in asked]))
            again = []
            for place, status in found:
                if status == AGAIN:
                    again.append(asked[place])
                else:
                    answers[asked[place]] = Status(status)
            asked[:] = again
        return answers

    def get(self, run_id: str) -> Run | None:
        """See Store.get."""
        found = self._fetch("get", {"id": check_run_id(run_id)})
        return rows.to_run(found[0]) if found else None

    def events(self, run_id: str) -> list[Event]:
        """See RunReader.events."""
        found = self._fetch("events", {"id": check_run_id(run_id)})
        return [rows.to_event(row) for row in found]

    def runs(self, route: Route, limit: int) -> list[Run]:
        """See RunReader.runs."""
        found = self._fetch("runs", {**params.of_route(route), "limit": max(0, limit)})
        return [rows.to_run(row) for row in found]

    def wait_for_runs(self, bell: Bell, seconds: float) -> None:
        """See Wakeups.wait_for_runs."""
        # One of all who share this store is enough: who waits keeps a connection from the others.
        if not self._listening.acquire(blocking=False):
            bell.wait(seconds)
            return
        try:
            with self._pool.connection() as connection:
                self._wait_on(connection, bell, seconds)
        finally:
            self._listening.release()

    def wait_for_end(self, run_id: str, seconds: float) -> None:
        """See Endings.wait_for_end."""
        self._ends.wait(check_run_id(run_id), seconds)

    def close(self) -> None:
        """See Store.close."""
        self._notifier.close()
        self._pool.close()
        self._heartbeat_pool.close()

    def check_schema(self) -> None:
        """See Migratable.check_schema."""
        with self._pool.connection() as connection:
            self._check_schema(connection)

    def migrate(self) -> list[str]:
        """See Migratable.migrate."""
        with self._pool.connection() as connection:
            return migrate.migrate(connection, self.address)

    def pending_migrations(self) -> list[tuple[str, str]]:
        """See Migratable.pending_migrations."""
        with self._pool.connection() as connection:
            return migrate.pending(connection, self.address)

    def switch_notify_trigger(self, on: bool, *, dry_run: bool = False) -> list[tuple[str, str]]:
        """See migrate.switch_notify_trigger."""
        with self._pool.connection() as connection:
            return migrate.switch_notify_trigger(connection, self.address, on, dry_run=dry_run)

    def _notify(self, connection: Connection) -> None:
        statement = statements.load("notify", self.address.quoted_schema)
        connection.fetch(statement, {"channel": channel(self.address.schema)})

    def _wait_on(self, connection: Connection, bell: Bell, seconds: float) -> None:
        if not connection.may_prepare:
            # A pooler hands out another session each time: none of ours would be notified.
            self._log_polling()
            bell.wait(seconds)
        elif self._listener() is not connection:
            connection.run_script(f"listen {channel(self.address.schema)}")
            self._listener = weakref.ref(connection)
            # What was submitted before is found by claiming once more.
            bell.ring()
        elif connection.was_notified():
            bell.ring()
        elif bell.wait(seconds, also=connection.fileno()):
            connection.was_notified()
            bell.ring()

    def _log_polling(self) -> None:
        if not self._has_logged_polling:
            self._has_logged_polling = True
            logger.info(
                "the database %s is reached through a pooler: wake-ups fall back to polling",
                self.address,
            )

    def _connect(self) -> Connection:
        return open_session(self._driver, self.address)

    def _check_schema(self, connection: Connection) -> None:
        migrate.check(connection, self.address)
        self._is_checked = True

    def _fetch(
        self, name: str, given: Mapping[str, object], *, pool: Pool | None = None
    ) -> Sequence[Row]:
        statement = statements.load(name, self.address.quoted_schema)
        # Statements that only read by id have no clock.
        if ":now" in statement:
            given = {**given, "now": self._clock() if self._clock else None}
        for _ in range(CONFLICT_TRIES - 1):
            try:
                return self._fetch_once(statement, given, pool or self._pool)
            except StoreConflict:
                time.sleep(random.uniform(0, CONFLICT_PAUSE))
        return self._fetch_once(statement, given, pool or self._pool)

    def _fetch_once(self, statement: str, given: Mapping[str, object], pool: Pool) -> Sequence[Row]:
        with pool.connection() as connection:
            if not self._is_checked:
                self._check_schema(connection)
            return connection.fetch(statement, given)

    def _claim(
        self,
        route: Route,
        limit: int,
        worker_id: str,
        lease: timedelta,
        floors: Mapping[Pair, str],
    ) -> list[Claim]:
        asked_at = time.monotonic()
        remember = not floors and self._hints.is_wanted(route)
        found: Sequence[Row] = ()
        for slack in (0, SLACK):
            asked = params.of_claim(
                route, limit, worker_id, lease, floors=floors, remember=remember, slack=slack
            )
            found = self._fetch("claim", asked)
            # Pairs with due runs, but no run of theirs: others have locked them.
            if not found or found[0][0] is not None:
                break
        self._hints.learn(route, limit, asked_at, found)
        return [rows.to_claim(row, worker_id) for row in found if row[0] is not None]

    def _settle_group(self, settlements: Sequence[Settlement]) -> list[Settled]:
        answers = [_APPLIED] * len(settlements)
        asked = list(range(len(settlements)))
        for _ in tries("settle", asked):
            group = [settlements[i] for i in asked]
            written = self._write(group)
            refused = []
            if written is not None:
                refused = [i for place, i in enumerate(asked, 1) if place not in written]
            asked[:] = []
            if refused:
                given = params.of_settle([settlements[i] for i in refused])
                why = self._fetch("settle_refused:asked_settlements", given)
                for i, (verdict,) in zip(refused, why, strict=True):
                    if verdict == AGAIN:
                        asked.append(i)
                    else:
                        answers[i] = Settled(Verdict(verdict))
        return answers

    def _write(self, group: Sequence[Settlement]) -> set[int] | None:
        """Write these outcomes; return the places, from 1, of those written, None for all."""
        if params.are_successes(group):
            name, given = "settle:asked_successes", params.of_successes(group)
        else:
            name, given = "settle:asked_settlements", params.of_settle(group)
        if len(group) > 1 and params.are_too_large(given):
            raise DataRefused(f"{len(group)} outcomes are too large for one statement")
        written = self._fetch(name, given)[0][0]
        return None if written is None else set(written)

    def _create(self, runs: Sequence[NewRun], channel: str | None, fetch: Fetch) -> set[str] | None:
        """Insert these runs and notify the channel; return the new ones' ids, None for all."""
        try:
            if len(runs) == 1 and runs[0].key_scope == FOREVER:
                one = {**params.of_submit_one(runs[0]), "channel": channel}
                if fetch("submit_one", one):
                    return None
                if runs[0].idempotency_key is None:
                    return set()
                # Whoever has the key may have to give it up, which the next statement sees to.
            asked = {**params.of_submit(runs), "channel": channel, "count": len(runs)}
            created = fetch(params.name_of_submit(runs), asked)[0][0]
        except DataRefused as exc:
            raise NotStorable(f"nothing was submitted: {exc}") from exc
        return None if created is None else set(created)

    def _find_ended(self, run_ids: Sequence[str]) -> set[str]:
        """Return those of these runs that have ended or are not there."""
        return {row[0] for row in self._fetch("ended", params.of_ids(run_ids))}

    def _find_taken(self, runs: Sequence[NewRun], fetch: Fetch) -> list[str]:
        """Return the id of the existing run for each of these, whose key or id is taken."""
        if not runs:
            return []
        found = {row[0]: row[1] for row in fetch("find_taken", params.of_lookup(runs))}
        for place, run in enumerate(runs):
            if place not in found:
                raise StoreConflict(
                    f"the run with idempotency_key={run.idempotency_key!r} was deleted while it "
                    "was submitted again: submit once more"
                )
        return [found[place] for place in range(len(runs))]
