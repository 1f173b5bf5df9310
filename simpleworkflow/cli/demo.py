"""`simpleworkflow demo`: two workers, a few hundred runs, and what became of each."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

import click

from simpleworkflow import Client, UsageError, migrate
from simpleworkflow.cli.demo_board import Board, tallies
from simpleworkflow.cli.demo_screen import Screen
from simpleworkflow.cli.demo_team import NAMES, Team
from simpleworkflow.cli.demo_work import FEWEST_RUNS
from simpleworkflow.cli.errors import OneLineError, StoppedError
from simpleworkflow.cli.options import json_option
from simpleworkflow.cli.output import print_json
from simpleworkflow.embedded import EmbeddedPostgres

LOOK_INTERVAL = 0.1
PATIENCE = 60.0
SECONDS_A_RUN = 0.1
"""The demo gives up after PATIENCE and this much more for each run."""


@click.command("demo")
@click.option(
    "--store",
    metavar="URL",
    help="Run it there, such as memory:// or postgresql://…; a private PostgreSQL by default.",
)
@click.option(
    "--runs",
    type=click.IntRange(FEWEST_RUNS, 5_000),
    default=300,
    show_default=True,
    help="How many runs to submit.",
)
@json_option
def command(store: str | None, runs: int, is_json: bool) -> None:
    """Show two workers on a few hundred runs, and their end.

    Starts a private PostgreSQL in a temporary folder, two worker processes, and submits runs of six
    types. Leaves nothing behind, however it ends. With --store, its runs stay in that database, in
    types that begin with `demo.`.

    With --json it answers what became of the runs of each type, and tells the rest on standard
    error.
    """
    try:
        with _terminated_as_interrupted():
            _demo(store, runs, is_json)
    except KeyboardInterrupt:
        raise StoppedError("interrupted; what the demo had started is gone") from None


def _demo(store: str | None, runs: int, is_json: bool) -> None:
    screen = Screen(is_aside=is_json)
    with ExitStack() as stack:
        url = store or _start_postgres(stack, screen)
        applied = migrate(url)
        screen.step("tables are ready", ", ".join(applied) or "nothing to migrate")
        client = stack.enter_context(Client(url))
        team = stack.enter_context(Team(url))
        screen.step(f"two worker {team.what} started", ", ".join(NAMES))
        started_at = time.monotonic()
        board = Board(client, runs)
        stack.push(_abandoning(board))
        screen.step(f"{len(board)} runs submitted", f"in {time.monotonic() - started_at:.2f} s")
        _follow(board, team, screen, runs)
        seconds = time.monotonic() - started_at
        # Stopped before the histories are read: what a worker has to add, it has added then.
        team.stop()
        stories = board.stories()
        screen.histories(stories)
        found = tallies(stories)
        if is_json:
            print_json({"seconds": seconds, "types": [tally.as_row() for tally in found]})
        else:
            screen.outcome(found, seconds)
    screen.note(_farewell(store))
    if wrong := [story.run.id for story in stories if not story.is_as_planned]:
        raise OneLineError(f"{len(wrong)} runs did not end as planned, such as {wrong[0]}")


def _start_postgres(stack: ExitStack, screen: Screen) -> str:
    started_at = time.monotonic()
    try:
        postgres = stack.enter_context(EmbeddedPostgres())
    except UsageError as exc:
        raise UsageError(
            f"{exc}; or run the demo elsewhere: simpleworkflow demo --store memory://"
        ) from exc
    seconds = time.monotonic() - started_at
    screen.step(f"PostgreSQL {postgres.version} started", f"in {seconds:.1f} s")
    return postgres.url


def _follow(board: Board, team: Team, screen: Screen, runs: int) -> None:
    """Show the board until every run has ended."""
    ends_at = time.monotonic() + PATIENCE + SECONDS_A_RUN * runs
    with screen.following(board):
        board.look()
        while board.open_ids:
            screen.tick(board)
            if time.monotonic() > ends_at:
                raise OneLineError(f"{len(board.open_ids)} runs have not ended in time")
            team.wait(LOOK_INTERVAL)
            board.look()
        screen.tick(board)


def _abandoning(board: Board) -> Callable[[object, BaseException | None, object], bool]:
    """Return what gives up the runs that are open when the demo is stopped or fails.

    In somebody's database, no later demo shall find them waiting.
    """

    def abandon(_kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is not None:
            board.abandon()
        return False

    return abandon


def _farewell(store: str | None) -> str:
    if store is None:
        return "PostgreSQL, its folder and the workers are gone again."
    if store.startswith("memory:"):
        return "They were in memory, and are gone with it."
    return "They stay in your database, as runs of the types shown here."


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Clean up on SIGTERM as on Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
