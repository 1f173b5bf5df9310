"""Fixtures for every test: real servers, started at their first use and stopped at the end.

Under pytest-xdist each worker process has servers of its own, so a test may restart them.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from servers import Server, Unavailable, known_servers, new_server, servers_here

# A shell that runs the tests in its background has them ignore Ctrl-C, and so would every process
# that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _running() -> Iterator[None]:
    """Closes the servers at the end of the run."""
    with ExitStack() as stack:
        for known in servers_here():
            stack.callback(known.close)
        yield


@pytest.fixture(params=known_servers(), ids=lambda known: known.name)
def server(request: pytest.FixtureRequest, _running: None) -> Server:
    """Each real server in turn, running; a missing one is skipped aloud, unless all are missing."""
    return _started(request.param)


@pytest.fixture
def one_server(_running: None) -> Server:
    """One real server, the cheapest there is, running."""
    here = servers_here()
    return _started(here[0] if here else known_servers()[0])


@pytest.fixture
def own_server(server: Server) -> Iterator[Server]:
    """Each real server in turn, as a new one that this test may break."""
    try:
        own = new_server(server)
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        yield _started(own)
    finally:
        own.close()


@pytest.fixture
def database_url(server: Server) -> Iterator[str]:
    """A URL whose schema is unused and not created, on each real server in turn."""
    with server.fresh_schema() as url:
        yield url


@pytest.fixture
def one_database_url(one_server: Server) -> Iterator[str]:
    """A URL whose schema is unused and not created, on one real server."""
    with one_server.fresh_schema() as url:
        yield url


def _started(wanted: Server) -> Server:
    try:
        wanted.start()
        return wanted
    except Unavailable as unavailable:
        reason = str(unavailable)
    if not servers_here():
        pytest.fail(f"no real PostgreSQL to test on: {reason}", pytrace=False)
    pytest.skip(reason)
