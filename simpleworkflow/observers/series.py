"""Series law: only this module names a metric, and says what it tells and how it is divided.

Dashboards know the names, so that none is ever changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

EXECUTION = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600
)  # fmt: skip
PICKUP = (
    0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600
)  # fmt: skip
SETTLE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)
GROUPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@frozen
class Series:
    """What one series family is, for the documentation and for prometheus_client.

    Args:
        name: without the `_total` of a counter.
        help: what it tells, in a sentence.
        labels: by what it is divided.
        buckets: of a histogram, the upper bounds.
        mode: of a gauge, how the values of several processes become one.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ("type",)
    buckets: Sequence[float] = ()
    mode: str = ""

    @property
    def kind(self) -> str:
        """Its kind, in Prometheus' words."""
        return "histogram" if self.buckets else "gauge" if self.mode else "counter"

    @property
    def exposed_name(self) -> str:
        """Its name in Prometheus."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def made(self, registry: CollectorRegistry) -> Any:
        """Make it and register it there."""
        import prometheus_client

        options: dict[str, Any] = {"registry": registry}
        if self.buckets:
            options["buckets"] = self.buckets
        if self.mode:
            options["multiprocess_mode"] = self.mode
        kind = getattr(prometheus_client, self.kind.capitalize())
        return kind(self.name, self.help, self.labels, **options)


WORKER = ("worker_id",)
NEWEST, SUM = "livemostrecent", "livesum"

SERIES = {
    "claimed": Series("workflow_run_claimed", "Runs that were claimed."),
    "completed": Series("workflow_run_completed", "Runs that ended.", ("type", "status")),
    "failed": Series("workflow_run_failed", "Runs that failed for good."),
    "failed_attempts": Series(
        "workflow_run_failed_attempts",
        "Attempts that failed, by their number from 0; 10+ is any later one.",
        ("type", "attempt"),
    ),
    "lost": Series("workflow_run_lease_lost", "Leases that others took over, or that had ended."),
    "rescued": Series("workflow_run_rescued", "Expired leases of others that were taken over."),
    "released": Series(
        "workflow_run_released", "Runs given back unfinished; no attempt is counted."
    ),
    "execution": Series(
        "workflow_run_execution_duration_seconds", "How long executors ran.", buckets=EXECUTION
    ),
    "pickup": Series(
        "workflow_run_pickup_latency_seconds",
        "From when a run was due to its claim.",
        buckets=PICKUP,
    ),
    "depth": Series("workflow_run_queue_depth", "Runs that are due and wait.", mode=NEWEST),
    "oldest": Series(
        "workflow_run_oldest_due_age_seconds",
        "How long the first of the due runs has waited; 0 when none waits.",
        mode=NEWEST,
    ),
    "unroutable": Series(
        "workflow_run_unroutable_types",
        "Types with runs due for a minute or more that no live worker serves.",
        (),
        mode=NEWEST,
    ),
    "polls": Series("workflow_worker_poll_cycle", "Polls that the store answered.", WORKER),
    "poll_errors": Series(
        "workflow_worker_poll_errors", "Polls that failed.", ("worker_id", "error_type")
    ),
    "settle_size": Series(
        "workflow_worker_settle_batch_size",
        "How many outcomes one statement wrote.",
        WORKER,
        buckets=GROUPS,
    ),
    "settle_time": Series(
        "workflow_worker_settle_duration_seconds",
        "How long the store took to write a group of outcomes.",
        WORKER,
        buckets=SETTLE,
    ),
    "in_flight": Series("workflow_worker_runs_in_flight", "Executors at work.", WORKER, mode=SUM),
    "capacity": Series(
        "workflow_worker_capacity", "Executors that may be at work at once.", WORKER, mode=SUM
    ),
    "uptime": Series(
        "workflow_worker_uptime_seconds", "Seconds since the worker began.", WORKER, mode=NEWEST
    ),
    "last_poll": Series(
        "workflow_worker_last_poll_timestamp",
        "When the store last answered a poll, or no more runs were wanted, in Unix seconds.",
        WORKER,
        mode=NEWEST,
    ),
    "last_heartbeat": Series(
        "workflow_worker_last_heartbeat_timestamp",
        "When a heartbeat was last answered, in Unix seconds.",
        WORKER,
        mode=NEWEST,
    ),
    "heartbeat_lag": Series(
        "workflow_worker_heartbeat_lag_seconds",
        "How late the last heartbeat was answered.",
        WORKER,
        mode=NEWEST,
    ),
    "ready_until": Series(
        "workflow_worker_ready_until_timestamp",
        "When the worker stops being ready unless it polls and beats again, in Unix seconds.",
        WORKER,
        mode=NEWEST,
    ),
}
"""Every series, by the name it has in here."""
