"""Laws about lists of runs; a store that cannot list any skips them."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

import pytest

from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import Status
from simpleworkflow.core.store import RunReader, Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    MINUTE,
    TICK,
    DeleteRun,
    Examination,
    claim,
    failed,
    get,
    route,
    settle,
    submit,
    submit_many,
    succeeded,
)


class ReadingLaws(Examination):
    """Lists show what is there, newest first, and change nothing."""

    @pytest.fixture
    def reader(self, store: Store) -> RunReader:
        """The store, as one that reads lists."""
        if not isinstance(store, RunReader):
            pytest.skip("this store lists no runs: it is no RunReader")
        return store

    def test_runs_are_listed_in_any_status(
        self, store: Store, reader: RunReader, clock: FakeClock
    ) -> None:
        """Each as `get` shows it, the newest first."""
        ids = []
        for _ in range(5):
            ids.append(submit(store))
            clock.advance(TICK)
        claims = claim(store, limit=3)
        settle(store, succeeded(claims[0]), failed(claims[1]))
        store.cancel([ids[3]])

        listed = reader.runs(route(), 10)

        assert listed == [get(store, run_id) for run_id in reversed(ids)]
        assert {run.status for run in listed} == set(Status)

    def test_runs_of_one_age_are_listed_by_id(self, store: Store, reader: RunReader) -> None:
        """So that a list is the same each time it is read."""
        ids = submit_many(store, 20)

        assert [run.id for run in reader.runs(route(), 100)] == sorted(ids)

    @pytest.mark.parametrize("limit", [0, 1, 3, 100])
    def test_a_list_is_as_long_as_asked_for(
        self, store: Store, reader: RunReader, clock: FakeClock, limit: int
    ) -> None:
        """Cut at its old end."""
        ids = []
        for _ in range(3):
            ids.append(submit(store))
            clock.advance(TICK)

        assert [run.id for run in reader.runs(route(), limit)] == ids[::-1][:limit]

    def test_a_list_holds_the_types_of_its_route(self, store: Store, reader: RunReader) -> None:
        """To the letter, as a claim does; a route without patterns has none."""
        for type_ in ("a.x", "a_x", "a.", "b", "bb", "a"):
            submit(store, type_, delay=MINUTE)

        assert {run.type for run in reader.runs(route("a.%", "b"), 10)} == {"a.x", "a.", "b"}
        assert reader.runs(Route(()), 10) == []

    def test_a_deleted_run_is_not_listed(
        self, store: Store, reader: RunReader, delete_run: DeleteRun | None
    ) -> None:
        """The others are."""
        if delete_run is None:
            pytest.skip("this backend declares no deleted rows: it gives no fixture delete_run")
        gone, left = submit(store), submit(store)
        delete_run(gone)

        assert [run.id for run in reader.runs(route(), 10)] == [left]

    def test_reading_changes_nothing(
        self, store: Store, reader: RunReader, clock: FakeClock
    ) -> None:
        """However often, and whenever."""
        run_id = submit(store)
        before = get(store, run_id)
        clock.advance(MINUTE)
        reader.runs(route(), 10)
        reader.events(run_id)

        assert get(store, run_id) == before
