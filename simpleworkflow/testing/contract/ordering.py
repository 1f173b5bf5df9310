"""Laws about which run comes first."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest

from simpleworkflow.core.store import Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    HALF_MINUTE,
    MINUTE,
    TICK,
    Examination,
    claim,
    claim_all_one_by_one,
    claim_one,
    get,
    released,
    rescue_one,
    retried,
    settle,
    settle_one,
    submit,
    submit_many,
)


class OrderLaws(Examination):
    """Runs are claimed by priority, then run_at, then age."""

    def test_the_lower_priority_number_comes_first(self, store: Store) -> None:
        """Also below zero."""
        ids = {priority: submit(store, priority=priority) for priority in (100, -1, 2**31 - 1, 0)}

        assert claim_all_one_by_one(store) == [ids[-1], ids[0], ids[100], ids[2**31 - 1]]

    def test_among_equal_priorities_the_earlier_run_at_comes_first(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Whatever came in first."""
        late = submit(store, run_at=clock() - TICK)
        early = submit(store, run_at=clock() - 2 * TICK)

        assert claim_all_one_by_one(store) == [early, late]

    def test_among_equal_run_ats_the_older_run_comes_first(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Age is counted from the submit."""
        run_at = clock()
        ids: list[str] = []
        for _ in range(5):
            ids.append(submit(store, run_at=run_at))
            clock.advance(TICK)

        assert claim_all_one_by_one(store) == ids

    def test_priority_is_asked_before_run_at_and_run_at_before_age(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Among fifty runs of several types, in any mix of the three."""
        rng, runs = Random(7), []
        for n in range(50):
            clock.advance(TICK * rng.randrange(2))
            priority, run_at = rng.randrange(3), clock() - MINUTE * rng.randrange(3)
            run_id = submit(store, f"type.{n % 4}", priority=priority, run_at=run_at)
            runs.append((priority, run_at, clock(), run_id))
        keys = {run_id: key for *key, run_id in runs}

        claimed = [keys[run_id] for run_id in claim_all_one_by_one(store)]

        assert claimed == sorted(keys.values())

    def test_a_batch_is_the_first_runs_in_their_order(self, store: Store, clock: FakeClock) -> None:
        """Twelve runs claimed by five come as the first five, the next five, the rest."""
        ids = []
        for _ in range(12):
            ids.append(submit(store))
            clock.advance(TICK)

        batches = [[c.run_id for c in claim(store, limit=5)] for _ in range(4)]

        assert batches == [ids[:5], ids[5:10], ids[10:], []]

    def test_the_order_holds_across_all_types_of_a_route(
        self, store: Store, clock: FakeClock
    ) -> None:
        """A route of several patterns is one queue, and leaves the others' runs alone."""
        ids: list[str] = []
        for type_ in ("c.x", "a.y", "b", "a.x", "c.y", "b"):
            ids.append(submit(store, type_, priority=len(ids) // 2))
            submit(store, "d.other", priority=-1)
            clock.advance(TICK)

        claimed = claim(store, "a.%", "b", "c.%", limit=4)

        assert [c.run_id for c in claimed] == ids[:4]

    def test_a_retried_run_stands_where_its_new_run_at_puts_it(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Behind what was due earlier, before what is due later."""
        again = submit(store)
        settle_one(store, retried(claim_one(store), delay=MINUTE))
        before = submit(store, delay=MINUTE - TICK)
        after = submit(store, delay=MINUTE + TICK)
        clock.advance(2 * MINUTE)

        assert claim_all_one_by_one(store) == [before, again, after]

    def test_a_retried_run_keeps_its_priority_and_its_age(
        self, store: Store, clock: FakeClock
    ) -> None:
        """At equal run_at it comes before what was submitted after it, and behind the urgent."""
        again = submit(store)
        clock.advance(TICK)
        settle_one(store, retried(claim_one(store), delay=MINUTE))
        younger = submit(store, delay=MINUTE)
        urgent = submit(store, delay=2 * MINUTE, priority=1)
        clock.advance(2 * MINUTE)

        assert claim_all_one_by_one(store) == [urgent, again, younger]

    def test_a_released_run_stands_where_it_stood(self, store: Store, clock: FakeClock) -> None:
        """First again, if it was first."""
        ids = []
        for _ in range(3):
            ids.append(submit(store))
            clock.advance(TICK)
        taken = claim(store, limit=2)
        settle(store, *map(released, reversed(taken)))

        assert claim_all_one_by_one(store) == ids

    def test_a_run_tried_again_after_a_rescue_is_ordered_like_any_other(
        self, store: Store, clock: FakeClock
    ) -> None:
        """It stands at the moment from which it may run again."""
        crashed = submit(store)
        claim_one(store, lease=HALF_MINUTE)
        clock.advance(HALF_MINUTE)
        before = submit(store)
        clock.advance(TICK)
        settle_one(store, retried(rescue_one(store), delay=timedelta(0)))
        clock.advance(TICK)
        after = submit(store)

        assert claim_all_one_by_one(store) == [before, crashed, after]

    def test_a_run_of_the_future_is_not_claimed_before_its_time(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Not a microsecond before, and at its instant."""
        by_instant = submit(store, run_at=clock() + MINUTE)
        by_delay = submit(store, delay=MINUTE + TICK)

        assert claim(store) == []
        clock.advance(MINUTE - TICK)
        assert claim(store) == []
        clock.advance(TICK)
        assert [c.run_id for c in claim(store)] == [by_instant]
        clock.advance(TICK)
        assert [c.run_id for c in claim(store)] == [by_delay]

    def test_urgent_runs_of_the_future_hold_nobody_up(self, store: Store) -> None:
        """However many stand before a run that is due."""
        store_ids = [submit(store, priority=0, delay=MINUTE) for _ in range(20)]
        due = submit(store, priority=9)

        assert [c.run_id for c in claim(store, limit=5)] == [due]
        assert due not in store_ids

    def test_a_retry_waits_out_its_delay(self, store: Store, clock: FakeClock) -> None:
        """The minutes of a retry pass on the store's clock."""
        run_id = submit(store)
        settle_one(store, retried(claim_one(store), delay=4 * MINUTE))
        clock.advance(4 * MINUTE - TICK)
        assert claim(store) == []
        clock.advance(TICK)

        assert claim_one(store).run_id == run_id

    @pytest.mark.parametrize("limit", [0, 1, 3, 5, 100])
    def test_a_claim_gives_at_most_what_was_asked_for(self, store: Store, limit: int) -> None:
        """And no less than there is."""
        submit_many(store, 5)

        assert len(claim(store, limit=limit)) == min(limit, 5)

    def test_claiming_nothing_changes_nothing(self, store: Store) -> None:
        """A claim of zero runs leaves them to the others."""
        run_id = submit(store)
        before = get(store, run_id)

        claim(store, limit=0)

        assert get(store, run_id) == before

    def test_with_nothing_to_do_a_claim_is_empty(self, store: Store) -> None:
        """An empty list says "nothing", never "failed"."""
        assert claim(store) == []
