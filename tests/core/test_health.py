"""The health law."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import QUICK

from simpleworkflow.core.health import POLLS, SLACK, ready_for
from simpleworkflow.core.pacing import LONGEST_PAUSE

LEASE = timedelta(seconds=30)

ages = st.floats(0, 10**6)
intervals = st.floats(0.001, 10**5)
leases = st.timedeltas(timedelta(seconds=1), timedelta(days=1))


@pytest.mark.parametrize(
    ("since_poll", "since_heartbeat", "seconds"),
    [
        (None, 0, 0),
        (None, 100, 0),
        (0, 0, 21),
        (1, 0, 20),
        (20, 0, 1),
        (21, 0, 0),
        (1000, 0, 0),
        (0, 9, 21),
        (0, 10, 20),
        (0, 29, 1),
        (0, 30, 0),
        (0, 1000, 0),
        (1000, 1000, 0),
    ],
)
def test_a_worker_is_ready_while_both_signs_of_life_are_recent(
    since_poll: float | None, since_heartbeat: float, seconds: float
) -> None:
    """Polls every 2 s may be missing for 21 s, heartbeats for a lease of 30; the first decides."""
    assert (POLLS, SLACK) == (3, 15)
    assert ready_for(since_poll, since_heartbeat, 2, LEASE) == seconds


def test_a_poll_that_failed_once_is_no_alarm() -> None:
    """The longest pause after failures fits into what a poll may take more."""
    assert SLACK > LONGEST_PAUSE


@given(ages, ages, intervals, leases)
@QUICK
def test_readiness_is_never_negative_nor_longer_than_a_lease(
    since_poll: float, since_heartbeat: float, interval: float, lease: timedelta
) -> None:
    """A worker that has just been heard of is ready; beyond its lease it would lose its runs."""
    assert 0 <= ready_for(since_poll, since_heartbeat, interval, lease) <= lease.total_seconds()
    assert ready_for(0, 0, interval, lease) > 0


@given(ages, ages, intervals, leases, ages)
@QUICK
def test_readiness_passes_with_time(
    since_poll: float, since_heartbeat: float, interval: float, lease: timedelta, later: float
) -> None:
    """What is said now tells what would be said later, if nothing more were heard."""
    now = ready_for(since_poll, since_heartbeat, interval, lease)
    then = ready_for(since_poll + later, since_heartbeat + later, interval, lease)

    assert then == pytest.approx(max(0.0, now - later), abs=1e-6)
