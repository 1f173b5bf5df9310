"""What a PostgreSQL driver must offer. It knows connections and statements, nothing of runs."""

from __future__ import annotations

import select
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from simpleworkflow.backends.postgres.url import Address
from simpleworkflow.core.errors import (
    SchemaNotReady,
    StoreConflict,
    StoreError,
    StoreUnavailable,
)

Row = Sequence[Any]

APPLICATION_NAME = "simpleworkflow"
CONNECT_TIMEOUT = 5
"""Seconds until an attempt to connect is given up, for each host."""

STATEMENT_TIMEOUT = 10
"""Seconds after which the server itself gives a statement up. Ours take milliseconds; a payload
of 50 MB, some seconds."""

ANSWER_MARGIN = 5
"""How many seconds later a statement is given up here, when not even that was heard: something
between may keep a connection open that leads nowhere. Both together leave time to renew a lease of
30 s on a new connection."""

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 10, 5, 3
PEER_TIMEOUT = 30
"""Seconds of TCP's own watch: a server that vanished without a word is noticed within PEER_TIMEOUT,
also in the middle of a statement."""

NO_HOST = "a host name cannot be encoded (idna)"
"""Said of a host that cannot be one: Python's own words differ from version to version."""

SESSION_SETTINGS = {
    # Our statements reach every row by an index. Held to that, a plan made while the tables were
    # small or never analysed stays good when they have grown.
    "enable_seqscan": "off",
    # A list is read along an index until it is long enough, not collected whole and then sorted.
    "enable_bitmapscan": "off",
    "plan_cache_mode": "force_generic_plan",
    # Compiling a plan takes longer than any statement of ours.
    "jit": "off",
    # The only style that both drivers can read; a database may have another one for people.
    "datestyle": "ISO",
    "statement_timeout": f"{1_000 * STATEMENT_TIMEOUT}",
    # Ours alone, read by the optional trigger on workflow_run: our submits see to their wake-ups
    # themselves, and need not each pay for one more.
    "simpleworkflow.notifies": "on",
}
OPTIONS = " ".join(f"-c {name}={value}" for name, value in SESSION_SETTINGS.items())
"""The settings as the start-up parameter `options`, so that they cost no round trip."""

_SETTINGS_IN_FORCE = """
select current_setting('plan_cache_mode'),
       extract(epoch from current_setting('statement_timeout')::interval)::float8
"""


class DataRefused(StoreError):
    """PostgreSQL cannot hold a value it was given; no such statement has an effect."""


class LockNotGranted(StoreUnavailable):
    """Somebody held a lock for longer than a statement was to wait for it."""


class Connection(Protocol):
    """One session with the server, in autocommit; used by one thread at a time.

    Attributes:
        may_prepare: whether statements may be prepared. They may not where a pooler such as
            PgBouncer hands each transaction to another session.
        answer_timeout: how many seconds nothing may be heard in the midst of a statement; None, as
            at first, for any time.
    """

    may_prepare: bool
    answer_timeout: float | None

    def fetch(self, statement: str, params: Mapping[str, object]) -> Sequence[Row]:
        """Run one statement with `:name` parameters and return its rows.

        Raises:
            StoreError: as `translate` says.
        """
        ...

    def run_script(self, sql: str) -> None:
        """Run several statements without parameters, in one transaction.

        Raises:
            StoreError: as `translate` says.
        """
        ...

    def fileno(self) -> int:
        """Return the session's socket, to wait for what the server says unasked."""
        ...

    def was_notified(self) -> bool:
        """Say whether a notification came since the last call; waits for nothing.

        Raises:
            StoreUnavailable: the server hung up.
        """
        ...

    def is_usable(self) -> bool:
        """Say whether the server still listens, as far as can be seen without asking it."""
        ...

    def close(self) -> None:
        """End the session; never raises."""
        ...


class Driver(Protocol):
    """Opens connections; a module can be one."""

    def connect(self, address: Address, options: str) -> Connection:
        """Open a session with these start-up options, in which nothing may be prepared yet.

        Raises:
            StoreUnavailable: nobody answers there, or it refuses.
            UsageError: the URL cannot be read.
        """
        ...


