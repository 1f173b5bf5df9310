"""The arena: workers and a producer at work while something breaks, and what must hold then.

It supervises only what it kills itself, as systemd would: a worker may not end of itself.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from attrs import define, field
from faults.facts import Book, Fact, killing
from faults.promises import broken
from servers import Server, schema_of

from simpleworkflow import migrate, open_store
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import Status
from simpleworkflow.core.store import RunReader

WORKERS = 3

RECOVERY = 10.0
"""Seconds after a fault within which every worker must have settled something again."""

PATIENCE = 60.0
"""Seconds after which something that should have happened never will."""

TICK = 0.02

T = TypeVar("T")

_HERE = Path(__file__).parent


@define
class Ground:
    """Where a fault takes place.

    Args:
        server: the server, for faults that break it.
        url: how workers and the producer reach it, with its schema.
        direct_url: how the arena reaches it, around whatever the fault breaks.
        tool: what the fault is done with, such as a proxy.
    """

    server: Server
    url: str
    direct_url: str
    tool: object = None


@define
class Outcome:
    """What came of it; times in seconds.

    Args:
        runs: how many were submitted.
        failed: how many of them ended `failed`.
        lasted: how long the fault did.
        before: runs settled a second, before it.
        during: runs settled a second, while it lasted.
        recovery: from its end until each worker had settled something again.
        finished: from the last submit until all runs had ended.
        wrong: what did not hold.
    """

    runs: int = 0
    failed: int = 0
    lasted: float = 0.0
    before: float = 0.0
    during: float = 0.0
    recovery: float = 0.0
    finished: float = 0.0
    wrong: list[str] = field(factory=list)


class Arena:
    """Three workers and a producer on a ground.

    Args:
        ground: where.
        driver: which driver the workers and the producer use.
        folder: for their files.
        seconds: how long a fault that may last as long as one likes should last.
    """

    def __init__(self, ground: Ground, driver: str, folder: Path, seconds: float) -> None:
        self.ground = ground
        self.server = ground.server
        self.seconds = seconds
        self.rng = random.Random(7)
        self._url = ground.url.replace("postgresql:", f"postgresql+{driver}:", 1)
        self._folder = folder
        self._book = Book(folder)
        self._workers: dict[str, subprocess.Popen[str]] = {}
        self._wrong: list[str] = []

    def play(self, fault: Callable[[Arena], None]) -> Outcome:
        """Let things break, and see what comes of it."""
        outcome = Outcome(wrong=self._wrong)
        migrate(self.ground.direct_url)
        with self._at_work() as producer:
            started_at = time.monotonic()
            self._await("work to begin", lambda: all(self._settled_since(started_at).values()))
            began_at = self._last_settled()
            self._await_settled(100)
            broke_at = time.monotonic()
            fault(self)
            mended_at = time.monotonic()
            self._await("all to work again", lambda: all(self._settled_since(mended_at).values()))
            outcome.recovery = self._recovered_at(mended_at) - mended_at
            producer.communicate()
            stopped_at = time.monotonic()
            self._await("all runs to end", self._is_all_over)
            outcome.finished = time.monotonic() - stopped_at
            self._stop_workers()
        settled = [fact.at for fact in self._book.facts("settled")]
        outcome.lasted = mended_at - broke_at
        outcome.before = _rate(settled, began_at, broke_at)
        outcome.during = _rate(settled, broke_at, mended_at)
        self._check(outcome)
        return outcome

    def tool(self, kind: type[T]) -> T:
        """Return what the ground gives to break things with."""
        assert isinstance(self.ground.tool, kind)
        return self.ground.tool

    @property
    def workers(self) -> list[str]:
        """The workers' names."""
        return list(self._workers)

    def pass_time(self, seconds: float) -> None:
        """Let the fault last; start anew what it kills."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            self._supervise()
            threading.Event().wait(TICK)

    def kill(self, name: str) -> None:
        """Kill a worker; another takes its place and its name."""
        self._workers[name].kill()
        self._workers[name].wait()
        self._supervise()

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a worker a signal."""
        self._workers[name].send_signal(number)

    def replace(self, name: str) -> None:
        """Stop a worker as an operator does, and start its successor."""
        self._stop(name)
        self._start(name)

    @contextmanager
    def killing_after_effects(self) -> Iterator[None]:
        """While this lasts, each worker kills itself between some effects and their settlement."""
        killing(self._folder).touch()
        try:
            yield
        finally:
            killing(self._folder).unlink()
            self._supervise()

    @contextmanager
    def _at_work(self) -> Iterator[subprocess.Popen[str]]:
        for number in range(WORKERS):
            self._start(f"worker-{number}")
        producer = self._python("producer_program.py", self._url, self._folder)
        try:
            yield producer
        finally:
            for process in [producer, *self._workers.values()]:
                process.kill()
                process.communicate()

    def _start(self, name: str) -> None:
        self._workers[name] = self._python("worker_program.py", self._url, name, self._folder)

    def _stop(self, name: str) -> None:
        self._workers[name].terminate()
        code = self._workers[name].wait(PATIENCE)
        if code != 0:
            self._wrong.append(f"{name} ended with {code} on SIGTERM")

    def _stop_workers(self) -> None:
        for name in self._workers:
            self._stop(name)

    def _python(self, program: str, *arguments: object) -> subprocess.Popen[str]:
        paths = os.pathsep.join(filter(None, sys.path))
        with (self._folder / "log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-u", str(_HERE / program), *map(str, arguments)],
                env=os.environ | {"PYTHONPATH": paths},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
            )

    def _supervise(self) -> None:
        for name, process in self._workers.items():
            code = process.poll()
            if code is None:
                continue
            if code != -signal.SIGKILL:
                self._wrong.append(f"{name} ended by itself, with {code}")
            self._start(name)

    def _await(self, what: str, condition: Callable[[], bool]) -> None:
        ends_at = time.monotonic() + PATIENCE
        while not condition():
            self._supervise()
            if time.monotonic() > ends_at:
                raise AssertionError(f"waited {PATIENCE:g} s for {what}; {self._tail()}")
            threading.Event().wait(TICK)

    def _await_settled(self, more: int) -> None:
        wanted = len(self._book.facts("settled")) + more
        self._await("work to go on", lambda: len(self._book.facts("settled")) >= wanted)

    def _applied(self) -> list[Fact]:
        return [fact for fact in self._book.facts("settled") if fact.words[3] == "applied"]

    def _last_settled(self) -> float:
        return max(fact.at for fact in self._book.facts("settled"))

    def _settled_since(self, instant: float) -> dict[str, float | None]:
        """When each worker first settled something after an instant."""
        first: dict[str, float | None] = dict.fromkeys(self._workers)
        for fact in self._applied():
            if fact.at > instant and first.get(fact.who) is None:
                first[fact.who] = fact.at
        return first

    def _recovered_at(self, instant: float) -> float:
        return max(at for at in self._settled_since(instant).values() if at is not None)

    def _is_all_over(self) -> bool:
        with self.server.connect() as connection:
            row = connection.execute(
                f'select count(*) from "{schema_of(self.ground.direct_url)}".workflow_run '
                "where status in ('pending', 'leased')"
            ).fetchone()
        return row == (0,)

    def _tail(self) -> str:
        return "the end of the log: " + (self._folder / "log").read_text()[-2_000:]

    def _check(self, outcome: Outcome) -> None:
        """See that every promise was kept; what was not goes into `wrong`."""
        if outcome.recovery > RECOVERY:
            self._wrong.append(f"workers were back after {outcome.recovery:.1f} s only")
        with closing(open_store(self.ground.direct_url)) as store:
            assert isinstance(store, RunReader)
            runs = store.runs(Route.of(["%"]), limit=10_000_000)
            outcome.runs = len(runs)
            outcome.failed = sum(run.status is Status.FAILED for run in runs)
            self._wrong += broken(runs, store, self._book.facts())


def _rate(instants: list[float], start: float, end: float) -> float:
    return sum(start <= at < end for at in instants) / (end - start) if end > start else 0.0
