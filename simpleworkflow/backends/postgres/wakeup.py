"""Wake-ups by LISTEN and NOTIFY: a hint that spares idle workers the wait for their next poll.

A NOTIFY holds a lock of the whole server while its transaction commits. Sent by every submit, it
would make concurrent producers wait for each other's disk writes. A submit therefore carries one
only when the last was some time ago. Those that follow soon share one: it is sent after their
commits, on a connection of its own, by a thread, and the last of them is always followed by one.
"""

from __future__ import annotations

import math
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

from simpleworkflow.backends.postgres.driver import Connection
from simpleworkflow.core.errors import SimpleWorkflowError

IDLE_TIME = 30.0
"""Seconds without a submit after which the thread and its connection are given up."""

REST = 0.01
LONGEST_REST = 0.04
"""Seconds between two notifications of a producer. The pause doubles, up to the longest, for as
long as submits follow each other within it."""

CLOSE_TIMEOUT = 1.0
"""Seconds that closing waits for the last notification."""


def channel(schema: str) -> str:
    """Return the channel of a schema, short enough for an identifier whatever its length."""
    return f"simpleworkflow_{zlib.crc32(schema.encode()):08x}"


class Notifier:
    """Says which submits carry a notification, and sends one for the others.

    Args:
        connect: opens a connection.
        send: sends one notification on it.
    """

    def __init__(
        self, connect: Callable[[], Connection], send: Callable[[Connection], object]
    ) -> None:
        self._connect = connect
        self._send = send
        self._changed = threading.Condition()
        self._is_wanted = False
        self._is_closed = False
        self._sent_at = -math.inf
        self._rest = REST
        self._thread: threading.Thread | None = None

    def take_turn(self) -> bool:
        """Say whether the next submit carries a notification itself; else `notify` after it."""
        now = time.monotonic()
        with self._changed:
            if self._is_wanted or now < self._sent_at + self._rest:
                return False
            self._sent_at, self._rest = now, REST
            return True

    def notify(self) -> None:
        """Send a notification soon; does not wait for it."""
        with self._changed:
            if self._is_wanted or self._is_closed:
                return
            # Only a hint: where the system gives no thread for it, workers poll.
            with suppress(RuntimeError):
                self._thread = self._thread or self._start()
                self._is_wanted = True
                self._changed.notify()

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name="simpleworkflow-notifier", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Send what is wanted still, and end."""
        with self._changed:
            self._is_closed = True
            thread = self._thread
            self._changed.notify()
        if thread is not None:
            thread.join(CLOSE_TIMEOUT)

    def _work(self) -> None:
        connection: Connection | None = None
        while self._wait():
            try:
                connection = connection or self._connect()
                self._send(connection)
            except SimpleWorkflowError:
                # Only a hint: workers poll, and the next submit tries a new connection.
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _wait(self) -> bool:
        """Wait until a notification is wanted; False when the thread is to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_wanted or self._is_closed, IDLE_TIME)
            rest = self._sent_at + self._rest - time.monotonic()
            self._changed.wait_for(lambda: self._is_closed, rest)
            is_wanted, self._is_wanted = self._is_wanted, False
            if is_wanted:
                self._sent_at = time.monotonic()
                self._rest = min(2 * self._rest, LONGEST_REST)
            else:
                self._thread = None
            return is_wanted
