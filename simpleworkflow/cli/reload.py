"""Tells when Python files change, for development; by watchfiles, the extra `reload`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from simpleworkflow import UsageError

LOOK_INTERVAL_MS = 500


@contextmanager
def watching(folders: Iterable[str], tell: Callable[[list[str]], None]) -> Iterator[None]:
    """Call `tell` with the files whenever some change in these folders or below, on a thread.

    Raises:
        UsageError: watchfiles is not installed.
    """
    try:
        import watchfiles
    except ImportError as exc:
        raise UsageError("--reload needs watchfiles: pip install 'simpleworkflow[reload]'") from exc
    # What it logs of each change says less than what we do.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    stop = threading.Event()
    looks = watchfiles.watch(
        *folders,
        watch_filter=watchfiles.PythonFilter(),
        stop_event=stop,
        rust_timeout=LOOK_INTERVAL_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    # The first look begins the watch: no change after this is missed.
    next(looks)

    def watch() -> None:
        for changes in looks:
            if changes:
                tell(sorted({Path(path).name for _, path in changes}))

    thread = threading.Thread(target=watch, name="simpleworkflow-reload", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
