"""`simpleworkflow doctor`: look at the database, and say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from simpleworkflow import Finding, Level, examine
from simpleworkflow.cli.options import json_option, store_option
from simpleworkflow.cli.output import print_json, print_rows

EXIT_CODES = {Level.CRITICAL: 4, Level.WARNING: 3}
"""The worst first. 1 and 2 are a failure and a misuse, as of every command."""

NOTHING = "nothing to examine: this store has no database behind it"


@click.command("doctor")
@store_option
@json_option
@click.option(
    "--fail-on",
    type=click.Choice(["warning", "critical"]),
    default="warning",
    show_default=True,
    help="From which level on the exit code says so.",
)
@click.pass_context
def command(ctx: click.Context, store: str, is_json: bool, fail_on: str) -> None:
    """Look at the database and its workers, and say what to do.

    Nothing is changed. The operator's role of `simpleworkflow grants` sees most of it.

    \b
    Exit codes, for monitoring:
      0  nothing that --fail-on asks for
      1  the database cannot be reached
      2  the command was misused
      3  a warning: something will become trouble
      4  critical: runs are not executed, or soon will not be
    """
    findings = examine(store)
    show(findings, is_json=is_json)
    ctx.exit(_exit_code(findings, fail_on))


def show(findings: Sequence[Finding], *, is_json: bool) -> None:
    """Print findings: a table for people, a list for programs."""
    if is_json:
        print_json([_as_json(finding) for finding in findings])
    else:
        rows = [row for finding in findings for row in _as_rows(finding)]
        print_rows(rows, is_json=False, nothing=NOTHING)


def _as_json(finding: Finding) -> dict[str, object]:
    return {
        "name": finding.name,
        "level": finding.level,
        "seen": finding.seen,
        "advice": finding.advice,
    }


def _as_rows(finding: Finding) -> Iterator[dict[str, object]]:
    yield {"level": finding.level, "looked_at": finding.name, "seen": finding.seen}
    if finding.advice:
        yield {"level": "", "looked_at": "", "seen": f"→ {finding.advice}"}


def _exit_code(findings: Sequence[Finding], fail_on: str) -> int:
    levels = {finding.level for finding in findings}
    for level, code in EXIT_CODES.items():
        if level in levels:
            return code
        if level == fail_on:
            break
    return 0
