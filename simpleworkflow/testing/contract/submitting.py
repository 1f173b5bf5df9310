"""Laws about submitting runs."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import attrs
import pytest

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.records import Run, Submitted, new_run
from simpleworkflow.core.states import Status
from simpleworkflow.core.store import Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    A_TYPE,
    MINUTE,
    NO_SUCH_RUN,
    Examination,
    Outcome,
    claim,
    claim_one,
    every_outcome,
    get,
    settle_one,
    submit,
)


class SubmitLaws(Examination):
    """A submitted run exists once, whole, and as it was given."""

    def test_a_submitted_run_is_pending_as_it_was_given(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Every field is what the producer said, and the rest is how a run begins."""
        payload, headers = {"order": 7}, {"trace": "abc"}
        run_id = submit(
            store,
            "billing.invoice.v1",
            payload,
            priority=5,
            delay=MINUTE,
            max_attempts=9,
            idempotency_key="order-7",
            headers=headers,
        )

        run = get(store, run_id)

        assert (run.payload, run.headers) == (payload, headers)
        assert attrs.evolve(run, payload_json="", headers_json="") == Run(
            id=run_id,
            type="billing.invoice.v1",
            status=Status.PENDING,
            payload_json="",
            priority=5,
            run_at=clock() + MINUTE,
            attempt=0,
            max_attempts=9,
            idempotency_key="order-7",
            leased_by=None,
            lease_until=None,
            fence=0,
            last_error=None,
            result_json=None,
            headers_json="",
            created_at=clock(),
            updated_at=clock(),
        )

    def test_a_run_is_due_at_once_unless_told_otherwise(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Without run_at and delay, a run may be executed from the moment of its submit."""
        run_id = submit(store)

        assert get(store, run_id).run_at == clock()
        assert claim_one(store).run_id == run_id

    def test_submit_answers_in_the_order_it_was_asked(self, store: Store) -> None:
        """Created or taken, each answer stands where its run stood."""
        taken = submit(store, idempotency_key="taken")
        fresh = [new_run(str(uuid4()), A_TYPE, {}) for _ in range(3)]
        again = new_run(str(uuid4()), A_TYPE, {}, idempotency_key="taken")

        answers = store.submit([fresh[0], again, fresh[1], fresh[2]])

        assert answers == [
            Submitted(fresh[0].id, True),
            Submitted(taken, False),
            Submitted(fresh[1].id, True),
            Submitted(fresh[2].id, True),
        ]

    def test_submitting_nothing_answers_nothing(self, store: Store) -> None:
        """An empty batch is no error."""
        assert store.submit([]) == []

    def test_a_taken_key_names_the_existing_run_and_leaves_it_alone(
        self, store: Store, clock: FakeClock
    ) -> None:
        """The second submit of a key creates nothing and changes nothing."""
        run_id = submit(store, payload={"n": 1}, idempotency_key="order-7")
        before = get(store, run_id)
        clock.advance(MINUTE)

        answers = store.submit(
            [new_run(str(uuid4()), "other.v1", {"n": 2}, priority=1, idempotency_key="order-7")]
        )

        assert answers == [Submitted(run_id, False)]
        assert get(store, run_id) == before
        assert len(claim(store)) == 1

    def test_a_submit_sent_again_after_a_lost_reply_creates_nothing(self, store: Store) -> None:
        """The id, given by the producer, tells that the run is already there."""
        run = new_run(str(uuid4()), A_TYPE, {"n": 1})

        answers = [store.submit([run]), store.submit([run])]

        assert answers == [[Submitted(run.id, True)], [Submitted(run.id, False)]]
        assert len(claim(store)) == 1

    def test_one_key_twice_in_a_batch_is_one_run(self, store: Store) -> None:
        """Both answers name it, and the first one created it."""
        twins = [new_run(str(uuid4()), A_TYPE, {"n": n}, idempotency_key="k") for n in range(2)]

        answers = store.submit(twins)

        assert answers == [Submitted(twins[0].id, True), Submitted(twins[0].id, False)]
        assert [c.run_id for c in claim(store)] == [twins[0].id]

    def test_runs_without_a_key_never_meet(self, store: Store) -> None:
        """No key is no key, not one that all share."""
        assert submit(store) != submit(store)
        assert len(claim(store)) == 2

    def test_keys_differ_by_every_letter(self, store: Store) -> None:
        """Neither case nor spaces nor patterns make two keys one."""
        keys = ["k", "K", "k ", "k%", "k_", "kk"]

        ids = {submit(store, idempotency_key=key) for key in keys}

        assert len(ids) == len(keys)

    @every_outcome
    def test_a_key_stays_taken_after_its_run_has_moved_on(
        self, store: Store, outcome: Outcome
    ) -> None:
        """A key is spent for good, however its run ended."""
        run_id = submit(store, idempotency_key="order-7")
        settle_one(store, outcome(claim_one(store)))

        again = store.submit([new_run(str(uuid4()), A_TYPE, {}, idempotency_key="order-7")])

        assert again == [Submitted(run_id, False)]

    def test_a_batch_with_one_run_that_cannot_be_held_creates_none(self, store: Store) -> None:
        """All or nothing: nobody has to find out which half was created."""
        good = [new_run(str(uuid4()), A_TYPE, {"n": n}) for n in range(3)]
        bad = attrs.evolve(good[1], payload_json='"\\u0000"')

        with pytest.raises(UsageError):
            store.submit([good[0], bad, good[2]])

        assert [store.get(run.id) for run in good] == [None, None, None]
        assert claim(store) == []

    def test_a_run_may_be_as_old_as_its_producer_says(self, store: Store, clock: FakeClock) -> None:
        """A run_at in the past is kept, and the run is due."""
        long_ago = clock() - timedelta(days=3650)

        run_id = submit(store, run_at=long_ago)

        assert get(store, run_id).run_at == long_ago
        assert claim_one(store).waited == pytest.approx(timedelta(days=3650).total_seconds())

    def test_a_run_that_was_never_submitted_is_not_there(self, store: Store) -> None:
        """None, and no error."""
        assert store.get(NO_SUCH_RUN) is None
