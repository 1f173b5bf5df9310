"""What commands print, compared with files that somebody has read and found good.

`SIMPLEWORKFLOW_TEST_GOLDEN=write` writes the files anew in place of comparing: read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).with_name("golden")
VARIABLE = "SIMPLEWORKFLOW_TEST_GOLDEN"


def check_golden(name: str | Path, shown: str) -> None:
    """Compare a text with the file of this name in tests/golden, blanks at ends of lines aside."""
    path = FOLDER / name
    text = "".join(f"{line.rstrip()}\n" for line in shown.splitlines())
    if os.environ.get(VARIABLE) == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    stale = f"{path.name} is not what is printed now: read it, then set {VARIABLE}=write"
    assert text == path.read_text(encoding="utf-8"), stale
