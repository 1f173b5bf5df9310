"""The runs a worker holds, from claim to settlement."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from simpleworkflow.core.records import Claim


class HeldRun:
    """A claimed run on its way through a worker.

    Attributes:
        claim: the proof of the lease.
        deadline: when the lease ends at the latest, on the worker's monotonic clock.
        checked_at: when the store was last known to agree that it is held.
        must_end_at: when its executor is out of time; None while it does not run, or has no limit.
        is_lost: someone else has it, or it was given up.
        is_cancelled: the run was cancelled.
        is_started: its executor was called.
    """

    __slots__ = (
        "_is_decided",
        "checked_at",
        "claim",
        "deadline",
        "is_cancelled",
        "is_lost",
        "is_started",
        "must_end_at",
    )

    def __init__(self, claim: Claim, asked_at: float, deadline: float) -> None:
        self.claim = claim
        self.deadline = deadline
        self.checked_at = asked_at
        self.must_end_at: float | None = None
        self.is_lost = False
        self.is_cancelled = False
        self.is_started = False
        self._is_decided = [False]

    def decide_once(self) -> bool:
        """Return True to the first caller alone: it is the one who says how the run ended."""
        # pop is atomic, so the executor, its time limit and a shutdown need no lock to race.
        try:
            self._is_decided.pop()
        except IndexError:
            return False
        return True

    def is_over(self) -> bool:
        """Say whether its executor's work is of no more use."""
        return self.is_lost or self.is_cancelled

    @property
    def is_decided(self) -> bool:
        """Whether someone has said how the run ended."""
        return not self._is_decided


class HeldRuns:
    """The set of held runs; every method is atomic."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int], HeldRun] = {}
        self._empty = threading.Condition()

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, held: HeldRun) -> None:
        """Hold a run."""
        self._runs[held.claim.run_id, held.claim.fence] = held

    def drop(self, held: HeldRun) -> None:
        """Hold it no longer."""
        self._runs.pop((held.claim.run_id, held.claim.fence), None)

    def all(self) -> Sequence[HeldRun]:
        """Return those that are held now."""
        return list(self._runs.values())

    def undecided(self) -> Sequence[HeldRun]:
        """Return those of which nobody has said how they ended."""
        return [held for held in self.all() if not held.is_decided]
