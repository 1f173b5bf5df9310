"""The PgBouncer that other tests use pools by transaction."""

from __future__ import annotations

import psycopg
import pytest
from pgbouncer import PgBouncer
from servers import Unavailable


@pytest.fixture
def pooler(one_server):
    """A PgBouncer with a single session in front of one server."""
    try:
        with PgBouncer(one_server, pool_size=1) as running:
            yield running
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_two_clients_share_one_session(pooler):
    """Between transactions a session goes from client to client."""
    with (
        psycopg.connect(pooler.url, autocommit=True) as one,
        psycopg.connect(pooler.url, autocommit=True) as other,
    ):
        pids = [each.execute("select pg_backend_pid()").fetchone() for each in (one, other)]
    assert pids[0] == pids[1]
