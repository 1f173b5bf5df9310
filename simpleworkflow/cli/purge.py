"""`simpleworkflow purge`: delete runs that ended long ago."""

from __future__ import annotations

from datetime import timedelta

import click

from simpleworkflow import Operator, Status
from simpleworkflow.cli.durations import duration
from simpleworkflow.cli.options import json_option, store_option
from simpleworkflow.cli.output import new_console, print_json

ENDED = [Status.SUCCEEDED.value, Status.FAILED.value, Status.CANCELLED.value]


@click.command("purge", short_help="Delete runs that ended long ago.")
@click.option(
    "--older-than", type=duration, required=True, help="Ended so long ago or longer: 30d, 12h."
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(ENDED),
    help="Only runs that ended so. May be given several times; all three by default.",
)
@json_option
@store_option
def command(store: str, is_json: bool, older_than: timedelta, statuses: tuple[str, ...]) -> None:
    """Delete runs that ended long ago, and deleted ones, with their histories and keys.

    It works in small batches with rests between, so that workers hardly notice. What has not ended
    is never touched. Stopped halfway, it may be called again.
    """
    with Operator(store) as operator, new_console().status("") as status:
        count = operator.purge(
            older_than,
            statuses=statuses or ENDED,
            on_batch=lambda total: status.update(f"{total:,} runs deleted"),
        )
    if is_json:
        print_json({"deleted": count})
    else:
        click.echo(f"{count:,} runs deleted")
