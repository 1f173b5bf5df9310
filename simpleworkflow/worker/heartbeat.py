"""The heartbeat thread: renews every held lease in one statement, and answers executors.

It has a thread and a connection of its own, which user code cannot starve, and stops last.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from random import Random

from simpleworkflow.core import lease as lease_law
from simpleworkflow.core.errors import LeaseLost
from simpleworkflow.core.events import RunLost, WorkerInfo
from simpleworkflow.core.pacing import pause_after_failures
from simpleworkflow.core.records import Extension, Hold
from simpleworkflow.core.store import Store
from simpleworkflow.report import Report
from simpleworkflow.worker.held import HeldRun, HeldRuns
from simpleworkflow.worker.log import StateLog

CHECK_INTERVAL = 1.0
"""Seconds for which an answer about cancellation is good."""

ANSWER_TIMEOUT = 5.0
"""Seconds an executor waits for the answer to its own heartbeat before it goes by the deadline."""

ASK = timedelta(0)


class _Question:
    """An executor's own heartbeat or look, waiting for the thread to put it to the store."""

    def __init__(self, held: HeldRun, duration: timedelta) -> None:
        self.held = held
        self.duration = duration
        self.answered = threading.Event()


class Heartbeat(threading.Thread):
    """Keeps the leases of held runs until it is stopped.

    Args:
        worker: whose they are.
        store: where leases are renewed.
        held: the runs to keep.
        lease: how long each renewal holds.
        is_automatic: whether running executors' leases are kept too, or left to them.
        report: who is told of lost leases.
        on_timeout: called for a run whose executor is out of time.

    Attributes:
        answered_at: when the last beat was answered, by the monotonic clock; first, the start.
        lag: how many seconds after its time that was.
    """

    def __init__(
        self,
        worker: WorkerInfo,
        store: Store,
        held: HeldRuns,
        lease: timedelta,
        is_automatic: bool,
        report: Report,
        on_timeout: Callable[[HeldRun], None],
    ) -> None:
        super().__init__(name="simpleworkflow-heartbeat", daemon=True)
        self.answered_at = time.monotonic()
        self.lag = 0.0
        self._worker = worker
        self._store = store
        self._held = held
        self._lease = lease
        self._interval = lease_law.heartbeat_interval(lease).total_seconds()
        self._is_automatic = is_automatic
        self._report = report
        self._on_timeout = on_timeout
        self._changed = threading.Condition()
        self._questions: list[_Question] = []
        self._wake_at = 0.0
        self._is_stopping = False
        self._log = StateLog("the heartbeat")
        self._rng = Random()

    def run(self) -> None:
        """Beat until stopped."""
        self.answered_at = time.monotonic()
        beat_at = self.answered_at + self._interval
        while True:
            questions = self._wait(beat_at)
            if questions is None:
                return
            self._end_overdue()
            now = time.monotonic()
            is_beat = now >= beat_at
            if not is_beat and not questions:
                continue
            # Each lease once, for the longest that is asked: a store may take either of two.
            wanted = dict.fromkeys(self._to_beat() if is_beat else (), self._lease)
            for question in questions:
                already = wanted.get(question.held, ASK)
                wanted[question.held] = max(already, question.duration)
            pause = self._send(wanted)
            for question in questions:
                question.answered.set()
            if is_beat and not pause:
                self.answered_at = time.monotonic()
                self.lag = self.answered_at - beat_at
            if is_beat or pause:
                beat_at = time.monotonic() + (pause or self._interval)

    def stop(self) -> None:
        """Beat no more; questions that come later go unanswered."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def watch(self, held: HeldRun, must_end_at: float) -> None:
        """Call `on_timeout` for a run unless it is decided by `must_end_at`."""
        with self._changed:
            held.must_end_at = must_end_at
            if must_end_at < self._wake_at:
                self._changed.notify()

    def renew(self, held: HeldRun, duration: timedelta) -> None:
        """Extend one lease on behalf of its executor.

        Raises:
            LeaseLost: it is no longer held, or could not be renewed before it ran out.
        """
        if not held.is_lost:
            self._ask(held, duration)
        if held.is_lost or time.monotonic() > held.deadline:
            raise LeaseLost(
                f"the lease of run {held.claim.run_id} (fence {held.claim.fence}) is lost: another "
                "worker may have it, stop working on it"
            )

    def is_cancelled(self, held: HeldRun) -> bool:
        """Say whether its executor should stop, by an answer at most CHECK_INTERVAL old."""
        if held.is_over():
            return True
        now = time.monotonic()
        if now - held.checked_at >= CHECK_INTERVAL:
            # Set before asking, so that a store that is away is not asked in a tight loop either.
            held.checked_at = now
            self._ask(held, ASK)
        # Past the deadline without an answer, somebody else may be at it already.
        return held.is_over() or time.monotonic() > held.deadline

    def _ask(self, held: HeldRun, duration: timedelta) -> None:
        question = _Question(held, duration)
        with self._changed:
            self._questions.append(question)
            self._changed.notify()
        question.answered.wait(ANSWER_TIMEOUT)

    def _wait(self, beat_at: float) -> list[_Question] | None:
        """Return the questions to put, or none when it is time to beat; None means stop."""
        with self._changed:
            while not (self._is_stopping or self._questions):
                self._wake_at = min([beat_at, *self._limits()])
                seconds = self._wake_at - time.monotonic()
                if seconds <= 0:
                    break
                self._changed.wait(seconds)
            self._wake_at = 0.0
            questions, self._questions = self._questions, []
            return None if self._is_stopping else questions

    def _limits(self) -> list[float]:
        return [
            held.must_end_at
            for held in self._held.all()
            if held.must_end_at is not None and not held.is_decided
        ]

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for held in self._held.all():
            if held.must_end_at is not None and held.must_end_at <= now and not held.is_decided:
                self._on_timeout(held)

    def _to_beat(self) -> list[HeldRun]:
        return [
            held
            for held in self._held.all()
            if not held.is_lost and (self._is_automatic or not held.is_started or held.is_decided)
        ]

    def _send(self, wanted: Mapping[HeldRun, timedelta]) -> float:
        """Put extensions to the store; return the seconds to pause when that failed, else 0."""
        asked_at = time.monotonic()
        try:
            answers = self._store.extend(
                [Extension(held.claim, duration) for held, duration in wanted.items()]
            )
        except Exception as exc:
            pause = pause_after_failures(self._log.failed(exc), self._rng)
            return min(pause, self._interval)
        self._log.worked()
        for (held, duration), answer in zip(wanted.items(), answers, strict=True):
            self._note(held, answer, asked_at, duration)
        return 0.0

    def _note(self, held: HeldRun, answer: Hold, asked_at: float, duration: timedelta) -> None:
        held.checked_at = asked_at
        if answer is Hold.KEPT:
            held.deadline = max(held.deadline, lease_law.deadline(asked_at, duration))
        elif answer is Hold.CANCELLED:
            held.was_cancelled = True
        elif answer is Hold.LOST and not held.is_lost and not held.is_decided:
            held.is_lost = True
            self._report.tell(RunLost(self._worker, held.claim))
