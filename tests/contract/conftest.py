"""Tables and poolers that are made once and serve every test of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pgbouncer import PgBouncer
from schemas import Schemas
from servers import Server, Unavailable


@pytest.fixture(scope="session")
def schemas(_running: None) -> Iterator[Schemas]:
    """One schema for each server; a test asks for it emptied."""
    with Schemas() as made:
        yield made


@pytest.fixture(scope="session")
def pooler_of(_running: None) -> Iterator[Callable[[Server], PgBouncer]]:
    """Gives the PgBouncer in front of a server; skips aloud where it is not installed."""
    made: dict[Server, PgBouncer] = {}
    with ExitStack() as stack:

        def pooler(server: Server) -> PgBouncer:
            if server not in made:
                try:
                    made[server] = stack.enter_context(PgBouncer(server))
                except Unavailable as reason:
                    pytest.skip(str(reason))
            return made[server]

        yield pooler
