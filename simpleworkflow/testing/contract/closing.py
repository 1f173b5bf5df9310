"""Laws about handles: opening several, and closing them."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from simpleworkflow.core.errors import StoreClosed
from simpleworkflow.core.records import Claim, Extension, new_run
from simpleworkflow.core.states import Status
from simpleworkflow.core.store import RunReader, Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    A_TYPE,
    HALF_MINUTE,
    NO_SUCH_RUN,
    Examination,
    OpenStore,
    claim_one,
    get,
    route,
    settle_one,
    submit,
    succeeded,
)

Use = Callable[[Store], object]

A_CLAIM = Claim(NO_SUCH_RUN, "worker-a", 1, A_TYPE, "{}", None, 0, 3, 0.0)
USES: dict[str, Use] = {
    "submit": lambda store: store.submit([new_run(str(uuid4()), A_TYPE, {})]),
    "claim": lambda store: store.claim(route(), 1, "worker-a", HALF_MINUTE),
    "extend": lambda store: store.extend([Extension(A_CLAIM, timedelta(0))]),
    "settle": lambda store: store.settle([succeeded(A_CLAIM)]),
    "rescue": lambda store: store.rescue(route(), 1, "worker-a", HALF_MINUTE),
    "cancel": lambda store: store.cancel([NO_SUCH_RUN]),
    "get": lambda store: store.get(NO_SUCH_RUN),
    "events": lambda store: store.events(NO_SUCH_RUN) if isinstance(store, RunReader) else closed(),
    "runs": lambda store: store.runs(route(), 1) if isinstance(store, RunReader) else closed(),
}


def closed() -> None:
    """Stand in for what a store does not have."""
    raise StoreClosed


class ClosingLaws(Examination):
    """Handles share their runs, and each is closed for itself."""

    def test_a_store_is_a_store(self, store: Store) -> None:
        """It has every method of the protocol."""
        assert isinstance(store, Store)

    @pytest.mark.parametrize("use", USES.values(), ids=USES)
    @pytest.mark.parametrize("is_fresh", [True, False], ids=["unused", "used"])
    def test_a_closed_store_refuses_every_use(self, store: Store, use: Use, is_fresh: bool) -> None:
        """With an error of its own, whether it was ever used or not."""
        if not is_fresh:
            submit(store)
        store.close()

        with pytest.raises(StoreClosed):
            use(store)

    def test_closing_twice_is_closing_once(self, store: Store) -> None:
        """Whoever cleans up need not ask who else did."""
        submit(store)
        store.close()
        store.close()

    def test_handles_see_each_others_runs(
        self, store: Store, open_store: OpenStore, clock: FakeClock
    ) -> None:
        """A producer and a worker meet in the store."""
        other = open_store(clock)
        try:
            run_id = submit(store)
            claimed = claim_one(other)
            assert get(store, run_id).status is Status.LEASED
            settle_one(other, succeeded(claimed))
            assert get(store, run_id).status is Status.SUCCEEDED
        finally:
            other.close()

    def test_closing_a_handle_leaves_the_runs_to_the_others(
        self, store: Store, open_store: OpenStore, clock: FakeClock
    ) -> None:
        """To those that are open and to those that are opened later."""
        first = open_store(clock)
        run_id = submit(first)
        first.close()

        assert get(store, run_id).status is Status.PENDING
        later = open_store(clock)
        try:
            assert get(later, run_id).status is Status.PENDING
        finally:
            later.close()
