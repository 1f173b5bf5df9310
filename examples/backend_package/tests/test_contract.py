"""This backend sits the exam of every backend, and is found by its URL."""

from __future__ import annotations

from pathlib import Path

import pytest
from simpleworkflow_sqlite import SqliteStore

from simpleworkflow import Client, IntentPoller, UsageError, open_store
from simpleworkflow.testing.contract import OpenStore, StoreContract


class TestSqliteStore(StoreContract):
    """Every law of a Store."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        """Opens one more handle onto this test's file."""
        return lambda clock: SqliteStore(tmp_path / "runs.db", clock=clock)


def test_a_url_is_enough(tmp_path: Path) -> None:
    """A client and a worker that know nothing but the URL meet in the file."""
    url = f"sqlite://{tmp_path}/runs.db"
    poller = IntentPoller(url)
    poller.register_executor("math.double.v1", lambda run: run.payload["n"] * 2)

    with Client(url) as client:
        sent = client.submit("math.double.v1", {"n": 21})
        poller.drain()
        assert client.get(sent.id).result == 42


def test_a_url_without_a_file_is_refused() -> None:
    """With the right form of one."""
    with pytest.raises(UsageError, match="sqlite:///var/lib"):
        open_store("sqlite://")
