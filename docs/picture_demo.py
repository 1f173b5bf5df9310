"""Makes docs/demo.svg, what `simpleworkflow demo` shows: `python docs/picture_demo.py`."""

from __future__ import annotations

import html
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pexpect
from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

DOCUMENT = Path(__file__).with_name("demo.svg")

COLUMNS, ROWS = 104, 45
TIMEOUT = 120.0

IN_FULL = ("demo.invoice.v1", "demo.export.v1")
"""The types whose full history is in the picture."""

IN_SHORT = 2
"""How many of the histories in one line are."""

FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"

# rich names fonts that lie on the web, where a picture in a page may not look.
_FORMAT = (
    re.sub(r"@font-face \{\{.*?\}\}\s*|<!--.*?-->\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    .replace("Fira Code, monospace", FONTS)
    .replace("family: arial", "family: arial, sans-serif")
)

_HISTORY_IN_SHORT = re.compile(r"[0-9a-f]{8}  demo\.")
_HISTORY_IN_FULL = re.compile(r"(demo\.\S+)  [0-9a-f]{8}-")
_ID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4,12}){0,4}\b")
_FIGURE = re.compile(r"\d[\d.,]*|·")
_HIDE_CURSOR, _ERASE_LINE = "\x1b[?25l", "\x1b[2K"


def run_demo() -> str:
    """Run the demo in a terminal of its own, and return all that it sent there."""
    child = pexpect.spawn(
        sys.executable,
        ["-m", "simpleworkflow", "demo"],
        # Nothing else, so that the picture does not depend on who makes it.
        env={
            "PATH": os.environ["PATH"],
            "TMPDIR": tempfile.gettempdir(),
            "TERM": "xterm-256color",
            "PYTHONUTF8": "1",
        },
        encoding="utf-8",
        timeout=TIMEOUT,
        dimensions=(ROWS, COLUMNS),
    )
    with child:
        child.expect(pexpect.EOF)
    if child.exitstatus != 0:
        raise SystemExit(f"the demo failed: {child.before}")
    return str(child.before)


def picture(sent: str) -> str:
    """Return a picture of what the terminal was sent."""
    # The progress was drawn many times over: what follows the last erased line is what stayed.
    lines = sent.partition(_HIDE_CURSOR)[0] + sent.rpartition(_ERASE_LINE)[2]
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in _shortened([Text.from_ansi(line) for line in lines.splitlines()]):
        console.print(line, no_wrap=True, overflow="ellipsis")
    return console.export_svg(title="simpleworkflow demo", code_format=_FORMAT, unique_id="demo")


def lines_of(svg: str) -> list[str]:
    """Return the text of a picture, with single spaces."""
    texts = re.findall(r'<text class="demo-r[^>]* y="([^"]+)"[^>]*>([^<]*)</text>', svg)
    lines = [" ".join(text for _, text in line) for _, line in groupby(texts, itemgetter(0))]
    return [" ".join(html.unescape(line).split()) for line in lines]


def shape(svg: str) -> list[str]:
    """Return the text without what differs from demo to demo: ids and figures."""
    nameless = [_ID.sub("ID", line) for line in lines_of(svg)]
    return [_FIGURE.sub("0", line) for line in nameless]


def _shortened(lines: Sequence[Text]) -> Iterator[Text]:
    """Yield what the picture shows, and how much is left out where something is."""
    marked = zip(_are_shown(lines), lines, strict=True)
    for is_shown, stretch in groupby(marked, itemgetter(0)):
        found = [line for _, line in stretch]
        yield from found if is_shown else [Text(f"⋮ {len(found)} lines more", "dim")]


def _are_shown(lines: Sequence[Text]) -> Iterator[bool]:
    """Yield of each line whether it is in the picture: most histories are not."""
    is_shown, in_short = True, 0
    for line in lines:
        if _HISTORY_IN_SHORT.match(line.plain):
            in_short += 1
            is_shown = in_short <= IN_SHORT
        elif full := _HISTORY_IN_FULL.match(line.plain):
            is_shown = full[1] in IN_FULL
        elif line.plain == "What happened":
            is_shown = True
        yield is_shown


if __name__ == "__main__":
    DOCUMENT.write_text(picture(run_demo()), encoding="utf-8")
