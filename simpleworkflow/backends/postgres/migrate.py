"""Migrations: numbered, forward-only, each applied once, by however many ask at the same time.

How a file is divided into steps, so that nobody who uses the tables is held up, is in `steps.py`.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files

from attrs import frozen

from simpleworkflow.backends.postgres import statements, steps
from simpleworkflow.backends.postgres.driver import Connection, schema_not_ready
from simpleworkflow.backends.postgres.steps import Script
from simpleworkflow.backends.postgres.url import Address
from simpleworkflow.backends.postgres.wakeup import channel
from simpleworkflow.core.errors import SchemaNotReady, UsageError

_FILE_NAME = re.compile(r"(\d{4})_\w+\.sql")
_ENCODINGS = ("UTF8", "SQL_ASCII")
_LOCK_PAUSE = 0.1
"""Seconds between tries for the lock. A statement that waits for it would hold a snapshot, which
the building of an index by the one who has the lock waits for in turn."""

ALL_PARTS = 2
"""What notify_trigger.sql counts when the trigger is in place."""


@frozen
class Migration:
    """One numbered file."""

    version: int
    name: str
    source: str

    def sql(self, address: Address) -> str:
        """Return the file for this schema; its last step records that it was applied."""
        schema = address.quoted_schema
        return (
            f"{self.source.replace('{schema}', schema).strip()}\n\n"
            f"insert into {schema}.workflow_migration (version, name) "
            f"values ({self.version}, '{self.name}');\n"
        )


@cache
def all_migrations() -> tuple[Migration, ...]:
    """Return every migration of this library, in order."""
    found = []
    for file in files(__package__).joinpath("migrations").iterdir():
        if match := _FILE_NAME.fullmatch(file.name):
            source = file.read_text(encoding="utf-8")
            found.append(Migration(int(match[1]), file.name.removesuffix(".sql"), source))
    return tuple(sorted(found, key=lambda migration: migration.version))


def check(connection: Connection, address: Address) -> None:
    """Return if the schema is at least as new as this library.

    Raises:
        SchemaNotReady: it is not; the message names the command to run.
        UsageError: the database cannot hold every text.
    """
    check_encoding(connection, address)
    version, newest = applied_version(connection, address), all_migrations()[-1].version
    if version == 0:
        raise schema_not_ready(address, "does not have the tables of this library")
    if version < newest:
        raise schema_not_ready(address, f"is at version {version}, this library needs {newest}")


def check_encoding(connection: Connection, address: Address) -> None:
    """Return if the database can hold every text; SQL_ASCII takes whatever it is sent.

    Raises:
        UsageError: it cannot.
    """
    encoding = connection.fetch("select current_setting('server_encoding')", {})[0][0]
    if encoding not in _ENCODINGS:
        raise UsageError(
            f"the database {address} has the encoding {encoding}, in which not every text can be "
            "kept: use a database that was created with encoding 'UTF8'"
        )


def applied_version(connection: Connection, address: Address) -> int:
    """Return the number of the newest migration applied, 0 when there is none."""
    try:
        found = connection.fetch(statements.load("schema_version", address.quoted_schema), {})
    except SchemaNotReady:
        return 0
    return int(found[0][0])


def pending(connection: Connection, address: Address) -> list[tuple[str, str]]:
    """Return the (name, SQL) of each migration not yet applied."""
    return [(script.name, script.text) for script in _missing(connection, address)]


def migrate(connection: Connection, address: Address) -> list[str]:
    """Apply what is missing under an advisory lock and return the names of what was applied.

    Raises:
        StoreUnavailable: others kept a step from its lock for too long; the message names who.
        UsageError: the database cannot hold every text.
        StoreError: as `translate` says.
    """
    check_encoding(connection, address)
    applied = _apply(connection, address, partial(_missing, connection, address))
    return [script.name for script in applied]


def _missing(connection: Connection, address: Address) -> list[Script]:
    version = applied_version(connection, address)
    has_tables = statements.load("has_tables", address.quoted_schema)
    [[is_in_use]] = connection.fetch(has_tables, {})
    return [
        steps.split(migration.name, migration.sql(address), is_in_use=is_in_use)
        for migration in all_migrations()
        if migration.version > version
    ]


def switch_notify_trigger(
    connection: Connection, address: Address, on: bool, *, dry_run: bool = False
) -> list[tuple[str, str]]:
    """Put the trigger in place that notifies of bare inserts, or take it away.

    Args:
        connection: to the database.
        address: where the tables are.
        on: True to have the trigger, False to have none.
        dry_run: only say what would be run; the tables need not be there yet.

    Returns:
        The (name, SQL) of what was run; nothing when it is as wanted already.

    Raises:
        SchemaNotReady: there are no tables to put it on.
        StoreError: the role does not own them, or as `translate` says.
    """
    find = partial(_missing_switch, connection, address, on)
    scripts = find() if dry_run else _apply(connection, address, find)
    return [(script.name, script.text) for script in scripts]


def _missing_switch(connection: Connection, address: Address, on: bool) -> list[Script]:
    state = statements.load("notify_trigger", address.quoted_schema)
    if connection.fetch(state, {})[0][0] == (ALL_PARTS if on else 0):
        return []
    name = "with_notify_trigger" if on else "without_notify_trigger"
    source = files(__package__).joinpath("optional", f"{name}.sql").read_text(encoding="utf-8")
    sql = source.replace("{channel}", channel(address.schema))
    sql = sql.replace("{schema}", address.quoted_schema)
    return [steps.split(name, sql, is_in_use=True)]


def _apply(
    connection: Connection, address: Address, find: Callable[[], list[Script]]
) -> list[Script]:
    """Find what is missing and run it, while nobody else changes the tables of this schema."""
    key = {"key": zlib.crc32(f"simpleworkflow:{address.schema}".encode())}
    pause = threading.Event()
    while not connection.fetch("select pg_try_advisory_lock(:key::bigint)", key)[0][0]:
        pause.wait(_LOCK_PAUSE)
    try:
        missing, mover = find(), steps.Mover(connection, address)
        for script in missing:
            mover.run(script)
    finally:
        if connection.is_usable():
            connection.fetch("select pg_advisory_unlock(:key::bigint)", key)
    return missing
