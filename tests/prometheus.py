"""A Prometheus of our own, which scrapes what a test tells it to, once a second."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import yaml
from ports import free_port
from servers import Unavailable

SCRAPE_SECONDS = 1
"""Seconds from one scrape to the next, and between the points of an answer."""

PATIENCE = 30.0
"""Seconds until it is given up that it starts, or has heard of something."""


class Prometheus:
    """Scrapes some ports of 127.0.0.1, as a context manager; answers questions about them."""

    def __init__(self, configuration: Path, ports: Iterable[int]) -> None:
        """Describe it.

        Args:
            configuration: a file with one job, of which all is kept but how often and whom it asks.
            ports: where the targets are, whether somebody listens there or not.
        """
        self._configuration = configuration
        self._targets = [f"127.0.0.1:{port}" for port in ports]
        self._port = 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def __enter__(self) -> Prometheus:
        """Start it; raise Unavailable where it is not installed."""
        program = program_of("prometheus")
        self._folder = Path(tempfile.mkdtemp(prefix="simpleworkflow-prometheus-"))
        self._port = free_port()
        # As seen by its own clock, which is this one.
        self._started_at = time.time()
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={self._configured()}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, and remove what it kept."""
        assert self._process is not None
        assert self._folder is not None
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)

    def wait_for(self, expression: str, **labels: str) -> None:
        """Return once an expression has a number, in a series with these labels."""
        pause = threading.Event()
        give_up_at = time.monotonic() + PATIENCE
        while not self.has(expression, **labels):
            assert time.monotonic() < give_up_at, f"nothing of {expression} for {labels}"
            pause.wait(0.1)

    def has(self, expression: str, **labels: str) -> bool:
        """Say whether an expression has a number now, in a series with these labels."""
        return any(labels.items() <= one["metric"].items() for one in self.now(expression))

    def over_time(self, expression: str) -> list[dict[str, Any]]:
        """Return each series of an expression that has had a number since the start."""
        asked = {"start": self._started_at, "end": time.time(), "step": SCRAPE_SECONDS}
        found = self._ask("/api/v1/query_range", query=expression, **asked)["result"]
        return [series for series in found if any(map(_is_number, series["values"]))]

    def now(self, expression: str) -> list[dict[str, Any]]:
        """Return each series of an expression that has a number now."""
        found = self._ask("/api/v1/query", query=expression)["result"]
        return [series for series in found if _is_number(series["value"])]

    def label_values(self, metric: str, label: str) -> list[str]:
        """Return the values that a label has had in the series of a metric."""
        values: list[str] = self._ask(f"/api/v1/label/{label}/values", **{"match[]": metric})
        return values

    def _ask(self, path: str, **parameters: object) -> Any:
        status, body = _get(self._port, f"{path}?{urlencode(parameters)}")
        answer = json.loads(body)
        assert status == 200, f"{parameters}: {answer['error']}"
        return answer["data"]

    def _configured(self) -> Path:
        """Write its configuration beside that of the project, so that it finds the same rules."""
        assert self._folder is not None
        settings = yaml.safe_load(self._configuration.read_text())
        every = f"{SCRAPE_SECONDS}s"
        settings["global"] |= {"scrape_interval": every, "evaluation_interval": every}
        settings["rule_files"] = [
            str(self._configuration.parent / name) for name in settings["rule_files"]
        ]
        (job,) = settings["scrape_configs"]
        job["static_configs"] = [{"targets": self._targets}]
        written = self._folder / "prometheus.yml"
        written.write_text(yaml.safe_dump(settings))
        return written

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        assert self._folder is not None
        give_up_at = time.monotonic() + PATIENCE
        while not self._is_ready():
            log = (self._folder / "log").read_text()
            assert self._process.poll() is None, f"Prometheus ended:\n{log}"
            assert time.monotonic() < give_up_at, f"Prometheus did not start:\n{log}"
            threading.Event().wait(0.05)

    def _is_ready(self) -> bool:
        with suppress(OSError):
            return _get(self._port, "/-/ready")[0] == 200
        return False


def program_of(name: str) -> str:
    """Return where a program is; raise Unavailable where it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"no Prometheus: the program {name} is not installed")
    return found


def _is_number(point: tuple[float, str]) -> bool:
    return math.isfinite(float(point[1]))


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
