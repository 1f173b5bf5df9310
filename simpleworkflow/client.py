"""Client: how a producer submits runs and follows them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, count, repeat
from types import TracebackType
from typing import Any

from simpleworkflow.backends.registry import open_store
from simpleworkflow.core.errors import RunNotFound, UsageError
from simpleworkflow.core.events import Observer, RunsSubmitted, RunsSubmitting
from simpleworkflow.core.keys import FOREVER
from simpleworkflow.core.records import (
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_PRIORITY,
    Event,
    NewRun,
    Run,
    Submitted,
    with_headers,
)
from simpleworkflow.core.states import Status
from simpleworkflow.core.storable import DEFAULT_JSON_BYTES, check_max_bytes, shown
from simpleworkflow.core.store import JoinsTransactions, KeyScopes, Migratable, RunReader, Store
from simpleworkflow.report import Report
from simpleworkflow.results import result_of, wait_for
from simpleworkflow.schedules import Schedules
from simpleworkflow.typed import new_run

BATCH = 1_000
"""Runs that `submit_many` sends in one statement."""

BATCH_CHARS = 2**25
"""Characters of JSON after which it sends fewer: no statement should come near to a gigabyte."""

IDS = 100
"""Ids that `submit_many` makes at once."""

_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""A random digit as the one that names the layout: its two upper bits are 10."""


