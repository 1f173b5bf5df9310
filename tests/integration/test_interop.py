"""Both sides at work on one database: what holds, and what happens where nothing is promised.

The order is that of docs/interop.md, whose SQL is run here as it stands.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import foreign
import psycopg
import pytest
from documents import ROOT, blocks_in
from foreign_team import Shared
from servers import Server
from strangers import Database, new_database
from workers import AT_ONCE, PATIENCE, Seen, a_poller, met, working

from simpleworkflow import (
    Client,
    IntentPoller,
    LeaseLost,
    PermanentFailure,
    WorkflowRun,
    migrate,
    open_store,
)
from simpleworkflow.backends.postgres.wakeup import channel
from simpleworkflow.core.events import PollSucceeded, RunSettled
from simpleworkflow.core.records import Verdict
from simpleworkflow.core.routing import Route

PAGE = ROOT / "docs/interop.md"
SECONDS_TO_RETRY = "extract(epoch from run_at - updated_at) between 60 and 66"


class Both(Shared):
    """Their database, migrated, and ours to use.

    Attributes:
        ours: the URL by one of our drivers.
        client: of ours.
    """

    def __init__(self, server: Server, url: str, driver: str) -> None:
        super().__init__(server, url)
        migrate(url)
        self.ours = url.replace("postgresql:", f"postgresql+{driver}:")
        self.client = Client(self.ours)

    def __exit__(self, *error: object) -> None:
        """Disconnect."""
        self.client.close()
        super().__exit__(*error)

    def poller(self, **options: Any) -> IntentPoller:
        """A worker of ours for what both sides serve; what it fails it tries again at once."""
        return a_poller(self.ours, ["both.%"], **{"retry_policy": AT_ONCE} | options)


@pytest.fixture(params=["psycopg", "pg8000"])
def both(request: pytest.FixtureRequest, server: Server, database_url: str) -> Iterator[Both]:
    """A database of both sides, ours by each driver in turn."""
    with Both(server, database_url, request.param) as both:
        yield both


class Executing:
    """An executor of ours in the midst of a run, in a worker of its own; a context manager.

    Args:
        both: where.
        run_id: what it has to meet.
        fails: it ends with an exception.
        asks: it asks at its end whether the run is its own still.
        name: of the worker.

    Attributes:
        run: that it is at.
        lost: whether its heartbeat said so, at its end.
        is_cancelled: what it was told at its end.
    """

    def __init__(
        self,
        both: Both,
        run_id: str,
        *,
        fails: bool = False,
        asks: bool = True,
        name: str = "py",
    ) -> None:
        self.run: WorkflowRun
        self.lost = self.is_cancelled = False
        self._seen = Seen()
        self._fails, self._asks = fails, asks
        self._began, self._may_end = threading.Event(), threading.Event()
        poller = both.poller(worker_id=name, auto_heartbeat=False, observers=[self._seen])
        poller.register_executor("both.%", self._execute)
        self._run_id = run_id
        self._thread = threading.Thread(target=poller.drain, daemon=True)

    def _execute(self, run: WorkflowRun) -> str:
        self.run = run
        self._began.set()
        met(self._may_end)
        if self._asks:
            self._ask(run)
        if self._fails:
            raise PermanentFailure("ours")
        return "ours"

    def _ask(self, run: WorkflowRun) -> None:
        try:
            run.heartbeat()
        except LeaseLost:
            self.lost = True
        self.is_cancelled = run.is_cancelled()

    @property
    def verdict(self) -> Verdict:
        """What was answered to its outcome."""
        return self._seen.of(RunSettled)[-1].verdict

    def __enter__(self) -> Executing:
        """Wait until it is at work."""
        self._thread.start()
        met(self._began)
        assert self.run.id == self._run_id
        return self

    def __exit__(self, *_: object) -> None:
        """Let it come to its end, and its worker settle."""
        self._may_end.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


# What holds


def test_a_run_is_claimed_by_one_worker_of_either_side(both):
    """Of many runs by producers of both sides each is executed once, and both have their part."""
    runs = {both.insert() for _ in range(100)}
    runs |= {both.client.submit("both.v1", {}).id for _ in range(100)}
    executed: list[tuple[str, str]] = []
    theirs_began, ours_began = threading.Event(), threading.Event()

    def ours(run: WorkflowRun) -> None:
        met(theirs_began)
        executed.append((run.id, "ours"))
        ours_began.set()

    def theirs() -> None:
        with both.server.connect() as connection:
            sql = foreign.CLAIM.format(schema=both.schema)
            named = {"worker": threading.current_thread().name, "pattern": "both.%"}
            while claimed := connection.execute(sql, named).fetchall():
                executed.append((claimed[0][0], "theirs"))
                settle = foreign.SETTLE.format(schema=both.schema)
                connection.execute(settle, {"id": claimed[0][0], "result": "1"})
                theirs_began.set()
                met(ours_began)

    poller = both.poller(concurrency=2)
    poller.register_executor("both.%", ours)
    threads = [threading.Thread(target=theirs) for _ in range(2)]
    threads.append(threading.Thread(target=poller.drain))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert Counter(run_id for run_id, _ in executed) == Counter(runs)
    assert {side for _, side in executed} == {"ours", "theirs"}
    assert {both.run("status", run_id) for run_id in runs} == {("succeeded",)}


def test_a_key_makes_one_run_whoever_inserts_it(both):
    """Theirs first or ours first: the second finds the first."""
    theirs = both.insert(key="k-theirs")
    found = both.client.submit("both.v1", {}, idempotency_key="k-theirs")
    assert (found.id, found.created) == (theirs, False)
    ours = both.client.submit("both.v1", {}, idempotency_key="k-ours")
    assert ours.created
    assert both.insert(key="k-ours") is None


def test_a_firing_of_their_schedule_is_one_run(both):
    """By their tickers and by whatever of ours uses the same key."""
    fired = both.ask(foreign.FIRE, ["report.daily.v1"])
    assert both.ask(foreign.FIRE, ["report.daily.v1"]) == []
    [(key,)] = both.ask(
        "select 'schedule:' || id || ':' || extract(epoch from next_run_at)::bigint "
        "from {schema}.workflow_schedule where type = 'report.daily.v1'"
    )
    again = both.client.submit("report.daily.v1", {}, idempotency_key=key)
    assert [(again.id,)] == fired
    assert not again.created


def test_a_lease_of_theirs_is_respected_then_taken_over(both):
    """Our workers leave it while it holds; then they count the lost attempt and say who lost it."""
    run_id = both.insert()
    assert both.claim(worker="go-7") == [run_id]
    poller, done = both.poller(), []
    poller.register_executor("both.%", lambda run: done.append((run.id, run.attempt)))
    assert poller.drain() == 0
    both.ask(foreign.EXPIRE, [run_id])
    poller.drain()
    assert done == [(run_id, 1)]
    events = both.client.events(run_id)
    assert [event.type.value for event in events][:2] == ["rescued", "retried"]
    assert events[0].data["lost_by"] == "go-7"


@pytest.mark.parametrize("asks", [True, False])
def test_a_worker_of_ours_that_lost_its_run_to_theirs_writes_nothing(both, asks):
    """Its heartbeat says so, and its outcome is refused; theirs is what stays."""
    run_id = both.insert()
    with Executing(both, run_id, asks=asks) as ours:
        both.ask(foreign.EXPIRE, [run_id])
        assert both.claim(foreign.RECLAIM) == [run_id]
        before = both.run("xmin::text", run_id)
    assert (ours.lost, ours.is_cancelled) == (asks, asks)
    assert ours.verdict is Verdict.LOST
    assert both.run("xmin::text", run_id) == before
    assert both.run("status, leased_by", run_id) == ("leased", "go")
    both.settle(run_id)
    assert both.run("status, result", run_id) == ("succeeded", "theirs")
    assert both.events(run_id) == ["leased"]


@pytest.mark.parametrize(
    "does", [foreign.SETTLE, foreign.FAIL, foreign.CANCEL], ids=["settle", "fail", "cancel"]
)
def test_ours_leaves_as_it_is_what_they_ended_meanwhile(both, does):
    """Whatever they wrote, by id alone; our outcome is refused though nobody was asked before."""
    run_id = both.insert()
    with Executing(both, run_id, asks=False) as ours:
        both.ask(does.replace("= %s", "= %(id)s"), {"id": run_id, "result": "1", "error": "no"})
        before = both.run("status, result, attempt, last_error, run_at", run_id)
    assert both.run("status, result, attempt, last_error, run_at", run_id) == before
    assert ours.verdict in (Verdict.LOST, Verdict.CANCELLED)


@pytest.mark.parametrize(
    "empties", ["", ", leased_by = null, lease_until = null"], ids=["bare", "emptying"]
)
def test_a_cancel_of_theirs_reaches_our_executor(both, empties):
    """It is told, whatever else they write, and the run stays cancelled."""
    run_id = both.insert()
    with Executing(both, run_id) as ours:
        both.ask(foreign.CANCEL.replace(" where", f"{empties} where"), [run_id])
    assert ours.is_cancelled
    assert both.run("status, result", run_id) == ("cancelled", None)


def test_what_comes_after_a_cancel_of_theirs_is_kept_as_discarded(both):
    """As after one of ours."""
    run_id = both.insert()
    with Executing(both, run_id):
        both.ask(foreign.CANCEL, [run_id])
    assert both.events(run_id) == ["leased", "discarded"]
    assert both.client.events(run_id)[-1].data["result"] == "ours"


def test_an_insert_of_type_and_payload_is_a_run(both):
    """What they do not know of has defaults; an idle worker finds it at its next look."""
    seen, done = Seen(), threading.Event()
    runs: list[WorkflowRun] = []
    poller = both.poller(observers=[seen])

    @poller.handler("both.v1")
    def execute(run: WorkflowRun) -> None:
        runs.append(run)
        done.set()

    with working(poller):
        seen.wait(PollSucceeded, 2)
        both.ask("insert into {schema}.workflow_run (type, payload) values ('both.v1', '[1]')")
        met(done)
    [run] = runs
    assert (run.payload, run.headers, run.attempt, run.max_attempts) == ([1], {}, 0, 3)


def test_what_one_side_soft_deletes_the_other_leaves(both):
    """Neither claimed, nor taken over."""
    expired, pending = both.insert(), both.insert()
    assert both.claim() == [expired]
    both.ask(foreign.EXPIRE, [expired])
    both.ask("update {schema}.workflow_run set deleted_at = now() where type = 'both.v1'")
    before = [both.run("xmin::text", run_id) for run_id in (expired, pending)]
    poller = both.poller()
    poller.register_executor("both.%", lambda run: None)
    assert poller.drain() == 0
    assert both.claim() == both.claim(foreign.RECLAIM) == []
    assert [both.run("xmin::text", run_id) for run_id in (expired, pending)] == before


def test_retries_wait_equally_long(both):
    """A minute and up to a tenth after the first failure; then either side may have it."""
    theirs, ours = both.insert(), both.insert()
    assert both.claim() == [theirs]
    both.fail(theirs)
    poller = both.poller(retry_policy=None)

    @poller.handler("both.v1")
    def execute(run: WorkflowRun) -> None:
        raise RuntimeError("no")

    poller.drain()
    for run_id in (theirs, ours):
        assert both.run(f"status, attempt, {SECONDS_TO_RETRY}", run_id) == ("pending", 1, True)


def test_a_run_that_they_delete_takes_its_history_along(both):
    """Though there is no foreign key, and a role need not be able to delete events."""
    run_id = both.client.submit("both.v1", {}).id
    role = both.schema.replace("t_", "r_")
    both.ask(f"create role {role}")
    both.ask(f"grant usage on schema {{schema}} to {role}")
    both.ask(f"grant select, delete on {{schema}}.workflow_run to {role}")
    both.ask(f"set role {role}")
    both.ask("delete from {schema}.workflow_run where id = %s", [run_id])
    both.ask("reset role")
    assert both.events(run_id) == []
    both.ask(f"drop owned by {role}")
    both.ask(f"drop role {role}")


# What does not hold


def rescued_by_ours(both: Both, **options: Any) -> tuple[str, Executing]:
    """A run whose worker of theirs was slow: an executor of ours has it now."""
    run_id = both.insert()
    assert both.claim() == [run_id]
    both.ask(foreign.EXPIRE, [run_id])
    return run_id, Executing(both, run_id, **options)


def test_their_late_worker_settles_what_ours_executes(both):
    """Theirs stands; ours is told that its lease is lost, and its result is dropped."""
    run_id, executing = rescued_by_ours(both)
    with executing as ours:
        both.settle(run_id)
    assert ours.lost
    assert both.run("status, result, attempt", run_id) == ("succeeded", "theirs", 1)
    assert both.events(run_id) == ["rescued", "retried", "leased"]


def test_their_late_worker_overwrites_what_had_ended(both):
    """Nothing is final for a worker that asks nothing."""
    run_id, executing = rescued_by_ours(both, fails=True)
    with executing:
        pass
    assert both.run("status, last_error like '%%ours%%'", run_id) == ("failed", True)
    both.settle(run_id)
    assert both.run("status, result", run_id) == ("succeeded", "theirs")


def test_their_late_failure_makes_a_run_pending_again(both):
    """What has succeeded is executed once more."""
    run_id, executing = rescued_by_ours(both)
    with executing:
        pass
    assert both.run("status, result", run_id) == ("succeeded", "ours")
    both.fail(run_id)
    assert both.run("status", run_id) == ("pending",)
    both.ask("update {schema}.workflow_run set run_at = now() where id = %s", [run_id])
    with Executing(both, run_id) as again:
        assert again.run.attempt == 2


def test_their_settling_may_pass_for_ours(both):
    """Where it empties leased_by: ours takes its own for written, and the result is theirs."""
    run_id = both.insert()
    with Executing(both, run_id, asks=False) as ours:
        both.settle(run_id)
        both.ask("update {schema}.workflow_run set leased_by = null where id = %s", [run_id])
    assert ours.verdict is Verdict.APPLIED
    assert both.run("status, result", run_id) == ("succeeded", "theirs")
    assert both.events(run_id) == ["leased"]


def test_their_claims_leave_the_fence(both):
    """Who remembers the greatest fence cannot tell theirs from the worker that lost the run."""
    run_id = both.insert()
    with Executing(both, run_id) as ours:
        assert both.run("fence", run_id) == (ours.run.fence,) == (1,)
        both.ask(foreign.EXPIRE, [run_id])
        assert both.claim(foreign.RECLAIM) == [run_id]
        assert both.run("fence", run_id) == (1,)


def test_a_worker_of_theirs_by_the_name_of_ours_is_not_noticed(both):
    """Both execute, and both write."""
    run_id = both.insert()
    with Executing(both, run_id, name="same") as ours:
        both.ask(foreign.EXPIRE, [run_id])
        assert both.claim(foreign.RECLAIM, worker="same") == [run_id]
    assert not ours.lost
    assert both.run("status, result", run_id) == ("succeeded", "ours")
    both.settle(run_id)
    assert both.run("status, result", run_id) == ("succeeded", "theirs")


def test_their_takeovers_count_no_attempt(both):
    """A run that kills their workers goes on doing so; the first takeover of ours counts one."""
    run_id = both.insert()
    assert both.claim() == [run_id]
    for _ in range(5):
        both.ask(foreign.EXPIRE, [run_id])
        assert both.claim(foreign.RECLAIM) == [run_id]
    assert both.run("status, attempt, max_attempts", run_id) == ("leased", 0, 3)
    both.ask(foreign.EXPIRE, [run_id])
    with Executing(both, run_id) as ours:
        assert ours.run.attempt == 1


def test_the_history_has_of_theirs_what_they_write(both):
    """A run that only they had has none, unless they see to it."""
    run_id = both.insert()
    both.claim()
    both.settle(run_id)
    assert both.client.get(run_id).status == "succeeded"
    assert both.client.events(run_id) == []
    both.ask(foreign.RECORD, [run_id, "succeeded"])
    assert [event.type.value for event in both.client.events(run_id)] == ["succeeded"]


def test_their_inserts_wake_nobody(both):
    """Who listens as our workers do hears of ours; test_notify_trigger.py tells of the trigger."""
    heard = []
    with both.server.connect() as listener:
        listener.execute(f"listen {channel(both.schema)}")
        both.insert()
        both.ask(f"notify {channel(both.schema)}, 'end'")
        for notification in listener.notifies(timeout=PATIENCE):
            heard.append(notification.payload)
            if heard[-1] == "end":
                break
    assert heard == ["end"]


def test_the_sides_have_an_order_of_their_own(both):
    """Of one priority, we take first what is due first, they what was created first."""
    created = [both.insert() for _ in range(3)]
    earlier = (
        "update {schema}.workflow_run set run_at = run_at - interval '1 hour' where id = any(%s)"
    )
    both.ask(earlier, [created[1:]])
    store = open_store(both.ours)
    [ours] = store.claim(Route.of(["both.%"]), 1, "py", timedelta(seconds=30))
    store.close()
    assert ours.run_id == created[1]
    assert both.claim() == [created[0]]


def test_they_do_not_read_headers(both):
    """Nor does that keep them from what has some."""
    run_id = both.client.submit("both.v1", {}, headers={"trace": "1"}).id
    assert both.claim() == [run_id]
    assert both.run("headers", run_id) == ({"trace": "1"},)


# The SQL of the page


LIVE, PRODUCER, WORKER = (
    "Migrating a live database",
    "A producer in another language",
    "A worker in another language",
)
BLOCKS = {
    "old transactions": (LIVE, "open_for"),
    "broken indexes": (LIVE, "indisvalid"),
    "insert": (PRODUCER, "VALUES ($1, $2, $3)"),
    "insert with event": (PRODUCER, "'created'"),
    "notify": (PRODUCER, "NOTIFY"),
    "cancel": (PRODUCER, "'cancelled'"),
    "claim": (WORKER, "AND run_at <="),
    "heartbeat": (WORKER, "greatest"),
    "success": (WORKER, "'succeeded'"),
    "failure": (WORKER, "last_error = $4"),
    "takeover": (WORKER, "'rescued'"),
}
"""What the tests below call the blocks of the page: the heading above, and words of no other."""


def sources(heading: str, words: str) -> list[str]:
    """The blocks below a heading that hold these words."""
    found = blocks_in(PAGE, "sql")
    return [block.source for block in found if block.heading == heading and words in block.source]


class Programmer:
    """Somebody who runs the SQL of the page in another language, as it stands.

    Args:
        database: with the tables in the schema `workflow`.
    """

    def __init__(self, database: Database) -> None:
        self.connection = database.connection
        self.connection.cursor_factory = psycopg.RawCursor

    def send(self, name: str, *params: object) -> Any:
        """Run a block; its first row, or None."""
        [source] = sources(*BLOCKS[name])
        cursor = self.connection.execute(source.encode(), params or None)
        return cursor.fetchone() if cursor.description else None


@pytest.fixture
def programmer(server: Server) -> Iterator[tuple[Programmer, Client, str]]:
    """One of these, beside a client of ours, and the URL."""
    with new_database(server) as database, Client(database.poller_url) as client:
        yield Programmer(database), client, database.poller_url


def test_the_looks_of_an_operator(programmer):
    """There is no old transaction and no broken index in a new database."""
    theirs, _, _ = programmer
    assert theirs.send("old transactions") is None
    assert theirs.send("broken indexes") is None


def test_a_producer_by_sql(programmer):
    """Its runs are runs; a key that is taken gives no row; the event begins the history."""
    theirs, client, _ = programmer
    [plain] = theirs.send("insert", "billing.a.v1", '{"n": 1}', "k-1")
    assert theirs.send("insert", "billing.a.v1", '{"n": 1}', "k-1") is None
    assert client.get(str(plain)).payload == {"n": 1}
    later = ("billing.a.v1", "{}", None)
    [told] = theirs.send("insert with event", *later)
    run = client.get(str(told))
    assert (run.priority, run.max_attempts, run.status) == (10, 5, "pending")
    assert run.run_at - run.created_at == timedelta(minutes=5)
    assert theirs.send("cancel", told) == (told,)
    assert theirs.send("cancel", told) is None
    events = client.events(str(told))
    assert [event.type.value for event in events] == ["created", "cancelled"]
    assert events[-1].data == {"was": "pending"}


def test_a_notification_by_sql_wakes_an_idle_worker(programmer):
    """One that would look again in an hour."""
    theirs, _, url = programmer
    seen, began = Seen(), threading.Event()
    poller = a_poller(url, poll_interval=3600, observers=[seen])
    poller.register_executor("billing.%", lambda run: began.set())
    with working(poller):
        seen.wait(PollSucceeded, 2)
        theirs.send("insert", "billing.a.v1", "{}", None)
        theirs.send("notify")
        met(began)


def test_a_worker_by_sql_succeeds(programmer):
    """It claims, keeps, and settles, and its history reads like one of ours."""
    theirs, client, _ = programmer
    sent = client.submit("billing.a.v1", {"n": 1}).id
    client.submit("billings.v1", {})
    run_id, kind, payload, attempt, most, fence = theirs.send("claim", "go-1")
    assert (str(run_id), kind, payload) == (sent, "billing.a.v1", {"n": 1})
    assert (attempt, most, fence) == (0, 3, 1)
    assert theirs.send("claim", "go-1") is None
    assert theirs.send("heartbeat", run_id, "go-1", fence) is not None
    assert theirs.send("success", run_id, "go-1", fence, '"done"') == (run_id,)
    assert theirs.send("success", run_id, "go-1", fence, '"twice"') is None
    run = client.get(sent)
    assert (run.status, run.result, run.leased_by, run.fence) == ("succeeded", "done", None, 1)
    history = [(event.type.value, event.data) for event in client.events(sent)]
    facts = {"worker_id": "go-1", "fence": 1, "attempt": 0}
    assert history == [("created", {}), ("leased", facts), ("succeeded", facts)]


def test_a_worker_by_sql_fails(programmer):
    """The next attempt waits as ours do, and the last one ends the run."""
    theirs, client, _ = programmer
    sent = client.submit("billing.a.v1", {}, max_attempts=2).id
    for attempt, status in enumerate(["pending", "failed"]):
        run_id, _, _, tried, _, fence = theirs.send("claim", "go-1")
        assert (tried, fence) == (attempt, attempt + 1)
        assert theirs.send("failure", run_id, "go-1", fence, "no") == (run_id,)
        run = client.get(sent)
        assert (run.status, run.attempt, run.last_error) == (status, attempt + 1, "no")
        if status == "pending":
            assert 60 <= (run.run_at - run.updated_at).total_seconds() <= 66
        theirs.connection.execute(b"update workflow.workflow_run set run_at = now()")
    kinds = [event.type.value for event in client.events(sent)]
    assert kinds == ["created", "leased", "retried", "leased", "failed"]
    assert client.events(sent)[-1].data["attempt"] == 1


EXPIRE = b"update workflow.workflow_run set lease_until = now() - interval '1 second'"


def test_a_worker_by_sql_takes_over_and_is_taken_over(programmer):
    """Who lost the run, of either side, is refused whatever it sends."""
    theirs, client, url = programmer
    sent = client.submit("billing.a.v1", {}).id
    run_id, *_, fence = theirs.send("claim", "go-1")
    theirs.connection.execute(EXPIRE)
    assert theirs.send("takeover", "go-2") == (run_id, 2)
    assert theirs.send("heartbeat", run_id, "go-1", fence) is None
    for late in ("success", "failure"):
        assert theirs.send(late, run_id, "go-1", fence, '"late"') is None
    theirs.send("failure", run_id, "go-2", 2, "its worker died")
    theirs.connection.execute(b"update workflow.workflow_run set run_at = now()")
    poller = a_poller(url, ["billing.%"], auto_heartbeat=False)
    lost = []

    @poller.handler("billing.%")
    def execute(run: WorkflowRun) -> str:
        theirs.connection.execute(EXPIRE)
        assert theirs.send("takeover", "go-2") == (run_id, 4)
        with pytest.raises(LeaseLost):
            run.heartbeat()
        lost.append(run.id)
        return "ours"

    poller.drain()
    assert lost == [sent]
    theirs.send("failure", run_id, "go-2", 4, "its worker died")
    run = client.get(sent)
    assert (run.status, run.attempt, run.result) == ("pending", 2, None)
    kinds = [event.type.value for event in client.events(sent)]
    assert kinds == ["created", "leased", "rescued", "retried", "leased", "rescued", "retried"]


def test_a_worker_by_sql_leaves_what_was_cancelled(programmer):
    """It has lost the run, and learns so whatever it sends."""
    theirs, client, _ = programmer
    sent = client.submit("billing.a.v1", {}).id
    run_id, *_, fence = theirs.send("claim", "go-1")
    assert client.cancel(sent)
    assert theirs.send("heartbeat", run_id, "go-1", fence) is None
    for late in ("success", "failure"):
        assert theirs.send(late, run_id, "go-1", fence, '"late"') is None
    run = client.get(sent)
    assert (run.status, run.attempt, run.result, run.lease_until) == ("cancelled", 0, None, None)


def test_every_block_of_the_page_has_a_name_here():
    """A block that is added has to be tried."""
    named = [sources(*place) for place in BLOCKS.values()]
    assert sorted(named) == sorted([block.source] for block in blocks_in(PAGE, "sql"))
