"""What a user can cause is answered in one line; exit code 2 is misuse, 1 a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from simpleworkflow import SimpleWorkflowError, UsageError


class OneLineError(click.ClickException):
    """An error that click shows in one line before it exits."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        # PostgreSQL's own words come in several lines.
        super().__init__(" ".join(message.split()))


class MisuseError(OneLineError):
    """The command was given something that cannot work."""

    exit_code = 2


class StoppedError(OneLineError):
    """Somebody stopped it; the code is the shell's for Ctrl-C."""

    exit_code = 130


class OneLineGroup(click.Group):
    """A group whose errors, and those of its commands, are one line each."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the group's own arguments."""
        with one_line():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Read a command's arguments and run it."""
        with one_line():
            return super().invoke(ctx)


@contextmanager
def one_line() -> Iterator[None]:
    """Turn what a user can cause into an error of one line."""
    try:
        yield
    except click.UsageError as exc:
        command = exc.ctx.command_path if exc.ctx else "simpleworkflow"
        hint = f"see `{command} --help`"
        raise MisuseError(f"{exc.format_message().rstrip('.')}: {hint}") from exc
    except UsageError as exc:
        raise MisuseError(str(exc)) from exc
    except SimpleWorkflowError as exc:
        raise OneLineError(str(exc)) from exc
