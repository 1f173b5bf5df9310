"""Opens the store that a URL names: a literal table first, then entry points."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from attrs import frozen

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.store import Migratable, RunAdmin, Store

ENTRY_POINT_GROUP = "simpleworkflow.backends"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")

Clock = Callable[[], datetime]


class Opener(Protocol):
    """What an entry point of the group `simpleworkflow.backends` must name."""

    def __call__(self, url: str, *, clock: Clock | None = None) -> Store:
        """Open the store; `clock` is for tests, a store that cannot be told the time refuses it."""
        ...


@frozen
class _Postgres:
    driver_module: str
    install: str

    def __call__(self, url: str, *, clock: Clock | None = None) -> Store:
        from simpleworkflow.backends.postgres.store import PostgresStore
        from simpleworkflow.backends.postgres.url import parse_url

        address = parse_url(url)
        try:
            driver = importlib.import_module(self.driver_module)
        except ImportError as exc:
            raise UsageError(
                f"the driver for {urlsplit(url).scheme}:// is not installed ({exc}): "
                f"pip install {self.install}"
            ) from exc
        return PostgresStore(driver, address, clock=clock)


def _memory(url: str, *, clock: Clock | None = None) -> Store:
    from simpleworkflow.backends.memory import named_store

    parts = urlsplit(url)
    return named_store(parts.netloc + parts.path, clock=clock)


_PSYCOPG = _Postgres("simpleworkflow.backends.psycopg", "'psycopg[binary]'")
_PG8000 = _Postgres("simpleworkflow.backends.pg8000", "'simpleworkflow[pg8000]'")

_OPENERS: dict[str, Opener] = {
    "memory": _memory,
    "postgres": _PSYCOPG,
    "postgresql": _PSYCOPG,
    "postgresql+psycopg": _PSYCOPG,
    "postgresql+pg8000": _PG8000,
}


def open_store(url_or_store: str | Store, *, clock: Clock | None = None) -> Store:
    """Return the store that a URL names; a Store is returned as it is. Nothing is connected yet.

    Args:
        url_or_store: `postgresql://…`, `postgresql+pg8000://…`, `memory://name`, a scheme that an
            installed package registers as an entry point, or a Store.
        clock: gives the store's time instead of its own clock; for tests.

    Raises:
        UsageError: no such scheme, a driver that is not installed, or a URL that is none.
    """
    if isinstance(url_or_store, Store):
        return url_or_store
    url: object = url_or_store  # Users without a type checker give anything.
    scheme, separator, _ = str(url).partition("://")
    if not (isinstance(url, str) and separator and _SCHEME.fullmatch(scheme)):
        raise UsageError(
            f"{_shown(url)} is no store: give a URL such as "
            "'postgresql://user@host/db?search_path=workflow' or 'memory://', or a Store object"
        )
    opener = _OPENERS.get(scheme) or _from_entry_points(scheme)
    return opener(url, clock=clock)


def run_admin(store: Store) -> RunAdmin:
    """Return the store as one that does what operators ask for.

    Raises:
        UsageError: it does not.
    """
    if not isinstance(store, RunAdmin):
        raise UsageError(f"{store!r} cannot list, retry, delete or purge runs: it is no RunAdmin")
    return store


def migrate(url_or_store: str | Store, *, notify_trigger: bool | None = None) -> list[str]:
    """Create or update the tables of a store and return the names of what was applied.

    A store without tables, such as `memory://`, needs nothing and gives an empty list.

    Args:
        url_or_store: as for `open_store`.
        notify_trigger: True puts a trigger on the table of runs that wakes idle workers for rows
            which other programs insert by SQL, False takes it away, None leaves it as it is.

    Raises:
        UsageError: the URL names no store that can be opened, or the store has no such trigger.
        StoreUnavailable: others kept it from a lock on the tables for 10 minutes; it names one.
        StoreError: the database cannot be reached or refuses.
    """
    store = open_store(url_or_store)
    try:
        # Asked first: what is refused changes nothing.
        switch = _trigger_switch(store, notify_trigger)
        applied = store.migrate() if isinstance(store, Migratable) else []
        return [*applied, *(name for name, _ in switch(dry_run=False))]
    finally:
        if store is not url_or_store:
            store.close()


def pending_migrations(
    url_or_store: str | Store, *, notify_trigger: bool | None = None
) -> list[tuple[str, str]]:
    """Return the (name, SQL) of each thing that `migrate` would apply now, in order.

    Args:
        url_or_store: as for `open_store`.
        notify_trigger: as for `migrate`.

    Raises:
        UsageError: the URL names no store that can be opened, or the store has no such trigger.
        StoreError: the database cannot be reached or refuses.
    """
    store = open_store(url_or_store)
    try:
        switch = _trigger_switch(store, notify_trigger)
        pending = store.pending_migrations() if isinstance(store, Migratable) else []
        return [*pending, *switch(dry_run=True)]
    finally:
        if store is not url_or_store:
            store.close()


class _Switch(Protocol):
    def __call__(self, *, dry_run: bool) -> list[tuple[str, str]]: ...


@runtime_checkable
class _HasNotifyTrigger(Protocol):
    """A store that others fill behind its back, and that can be made to notice."""

    def switch_notify_trigger(self, on: bool, *, dry_run: bool) -> list[tuple[str, str]]: ...


def _trigger_switch(store: Store, on: bool | None) -> _Switch:
    """Return what makes the trigger as wanted and says the (name, SQL) of what it did."""
    if on is None:
        return lambda *, dry_run: []
    if isinstance(store, _HasNotifyTrigger):
        return partial(store.switch_notify_trigger, on)
    option = "--with-notify-trigger" if on else "--without-notify-trigger"
    raise UsageError(
        f"a {type(store).__name__} can have no notify trigger, which only PostgreSQL has: "
        f"migrate it without {option} (notify_trigger={on})"
    )


def _from_entry_points(scheme: str) -> Opener:
    # Imported here: it takes a third of the time of `import simpleworkflow`.
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=scheme):
        opener: Opener = entry_point.load()
        return opener
    known = sorted({*_OPENERS, *entry_points(group=ENTRY_POINT_GROUP).names})
    raise UsageError(f"no backend for {scheme}://: known are {', '.join(known)}")


def _shown(value: object) -> str:
    # What was meant as a URL may hold a password: show its kind, or its beginning at most.
    return "None" if value is None else f"a {type(value).__name__} that is not a URL"
