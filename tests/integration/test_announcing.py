"""Workers announce themselves while they are at work, which costs little and can harm nothing."""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from servers import schema_of
from workers import PATIENCE, Seen, a_poller, met, run_once, until, working

from simpleworkflow import Client, StoreError, StoreUnavailable, migrate, open_store
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.core.events import PollSucceeded
from simpleworkflow.core.roster import Announcement
from simpleworkflow.worker import announcer


class Heard(MemoryStore):
    """Keeps what is announced, and lets a test wait for so many announcements.

    Attributes:
        error: raised in place of taking an announcement.
    """

    error: Exception | None = None

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Announcement] = []
        self._is_heard = threading.Condition()

    def announce(self, announcement: Announcement) -> None:
        with self._is_heard:
            self.heard.append(announcement)
            self._is_heard.notify_all()
        if self.error is not None:
            raise self.error
        super().announce(announcement)

    def wait(self, count: int) -> list[Announcement]:
        """Return what was announced so far, once there is so much."""
        with self._is_heard:
            assert self._is_heard.wait_for(lambda: len(self.heard) >= count, PATIENCE)
            return list(self.heard)


@pytest.fixture
def store() -> Heard:
    """An empty store."""
    return Heard()


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers announce themselves all the time."""
    monkeypatch.setattr(announcer, "ANNOUNCE_EVERY", timedelta(milliseconds=5))


def a_worker(url: Any, **options: Any) -> Any:
    """A poller that serves something."""
    poller = a_poller(url, **options)
    poller.register_executor("mail.%", lambda run: None)
    return poller


def announcing(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of announcing."""
    told = [record.getMessage() for record in caplog.records]
    return [line for line in told if line.startswith("announcing")]


def test_a_worker_is_on_the_roster_while_it_is_at_work(store_url):
    """With its name, its place and what it claims; when it has stopped it is not."""
    with closing(open_store(store_url)) as store, Client(store_url) as client:
        found = []

        def look(run: Any) -> None:
            until(store.workers)
            found.extend(store.workers())

        poller = a_poller(store_url, ["mail.%"], concurrency=3)
        for pattern in ("mail.sms.v1", "mail.letter.%", "bill.v1"):
            poller.register_executor(pattern, look)
        client.submit("mail.sms.v1", {})
        assert poller.drain(PATIENCE) == 1
        assert store.workers() == []
    [worker] = found
    assert (worker.worker_id, worker.concurrency) == ("w", 3)
    assert (worker.hostname, worker.pid) == (socket.gethostname(), os.getpid())
    assert worker.patterns == ("mail.letter.%", "mail.sms.v1")
    assert worker.version
    assert worker.is_alive
    assert abs(worker.skew) < timedelta(seconds=5)


def test_workers_of_one_name_are_told_apart(store):
    """Each life of each of them has an id of its own."""
    with working(a_worker(store), a_worker(store)):
        store.wait(2)
        assert len(store.workers()) == 2
    run_once(store)
    assert len({said.id for said in store.wait(3)}) == 3


@pytest.mark.usefixtures("_often")
def test_an_executor_that_comes_later_is_announced(store):
    """What a worker serves may change while it works."""
    poller = a_worker(store)
    with working(poller):
        store.wait(1)
        poller.register_executor("bill.v1", lambda run: None)
        assert store.wait(len(store.heard) + 2)[-1].patterns == ("bill.v1", "mail.%")


def test_an_idle_worker_announces_itself_no_more_often_than_it_has_to(store):
    """Once, and then not before its time, however often it polls."""
    watch = Seen()
    with working(a_worker(store, poll_interval=0.01, observers=[watch])):
        watch.wait(PollSucceeded, 50)
    assert len(store.heard) == 1


