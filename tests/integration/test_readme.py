"""What the documents say is so: their code runs, their tables match, their links lead on."""

from __future__ import annotations

import inspect
import logging
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from documents import ROOT, Block, blocks_in
from servers import Server
from strangers import new_database

import simpleworkflow
from simpleworkflow import (
    Client,
    IntentPoller,
    MetricsServer,
    Operator,
    PermanentFailure,
    RetryAfter,
    RetryPolicy,
    RunCancelled,
    Schedules,
    Ticker,
    WorkflowRun,
    cli,
    serve_metrics,
)
from simpleworkflow.core.errors import PayloadMismatch

README = ROOT / "README.md"
REFERENCE = ROOT / "docs/reference.md"
DOCUMENTS = [README, ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
GUIDE = ROOT / "docs/guide.md"
"""Its blocks are files and commands in a folder of their own: test_guide.py runs them."""

PROGRAMS = [path for path in DOCUMENTS if path != GUIDE and blocks_in(path, "python")]

EXPECTED_FAILURES = (PayloadMismatch, PermanentFailure, RetryAfter, RunCancelled)
"""What executors of the documents fail with on purpose."""

ENV_FILE = "WORKER_ID=worker-1\n"


@pytest.fixture(params=["memory", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL as a reader has it at first: nothing is there, not even the tables."""
    if request.param == "memory":
        return f"memory://{tmp_path.name}-{id(request)}"
    return str(request.getfixturevalue("one_database_url"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_python_blocks_run(path, fresh_url, tmp_path, monkeypatch, capsys, caplog):
    """Typed in from top to bottom, a document's code does what the output below it says.

    Only `start()` is replaced: it returns here when no run is due.
    """
    monkeypatch.setenv("DATABASE_URL", fresh_url)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(ENV_FILE)
    monkeypatch.setattr(IntentPoller, "start", lambda self: self.drain(timeout=60))
    caplog.set_level(logging.ERROR)
    names: dict[str, Any] = {"__name__": "__main__"}
    output = ""
    for block in blocks_in(path):
        if block.language == "python":
            exec(block.code(), names)  # noqa: S102
            output = capsys.readouterr().out
        elif block.language == "text":
            assert output == block.source, f"{path.name}, line {block.line}"
    unexpected = [
        record.getMessage()
        for record in caplog.records
        if not (record.exc_info and isinstance(record.exc_info[1], EXPECTED_FAILURES))
    ]
    assert unexpected == []


def test_the_quick_start_is_short_and_an_example():
    """It has twenty lines at most, and is the same program as the file it names."""
    quick_start = _first(README, "Quick start", "python")
    assert quick_start.source.count("\n") <= 20
    assert quick_start.source == (ROOT / "examples/quickstart.py").read_text()


def test_the_tests_command_is_what_ci_runs():
    """Whoever types the README's command for the tests runs what CI runs, and nothing less."""
    demo, tests = [
        block.source.strip()
        for block in blocks_in(README, "bash")
        if block.heading == "See it work"
    ]
    run = (ROOT / ".ci/run").read_text()
    commands = [
        line for line in run.splitlines() if line and not line.startswith(("#", "set ", "cd "))
    ]
    # The two may spell an option of pip in its long and its short form.
    assert [_plain(command) for command in commands] == [_plain(tests)]
    assert _plain(demo).startswith("python3 -m venv .venv && .venv/bin/pip install ")


@pytest.mark.parametrize(
    "command",
    sorted(
        {
            line.partition("#")[0].strip()
            for path in DOCUMENTS
            if path != GUIDE
            for block in blocks_in(path, "bash")
            for line in block.source.replace(".venv/bin/", "").replace(" && ", "\n").splitlines()
            if line.startswith("simpleworkflow ")
        }
    ),
)
def test_commands_exist(command, one_database_url):
    """Each command of ours is there with its options; `migrate` is run as it is written."""
    program, *arguments = shlex.split(command.replace("$DATABASE_URL", one_database_url))
    if arguments[0] != "migrate":
        arguments.append("--help")
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_states_are_drawn_from_the_table():
    """docs/states.md is what `python docs/draw_states.py` makes of the transition table now."""
    drawn = runpy.run_path(str(ROOT / "docs/draw_states.py"))
    stale = "docs/states.md is stale: python docs/draw_states.py"
    assert drawn["DOCUMENT"].read_text() == drawn["document"](), stale


def test_the_tables_of_observability_are_made_from_the_code():
    """docs/observability.md has every metric, event and span as the code has it now."""
    made = runpy.run_path(str(ROOT / "docs/write_observability.py"))
    text = made["DOCUMENT"].read_text()
    for name in ("series", "spans", "events", "parts"):
        assert f"<!-- table: {name} -->\n" in text
    stale = "docs/observability.md is stale: python docs/write_observability.py"
    assert text == made["document"](), stale


def test_every_public_name_is_in_the_reference():
    """The reference leaves out nothing that `import simpleworkflow` offers."""
    text = REFERENCE.read_text()
    assert [name for name in simpleworkflow.__all__ if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize(
    ("heading", "function"),
    [
        ("IntentPoller", IntentPoller),
        ("Client.submit", Client.submit),
        ("Schedules.create", Schedules.create),
        ("Operator.find", Operator.find),
        ("serve_metrics", serve_metrics),
    ],
)
def test_argument_tables_match_the_code(heading, function):
    """A table of arguments has all of them in their order, with their defaults and their kinds."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    expected = [_as_row(parameter) for parameter in parameters]
    named = next(i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY)
    expected.insert(named, ("*keyword-only*", ""))
    assert list(_rows_under(heading)) == expected


@pytest.mark.parametrize(
    ("owner", "prefix"),
    [
        (IntentPoller, ""),
        (Client, ""),
        (Schedules, ""),
        (Ticker, ""),
        (Operator, ""),
        (MetricsServer, ""),
        (WorkflowRun, ""),
        (RetryPolicy, "RetryPolicy."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_public_method_is_in_the_reference(owner, prefix):
    """Every method of the classes that users call stands in a table."""
    text = REFERENCE.read_text()
    methods = [
        name
        for name, _ in inspect.getmembers(owner, callable)
        if not name.startswith("_") and name not in ("delay", "is_exhausted")
    ]
    assert methods
    assert [name for name in methods if not re.search(rf"`(\w+\.)?{name}\(", text)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    """A link to a file of the repository finds it."""
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_old_runs_are_deleted_as_written(server: Server, monkeypatch: pytest.MonkeyPatch):
    """The command of docs/operations.md removes what ended long ago with its history."""
    command = _first(ROOT / "docs/operations.md", "Retention", "bash").source.splitlines()[0]
    with new_database(server) as database:
        runs = [database.insert("a.b.v1", {}) for _ in range(3)]
        database.connection.execute(
            "UPDATE workflow.workflow_run SET status = 'succeeded' WHERE id = any(%s)", [runs[:2]]
        )
        database.connection.execute(
            "UPDATE workflow.workflow_run SET updated_at = now() - interval '31 days' "
            "WHERE id = any(%s)",
            [[runs[0], runs[2]]],
        )
        monkeypatch.setenv("DATABASE_URL", database.url)
        result = CliRunner().invoke(cli.main, shlex.split(command)[1:])
        assert result.output == "1 runs deleted\n"
        left = database.connection.execute("SELECT id::text FROM workflow.workflow_run")
        assert {row[0] for row in left} == set(runs[1:])


def _first(path: Path, heading: str, language: str) -> Block:
    return next(block for block in blocks_in(path, language) if block.heading == heading)


def _plain(command: str) -> str:
    return " ".join(command.replace("--quiet", "-q").split())


def _rows_under(heading: str) -> Iterator[tuple[str, str]]:
    """The first two cells of the first table below a heading of the reference."""
    section = re.split(rf"^#+ {re.escape(heading)}$", REFERENCE.read_text(), flags=re.MULTILINE)[1]
    lines = section[section.index("|---") :].split("\n\n")[0].splitlines()[1:]
    for line in lines:
        name, default = line.split("|")[1:3]
        yield name.strip().strip("`"), default.strip().strip("`")


def _as_row(parameter: inspect.Parameter) -> tuple[str, str]:
    has_default = parameter.default is not inspect.Parameter.empty
    return parameter.name, _written(parameter.default) if has_default else "required"


def _written(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else repr(default)
