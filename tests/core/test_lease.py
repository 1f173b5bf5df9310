"""The lease law."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import QUICK

from simpleworkflow.core import lease
from simpleworkflow.core.errors import UsageError

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)

leases = st.timedeltas(lease.MIN_LEASE, timedelta(days=1))


@given(leases)
@QUICK
def test_two_heartbeats_may_fail_before_a_lease_runs_out(duration: timedelta) -> None:
    """The third still comes within the lease."""
    assert duration - 3 * TICK <= 3 * lease.heartbeat_interval(duration) <= duration + 3 * TICK


@given(leases)
@QUICK
def test_a_lease_runs_out_at_its_end_and_not_before(duration: timedelta) -> None:
    """At the very instant of its end others may take it over."""
    end = lease.lease_end(NOW, duration)

    assert not lease.is_expired(end, NOW)
    assert not lease.is_expired(end, end - TICK)
    assert lease.is_expired(end, end)


def test_a_lease_without_an_end_never_runs_out() -> None:
    """Rows of other programs may have none; nobody may guess one."""
    assert not lease.is_expired(None, datetime.max.replace(tzinfo=UTC))


@given(leases, leases, st.timedeltas(timedelta(0), timedelta(days=2)))
@QUICK
def test_a_renewal_never_shortens_a_lease(
    held: timedelta, duration: timedelta, passed: timedelta
) -> None:
    """It ends at the later of its own end and the new one."""
    end = lease.lease_end(NOW, held)

    renewed = lease.extended(end, NOW + passed, duration)

    assert renewed >= end
    assert renewed in (end, NOW + passed + duration)


def test_the_workers_deadline_counts_from_when_it_asked() -> None:
    """Both on its monotonic clock, so it never outlives what the store believes."""
    assert lease.deadline(100.0, timedelta(seconds=30)) == 130.0


@pytest.mark.parametrize("good", [1, 1.0, 30, timedelta(minutes=5)])
def test_a_lease_may_be_given_in_seconds_or_as_timedelta(good: Any) -> None:
    """Both mean the same."""
    expected = good if isinstance(good, timedelta) else timedelta(seconds=good)

    assert lease.check_lease(good) == expected


@pytest.mark.parametrize("bad", [0.999, 0, -1, "30", None, True, float("nan")])
def test_a_lease_too_short_to_keep_is_refused(bad: Any) -> None:
    """Before a worker starts, with the name of the argument."""
    with pytest.raises(UsageError, match="lease_duration"):
        lease.check_lease(bad)
