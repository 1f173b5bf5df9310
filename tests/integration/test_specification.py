"""Every block of specification.md runs unchanged on rows that another language's producer wrote.

Each test has a database of its own, because the programs name the schema `workflow` themselves.
"""

from __future__ import annotations

import abc
import ast
import inspect
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

import programs
import pytest
from documents import ROOT, blocks_in
from programs import PATIENCE, Program
from prometheus_client import CollectorRegistry
from servers import Server
from strangers import Database, new_database

from simpleworkflow import (
    Client,
    IntentPoller,
    MetricsCollector,
    PrometheusMetrics,
    WorkflowExecutor,
    WorkflowRun,
)

BLOCKS = {block.heading: block for block in blocks_in(ROOT / "tests/integration/specification.md")}

CONFIGURATION = (
    "DATABASE_URL",
    "WORKER_ID",
    "WORKER_TYPE_PREFIXES",
    "WORKER_LEASE_DURATION",
    "POLL_INTERVAL",
)


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """A new database with the tables, on each real server in turn."""
    with new_database(server) as database:
        yield database


@contextmanager
def running(source: str, database: Database, folder: Path) -> Iterator[Program]:
    """Run a program as a user does, with the database in DATABASE_URL."""
    path = folder / "program.py"
    path.write_text(source)
    with programs.running(path, folder, DATABASE_URL=database.url) as program:
        yield program


def execute(heading: str, **given: Any) -> dict[str, Any]:
    """Run a block here with the names it takes for granted; return all names afterwards."""
    names: dict[str, Any] = {"__name__": "specification", **given}
    exec(BLOCKS[heading].code(), names)  # noqa: S102
    return names


def drain(database: Database, type_: str, executor: object) -> None:
    """Execute what is due of a type."""
    poller = IntentPoller(database.poller_url, [type_], worker_id="spec-worker")
    poller.register_executor(type_, executor)  # type: ignore[arg-type]
    poller.drain(timeout=PATIENCE)


def executor_of(names: dict[str, Any]) -> WorkflowExecutor:
    """An executor whose `execute` is the function that a block defines."""
    return type("Executor", (WorkflowExecutor,), {"execute": names["execute"]})()  # type: ignore[no-any-return]


def test_every_block_is_tested():
    """No block of the specification is left out here."""
    source = Path(__file__).read_text()
    assert [heading for heading in BLOCKS if heading not in source] == []


def test_an_executor_and_a_poller_are_a_worker(database, tmp_path):
    """The two blocks together serve the registered type until SIGTERM, and touch nothing else."""
    sent = database.insert("notify.email.v1", {"to": "a@b.org", "subject": "Hi", "body": "…"})
    unserved = [database.insert(type_, {}) for type_ in ("notify.sms.v1", "billing.invoice.v1")]
    source = BLOCKS["An executor"].source + BLOCKS["A poller"].source
    with running(source, database, tmp_path) as program:
        program.wait_until(lambda: database.is_over(sent))
        assert program.end(signal.SIGTERM) == 0
        assert "Sending email to a@b.org: Hi" in program.output
    assert database.ask("status, result, attempt, leased_by", sent) == (
        "succeeded",
        {"sent": True, "to": "a@b.org"},
        0,
        None,
    )
    assert database.events(sent) == ["leased", "succeeded"]
    for run_id in unserved:
        assert database.ask("status, attempt", run_id) == ("pending", 0)
        assert database.events(run_id) == []


def test_a_long_run_keeps_its_lease_by_heartbeats(database, monkeypatch, capsys):
    """The video block goes through its ten steps, each with a later lease than the one before.

    Its five-second sleeps are replaced from outside, by a look at the lease.
    """
    run_id = database.insert("video.process.v1", {"video_id": "v-7"})
    leases: list[Any] = []
    slept: list[float] = []

    def look_instead(seconds: float) -> None:
        slept.append(seconds)
        leases.append(database.ask("lease_until", run_id)[0])

    names = execute("A long run with heartbeats")
    monkeypatch.setattr(time, "sleep", look_instead)
    drain(database, "video.process.v1", names["VideoProcessingExecutor"]())
    assert slept == [5] * 10
    assert leases == sorted(set(leases))
    assert "Processing video v-7... step 10/10" in capsys.readouterr().out
    assert database.ask("status, result", run_id) == (
        "succeeded",
        {"video_id": "v-7", "status": "processed"},
    )


