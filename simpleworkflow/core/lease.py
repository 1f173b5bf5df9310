"""Lease law: only this module does arithmetic on leases.

A lease is the right to execute a run until a time by the store's clock. The worker's own view of it
is a deadline on its monotonic clock that starts before the claim is sent, so it never outlives the
store's view.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.storable import check_duration

BEATS_PER_LEASE = 3
"""Two beats may fail before a lease runs out."""

MIN_LEASE = timedelta(seconds=1)
"""Below it, one slow round trip or a busy processor would cost a healthy worker its runs."""


def check_lease(value: float | timedelta) -> timedelta:
    """Return `value` (seconds or timedelta) as a lease that heartbeats can keep.

    Raises:
        UsageError: it is not a duration, or shorter than MIN_LEASE.
    """
    lease = check_duration(value, "lease_duration")
    if lease < MIN_LEASE:
        raise UsageError(
            f"lease_duration={value!r} is shorter than heartbeats can keep: "
            f"give at least {MIN_LEASE.total_seconds():g} second"
        )
    return lease


def heartbeat_interval(lease: timedelta) -> timedelta:
    """Return how often a lease is renewed: a third of it."""
    return lease / BEATS_PER_LEASE


def deadline(asked_at: float, lease: timedelta) -> float:
    """Return when a lease asked for at `asked_at` ends, both on one monotonic clock, in seconds."""
    return asked_at + lease.total_seconds()


def lease_end(now: datetime, lease: timedelta) -> datetime:
    """Return until when a lease taken now holds, by the store's clock."""
    return now + lease


def extended(lease_until: datetime, now: datetime, duration: timedelta) -> datetime:
    """Return the end of a renewed lease: a renewal never shortens it."""
    return max(lease_until, now + duration)


def is_expired(lease_until: datetime | None, now: datetime) -> bool:
    """Say whether others may take over a lease; one without an end never runs out."""
    return lease_until is not None and lease_until <= now
