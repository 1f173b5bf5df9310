"""Draws the figures that one wants to see side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import systems
from benchmarks.records import Record, Results

NAME = "chart.svg"

OURS, OTHERS, FLOOR = "#2b6cb0", "#a0aec0", "#2d3748"

PANELS = (
    ("drain", "drain", "Drain: runs settled per second"),
    ("latency", "p50", "Latency: ms from submit to start, median"),
    ("submit", "single", "Submit, one at a time: per second"),
    ("submit", "bulk", "Submit, 1,000 at a time: per second"),
)

_SHOWN = {"statistics": "never", "executor": "class", "concurrency": 1}
"""Of our own many drains, the usual ones are drawn."""


def draw(everything: Sequence[Results], folder: Path) -> Path | None:
    """Draw what is there into the folder; None when nothing is, or matplotlib is not installed."""
    records = [record for results in everything for record in results.records]
    panels = [(title, bars) for *what, title in PANELS if (bars := _bars(records, *what))]
    if not panels:
        return None
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("svg")
    # The same figures give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "simpleworkflow"
    from matplotlib import pyplot

    heights = [0.6 + 0.3 * len(bars) for _, bars in panels]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(9, sum(heights)), height_ratios=heights, squeeze=False
    )
    for (title, bars), axis in zip(panels, axes[:, 0], strict=True):
        _draw_panel(axis, title, bars)
    figure.tight_layout()
    path = folder / NAME
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


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
    names = [_short(record) for record in bars]
    values = [record.value for record in bars]
    drawn = axis.barh(names, values, color=[_colour(record) for record in bars])
    axis.bar_label(
        drawn, fmt="{:,.3g}" if max(v or 0 for v in values) < 1_000 else "{:,.0f}", padding=3
    )
    axis.set_title(title, loc="left", fontsize=10)
    axis.margins(x=0.12)
    axis.spines[["top", "right"]].set_visible(False)


def _short(record: Record) -> str:
    told = ("driver", "foreign key", "wake-ups")
    settings = [f"{key} {record.settings[key]}" for key in told if key in record.settings]
    return f"{record.system}, {', '.join(settings)}" if settings else record.system


def _colour(record: Record) -> str:
    return {systems.OURS.name: OURS, systems.FLOOR.name: FLOOR}.get(record.system, OTHERS)