def test_a_cancelled_long_run_stops_at_its_next_heartbeat(database, monkeypatch, capsys):
    """The video block sees a cancel that another program wrote, and the run stays cancelled."""
    run_id = database.insert("video.process.v1", {"video_id": "v-8"})
    slept: list[float] = []

    def cancel_in_the_third_step(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            database.cancel(run_id)

    names = execute("A long run with heartbeats")
    monkeypatch.setattr(time, "sleep", cancel_in_the_third_step)
    drain(database, "video.process.v1", names["VideoProcessingExecutor"]())
    assert len(slept) == 3
    assert "Workflow cancelled, stopping..." in capsys.readouterr().out
    assert database.ask("status, result, attempt", run_id) == ("cancelled", None, 0)
    assert database.events(run_id) == ["leased", "discarded"]


def test_a_poller_works_in_a_background_thread(database, tmp_path):
    """The background block executes runs until Ctrl-C, and its program then ends by itself."""
    run_id = database.insert("report.daily.v1", {"day": "2025-01-31"})
    # Ctrl-C is ignored in what a shell starts in the background; a terminal's program has it.
    given = """
import os, signal, time
from simpleworkflow import IntentPoller
signal.signal(signal.SIGINT, signal.default_int_handler)
poller = IntentPoller(os.environ["DATABASE_URL"], ["report.%"])
poller.register_executor("report.daily.v1", lambda run: run.payload)
"""
    with running(
        given + BLOCKS["A poller in the background"].source, database, tmp_path
    ) as program:
        program.wait_until(lambda: "Poller running in background..." in program.output)
        program.wait_until(lambda: database.is_over(run_id))
        assert program.end(signal.SIGINT) == 0
        assert program.output.splitlines()[-1] == "Poller stopped"
    assert database.ask("status, result", run_id) == ("succeeded", {"day": "2025-01-31"})


def test_patterns_say_which_types_a_worker_claims(database):
    """Each list of the patterns block claims its own domains, and no type that merely resembles."""
    types = ["billing.invoice.v1", "payment.card.v1", "notify.email.v1", "billings.v1"]
    lists = [
        ast.literal_eval(statement.value)
        for statement in ast.parse(BLOCKS["Patterns"].source).body
        if isinstance(statement, ast.Assign)
    ]
    claimed = []
    for type_prefixes in lists:
        database.connection.execute("TRUNCATE workflow.workflow_run CASCADE")
        runs = {type_: database.insert(type_, {}) for type_ in types}
        poller = IntentPoller(database.poller_url, type_prefixes)
        poller.register_executor("%", lambda run: run.type)
        poller.drain(timeout=PATIENCE)
        claimed.append([type_ for type_, run_id in runs.items() if database.is_over(run_id)])
    assert claimed == [types[:1], types[:2], types[2:3]]


def test_an_executor_extends_its_lease(database):
    """The heartbeat block holds its lease for a minute from each of its two calls."""
    run_id = database.insert("file.read.v1", {})
    ahead: list[float] = []

    def process_large_file() -> None:
        left = database.ask("extract(epoch FROM lease_until - now())::float8", run_id)
        ahead.append(left[0])

    names = execute(
        "Heartbeats before and after a long call",
        WorkflowRun=WorkflowRun,
        process_large_file=process_large_file,
        result={"lines": 3},
    )
    drain(database, "file.read.v1", executor_of(names))
    assert len(ahead) == 1
    assert 45 < ahead[0] <= 60
    assert database.ask("status, result", run_id) == ("succeeded", {"lines": 3})


def test_an_executor_sees_a_cancel_between_two_chunks(database):
    """The cancellation block cleans up and stops long before its hundredth chunk."""
    run_id = database.insert("file.import.v1", {})
    chunks: list[int] = []
    cleaned: list[bool] = []
    work = threading.Event()

    def process_chunk(number: int) -> None:
        chunks.append(number)
        if number == 3:
            database.cancel(run_id)
        # The store is asked once a second at most: a hundred chunks take longer than that.
        work.wait(0.05)

    names = execute(
        "Cancellation between chunks",
        WorkflowRun=WorkflowRun,
        process_chunk=process_chunk,
        cleanup=lambda: cleaned.append(True),
        result=None,
    )
    drain(database, "file.import.v1", executor_of(names))
    assert cleaned == [True]
    assert 4 <= len(chunks) < 100
    assert database.ask("status, attempt", run_id) == ("cancelled", 0)


def test_an_env_file_configures_a_worker(database, tmp_path, monkeypatch):
    """The .env block is read from the current folder; the environment wins over it."""
    for variable in CONFIGURATION:
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / ".env").write_text(BLOCKS["A .env file"].source)
    monkeypatch.chdir(tmp_path)
    assert "my-python-worker" in repr(IntentPoller.from_env())

    monkeypatch.setenv("DATABASE_URL", database.url)
    types = ["billing.invoice.v1", "payment.card.v1", "notify.email.v1"]
    runs = [database.insert(type_, {}) for type_ in types]
    poller = IntentPoller.from_env()
    poller.register_executor("%", lambda run: [run.worker_id, run.type])
    poller.drain(timeout=PATIENCE)
    assert [database.ask("result", run_id)[0] for run_id in runs] == [
        ["my-python-worker", "billing.invoice.v1"],
        ["my-python-worker", "payment.card.v1"],
        None,
    ]


