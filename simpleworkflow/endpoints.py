"""HTTP endpoints of a worker's process: its metrics, whether it is alive, whether it is ready."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.storable import check_int
from simpleworkflow.observers.prometheus import MULTIPROC_DIR, check_folder
from simpleworkflow.observers.series import SERIES

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

GREATEST_PORT = 65_535

CLIENT_TIMEOUT = 10.0
"""Seconds for which a client may be silent: it has a thread of its own."""

Page = tuple[str, str]
"""An HTTP status, and a text."""


class MetricsServer:
    """Serves the endpoints until it is closed; a context manager. `serve_metrics` makes one.

    Attributes:
        port: the port that it listens on.
    """

    def __init__(self, port: int, host: str, registry: CollectorRegistry, workers: int) -> None:
        from prometheus_client import make_wsgi_app

        self._registry = registry
        self._workers = workers
        self._metrics: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)
        self._pages: dict[str, Callable[[], Page]] = {
            "/healthz": lambda: ("200 OK", "alive"),
            "/readyz": self._readiness,
        }
        self._server = _listening(port, host, self._answer)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="simpleworkflow-endpoints", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving, and give up the port; closing twice does nothing."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        page = self._pages.get(path, lambda: ("404 Not Found", "/metrics, /healthz or /readyz"))
        try:
            if path == "/metrics":
                return self._metrics(environ, start)
            status, text = page()
        except Exception as exc:
            # Of a collector of somebody's; and a file that a process has just made is empty.
            status, text = "503 Service Unavailable", f"the metrics cannot be read now: {exc!r}"
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    def _readiness(self) -> Page:
        now = time.time()
        until = dict(_ready_until(self._registry))
        # What is no number is of a worker that has stopped.
        ready = sorted(name for name, instant in until.items() if instant > now)
        late = sorted(name for name, instant in until.items() if instant <= now)
        if len(ready) >= self._workers and not late:
            return "200 OK", f"ready: {', '.join(ready)}"
        problems = [f"{name} has not polled and beaten lately" for name in late]
        if (missing := self._workers - len(ready) - len(late)) > 0:
            problems.append(f"{missing} of {self._workers} workers are not at work")
        return "503 Service Unavailable", "\n".join(problems)


def serve_metrics(
    port: int,
    *,
    host: str = "127.0.0.1",
    registry: CollectorRegistry | None = None,
    workers: int = 1,
) -> MetricsServer:
    """Serve this process's `/metrics`, `/healthz` and `/readyz`, on a thread of its own.

    `/healthz` answers 200 while the process lives. `/readyz` answers 200 while the last poll and
    the last heartbeat of every worker are recent (`core.health`), and 503 with a line for each
    that is not. It goes by the gauges that `PrometheusMetrics` sets in the registry.

    Args:
        port: where to listen; 0 takes any that is free, which the answer's `port` tells.
        host: the address to listen on; this machine alone by default, "0.0.0.0" for any.
        registry: what is served. None is the default one of prometheus_client, or, where
            PROMETHEUS_MULTIPROC_DIR is set, what all processes of that folder counted.
        workers: how many workers, told apart by their `worker_id`, have to be ready.

    Raises:
        UsageError: the port or the host cannot be listened on, an argument cannot be, or
            PROMETHEUS_MULTIPROC_DIR is no folder.
    """
    check_int(port, "port", at_least=0)
    if port > GREATEST_PORT:
        raise UsageError(f"port={port} must be from 0 to {GREATEST_PORT}")
    check_int(workers, "workers", at_least=0)
    return MetricsServer(port, host, _default() if registry is None else registry, workers)


def _default() -> CollectorRegistry:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    if MULTIPROC_DIR not in os.environ:
        return REGISTRY
    check_folder()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _ready_until(registry: CollectorRegistry) -> Iterable[tuple[str, float]]:
    """Return of each worker when it stops being ready."""
    for metric in registry.collect():
        if metric.name == SERIES["ready_until"].name:
            for sample in metric.samples:
                yield sample.labels["worker_id"], sample.value


def _listening(port: int, host: str, app: Callable[..., Iterable[bytes]]) -> Any:
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from prometheus_client.exposition import ThreadingWSGIServer

    class Quiet(WSGIRequestHandler):
        """Logs no request: there is one every few seconds."""

        timeout = CLIENT_TIMEOUT

        def log_message(self, format: str, *args: object) -> None:
            pass

    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]

        class Server(ThreadingWSGIServer):
            address_family = family

            def handle_error(self, request: object, client_address: object) -> None:
                # A client that hung up, or was silent; what answers fail with is answered.
                pass

        return make_server(str(address[0]), port, app, Server, Quiet)
    except (OSError, TypeError, UnicodeError) as exc:
        raise UsageError(f"{host} port {port} cannot be listened on: {exc}") from exc
