"""The pytest plugin: fixtures for programs that submit runs or execute them.

pytest finds it by the entry point `simpleworkflow`. Nothing is imported before a fixture is used.
To have them all on another store, replace `simpleworkflow_store` in your conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from simpleworkflow.client import Client
    from simpleworkflow.core.store import Store
    from simpleworkflow.poller import IntentPoller
    from simpleworkflow.testing.clock import FakeClock


@pytest.fixture
def simpleworkflow_clock() -> FakeClock:
    """The time of the test's store: it stands still until the test calls `advance(...)`."""
    from simpleworkflow.testing.clock import FakeClock

    return FakeClock()


@pytest.fixture
def simpleworkflow_store(simpleworkflow_clock: FakeClock) -> Iterator[Store]:
    """An empty store in memory, on `simpleworkflow_clock`."""
    from simpleworkflow.backends.memory import MemoryStore

    store = MemoryStore(clock=simpleworkflow_clock)
    yield store
    store.close()


@pytest.fixture
def simpleworkflow_client(simpleworkflow_store: Store) -> Client:
    """A client of `simpleworkflow_store`."""
    from simpleworkflow.client import Client

    return Client(simpleworkflow_store)


@pytest.fixture
def simpleworkflow_poller(simpleworkflow_store: Store) -> IntentPoller:
    """A worker on `simpleworkflow_store`: register your executors, then call `drain()`."""
    from simpleworkflow.poller import IntentPoller

    return IntentPoller(simpleworkflow_store, worker_id="test-worker")


@pytest.fixture(scope="session")
def simpleworkflow_postgres_server() -> Iterator[str]:
    """The URL of an embedded PostgreSQL, started at its first use and stopped at the end.

    Replace it to have `simpleworkflow_postgres_url` on a server of your own.
    """
    from simpleworkflow.embedded import EmbeddedPostgres

    with EmbeddedPostgres() as postgres:
        yield postgres.url


@pytest.fixture
def simpleworkflow_postgres_url(simpleworkflow_postgres_server: str) -> Iterator[str]:
    """The URL of a new schema with all tables and no runs; dropped after the test."""
    import psycopg

    from simpleworkflow.backends.registry import migrate

    server = simpleworkflow_postgres_server
    schema = f"test_{uuid4().hex}"
    url = f"{server}{'&' if '?' in server else '?'}search_path={schema}"
    migrate(url)
    yield url
    with psycopg.connect(server, autocommit=True) as connection:
        # A test that left a transaction open is told so here, instead of hanging.
        connection.execute("set lock_timeout = '10s'")
        connection.execute("set client_min_messages = warning")
        connection.execute(f'drop schema "{schema}" cascade'.encode())
