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
        self._slots = threading.BoundedSemaphore(size)
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection; one that broke meanwhile is not taken back.

        Raises:
            StoreClosed: the pool was closed.
            StoreUnavailable: there is no connection to be had.
        """
        with self._slots:
            connection = self._take()
            try:
                yield connection
            except StoreUnavailable:
                connection.close()
                raise
            except BaseException:
                # An interrupt in mid-statement leaves the session in an unknown state.
                if self._closed or not connection.is_usable():
                    connection.close()
                else:
                    self._give_back(connection)
                raise
            self._give_back(connection)

    def close(self) -> None:
        """Close idle connections now and lent ones when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> Connection:
        while True:
            with self._lock:
                if self._closed:
                    raise StoreClosed("this store was closed: open a new one")
                if not self._idle:
                    break
                connection = self._idle.pop()
            # A server that was restarted has hung up on every idle connection.
            if connection.is_usable():
                return connection
            connection.close()
        return self._connect()

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()
