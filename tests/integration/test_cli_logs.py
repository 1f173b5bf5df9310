"""The log of commands: in colour at a terminal, plain in a file, JSON for programs."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pexpect
import pytest
from click.testing import CliRunner
from documents import ROOT, blocks_in
from programs import Program
from workers import PATIENCE, python

from simpleworkflow import Client, cli, migrate
from simpleworkflow.cli.json_lines import JsonLines

ESCAPE = "\x1b"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")

WORK = """
import os, threading
from pathlib import Path

from simpleworkflow import IntentPoller

poller = IntentPoller(
    os.environ["DATABASE_URL"], worker_id="shop", poll_interval=0.05, concurrency=1
)


@poller.handler("meet.v1")
def meet(run):  # with so many others, at once
    Path(f"{run.id}.here").touch()
    while len(list(Path().glob("*.here"))) < run.payload:
        threading.Event().wait(0.02)
    raise ValueError("no use\\nat all: ü")
"""

FAILING = """
from simpleworkflow import Client, IntentPoller

poller = IntentPoller("memory://failing", worker_id="shop")


@poller.handler("fail.v1")
def fail(run):
    raise ValueError("no use")


with Client("memory://failing") as client:
    run_id = client.submit("fail.v1", {}, max_attempts=1).id
    poller.drain()
print(run_id)
"""

# At a terminal


@contextmanager
def at_terminal(*arguments: str, **environment: str) -> Iterator[pexpect.spawn]:
    """A Python program at a terminal of its own, which has colours unless the test says not."""
    known = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    terminal = pexpect.spawn(
        sys.executable,
        list(arguments),
        env={**known, "TERM": "xterm", **environment},
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 80),
    )
    try:
        yield terminal
    finally:
        terminal.close(force=True)


def ticker_at_terminal(*options: str, **environment: str) -> str:
    """All that a ticker shows at a terminal until Ctrl-C."""
    command = ["-m", "simpleworkflow", "ticker", "--store", "memory://logs", *options]
    with at_terminal(*command, **environment) as terminal:
        terminal.expect("ticker starts")
        shown = terminal.before + terminal.after
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
        return str(shown + terminal.before)


def test_a_terminal_shows_levels_in_colour():
    """Green is well; the words themselves are as they are."""
    shown = ticker_at_terminal()
    assert re.search(
        r"\x1b\[2m\d\d:\d\d:\d\d,\d{3}\x1b\[0m \x1b\[32m\x1b\[1mINFO   \x1b\[0m "
        r"\x1b\[2m\[\d+\]\x1b\[0m ticker starts\r\n",
        shown,
    )


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ([], {"NO_COLOR": "1"}),
        ([], {"TERM": "dumb"}),
        (["--log-format", "text"], {}),
        (["--log-format", "json"], {}),
    ],
    ids=["NO_COLOR", "dumb", "text", "json"],
)
def test_a_terminal_shows_no_colour_where_none_is_wanted(options, environment):
    """By the environment, or by a format that has none anywhere."""
    assert ESCAPE not in ticker_at_terminal(*options, **environment)


def test_an_empty_no_color_is_none():
    """As https://no-color.org has it."""
    assert ESCAPE in ticker_at_terminal(NO_COLOR="")


def test_nothing_in_a_message_steers_the_terminal():
    """What a payload had in it neither paints nor goes back; lines and tabs stay."""
    program = (
        "import logging\n"
        "from simpleworkflow.cli.logs import log_to_stderr\n"
        "log_to_stderr('info', 'auto')\n"
        r"try: raise ValueError('bell\x07 back\r \x9b31m fine\n\tü\u3000e')" + "\n"
        r"except ValueError: logging.exception('red\x1b[31m')"
    )
    with at_terminal("-c", program) as terminal:
        terminal.expect(pexpect.EOF)
    assert "\x1b[31m\x1b[1mERROR  \x1b[0m" in terminal.before
    assert "red\ufffd[31m\r\n" in terminal.before
    assert "ValueError: bell\ufffd back\ufffd \ufffd31m fine\r\n\tü\u3000e\r\n" in terminal.before


# In files and pipes


