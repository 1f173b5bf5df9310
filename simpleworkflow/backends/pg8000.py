"""The pg8000 driver: connect, fetch, translate errors. Pure Python; it knows nothing of runs."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pg8000.exceptions import DatabaseError, Error
from pg8000.native import Connection, PreparedStatement

from simpleworkflow.backends.postgres.dial import (
    attempts,
    host_of,
    open_socket,
    place_of,
    time_limit,
    tls_context,
    why_not,
)
from simpleworkflow.backends.postgres.driver import (
    APPLICATION_NAME,
    DataRefused,
    Row,
    has_input,
    no_answer,
    translate,
)
from simpleworkflow.backends.postgres.url import Address
from simpleworkflow.core.errors import StoreError


class _Session(Connection):  # type: ignore[misc]
    """A pg8000 connection that closes without complaint.

    pg8000 itself closes after a failed login, where a complaint would hide why it failed.
    """

    _usock: Any = None
    _sock: Any = None

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except BaseException:
            # Not all that fails here is closed by pg8000.
            self.close()
            raise

    def close(self) -> None:
        unsent, sock = self._sock, self._usock
        # It may be closed already, or the server gone.
        with suppress(Error, OSError):
            super().close()
        # What could not be sent would be tried once more by Python's collector, which complains.
        if unsent is not None:
            with suppress(OSError):
                sock.settimeout(0)
                unsent.close()


class Pg8000Connection:
    """One pg8000 connection in autocommit, with each statement prepared once."""

    def __init__(self, session: _Session, address: Address) -> None:
        self.may_prepare = False
        self._session = session
        self._address = address
        self._answer_timeout: float | None = None
        self._prepared: dict[str, PreparedStatement] = {}

    @property
    def answer_timeout(self) -> float | None:
        """See Connection."""
        return self._answer_timeout

    @answer_timeout.setter
    def answer_timeout(self, seconds: float | None) -> None:
        self._answer_timeout = seconds
        if self._session._usock is not None:
            self._session._usock.settimeout(seconds)

    def fetch(self, statement: str, params: Mapping[str, object]) -> Sequence[Row]:
        """See Connection.fetch."""
        with self._translating():
            rows: Sequence[Row] | None = self._run(statement, params)
            return rows or ()

    def _run(self, statement: str, params: Mapping[str, object]) -> Any:
        if self.may_prepare:
            if statement not in self._prepared:
                self._prepared[statement] = self._session.prepare(statement)
            return self._prepared[statement].run(**params)
        # pg8000 parses and binds in two messages, which behind a pooler only a transaction keeps in
        # one session.
        self._session.run("begin")
        try:
            rows = self._session.run(statement, **params)
        except DatabaseError:
            self._session.run("rollback")
            raise
        self._session.run("commit")
        return rows

    def run_script(self, sql: str) -> None:
        """See Connection.run_script."""
        with self._translating():
            self._session.run(sql)

    def fileno(self) -> int:
        """See Connection.fileno."""
        return int(self._session._usock.fileno())

    def was_notified(self) -> bool:
        """See Connection.was_notified."""
        if has_input(self.fileno()):
            # pg8000 reads what came unasked with the answer to the next statement.
            self.run_script("select 1")
        was_notified = bool(self._session.notifications)
        self._session.notifications.clear()
        return was_notified

    def is_usable(self) -> bool:
        """See Connection.is_usable."""
        # None until the first statement: pg8000 forgets what the login said.
        is_idle = self._session._transaction_status in (None, b"I")
        if self._session._usock is None or not is_idle:
            return False
        try:
            if has_input(self.fileno()):
                self.run_script("select 1")
        except StoreError:
            return False
        return True

    def close(self) -> None:
        """See Connection.close."""
        self._session.close()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as exc:
            raise self._translated(exc) from exc
        except BaseException as exc:
            # The answer may be unread, and the next statement would take it for its own.
            self.close()
            if isinstance(exc, UnicodeError):
                raise DataRefused(f"the database cannot hold a value: {exc}") from exc
            if isinstance(exc, (Error, OSError, ValueError)):
                raise self._translated(exc) from exc
            raise

    def _translated(self, error: BaseException) -> StoreError:
        return translate(*_told(error, self._answer_timeout), self._address)


def connect(address: Address, options: str) -> Pg8000Connection:
    """See Driver.connect."""
    failures: list[tuple[str, Exception, str | None, str]] = []
    for attempt in attempts(address):
        try:
            return Pg8000Connection(_login(attempt, options), address)
        except Exception as exc:
            # Of any kind: pg8000 stumbles over whatever is not PostgreSQL.
            failures.append((place_of(attempt), exc, *_told(exc, time_limit(attempt))))
    _, cause, sqlstate, words = failures[-1]
    if len(failures) > 1:
        sqlstate = None
        words = "; ".join(f"{place}: {words}" for place, _, _, words in failures)
    raise translate(sqlstate, words, address) from cause


def _login(parameters: Mapping[str, str], options: str) -> _Session:
    # The user's own options come last, and win.
    options = f"{options} {parameters.get('options', '')}".strip()
    sock = open_socket(parameters)
    try:
        session = _Session(
            sock=sock,
            host=host_of(parameters),
            ssl_context=tls_context(parameters),
            user=parameters.get("user") or getpass.getuser(),
            # Not None, over which pg8000 stumbles when the server asks for one.
            password=parameters.get("password", ""),
            database=parameters.get("dbname"),
            application_name=parameters.get("application_name", APPLICATION_NAME),
            startup_params={"client_encoding": "UTF8", **({"options": options} if options else {})},
        )
        _check_kind(session, parameters)
    except BaseException:
        sock.close()
        raise
    # The time limit was for connecting.
    session._usock.settimeout(None)
    return session


def _check_kind(session: _Session, parameters: Mapping[str, str]) -> None:
    if parameters["target_session_attrs"] == "any":
        return
    [kind] = session.run(
        "select pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'"
    )
    if problem := why_not(parameters, *kind):
        session.close()
        raise OSError(problem)


def _told(error: BaseException, timeout: float | None) -> tuple[str | None, str]:
    """Return the server's code, None when the connection itself failed, and what was said.

    Args:
        error: of pg8000, or of the network.
        timeout: the seconds after which silence became this error.
    """
    if isinstance(error, DatabaseError) and isinstance(error.args[0], dict):
        fields = error.args[0]
        return fields.get("C"), ": ".join(fields[part] for part in "MD" if part in fields)
    # pg8000 itself says no more than "network error".
    cause = (isinstance(error, Error) and error.__cause__) or error
    if isinstance(cause, TimeoutError) and timeout:
        return None, no_answer(timeout)
    return None, str(cause) if isinstance(cause, (Error, OSError)) else repr(cause)
