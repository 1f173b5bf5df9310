"""Loads the SQL files: one statement each, named as the Store method that sends it.

Those named `asked_…` are parts: what a statement is asked to do, in the forms in which it may come.
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
        name: the file's name without `.sql`; for one with a place `{asked}`, that of the file which
            fills it, after a colon: `settle:asked_successes`.
        quoted_schema: the schema as a quoted identifier, which alone is ever put into SQL.
    """
    whole, _, part = name.partition(":")
    source = _read(whole).replace("{asked}", _read(part) if part else "")
    # Comments stay in the file: what is sent each time is kept short.
    return _COMMENT.sub("", source).replace("{schema}", quoted_schema).strip()


def _read(name: str) -> str:
    return files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
