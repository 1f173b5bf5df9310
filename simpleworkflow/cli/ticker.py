"""`simpleworkflow ticker`: fire schedules until stopped."""

from __future__ import annotations

import click

from simpleworkflow import Ticker
from simpleworkflow.cli.logs import log_to_stderr
from simpleworkflow.cli.options import log_options, store_option


@click.command("ticker")
@store_option
@log_options
def command(store: str, log_level: str, log_format: str) -> None:
    """Submit the runs of schedules, until SIGTERM or Ctrl-C.

    Every worker does so too; this is for where none is there, or they are told not to. Start as
    many as you like: each firing is submitted once.
    """
    log_to_stderr(log_level, log_format)
    Ticker(store).start()
