"""The runner threads: call executors, and turn what they do into settlements."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from itertools import repeat
from random import Random

from simpleworkflow.core.errors import RunCancelled
from simpleworkflow.core.events import AttemptFailed, RunStarted, WorkerInfo
from simpleworkflow.core.pacing import Pacing
from simpleworkflow.core.records import Failed, Outcome, Released
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.executor import ExecutorRegistry, Registration
from simpleworkflow.report import Report
from simpleworkflow.worker.coroutines import CoroutineThread
from simpleworkflow.worker.execution import Executed, execute, settlement_of
from simpleworkflow.worker.heartbeat import Heartbeat
from simpleworkflow.worker.held import HeldRun
from simpleworkflow.worker.settler import Settler

TOLD_AFTER = 32
"""Runs after which the pacing is told of them, unless there is nothing left to do before."""

QUICK = 0.001
"""Seconds: of runs that take less on average, one thread does all. More would only take turns with
it, and with the threads that talk to the store, in Python's interpreter."""

LOOK = 0.01
"""Seconds after which a run counts as slow all the same, and another thread goes on."""


class _Slot:
    """One of the places where a run is at work; `seconds` says how long, once its executor is done.

    Those where none is lie with the free.
    """

    __slots__ = ("held", "seconds", "started_at")

    held: HeldRun
    started_at: float
    seconds: float | None


