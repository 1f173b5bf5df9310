"""The document says what was seen."""

from __future__ import annotations

from faults.report import DOCUMENT, END, START, table


def test_the_document_has_the_saved_outcomes():
    """`python -m faults.report` writes the table; this fails when it is stale."""
    assert START + table() + END in DOCUMENT.read_text()
