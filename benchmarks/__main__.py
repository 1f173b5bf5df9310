"""The command line: `python -m benchmarks all --peers`, or one measurement by its name."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.chart import draw
from benchmarks.harness import LONG, SMOKE, Bench, Sizes
from benchmarks.installing import installed_peers
from benchmarks.records import BenchmarkError, Results, Setting, load_all
from benchmarks.report import new_console, print_goals, print_results, write_documents
from benchmarks.server import Server, running
from benchmarks.systems import FLOOR, OURS, ROOT

MEASURES = (
    "drain",
    "latency",
    "submit",
    "contention",
    "bloat",
    "frugal",
    "metrics",
    "claim",
    "faults",
)
WITH_PEERS = ("drain", "latency", "submit")

RESULTS = ROOT / "benchmarks" / "results"

Command = Callable[..., Any]


def _options(command: Command) -> Command:
    """Add what every measurement can be told."""
    for option in reversed(
        (
            click.option("--smoke", is_flag=True, help="Tiny sizes: does it work? Takes seconds."),
            click.option("--long", "is_long", is_flag=True, help="More rounds, a million runs."),
            click.option(
                "--size",
                "sizes",
                multiple=True,
                metavar="NAME=NUMBER",
                help="Change one size, such as runs=5000 or rounds=1; may be repeated.",
            ),
            click.option("--peers", is_flag=True, help="Measure other libraries beside ours."),
            click.option("--url", help="Measure on this server; by default on one of our own."),
            click.option("--embedded", is_flag=True, help="Never use a system's PostgreSQL."),
            click.option(
                "--results",
                type=click.Path(path_type=Path, file_okay=False),
                default=RESULTS,
                show_default=True,
                help="Where JSON and the chart go.",
            ),
        )
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure simpleworkflow against bare SQL and against its peers."""


@main.command()
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=RESULTS,
    help="Where the JSON is.",
)
def report(results: Path) -> None:
    """Draw the chart and write what was measured into the documents."""
    everything = load_all(results)
    write_documents(everything, draw(everything, results))
    print_goals(new_console(), [record for one in everything for record in one.records])


def _run(
    measures: Sequence[str],
    *,
    smoke: bool,
    is_long: bool,
    sizes: Sequence[str],
    peers: bool,
    url: str | None,
    embedded: bool,
    results: Path,
) -> None:
    console = new_console()
    if smoke and results == RESULTS:
        raise click.UsageError("--smoke needs --results: what it measures means nothing")
    try:
        chosen = (SMOKE if smoke else LONG if is_long else Sizes()).changed(sizes)
    except BenchmarkError as error:
        raise click.UsageError(str(error)) from None

    def say(text: str) -> None:
        console.print(text, style="dim", highlight=False, markup=False)

    others = installed_peers(say) if peers else []
    with running(url, embedded=embedded) as server:
        bench = Bench(server, chosen, others, say)
        say(f"PostgreSQL {server.version} ({server.kind}), {_load()}")
        everything = [_measured(bench, name, results, console) for name in measures]
    draw(load_all(results), results)
    records = [record for one in everything for record in one.records]
    if not smoke:
        print_goals(console, records)
    ours = [record for record in records if record.value is None and _is_own(record.system)]
    if ours:
        raise click.ClickException(f"{len(ours)} figures are missing: the tables say why")


def _measured(bench: Bench, name: str, folder: Path, console: Console) -> Results:
    circumstances = _circumstances(bench.server)
    records = import_module(f"benchmarks.measures.{name}").measure(bench)
    results = Results(name, circumstances, tuple(records))
    results.save(folder)
    print_results(console, results)
    return results


def _is_own(system: str) -> bool:
    return system in (OURS.name, FLOOR.name)


def _circumstances(server: Server) -> dict[str, Setting]:
    """Return what else a reader must know to believe a figure."""
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "PostgreSQL": f"{server.version} ({server.kind})",
        "Python": platform.python_version(),
        "cores": os.cpu_count() or 0,
        "machine": f"{platform.system()} {platform.machine()}",
        "load before": _load(),
    }


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


def _commit() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def _add_command(name: str, measures: Sequence[str], help_text: str) -> None:
    @main.command(name, help=help_text)
    @_options
    def command(**options: Any) -> None:
        _run(measures, **options)


_add_command("all", MEASURES, "Measure everything.")
for _name in MEASURES:
    _doc = import_module(f"benchmarks.measures.{_name}").__doc__ or ""
    _add_command(_name, [_name], _doc)


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m benchmarks"))