class Runner:
    """Executes held runs, up to `concurrency` at once.

    Functions run on threads, which start when they are first needed; coroutines on one event loop.
    A thread that is about to call a function wakes the next, unless runs have been quick.

    Args:
        worker: whose runs they are.
        registry: finds the executor of a type.
        retry_policy: for executors without one of their own.
        execution_timeout: seconds an executor may take; None is no limit.
        max_result_bytes: how large a result may be.
        max_error_chars: to how many characters an error is cut.
        pacing: what is known of execution times; replaced from time to time.
        report: who is told of starts.
        on_change: called when a slot is free and little is waiting.
    """

    def __init__(
        self,
        *,
        worker: WorkerInfo,
        registry: ExecutorRegistry,
        retry_policy: RetryPolicy,
        execution_timeout: float | None,
        max_result_bytes: int,
        max_error_chars: int,
        pacing: Pacing,
        report: Report,
        on_change: Callable[[], None],
    ) -> None:
        self.pacing = pacing
        self.executed = 0
        self._worker = worker
        self._registry = registry
        self._retry_policy = retry_policy
        self._execution_timeout = execution_timeout
        self._max_result_bytes = max_result_bytes
        self._max_error_chars = max_error_chars
        self._report = report
        self._tells_starts = report.hears(RunStarted)
        self._on_change = on_change
        self._coroutines = CoroutineThread()
        self._rng = Random()
        # All below is changed under the lock alone.
        self._lock = threading.Lock()
        self._has_work = threading.Condition(self._lock)
        self._pocket: deque[tuple[float, HeldRun]] = deque()
        self._slots = [_Slot() for _ in range(pacing.concurrency)]
        self._free = list(self._slots)
        self._threads: list[threading.Thread] = []
        self._idle_threads = 0
        self._is_waking = False
        self._is_stopping = False
        self._untold_runs = 0
        self._untold_seconds = 0.0
        self._refill_mark = pacing.refill_mark()
        self._is_quick = False
        self._slow = 0

    def connect(self, heartbeat: Heartbeat, settler: Settler) -> None:
        """Say who keeps leases and who writes outcomes; call it before the first run."""
        self._heartbeat = heartbeat
        self._settler = settler

    @property
    def waiting(self) -> int:
        """How many runs wait for a slot."""
        return len(self._pocket)

    @property
    def running(self) -> int:
        """How many executors are at work."""
        return len(self._slots) - len(self._free)

    def put(self, runs: Sequence[HeldRun]) -> None:
        """Execute these as slots become free, in this order; give back those of a crowded crash."""
        with self._lock:
            if not self._is_crowded_crash(runs):
                self._pocket.extend(zip(repeat(time.monotonic()), runs))
                self._wake_a_thread()
                return
        # Where one of them was in a crash, none waits beside it: later ones come one by one.
        self.give_back()
        for held in runs:
            self._finish(held, Released())

    def look(self) -> float:
        """Wake a thread for runs that wait behind slow ones; return seconds until to look again."""
        with self._lock:
            if not self._pocket or not self._is_quick:
                return self.pacing.patience
            now = time.monotonic()
            self._slow = sum(now - slot.started_at > LOOK for slot in self._busy())
            self._wake_a_thread()
            return LOOK

    def give_back(self, waiting_longer_than: float = 0.0) -> None:
        """Release runs that wait if the first of them has waited for so many seconds."""
        now = time.monotonic()
        with self._lock:
            if not self._pocket or now - self._pocket[0][0] < waiting_longer_than:
                return
            unstarted = [held for _, held in self._pocket]
            self._pocket.clear()
            # What is at work now is slower than the average says.
            for slot in self._busy():
                self._learn(self.pacing.at_least(now - slot.started_at))
        for held in unstarted:
            self._finish(held, Released())

    def give_up(self, unfinished: Iterable[HeldRun]) -> None:
        """Release what is still at work; its executors are told that the lease is lost."""
        for held in unfinished:
            self._finish(held, Released())
            held.is_lost = True

    def out_of_time(self, held: HeldRun) -> None:
        """Fail the attempt of a run whose executor exceeded its limit.

        Python cannot end a thread: the slot stays taken until the executor returns.
        """
        error = f"TimeoutError: execution_timeout of {self._execution_timeout:g} s exceeded"
        ran = timedelta(seconds=self._execution_timeout or 0)
        self._report.tell(AttemptFailed(self._worker, held.claim, error, ran=ran))
        self._finish(held, Failed(error), ran)
        held.is_lost = True

    def stop(self, timeout: float) -> None:
        """End the threads; one that an executor does not return from is left behind."""
        with self._lock:
            self._is_stopping = True
            self._has_work.notify_all()
        self._coroutines.stop()
        ends_at = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, ends_at - time.monotonic()))

    def _is_crowded_crash(self, runs: Sequence[HeldRun]) -> bool:
        """Learn whether a run of this claim was in a crash; say whether it would share a pocket."""
        has_crashed = any(held.claim.crashes for held in runs)
        if has_crashed or self.pacing.wary:
            self._learn(self.pacing.after_claim(has_crashed))
        return has_crashed and len(self._pocket) + len(runs) > len(self._free)

    def _awake(self) -> int:
        return len(self._threads) - self._idle_threads

    def _busy(self) -> set[_Slot]:
        return set(self._slots).difference(self._free)

    def _are_enough(self, threads: int) -> bool:
        """Say whether so many threads are enough: of quick runs, one beside those at slow ones."""
        return self._is_quick and threads > self._slow

    def _wake_a_thread(self) -> None:
        """Let one more thread take a run, if there is one to take; it wakes the next."""
        if not self._pocket or not self._free or self._is_waking:
            return
        if self._are_enough(self._awake()):
            return
        if self._idle_threads:
            self._is_waking = True
            self._has_work.notify()
        elif len(self._threads) < len(self._slots):
            self._start_a_thread()

    def _start_a_thread(self) -> None:
        name = f"simpleworkflow-runner-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system gives no more of them: those that there are go on.
            if not self._threads:
                raise
            return
        self._is_waking = True
        self._threads.append(thread)

    def _work(self) -> None:
        with self._lock:
            self._is_waking = False
        while (slot := self._take()) is not None:
            self._work_on(slot)

    def _work_on(self, slot: _Slot) -> None:
        try:
            is_at_work = self._execute(slot)
        except BaseException as exc:
            is_at_work = False
            self._fail(slot, exc)
        if not is_at_work:
            self._leave(slot)

    def _take(self) -> _Slot | None:
        with self._lock:
            # One of those that are awake is the caller.
            while not (self._pocket and self._free) or self._are_enough(self._awake() - 1):
                if self._is_stopping:
                    return None
                self._idle_threads += 1
                self._has_work.wait()
                self._idle_threads -= 1
                self._is_waking = False
            return None if self._is_stopping else self._fill_a_slot()

    def _take_coroutine(self) -> _Slot | None:
        """Take the next run if it is for a coroutine; leave it to a thread if it is for another."""
        with self._lock:
            if not self._pocket or not self._free or self._is_stopping:
                return None
            registration = self._registry.find(self._pocket[0][1].claim.type)
            if registration is not None and registration.is_coroutine:
                return self._fill_a_slot()
            self._wake_a_thread()
            return None

    def _fill_a_slot(self) -> _Slot:
        slot = self._free.pop()
        slot.started_at = time.monotonic()
        _, slot.held = self._pocket.popleft()
        slot.seconds = None
        return slot

    def _leave(self, slot: _Slot) -> None:
        """Free a slot whose executor is done, or was not called."""
        with self._lock:
            self._free.append(slot)
            if slot.seconds is not None:
                self.executed += 1
                self._untold_runs += 1
                self._untold_seconds += slot.seconds
            if self._untold_runs >= TOLD_AFTER or (self._untold_runs and not self._pocket):
                average = self._untold_seconds / self._untold_runs
                self._learn(self.pacing.after(average, self._untold_runs))
                self._untold_runs, self._untold_seconds = 0, 0.0
        if len(self._pocket) <= self._refill_mark:
            self._on_change()

    def _learn(self, pacing: Pacing) -> None:
        self.pacing = pacing
        self._refill_mark = pacing.refill_mark()
        self._is_quick = pacing.average is not None and pacing.average < QUICK

    def _execute(self, slot: _Slot) -> bool:
        """Call the executor of a slot's run; return True if a coroutine is at work there still."""
        held = slot.held
        claim = held.claim
        registration = self._registry.find(claim.type)
        # Past the deadline another worker may be at it: the claim's answer came too late. And where
        # executors and types disagree on a pattern's edge, it is left for others.
        if registration is None or held.is_over() or slot.started_at >= held.deadline:
            self._finish(held, Released())
            return False
        if not registration.is_coroutine:
            with self._lock:
                self._wake_a_thread()
        held.is_started = True
        if self._execution_timeout is not None:
            self._heartbeat.watch(held, time.monotonic() + self._execution_timeout)
        around = None
        if self._tells_starts:
            around = self._report.around(RunStarted(self._worker, claim))
        executed = execute(
            registration, claim, held, self._execution_timeout, self._max_result_bytes, around
        )
        if isinstance(executed, tuple):
            self._end(slot, registration, executed)
            return False
        self._coroutines.start(executed, partial(self._end_coroutine, slot, registration))
        return True

    def _end_coroutine(self, slot: _Slot, registration: Registration, executed: Executed) -> None:
        try:
            self._end(slot, registration, executed)
        except BaseException as exc:
            self._fail(slot, exc)
        self._leave(slot)
        # The loop's thread begins the next ones itself: others would take turns with it.
        while (following := self._take_coroutine()) is not None:
            self._work_on(following)

    def _end(self, slot: _Slot, registration: Registration, executed: Executed) -> None:
        held = slot.held
        outcome, error = executed
        slot.seconds = time.monotonic() - slot.started_at
        ran = timedelta(seconds=slot.seconds)
        if error is not None:
            self._report.tell(
                AttemptFailed(
                    self._worker,
                    held.claim,
                    type(error).__name__,
                    error,
                    ran,
                    was_cancelled=_is_stop(error) and held.is_over(),
                )
            )
        self._finish(held, outcome, ran, registration.retry_policy, error)

    def _fail(self, slot: _Slot, error: BaseException) -> None:
        # Such as a log handler of the user's that raises: no run is held for ever by it.
        self._finish(slot.held, Failed(f"the worker itself failed: {type(error).__name__}"))

    def _finish(
        self,
        held: HeldRun,
        outcome: Outcome,
        ran: timedelta | None = None,
        policy: RetryPolicy | None = None,
        error: BaseException | None = None,
    ) -> None:
        if not held.decide_once():
            return
        settlement = settlement_of(
            held.claim,
            outcome,
            policy or self._retry_policy,
            self._rng,
            ran,
            self._max_error_chars,
        )
        self._settler.put(held, settlement, error)


def _is_stop(error: BaseException) -> bool:
    # By name: asyncio, which has the other one, is loaded only where coroutines run.
    return isinstance(error, RunCancelled) or type(error).__name__ == "CancelledError"
