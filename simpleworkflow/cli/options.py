"""Options that commands have in common: which store, JSON in place of a table, what to log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from simpleworkflow import UsageError
from simpleworkflow.cli.logs import LOG_FORMATS, LOG_LEVELS
from simpleworkflow.environment import database_url, environment

STORE_HELP = "The database; by default what DATABASE_URL says, in the environment or in .env."

Command = TypeVar("Command", bound=Callable[..., Any])


def store_option(function: Command) -> Command:
    """Hand the command the store's URL as `store`: from --store, DATABASE_URL or `.env`."""
    return click.option("--store", metavar="URL", callback=_store, help=STORE_HELP)(function)


def json_option(function: Command) -> Command:
    """Hand the command `is_json`: whether it should print JSON."""
    return click.option(
        "--json", "is_json", is_flag=True, help="Print JSON, one value for the whole answer."
    )(function)


def log_options(function: Command) -> Command:
    """Hand the command `log_level` and `log_format`, which `log_to_stderr` takes."""
    level = click.option(
        "--log-level",
        type=click.Choice(LOG_LEVELS, case_sensitive=False),
        default="info",
        show_default=True,
        help="Log to standard error from this level on.",
    )
    log_format = click.option(
        "--log-format",
        type=click.Choice(LOG_FORMATS, case_sensitive=False),
        default="auto",
        show_default=True,
        help="Plain text, or one JSON object a line; auto is text, and in colour on a terminal.",
    )
    return level(log_format(function))


def store_url(given: str | None) -> str:
    """Return the URL that was given, or else what DATABASE_URL or `.env` says.

    Raises:
        UsageError: there is none, or `.env` cannot be read.
    """
    if given is not None:
        return given
    try:
        return database_url(environment(".env"))
    except UsageError as exc:
        raise UsageError(f"{exc}; or give --store URL") from exc


def _store(ctx: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    return given if ctx.resilient_parsing else store_url(given)
