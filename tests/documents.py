"""Reads the code blocks of Markdown documents, so that tests can run what readers will type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).resolve().parents[1]

_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<source>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        path: the document it stands in.
        heading: the title above it.
        language: what stands behind the fence.
        source: its text.
        line: the number of its first line in the document.
    """

    path: Path
    heading: str
    language: str
    source: str
    line: int

    def code(self) -> CodeType:
        """The compiled block; a traceback shows the document's own lines."""
        source = "\n" * (self.line - 1) + self.source
        # Not with the annotations of this file, which are text.
        return compile(source, str(self.path), "exec", dont_inherit=True)


def blocks_in(path: Path, *languages: str) -> list[Block]:
    """Return the blocks of these languages in the order of the document; of any when none given."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        if languages and match["language"] not in languages:
            continue
        before = text[: match.start()]
        # A "#" inside of an earlier block is a comment there.
        headings = _HEADING.findall(_BLOCK.sub("", before))
        line = before.count("\n") + 2
        source = match["source"]
        found.append(Block(path, headings[-1] if headings else "", match["language"], source, line))
    return found
