"""Health law: only this module says for how long a worker counts as ready without a sign of life.

A worker is ready while its last answered poll and its last answered heartbeat are recent. A poll
that is not sent, because no slot is free, counts as answered: the worker would not ask for more.
"""

from __future__ import annotations

from datetime import timedelta

POLLS = 3
"""Polls in a row that may go unanswered."""

SLACK = 15.0
"""Seconds more that a poll may take: a busy store, or one that another server takes over from."""


def ready_for(
    since_poll: float | None, since_heartbeat: float, poll_interval: float, lease: timedelta
) -> float:
    """Return for how many seconds more a worker counts as ready; 0 when it does not.

    Args:
        since_poll: seconds since a poll was answered; None when none was so far.
        since_heartbeat: seconds since a heartbeat was answered, or since the start.
        poll_interval: seconds between the polls of an idle worker.
        lease: how long a claim holds. Without a heartbeat for so long, runs are lost.
    """
    if since_poll is None:
        return 0.0
    left = min(POLLS * poll_interval + SLACK - since_poll, lease.total_seconds() - since_heartbeat)
    return max(0.0, left)
