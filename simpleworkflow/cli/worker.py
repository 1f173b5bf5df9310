"""`simpleworkflow worker`: work with the poller that a module has, in one process or several."""

from __future__ import annotations

from typing import Any

import click

from simpleworkflow.cli.importing import load_poller
from simpleworkflow.cli.logs import log_to_stderr
from simpleworkflow.cli.metrics import counted, serving
from simpleworkflow.cli.options import log_options
from simpleworkflow.cli.supervisor import supervise


@click.command("worker")
@click.argument("target", metavar="MODULE:POLLER")
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many worker processes to keep at work, named after the worker id: ID-1, ID-2 …",
)
@click.option("--concurrency", type=int, help="How many runs each process executes at once.")
@click.option(
    "--type-prefix",
    "type_prefixes",
    metavar="PATTERN",
    multiple=True,
    help="Claim only these types, such as billing.%; may be given several times.",
)
@click.option("--worker-id", metavar="ID", help="Name the worker in the tables and the history.")
@click.option(
    "--poll-interval",
    type=float,
    metavar="SECONDS",
    help="How long an idle worker waits before it looks again.",
)
@click.option(
    "--lease-duration",
    type=float,
    metavar="SECONDS",
    help="How long a claim holds without a heartbeat.",
)
@click.option("--store", "db_url", metavar="URL", help="The database where the runs are.")
@click.option(
    "--reload",
    "is_reloading",
    is_flag=True,
    help="For development: start anew when a .py file changes, in the current folder or the "
    "module's, or below.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="Serve /metrics, /healthz and /readyz on this port; 0 takes a free one and logs it.",
)
@click.option(
    "--metrics-host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="The address to serve them on; 0.0.0.0 is any.",
)
@log_options
def command(
    target: str,
    processes: int,
    is_reloading: bool,
    metrics_port: int | None,
    metrics_host: str,
    log_level: str,
    log_format: str,
    **options: Any,
) -> None:
    """Execute runs, until SIGTERM or Ctrl-C.

    POLLER is an IntentPoller of the module, or a function that returns one:

    \b
      simpleworkflow worker shop.work:poller --processes 4
      simpleworkflow worker 'shop.work:make_poller()'

    The module is looked for in the current folder first. What is not given here stays as the
    poller was made. Where the module configures logging itself, the log is as it says.

    With several processes, one that dies is replaced. The first SIGTERM or Ctrl-C lets executors at
    work finish, the second gives their runs back to other workers.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if processes > 1 or is_reloading:
        supervise(
            target,
            given,
            log_level,
            log_format,
            processes,
            is_reloading=is_reloading,
            served=None if metrics_port is None else (metrics_port, metrics_host),
        )
        return
    poller = load_poller(target, given)
    log_to_stderr(log_level, log_format)
    if metrics_port is None:
        poller.start()
        return
    poller, metrics = counted(poller)
    with serving(metrics_port, metrics_host, registry=metrics.registry):
        poller.start()
