"""How a measured process and its parent talk: a task on the command line, one JSON line a message.

Peers load this in environments of their own, so it needs the standard library alone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

Task = dict[str, Any]


def clock() -> float:
    """Return seconds on the one monotonic clock that all processes of a machine share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def cpu() -> float:
    """Return the seconds that this process has computed so far, whoever else was on the machine."""
    return time.process_time()


def tell(**message: object) -> None:
    """Say something to the parent."""
    print(json.dumps(message), flush=True)


def wait_for_go() -> None:
    """Say that all is loaded, and wait until the parent wants it to begin."""
    tell(ready=True)
    sys.stdin.readline()


def wait_for_go_till_killed() -> None:
    """Wait for the word to begin; from then on end on the spot when the parent is gone."""
    wait_for_go()

    def listen() -> None:
        # Unbuffered: a program that exits meanwhile would stumble over the lock of sys.stdin.
        os.read(sys.stdin.fileno(), 1)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()


def on_stop(stop: Callable[[], object]) -> None:
    """Say that all is loaded, and call `stop` when the parent says so, or is gone."""

    def listen() -> None:
        sys.stdin.readline()
        stop()

    threading.Thread(target=listen, daemon=True).start()
    tell(ready=True)


def pauses(count: int) -> list[float]:
    """Return the seconds to pause before each timed submit, long enough to be idle again.

    They differ, so that no submit keeps step with anything that happens at an interval.
    """
    return [0.015 + 0.020 * ((7 * i) % 10) / 10 for i in range(count)]


def main(modes: Mapping[str, Callable[[Task], None]]) -> None:
    """Do the task that the command line gives: the mode, then its arguments as JSON."""
    modes[sys.argv[1]](json.loads(sys.argv[2]))
