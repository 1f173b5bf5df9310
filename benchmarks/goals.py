"""What is to be reached, as ratios within one run of the benchmarks, and whether it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from benchmarks.measures.latency import POLL_INTERVAL
from benchmarks.records import Record, Setting, find, ratio_of
from benchmarks.systems import OURS
from benchmarks.workload import STATES

Figure = Callable[[Sequence[Record]], float | None]

USUAL: dict[str, Setting] = {"concurrency": 1, "executor": "class", "statistics": "never"}
IN_MEMORY: dict[str, Setting] = {"driver": "memory", "concurrency": 1, "executor": "class"}


@frozen
class Goal:
    """One thing to reach.

    Args:
        text: what.
        wanted: the limit.
        is_least: whether that is the least or the most.
        figure: finds the figure in the records; None where it was not measured.
    """

    text: str
    wanted: float
    is_least: bool
    figure: Figure

    @property
    def limit(self) -> str:
        """The limit, in words."""
        return f"{'at least' if self.is_least else 'at most'} {self.wanted:,g}"

    def is_reached(self, figure: float) -> bool:
        """Say whether this figure is good enough."""
        return figure >= self.wanted if self.is_least else figure <= self.wanted


def value(measure: str, metric: str, **settings: Setting) -> Figure:
    """Our own figure."""

    def figure(records: Sequence[Record]) -> float | None:
        record = find(records, measure, OURS.name, metric, **settings)
        return record.value if record else None

    return figure


def ratio(measure: str, metric: str, **settings: Setting) -> Figure:
    """Our own figure to what it is compared with."""

    def figure(records: Sequence[Record]) -> float | None:
        record = find(records, measure, OURS.name, metric, **settings)
        return record.ratio if record else None

    return figure


def against(peer: str) -> Figure:
    """Our usual drain to a peer's."""

    def figure(records: Sequence[Record]) -> float | None:
        ours = find(records, "drain", OURS.name, "drain", driver="psycopg", **USUAL)
        theirs = find(records, "drain", peer, "drain")
        return ratio_of(ours.rounds, theirs.rounds) if ours and theirs else None

    return figure


def drivers(records: Sequence[Record]) -> float | None:
    """Our usual drain on pg8000 to that on psycopg."""
    slow = find(records, "drain", OURS.name, "drain", driver="pg8000", **USUAL)
    fast = find(records, "drain", OURS.name, "drain", driver="psycopg", **USUAL)
    return ratio_of(slow.rounds, fast.rounds) if slow and fast else None


def slowest_state(records: Sequence[Record]) -> float | None:
    """Our usual drain in the worst state of the statistics, to that on a table never analysed."""
    usual = {**USUAL, "driver": "psycopg"}
    found = [
        find(records, "drain", OURS.name, "drain", **{**usual, "statistics": state})
        for state in STATES
    ]
    if any(record is None for record in found):
        return None
    ratios = [ratio_of(record.rounds, found[0].rounds) for record in found]  # type: ignore[union-attr]
    return min((one for one in ratios if one is not None), default=None)


def most(measure: str, metric: str) -> Figure:
    """The highest of our figures of this metric."""

    def figure(records: Sequence[Record]) -> float | None:
        values = [
            record.value
            for record in records
            if (record.measure, record.system, record.metric) == (measure, OURS.name, metric)
        ]
        known = [one for one in values if one is not None]
        return max(known) if known and len(known) == len(values) else None

    return figure


def _goals() -> Iterator[Goal]:
    psycopg = {**USUAL, "driver": "psycopg"}
    yield Goal("1 drain: to bare SQL", 0.8, True, ratio("drain", "drain", **psycopg))
    yield Goal("1 drain: to pgqueuer", 1.1, True, against("pgqueuer"))
    yield Goal("1 drain: pg8000 to psycopg", 0.5, True, drivers)
    yield Goal("1 drain: in memory, runs/s", 50_000, True, value("drain", "drain", **IN_MEMORY))
    woken: dict[str, Setting] = {"driver": "psycopg", "wake-ups": True}
    polling = {**woken, "wake-ups": False}
    yield Goal("2 latency: p50, ms", 2.5, False, value("latency", "p50", **woken))
    yield Goal("2 latency: p99, ms", 6, False, value("latency", "p99", **woken))
    # Beside the interval, a pick-up takes what it takes with wake-ups.
    longest = 1e3 * POLL_INTERVAL + 10
    yield Goal(
        "2 latency: polling, longest, ms", longest, False, value("latency", "max", **polling)
    )
    for driver in ("psycopg", "pg8000"):
        one = ratio("submit", "single", driver=driver)
        many = ratio("submit", "bulk", driver=driver)
        yield Goal(f"3 submit: one at a time to a bare INSERT, {driver}", 0.85, True, one)
        yield Goal(f"3 submit: 1,000 at a time to a bare INSERT, {driver}", 0.7, True, many)
    waking = {"wake-ups": True}
    yield Goal(
        "3 submit: concurrent producers, waking to not",
        0.9,
        True,
        ratio("submit", "producers", **waking),
    )
    for types in (1, 200):
        for statistics in ("never", "analysed"):
            growth = value("claim", "growth", types=types, statistics=statistics)
            text = f"4 growth: huge table to small, {types} types, statistics {statistics}"
            yield Goal(text, 2, False, growth)
    yield Goal("4 growth: drain with the worst statistics to none", 0.8, True, slowest_state)
    yield Goal("5 contention: many workers to two", 1, True, _many_workers)
    yield Goal("5 contention: deadlocks", 0, False, most("contention", "deadlocks"))
    held = {"transaction held open": True}
    yield Goal("6 bloat: last tenth to first", 2, False, value("bloat", "last to first", **held))
    # One to claim, and one the size of a heartbeat.
    yield Goal("7 frugal: statements per poll interval", 2, False, most("frugal", "statements"))
    yield Goal("7 frugal: connections", 3, False, most("frugal", "connections"))
    yield Goal("7 frugal: memory, MB", 80, False, most("frugal", "memory, highest"))
    yield Goal("7 frugal: growth of memory, MB", 5, False, most("frugal", "memory, growth"))
    counted: dict[str, Setting] = {"driver": "psycopg", "concurrency": 1}
    kept = value("metrics", "drain, with to without", **counted)
    yield Goal("8 metrics: drain with them to without", 0.97, True, kept)


def _many_workers(records: Sequence[Record]) -> float | None:
    ours = [
        record
        for record in records
        if (record.measure, record.system, record.metric) == ("contention", OURS.name, "drain")
    ]
    return max(ours, key=lambda record: record.settings["workers"]).ratio if ours else None


GOALS = tuple(_goals())
