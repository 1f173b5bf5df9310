"""The pacing law."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import QUICK

from simpleworkflow.core.pacing import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LOOK_EVERY,
    LOOK_REST,
    MAX_BATCH,
    PATIENCE,
    WARY_CLAIMS,
    Pacing,
    pause_after_failures,
    pause_of_wait,
    rest_of_look,
)

HALF_MINUTE = timedelta(seconds=30)

pacings = st.builds(
    Pacing,
    st.integers(1, 64),
    st.timedeltas(timedelta(seconds=1), timedelta(hours=1)),
    st.none() | st.floats(0, 1000),
)
counts = st.integers(0, 2000)


def test_before_the_first_run_a_worker_claims_its_free_slots_only() -> None:
    """Nobody knows yet how long a run takes."""
    assert Pacing(8, HALF_MINUTE).claim_size(waiting=0, free_slots=3) == 3


def test_short_runs_come_by_the_hundred_and_long_ones_one_by_one() -> None:
    """A ten-minute run never waits in the pocket of a busy worker."""
    assert Pacing(4, HALF_MINUTE, 0.01, 1_000).claim_size(waiting=0, free_slots=0) == 200
    assert Pacing(4, HALF_MINUTE, 600.0, 1_000).claim_size(waiting=0, free_slots=0) == 0
    assert Pacing(4, HALF_MINUTE, 600.0, 1_000).claim_size(waiting=0, free_slots=1) == 1


@given(pacings, counts, st.integers(0, 64))
@QUICK
def test_a_claim_is_never_negative_nor_beyond_what_is_wanted(
    pacing: Pacing, waiting: int, free_slots: int
) -> None:
    """What waits and what is claimed fit the slots and the pocket, and one batch."""
    size = pacing.claim_size(waiting, free_slots)

    assert 0 <= size <= MAX_BATCH
    assert size == 0 or waiting + size <= free_slots + pacing.pocket()


@given(pacings, st.integers(1, 64))
@QUICK
def test_an_idle_slot_is_always_worth_a_claim(pacing: Pacing, free_slots: int) -> None:
    """With nothing waiting, a free slot is filled."""
    assert pacing.claim_size(0, free_slots) >= 1


def test_the_pocket_is_refilled_when_it_is_half_empty() -> None:
    """So that claims stay few and large."""
    pacing = Pacing(4, HALF_MINUTE, 0.01, seen=1_000)

    assert pacing.pocket() == 200
    assert pacing.claim_size(waiting=101, free_slots=0) == 0
    assert pacing.claim_size(waiting=100, free_slots=0) == 100


def test_one_quick_run_fills_no_pocket() -> None:
    """The first runs of a worker say little: a few times as many may wait as were seen."""
    pacing = Pacing(1, HALF_MINUTE)
    for seen in range(1, 10):
        pacing = pacing.after(0.0)
        assert pacing.pocket() == 8 * seen


def test_after_a_crash_nothing_is_claimed_that_cannot_start_at_once() -> None:
    """Until so many claims have brought no run that was in one; what was learned is kept."""
    pacing = Pacing(4, HALF_MINUTE, 0.01, 1_000)
    assert pacing.after_claim(has_crashed=False) == pacing
    wary = pacing.after_claim(has_crashed=True)
    for claims in range(WARY_CLAIMS):
        assert wary.claim_size(waiting=0, free_slots=3) == 3, claims
        assert wary.claim_size(waiting=0, free_slots=0) == 0
        assert wary.after(0.01).pocket() == wary.at_least(0.01).pocket() == 0
        assert wary.after_claim(has_crashed=True).wary == WARY_CLAIMS
        wary = wary.after_claim(has_crashed=False)
    assert wary == pacing


@given(pacings, st.floats(0, 1000), st.integers(1, 50))
@QUICK
def test_runs_may_be_told_of_together(pacing: Pacing, seconds: float, runs: int) -> None:
    """So many that took the same at once, or one after the other."""
    one_by_one = pacing
    for _ in range(runs):
        one_by_one = one_by_one.after(seconds)
    together = pacing.after(seconds, runs)

    assert together.seen == one_by_one.seen == pacing.seen + runs
    assert together.average == pytest.approx(one_by_one.average)


@given(pacings)
@QUICK
def test_claimed_runs_start_well_within_their_lease(pacing: Pacing) -> None:
    """Even what is given back unstarted is given back within the lease."""
    assert pacing.patience == PATIENCE * pacing.horizon
    assert pacing.patience <= pacing.lease.total_seconds() / 2


@given(pacings, st.floats(0, 1000))
@QUICK
def test_the_average_moves_towards_what_was_seen(pacing: Pacing, seconds: float) -> None:
    """The first run sets it, each later one draws it nearer, none beyond."""
    later = pacing.after(seconds)

    assert later.average is not None
    if pacing.average is None:
        assert later.average == seconds
    else:
        low, high = sorted((pacing.average, seconds))
        assert low - 1e-6 <= later.average <= high + 1e-6
    assert (later.concurrency, later.lease) == (pacing.concurrency, pacing.lease)


@given(st.integers(1, 10**6), st.integers(0, 2**32))
@QUICK
def test_pauses_double_up_to_the_longest_and_spread_over_their_half(
    failures: int, seed: int
) -> None:
    """A server that comes back is not met by everybody at once."""
    pause = pause_after_failures(failures, Random(seed))

    assert FIRST_PAUSE / 2 <= pause <= LONGEST_PAUSE
    if failures < 7:
        assert pause <= FIRST_PAUSE * 2 ** (failures - 1)


@pytest.mark.parametrize("failures", [8, 100, 10**9])
def test_pauses_stop_growing(failures: int) -> None:
    """After some failures every pause lies in the upper half of the longest."""
    assert LONGEST_PAUSE / 2 <= pause_after_failures(failures, Random(1)) <= LONGEST_PAUSE


@given(pacings, st.floats(0, 1000))
@QUICK
def test_a_run_that_is_not_done_counts_with_what_it_has_taken(
    pacing: Pacing, seconds: float
) -> None:
    """It can only raise the average, so a worker stuck in long runs claims no pocket."""
    known = pacing.at_least(seconds)

    assert known.average == max(seconds, pacing.average or 0.0)
    assert known.pocket() <= pacing.pocket() or pacing.average is None


def test_looks_become_rarer_the_longer_one_waits() -> None:
    """From 10 ms to a second, and never later than a fifth of the time that it took anyway."""
    assert pause_of_wait(0) == pause_of_wait(0.04) == 0.01
    assert pause_of_wait(1) == pytest.approx(0.2)
    assert pause_of_wait(5) == pause_of_wait(10**6) == 1.0


def test_a_look_at_what_waits_costs_a_hundredth_of_the_time() -> None:
    """Every 15 s, and where it takes long, after a hundred times as long."""
    assert rest_of_look(0) == rest_of_look(0.15) == 15.0
    assert rest_of_look(2) == rest_of_look(2, workers=10) == 200.0
    assert rest_of_look(2, workers=30) == 600.0


@given(st.floats(0, 10**6))
@QUICK
def test_a_worker_rests_from_looks_for_long_enough(seconds: float) -> None:
    """However long one took: the share of all time that it takes stays that of the law."""
    rest = rest_of_look(seconds)

    assert rest >= LOOK_EVERY
    assert seconds <= rest / LOOK_REST * (1 + 1e-9)