def test_a_pipe_gets_plain_text():
    """As it was before there were formats: no escape codes, and no line that is broken."""
    process = command("ticker", "--store", "memory://logs", stderr=subprocess.PIPE)
    with process:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        process.send_signal(signal.SIGTERM)
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    assert re.fullmatch(rf"{date} INFO \[{process.pid}\] ticker starts\n", line)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_each_record_is_one_write(log_format):
    """Standard error is a socket here that keeps writes apart: so do several processes' lines."""
    program = (
        "import logging, sys\n"
        "from simpleworkflow.cli.logs import log_to_stderr\n"
        "log_to_stderr('info', sys.argv[1])\n"
        "try: raise ValueError('x\\n' * 20_000)\n"
        "except ValueError: logging.exception('long')\n"
        "logging.warning('short')\n"
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, python(program, log_format, stderr=theirs.fileno()) as process:
        theirs.close()
        writes = [ours.recv(1_000_000).decode() for _ in range(3)]
    assert process.returncode == 0
    assert ["long" in writes[0], len(writes[0]) > 40_000, writes[0][-1]] == [True, True, "\n"]
    assert "short" in writes[1]
    assert writes[2] == ""


# JSON


@contextmanager
def working(folder: Path, url: str, *options: str) -> Iterator[Program]:
    """A worker of WORK whose log is JSON."""
    (folder / "work.py").write_text(WORK)
    output = folder / "output"
    arguments = ["worker", "work:poller", "--log-format", "json", *options]
    with (
        output.open("wb") as stream,
        command(*arguments, cwd=folder, stderr=stream, DATABASE_URL=url) as process,
    ):
        try:
            yield Program(process, output)
        finally:
            process.kill()


def command(*arguments: str, cwd: Path | None = None, stderr: Any, **environment: str) -> Any:
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "simpleworkflow", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stderr=stderr,
    )


def strict(line: str) -> dict[str, Any]:
    """The object of a line; NaN and its like are no JSON, and half a surrogate pair is no text."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    found = json.loads(line, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="one process"),
        pytest.param(["--processes", "2"], id="two processes"),
        pytest.param(
            ["--reload"],
            id="reload",
            marks=pytest.mark.skipif(
                find_spec("watchfiles") is None, reason="no watchfiles: the extra reload"
            ),
        ),
    ],
)
def test_a_failed_run_is_one_object(one_database_url, tmp_path, options):
    """It has the run's fields and the traceback; each process and their parent log so."""
    migrate(one_database_url)
    processes = 2 if "2" in options else 1
    with Client(one_database_url) as client, working(tmp_path, one_database_url, *options) as work:
        ids = [client.submit("meet.v1", processes, max_attempts=1).id for _ in range(processes)]
        work.wait_until(lambda: work.output.count('"exception"') == processes)
        assert work.end(signal.SIGTERM) == 0
    lines = [strict(line) for line in work.output.splitlines()]
    failed = [line for line in lines if "run_id" in line]
    assert {line["run_id"] for line in failed} == set(ids)
    assert {line["worker_id"] for line in failed} == (
        {"shop"} if len(ids) == 1 else {"shop-1", "shop-2"}
    )
    assert len({line["process"] for line in failed}) == processes
    for line in failed:
        assert (line["type"], line["attempt"]) == ("meet.v1", 0)
        assert (line["level"], line["logger"]) == ("ERROR", "simpleworkflow.worker")
        assert line["message"] == f"run {line['run_id']} (meet.v1) failed on attempt 1 of 1"
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith("ValueError: no use\nat all: ü")
    for line in lines:
        assert list(line)[:5] == ["timestamp", "level", "logger", "process", "message"]
        assert INSTANT.fullmatch(line["timestamp"])
    if options:
        assert work.process.pid in {line["process"] for line in lines}


