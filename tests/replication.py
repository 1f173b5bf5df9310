"""A primary server and its standby, between which a test may fail over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from servers import OwnServer, Server, Unavailable, new_server


class Pair:
    """Two servers; what the primary has committed, the standby has written.

    Attributes:
        primary: the server that takes writes at first.
        standby: its copy, which can only be read until it is promoted.
    """

    def __init__(self, primary: OwnServer, standby: OwnServer) -> None:
        self.primary = primary
        self.standby = standby

    @property
    def url(self) -> str:
        """Both servers in one URL, for whichever takes writes."""
        first, second = urlsplit(self.primary.url), urlsplit(self.standby.url)
        hosts = f"{first.netloc},{second.hostname}:{second.port}"
        return first._replace(netloc=hosts, query="target_session_attrs=read-write").geturl()

    def stop_primary(self, immediate: bool = True) -> None:
        """End the primary for good, as in a crash or in order."""
        assert self.primary._postgres is not None
        self.primary._postgres._pg_ctl("stop", "-m", "immediate" if immediate else "fast")

    def promote(self) -> None:
        """Make the standby take writes, and wait for no other server."""
        assert self.standby._postgres is not None
        self.standby._postgres._pg_ctl("promote")


@contextmanager
def primary_and_standby(like: Server) -> Iterator[Pair]:
    """Start two servers of this kind, with synchronous replication; remove them afterwards.

    Raises:
        Unavailable: this machine has no program for it.
    """
    with ExitStack() as stack:
        # A standby asks at once for what it misses, and not after 5 seconds.
        primary, standby = (
            new_server(like, {"wal_retrieve_retry_interval": "100ms"}) for _ in range(2)
        )
        stack.callback(primary.close)
        primary.start()
        stack.callback(standby.close)
        _copy(primary, standby)
        with primary.connect() as connection:
            # After the copy, so that the standby waits for nobody when it is promoted.
            connection.execute("alter system set synchronous_standby_names = '*'")
        primary.restart()
        standby.start()
        with primary.connect() as connection:
            # Returns when the standby has written it.
            connection.execute("comment on database postgres is 'replicated'")
        yield Pair(primary, standby)


def _copy(primary: OwnServer, standby: OwnServer) -> None:
    postgres = primary._postgres
    assert postgres is not None
    if not (postgres._programs / "pg_basebackup").exists():
        raise Unavailable(f"no replication: {primary.name} comes without pg_basebackup")
    folder = standby.make_folder()
    folder.mkdir(mode=0o700)
    shutil.copy2(primary.make_folder() / "password", folder)
    if os.geteuid() == 0:
        for path in (folder, folder / "password"):
            shutil.chown(path, "nobody")
    target = f"--pgdata={folder / 'pgdata'}"
    options = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync")
    postgres._run("pg_basebackup", f"--dbname={primary.url}", target, *options)
