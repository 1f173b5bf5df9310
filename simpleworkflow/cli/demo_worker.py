"""A worker of the demo; `python -m simpleworkflow.cli.demo_worker NAME` is one in a process.

The process reads its database from DATABASE_URL, where no list of processes shows the password,
and works until its standard input ends, which it does however the demo ends.
"""

from __future__ import annotations

import logging
import os
import sys
import threading

from simpleworkflow import IntentPoller, SimpleWorkflowError
from simpleworkflow.cli.demo_work import KINDS, LEASE, PREFIX, RETRY_POLICY


def make_worker(url: str, name: str) -> IntentPoller:
    """Return a worker that serves every kind of run of the demo."""
    # Failures are what the demo is about: it shows them, with no log in between.
    logging.getLogger("simpleworkflow").addHandler(logging.NullHandler())
    poller = IntentPoller(
        url,
        [PREFIX],
        name,
        poll_interval=0.1,
        lease_duration=LEASE,
        concurrency=4,
        retry_policy=RETRY_POLICY,
        shutdown_timeout=5,
    )
    for kind in KINDS:
        poller.register_executor(kind.type, kind.execute)
    return poller


def _stop_with_the_demo(poller: IntentPoller, ended: threading.Event) -> None:
    # Not sys.stdin, whose lock a waiting thread would hold when the interpreter ends.
    os.read(0, 1)
    poller.stop()
    # It may not have started yet, and stop() does nothing then.
    while not ended.wait(0.2):
        poller.stop()


def _work(name: str) -> None:
    poller, ended = make_worker(os.environ["DATABASE_URL"], name), threading.Event()
    threading.Thread(target=_stop_with_the_demo, args=(poller, ended), daemon=True).start()
    try:
        poller.start()
    finally:
        ended.set()


if __name__ == "__main__":
    try:
        _work(sys.argv[1])
    except SimpleWorkflowError as error:
        sys.exit(" ".join(str(error).split()))
