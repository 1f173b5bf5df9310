"""Roster law: only this module says when a worker counts as alive, and when it is forgotten.

A worker announces itself when it starts and again and again, and takes its leave when it stops. No
lease hangs on that: it tells people who is at work, and which types somebody serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from attrs import frozen

from simpleworkflow.core.routing import Route

ANNOUNCE_EVERY = timedelta(seconds=30)
"""How often a worker announces itself, busy or idle."""

ALIVE_FOR = 3 * ANNOUNCE_EVERY
"""Two announcements may be missed; a worker that is silent for longer has vanished."""

UNSERVED = timedelta(minutes=1)
"""A due run that waits for so long is not about to be claimed by a program we know nothing of."""

KEPT_FOR = timedelta(hours=1)
"""One that vanished is shown for so long; then the next announcement of another removes it."""


@frozen
class Announcement:
    """What a worker says of itself.

    Args:
        id: of one life of a worker, from start to stop; a UUID as text.
        worker_id: the worker's name, which several may share.
        hostname: where it runs.
        pid: the number of its process there.
        version: of this library.
        patterns: which types it claims.
        concurrency: how many runs it executes at once.
        clock: what time it is by its own clock.
    """

    id: str
    worker_id: str
    hostname: str
    pid: int
    version: str
    patterns: tuple[str, ...]
    concurrency: int
    clock: datetime


@frozen
class Worker:
    """A worker as the roster shows it.

    Args:
        id, worker_id, hostname, pid, version, patterns, concurrency: as it announced them last.
        started_at: when it announced itself for the first time, by the store's clock.
        seen_at: when it did so last.
        silence: how long ago that was.
        skew: by how much its clock was ahead of the store's then; negative when it was behind. The
            way of the announcement to the store counts as behind.
    """

    id: str
    worker_id: str
    hostname: str
    pid: int
    version: str
    patterns: tuple[str, ...]
    concurrency: int
    started_at: datetime
    seen_at: datetime
    silence: timedelta
    skew: timedelta

    @property
    def is_alive(self) -> bool:
        """Whether it announced itself lately."""
        return self.silence <= ALIVE_FOR


def is_forgotten(seen_at: datetime, now: datetime) -> bool:
    """Say whether a worker that was last seen then is to be removed."""
    return now - seen_at > KEPT_FOR


def route_of(workers: Iterable[Worker]) -> Route:
    """Return which types the living among these workers serve, taken together."""
    return Route.of(p for worker in workers if worker.is_alive for p in worker.patterns)


def unserved(due: Mapping[str, timedelta], workers: Iterable[Worker]) -> list[str]:
    """Return the types whose runs wait for want of a worker.

    Args:
        due: by type, how long the first of its due runs has waited.
        workers: those that announced themselves. Workers of other libraries do not.
    """
    served = route_of(workers)
    return [t for t, waited in due.items() if waited >= UNSERVED and not served.matches(t)]
