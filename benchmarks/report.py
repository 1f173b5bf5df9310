"""Shows what was measured: tables for the terminal, and the same ones in the documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.goals import GOALS
from benchmarks.records import Record, Results
from benchmarks.systems import ROOT

DOCUMENTS = (ROOT / "docs" / "performance.md", ROOT / "docs" / "reliability.md")

_PLACE = re.compile(
    r"(?P<begin><!-- figures: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end of figures -->)", re.DOTALL
)

GOAL_COLUMNS = ("goal", "wanted", "measured", "reached")

WIDTH = 150
"""Of a table that is not shown in a terminal."""

Row = tuple[str, ...]


def new_console() -> Console:
    """Return where tables go: wide enough for them where that is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def print_results(console: Console, results: Results) -> None:
    """Print a measurement's table."""
    console.print(_table(results.measure, *table_of(results.records)))


def print_goals(console: Console, records: Sequence[Record]) -> None:
    """Print which goals these records reach; those that they say nothing of are left out."""
    judged = [row for row in goal_rows(records) if row[-1]]
    if judged:
        console.print(_table("goals", GOAL_COLUMNS, judged))


def write_documents(everything: Sequence[Results], chart: Path | None) -> None:
    """Write all tables between the marks of the documents that bear their names."""
    records = [record for results in everything for record in results.records]
    parts = {results.measure: _markdown(*table_of(results.records)) for results in everything}
    parts["goals"] = _markdown(GOAL_COLUMNS, goal_rows(records))
    parts["circumstances"] = _circumstances(everything)
    if chart is not None:
        parts["chart"] = f"![The figures as bars](../{chart.relative_to(ROOT)})\n"

    def fill(place: re.Match[str]) -> str:
        part = parts.get(place["name"], "Not measured yet.\n")
        return f"{place['begin']}{part}{place['end']}"

    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        document.write_text(_PLACE.sub(fill, text), encoding="utf-8")


def table_of(records: Sequence[Record]) -> tuple[Row, list[Row]]:
    """Return the columns and the rows of a measurement: a row a system, a column a metric."""
    metrics = list(dict.fromkeys((record.metric, record.unit) for record in records))
    systems: dict[str, dict[str, Record]] = {}
    for record in records:
        systems.setdefault(record.name, {})[record.metric] = record
    heads = [unit if metric in unit else f"{metric}, {unit}" for metric, unit in metrics]
    rows = [
        (name, *(_figure(found.get(metric)) for metric, _ in metrics), *_comparison(found))
        for name, found in systems.items()
    ]
    return ("system", *heads, "ratio", "to", "note"), rows


def _figure(record: Record | None) -> str:
    if record is None:
        return ""
    if record.value is None:
        return "–"
    spread = _spread(record)
    return f"{number(record.value)} {spread}" if spread else number(record.value)


def _spread(record: Record) -> str:
    """Return how far the rounds lie apart, as a share of their median."""
    if len(record.rounds) < 2 or not record.value:
        return ""
    return f"±{50 * (max(record.rounds) - min(record.rounds)) / abs(record.value):.0f} %"


def _comparison(found: Mapping[str, Record]) -> Row:
    ratios = [f"{one.ratio:.2f}" for one in found.values() if one.ratio is not None]
    compared = next((one.compared_with for one in found.values() if one.compared_with), "")
    note = next((one.note for one in found.values() if one.note), "")
    return " / ".join(ratios), compared, note


def goal_rows(records: Sequence[Record]) -> list[Row]:
    """Return one row a goal, in the order of GOAL_COLUMNS."""
    rows: list[Row] = []
    for goal in GOALS:
        figure = goal.figure(records)
        reached = "" if figure is None else ("yes" if goal.is_reached(figure) else "no")
        rows.append((goal.text, goal.limit, "–" if figure is None else number(figure), reached))
    return rows


def number(value: float) -> str:
    """Write a number with as many digits as mean something."""
    if value == int(value) and abs(value) < 1_000:
        return str(int(value))
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _table(title: str, columns: Row, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        is_number = column not in ("system", "to", "note", "goal", "wanted", "reached")
        table.add_column(column, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _markdown(columns: Row, rows: Sequence[Row]) -> str:
    used = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    lines = [[columns[i] for i in used], ["---"] * len(used)]
    lines += [[row[i].replace("|", "\\|") for i in used] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _circumstances(everything: Sequence[Results]) -> str:
    names = list(dict.fromkeys(name for one in everything for name in one.circumstances))
    rows = [
        (one.measure, *(str(one.circumstances.get(name, "")) for name in names))
        for one in everything
    ]
    return _markdown(("measurement", *names), rows)
