"""Metrics: the interface that `IntentPoller(metrics=…)` takes, and a Prometheus collector."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.events import (
    BacklogSampled,
    ExecutorsChanged,
    ObserverEvent,
    PollFailed,
    PollSucceeded,
    RunLost,
    RunsClaimed,
    RunsRescued,
    RunsSettled,
    WorkerInfo,
    WorkerSampled,
    WorkerStarted,
    WorkerStopped,
)
from simpleworkflow.core.records import Settlement, Verdict
from simpleworkflow.core.routing import TypePattern, most_specific
from simpleworkflow.core.states import TERMINAL, Move, Status
from simpleworkflow.observers.series import SERIES, SUM

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

MANY_ATTEMPTS = 10
"""From this attempt on, counted from 0, one series serves all: there may be any number."""

MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus_client is told to count in files that processes share."""


class MetricsCollector(ABC):
    """Collects metrics from a worker's events: an observer with a name of its own.

    Attributes:
        event_kinds: the kinds of events that it takes, of those in `simpleworkflow.core.events`.
    """

    event_kinds: Collection[type] = (
        BacklogSampled,
        ExecutorsChanged,
        PollFailed,
        PollSucceeded,
        RunLost,
        RunsClaimed,
        RunsRescued,
        RunsSettled,
        WorkerSampled,
        WorkerStarted,
        WorkerStopped,
    )

    @abstractmethod
    def __call__(self, event: ObserverEvent) -> None:
        """Take in one event; called on the worker's threads, so be quick."""


SAMPLED: dict[str, Callable[[list[float]], float]] = {
    "in_flight": sum,
    "capacity": sum,
    "uptime": max,
    "last_poll": min,
    "last_heartbeat": min,
    "heartbeat_lag": max,
    "ready_until": min,
}
"""Gauges of a worker, and what stands for several workers of one name in one process."""


