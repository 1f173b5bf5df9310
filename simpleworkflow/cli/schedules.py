"""`simpleworkflow schedules`: look at what submits runs at set times, make it and change it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from simpleworkflow import Client, Schedule
from simpleworkflow.cli.json_text import parsed, read_payload
from simpleworkflow.cli.options import json_option, store_option
from simpleworkflow.cli.output import print_json, print_rows

Command = TypeVar("Command", bound=Callable[..., Any])

_NOT_GIVEN = object()
"""Beside None, which is a payload."""


def _read_json(ctx: click.Context, option: click.Parameter, text: str | None) -> object:
    if text is None or ctx.resilient_parsing:
        return _NOT_GIVEN
    what = "the payload" if isinstance(option, click.Argument) else option.opts[0]
    return read_payload(text, what) if option.name == "payload" else parsed(text, what)


def _schedule_options(function: Command) -> Command:
    """Hand the command what a schedule is made of, None for what was not given."""
    for option in reversed(
        [
            click.option("--timezone", metavar="ZONE", help="Whose clock, such as Europe/Zurich."),
            click.option("--priority", type=int, help="Lower runs first."),
            click.option("--max-attempts", type=int, help="How many attempts each run has."),
            click.option(
                "--catch-up",
                type=click.Choice(["latest", "all", "none"]),
                help="One run, a run for each, or none, for firings that nobody was there for.",
            ),
            click.option(
                "--headers",
                metavar="JSON",
                callback=_read_json,
                help="What travels beside the payload.",
            ),
        ]
    ):
        function = option(function)
    return function


@click.group("schedules", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Look at schedules, make and change them.

    Each submits a run whenever it fires.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command("list")
@store_option
@json_option
def list_(store: str, is_json: bool) -> None:
    """List the schedules, the oldest first."""
    with Client(store) as client:
        found = client.schedules.list()
    rows = [_as_row(s) for s in found] if is_json else [_as_line(s) for s in found]
    print_rows(rows, is_json=is_json, nothing="no schedules")


@command.command("show")
@click.argument("schedule_id", metavar="ID")
@store_option
@json_option
def show(schedule_id: str, store: str, is_json: bool) -> None:
    """Show all of one schedule."""
    with Client(store) as client:
        _print(client.schedules.get(schedule_id), is_json)


@command.command("create")
@click.argument("type_", metavar="TYPE")
@click.argument("payload", metavar="[JSON]", default="{}", callback=_read_json)
@click.option(
    "--cron",
    metavar="LINE",
    required=True,
    help="Five fields: minute, hour, day of month, month, day of week; '0 9 * * 1'.",
)
@_schedule_options
@store_option
@json_option
def create(
    type_: str, payload: object, cron: str, store: str, is_json: bool, **options: Any
) -> None:
    """Make a schedule that submits runs of TYPE with a payload.

    JSON is the payload, {} unless given; - reads it from standard input.
    """
    with Client(store) as client:
        _print(client.schedules.create(type_, payload, cron=cron, **_given(options)), is_json)


@command.command("update")
@click.argument("schedule_id", metavar="ID")
@click.option("--type", metavar="TYPE", help="What to run.")
@click.option(
    "--payload",
    metavar="JSON",
    callback=_read_json,
    help="What its executor gets; - reads standard input.",
)
@click.option("--cron", metavar="LINE", help="When: five fields.")
@_schedule_options
@store_option
@json_option
def update(schedule_id: str, store: str, is_json: bool, **options: Any) -> None:
    """Change what is given of a schedule, and leave the rest."""
    with Client(store) as client:
        _print(client.schedules.update(schedule_id, **_given(options)), is_json)


@command.command("pause")
@click.argument("schedule_id", metavar="ID")
@store_option
@json_option
def pause(schedule_id: str, store: str, is_json: bool) -> None:
    """Let a schedule fire no more until it is resumed."""
    with Client(store) as client:
        _print(client.schedules.pause(schedule_id), is_json)


@command.command("resume")
@click.argument("schedule_id", metavar="ID")
@store_option
@json_option
def resume(schedule_id: str, store: str, is_json: bool) -> None:
    """Let a paused schedule fire again, from now on."""
    with Client(store) as client:
        _print(client.schedules.resume(schedule_id), is_json)


@command.command("delete")
@click.argument("schedule_id", metavar="ID")
@store_option
@json_option
def delete(schedule_id: str, store: str, is_json: bool) -> None:
    """Delete a schedule; the runs that it submitted stay."""
    with Client(store) as client:
        client.schedules.delete(schedule_id)
    if is_json:
        print_json({"id": schedule_id, "deleted": True})
    else:
        click.echo(f"deleted {schedule_id}")


@command.command("run")
@click.argument("schedule_id", metavar="ID")
@store_option
@json_option
def run(schedule_id: str, store: str, is_json: bool) -> None:
    """Submit a run of a schedule at once, besides those of its firings."""
    with Client(store) as client:
        submitted = client.schedules.run_now(schedule_id)
    if is_json:
        print_json({"run_id": submitted.id})
    else:
        click.echo(f"submitted {submitted.id}")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in options.items()
        if value is not _NOT_GIVEN and (value is not None or name == "payload")
    }


def _print(schedule: Schedule, is_json: bool) -> None:
    row = _as_row(schedule)
    if is_json:
        print_json(row)
    else:
        print_rows(
            [{"field": name, "value": _as_text(value)} for name, value in row.items()],
            is_json=False,
        )


def _as_text(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _as_line(schedule: Schedule) -> dict[str, object]:
    return {
        "id": schedule.id,
        "type": schedule.type,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "next": schedule.next_run_at if schedule.enabled else "paused",
        "last": schedule.last_run_at,
        "problem": schedule.problem,
    }


def _as_row(schedule: Schedule) -> dict[str, object]:
    return {
        "id": schedule.id,
        "type": schedule.type,
        "payload": schedule.payload,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "enabled": schedule.enabled,
        "next_run_at": schedule.next_run_at,
        "last_run_at": schedule.last_run_at,
        "priority": schedule.priority,
        "max_attempts": schedule.max_attempts,
        "catch_up": schedule.catch_up,
        "headers": schedule.headers,
        "problem": schedule.problem,
        "created_at": schedule.created_at,
        "updated_at": schedule.updated_at,
    }
