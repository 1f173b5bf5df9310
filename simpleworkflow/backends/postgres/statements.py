"""Loads the SQL files: one statement each, named as the Store method that sends it."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)


@cache
def load(name: str, quoted_schema: str) -> str:
    """Return the statement `name` with the schema filled in, its `:name` parameters as they are.

    Args:
        name: the file's name without `.sql`.
        quoted_schema: the schema as a quoted identifier, which alone is ever put into SQL.
    """
    source = files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    # Comments stay in the file: what is sent each time is kept short.
    return _COMMENT.sub("", source).replace("{schema}", quoted_schema).strip()
