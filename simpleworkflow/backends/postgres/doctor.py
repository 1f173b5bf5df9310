"""The part of PostgresStore that is Examinable: it measures, and `core.doctor` judges.

What the tables should have besides columns (indexes, triggers, storage parameters) is read from the
migrations that were applied, so that it stands in one place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from attrs import frozen

from simpleworkflow.backends.postgres import migrate, rows, statements
from simpleworkflow.backends.postgres.driver import APPLICATION_NAME, Connection, Row
from simpleworkflow.backends.postgres.pool import Pool
from simpleworkflow.backends.postgres.url import Address
from simpleworkflow.core import doctor
from simpleworkflow.core.doctor import Finding, Missing, Table, Waiting
from simpleworkflow.core.errors import StoreError
from simpleworkflow.core.roster import Worker

_COMMENT = re.compile(r"--.*")
_MADE = re.compile(
    r"create (?:or replace )?(?:unique )?(?P<kind>index|trigger)(?: concurrently)?"
    r"(?: if not exists)?\s+(?P<name>\w+)[^;]*"
)
_BLOCKING = re.compile(r"create (?:unique )?index(?! concurrently)")
_DROPPED = re.compile(
    r"drop (?P<kind>index|trigger)(?: concurrently)?(?: if exists)?"
    r"\s+(?:\{schema\}\.)?(?P<name>\w+)"
)
_SET = re.compile(r"alter table \{schema\}\.(?P<table>\w+) set \((?P<parameters>[^)]*)\)")

_PARAMETER = re.compile(r"(\w+) = ")

_UNIQUE = "idempotency_key"
_UNIQUE_ADVICE = (
    "make idempotency_key of workflow_run unique again, by an index without a condition: so long "
    "as it is not, two submits of one key make two runs"
)


class _Store(Protocol):
    address: Address
    _pool: Pool
    _clock: Callable[[], datetime] | None


class PostgresDoctor:
    """Looks at the server, the tables, and who works with them."""

    def examine(self: _Store) -> list[Finding]:
        """See Examinable.examine."""
        now = self._clock() if self._clock else None
        with self._pool.connection() as connection:
            return list(_Examination(connection, self.address, now).findings())


@frozen
class _Made:
    """What migrations make besides tables, and by which SQL: by name, parameters by their table."""

    indexes: dict[str, str]
    triggers: dict[str, str]
    parameters: dict[str, str]

    @classmethod
    def until(cls, version: int, quoted_schema: str) -> _Made:
        """Return what the migrations up to a version make, and none of them takes away."""
        kinds: dict[str, dict[str, str]] = {"index": {}, "trigger": {}}
        parameters = {}
        for migration in migrate.all_migrations():
            if migration.version > version:
                break
            source = _COMMENT.sub("", migration.source)
            for gone in _DROPPED.finditer(source):
                kinds[gone["kind"]].pop(gone["name"], None)
            for made in _MADE.finditer(source):
                kinds[made["kind"]][made["name"]] = _one_line(_gently(made[0]), quoted_schema)
            for given in _SET.finditer(source):
                parameters[given["table"]] = _one_line(given[0], quoted_schema)
        return cls(kinds["index"], kinds["trigger"], parameters)


class _Examination:
    """One look at one database, on one connection.

    Args:
        connection: to the database.
        address: where the tables are.
        now: the time in place of the server's; for tests only.
    """

    def __init__(self, connection: Connection, address: Address, now: datetime | None) -> None:
        self._connection = connection
        self._address = address
        self._now = now
        self._newest = self._applied = migrate.all_migrations()[-1].version

    def findings(self) -> Iterator[Finding]:
        """Look at one thing after the other."""
        yield self._look("schema-version", self._schema_version)
        # Nothing but the server is there to be looked at where there are no tables.
        looks = {**self._at_tables, **self._at_server} if self._applied else self._at_server
        for name, look in looks.items():
            yield self._look(name, look)

    def _look(self, name: str, look: Callable[[], Finding]) -> Finding:
        """Look at one thing; what this role may not see, or not in time, is a finding as well."""
        try:
            return look()
        except StoreError as exc:
            if not self._connection.is_usable():
                raise
            return doctor.unseen(name, str(exc))

    @property
    def _at_tables(self) -> dict[str, Callable[[], Finding]]:
        return {
            "expired-leases": lambda: doctor.expired_leases(self._waiting("leases")),
            "oldest-run": lambda: doctor.oldest_run(self._waiting("due")),
            "unserved-types": lambda: doctor.unserved_types(self._waiting("due"), self._workers()),
            "workers": lambda: doctor.workers(self._workers()),
            "schedules": lambda: doctor.schedules(self._waiting("schedules")),
            "dead-rows": lambda: doctor.dead_rows(self._tables()),
            "size": lambda: doctor.size(self._tables()),
            "indexes": self._indexes,
            "triggers": self._triggers,
            "table-settings": self._table_settings,
        }

    @property
    def _at_server(self) -> dict[str, Callable[[], Finding]]:
        return {
            "held-back": self._held_back,
            "replication-slots": self._replication_slots,
            "clocks": self._clocks,
            "pooler": lambda: doctor.pooler(self._connection.may_prepare),
            "wake-ups": self._wake_ups,
            "connections": self._connections,
            "server": self._server,
            "durability": self._durability,
        }

    def _schema_version(self) -> Finding:
        self._applied = migrate.applied_version(self._connection, self._address)
        pending = [m.name for m in migrate.all_migrations() if m.version > self._applied]
        return doctor.schema_version(self._applied, self._newest, pending)

    @property
    def _made(self) -> _Made:
        return _Made.until(self._applied, self._address.quoted_schema)

    def _indexes(self) -> Finding:
        found = self._ask("indexes")
        there = {row[0] for row in found}
        needed = self._made.indexes
        missing = [Missing(*each) for each in needed.items() if each[0] not in there]
        has_key = any(is_valid and on == _UNIQUE for _, is_valid, _, _, on in found)
        if not has_key:
            missing.append(Missing(f"unique {_UNIQUE}", _UNIQUE_ADVICE))
        schema = self._address.quoted_schema
        present = [
            doctor.Index(name, f"{schema}.{name}", is_valid, name in needed, is_unused, count)
            for name, is_valid, is_unused, count, _ in found
        ]
        return doctor.indexes(present, missing)

    def _triggers(self) -> Finding:
        in_force = {row[0] for row in self._ask("triggers")}
        made = self._made.triggers.items()
        return doctor.triggers([Missing(*each) for each in made if each[0] not in in_force])

    def _table_settings(self) -> Finding:
        [(_, _, is_vacuuming, _)] = self._ask("server")
        present = {row[0]: {_name_of(option) for option in row[5]} for row in self._ask("tables")}
        lost = [
            Missing(f"{name} of {table}", sql)
            for table, sql in self._made.parameters.items()
            # Another value is somebody's decision.
            for name in _PARAMETER.findall(sql)
            if name not in present.get(table, ())
        ]
        return doctor.table_settings(lost, is_vacuuming)

    def _held_back(self) -> Finding:
        found = self._ask("holders")
        return doctor.held_back([doctor.Holder(who, _maybe(age)) for who, age in found])

    def _replication_slots(self) -> Finding:
        return doctor.replication_slots([doctor.Slot(*row) for row in self._ask("slots")])

    def _clocks(self) -> Finding:
        before = datetime.now(UTC)
        [[theirs]] = self._ask("clock")
        after = datetime.now(UTC)
        half = (after - before) / 2
        workers = self._workers() if self._applied else ()
        return doctor.clocks(before + half - theirs, half, workers)

    def _wake_ups(self) -> Finding:
        [[parts]] = self._fetch("notify_trigger")
        [[usage]] = self._ask("queue")
        has_trigger = parts == migrate.ALL_PARTS
        return doctor.wake_ups(self._connection.may_prepare, has_trigger, usage)

    def _connections(self) -> Finding:
        [(used, limit, ours)] = self._ask("connections")
        return doctor.connections(used, limit, ours)

    def _server(self) -> Finding:
        [(version, is_read_only, _, _)] = self._ask("server")
        return doctor.server(version, is_read_only)

    def _durability(self) -> Finding:
        [(_, _, _, off)] = self._ask("server")
        return doctor.durability(off)

    def _waiting(self, what: str) -> list[Waiting]:
        found = self._ask(what)
        return [Waiting(type_, timedelta(seconds=age), *count) for type_, age, *count in found]

    def _workers(self) -> list[Worker]:
        return [rows.to_worker(row) for row in self._fetch("workers")]

    def _tables(self) -> list[Table]:
        return [
            Table(name, count, dead, size, _maybe(ago))
            for name, count, dead, size, ago, _ in self._ask("tables")
        ]

    def _ask(self, what: str) -> Sequence[Row]:
        return self._fetch(f"doctor_{what}")

    def _fetch(self, name: str) -> Sequence[Row]:
        statement = statements.load(name, self._address.quoted_schema)
        given = {"now": self._now, "name": APPLICATION_NAME}
        used = {key: value for key, value in given.items() if f":{key}:" in statement}
        return self._connection.fetch(statement, used)


def _gently(sql: str) -> str:
    """Return what makes an index or a trigger, for tables in use, where one may be half there."""
    sql = sql.replace("create trigger", "create or replace trigger")
    return _BLOCKING.sub(r"\g<0> concurrently", sql)


def _one_line(sql: str, quoted_schema: str) -> str:
    return " ".join(sql.replace("{schema}", quoted_schema).split())


def _name_of(option: str) -> str:
    return option.partition("=")[0]


def _maybe(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
