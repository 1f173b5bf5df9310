"""`simpleworkflow migrate`: create or update the tables."""

from __future__ import annotations

import click

from simpleworkflow import UsageError, migrate, pending_migrations
from simpleworkflow.cli.options import STORE_HELP, json_option, store_url
from simpleworkflow.cli.output import print_json

NOTHING = "nothing to do"


@click.command("migrate")
@click.argument("url", required=False)
@click.option("--store", metavar="URL", help=STORE_HELP)
@click.option("--print", "is_print", is_flag=True, help="Print the SQL, and run nothing.")
@click.option(
    "--with-notify-trigger/--without-notify-trigger",
    "notify_trigger",
    default=None,
    help="Put a trigger in place that wakes idle workers for rows that other programs insert by "
    "SQL, at a price for these (docs/operations.md); or take it away. Neither leaves it as it is.",
)
@json_option
def command(
    url: str | None,
    store: str | None,
    is_print: bool,
    notify_trigger: bool | None,
    is_json: bool,
) -> None:
    """Create or update the tables in a database.

    URL names the database, as --store does. Every migration is applied once, however often and by
    however many this is run.
    The schema is the one that search_path names in the URL, `workflow` by default:
    postgresql://user:password@host/database?search_path=workflow
    """
    if url is not None and store is not None:
        raise UsageError("give URL or --store URL, not both")
    if is_print:
        missing = pending_migrations(store_url(url or store), notify_trigger=notify_trigger)
        # A comment, so that what is printed is SQL in either case.
        text = "\n".join(f"-- {name}\n{sql}" for name, sql in missing) or f"-- {NOTHING}"
        answer = [{"name": name, "sql": sql} for name, sql in missing]
    else:
        names = migrate(store_url(url or store), notify_trigger=notify_trigger)
        text = "\n".join(f"applied {name}" for name in names) or NOTHING
        answer = [{"name": name} for name in names]
    if is_json:
        print_json(answer)
    else:
        click.echo(text)
