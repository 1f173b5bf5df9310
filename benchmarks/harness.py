"""What every measurement shares: how much is measured, and that all take turns.

The systems of a measurement are played in turn, round after round, each time in another order. What
disturbs the machine for a while thus meets all of them, and ratios are taken within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from attrs import evolve, field, fields, frozen

from benchmarks.records import BenchmarkError, Record, Setting
from benchmarks.server import Server
from benchmarks.systems import System

Play = Callable[[], Mapping[str, float]]


@frozen
class Sizes:
    """How much is measured.

    Attributes:
        runs: runs in a drain.
        rounds: how often each system has its turn.
        samples: submits whose pick-up is timed.
        singles: runs submitted one at a time.
        bulk: runs submitted by the thousand.
        producers: processes that submit at the same time.
        backlog: the million of the measurement of claims; everything there is a share of it.
        claims: claims that are timed there.
        workers: processes on one queue, at most.
        shared: runs that several of them drain; many, so that their start counts for little.
        held_open: runs drained while a transaction is open.
        idle_polls: poll intervals during which an idle worker is watched.
        poll_interval: the seconds of one of them.
        memory_runs: runs during which the memory of a worker is watched.
        pairs: drains with metrics, each beside one without.
        struck: runs during which a fault strikes.
        lease: the seconds after which others may take over what a dead worker had.
        terminations: how often all connections are cut, a second apart.
        patience: seconds that systems have after a fault to do what is left.
        is_thorough: whether settings are combined, or each has its turn once.
    """

    runs: int = 20_000
    rounds: int = 3
    samples: int = 300
    singles: int = 2_000
    bulk: int = 50_000
    producers: int = 8
    backlog: int = 1_000_000
    claims: int = 50
    workers: int = 8
    shared: int = 100_000
    held_open: int = 200_000
    idle_polls: int = 20
    poll_interval: float = 1.0
    memory_runs: int = 200_000
    pairs: int = 10
    struck: int = 2_000
    lease: float = 30.0
    terminations: int = 5
    patience: float = 75.0
    is_thorough: bool = True

    def changed(self, assignments: Sequence[str]) -> Sizes:
        """Return them with some changed, each given as `name=number`.

        Raises:
            BenchmarkError: there is no such size, or that is no number.
        """
        kinds: dict[str, Any] = {size.name: type(size.default) for size in fields(Sizes)}
        changes = {}
        for assignment in assignments:
            name, _, text = assignment.partition("=")
            try:
                changes[name] = kinds[name](text.replace("_", ""))
            except (KeyError, ValueError):
                known = ", ".join(kinds)
                raise BenchmarkError(f"{assignment!r} is no name=number of: {known}") from None
        return evolve(self, **changes)


LONG = Sizes(rounds=5, memory_runs=1_000_000)
SMOKE = Sizes(
    runs=200,
    rounds=1,
    samples=10,
    singles=20,
    bulk=1_000,
    producers=2,
    backlog=1_000,
    claims=3,
    workers=3,
    shared=200,
    held_open=1_000,
    idle_polls=3,
    poll_interval=0.3,
    memory_runs=1_000,
    pairs=2,
    struck=100,
    lease=1.0,
    terminations=1,
    is_thorough=False,
)


@frozen
class Contestant:
    """A system in certain settings, ready to be played.

    Args:
        system: what tables call it.
        settings: in which settings.
        play: measures one round: figures by metric.
        against: the contestant that its ratios are about.
        note: what a reader must know.
    """

    system: str
    settings: Mapping[str, Setting]
    play: Play
    against: Contestant | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The system with its settings, in one line."""
        return Record("", self.system, self.settings, "", "", None).name


@frozen
class Bench:
    """What a measurement works with.

    Args:
        server: where databases are made.
        sizes: how much to measure.
        peers: other libraries to measure beside ours.
        say: tells how far it is.
    """

    server: Server
    sizes: Sizes
    peers: Sequence[Peer] = ()
    say: Callable[[str], None] = field(default=lambda text: None)

    def take_turns(
        self, measure: str, contestants: Sequence[Contestant], units: Mapping[str, str]
    ) -> list[Record]:
        """Play every contestant in every round and return a record for each metric of each.

        One that cannot be played is not played again; its records say why.
        """
        figures: dict[int, list[Mapping[str, float]]] = {id(one): [] for one in contestants}
        problems: dict[int, str] = {}
        for number in range(self.sizes.rounds):
            first = number % len(contestants)
            for one in [*contestants[first:], *contestants[:first]]:
                if id(one) in problems:
                    continue
                try:
                    figures[id(one)].append(one.play())
                except BenchmarkError as error:
                    problems[id(one)] = str(error)
                self.say(_progress(measure, number, one, figures[id(one)], problems.get(id(one))))
        made = {
            (id(one), metric): _record(measure, one, metric, unit, figures, problems)
            for one in contestants
            for metric, unit in units.items()
            if id(one) in problems or metric in figures[id(one)][0]
        }
        return [_compared(key, record, made, contestants) for key, record in made.items()]


@frozen
class Peer:
    """Another library: a system, or why there is none.

    Args:
        name: what tables call it.
        system: its program; None when it cannot be installed here.
        problem: why not.
        share: the share of the runs that is enough to measure it, for slow ones.
        concurrency: jobs at once, as they suit it best.
        keeps: what is left of a run afterwards.
        modes: what its program can do.
        done: the query that counts what it calls done.
        defaults: how it works when it is told nothing.
    """

    name: str
    system: System | None
    problem: str = ""
    share: float = 1.0
    concurrency: int = 50
    keeps: str = ""
    modes: frozenset[str] = frozenset()
    done: str = ""
    defaults: str = ""

    def found(self) -> System:
        """Return its system.

        Raises:
            BenchmarkError: it has none.
        """
        if self.system is None:
            raise BenchmarkError(self.problem)
        return self.system


def _record(
    measure: str,
    one: Contestant,
    metric: str,
    unit: str,
    figures: Mapping[int, Sequence[Mapping[str, float]]],
    problems: Mapping[int, str],
) -> Record:
    problem = problems.get(id(one))
    rounds = () if problem else tuple(round_[metric] for round_ in figures[id(one)])
    return Record(
        measure,
        one.system,
        dict(one.settings),
        metric,
        unit,
        median(rounds) if rounds else None,
        rounds,
        note=problem or one.note,
    )


def _compared(
    key: tuple[int, str],
    record: Record,
    made: Mapping[tuple[int, str], Record],
    contestants: Sequence[Contestant],
) -> Record:
    one = next(one for one in contestants if id(one) == key[0])
    other = made.get((id(one.against), key[1])) if one.against else None
    return record.compared(other) if other else record


def _progress(
    measure: str,
    number: int,
    one: Contestant,
    figures: Sequence[Mapping[str, float]],
    problem: str | None,
) -> str:
    shown = problem or ", ".join(f"{metric} {value:,.2f}" for metric, value in figures[-1].items())
    return f"{measure}, round {number + 1}: {one.name}: {shown}"
