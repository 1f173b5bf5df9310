"""Looks for known vulnerabilities in what the package needs, by pip-audit: part of `tox -e audit`.

A vulnerability fails it. What cannot be looked up is said in one line and fails nothing, so that a
machine from which the service cannot be reached still runs everything else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
NOT_AUDITED = "NOT AUDITED for known vulnerabilities:"

UNREACHABLE = ("requests.exceptions.", "pip_audit._service.", "vulnerability feed")
"""What pip-audit's complaints have in them when its service, and not pip, gave no answer."""


def requirements() -> list[str]:
    """What users install: the base, and the other driver."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["pg8000"]]


def verdict(report: str, complaints: str) -> tuple[int, list[str]]:
    """The exit code and the lines to print for what pip-audit printed."""
    if not report:
        last = (complaints.strip().splitlines() or ["it said nothing"])[-1]
        if any(words in complaints for words in UNREACHABLE):
            return 0, [f"{NOT_AUDITED} the service cannot be reached: {last}"]
        return 1, [f"pip-audit did not work: {last}", complaints]
    packages = json.loads(report)["dependencies"]
    # A mirror of the package index answers "not found", which pip-audit takes for "nothing known".
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    found = [
        f"{package['name']} {package['version']}: {bad['id']}, mended in {bad['fix_versions']}"
        for package in packages
        for bad in package.get("vulns", [])
    ]
    lines = [f"{len(packages) - len(skipped)} packages looked up, {len(found)} vulnerabilities"]
    if skipped:
        lines.append(f"{NOT_AUDITED} the service knows nothing of {', '.join(skipped)}")
    return (1 if found else 0), [*lines, *found]


def main() -> int:
    """Look up and tell; return the exit code."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requirements()))
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--format", "json",
             "--progress-spinner", "off"],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
    exit_code, lines = verdict(done.stdout, done.stderr)
    print(*lines, sep="\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
