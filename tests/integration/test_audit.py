"""What `tox -e audit` makes of what pip-audit says; the reports are in its own form."""

from __future__ import annotations

import json

import pytest
from audit import NOT_AUDITED, requirements, verdict

GOOD = {"name": "attrs", "version": "26.1.0", "vulns": []}
BAD = {
    "name": "rich",
    "version": "13.7.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["13.8"], "aliases": [], "description": "bad"}],
}
UNKNOWN = {"name": "click", "skip_reason": "Dependency not found on PyPI"}


def report(*packages: object) -> str:
    """A report of these packages."""
    return json.dumps({"dependencies": packages, "fixes": []})


def test_all_that_users_install_is_looked_up():
    """The base dependencies, psycopg among them, and pg8000; with their bounds."""
    names = [requirement.partition(">")[0] for requirement in requirements()]
    assert {"attrs", "psycopg[binary]", "pg8000"} <= set(names)


def test_nothing_known_is_fine():
    """And says how much was looked up."""
    assert verdict(report(GOOD), "") == (0, ["1 packages looked up, 0 vulnerabilities"])


@pytest.mark.parametrize("others", [[], [GOOD], [UNKNOWN], [UNKNOWN, GOOD]])
def test_a_vulnerability_fails(others):
    """It names the package and the version that mends it, whatever else was looked up."""
    exit_code, lines = verdict(report(*others, BAD), "Found 1 known vulnerability in 1 package")
    assert exit_code == 1
    assert "rich 13.7.0: PYSEC-1, mended in ['13.8']" in lines


def test_what_the_service_does_not_know_is_said():
    """One line names what was not looked up, and it fails nothing."""
    exit_code, lines = verdict(report(GOOD, UNKNOWN), "No known vulnerabilities found")
    assert exit_code == 0
    assert lines[-1] == f"{NOT_AUDITED} the service knows nothing of click"


@pytest.mark.parametrize(
    "complaint",
    [
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='pypi.org', port=443)",
        "pip_audit._service.interface.ServiceError",
        "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed",
    ],
)
def test_a_service_that_cannot_be_reached_is_said_in_one_line(complaint):
    """It fails nothing, and is not taken for a good answer."""
    exit_code, lines = verdict("", f"Traceback (most recent call last):\n  …\n{complaint}\n")
    assert (exit_code, len(lines)) == (0, 1)
    assert lines[0].startswith(NOT_AUDITED)
    assert complaint in lines[0]


@pytest.mark.parametrize("complaints", ["", "ERROR:pip_audit._cli:invalid requirement"])
def test_any_other_trouble_fails(complaints):
    """An audit that did not happen for a reason of ours is no audit."""
    exit_code, lines = verdict("", complaints)
    assert exit_code == 1
    assert lines == [f"pip-audit did not work: {complaints or 'it said nothing'}", complaints]
