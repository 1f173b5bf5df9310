"""A simpleworkflow backend that keeps runs in an SQLite file: `sqlite:///path/to/runs.db`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from simpleworkflow import UsageError
from simpleworkflow_sqlite.store import SqliteStore

__all__ = ["SqliteStore", "open_sqlite"]


def open_sqlite(url: str, *, clock: Callable[[], datetime] | None = None) -> SqliteStore:
    """Open the store of a URL; this is what the entry point names.

    Raises:
        UsageError: the URL names no file.
    """
    parts = urlsplit(url)
    if parts.netloc or not parts.path.strip("/"):
        raise UsageError("an SQLite URL names a file, such as sqlite:///var/lib/app/runs.db")
    return SqliteStore(Path(unquote(parts.path)), clock=clock)
