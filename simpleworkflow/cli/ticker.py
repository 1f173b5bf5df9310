"""`simpleworkflow ticker`: fire schedules until stopped."""

from __future__ import annotations

import logging

import click

from simpleworkflow import Ticker
from simpleworkflow.cli.options import store_option


@click.command("ticker")
@store_option
def command(store: str) -> None:
    """Submit the runs of schedules, until SIGTERM or Ctrl-C.

    Every worker does so too; this is for where none is there, or they are told not to. Start as
    many as you like: each firing is submitted once.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    Ticker(store).start()