class Client:
    """Submits runs and asks about them; safe to share between threads, and a context manager.

    Args:
        url_or_store: a database URL, `memory://name`, or a Store, which stays the caller's to
            close.
        auto_migrate: create or update the tables first; False by default.
        max_payload_bytes: the most bytes of JSON (UTF-8) a payload and its headers may have
            together; 64 MiB by default, from 100 to 268,435,455, which is what `jsonb` holds.
        observers: callables that are told of submits, see `simpleworkflow.core.events`.

    Raises:
        UsageError: the URL names no store that can be opened, or another argument cannot be.
    """

    def __init__(
        self,
        url_or_store: str | Store,
        *,
        auto_migrate: bool = False,
        max_payload_bytes: int = DEFAULT_JSON_BYTES,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._max_payload_bytes = check_max_bytes(max_payload_bytes, "max_payload_bytes")
        self._report = Report(tuple(observers))
        self._is_observed = self._report.hears(RunsSubmitting) or self._report.hears(RunsSubmitted)
        self._store = open_store(url_or_store)
        self._is_own = self._store is not url_or_store
        if auto_migrate and isinstance(self._store, Migratable):
            self._store.migrate()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self._store!r}>"

    def submit(
        self,
        type: str,
        payload: object,
        *,
        priority: int = DEFAULT_PRIORITY,
        run_at: datetime | None = None,
        delay: float | timedelta | None = None,
        max_attempts: int = DEFAULT_MAX_ATTEMPTS,
        idempotency_key: str | None = None,
        key_scope: str | float | timedelta = FOREVER,
        headers: Mapping[str, object] | None = None,
        connection: object | None = None,
    ) -> Submitted:
        """Record the intent to run something.

        Args:
            type: the dotted, versioned name of what to run, such as `billing.invoice.v1`.
            payload: what its executor gets: anything JSON can hold, up to `max_payload_bytes`, or
                an instance of an attrs class, a dataclass or a pydantic model, which is written so
                that a `payload_type` reads it.
            priority: lower runs first; 100 by default.
            run_at: the earliest execution, a datetime with a time zone; now by default.
            delay: in place of `run_at`, how long from now (seconds or a timedelta).
            max_attempts: how many attempts it has; 3 by default.
            idempotency_key: at most one run has this key; when it is taken, the answer names that
                run and nothing is created.
            key_scope: for how long this run keeps its key: "forever" (the default), "active", which
                is until it has ended or was deleted, or a duration (seconds or a timedelta) from
                this submit by the store's clock. After that, the next submit of the key creates a
                new run. What counts is the scope of the run that has the key, not that of the
                submit which meets it.
            headers: what travels beside the payload, and counts to its limit.
            connection: a connection of yours to the database of the runs, of psycopg, pg8000,
                SQLAlchemy or Django, or a session of SQLAlchemy. The run is created by it, in the
                transaction it is in: your commit submits it, your rollback leaves nothing. By
                default it is submitted at once, by a connection of this client's.

        Returns:
            The run's id, and whether this call created it.

        Raises:
            UsageError: something in it cannot be stored, or the connection cannot be used; the
                message names it.
            StoreError: the store cannot be reached or refuses. Your transaction, if it is one of
                yours, has then failed as by any other statement: roll it back.
        """
        (run_id,) = new_run_ids(1)
        run = new_run(
            run_id,
            type,
            payload,
            priority=priority,
            run_at=run_at,
            delay=delay,
            max_attempts=max_attempts,
            idempotency_key=idempotency_key,
            key_scope=key_scope,
            headers=headers,
            max_payload_bytes=self._max_payload_bytes,
        )
        self._check_scope(run)
        return self._create([run], connection)[0]

    def submit_many(
        self,
        runs: Iterable[Mapping[str, object]],
        *,
        progress: Callable[[int], object] | None = None,
        connection: object | None = None,
    ) -> list[Submitted]:
        """Submit many runs in few statements; each is a mapping of the arguments of `submit`.

        They are sent in batches of 1,000, or of fewer where their payloads are large, each of which
        is created as a whole or not at all. Of a sequence, such as a list, all are checked before
        the first is sent. Any other iterable, such as a generator, is read, checked and sent batch
        by batch, so that it is never held in memory as a whole.

        Args:
            runs: the mappings.
            progress: called after each batch with the number of runs that were answered so far;
                None by default.
            connection: as for `submit`; your transaction is what makes the batches one.

        Returns:
            For each run, in their order, its id and whether this call created it.

        Raises:
            UsageError: one of them cannot be stored; the message says which, and how many were
                submitted before it: none of a sequence, whole batches of any other iterable.
            StoreError: the store failed; batches sent before it exist.

        What the iterable or `progress` raises ends it as well: batches sent before exist.
        """
        if progress is not None and not callable(progress):
            raise UsageError(
                f"progress={shown(progress)} must be a function that takes the number of runs done"
            )
        answers: list[Submitted] = []
        ids = chain.from_iterable(map(new_run_ids, repeat(IDS)))
        checked: Iterable[NewRun] = (
            self._from_mapping(index, id_, run, answers)
            for run, index, id_ in zip(runs, count(), ids)
        )
        if isinstance(runs, Sequence):
            checked = list(checked)
        for batch in _batches(checked):
            answers += self._create(batch, connection)
            if progress is not None:
                progress(len(answers))
        return answers

    def cancel(self, run_id: str) -> bool:
        """Cancel a run that has not ended, and say whether it is cancelled now.

        False means that it had succeeded or failed before. An executor at work on it learns of it
        by `run.is_cancelled()`.

        Raises:
            RunNotFound: there is no such run.
        """
        status = self._store.cancel([run_id])[0]
        if status is None:
            raise _not_found(run_id)
        return status is Status.CANCELLED

    def get(self, run_id: str) -> Run:
        """Return a run as it stands.

        Raises:
            RunNotFound: there is no such run.
        """
        run = self._store.get(run_id)
        if run is None:
            raise _not_found(run_id)
        return run

    def wait(self, run_id: str, timeout: float | timedelta | None = None) -> Run:
        """Return a run when it has ended: succeeded, failed or cancelled.

        A database is asked again and again: at first every 10 ms, then with pauses of a fifth of
        the time waited, of 1 s at most. When it cannot be reached meanwhile, waiting goes on.

        Args:
            run_id: the run's id.
            timeout: how long to wait, in seconds or as a timedelta; 0 only looks, None, the
                default, waits for as long as it takes.

        Raises:
            WaitTimeout: the run had not ended by then; also a TimeoutError.
            RunNotFound: there is no such run, or it was deleted meanwhile.
            StoreUnavailable: the store could not be reached at the start.
            UsageError: the timeout is no duration, or nobody can wait in this store.
        """
        return wait_for(self._store, self.get, run_id, timeout)

    def result(self, run_id: str, timeout: float | timedelta | None = None) -> Any:
        """Wait for a run as `wait` does, and return what its executor returned.

        Raises:
            RunFailed: it has failed for good; the message and `error` are its `last_error`.
            RunCancelled: it was cancelled.
            WaitTimeout: it had not ended by then; and whatever else `wait` raises.
        """
        return result_of(self.wait(run_id, timeout))

    def events(self, run_id: str) -> list[Event]:
        """Return a run's history, oldest first; empty when there is no such run.

        Raises:
            UsageError: this store keeps no history.
        """
        if not isinstance(self._store, RunReader):
            raise UsageError(f"{self._store!r} keeps no history that can be read")
        return self._store.events(run_id)

    @property
    def schedules(self) -> Schedules:
        """The schedules, which submit runs at set times.

        Raises:
            UsageError: this store keeps no schedules.
        """
        return Schedules(self._store, self._max_payload_bytes)

    def close(self) -> None:
        """Give up the connections of a store that was opened from a URL."""
        if self._is_own:
            self._store.close()

    def _create(self, runs: Sequence[NewRun], connection: object | None) -> list[Submitted]:
        if not self._is_observed:
            return self._send(runs, connection)
        carrier: dict[str, str] = {}
        with self._report.around(RunsSubmitting(runs, carrier)):
            if carrier:
                runs = [with_headers(run, carrier) for run in runs]
            answers = self._send(runs, connection)
            self._report.tell(RunsSubmitted(runs, answers))
            return answers

    def _send(self, runs: Sequence[NewRun], connection: object | None) -> list[Submitted]:
        if connection is None:
            return self._store.submit(runs)
        if not isinstance(self._store, JoinsTransactions):
            raise UsageError(
                f"{self._store!r} has no transactions that a submit could join: leave connection= "
                "out, as in unit tests, or open a store on PostgreSQL"
            )
        return self._store.submit_on(connection, runs)

    def _from_mapping(
        self, index: int, id_: str, run: Mapping[str, object], before: Sequence[Submitted]
    ) -> NewRun:
        try:
            new = new_run(id_, **run, max_payload_bytes=self._max_payload_bytes)  # type: ignore[arg-type]
            self._check_scope(new)
            return new
        except UsageError as exc:
            raise type(exc)(f"run {index} of submit_many: {exc}; {_what_exists(before)}") from exc
        except TypeError as exc:
            raise UsageError(
                f"run {index} of submit_many must be a mapping of submit's arguments, such as "
                f"{{'type': …, 'payload': …}}: {exc}; {_what_exists(before)}"
            ) from exc

    def _check_scope(self, run: NewRun) -> None:
        if run.key_scope != FOREVER and not isinstance(self._store, KeyScopes):
            raise UsageError(
                f"{self._store!r} keeps every idempotency_key for ever: leave key_scope out"
            )


