"""`simpleworkflow stats`: how the runs of each type stand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from simpleworkflow import Operator, TypeStats
from simpleworkflow.cli.errors import MisuseError
from simpleworkflow.cli.options import json_option, store_option
from simpleworkflow.cli.output import new_console, print_json, print_rows, table

REFRESH = 2
"""Seconds from one look to the next."""

NOTHING = "no runs wait, and none ended within the last hour"
ESTIMATE = "what ended is an estimate, from the newest 50,000 events"


@click.command("stats")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C, on a terminal.")
@json_option
@store_option
def command(store: str, is_json: bool, watch: bool) -> None:
    """Show how the runs of each type stand.

    \b
    due        waiting, and could run now
    scheduled  waiting for their time or their next attempt
    oldest due how long the first of those that are due has been so
    ended      succeeded or failed, within the last minute and the last hour
    """
    console = new_console()
    can_redraw = console.is_terminal and not console.is_dumb_terminal
    if watch and (is_json or not can_redraw):
        raise MisuseError(
            "--watch needs a terminal that can redraw, and no --json: leave it out to look once"
        )
    with Operator(store) as operator:
        if watch:
            _watch(operator, console)
        else:
            _tell(operator.stats(), is_json)


def _tell(found: Sequence[TypeStats], is_json: bool) -> None:
    if is_json:
        print_json([_as_json(stats) for stats in found])
        return
    print_rows([_as_row(stats) for stats in found], is_json=False, nothing=NOTHING)
    if any(stats.is_estimate for stats in found):
        click.echo(ESTIMATE)


def _watch(operator: Operator, console: Console) -> None:
    """Show the same again and again, in the same place."""
    # Ctrl-C is the usual way to end it.
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_drawn(operator.stats()), refresh=True)
            time.sleep(REFRESH)


def _drawn(found: Sequence[TypeStats]) -> Group:
    rows = [_as_row(stats) for stats in found]
    notes = [NOTHING] * (not rows) + [ESTIMATE] * any(stats.is_estimate for stats in found)
    now = Text(f"{datetime.now():%H:%M:%S}, Ctrl-C ends it")
    return Group(now, *([table(rows)] if rows else []), *map(Text, notes))


def _as_row(stats: TypeStats) -> Mapping[str, object]:
    return {
        "type": stats.type,
        "due": stats.due,
        "scheduled": stats.scheduled,
        "leased": stats.leased,
        "oldest_due": stats.oldest_due,
        "ended_in_1m": stats.ended_last_minute,
        "in_1h": stats.ended_last_hour,
        "failed_in_1h": stats.failed_last_hour,
    }


def _as_json(stats: TypeStats) -> Mapping[str, object]:
    return {
        "type": stats.type,
        "due": stats.due,
        "scheduled": stats.scheduled,
        "leased": stats.leased,
        "oldest_due": stats.oldest_due,
        "ended_last_minute": stats.ended_last_minute,
        "ended_last_hour": stats.ended_last_hour,
        "failed_last_hour": stats.failed_last_hour,
        "is_estimate": stats.is_estimate,
    }
