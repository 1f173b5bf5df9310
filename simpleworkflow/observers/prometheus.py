"""Metrics: the interface that `IntentPoller(metrics=…)` takes, and a Prometheus collector."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from simpleworkflow.core.events import (
    ObserverEvent,
    PollFailed,
    PollSucceeded,
    RunClaimed,
    RunSettled,
)
from simpleworkflow.core.records import Verdict
from simpleworkflow.core.states import Move, Status

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class MetricsCollector(ABC):
    """Collects metrics from a worker's events: an observer with a name of its own."""

    @abstractmethod
    def __call__(self, event: ObserverEvent) -> None:
        """Take in one event; called on the worker's threads, so be quick."""


class PrometheusMetrics(MetricsCollector):
    """Counts what workers do, under the names that existing dashboards use.

    Args:
        registry: where the series are registered; prometheus_client's default one when None. Make
            one collector for a registry and give it to every poller of the process.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        from prometheus_client import REGISTRY, Counter, Gauge, Histogram

        into = REGISTRY if registry is None else registry
        self._claimed = Counter("workflow_run_claimed", "Runs claimed", ["type"], registry=into)
        self._completed = Counter(
            "workflow_run_completed", "Runs that ended", ["type", "status"], registry=into
        )
        self._failed = Counter("workflow_run_failed", "Runs that failed", ["type"], registry=into)
        self._failed_attempts = Counter(
            "workflow_run_failed_attempts",
            "Attempts that failed, by number from 0",
            ["type", "attempt"],
            registry=into,
        )
        self._durations = Histogram(
            "workflow_run_execution_duration_seconds",
            "How long executors ran",
            ["type"],
            registry=into,
        )
        self._polls = Counter(
            "workflow_worker_poll_cycle", "Polls answered", ["worker_id"], registry=into
        )
        self._poll_errors = Counter(
            "workflow_worker_poll_errors",
            "Polls that failed",
            ["worker_id", "error_type"],
            registry=into,
        )
        self._last_poll = Gauge(
            "workflow_worker_last_poll_timestamp",
            "When a poll was last answered, in Unix seconds",
            ["worker_id"],
            registry=into,
        )

    def __call__(self, event: ObserverEvent) -> None:
        """See MetricsCollector."""
        match event:
            case RunClaimed():
                self._claimed.labels(event.claim.type).inc()
            case RunSettled() if event.verdict is Verdict.APPLIED:
                self._settled(event)
            case PollSucceeded():
                self._polls.labels(event.worker_id).inc()
                self._last_poll.labels(event.worker_id).set(time.time())
            case PollFailed():
                self._poll_errors.labels(event.worker_id, type(event.error).__name__).inc()
            case _:
                pass

    def _settled(self, event: RunSettled) -> None:
        settlement, claim = event.settlement, event.settlement.claim
        if settlement.ran is not None:
            self._durations.labels(claim.type).observe(settlement.ran.total_seconds())
        if settlement.move in (Move.RETRY, Move.FAIL):
            self._failed_attempts.labels(claim.type, str(claim.attempt)).inc()
        if settlement.status is Status.FAILED:
            self._failed.labels(claim.type).inc()
        if settlement.status is not Status.PENDING:
            self._completed.labels(claim.type, settlement.status.value).inc()
