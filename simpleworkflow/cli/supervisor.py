"""Keeps worker processes at work: replaces those that die, stops all of them, starts them anew."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from simpleworkflow import UsageError
from simpleworkflow.cli.errors import MisuseError, OneLineError
from simpleworkflow.cli.logs import log_to_stderr
from simpleworkflow.cli.metrics import forget_gauges, serving_several
from simpleworkflow.cli.reload import watching

LONGEST_PAUSE = 30.0
"""Seconds before a worker that keeps dying is started again, at most; also the life after which its
next death counts as the first."""

KILL_AFTER = 10.0
"""Seconds from a second signal until workers are killed, at least: outcomes are still written."""

END = "end"
"""What a keeper tells in the end; all else that is heard is the name of a signal."""

logger = logging.getLogger("simpleworkflow.worker")


def supervise(
    target: str,
    options: Mapping[str, Any],
    log_level: str,
    log_format: str,
    processes: int,
    *,
    is_reloading: bool,
    served: tuple[int, str] | None = None,
) -> None:
    """Keep so many workers of a poller at work, until SIGTERM or SIGINT.

    Args:
        target: the poller, as an import string.
        options: arguments for the poller in place of its own.
        log_level: what workers log.
        log_format: how they do.
        processes: how many there are.
        is_reloading: start them anew when their code changes.
        served: the port and the address where what they count is served; None serves nothing.

    Raises:
        OneLineError: some had to be killed at the end.
        UsageError: this poller cannot work in several processes, or its code cannot be watched.
        SystemExit: the poller cannot work at all; its own process has told why.
    """
    wanted = {
        "target": target,
        "options": options,
        "log_level": log_level,
        "log_format": log_format,
        "counts_as": None,
    }
    poller = _described(wanted)
    if processes > 1 and poller["is_in_memory"]:
        raise UsageError(
            f"--processes {processes} needs a database, and not memory://, of which each process "
            "has one of its own"
        )
    log_to_stderr(log_level, log_format)
    base = poller["worker_id"]
    names = [base] if processes == 1 else [f"{base}-{n}" for n in range(1, processes + 1)]
    heard: SimpleQueue[str] = SimpleQueue()
    with ExitStack() as stack:
        # First of all: a signal that ended this process would leave a folder behind.
        stack.enter_context(_telling_signals(heard))
        if served is not None:
            stack.enter_context(serving_several(*served, workers=processes))
        keepers = []
        for number, name in enumerate(names, start=1):
            counts_as = None if served is None else f"{os.getpid()}-{number}"
            keepers.append(Keeper(name, _wanted_of(name, counts_as, wanted), heard))
        if is_reloading:
            folders = {str(Path.cwd()), poller["folder"] or str(Path.cwd())}
            stack.enter_context(watching(folders, lambda files: _reload(keepers, files)))
        patience = max(KILL_AFTER, 2 * poller["shutdown_timeout"])
        killed = _keep_until_stopped(keepers, heard, patience)
    if killed:
        raise OneLineError(f"killed, as they did not end: {', '.join(killed)}")


def _wanted_of(name: str, counts_as: str | None, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the worker of this name is to do."""
    options = {**wanted["options"], "worker_id": name}
    return {**wanted, "options": options, "counts_as": counts_as}


