"""Laws about how long a run keeps its idempotency key; a store that is no KeyScopes skips them."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from simpleworkflow.core.records import NewRun, Submitted, new_run
from simpleworkflow.core.states import Status
from simpleworkflow.core.store import KeyScopes, Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    A_TYPE,
    MINUTE,
    TICK,
    DeleteRun,
    Examination,
    claim,
    claim_one,
    event_types,
    failed,
    get,
    retried,
    settle_one,
    submit,
    succeeded,
    together,
)
from simpleworkflow.testing.contract.races import (
    PRODUCERS,
    ROUNDS,
    Handles,
    beat,
    submit_again,
    together2,
)

KEY = "order-7"


class KeyLaws(Examination):
    """A run keeps its key for as long as its own scope says, and then gives it to the next."""

    def test_a_key_is_taken_while_its_run_is_active(self, store: Store, clock: FakeClock) -> None:
        """Pending, leased, and waiting for its next attempt."""
        run_id = submit_key(store, "active")
        assert asked(store) == Submitted(run_id, False)
        claimed = claim_one(store)
        assert asked(store) == Submitted(run_id, False)
        settle_one(store, retried(claimed))
        clock.advance(10 * MINUTE)
        assert asked(store) == Submitted(run_id, False)

    @pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
    def test_a_key_is_free_when_its_run_has_ended(self, store: Store, end: str) -> None:
        """In whichever way; and the next run has it in turn."""
        old = submit_key(store, "active")
        bring_to_its_end(store, old, end)

        new = submit_key(store, "active")

        assert new != old
        assert asked(store) == Submitted(new, False)

    def test_a_key_holds_for_its_time_from_the_submit(self, store: Store, clock: FakeClock) -> None:
        """Whether its run has ended meanwhile or not."""
        ended = submit_key(store, MINUTE, key="ended")
        settle_one(store, succeeded(claim_one(store)))
        waiting = submit_key(store, MINUTE, key="waiting")
        for key, run_id in (("ended", ended), ("waiting", waiting)):
            assert asked(store, key) == Submitted(run_id, False)
        clock.advance(MINUTE - TICK)
        for key, run_id in (("ended", ended), ("waiting", waiting)):
            assert asked(store, key) == Submitted(run_id, False)
        clock.advance(TICK)
        for key in ("ended", "waiting"):
            assert asked(store, key).created

    def test_the_scope_that_counts_is_that_of_the_run_which_has_the_key(self, store: Store) -> None:
        """What the submit that meets it says is for the run which that may create."""
        for_ever = submit_key(store, "forever", key="one")
        settle_one(store, succeeded(claim_one(store)))
        submit_key(store, "active", key="two")
        settle_one(store, succeeded(claim_one(store)))

        assert asked(store, "one", key_scope="active") == Submitted(for_ever, False)
        second = asked(store, "two", key_scope="forever")
        assert second.created
        settle_one(store, succeeded(claim_one(store)))
        assert asked(store, "two", key_scope="active") == Submitted(second.id, False)

    def test_a_run_that_gave_its_key_up_is_left_alone(self, store: Store, clock: FakeClock) -> None:
        """It shows the key that it was submitted with, and is executed like the new one."""
        old = submit_key(store, MINUTE)
        clock.advance(MINUTE)
        before = get(store, old)

        new = submit_key(store, MINUTE)

        assert get(store, old) == before
        assert before.idempotency_key == get(store, new).idempotency_key == KEY
        assert event_types(store, old) == ["created"]
        assert [c.run_id for c in claim(store)] == [old, new]

    def test_a_run_sent_again_after_its_key_went_on_creates_nothing(self, store: Store) -> None:
        """Its id tells that it is there, and the key stays with the run that has it now."""
        first = a_run("active")
        scoped(store).submit([first])
        settle_one(store, succeeded(claim_one(store)))
        second = submit_key(store, "active")

        assert store.submit([first]) == [Submitted(first.id, False)]
        assert asked(store) == Submitted(second, False)

    def test_a_free_key_twice_in_a_batch_is_one_run(self, store: Store) -> None:
        """Among others, each answered where it stood."""
        taken = submit_key(store, "forever", key="taken")
        old = submit_key(store, "active")
        store.cancel([old])
        batch = [a_run("active"), a_run(key="taken"), a_run(key="new"), a_run("active")]

        answers = store.submit(batch)

        assert answers == [
            Submitted(batch[0].id, True),
            Submitted(taken, False),
            Submitted(batch[2].id, True),
            Submitted(batch[0].id, False),
        ]

    def test_scopes_are_kept_run_by_run(self, store: Store, clock: FakeClock) -> None:
        """Also where they come in one batch."""
        scopes = {"a": "active", "b": "forever", "c": 60, "d": 90, "e": "active"}
        runs = [a_run(scope, key=key) for key, scope in scopes.items()]
        scoped(store).submit(runs)
        store.cancel([run.id for run in runs[:4]])
        clock.advance(MINUTE)

        created = [each.created for each in store.submit([a_run(key=key) for key in scopes])]

        assert created == [True, False, True, False, False]

    def test_a_deleted_run_is_not_active(
        self, store: Store, clock: FakeClock, delete_run: DeleteRun | None
    ) -> None:
        """Nobody will ever end it; a key that holds for a time does so all the same."""
        if delete_run is None:
            pytest.skip("this backend declares no deleted rows: it gives no fixture delete_run")
        active, timed = submit_key(store, "active"), submit_key(store, MINUTE, key="timed")
        delete_run(active)
        delete_run(timed)

        assert asked(store).created
        assert asked(store, "timed") == Submitted(timed, False)
        clock.advance(MINUTE)
        assert asked(store, "timed").created

    def test_a_free_key_raced_by_sixteen_producers_is_one_run(
        self, store: Store, handles: Handles
    ) -> None:
        """Exactly one takes it over, and all get the new run's id."""
        mine = [handles() for _ in range(PRODUCERS)]
        old = submit_key(store, "active")
        for _ in range(ROUNDS):
            store.cancel([old])

            answers = together([partial(submit_again, one, [a_run("active")]) for one in mine])

            assert sum(answer.created for [answer] in answers) == 1
            [new] = {answer.id for [answer] in answers}
            assert new != old
            assert [c.run_id for c in claim(store)] == [new]
            old = new

    def test_free_keys_in_any_order_raced_by_sixteen_producers_are_one_run_each(
        self, store: Store, handles: Handles
    ) -> None:
        """Batches that meet in opposite order neither wait for ever nor lose a run."""
        keys = [f"key-{n}" for n in range(10)]
        store.cancel([submit_key(store, "active", key=key) for key in keys])
        batches = [
            [a_run("active", key=key) for key in Random(n).sample(keys, len(keys))]
            for n in range(PRODUCERS)
        ]

        answers = together([partial(submit_again, handles(), batch) for batch in batches])

        flat = [answer for answered in answers for answer in answered]
        assert sum(answer.created for answer in flat) == len(keys)
        assert len({answer.id for answer in flat}) == len(keys)
        assert len(claim(store)) == len(keys)

    def test_a_key_whose_time_is_over_is_free_whatever_its_run_does_at_the_moment(
        self, store: Store, handles: Handles, clock: FakeClock
    ) -> None:
        """A heartbeat and an outcome change the run, not for how long it keeps its key."""
        one, two = handles(), handles()
        for _ in range(ROUNDS):
            old = submit_key(store, MINUTE)
            claimed = claim_one(store)
            clock.advance(MINUTE)

            def go_on(claimed: Any = claimed) -> None:
                beat(one, [claimed])
                settle_one(one, succeeded(claimed))

            _, [answer] = together2(go_on, partial(submit_again, two, [a_run("active")]))

            assert answer.created
            assert get(store, old).status is Status.SUCCEEDED
            store.cancel([answer.id])

    def test_the_end_of_a_run_and_a_submit_of_its_key_at_once_agree(
        self, store: Store, handles: Handles
    ) -> None:
        """Either the submit came first and names it, or it came second and creates the next."""
        one, two = handles(), handles()
        for _ in range(ROUNDS):
            old = submit_key(store, "active")
            claimed = claim_one(store)

            _, [answer] = together2(
                partial(settle_one, one, succeeded(claimed)),
                partial(submit_again, two, [a_run("active")]),
            )

            assert answer.created is (answer.id != old)
            store.cancel([answer.id])


def a_run(scope: Any = "forever", key: str = KEY) -> NewRun:
    """A new run with a key that it keeps for so long."""
    return new_run(str(uuid4()), A_TYPE, {}, idempotency_key=key, key_scope=scope)


def scoped(store: Store) -> Store:
    """Return the store, if it minds scopes; else skip the law."""
    if not isinstance(store, KeyScopes):
        pytest.skip("this store keeps keys for ever: it is no KeyScopes")
    return store


def submit_key(store: Store, scope: Any, key: str = KEY) -> str:
    """Submit a run with a free key and return its id."""
    return submit(scoped(store), idempotency_key=key, key_scope=scope)


def asked(store: Store, key: str = KEY, **fields: Any) -> Submitted:
    """Submit a run with a key and return the answer."""
    run = new_run(str(uuid4()), A_TYPE, {}, idempotency_key=key, **fields)
    [answer] = store.submit([run])
    return answer


def bring_to_its_end(store: Store, run_id: str, end: str) -> None:
    """End a pending run."""
    if end == "cancelled":
        store.cancel([run_id])
    else:
        settle_one(store, {"succeeded": succeeded, "failed": failed}[end](claim_one(store)))
    assert get(store, run_id).status == end
