"""What `simpleworkflow worker` starts: one worker, or a look at the poller that workers would be.

`python -m simpleworkflow.cli.worker_process work|describe` reads from its standard input, as one
line of JSON, what to do. Nothing of it is in a list of processes, where all could read the URL.
A worker ends when its standard input does, and so no later than who started it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from simpleworkflow import IntentPoller
from simpleworkflow.cli.errors import one_line
from simpleworkflow.cli.importing import load_poller
from simpleworkflow.cli.logs import log_to_stderr
from simpleworkflow.cli.metrics import count_as, counted

LAST_WORDS = 5.0
"""Seconds that a process without a parent gets to end, once its worker has stopped."""


def describe(poller: IntentPoller, target: str) -> dict[str, object]:
    """Return what a supervisor has to know of a poller, as JSON can hold it."""
    timeout = poller.options["shutdown_timeout"]
    file = getattr(sys.modules[target.partition(":")[0]], "__file__", None)
    url = poller.options["db_url"]
    return {
        "worker_id": poller.options["worker_id"],
        "shutdown_timeout": timeout.total_seconds() if isinstance(timeout, timedelta) else timeout,
        "folder": None if file is None else str(Path(file).parent.resolve()),
        "is_in_memory": isinstance(url, str) and url.startswith("memory:"),
    }


def _describe(wanted: dict[str, Any]) -> None:
    answer = os.dup(1)
    os.dup2(2, 1)  # What the module prints is none of the answer.
    poller = load_poller(wanted["target"], wanted["options"])
    poller.check()
    os.write(answer, json.dumps(describe(poller, wanted["target"])).encode())


def _work(wanted: dict[str, Any]) -> None:
    poller = load_poller(wanted["target"], wanted["options"])
    if wanted["counts_as"] is not None:
        poller, _ = counted(poller)
    log_to_stderr(wanted["log_level"], wanted["log_format"])
    poller.start()


def _end_with(parent: int, has_stopped: threading.Event) -> None:
    os.read(parent, 1)
    # As a signal: it ends a process that is not at work yet too, and a worker as any SIGTERM does.
    os.kill(os.getpid(), signal.SIGTERM)
    has_stopped.wait()
    # Still here: by threads of the module that do not end, and nobody is left who would see it.
    time.sleep(LAST_WORDS)
    os.kill(os.getpid(), signal.SIGKILL)


def main(part: str) -> int:
    """Do what standard input says and return the exit code; a failure is one line on stderr."""
    # Of its own: programs that executors start would wait for the end of what is standard input.
    parent = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with open(parent, "rb", buffering=0, closefd=False) as told:
        wanted = json.loads(told.readline())
    has_stopped = threading.Event()
    threading.Thread(target=_end_with, args=(parent, has_stopped), daemon=True).start()
    if wanted["counts_as"] is not None:
        # Before the module is imported, which may make metrics.
        count_as(wanted["counts_as"])
    try:
        with one_line():
            {"work": _work, "describe": _describe}[part](wanted)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    finally:
        has_stopped.set()
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1])
    if sys.argv[1] == "describe":
        # At once: threads that the module has begun may never end, and somebody waits.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
