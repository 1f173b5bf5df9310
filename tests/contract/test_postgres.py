"""PostgresStore sits the exam: over each driver, on each server, and behind a pooler."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from callers import login
from pgbouncer import PgBouncer
from schemas import Schemas
from servers import Server

from simpleworkflow.backends.postgres.url import parse_url
from simpleworkflow.backends.registry import open_store
from simpleworkflow.testing.contract import DeleteRun, OpenConnection, OpenStore, StoreContract


class PostgresContract(StoreContract):
    """A binder says by which URL the store is opened."""

    @pytest.fixture
    def url(self, server: Server, schemas: Schemas) -> str:
        """A URL whose tables are there and empty."""
        return schemas.empty(server)

    @pytest.fixture
    def store_url(self, url: str) -> str:
        """The URL that the store under test is given."""
        raise NotImplementedError

    @pytest.fixture
    def open_store(self, store_url: str) -> OpenStore:
        return lambda clock: open_store(store_url, clock=clock)

    @pytest.fixture
    def delete_run(self, url: str) -> DeleteRun:
        address = parse_url(url)

        def delete(run_id: str) -> None:
            with psycopg.connect(address.url) as connection:
                connection.execute(
                    f"update {address.quoted_schema}.workflow_run"
                    " set deleted_at = now() where id = %s",
                    [run_id],
                )

        return delete

    @pytest.fixture
    def open_connection(self, url: str) -> OpenConnection:
        # With a limit: what would wait for a transaction of this very test is told so.
        return lambda: psycopg.connect(parse_url(url).url, options="-c lock_timeout=10s")


class TestPsycopg(PostgresContract):
    """Over psycopg."""

    @pytest.fixture
    def store_url(self, url: str) -> str:
        return url


class TestPg8000(PostgresContract):
    """Over pg8000."""

    @pytest.fixture
    def store_url(self, url: str) -> str:
        pytest.importorskip("pg8000")
        return url.replace("postgresql://", "postgresql+pg8000://", 1)

    @pytest.fixture
    def open_connection(self, url: str) -> OpenConnection:
        dbapi = pytest.importorskip("pg8000.dbapi")
        return lambda: dbapi.connect(**login(url))


class TestPsycopgBehindPgBouncer(PostgresContract):
    """Over psycopg, each transaction in whichever session the pooler has free."""

    @pytest.fixture
    def store_url(self, url: str, server: Server, pooler_of: Callable[[Server], PgBouncer]) -> str:
        return pooler_of(server).lead(url)
