"""Laws about cancelling."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

import attrs
import pytest

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.records import Hold, Verdict
from simpleworkflow.core.states import Status
from simpleworkflow.core.store import Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    MINUTE,
    NO_SUCH_RUN,
    Examination,
    Outcome,
    ask,
    claim,
    claim_one,
    every_outcome,
    extend,
    failed,
    get,
    rescue,
    retried,
    settle_one,
    submit,
    succeeded,
)


class CancelLaws(Examination):
    """Cancelled is terminal: nothing turns a cancelled run into anything else."""

    def test_a_cancelled_run_is_never_claimed(self, store: Store, clock: FakeClock) -> None:
        """Whether it was due or not."""
        due, later = submit(store), submit(store, delay=MINUTE)

        assert store.cancel([due, later]) == [Status.CANCELLED, Status.CANCELLED]
        clock.advance(10 * MINUTE)
        assert claim(store) == []
        assert get(store, due).status is Status.CANCELLED

    def test_a_run_that_waits_for_its_retry_can_be_cancelled(
        self, store: Store, clock: FakeClock
    ) -> None:
        """It keeps its attempt and its error."""
        run_id = submit(store)
        settle_one(store, retried(claim_one(store)))

        assert store.cancel([run_id]) == [Status.CANCELLED]
        clock.advance(10 * MINUTE)
        assert claim(store) == []
        assert (get(store, run_id).attempt, get(store, run_id).last_error) == (1, "boom")

    def test_a_worker_learns_of_a_cancel_by_its_next_heartbeat(self, store: Store) -> None:
        """Asking and renewing both say so, and say "cancelled", not "lost"."""
        run_id = submit(store)
        claimed = claim_one(store)
        store.cancel([run_id])
        before = get(store, run_id)

        assert ask(store, claimed) is Hold.CANCELLED
        assert extend(store, claimed, MINUTE) is Hold.CANCELLED
        assert get(store, run_id) == before

    @every_outcome
    def test_what_comes_after_a_cancel_has_no_effect(
        self, store: Store, clock: FakeClock, outcome: Outcome
    ) -> None:
        """Neither a success nor a retry nor a release brings a cancelled run back."""
        run_id = submit(store)
        claimed = claim_one(store)
        store.cancel([run_id])
        cancelled = get(store, run_id)

        assert settle_one(store, outcome(claimed)) is Verdict.CANCELLED

        clock.advance(10 * MINUTE)
        run = get(store, run_id)
        assert run == attrs.evolve(cancelled, leased_by=None)
        assert (run.status, run.result, run.attempt) == (Status.CANCELLED, None, 0)
        assert (claim(store), rescue(store)) == ([], [])

    @every_outcome
    def test_a_late_outcome_sent_again_is_answered_the_same(
        self, store: Store, outcome: Outcome
    ) -> None:
        """A worker whose reply was lost hears once more that the run was cancelled."""
        run_id = submit(store)
        settlement = outcome(claim_one(store))
        store.cancel([run_id])
        settle_one(store, settlement)
        before = get(store, run_id)

        assert settle_one(store, settlement) is Verdict.CANCELLED
        assert get(store, run_id) == before

    def test_a_cancelled_run_is_not_taken_over(self, store: Store, clock: FakeClock) -> None:
        """Its lease ends with it."""
        run_id = submit(store)
        claim_one(store)
        store.cancel([run_id])
        assert get(store, run_id).lease_until is None
        clock.advance(10 * MINUTE)

        assert rescue(store) == []

    def test_an_older_claim_is_lost_and_not_cancelled(self, store: Store, clock: FakeClock) -> None:
        """Only the last holder's outcome belongs to a cancelled run."""
        run_id = submit(store)
        first = claim_one(store, worker="worker-a")
        clock.advance(MINUTE)
        rescue(store, worker="worker-b")
        store.cancel([run_id])

        assert ask(store, first) is Hold.LOST
        assert settle_one(store, succeeded(first)) is Verdict.LOST

    def test_cancelling_twice_is_cancelling_once(self, store: Store, clock: FakeClock) -> None:
        """The second answer is the same, and nothing moves."""
        run_id = submit(store)
        store.cancel([run_id])
        before = get(store, run_id)
        clock.advance(5)

        assert store.cancel([run_id, run_id]) == [Status.CANCELLED, Status.CANCELLED]
        assert get(store, run_id) == before

    def test_cancel_says_how_each_run_stands_afterwards(self, store: Store) -> None:
        """In the order asked; None for one that nobody knows."""
        ids = [submit(store, priority=n) for n in range(4)]
        claims = claim(store, limit=3)
        settle_one(store, succeeded(claims[0]))
        settle_one(store, failed(claims[1]))

        answers = store.cancel([ids[3], NO_SUCH_RUN, ids[0], ids[2], ids[1]])

        assert answers == [
            Status.CANCELLED,
            None,
            Status.SUCCEEDED,
            Status.CANCELLED,
            Status.FAILED,
        ]

    def test_cancelling_nothing_answers_nothing(self, store: Store) -> None:
        """An empty list is no error."""
        assert store.cancel([]) == []

    def test_an_id_that_is_none_cancels_no_other(self, store: Store) -> None:
        """The slip is told before anything is done."""
        run_id = submit(store)

        with pytest.raises(UsageError):
            store.cancel([run_id, "order-7"])

        assert get(store, run_id).status is Status.PENDING
