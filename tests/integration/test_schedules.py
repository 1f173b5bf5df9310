"""Schedules at work: in pollers and tickers, beside other programs, where something is amiss."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import foreign
import pytest
from servers import Server, schema_of
from test_plans import Explained
from workers import PATIENCE, Seen, a_poller, met, working

from simpleworkflow import Client, StoreUnavailable, Ticker, UsageError, migrate, open_store
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.core.events import PollSucceeded, RunStarted
from simpleworkflow.core.routing import Route
from simpleworkflow.testing import FakeClock
from simpleworkflow.worker import session, ticker
from simpleworkflow.worker.ticker import TICK, Ticks

HOUR = timedelta(hours=1)
HOURLY = "0 * * * *"


class Noting(MemoryStore):
    """A store that notes what it is asked, and lets a test wait until it has fired schedules."""

    def __init__(self, clock=None):
        super().__init__(clock)
        self.asked = []
        self.fired = threading.Event()

    def claim(self, *args):
        self.asked.append("claim")
        return super().claim(*args)

    def rescue(self, *args):
        self.asked.append("rescue")
        return super().rescue(*args)

    def due_schedules(self, limit):
        self.asked.append("tick")
        return super().due_schedules(limit)

    def fire_schedules(self, firings):
        submitted = super().fire_schedules(firings)
        self.fired.set()
        return submitted


@pytest.fixture
def quick_ticks(monkeypatch):
    """Looks at schedules follow each other soon, so that a clock that was moved is noticed."""
    monkeypatch.setattr(ticker, "TICK", 0.2)
    monkeypatch.setattr(session, "TICK", 0.2)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def on_clock(store_url, clock):
    """The store at a clock that the test moves."""
    store = open_store(store_url, clock=clock)
    yield store
    store.close()


# Pollers and tickers


def test_a_drain_fires_what_is_due_and_executes_it(on_clock, clock):
    """Whoever tests a program with schedules moves the clock and drains."""
    done = []
    poller = a_poller(on_clock)
    poller.register_executor("report.v1", lambda run: done.append(run.payload))
    Client(on_clock).schedules.create("report.v1", {"n": 1}, cron=HOURLY)
    assert poller.drain(PATIENCE) == 0
    clock.advance(HOUR)
    assert poller.drain(PATIENCE) == 1
    clock.advance(HOUR)
    assert poller.drain(PATIENCE) == 1
    assert done == [{"n": 1}, {"n": 1}]


def test_an_idle_worker_fires_while_it_waits_for_runs(on_clock, clock, quick_ticks):
    """It does not wait for its next poll, and executes what it fired at once."""
    began, seen = threading.Event(), Seen()
    poller = a_poller(on_clock, poll_interval=3600, observers=[seen])
    poller.register_executor("report.v1", lambda run: began.set())
    Client(on_clock).schedules.create("report.v1", {}, cron=HOURLY)
    with working(poller):
        # After the first it begins to listen, and after the second it waits.
        seen.wait(PollSucceeded, 2)
        clock.advance(HOUR)
        met(began)


def test_an_idle_worker_is_woken_by_what_another_one_fires(on_clock, clock, quick_ticks):
    """As by any other submit."""
    began, seen = threading.Event(), Seen()
    poller = a_poller(on_clock, poll_interval=3600, schedules=False, observers=[seen])
    poller.register_executor("report.v1", lambda run: began.set())
    Client(on_clock).schedules.create("report.v1", {}, cron=HOURLY)
    with working(poller):
        seen.wait(PollSucceeded, 2)
        clock.advance(HOUR)
        assert Ticks(on_clock).tick() == 1
        met(began)


def test_a_wake_up_at_the_time_of_a_tick_is_not_lost(on_clock, monkeypatch):
    """It is heard beside the tick, though that has nothing to fire."""
    monkeypatch.setattr(ticker, "TICK", 0.0)
    seen = Seen()
    poller = a_poller(on_clock, poll_interval=3600, observers=[seen])
    poller.register_executor("t.v1", lambda run: None)
    with working(poller):
        seen.wait(PollSucceeded, 2)
        Client(on_clock).submit("t.v1", {})
        seen.wait(RunStarted)


def test_a_worker_whose_slots_are_all_taken_fires_on(clock, quick_ticks):
    """Others may execute what it fires."""
    store, seen, end = Noting(clock), Seen(), threading.Event()
    poller = a_poller(store, observers=[seen])
    poller.register_executor("long.v1", lambda run: end.wait(PATIENCE))
    client = Client(store)
    client.schedules.create("report.v1", {}, cron=HOURLY)
    client.submit("long.v1", {})
    with working(poller):
        seen.wait(RunStarted)
        clock.advance(HOUR)
        try:
            met(store.fired)
        finally:
            end.set()


def test_a_poller_may_be_told_not_to(clock):
    """Then it does not even look."""
    store, seen = Noting(clock), Seen()
    poller = a_poller(store, schedules=False, observers=[seen])
    poller.register_executor("%", lambda run: None)
    Client(store).schedules.create("report.v1", {}, cron=HOURLY)
    clock.advance(HOUR)
    with working(poller):
        seen.wait(PollSucceeded, 5)
    assert "tick" not in store.asked
    assert "claim" in store.asked


def test_an_idle_worker_sends_two_statements_a_poll(quick_ticks):
    """A look at schedules takes the place of one for expired leases, which comes a poll later."""
    store, seen = Noting(), Seen()
    poller = a_poller(store, observers=[seen])
    poller.register_executor("t.v1", lambda run: None)
    with working(poller):
        seen.wait(PollSucceeded, 60)
    polls = store.asked.count("claim")
    assert store.asked.count("tick") >= 3
    # At the start, when it has missed nothing yet, it looks at both.
    assert store.asked.count("tick") + store.asked.count("rescue") <= polls + 2
    # And what has waited for one poll does not wait for another one.
    assert "claim tick claim tick claim" not in " ".join(store.asked)
    assert store.asked.count("rescue") >= polls / 2


def test_looks_at_schedules_do_not_crowd_out_those_for_expired_leases(monkeypatch):
    """However often they come between two polls."""
    monkeypatch.setattr(ticker, "TICK", 0.02)
    monkeypatch.setattr(session, "TICK", 0.02)
    store, seen = Noting(), Seen()
    poller = a_poller(store, observers=[seen])
    poller.register_executor("t.v1", lambda run: None)
    with working(poller):
        seen.wait(PollSucceeded, 20)
    assert store.asked.count("tick") > store.asked.count("claim")
    assert store.asked.count("rescue") >= store.asked.count("claim") / 2


def test_an_idle_worker_looks_once_a_tick(clock):
    """And in between only when the next firing is due."""
    store = MemoryStore(clock)
    schedules = Client(store).schedules

    def wait_after_a_tick():
        ticks = Ticks(store)
        asked_at = time.monotonic()
        ticks.tick()
        answered_at = time.monotonic()
        return ticks.due_at - answered_at, ticks.due_at - asked_at

    def assert_waits(seconds):
        least, most = wait_after_a_tick()
        assert least <= seconds <= most

    assert_waits(TICK)
    schedules.create("t.v1", {}, cron=HOURLY)
    assert_waits(TICK)
    clock.advance(HOUR - timedelta(seconds=3))
    assert_waits(3)
    clock.advance(3)
    # Fired, and far from the next.
    assert_waits(TICK)
    ticks = Ticks(store)
    ticks.tick()
    clock.advance(HOUR)
    assert ticks.tick() == 0, "it is not due yet"


def test_a_ticker_fires_until_stopped(on_clock, clock, quick_ticks):
    """Without executing anything."""
    client = Client(on_clock)
    client.schedules.create("report.v1", {}, cron=HOURLY)
    alone = Ticker(on_clock)
    thread = threading.Thread(target=alone.start, daemon=True)
    thread.start()
    clock.advance(HOUR)
    pause = threading.Event()
    while not (runs := on_clock.runs(Route.of(["%"]), 10)):
        assert thread.is_alive()
        pause.wait(0.02)
    alone.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert [run.status for run in runs] == ["pending"]


def test_a_ticker_that_is_stopped_before_it_starts_does_not(one_database_url):
    """Its store is closed; one that the caller made is not."""
    migrate(one_database_url)
    early = Ticker(one_database_url)
    early.stop()
    early.start()
    store = open_store(one_database_url)
    late = Ticker(store)
    late.stop()
    late.start()
    assert Client(store).schedules.list() == []
    store.close()


def test_two_pollers_and_a_ticker_fire_each_once(on_clock, clock, quick_ticks):
    """Hour by hour, all at work at once."""
    payloads, done = [], threading.Semaphore(0)

    def execute(run):
        payloads.append(run.payload)
        done.release()

    schedules = Client(on_clock).schedules
    for n in range(5):
        schedules.create("report.v1", n, cron=HOURLY)
    # The clock moves by hours while they are at work: no lease should run out by that.
    pollers = [a_poller(on_clock, worker_id=f"w{n}", lease_duration=10 * HOUR) for n in range(2)]
    for poller in pollers:
        poller.register_executor("report.v1", execute)
    alone = Ticker(on_clock)
    thread = threading.Thread(target=alone.start, daemon=True)
    with working(*pollers):
        thread.start()
        for _ in range(3):
            clock.advance(HOUR)
            for _ in range(5):
                assert done.acquire(timeout=PATIENCE)
    alone.stop()
    thread.join(PATIENCE)
    assert sorted(payloads) == sorted([*range(5)] * 3)


# What is amiss


class Away(Noting):
    """A store that cannot be asked for schedules twice."""

    def due_schedules(self, limit):
        if self.asked.count("tick") < 2:
            self.asked.append("tick")
            raise StoreUnavailable("the store is away")
        return super().due_schedules(limit)


def test_a_ticker_whose_store_is_away_tries_again(clock, caplog):
    """It is logged when it begins and when it ends, and runs are claimed meanwhile."""
    caplog.set_level(logging.INFO, "simpleworkflow.worker")
    store = Away(clock)
    client = Client(store)
    client.schedules.create("report.v1", {}, cron=HOURLY)
    clock.advance(HOUR)
    poller = a_poller(store)
    poller.register_executor("%", lambda run: None)
    client.submit("t.v1", {})
    with working(poller):
        met(store.fired)
    told = [record.getMessage() for record in caplog.records if "firing" in record.getMessage()]
    assert told == [
        "firing schedules fails, will keep trying: the store is away",
        "firing schedules works again after 2 failures",
    ]


class OnlyRuns:
    """A store of somebody else's that keeps runs and nothing else."""

    def __init__(self):
        store = MemoryStore()
        for name in ["submit", "claim", "extend", "settle", "rescue", "cancel", "get", "close"]:
            setattr(self, name, getattr(store, name))

    def __repr__(self):
        return "<OnlyRuns>"


