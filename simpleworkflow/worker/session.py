"""One life of a worker, from start to stop: claims on the caller's thread, and ends in order."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from random import Random

from simpleworkflow.core import lease as lease_law
from simpleworkflow.core.decide import decide
from simpleworkflow.core.errors import StoreError
from simpleworkflow.core.events import (
    ExecutorsChanged,
    PollFailed,
    PollSucceeded,
    RunRescued,
    RunsClaimed,
    RunsRescued,
    WorkerInfo,
    WorkerSampled,
    WorkerStarted,
    WorkerStopped,
)
from simpleworkflow.core.health import ready_for
from simpleworkflow.core.pacing import MAX_HELD, Pacing, pause_after_failures
from simpleworkflow.core.records import Claim, Crashed
from simpleworkflow.core.routing import Route
from simpleworkflow.core.store import Roster, RunAdmin, ScheduleStore, Store, Wakeups
from simpleworkflow.executor import ExecutorRegistry
from simpleworkflow.report import Report
from simpleworkflow.worker.announcer import Announcer
from simpleworkflow.worker.bell import Bell
from simpleworkflow.worker.heartbeat import Heartbeat
from simpleworkflow.worker.held import HeldRun, HeldRuns
from simpleworkflow.worker.log import StateLog
from simpleworkflow.worker.retention import Retention
from simpleworkflow.worker.runner import Runner
from simpleworkflow.worker.sampler import Sampler
from simpleworkflow.worker.settings import Settings
from simpleworkflow.worker.settler import Settler
from simpleworkflow.worker.ticker import TICK, Ticks

RESCUE_BATCH = 100
"""Expired leases taken over at a time: they are settled in one group."""

FLUSH_TIMEOUT = 5.0
"""Seconds that outcomes get to be written at the end of a shutdown, at least."""


class Session:
    """Runs a worker once: `run` returns when it was stopped, or has nothing left to do.

    Args:
        store: where runs are.
        registry: the executors.
        settings: how to work.
        report: who is told.
    """

    def __init__(
        self, store: Store, registry: ExecutorRegistry, settings: Settings, report: Report
    ) -> None:
        self._store = store
        self._registry = registry
        self._settings = settings
        self._report = report
        self._worker = WorkerInfo(str(uuid.uuid4()), settings.worker_id, settings.concurrency)
        self._held = HeldRuns()
        self._changed = Bell()
        self._wakeups = store if settings.wakeups and isinstance(store, Wakeups) else None
        self._ticks = Ticks(
            store if settings.schedules and isinstance(store, ScheduleStore) else None
        )
        self._is_idle = False
        self._is_stopping = False
        self._is_urgent = False
        self._served = self._claimable = Route(())
        self._told_route = registry.route
        self._rng = Random()
        self._log = StateLog("polling for runs")
        self._failures = 0
        self._rescue_at = 0.0
        self._began_at = time.monotonic()
        self._polled_at: float | None = None
        self._runner = Runner(
            worker=self._worker,
            registry=registry,
            retry_policy=settings.retry_policy,
            execution_timeout=settings.execution_timeout,
            max_result_bytes=settings.max_result_bytes,
            max_error_chars=settings.max_error_chars,
            pacing=Pacing(settings.concurrency, settings.lease),
            report=report,
            on_change=self._changed.ring,
        )
        self._heartbeat = Heartbeat(
            self._worker,
            store,
            self._held,
            settings.lease,
            settings.auto_heartbeat,
            report,
            self._runner.out_of_time,
        )
        self._settler = Settler(
            self._worker, store, self._held, settings.max_error_chars, report, self._changed.ring
        )
        self._runner.connect(self._heartbeat, self._settler)
        self._retention = None
        if settings.retention is not None and isinstance(store, RunAdmin):
            self._retention = Retention(store, settings.retention)
        self._announcer = (
            Announcer(self._worker, store, settings, self._route)
            if isinstance(store, Roster)
            else None
        )
        self._sampler = Sampler(
            self._worker, store, report, settings.lease, self._sample, self._route
        )

    def stop(self) -> None:
        """Ask `run` to end; the second time, without waiting for executors.

        Safe from any thread, a signal handler and an executor.
        """
        self._is_urgent = self._is_stopping
        self._is_stopping = True
        self._changed.ring()

    def run(self, *, until_idle: bool = False, timeout: float | None = None) -> int:
        """Claim and execute until stopped; return how many runs were executed.

        Args:
            until_idle: end as soon as nothing is claimable and nothing is at work.
            timeout: end after so many seconds at the latest.
        """
        ends_at = None if timeout is None else time.monotonic() + timeout
        self._began_at = time.monotonic()
        self._told_route = self._registry.route
        self._report.tell(
            WorkerStarted(self._worker, self._registry.inside(self._settings.type_prefixes))
        )
        self._heartbeat.start()
        self._settler.start()
        if self._retention is not None:
            self._retention.start()
        if self._announcer is not None:
            self._announcer.begin()
        self._sampler.begin()
        try:
            self._claim_until_stopped(until_idle, ends_at)
        finally:
            self._shut_down()
        return self._runner.executed

    def _claim_until_stopped(self, until_idle: bool, ends_at: float | None) -> None:
        while not self._is_stopping:
            self._changed.silence()
            if ends_at is not None and time.monotonic() >= ends_at:
                return
            self._ticks.tick()
            was_idle = not self._held
            pause = self._poll()
            if pause is None:
                continue
            if until_idle and not self._failures:
                # Idle is who has asked for runs and got none. Until the slot of a run is free,
                # which may be a moment after it was settled, nobody asks.
                if was_idle and self._is_idle and not self._held:
                    return
                # Nothing to claim now; what is at work may bring more when it settles.
                pause = pause if self._held else 0.0
            if ends_at is not None:
                pause = min(pause, max(0.0, ends_at - time.monotonic()))
            if not self._is_stopping:
                self._wait(pause)

    def _wait(self, seconds: float) -> None:
        """Wait until something changes or schedules were fired; ticks that fire none go by."""
        ends_at = time.monotonic() + seconds
        while True:
            wakes_at = min(ends_at, self._ticks.due_at)
            self._wait_for_change(max(0.0, wakes_at - time.monotonic()))
            # A bell that rang as the time for a tick came is not taken for that time.
            if self._changed.is_rung or time.monotonic() < self._ticks.due_at:
                return
            if self._tick_between_polls():
                return

    def _tick_between_polls(self) -> int:
        # An idle worker sends two statements an interval, a tick being one of them: the next look
        # for expired leases waits for one poll, where that is not long.
        interval = self._settings.poll_interval
        is_near = self._rescue_at <= time.monotonic() + interval
        if self._is_idle and is_near and 2 * interval <= TICK:
            self._rescue_at += interval
        return self._ticks.tick()

    def _wait_for_change(self, seconds: float) -> None:
        """Wait until something changes here, or in the store when nothing is to be had from it."""
        if self._wakeups is None or not self._is_idle:
            self._changed.wait(seconds)
            return
        try:
            self._wakeups.wait_for_runs(self._changed, seconds)
        except StoreError:
            # The next poll meets it again, and tells.
            self._is_idle = False
            self._changed.ring()

    def _poll(self) -> float | None:
        """Claim once; return the seconds to pause until something changes, None for no pause."""
        self._is_idle = False
        self._runner.give_back(self._runner.pacing.patience)
        free = self._settings.concurrency - self._runner.running
        pacing = self._runner.pacing
        size = pacing.claim_size(self._runner.waiting, free)
        most_held = MAX_HELD + self._settings.concurrency - 1
        if pacing.wary:
            # What is done but not settled would be in the next crash, too.
            most_held = self._runner.running
        if size == 0 or len(self._held) > most_held:
            self._note_poll()
            return self._runner.look()
        try:
            rescued = self._rescue_if_due()
            claimed = self._claim(size)
        except Exception as exc:
            self._failures = self._log.failed(exc)
            self._report.tell(PollFailed(self._worker, exc, self._failures))
            return pause_after_failures(self._failures, self._rng)
        self._log.worked()
        self._failures = 0
        self._note_poll()
        if claimed or rescued:
            return None
        self._is_idle = not self._runner.waiting
        return self._settings.poll_interval if self._is_idle else self._runner.look()

    def _claim(self, size: int) -> int:
        asked_at = time.monotonic()
        settings = self._settings
        claims = self._store.claim(self._route(), size, settings.worker_id, settings.lease)
        held = self._hold(claims, asked_at)
        self._tell_of_executors()
        # Before the runner has them: no run is reported as started before it is claimed.
        self._report.tell(PollSucceeded(self._worker, len(claims)))
        if claims:
            self._report.tell(RunsClaimed(self._worker, claims))
        self._runner.put(held)
        return len(claims)

    def _note_poll(self) -> None:
        """Note that the store has answered, or that it need not be asked."""
        is_news = self._polled_at is None
        self._polled_at = time.monotonic()
        if is_news:
            self._sampler.look_now()

    def _sample(self) -> WorkerSampled:
        now, settings = time.monotonic(), self._settings
        since_poll = None if self._polled_at is None else now - self._polled_at
        since_heartbeat = now - self._heartbeat.answered_at
        return WorkerSampled(
            self._worker,
            uptime=now - self._began_at,
            in_flight=self._runner.running,
            since_poll=since_poll,
            since_heartbeat=since_heartbeat,
            heartbeat_lag=self._heartbeat.lag,
            ready_for=ready_for(
                since_poll, since_heartbeat, settings.poll_interval, settings.lease
            ),
        )

    def _tell_of_executors(self) -> None:
        """Tell who serves what was claimed: after the store has answered, for it may be new."""
        if self._registry.route is not self._told_route:
            self._told_route = self._registry.route
            self._report.tell(
                ExecutorsChanged(self._worker, self._registry.inside(self._settings.type_prefixes))
            )

    def _rescue_if_due(self) -> int:
        now = time.monotonic()
        if now < self._rescue_at:
            return 0
        settings = self._settings
        rescued = self._store.rescue(
            self._route(), RESCUE_BATCH, settings.worker_id, settings.lease
        )
        self._tell_of_executors()
        told = []
        for one, held in zip(rescued, self._hold([one.claim for one in rescued], now), strict=True):
            held.decide_once()
            settlement = decide(
                one.claim,
                Crashed(one.lost_by),
                settings.retry_policy,
                self._rng,
                max_error_chars=settings.max_error_chars,
            )
            told.append(RunRescued(settlement, one.lost_by))
            self._settler.put(held, settlement)
        if told:
            self._report.tell(RunsRescued(self._worker, told))
        if len(rescued) < RESCUE_BATCH:
            self._rescue_at = now + settings.poll_interval
        return len(rescued)

    def _hold(self, claims: Sequence[Claim], asked_at: float) -> list[HeldRun]:
        deadline = lease_law.deadline(asked_at, self._settings.lease)
        held = [HeldRun(claim, self._heartbeat, asked_at, deadline) for claim in claims]
        self._held.add(held)
        return held

    def _route(self) -> Route:
        """Return what to claim now: executors may be registered while the worker runs."""
        served, prefixes = self._registry.route, self._settings.type_prefixes
        if prefixes is None:
            return served
        if served is not self._served:
            self._served, self._claimable = served, served.within(prefixes)
        return self._claimable

    def _shut_down(self) -> None:
        """End in order: no new runs, then the runs at work, their outcomes, and last the beats."""
        if self._retention is not None:
            self._retention.stop()
        self._runner.give_back()
        ends_at = time.monotonic() + self._settings.shutdown_timeout
        while self._is_at_work() and not self._is_urgent:
            seconds = ends_at - time.monotonic()
            if seconds <= 0:
                break
            self._changed.silence()
            if self._is_at_work() and not self._is_urgent:
                self._changed.wait(seconds)
        self._runner.give_up(self._held.undecided())
        self._settler.close(max(FLUSH_TIMEOUT, ends_at - time.monotonic()))
        self._runner.stop(timeout=0.1)
        if self._announcer is not None:
            self._announcer.stop()
        self._heartbeat.stop()
        self._heartbeat.join()
        if self._retention is not None:
            self._retention.join()
        self._sampler.stop()
        self._report.tell(WorkerStopped(self._worker))

    def _is_at_work(self) -> bool:
        # A run is undecided before its thread counts as running, so none slips through between.
        return self._runner.running > 0 or bool(self._held.undecided())
