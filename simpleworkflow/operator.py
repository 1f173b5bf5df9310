"""Operator: how a person on duty looks at runs, changes what becomes of them, and clears up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from types import TracebackType

from simpleworkflow.backends.registry import open_store, run_admin
from simpleworkflow.core.admin import Answer, TypeStats, check_ended, new_filter, rest_after
from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.records import Run
from simpleworkflow.core.states import TERMINAL, Status
from simpleworkflow.core.storable import check_duration, check_int, check_run_id
from simpleworkflow.core.store import Store

GROUP = 1_000
"""Runs that are changed by one statement."""

BUSY_PAUSE = 0.1
"""Seconds until a purge asks again whether another one is over."""


class Operator:
    """Finds runs, cancels, retries and deletes them, counts and purges; see `Client` for one run.

    Safe to share between threads, and a context manager. Each method raises a StoreError when the
    store cannot be reached or refuses.

    Args:
        url_or_store: a database URL, `memory://name`, or a Store, which stays the caller's to
            close.

    Raises:
        UsageError: it names no store that can be opened, or one that offers none of this.
    """

    def __init__(self, url_or_store: str | Store) -> None:
        store = open_store(url_or_store)
        self._is_own = store is not url_or_store
        self._store = store
        self._admin = run_admin(store)

    def __enter__(self) -> Operator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Operator of {self._store!r}>"

    def find(
        self,
        *,
        types: str | Iterable[str] | None = None,
        statuses: str | Iterable[str] | None = None,
        older_than: float | timedelta | None = None,
        newer_than: float | timedelta | None = None,
        error: str | None = None,
        worker_id: str | None = None,
        idempotency_key: str | None = None,
        limit: int = 100,
        after: Run | None = None,
    ) -> list[Run]:
        """Return runs for which all of this holds, the newest first; deleted ones are left out.

        Args:
            types: a type or pattern such as `billing.%`, or several of which one must match.
            statuses: a status, or several.
            older_than: created at least so long ago; seconds or a timedelta.
            newer_than: created less than so long ago.
            error: part of `last_error`, in small or capital letters.
            worker_id: who holds their lease, so that only leased runs are meant.
            idempotency_key: the key they were submitted with.
            limit: how many at most; 100 by default.
            after: the last run of the page before this one.

        Raises:
            UsageError: something in it can mean no run; the message names it.
        """
        wanted = new_filter(
            types=types,
            statuses=statuses,
            older_than=older_than,
            newer_than=newer_than,
            error=error,
            worker_id=worker_id,
            idempotency_key=idempotency_key,
        )
        if after is not None and not isinstance(after, Run):
            raise UsageError(f"after={after!r} must be the last Run of the page before, or None")
        return self._admin.find(wanted, check_int(limit, "limit", at_least=1), after)

    def cancel(self, run_ids: Iterable[str]) -> list[Answer]:
        """Cancel runs that have not ended, and say of each how it stands.

        Raises:
            UsageError: an id is no UUID.
        """
        return [
            Answer(run_id, status, status is Status.CANCELLED)
            for group in _groups(run_ids)
            for run_id, status in zip(group, self._store.cancel(group), strict=True)
        ]

    def retry(self, run_ids: Iterable[str]) -> list[Answer]:
        """Have failed runs tried again, at once and with all their attempts; say how each stands.

        The attempt number begins at 0 again, so that the waits between attempts do, too. What has
        succeeded or was cancelled stays so: submit it anew.

        Raises:
            UsageError: an id is no UUID.
        """
        return [answer for group in _groups(run_ids) for answer in self._admin.retry(group)]

    def delete(self, run_ids: Iterable[str]) -> list[Answer]:
        """Hide runs that have ended from every list and `get`, and say of each how it stands.

        One that has not ended is left as it is: cancel it first. The rows are kept, with histories
        and idempotency keys, until they are purged.

        Raises:
            UsageError: an id is no UUID.
        """
        return [answer for group in _groups(run_ids) for answer in self._admin.delete(group)]

    def stats(self) -> list[TypeStats]:
        """Return how the runs of each type stand, by type.

        Waiting and leased runs are counted one by one, on PostgreSQL in an index: less than half a
        second for a million. Those that ended lately are counted in the newest 50,000 events.
        """
        return self._admin.stats()

    def purge(
        self,
        older_than: float | timedelta,
        *,
        statuses: str | Iterable[str] = TERMINAL,
        batch: int = 500,
        on_batch: Callable[[int], None] = lambda count: None,
    ) -> int:
        """Delete runs that ended so long ago, with their histories; return how many.

        Deleted ones go as well, whatever their status. Runs that have not ended are never touched.
        With a run goes its idempotency key: a producer may then submit it once more.

        Args:
            older_than: how long ago they ended, at least; seconds or a timedelta.
            statuses: of `succeeded`, `failed` and `cancelled`, which may go; all by default.
            batch: how many runs are looked at by one statement; 500 by default. Each is followed
                by four times as long of nothing, so that workers hardly notice.
            on_batch: told after each statement how many went so far.

        Raises:
            UsageError: one of these cannot work; the message says which and why.
        """
        wanted = check_ended(statuses)
        age = check_duration(older_than, "older_than")
        limit = check_int(batch, "batch", at_least=1)
        total, after = 0, None
        while True:
            began_at = time.monotonic()
            purged = self._admin.purge(age, wanted, limit, after)
            if purged.is_busy:
                time.sleep(BUSY_PAUSE)
                continue
            total += purged.count
            on_batch(total)
            if purged.after is None:
                return total
            after = purged.after
            time.sleep(rest_after(time.monotonic() - began_at))

    def close(self) -> None:
        """Give up the connections of a store that was opened from a URL."""
        if self._is_own:
            self._store.close()


def _groups(run_ids: Iterable[str]) -> Iterator[Sequence[str]]:
    if isinstance(run_ids, str):
        raise UsageError(f"run_ids={run_ids!r} must be a list of ids")
    # All are checked before the first is changed.
    ids = [check_run_id(run_id) for run_id in run_ids]
    for start in range(0, len(ids), GROUP):
        yield ids[start : start + GROUP]