def test_a_store_that_keeps_no_schedules_serves_runs_all_the_same():
    """And says so to whoever asks for schedules."""
    store = OnlyRuns()
    poller = a_poller(store)
    poller.register_executor("t.v1", lambda run: None)
    client = Client(store)
    client.submit("t.v1", {})
    assert poller.drain(PATIENCE) == 1
    with pytest.raises(UsageError, match="<OnlyRuns> keeps no schedules"):
        client.schedules.list()
    with pytest.raises(UsageError, match="<OnlyRuns> keeps no schedules"):
        Ticker(store)


# Beside other programs


class Shared:
    """Tables that programs in another language made, and that were adopted."""

    def __init__(self, server: Server, url: str) -> None:
        self.url, self.schema = url, schema_of(url)
        self.connection = server.connect()
        self.run(foreign.TABLES)
        migrate(url)

    def run(self, statement, params=None):
        """Run a statement of theirs; `{schema}` stands for the schema."""
        cursor = self.connection.execute(statement.format(schema=self.schema), params)
        return cursor.fetchall() if cursor.description else []

    def insert(self, type_, cron, timezone, next_run_at, payload="{}"):
        """Insert a schedule as they do, and return its id."""
        return self.run(
            "insert into {schema}.workflow_schedule"
            " (type, payload, schedule, timezone, next_run_at)"
            f" values (%s, %s, %s, %s, {next_run_at}) returning id::text",
            [type_, payload, cron, timezone],
        )[0][0]

    def runs(self):
        """The type and the key of each run there is."""
        return self.run("select type, idempotency_key from {schema}.workflow_run order by type")


