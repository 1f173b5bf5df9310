"""Stores that break one law each; the contract must notice every one of them.

Each is a MemoryStore but for one mistake that somebody could make. LAW names the test that must
fail, which may be one of several that do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import attrs

from simpleworkflow.backends.memory import MemoryStore, _Checked
from simpleworkflow.backends.memory_tables import Row
from simpleworkflow.backends.memory_tables import Tables as _Tables
from simpleworkflow.core.admin import Purged, RunFilter, TypeStats
from simpleworkflow.core.errors import StoreClosed
from simpleworkflow.core.records import (
    Claim,
    Extension,
    Hold,
    NewRun,
    Run,
    Settled,
    Settlement,
    Submitted,
    Verdict,
)
from simpleworkflow.core.roster import Announcement
from simpleworkflow.core.routing import Route, TypePattern
from simpleworkflow.core.schedule import Firing, Schedule
from simpleworkflow.core.states import EVENT_OF, TERMINAL, EventType, Move, Status

A_MOMENT = 0.003
"""Seconds between two steps that should have been one, so that racing threads do meet there."""

MUTANTS: list[type[Broken]] = []


class Broken(MemoryStore):
    """A store with one mistake; without one, it is the control that passes all laws."""

    LAW: ClassVar[str] = ""
    Tables: ClassVar[type[_Tables]] = _Tables

    def __init_subclass__(cls) -> None:
        """List every mutant, but no base class of others."""
        if cls.LAW:
            MUTANTS.append(cls)

    @classmethod
    def opener(cls) -> Callable[[Callable[[], datetime]], Broken]:
        """Return a function that opens handles onto runs of their own."""
        tables = cls.Tables()

        def open_one(clock: Callable[[], datetime]) -> Broken:
            store = cls(clock)
            store._tables = tables
            return store

        return open_one


class Scanning(_Tables):
    """Finds what is due by looking at every row: slower, and easier to get wrong."""

    def take_due(self, route: Route, limit: int, now: datetime) -> Iterator[Row]:
        """Take the first rows that are due, as `is_due` and `order` say."""
        due = [row for row in self.rows.values() if self.is_due(row, route, now)]
        yield from sorted(due, key=self.order)[: max(0, limit)]

    def is_due(self, row: Row, route: Route, now: datetime) -> bool:
        """Say whether a row may be claimed."""
        return (
            row.status is Status.PENDING
            and row.run_at <= now
            and row.deleted_at is None
            and route.matches(row.type)
        )

    def order(self, row: Row) -> tuple[Any, ...]:
        """Return what rows are sorted by."""
        return (row.priority, row.run_at, row.created_at)


class ScanningControl(Broken):
    """Right in all, though built differently: it must pass."""

    Tables = Scanning


# --- Fencing ---------------------------------------------------------------------------------


class SettlesByIdAlone(Broken):
    """Writes the outcome of whoever brings one."""

    LAW = "test_a_rescued_run_refuses_its_first_worker"

    def _settle_one(self, tables: _Tables, settlement: Settlement, now: datetime) -> Settled:
        row = tables.rows.get(settlement.claim.run_id)
        if row is not None and row.status is Status.LEASED and row.leased_by is not None:
            current = settlement.claim._replace(
                fence=row.fence, worker_id=row.leased_by, attempt=row.attempt
            )
            settlement = settlement._replace(claim=current)
        return super()._settle_one(tables, settlement, now)


class TellsWorkersApartByName(Broken):
    """Compares the worker's name and no fence, so two of one name share a run."""

    LAW = "test_the_second_worker_settles_what_it_took_over"

    def _settle_one(self, tables: _Tables, settlement: Settlement, now: datetime) -> Settled:
        row = tables.rows.get(settlement.claim.run_id)
        if row is not None and row.leased_by == settlement.claim.worker_id:
            current = settlement.claim._replace(fence=row.fence)
            settlement = settlement._replace(claim=current)
        return super()._settle_one(tables, settlement, now)


class ExtendsByIdAlone(Broken):
    """Renews the lease of whoever asks."""

    LAW = "test_a_lease_that_was_taken_over_cannot_be_renewed"

    def _extend_one(self, tables: _Tables, extension: Extension, now: datetime) -> Hold:
        row = tables.rows.get(extension.claim.run_id)
        if row is not None and row.leased_by is not None:
            current = extension.claim._replace(fence=row.fence, worker_id=row.leased_by)
            extension = attrs.evolve(extension, claim=current)
        return super()._extend_one(tables, extension, now)


