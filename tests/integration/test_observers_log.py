"""The log of a worker: each line about a run says which, and what goes well makes no noise."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from workers import AT_ONCE, PATIENCE, Seen, a_poller, met, until, working

from simpleworkflow import Client, RetryPolicy
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.core import pacing
from simpleworkflow.core.events import BacklogSampled, RunSettled
from simpleworkflow.core.records import Settled, Verdict
from simpleworkflow.core.roster import Announcement
from simpleworkflow.core.routing import Route
from simpleworkflow.testing import FakeClock
from simpleworkflow.worker import heartbeat, sampler

LEASE = timedelta(seconds=30)
CUT_OFF = "died or was cut off: its lease ran out during attempt 1 of 3"
FIELDS = {"run_id", "type", "attempt", "worker_id", "duration"}


class Unprintable(Exception):
    """Ends who prints it."""

    @property
    def __notes__(self) -> list[str]:
        raise SystemExit(3)


class Scene:
    """A store with one run, and a worker that is about to meet it.

    Attributes:
        refuses: results are what the store cannot hold.
    """

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.refuses = False
        scene = self

        class Store(MemoryStore):
            def settle(self, settlements):
                if scene.refuses and settlements[0].result_json is not None:
                    return [Settled(Verdict.UNSTORABLE, "too odd")]
                return super().settle(settlements)

        self.store = Store(self.clock)
        self.client = Client(self.store)
        self.run_id = self.client.submit("t.v1", {}).id

    def work(self, executor: Callable[[Any], Any] = lambda run: None, **options: Any) -> None:
        """Work until nothing is left, and no other attempt is due."""
        poller = a_poller(self.store, **options)
        poller.register_executor("t.v1", executor)
        poller.drain(PATIENCE)

    def fails(self) -> None:
        self.work(raising(ValueError("no use")))

    def fails_unprintably(self) -> None:
        self.work(raising(Unprintable()))

    def takes_too_long(self) -> None:
        ended = threading.Event()
        seen = Seen()

        def executor(run: Any) -> None:
            met(ended)

        poller = a_poller(self.store, observers=[seen], execution_timeout=0.05)
        poller.register_executor("t.v1", executor)
        with working(poller):
            seen.wait(RunSettled)
            ended.set()

    def cannot_be_stored(self) -> None:
        self.refuses = True
        self.work()

    def is_cancelled_and_stops(self) -> None:
        def executor(run: Any) -> None:
            self.client.cancel(run.id)
            until(run.is_cancelled)
            run.raise_if_cancelled()

        self.work(executor)

    def is_cancelled_and_goes_on(self) -> None:
        self.work(lambda run: self.client.cancel(run.id))

    def is_rescued(self) -> None:
        assert len(self.store.claim(Route.of(["t.v1"]), 1, "dead", LEASE)) == 1
        self.clock.advance(LEASE)
        self.work()

    def is_lost(self) -> None:
        def executor(run: Any) -> None:
            self.clock.advance(LEASE)
            assert len(self.store.rescue(Route.of(["t.v1"]), 1, "thief", LEASE)) == 1

        self.work(executor)

    def has_a_curve_that_raises(self) -> None:
        def curve(failures: int) -> timedelta:
            raise LookupError("no such curve")

        self.work(raising(ValueError("no use")), retry_policy=RetryPolicy(curve))

    def has_a_curve_of_nonsense(self) -> None:
        policy = RetryPolicy(lambda failures: "soon")  # type: ignore[arg-type, return-value]
        self.work(raising(ValueError("no use")), retry_policy=policy)


def raising(error: BaseException) -> Callable[[Any], None]:
    """An executor that raises this."""

    def executor(run: Any) -> None:
        raise error

    return executor


LINES = {
    "claimed": ("DEBUG", "run {id} (t.v1) is claimed", Scene.work, False),
    "succeeded": ("DEBUG", "run {id} (t.v1) is succeeded", Scene.work, True),
    "tried again": ("DEBUG", "run {id} (t.v1) is pending", Scene.fails, True),
    "failed": ("ERROR", "run {id} (t.v1) failed on attempt 1 of 3", Scene.fails, True),
    "unprintable": (
        "ERROR",
        "run {id} (t.v1) failed on attempt 1 of 3: its error cannot be printed",
        Scene.fails_unprintably,
        True,
    ),
    "out of time": (
        "ERROR",
        "run {id} failed: TimeoutError: execution_timeout of 0.05 s exceeded",
        Scene.takes_too_long,
        True,
    ),
    "unstorable": (
        "ERROR",
        "run {id} failed: the result cannot be stored: too odd",
        Scene.cannot_be_stored,
        True,
    ),
    "stopped": ("INFO", "run {id} stopped: it was cancelled", Scene.is_cancelled_and_stops, True),
    "cancelled": (
        "INFO",
        "the outcome of run {id} was not written: cancelled",
        Scene.is_cancelled_and_goes_on,
        True,
    ),
    "rescued": (
        "WARNING",
        f"run {{id}} (t.v1): worker 'dead' {CUT_OFF}",
        Scene.is_rescued,
        False,
    ),
    "lease lost": (
        "WARNING",
        "the lease of run {id} is lost: another worker has it, or it has ended",
        Scene.is_lost,
        False,
    ),
    "outcome lost": (
        "WARNING",
        "the outcome of run {id} was not written: lost",
        Scene.is_lost,
        True,
    ),
    "curve raised": (
        "ERROR",
        "the retry curve of t.v1 raised, the default serves",
        Scene.has_a_curve_that_raises,
        True,
    ),
    "policy failed": (
        "ERROR",
        "the retry policy of t.v1 failed, the default serves",
        Scene.has_a_curve_of_nonsense,
        True,
    ),
}
"""Each line about a run: its level, its words, what makes it, and whether an executor had run."""


@pytest.mark.parametrize(("level", "words", "happens", "has_run"), LINES.values(), ids=LINES)
def test_a_line_about_a_run_has_its_fields(caplog, monkeypatch, level, words, happens, has_run):
    """Which run, of what type, which attempt, by whom; and how long its executor ran, if it did."""
    monkeypatch.setattr(heartbeat, "CHECK_INTERVAL", 0.0)
    caplog.set_level(logging.DEBUG, "simpleworkflow.worker")
    scene = Scene()
    happens(scene)
    told = words.format(id=scene.run_id)
    [record] = [r for r in caplog.records if r.getMessage() == told]
    assert record.levelname == level
    assert record.name == "simpleworkflow.worker"
    assert (record.run_id, record.type, record.attempt) == (scene.run_id, "t.v1", 0)
    # Of a rescue it is the rescuer: who had the run is in the words.
    assert record.worker_id == "w"
    assert isinstance(record.duration, float) if has_run else record.duration is None
    # And so has any other line that was told meanwhile, but for those about the worker.
    others = [r for r in caplog.records if not r.getMessage().startswith("worker w ")]
    assert all(vars(other).keys() >= FIELDS for other in others)


def test_what_goes_well_makes_no_noise(caplog, store_url, client):
    """A worker says that it starts and that it has stopped, and of runs nothing but at DEBUG."""
    caplog.set_level(logging.DEBUG)
    poller = a_poller(store_url, concurrency=4)
    poller.register_executor("t.v1", lambda run: "fine")
    client.submit_many([{"type": "t.v1", "payload": n} for n in range(50)])
    assert poller.drain(PATIENCE) == 50
    ours = [r for r in caplog.records if r.name.startswith("simpleworkflow")]
    assert [(r.levelname, r.getMessage()) for r in ours if r.levelno > logging.DEBUG] == [
        ("INFO", "worker w starts, serving t.v1"),
        ("INFO", "worker w has stopped"),
    ]
    quiet = [r.getMessage() for r in ours if r.levelno == logging.DEBUG]
    assert sum(line.endswith("is claimed") for line in quiet) >= 50
    assert sum(line.endswith("is succeeded") for line in quiet) == 50


def test_an_attempt_is_told_by_its_number(caplog):
    """People count from 1, and the field as the run does, from 0."""
    store = MemoryStore()
    poller = a_poller(store, retry_policy=AT_ONCE)
    poller.register_executor("t.v1", raising(ValueError("no use")))
    Client(store).submit("t.v1", {}, max_attempts=2)
    assert poller.drain(PATIENCE) == 2
    told = [(r.attempt, r.getMessage().partition(" failed ")[2]) for r in caplog.records]
    assert told == [(0, "on attempt 1 of 2"), (1, "on attempt 2 of 2")]


def test_types_that_nobody_serves_are_told_once(caplog, monkeypatch):
    """However often it is looked at what waits; and again when it comes again."""
    monkeypatch.setattr(sampler, "EVERY", 0.02)
    monkeypatch.setattr(pacing, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(pacing, "LOOK_REST", 1)
    clock, seen = FakeClock(), Seen()
    store = MemoryStore(clock)
    client = Client(store)
    poller = a_poller(store, observers=[seen])
    poller.register_executor("t.v1", lambda run: None)

    def told() -> list[str]:
        begin = "runs wait for want of a worker that serves their type: "
        messages = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert all(message.startswith(begin) for message in messages)
        return [message.removeprefix(begin).partition(". ")[0] for message in messages]

    def looks(count: int) -> None:
        seen.wait(BacklogSampled, len(seen.of(BacklogSampled)) + count)

    client.submit("lost.b.v1", {})
    client.submit("lost.a.v1", {})
    clock.advance(60)
    with working(poller):
        looks(5)
        assert told() == ["lost.a.v1, lost.b.v1"]
        client.submit("other.v1", {})
        looks(3)
        clock.advance(60)
        looks(5)
        assert told() == ["lost.a.v1, lost.b.v1", "other.v1"]
        id_ = str(uuid.uuid4())
        store.announce(Announcement(id_, "v", "box", 1, "1.0", ("lost.%",), 1, clock()))
        looks(5)
        store.retire(id_)
        looks(5)
        assert told() == ["lost.a.v1, lost.b.v1", "other.v1", "lost.a.v1, lost.b.v1"]
