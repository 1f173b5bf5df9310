"""Laws about leases: taking, renewing, losing and taking them over."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest

from simpleworkflow.core.decide import decide
from simpleworkflow.core.records import Claim, Crashed, Extension, Hold
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.states import Status
from simpleworkflow.core.store import Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    HALF_MINUTE,
    MINUTE,
    NO_SUCH_RUN,
    TICK,
    Examination,
    ask,
    claim,
    claim_one,
    extend,
    get,
    released,
    rescue,
    rescue_one,
    retried,
    settle_one,
    submit,
    succeeded,
)


class LeaseLaws(Examination):
    """A lease is the right to execute a run until a time; then others may take it over."""

    def test_a_claim_leases_the_run_and_tells_what_to_execute(
        self, store: Store, clock: FakeClock
    ) -> None:
        """The record and the stored run say the same."""
        run_id = submit(
            store, "billing.invoice.v1", {"n": 1}, max_attempts=7, headers={"trace": "abc"}
        )
        clock.advance(1.5)

        claimed = claim_one(store, worker="worker-a", lease=HALF_MINUTE)

        run = get(store, run_id)
        assert (run.status, run.leased_by, run.fence) == (Status.LEASED, "worker-a", claimed.fence)
        assert run.lease_until == clock() + HALF_MINUTE
        assert run.attempt == 0
        assert claimed._replace(waited=0, payload_json="", headers_json="") == Claim(
            run_id, "worker-a", run.fence, "billing.invoice.v1", "", "", 0, 7, 0
        )
        assert (claimed.payload_json, claimed.headers) == (run.payload_json, {"trace": "abc"})
        assert claimed.waited == pytest.approx(1.5)

    def test_a_leased_run_is_not_claimed_again(self, store: Store, clock: FakeClock) -> None:
        """Not even when its lease has run out: taking over is a rescue, and counts."""
        submit(store)
        claim_one(store)

        assert claim(store) == []
        clock.advance(MINUTE)
        assert claim(store) == []

    def test_a_renewal_holds_from_now(self, store: Store, clock: FakeClock) -> None:
        """The new end is the present instant plus the duration."""
        run_id = submit(store)
        claimed = claim_one(store, lease=HALF_MINUTE)
        clock.advance(10)

        assert extend(store, claimed, MINUTE) is Hold.KEPT
        assert get(store, run_id).lease_until == clock() + MINUTE

    def test_a_renewal_never_shortens_a_lease(self, store: Store, clock: FakeClock) -> None:
        """A late, short one changes nothing."""
        run_id = submit(store)
        claimed = claim_one(store, lease=MINUTE)
        end = clock() + MINUTE
        clock.advance(10)

        assert extend(store, claimed, timedelta(seconds=5)) is Hold.KEPT
        assert get(store, run_id).lease_until == end

    def test_a_renewal_of_no_duration_only_asks(self, store: Store, clock: FakeClock) -> None:
        """How the lease stands is answered, and nothing moves, even after its end."""
        run_id = submit(store)
        claimed = claim_one(store)
        before = get(store, run_id)
        clock.advance(MINUTE)

        assert ask(store, claimed) is Hold.KEPT
        assert get(store, run_id) == before

    def test_an_expired_lease_that_nobody_took_over_is_still_held(
        self, store: Store, clock: FakeClock
    ) -> None:
        """A renewal that comes late, but before a rescue, saves it."""
        submit(store)
        claimed = claim_one(store, lease=HALF_MINUTE)
        clock.advance(MINUTE)

        assert extend(store, claimed, HALF_MINUTE) is Hold.KEPT
        assert rescue(store) == []

    def test_extensions_are_answered_in_the_order_asked(self, store: Store) -> None:
        """Kept, cancelled, lost and unknown, each where it stood."""
        ids = [submit(store, priority=n) for n in range(3)]
        kept, cancelled, ended = claim(store)
        store.cancel([ids[1]])
        settle_one(store, succeeded(ended))
        unknown = kept._replace(run_id=NO_SUCH_RUN)

        holds = store.extend(
            [Extension(c, HALF_MINUTE) for c in (unknown, cancelled, kept, ended, kept)]
        )

        assert holds == [Hold.LOST, Hold.CANCELLED, Hold.KEPT, Hold.LOST, Hold.KEPT]

    def test_extending_nothing_answers_nothing(self, store: Store) -> None:
        """An empty group is no error."""
        assert store.extend([]) == []

    def test_a_lease_is_taken_over_at_its_end_and_not_before(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Not a microsecond before."""
        run_id = submit(store)
        claim_one(store, lease=HALF_MINUTE)
        clock.advance(HALF_MINUTE - TICK)
        assert rescue(store) == []
        clock.advance(TICK)

        [rescued] = rescue(store)

        assert rescued.claim.run_id == run_id

    def test_a_renewed_lease_is_taken_over_at_its_new_end(
        self, store: Store, clock: FakeClock
    ) -> None:
        """A heartbeat keeps the others away."""
        submit(store)
        claimed = claim_one(store, lease=HALF_MINUTE)
        clock.advance(20)
        extend(store, claimed, HALF_MINUTE)
        clock.advance(HALF_MINUTE - TICK)
        assert rescue(store) == []
        clock.advance(TICK)

        assert len(rescue(store)) == 1

    def test_a_rescue_gives_a_new_claim_and_says_who_lost_it(
        self, store: Store, clock: FakeClock
    ) -> None:
        """The rescuer holds the run as if it had claimed it."""
        run_id = submit(store, "billing.invoice.v1", {"n": 1}, headers={"trace": "abc"})
        first = claim_one(store, worker="worker-a")
        clock.advance(MINUTE)

        [rescued] = rescue(store, worker="worker-b", lease=MINUTE)

        run = get(store, run_id)
        assert rescued.lost_by == "worker-a"
        assert rescued.claim.fence > first.fence
        assert (run.status, run.leased_by) == (Status.LEASED, "worker-b")
        assert (run.fence, run.lease_until) == (rescued.claim.fence, clock() + MINUTE)
        assert rescued.claim == first._replace(
            worker_id="worker-b", fence=run.fence, waited=rescued.claim.waited, crashes=1
        )

    def test_the_longest_expired_lease_is_taken_over_first(
        self, store: Store, clock: FakeClock
    ) -> None:
        """When more have expired than one rescue takes."""
        leases = [timedelta(seconds=s) for s in (20, 5, 15, 10)]
        ids = {}
        for lease in leases:
            ids[lease] = submit(store)
            claim_one(store, lease=lease)
        clock.advance(MINUTE)

        first = {r.claim.run_id for r in rescue(store, limit=2)}
        rest = {r.claim.run_id for r in rescue(store)}

        assert first == {ids[leases[1]], ids[leases[3]]}
        assert rest == {ids[leases[0]], ids[leases[2]]}

    def test_a_rescued_run_is_leased_anew(self, store: Store, clock: FakeClock) -> None:
        """Nobody takes it over again until the rescuer's lease has run out too."""
        submit(store)
        claim_one(store)
        clock.advance(MINUTE)
        rescue(store, worker="worker-b", lease=HALF_MINUTE)

        assert rescue(store, worker="worker-c") == []
        clock.advance(HALF_MINUTE)
        [again] = rescue(store, worker="worker-c")
        assert again.lost_by == "worker-b"

    def test_with_no_expired_lease_a_rescue_is_empty(self, store: Store, clock: FakeClock) -> None:
        """Runs that wait, that are held and that have ended are nobody's to take over."""
        for _ in range(3):
            submit(store)
        settle_one(store, succeeded(claim_one(store)))
        claim_one(store, lease=2 * MINUTE)
        clock.advance(MINUTE)

        assert rescue(store) == []

    def test_a_crash_counts_as_an_attempt(self, store: Store, clock: FakeClock) -> None:
        """A rescued run comes back with its attempt used up, and its error says why."""
        run_id = submit(store)
        claim_one(store)
        clock.advance(MINUTE)
        crash(store, rescue_one(store))

        run = get(store, run_id)
        assert (run.status, run.attempt) == (Status.PENDING, 1)
        assert "lease ran out" in (run.last_error or "")
        claimed = claim_one(store)
        assert (claimed.attempt, claimed.crashes) == (1, 1)

    def test_a_claim_tells_in_how_many_crashes_the_run_was(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Failures and releases are none, and what was once counted stays."""
        submit(store)
        assert claim_one(store).crashes == 0
        for crashes in (1, 2):
            clock.advance(MINUTE)
            settle_one(store, released(rescue_one(store)))
            settle_one(store, retried(claim_one(store), timedelta(0)))
            assert claim_one(store).crashes == crashes

    def test_a_run_that_kills_its_workers_ends_failed(self, store: Store, clock: FakeClock) -> None:
        """After max_attempts crashes nobody gets it any more."""
        run_id = submit(store, max_attempts=3)
        for _ in range(3):
            claim_one(store)
            clock.advance(MINUTE)
            crash(store, rescue_one(store))

        run = get(store, run_id)
        assert (run.status, run.attempt) == (Status.FAILED, 3)
        assert "attempt 3 of 3" in (run.last_error or "")
        assert (claim(store), rescue(store)) == ([], [])

    def test_a_release_costs_no_attempt(self, store: Store) -> None:
        """However often a run is given back."""
        run_id = submit(store, max_attempts=1)
        for _ in range(5):
            claimed = claim_one(store)
            assert claimed.attempt == 0
            settle_one(store, released(claimed))

        run = get(store, run_id)
        assert (run.status, run.attempt, run.last_error) == (Status.PENDING, 0, None)

    def test_an_expired_lease_may_still_be_settled(self, store: Store, clock: FakeClock) -> None:
        """While nobody took it over, the work done counts."""
        run_id = submit(store)
        claimed = claim_one(store)
        clock.advance(MINUTE)
        settle_one(store, succeeded(claimed))

        assert get(store, run_id).status is Status.SUCCEEDED


def crash(store: Store, rescued: Claim) -> None:
    """Settle a rescued run as its worker's crash, by the rules every worker follows."""
    settle_one(store, decide(rescued, Crashed("worker-a"), RetryPolicy(), Random(1)))
