"""Laws about things that happen at the same moment, each on its own handle and thread."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, TypeVar
from uuid import uuid4

from simpleworkflow.core.errors import StoreConflict
from simpleworkflow.core.records import Claim, Extension, Hold, NewRun, Submitted, Verdict, new_run
from simpleworkflow.core.states import Status
from simpleworkflow.core.store import Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    A_TYPE,
    HALF_MINUTE,
    MINUTE,
    Examination,
    ask,
    claim,
    claim_one,
    deadline,
    failed,
    get,
    rescue,
    retried,
    settle,
    settle_one,
    submit,
    submit_many,
    succeeded,
    together,
)

CLAIMERS = 8
PRODUCERS = 16
ROUNDS = 15

Handles = Callable[[], Store]

A = TypeVar("A")
B = TypeVar("B")


class RaceLaws(Examination):
    """Whatever happens at once ends as if it had happened one after the other."""

    def test_racing_claimers_never_share_a_run_and_together_get_all(
        self, store: Store, handles: Handles
    ) -> None:
        """Eight workers empty one queue of 200 runs."""
        ids = submit_many(store, 200)
        got: list[str] = []

        def take(worker: int, mine: Store) -> None:
            until_all(got, len(ids), lambda: claim(mine, limit=7, worker=f"worker-{worker}"))

        together([partial(take, n, handles()) for n in range(CLAIMERS)])

        assert sorted(got) == sorted(ids)

    def test_racing_rescuers_never_share_a_run_and_together_get_all(
        self, store: Store, handles: Handles, clock: FakeClock
    ) -> None:
        """Eight workers take over 100 leases of a dead one."""
        ids = submit_many(store, 100)
        claim(store)
        clock.advance(MINUTE)
        got: list[str] = []

        def take(worker: int, mine: Store) -> None:
            until_all(
                got,
                len(ids),
                lambda: [r.claim for r in rescue(mine, limit=7, worker=f"worker-{worker}")],
            )

        together([partial(take, n, handles()) for n in range(CLAIMERS)])

        assert sorted(got) == sorted(ids)

    def test_one_key_raced_by_sixteen_producers_is_one_run(
        self, store: Store, handles: Handles
    ) -> None:
        """Exactly one created it, and all got its id."""
        runs = [
            new_run(str(uuid4()), A_TYPE, {"n": n}, idempotency_key="order-7")
            for n in range(PRODUCERS)
        ]

        answers = together([partial(submit_again, handles(), [run]) for run in runs])

        flat = [answer for batch in answers for answer in batch]
        assert sum(answer.created for answer in flat) == 1
        assert len({answer.id for answer in flat}) == 1
        assert [c.run_id for c in claim(store)] == [flat[0].id]

    def test_the_same_keys_in_any_order_raced_by_sixteen_producers_are_one_run_each(
        self, store: Store, handles: Handles
    ) -> None:
        """Batches that meet in opposite order neither wait for ever nor lose a run."""
        mine = [handles() for _ in range(PRODUCERS)]
        for round_ in range(5):
            keys = [f"key-{round_}-{n}" for n in range(10)]
            batches = [
                [
                    new_run(str(uuid4()), A_TYPE, {}, idempotency_key=key)
                    for key in Random(n).sample(keys, len(keys))
                ]
                for n in range(PRODUCERS)
            ]

            answers = together(
                [partial(submit_again, *each) for each in zip(mine, batches, strict=True)]
            )

            by_key: dict[str | None, list[Submitted]] = {}
            for batch, answered in zip(batches, answers, strict=True):
                for run, answer in zip(batch, answered, strict=True):
                    by_key.setdefault(run.idempotency_key, []).append(answer)
            for answered in by_key.values():
                assert sum(answer.created for answer in answered) == 1
                assert len({answer.id for answer in answered}) == 1
            assert len(claim(store)) == len(keys)

    def test_of_two_outcomes_at_once_one_is_written(self, store: Store, handles: Handles) -> None:
        """The other is refused, and the run shows the one that was written."""
        one, two = handles(), handles()
        for _ in range(ROUNDS):
            run_id = submit(store)
            claimed = claim_one(store)

            verdicts = together(
                [
                    partial(settle_one, one, succeeded(claimed)),
                    partial(settle_one, two, failed(claimed)),
                ]
            )

            assert sorted(verdicts) == [Verdict.APPLIED, Verdict.LOST]
            is_first = verdicts[0] is Verdict.APPLIED
            assert get(store, run_id).status is (Status.SUCCEEDED if is_first else Status.FAILED)

    def test_one_outcome_sent_twice_at_once_is_written_once(
        self, store: Store, handles: Handles
    ) -> None:
        """A worker that lost patience and sent it again is told twice that it is written."""
        one, two = handles(), handles()
        for _ in range(ROUNDS):
            run_id = submit(store)
            settlement = retried(claim_one(store), 10 * MINUTE)

            verdicts = together(
                [partial(settle_one, one, settlement), partial(settle_one, two, settlement)]
            )

            assert verdicts == [Verdict.APPLIED, Verdict.APPLIED]
            assert get(store, run_id).attempt == 1

    def test_a_heartbeat_at_the_same_moment_never_costs_an_outcome(
        self, store: Store, handles: Handles
    ) -> None:
        """Renewing and settling are the same worker's, so every outcome is written."""
        one, two = handles(), handles()
        for _ in range(ROUNDS):
            submit_many(store, 20)
            claims = claim(store)

            verdicts, _ = together2(
                partial(settle, one, *map(succeeded, claims)), partial(beat, two, claims)
            )

            assert verdicts == [Verdict.APPLIED] * len(claims)

    def test_a_cancel_and_a_success_at_once_leave_one_of_them(
        self, store: Store, handles: Handles
    ) -> None:
        """Both sides hear the same story."""
        one, two = handles(), handles()
        for _ in range(ROUNDS):
            run_id = submit(store)
            settlement = succeeded(claim_one(store), "done")

            verdict, [status] = together2(
                partial(settle_one, one, settlement), partial(two.cancel, [run_id])
            )

            run = get(store, run_id)
            assert status is run.status
            if verdict is Verdict.APPLIED:
                assert (run.status, run.result) == (Status.SUCCEEDED, "done")
            else:
                assert verdict is Verdict.CANCELLED
                assert (run.status, run.result) == (Status.CANCELLED, None)

    def test_a_cancel_and_a_retry_at_once_leave_a_cancelled_run(
        self, store: Store, handles: Handles, clock: FakeClock
    ) -> None:
        """Whichever came first, the run is not executed again."""
        one, two = handles(), handles()
        for _ in range(ROUNDS):
            run_id = submit(store)
            settlement = retried(claim_one(store))

            _, [status] = together2(
                partial(settle_one, one, settlement), partial(two.cancel, [run_id])
            )

            clock.advance(10 * MINUTE)
            assert status is get(store, run_id).status is Status.CANCELLED
            assert claim(store) == []

    def test_a_cancel_and_a_claim_at_once_leave_a_cancelled_run(
        self, store: Store, handles: Handles
    ) -> None:
        """A worker that got it all the same hears of the cancel by its next heartbeat."""
        one, two = handles(), handles()
        for _ in range(ROUNDS):
            run_id = submit(store)

            claims, _ = together2(partial(claim, one), partial(two.cancel, [run_id]))

            assert get(store, run_id).status is Status.CANCELLED
            assert [ask(store, c) for c in claims] == [Hold.CANCELLED] * len(claims)

    def test_a_rescue_and_an_outcome_at_once_leave_one_of_them(
        self, store: Store, handles: Handles, clock: FakeClock
    ) -> None:
        """Either the late worker still made it, or the run is the rescuer's."""
        one, two = handles(), handles()
        for _ in range(ROUNDS):
            run_id = submit(store)
            settlement = succeeded(claim_one(store, lease=HALF_MINUTE))
            clock.advance(HALF_MINUTE)

            verdict, rescued = together2(partial(settle_one, one, settlement), partial(rescue, two))

            status = get(store, run_id).status
            if verdict is Verdict.APPLIED:
                assert (rescued, status) == ([], Status.SUCCEEDED)
            else:
                assert (verdict, status) == (Verdict.LOST, Status.LEASED)
                settle_one(store, failed(rescued[0].claim))


def until_all(got: list[str], count: int, take: Callable[[], list[Claim]]) -> None:
    """Take until all workers together have so many: a locked run may be passed over at first."""
    end = deadline()
    while len(got) < count and time.monotonic() < end:
        got += [c.run_id for c in take()]


def beat(store: Store, claims: list[Claim]) -> None:
    """Renew these leases a few times."""
    for _ in range(3):
        store.extend([Extension(c, MINUTE) for c in claims])


def submit_again(store: Store, runs: list[NewRun]) -> list[Submitted]:
    """Submit, again after a conflict, as the error says that one may."""
    for _ in range(10):
        try:
            return store.submit(runs)
        except StoreConflict:
            continue
    return store.submit(runs)


def together2(one: Callable[[], A], two: Callable[[], B]) -> tuple[A, B]:
    """Do two different things at the same moment."""
    actions: list[Callable[[], Any]] = [one, two]
    first, second = together(actions)
    return first, second
