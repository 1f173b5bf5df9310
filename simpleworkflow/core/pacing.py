"""Pacing law: only this module says how many runs to claim and how long to pause.

A worker claims what will start soon: its free slots, and as many more as its average execution
time lets it start within a small horizon. Ten-millisecond runs therefore come by the hundred, and a
ten-minute run never waits in the pocket of a busy worker while another worker is idle.

A crash counts as an attempt of all runs that the worker had, for nobody can tell which of them was
its cause. Runs that were in one are therefore claimed for free slots only: those that are innocent
do not wait beside the culprit again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from random import Random

MAX_BATCH = 1_000
"""Most runs in one claim: more gain nothing, and hold more rows locked."""

MAX_HELD = 4 * MAX_BATCH
"""Most runs a worker holds, those that wait to be settled included: a store that takes no outcomes
is given no more runs to lose."""

LEASE_SHARE = 0.05
MAX_HORIZON = 0.5
"""Claimed runs should start within this share of the lease, and within this many seconds."""

PATIENCE = 4
"""Horizons after which a claimed run that has not started is given back."""

_WEIGHT = 0.05
"""How much one run counts in the moving average: about the last forty decide."""

WARY_CLAIMS = 10
"""Claims without a run that was in a crash, after which more are claimed than can start at once."""

_GROWTH = 8
"""How many runs may wait for each that was seen: after one quick run, a pocket of eight."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
"""Seconds a worker pauses after the first failed poll, and at most."""

FIRST_LOOK = 0.01
LONGEST_LOOK = 1.0
"""Seconds after which a client first looks whether a run has ended, and between looks at most."""

LOOK_SHARE = 0.2
"""How late an answer may come, as a share of the time that was waited for it."""


LOOK_EVERY, LOOK_REST, LOOK_REST_OF_EACH = 15.0, 100, 10
"""Seconds from one look at what waits in the store to the next, at least; and how many times as
long as the look took, at least and for each worker at work: one never spends more than a hundredth
of its time on it, and all of them together no more than a tenth of a connection's."""


@frozen
class Pacing:
    """What a worker knows when it decides how many runs to claim.

    Args:
        concurrency: how many executors run at once.
        lease: how long a claim holds.
        average: the moving average of execution times, in seconds; None before the first run.
        seen: how many runs that average is of. Only a few times as many may wait, so that one quick
            run at the start does not fill a pocket while other workers are idle.
        wary: for how many more claims nothing is claimed that cannot start at once.
    """

    concurrency: int
    lease: timedelta
    average: float | None = None
    seen: int = 0
    wary: int = 0

    @property
    def horizon(self) -> float:
        """Seconds within which a claimed run should start."""
        return min(MAX_HORIZON, LEASE_SHARE * self.lease.total_seconds())

    @property
    def patience(self) -> float:
        """Seconds after which a claimed run that has not started is given back."""
        return PATIENCE * self.horizon

    def after(self, seconds: float, runs: int = 1) -> Pacing:
        """Return what is known after so many more runs took `seconds` each, on average."""
        average = seconds
        if self.average is not None:
            average += (1 - _WEIGHT) ** runs * (self.average - seconds)
        return Pacing(self.concurrency, self.lease, average, self.seen + runs, self.wary)

    def at_least(self, seconds: float) -> Pacing:
        """Return what is known once a run has taken `seconds` and is not done."""
        average = max(seconds, self.average or 0.0)
        return Pacing(self.concurrency, self.lease, average, self.seen, self.wary)

    def after_claim(self, has_crashed: bool) -> Pacing:
        """Return what is known after a claim: whether a run of it was in a crash."""
        wary = WARY_CLAIMS if has_crashed else max(0, self.wary - 1)
        return Pacing(self.concurrency, self.lease, self.average, self.seen, wary)

    def pocket(self) -> int:
        """Return how many claimed runs may wait for a slot."""
        if self.average is None or self.wary:
            return 0
        soon = int(self.horizon * self.concurrency / max(self.average, 1e-9))
        return min(MAX_BATCH, _GROWTH * self.seen, soon)

    def claim_size(self, waiting: int, free_slots: int) -> int:
        """Return how many runs to claim next; 0 while enough are waiting.

        Args:
            waiting: claimed runs that have not started.
            free_slots: executors that are idle.

        The pocket is refilled when it is half empty, so that claims stay few and large.
        """
        wanted = free_slots + self.pocket() - waiting
        if waiting > free_slots + self.refill_mark():
            return 0
        return max(0, min(MAX_BATCH, wanted))

    def refill_mark(self) -> int:
        """Return how many waiting runs are few enough to claim more, while no slot is free."""
        return self.pocket() // 2


def pause_after_failures(failures: int, rng: Random) -> float:
    """Return the seconds to wait after this many failed polls in a row.

    Doubles from FIRST_PAUSE up to LONGEST_PAUSE, of which a random half is left out, so that
    workers that lost one server do not return to it all at once.
    """
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 30))
    return longest * (0.5 + 0.5 * rng.random())


def pause_of_wait(waited: float) -> float:
    """Return the seconds until one looks again whether a run has ended, after waiting so many.

    LOOK_SHARE of what was waited, from FIRST_LOOK to LONGEST_LOOK: short runs are noticed quickly,
    and long ones are asked for rarely.
    """
    return min(LONGEST_LOOK, max(FIRST_LOOK, LOOK_SHARE * waited))


def rest_of_look(seconds: float, workers: int = 1) -> float:
    """Return the seconds until a worker looks again at what waits, after a look of so many.

    Args:
        seconds: how long the look took.
        workers: how many workers are at work, each of which looks.
    """
    return max(LOOK_EVERY, seconds * max(LOOK_REST, LOOK_REST_OF_EACH * workers))
