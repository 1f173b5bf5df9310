"""The faults, one function each. To add one: write it here, under `fault`, and nothing else.

A fault gets the arena at work. It breaks something, lets time pass, and mends it: what follows is
the arena's business. A ground says where it takes place, if a plain server will not do.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from attrs import frozen
from faults.arena import Arena, Ground
from faults.facts import LEASE
from pgbouncer import PgBouncer
from proxy import Proxy
from replication import Pair, primary_and_standby
from servers import Server, Unavailable, new_server, with_schema

MakeGround = Callable[[Server], AbstractContextManager[Ground]]

SCHEMA = "faults"

CHUNK = 8_192

TERMINATE = (
    "select pg_terminate_backend(pid) from pg_stat_activity "
    "where application_name = 'simpleworkflow'"
)
"""Ends every session of the workers and the producer."""


@frozen
class Fault:
    """One way in which things break.

    Args:
        title: what happens, for the table.
        break_things: does it.
        ground: makes the place for it.
        short, long: seconds that it lasts in the short form and in the long one, where it may last
            as long as one likes.
    """

    title: str
    break_things: Callable[[Arena], None]
    ground: MakeGround
    short: float
    long: float


FAULTS: dict[str, Fault] = {}


@contextmanager
def plain(like: Server) -> Iterator[Ground]:
    """A server of its own."""
    with _started(like) as server:
        url = with_schema(server.url, SCHEMA)
        yield Ground(server, url, url)


@contextmanager
def through_proxy(like: Server) -> Iterator[Ground]:
    """A server behind a proxy."""
    with _started(like) as server, Proxy(server.url) as proxy:
        yield Ground(server, with_schema(proxy.url, SCHEMA), with_schema(server.url, SCHEMA), proxy)


@contextmanager
def behind_pgbouncer(like: Server) -> Iterator[Ground]:
    """A server behind PgBouncer in transaction mode."""
    with _started(like) as server, PgBouncer(server, pool_size=10) as pooler:
        url = with_schema(server.url, SCHEMA)
        yield Ground(server, pooler.lead(url), url, pooler)


@contextmanager
def with_a_standby(like: Server) -> Iterator[Ground]:
    """A primary and a standby with synchronous commit, both in the URL."""
    with primary_and_standby(like) as pair:
        url = with_schema(pair.url, SCHEMA)
        yield Ground(pair.primary, url, url, pair)


@contextmanager
def with_few_connections(like: Server) -> Iterator[Ground]:
    """A server that takes 25 connections."""
    with _started(like, {"max_connections": "25"}) as server:
        url = with_schema(server.url, SCHEMA)
        yield Ground(server, url, url)


@contextmanager
def on_a_small_disk(like: Server) -> Iterator[Ground]:
    """A server whose tables lie on a disk of 40 MB, apart from its log."""
    with _small_disk() as disk, _started(like) as server:
        with server.connect() as connection:
            connection.execute(f"create tablespace small location '{disk / 'tables'}'")
            connection.execute("alter role current_user set default_tablespace = small")
        url = with_schema(server.url, SCHEMA)
        yield Ground(server, url, url, disk)


def fault(
    title: str,
    *,
    ground: MakeGround = plain,
    short: float = 0.0,
    long: float = 0.0,
) -> Callable[[Callable[[Arena], None]], Callable[[Arena], None]]:
    """Enter the decorated function among the faults, under its own name."""

    def enter(function: Callable[[Arena], None]) -> Callable[[Arena], None]:
        FAULTS[function.__name__] = Fault(title, function, ground, short, long)
        return function

    return enter


@fault("workers killed at random", short=6, long=60)
def workers_killed(arena: Arena) -> None:
    """SIGKILL one of them every two seconds; another takes its place."""
    for _ in range(int(arena.seconds / 2)):
        arena.kill(arena.rng.choice(arena.workers))
        arena.pass_time(2)


@fault("a worker killed between an executor's effect and its settlement", short=5, long=30)
def killed_before_settling(arena: Arena) -> None:
    """Each kills itself there, whenever it meets a run that says so."""
    with arena.killing_after_effects():
        arena.pass_time(arena.seconds)


@fault("a worker stopped for longer than its lease, then continued", long=30)
def frozen_past_the_lease(arena: Arena) -> None:
    """SIGSTOP and SIGCONT: it wakes up with runs that others have finished."""
    name = arena.workers[0]
    arena.send(name, signal.SIGSTOP)
    arena.pass_time(max(LEASE + 2, arena.seconds))
    arena.send(name, signal.SIGCONT)


@fault("workers replaced one after the other by SIGTERM")
def rolling_restart(arena: Arena) -> None:
    """Each ends in order, and its successor starts."""
    for name in arena.workers:
        arena.replace(name)
        arena.pass_time(1)


@fault("the server restarted, immediate")
def restart_immediate(arena: Arena) -> None:
    """As after a crash: no session is told good-bye."""
    arena.server.restart("immediate")


@fault("the server restarted, fast")
def restart_fast(arena: Arena) -> None:
    """In order: sessions are ended, transactions rolled back."""
    arena.server.restart("fast")


@fault("every session terminated, every second", short=5, long=30)
def sessions_terminated(arena: Arena) -> None:
    """As an administrator may, or a proxy that drops connections."""
    with arena.server.connect() as administrator:
        for _ in range(int(arena.seconds)):
            administrator.execute(TERMINATE)
            arena.pass_time(1)


@fault("a network that swallows everything", ground=through_proxy, short=6, long=30)
def blackhole(arena: Arena) -> None:
    """Nothing gets through in either direction, and nobody is told."""
    proxy = arena.tool(Proxy)
    proxy.blackhole()
    arena.pass_time(arena.seconds)
    proxy.resume()


@fault("connections that are half open", ground=through_proxy, short=15, long=30)
def half_open(arena: Arena) -> None:
    """The server's side of each is gone, and the workers' side stays silent; new ones work."""
    arena.tool(Proxy).abandon()
    arena.pass_time(arena.seconds)


@fault("PgBouncer restarted", ground=behind_pgbouncer, short=2, long=5)
def pgbouncer_restarted(arena: Arena) -> None:
    """It is gone for some seconds, with every session through it."""
    pooler = arena.tool(PgBouncer)
    pooler.stop()
    arena.pass_time(arena.seconds)
    pooler.start()


@fault("fail-over to a standby", ground=with_a_standby, short=2, long=5)
def fail_over(arena: Arena) -> None:
    """The primary crashes, for good; some seconds later its standby takes over."""
    pair = arena.tool(Pair)
    pair.stop_primary(immediate=True)
    arena.pass_time(arena.seconds)
    pair.promote()
    arena.server = pair.standby


@fault("no connection left on the server", ground=with_few_connections, short=5, long=30)
def connections_used_up(arena: Arena) -> None:
    """Others take every connection there is, those of the workers included."""
    with ExitStack() as taken:
        administrator = taken.enter_context(arena.server.connect())
        for _ in range(3):
            administrator.execute(TERMINATE)
            with suppress(Exception):
                while True:
                    taken.enter_context(arena.server.connect())
        arena.pass_time(arena.seconds)


@fault("a full disk", ground=on_a_small_disk, short=4, long=20)
def disk_full(arena: Arena) -> None:
    """The tables cannot grow."""
    filler = arena.tool(Path) / "filler"
    # Until no more goes in: the tables grow meanwhile.
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(CHUNK)):
            pass
    arena.pass_time(arena.seconds)
    filler.unlink()


@contextmanager
def _started(like: Server, settings: dict[str, str] | None = None) -> Iterator[Server]:
    server = new_server(like, settings)
    server.start()
    try:
        yield server
    finally:
        server.close()


@contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="simpleworkflow-disk-", dir="/tmp") as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=40m,mode=755", "tmpfs", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"no small disk: {done.stderr.strip() or 'mount failed'}")
        try:
            tables = Path(folder) / "tables"
            tables.mkdir()
            # Who may mount is root, and PostgreSQL then runs as this account.
            shutil.chown(tables, "nobody")
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)
