"""Programs with connections of their own, of every library whose transactions a submit may join."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from workers import PATIENCE

from simpleworkflow.backends.postgres.url import parse_url


@attrs.frozen
class Caller:
    """A program that is in a transaction of its own.

    Args:
        connection: what it gives to `submit`.
        execute: sends SQL of its own in that transaction.
        commit, rollback: end it; the next statement begins another.
        close: ends the session with the server.
    """

    connection: Any
    execute: Callable[[str], Any]
    commit: Callable[[], Any]
    rollback: Callable[[], Any]
    close: Callable[[], Any]


def login(url: str) -> dict[str, Any]:
    """How pg8000 is told where to connect."""
    parts = conninfo_to_dict(parse_url(url).url)
    return {
        "host": parts["host"],
        "port": int(parts["port"]),
        "user": parts["user"],
        "password": parts.get("password", ""),
        "database": parts["dbname"],
    }


def by_psycopg(url: str) -> Caller:
    """As most have it."""
    return _of_psycopg(psycopg.connect(parse_url(url).url))


class OwnConnection(psycopg.Connection[Any]):
    """What a program may derive."""


def by_peculiar_psycopg(url: str) -> Caller:
    """With a class, cursors, rows and settings of its own, and every statement prepared."""
    connection = OwnConnection.connect(
        parse_url(url).url,
        row_factory=dict_row,
        cursor_factory=psycopg.RawCursor,
        prepare_threshold=0,
        options="-c search_path=nowhere -c datestyle=german -c standard_conforming_strings=off "
        "-c timezone=Asia/Kathmandu -c default_transaction_isolation=serializable",
    )
    return _of_psycopg(connection)


def by_psycopg_in_autocommit(url: str) -> Caller:
    """With transactions by SQL."""
    connection = psycopg.connect(parse_url(url).url, autocommit=True)
    return _by_sql(connection, connection.execute, connection.close)


def by_pg8000_dbapi(url: str) -> Caller:
    """By the DB-API's rules."""
    import pg8000.dbapi

    return _of_dbapi(pg8000.dbapi.connect(**login(url)))


def by_pg8000_legacy(url: str) -> Caller:
    """By `pg8000.connect`, which gives its oldest kind."""
    import pg8000

    return _of_dbapi(pg8000.connect(**login(url)))


def by_pg8000_native(url: str) -> Caller:
    """With transactions by SQL."""
    from pg8000.native import Connection

    connection = Connection(**login(url))
    return _by_sql(connection, connection.run, connection.close)


def by_sqlalchemy(driver: str) -> Callable[[str], Caller]:
    """A connection of its engine."""

    def open_one(url: str) -> Caller:
        connection = _engine(url, driver).connect()

        def close() -> None:
            connection.close()
            connection.engine.dispose()

        return Caller(
            connection,
            connection.exec_driver_sql,
            connection.commit,
            connection.rollback,
            close,
        )

    return open_one


def by_session(driver: str) -> Callable[[str], Caller]:
    """A session of its ORM."""

    def open_one(url: str) -> Caller:
        from sqlalchemy.orm import Session

        return _of_session(Session(_engine(url, driver)))

    return open_one


def by_scoped_session(url: str) -> Caller:
    """A session as Flask programs share it between functions."""
    from sqlalchemy.orm import scoped_session, sessionmaker

    return _of_session(scoped_session(sessionmaker(_engine(url, "psycopg"))))


def by_django(url: str) -> Caller:
    """Django's only connection, `django.db.connection`."""
    from django.db import connection

    use_in_django(url)
    return _of_django(connection)


def by_named_django(url: str) -> Caller:
    """One of several of Django's, `connections["default"]`."""
    from django.db import connections

    use_in_django(url)
    return _of_django(connections["default"])


def use_in_django(url: str) -> None:
    """Let Django's default connection lead there."""
    import django
    from django.conf import settings
    from django.db import connections
    from django.db.utils import ConnectionHandler

    if not settings.configured:
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}})
        django.setup()
    parts = {key.upper(): str(value) for key, value in login(url).items()}
    parts["NAME"] = parts.pop("DATABASE")
    mine = ConnectionHandler({"default": {"ENGINE": "django.db.backends.postgresql", **parts}})
    connections["default"] = mine["default"]


KINDS: dict[str, Callable[[str], Caller]] = {
    "psycopg": by_psycopg,
    "psycopg-peculiar": by_peculiar_psycopg,
    "psycopg-autocommit": by_psycopg_in_autocommit,
    "pg8000-dbapi": by_pg8000_dbapi,
    "pg8000-legacy": by_pg8000_legacy,
    "pg8000-native": by_pg8000_native,
    "sqlalchemy-psycopg": by_sqlalchemy("psycopg"),
    "sqlalchemy-psycopg2": by_sqlalchemy("psycopg2"),
    "sqlalchemy-pg8000": by_sqlalchemy("pg8000"),
    "session-psycopg": by_session("psycopg"),
    "session-pg8000": by_session("pg8000"),
    "scoped-session": by_scoped_session,
    "django": by_django,
    "django-named": by_named_django,
}


def wait_for_a_lock(url: str) -> None:
    """Return when a session of the server waits for what another one has locked."""
    pause = threading.Event()
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
    with psycopg.connect(parse_url(url).url, autocommit=True) as connection:
        for _ in range(int(PATIENCE / 0.02)):
            if connection.execute(waiting).fetchone():
                return
            pause.wait(0.02)
    raise AssertionError("nobody waits for a lock")


@contextmanager
def calling(kind: str, url: str) -> Iterator[Caller]:
    """A caller of this kind on the database of a URL."""
    caller = KINDS[kind](url)
    try:
        yield caller
    finally:
        caller.close()


def _of_psycopg(connection: psycopg.Connection[Any]) -> Caller:
    def execute(sql: str) -> None:
        connection.execute(sql.encode())

    return Caller(connection, execute, connection.commit, connection.rollback, connection.close)


def _by_sql(connection: Any, send: Callable[[str], Any], close: Callable[[], Any]) -> Caller:
    """A session whose transactions begin and end by SQL, from its first statement on."""
    send("begin")

    def end_by(sql: str) -> None:
        send(sql)
        send("begin")

    return Caller(connection, send, lambda: end_by("commit"), lambda: end_by("rollback"), close)


def _of_dbapi(connection: Any) -> Caller:
    def execute(sql: str) -> None:
        connection.cursor().execute(sql)

    return Caller(connection, execute, connection.commit, connection.rollback, connection.close)


def _engine(url: str, driver: str) -> Any:
    from sqlalchemy import URL, create_engine

    parts = login(url)
    parts["username"] = parts.pop("user")
    return create_engine(URL.create(f"postgresql+{driver}", **parts))


def _of_session(session: Any) -> Caller:
    def execute(sql: str) -> None:
        session.connection().exec_driver_sql(sql)

    def close() -> None:
        session.close()
        session.get_bind().dispose()

    return Caller(session, execute, session.commit, session.rollback, close)


def _of_django(connection: Any) -> Caller:
    from django.db import transaction

    transaction.set_autocommit(False)

    def execute(sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    return Caller(connection, execute, transaction.commit, transaction.rollback, connection.close)
