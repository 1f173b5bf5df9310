"""`simpleworkflow grants`: print the rights that each role needs."""

from __future__ import annotations

import click

from simpleworkflow import grants
from simpleworkflow.cli.options import json_option
from simpleworkflow.cli.output import print_json


@click.command("grants")
@click.option("--schema", default="workflow", show_default=True, help="Where the tables are.")
@click.option("--producer", metavar="ROLE", help="Submits runs, follows and cancels them.")
@click.option("--worker", metavar="ROLE", help="Executes runs.")
@click.option(
    "--operator",
    metavar="ROLE",
    help="Reads everything, cancels, sets back and deletes runs, and manages schedules.",
)
@json_option
def command(
    schema: str, producer: str | None, worker: str | None, operator: str | None, is_json: bool
) -> None:
    """Print the SQL that gives each role its least rights.

    No database is needed. Review it, and let the owner of the tables run it after
    `simpleworkflow migrate`:

    \b
      simpleworkflow grants --producer app_web --worker app_worker | psql DATABASE

    Only the roles that are named are printed. When none is, it is all three, by the names of the
    schema and the part, such as workflow_producer. One role may be named for several parts. Names
    are taken as they are written, capitals included; a role that does not exist is created, without
    a password.
    """
    sql = grants(schema, producer=producer, worker=worker, operator=operator)
    if is_json:
        print_json({"sql": sql})
    else:
        click.echo(sql, nl=False)
