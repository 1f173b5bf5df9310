"""Workers in every trouble that deploy/ has panels and alerts for, and who watches them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType

from ports import free_port
from programs import Program
from prometheus import Prometheus
from proxy import Proxy
from workers import PATIENCE

from simpleworkflow import Client

WORK = """
import os, threading
from pathlib import Path

from simpleworkflow import IntentPoller, PermanentFailure, RetryAfter

poller = IntentPoller.from_env(poll_interval=0.1, lease_duration=2, concurrency=1)


@poller.handler("deploy.quick.v1")
def quick(run):
    return "done"


@poller.handler("deploy.flaky.v1")
def flaky(run):
    if run.attempt == 0:
        raise RetryAfter(0, "the first attempt fails")


@poller.handler("deploy.bad.v1")
def bad(run):
    raise PermanentFailure("as always")


@poller.handler("deploy.slow.v1")
def slow(run):
    until(Path("let-go").exists)


@poller.handler("deploy.held.%")
def held(run):  # which only one worker ever ends
    Path(f"{run.worker_id} holds").touch()
    until(lambda: run.worker_id == "steady")


def until(is_so):
    while not is_so():
        threading.Event().wait(0.02)
"""

WORKER_IDS = ("cut_off", "killed", "steady", "stopped")

LONG_AGO = timedelta(hours=1)


class Scene:
    """A Prometheus and four workers, as a context manager; each method is one thing that happens.

    The workers `stopped` and `killed` hold a run each, `cut_off` has a proxy before its database,
    and `steady` does all that is done.
    """

    def __init__(self, url: str, configuration: Path, folder: Path) -> None:
        """Describe it.

        Args:
            url: a database with tables.
            configuration: of Prometheus.
            folder: the workers' current one.
        """
        self._folder = folder
        self._url = url
        self._ports = {name: free_port() for name in WORKER_IDS}
        self._stack = ExitStack()
        self._way = ExitStack()
        self._held: list[str] = []
        self._workers: dict[str, Program] = {}
        self._client = Client(url)
        self._proxy = Proxy(url)
        self.prometheus = Prometheus(configuration, self._ports.values())
        (folder / "work.py").write_text(WORK)

    def __enter__(self) -> Scene:
        """Start Prometheus; raise Unavailable where it is not installed."""
        with ExitStack() as stack:
            stack.enter_context(self._client)
            stack.push(self._way)
            self._way.enter_context(self._proxy)
            stack.enter_context(self.prometheus)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all that is left."""
        self._stack.close()

    def runs_wait(self) -> None:
        """Two workers are busy for ever, more runs wait, and those of one type for nobody."""
        since = datetime.now(UTC) - LONG_AGO
        self._client.submit("unknown.v1", {}, run_at=since)
        self._held = [self._client.submit("deploy.held.v1", {}, run_at=since).id for _ in range(3)]
        for name in ("stopped", "killed"):
            self._start(name, "deploy.held.%")
        self._start("cut_off", "deploy.quick.%", url=self._proxy.url)
        for name in ("stopped", "killed"):
            self._workers[name].wait_until((self._folder / f"{name} holds").exists)
        self._are_watched("stopped", "killed", "cut_off")

    def database_goes_away(self) -> None:
        """A worker loses its connections and gets no others."""
        self._way.close()

    def runs_end(self) -> None:
        """Runs succeed, fail, and are tried again."""
        self._start("steady", "deploy.%")
        # What happens before it is watched is no change of what is seen.
        self._are_watched("steady")
        for _ in range(2):
            self._ended(
                self._submitted(*["deploy.quick.v1"] * 10, "deploy.flaky.v1", "deploy.bad.v1")
            )
            # A series that is new with a failure shows only the next one as a change.
            self.prometheus.wait_for('workflow_run_failed_attempts_total{type="deploy.bad.v1"} > 0')

    def runs_are_released(self) -> None:
        """A run takes longer than those before it, and what was claimed with it is given back."""
        runs = self._submitted("deploy.slow.v1", *["deploy.quick.v1"] * 5)
        self.prometheus.wait_for("workflow_run_released_total > 0")
        (self._folder / "let-go").touch()
        self._ended(runs)

    def leases_run_out(self) -> None:
        """One worker is stopped and one killed; another takes over, and the first comes back."""
        self._workers["stopped"].process.send_signal(signal.SIGSTOP)
        self._workers["killed"].process.kill()
        self._ended(self._held)
        self._workers["stopped"].process.send_signal(signal.SIGCONT)

    def workers_end(self) -> None:
        """Nobody is left."""
        for program in self._workers.values():
            program.process.kill()

    def _submitted(self, *types: str) -> list[str]:
        """Submit runs that are claimed in this order."""
        runs = [
            {"type": type_, "payload": {}, "priority": number} for number, type_ in enumerate(types)
        ]
        return [answer.id for answer in self._client.submit_many(runs)]

    def _ended(self, runs: list[str]) -> None:
        for run in runs:
            self._client.wait(run, timeout=PATIENCE)

    def _start(self, name: str, types: str, *, url: str | None = None) -> None:
        self._workers[name] = self._stack.enter_context(
            worker(
                self._folder,
                self._folder / f"output of {name}",
                *("work:poller", "--metrics-port", str(self._ports[name])),
                DATABASE_URL=url or self._url,
                WORKER_ID=name,
                WORKER_TYPE_PREFIXES=types,
            )
        )

    def _are_watched(self, *names: str) -> None:
        for name in names:
            self._workers[name].wait_until(partial(self._is_watched, name))

    def _is_watched(self, name: str) -> bool:
        return self.prometheus.has("workflow_worker_uptime_seconds", worker_id=name)


@contextmanager
def worker(folder: Path, output: Path, *arguments: str, **environment: str) -> Iterator[Program]:
    """`simpleworkflow worker` with these arguments, in the folder; killed in the end."""
    with (
        output.open("wb") as stream,
        subprocess.Popen(
            [sys.executable, "-u", "-m", "simpleworkflow", "worker", *arguments],
            env={**os.environ, **environment},
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield Program(process, output)
        finally:
            process.kill()
