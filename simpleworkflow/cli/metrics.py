"""Metrics of `simpleworkflow worker`: what its processes count, and where it is served."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simpleworkflow import IntentPoller, PrometheusMetrics, serve_metrics

MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"

logger = logging.getLogger("simpleworkflow.worker")


def counted(poller: IntentPoller) -> tuple[IntentPoller, PrometheusMetrics]:
    """Return a poller that counts, and what counts: what it has already, or else a new one."""
    metrics, observers = poller.options["metrics"], poller.options["observers"]
    for known in (metrics, *observers):
        if isinstance(known, PrometheusMetrics):
            return poller, known
    made = PrometheusMetrics()
    if metrics is None:
        return poller.with_options(metrics=made), made
    return poller.with_options(observers=(*observers, made)), made


@contextmanager
def serving(port: int, host: str, **options: Any) -> Iterator[None]:
    """Serve metrics, and say where; the options are those of `serve_metrics`."""
    with serve_metrics(port, host=host, **options) as server:
        shown = f"[{host}]" if ":" in host else host
        logger.info("metrics are served at http://%s:%d/metrics", shown, server.port)
        yield


@contextmanager
def serving_several(port: int, host: str, workers: int) -> Iterator[None]:
    """Serve what the processes that are started meanwhile count, in a folder that they share."""
    with tempfile.TemporaryDirectory(prefix="simpleworkflow-metrics-") as folder:
        # A folder of the user's own choice is the user's to empty.
        os.environ.setdefault(MULTIPROC_DIR, folder)
        with serving(port, host, workers=workers):
            yield


def count_as(name: str) -> None:
    """Let this process count on where the one of the same name before it has ended.

    By default prometheus_client counts in new files for each process: a worker that dies again and
    again would fill the disk.
    """
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]


def forget_gauges(name: str) -> None:
    """Show what the process of this name was no longer: it has ended."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(name)  # type: ignore[no-untyped-call]