class IgnoresTheWorker(Broken):
    """Compares the fence only, though other programs take leases over without touching it."""

    LAW = "test_a_claim_is_proven_by_run_worker_and_fence"

    def _settle_one(self, tables: _Tables, settlement: Settlement, now: datetime) -> Settled:
        row = tables.rows.get(settlement.claim.run_id)
        if row is not None and row.leased_by is not None:
            current = settlement.claim._replace(worker_id=row.leased_by)
            settlement = settlement._replace(claim=current)
        return super()._settle_one(tables, settlement, now)


class StartsFencesAnew(Broken):
    """Counts fences from one again after each outcome."""

    LAW = "test_fences_only_grow"

    def _apply(self, tables: _Tables, row: Row, *rest: Any) -> None:
        super()._apply(tables, row, *rest)
        row.fence = 0


# --- Routing ---------------------------------------------------------------------------------


class RoutesLikeSql(Broken):
    """Matches with LIKE, for which `_` is any letter."""

    LAW = "test_a_pattern_serves_its_types_to_the_letter"

    class Tables(Scanning):
        def is_due(self, row: Row, route: Route, now: datetime) -> bool:
            like = any(matches_like(pattern, row.type) for pattern in route.patterns)
            return super().is_due(row, Route.of(["%"]), now) and like


class RoutesWithoutCase(Broken):
    """Matches as a case-insensitive collation does."""

    LAW = "test_a_pattern_serves_its_types_to_the_letter"

    class Tables(Scanning):
        def is_due(self, row: Row, route: Route, now: datetime) -> bool:
            lowered = Route.of(TypePattern(p.literal.lower(), p.is_prefix) for p in route.patterns)
            return super().is_due(row, Route.of(["%"]), now) and lowered.matches(row.type.lower())


class ReadsNoPatternsAsAll(Broken):
    """Takes a route without patterns for one without limits."""

    LAW = "test_a_route_without_patterns_serves_nothing"

    def claim(self, route: Route, limit: int, worker_id: str, lease: timedelta) -> list[Claim]:
        return super().claim(route or Route.of(["%"]), limit, worker_id, lease)


def matches_like(pattern: TypePattern, type_: str) -> bool:
    """Match as SQL's LIKE does."""
    head = type_[: len(pattern.literal)]
    if len(head) < len(pattern.literal) or (not pattern.is_prefix and type_ != head):
        return False
    return all(p in ("_", t) for p, t in zip(pattern.literal, head, strict=True))


# --- Order -----------------------------------------------------------------------------------


class IgnoresPriority(Broken):
    """First in, first out."""

    LAW = "test_the_lower_priority_number_comes_first"

    class Tables(Scanning):
        def order(self, row: Row) -> tuple[Any, ...]:
            return (row.run_at, row.created_at)


class OrdersByAge(Broken):
    """Leaves run_at out of the order."""

    LAW = "test_among_equal_priorities_the_earlier_run_at_comes_first"

    class Tables(Scanning):
        def order(self, row: Row) -> tuple[Any, ...]:
            return (row.priority, row.created_at)


class PutsRetriesFirst(Broken):
    """Keeps retries in a queue of their own, which it empties first."""

    LAW = "test_a_retried_run_stands_where_its_new_run_at_puts_it"

    class Tables(Scanning):
        def order(self, row: Row) -> tuple[Any, ...]:
            return (row.attempt == 0, *super().order(row))


class RunsTheFuture(Broken):
    """Never looks at run_at."""

    LAW = "test_a_run_of_the_future_is_not_claimed_before_its_time"

    class Tables(Scanning):
        def is_due(self, row: Row, route: Route, now: datetime) -> bool:
            return super().is_due(row, route, max(now, row.run_at))


class ClaimsTheDeleted(Broken):
    """Never looks at deleted_at."""

    LAW = "test_a_deleted_run_is_never_claimed"

    class Tables(Scanning):
        def is_due(self, row: Row, route: Route, now: datetime) -> bool:
            seen = attrs.evolve(row, deleted_at=None)
            return super().is_due(seen, route, now)


# --- Leases and attempts ---------------------------------------------------------------------


