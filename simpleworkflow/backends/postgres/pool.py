"""A few connections for many threads, at most a fixed number of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from simpleworkflow.backends.postgres.driver import Connection
from simpleworkflow.core.errors import StoreClosed, StoreUnavailable


class Pool:
    """Lends connections, the last returned first; waits when all are lent.

    Args:
        connect: opens a connection.
        size: how many there are at most.
    """

    def __init__(self, connect: Callable[[], Connection], size: int) -> None:
        self._connect = connect
        self._free = size
        self._idle: list[Connection] = []
        self._changed = threading.Condition(threading.Lock())
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection; one that broke meanwhile is not taken back, and those at rest go too.

        Raises:
            StoreClosed: the pool was closed.
            StoreUnavailable: there is no connection to be had.
        """
        connection = self._take()
        is_good = True
        try:
            yield connection
        except StoreUnavailable:
            is_good = False
            # Those at rest lead to the same server, which may be gone or no longer the primary.
            self._close_idle()
            raise
        except BaseException:
            # An interrupt in mid-statement leaves the session in an unknown state.
            is_good = connection.is_usable()
            raise
        finally:
            self._give_back(connection, is_good)

    def check_open(self) -> None:
        """Return if the pool was not closed.

        Raises:
            StoreClosed: it was.
        """
        if self._closed:
            raise StoreClosed("this store was closed: open a new one")

    def close(self) -> None:
        """Close idle connections now and lent ones when they come back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._close_idle()

    def _close_idle(self) -> None:
        with self._changed:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> Connection:
        connection = self._wait_for_turn()
        try:
            # A server that was restarted has hung up on every idle connection.
            while connection is not None and not connection.is_usable():
                connection.close()
                connection = self._take_idle()
            return connection or self._connect()
        except BaseException:
            self._give_back(None, False)
            raise

    def _wait_for_turn(self) -> Connection | None:
        with self._changed:
            while not self._free and not self._closed:
                self._changed.wait()
            self.check_open()
            self._free -= 1
            return self._idle.pop() if self._idle else None

    def _take_idle(self) -> Connection | None:
        with self._changed:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: Connection | None, is_good: bool) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify()
            if is_good and connection is not None and not self._closed:
                self._idle.append(connection)
                return
        if connection is not None:
            connection.close()
