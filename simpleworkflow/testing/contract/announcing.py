"""Laws about the roster of workers; a store that keeps none skips them."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, cast
from uuid import uuid4

import pytest
from attrs import asdict, evolve

from simpleworkflow.core.errors import StoreClosed
from simpleworkflow.core.roster import KEPT_FOR, Announcement, Worker
from simpleworkflow.core.store import Examinable, Roster, Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    MINUTE,
    TICK,
    Examination,
    route,
    submit,
    together,
)


class AnnouncingLaws(Examination):
    """Workers announce themselves, and people see who is at work."""

    @pytest.fixture
    def rosters(self, handles: Callable[[], Store]) -> Callable[[], Roster]:
        """Opens handles, as ones that keep a roster."""

        def open_one() -> Roster:
            store = handles()
            if not isinstance(store, Roster):
                pytest.skip("this store keeps no roster of workers: it is no Roster")
            return store

        return open_one

    @pytest.fixture
    def roster(self, rosters: Callable[[], Roster]) -> Roster:
        """One handle, as one that keeps a roster."""
        return rosters()

    @pytest.fixture
    def announcement(self, clock: FakeClock) -> Announcement:
        """What a worker says of itself."""
        return announced(clock)

    def test_a_worker_is_listed_as_it_announced_itself(
        self, roster: Roster, clock: FakeClock, announcement: Announcement
    ) -> None:
        """Word for word, from the moment at which it did."""
        assert roster.workers() == []

        roster.announce(announcement)

        [worker] = roster.workers()
        said = asdict(announcement, filter=lambda field, _: field.name != "clock")
        assert {name: getattr(worker, name) for name in said} == said
        assert (worker.started_at, worker.seen_at) == (clock(), clock())
        assert (worker.silence, worker.skew) == (timedelta(0), timedelta(0))

    def test_a_worker_that_announces_itself_again_is_the_same(
        self, roster: Roster, clock: FakeClock, announcement: Announcement
    ) -> None:
        """Seen now, at work since it started, with what it serves by now."""
        roster.announce(announcement)
        started_at = clock()
        now = clock.advance(MINUTE)

        roster.announce(evolve(announcement, patterns=("a.%", "b"), clock=now))

        [worker] = roster.workers()
        assert (worker.started_at, worker.seen_at) == (started_at, now)
        assert worker.patterns == ("a.%", "b")

    def test_silence_is_counted_from_the_last_announcement(
        self, roster: Roster, clock: FakeClock, announcement: Announcement
    ) -> None:
        """By the store's clock."""
        roster.announce(announcement)
        clock.advance(MINUTE)

        assert [worker.silence for worker in roster.workers()] == [MINUTE]

    @pytest.mark.parametrize("skew", [MINUTE, -MINUTE, TICK], ids=["ahead", "behind", "a tick"])
    def test_the_skew_of_a_workers_clock_is_what_it_was_then(
        self, roster: Roster, clock: FakeClock, announcement: Announcement, skew: timedelta
    ) -> None:
        """However long ago that was."""
        roster.announce(evolve(announcement, clock=clock() + skew))
        clock.advance(MINUTE)

        assert [worker.skew for worker in roster.workers()] == [skew]

    def test_workers_are_listed_by_their_start_then_by_id(
        self, roster: Roster, clock: FakeClock
    ) -> None:
        """So that a list is the same each time it is read."""
        first = [announced(clock) for _ in range(5)]
        for each in first:
            roster.announce(each)
        clock.advance(TICK)
        last = announced(clock)
        roster.announce(last)
        roster.announce(first[0])

        assert ids_of(roster.workers()) == [*sorted(each.id for each in first), last.id]

    def test_a_worker_that_has_stopped_is_not_listed(
        self, roster: Roster, clock: FakeClock, announcement: Announcement
    ) -> None:
        """Whoever says so twice, or of one that never was, is not wrong."""
        other = announced(clock)
        roster.announce(announcement)
        roster.announce(other)
        for id_ in (announcement.id, announcement.id, str(uuid4())):
            roster.retire(id_)

        assert ids_of(roster.workers()) == [other.id]

    def test_a_worker_that_vanished_is_kept_for_a_while(
        self, roster: Roster, clock: FakeClock, announcement: Announcement
    ) -> None:
        """And is removed by the next that announces itself after that, and not by a look."""
        roster.announce(announcement)
        clock.advance(KEPT_FOR)
        other = announced(clock)
        roster.announce(other)
        assert ids_of(roster.workers()) == [announcement.id, other.id]
        clock.advance(TICK)
        assert ids_of(roster.workers()) == [announcement.id, other.id]

        roster.announce(other)

        assert ids_of(roster.workers()) == [other.id]

    def test_a_worker_that_was_asleep_for_long_does_not_remove_itself(
        self, roster: Roster, clock: FakeClock, announcement: Announcement
    ) -> None:
        """Its next announcement brings it back to life."""
        roster.announce(announcement)
        clock.advance(2 * KEPT_FOR)

        roster.announce(announcement)

        assert [worker.seen_at for worker in roster.workers()] == [clock()]

    def test_every_handle_shows_the_same_workers(
        self, rosters: Callable[[], Roster], announcement: Announcement
    ) -> None:
        """Whoever looks is mostly another program."""
        rosters().announce(announcement)

        assert ids_of(rosters().workers()) == [announcement.id]

    def test_workers_that_announce_themselves_at_once_are_all_listed(
        self, rosters: Callable[[], Roster], clock: FakeClock
    ) -> None:
        """Though each of them removes those that vanished."""
        vanished = [announced(clock) for _ in range(20)]
        first = rosters()
        for each in vanished:
            first.announce(each)
        clock.advance(2 * KEPT_FOR)
        alive = [announced(clock) for _ in range(8)]
        opened = [rosters() for _ in alive]

        together([partial(r.announce, a) for r, a in zip(opened, alive, strict=True)])

        assert ids_of(first.workers()) == sorted(each.id for each in alive)

    @pytest.mark.parametrize("use", ["announce", "retire", "workers"])
    def test_a_closed_store_keeps_no_roster(
        self, roster: Roster, announcement: Announcement, use: str
    ) -> None:
        """As with every other use."""
        cast(Store, roster).close()
        given: dict[str, list[Any]] = {"announce": [announcement], "retire": [announcement.id]}

        with pytest.raises(StoreClosed):
            getattr(roster, use)(*given.get(use, []))

    def test_an_examination_changes_nothing(
        self, store: Store, rosters: Callable[[], Roster], clock: FakeClock
    ) -> None:
        """Of runs, and of workers that vanished; and each thing is looked at once."""
        if not isinstance(store, Examinable):
            pytest.skip("this store cannot be examined: it is no Examinable")
        run_id = submit(store)
        roster = rosters()
        roster.announce(announced(clock))
        clock.advance(2 * KEPT_FOR)
        before = store.get(run_id), roster.workers()

        names = [finding.name for finding in store.examine()]

        assert (store.get(run_id), roster.workers()) == before
        assert len(set(names)) == len(names)


def announced(clock: FakeClock) -> Announcement:
    """What a new worker says of itself."""
    return Announcement(
        id=str(uuid4()),
        worker_id='Zoë\'s "worker"',
        hostname="böx.example.org",
        pid=4711,
        version="1.2.3",
        patterns=tuple(map(str, route("a.%", 'b"\\,{}.v1').patterns)),
        concurrency=4,
        clock=clock(),
    )


def ids_of(workers: list[Worker]) -> list[str]:
    """Which workers these are, in their order."""
    return [worker.id for worker in workers]
