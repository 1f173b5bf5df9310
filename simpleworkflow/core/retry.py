"""Retry law: only this module computes a delay and says when attempts are used up.

Attempts are 0-indexed, so the attempt numbered `a` that failed was the (a + 1)-th to do so.
By default the delay after the n-th failure is n² minutes plus 0 to 10 % of it at random, and a run
is `failed` once n reaches its max_attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import field, frozen

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.storable import MAX_DURATION, check_duration, shown

if TYPE_CHECKING:
    from random import Random

Curve = Callable[[int], timedelta]
"""Gives the wait after the n-th failure (n counts from 1), before jitter."""


@frozen
class Quadratic:
    """n² units."""

    unit: timedelta

    def __call__(self, n: int) -> timedelta:
        return self.unit * n**2


@frozen
class Exponential:
    """The first delay, then each `factor` times the one before."""

    first: timedelta
    factor: float

    def __call__(self, n: int) -> timedelta:
        # Nothing grows from zero, though the power alone may overflow.
        return self.first * self.factor ** (n - 1) if self.first else self.first


@frozen
class Linear:
    """n steps."""

    step: timedelta

    def __call__(self, n: int) -> timedelta:
        return self.step * n


@frozen
class Constant:
    """The same delay each time."""

    delay: timedelta

    def __call__(self, n: int) -> timedelta:
        return self.delay


def _check_jitter(_instance: object, _attribute: object, value: float) -> None:
    if not 0 <= value <= 1:
        raise UsageError(f"RetryPolicy(jitter={value!r}) must be a share from 0 to 1")


def _to_cap(value: float | timedelta | None) -> timedelta | None:
    return None if value is None else check_duration(value, "RetryPolicy(cap)")


@frozen
class RetryPolicy:
    """How long to wait before a failed run is tried again; a value, compared by its fields.

    Args:
        curve: the wait after the n-th failure (n counts from 1); n² minutes by default. Any
            function from n to a timedelta serves as a custom one.
        jitter: the largest share of that wait which is added to it at random; 0.1 by default.
        cap: the longest wait before jitter, so that capped runs still spread; none by default.
            Whatever the curve says, no wait exceeds 100 years.

    Raises:
        UsageError: the jitter is not a share, or the cap is not a positive duration.
    """

    curve: Curve = Quadratic(timedelta(minutes=1))
    jitter: float = field(default=0.1, validator=_check_jitter)
    cap: timedelta | None = field(default=None, converter=_to_cap)

    @classmethod
    def quadratic(
        cls,
        unit: float | timedelta = timedelta(minutes=1),
        *,
        jitter: float = 0.1,
        cap: float | timedelta | None = None,
    ) -> RetryPolicy:
        """Wait n² units after the n-th failure; seconds when a number is given."""
        return cls(Quadratic(_wait(unit, "quadratic(unit)")), jitter, cap)

    @classmethod
    def exponential(
        cls,
        first: float | timedelta = timedelta(seconds=1),
        *,
        factor: float = 2.0,
        jitter: float = 0.1,
        cap: float | timedelta | None = None,
    ) -> RetryPolicy:
        """Wait `first` after the first failure, then `factor` times as long after each."""
        if not 1 <= factor < float("inf"):
            raise UsageError(f"RetryPolicy.exponential(factor={factor!r}) must be 1 or more")
        return cls(Exponential(_wait(first, "exponential(first)"), factor), jitter, cap)

    @classmethod
    def linear(
        cls,
        step: float | timedelta = timedelta(minutes=1),
        *,
        jitter: float = 0.1,
        cap: float | timedelta | None = None,
    ) -> RetryPolicy:
        """Wait n steps after the n-th failure; seconds when a number is given."""
        return cls(Linear(_wait(step, "linear(step)")), jitter, cap)

    @classmethod
    def constant(
        cls, delay: float | timedelta = timedelta(minutes=1), *, jitter: float = 0.1
    ) -> RetryPolicy:
        """Wait the same after every failure; seconds when a number is given."""
        return cls(Constant(_wait(delay, "constant(delay)")), jitter)

    def delay(self, attempt: int, rng: Random) -> timedelta:
        """Return the wait after the 0-indexed `attempt` failed: min(curve(n), cap), plus jitter.

        Args:
            attempt: the number of the attempt that failed, from 0.
            rng: the source of the jitter.

        Raises:
            UsageError: the curve gave something that is not a duration of 0 or more.
        """
        longest = MAX_DURATION if self.cap is None else min(self.cap, MAX_DURATION)
        try:
            # An object until it is checked: a custom curve may give anything.
            wait: object = self.curve(attempt + 1)
        except OverflowError:
            wait = longest
        if not isinstance(wait, timedelta) or wait < timedelta(0):
            raise UsageError(
                f"RetryPolicy(curve) gave {shown(wait)} for failure {attempt + 1}: "
                "it must give a timedelta of 0 or more"
            )
        return min(min(wait, longest) * (1 + self.jitter * rng.random()), MAX_DURATION)

    @staticmethod
    def is_exhausted(attempt: int, max_attempts: int) -> bool:
        """Say whether no attempt is left once the 0-indexed `attempt` has failed."""
        return attempt + 1 >= max_attempts


def _wait(value: float | timedelta, where: str) -> timedelta:
    return check_duration(value, f"RetryPolicy.{where}", allow_zero=True)