class Keeper(threading.Thread):
    """Keeps one worker process at work, until it is told to stop it."""

    def __init__(self, name: str, wanted: Mapping[str, Any], heard: SimpleQueue[str]) -> None:
        super().__init__(name=name, daemon=True)
        self._wanted = wanted
        self._heard = heard
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopping = False
        self._asked_to_end = threading.Event()
        # A process that starts while another thread stops all would be missed.
        self._starting = threading.Lock()

    def run(self) -> None:
        """Start the process, and again each time it has ended."""
        deaths = 0
        try:
            while not self._is_stopping:
                started_at = time.monotonic()
                how = self._one_life()
                if time.monotonic() - started_at >= LONGEST_PAUSE:
                    deaths = 0
                if not self._asked_to_end.is_set():
                    deaths += 1
                    self._pause(how, pause_after(deaths))
        finally:
            self._heard.put(END)

    def end(self, *, for_good: bool) -> None:
        """Let the process finish its work and end; does not wait.

        For good, it is asked each time, and hurries the second time.
        """
        with self._starting:
            is_asked = self._asked_to_end.is_set()
            self._is_stopping = self._is_stopping or for_good
            self._asked_to_end.set()
            if self._process is not None and (for_good or not is_asked):
                # Two of one kind may arrive as one, and the second would go unheard.
                self._process.send_signal(signal.SIGINT if is_asked else signal.SIGTERM)

    def kill(self) -> bool:
        """Kill the process, and say whether there was one."""
        process = self._process
        if process is None or process.poll() is not None:
            return False
        process.kill()
        return True

    def _one_life(self) -> str:
        """Start the process, wait for its end, and say how it came."""
        try:
            process = self._start()
        except OSError as exc:
            return f"cannot be started: {exc}"
        if process is None:
            return ""
        with process:
            _tell(process, self._wanted)
            code = process.wait()
        if self._wanted["counts_as"] is not None:
            forget_gauges(self._wanted["counts_as"])
        return f"(pid {process.pid}) {_ended(code)}"

    def _start(self) -> subprocess.Popen[bytes] | None:
        with self._starting:
            if self._is_stopping:
                return None
            # What was asked of the process before this one is done.
            self._asked_to_end.clear()
            self._process = _started("work")
            return self._process

    def _pause(self, how: str, seconds: float) -> None:
        logger.warning("worker %s %s: starts again in %g s", self.name, how, seconds)
        self._asked_to_end.wait(seconds)


def _ended(code: int) -> str:
    how = f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.strsignal(-code)}"
    return f"ended with {how}"


def pause_after(deaths: int) -> float:
    """Return the seconds to wait after so many deaths in a row: 1, 2, 4 … up to the longest."""
    return min(LONGEST_PAUSE, 2.0 ** min(deaths - 1, 10))


def _described(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a supervisor has to know of the poller.

    Asked of a process that ends at once: here, the module's memory, threads and open ports would
    stay as long as the workers need them.
    """
    with _started("describe", stdout=subprocess.PIPE) as process:
        _tell(process, wanted)
        assert process.stdout is not None  # noqa: S101
        answer = process.stdout.read()
        code = process.wait()
    if code in (OneLineError.exit_code, MisuseError.exit_code):
        sys.exit(code)
    if not answer:
        raise OneLineError(f"looking at {wanted['target']} {_ended(code)} and no answer")
    found: dict[str, Any] = json.loads(answer)
    return found


def _started(part: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "simpleworkflow.cli.worker_process", part],
        stdin=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,  # Ctrl-C in the terminal is told by us, and so told once
        **options,
    )


def _tell(process: subprocess.Popen[bytes], wanted: Mapping[str, Any]) -> None:
    """Tell a new process what to do; its standard input stays open as long as we live."""
    assert process.stdin is not None  # noqa: S101
    with suppress(BrokenPipeError):  # It has ended already, and that is heard in a moment.
        process.stdin.write(json.dumps(wanted).encode() + b"\n")


def _reload(keepers: list[Keeper], files: list[str]) -> None:
    logger.info("%s changed: the workers start anew", ", ".join(files))
    for keeper in keepers:
        keeper.end(for_good=False)


def _keep_until_stopped(
    keepers: list[Keeper], heard: SimpleQueue[str], patience: float
) -> list[str]:
    """Run until signals have ended it, and return the names of workers that were killed."""
    signals, at_work, kill_at = 0, len(keepers), None
    killed: list[str] = []
    for keeper in keepers:
        keeper.start()
    while at_work:
        try:
            what = heard.get(timeout=kill_at and max(0.0, kill_at - time.monotonic()))
        except Empty:
            killed, kill_at = [keeper.name for keeper in keepers if keeper.kill()], None
            continue
        if what == END:
            at_work -= 1
            continue
        signals += 1
        for keeper in keepers:
            keeper.end(for_good=True)
        if signals == 1:
            logger.info("%s: the workers finish what they are at; once more ends that", what)
        elif signals == 2:
            kill_at = time.monotonic() + patience
    return killed


@contextmanager
def _telling_signals(heard: SimpleQueue[str]) -> Iterator[None]:
    """Put the name of each SIGTERM and SIGINT there."""

    def handle(number: int, _frame: FrameType | None) -> None:
        heard.put(signal.Signals(number).name)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
