"""Every program in examples/ runs to its end, in memory and on PostgreSQL."""

from __future__ import annotations

import runpy
import signal
from pathlib import Path

import pytest
from documents import ROOT
from fastapi.testclient import TestClient
from programs import running
from servers import Server
from strangers import new_database

from simpleworkflow import IntentPoller

EXAMPLES = ROOT / "examples"

OUTPUT = {
    "quickstart.py": ["Sending 'Hello' to ada@example.org", "succeeded {'sent': True}"],
    "video_heartbeat.py": [
        "short.mp4: all 10 steps done",
        "long.mp4: cancelled in step 4, cleaning up",
        "short.mp4 succeeded ['created', 'leased', 'succeeded']",
        "long.mp4 cancelled ['created', 'leased', 'cancelled', 'discarded']",
    ],
    "async_worker.py": ["50 pages fetched, up to 10 at once"],
    "retry_policies.py": [
        "card.charge.v1: succeeded after 1 failures: charged in attempt 2",
        "card.report.v1: failed after 2 failures: ValueError: attempt 2 of 2 failed",
        "card.audit.v1: failed after 3 failures: ValueError: attempt 3 of 3 failed",
    ],
    "from_env.py": [
        "env-worker does billing.invoice.v1",
        "env-worker does payment.card.v1",
        "2 runs executed",
    ],
    "producer.py": [
        "created: True False same run: True",
        "submitted: 1000",
        "cancelled: True cancelled",
        "history: ['created', 'cancelled']",
    ],
}
"""Lines that each program prints; those that work until a signal have a test of their own."""

ON_POSTGRES = {
    "transactional_submit.py": [
        "Refused: a yacht is too expensive",
        "Shipping a book",
        "1 run executed",
    ],
}
"""The same for those that need a database, by its usual driver."""


@pytest.fixture(params=["memory", "postgresql", "postgresql+pg8000"])
def fresh_url(request: pytest.FixtureRequest) -> str:
    """A URL as a reader has it at first: nothing is there, not even the tables."""
    if request.param == "memory":
        return "memory://example"
    url = str(request.getfixturevalue("one_database_url"))
    return url.replace("postgresql:", f"{request.param}:")


def test_every_example_is_tested():
    """No program is left out here."""
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    assert programs == {*OUTPUT, *ON_POSTGRES, "email_worker.py", "fastapi_app.py"}


@pytest.mark.parametrize("name", OUTPUT)
def test_an_example_runs_to_its_end(name: str, fresh_url: str, tmp_path: Path):
    """The program ends by itself, without a failure, and has printed what it is there to show."""
    with running(EXAMPLES / name, tmp_path, DATABASE_URL=fresh_url) as program:
        assert program.end() == 0, program.output
        assert [line for line in OUTPUT[name] if line not in program.output.splitlines()] == []


@pytest.mark.parametrize("name", ON_POSTGRES)
def test_an_example_for_postgresql_runs_to_its_end(
    name: str, one_database_url: str, tmp_path: Path
):
    """It prints nothing but what it is there to show."""
    with running(EXAMPLES / name, tmp_path, DATABASE_URL=one_database_url) as program:
        assert program.end() == 0, program.output
        assert program.output.splitlines() == ON_POSTGRES[name]


def test_the_worker_ends_in_order(fresh_url: str, tmp_path: Path):
    """The worker serves both of its types until SIGTERM, and then returns from start()."""
    with running(EXAMPLES / "email_worker.py", tmp_path, DATABASE_URL=fresh_url) as program:
        program.wait_until(lambda: program.output.count("Sending ") == 3)
        assert program.end(signal.SIGTERM) == 0, program.output
        assert program.output.splitlines()[-1] == "Stopped, and nothing was left half done"
        assert "Sending sms to +49 30 1234" in program.output


def test_the_web_service_submits_in_its_requests_transaction(
    one_server: Server, monkeypatch: pytest.MonkeyPatch
):
    """An order that is taken is executed and tells its status; one that is refused left nothing."""
    with new_database(one_server) as database:
        url = database.url.replace("postgres://", "postgresql://")
        monkeypatch.setenv("DATABASE_URL", url)
        with TestClient(runpy.run_path(str(EXAMPLES / "fastapi_app.py"))["app"]) as web:
            assert web.post("/orders/yacht").status_code == 409
            taken = web.post("/orders/book")
            assert taken.status_code == 202
            status = f"/runs/{taken.json()['run']}"
            assert web.get(status).json() == {"status": "pending", "result": None}
            poller = IntentPoller(url)
            poller.register_executor("shop.ship.v1", lambda run: {"shipped": run.payload["item"]})
            assert poller.drain() == 1
            done = {"status": "succeeded", "result": {"shipped": "book"}}
            assert web.get(status).json() == done
            assert web.get("/runs/none").status_code == 404
        orders = database.connection.execute("SELECT item FROM shop_order").fetchall()
        assert orders == [("book",)]