@pytest.fixture
def shared(server: Server, database_url: str) -> Iterator[Shared]:
    """Adopted tables on each real server."""
    made = Shared(server, database_url)
    yield made
    made.connection.close()


THEIR_KEY = "'schedule:' || id || ':' || floor(extract(epoch from next_run_at))::bigint"
"""As their ticker makes it."""

THEIR_LOOK = """
select id::text from {schema}.workflow_schedule
 where enabled and deleted_at is null and next_run_at <= now()
   for update skip locked
"""
THEIR_SUBMIT = f"""
insert into {{schema}}.workflow_run (type, payload, priority, max_attempts, idempotency_key)
select type, payload, priority, max_attempts, {THEIR_KEY} from {{schema}}.workflow_schedule
 where id = %s
    on conflict (idempotency_key) do nothing
"""
THEIR_MOVE = """
update {schema}.workflow_schedule
   set next_run_at = now() + interval '1 hour', last_run_at = now(), updated_at = now()
 where id = %s
"""


def tick(url):
    """Tick once, as a ticker that has just come."""
    store = open_store(url)
    try:
        return Ticks(store).tick()
    finally:
        store.close()


def test_what_they_insert_fires(shared):
    """Once, with the key that they would give it, and again when it is next."""
    id_ = shared.insert("go.v1", "0 7 * * 1", "Europe/Berlin", "now() - interval '5 s'", '{"a": 1}')
    [(key,)] = shared.run(f"select {THEIR_KEY} from {{schema}}.workflow_schedule")

    assert tick(shared.url) == 1
    assert tick(shared.url) == 0

    assert shared.runs() == [("go.v1", key)]
    with Client(shared.url) as client:
        schedule = client.schedules.get(id_)
        assert (schedule.payload, schedule.catch_up, schedule.headers) == ({"a": 1}, "latest", {})
        assert schedule.next_run_at.astimezone().minute == 0
        assert shared.run("select next_run_at > now() from {schema}.workflow_schedule") == [(True,)]


