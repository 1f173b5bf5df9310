"""Laws about the history of a run; a store that keeps none skips them."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from datetime import timedelta
from threading import Event as Flag
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest

from simpleworkflow.core.records import Settlement, new_run
from simpleworkflow.core.states import Move, Status
from simpleworkflow.core.store import Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    A_TYPE,
    MINUTE,
    NO_SUCH_RUN,
    PATIENCE,
    Examination,
    OpenStore,
    Outcome,
    ask,
    claim,
    claim_one,
    event_types,
    events,
    every_outcome,
    extend,
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

NAMES = {
    Status.PENDING: {"created"},
    Status.LEASED: {"leased"},
    Status.SUCCEEDED: {"succeeded"},
}


class HistoryLaws(Examination):
    """Every move leaves one event, in the same moment, and nothing else leaves any."""

    def test_a_life_is_told_in_order(self, store: Store, clock: FakeClock) -> None:
        """From its submit to its end, each event at its instant."""
        run_id = submit(store, max_attempts=9)
        born = clock()
        settle_one(store, released(claim_one(store)))
        clock.advance(1)
        settle_one(store, retried(claim_one(store)))
        clock.advance(MINUTE)
        claim_one(store)
        clock.advance(MINUTE)
        settle_one(store, succeeded(rescue_one(store)))

        told = [(str(e.type), e.created_at - born) for e in events(store, run_id)]

        second = timedelta(seconds=1)
        assert told == [
            ("created", timedelta(0)),
            ("leased", timedelta(0)),
            ("released", timedelta(0)),
            ("leased", second),
            ("retried", second),
            ("leased", second + MINUTE),
            ("rescued", second + 2 * MINUTE),
            ("succeeded", second + 2 * MINUTE),
        ]

    def test_event_ids_grow_and_name_their_run(self, store: Store) -> None:
        """So that whoever reads on knows where it stopped."""
        ids = submit_many(store, 3)
        settle(store, *map(succeeded, claim(store)))

        for run_id in ids:
            told = events(store, run_id)
            assert [e.run_id for e in told] == [run_id] * 3
            assert [e.id for e in told] == sorted({e.id for e in told})

    def test_a_submit_is_told_without_more(self, store: Store) -> None:
        """The run itself says the rest."""
        [event] = events(store, submit(store))

        assert (event.type, event.data) == ("created", {})

    def test_a_claim_is_told_with_who_and_which(self, store: Store) -> None:
        """Worker, fence and attempt."""
        run_id = submit(store)
        claimed = claim_one(store, worker="worker-a")

        event = events(store, run_id)[-1]

        assert event.type == "leased"
        assert event.data == {"worker_id": "worker-a", "fence": claimed.fence, "attempt": 0}

    def test_a_rescue_is_told_with_who_lost_the_run(self, store: Store, clock: FakeClock) -> None:
        """And who has it now."""
        run_id = submit(store)
        claim_one(store, worker="worker-a")
        clock.advance(MINUTE)
        rescued = rescue_one(store, worker="worker-b")

        event = events(store, run_id)[-1]

        assert event.type == "rescued"
        assert event.data == {
            "worker_id": "worker-b",
            "lost_by": "worker-a",
            "fence": rescued.fence,
            "attempt": 0,
        }

    @pytest.mark.parametrize(
        ("move", "fields", "kind", "data"),
        [
            (Move.SUCCEED, {"result_json": "1"}, "succeeded", {}),
            (
                Move.RETRY,
                {"error": "boom", "delay": timedelta(seconds=90)},
                "retried",
                {"error": "boom", "delay": 90},
            ),
            (
                Move.RETRY,
                {"error": "", "delay": timedelta(0)},
                "retried",
                {"error": "", "delay": 0},
            ),
            (Move.FAIL, {"error": "boom"}, "failed", {"error": "boom"}),
            (Move.RELEASE, {}, "released", {}),
        ],
        ids=["succeeded", "retried", "retried at once", "failed", "released"],
    )
    @pytest.mark.parametrize("ran", [None, timedelta(seconds=2.5)], ids=["", "with its time"])
    def test_an_outcome_is_told_with_what_came_of_it(
        self,
        store: Store,
        move: Move,
        fields: dict[str, Any],
        kind: str,
        data: dict[str, Any],
        ran: timedelta | None,
    ) -> None:
        """The attempt that ended, how long it ran, the error and the delay, as far as given."""
        run_id = submit(store)
        claimed = claim_one(store, worker="worker-a")
        attempt = 1 if move in (Move.RETRY, Move.FAIL) else 0
        settle_one(store, Settlement(claimed, move, attempt, ran=ran, **fields))

        event = events(store, run_id)[-1]

        who = {"worker_id": "worker-a", "fence": claimed.fence, "attempt": 0}
        assert event.type == kind
        assert event.data == who | data | ({} if ran is None else {"ran": 2.5})

    @pytest.mark.parametrize("is_leased", [False, True], ids=["pending", "leased"])
    def test_a_cancel_is_told_with_what_the_run_was(self, store: Store, is_leased: bool) -> None:
        """Whether somebody was executing it."""
        run_id = submit(store)
        if is_leased:
            claim_one(store)
        store.cancel([run_id])

        event = events(store, run_id)[-1]

        assert event.type == "cancelled"
        assert event.data == {"was": "leased" if is_leased else "pending"}

    @every_outcome
    def test_what_comes_after_a_cancel_is_kept_once(self, store: Store, outcome: Outcome) -> None:
        """The outcome of a cancelled run is history, and sending it again adds nothing."""
        run_id = submit(store)
        settlement = outcome(claim_one(store))
        store.cancel([run_id])
        for _ in range(3):
            settle_one(store, settlement)

        told = events(store, run_id)

        assert [str(e.type) for e in told] == ["created", "leased", "cancelled", "discarded"]
        assert told[-1].data.pop("outcome") == outcome.__name__
        assert told[-1].data.pop("fence") == settlement.claim.fence
        rest: dict[str, Any] = {"worker_id": "worker-a", "attempt": 0}
        if settlement.result_json is not None:
            rest["result"] = None
        if settlement.error is not None:
            rest["error"] = settlement.error
        assert told[-1].data == rest

    def test_the_result_of_a_cancelled_run_is_not_thrown_away(self, store: Store) -> None:
        """The work was done; somebody may want to know."""
        run_id = submit(store)
        settlement = succeeded(claim_one(store), {"charged": [1, "€"]})
        store.cancel([run_id])
        settle_one(store, settlement)

        assert events(store, run_id)[-1].data["result"] == {"charged": [1, "€"]}

    def test_a_long_error_is_cut_in_the_history_and_whole_in_the_run(self, store: Store) -> None:
        """1,000 characters are enough to tell errors apart."""
        error = "a long story. " * 1_000
        run_id = submit(store)
        settle_one(store, retried(claim_one(store), error=error))

        told = events(store, run_id)[-1].data["error"]

        assert get(store, run_id).last_error == error
        assert len(told) <= 1_000
        assert told.startswith(error[:900])

    def test_what_is_refused_leaves_no_event(self, store: Store, clock: FakeClock) -> None:
        """A stale outcome, a stale renewal, a taken key, a second cancel."""
        run_id = submit(store, idempotency_key="order-7")
        first = claim_one(store)
        clock.advance(MINUTE)
        rescue(store)
        before = events(store, run_id)

        settle_one(store, succeeded(first))
        extend(store, first)
        store.submit([new_run(str(uuid4()), A_TYPE, {}, idempotency_key="order-7")])
        assert events(store, run_id) == before

        store.cancel([run_id])
        store.cancel([run_id])
        assert event_types(store, run_id)[len(before) :] == ["cancelled"]

    @every_outcome
    def test_what_is_sent_again_leaves_no_second_event(
        self, store: Store, outcome: Outcome
    ) -> None:
        """In the same group or later."""
        run_id = submit(store)
        settlement = outcome(claim_one(store))
        settle(store, settlement, settlement)
        settle(store, settlement)

        assert event_types(store, run_id) == ["created", "leased", outcome.__name__]

    def test_heartbeats_leave_no_event(self, store: Store) -> None:
        """A long run would drown in them."""
        run_id = submit(store)
        claimed = claim_one(store)
        extend(store, claimed, 10 * MINUTE)
        ask(store, claimed)

        assert event_types(store, run_id) == ["created", "leased"]

    def test_every_run_of_a_group_has_its_event(self, store: Store) -> None:
        """Of 300 submitted, claimed and settled at once."""
        ids = submit_many(store, 300)
        settle(store, *map(succeeded, claim(store)))

        assert [event_types(store, run_id) for run_id in ids] == (
            [["created", "leased", "succeeded"]] * len(ids)
        )

    def test_nobody_sees_a_move_without_its_event(
        self, store: Store, open_store: OpenStore, clock: FakeClock
    ) -> None:
        """Who reads a run and then its history finds there what the run shows."""
        ids = submit_many(store, 60)
        events(store, ids[0])
        done = Flag()

        def work() -> None:
            mine = open_store(clock)
            try:
                while claims := claim(mine, limit=5):
                    settle(mine, *map(succeeded, claims))
            finally:
                mine.close()
                done.set()

        worker = Thread(target=work, daemon=True)
        worker.start()
        missing = []
        while not done.is_set():
            for run_id in ids:
                status = get(store, run_id).status
                if not NAMES[status] <= set(event_types(store, run_id)):
                    missing.append((run_id, status))
        worker.join(PATIENCE)

        assert missing == []
        assert {get(store, run_id).status for run_id in ids} == {Status.SUCCEEDED}

    def test_a_run_that_was_never_submitted_has_no_history(self, store: Store) -> None:
        """An empty list, and no error."""
        assert events(store, NO_SUCH_RUN) == []

    def test_reading_history_does_not_rewrite_it(self, store: Store) -> None:
        """What a reader does to an event stays with the reader."""
        run_id = submit(store)
        claim_one(store)
        before = events(store, run_id)
        events(store, run_id)[-1].data["worker_id"] = "somebody else"

        assert events(store, run_id) == before
