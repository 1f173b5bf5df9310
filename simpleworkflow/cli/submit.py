"""`simpleworkflow submit`: record a run from a shell."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from simpleworkflow import Client, UsageError
from simpleworkflow.cli.durations import duration
from simpleworkflow.cli.json_text import read_payload
from simpleworkflow.cli.options import json_option, store_option
from simpleworkflow.cli.output import print_json


def _key_scope(text: str) -> str | timedelta:
    return text if text in ("forever", "active") else duration(text)


@click.command("submit")
@click.argument("type_", metavar="TYPE")
@click.argument("payload", metavar="JSON")
@store_option
@click.option("--priority", type=int, help="Lower runs first; 100 unless given.")
@click.option("--delay", type=float, metavar="SECONDS", help="Execute it so long from now.")
@click.option(
    "--run-at", metavar="INSTANT", help="Execute it then, such as 2027-03-01T09:00:00+01:00."
)
@click.option("--max-attempts", type=int, help="How many attempts it has; 3 unless given.")
@click.option("--key", "idempotency_key", help="Submit nothing when a run with this key exists.")
@click.option(
    "--key-scope",
    type=_key_scope,
    metavar="SCOPE",
    help="For how long it keeps its key: forever (as without this), active, or 30d, 12h, 45s.",
)
@click.option(
    "--header",
    "headers",
    metavar="NAME=VALUE",
    multiple=True,
    help="What travels beside the payload; may be given several times.",
)
@json_option
def command(
    type_: str,
    payload: str,
    store: str,
    run_at: str | None,
    headers: tuple[str, ...],
    is_json: bool,
    **options: Any,
) -> None:
    """Submit a run of a type with a payload, and print its id.

    \b
      simpleworkflow submit notify.email.v1 '{"to": "ada@example.org"}'
      simpleworkflow submit report.daily.v1 - < report.json

    JSON is the payload; - reads it from standard input.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if run_at is not None:
        if "delay" in given:
            raise UsageError("give --run-at or --delay, not both")
        given["run_at"] = _instant(run_at)
    if headers:
        given["headers"] = dict(_header(text) for text in headers)
    with Client(store) as client:
        submitted = client.submit(type_, read_payload(payload), **given)
    if is_json:
        print_json({"id": submitted.id, "created": submitted.created})
        return
    click.echo(submitted.id)
    if not submitted.created:
        click.echo("nothing was submitted: this run has the key already", err=True)


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UsageError(
            f"--run-at {text!r} is no instant with a time zone, such as 2027-03-01T09:00:00+01:00 "
            "or 2027-03-01T08:00:00Z"
        )
    return found


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"--header {text!r} must be NAME=VALUE")
    return name, value
