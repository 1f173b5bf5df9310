"""What PostgresStore does beyond the contract: locked rows, the history's end, wake-ups."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from servers import Server

from simpleworkflow import Client, open_store
from simpleworkflow.backends.postgres import hints, wakeup
from simpleworkflow.backends.postgres.store import PostgresStore
from simpleworkflow.backends.postgres.wakeup import channel
from simpleworkflow.core.records import Extension, Hold, NewRun, new_run
from simpleworkflow.core.routing import Route
from simpleworkflow.core.store import Wakeups
from simpleworkflow.worker.bell import Bell

LEASE = timedelta(seconds=30)
LONG = 20.0
"""Seconds that no test here ever waits, unless something is broken."""


@pytest.fixture(params=["psycopg", "pg8000"])
def store(request: pytest.FixtureRequest, database_url: str) -> Iterator[PostgresStore]:
    """An empty store by either driver."""
    store = open_store(database_url.replace("postgresql:", f"postgresql+{request.param}:"))
    assert isinstance(store, PostgresStore)
    store.migrate()
    yield store
    store.close()


def a_run(type_: str, priority: int = 100) -> NewRun:
    return new_run(str(uuid.uuid4()), type_, {}, priority=priority)


def test_a_claim_passes_over_what_another_session_has_locked(
    store: PostgresStore, server: Server
) -> None:
    """The best run is locked: the next best is leased, of whatever type it is."""
    store.submit([a_run("a.v1", priority=1), a_run("b.v1")])
    route = Route.of(["a.v1", "b.v1"])
    with server.connect() as other, other.transaction():
        other.execute(
            f"select from {store.address.schema}.workflow_run where type = 'a.v1' for update"
        )
        assert [claim.type for claim in store.claim(route, 1, "w", LEASE)] == ["b.v1"]
    assert [claim.type for claim in store.claim(route, 1, "w", LEASE)] == ["a.v1"]


def test_a_locked_run_costs_no_other_its_lease(store: PostgresStore, server: Server) -> None:
    """It is answered busy at once, and the others are renewed."""
    store.submit([a_run("a.v1") for _ in range(3)])
    claims = store.claim(Route.of(["a.v1"]), 3, "w", LEASE)
    beat = [Extension(claim, LEASE) for claim in claims]
    with server.connect() as other, other.transaction():
        other.execute(
            f"select from {store.address.schema}.workflow_run where id = %s for update",
            [claims[1].run_id],
        )
        assert store.extend(beat) == [Hold.KEPT, Hold.BUSY, Hold.KEPT]
    assert store.extend(beat) == [Hold.KEPT] * 3


def test_a_deleted_run_takes_its_history_along(store: PostgresStore, server: Server) -> None:
    """As the foreign key did that stood there before, and nothing of other runs."""
    gone, kept = store.submit([a_run("a.v1"), a_run("a.v1")])
    with server.connect() as connection:
        connection.execute(
            f"delete from {store.address.schema}.workflow_run where id = %s", [gone.id]
        )
    assert store.events(gone.id) == []
    assert len(store.events(kept.id)) == 1


def begin_to_listen(store: PostgresStore, bell: Bell) -> None:
    """The first call does so and returns: what came before is found by claiming once more."""
    store.wait_for_runs(bell, LONG)
    assert bell.is_rung
    bell.silence()


def test_a_submit_wakes_who_waits(store: PostgresStore, database_url: str) -> None:
    """Whoever has claimed, found nothing and waits is woken by a submit from anywhere."""
    bell = Bell()
    assert isinstance(store, Wakeups)
    begin_to_listen(store, bell)
    woken = threading.Event()

    def wait() -> None:
        store.wait_for_runs(bell, LONG)
        woken.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    with Client(database_url) as client:
        client.submit("a.v1", {})
        assert woken.wait(LONG / 2)
    waiting.join()


def test_a_lone_submit_carries_its_wake_up_and_the_next_are_followed_by_one(
    store: PostgresStore, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of several in a row wakes too, though only the first one's statement notifies."""
    monkeypatch.setattr(wakeup, "REST", 3_600.0)
    with server.connect() as listener:
        listener.execute(f"listen {channel(store.address.schema)}")
        store.submit([a_run("a.v1")])
        assert store._notifier._thread is None
        [first] = listener.notifies(timeout=LONG, stop_after=1)
        for _ in range(20):
            store.submit([a_run("a.v1")])
        assert not list(listener.notifies(timeout=0))
        # It waits for the hour to pass, or for the end.
        store.close()
        [last] = listener.notifies(timeout=LONG, stop_after=1)
        assert not list(listener.notifies(timeout=0))
    assert first.channel == last.channel


