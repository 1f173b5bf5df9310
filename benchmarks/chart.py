"""Draws the figures that one wants to see side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from benchmarks import systems
from benchmarks.records import Record, Results
from benchmarks.report import number

NAME = "chart.svg"

OURS, OTHERS, FLOOR = "#2b6cb0", "#a0aec0", "#2d3748"

STYLE = {
    # A ground of its own: pages that show it may be dark.
    "savefig.facecolor": "#f6f8fa",
    "axes.facecolor": "#f6f8fa",
    "font.size": 9,
    # Text stays text, so that a test can read it; the same figures give the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "simpleworkflow",
}

UNTOLD = dict.fromkeys(("Creator", "Date", "Format", "Type"))
"""What matplotlib would say of itself in the file."""

PANELS = (
    ("drain", "drain", "Drain: runs settled per second"),
    ("latency", "p50", "Latency: ms to the start"),
    ("submit", "single", "Single submits per second"),
    ("submit", "bulk", "Bulk submits per second"),
)

Panel = tuple[str, list[Record]]

_SHOWN = {"statistics": "never", "executor": "class", "concurrency": 1}
"""Of our own many drains, the usual ones are drawn."""


def draw(everything: Sequence[Results], folder: Path) -> Path | None:
    """Draw what is there into the folder; None when nothing is, or matplotlib is not installed."""
    panels = panels_of(everything)
    if not panels:
        return None
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("svg")
    from matplotlib import pyplot

    path = folder / NAME
    with pyplot.rc_context(STYLE):
        _figure(pyplot, panels).savefig(path, metadata=UNTOLD)
        pyplot.close()
    return path


def panels_of(everything: Sequence[Results]) -> list[Panel]:
    """Return what is drawn: titles, and the bars below each."""
    records = [record for results in everything for record in results.records]
    return [(title, bars) for *what, title in PANELS if (bars := _bars(records, *what))]


def _figure(pyplot: Any, panels: Sequence[Panel]) -> Any:
    """Two panels beside each other, as wide as a README."""
    rows = [panels[i : i + 2] for i in range(0, len(panels), 2)]
    heights = [0.5 + 0.2 * max(len(bars) for _, bars in row) for row in rows]
    figure, axes = pyplot.subplots(
        len(rows), 2, figsize=(9, sum(heights)), height_ratios=heights, squeeze=False
    )
    for axis, panel in zip_longest(axes.flat, panels):
        if panel is None:
            axis.set_axis_off()
        else:
            _draw_panel(axis, *panel)
    figure.tight_layout(pad=1.2)
    return figure


def _bars(records: Sequence[Record], measure: str, metric: str) -> list[Record]:
    found = [
        record
        for record in records
        if record.measure == measure and record.metric == metric and record.value is not None
        if all(record.settings.get(key, usual) == usual for key, usual in _shown(record))
    ]
    is_rate = bool(found) and found[0].unit.endswith("/s")
    return sorted(found, key=lambda record: record.value or 0, reverse=not is_rate)


def _shown(record: Record) -> Sequence[tuple[str, object]]:
    return list(_SHOWN.items()) if record.system == systems.OURS.name else [("statistics", "never")]


def _draw_panel(axis: Any, title: str, bars: Sequence[Record]) -> None:
    drawn = axis.barh(
        [short_name(record) for record in bars],
        [record.value for record in bars],
        color=[_colour(record) for record in bars],
    )
    axis.bar_label(drawn, labels=[number(record.value or 0) for record in bars], padding=3)
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axis.margins(x=0.3)
    # Each bar says its figure.
    axis.xaxis.set_visible(False)
    axis.tick_params(left=False)
    axis.spines[:].set_visible(False)


def short_name(record: Record) -> str:
    """Name a system in as few words as tell it from the others of its panel."""
    settings = record.settings
    words = [record.system]
    if driver := settings.get("driver"):
        words.append("in memory" if driver == "memory" else str(driver))
    if settings.get("foreign key"):
        words.append("foreign key")
    if settings.get("wake-ups") is False:
        words.append("no wake-ups")
    return ", ".join(words)


def _colour(record: Record) -> str:
    return {systems.OURS.name: OURS, systems.FLOOR.name: FLOOR}.get(record.system, OTHERS)
