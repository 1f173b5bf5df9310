"""Starts what is measured: each system is a program with modes, run by some Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen

from benchmarks.records import BenchmarkError

ROOT = Path(__file__).resolve().parents[1]

TIMEOUT = 900.0
"""Seconds after which a program that does not answer is given up."""


@frozen
class System:
    """Something to measure.

    Args:
        name: what tables call it.
        module: the program.
        python: the interpreter it runs in.
        paths: where that looks for modules beside its own.
        defaults: what each of its tasks has unless the measurement says otherwise.
    """

    name: str
    module: str
    python: str = sys.executable
    paths: tuple[str, ...] = field(factory=lambda: tuple(path for path in sys.path if path))
    defaults: dict[str, object] = field(factory=dict)

    @contextmanager
    def started(self, mode: str, **task: object) -> Iterator[Program]:
        """Start the program; it is ended on leaving."""
        program = Program(self, mode, {**self.defaults, **task})
        try:
            program.expect("ready")
            yield program
        finally:
            program.close()

    def play(self, mode: str, **task: object) -> dict[str, Any]:
        """Run the program from its start to its answer."""
        with self.started(mode, **task) as program:
            return program.go()


OURS = System("simpleworkflow", "benchmarks.programs.ours")
FLOOR = System("SQL floor", "benchmarks.programs.floor", defaults={"driver": "psycopg"})


class Program:
    """A measured program at work."""

    def __init__(self, system: System, mode: str, task: dict[str, object]) -> None:
        self._system = system
        self._mode = mode
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed by close()
        # -P: nothing is found because it happens to lie in the current folder.
        self._process = subprocess.Popen(
            [system.python, "-P", "-m", system.module, mode, json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(system.paths)},
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()

    def say_go(self) -> None:
        """Let it begin, or stop when that is what it waits for."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # expect() tells why.

    def go(self) -> dict[str, Any]:
        """Let it begin, or stop, and return its answer."""
        self.say_go()
        return self.expect()

    def expect(self, key: str = "", timeout: float = TIMEOUT) -> dict[str, Any]:
        """Return its next message, which must have the key.

        Raises:
            BenchmarkError: it ended without, or took too long.
        """
        assert self._process.stdout is not None
        watchdog = threading.Timer(timeout, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        message = json.loads(line) if line.startswith("{") else None
        if not isinstance(message, dict) or (key and key not in message):
            raise BenchmarkError(f"{self._system.name}, {self._mode}: {self._complaint(line)}")
        return message

    def _complaint(self, line: str) -> str:
        self.kill()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return (lines or [line.strip() or "it ended without an answer"])[-1]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def play_together(
    system: System, mode: str, tasks: Sequence[Mapping[str, object]]
) -> list[dict[str, Any]]:
    """Let several programs begin at once; return the answer of each."""
    with ExitStack() as stack:
        programs = [stack.enter_context(system.started(mode, **task)) for task in tasks]
        for program in programs:
            program.say_go()
        return [program.expect() for program in programs]


def seconds_of(*answers: Mapping[str, float]) -> float:
    """Return the seconds from the first start to the last end."""
    return max(answer["ended"] for answer in answers) - min(answer["started"] for answer in answers)
