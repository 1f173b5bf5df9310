"""Installs peers, each into a virtual environment of its own below `benchmarks/.venv-peers`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from attrs import frozen

from benchmarks.harness import Peer
from benchmarks.systems import ROOT, System

FOLDER = Path(__file__).resolve().parent / ".venv-peers"

_ALL = frozenset({"single", "bulk"})


@frozen
class Recipe:
    """How to install a peer, and how it is measured.

    Args:
        name: the library.
        module: the program that measures it.
        packages: what pip installs, with the versions that the program was written for.
        python: the oldest Python it runs on.
        keeps, done, defaults, share, concurrency, modes: as for Peer.
    """

    name: str
    module: str
    packages: tuple[str, ...]
    python: tuple[int, int]
    keeps: str
    done: str
    defaults: str
    share: float = 1.0
    concurrency: int = 50
    modes: frozenset[str] = _ALL


RECIPES = (
    Recipe(
        "pgqueuer",
        "benchmarks.peers.pgqueuer",
        ("pgqueuer==1.6.*", "asyncpg", "uvloop"),
        (3, 11),
        "deletes the run, keeps a line in a log",
        "select count(distinct job_id) from pgqueuer_log where status = 'successful'",
        "any number at once, heartbeats 30 s",
        concurrency=100,
    ),
    Recipe(
        "procrastinate",
        "benchmarks.peers.procrastinate",
        ("procrastinate==3.10.*", "psycopg[binary]"),
        (3, 11),
        "keeps the run",
        "select count(*) from procrastinate_jobs where status = 'succeeded'",
        "1 at once, nobody retries stalled runs",
        share=0.1,
    ),
    Recipe(
        "oban",
        "benchmarks.peers.oban",
        ("oban==0.7.*", "psycopg[binary]", "uvloop"),
        (3, 12),
        "keeps the run",
        "select count(*) from oban_jobs where state = 'completed'",
        "10 at once, rescued after 300 s",
        share=0.5,
    ),
    Recipe(
        "absurd",
        "benchmarks.peers.absurd",
        ("absurd-sdk==0.5.*", "absurdctl==0.5.*"),
        (3, 11),
        "keeps everything",
        "select count(*) from absurd.t_default where state = 'completed'",
        "1 at once, lease 30 s",
        share=0.1,
        modes=frozenset({"single"}),
    ),
)


def installed_peers(say: Callable[[str], None]) -> list[Peer]:
    """Install every peer that is not there yet and return all; one that cannot be says why."""
    return [_installed(recipe, say) for recipe in RECIPES]


def _installed(recipe: Recipe, say: Callable[[str], None]) -> Peer:
    python = _python(recipe.python)
    if python is None:
        wanted = ".".join(map(str, recipe.python))
        return _peer(recipe, None, f"needs Python {wanted} or newer, and none is found here")
    folder = FOLDER / recipe.name
    try:
        if not _is_current(folder, recipe):
            say(f"installing {', '.join(recipe.packages)} for {python}")
            _install(folder, recipe, python)
    except (subprocess.CalledProcessError, OSError) as error:
        return _peer(recipe, None, f"cannot be installed: {_reason(error)}")
    return _peer(recipe, folder / "bin" / "python", "")


def _peer(recipe: Recipe, python: Path | None, problem: str) -> Peer:
    system = None
    if python is not None:
        system = System(recipe.name, recipe.module, python=str(python), paths=(str(ROOT),))
    return Peer(
        recipe.name,
        system,
        problem,
        recipe.share,
        recipe.concurrency,
        recipe.keeps,
        recipe.modes,
        recipe.done,
        recipe.defaults,
    )


def _stamp(folder: Path) -> Path:
    return folder / "installed"


def _is_current(folder: Path, recipe: Recipe) -> bool:
    stamp = _stamp(folder)
    return stamp.exists() and stamp.read_text() == "\n".join(recipe.packages)


def _install(folder: Path, recipe: Recipe, python: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _run(python, "-m", "venv", str(folder))
    _run(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *recipe.packages)
    _stamp(folder).write_text("\n".join(recipe.packages))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in str(error.stderr).splitlines() if "ERROR" in line]
        return (lines or [str(error)])[0]
    return str(error)


def _python(oldest: tuple[int, int]) -> str | None:
    """Return the interpreter that runs this, else the oldest one that is new enough."""
    if sys.version_info[:2] >= oldest:
        return sys.executable
    versions = {version: path for path in _candidates() if (version := _version(path)) >= oldest}
    return versions[min(versions)] if versions else None


def _candidates() -> Iterator[str]:
    names = [f"python3.{minor}" for minor in range(12, 16)]
    yield from (path for name in names if (path := shutil.which(name)))
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(root.glob("versions/3.*/bin/python")))


@cache
def _version(python: str) -> tuple[int, int]:
    """Return the version of an interpreter that works, else (0, 0)."""
    code = "import sys, ssl, venv; print(*sys.version_info[:2])"
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    major, minor = told.stdout.split() if told.returncode == 0 else ("0", "0")
    return int(major), int(minor)
