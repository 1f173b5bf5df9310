"""What operators mean, in which order they see it, and what may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import A_RUN_ID, QUICK

from simpleworkflow.core.admin import (
    HOUR,
    MINUTE,
    RunFilter,
    begins_with_time,
    check_ended,
    check_statuses,
    estimate,
    ids_below,
    is_purgeable,
    new_filter,
    others_below,
    pass_interval,
    place_of,
    rest_after,
)
from simpleworkflow.core.errors import InvalidPattern, UsageError
from simpleworkflow.core.records import Run
from simpleworkflow.core.states import TERMINAL, Status

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)

A_RUN = Run(
    id=A_RUN_ID,
    type="billing.invoice.v1",
    status=Status.LEASED,
    payload_json="{}",
    priority=100,
    run_at=NOW,
    attempt=1,
    max_attempts=3,
    idempotency_key="invoice-7",
    leased_by="worker-1",
    lease_until=NOW,
    fence=2,
    last_error="ValueError: Boom",
    result_json=None,
    headers_json=None,
    created_at=NOW - MINUTE,
    updated_at=NOW,
)

# Filters


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"types": "billing.%"},
        {"types": ["other", "billing.invoice.v1"]},
        {"statuses": "leased"},
        {"statuses": [Status.FAILED, "leased"]},
        {"older_than": 60},
        {"newer_than": 60.1},
        {"error": "boom"},
        {"error": "VALUEERROR: B"},
        {"worker_id": "worker-1"},
        {"idempotency_key": "invoice-7"},
    ],
)
def test_a_filter_means_a_run(given: dict[str, object]) -> None:
    """All that is asked holds of it."""
    assert new_filter(**given).matches(A_RUN, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        {"types": "billing"},
        {"statuses": ["failed"]},
        {"older_than": 60.1},
        {"newer_than": 60},
        {"error": "bang"},
        {"worker_id": "worker-2"},
        {"worker_id": "worker-1", "statuses": "failed"},
        {"idempotency_key": "invoice-8"},
    ],
)
def test_a_filter_does_not_mean_a_run(given: dict[str, object]) -> None:
    """Something that is asked does not hold of it."""
    assert not new_filter(**given).matches(A_RUN, NOW)  # type: ignore[arg-type]


def test_an_error_is_not_looked_for_where_there_is_none() -> None:
    """A run without an error has no part of one."""
    assert not new_filter(error="n").matches(attrs.evolve(A_RUN, last_error=None), NOW)


def test_a_filter_of_nothing_means_every_run() -> None:
    """What is left out leaves all in."""
    assert new_filter() == RunFilter()
    assert RunFilter().statuses == set(Status)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"types": []}, "types="),
        ({"types": 5}, "types=5 must be patterns"),
        ({"types": "a%b"}, "misplaced"),
        ({"statuses": []}, r"statuses=\[\] must be some of pending, leased"),
        ({"statuses": "done"}, "statuses='done' must be some of"),
        ({"statuses": 5}, "statuses=5 must be"),
        ({"older_than": -1}, "older_than=-1"),
        ({"newer_than": 0}, "newer_than=0"),
        ({"error": ""}, "error='' must be text"),
        ({"error": 5}, "error=5 must be text"),
        ({"error": "a\0"}, "NUL"),
        ({"worker_id": ""}, "worker_id="),
        ({"idempotency_key": ""}, "idempotency_key="),
    ],
)
def test_what_can_mean_no_run_is_refused(given: dict[str, object], says: str) -> None:
    """By its name, in one sentence."""
    with pytest.raises(UsageError, match=says):
        new_filter(**given)  # type: ignore[arg-type]


def test_a_bad_pattern_is_refused_as_everywhere() -> None:
    """The rule is that of routing."""
    with pytest.raises(InvalidPattern):
        new_filter(types=["%%"])


def test_only_statuses_of_ended_runs_may_be_purged() -> None:
    """One alone or several."""
    assert check_ended("failed") == {Status.FAILED}
    assert check_ended(TERMINAL) == TERMINAL
    assert check_statuses(Status) == set(Status)
    with pytest.raises(UsageError, match="must be some of cancelled, failed, succeeded: what has"):
        check_ended(["failed", "leased"])


# The order of lists

milliseconds = st.integers(0, 3)
"""Few moments, so that many runs are of one."""


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Runs of both kinds of ids, of nearly one moment."""
    digits = draw(st.sampled_from(["000000000000", "ffffffffffff", "000000000002"]))
    at = draw(st.integers(0, 3_000))
    if draw(st.booleans()):
        return at_time(draw(milliseconds), draw(st.sampled_from("0f")), at)
    id_ = f"{digits[:8]}-{digits[8:]}-4{draw(st.sampled_from('0f'))}00-8000-000000000000"
    return attrs.evolve(A_RUN, id=id_, created_at=microsecond(at))


def at_time(milliseconds: int, digit: str, at: int = 0) -> Run:
    """A run whose id begins with a time, whenever it was created."""
    time = f"{milliseconds:012x}"
    id_ = f"{time[:8]}-{time[8:]}-7{digit}00-8000-000000000000"
    return attrs.evolve(A_RUN, id=id_, created_at=microsecond(at))


def microsecond(at: int) -> datetime:
    """So many microseconds after the beginning of all time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + at * TICK


@given(runs(), runs())
@QUICK
def test_what_comes_after_a_run_is_what_lies_below_its_bounds(one: Run, after: Run) -> None:
    """For both kinds of ids: stores compare by these, and agree with the order."""
    comes_later = place_of(one) < place_of(after)

    if begins_with_time(one.id):
        assert (one.id < ids_below(after)) is comes_later
    else:
        at, id_ = others_below(after)
        assert at is not None
        assert ((one.created_at, one.id) < (at, id_)) is comes_later


def test_all_comes_after_none() -> None:
    """The first page begins at the top."""
    assert ids_below(None) > "019abcde-f012-7000-8000-000000000000"
    assert others_below(None)[0] is None


def test_only_version_7_begins_with_the_time() -> None:
    """Random ids say nothing of their age."""
    assert begins_with_time("01919d3c-5a8e-7a9b-8f43-0d8a4c6d2f10")
    assert not begins_with_time(str(UUID(int=7, version=4)))
    assert place_of(at_time(5, "0"))[0] == 5_000


def test_no_id_tells_of_a_time_after_2100() -> None:
    """It is one of the others then, wherever its producer's clock has been."""
    end = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1_000)
    late = at_time(end, "0", 7)

    assert begins_with_time(at_time(end - 1, "f").id)
    assert not begins_with_time(late.id)
    assert place_of(late) == (7, late.id)
    late = attrs.evolve(A_RUN, created_at=datetime(2100, 1, 2, tzinfo=UTC))
    assert ids_below(late) == ids_below(None)


# Purging


def purgeable(status: Status, ended: timedelta, deleted: timedelta | None = None) -> bool:
    """Whether a run that ended, and was deleted, so long ago may go after a day."""
    return is_purgeable(
        status,
        NOW - ended,
        None if deleted is None else NOW - deleted,
        statuses=frozenset({Status.FAILED}),
        older_than=DAY,
        now=NOW,
    )


def test_what_ended_long_ago_may_go() -> None:
    """In one of the statuses asked for, and not a moment too early."""
    assert purgeable(Status.FAILED, DAY + TICK)
    assert not purgeable(Status.FAILED, DAY)
    assert not purgeable(Status.SUCCEEDED, 2 * DAY)
    assert not purgeable(Status.LEASED, 2 * DAY)


def test_what_was_deleted_long_ago_may_go() -> None:
    """Whatever its status, if nothing has happened to it since."""
    assert purgeable(Status.PENDING, 3 * DAY, 2 * DAY)
    assert not purgeable(Status.PENDING, 3 * DAY, DAY)
    assert not purgeable(Status.LEASED, MINUTE, 2 * DAY)


def test_old_runs_are_looked_for_ten_times_while_they_are_kept() -> None:
    """And at least once an hour, at most once a second."""
    assert pass_interval(TICK) == timedelta(seconds=1)
    assert pass_interval(10 * MINUTE) == MINUTE
    assert pass_interval(30 * DAY) == HOUR


def test_a_purge_rests_four_fifths_of_the_time() -> None:
    """So it takes no more of the database than that."""
    assert rest_after(0.5) == 2


# Estimates


@given(st.integers(0, 10**6), st.none() | st.timedeltas(HOUR, 2 * HOUR))
@QUICK
def test_what_was_seen_as_a_whole_is_no_estimate(count: int, seen: timedelta | None) -> None:
    """It is counted."""
    assert estimate(count, HOUR, seen) == count


def test_what_was_seen_in_part_is_taken_for_the_whole() -> None:
    """Ten in a minute are six hundred in an hour."""
    assert estimate(10, HOUR, MINUTE) == 600
    assert estimate(0, HOUR, timedelta(0)) == 0
    assert estimate(3, MINUTE, timedelta(0)) > 3
