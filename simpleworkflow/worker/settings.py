"""How a worker works."""

from __future__ import annotations

from datetime import timedelta

from attrs import frozen

from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.routing import Route


@frozen
class Settings:
    """How a worker works; `IntentPoller` checks and documents each.

    Durations are in seconds where a thread waits for them, else timedeltas.
    """

    worker_id: str
    type_prefixes: Route | None
    poll_interval: float
    lease: timedelta
    concurrency: int
    retry_policy: RetryPolicy
    auto_heartbeat: bool
    execution_timeout: float | None
    shutdown_timeout: float
    wakeups: bool
    schedules: bool
    max_result_bytes: int
    max_error_chars: int
    retention: timedelta | None