def test_what_they_submitted_is_not_submitted_again(shared):
    """Their ticker died before it moved the schedule on; that is what is left to do."""
    id_ = shared.insert("go.v1", HOURLY, "UTC", "now() - interval '5 s'")
    shared.run(THEIR_SUBMIT, [id_])
    before = shared.runs()

    assert tick(shared.url) == 0

    assert shared.runs() == before
    assert shared.run("select next_run_at > now() from {schema}.workflow_schedule") == [(True,)]


def test_what_they_are_firing_is_left_to_them(shared, server):
    """We pass it over while they hold it, and find it fired when they are done."""
    id_ = shared.insert("go.v1", HOURLY, "UTC", "now() - interval '5 s'")
    mine = shared.insert("py.v1", HOURLY, "UTC", "now() - interval '5 s'")
    shared.run("begin")
    shared.run(THEIR_LOOK.replace("next_run_at <= now()", "type = 'go.v1'"))

    assert tick(shared.url) == 1

    shared.run(THEIR_SUBMIT, [id_])
    shared.run(THEIR_MOVE, [id_])
    shared.run("commit")
    assert tick(shared.url) == 0
    assert [(type_, key.split(":")[1]) for type_, key in shared.runs()] == [
        ("go.v1", id_),
        ("py.v1", mine),
    ]


