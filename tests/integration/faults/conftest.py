"""What the faults are tried on, and where their outcomes go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.arena import Outcome
from faults.report import save
from servers import OwnServer, Server, servers_here

RESULTS = "SIMPLEWORKFLOW_TEST_FAULTS_RESULTS"


@pytest.fixture
def fault_server() -> Server:
    """The kind of server that faults are tried on: the system's where there is one.

    It comes with the programs of replication; the wheel does not.
    """
    own = [server for server in servers_here() if isinstance(server, OwnServer)]
    if not own:
        pytest.skip("no server that a test may break")
    return own[-1]


@pytest.fixture(scope="session")
def outcomes() -> Iterator[dict[tuple[str, str], Outcome]]:
    """The outcomes by fault and driver, kept in the file that the environment names."""
    found: dict[tuple[str, str], Outcome] = {}
    yield found
    if path := os.environ.get(RESULTS):
        save(Path(path), servers_here()[-1].name, found)


@pytest.fixture
def report(
    outcomes: dict[tuple[str, str], Outcome],
) -> Callable[[str, str, Outcome], None]:
    """Keeps an outcome, and prints it."""

    def keep(fault: str, driver: str, outcome: Outcome) -> None:
        print(fault, driver, outcome)
        outcomes[fault, driver] = outcome

    return keep
