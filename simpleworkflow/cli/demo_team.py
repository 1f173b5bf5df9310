"""The demo's workers as seen from the demo: started together, watched, and stopped together."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from types import TracebackType

from simpleworkflow import IntentPoller
from simpleworkflow.cli.demo_worker import make_worker
from simpleworkflow.cli.errors import OneLineError

NAMES = ("demo-1", "demo-2")
STOP_TIMEOUT = 10.0
"""Seconds a worker gets to end by itself."""


class Worker(ABC):
    """One worker, at work from the beginning."""

    what: str
    """What several of them are, for the reader."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def wait(self, seconds: float) -> bool:
        """Wait so long at most, and say whether it has ended."""

    @abstractmethod
    def complaint(self) -> str:
        """Return why it has ended."""

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Tell it to stop; does not wait."""

    @abstractmethod
    def end(self) -> None:
        """See to it that it has stopped."""


class WorkerProcess(Worker):
    """A worker in a process of its own."""

    what = "processes"

    def __init__(self, url: str, name: str) -> None:
        super().__init__(name)
        # A file without a name: a pipe that nobody reads could fill up and stop the worker.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simpleworkflow.cli.demo_worker", name],
            env={**os.environ, "DATABASE_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # a Ctrl-C in the terminal is for the demo alone
        )

    def wait(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def complaint(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line for line in lines if line.strip()]
        return said[-1] if said else f"exit code {self._process.returncode}"

    def ask_to_stop(self) -> None:
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.close()

    def end(self) -> None:
        if not self.wait(STOP_TIMEOUT):
            self._process.kill()
            self._process.wait()
        self._errors.close()


class WorkerThread(Worker):
    """A worker on a thread, for a store that lives in this process."""

    what = "threads"

    def __init__(self, url: str, name: str) -> None:
        super().__init__(name)
        self._poller = make_worker(url, name)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(self._poller,), daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def complaint(self) -> str:
        return str(self._error or "it stopped")

    def ask_to_stop(self) -> None:
        self._poller.stop()

    def end(self) -> None:
        # It may not have started yet, and stop() does nothing then.
        for _ in range(int(STOP_TIMEOUT / 0.2)):
            if self.wait(0.2):
                return
            self._poller.stop()

    def _work(self, poller: IntentPoller) -> None:
        try:
            poller.start()
        except BaseException as error:
            self._error = error


class Team:
    """Both workers, until the end of the `with` block at the latest."""

    def __init__(self, url: str) -> None:
        # What is in memory is seen by threads of this process only.
        kind = WorkerThread if url.startswith("memory:") else WorkerProcess
        self.what = kind.what
        self._workers: list[Worker] = []
        try:
            for name in NAMES:
                self._workers.append(kind(url, name))
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def wait(self, seconds: float) -> None:
        """Wait so long, unless a worker ends, which is an error.

        Raises:
            OneLineError: a worker has ended; the message says why.
        """
        for worker in self._workers:
            if worker.wait(seconds / len(self._workers)):
                raise OneLineError(f"the worker {worker.name} ended early: {worker.complaint()}")

    def stop(self) -> None:
        """Stop both and wait for their end; does nothing the second time."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.ask_to_stop()
        for worker in workers:
            worker.end()
