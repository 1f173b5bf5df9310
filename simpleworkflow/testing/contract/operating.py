"""Laws about what operators do: find, retry, delete, count and purge; see RunAdmin."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from simpleworkflow.core.admin import Answer, RunFilter, TypeStats, new_filter, place_of
from simpleworkflow.core.errors import StoreClosed
from simpleworkflow.core.records import Hold, Run, Submitted, Verdict, new_run
from simpleworkflow.core.states import TERMINAL, EventType, Status
from simpleworkflow.core.store import RunAdmin, Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    A_TYPE,
    MINUTE,
    NO_SUCH_RUN,
    TICK,
    DeleteRun,
    Examination,
    claim,
    claim_one,
    events,
    extend,
    failed,
    get,
    released,
    retried,
    route,
    settle,
    settle_one,
    submit,
    submit_many,
    succeeded,
    together,
)

DAY = timedelta(days=1)
EVERY_RUN = RunFilter()

USES: dict[str, Callable[[RunAdmin], object]] = {
    "find": lambda admin: admin.find(EVERY_RUN, 1, None),
    "retry": lambda admin: admin.retry([NO_SUCH_RUN]),
    "delete": lambda admin: admin.delete([NO_SUCH_RUN]),
    "stats": lambda admin: admin.stats(),
    "purge": lambda admin: admin.purge(DAY, TERMINAL, 1, None),
}


class OperatingLaws(Examination):
    """Operators see what is there, and move what may be moved."""

    @pytest.fixture
    def admin(self, store: Store) -> RunAdmin:
        """The store, as one that does what operators ask for."""
        if not isinstance(store, RunAdmin):
            pytest.skip("this store does nothing for operators: it is no RunAdmin")
        return store

    @pytest.mark.parametrize("use", USES.values(), ids=USES)
    def test_a_closed_store_refuses_its_operators(
        self, store: Store, admin: RunAdmin, use: Callable[[RunAdmin], object]
    ) -> None:
        """Like everybody else."""
        store.close()

        with pytest.raises(StoreClosed):
            use(admin)

    # Finding

    def test_runs_are_found_the_newest_first(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """In any status, each as `get` shows it."""
        ids = one_in_each_status(store, clock)

        found = admin.find(EVERY_RUN, 10, None)

        assert found == [get(store, run_id) for run_id in reversed(ids)]
        assert {run.status for run in found} == set(Status)

    def test_an_id_that_begins_with_the_time_tells_the_age(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """Of others, the instant of the submit does; runs of one moment stand by their ids."""
        ids = submit_of_both_kinds(store, clock)

        found = admin.find(EVERY_RUN, 100, None)

        assert {run.id for run in found} == set(ids)
        assert found == sorted(found, key=place_of, reverse=True)

    @pytest.mark.parametrize("size", [1, 2, 3, 7])
    @pytest.mark.parametrize("statuses", [None, ["failed", "cancelled"], ["pending", "leased"]])
    def test_pages_are_the_whole_list(
        self, store: Store, admin: RunAdmin, clock: FakeClock, size: int, statuses: list[str] | None
    ) -> None:
        """Each run once, in the same order, wherever a page ends."""
        store.cancel(submit_of_both_kinds(store, clock)[::2])
        one_in_each_status(store, clock)
        wanted = new_filter(statuses=statuses)

        assert list(paged(admin, wanted, size)) == admin.find(wanted, 100, None)

    @pytest.mark.parametrize(
        "wanted",
        [
            new_filter(types="a.%"),
            new_filter(types=["a.b", "z.%", "b"]),
            new_filter(types="a_b"),
            new_filter(statuses="failed"),
            new_filter(statuses="pending"),
            new_filter(statuses=["leased", "pending"]),
            new_filter(statuses=["succeeded", "cancelled", "pending"]),
            new_filter(older_than=MINUTE),
            new_filter(newer_than=MINUTE),
            new_filter(newer_than=MINUTE, older_than=5 * TICK),
            new_filter(older_than=DAY),
            new_filter(error="BOOM"),
            new_filter(error="%"),
            new_filter(worker_id="worker-a"),
            new_filter(worker_id="worker-a", statuses="failed"),
            new_filter(worker_id="nobody"),
            new_filter(idempotency_key="key-1"),
            new_filter(idempotency_key="key-1", types="nothing"),
            new_filter(types="a.%", statuses="failed", error="oo", newer_than=DAY),
        ],
    )
    def test_a_filter_finds_what_it_means(
        self, store: Store, admin: RunAdmin, clock: FakeClock, wanted: RunFilter
    ) -> None:
        """All of these runs, and no other; page by page as well."""
        submit_of_both_kinds(store, clock)
        for type_ in ("a.b", "a.b.c", "a_b", "b", "A.b"):
            one_in_each_status(store, clock, type_)
            clock.advance(20)
        submit(store, "a.b", idempotency_key="key-1")
        submit(store, "a.b", idempotency_key="key-2")
        every = admin.find(EVERY_RUN, 100, None)

        found = admin.find(wanted, 100, None)

        assert found == [run for run in every if wanted.matches(run, clock())]
        assert list(paged(admin, wanted, 4)) == found

    @pytest.mark.parametrize("limit", [0, 1, 3, 100])
    def test_a_list_is_cut_at_its_old_end(
        self, store: Store, admin: RunAdmin, clock: FakeClock, limit: int
    ) -> None:
        """It is as long as asked for."""
        ids = one_in_each_status(store, clock)

        found = [run.id for run in admin.find(EVERY_RUN, limit, None)]

        assert found == ids[::-1][:limit]

    @pytest.mark.parametrize(
        "wanted", [EVERY_RUN, new_filter(statuses="pending"), new_filter(idempotency_key="k")]
    )
    def test_a_deleted_run_is_not_found(
        self, store: Store, admin: RunAdmin, delete_run: DeleteRun | None, wanted: RunFilter
    ) -> None:
        """By no filter."""
        if delete_run is None:
            pytest.skip("this backend declares no deleted rows: it gives no fixture delete_run")
        delete_run(submit(store, idempotency_key="k"))

        assert admin.find(wanted, 10, None) == []

    # Retrying

    def test_a_failed_run_is_tried_again_with_all_its_attempts(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """It is pending, due now and at attempt 0; its error is as it was."""
        run_id = submit(store, max_attempts=2, priority=7)
        settle_one(store, retried(claim_one(store), delay=timedelta(0)))
        settle_one(store, failed(claim_one(store), "boom"))
        before = get(store, run_id)
        clock.advance(DAY)

        assert admin.retry([run_id]) == [Answer(run_id, Status.PENDING, True)]

        after = get(store, run_id)
        assert (after.status, after.attempt, after.run_at) == (Status.PENDING, 0, clock())
        assert (after.max_attempts, after.priority, after.last_error) == (2, 7, "boom")
        claimed = claim_one(store)
        assert (claimed.run_id, claimed.attempt) == (run_id, 0)
        assert claimed.fence > before.fence
        assert settle_one(store, succeeded(claimed)) is Verdict.APPLIED

    def test_a_retry_is_told_in_the_history(self, store: Store, admin: RunAdmin) -> None:
        """By whom, and to which attempt it had come."""
        run_id = submit(store)
        settle_one(store, failed(claim_one(store)))
        admin.retry([run_id])

        event = events(store, run_id)[-1]
        assert event.type is EventType.RETRIED
        assert event.data == {"by": "operator", "attempt": 1}

    def test_a_late_outcome_of_a_retried_run_is_refused(
        self, store: Store, admin: RunAdmin
    ) -> None:
        """Before and after the next claim: the first worker's lease is gone for good."""
        run_id = submit(store)
        late = claim_one(store)
        settle_one(store, failed(late))
        admin.retry([run_id])

        for outcome in (succeeded(late), failed(late), retried(late), released(late)):
            assert settle_one(store, outcome) is Verdict.LOST
        assert extend(store, late) is Hold.LOST
        current = claim_one(store)
        assert settle_one(store, succeeded(late)) is Verdict.LOST
        assert extend(store, late) is Hold.LOST
        assert extend(store, current) is Hold.KEPT

    def test_only_a_failed_run_is_tried_again(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """The others, and those that nobody knows, stay as they are, and the answer says how."""
        ids = [*one_in_each_status(store, clock), NO_SUCH_RUN]
        before = {run_id: store.get(run_id) for run_id in ids}

        answers = admin.retry(ids)

        assert [answer.id for answer in answers] == ids
        for answer in answers:
            run = before[answer.id]
            if run is not None and run.status is Status.FAILED:
                assert answer == Answer(answer.id, Status.PENDING, True)
            else:
                assert answer == Answer(answer.id, run and run.status, False)  # type: ignore[arg-type]
                assert store.get(answer.id) == run

    def test_a_retried_run_may_fail_and_be_tried_again(self, store: Store, admin: RunAdmin) -> None:
        """As often as somebody wants it."""
        run_id = submit(store)
        for _ in range(3):
            settle_one(store, failed(claim_one(store)))
            assert admin.retry([run_id])[0].done

        assert [event.type for event in events(store, run_id)].count(EventType.RETRIED) == 3

    def test_of_two_retries_at_once_one_counts(
        self, handles: Callable[[], Store], admin: RunAdmin, store: Store
    ) -> None:
        """Each run is set back once."""
        ids = submit_many(store, 20)
        settle(store, *[failed(claimed) for claimed in claim(store)])
        others = [handles() for _ in range(3)]

        answers = together([retrying(other, ids) for other in others])

        assert [sum(a.done for a in of_one) for of_one in zip(*answers, strict=True)] == [1] * 20
        for run_id in ids:
            types = [event.type for event in events(store, run_id)]
            assert types.count(EventType.RETRIED) == 1

    # Deleting

    def test_only_a_run_that_has_ended_is_deleted(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """The others, and those that nobody knows, stay as they are, and the answer says how."""
        ids = [*one_in_each_status(store, clock), NO_SUCH_RUN]
        before = {run_id: store.get(run_id) for run_id in ids}

        for answer, run in zip(admin.delete(ids), before.values(), strict=True):
            has_ended = run is not None and run.status in TERMINAL
            assert answer.done is has_ended
            assert answer.status == (None if run is None else run.status)
            assert store.get(answer.id) == (None if has_ended else run)

    def test_a_deleted_run_keeps_its_key_and_its_history(
        self, store: Store, admin: RunAdmin
    ) -> None:
        """What was done once is not done again because it is no longer shown."""
        run_id = submit(store, idempotency_key="order-7")
        settle_one(store, succeeded(claim_one(store)))
        history = events(store, run_id)
        admin.delete([run_id])

        again = store.submit([new_run(str(uuid4()), A_TYPE, {}, idempotency_key="order-7")])
        assert again == [Submitted(run_id, False)]
        assert events(store, run_id) == history

    def test_a_deleted_run_is_neither_deleted_nor_retried_again(
        self, store: Store, admin: RunAdmin
    ) -> None:
        """Nobody knows it any more."""
        run_id = submit(store)
        settle_one(store, failed(claim_one(store)))
        admin.delete([run_id])

        nobody = [Answer(run_id, None, False)]
        assert admin.delete([run_id]) == nobody
        assert admin.retry([run_id]) == nobody

    # Counting

    def test_stats_count_by_type(self, store: Store, admin: RunAdmin, clock: FakeClock) -> None:
        """What waits, what is leased, and what has ended; the first that is due is the oldest."""
        submit(store, "a.v1", delay=MINUTE)
        submit(store, "a.v1")
        clock.advance(10)
        submit(store, "a.v1")
        submit(store, "b.v1", max_attempts=1)
        clock.advance(5)
        [claimed] = claim(store, "b.v1")
        expected_a = TypeStats("a.v1", due=2, scheduled=1, oldest_due=timedelta(seconds=15))

        assert admin.stats() == [expected_a, TypeStats("b.v1", leased=1)]

        settle_one(store, failed(claimed))
        assert admin.stats() == [
            expected_a,
            TypeStats("b.v1", ended_last_minute=1, ended_last_hour=1, failed_last_hour=1),
        ]

    def test_stats_forget_what_ended_long_ago(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """First the minute does, then the hour."""
        submit_many(store, 3)
        settle(store, *[succeeded(claimed) for claimed in claim(store)])
        clock.advance(MINUTE)
        assert admin.stats() == [TypeStats(A_TYPE, ended_last_hour=3)]
        clock.advance(timedelta(hours=1))
        assert admin.stats() == []

    def test_stats_count_no_deleted_run(
        self, store: Store, admin: RunAdmin, delete_run: DeleteRun | None
    ) -> None:
        """It waits for nothing."""
        if delete_run is None:
            pytest.skip("this backend declares no deleted rows: it gives no fixture delete_run")
        for _ in range(2):
            delete_run(submit(store))

        assert admin.stats() == []

    # Purging

    def test_a_purge_deletes_what_ended_long_ago(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """With its history; what has not ended stays, however old it is."""
        old = one_in_each_status(store, clock, "old.v1")
        clock.advance(DAY)
        new = one_in_each_status(store, clock, "new.v1")
        old_histories = [events(store, run_id) for run_id in old]
        ended = [run_id for run_id in old if get(store, run_id).status in TERMINAL]

        purged = admin.purge(DAY, TERMINAL, 100, None)

        assert (purged.count, purged.after, purged.is_busy) == (3, None, False)
        for run_id, history in zip(old, old_histories, strict=True):
            assert (store.get(run_id) is None) is (run_id in ended)
            assert events(store, run_id) == ([] if run_id in ended else history)
        assert all(store.get(run_id) for run_id in new)

    def test_a_run_is_as_old_as_its_last_change(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """What was created long ago and ended just now is kept."""
        run_id = submit(store)
        clock.advance(DAY)
        settle_one(store, succeeded(claim_one(store)))
        clock.advance(DAY)
        assert admin.purge(DAY, TERMINAL, 100, None).count == 0
        clock.advance(TICK)
        assert admin.purge(DAY, TERMINAL, 100, None).count == 1
        assert store.get(run_id) is None

    def test_a_purge_may_be_of_some_statuses(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """The others stay."""
        one_in_each_status(store, clock)
        clock.advance(2 * DAY)

        assert admin.purge(DAY, frozenset({Status.FAILED}), 100, None).count == 1
        assert {run.status for run in admin.find(EVERY_RUN, 100, None)} == (
            set(Status) - {Status.FAILED}
        )

    def test_a_purge_looks_at_all_runs_in_batches(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """Those of both kinds of ids; the answer says where to go on, and when it is over."""
        waiting = submit_many(store, 5)
        store.cancel(submit_of_both_kinds(store, clock))
        old = len(admin.find(new_filter(statuses="cancelled"), 100, None))
        clock.advance(2 * DAY)

        counts, after = [], None
        while True:
            purged = admin.purge(DAY, TERMINAL, 4, after)
            counts.append(purged.count)
            if purged.after is None:
                break
            after = purged.after

        assert max(counts) <= 4
        assert sum(counts) == old
        assert {run.id for run in admin.find(EVERY_RUN, 100, None)} == set(waiting)

    def test_a_purged_run_gives_its_key_back(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """So it may be submitted once more, and only then."""
        submit(store, idempotency_key="order-7")
        settle_one(store, succeeded(claim_one(store)))
        clock.advance(2 * DAY)
        admin.purge(DAY, TERMINAL, 100, None)

        run_id = submit(store, idempotency_key="order-7")
        assert claim_one(store).run_id == run_id

    def test_deleted_runs_are_purged(
        self, store: Store, admin: RunAdmin, clock: FakeClock, delete_run: DeleteRun | None
    ) -> None:
        """Whatever their status, since nothing claims them any more."""
        if delete_run is None:
            pytest.skip("this backend declares no deleted rows: it gives no fixture delete_run")
        ids = one_in_each_status(store, clock)
        for run_id in ids:
            delete_run(run_id)
        # Deletion has its own instant, by whichever clock: this is past either.
        clock.advance(10_000 * DAY)

        assert admin.purge(DAY, frozenset({Status.FAILED}), 100, None).count == len(ids)
        assert events(store, ids[0]) == []

    def test_a_purge_leaves_the_order_of_claims_alone(
        self, store: Store, admin: RunAdmin, clock: FakeClock
    ) -> None:
        """Runs that are submitted afterwards queue up as before."""
        settled = [submit(store) for _ in range(3)]
        settle(store, *[succeeded(claimed) for claimed in claim(store)])
        waiting = [submit(store) for _ in range(2)]
        clock.advance(2 * DAY)
        assert admin.purge(DAY, TERMINAL, 100, None).count == len(settled)
        clock.advance(TICK)
        waiting.append(submit(store))

        assert {c.run_id for c in claim(store, limit=2)} == set(waiting[:2])
        clock.advance(MINUTE)
        assert len(store.rescue(route(), 10, "worker-b", MINUTE)) == 2
        assert claim_one(store).run_id == waiting[2]


def retrying(store: Store, ids: list[str]) -> Callable[[], list[Answer]]:
    """What retries these runs by this handle."""
    assert isinstance(store, RunAdmin)
    return lambda: store.retry(ids)


def paged(admin: RunAdmin, wanted: RunFilter, size: int) -> Iterator[Run]:
    """Every run that is meant, page by page."""
    after = None
    while page := admin.find(wanted, size, after):
        assert len(page) <= size
        assert after not in page
        yield from page
        after = page[-1]


def one_in_each_status(store: Store, clock: FakeClock, type_: str = A_TYPE) -> list[str]:
    """Submit five runs, each a moment after the other, and bring each to a status of its own."""
    ids = []
    for _ in range(5):
        ids.append(submit(store, type_))
        clock.advance(TICK)
    claims = claim(store, type_, limit=3)
    settle(store, succeeded(claims[0]), failed(claims[1], "Boom: went wrong"))
    store.cancel([ids[3]])
    return ids


def submit_of_both_kinds(store: Store, clock: FakeClock) -> list[str]:
    """Submit runs of random ids, and of ids that begin with the time; some are of one moment."""
    milliseconds = int(clock().timestamp() * 1_000)
    ids = []
    for step in range(-2, 3):
        time = f"{milliseconds + step:012x}"
        ids += [f"{time[:8]}-{time[8:]}-7{n}00-8000-{uuid4().hex[:12]}" for n in "0f"]
    ids += [str(uuid4()) for _ in range(4)]
    ids += [f"{'00ff'[i::2] * 4}-0000-4000-8000-{uuid4().hex[:12]}" for i in range(2)]
    for id_ in ids:
        store.submit([new_run(id_, A_TYPE, {})])
    clock.advance(timedelta(milliseconds=1))
    ids += [str(uuid4()) for _ in range(3)]
    store.submit([new_run(id_, A_TYPE, {}) for id_ in ids[-3:]])
    return ids
