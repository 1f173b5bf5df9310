"""What commands print: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from io import TextIOWrapper

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, object]


def new_console() -> Console:
    """Return a console on standard output; what that cannot show becomes a question mark."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return Console(highlight=False)


def print_json(value: object) -> None:
    """Print a value as JSON: instants in ISO 8601, durations in seconds."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def print_rows(rows: Sequence[Row], *, is_json: bool, nothing: str = "nothing") -> None:
    """Print rows that have the same keys: a table with these as its heads, or a JSON list.

    Args:
        rows: what to print.
        is_json: JSON is wanted.
        nothing: the line that stands for an empty table.
    """
    if is_json:
        print_json(list(rows))
    elif rows:
        new_console().print(table(rows))
    else:
        click.echo(nothing)


def table(rows: Sequence[Row]) -> Table:
    """Return rows that have the same keys as a table, numbers to the right."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        is_number = all(isinstance(row[name], int | float | None) for row in rows)
        made.add_column(name.replace("_", " "), justify="right" if is_number else "left")
    for row in rows:
        made.add_row(*(Text(_shown(value)) for value in row.values()))
    return made


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
    if isinstance(value, timedelta):
        return str(timedelta(seconds=round(value.total_seconds())))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)