class ForgivesCrashes(Broken):
    """Does not count the attempt of a run that was taken over."""

    LAW = "test_a_crash_counts_as_an_attempt"

    def _apply(self, tables: _Tables, row: Row, settlement: Settlement, *rest: Any) -> None:
        if row.history[-1][1] == EventType.RESCUED:
            settlement = settlement._replace(attempt=row.attempt)
        super()._apply(tables, row, settlement, *rest)


class ChargesForReleases(Broken):
    """Counts an attempt of a run that was given back."""

    LAW = "test_a_release_costs_no_attempt"

    def _apply(self, tables: _Tables, row: Row, settlement: Settlement, *rest: Any) -> None:
        super()._apply(tables, row, settlement, *rest)
        row.attempt += settlement.move is Move.RELEASE


class ClaimsExpiredLeases(Broken):
    """Hands out runs whose lease ran out as if nothing had happened."""

    LAW = "test_a_leased_run_is_not_claimed_again"

    def claim(self, route: Route, limit: int, worker_id: str, lease: timedelta) -> list[Claim]:
        found = super().claim(route, limit, worker_id, lease)
        if len(found) < limit:
            more = self.rescue(route, limit - len(found), worker_id, lease)
            found += [rescued.claim for rescued in more]
        return found


class RescuesEarly(Broken):
    """Allows for clocks that differ, at the cost of the worker."""

    LAW = "test_a_lease_is_taken_over_at_its_end_and_not_before"

    class Tables(_Tables):
        def expired(self, route: Route, now: datetime) -> list[Row]:
            return super().expired(route, now + timedelta(seconds=1))


class ShortensLeases(Broken):
    """Renews to now plus the duration, even when that is sooner."""

    LAW = "test_a_renewal_never_shortens_a_lease"

    def _extend_one(self, tables: _Tables, extension: Extension, now: datetime) -> Hold:
        hold = super()._extend_one(tables, extension, now)
        if hold is Hold.KEPT and extension.duration:
            tables.rows[extension.claim.run_id].lease_until = now + extension.duration
        return hold


class DropsExpiredLeases(Broken):
    """Calls an expired lease lost, though nobody took the run over."""

    LAW = "test_an_expired_lease_that_nobody_took_over_is_still_held"

    def _extend_one(self, tables: _Tables, extension: Extension, now: datetime) -> Hold:
        row = tables.rows.get(extension.claim.run_id)
        if row is not None and row.lease_until is not None and row.lease_until <= now:
            return Hold.LOST
        return super()._extend_one(tables, extension, now)


# --- Settling --------------------------------------------------------------------------------


class ForgetsWhatItWrote(Broken):
    """Refuses a settlement that it has already written."""

    LAW = "test_a_settlement_sent_again_after_a_lost_reply_changes_nothing"

    def _settle_one(self, tables: _Tables, settlement: Settlement, now: datetime) -> Settled:
        row = tables.rows.get(settlement.claim.run_id)
        is_over = row is not None and row.leased_by is None and row.status is not Status.CANCELLED
        return Settled(Verdict.LOST) if is_over else super()._settle_one(tables, settlement, now)


class WritesRepeatsAgain(Broken):
    """Records a repeated settlement a second time."""

    LAW = "test_what_is_sent_again_leaves_no_second_event"

    def _settle_one(self, tables: _Tables, settlement: Settlement, now: datetime) -> Settled:
        row = tables.rows.get(settlement.claim.run_id)
        is_repeat = row is not None and row.leased_by is None
        answer = super()._settle_one(tables, settlement, now)
        if row is not None and is_repeat and answer.verdict is Verdict.APPLIED:
            self._record(tables, row, EVENT_OF[settlement.move], {}, now)
        return answer


class SpoilsTheGroup(Broken):
    """Lets one outcome that cannot be stored take the whole group with it."""

    LAW = "test_one_outcome_that_cannot_be_stored_harms_no_other_of_its_group"

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        for settlement in settlements:
            texts = (settlement.result_json or "", settlement.error or "")
            if any("\\u0000" in t or "\x00" in t or "\udc80" in t for t in texts):
                return [Settled(Verdict.UNSTORABLE, "the group was refused")] * len(settlements)
        return super().settle(settlements)


