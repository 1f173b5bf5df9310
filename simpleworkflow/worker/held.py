"""The runs a worker holds, from claim to settlement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from simpleworkflow.core.records import Claim


class Keeper(Protocol):
    """Who keeps the leases of held runs: the heartbeat."""

    def renew(self, held: HeldRun, duration: timedelta) -> None:
        """Extend a lease on behalf of its executor."""
        ...

    def is_cancelled(self, held: HeldRun) -> bool:
        """Say whether its executor should stop."""
        ...


class HeldRun:
    """A claimed run on its way through a worker; to its executor, the lease it works under.

    Attributes:
        claim: the proof of the lease.
        deadline: when the lease ends at the latest, on the worker's monotonic clock.
        checked_at: when the store was last known to agree that it is held.
        must_end_at: when its executor is out of time; None while it does not run, or has no limit.
        is_lost: someone else has it, or it was given up.
        was_cancelled: the run was cancelled.
        is_started: its executor was called.
    """

    # Defaults of the class, so that making one, which every run does, sets little.
    must_end_at: float | None = None
    is_lost = False
    was_cancelled = False
    is_started = False

    def __init__(self, claim: Claim, keeper: Keeper, asked_at: float, deadline: float) -> None:
        self.claim = claim
        self.deadline = deadline
        self.checked_at = asked_at
        self._keeper = keeper
        self._is_undecided = True

    def renew(self, duration: timedelta) -> None:
        """See run.Lease."""
        self._keeper.renew(self, duration)

    def is_cancelled(self) -> bool:
        """See run.Lease."""
        return self._keeper.is_cancelled(self)

    def decide_once(self) -> bool:
        """Return True to the first caller alone: it is the one who says how the run ended."""
        # To delete is atomic: the executor, its time limit and a shutdown need no lock to race.
        try:
            del self._is_undecided
        except AttributeError:
            return False
        return True

    def is_over(self) -> bool:
        """Say whether its executor's work is of no more use."""
        return self.is_lost or self.was_cancelled

    @property
    def is_decided(self) -> bool:
        """Whether someone has said how the run ended."""
        return not hasattr(self, "_is_undecided")


class HeldRuns:
    """The set of held runs, in the order of their claims; every method is atomic."""

    def __init__(self) -> None:
        self._runs: dict[HeldRun, None] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, runs: Iterable[HeldRun]) -> None:
        """Hold these runs."""
        self._runs.update(dict.fromkeys(runs))

    def drop(self, held: HeldRun) -> None:
        """Hold it no longer."""
        self._runs.pop(held, None)

    def all(self) -> Sequence[HeldRun]:
        """Return those that are held now."""
        return list(self._runs)

    def undecided(self) -> Sequence[HeldRun]:
        """Return those of which nobody has said how they ended."""
        return [held for held in self.all() if not held.is_decided]
