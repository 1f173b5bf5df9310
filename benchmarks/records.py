"""What measuring gives: one record for each figure, kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from attrs import asdict, evolve, frozen

Setting = str | int | float | bool


class BenchmarkError(Exception):
    """A system could not be measured, or did not do what it was to do; the message says why."""


@frozen
class Record:
    """One figure of one system.

    Attributes:
        measure: the measurement, which is the name of its module.
        system: what was measured.
        settings: in which settings.
        metric: what about it, such as `drain` or `p99`.
        unit: what the figure counts; more is better where it ends in `/s`.
        value: the median of the rounds; None when it could not be measured.
        rounds: the figure of each round.
        compared_with: the system and the settings that `ratio` is about.
        ratio: the median of the rounds' own ratios.
        note: why there is no value, or what a reader must know.
    """

    measure: str
    system: str
    settings: Mapping[str, Setting]
    metric: str
    unit: str
    value: float | None
    rounds: tuple[float, ...] = ()
    compared_with: str = ""
    ratio: float | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The system with its settings, in one line."""
        settings = ", ".join(f"{key} {value}" for key, value in self.settings.items())
        return f"{self.system} ({settings})" if settings else self.system

    def compared(self, other: Record) -> Record:
        """Return it with its ratio to another record of the same rounds."""
        return evolve(self, compared_with=other.name, ratio=ratio_of(self.rounds, other.rounds))

    def is_of(self, system: str, metric: str, settings: Mapping[str, Setting]) -> bool:
        """Say whether it is that figure; settings that are not named may be any."""
        return (
            self.system == system
            and self.metric == metric
            and all(self.settings.get(key) == value for key, value in settings.items())
        )


def ratio_of(ours: tuple[float, ...], theirs: tuple[float, ...]) -> float | None:
    """Return how one figure stands to another, by rounds: a machine that slows slows both."""
    if not ours or not theirs:
        return None
    if len(ours) == len(theirs) and all(theirs):
        return median(one / two for one, two in zip(ours, theirs, strict=True))
    return median(ours) / median(theirs) if median(theirs) else None


@frozen
class Results:
    """The records of a measurement, and how they came about."""

    measure: str
    circumstances: Mapping[str, Setting]
    records: tuple[Record, ...]

    def save(self, folder: Path) -> Path:
        """Write them to the folder's file for this measurement."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.measure}.json"
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")
        return path


def load_all(folder: Path) -> list[Results]:
    """Read what was saved, in the order of the names."""
    return [_read(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


def _read(saved: dict[str, Any]) -> Results:
    records = tuple(
        Record(**{**record, "rounds": tuple(record["rounds"])}) for record in saved["records"]
    )
    return Results(saved["measure"], saved["circumstances"], records)


def find(
    records: Iterable[Record], measure: str, system: str, metric: str, **settings: Setting
) -> Record | None:
    """Return the first record of this figure."""
    found: Iterator[Record] = (
        record
        for record in records
        if record.measure == measure and record.is_of(system, metric, settings)
    )
    return next(found, None)
