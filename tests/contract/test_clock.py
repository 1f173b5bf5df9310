"""FakeClock: the time of every law."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from simpleworkflow.core.errors import UsageError
from simpleworkflow.testing import FakeClock


def test_time_stands_still_until_it_is_moved() -> None:
    """Every reading is the same, in UTC."""
    clock = FakeClock()

    assert clock() == clock() == datetime(2030, 1, 1, tzinfo=UTC)
    assert clock().tzinfo is UTC


def test_time_moves_by_seconds_or_a_timedelta() -> None:
    """And the new instant is told."""
    clock = FakeClock(datetime(2031, 1, 1, tzinfo=timezone(timedelta(hours=1))))

    assert clock.advance(1.5) == datetime(2030, 12, 31, 23, 0, 1, 500_000, tzinfo=UTC)
    assert clock.advance(timedelta(minutes=1)) == clock()
    assert repr(clock) == "FakeClock(2030-12-31T23:01:01.500000+00:00)"


@pytest.mark.parametrize("bad", [-1, "5", None, timedelta(microseconds=-1)])
def test_time_does_not_run_backwards(bad: Any) -> None:
    """Nor by something that is no duration."""
    with pytest.raises(UsageError, match="advance"):
        FakeClock().advance(bad)


def test_a_start_without_a_zone_is_refused() -> None:
    """It would be another instant on another machine."""
    with pytest.raises(UsageError, match="start"):
        FakeClock(datetime(2030, 1, 1))


def test_threads_move_it_together() -> None:
    """No step is lost."""
    clock = FakeClock()
    before = clock()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(clock.advance, [0.001] * 800))

    assert clock() - before == timedelta(milliseconds=800)
