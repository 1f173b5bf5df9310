"""Laws about schedules; a store that keeps none skips them."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from simpleworkflow.client import Client
from simpleworkflow.core.errors import ScheduleNotFound, StoreClosed, StoreConflict, UsageError
from simpleworkflow.core.records import Run, new_run
from simpleworkflow.core.schedule import MAX_FIRINGS, DueSchedule, Firing, Schedule, firing_key
from simpleworkflow.core.storable import check_run_id
from simpleworkflow.core.store import RunReader, ScheduleStore, Store
from simpleworkflow.schedules import Schedules
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    A_TYPE,
    MINUTE,
    NO_SUCH_RUN,
    TICK,
    Examination,
    claim,
    deadline,
    event_types,
    get,
    route,
    together,
)
from simpleworkflow.worker.ticker import BATCH, Ticks

TICKERS = 8
HOUR = timedelta(hours=1)
HOURLY = "0 * * * *"
"""The clock of a law starts at a full hour."""

NO_SUCH_SCHEDULE = NO_SUCH_RUN

Handles = Callable[[], Store]
Tick = Callable[..., int]


class ScheduleLaws(Examination):
    """A schedule fires once at each of its times, whoever and however many tick."""

    @pytest.fixture
    def schedules(self, store: Store) -> Schedules:
        """The schedules of the store."""
        if not isinstance(store, ScheduleStore):
            pytest.skip("this store keeps no schedules: it is no ScheduleStore")
        return Client(store).schedules

    @pytest.fixture
    def tick(self, store: Store) -> Tick:
        """Ticks once, as a ticker that has just come, and says how many runs it submitted."""
        return lambda mine=store: Ticks(mine).tick()

    def test_a_new_schedule_is_as_it_was_made(self, schedules: Schedules, clock: FakeClock) -> None:
        """It is next in the first hour to come, by the store's clock."""
        now = clock.advance(MINUTE)

        made = schedules.create(
            "a.b.v1",
            {"n": [1, None]},
            cron=" 0  9 * * 1 ",
            timezone="Europe/Zurich",
            priority=7,
            max_attempts=5,
            catch_up="all",
            headers={"trace": "t"},
        )

        # The first Monday of 2030 is the 7th; Zurich is an hour ahead.
        assert made == Schedule(
            id=check_run_id(made.id),
            type="a.b.v1",
            payload_json=made.payload_json,
            cron="0 9 * * 1",
            timezone="Europe/Zurich",
            next_run_at=datetime(2030, 1, 7, 8, tzinfo=now.tzinfo),
            created_at=now,
            updated_at=now,
            last_run_at=None,
            enabled=True,
            priority=7,
            max_attempts=5,
            catch_up="all",
            headers_json=made.headers_json,
        )
        assert (made.payload, made.headers) == ({"n": [1, None]}, {"trace": "t"})
        assert schedules.get(made.id.upper()) == made

    def test_what_is_not_said_is_as_for_a_run(self, schedules: Schedules) -> None:
        """And the latest of missed firings is made up for."""
        made = schedules.create(A_TYPE, None, cron=HOURLY)

        assert (made.timezone, made.priority, made.max_attempts) == ("UTC", 100, 3)
        assert (made.catch_up, made.payload, made.headers) == ("latest", None, {})

    def test_schedules_are_listed_the_oldest_first(
        self, schedules: Schedules, clock: FakeClock
    ) -> None:
        """Paused ones too."""
        made = []
        for _ in range(4):
            made.append(schedules.create(A_TYPE, {}, cron=HOURLY).id)
            clock.advance(TICK)
        schedules.pause(made[1])

        assert [schedule.id for schedule in schedules.list()] == made

    def test_a_firing_is_a_run_of_the_schedules_making(
        self, schedules: Schedules, store: Store, tick: Tick, clock: FakeClock
    ) -> None:
        """Due since the firing, known by its key, and with a history like any other."""
        schedule = schedules.create(
            "a.b.v1", {"n": 1}, cron=HOURLY, priority=7, max_attempts=5, headers={"trace": "t"}
        )
        now = clock.advance(HOUR + TICK)

        assert tick() == 1

        [run] = runs(store)
        assert (run.type, run.payload, run.headers) == ("a.b.v1", {"n": 1}, {"trace": "t"})
        assert (run.priority, run.max_attempts, run.attempt) == (7, 5, 0)
        assert (run.run_at, run.created_at) == (now - TICK, now)
        seconds = int((now - TICK).timestamp())
        assert run.idempotency_key == f"schedule:{schedule.id}:{seconds}"
        assert event_types(store, run.id) == ["created"]
        assert [c.run_id for c in claim(store)] == [run.id]
        after = schedules.get(schedule.id)
        assert after.last_run_at == now - TICK
        assert after.next_run_at == now - TICK + HOUR

    def test_a_schedule_fires_at_its_time_and_not_before(
        self, schedules: Schedules, tick: Tick, clock: FakeClock
    ) -> None:
        """To the microsecond, and then no more until the next."""
        schedules.create(A_TYPE, {}, cron=HOURLY)
        clock.advance(HOUR - TICK)
        assert tick() == 0
        clock.advance(TICK)
        assert tick() == 1
        assert tick() == 0
        clock.advance(HOUR)
        assert tick() == 1

    def test_eight_racing_tickers_fire_each_once(
        self, schedules: Schedules, store: Store, handles: Handles, clock: FakeClock
    ) -> None:
        """Twelve schedules, three hours in which all are missed and made up for."""
        ids = [schedules.create(A_TYPE, {}, cron=HOURLY, catch_up="all").id for _ in range(12)]
        start = clock()
        tickers = [handles() for _ in range(TICKERS)]
        for _ in range(3):
            clock.advance(3 * HOUR)
            together([partial(tick_until_done, ticker) for ticker in tickers])

        expected = {firing_key(id_, start + n * HOUR) for id_ in ids for n in range(1, 10)}
        assert sorted(str(run.idempotency_key) for run in runs(store)) == sorted(expected)
        assert {schedule.next_run_at for schedule in schedules.list()} == {start + 10 * HOUR}

    def test_what_was_seen_twice_is_fired_once(
        self, schedules: Schedules, store: Store, clock: FakeClock
    ) -> None:
        """A ticker that comes late with what it saw does nothing."""
        assert isinstance(store, ScheduleStore)
        schedules.create(A_TYPE, {}, cron=HOURLY)
        now = clock.advance(HOUR)
        [seen] = store.due_schedules(10).due
        firing = Firing(seen, (now,), now + HOUR)

        assert store.fire_schedules([firing]) == 1
        assert store.fire_schedules([firing]) == 0
        assert store.fire_schedules([]) == 0
        # Not even with another plan.
        assert store.fire_schedules([Firing(seen, (now + MINUTE,), now + 2 * HOUR)]) == 0
        assert schedules.list()[0].next_run_at == now + HOUR

    def test_a_run_that_exists_is_not_submitted_again(
        self, schedules: Schedules, store: Store, tick: Tick, clock: FakeClock
    ) -> None:
        """Another ticker submitted it and did not come to move the schedule on."""
        schedule = schedules.create(A_TYPE, {}, cron=HOURLY)
        now = clock.advance(HOUR)
        key = firing_key(schedule.id, now)
        store.submit([new_run(str(uuid4()), A_TYPE, {"by": "them"}, idempotency_key=key)])

        assert tick() == 0

        assert [run.payload for run in runs(store)] == [{"by": "them"}]
        assert schedules.get(schedule.id).next_run_at == now + HOUR

    @pytest.mark.parametrize(
        ("catch_up", "hours"), [("latest", [3]), ("all", [1, 2, 3]), ("none", [])]
    )
    def test_missed_firings_are_made_up_for_by_the_rule(
        self,
        schedules: Schedules,
        store: Store,
        tick: Tick,
        clock: FakeClock,
        catch_up: str,
        hours: list[int],
    ) -> None:
        """Nobody ticked for three hours and a minute; then it goes on as before."""
        schedule = schedules.create(A_TYPE, {}, cron=HOURLY, catch_up=catch_up)
        start = clock()
        clock.advance(3 * HOUR + MINUTE)

        assert tick() == len(hours)

        assert sorted(run.run_at for run in runs(store)) == [start + n * HOUR for n in hours]
        after = schedules.get(schedule.id)
        assert after.next_run_at == start + 4 * HOUR
        assert after.last_run_at == (start + 3 * HOUR if hours else None)
        clock.advance(HOUR - MINUTE)
        assert tick() == 1

    def test_many_missed_firings_come_in_portions(
        self, schedules: Schedules, store: Store, clock: FakeClock
    ) -> None:
        """The ticker goes on at once until all are there."""
        schedules.create(A_TYPE, {}, cron="* * * * *", catch_up="all")
        clock.advance((2 * MAX_FIRINGS + 50) * MINUTE)
        ticks = Ticks(store if isinstance(store, ScheduleStore) else None)

        assert [ticks.tick() for _ in range(4)] == [MAX_FIRINGS, MAX_FIRINGS, 50, 0]

    def test_many_schedules_come_in_portions(
        self, schedules: Schedules, store: Store, clock: FakeClock
    ) -> None:
        """The ticker goes on at once until all have fired."""
        for _ in range(BATCH + 5):
            schedules.create(A_TYPE, {}, cron=HOURLY)
        clock.advance(HOUR)
        ticks = Ticks(store if isinstance(store, ScheduleStore) else None)

        assert [ticks.tick() for _ in range(3)] == [BATCH, 5, 0]

    def test_a_paused_schedule_does_not_fire_and_a_resumed_one_does(
        self, schedules: Schedules, store: Store, tick: Tick, clock: FakeClock
    ) -> None:
        """What would have fired meanwhile is not made up for, whatever its rule."""
        schedule = schedules.create(A_TYPE, {}, cron=HOURLY, catch_up="all")
        start = clock()
        assert not schedules.pause(schedule.id).enabled
        clock.advance(3 * HOUR + MINUTE)
        assert tick() == 0

        assert schedules.resume(schedule.id).enabled
        assert tick() == 0
        clock.advance(HOUR)
        assert tick() == 1
        assert [run.run_at for run in runs(store)] == [start + 4 * HOUR]

    def test_a_firing_that_was_seen_before_a_pause_is_not_fired_after_it(
        self, schedules: Schedules, store: Store, clock: FakeClock
    ) -> None:
        """Whoever pauses, updates or deletes a schedule is sure of it at once."""
        assert isinstance(store, ScheduleStore)
        paused, updated, deleted = (schedules.create(A_TYPE, {}, cron=HOURLY).id for _ in range(3))
        now = clock.advance(HOUR)
        seen = store.due_schedules(10).due
        assert len(seen) == 3
        schedules.pause(paused)
        schedules.update(updated, cron="30 * * * *")
        schedules.delete(deleted)

        assert store.fire_schedules([Firing(each, (now,), now + HOUR) for each in seen]) == 0
        assert runs(store) == []

    def test_to_resume_what_is_not_paused_skips_no_firing(
        self, schedules: Schedules, tick: Tick, clock: FakeClock
    ) -> None:
        """Nor does it to pause twice change anything."""
        schedule = schedules.create(A_TYPE, {}, cron=HOURLY)
        clock.advance(HOUR)
        due = schedules.resume(schedule.id)
        assert due == schedule
        assert tick() == 1
        paused = schedules.pause(schedule.id)
        clock.advance(MINUTE)
        assert schedules.pause(schedule.id) == paused

    def test_an_update_changes_what_is_given_and_leaves_the_rest(
        self, schedules: Schedules, clock: FakeClock
    ) -> None:
        """The next firing too, unless the line or the zone is another one."""
        made = schedules.create(A_TYPE, {"n": 1}, cron=HOURLY, headers={"trace": "t"})
        clock.advance(HOUR + MINUTE)

        after = schedules.update(made.id, priority=1, payload=None)

        assert (after.priority, after.payload, after.headers) == (1, None, {"trace": "t"})
        assert (after.cron, after.next_run_at) == (HOURLY, made.next_run_at)
        assert (after.created_at, after.updated_at) == (made.created_at, clock())
        after = schedules.update(
            made.id, type="c.d.v1", max_attempts=9, catch_up="none", headers={}
        )
        assert (after.type, after.max_attempts, after.catch_up) == ("c.d.v1", 9, "none")
        assert (after.headers, after.payload, after.priority) == ({}, None, 1)

    def test_another_line_or_zone_counts_from_now_on(
        self, schedules: Schedules, store: Store, tick: Tick, clock: FakeClock
    ) -> None:
        """What was due by the old one is left out."""
        by_line = schedules.create(A_TYPE, {}, cron=HOURLY).id
        by_zone = schedules.create(A_TYPE, {}, cron="0 12 * * *").id
        start = clock()
        clock.advance(HOUR + MINUTE)

        assert schedules.update(by_line, cron="30 * * * *").next_run_at == start + 1.5 * HOUR
        # Noon in Kathmandu is 06:15.
        moved = schedules.update(by_zone, timezone="Asia/Kathmandu")
        assert moved.next_run_at == start + 6.25 * HOUR
        assert tick() == 0

    def test_racing_updates_all_count(
        self, schedules: Schedules, handles: Handles, clock: FakeClock
    ) -> None:
        """Each changes something else, and none is lost, all within one instant of the clock."""
        made = schedules.create(A_TYPE, {}, cron=HOURLY)
        changes: list[dict[str, Any]] = [
            {"type": "c.d.v1"},
            {"payload": {"n": 1}},
            {"cron": "5 * * * *"},
            {"timezone": "Asia/Kathmandu"},
            {"priority": 1},
            {"max_attempts": 9},
            {"catch_up": "all"},
            {"headers": {"trace": "t"}},
        ]
        together([partial(update_until_done, handles(), made.id, change) for change in changes])

        after = schedules.get(made.id)
        for change in changes:
            [(name, value)] = change.items()
            assert getattr(after, name) == value, name

    def test_a_deleted_schedule_never_fires_and_is_never_shown(
        self, schedules: Schedules, store: Store, tick: Tick, clock: FakeClock
    ) -> None:
        """The runs that it submitted stay."""
        gone = schedules.create(A_TYPE, {}, cron=HOURLY).id
        clock.advance(HOUR)
        tick()

        schedules.delete(gone)

        clock.advance(HOUR)
        assert tick() == 0
        assert len(runs(store)) == 1
        assert schedules.list() == []
        for use in (
            schedules.get,
            schedules.pause,
            schedules.resume,
            schedules.delete,
            schedules.run_now,
            partial(schedules.update, priority=1),
        ):
            with pytest.raises(ScheduleNotFound, match=gone):
                use(gone)

    def test_a_schedule_may_be_run_at_once(
        self, schedules: Schedules, store: Store, tick: Tick, clock: FakeClock
    ) -> None:
        """Each time one is asked for, paused or not, and its firings go on as they would."""
        made = schedules.create(
            "a.b.v1", {"n": 1}, cron=HOURLY, priority=7, max_attempts=5, headers={"trace": "t"}
        )
        schedules.pause(made.id)
        ids = {schedules.run_now(made.id).id, schedules.run_now(made.id).id}

        assert {run.id for run in runs(store)} == ids
        run = get(store, ids.pop())
        assert (run.type, run.payload, run.headers) == ("a.b.v1", {"n": 1}, {"trace": "t"})
        assert (run.priority, run.max_attempts, run.run_at) == (7, 5, clock())
        assert run.idempotency_key is None
        schedules.resume(made.id)
        clock.advance(HOUR)
        assert tick() == 1

    def test_the_next_firing_is_foretold(
        self, schedules: Schedules, store: Store, clock: FakeClock
    ) -> None:
        """So that a ticker knows when to look again: those due by age, then when the next is."""
        assert isinstance(store, ScheduleStore)
        assert store.due_schedules(10).next_at is None
        later = schedules.create(A_TYPE, {}, cron="0 3 * * *")
        first = schedules.create(A_TYPE, {}, cron="0 1 * * *")
        second = schedules.create(A_TYPE, {}, cron="0 2 * * *")
        seen = store.due_schedules(10)
        assert (seen.now, seen.due, seen.next_at) == (clock(), (), first.next_run_at)

        now = clock.advance(2 * HOUR)

        seen = store.due_schedules(10)
        assert seen.due == tuple(
            DueSchedule(s.id, s.cron, s.timezone, s.catch_up, s.next_run_at)
            for s in (first, second)
        )
        assert (seen.now, seen.next_at) == (now, later.next_run_at)
        assert store.due_schedules(1).due == seen.due[:1]

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"cron": "0 0 30 2 *"}, "never fires"),
            ({"cron": "0 0 9 * * 1"}, "five fields"),
            ({"timezone": "Mars/Olympus"}, "no zone"),
            ({"catch_up": "some"}, "one of"),
            ({"priority": 2**31}, "priority"),
            ({"max_attempts": 0}, "max_attempts"),
            ({"type": "a.%"}, "type"),
            ({"payload": {1, 2}}, "payload"),
            ({"payload": "x" * 2_000}, "max_payload_bytes"),
            ({"headers": []}, "headers"),
        ],
    )
    def test_what_cannot_be_kept_is_refused_and_changes_nothing(
        self, schedules: Schedules, store: Store, wrong: dict[str, Any], says: str
    ) -> None:
        """When it is made, and when it is changed."""
        careful = Client(store, max_payload_bytes=1_000).schedules
        made = careful.create(A_TYPE, {}, cron=HOURLY)
        right: dict[str, Any] = {"type": A_TYPE, "payload": {}, "cron": HOURLY}

        with pytest.raises(UsageError, match=says):
            careful.create(**right | wrong)
        with pytest.raises(UsageError, match=says):
            careful.update(made.id, **wrong)
        assert schedules.list() == [made]

    def test_an_update_of_nothing_and_an_id_that_is_none_are_refused(
        self, schedules: Schedules
    ) -> None:
        """By a sentence each."""
        with pytest.raises(UsageError, match="nothing to change"):
            schedules.update(NO_SUCH_SCHEDULE)
        with pytest.raises(UsageError, match="the schedule id 'x' is no UUID"):
            schedules.get("x")
        with pytest.raises(ScheduleNotFound):
            schedules.get(NO_SUCH_SCHEDULE)

    def test_schedules_of_a_closed_store_are_refused(
        self, schedules: Schedules, store: Store
    ) -> None:
        """As its runs are."""
        store.close()
        with pytest.raises(StoreClosed):
            schedules.list()
        with pytest.raises(StoreClosed):
            schedules.create(A_TYPE, {}, cron=HOURLY)


def runs(store: Store) -> list[Run]:
    """All runs there are, the newest first."""
    if not isinstance(store, RunReader):
        pytest.skip("this store lists no runs: it is no RunReader")
    return store.runs(route(), 1_000)


def tick_until_done(store: Store) -> None:
    """Tick as a ticker does, until nothing that is due is left."""
    assert isinstance(store, ScheduleStore)
    end = deadline()
    while store.due_schedules(1).due:
        assert time.monotonic() < end, "what is due stays due, however often it is fired"
        Ticks(store).tick()


def update_until_done(store: Store, schedule_id: str, change: dict[str, Any]) -> None:
    """Update a schedule, once more if others were quicker at every try."""
    while True:
        try:
            Client(store).schedules.update(schedule_id, **change)
            return
        except StoreConflict:
            continue
