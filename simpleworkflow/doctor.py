"""What an operator asks when something seems wrong: how is the database, and who is at work."""

from __future__ import annotations

from simpleworkflow.backends.registry import open_store
from simpleworkflow.core.doctor import Finding
from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.store import Examinable, Store


def examine(url_or_store: str | Store) -> list[Finding]:
    """Look at a database, its tables and those who work with them; change nothing.

    Args:
        url_or_store: as for `open_store`.

    Returns:
        One finding for each thing that was looked at, healthy or not, always in the same order;
        what the role may not see is a finding that says so. None for `memory://`, where there is
        nothing to look at.

    Raises:
        UsageError: the URL names no store that can be opened, or the store cannot be examined.
        StoreUnavailable: the database cannot be reached.
    """
    store = open_store(url_or_store)
    try:
        if not isinstance(store, Examinable):
            raise UsageError(f"{store!r} cannot be examined: it has no method `examine`")
        return store.examine()
    finally:
        if store is not url_or_store:
            store.close()