def test_database_urls_name_a_schema(database):
    """Each URL of the block is accepted as it is, and its schema is where the runs are."""
    urls = [
        ast.literal_eval(statement.value)
        for statement in ast.parse(BLOCKS["Database URLs"].source).body
        if isinstance(statement, ast.Assign)
    ]
    shown = [repr(Client(url)) for url in urls]
    assert [("pass" in text, "sslmode=require" in text) for text in shown] == [
        (False, False),
        (False, False),
        (False, True),
    ]
    for url, schema in zip(urls[:2], ["workflow", "myschema"], strict=True):
        with Client(f"{database.url}?{urlsplit(url).query}", auto_migrate=True) as client:
            submitted = client.submit("billing.invoice.v1", {})
        found = database.connection.execute(f"SELECT id::text FROM {schema}.workflow_run")
        assert found.fetchall() == [(submitted.id,)]


def test_the_complete_program_is_a_worker(database, tmp_path):
    """The whole program serves both of its types; a failure is logged, and tried again later."""
    sent = database.insert("notify.email.v1", {"to": "a@b.org", "subject": "Hi", "body": "…"})
    texted = database.insert("notify.sms.v1", {"phone": "+49 30 1", "message": "Hi"})
    broken = database.insert("notify.email.v1", {"to": "a@b.org"})
    with running(BLOCKS["A complete program"].source, database, tmp_path) as program:
        program.wait_until(lambda: all(map(database.is_over, (sent, texted, broken))))
        # A row that arrives while the worker is idle is found within its poll interval.
        later = database.insert("notify.sms.v1", {"phone": "+49 30 2", "message": "Later"})
        program.wait_until(lambda: database.is_over(later))
        assert program.end(signal.SIGTERM) == 0
        output = program.output
    for line in (
        "Starting notification worker...",
        "Sending email to a@b.org: Hi",
        "Sending SMS to +49 30 2: Later",
        "Traceback (most recent call last):",
        "KeyError: 'subject'",
    ):
        assert line in output.splitlines()
    assert broken in output
    assert database.ask("result", texted) == ({"sent": True, "to": "+49 30 1", "method": "sms"},)
    status, attempt, error = database.ask("status, attempt, last_error", broken)
    assert (status, attempt) == ("pending", 1)
    assert error.startswith("KeyError: 'subject'")


