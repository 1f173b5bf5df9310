"""Laws about old claims: who lost a run can no longer write to it."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from collections.abc import Callable

import pytest

from simpleworkflow.core.records import Claim, Hold, Verdict
from simpleworkflow.core.states import Status
from simpleworkflow.core.store import Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    MINUTE,
    NO_SUCH_RUN,
    Examination,
    Outcome,
    ask,
    claim_one,
    every_outcome,
    extend,
    get,
    released,
    rescue_one,
    retried,
    settle_one,
    submit,
    succeeded,
)

Forge = Callable[[Claim], Claim]

second_worker = pytest.mark.parametrize("second", ["worker-b", "worker-a"])
"""Another worker, and another one that calls itself by the same name."""


class FencingLaws(Examination):
    """Each claim has a greater fence, and only the current one may write."""

    def test_fences_only_grow(self, store: Store, clock: FakeClock) -> None:
        """By a claim and by a rescue, after a retry and after a release."""
        submit(store, max_attempts=99)
        fences = []
        for outcome in (released, retried, released, retried):
            fences.append(claim_one(store).fence)
            clock.advance(MINUTE)
            rescued = rescue_one(store)
            fences.append(rescued.fence)
            settle_one(store, outcome(rescued))
            clock.advance(MINUTE)

        assert fences == sorted(set(fences))
        assert fences[0] > 0

    @second_worker
    @every_outcome
    def test_a_rescued_run_refuses_its_first_worker(
        self, store: Store, clock: FakeClock, outcome: Outcome, second: str
    ) -> None:
        """After a rescue the old claim can no longer settle, nor change anything."""
        run_id = submit(store)
        first = claim_one(store, worker="worker-a")
        clock.advance(MINUTE)
        rescue_one(store, worker=second)
        before = get(store, run_id)

        assert settle_one(store, outcome(first)) is Verdict.LOST
        assert get(store, run_id) == before

    @second_worker
    @every_outcome
    def test_a_run_given_back_and_claimed_again_refuses_its_first_worker(
        self, store: Store, outcome: Outcome, second: str
    ) -> None:
        """A claim ends with its settlement; what comes later from it is refused."""
        run_id = submit(store)
        first = claim_one(store, worker="worker-a")
        settle_one(store, released(first))
        claim_one(store, worker=second)
        before = get(store, run_id)

        assert settle_one(store, outcome(first)) is Verdict.LOST
        assert get(store, run_id) == before

    @second_worker
    def test_a_lease_that_was_taken_over_cannot_be_renewed(
        self, store: Store, clock: FakeClock, second: str
    ) -> None:
        """The first worker learns that it lost the run, and the second keeps its lease."""
        run_id = submit(store)
        first = claim_one(store, worker="worker-a")
        clock.advance(MINUTE)
        rescued = rescue_one(store, worker=second)
        before = get(store, run_id)

        assert extend(store, first, 10 * MINUTE) is Hold.LOST
        assert ask(store, first) is Hold.LOST
        assert get(store, run_id) == before
        assert ask(store, rescued) is Hold.KEPT

    @second_worker
    def test_the_second_worker_settles_what_it_took_over(
        self, store: Store, clock: FakeClock, second: str
    ) -> None:
        """The first worker's refused outcome is in nobody's way."""
        run_id = submit(store)
        first = claim_one(store, worker="worker-a")
        clock.advance(MINUTE)
        rescued = rescue_one(store, worker=second)
        settle_one(store, succeeded(first, "stale"))

        assert settle_one(store, succeeded(rescued, "current")) is Verdict.APPLIED
        assert get(store, run_id).result == "current"

    @every_outcome
    def test_a_claim_is_good_for_one_settlement(self, store: Store, outcome: Outcome) -> None:
        """Once the run has moved on, its claim renews nothing."""
        run_id = submit(store)
        claimed = claim_one(store)
        settle_one(store, outcome(claimed))
        before = get(store, run_id)

        assert extend(store, claimed, MINUTE) is Hold.LOST
        assert get(store, run_id) == before

    @every_outcome
    @pytest.mark.parametrize(
        "forge",
        [
            lambda claim: claim._replace(worker_id="worker-b"),
            lambda claim: claim._replace(fence=claim.fence + 1),
            lambda claim: claim._replace(fence=claim.fence - 1),
            lambda claim: claim._replace(run_id=NO_SUCH_RUN),
        ],
        ids=["other worker", "later fence", "earlier fence", "unknown run"],
    )
    def test_a_claim_is_proven_by_run_worker_and_fence(
        self, store: Store, outcome: Outcome, forge: Forge
    ) -> None:
        """All three must be right."""
        run_id = submit(store)
        forged = forge(claim_one(store))
        before = get(store, run_id)

        assert settle_one(store, outcome(forged)) is Verdict.LOST
        assert extend(store, forged, MINUTE) is Hold.LOST
        assert get(store, run_id) == before

    def test_a_run_that_nobody_claimed_cannot_be_settled(self, store: Store) -> None:
        """Its fence is known to everybody, and proves nothing."""
        run_id = submit(store)
        made_up = Claim(run_id, "worker-a", 0, "media.thumb.v1", "{}", None, 0, 3, 0.0)

        assert settle_one(store, succeeded(made_up)) is Verdict.LOST
        assert get(store, run_id).status is Status.PENDING