def new_run_ids(number: int) -> list[str]:
    """Return so many new ids: UUIDs of version 7, which begin with the time.

    New runs thus lie side by side in every index of ids. Random ones would each change a page of
    their own: on large tables that makes a submit take nearly twice as long, and its WAL four times
    as large. Source: RFC 9562, section 5.7.
    """
    moment = f"{time.time_ns() // 1_000_000:012x}"
    head = f"{moment[:8]}-{moment[8:]}-7"
    random = os.urandom(10 * number).hex()
    parts = (random[start : start + 20] for start in range(0, 20 * number, 20))
    return [f"{head}{r[:3]}-{_VARIANT[r[3]]}{r[4:7]}-{r[7:19]}" for r in parts]


def _batches(runs: Iterable[NewRun]) -> Iterator[list[NewRun]]:
    batch: list[NewRun] = []
    chars = 0
    for run in runs:
        batch.append(run)
        chars += len(run.payload_json) + len(run.headers_json or "")
        if len(batch) == BATCH or chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _what_exists(answers: Sequence[Submitted]) -> str:
    if not answers:
        return "nothing was submitted"
    return f"runs 0 to {len(answers) - 1} were submitted, and none after them"


def _not_found(run_id: str) -> RunNotFound:
    return RunNotFound(f"there is no run with the id {run_id!r}")