def test_the_poller_takes_what_the_signature_says():
    """Names, order and defaults of the arguments are as written; the rest is keyword-only."""
    source = f"def {BLOCKS['The signature of IntentPoller'].source.strip()}: ..."
    names: dict[str, Any] = {"Optional": Optional, "MetricsCollector": MetricsCollector}
    exec(source, names)  # noqa: S102
    written = inspect.signature(names["IntentPoller"]).parameters
    real = inspect.signature(IntentPoller).parameters
    assert list(real)[: len(written)] == list(written)
    for name, parameter in written.items():
        assert real[name].kind is parameter.kind
        # What must be given there may have a default here.
        assert parameter.default in (inspect.Parameter.empty, real[name].default)
    for name in list(real)[len(written) :]:
        assert real[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert real[name].default is not inspect.Parameter.empty


def test_every_argument_may_be_given_by_position(database):
    """The six arguments, given in their order, make a worker that works and is measured."""
    database.insert("notify.email.v1", {})
    registry = CollectorRegistry()
    poller = IntentPoller(
        database.poller_url, ["notify.%"], "positional", 2, 30, PrometheusMetrics(registry)
    )
    poller.register_executor(workflow_type="notify.email.v1", executor=lambda run: None)
    assert poller.drain(timeout=PATIENCE) == 1
    labels = {"type": "notify.email.v1", "status": "succeeded"}
    assert registry.get_sample_value("workflow_run_completed_total", labels) == 1


def test_a_run_shows_the_face_that_is_written(database):
    """An executor finds every attribute with its type, and both methods with their arguments."""
    run_id = database.insert("notify.email.v1", {"to": "a@b.org"})
    face = execute("The face of WorkflowRun")["WorkflowRun"]
    seen: dict[str, Any] = {}

    def look(run: WorkflowRun) -> None:
        seen.update({name: getattr(run, name) for name in face.__annotations__})
        run.heartbeat()
        run.heartbeat(duration_seconds=60)
        seen["cancelled"] = run.is_cancelled()

    drain(database, "notify.email.v1", look)
    assert seen == {
        "id": run_id,
        "type": "notify.email.v1",
        "payload": {"to": "a@b.org"},
        "attempt": 0,
        "max_attempts": 3,
        "cancelled": False,
    }
    for name in ("heartbeat", "is_cancelled"):
        written = inspect.signature(getattr(face, name)).parameters
        real = inspect.signature(getattr(WorkflowRun, name)).parameters
        assert [(p.name, p.default) for p in real.values()] == [
            (p.name, p.default) for p in written.values()
        ]


def test_an_executor_must_define_execute():
    """The base class is abstract in the one method that is written."""
    face = execute(
        "The face of WorkflowExecutor",
        ABC=abc.ABC,
        abstractmethod=abc.abstractmethod,
        Any=Any,
        WorkflowRun=WorkflowRun,
    )["WorkflowExecutor"]
    assert WorkflowExecutor.__abstractmethods__ == face.__abstractmethods__
    with pytest.raises(TypeError, match="execute"):
        WorkflowExecutor()  # type: ignore[abstract]


def test_failed_attempts_wait_one_then_four_minutes(database, caplog):
    """A run that always fails waits 1 and 4 minutes, up to 10 % more, and fails for good at 3."""
    caplog.set_level(logging.ERROR)
    run_id = database.insert("charge.card.v1", {})

    def refuse(run: WorkflowRun) -> None:
        raise ValueError("the card is refused")

    waits = []
    for _ in range(3):
        drain(database, "charge.card.v1", refuse)
        wait, status = database.ask(
            "extract(epoch FROM run_at - updated_at)::float8, status", run_id
        )
        waits.append((wait, status))
        database.connection.execute(
            "UPDATE workflow.workflow_run SET run_at = now() WHERE id = %s", [run_id]
        )
    assert [status for _, status in waits] == ["pending", "pending", "failed"]
    assert 60 <= waits[0][0] <= 66
    assert 240 <= waits[1][0] <= 264
    attempt, error = database.ask("attempt, last_error", run_id)
    assert attempt == 3
    assert error.startswith("ValueError: the card is refused")
    tracebacks = [
        record for record in caplog.records if record.exc_info and run_id in record.message
    ]
    assert len(tracebacks) == 3


def test_the_run_of_a_dead_worker_is_taken_over(database):
    """A run whose lease ran out in another language's worker is executed here as its next try."""
    run_id = database.insert("notify.email.v1", {})
    database.connection.execute(
        "UPDATE workflow.workflow_run SET status = 'leased', leased_by = 'go-worker-9', "
        "lease_until = now() - interval '1 second' WHERE id = %s",
        [run_id],
    )
    attempts: list[int] = []
    drain(database, "notify.email.v1", lambda run: attempts.append(run.attempt))
    assert attempts == [1]
    assert database.ask("status", run_id) == ("succeeded",)
    assert database.events(run_id) == ["rescued", "retried", "leased", "succeeded"]
