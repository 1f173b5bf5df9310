"""The example backend: installed as a third party's package, found by its scheme, examined."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import ROOT

import simpleworkflow

PACKAGE = ROOT / "examples/backend_package"

DECLARED = {
    "this backend declares no deleted rows: it gives no fixture delete_run",
    "this store keeps keys for ever: it is no KeyScopes",
    "this store keeps no schedules: it is no ScheduleStore",
    "nobody can wait for runs in this store: it is no Endings",
    "this store keeps no roster of workers: it is no Roster",
    "this store cannot be examined: it is no Examinable",
    "this store joins no transactions: it is no JoinsTransactions",
    "this store does nothing for operators: it is no RunAdmin",
}
"""What an SQLite file of our own has no use for, and what an example can do without."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed."""
    target = tmp_path_factory.mktemp("site")
    done = _run(
        *("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--disable-pip-version-check", "--target", str(target), str(PACKAGE)),
    )
    assert done.returncode == 0, done.stdout
    ours = Path(simpleworkflow.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(ours)])}


@pytest.fixture
def fast_folder() -> Iterator[str]:
    """A folder in memory where there is one: every call of this store waits for its disk."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield folder


def test_it_passes_the_exam(environment, fast_folder):
    """Its own tests, which subclass the shipped suite, pass; only declared lacks are skipped."""
    done = _run(
        *("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"),
        *("--basetemp", f"{fast_folder}/tests", "-c", str(PACKAGE / "pyproject.toml")),
        str(PACKAGE / "tests"),
        env=environment,
    )

    assert done.returncode == 0, done.stdout
    passed = int(done.stdout.strip().splitlines()[-1].split(" passed")[0].split()[-1])
    assert passed > 200, done.stdout
    reasons = {line.partition(": ")[2] for line in done.stdout.splitlines() if "SKIPPED" in line}
    assert reasons <= DECLARED, done.stdout


def test_it_is_found_by_its_scheme(environment, tmp_path):
    """A program that knows only the URL works; the list of known schemes has it, too."""
    program = """
import sys
from simpleworkflow import Client, IntentPoller, UsageError, open_store

url = sys.argv[1]
poller = IntentPoller(url)
poller.register_executor("math.double.v1", lambda run: run.payload * 2)
with Client(url, auto_migrate=True) as client:
    sent = client.submit("math.double.v1", 21)
    poller.drain(timeout=60)
    print(client.get(sent.id).result, [str(event.type) for event in client.events(sent.id)])
try:
    open_store("nosuch://")
except UsageError as error:
    print(error)
"""
    done = _run("-c", program, f"sqlite://{tmp_path}/runs.db", env=environment)

    assert done.stdout.splitlines()[0] == "42 ['created', 'leased', 'succeeded']", done.stdout
    assert "sqlite" in done.stdout.splitlines()[1]


def _run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=env,
        cwd=tempfile.gettempdir(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
