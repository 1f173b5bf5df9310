"""What the processes of the harness write down: one line a fact, in one file that all append to."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

LEASE = 3
"""Seconds of a lease here: short, so that a dead worker's runs are soon taken over."""

POLL_INTERVAL = 0.5


class Fact(NamedTuple):
    """What somebody did: when (all processes of a machine share this clock), who, and what."""

    at: float
    who: str
    what: str
    words: tuple[str, ...]


class Pen:
    """Writes facts down, each as a whole line, whichever thread and process it comes from."""

    def __init__(self, folder: Path, who: str) -> None:
        self._file = os.open(_book(folder), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._who = who

    def __call__(self, what: str, *words: object) -> None:
        """Write one down."""
        line = " ".join(map(str, (f"{time.monotonic():.6f}", self._who, what, *words)))
        os.write(self._file, f"{line}\n".encode())


class Book:
    """Reads what was written down so far."""

    def __init__(self, folder: Path) -> None:
        self._path = _book(folder)
        self._read = 0
        self._facts: list[Fact] = []

    def facts(self, what: str | None = None) -> list[Fact]:
        """Return all facts of a kind, the first written first."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                # Its last line may be about to be written.
                whole = file.read().rpartition(b"\n")[0]
            self._read += len(whole) + bool(whole)
            for line in whole.decode().splitlines():
                at, who, kind, *words = line.split(" ")
                self._facts.append(Fact(float(at), who, kind, tuple(words)))
        return [fact for fact in self._facts if what in (None, fact.what)]


def killing(folder: Path) -> Path:
    """Return the file whose presence makes workers die between an effect and its settlement."""
    return folder / "killing"


def _book(folder: Path) -> Path:
    return folder / "facts"
