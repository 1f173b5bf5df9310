"""Sends our statements by a connection of the caller's, and so in the transaction it is in.

No library of these connections is imported here: one is known by the names of its classes. Every
parameter goes as text, which PostgreSQL reads: nothing depends on how a driver writes values.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import cache
from itertools import count
from typing import Any

from simpleworkflow.backends.postgres import statements
from simpleworkflow.backends.postgres.driver import (
    CONFLICT,
    NO_TABLES,
    READ_ONLY,
    DataRefused,
    Row,
    translate,
)
from simpleworkflow.backends.postgres.url import Address
from simpleworkflow.core.errors import (
    SchemaNotReady,
    SimpleWorkflowError,
    StoreConflict,
    StoreUnavailable,
    UsageError,
)

Fetch = Callable[[str, Mapping[str, object]], Sequence[Row]]
"""Sends the statement of this name with these parameters, and returns its rows."""

_Values = Mapping[str, str | None]
_Run = Callable[[Any, str, _Values], Sequence[Row]]

_FAILED_TRANSACTION = "25P02"
_FAILED_BEFORE = {"PendingRollbackError", "TransactionManagementError"}
"""What SQLAlchemy and Django raise in place of asking a server that would refuse."""

_OUT_OF_REACH = {"InterfaceError", "OperationalError", "OSError"}
"""By these names all libraries report a connection that is closed or lost."""


def fetch_on(
    connection: object, address: Address, clock: Callable[[], datetime] | None = None
) -> Fetch:
    """Return what sends statements of ours by a connection of the caller's.

    Args:
        connection: of psycopg, pg8000, SQLAlchemy or Django, or a session of SQLAlchemy.
        address: names the schema; where the connection leads is the caller's affair.
        clock: gives the time in place of the server's.

    Raises:
        UsageError: `connection` is none of these.
    """
    run = _run_of(connection)

    def fetch(name: str, given: Mapping[str, object]) -> Sequence[Row]:
        statement = statements.load(name, address.quoted_schema)
        values = {"now": clock() if clock else None, **given}
        try:
            return run(connection, statement, _as_text(values))
        except SimpleWorkflowError:
            raise
        except Exception as exc:
            raise _translated(exc, address) from exc

    return fetch


def _run_of(connection: object) -> _Run:
    for kind in type(connection).__mro__:
        if run := _KINDS.get(f"{kind.__module__}.{kind.__qualname__}"):
            return run
    name = f"{type(connection).__module__}.{type(connection).__qualname__}"
    if hasattr(connection, "run_sync"):
        raise UsageError(
            f"connection={name} is asynchronous: give it to AsyncClient.submit, or write `await "
            "connection.run_sync(lambda joined: client.submit(…, connection=joined))`"
        )
    raise UsageError(
        f"connection={name} is none that can be used here: give one of psycopg, pg8000, SQLAlchemy "
        "or Django, or send the SQL for other drivers in docs/reference.md yourself"
    )


# How each library is told a statement


def _psycopg(connection: Any, statement: str, values: _Values) -> Sequence[Row]:
    text, names = _marked(statement, "format")
    # Neither the connection's own cursors nor its rows, which may be of any kind.
    cursor = sys.modules["psycopg"].Cursor(connection, row_factory=lambda _: tuple)
    rows: Sequence[Row] = cursor.execute(text, [values[name] for name in names]).fetchall()
    return rows


def _dbapi(connection: Any, statement: str, values: _Values) -> Sequence[Row]:
    text, names = _marked(statement, "format")
    with closing(connection.cursor()) as cursor:
        cursor.execute(text, [values[name] for name in names])
        rows: Sequence[Row] = cursor.fetchall()
        return rows


def _django(connection: Any, statement: str, values: _Values) -> Sequence[Row]:
    _check_kind("Django", connection.vendor)
    return _dbapi(connection, statement, values)


def _pg8000_native(connection: Any, statement: str, values: _Values) -> Sequence[Row]:
    text, names = _marked(statement, "named")
    rows: Sequence[Row] = connection.run(text, **{name: values[name] for name in names})
    return rows


def _sqlalchemy(connection: Any, statement: str, values: _Values) -> Sequence[Row]:
    dialect = connection.dialect
    _check_kind("SQLAlchemy", dialect.name)
    # asyncpg has marks of the server's own; all others know these.
    style = dialect.paramstyle if dialect.paramstyle == "numeric_dollar" else "format"
    text, names = _marked(statement, style)
    answer = connection.exec_driver_sql(text, tuple(values[name] for name in names))
    rows: Sequence[Row] = answer.fetchall()
    return rows


def _sqlalchemy_session(session: Any, statement: str, values: _Values) -> Sequence[Row]:
    return _sqlalchemy(session.connection(), statement, values)


def _check_kind(library: str, database: str) -> None:
    if database != "postgresql":
        raise UsageError(
            f"the given connection of {library} leads to {database}: give one to the PostgreSQL "
            "database of the runs"
        )


_KINDS: dict[str, _Run] = {
    "psycopg.Connection": _psycopg,
    "pg8000.dbapi.Connection": _dbapi,
    "pg8000.legacy.Connection": _dbapi,
    "pg8000.native.Connection": _pg8000_native,
    "sqlalchemy.engine.base.Connection": _sqlalchemy,
    "sqlalchemy.orm.session.Session": _sqlalchemy_session,
    "sqlalchemy.orm.scoping.scoped_session": _sqlalchemy_session,
    "django.db.backends.base.base.BaseDatabaseWrapper": _django,
    "django.utils.connection.ConnectionProxy": _django,
}


@cache
def _marked(statement: str, style: str) -> tuple[str, tuple[str, ...]]:
    """Return the statement with its parameters marked in this style, and their names in order."""
    names = tuple(statements.PARAMETER.findall(statement))
    if style == "named":
        return statements.PARAMETER.sub(r":\1::text", statement), names
    if style == "format":
        return statements.PARAMETER.sub("%s::text", statement.replace("%", "%%")), names
    numbers = count(1)
    return statements.PARAMETER.sub(lambda _: f"${next(numbers)}::text", statement), names


def _as_text(values: Mapping[str, object]) -> _Values:
    return {name: None if value is None else str(value) for name, value in values.items()}


# What each library says went wrong


def _translated(error: Exception, address: Address) -> SimpleWorkflowError:
    sqlstate, words = _told(error)
    if sqlstate == _FAILED_TRANSACTION or type(error).__name__ in _FAILED_BEFORE:
        return UsageError(
            "the transaction of the given connection had failed before: roll it back, or back to a "
            "savepoint, and submit again"
        )
    if sqlstate == READ_ONLY:
        return UsageError(
            "the transaction of the given connection may only read: submit in one that may write"
        )
    if sqlstate in CONFLICT:
        return StoreConflict(
            f"the database undid the transaction of the given connection ({words}): roll it back "
            "and repeat all of it"
        )
    if sqlstate in NO_TABLES:
        return SchemaNotReady(
            f"the database of the given connection has no current tables in the schema "
            f'"{address.schema}" ({words}): give a connection to {address}, or run '
            "`simpleworkflow migrate` there"
        )
    return translate(sqlstate, words, address) if sqlstate else _unspoken(error, words)


def _unspoken(error: Exception, words: str) -> SimpleWorkflowError:
    """Return the error for what the server itself has not said."""
    if isinstance(error, UnicodeError):
        return DataRefused(f"the client_encoding of the given connection lacks a letter: {words}")
    problem = f"the given connection cannot be used: {words}"
    if _OUT_OF_REACH & {kind.__name__ for kind in type(error).__mro__}:
        return StoreUnavailable(f"{problem}: submit again by one that is open")
    return UsageError(problem)


def _told(error: BaseException) -> tuple[str | None, str]:
    """Return the server's code, None if it gave none, and the words of who knows most."""
    for layer in _layers(error):
        fields = layer.args[0] if layer.args and isinstance(layer.args[0], dict) else {}
        code = getattr(layer, "sqlstate", None) or getattr(layer, "pgcode", None)
        if code or fields:
            # Not what follows: some add the statement, and with it the payload.
            return code or fields.get("C"), _first_line(fields.get("M") or str(layer))
    return None, _first_line(str(layer))


def _layers(error: BaseException | None) -> Iterator[BaseException]:
    # SQLAlchemy and Django put an error of their own around the driver's.
    while error is not None:
        yield error
        error = error.__cause__


def _first_line(words: str) -> str:
    return words.partition("\n")[0].strip()
