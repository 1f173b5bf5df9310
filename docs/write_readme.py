"""Writes the figures and tables of README.md from saved results: `python docs/write_readme.py`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# At the end, so that the library itself is the installed one.
sys.path.extend(
    str(Path(__file__).parents[1] / place) for place in ("", "tests/integration", "tests")
)

from faults.report import RESULTS as FAULT_MATRIX
from faults.scenarios import FAULTS

from benchmarks.chart import NAME as CHART
from benchmarks.goals import USUAL
from benchmarks.records import Record, Results, Setting, find, load_all, ratio_of
from benchmarks.report import number
from benchmarks.systems import FLOOR, OURS, ROOT

DOCUMENT = ROOT / "README.md"
BENCHMARKS = ROOT / "benchmarks/results"

_PLACE = re.compile(
    r"(?P<begin><!-- figures: (?P<name>\w+) -->\n).*?(?P<end><!-- end of figures -->)",
    re.DOTALL,
)


def document() -> str:
    """The whole of README.md, with its figures and tables anew."""
    everything = load_all(BENCHMARKS)
    matrix = json.loads(FAULT_MATRIX.read_text(encoding="utf-8"))
    parts = {"speed": speed(everything), "faults": faults(matrix), "peers": peers(everything)}
    text = DOCUMENT.read_text(encoding="utf-8")
    return _PLACE.sub(lambda place: place["begin"] + parts[place["name"]] + place["end"], text)


def speed(everything: Sequence[Results]) -> str:
    """The chart, and what it says in words."""
    records = _records(everything)
    drain = _ours(records, "drain", "drain", **USUAL)
    start = _ours(records, "latency", "p50", **{"wake-ups": True})
    single = _ours(records, "submit", "single")
    bulk = _ours(records, "submit", "bulk")
    floor = find(records, "latency", FLOOR.name, "p50")
    peer = _quickest_peer(records)
    where = next(results for results in everything if results.measure == "drain").circumstances
    return f"""\
![Runs settled per second, milliseconds from a submit to the start of its run, and submits per \
second, beside bare SQL and other libraries](benchmarks/results/{CHART})

- One worker process settles **{_figure(drain)} runs a second**: {_ratio(drain.ratio)} of what \
bare SQL does, the chart's *SQL floor*, and
  {_ratio(ratio_of(drain.rounds, peer.rounds))} times what {peer.system} does, the quickest of \
the others ({peer.note}).
- A run starts **{_figure(start)} ms** after its submit; with bare SQL, {_figure(floor)} ms.
- One producer submits **{_figure(single)} runs a second** one at a time, \
{_ratio(single.ratio)} of a bare INSERT, and {_figure(bulk)} in bulk, {_ratio(bulk.ratio)} of it.

Medians of runs that do nothing, taken on {str(where["when"]).split()[0]}: PostgreSQL \
{str(where["PostgreSQL"]).split()[0]}, Python {where["Python"]}, {where["cores"]} cores.
"""


def faults(matrix: Mapping[str, Any]) -> str:
    """One line for every fault, of both drivers together."""
    by_fault: dict[str, list[dict[str, Any]]] = {}
    for outcome in matrix["outcomes"]:
        by_fault.setdefault(outcome["fault"], []).append(outcome)
    head = ("what broke", "for, s", "runs", "of them `failed`", "all back after, s", "did not hold")
    lines = [
        (
            FAULTS[fault].title,
            f"{max(outcome['lasted'] for outcome in outcomes):.1f}",
            f"{sum(outcome['runs'] for outcome in outcomes):,}",
            f"{sum(outcome['failed'] for outcome in outcomes):,}",
            f"{max(outcome['recovery'] for outcome in outcomes):.1f}",
            "; ".join(problem for outcome in outcomes for problem in outcome["wrong"]) or "—",
        )
        for fault, outcomes in by_fault.items()
    ]
    drivers = " and ".join(dict.fromkeys(outcome["driver"] for outcome in matrix["outcomes"]))
    return _table(head, lines) + (
        f"\nThe runs of {drivers} together, and the longer of their times, taken on "
        f"{matrix['date']} on {matrix['cores']} cores.\n"
    )


def peers(everything: Sequence[Results]) -> str:
    """What each library got done, fault by fault."""
    done = [r for r in _records(everything) if (r.measure, r.metric) == ("faults", "done")]
    exited = [r for r in _records(everything) if (r.measure, r.metric) == ("faults", "exited")]
    kinds = list(dict.fromkeys(str(record.settings["fault"]) for record in done))
    lines = []
    for system in dict.fromkeys(record.system for record in done):
        cells = [_worst(done, system, kind) + _exits(exited, system, kind) for kind in kinds]
        lines.append((system, *cells, next(r.note for r in done if r.system == system)))
    settings = sum(record.system == OURS.name for record in done) // len(kinds)
    return _table((done[0].unit, *kinds, "its defaults"), lines) + (
        f"\nOf {OURS.name}, the least of {settings} settings.\n"
    )


def _worst(done: Sequence[Record], system: str, kind: str) -> str:
    return _figure(min(_struck(done, system, kind), key=lambda record: record.value or 0))


def _exits(exited: Sequence[Record], system: str, kind: str) -> str:
    most = max(record.value or 0 for record in _struck(exited, system, kind))
    return f"; {number(most)} workers exited" if most else ""


def _struck(records: Sequence[Record], system: str, kind: str) -> list[Record]:
    return [r for r in records if r.system == system and r.settings["fault"] == kind]


def _records(everything: Sequence[Results]) -> list[Record]:
    return [record for results in everything for record in results.records]


def _ours(records: Sequence[Record], measure: str, metric: str, **settings: Setting) -> Record:
    found = find(records, measure, OURS.name, metric, driver="psycopg", **settings)
    if found is None:
        raise SystemExit(f"benchmarks/results says nothing of {measure}, {metric}")
    return found


def _quickest_peer(records: Sequence[Record]) -> Record:
    drains = [record for record in records if (record.measure, record.metric) == ("drain", "drain")]
    peers = [record for record in drains if record.system not in (OURS.name, FLOOR.name)]
    return max(peers, key=lambda record: record.value or 0)


def _figure(record: Record | None) -> str:
    return "–" if record is None or record.value is None else number(record.value)


def _ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2g}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
