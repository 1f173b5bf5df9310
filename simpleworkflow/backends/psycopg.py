"""The psycopg (3) driver: connect, fetch, translate errors. It knows nothing of runs."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo
from psycopg.abc import PQGen

from simpleworkflow.backends.postgres.driver import (
    APPLICATION_NAME,
    CONNECT_TIMEOUT,
    KEEPALIVE_COUNT,
    KEEPALIVE_IDLE,
    KEEPALIVE_INTERVAL,
    NO_HOST,
    PEER_TIMEOUT,
    DataRefused,
    Row,
    has_input,
    no_answer,
    translate,
)
from simpleworkflow.backends.postgres.statements import PARAMETER
from simpleworkflow.backends.postgres.url import Address
from simpleworkflow.core.errors import StoreError, UsageError

T = TypeVar("T")

_DEFAULTS: dict[str, Any] = {
    "application_name": APPLICATION_NAME,
    # Whatever the database's own: one in SQL_ASCII would answer bytes in place of text.
    "client_encoding": "UTF8",
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives_idle": KEEPALIVE_IDLE,
    "keepalives_interval": KEEPALIVE_INTERVAL,
    "keepalives_count": KEEPALIVE_COUNT,
    "tcp_user_timeout": 1_000 * PEER_TIMEOUT,
}


@cache
def _numbered(statement: str) -> tuple[bytes, tuple[str, ...]]:
    """Return the statement with the server's own parameter marks, and their names in order.

    psycopg's marks would be looked for anew in every long statement it is sent, which takes longer
    than the server does.
    """
    numbers: dict[str, int] = {}

    def mark(name: re.Match[str]) -> str:
        return f"${numbers.setdefault(name[1], len(numbers) + 1)}"

    return PARAMETER.sub(mark, statement).encode(), tuple(numbers)


class _Session(psycopg.Connection[Any]):
    """A psycopg connection that does not wait for ever."""

    answer_timeout: float | None = None

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        if self.answer_timeout is not None:
            gen = _in_time(gen, self.answer_timeout)
        return super().wait(gen, *args, **kwargs)


def _in_time(gen: PQGen[T], seconds: float) -> PQGen[T]:
    """Do as `gen` does, which is told now and then whether its socket is ready, for so long."""
    deadline: float | None = None
    try:
        awaited = next(gen)
        while True:
            ready = yield awaited
            if ready:
                deadline = None
            # The clock is not read where an answer comes at once.
            elif deadline is None:
                deadline = time.monotonic() + seconds
            elif time.monotonic() >= deadline:
                raise psycopg.OperationalError(no_answer(seconds))
            awaited = gen.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


class PsycopgConnection:
    """One psycopg connection in autocommit."""

    def __init__(self, connection: _Session, address: Address) -> None:
        self.may_prepare = False
        self._was_notified = False
        connection.add_notify_handler(self._note)
        self._connection = connection
        self._address = address

    @property
    def answer_timeout(self) -> float | None:
        """See Connection."""
        return self._connection.answer_timeout

    @answer_timeout.setter
    def answer_timeout(self, seconds: float | None) -> None:
        self._connection.answer_timeout = seconds

    def fetch(self, statement: str, params: Mapping[str, object]) -> Sequence[Row]:
        """See Connection.fetch."""
        text, names = _numbered(statement)
        values = [params[name] for name in names]
        try:
            # Numbers in binary are read faster, and written faster by the server.
            return self._connection.execute(
                text, values, prepare=self.may_prepare, binary=True
            ).fetchall()
        except (psycopg.Error, UnicodeError) as exc:
            raise _translated(exc, self._address) from exc

    def run_script(self, sql: str) -> None:
        """See Connection.run_script."""
        try:
            # Without parameters the server takes several statements, as one transaction.
            self._connection.execute(sql.encode())
        except psycopg.Error as exc:
            raise _translated(exc, self._address) from exc

    def fileno(self) -> int:
        """See Connection.fileno."""
        return self._connection.pgconn.socket

    def was_notified(self) -> bool:
        """See Connection.was_notified."""
        try:
            self._connection.pgconn.consume_input()
            while self._connection.pgconn.notifies() is not None:
                self._was_notified = True
        except psycopg.Error as exc:
            raise _translated(exc, self._address) from exc
        noted, self._was_notified = self._was_notified, False
        return noted

    def is_usable(self) -> bool:
        """See Connection.is_usable."""
        pgconn = self._connection.pgconn
        if pgconn.status != psycopg.pq.ConnStatus.OK:
            return False
        if pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return False
        if not has_input(pgconn.socket):
            return True
        try:
            self._was_notified = self.was_notified()
        except StoreError:
            return False
        # Notifications are read by now: what is left is the end of a server that said good-bye.
        return not has_input(pgconn.socket)

    def _note(self, _notification: psycopg.Notify) -> None:
        self._was_notified = True

    def close(self) -> None:
        """See Connection.close."""
        self._connection.close()


def connect(address: Address, options: str) -> PsycopgConnection:
    """See Driver.connect."""
    try:
        settings = conninfo.conninfo_to_dict(address.url)
    except psycopg.ProgrammingError:
        problem = _problem(address)
        raise UsageError(f"the database URL {address} cannot be read: {problem}") from None
    try:
        # The user's own options come last, and win.
        settings["options"] = f"{options} {settings.get('options', '')}".strip()
        connection = _Session.connect(
            conninfo.make_conninfo(**{**_DEFAULTS, **settings}),
            autocommit=True,
            cursor_factory=psycopg.RawCursor,
        )
    except UnicodeError as exc:
        raise translate(None, f"{NO_HOST}: {exc}", address) from exc
    except psycopg.Error as exc:
        raise _translated(exc, address) from exc
    return PsycopgConnection(connection, address)


def _problem(address: Address) -> str:
    # libpq quotes what it cannot read, so it is shown only what may be quoted.
    try:
        conninfo.conninfo_to_dict(address.without_secrets)
    except psycopg.ProgrammingError as exc:
        return " ".join(str(exc).split())
    return "write special characters of the password as %XX"


def _translated(error: psycopg.Error | UnicodeError, address: Address) -> StoreError:
    sqlstate = None if isinstance(error, UnicodeError) else error.sqlstate
    if sqlstate is None and isinstance(error, (psycopg.DataError, UnicodeError)):
        # Refused before it was sent, such as text with NUL.
        return DataRefused(f"the database cannot hold a value: {error}")
    if sqlstate is None and not isinstance(
        error, (psycopg.OperationalError, psycopg.InterfaceError)
    ):
        return StoreError(f"the driver refused a statement: {error}")
    return translate(sqlstate, str(error), address)
