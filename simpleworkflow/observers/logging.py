"""The log of what concerns runs; every worker has it.

In the good case a worker says that it starts and that it has stopped, and nothing else above DEBUG.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from simpleworkflow.core.events import (
    AttemptFailed,
    BacklogSampled,
    ObserverEvent,
    OutcomeRefused,
    RunLost,
    RunsClaimed,
    RunSettled,
    RunsRescued,
    RunsSettled,
    WorkerStarted,
    WorkerStopped,
    log_fields,
)
from simpleworkflow.core.records import Claim, Verdict

logger = logging.getLogger("simpleworkflow.worker")


class LogEvents:
    """An observer that logs; lines about a run carry `core.events.log_fields` as `extra`."""

    def __init__(self) -> None:
        self._unroutable: frozenset[str] = frozenset()

    @property
    def event_kinds(self) -> Collection[type]:
        """What it takes: of runs that go well only where DEBUG is wanted when a worker starts."""
        kinds = (
            AttemptFailed,
            BacklogSampled,
            OutcomeRefused,
            RunLost,
            RunsRescued,
            WorkerStarted,
            WorkerStopped,
        )
        return (*kinds, RunsClaimed, RunsSettled) if logger.isEnabledFor(logging.DEBUG) else kinds

    def __call__(self, event: ObserverEvent) -> None:
        """See Observer."""
        match event:
            case AttemptFailed():
                self._failed(event)
            case OutcomeRefused():
                _refused(event)
            case RunsRescued():
                for one in event.rescued:
                    claim, error = one.settlement.claim, one.settlement.error
                    _log(logging.WARNING, claim, "run %s (%s): %s", claim.run_id, claim.type, error)
            case RunLost():
                words = "the lease of run %s is lost: another worker has it, or it has ended"
                _log(logging.WARNING, event.claim, words, event.claim.run_id)
            case BacklogSampled(unroutable=[*types]):
                self._note_unroutable(frozenset(types))
            case WorkerStarted():
                served = ", ".join(map(str, event.patterns))
                logger.info("worker %s starts, serving %s", event.worker.worker_id, served)
            case WorkerStopped():
                logger.info("worker %s has stopped", event.worker.worker_id)
            case RunsClaimed():
                for claim in event.claims:
                    _log(logging.DEBUG, claim, "run %s (%s) is claimed", claim.run_id, claim.type)
            case RunsSettled():
                for settled in event.settled:
                    _settled(settled)
            case _:
                pass

    def _failed(self, event: AttemptFailed) -> None:
        claim, error = event.claim, event.error
        fields = log_fields(claim, event.ran)
        if event.was_cancelled:
            logger.info("run %s stopped: it was cancelled", claim.run_id, extra=fields)
            return
        if error is None:
            logger.error("run %s failed: %s", claim.run_id, event.reason, extra=fields)
            return
        told = "run %s (%s) failed on attempt %d of %d"
        which = (claim.run_id, claim.type, claim.attempt + 1, claim.max_attempts)
        try:
            logger.error(told, *which, exc_info=error, extra=fields)
        except BaseException:
            # An exception may refuse to be printed, by SystemExit even.
            logger.error(f"{told}: its error cannot be printed", *which, extra=fields)

    def _note_unroutable(self, types: frozenset[str]) -> None:
        if added := types - self._unroutable:
            logger.warning(
                "runs wait for want of a worker that serves their type: %s. Start one with an "
                "executor for it; `simpleworkflow doctor` tells more",
                ", ".join(sorted(added)),
            )
        self._unroutable = types


def _refused(event: OutcomeRefused) -> None:
    claim, ran = event.settlement.claim, event.settlement.ran
    # A cancel is what somebody wanted; anything else is worth a look.
    level = logging.INFO if event.verdict is Verdict.CANCELLED else logging.WARNING
    why = event.reason or event.verdict.value
    words = "the outcome of run %s was not written: %s"
    logger.log(level, words, claim.run_id, why, extra=log_fields(claim, ran))


def _settled(settled: RunSettled) -> None:
    if settled.verdict is Verdict.APPLIED:
        claim, ran = settled.settlement.claim, settled.settlement.ran
        which = (claim.run_id, claim.type, settled.settlement.status)
        logger.debug("run %s (%s) is %s", *which, extra=log_fields(claim, ran))


def _log(level: int, claim: Claim, words: str, *args: object) -> None:
    logger.log(level, words, *args, extra=log_fields(claim))
