"""The runner threads: call executors, and turn what they do into settlements."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from random import Random
from typing import Any

from simpleworkflow.core.errors import RunCancelled
from simpleworkflow.core.events import RunStarted
from simpleworkflow.core.pacing import Pacing
from simpleworkflow.core.records import Claim, Failed, Outcome, Released
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.executor import ExecutorRegistry
from simpleworkflow.worker.coroutines import CoroutineThread
from simpleworkflow.worker.execution import execute, settlement_of
from simpleworkflow.worker.heartbeat import Heartbeat
from simpleworkflow.worker.held import HeldRun
from simpleworkflow.worker.report import Report, fields, logger
from simpleworkflow.worker.settler import Settler


class _KeptLease:
    """The lease of one held run, as its executor may ask for it."""

    __slots__ = ("_heartbeat", "_held")

    def __init__(self, held: HeldRun, heartbeat: Heartbeat) -> None:
        self._held = held
        self._heartbeat = heartbeat

    def renew(self, duration: timedelta) -> None:
        self._heartbeat.renew(self._held, duration)

    def is_cancelled(self) -> bool:
        return self._heartbeat.is_cancelled(self._held)


class Runner:
    """Executes held runs on up to `concurrency` threads, which start when they are first needed.

    Args:
        registry: finds the executor of a type.
        retry_policy: for executors without one of their own.
        execution_timeout: seconds an executor may take; None is no limit.
        pacing: what is known of execution times; replaced after each run.
        on_change: called when a slot is free and little is waiting.
    """

    def __init__(
        self,
        *,
        registry: ExecutorRegistry,
        retry_policy: RetryPolicy,
        execution_timeout: float | None,
        pacing: Pacing,
        report: Report,
        on_change: Callable[[], None],
    ) -> None:
        self.pacing = pacing
        self.executed = 0
        self._registry = registry
        self._retry_policy = retry_policy
        self._execution_timeout = execution_timeout
        self._report = report
        self._on_change = on_change
        self._coroutines = CoroutineThread()
        self._pocket: deque[tuple[float, HeldRun]] = deque()
        self._filled = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._idle_threads = 0
        self._running: dict[int, tuple[float, HeldRun]] = {}
        self._is_stopping = False
        self._rng = Random()

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
        return len(self._running)

    def put(self, runs: Iterable[HeldRun]) -> None:
        """Execute these as slots become free, in this order."""
        now = time.monotonic()
        with self._filled:
            self._pocket.extend((now, held) for held in runs)
            wanted = min(len(self._pocket), self.pacing.concurrency)
            self._filled.notify(wanted)
            spare = self.pacing.concurrency - len(self._threads)
            for _ in range(min(wanted - self._idle_threads, spare)):
                self._start_thread()

    def give_back(self, waiting_longer_than: float = 0.0) -> None:
        """Release runs that wait if the first of them has waited for so many seconds."""
        now = time.monotonic()
        with self._filled:
            if not self._pocket or now - self._pocket[0][0] < waiting_longer_than:
                return
            unstarted = [held for _, held in self._pocket]
            self._pocket.clear()
        # What is at work now is slower than the average says.
        for started_at, _ in list(self._running.values()):
            self.pacing = self.pacing.at_least(now - started_at)
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
        logger.error("run %s failed: %s", held.claim.run_id, error, extra=fields(held.claim))
        self._finish(held, Failed(error), timedelta(seconds=self._execution_timeout or 0))
        held.is_lost = True

    def stop(self, timeout: float) -> None:
        """End the threads; one that an executor does not return from is left behind."""
        with self._filled:
            self._is_stopping = True
            self._filled.notify_all()
        self._coroutines.stop()
        ends_at = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, ends_at - time.monotonic()))

    def _start_thread(self) -> None:
        name = f"simpleworkflow-runner-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        me = threading.get_ident()
        while (item := self._take(me)) is not None:
            _, held = item
            try:
                self._execute(held)
            except BaseException as exc:
                # Such as a log handler of the user's that raises: no run is held for ever by it.
                self._finish(held, Failed(f"the worker itself failed: {type(exc).__name__}"))
            del self._running[me]
            if len(self._pocket) <= self.pacing.pocket() // 2:
                self._on_change()

    def _take(self, me: int) -> tuple[float, HeldRun] | None:
        while True:
            try:
                # The common case takes no lock: the pocket is rarely empty under load.
                item = self._pocket.popleft()
            except IndexError:
                with self._filled:
                    if self._is_stopping:
                        return None
                    if not self._pocket:
                        self._idle_threads += 1
                        self._filled.wait()
                        self._idle_threads -= 1
                continue
            self._running[me] = (time.monotonic(), item[1])
            return item

    def _execute(self, held: HeldRun) -> None:
        if held.is_over() or time.monotonic() >= held.deadline:
            # Past the deadline another worker may be at it: the claim's answer came too late.
            self._finish(held, Released())
            return
        claim = held.claim
        held.is_started = True
        registration = self._registry.find(claim.type)
        if registration is None:
            # Only when executors and types disagree on a pattern's edge: leave it for others.
            self._finish(held, Released())
            return
        started_at = time.monotonic()
        if self._execution_timeout is not None:
            self._heartbeat.watch(held, started_at + self._execution_timeout)
        if self._report.is_heard:
            self._report.tell(RunStarted(claim))
        lease = _KeptLease(held, self._heartbeat)
        outcome, error = execute(registration, claim, lease, self._wait_for)
        seconds = time.monotonic() - started_at
        if error is not None:
            _log_failure(claim, held, error)
        self.executed += 1
        self.pacing = self.pacing.after(seconds)
        self._finish(held, outcome, timedelta(seconds=seconds), registration.retry_policy, error)

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
            held.claim, outcome, policy or self._retry_policy, self._rng, ran
        )
        self._settler.put(held, settlement, error)

    def _wait_for(self, awaitable: Awaitable[Any]) -> Any:
        return self._coroutines.run(awaitable, self._execution_timeout)


def _log_failure(claim: Claim, held: HeldRun, error: BaseException) -> None:
    # By name: asyncio, which has the other one, is loaded only where coroutines run.
    is_stop = isinstance(error, RunCancelled) or type(error).__name__ == "CancelledError"
    if is_stop and held.is_over():
        logger.info("run %s stopped: it was cancelled", claim.run_id, extra=fields(claim))
        return
    told = "run %s (%s) failed on attempt %d of %d"
    which = (claim.run_id, claim.type, claim.attempt + 1, claim.max_attempts)
    try:
        logger.error(told, *which, exc_info=error, extra=fields(claim))
    except BaseException:
        # An exception may refuse to be printed, by SystemExit even.
        logger.error(f"{told}: its error cannot be printed", *which, extra=fields(claim))
