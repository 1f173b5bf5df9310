"""The settler thread: writes outcomes in groups.

While one statement is on its way, finished runs gather for the next: nothing waits for a timer.
While the store is away, outcomes are kept and sent again; the fence says whether they still count.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from random import Random

from simpleworkflow.core.decide import decide
from simpleworkflow.core.events import (
    AttemptFailed,
    OutcomeRefused,
    RunLost,
    RunSettled,
    RunsSettled,
    WorkerInfo,
)
from simpleworkflow.core.pacing import pause_after_failures
from simpleworkflow.core.records import Failed, Settled, Settlement, Verdict
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.store import Store
from simpleworkflow.report import Report
from simpleworkflow.worker.held import HeldRun, HeldRuns
from simpleworkflow.worker.log import StateLog, logger

MAX_GROUP = 1_000
"""Most settlements in one statement, so that no statement holds row locks for long."""

_APPLIED = Verdict.APPLIED
"""Looked up once: in Python 3.11 a look at an enum costs more than what is done with it."""

_new = tuple.__new__
"""Past the named tuple's own way, which takes three times as long."""

_Finished = tuple[HeldRun, Settlement, BaseException | None]


class Settler(threading.Thread):
    """Settles what it is given until it is closed, then what is left.

    Args:
        worker: whose they are.
        store: where outcomes are written.
        held: runs are dropped from here once the store has answered.
        max_error_chars: to how many characters an error is cut.
        report: who is told of settlements.
        on_settled: called after each group.
    """

    def __init__(
        self,
        worker: WorkerInfo,
        store: Store,
        held: HeldRuns,
        max_error_chars: int,
        report: Report,
        on_settled: Callable[[], None],
    ) -> None:
        super().__init__(name="simpleworkflow-settler", daemon=True)
        self._worker = worker
        self._store = store
        self._held = held
        self._max_error_chars = max_error_chars
        self._report = report
        self._is_heard = report.hears(RunsSettled)
        self._on_settled = on_settled
        self._finished: queue.SimpleQueue[_Finished | None] = queue.SimpleQueue()
        self._give_up = threading.Event()
        self._log = StateLog("settling runs")
        self._rng = Random()

    def put(
        self, held: HeldRun, settlement: Settlement, error: BaseException | None = None
    ) -> None:
        """Write this settlement soon."""
        self._finished.put((held, settlement, error))

    def close(self, timeout: float) -> None:
        """Write what was put so far and end; after `timeout` seconds give up what is left."""
        self._finished.put(None)
        self.join(timeout)
        self._give_up.set()
        self.join(timeout)

    def run(self) -> None:
        """Settle until closed."""
        is_closing = False
        while not is_closing:
            group, is_closing = self._gather()
            if group and not self._settle(group):
                logger.error(
                    "%d outcomes could not be written before the shutdown: their leases will "
                    "expire and the runs will be tried again",
                    len(group),
                )
            self._on_settled()

    def _gather(self) -> tuple[list[_Finished], bool]:
        group = []
        item = self._finished.get()
        while item is not None:
            group.append(item)
            if len(group) == MAX_GROUP:
                break
            try:
                item = self._finished.get_nowait()
            except queue.Empty:
                break
        return group, item is None

    def _settle(self, group: list[_Finished]) -> bool:
        """Write a group, however long the store is away; False when told to give up."""
        while group:
            asked_at = time.monotonic()
            try:
                answers = self._store.settle([settlement for _, settlement, _ in group])
            except Exception as exc:
                if self._give_up.wait(pause_after_failures(self._log.failed(exc), self._rng)):
                    return False
                continue
            self._log.worked()
            seconds = time.monotonic() - asked_at
            settled: list[RunSettled] = []
            group = [
                again
                for finished, answer in zip(group, answers, strict=True)
                if (again := self._note(*finished, answer, settled)) is not None
            ]
            if settled:
                self._report.tell(RunsSettled(self._worker, settled, seconds))
        return True

    def _note(
        self,
        held: HeldRun,
        settlement: Settlement,
        error: BaseException | None,
        answer: Settled,
        settled: list[RunSettled],
    ) -> _Finished | None:
        """Take in the store's answer; return what to write instead when it cannot be held.

        What is done with is added to `settled`.
        """
        verdict = answer.verdict
        if verdict is not _APPLIED:
            if verdict is Verdict.UNSTORABLE and settlement.result_json is not None:
                return held, self._without_result(settlement, answer), error
            self._refused(held, settlement, answer)
        self._held.drop(held)
        if self._is_heard:
            settled.append(_new(RunSettled, (settlement, verdict, error)))
        return None

    def _without_result(self, settlement: Settlement, answer: Settled) -> Settlement:
        """Return what to write of a run whose result cannot be stored."""
        claim, ran = settlement.claim, settlement.ran
        failure = Failed(f"the result cannot be stored: {answer.reason}", is_permanent=True)
        self._report.tell(AttemptFailed(self._worker, claim, failure.error, ran=ran))
        return decide(claim, failure, RetryPolicy(), self._rng, ran, self._max_error_chars)

    def _refused(self, held: HeldRun, settlement: Settlement, answer: Settled) -> None:
        if answer.verdict is Verdict.LOST and not held.is_lost:
            held.is_lost = True
            self._report.tell(RunLost(self._worker, settlement.claim))
        refused = OutcomeRefused(self._worker, settlement, answer.verdict, answer.reason)
        self._report.tell(refused)