class StopsAtTheFirstStale(Broken):
    """Gives up on the rest of a group at the first refusal."""

    LAW = "test_one_stale_settlement_harms_no_other_of_its_group"

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        answers: list[Settled] = []
        for settlement in settlements:
            if answers and answers[-1].verdict is Verdict.LOST:
                answers.append(answers[-1])
            else:
                answers += super().settle([settlement])
        return answers


class WipesErrors(Broken):
    """Clears last_error when a later attempt goes well."""

    LAW = "test_the_last_error_stays_for_who_reads_later"

    def _apply(self, tables: _Tables, row: Row, settlement: Settlement, *rest: Any) -> None:
        super()._apply(tables, row, settlement, *rest)
        row.last_error = settlement.error


# --- Cancelling ------------------------------------------------------------------------------


class RevivesTheCancelled(Broken):
    """Lets a late retry turn a cancelled run back to pending."""

    LAW = "test_what_comes_after_a_cancel_has_no_effect"

    def _discard(self, tables: _Tables, row: Row, settlement: Settlement, *rest: Any) -> None:
        if settlement.move is not Move.RETRY:
            return super()._discard(tables, row, settlement, *rest)
        row.status = Status.LEASED
        return self._apply(tables, row, settlement, *rest)


class ThrowsLateOutcomesAway(Broken):
    """Keeps no trace of what a cancelled run did."""

    LAW = "test_what_comes_after_a_cancel_is_kept_once"

    def _discard(self, tables: _Tables, row: Row, *rest: Any) -> None:
        row.leased_by = None


class HidesCancels(Broken):
    """Tells the worker of a cancelled run that it lost its lease."""

    LAW = "test_a_worker_learns_of_a_cancel_by_its_next_heartbeat"

    def _extend_one(self, tables: _Tables, extension: Extension, now: datetime) -> Hold:
        hold = super()._extend_one(tables, extension, now)
        return Hold.LOST if hold is Hold.CANCELLED else hold


class CancelsTheFinished(Broken):
    """Cancels runs that have ended."""

    LAW = "test_a_run_that_has_ended_never_moves_again"

    def _cancel_one(self, tables: _Tables, run_id: str, now: datetime) -> Status | None:
        status = super()._cancel_one(tables, run_id, now)
        if status is not None:
            tables.rows[run_id].status = Status.CANCELLED
        return status and Status.CANCELLED


# --- History ---------------------------------------------------------------------------------


class LosesEvents(Broken):
    """Writes history as well as it can, and now and then it cannot."""

    LAW = "test_a_life_is_told_in_order"

    def _record(self, tables: _Tables, row: Row, kind: EventType, *rest: Any) -> None:
        if kind is not EventType.RETRIED:
            super()._record(tables, row, kind, *rest)


class WritesEventsLater(Broken):
    """Moves a run first and writes its event afterwards."""

    LAW = "test_nobody_sees_a_move_without_its_event"

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        self._late: list[tuple[Any, ...]] = []
        answers = super().settle(settlements)
        time.sleep(A_MOMENT)
        with self._locked():
            for late in self._late:
                super()._record(*late)
        return answers

    def _record(self, tables: _Tables, row: Row, kind: EventType, *rest: Any) -> None:
        if kind is EventType.SUCCEEDED:
            self._late.append((tables, row, kind, *rest))
        else:
            super()._record(tables, row, kind, *rest)


class RecordsHeartbeats(Broken):
    """Fills the history with heartbeats."""

    LAW = "test_heartbeats_leave_no_event"

    def _extend_one(self, tables: _Tables, extension: Extension, now: datetime) -> Hold:
        hold = super()._extend_one(tables, extension, now)
        if hold is Hold.KEPT:
            row = tables.rows[extension.claim.run_id]
            self._record(tables, row, EventType.LEASED, {}, now)
        return hold


# --- Submitting ------------------------------------------------------------------------------


class SubmitsHalfABatch(Broken):
    """Creates run by run, and stops at the first that cannot be held."""

    LAW = "test_a_batch_with_one_run_that_cannot_be_held_creates_none"

    def submit(self, runs: Sequence[NewRun]) -> list[Submitted]:
        return [answer for run in runs for answer in super(SubmitsHalfABatch, self).submit([run])]


