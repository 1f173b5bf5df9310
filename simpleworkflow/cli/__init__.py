"""The command `simpleworkflow`. A leaf: it uses public names only, and nobody imports it.

Each command is a module of its own here, which holds a click command named `command`.
"""

from __future__ import annotations

from importlib import import_module, metadata

import click

from simpleworkflow.cli.errors import OneLineGroup

_COMMANDS = {
    "demo": "simpleworkflow.cli.demo",
    "doctor": "simpleworkflow.cli.doctor",
    "grants": "simpleworkflow.cli.grants",
    "migrate": "simpleworkflow.cli.migrate",
    "schedules": "simpleworkflow.cli.schedules",
    "submit": "simpleworkflow.cli.submit",
    "ticker": "simpleworkflow.cli.ticker",
    "worker": "simpleworkflow.cli.worker",
    "purge": "simpleworkflow.cli.purge",
    "runs": "simpleworkflow.cli.runs",
    "stats": "simpleworkflow.cli.stats",
}


class _Commands(OneLineGroup):
    """Loads a command's module when the command is called: no command waits for another's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(_COMMANDS[cmd_name]).command
        return command


def _print_version(ctx: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    if not is_asked or ctx.resilient_parsing:
        return
    try:
        version = metadata.version("simpleworkflow")
    except metadata.PackageNotFoundError:
        version = "(from a source tree that is not installed)"
    click.echo(f"simpleworkflow {version}")
    ctx.exit()


@click.group(
    name="simpleworkflow",
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Durable background work on PostgreSQL."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