class PrometheusMetrics(MetricsCollector):
    """Counts what workers do, under the names that existing dashboards use.

    `type` is what an executor is registered for, a type or a pattern, so that there are no more
    series than executors. Gauges are as old as the worker's last look: up to 5 seconds, and of what
    waits in the store 15 seconds or, where that takes long, a hundred times as long as it took.

    Args:
        registry: where the series are registered; prometheus_client's default one when None. Make
            one collector for a registry and give it to every poller of the process.

    Attributes:
        registry: the same.

    Raises:
        UsageError: the registry has these series already, or PROMETHEUS_MULTIPROC_DIR is no folder.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        from prometheus_client import REGISTRY

        check_folder()
        self.registry = REGISTRY if registry is None else registry
        try:
            self._series = {name: series.made(self.registry) for name, series in SERIES.items()}
        except ValueError as exc:
            raise UsageError(
                "this registry has such series already: make one PrometheusMetrics for it, and "
                "give that to every poller"
            ) from exc
        self._children: dict[tuple[str, ...], Any] = {}
        self._patterns: dict[str, Sequence[TypePattern]] = {}
        self._samples: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
        # What comes rarely takes turns: one worker may stop while another starts or is looked at.
        self._lock = threading.Lock()
        self._handlers = {
            WorkerStarted: self._in_turn(self._started),
            ExecutorsChanged: self._in_turn(self._started),
            WorkerStopped: self._in_turn(self._stopped),
            PollSucceeded: self._polled,
            PollFailed: self._poll_failed,
            RunsClaimed: self._claimed,
            RunsSettled: self._settled,
            RunsRescued: self._rescued,
            RunLost: self._lost,
            WorkerSampled: self._in_turn(self._sampled),
            BacklogSampled: self._in_turn(self._backlog),
        }

    def __call__(self, event: ObserverEvent) -> None:
        """See MetricsCollector."""
        handler: Any = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _in_turn(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        def handle(event: Any) -> None:
            with self._lock:
                handler(event)

        return handle

    def _of(self, name: str, *labels: str) -> Any:
        """Return one series; prometheus_client's own search for it takes several times as long."""
        key = (name, *labels)
        child = self._children.get(key)
        if child is None:
            made = self._series[name]
            child = self._children[key] = made.labels(*labels) if labels else made
        return child

    def _label(self, worker: WorkerInfo, type_: str) -> str:
        found = most_specific(self._patterns.get(worker.id, ()), type_)
        return "other" if found is None else str(found)

    def _started(self, event: WorkerStarted | ExecutorsChanged) -> None:
        worker = event.worker
        self._patterns[worker.id] = event.patterns
        for pattern in event.patterns:
            label = str(pattern)
            # From the beginning, so that the first of a kind is seen as a change.
            for name, series in SERIES.items():
                if series.labels == ("type",):
                    self._of(name, label)
            for status in TERMINAL:
                self._of("completed", label, status.value)
            self._of("failed_attempts", label, "0")
        for name in ("polls", "settle_size", "settle_time"):
            self._of(name, worker.worker_id)

    def _stopped(self, event: WorkerStopped) -> None:
        worker = event.worker
        self._samples[worker.worker_id].pop(worker.id, None)
        patterns = {str(pattern) for pattern in self._patterns.pop(worker.id, ())}
        if self._samples[worker.worker_id]:
            self._show(worker.worker_id)
        else:
            for name in SAMPLED:
                self._forget(name, worker.worker_id)
        served = {str(pattern) for patterns in self._patterns.values() for pattern in patterns}
        for pattern in patterns - served:
            self._forget("depth", pattern)
            self._forget("oldest", pattern)

    def _forget(self, name: str, label: str) -> None:
        """Show a gauge no longer: what it tells is over."""
        if self._children.pop((name, label), None) is None:
            return
        if MULTIPROC_DIR in os.environ:
            # Files know no removal. To a sum nothing is added; elsewhere this is no number, and so
            # neither above nor below any.
            gone = 0.0 if SERIES[name].mode == SUM else float("nan")
            self._series[name].labels(label).set(gone)
        else:
            self._series[name].remove(label)

    def _polled(self, event: PollSucceeded) -> None:
        self._of("polls", event.worker.worker_id).inc()

    def _poll_failed(self, event: PollFailed) -> None:
        error_type = type(event.error).__name__
        self._of("poll_errors", event.worker.worker_id, error_type).inc()

    def _claimed(self, event: RunsClaimed) -> None:
        waits = defaultdict(list)
        for claim in event.claims:
            waits[claim.type].append(claim.waited)
        for type_, waited in waits.items():
            label = self._label(event.worker, type_)
            self._of("claimed", label).inc(len(waited))
            observe_all(self._of("pickup", label), waited)

    def _settled(self, event: RunsSettled) -> None:
        worker_id = event.worker.worker_id
        self._of("settle_size", worker_id).observe(len(event.settled))
        self._of("settle_time", worker_id).observe(event.seconds)
        succeeded = defaultdict(list)
        # Looked up once: Python 3.11 takes as long for a member of an enum as for all the rest.
        applied, succeed = Verdict.APPLIED, Move.SUCCEED
        for settlement, verdict, _ in event.settled:
            # Most of them by far, and together: what every run costs counts.
            if verdict is applied and settlement.move is succeed:
                succeeded[settlement.claim.type].append(settlement.ran)
            else:
                self._settled_one(event.worker, settlement, verdict)
        for type_, times in succeeded.items():
            label = self._label(event.worker, type_)
            self._of("completed", label, Status.SUCCEEDED.value).inc(len(times))
            ran = [time.total_seconds() for time in times if time is not None]
            observe_all(self._of("execution", label), ran)

    def _settled_one(self, worker: WorkerInfo, settlement: Settlement, verdict: Verdict) -> None:
        claim, move = settlement.claim, settlement.move
        label = self._label(worker, claim.type)
        if verdict is Verdict.CANCELLED:
            self._of("completed", label, Status.CANCELLED.value).inc()
        if verdict is not Verdict.APPLIED:
            return
        if settlement.ran is not None:
            self._of("execution", label).observe(settlement.ran.total_seconds())
        if move is Move.RELEASE:
            self._of("released", label).inc()
            return
        attempt = str(claim.attempt) if claim.attempt < MANY_ATTEMPTS else f"{MANY_ATTEMPTS}+"
        self._of("failed_attempts", label, attempt).inc()
        if move is Move.FAIL:
            self._of("failed", label).inc()
            self._of("completed", label, Status.FAILED.value).inc()

    def _rescued(self, event: RunsRescued) -> None:
        for one in event.rescued:
            self._of("rescued", self._label(event.worker, one.settlement.claim.type)).inc()

    def _lost(self, event: RunLost) -> None:
        self._of("lost", self._label(event.worker, event.claim.type)).inc()

    def _sampled(self, event: WorkerSampled) -> None:
        now = time.time()
        sample = {
            "in_flight": float(event.in_flight),
            "capacity": float(event.worker.concurrency),
            "uptime": event.uptime,
            "last_heartbeat": now - event.since_heartbeat,
            "heartbeat_lag": event.heartbeat_lag,
            "ready_until": now + event.ready_for,
        }
        if event.since_poll is not None:
            sample["last_poll"] = now - event.since_poll
        self._samples[event.worker.worker_id][event.worker.id] = sample
        self._show(event.worker.worker_id)

    def _show(self, worker_id: str) -> None:
        samples = list(self._samples[worker_id].values())
        for name, joined in SAMPLED.items():
            if values := [sample[name] for sample in samples if name in sample]:
                self._of(name, worker_id).set(joined(values))

    def _backlog(self, event: BacklogSampled) -> None:
        depths = dict.fromkeys(map(str, self._patterns.get(event.worker.id, ())), 0)
        oldest = dict.fromkeys(depths, timedelta(0))
        for stats in event.stats:
            label = self._label(event.worker, stats.type)
            if label in depths:
                depths[label] += stats.due
                oldest[label] = max(oldest[label], stats.oldest_due or timedelta(0))
        for label, depth in depths.items():
            self._of("depth", label).set(depth)
            self._of("oldest", label).set(oldest[label].total_seconds())
        if event.unroutable is not None:
            self._of("unroutable").set(len(event.unroutable))


def check_folder() -> None:
    """Raise UsageError where processes are to count together in a folder that is not there."""
    folder = os.environ.get(MULTIPROC_DIR)
    if folder is not None and not os.path.isdir(folder):
        raise UsageError(f"{MULTIPROC_DIR}={folder!r} is no folder: make it, or unset the variable")


def observe_all(histogram: Any, values: Iterable[float]) -> None:
    """Observe many values at once.

    prometheus_client has no call for that, and one call for each value would take a twentieth of
    the time that a quick run takes in all. So this does with its parts what `observe` does, where
    they are as they have been for years, and else calls it.
    """
    found = sorted(values)
    bounds, buckets = getattr(histogram, "_upper_bounds", ()), getattr(histogram, "_buckets", ())
    total = getattr(histogram, "_sum", None)
    if len(found) == 1 or total is None or not bounds or len(bounds) != len(buckets):
        for value in found:
            histogram.observe(value)
        return
    total.inc(sum(found))
    below = 0
    for bound, bucket in zip(bounds, buckets, strict=True):
        up_to = bisect_right(found, bound)
        if up_to > below:
            bucket.inc(up_to - below)
            below = up_to
        if below == len(found):
            return
