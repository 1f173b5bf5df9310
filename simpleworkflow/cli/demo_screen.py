"""What the demo shows: steps, live progress, histories, and the table of what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from simpleworkflow import Event, Status
from simpleworkflow.cli.demo_board import ENDED, Board, Story, Tally
from simpleworkflow.cli.demo_team import NAMES
from simpleworkflow.cli.demo_work import KINDS, Kind
from simpleworkflow.cli.output import new_console

_STYLES = {
    "created": "dim",
    "leased": "cyan",
    "retried": "magenta",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "discarded": "yellow",
    "pending": "dim",
}
_ERROR_CHARS = 100
_WIDE = 100
"""Columns from which there is room to spare."""
_ID_CHARS = 8


class Screen:
    """Writes to the terminal, or to whatever standard output is.

    Args:
        is_aside: standard output is for something else, so write to standard error.
    """

    def __init__(self, *, is_aside: bool) -> None:
        self._console = new_console(is_aside=is_aside)
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._quarters_told = 0

    def step(self, done: str, detail: str = "") -> None:
        """Tell of a step that is done."""
        line = Text.assemble(("✓ ", "green"), done, (f"  {detail}" if detail else "", "dim"))
        self._console.print(line, soft_wrap=True)

    @contextmanager
    def following(self, board: Board) -> Iterator[None]:
        """Show the board until the end of the `with` block, where the output can be redrawn."""
        if not self._is_live:
            yield
            return
        self._console.print()
        with Live(
            get_renderable=lambda: _progress(board), console=self._console, refresh_per_second=12
        ):
            yield

    def tick(self, board: Board) -> None:
        """Tell in lines how far the board is, where the output cannot be redrawn."""
        quarters = 4 * board.ended // len(board)
        if not self._is_live and quarters > self._quarters_told:
            self._quarters_told = quarters
            self.step(f"{board.ended} of {len(board)} runs have ended")

    def histories(self, stories: Sequence[Story]) -> None:
        """Tell each run's history: in full the first of each kind, in one line every other."""
        first = {story.kind: story for story in reversed(stories)}
        self._title("Each run's history, times in seconds since its submit")
        for story in stories:
            if story is not first[story.kind]:
                self._line(_short_history(story))
        for kind in KINDS:
            self._full_history(first[kind])

    def outcome(self, found: Sequence[Tally], seconds: float) -> None:
        """Show the table of what happened."""
        self._title("What happened")
        self._console.print(_outcome_table(found, is_wide=self._console.width >= _WIDE))
        runs = sum(tally.submitted for tally in found)
        self._line(Text(f"{runs} runs in {seconds:.1f} s."))

    def note(self, text: str) -> None:
        """Say something more."""
        self._line(Text(text))

    def _title(self, text: str) -> None:
        self._console.print()
        self._line(Text(text, "bold"))

    def _line(self, text: Text) -> None:
        text.rstrip()
        if self._is_live:
            self._console.print(text, no_wrap=True, overflow="ellipsis")
        else:
            # A pipe gets the whole line, however long.
            self._console.print(text, soft_wrap=True)

    def _full_history(self, story: Story) -> None:
        run = story.run
        self._console.print()
        self._line(
            Text.assemble(
                (run.type, "bold"),
                f"  {run.id}  ",
                (run.status.value, _STYLES[run.status.value]),
                (f"  {story.kind.says}", "dim"),
            )
        )
        for seconds, event in story.timed_events():
            name = str(event.type)
            self._line(
                Text.assemble(
                    (f"  {seconds.total_seconds():7.3f}  ", "dim"),
                    (f"{name:<10}", _STYLES.get(name, "")),
                    _detail(event, run.max_attempts),
                )
            )
        if run.result is not None:
            self._line(Text.assemble(("           result    ", "dim"), run.result_json or ""))


def _progress(board: Board) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(width=16)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for kind, statuses in board.standings().items():
        ended, whole = sum(statuses[status] for status in ENDED), sum(statuses.values())
        bar = ProgressBar(
            total=whole,
            completed=ended,
            complete_style=_STYLES[kind.ends.value],
            finished_style=_STYLES[kind.ends.value],
        )
        table.add_row(kind.type, kind.says, bar, f"{ended}/{whole}", _standing(kind, statuses))
    return table


def _standing(kind: Kind, statuses: Counter[Status]) -> Text:
    if working := statuses[Status.LEASED]:
        return Text(f"{working} leased", _STYLES["leased"])
    if waiting := statuses[Status.PENDING]:
        return Text(f"{waiting} pending", _STYLES["pending"])
    return Text(kind.ends.value, _STYLES[kind.ends.value])


def _short_history(story: Story) -> Text:
    line = Text.assemble(
        (f"{story.run.id[:_ID_CHARS]}  ", "dim"), f"{story.run.type:<18}", no_wrap=True
    )
    for seconds, event in story.timed_events():
        name = str(event.type)
        line.append(f" {seconds.total_seconds():.2f} ", "dim")
        line.append(name, _STYLES.get(name, ""))
        if name == "leased":
            line.append(f" {event.data.get('worker_id')}")
    return line


def _detail(event: Event, max_attempts: int) -> str:
    data = event.data
    parts = []
    if worker_id := data.get("worker_id"):
        parts.append(f"{worker_id}")
    if event.type == "leased":
        parts.append(f"attempt {data.get('attempt', 0) + 1} of {max_attempts}")
    if ran := data.get("ran"):
        parts.append(f"ran {ran:.3f} s")
    if error := data.get("error"):
        parts.append(_first_line(error))
    if delay := data.get("delay"):
        parts.append(f"again in {delay:.2f} s")
    return " · ".join(parts)


def _first_line(error: str) -> str:
    kind, colon, words = error.partition("\n")[0].partition(": ")
    line = kind.rpartition(".")[2] + colon + words
    return line if len(line) <= _ERROR_CHARS else f"{line[:_ERROR_CHARS]}…"


def _outcome_table(found: Sequence[Tally], *, is_wide: bool) -> Table:
    # 80 columns must suffice, which is what a pipe gets.
    table = Table(box=SIMPLE_HEAD, padding=(0, int(is_wide)), show_footer=True, pad_edge=False)
    rows = [_outcome_cells(tally) for tally in found]
    totals = [sum(column) for column in zip(*rows, strict=True)]
    table.add_column("type", "all", no_wrap=True)
    heads = ["submitted", *(status.value for status in ENDED), "attempts", *NAMES]
    for head, total in zip(heads, totals, strict=True):
        style = _STYLES.get(head, "")
        table.add_column(head, str(total), justify="right", style=style, no_wrap=True)
    for tally, cells in zip(found, rows, strict=True):
        table.add_row(tally.kind.type, *(str(cell or "·") for cell in cells))
    return table


def _outcome_cells(tally: Tally) -> list[int]:
    return [
        tally.submitted,
        *(tally.ended[status] for status in ENDED),
        tally.attempts_of.total(),
        *(tally.attempts_of[name] for name in NAMES),
    ]
