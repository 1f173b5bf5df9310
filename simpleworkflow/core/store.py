"""The seam: what a worker and a client ask of a store, and nothing of how it is kept.

A store speaks of runs, never of SQL. Every method is safe to call from several threads, takes and
gives batches, and answers in the order it was asked. Time is the store's own: durations cross this
seam, and the store makes instants of them. Every method may raise a StoreError; "none" is never an
answer for "failed".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol, runtime_checkable

from simpleworkflow.core.admin import Answer, Purged, RunFilter, TypeStats
from simpleworkflow.core.doctor import Finding
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
)
from simpleworkflow.core.roster import Announcement, Worker
from simpleworkflow.core.routing import Route
from simpleworkflow.core.schedule import DueSchedules, Firing, Schedule
from simpleworkflow.core.states import Status


@runtime_checkable
class Store(Protocol):
    """Holds runs; the only thing a worker and a client talk to."""

    def submit(self, runs: Sequence[NewRun]) -> list[Submitted]:
        """Create these runs and their `created` events, all of them or none.

        A run whose idempotency key or id is taken is not created again: the answer names the
        existing one.
        """
        ...

    def claim(self, route: Route, limit: int, worker_id: str, lease: timedelta) -> list[Claim]:
        """Lease up to `limit` due runs of the route, the first by (priority, run_at, created_at).

        Each gets a fence greater than any before it and a `leased` event. Runs that another worker
        is claiming at this moment are passed over, so two claimers never get the same run.
        """
        ...

    def extend(self, extensions: Sequence[Extension]) -> list[Hold]:
        """Renew leases that are still held, and say of each how it stands.

        A renewal never shortens a lease. An expired one that nobody took over is still held. A
        claim stands in a group once.
        """
        ...

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Write the outcome of claimed runs, each with its event, if its claim is the current one.

        The same settlement may be sent again when its reply was lost: it is APPLIED, once.
        One that is refused, or that the store cannot hold, harms no other of the group.
        """
        ...

    def rescue(self, route: Route, limit: int, worker_id: str, lease: timedelta) -> list[Rescued]:
        """Take over up to `limit` expired leases of the route, each with a `rescued` event.

        The caller now holds them and settles them as crashed.
        """
        ...

    def cancel(self, run_ids: Sequence[str]) -> list[Status | None]:
        """Cancel runs that have not ended, and say the status of each afterwards; None is unknown.

        A leased run's worker learns of it by its next extension.
        """
        ...

    def get(self, run_id: str) -> Run | None:
        """Return the run, or None when there is none or it was deleted."""
        ...

    def close(self) -> None:
        """Give up connections; any later use raises StoreClosed. Closing twice does nothing."""
        ...


@runtime_checkable
class RunReader(Protocol):
    """Reads what workers never need."""

    def events(self, run_id: str) -> list[Event]:
        """Return the history of a run, oldest first; empty when there is no such run."""
        ...

    def runs(self, route: Route, limit: int) -> list[Run]:
        """Return up to `limit` runs of the route, in any status, the newest first, then by id.

        Deleted ones are left out.
        """
        ...


@runtime_checkable
class JoinsTransactions(Protocol):
    """A store that creates runs in a transaction of the caller's."""

    def submit_on(self, connection: object, runs: Sequence[NewRun]) -> list[Submitted]:
        """Do as `submit` does, by a connection of the caller's and nothing else.

        The runs are there, and idle workers told, once the caller commits; never, if he does not.
        What fails here leaves his transaction as any statement of his own would that fails.

        Raises:
            UsageError: the connection is none that the store can use, or not in this state.
        """
        ...


@runtime_checkable
class RunAdmin(Protocol):
    """Does what operators ask for, beside what workers do."""

    def find(self, wanted: RunFilter, limit: int, after: Run | None) -> list[Run]:
        """Return up to `limit` runs that are meant, the newest first, those after `after`.

        The order is `core.admin.place_of`. Deleted ones are left out.
        """
        ...

    def retry(self, run_ids: Sequence[str]) -> list[Answer]:
        """Make failed runs pending and due, at attempt 0 again, each with a `retried` event.

        Its data say `"by": "operator"`, and the attempt number that the run had come to. The fence
        grows, so that no settlement of an earlier claim is taken, nor said to be applied.
        """
        ...

    def delete(self, run_ids: Sequence[str]) -> list[Answer]:
        """Hide runs that have ended from every list, claim and `get`; keys and histories stay."""
        ...

    def stats(self) -> list[TypeStats]:
        """Return how the runs of each type stand, by type: of those with any at all to tell of."""
        ...

    def purge(
        self, older_than: timedelta, statuses: frozenset[Status], limit: int, after: str | None
    ) -> Purged:
        """Look at up to `limit` runs whose id is greater than `after`, and delete the old ones.

        They go with their histories and keys, if `core.admin.is_purgeable` says so. One that
        somebody else has locked at the moment is passed over, as is one whose id says that it
        cannot be old enough. Only one purge of a store is at work at a time.
        """
        ...