def json_line(*arguments: Any, exc_info: Any = None, **extra: Any) -> dict[str, Any]:
    """What is written of one call."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("odd")
    logger.addHandler(handler)
    logger.error(*arguments, exc_info=exc_info, extra=extra)
    assert stream.getvalue().count("\n") == 1
    return strict(stream.getvalue())


class Refuses(Exception):
    """Cannot be shown, and would end the thread that tries."""

    def __repr__(self) -> str:
        raise SystemExit

    __str__ = __repr__


def endless() -> list[Any]:
    """A list in itself."""
    made: list[Any] = []
    made.append(made)
    return made


def deep() -> list[Any]:
    """Lists in lists, deeper than Python goes."""
    made: list[Any] = []
    for _ in range(100_000):
        made = [made]
    return made


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("two\nlines\u2028", "two\nlines\u2028"),
        ("half \ud83d", "half \ufffd"),
        ("whole 😀", "whole 😀"),
        (float("nan"), "nan"),
        ([1, float("inf")], "[1, inf]"),
        ({(1, 2): "pair"}, "{(1, 2): 'pair'}"),
        ({1: ["fine", None]}, {"1": ["fine", None]}),
        (10**5_000, "<int that cannot be shown>"),
        (Refuses(), "<Refuses that cannot be shown>"),
        ([Refuses()], "<list that cannot be shown>"),
        (endless(), "[[...]]"),
        (deep(), "<list that cannot be shown>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_in_a_field_is_in_one_line(value, told):
    """JSON holds it, or it is told as text; the other fields stay."""
    line = json_line("words", odd=value, run_id="r1")
    assert (line["message"], line["odd"], line["run_id"]) == ("words", told, "r1")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["two\n%s", "lines"], "two\nlines"),
        (["half %s", "\ud83d"], "half \ufffd"),
        (["%d runs", "no"], "'%d runs' "),
        (["who is %s", Refuses()], "'who is %s' "),
        ([Refuses()], "<Refuses that cannot be shown> "),
    ],
)
def test_whatever_a_message_is_made_of_is_in_one_line(arguments, told):
    """Words that cannot be put together are told with their place, and with the fields."""
    line = json_line(*arguments, run_id="r1")
    assert line["run_id"] == "r1"
    assert line["message"].startswith(told)
    assert (line["message"] == told) or f"{__file__}:" in line["message"]


def test_an_exception_that_cannot_be_shown_is_one_line():
    """Its class is known all the same."""
    try:
        raise Refuses
    except Refuses as error:
        line = json_line("words", exc_info=error)
    assert "Refuses" in line["exception"]


def test_fields_do_not_take_the_place_of_ours():
    """Level, logger, process and the traceback are what they say."""
    mine = dict.fromkeys(("timestamp", "level", "logger", "exception"), "mine")
    line = json_line("words", exc_info=ValueError("no use"), **mine)
    assert (line["level"], line["logger"]) == ("ERROR", "odd")
    assert line["exception"] == "ValueError: no use"
    assert INSTANT.fullmatch(line["timestamp"])


# What is given, and what is there already


@pytest.mark.parametrize("arguments", [["worker", "work:poller"], ["ticker"]])
def test_a_format_that_is_none_is_refused_in_one_line(arguments):
    """The line says which there are."""
    result = CliRunner().invoke(
        cli.main, [*arguments, "--log-format", "xml"], prog_name="simpleworkflow"
    )
    assert result.exit_code == 2
    assert result.output == (
        "Error: Invalid value for '--log-format': 'xml' is not one of 'auto', 'text', 'json': "
        f"see `simpleworkflow {arguments[0]} --help`\n"
    )


def test_a_module_that_configures_logging_keeps_its_own(tmp_path):
    """--log-format does nothing then."""
    (tmp_path / "work.py").write_text(
        "import logging\n"
        "from simpleworkflow import IntentPoller\n"
        "logging.basicConfig(level='INFO', format='mine: %(message)s')\n"
        "poller = IntentPoller('memory://logs', worker_id='shop')\n"
        "poller.register_executor('a.v1', print)\n"
    )
    arguments = ["worker", "work:poller", "--log-format", "json"]
    with command(*arguments, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"mine: worker shop starts, serving a.v1\n"
        process.send_signal(signal.SIGTERM)


def test_json_is_loaded_when_it_is_asked_for():
    """Other formats need none of it."""
    program = (
        "import sys\n"
        "from simpleworkflow.cli import worker\n"
        "from simpleworkflow.cli.logs import log_to_stderr\n"
        "log_to_stderr('info', sys.argv[1])\n"
        "print('pythonjsonlogger' in sys.modules)\n"
    )
    loaded = [output_of(program, log_format)[0] for log_format in ("auto", "text", "json")]
    assert loaded == ["False\n", "False\n", "True\n"]


def test_a_process_without_standard_error_works_all_the_same():
    """It may have been started with a closed one."""
    program = (
        "import os, sys\n"
        "if sys.argv[1:]:\n"
        "    os.close(2)\n"
        "    os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])\n"
    )
    logs = (
        "import logging, sys\n"
        "from simpleworkflow.cli.logs import log_to_stderr\n"
        "log_to_stderr('info', 'auto')\n"
        "logging.error('nobody hears it')\n"
        "print(sys.stderr)\n"
    )
    assert output_of(program, logs) == ("None\n", "")


# By the library alone, and beside structlog


def output_of(program: str, *arguments: str) -> tuple[str, str]:
    """What a program wrote to standard output and to standard error; it ends well."""
    with python(program, *arguments) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out, err


def test_without_configuration_errors_are_heard_and_can_be_silenced():
    """Python writes them to standard error; a NullHandler of ours ends that."""
    _, heard = output_of(FAILING)
    assert "(fail.v1) failed on attempt 1 of 1\nTraceback " in heard
    assert heard.endswith("ValueError: no use\n")
    assert " starts" not in heard
    logs = (ROOT / "docs/operations.md").read_text()
    (line,) = re.findall(r"`(logging\..*NullHandler\(\)\))`", logs)
    assert output_of(f"import logging\n{line}\n{FAILING}")[1] == ""


def test_structlog_shows_the_fields_as_documented():
    """The fields are plain attributes, so the snippet of docs/operations.md finds them."""
    (snippet,) = [
        block.source
        for block in blocks_in(ROOT / "docs/operations.md", "python")
        if "structlog" in block.source
    ]
    out, err = output_of(snippet + FAILING)
    lines = [strict(line) for line in err.splitlines()]
    (failed,) = [line for line in lines if "run_id" in line]
    assert (failed["run_id"], failed["type"]) == (out.strip(), "fail.v1")
    assert (failed["attempt"], failed["worker_id"]) == (0, "shop")
    assert (failed["level"], failed["event"]) == (
        "error",
        f"run {out.strip()} (fail.v1) failed on attempt 1 of 1",
    )
    assert failed["exception"].endswith("ValueError: no use")