class FreesKeys(Broken):
    """Gives a key free when its run has ended."""

    LAW = "test_a_key_stays_taken_after_its_run_has_moved_on"

    def _apply(self, tables: _Tables, row: Row, *rest: Any) -> None:
        super()._apply(tables, row, *rest)
        if row.idempotency_key is not None and row.status is not Status.PENDING:
            del tables.keys[row.idempotency_key]


class AsksThenCreates(Broken):
    """Looks for the key first, and creates the run a moment later."""

    LAW = "test_one_key_raced_by_sixteen_producers_is_one_run"

    def submit(self, runs: Sequence[NewRun]) -> list[Submitted]:
        with self._locked() as (tables, _):
            is_free = [run.idempotency_key not in tables.keys for run in runs]
        if is_free != [True] or runs[0].idempotency_key is None:
            return super().submit(runs)
        time.sleep(A_MOMENT)
        with self._locked() as (tables, now):
            for run in runs:
                tables.keys.pop(run.idempotency_key or "", None)
            return [self._submit_one(tables, _Checked.of(run), now) for run in runs]


class KeepsKeysForEver(Broken):
    """Knows nothing of scopes, and does not say so."""

    LAW = "test_a_key_is_free_when_its_run_has_ended"

    class Tables(_Tables):
        def holder(self, key: str, now: datetime) -> Row | None:
            return self.keys.get(key)


class CountsFromTheLastChange(Broken):
    """Counts the time for which a key holds from when its run was last touched."""

    LAW = "test_a_key_holds_for_its_time_from_the_submit"

    class Tables(_Tables):
        def holder(self, key: str, now: datetime) -> Row | None:
            row = super().holder(key, now)
            if row is None and (held := self.keys[key]).updated_at > held.created_at:
                return held
            return row


class AsksTheNewcomer(Broken):
    """Takes the scope of the submit that meets a key for that of the run which has it."""

    LAW = "test_the_scope_that_counts_is_that_of_the_run_which_has_the_key"

    def _submit_one(self, tables: _Tables, checked: _Checked, now: datetime) -> Submitted:
        row = tables.keys.get(checked.run.idempotency_key or "")
        if row is not None:
            row.key_scope = checked.run.key_scope
        return super()._submit_one(tables, checked, now)


class WipesTheKeyThatWentOn(Broken):
    """Leaves a run without the key that it was submitted with."""

    LAW = "test_a_run_that_gave_its_key_up_is_left_alone"

    def _submit_one(self, tables: _Tables, checked: _Checked, now: datetime) -> Submitted:
        before = tables.keys.get(checked.run.idempotency_key or "")
        answer = super()._submit_one(tables, checked, now)
        if before is not None and answer.created:
            before.idempotency_key = None
        return answer


class TellsOfAnyEnd(Broken):
    """Tells everybody who waits when any run has ended."""

    LAW = "test_who_waits_for_one_run_is_not_told_of_another"

    class Tables(_Tables):
        def is_over(self, run_id: str) -> bool:
            return any(super(TellsOfAnyEnd.Tables, self).is_over(row) for row in self.rows)


# --- Races -----------------------------------------------------------------------------------


class LooksThenLeases(Broken):
    """Looks for due runs first, and leases them a moment later."""

    LAW = "test_racing_claimers_never_share_a_run_and_together_get_all"
    Tables = Scanning

    def claim(self, route: Route, limit: int, worker_id: str, lease: timedelta) -> list[Claim]:
        with self._locked() as (tables, now):
            found = list(tables.take_due(route, limit, now))
        time.sleep(A_MOMENT)
        claims = []
        with self._locked() as (tables, now):
            for row in found:
                row.status = Status.PENDING
                claims.append(self._lease(tables, row, Move.CLAIM, worker_id, lease, now))
        return claims


class SettlesInTwoSteps(Broken):
    """Compares the fence first, and writes a moment later."""

    LAW = "test_of_two_outcomes_at_once_one_is_written"

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        with self._locked() as (tables, _):
            rows = [tables.rows.get(s.claim.run_id) for s in settlements]
            held = [row and (row.status, row.fence, row.leased_by) for row in rows]
        if len(settlements) == 1:
            time.sleep(A_MOMENT)
        with self._locked() as (tables, now):
            answers = []
            for row, before, settlement in zip(rows, held, settlements, strict=True):
                mine = (Status.LEASED, settlement.claim.fence, settlement.claim.worker_id)
                if row is not None and before == mine and len(settlements) == 1:
                    row.status, row.leased_by = Status.LEASED, settlement.claim.worker_id
                answers.append(self._settle_one(tables, settlement, now))
            return answers


