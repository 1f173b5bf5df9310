"""Writes the outcomes of the faults into docs/reliability.md: `python -m faults.report FILE`."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from faults.arena import Outcome
from faults.scenarios import FAULTS

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
DOCUMENT = HERE.parents[2] / "docs/reliability.md"
START, END = "<!-- fault matrix -->\n", "<!-- end of fault matrix -->"

HEAD = (
    "| fault | lasted, s | runs | of them `failed` | settled/s before | while it lasted "
    "| all back after, s | did not hold |"
)


def save(path: Path, server: str, outcomes: Mapping[tuple[str, str], Outcome]) -> None:
    """Write outcomes by (fault, driver), with where and when they came about."""
    found = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "python": platform.python_version(),
        "server": server,
        "cores": os.cpu_count(),
        "outcomes": [
            {"fault": fault, "driver": driver, **attrs.asdict(outcome)}
            for (fault, driver), outcome in outcomes.items()
        ],
    }
    path.write_text(json.dumps(found, indent=1) + "\n")


def table(path: Path = RESULTS) -> str:
    """Return the table of what was saved: one line a fault, a figure a driver."""
    found = json.loads(path.read_text())
    by_fault: dict[str, list[dict[str, Any]]] = {}
    for outcome in found["outcomes"]:
        by_fault.setdefault(outcome["fault"], []).append(outcome)
    drivers = [outcome["driver"] for outcome in next(iter(by_fault.values()))]
    where = (
        f"Figures are those of {' / '.join(drivers)}, taken on {found['date']}: PostgreSQL "
        f"{found['server']}, Python {found['python']}, {found['cores']} cores."
    )
    lines = [_line(fault, outcomes) for fault, outcomes in by_fault.items()]
    rule = "|" + " --- |" * (HEAD.count("|") - 1)
    return "\n".join([where, "", HEAD, rule, *lines, ""])


def write(path: Path = RESULTS) -> None:
    """Put the table into the document."""
    before, start, rest = DOCUMENT.read_text().partition(START)
    _, end, after = rest.partition(END)
    DOCUMENT.write_text(before + start + table(path) + end + after)


def _line(fault: str, outcomes: Sequence[Mapping[str, Any]]) -> str:
    def of(name: str, form: str) -> str:
        return " / ".join(format(outcome[name], form) for outcome in outcomes)

    wrong = "; ".join(problem for outcome in outcomes for problem in outcome["wrong"]) or "—"
    cells = [
        FAULTS[fault].title,
        *(of("lasted", ".1f"), of("runs", ","), of("failed", ",")),
        *(of("before", ".0f"), of("during", ".0f"), of("recovery", ".1f"), wrong),
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)
