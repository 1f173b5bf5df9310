"""The roster law."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from attrs import evolve

from simpleworkflow.core.roster import (
    ALIVE_FOR,
    ANNOUNCE_EVERY,
    KEPT_FOR,
    UNSERVED,
    Worker,
    is_forgotten,
    route_of,
    unserved,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
WORKER = Worker(
    id="0b9d7c52-5a8e-4a9b-8f43-0d8a4c6d2f10",
    worker_id="w",
    hostname="box",
    pid=1,
    version="1.0",
    patterns=("mail.%",),
    concurrency=1,
    started_at=NOW,
    seen_at=NOW,
    silence=timedelta(0),
    skew=timedelta(0),
)


def test_two_announcements_may_be_missed() -> None:
    """The third comes just in time."""
    assert 3 * ANNOUNCE_EVERY == ALIVE_FOR
    assert evolve(WORKER, silence=ALIVE_FOR).is_alive
    assert not evolve(WORKER, silence=ALIVE_FOR + TICK).is_alive


def test_a_worker_that_vanished_is_kept_to_be_seen() -> None:
    """For an hour, which is longer than it counts as alive."""
    assert not is_forgotten(NOW, NOW + KEPT_FOR)
    assert is_forgotten(NOW, NOW + KEPT_FOR + TICK)
    assert KEPT_FOR > ALIVE_FOR


def test_what_is_served_is_what_the_living_serve() -> None:
    """All of them together."""
    gone = evolve(WORKER, patterns=("gone.v1",), silence=2 * ALIVE_FOR)
    other = evolve(WORKER, patterns=("mail.sms.v1", "bill.v1"))

    served = route_of([WORKER, gone, other])

    assert str(served) == "bill.v1, mail.%"
    assert not served.matches("gone.v1")
    assert not route_of([])


def test_a_type_is_unserved_when_its_runs_wait_for_a_minute() -> None:
    """A program that announces nothing gets so long; what the living serve only waits."""
    gone = evolve(WORKER, patterns=("gone.v1",), silence=2 * ALIVE_FOR)
    due = {
        "bill.v1": UNSERVED,
        "bill.v2": UNSERVED - TICK,
        "gone.v1": 2 * UNSERVED,
        "mail.sms.v1": 2 * UNSERVED,
    }

    assert timedelta(minutes=1) == UNSERVED
    assert unserved(due, [WORKER, gone]) == ["bill.v1", "gone.v1"]
    assert unserved(due, []) == ["bill.v1", "gone.v1", "mail.sms.v1"]
    assert unserved({}, [WORKER]) == []
