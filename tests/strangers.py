"""Databases of their own for tests, read and written as programs in other languages do it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from servers import Server

import simpleworkflow


class Database:
    """A database with the tables in schema `workflow`.

    Attributes:
        url: its URL as operators hand it out, without a schema.
        poller_url: the same with the schema, as users put it together.
        connection: for bare SQL; each statement is a transaction.
    """

    def __init__(self, url: str) -> None:
        """Connect to it; the tables must be there."""
        self.url = url
        self.poller_url = url + ("&" if "?" in url else "?") + "search_path=workflow"
        self.connection = psycopg.connect(url, autocommit=True)

    def insert(self, type_: str, payload: object) -> str:
        """Submit a run with a type and a payload and nothing else; return its id."""
        row = self.connection.execute(
            "INSERT INTO workflow.workflow_run (type, payload) VALUES (%s, %s) RETURNING id",
            [type_, json.dumps(payload)],
        ).fetchone()
        assert row is not None
        return str(row[0])

    def cancel(self, run_id: str) -> None:
        """Cancel a run: its status and nothing else."""
        self.connection.execute(
            "UPDATE workflow.workflow_run SET status = 'cancelled', updated_at = now() "
            "WHERE id = %s AND status IN ('pending', 'leased')",
            [run_id],
        )

    def ask(self, columns: str, run_id: str) -> tuple[Any, ...]:
        """Some columns of a run."""
        row = self.connection.execute(
            f"SELECT {columns} FROM workflow.workflow_run WHERE id = %s", [run_id]
        ).fetchone()
        assert row is not None
        return row

    def events(self, run_id: str) -> list[str]:
        """The types of a run's events, oldest first."""
        rows = self.connection.execute(
            "SELECT event_type FROM workflow.workflow_event WHERE workflow_id = %s ORDER BY id",
            [run_id],
        )
        return [row[0] for row in rows]

    def is_over(self, run_id: str) -> bool:
        """Whether a run has ended, or waits for its next attempt."""
        return bool(self.ask("status NOT IN ('pending', 'leased') OR attempt > 0", run_id)[0])


@contextmanager
def new_database(server: Server) -> Iterator[Database]:
    """A new database of this server with the tables in it; dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        url = urlsplit(server.url)._replace(scheme="postgres", path=f"/{name}").geturl()
        simpleworkflow.migrate(url)
        database = Database(url)
        yield database
        database.connection.close()
    finally:
        with server.connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )
