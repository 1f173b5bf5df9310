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
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Row = Mapping[str, object]
_WIDEST = 10_000
"""Columns that a row may take where no terminal limits it."""


def new_console(*, is_aside: bool = False) -> Console:
    """Return a console on standard output, or aside on standard error.

    What the stream cannot show becomes a question mark.
    """
    stream = sys.stderr if is_aside else sys.stdout
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="replace")
    return Console(highlight=False, stderr=is_aside)


def print_json(value: object) -> None:
    """Print a value as JSON: instants in ISO 8601, durations in seconds."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=_plain)
    if not text.isascii() and not _can_show(text):
        text = json.dumps(value, indent=2, default=_plain)
    click.echo(text)


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
        print_table(table(rows))
    else:
        click.echo(nothing)


def print_table(made: Table) -> None:
    """Print a table: as wide as the terminal, and into a file or a pipe with no row cut."""
    console = new_console()
    if not console.is_terminal:
        unlimited = console.options.update(max_width=_WIDEST)
        console.width = Measurement.get(console, unlimited, made).maximum
    console.print(made)


def table(rows: Sequence[Row]) -> Table:
    """Return rows that have the same keys as a table, numbers to the right."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in rows[0]:
        values = {type(row[name]) for row in rows} - {type(None)}
        is_number = bool(values) and values <= {int, float}
        # An id is there to be copied: in a narrow terminal the others give way.
        made.add_column(
            name.replace("_", " "),
            justify="right" if is_number else "left",
            no_wrap=name == "id",
            overflow="fold",
        )
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
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return one_line(str(value))


def one_line(text: str) -> str:
    """Return a text in one line, without what would steer the terminal: it may be anybody's."""
    words = " ".join(text.split())
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words
    )


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)