class Bell(Protocol):
    """What wakes a worker that waits for runs: rung by any thread, waited for by one."""

    def ring(self) -> None:
        """Wake who waits, or the next one that does."""
        ...

    def wait(self, seconds: float, *, also: int | None = None) -> bool:
        """Wait until it rings, or the file number `also` can be read; say whether that can."""
        ...


@runtime_checkable
class Wakeups(Protocol):
    """A store that can say at once that there are new runs. It is a hint, never a promise."""

    def wait_for_runs(self, bell: Bell, seconds: float) -> None:
        """Return when the bell rings or `seconds` are over; ring it when there may be a new run.

        Runs submitted since the last call end the next one at once, so that a worker which claims,
        finds nothing and calls this misses none.
        """
        ...


@runtime_checkable
class KeyScopes(Protocol):
    """A store whose `submit` minds `NewRun.key_scope`; in any other, keys hold for ever.

    There, a run whose key is held by one whose scope has ended (`core.keys`) is created, and takes
    the key over, in one step with the submit. The run that had it is otherwise left as it was, and
    still shows the key that it was submitted with.
    """

    minds_key_scopes: Literal[True]


@runtime_checkable
class Endings(Protocol):
    """A store in which one can wait for a run to end."""

    def wait_for_end(self, run_id: str, seconds: float) -> None:
        """Return when the run has ended or is not there, or `seconds` are over.

        They may be infinite, and are the caller's own: no clock that a test moves counts them.
        """
        ...


@runtime_checkable
class ScheduleStore(Protocol):
    """Keeps schedules, for clients who manage and tickers who fire them."""

    def now(self) -> datetime:
        """Return the present instant, in UTC."""
        ...

    def schedules(self, schedule_id: str | None = None) -> list[Schedule]:
        """Return the schedules that were not deleted, the oldest first; or only the one named."""
        ...

    def add_schedule(self, schedule: Schedule) -> None:
        """Create a schedule as it is given, but for its times of creation and change."""
        ...

    def change_schedule(self, seen: Schedule, wanted: Schedule) -> bool:
        """Make a schedule as it is wanted, if it is still as it was seen; say whether it was.

        Its id, its last firing and its time of creation stay as they are.
        """
        ...

    def delete_schedule(self, schedule_id: str) -> bool:
        """Hide a schedule for good; say whether it was there."""
        ...

    def due_schedules(self, limit: int) -> DueSchedules:
        """Return up to `limit` schedules that are due now, and when the next one is."""
        ...

    def fire_schedules(self, firings: Sequence[Firing]) -> int:
        """Submit a run for each instant and move its schedule on; return how many were created.

        A schedule that is no longer as it was seen, or that another ticker is firing, is passed
        over. A run whose key is taken exists already, and is not created again.
        """
        ...


@runtime_checkable
class Migratable(Protocol):
    """A store whose tables are made and changed by migrations."""

    def check_schema(self) -> None:
        """Return if the tables are there and no older than this library.

        Raises:
            SchemaNotReady: they are not; the message names the command that makes them.
        """
        ...

    def migrate(self) -> list[str]:
        """Create or update the tables; safe to run by many at once. Return what was applied."""
        ...

    def pending_migrations(self) -> list[tuple[str, str]]:
        """Return the (name, SQL) of what `migrate` would apply now, in order."""
        ...


@runtime_checkable
class Roster(Protocol):
    """A store that knows which workers are at work. People look at it; no run depends on it."""

    def announce(self, announcement: Announcement) -> None:
        """Note that a worker is at work now, and remove others that `core.roster` forgets."""
        ...

    def retire(self, id: str) -> None:
        """Remove the worker that announced itself by this id, if it is there."""
        ...

    def workers(self) -> list[Worker]:
        """Return those that announced themselves and were not removed, the longest at work first,
        then by id.
        """
        ...


@runtime_checkable
class Examinable(Protocol):
    """A store that can say how it is."""

    def examine(self) -> list[Finding]:
        """Return one finding for each thing that was looked at, healthy or not; change nothing.

        Without anything that could be unhealthy, it is an empty list.
        """
        ...
