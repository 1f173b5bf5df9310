"""Schemas whose tables are made once for each server and emptied for each test, which is quick."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from servers import Server

from simpleworkflow import migrate
from simpleworkflow.backends.postgres.url import parse_url

if TYPE_CHECKING:
    import psycopg


class Schemas:
    """One schema for each server, as a context manager that drops them."""

    def __init__(self) -> None:
        """Nothing is made yet."""
        self._made: dict[Server, tuple[str, psycopg.Connection[Any]]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Schemas:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop what was made."""
        self._stack.close()

    def empty(self, server: Server) -> str:
        """The URL of this server's schema, with all tables and no rows."""
        if server not in self._made:
            url = self._stack.enter_context(server.fresh_schema())
            migrate(url)
            # A test that left a transaction open is told so, instead of hanging.
            connection = server.connect(options="-c lock_timeout=10s")
            self._made[server] = url, self._stack.enter_context(connection)
        url, connection = self._made[server]
        schema = parse_url(url).quoted_schema
        connection.execute(
            f"truncate {schema}.workflow_run, {schema}.workflow_event,"
            f" {schema}.workflow_schedule, {schema}.workflow_worker restart identity cascade"
        )
        return url
