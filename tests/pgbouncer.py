"""A PgBouncer in front of a server; each transaction may get another of its sessions."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

from ports import free_port
from servers import Server, Unavailable

CONFIGURATION = """
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
ignore_startup_parameters = {ignored}
"""


class PgBouncer:
    """A pooler for one server, as a context manager; `url` leads through it."""

    def __init__(
        self, server: Server, *, pool_size: int = 2, ignored: str = "extra_float_digits"
    ) -> None:
        """Describe it. A small pool makes clients share sessions, which is what shows mistakes.

        Args:
            server: where it leads to.
            pool_size: how many sessions it opens there.
            ignored: the start-up parameters that it drops; it refuses others that it cannot pass.
        """
        self._server = server
        self._pool_size = pool_size
        self._ignored = ignored
        self._folder: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._command: list[str] = []
        self.url = ""

    def lead(self, url: str) -> str:
        """The same URL of the server, schema included, through the pooler."""
        return urlsplit(url)._replace(netloc=urlsplit(self.url).netloc).geturl()

    def __enter__(self) -> PgBouncer:
        """Start it; raise Unavailable where it is not installed."""
        program = _program()
        target = urlsplit(self._server.url)
        port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="simpleworkflow-pgbouncer-", dir="/tmp"))
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(
            CONFIGURATION.format(
                host=target.hostname,
                port=target.port or 5432,
                user=unquote(target.username or ""),
                password=unquote(target.password or ""),
                listen_port=port,
                pool_size=self._pool_size,
                ignored=self._ignored,
            )
        )
        if account := _account():
            shutil.chown(self._folder, account)
            shutil.chown(configuration, account)
        configuration.chmod(0o600)
        self._command = [program, str(configuration)]
        self.start()
        self.url = f"postgresql://{target.username}@127.0.0.1:{port}{target.path}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, and with it every connection through it."""
        assert self._folder is not None
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it again after `stop()`, on the same port."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            user=_account(),
        )
        self._wait_until_up()

    def stop(self) -> None:
        """End it; its port stays its own."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        if self._reader:
            self._reader.join()
        if self._process.stderr:
            self._process.stderr.close()

    def _wait_until_up(self) -> None:
        """Read its log up to the line that says it serves; go on reading, lest the pipe fills."""
        assert self._process is not None
        log = self._process.stderr
        assert log is not None
        said = []
        for line in log:
            said.append(line)
            if "process up" in line:
                self._reader = threading.Thread(target=log.read, daemon=True)
                self._reader.start()
                return
        self.__exit__(None, None, None)
        raise AssertionError("PgBouncer did not start: " + "".join(said))


def _account() -> str | None:
    # It refuses to run as root, like PostgreSQL.
    return "nobody" if os.geteuid() == 0 else None


def _program() -> str:
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        raise Unavailable("no PgBouncer: the program pgbouncer is not installed")
    return program