def test_a_ticker_that_was_cut_off_leaves_nothing_half_done(shared, server):
    """The run and the schedule's next firing are written together, or neither is."""
    shared.insert("go.v1", HOURLY, "UTC", "now() - interval '5 s'")
    shared.run(
        "create function {schema}.refuse() returns trigger language plpgsql as"
        " $$ begin raise exception 'cut off' using errcode = '57P01'; end $$;"
        " create trigger refuse before update on {schema}.workflow_schedule"
        " for each row execute function {schema}.refuse()"
    )
    assert tick(shared.url) == 0
    assert shared.runs() == []
    shared.run("drop trigger refuse on {schema}.workflow_schedule")
    assert tick(shared.url) == 1


UNREADABLE = [
    ("@daily", "UTC", "now()"),
    ("0 0 9 * * 1", "UTC", "now()"),
    ("0 9 * * 1", "Local", "now()"),
    ("0 0 30 2 *", "UTC", "'-infinity'"),
    ("CRON_TZ=UTC 0 9 * * 1", "UTC", "'0001-01-01Z'"),
    ("", "", "now()"),
]


def test_what_we_cannot_read_stops_nothing_else(shared, caplog, monkeypatch):
    """It is told once, shown, left as it is; and fires when it has been mended."""
    monkeypatch.setattr(ticker, "BATCH", 2)
    odd = [shared.insert("odd.v1", *row) for row in UNREADABLE]
    shared.insert("never.v1", HOURLY, "UTC", "'infinity'")
    shared.insert("old.v1", HOURLY, "UTC", "'-infinity'")
    shared.insert("good.v1", HOURLY, "UTC", "now() - interval '1 s'")
    rows = "select s::text from {schema}.workflow_schedule s where type = 'odd.v1' order by id"
    before = shared.run(rows)
    caplog.set_level(logging.WARNING, "simpleworkflow.worker")
    store = open_store(shared.url)
    ticks = Ticks(store)
    submitted = 0
    for _ in range(8):
        ticks.due_at = 0.0
        submitted += ticks.tick()

    assert submitted == 2
    assert {type_ for type_, _ in shared.runs()} == {"good.v1", "old.v1"}
    problems = {id_: Client(store).schedules.get(id_).problem for id_ in odd}
    assert sorted(record.getMessage() for record in caplog.records) == sorted(
        f"schedule {id_} is left alone until it is changed: {problem}"
        for id_, problem in problems.items()
    )
    assert shared.run(rows) == before

    Client(store).schedules.update(odd[0], cron=HOURLY)
    shared.run("update {schema}.workflow_schedule set next_run_at = now() where id = %s", [odd[0]])
    ticks.due_at = 0.0
    assert ticks.tick() == 1
    store.close()


def test_a_schedule_whose_runs_the_database_refuses_stops_no_other(shared, caplog):
    """Somebody added a constraint: one schedule breaks it, the other one fires."""
    shared.run(
        "alter table {schema}.workflow_run add constraint no_bad check (type <> 'bad.v1') not valid"
    )
    bad = shared.insert("bad.v1", HOURLY, "UTC", "now() - interval '2 s'")
    shared.insert("good.v1", HOURLY, "UTC", "now() - interval '1 s'")
    caplog.set_level(logging.WARNING, "simpleworkflow.worker")

    assert tick(shared.url) == 1

    assert [type_ for type_, _ in shared.runs()] == ["good.v1"]
    [record] = caplog.records
    assert record.getMessage().startswith(f"schedule {bad} is left alone until it is changed: ")
    assert "no_bad" in record.getMessage()


def test_an_idle_ticker_reads_one_row_by_the_index(shared, server):
    """However many schedules there are."""
    shared.run(
        "insert into {schema}.workflow_schedule (type, schedule, next_run_at)"
        " select 'a.b.v1', '0 0 1 1 *', now() + n * interval '1 hour'"
        " from generate_series(1, 5000) n"
    )
    explained = Explained(server, shared.schema)
    try:
        nodes = explained.nodes("due_schedules", {"limit": 100})
    finally:
        explained.close()
    looks = [n for n in nodes if n.get("Relation Name") == "workflow_schedule"]
    assert {node["Node Type"] for node in looks} == {"Index Scan"}
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in looks) == 1