def open_session(driver: Driver, address: Address, options: str = OPTIONS) -> Connection:
    """Connect with our settings, or without them through a pooler that does not pass them on.

    A statement may take as long there as the server's `statement_timeout` says, and somewhat more
    until it is given up here.

    Raises:
        StoreUnavailable: nobody answers there, or it refuses.
        UsageError: the URL cannot be read.
    """
    try:
        connection = driver.connect(address, options)
    except StoreUnavailable as exc:
        # PgBouncer's words. Everything else would fail the second time too.
        if "unsupported startup parameter" not in str(exc):
            raise
        connection = driver.connect(address, "")
    connection.answer_timeout = STATEMENT_TIMEOUT + ANSWER_MARGIN
    try:
        [[plan_cache_mode, seconds]] = connection.fetch(_SETTINGS_IN_FORCE, {})
    except BaseException:
        connection.close()
        raise
    connection.may_prepare = plan_cache_mode == SESSION_SETTINGS["plan_cache_mode"]
    if seconds:
        connection.answer_timeout = seconds + ANSWER_MARGIN
    elif connection.may_prepare:
        # Ours was in force, had the user not switched it off.
        connection.answer_timeout = None
    return connection


def no_answer(seconds: float) -> str:
    """Return what is said of a statement that was given up here."""
    return f"no answer within {seconds:g} s"


def has_input(file_number: int) -> bool:
    """Say whether a session has something to read."""
    # Not select(), which knows no file above 1,024.
    poll = select.poll()
    poll.register(file_number, select.POLLIN)
    return bool(poll.poll(0))


_NOT_GRANTED = "55P03"
_UNAVAILABLE = ("08", "28", "3D", "53", "57", "25006", _NOT_GRANTED)
"""Connection lost, login refused, no such database, out of resources, shut down or cancelled,
read-only (a standby), lock not granted: waiting may help. SQLSTATEs and classes of PostgreSQL's
documentation, appendix A."""

READ_ONLY = "25006"
CONFLICT = ("40001", "40P01")
NO_TABLES = ("42P01", "42703", "3F000")
_NO_RIGHT = "42501"
_REFUSED_DATA = ("22", "23", "54", "P0001")
"""Bad data, a constraint that somebody added, a limit of the server, somebody's trigger."""

_TOO_LARGE = "invalid memory alloc request size"
"""Said, in every language and as an internal error, of JSON with too many values: 17 million
numbers take 34 MB as text, and more than 1 GB while they are read."""


def translate(sqlstate: str | None, message: str, address: Address) -> StoreError:
    """Return our error for what the server or the connection reported.

    Args:
        sqlstate: the server's five-letter code; None when the connection itself failed.
        message: the driver's words, which must not carry a password.
        address: where it happened.
    """
    words = " ".join(message.split())
    if sqlstate is None or sqlstate.startswith(_UNAVAILABLE):
        hint = ""
        if sqlstate == READ_ONLY:
            hint = " (it is read-only: connect to the primary server)"
        kind = LockNotGranted if sqlstate == _NOT_GRANTED else StoreUnavailable
        return kind(f"the database {address} is unavailable{hint}: {words}")
    if sqlstate in CONFLICT:
        return StoreConflict(f"the database {address} undid a statement: {words}")
    if sqlstate in NO_TABLES:
        return schema_not_ready(address, f"does not have the tables of this library ({words})")
    if sqlstate == _NO_RIGHT:
        return StoreError(
            f"the role that logs in to the database {address} may not do that: {words}; "
            "`simpleworkflow grants` prints what producers, workers and operators need, and "
            "`simpleworkflow migrate` needs the owner of the tables"
        )
    if sqlstate.startswith(_REFUSED_DATA) or _TOO_LARGE in words:
        return DataRefused(f"the database cannot hold a value: {words}")
    return StoreError(f"the database {address} refused a statement [{sqlstate}]: {words}")


def schema_not_ready(address: Address, problem: str) -> SchemaNotReady:
    """Return the error of a schema without current tables, with the command that makes them."""
    return SchemaNotReady(
        f'the schema "{address.schema}" {problem}: run `simpleworkflow migrate "{address}"` '
        "(with your password), or pass auto_migrate=True"
    )
