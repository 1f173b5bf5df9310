"""Laws about rows that an operator or another program marked as deleted."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from uuid import uuid4

import pytest

from simpleworkflow.core.records import Submitted, new_run
from simpleworkflow.core.store import Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    A_TYPE,
    MINUTE,
    DeleteRun,
    Examination,
    claim,
    claim_one,
    get,
    rescue,
    retried,
    settle_one,
    submit,
)


class DeletionLaws(Examination):
    """A deleted run is executed by nobody and shown to nobody."""

    @pytest.fixture
    def delete(self, delete_run: DeleteRun | None) -> DeleteRun:
        """Marks a run as deleted; a backend that has no such thing skips these laws."""
        if delete_run is None:
            pytest.skip("this backend declares no deleted rows: it gives no fixture delete_run")
        return delete_run

    def test_a_deleted_run_is_never_claimed(self, store: Store, delete: DeleteRun) -> None:
        """The others are."""
        gone, left = submit(store), submit(store)
        delete(gone)

        assert [c.run_id for c in claim(store)] == [left]

    def test_a_deleted_run_of_the_future_is_never_claimed(
        self, store: Store, clock: FakeClock, delete: DeleteRun
    ) -> None:
        """Not when its time comes, either."""
        delete(submit(store, delay=MINUTE))
        clock.advance(2 * MINUTE)

        assert claim(store) == []

    def test_a_deleted_run_is_never_taken_over(
        self, store: Store, clock: FakeClock, delete: DeleteRun
    ) -> None:
        """Its lease runs out, and that is that."""
        gone, left = submit(store, priority=1), submit(store, priority=2)
        claim(store)
        delete(gone)
        clock.advance(MINUTE)

        assert [r.claim.run_id for r in rescue(store)] == [left]

    def test_a_run_deleted_while_it_was_executed_is_not_tried_again(
        self, store: Store, clock: FakeClock, delete: DeleteRun
    ) -> None:
        """Its worker's outcome does not bring it back."""
        run_id = submit(store)
        claimed = claim_one(store)
        delete(run_id)
        settle_one(store, retried(claimed))
        clock.advance(10 * MINUTE)

        assert claim(store) == []

    def test_a_deleted_run_is_not_shown(self, store: Store, delete: DeleteRun) -> None:
        """As if there were none."""
        run_id = submit(store)
        delete(run_id)

        assert store.get(run_id) is None

    def test_a_deleted_run_cannot_be_cancelled(self, store: Store, delete: DeleteRun) -> None:
        """Nobody knows it; the others of the list are cancelled."""
        gone, left = submit(store), submit(store)
        delete(gone)

        assert store.cancel([gone, left]) == [None, get(store, left).status]

    def test_the_key_of_a_deleted_run_stays_taken(self, store: Store, delete: DeleteRun) -> None:
        """What was done once is not done again because its row was hidden."""
        run_id = submit(store, idempotency_key="order-7")
        delete(run_id)

        again = store.submit([new_run(str(uuid4()), A_TYPE, {}, idempotency_key="order-7")])

        assert again == [Submitted(run_id, False)]
