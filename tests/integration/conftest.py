"""Stores of every kind, for what must hold on each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import Unavailable, known_servers, servers_here
from workers import memory_url

from simpleworkflow import Client, migrate

STORES = {
    "memory": (None, ""),
    **{server.name: (server, "postgresql:") for server in known_servers()},
    f"{known_servers()[0].name}-pg8000": (known_servers()[0], "postgresql+pg8000:"),
}


@pytest.fixture(params=STORES.values(), ids=STORES)
def store_url(request: pytest.FixtureRequest, _running: None) -> Iterator[str]:
    """The URL of an empty store with its tables: in memory, and on real servers by each driver."""
    server, scheme = request.param
    if server is None:
        yield memory_url()
        return
    try:
        server.start()
    except Unavailable as reason:
        if not servers_here():
            pytest.fail(f"no real PostgreSQL to test on: {reason}", pytrace=False)
        pytest.skip(str(reason))
    with server.fresh_schema() as url:
        migrate(url)
        yield url.replace("postgresql:", scheme)


@pytest.fixture
def client(store_url: str) -> Iterator[Client]:
    """A client of the store."""
    with Client(store_url) as client:
        yield client
