"""Submit: one at a time, a thousand at a time, and from several processes at once.

The floor is a bare INSERT that writes the run and its event in one statement, prepared, on the same
driver. Several producers submit with a listener on the channel, and without waking anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.harness import Bench, Contestant, Peer
from benchmarks.records import BenchmarkError, Record, Setting
from benchmarks.server import Database
from benchmarks.systems import FLOOR, OURS, System, play_together, seconds_of
from benchmarks.workload import filled
from simpleworkflow.backends.postgres.url import DEFAULT_SCHEMA
from simpleworkflow.backends.postgres.wakeup import channel

UNITS = {"single": "submits/s", "bulk": "submits/s", "producers": "submits/s"}

DRIVERS = ("psycopg", "pg8000")


def measure(bench: Bench) -> list[Record]:
    """Submit through our client, by bare SQL, and through peers."""
    contestants: list[Contestant] = []
    for mode, runs in (("single", bench.sizes.singles), ("bulk", bench.sizes.bulk)):
        for driver in DRIVERS:
            floor = _lone(bench, FLOOR, mode, runs, driver, None)
            contestants += [floor, _lone(bench, OURS, mode, runs, driver, floor)]
        contestants += [
            _peer(bench, peer, mode, runs) for peer in bench.peers if mode in peer.modes
        ]
    floor = _many(bench, FLOOR, False, None)
    quiet = _many(bench, OURS, False, floor)
    waking = _many(bench, OURS, True, quiet)
    return bench.take_turns("submit", [*contestants, floor, quiet, waking], UNITS)


def _lone(
    bench: Bench, system: System, mode: str, runs: int, driver: str, floor: Contestant | None
) -> Contestant:
    def play() -> Mapping[str, float]:
        with filled(bench, 0) as database:
            url = database.url_for(driver) if system is OURS else database.url
            answer = system.play(mode, url=url, runs=runs, driver=driver)
            _check_submitted(database, runs)
        return {mode: runs / seconds_of(answer)}

    return Contestant(system.name, {"driver": driver}, play, against=floor)


def _peer(bench: Bench, peer: Peer, mode: str, runs: int) -> Contestant:
    def play() -> Mapping[str, float]:
        system = peer.found()
        with bench.server.database() as database:
            system.play("fill", url=database.url, runs=0)
            answer = system.play(mode, url=database.url, runs=runs)
        return {mode: runs / seconds_of(answer)}

    return Contestant(peer.name, {}, play)


def _many(bench: Bench, system: System, wakeups: bool, against: Contestant | None) -> Contestant:
    producers, each = bench.sizes.producers, bench.sizes.singles
    task: dict[str, object] = {"runs": each, "wakeups": wakeups, "driver": "psycopg"}

    def play() -> Mapping[str, float]:
        with filled(bench, 0) as database, _listening(database):
            task["url"] = database.url
            answers = play_together(system, "single", [task] * producers)
            _check_submitted(database, producers * each)
        return {"producers": producers * each / seconds_of(*answers)}

    settings: dict[str, Setting] = {"producers": producers, "wake-ups": wakeups}
    return Contestant(system.name, settings, play, against=against)


@contextmanager
def _listening(database: Database) -> Iterator[None]:
    """Listen as an idle worker does, without the worker: its own work is not to be measured."""
    with database.connect() as connection:
        connection.execute(f"listen {channel(DEFAULT_SCHEMA)}".encode())
        yield


def _check_submitted(database: Database, runs: int) -> None:
    events = database.value("select count(*) from workflow.workflow_event")
    there = database.value("select count(*) from workflow.workflow_run")
    # Each process submits one more before it is measured.
    if events != there or there < runs:
        raise BenchmarkError(f"of {runs} runs, {there} are there, with {events} events")
