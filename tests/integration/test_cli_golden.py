"""What commands print is what somebody has read and found good; see tests/goldens.py."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pexpect
import pytest
from click.testing import CliRunner, Result
from documents import ROOT, blocks_in
from goldens import check_golden

from simpleworkflow import Client, cli, migrate
from simpleworkflow.cli.output import print_json, print_rows

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CLI_PAGE = ROOT / "docs/cli.md"
NOBODY = "postgresql://anna:s3cret@127.0.0.1:1/shop"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command finds a database that the test has not named."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def call(*arguments: str, stdin: str | bytes = "") -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(
        cli.main, arguments, prog_name="simpleworkflow", input=stdin, terminal_width=80
    )


def told(line: str, stdin: str | bytes = "") -> str:
    """A command as it is typed, and its answer; ids are told as ID."""
    result = call(*shlex.split(line), stdin=stdin)
    code = f"(exit code {result.exit_code})\n" if result.exit_code else ""
    return UUID.sub("ID", f"$ simpleworkflow {line}\n{result.output}{code}")


# Help


def test_the_page_of_commands_is_their_help():
    """docs/cli.md has the help of every command as it is printed now."""
    check_golden(CLI_PAGE, runpy.run_path(str(ROOT / "docs/write_cli.py"))["document"]())


def test_help_says_in_full_what_each_command_does():
    """In the list of commands no sentence is cut off."""
    assert "..." not in call("--help").stdout.replace("[ARGS]...", "")


def test_every_option_has_a_word_of_help():
    """Nobody has to guess what an option means."""
    root = cli.main.make_context("simpleworkflow", [], resilient_parsing=True)
    silent = [
        f"{name} {parameter.opts[0]}"
        for name in cli.main.list_commands(root)
        for parameter in cli.main.get_command(root, name).params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert silent == []


# Output


def test_grants_are_printed_as_sql():
    """The SQL for roles, as a user reviews it."""
    check_golden("grants.txt", told("grants --producer app_web --worker app_worker"))


@pytest.mark.parametrize("from_where", ["--store", "DATABASE_URL", ".env"])
def test_submit_prints_the_id(one_database_url, monkeypatch, from_where):
    """A run is submitted, found again by its key, and told as JSON; whoever names the database."""
    migrate(one_database_url)
    store = ""
    if from_where == "--store":
        store = f"--store {shlex.quote(one_database_url)} "
    elif from_where == "DATABASE_URL":
        monkeypatch.setenv("DATABASE_URL", one_database_url)
    else:
        Path(".env").write_text(f"DATABASE_URL={one_database_url}\n")
    shown = [
        told(f"submit {store}a.v1 '{{}}'"),
        told(f"submit {store}a.v1 --key k1 '{{}}'"),
        told(f"submit {store}a.v1 --key k1 '{{}}'"),
        told(f"submit {store}a.v1 --key k1 --json '{{}}'"),
        told(f"submit {store}a.v1 --json -", stdin='{"from": "standard input"}'),
    ]
    check_golden("submit.txt", "".join(shown).replace(store, "") if store else "".join(shown))


def test_submit_hands_every_option_on(one_database_url):
    """Payload, priority, time, attempts, key and headers are those of the command line."""
    migrate(one_database_url)
    store = ["--store", one_database_url]
    at = "2030-01-01T09:00:00+01:00"
    options = ["--priority", "7", "--run-at", at, "--max-attempts", "5", "--key", "k"]
    headers = ["--header", "trace=4bf9=2", "--header", "empty="]
    first = call("submit", *store, "a.v1", '{"n": [1, "ü"]}', *options, *headers)
    later = call("submit", *store, "b.v1", "-", "--delay", "3600", stdin="17")
    with Client(one_database_url) as client:
        run, delayed = (client.get(result.stdout.strip()) for result in (first, later))
    assert (run.type, run.payload, run.priority) == ("a.v1", {"n": [1, "ü"]}, 7)
    assert run.run_at == datetime(2030, 1, 1, 8, tzinfo=UTC)
    assert (run.max_attempts, run.idempotency_key) == (5, "k")
    assert run.headers == {"trace": "4bf9=2", "empty": ""}
    assert (delayed.payload, delayed.priority, delayed.max_attempts) == (17, 100, 3)
    assert delayed.run_at - delayed.created_at == timedelta(hours=1)


@pytest.mark.parametrize(
    ("scope", "is_free"), [("forever", False), ("active", True), ("9d", False)]
)
def test_submit_says_for_how_long_a_key_holds(one_database_url, scope, is_free):
    """The run is cancelled, and submitted again."""
    migrate(one_database_url)
    line = ["submit", "--store", one_database_url, "a.v1", "{}", "--key", "k"]
    first = call(*line, "--key-scope", scope).stdout.strip()
    with Client(one_database_url) as client:
        client.cancel(first)
    assert (call(*line).stdout.strip() != first) is is_free


@pytest.mark.parametrize("from_where", ["DATABASE_URL", ".env", "--store"])
def test_migrate_finds_the_database_as_others_do(one_database_url, monkeypatch, from_where):
    """Without a URL in its place, it takes --store, the environment or the file."""
    arguments = []
    if from_where == "--store":
        arguments = ["--store", one_database_url]
    elif from_where == "DATABASE_URL":
        monkeypatch.setenv("DATABASE_URL", one_database_url)
    else:
        Path(".env").write_text(f"DATABASE_URL={one_database_url}\n")
    assert "applied 0001_tables\n" in call("migrate", *arguments).stdout
    assert call("migrate", one_database_url).stdout == "nothing to do\n"


MISTAKES = [
    ("nonsense", ""),
    ("--nonsense", ""),
    ("migrate", ""),
    ("migrate memory://a --store memory://b", ""),
    ("migrate nonsense", ""),
    ("submit", ""),
    ("submit a.v1", ""),
    ("submit a.v1 '{}'", ""),
    ("submit a.v1 '{}' --store nonsense", ""),
    ("submit a.v1 '{\"a\": }' --store memory://", ""),
    ("submit a.v1 - --store memory://", '{\n  "a": 1,\n  "b" 2\n}'),
    ("submit a.v1 - --store memory://", ""),
    ("submit a.v1 - --store memory://", b'"\xff"'),
    ("submit a.v1 - --store memory://", "9" * 5_000),
    ("submit a.v1 - --store memory://", "[" * 100_000),
    ("submit a.v1 - --store memory://", "[" * 600 + "]" * 600),
    ("submit a.v1 '{\"a\": NaN}' --store memory://", ""),
    ("submit a.% '{}' --store memory://", ""),
    ("submit a.v1 '{}' --store memory:// --run-at tomorrow", ""),
    ("submit a.v1 '{}' --store memory:// --run-at 2030-01-01T09:00", ""),
    ("submit a.v1 '{}' --store memory:// --run-at 2030-01-01T09:00Z --delay 3", ""),
    ("submit a.v1 '{}' --store memory:// --delay -3", ""),
    ("submit a.v1 '{}' --store memory:// --delay soon", ""),
    ("submit a.v1 '{}' --store memory:// --max-attempts 0", ""),
    ("submit a.v1 '{}' --store memory:// --key ''", ""),
    ("submit a.v1 '{}' --store memory:// --key k --key-scope week", ""),
    ("submit a.v1 '{}' --store memory:// --key-scope active", ""),
    ("submit a.v1 '{}' --store memory:// --header trace", ""),
    (f"submit a.v1 '{{}}' --store {NOBODY}", ""),
    ("worker", ""),
    ("worker shop", ""),
    ("worker nowhere:poller", ""),
]


def test_mistakes_are_told_in_one_line(tmp_path):
    """Each says what is wrong and where, and what to do; none tells a password."""
    shown = [told(line, stdin) for line, stdin in MISTAKES]
    for text in shown:
        assert text.splitlines()[1].startswith("Error: ")
        assert text.splitlines()[2:] in (["(exit code 1)"], ["(exit code 2)"])
    assert "cret" not in "".join(text.partition("\n")[2] for text in shown)
    check_golden("mistakes.txt", "".join(shown).replace(str(tmp_path), "FOLDER"))


def test_an_env_file_that_cannot_be_read_is_named():
    """A file of another encoding is a mistake with a name."""
    Path(".env").write_bytes(b"DATABASE_URL=\xff\n")
    result = call("submit", "a.v1", "{}")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: .env cannot be read: ")
    assert result.stderr.count("\n") == 1


# Tables and JSON


ROWS = [
    {"type": "a.v1", "due": 12345, "wait": timedelta(seconds=61.4), "error": None},
    {"type": "b.v1", "due": 7, "wait": timedelta(days=2), "error": "two\nlines \x1b[31mred\x9b"},
]


def test_a_table_in_a_pipe_is_cut_nowhere(capsys):
    """Each row is one line, however long, and nothing in it steers a terminal."""
    print_rows([{**ROWS[1], "error": "x" * 300}], is_json=False)
    assert "x" * 300 in capsys.readouterr().out
    print_rows(ROWS, is_json=False)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    check_golden("table.txt", shown)


def test_json_can_be_read_whatever_the_terminal_knows():
    """Letters are themselves in UTF-8, and escaped where the output is ASCII."""
    program = "from simpleworkflow.cli.output import print_json; print_json({'a': 'ü'})"
    for encoding, expected in (("utf-8", b"\xc3\xbc"), ("ascii", b"\\u00fc")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=True,
        )
        assert expected in done.stdout
        assert json.loads(done.stdout) == {"a": "ü"}


def test_json_has_durations_in_seconds_and_instants_in_iso(capsys):
    """What JSON has no word for is a number or a text that every language reads."""
    print_json([timedelta(minutes=1), datetime(2030, 1, 1, tzinfo=UTC), None])
    assert json.loads(capsys.readouterr().out) == [60.0, "2030-01-01T00:00:00+00:00", None]


# Completion


@pytest.mark.parametrize(
    ("shell", "binds"),
    [("bash", "complete -o nosort -F"), ("zsh", "compdef"), ("fish", "complete --no-files")],
)
def test_completion_scripts_are_printed(shell, binds):
    """Each shell gets a script which binds the command."""
    done = completing(f"{shell}_source")
    assert binds in done
    assert "simpleworkflow" in done


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("simpleworkflow wor", {"worker"}),
        ("simpleworkflow ", {"demo", "grants", "migrate", "submit", "worker"}),
        ("simpleworkflow worker --re", {"--reload"}),
        ("simpleworkflow submit --", {"--store", "--key", "--json"}),
    ],
)
def test_commands_and_options_are_completed(typed, offered):
    """No database is named, and none is asked for."""
    for shell in ("bash", "zsh"):
        place = str(typed.count(" "))
        answer = completing(f"{shell}_complete", COMP_WORDS=typed, COMP_CWORD=place)
        assert offered <= set(re.split(r"[,\n]", answer)), shell


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_the_tab_key_completes_in_bash_as_the_page_says(tmp_path):
    """With the line of docs/cli.md, a real bash completes what is typed."""
    (line,) = [block.source for block in blocks_in(CLI_PAGE, "bash") if "COMPLETE" in block.source]
    program = tmp_path / "simpleworkflow"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m simpleworkflow "$@"\n')
    program.chmod(0o755)
    terminal = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PS1": "ready> "},
        encoding="utf-8",
        timeout=30,
    )
    try:
        terminal.expect("ready> ")
        terminal.sendline(line.strip())
        terminal.expect("ready> ")
        terminal.send("simpleworkflow wor\t--rel\t")
        terminal.expect("worker --reload")
    finally:
        terminal.close(force=True)


def completing(what: str, **environment: str) -> str:
    """What the command answers a shell."""
    done = subprocess.run(
        [sys.executable, "-m", "simpleworkflow"],
        env={**os.environ, "_SIMPLEWORKFLOW_COMPLETE": what, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout
