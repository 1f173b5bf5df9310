"""`simpleworkflow runs`: look at runs, cancel, retry and delete them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import click

from simpleworkflow import Answer, Client, Event, Operator, Run, Status
from simpleworkflow.cli.durations import duration
from simpleworkflow.cli.errors import MisuseError
from simpleworkflow.cli.options import json_option, store_option
from simpleworkflow.cli.output import print_json, print_rows

Command = TypeVar("Command", bound=Callable[..., Any])
Wanted = dict[str, Any]

NOTHING = "no such runs"
PAGE = 1_000
SHOWN = 5
"""Runs that are shown before many are changed."""

_ERROR_CHARS = 60

_FILTERS = (
    click.option(
        "--type",
        "types",
        metavar="PATTERN",
        multiple=True,
        help="A type, or a prefix with one % at its end. May be given several times, to mean any.",
    ),
    click.option(
        "--status",
        "statuses",
        multiple=True,
        type=click.Choice([status.value for status in Status]),
        help="Where they stand. May be given several times, to mean any.",
    ),
    click.option("--older-than", type=duration, help="Created so long ago or longer: 30d, 12h."),
    click.option("--newer-than", type=duration, help="Created less than so long ago: 90m, 45s."),
    click.option("--error", metavar="TEXT", help="Part of their last error, small or capital."),
    click.option("--worker", "worker_id", metavar="ID", help="Leased by this worker."),
    click.option("--key", "idempotency_key", metavar="KEY", help="Submitted with this key."),
)


def filter_options(function: Command) -> Command:
    """Hand the command what `Operator.find` takes."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function


@click.group("runs", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Look at runs, cancel, retry and delete them."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many.")
@json_option
@store_option
def list_(store: str, is_json: bool, limit: int, **wanted: Any) -> None:
    """List runs, the newest first."""
    with Operator(store) as operator:
        runs = operator.find(**_given(wanted), limit=limit)
    if is_json:
        print_json([_as_json(run) for run in runs])
    else:
        print_rows([_as_row(run) for run in runs], is_json=False, nothing=NOTHING)


@command.command("show")
@click.argument("run_id", metavar="ID")
@json_option
@store_option
def show(store: str, is_json: bool, run_id: str) -> None:
    """Show one run with its history."""
    with Client(store) as client:
        run, events = client.get(run_id), client.events(run_id)
    if is_json:
        print_json({**_as_json(run), "events": [_event_as_json(event) for event in events]})
        return
    for name, value in _as_json(run).items():
        if value not in (None, {}):
            click.echo(f"{name + ':':16} {_shown(value)}")
    print_rows([_event_as_row(event) for event in events], is_json=False, nothing="no history")


def bulk_command(name: str, done: str, may: Sequence[Status], text: str) -> None:
    """Add a command that changes runs, named by their ids or by a filter.

    Args:
        name: the command, and the method of Operator that does it.
        done: the same as a participle.
        may: where a run must stand for it.
        text: the command's help.
    """

    @command.command(name, help=text)
    @click.argument("ids", metavar="[ID]...", nargs=-1)
    @filter_options
    @click.option("--limit", type=click.IntRange(1), help="How many at most, the newest.")
    @click.option("--yes", is_flag=True, help="Do it without asking.")
    @json_option
    @store_option
    def change(
        store: str, is_json: bool, ids: tuple[str, ...], limit: int | None, yes: bool, **wanted: Any
    ) -> None:
        given = _given(wanted)
        if bool(ids) == bool(given):
            raise MisuseError(
                f"say which runs are to be {done}: by their ids, or by a filter such as --type "
                f"'billing.%', and not by both; see `simpleworkflow runs {name} --help`"
            )
        with Operator(store) as operator:
            if given:
                found = islice(_found(operator, _narrowed(given, may, done)), limit)
                ids = _agreed(found, done, is_sure=yes, is_json=is_json)
            answers = getattr(operator, name)(ids)
        _tell(answers, done, may, is_json)


bulk_command(
    "cancel",
    "cancelled",
    [Status.PENDING, Status.LEASED],
    "Cancel runs that have not ended.\n\nAn executor at work learns of it by its next look.",
)
bulk_command(
    "retry",
    "retried",
    [Status.FAILED],
    "Have failed runs tried again, at once and with all their attempts.",
)
bulk_command(
    "delete",
    "deleted",
    [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED],
    "Hide runs that have ended from every list.\n\nTheir rows stay until they are purged.",
)


def _given(wanted: Wanted) -> Wanted:
    return {name: value for name, value in wanted.items() if value not in (None, ())}


def _found(operator: Operator, wanted: Wanted) -> Iterator[Run]:
    after = None
    while page := operator.find(**wanted, limit=PAGE, after=after):
        yield from page
        after = page[-1]


def _narrowed(wanted: Wanted, may: Sequence[Status], done: str) -> Wanted:
    """Return the filter of those runs to which it can be done."""
    statuses = [status for status in may if status in wanted.get("statuses", may)]
    if not statuses:
        raise MisuseError(f"only {_listed(may)} runs can be {done}: leave out --status")
    return {**wanted, "statuses": statuses}


def _agreed(found: Iterator[Run], done: str, *, is_sure: bool, is_json: bool) -> tuple[str, ...]:
    """Return the ids of these runs, once somebody has said that they are meant."""
    first = list(islice(found, SHOWN))
    ids = tuple(run.id for run in (*first, *found))
    if not ids or (is_sure and is_json):
        return ids
    count = f"{len(ids):,} run{'s' * (len(ids) > 1)}"
    if not is_json:
        shall = "will" if is_sure else "would"
        click.echo(f"{count} {shall} be {done}" + ", such as" * (len(ids) > len(first)))
        print_rows([_as_row(run) for run in first], is_json=False)
    if not is_sure:
        if is_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise MisuseError(f"{count} would be {done}: nothing was changed; add --yes to do it")
        click.confirm("Go on?", abort=True)
    return ids


def _tell(answers: Sequence[Answer], done: str, may: Sequence[Status], is_json: bool) -> None:
    """Say what was done; exit code 1 tells that something was not."""
    refused = [answer for answer in answers if not answer.done]
    if is_json:
        print_json([{"id": a.id, "status": a.status, "done": a.done} for a in answers])
    elif not answers:
        click.echo(NOTHING)
    else:
        click.echo(f"{len(answers) - len(refused):,} of {len(answers):,} runs {done}")
    for answer in refused:
        reason = "there is no such run"
        if answer.status is not None:
            reason = f"it is {answer.status}, and only {_listed(may)} runs can be {done}"
        click.echo(f"{answer.id}: {reason}", err=True)
    if refused:
        click.get_current_context().exit(1)


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    # An error has several lines.
    return ("\n" + 17 * " ").join(_one_line(line) for line in text.strip().splitlines())


def _one_line(text: str) -> str:
    """Return a text in one line, without what would steer the terminal: it may be anybody's."""
    words = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in words)


def _listed(statuses: Sequence[Status]) -> str:
    *others, last = statuses
    return f"{', '.join(others)} or {last}" if others else last


def _as_row(run: Run) -> Mapping[str, object]:
    error = (run.last_error or "").strip().rpartition("\n")[2]
    return {
        "id": run.id,
        "type": run.type,
        "status": run.status,
        "attempt": f"{run.attempt} of {run.max_attempts}",
        "created": run.created_at,
        "error": _one_line(error)[:_ERROR_CHARS] or None,
    }


def _as_json(run: Run) -> Mapping[str, object]:
    return {
        "id": run.id,
        "type": run.type,
        "status": run.status,
        "priority": run.priority,
        "run_at": run.run_at,
        "attempt": run.attempt,
        "max_attempts": run.max_attempts,
        "idempotency_key": run.idempotency_key,
        "leased_by": run.leased_by,
        "lease_until": run.lease_until,
        "fence": run.fence,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "headers": run.headers,
        "payload": run.payload,
        "result": run.result,
        "last_error": run.last_error,
    }


def _event_as_json(event: Event) -> Mapping[str, object]:
    return {"type": event.type, "created_at": event.created_at, "data": event.data}


def _event_as_row(event: Event) -> Mapping[str, object]:
    data = ", ".join(f"{name} {value}" for name, value in event.data.items())
    return {"at": event.created_at, "event": event.type, "data": _one_line(data) or None}