# --- Time, values, closing -------------------------------------------------------------------


class KeepsMilliseconds(Broken):
    """Cuts its time to milliseconds."""

    LAW = "test_instants_are_kept_to_the_microsecond"

    def __init__(self, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__(clock)
        precise = self._clock
        self._clock = lambda: cut(precise())


class DropsTimeZones(Broken):
    """Reads the wall clock of an instant and forgets where it hung."""

    LAW = "test_an_instant_is_the_same_in_every_time_zone"

    def submit(self, runs: Sequence[NewRun]) -> list[Submitted]:
        return super().submit(
            [
                attrs.evolve(run, run_at=run.run_at and run.run_at.replace(tzinfo=UTC))
                for run in runs
            ]
        )


class KeepsTheVanished(Broken):
    """Shows workers that were killed long ago for ever."""

    LAW = "test_a_worker_that_vanished_is_kept_for_a_while"

    def announce(self, announcement: Announcement) -> None:
        vanished = dict(self._tables.announced)
        super().announce(announcement)
        self._tables.announced = vanished | self._tables.announced


class StartsWorkersAnew(Broken):
    """Takes each announcement for another worker's start."""

    LAW = "test_a_worker_that_announces_itself_again_is_the_same"

    def announce(self, announcement: Announcement) -> None:
        self.retire(announcement.id)
        super().announce(announcement)


class StaysOpen(Broken):
    """Goes on after it was closed."""

    LAW = "test_a_closed_store_refuses_every_use"

    def close(self) -> None:
        pass


class ClosesForAll(Broken):
    """Throws the runs away with the first handle that is closed."""

    LAW = "test_closing_a_handle_leaves_the_runs_to_the_others"

    def close(self) -> None:
        super().close()
        self._tables.rows.clear()


class ClosesOnce(Broken):
    """Complains when it is closed a second time."""

    LAW = "test_closing_twice_is_closing_once"

    def close(self) -> None:
        if self._is_closed and self._tables.rows:
            self._tables.rows.clear()
            raise StoreClosed("it is closed already")
        super().close()


class FiresWhatItIsTold(Broken):
    """Submits the runs of a schedule that somebody changed since the ticker saw it."""

    LAW = "test_a_firing_that_was_seen_before_a_pause_is_not_fired_after_it"

    def _fire(self, tables: _Tables, firing: Firing, now: datetime) -> int:
        schedule = tables.schedules.get(firing.schedule.id)
        if schedule is not None:
            seen = {"next_run_at": firing.schedule.next_run_at, "cron": firing.schedule.cron}
            tables.schedules[schedule.id] = attrs.evolve(schedule, enabled=True, **seen)
        return super()._fire(tables, firing, now)


class FiresAndStays(Broken):
    """Leaves a schedule due after it has fired: only the key of the run keeps it from another."""

    LAW = "test_a_firing_is_a_run_of_the_schedules_making"

    def _fire(self, tables: _Tables, firing: Firing, now: datetime) -> int:
        stays = attrs.evolve(firing, next_run_at=firing.schedule.next_run_at)
        return super()._fire(tables, stays, now)


class WritesTheLastChange(Broken):
    """Takes a change of a schedule whatever was changed meanwhile."""

    LAW = "test_racing_updates_all_count"

    def change_schedule(self, seen: Schedule, wanted: Schedule) -> bool:
        time.sleep(A_MOMENT)
        [current] = self.schedules(seen.id)
        return super().change_schedule(current, wanted)


# --- Operators -------------------------------------------------------------------------------


class ListsByCreation(Broken):
    """Takes the instant of the submit for the age of every run."""

    LAW = "test_an_id_that_begins_with_the_time_tells_the_age"

    def find(self, wanted: RunFilter, limit: int, after: Run | None) -> list[Run]:
        found = super().find(wanted, 10_000, after)
        return sorted(found, key=lambda run: run.created_at, reverse=True)[:limit]


class RepeatsTheLastOfThePage(Broken):
    """Begins each page with the last run of the one before."""

    LAW = "test_pages_are_the_whole_list"

    def find(self, wanted: RunFilter, limit: int, after: Run | None) -> list[Run]:
        found = super().find(wanted, limit, after)
        return [after, *found][:limit] if after and found else found


class ForgetsTheStatus(Broken):
    """Finds runs that stand anywhere."""

    LAW = "test_a_filter_finds_what_it_means"

    def find(self, wanted: RunFilter, limit: int, after: Run | None) -> list[Run]:
        return super().find(attrs.evolve(wanted, statuses=frozenset(Status)), limit, after)


class RetriesEverything(Broken):
    """Has runs tried again that succeeded or were cancelled."""

    LAW = "test_only_a_failed_run_is_tried_again"

    def _retry_one(self, tables: _Tables, row: Row, now: datetime) -> bool:
        if row.status in TERMINAL:
            row.status = Status.FAILED
        return super()._retry_one(tables, row, now)


class CountsOnAfterARetry(Broken):
    """Leaves a retried run only the attempts that it had not used."""

    LAW = "test_a_failed_run_is_tried_again_with_all_its_attempts"

    def _retry_one(self, tables: _Tables, row: Row, now: datetime) -> bool:
        attempt = row.attempt
        done = super()._retry_one(tables, row, now)
        row.attempt = attempt
        return done


class RetriesKeepTheLease(Broken):
    """Gives a retried run back to the worker that failed."""

    LAW = "test_a_late_outcome_of_a_retried_run_is_refused"

    def _retry_one(self, tables: _Tables, row: Row, now: datetime) -> bool:
        done = super()._retry_one(tables, row, now)
        if done:
            row.fence -= 2
            self._lease(tables, row, Move.CLAIM, "worker-a", timedelta(minutes=1), now)
        return done


class RetriesKeepTheFence(Broken):
    """Takes an outcome that comes late for one that was written."""

    LAW = "test_a_late_outcome_of_a_retried_run_is_refused"

    def _retry_one(self, tables: _Tables, row: Row, now: datetime) -> bool:
        fence = row.fence
        done = super()._retry_one(tables, row, now)
        row.fence = fence
        return done


class DeletesWhatIsAtWork(Broken):
    """Hides runs that have not ended."""

    LAW = "test_only_a_run_that_has_ended_is_deleted"

    def _delete_one(self, tables: _Tables, row: Row, now: datetime) -> bool:
        row.deleted_at = now
        return True


class PurgesTheYoung(Broken):
    """Goes by the age of a run, and not by how long ago it ended."""

    LAW = "test_a_run_is_as_old_as_its_last_change"

    def purge(
        self, older_than: timedelta, statuses: frozenset[Status], limit: int, after: str | None
    ) -> Purged:
        for row in self._tables.rows.values():
            row.updated_at = row.created_at
        return super().purge(older_than, statuses, limit, after)


class PurgesWhatWaits(Broken):
    """Takes a run that has not ended for long for one that ended long ago."""

    LAW = "test_a_purge_deletes_what_ended_long_ago"

    def purge(
        self, older_than: timedelta, statuses: frozenset[Status], limit: int, after: str | None
    ) -> Purged:
        return super().purge(older_than, statuses | {Status.PENDING}, limit, after)


class PurgesTheFirstBatch(Broken):
    """Says that there is no more when there is."""

    LAW = "test_a_purge_looks_at_all_runs_in_batches"

    def purge(
        self, older_than: timedelta, statuses: frozenset[Status], limit: int, after: str | None
    ) -> Purged:
        return Purged(super().purge(older_than, statuses, limit, after).count)


class KeepsKeysOfTheGone(Broken):
    """Remembers the key of a run that is no more."""

    LAW = "test_a_purged_run_gives_its_key_back"

    def purge(
        self, older_than: timedelta, statuses: frozenset[Status], limit: int, after: str | None
    ) -> Purged:
        keys = dict(self._tables.keys)
        purged = super().purge(older_than, statuses, limit, after)
        self._tables.keys.update(keys)
        return purged


class CountsTheFuture(Broken):
    """Takes what is scheduled for due."""

    LAW = "test_stats_count_by_type"

    def stats(self) -> list[TypeStats]:
        return [attrs.evolve(s, due=s.due + s.scheduled, scheduled=0) for s in super().stats()]


def cut(instant: datetime) -> datetime:
    """Return the instant without its microseconds."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