def test_a_submit_for_later_or_of_a_taken_key_wakes_nobody(
    store: PostgresStore, server: Server
) -> None:
    """There is nothing to do at once."""
    later = new_run(str(uuid.uuid4()), "a.v1", {}, delay=60)
    taken = new_run(str(uuid.uuid4()), "a.v1", {}, idempotency_key="k", delay=60)
    again = new_run(str(uuid.uuid4()), "a.v1", {}, idempotency_key="k")
    with server.connect() as listener:
        listener.execute(f"listen {channel(store.address.schema)}")
        store.submit([later, taken])
        assert not store.submit([again])[0].created
        store.close()
        assert not list(listener.notifies(timeout=0))


def test_a_submit_before_the_wait_is_not_missed(store: PostgresStore, database_url: str) -> None:
    """A notification that came while the worker was busy ends its next wait at once."""
    bell = Bell()
    begin_to_listen(store, bell)
    with Client(database_url) as client:
        client.submit("a.v1", {})
    # The client's close has sent it; a claim reads whatever the server sent meanwhile.
    store.claim(Route.of(["none.%"]), 1, "w", LEASE)
    waiting = threading.Thread(target=store.wait_for_runs, args=(bell, LONG), daemon=True)
    waiting.start()
    waiting.join(LONG / 2)
    assert not waiting.is_alive()


def test_two_that_wait_leave_a_connection_to_others(store: PostgresStore) -> None:
    """However many workers share a store and are idle, a submit does not wait for them."""
    bells = [Bell() for _ in range(4)]
    begin_to_listen(store, bells[0])
    waiting = [
        threading.Thread(target=store.wait_for_runs, args=(bell, LONG), daemon=True)
        for bell in bells
    ]
    for thread in waiting:
        thread.start()
    submitting = threading.Thread(target=store.submit, args=([a_run("a.v1")],), daemon=True)
    submitting.start()
    submitting.join(LONG / 2)
    assert not submitting.is_alive()
    for bell in bells:
        bell.ring()
    for thread in waiting:
        thread.join(LONG / 2)


def test_the_bell_ends_a_wait(store: PostgresStore) -> None:
    """A worker that is told to stop does not wait for runs any longer."""
    bell = Bell()
    begin_to_listen(store, bell)
    waiting = threading.Thread(target=store.wait_for_runs, args=(bell, LONG), daemon=True)
    waiting.start()
    bell.ring()
    waiting.join(LONG / 2)
    assert not waiting.is_alive()


@pytest.fixture
def _every_walk_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims of ten remember where the next ones are, as big and slow ones do."""
    monkeypatch.setattr(hints, "SLOW_TIME", 0.0)
    monkeypatch.setattr(hints, "BACKLOG", 10)


@pytest.mark.usefixtures("_every_walk_is_slow")
def test_a_remembered_place_hides_no_run(store: PostgresStore) -> None:
    """When the pairs that were remembered are used up, the same claim goes on to the others."""
    store.submit([a_run(f"a.{n % 3}", priority=n % 4) for n in range(95)])
    route = Route.of(["a.%"])
    claimed = [store.claim(route, 10, "w", LEASE) for _ in range(10)]
    assert [len(claims) for claims in claimed] == [10] * 9 + [5]
    assert len({claim.run_id for claims in claimed for claim in claims}) == 95
    assert store.claim(route, 10, "w", LEASE) == []


@pytest.mark.usefixtures("_every_walk_is_slow")
def test_claims_begin_where_the_last_one_ended(store: PostgresStore) -> None:
    """After two slow claims the third is told the pairs and from which run on to look."""
    route = Route.of(["a.%"])
    for _ in range(4):
        store.submit([a_run("a.1") for _ in range(10)])
    for _ in range(2):
        store.claim(route, 10, "w", LEASE)
    floors = store._hints.floors(route)
    assert set(floors) == {("a.1", 100)}
    assert floors["a.1", 100] != hints.FROM_THE_START
    assert len(store.claim(route, 10, "w", LEASE)) == 10


@pytest.mark.usefixtures("_every_walk_is_slow")
def test_what_is_remembered_is_soon_forgotten(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is due before the remembered place is found by the next full walk."""
    route = Route.of(["a.%"])
    for _ in range(5):
        store.submit([a_run("a.1") for _ in range(10)])
    for _ in range(2):
        store.claim(route, 10, "w", LEASE)
    store.submit([a_run("a.0", priority=1)])
    assert {claim.type for claim in store.claim(route, 10, "w", LEASE)} == {"a.1"}
    monkeypatch.setattr(hints, "FRESH_TIME", 0.0)
    assert "a.0" in {claim.type for claim in store.claim(route, 20, "w", LEASE)}
