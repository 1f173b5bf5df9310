"""Finds the poller that an import string names, such as `shop.work:poller`."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from simpleworkflow import IntentPoller, StoreError, UsageError

_TARGET = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)(\(\))?")
_OURS = Path(__file__).parents[1]


def load_poller(target: str, options: Mapping[str, Any]) -> IntentPoller:
    """Return the poller that MODULE:NAME names, with these options in place of its own.

    NAME is an IntentPoller or a callable that returns one. The current folder is searched first.

    Raises:
        UsageError: there is no such poller, its module or function fails, or an option cannot be.
        StoreError: the module or the function has met a store that fails.
    """
    parts = _TARGET.fullmatch(target)
    if parts is None:
        raise UsageError(
            f"{target!r} names no poller: write MODULE:NAME, such as shop.work:poller, where NAME "
            "is an IntentPoller or a function that returns one"
        )
    found = _attribute(_module(parts["module"]), parts["name"])
    if not isinstance(found, IntentPoller) and callable(found):
        what = f"{parts['module']}:{parts['name']}()"
        found = _tried(found, f"{what} failed")
    else:
        what = f"{parts['module']}:{parts['name']}"
    if not isinstance(found, IntentPoller):
        raise UsageError(
            f"{what} is of the type {type(found).__name__}: it must be an IntentPoller, or a "
            "function that returns one"
        )
    # A poller as it was made answers to what its module does with it, such as stop().
    return found.with_options(**options) if options else found


def _module(name: str) -> ModuleType:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: ModuleType = _tried(lambda: import_module(name), f"{name} cannot be imported")
    except UsageError as exc:
        missing = exc.__cause__.name if isinstance(exc.__cause__, ModuleNotFoundError) else None
        # Any other module that is missing is one which this module asks for.
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise UsageError(
                f"there is no module {missing}, neither in {folder} nor elsewhere on Python's path"
            ) from exc
        raise
    return found


def _attribute(module: ModuleType, name: str) -> object:
    try:
        return getattr(module, name)
    except AttributeError:
        pollers = [key for key, value in vars(module).items() if isinstance(value, IntentPoller)]
        hint = f"; its pollers are: {', '.join(pollers)}" if pollers else ""
        raise UsageError(f"the module {module.__name__} has no {name!r}{hint}") from None


def _tried(function: Callable[[], Any], what: str) -> Any:
    """Call a user's function; what it raises is told with the place, in one sentence."""
    try:
        return function()
    except StoreError:
        raise
    except Exception as exc:
        raise UsageError(f"{what}: {type(exc).__name__}: {exc}{_place(exc)}") from exc


def _place(error: Exception) -> str:
    """Return where in the user's own files it was raised, as far as there is such a place."""
    if isinstance(error, SyntaxError):
        return ""  # It tells its place itself.
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _is_users(filename: str) -> bool:
    path = Path(filename)
    libraries = {"site-packages", "dist-packages"}.intersection(path.parts)
    is_others = path.is_relative_to(_OURS) or path.is_relative_to(sysconfig.get_path("stdlib"))
    return not (filename.startswith("<") or libraries or is_others)
