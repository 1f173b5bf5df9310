"""Durable background work on PostgreSQL: submit runs, lease them, execute them, settle each."""

from simpleworkflow.async_client import AsyncClient
from simpleworkflow.backends.postgres.grants import grants
from simpleworkflow.backends.registry import migrate, open_store, pending_migrations
from simpleworkflow.client import Client
from simpleworkflow.core.admin import Answer, TypeStats
from simpleworkflow.core.doctor import Finding, Level
from simpleworkflow.core.errors import (
    LeaseLost,
    PermanentFailure,
    RetryAfter,
    RunCancelled,
    RunFailed,
    RunNotFound,
    ScheduleNotFound,
    SchemaNotReady,
    SimpleWorkflowError,
    StoreError,
    StoreUnavailable,
    UsageError,
    WaitTimeout,
)
from simpleworkflow.core.events import Observer
from simpleworkflow.core.records import Event, Run, Submitted
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.schedule import Schedule
from simpleworkflow.core.states import Status
from simpleworkflow.core.store import Store
from simpleworkflow.doctor import examine
from simpleworkflow.endpoints import MetricsServer, serve_metrics
from simpleworkflow.executor import WorkflowExecutor
from simpleworkflow.observers.opentelemetry import OpenTelemetry
from simpleworkflow.observers.prometheus import MetricsCollector, PrometheusMetrics
from simpleworkflow.operator import Operator
from simpleworkflow.poller import IntentPoller
from simpleworkflow.run import WorkflowRun
from simpleworkflow.schedules import Schedules
from simpleworkflow.ticker import Ticker

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "Event",
    "Finding",
    "IntentPoller",
    "LeaseLost",
    "Level",
    "MetricsCollector",
    "MetricsServer",
    "Observer",
    "OpenTelemetry",
    "Operator",
    "PermanentFailure",
    "PrometheusMetrics",
    "RetryAfter",
    "RetryPolicy",
    "Run",
    "RunCancelled",
    "RunFailed",
    "RunNotFound",
    "Schedule",
    "ScheduleNotFound",
    "Schedules",
    "SchemaNotReady",
    "SimpleWorkflowError",
    "Status",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "Submitted",
    "Ticker",
    "TypeStats",
    "UsageError",
    "WaitTimeout",
    "WorkflowExecutor",
    "WorkflowRun",
    "examine",
    "grants",
    "migrate",
    "open_store",
    "pending_migrations",
    "serve_metrics",
]
