"""The harness sees broken promises: each kind is made here, and told."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from faults.facts import Fact
from faults.promises import broken

from simpleworkflow import IntentPoller
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.client import Client
from simpleworkflow.core.records import Event
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import Status

EVERYTHING = Route.of(["%"])


@pytest.fixture
def store() -> MemoryStore:
    """A store with one run that has succeeded, under its first fence."""
    store = MemoryStore()
    poller = IntentPoller(store)
    poller.register_executor("t.v1", lambda run: None)
    Client(store).submit("t.v1", {})
    assert poller.drain() == 1
    return store


def fact(what: str, *words: object) -> Fact:
    """Something written down."""
    return Fact(0.0, "somebody", what, tuple(map(str, words)))


def problems(store: MemoryStore, *facts: Fact) -> str:
    """What is said of a store and such facts."""
    return "; ".join(broken(store.runs(EVERYTHING, 100), store, facts))


def test_nothing_is_said_of_what_holds(store):
    """A run that was promised, executed and settled once is in order."""
    (run,) = store.runs(EVERYTHING, 1)
    written = [
        fact("submitted", run.id),
        fact("effect", run.id, 1),
        fact("settled", run.id, 1, "succeed", "applied"),
    ]
    assert problems(store, *written) == ""


def test_a_run_that_was_promised_and_is_not_there(store):
    """Its submit had returned."""
    assert "1 runs do not exist, such as lost" in problems(store, fact("submitted", "lost"))


@pytest.mark.parametrize("is_leased", [False, True])
def test_a_run_that_has_not_ended(store, is_leased):
    """Whether it waits or is held."""
    Client(store).submit("t.v1", {})
    if is_leased:
        store.claim(EVERYTHING, 1, "w", timedelta(seconds=1))
    assert "1 runs have not ended" in problems(store)


def test_a_run_executed_twice_under_one_fence(store):
    """Once under each of two is what a rescue does."""
    assert problems(store, fact("effect", "r", 1), fact("effect", "r", 2)) == ""
    twice = [fact("effect", "r", 1)] * 2
    assert "executed twice under one fence" in problems(store, *twice)


def test_a_success_that_is_not_in_the_table(store):
    """A worker was told that it settled the run under another fence."""
    (run,) = store.runs(EVERYTHING, 1)
    told = fact("settled", run.id, 7, "succeed", "applied")
    assert "workers were told {7}" in problems(store, told)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda events: events[:-1], "is not legal"),
        (lambda events: [*events, events[-1]], "is not legal"),
        (lambda events: [events[0], events[2]], "is not legal"),
        (lambda events: events[1:], "is not legal"),
    ],
    ids=["an event missing", "settled twice", "never leased", "never created"],
)
def test_a_history_that_is_not_legal(store, change, words):
    """It must lead by legal moves to what the run shows."""

    class Changed(MemoryStore):
        def events(self, run_id: str) -> list[Event]:
            return change(store.events(run_id))

    assert words in "; ".join(broken(store.runs(EVERYTHING, 1), Changed(), []))


def test_a_run_that_shows_another_status_than_its_history(store):
    """The two are written together, always."""
    (run,) = store.runs(EVERYTHING, 1)
    wrong = attrs.evolve(run, status=Status.FAILED)
    assert "is not legal" in "; ".join(broken([wrong], store, []))