@pytest.mark.usefixtures("_often")
def test_announcing_takes_no_connection_more(server, database_url):
    """An idle worker holds three at most, whatever it says of itself."""
    migrate(database_url)
    url = f"{database_url}&application_name={uuid4().hex}"
    watch, name = Seen(), url.rpartition("=")[2]
    with closing(open_store(url)) as store, server.connect() as beside:
        heard = threading.Semaphore(0)
        announce = store.announce

        def announce_and_tell(announcement: Announcement) -> None:
            announce(announcement)
            heard.release()

        store.announce = announce_and_tell
        with working(a_worker(store, observers=[watch])):
            assert all(heard.acquire(timeout=PATIENCE) for _ in range(20))
            watch.wait(PollSucceeded, 5)
            found = beside.execute(
                "select count(*) from pg_stat_activity where application_name = %s", [name]
            ).fetchone()
    assert 1 <= found[0] <= 3


@pytest.mark.usefixtures("_often")
def test_what_cannot_be_announced_is_logged_once_and_harms_nothing(store, caplog):
    """Runs are executed meanwhile; that it works again is logged as well."""
    caplog.set_level(logging.INFO)
    store.error = StoreError("no right")
    poller = a_worker(store)
    with working(poller):
        store.wait(5)
        run_id = store_run(store)
        ended = threading.Event()
        poller.register_executor("last.v1", lambda run: ended.set())
        store_run(store, "last.v1")
        met(ended)
        store.error = None
        store.wait(len(store.heard) + 2)
    assert store.get(run_id).status == "succeeded"
    begins, ends = announcing(caplog)
    assert begins == "announcing the worker fails, will keep trying: no right"
    assert ends.startswith("announcing the worker works again after")


@pytest.mark.usefixtures("_often")
def test_a_store_that_is_away_is_told_of_by_the_polls_alone(store, caplog):
    """One trouble is not logged twice."""
    store.error = StoreUnavailable("away")
    with working(a_worker(store)):
        store.wait(5)
    assert announcing(caplog) == []


@pytest.mark.usefixtures("_often")
def test_a_database_without_the_table_is_worked_on_all_the_same(server, database_url, caplog):
    """Somebody dropped it: the log says so once."""
    migrate(database_url)
    with server.connect() as connection:
        connection.execute(f"drop table {schema_of(database_url)}.workflow_worker")
    assert run_once(database_url, lambda run: until(lambda: "announcing" in caplog.text)) == (
        "succeeded"
    )
    assert len(announcing(caplog)) == 1


def test_a_stop_does_not_wait_for_the_roster(store, monkeypatch):
    """A database that does not answer keeps no process alive."""
    monkeypatch.setattr(announcer, "LEAVE_TIMEOUT", 0.01)
    is_over = threading.Event()
    retire = store.retire

    def retire_late(id_: str) -> None:
        met(is_over)
        retire(id_)

    store.retire = retire_late
    assert run_once(store) == "succeeded"
    assert len(store.workers()) == 1
    is_over.set()


def test_a_system_without_threads_to_spare_has_workers_all_the_same(store, monkeypatch):
    """They work unannounced."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(announcer.Announcer, "start", refuse)
    assert run_once(store) == "succeeded"
    assert store.heard == []


def test_announcements_leave_nothing_for_vacuum(server, database_url):
    """The room in the page of a worker's row is used again and again, its index is not touched."""
    migrate(database_url)
    said = Announcement(
        str(uuid4()), "w" * 50, "h" * 50, 1, "1.0", ("mail.%", "bill.%"), 4, datetime.now(UTC)
    )
    with closing(open_store(database_url)) as store:
        for _ in range(1_000):
            store.announce(said)
    table = f"{schema_of(database_url)}.workflow_worker"
    with server.connect() as connection:
        sizes = connection.execute(
            "select pg_relation_size(%s::regclass), pg_indexes_size(%s::regclass)", [table, table]
        ).fetchone()
    assert sizes == (8_192, 16_384)


def store_run(store: Any, type_: str = "mail.v1") -> str:
    """Submit a run and return its id."""
    return Client(store).submit(type_, {}).id
