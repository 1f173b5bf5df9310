"""Laws about writing outcomes."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from simpleworkflow.core.records import Claim, Extension, Settled, Settlement, Verdict
from simpleworkflow.core.states import Move, Status
from simpleworkflow.core.store import Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    HALF_MINUTE,
    MINUTE,
    OUTCOMES,
    Examination,
    Outcome,
    claim,
    claim_one,
    every_outcome,
    failed,
    get,
    released,
    rescue,
    rescue_one,
    retried,
    settle,
    settle_one,
    submit,
    submit_many,
    succeeded,
)

GROUP = 500

unstorable = pytest.mark.parametrize(
    "spoil",
    [
        lambda claim: Settlement(claim, Move.SUCCEED, 0, result_json='{"a": "\\u0000"}'),
        lambda claim: Settlement(claim, Move.FAIL, 1, error="nul \x00"),
        lambda claim: Settlement(claim, Move.FAIL, 1, error="surrogate \udc80"),
    ],
    ids=["nul in result", "nul in error", "surrogate in error"],
)
"""Outcomes that no database can hold."""


class SettleLaws(Examination):
    """An outcome is written once, whole, and only where its claim is the current one."""

    def test_a_success_keeps_the_result_and_ends_the_run(
        self, store: Store, clock: FakeClock
    ) -> None:
        """The attempt is not counted, because it did not fail."""
        run_id = submit(store)
        claimed = claim_one(store)
        run_at = get(store, run_id).run_at
        clock.advance(5)

        assert settle_one(store, succeeded(claimed, {"url": "x"})) is Verdict.APPLIED

        run = get(store, run_id)
        assert (run.status, run.result, run.attempt) == (Status.SUCCEEDED, {"url": "x"}, 0)
        assert (run.leased_by, run.lease_until, run.last_error) == (None, None, None)
        assert (run.updated_at, run.run_at) == (clock(), run_at)

    def test_a_retry_counts_the_attempt_and_waits(self, store: Store, clock: FakeClock) -> None:
        """It is pending again, from now plus the delay, and says why."""
        run_id = submit(store)
        claimed = claim_one(store)
        clock.advance(5)

        assert settle_one(store, retried(claimed, MINUTE, "boom")) is Verdict.APPLIED

        run = get(store, run_id)
        assert (run.status, run.attempt, run.last_error) == (Status.PENDING, 1, "boom")
        assert (run.leased_by, run.lease_until, run.result) == (None, None, None)
        assert (run.updated_at, run.run_at) == (clock(), clock() + MINUTE)

    def test_a_failure_ends_the_run_and_says_why(self, store: Store) -> None:
        """The last attempt is counted too."""
        run_id = submit(store)
        claimed = claim_one(store)

        assert settle_one(store, failed(claimed, "no such customer")) is Verdict.APPLIED

        run = get(store, run_id)
        assert (run.status, run.attempt) == (Status.FAILED, 1)
        assert (run.last_error, run.result) == ("no such customer", None)
        assert (run.leased_by, run.lease_until) == (None, None)

    def test_a_release_gives_the_run_back_as_it_came(self, store: Store, clock: FakeClock) -> None:
        """Only the fence tells that it was away."""
        run_id = submit(store)
        before = get(store, run_id)
        claimed = claim_one(store)
        clock.advance(5)

        assert settle_one(store, released(claimed)) is Verdict.APPLIED

        after = get(store, run_id)
        assert after == attrs.evolve(before, fence=claimed.fence, updated_at=clock())

    def test_the_last_error_stays_for_who_reads_later(self, store: Store, clock: FakeClock) -> None:
        """Neither a release nor a success wipes out what went wrong before."""
        run_id = submit(store)
        settle_one(store, retried(claim_one(store), MINUTE, "boom"))
        clock.advance(MINUTE)
        settle_one(store, released(claim_one(store)))
        assert get(store, run_id).last_error == "boom"

        settle_one(store, succeeded(claim_one(store)))

        assert get(store, run_id).last_error == "boom"

    def test_a_retry_of_no_delay_is_due_at_once(self, store: Store, clock: FakeClock) -> None:
        """Zero is a delay, from now."""
        run_id = submit(store)
        claimed = claim_one(store)
        clock.advance(5)
        settle_one(store, retried(claimed, timedelta(0)))

        assert get(store, run_id).run_at == clock()
        assert claim_one(store).attempt == 1

    @every_outcome
    def test_a_settlement_sent_again_after_a_lost_reply_changes_nothing(
        self, store: Store, clock: FakeClock, outcome: Outcome
    ) -> None:
        """The worker is told that it is written, and it is written once."""
        run_id = submit(store)
        settlement = outcome(claim_one(store))
        settle_one(store, settlement)
        before = get(store, run_id)
        clock.advance(5)

        assert settle_one(store, settlement) is Verdict.APPLIED
        assert get(store, run_id) == before

    @every_outcome
    def test_a_settlement_twice_in_a_group_is_written_once(
        self, store: Store, outcome: Outcome
    ) -> None:
        """Both are told that it is written."""
        run_id = submit(store)
        settlement = outcome(claim_one(store))

        assert settle(store, settlement, settlement) == [Verdict.APPLIED, Verdict.APPLIED]
        assert get(store, run_id).attempt == settlement.attempt

    @pytest.mark.parametrize("outcome", [retried, released], ids=["retried", "released"])
    def test_a_settlement_sent_again_after_the_next_claim_is_refused(
        self, store: Store, clock: FakeClock, outcome: Outcome
    ) -> None:
        """The run is somebody else's by now."""
        run_id = submit(store)
        settlement = outcome(claim_one(store))
        settle_one(store, settlement)
        clock.advance(MINUTE)
        claim_one(store, worker="worker-b")
        before = get(store, run_id)

        assert settle_one(store, settlement) is Verdict.LOST
        assert get(store, run_id) == before

    @every_outcome
    def test_the_first_outcome_of_a_claim_is_the_last(self, store: Store, outcome: Outcome) -> None:
        """Another one for the same claim is refused."""
        run_id = submit(store)
        claimed = claim_one(store)
        settle_one(store, outcome(claimed))
        before = get(store, run_id)
        others = [other for other in OUTCOMES if other is not outcome]

        verdicts = settle(store, *(other(claimed) for other in others))

        assert verdicts == [Verdict.LOST] * len(others)
        assert get(store, run_id) == before

    @pytest.mark.parametrize("outcome", [succeeded, failed], ids=["succeeded", "failed"])
    def test_a_run_that_has_ended_never_moves_again(
        self, store: Store, clock: FakeClock, outcome: Outcome
    ) -> None:
        """Nobody claims, rescues or cancels it, however long it stays."""
        run_id = submit(store)
        settle_one(store, outcome(claim_one(store)))
        before = get(store, run_id)
        clock.advance(timedelta(days=365))

        assert (claim(store), rescue(store)) == ([], [])
        assert store.cancel([run_id]) == [before.status]
        assert get(store, run_id) == before

    def test_one_stale_settlement_harms_no_other_of_its_group(
        self, store: Store, clock: FakeClock
    ) -> None:
        """499 of 500 are written, and the answers tell which one was not."""
        ids = submit_many(store, GROUP)
        claims = in_order(claim(store), ids)
        victim = GROUP // 3
        make_stale(store, clock, claims, victim)

        answers = settle(store, *(succeeded(c, n) for n, c in enumerate(claims)))

        assert answers == expected(Verdict.LOST, at=victim)
        assert get(store, ids[victim]).status is Status.LEASED
        assert [get(store, ids[n]).result for n in (0, victim - 1, victim + 1, GROUP - 1)] == [
            0,
            victim - 1,
            victim + 1,
            GROUP - 1,
        ]

    @unstorable
    def test_one_outcome_that_cannot_be_stored_harms_no_other_of_its_group(
        self, store: Store, spoil: Outcome
    ) -> None:
        """499 of 500 are written; the one is told why, and is still held."""
        ids = submit_many(store, GROUP)
        claims = in_order(claim(store), ids)
        victim = GROUP // 3
        group = [succeeded(c, n) for n, c in enumerate(claims)]
        group[victim] = spoil(claims[victim])

        answers = store.settle(group)

        assert [a.verdict for a in answers] == expected(Verdict.UNSTORABLE, at=victim)
        assert answers[victim].reason
        assert get(store, ids[victim - 1]).result == victim - 1
        assert get(store, ids[victim + 1]).result == victim + 1
        assert get(store, ids[victim]).status is Status.LEASED

    @unstorable
    def test_a_run_whose_outcome_cannot_be_stored_can_still_fail(
        self, store: Store, spoil: Outcome
    ) -> None:
        """Its claim is untouched, so its worker may say what went wrong."""
        run_id = submit(store)
        claimed = claim_one(store)
        before = get(store, run_id)
        [answer] = store.settle([spoil(claimed)])

        assert answer.verdict is Verdict.UNSTORABLE
        assert get(store, run_id) == before
        assert settle_one(store, failed(claimed, answer.reason or "")) is Verdict.APPLIED
        assert get(store, run_id).last_error == answer.reason

    def test_stale_and_unstorable_ones_share_a_group_with_good_ones(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Every outcome, in any mix, answered where it stood."""
        ids = submit_many(store, 7)
        claims = in_order(claim(store), ids)
        make_stale(store, clock, claims, 1)
        store.cancel([ids[4]])
        bad = Settlement(claims[3], Move.SUCCEED, 0, result_json='"\\u0000"')

        answers = settle(
            store,
            retried(claims[6]),
            succeeded(claims[4]),
            bad,
            released(claims[0]),
            failed(claims[1]),
            failed(claims[2]),
            succeeded(claims[5]),
        )

        assert answers == [
            Verdict.APPLIED,
            Verdict.CANCELLED,
            Verdict.UNSTORABLE,
            Verdict.APPLIED,
            Verdict.LOST,
            Verdict.APPLIED,
            Verdict.APPLIED,
        ]
        assert [get(store, run_id).status for run_id in ids] == [
            Status.PENDING,
            Status.LEASED,
            Status.FAILED,
            Status.LEASED,
            Status.CANCELLED,
            Status.SUCCEEDED,
            Status.PENDING,
        ]

    def test_settling_nothing_answers_nothing(self, store: Store) -> None:
        """An empty group is no error."""
        answers: list[Settled] = store.settle([])

        assert answers == []


def in_order(claims: list[Claim], ids: list[str]) -> list[Claim]:
    """Return the claims as their runs were submitted: equal runs may be claimed in any order."""
    by_id = {c.run_id: c for c in claims}
    return [by_id[run_id] for run_id in ids]


def make_stale(store: Store, clock: FakeClock, claims: list[Claim], victim: int) -> None:
    """Let another worker take over one of these runs, and nobody the others."""
    clock.advance(HALF_MINUTE - timedelta(seconds=1))
    others = [c for n, c in enumerate(claims) if n != victim]
    store.extend([Extension(c, 10 * MINUTE) for c in others])
    clock.advance(1)
    rescue_one(store)


def expected(verdict: Verdict, at: int) -> list[Verdict]:
    """The verdicts of a group in which one is refused."""
    return [verdict if n == at else Verdict.APPLIED for n in range(GROUP)]
