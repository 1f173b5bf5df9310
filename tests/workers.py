"""What tests of workers share: pollers in threads and processes, and waiting without sleeping."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from simpleworkflow import Client, IntentPoller, RetryPolicy
from simpleworkflow.core.events import RunsSettled

PATIENCE = 30.0
"""Seconds after which something that should have happened never will."""

AT_ONCE = RetryPolicy.constant(0)
"""Failed attempts are tried again without waiting."""


class Seen:
    """An observer that keeps every event, and lets a test wait for some of them.

    Runs that were settled in a group are there one by one, too.
    """

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, event: object) -> None:
        """Keep an event."""
        with self._changed:
            self.events.append(event)
            if isinstance(event, RunsSettled):
                self.events += event.settled
            self._changed.notify_all()

    def of(self, kind: type) -> list[Any]:
        """Return the events of a kind so far."""
        return [event for event in list(self.events) if isinstance(event, kind)]

    def wait(self, kind: type, count: int = 1) -> list[Any]:
        """Return the events of a kind once there are so many."""
        with self._changed:
            there = self._changed.wait_for(lambda: len(self.of(kind)) >= count, PATIENCE)
        assert there, f"{len(self.of(kind))} of {count} {kind.__name__} came"
        return self.of(kind)


def memory_url() -> str:
    """The URL of an empty store in memory; one by another's name would have the other's runs."""
    return f"memory://{uuid.uuid4()}"


def a_poller(url: Any, type_prefixes: list[str] | None = None, **options: Any) -> IntentPoller:
    """A poller that looks often, without an executor."""
    return IntentPoller(url, type_prefixes, **{"worker_id": "w", "poll_interval": 0.05} | options)


def run_once(url: Any, function: Callable[[Any], Any] = lambda run: None) -> str:
    """Submit one run, work until nothing is left, and return the run's status."""
    poller = a_poller(url)
    poller.register_executor("once.v1", function)
    with Client(url) as client:
        run_id = client.submit("once.v1", {}).id
        assert poller.drain(PATIENCE) == 1
        return str(client.get(run_id).status)


@contextmanager
def working(*pollers: IntentPoller) -> Iterator[None]:
    """Pollers at work in threads; stopped at the end, which they must heed."""
    threads = [threading.Thread(target=poller.start, daemon=True) for poller in pollers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for poller, thread in zip(pollers, threads, strict=True):
            # One that was not at work yet does not hear the first call.
            while thread.is_alive():
                poller.stop()
                thread.join(0.2)


def met(event: threading.Event) -> None:
    """Wait for an event that must come."""
    assert event.wait(PATIENCE), "what should have happened did not"


def until(is_so: Callable[[], Any]) -> None:
    """Look until it is so."""
    give_up_at = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < give_up_at, "what should have happened did not"
        threading.Event().wait(0.02)


def python(program: str, *args: str, **options: Any) -> subprocess.Popen[str]:
    """Start a Python process that finds what this one finds."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program, *args],
        **{
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": os.environ | {"PYTHONPATH": paths},
        }
        | options,
    )
