"""Loads the SQL files: one statement each, named as the Store method that sends it.

Those named `asked_…` are parts: what a statement is asked to do, in the forms in which it may come.
Those named `ready_…` are what comes before it is done.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")
"""A `:name` parameter of a statement, and no cast."""

_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)


@cache
def load(name: str, quoted_schema: str) -> str:
    """Return the statement `name` with the schema filled in, its `:name` parameters as they are.

    Args:
        name: the file's name without `.sql`; for one with a place such as `{asked}`, that of the
            file which fills it, after a colon: `submit:ready_keys`.
        quoted_schema: the schema as a quoted identifier, which alone is ever put into SQL.
    """
    whole, *parts = name.split(":")
    source = _read(whole)
    for part in parts:
        place = "{" + part.partition("_")[0] + "}"
        source = source.replace(place, _read(part))
    # Comments stay in the file: what is sent each time is kept short.
    return _COMMENT.sub("", source).replace("{schema}", quoted_schema).strip()


def _read(name: str) -> str:
    return files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
