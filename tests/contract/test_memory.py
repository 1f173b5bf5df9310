"""MemoryStore sits the exam."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from simpleworkflow.backends.memory import MemoryStore, named_store
from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.routing import Route
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract import DeleteRun, OpenStore, StoreContract
from simpleworkflow.testing.contract.examination import HALF_MINUTE, claim, get, submit


class TestMemoryStore(StoreContract):
    """Handles of one name share their runs."""

    @pytest.fixture
    def name(self) -> str:
        return str(uuid4())

    @pytest.fixture
    def open_store(self, name: str) -> OpenStore:
        return lambda clock: named_store(name, clock)

    @pytest.fixture
    def delete_run(self, name: str, clock: FakeClock) -> DeleteRun:
        return lambda run_id: named_store(name, clock).hide([run_id])


def test_a_name_is_one_store_and_another_name_another() -> None:
    """The empty name is a name too; a store without one is alone."""
    name = str(uuid4())
    run_id = submit(named_store(name), "only.here")

    assert get(named_store(name), run_id).type == "only.here"
    assert named_store(name + "2").get(run_id) is None
    assert named_store("").get(run_id) is None
    assert MemoryStore().get(run_id) is None
    assert get(named_store(""), submit(named_store(""), "nobody.serves.this"))


def test_by_default_the_time_is_the_systems() -> None:
    """A program in earnest needs no clock."""
    store = MemoryStore()
    before = datetime.now(UTC)

    run = get(store, submit(store))

    assert before <= run.created_at <= datetime.now(UTC)


def test_a_clock_without_a_zone_is_refused() -> None:
    """At its first use, by its name."""
    with pytest.raises(UsageError, match="clock"):
        submit(MemoryStore(lambda: datetime(2030, 1, 1)))


def test_a_clock_that_is_set_back_brings_no_run_forward() -> None:
    """A run seen as due waits again when its time lies ahead again."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    times = [now]
    store = MemoryStore(lambda: times[-1])
    run_id = submit(store, run_at=now + HALF_MINUTE)
    times.append(now + HALF_MINUTE)
    assert claim(store, limit=0) == []
    assert len(store.claim(Route.of(["%"]), 0, "worker-a", HALF_MINUTE)) == 0
    times.append(now)
    assert claim(store) == []
    times.append(now + timedelta(hours=1))

    assert [c.run_id for c in claim(store)] == [run_id]


def test_more_routes_than_are_remembered_are_served_all_the_same() -> None:
    """By types that came before and after them."""
    store = MemoryStore()
    ids = {}
    for n in range(100):
        assert claim(store, f"type.{n}") == []
        ids[f"type.{n}"] = submit(store, f"type.{n}")
    found = {c.type: c.run_id for n in range(100) for c in claim(store, f"type.{n}")}

    assert found == ids


def test_json_comes_back_as_jsonb_would_give_it() -> None:
    """Keys in its order, so that a program sees no difference to a database."""
    store = MemoryStore()

    run = get(store, submit(store, payload={"bb": 1, "a": 2, "B": 1e2}))

    assert list(run.payload) == ["B", "a", "bb"]
    assert run.payload_json == '{"B":100.0,"a":2,"bb":1}'


def test_it_says_how_much_it_holds() -> None:
    """For whoever looks at it in a debugger."""
    store = MemoryStore()
    submit(store)

    assert repr(store) == "<MemoryStore with 1 runs>"


def test_deleting_says_of_each_run_whether_it_was_there() -> None:
    """Unknown and deleted ones were not."""
    store = MemoryStore()
    run_id = submit(store)

    assert store.hide([run_id, run_id, str(uuid4())]) == [True, False, False]
