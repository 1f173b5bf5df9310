"""Python programs as users run them: in a process of their own, watched from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 60
"""Seconds until a program that should have done its work is given up."""


class Program:
    """A running program and what it has written so far."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        """Take a process whose streams go to the file `output`."""
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        """What it wrote to stdout and stderr."""
        return self._output.read_text()

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Look until it is so; fail when the program ends first, or takes too long."""
        pause = threading.Event()
        give_up_at = time.monotonic() + PATIENCE
        while not is_so():
            assert self.process.poll() is None, f"the program ended:\n{self.output}"
            assert time.monotonic() < give_up_at, f"the program did not do its work:\n{self.output}"
            pause.wait(0.02)

    def end(self, with_signal: signal.Signals | None = None) -> int:
        """Send a signal, if any, and return the exit code."""
        if with_signal is not None:
            self.process.send_signal(with_signal)
        return self.process.wait(PATIENCE)


@contextmanager
def running(path: Path, folder: Path, **environment: str) -> Iterator[Program]:
    """Run a program in `folder` with these variables added; kill what is left of it."""
    output = folder / "output"
    with (
        output.open("wb") as stream,
        subprocess.Popen(
            [sys.executable, str(path)],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield Program(process, output)
        finally:
            process.kill()
