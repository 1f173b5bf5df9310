"""The PostgreSQL that is measured on, and a fresh database for each measurement.

A server of our own runs with PostgreSQL's own defaults: every commit is on the disk before it is
answered.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from attrs import frozen

from benchmarks.records import BenchmarkError
from simpleworkflow.embedded import EmbeddedPostgres

WANTED_VERSION = 15
"""The version that the figures of the documentation are of, where there is a choice."""


@frozen
class Database:
    """One database on the server."""

    name: str
    url: str
    admin_url: str

    def connect(self) -> psycopg.Connection[Any]:
        """Connect to it, committing each statement."""
        return psycopg.connect(self.url, autocommit=True)

    def url_for(self, driver: str) -> str:
        """Return its URL for a driver of ours."""
        return self.url.replace("postgresql://", f"postgresql+{driver}://", 1)

    def beside(self) -> psycopg.Connection[Any]:
        """Connect beside it, so that looking at it is not counted as its own work."""
        return psycopg.connect(self.admin_url, autocommit=True)

    def run(self, *statements: str) -> None:
        """Run statements without parameters."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def value(self, query: str, *params: object) -> Any:
        """Return the first column of the first row."""
        with self.connect() as connection:
            row = connection.execute(query.encode(), params or None).fetchone()
            return row[0] if row else None


class Server:
    """A running PostgreSQL.

    Args:
        url: a database of it, by a role that may create databases.
        log: the file it logs to, when that can be read.
        kind: what to call it.
        postgres: what starts and stops it, when it is ours.
    """

    def __init__(
        self, url: str, log: Path | None, kind: str, postgres: EmbeddedPostgres | None = None
    ) -> None:
        self.url = url
        self.log = log
        self.kind = kind
        self._postgres = postgres
        with psycopg.connect(url, autocommit=True) as connection:
            self.version = str(connection.execute("show server_version").fetchone()[0])  # type: ignore[index]

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Give a new, empty database; dropped afterwards."""
        name = f"bench_{uuid.uuid4().hex[:12]}"
        database = Database(name, _with_database(self.url, name), self.url)
        with database.beside() as connection:
            # What the measurement before left to write must not be written during this one.
            with suppress(psycopg.errors.InsufficientPrivilege):
                connection.execute("checkpoint")
            connection.execute(f"create database {name}".encode())
        try:
            yield database
        finally:
            with database.beside() as connection:
                connection.execute(f"drop database {name} with (force)".encode())

    def restart(self) -> None:
        """Restart it as after a crash; return when it answers.

        Raises:
            BenchmarkError: it is somebody else's.
        """
        if self._postgres is None:
            raise BenchmarkError("a server of our own alone is restarted; leave --url out")
        self._postgres.restart("immediate")


@contextmanager
def running(url: str | None = None, *, embedded: bool = False) -> Iterator[Server]:
    """Give the server of a URL, else a system's programs, else the embedded one.

    Args:
        url: a server to use in place of an own one.
        embedded: use the embedded one, even where a system has its own.
    """
    if url:
        yield Server(url, None, "given")
        return
    bin_dir = None if embedded else system_programs()
    folder = Path(tempfile.mkdtemp(prefix="simpleworkflow-bench-", dir=_open_folder()))
    folder.chmod(0o755)
    try:
        # A data folder of ours, for in a temporary one the embedded server would not sync.
        with EmbeddedPostgres(folder / "server", bin_dir=bin_dir) as postgres:
            kind = "system" if bin_dir else "embedded"
            yield Server(postgres.url, folder / "server" / "log", kind, postgres)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def system_programs() -> Path | None:
    """Return the folder of a system's PostgreSQL: version 15, else the newest; None without."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    versions = {_version_of(folder): folder for folder in folders}
    versions.pop(0, None)
    return versions.get(WANTED_VERSION) or (versions[max(versions)] if versions else None)


def _version_of(folder: Path) -> int:
    if not all((folder / program).exists() for program in ("initdb", "pg_ctl", "postgres")):
        return 0
    told = subprocess.run([folder / "postgres", "-V"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+", told.stdout)
    return int(found[0]) if found else 0


def _open_folder() -> str:
    """Return a place that PostgreSQL's own account reaches when this runs as root."""
    return "/tmp" if os.geteuid() == 0 else tempfile.gettempdir()


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
