"""Poisons: whatever a run holds or does, it harms no other and ends, and an error says why."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from servers import schema_of, without_schema
from strangers import new_database
from workers import AT_ONCE, PATIENCE, Seen, a_poller, python, until, working

from simpleworkflow import Client, RetryAfter, RetryPolicy, UsageError, migrate, open_store
from simpleworkflow.core.events import PollSucceeded
from simpleworkflow.core.records import Settlement, Verdict
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import Move

LEASE = timedelta(seconds=60)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["psycopg", "pg8000"])
def driver(request):
    """Each driver in turn."""
    return request.param


def for_driver(driver, url):
    """The same URL for this driver."""
    return urlsplit(url)._replace(scheme=f"postgresql+{driver}").geturl()


@pytest.fixture
def url(driver, one_database_url):
    """The URL of an empty store on one real server, by each driver in turn."""
    migrate(one_database_url)
    return for_driver(driver, one_database_url)


@pytest.fixture
def sql(one_database_url):
    """Run a statement as another program does; `{runs}` and `{events}` are the tables."""
    schema = schema_of(one_database_url)
    names = {"runs": f"{schema}.workflow_run", "events": f"{schema}.workflow_event"}
    with psycopg.connect(without_schema(one_database_url), autocommit=True) as connection:

        def run(statement):
            cursor = connection.execute(statement.format_map(names))
            return cursor.fetchall() if cursor.description else []

        yield run


def kinds(client, run_id):
    """The types of a run's events, in order."""
    return [str(event.type) for event in client.events(run_id)]


def nested(depth):
    """Lists in each other, so deep."""
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


# Size


LARGE = {"text": 'a "quoted" word, \\, \n, é, \U0001f600 ' * 1_400_000}
"""More than 50 MB of JSON, with everything in it that is written in another way on its way."""


@pytest.mark.slow
def test_a_payload_and_a_result_of_50_mb_travel(store_url, client):
    """From the producer to the executor and back, as they were."""
    run_id = client.submit("large.v1", LARGE).id
    poller = a_poller(store_url)
    poller.register_executor("large.v1", lambda run: [run.payload == LARGE, run.payload])
    assert poller.drain(PATIENCE) == 1
    run = client.get(run_id)
    assert len(run.payload_json.encode()) > 50_000_000
    assert run.last_error is None
    # Not compared in an assert, which would show the difference.
    is_the_same = run.result == [True, LARGE]
    assert is_the_same


def test_a_payload_above_the_limit_is_not_sent():
    """It is refused before anybody is connected to: here is no server."""
    with Client("postgresql://user@127.0.0.1:1/db") as client:
        for submit in (
            lambda payload: client.submit("large.v1", payload),
            lambda payload: client.submit_many([{"type": "large.v1", "payload": payload}]),
        ):
            with pytest.raises(UsageError, match=r"the payload takes 67,108,865 bytes .*=67,108,8"):
                submit("x" * (64 * 2**20 - 1))


def test_a_result_above_the_limit_fails_for_good(store_url, client):
    """The work is done, so it is not done again; the error says how large the result was."""
    poller = a_poller(store_url, max_result_bytes=1_000, retry_policy=AT_ONCE)
    poller.register_executor("%", lambda run: "é" * run.payload)

    @poller.handler("async.v1")
    async def work(run):
        return "é" * run.payload

    fitting = [client.submit(type_, 499).id for type_ in ("plain.v1", "async.v1")]
    too_large = [client.submit(type_, 500).id for type_ in ("plain.v1", "async.v1")]
    assert poller.drain(PATIENCE) == 4
    assert [client.get(run_id).status for run_id in fitting] == ["succeeded"] * 2
    for run_id in too_large:
        run = client.get(run_id)
        assert (run.status, run.attempt, run.result_json) == ("failed", 1, None)
        assert "the result takes 1,002 bytes as JSON" in run.last_error
        assert "max_result_bytes=1,000" in run.last_error


def test_large_runs_share_no_statement(url, sql, monkeypatch):
    """A server hangs up on a gigabyte: what is large is sent and settled in smaller groups."""
    monkeypatch.setattr("simpleworkflow.client.BATCH_CHARS", 3_000)
    monkeypatch.setattr("simpleworkflow.backends.postgres.params.MAX_STATEMENT_CHARS", 3_000)
    with Client(url) as client, contextlib.closing(open_store(url)) as store:
        client.submit_many({"type": "t.v1", "payload": "x" * 998} for _ in range(7))
        assert groups(sql) == [1, 3, 3]
        claims = store.claim(Route.of(["t.v1"]), 7, "w", LEASE)
        large = f'"{"x" * 1_998}"'
        settled = store.settle([Settlement(c, Move.SUCCEED, 0, result_json=large) for c in claims])
        assert [answer.verdict for answer in settled] == [Verdict.APPLIED] * 7
        assert max(groups(sql)) == 1


def groups(sql):
    """How many runs were last written by each transaction, the smallest first."""
    return [n for (n,) in sql("select count(*) from {runs} group by xmin::text order by 1")]


# Rows and outcomes that spoil a group


UNREADABLE = {
    "too deep": "[" * 5_000 + "]" * 5_000,
    "too long a number": "9" * 100_000,
}


FIFTY_THOUSAND = """
insert into {runs} (type, payload) select 't.v1', to_jsonb(n) from generate_series(1, 50000) n
"""


@pytest.mark.slow
@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=UNREADABLE)
def test_one_bad_row_among_100_000_harms_no_other(url, sql, payload):
    """Another program inserted what Python cannot read: that run fails, and all others succeed."""
    sql(FIFTY_THOUSAND)
    [(bad,)] = sql(
        f"insert into {{runs}} (type, payload) values ('t.v1', '{payload}') returning id::text"
    )
    sql(FIFTY_THOUSAND)
    poller = a_poller(url, concurrency=4)
    poller.register_executor("t.v1", lambda run: None)
    assert poller.drain(100) == 100_001
    assert dict(sql("select status, count(*) from {runs} group by status")) == {
        "succeeded": 100_000,
        "failed": 1,
    }
    assert dict(sql("select event_type, count(*) from {events} group by event_type")) == {
        "leased": 100_001,
        "succeeded": 100_000,
        "failed": 1,
    }
    [(status, attempt, error)] = sql(
        f"select status, attempt, last_error from {{runs}} where id = '{bad}'"
    )
    assert (status, attempt) == ("failed", 1)
    assert error.startswith("the payload cannot be read as JSON: ")


REFUSALS = {
    "constraint": """
        alter table {runs} add constraint no_seven check (result is distinct from '7')
    """,
    "trigger": """
        create function {runs}_refuse() returns trigger language plpgsql
            as $$ begin raise exception 'no_seven'; end $$;
        create trigger no_seven before update on {runs} for each row
            when (new.result = '7') execute function {runs}_refuse()
    """,
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_one_outcome_that_the_database_refuses_harms_no_other(url, sql, refusal):
    """A thousand go in one statement; what somebody put into the database refuses one of them."""
    sql(refusal)
    with Client(url) as client, contextlib.closing(open_store(url)) as store:
        client.submit_many({"type": "t.v1", "payload": n} for n in range(1_000))
        claims = store.claim(Route.of(["t.v1"]), 1_000, "w", LEASE)
        answers = store.settle(
            [Settlement(c, Move.SUCCEED, 0, result_json=c.payload_json) for c in claims]
        )
        assert Counter(answer.verdict for answer in answers) == {
            Verdict.APPLIED: 999,
            Verdict.UNSTORABLE: 1,
        }
        [refused] = [a for a in answers if a.verdict is Verdict.UNSTORABLE]
        assert "no_seven" in refused.reason
        poller = a_poller(url)
        poller.register_executor("u.v1", lambda run: run.payload)
        bad, good = client.submit("u.v1", 7).id, client.submit("u.v1", 8).id
        assert poller.drain(PATIENCE) == 2
        assert client.get(good).status == "succeeded"
        run = client.get(bad)
        assert (run.status, run.attempt) == ("failed", 1)
        assert "the result cannot be stored" in run.last_error
        assert "no_seven" in run.last_error


POISONED = """
import os, signal, sys
from simpleworkflow import IntentPoller
poller = IntentPoller(sys.argv[1], None, "victim", 0.05, 1)

@poller.handler("t.v1")
def work(run):
    if run.payload == "poison":
        os.kill(os.getpid(), signal.SIGKILL)

poller.start()
"""


@pytest.mark.slow
def test_a_run_that_kills_every_worker_takes_no_other_with_it(url):
    """Others that the dead worker had claimed lose one attempt with it, and never a second."""
    with Client(url) as client:
        submitted = [
            *client.submit_many({"type": "t.v1", "payload": n} for n in range(200)),
            poison := client.submit("t.v1", "poison"),
            *client.submit_many({"type": "t.v1", "payload": n} for n in range(200)),
        ]
        for _ in range(3):
            victim = python(POISONED, url, stderr=subprocess.DEVNULL)
            assert victim.wait(PATIENCE) == -signal.SIGKILL
            victim.communicate()
        poller = a_poller(url)
        poller.register_executor("t.v1", lambda run: None)
        with working(poller):
            for run in submitted:
                ended(client, run.id)
        assert client.get(poison.id).attempt == 3
        others = [client.get(run.id) for run in submitted if run is not poison]
        assert {run.status for run in others} == {"succeeded"}
        assert sum(run.attempt for run in others) > 0, "none was claimed with it: nothing is tested"
        assert max(run.attempt for run in others) == 1


@pytest.mark.slow
def test_a_result_of_too_many_values_fails_its_run_alone(url):
    """34 MB of JSON that no limit of ours refuses, and that the database cannot read."""
    with Client(url) as client:
        poller = a_poller(url)
        poller.register_executor("t.v1", lambda run: [0] * run.payload)
        bad, good = client.submit("t.v1", 17_000_000).id, client.submit("t.v1", 1).id
        assert poller.drain(PATIENCE) == 2
        assert client.get(good).status == "succeeded"
        run = client.get(bad)
        assert (run.status, run.attempt) == ("failed", 1)
        assert "the result cannot be stored" in run.last_error
        with pytest.raises(UsageError, match="nothing was submitted"):
            client.submit("t.v1", [0] * 17_000_000)


# Errors


class NoText(Exception):
    """Its text is a number."""

    def __str__(self):
        return 7


class RaisesAsText(Exception):
    """It has no text at all."""

    def __str__(self):
        raise RuntimeError("no text")


ERRORS = {
    "10 MB": (ValueError("é" * 5_000_000), "ValueError: ééé"),
    "NUL": (ValueError("a\x00b"), "ValueError: a\ufffdb"),
    "lone surrogates": (ValueError("\udfff\ud800"), "ValueError: \ufffd\ufffd"),
    "invalid UTF-8": (OSError(os.fsdecode(b"no file \xff\xfe")), "OSError: no file \ufffd\ufffd"),
    "text that raises": (RaisesAsText(), "RaisesAsText"),
    "no text": (NoText(), "NoText"),
}


@pytest.mark.parametrize("limit", [None, 200], ids=["default", "200"])
def test_no_error_text_is_too_bad_to_record(store_url, client, caplog, limit):
    """It is cut and marked as cut, cleaned, and counts as an attempt; the worker goes on."""
    # Not logged: pytest-xdist cannot carry text with surrogates in a report.
    caplog.set_level(logging.CRITICAL, "simpleworkflow.worker")
    options = {} if limit is None else {"max_error_chars": limit}
    poller = a_poller(store_url, retry_policy=RetryPolicy.constant(HOUR), **options)

    @poller.handler("bad.v1")
    def fail(run):
        raise ERRORS[run.payload][0]

    poller.register_executor("good.v1", lambda run: "alive")
    ids = {name: client.submit("bad.v1", name, priority=1).id for name in ERRORS}
    good = client.submit("good.v1", {}, priority=2).id
    assert poller.drain(PATIENCE) == len(ERRORS) + 1
    assert client.get(good).result == "alive"
    for name, run_id in ids.items():
        run = client.get(run_id)
        assert (run.status, run.attempt) == ("pending", 1), name
        assert ERRORS[name][1] in run.last_error, name
        assert len(run.last_error) <= (limit or 16_384)
        told = client.events(run_id)[-1].data["error"]
        assert told[:60] == run.last_error[:60]
    huge = client.get(ids["10 MB"]).last_error
    assert len(huge) == (limit or 16_384)
    assert huge.endswith(" characters in all]")


# Text and depth


PLANES = [
    "\x01\x7f\x85\xad\u0378\u2028\ufdd0\ufeff\ufffe\uffff\ud7ff\ue000\uf8ff",
    "e\u0301\u0323 \u0915\u094d\u0937 \u1112\u1161\u11ab",
    "\u202e\u05d0\u05d1\u0627\u0644\u2066\u2069",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f1f3\U0001f1f5 \U0001f44d\U0001f3fd",
    *(
        "".join(chr(plane << 16 | low) for low in (1, 0x8000, 0xFFFE, 0xFFFF))
        for plane in range(1, 17)
    ),
]
"""Of each plane: assigned and unassigned, private, noncharacters; marks, directions, sequences."""

EVERY_PLANE = "|".join(PLANES)


def test_text_of_every_plane_is_only_text(store_url, client):
    """In a type, a worker's name, a key, headers, a payload and a result."""
    assert {ord(letter) >> 16 for letter in EVERY_PLANE} == set(range(17))
    value = {EVERY_PLANE: [EVERY_PLANE, {"each": PLANES}]}
    poller = a_poller(store_url, worker_id=EVERY_PLANE)
    poller.register_executor(EVERY_PLANE, lambda run: [run.payload, run.headers, run.worker_id])
    poller.register_executor("%", lambda run: "another")
    sent = client.submit(EVERY_PLANE, value, headers=value, idempotency_key=EVERY_PLANE)
    again = client.submit(EVERY_PLANE, value, idempotency_key=EVERY_PLANE)
    other = client.submit(EVERY_PLANE[:-1] + "\U0010fffd", value, idempotency_key=EVERY_PLANE[:-1])
    assert (again.id, again.created, other.created) == (sent.id, False, True)
    assert poller.drain(PATIENCE) == 2
    run = client.get(sent.id)
    assert (run.type, run.idempotency_key) == (EVERY_PLANE, EVERY_PLANE)
    assert (run.payload, run.headers) == (value, value)
    assert run.result == [value, value, EVERY_PLANE]
    assert client.events(sent.id)[1].data["worker_id"] == EVERY_PLANE
    assert client.get(other.id).result == "another"


def test_a_prefix_may_end_within_any_text(store_url, client):
    """Between a letter and its accent, or in the middle of a sequence; its neighbours are left."""
    with contextlib.closing(open_store(store_url)) as store:
        for end in range(1, len(EVERY_PLANE)):
            before, last = EVERY_PLANE[: end - 1], EVERY_PLANE[end - 1]
            neighbours = [before + chr(ord(last) ^ 1), before]
            route = Route.of([EVERY_PLANE[:end] + "%"])
            wanted = client.submit(EVERY_PLANE, {}).id
            ids = [client.submit(n, {}).id for n in neighbours if n and "\x00" not in n]
            claimed = store.claim(route, 10, "w", LEASE)
            assert [claim.run_id for claim in claimed] == [wanted], ascii(EVERY_PLANE[:end])
            store.cancel(ids)


def test_json_nested_to_the_limit_travels(store_url, client):
    """500 levels, as payload, headers and result; one more is refused."""
    poller = a_poller(store_url)
    poller.register_executor("t.v1", lambda run: [run.payload, run.headers["deep"]][run.attempt])
    fitting = client.submit("t.v1", nested(500), headers={"deep": nested(499)}).id
    assert poller.drain(PATIENCE) == 1
    assert client.get(fitting).result == nested(500)
    for run in ({"payload": nested(501)}, {"payload": 1, "headers": {"deep": nested(500)}}):
        with pytest.raises(UsageError, match="nested deeper than 500"):
            client.submit("t.v1", **run)


# Time


TWO_HOURS = 7_200
ASTRAY = """
import sys, time
from simpleworkflow import Client, IntentPoller, RetryAfter

url = sys.argv[1]
with Client(url) as client:
    print(client.submit("now.v1", {}).id, client.submit("now.v1", {}, delay=3600).id, flush=True)
poller = IntentPoller(url, None, "astray", 0.05, 1, concurrency=2)
poller.register_executor("now.v1", lambda run: time.time())

@poller.handler("hold.v1")
def hold(run):
    print("holding", flush=True)
    sys.stdin.readline()
    return run.worker_id

@poller.handler("fail.v1")
def fail(run):
    raise RetryAfter(3600)

poller.start()
"""


@pytest.fixture(params=["+7200", "-7200"], ids=["ahead", "behind"])
def astray(request):
    """The environment of a program whose clock is two hours off, as time goes on."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("no libfaketime: install the package faketime")
    paths = os.pathsep.join(path for path in sys.path if path)
    return os.environ | {
        "PYTHONPATH": paths,
        "LD_PRELOAD": str(found[0]),
        "FAKETIME": request.param,
        # No machine's monotonic clock is set wrong.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def test_a_clock_two_hours_off_changes_nothing(url, astray):
    """A producer and a worker whose clock is wrong, beside a worker whose clock is right."""
    seen = Seen()
    right = a_poller(url, worker_id="right", poll_interval=0.02, observers=[seen])
    right.register_executor("hold.v1", lambda run: run.worker_id)
    with Client(url) as client, contextlib.closing(open_store(url)) as store:
        # Held by a worker whose clock is right, for a minute.
        leased = client.submit("now.v1", "leased").id
        assert len(store.claim(Route.of(["now.v1"]), 1, "right", LEASE)) == 1
        process = python(ASTRAY, url, env=astray, stdin=subprocess.PIPE)
        try:
            now, later = process.stdout.readline().split()
            ended(client, now)
            clock = client.get(now).result
            assert abs(abs(clock - time.time()) - TWO_HOURS) < 600, "its clock was right"

            held = client.submit("hold.v1", {}, max_attempts=1).id
            assert process.stdout.readline() == "holding\n"
            first = client.get(held).lease_until
            with working(right):
                # Past the end of its first lease, and of the second, while another looks for it.
                until(lambda: client.get(held).lease_until > first + timedelta(seconds=2))
                seen.wait(PollSucceeded, len(seen.of(PollSucceeded)) + 5)
                process.stdin.write("go on\n")
                process.stdin.flush()
                ended(client, held)
            assert client.get(held).result == "astray"
            assert kinds(client, held) == ["created", "leased", "succeeded"]

            failed = client.submit("fail.v1", {}).id
            until(lambda: client.get(failed).attempt == 1)
            run = client.get(failed)
            assert run.run_at - run.updated_at == HOUR
            run = client.get(later)
            assert (run.status, run.run_at - run.created_at) == ("pending", HOUR)
            for written in (run, client.get(now), client.get(failed)):
                assert is_now(written.created_at)
                assert is_now(written.updated_at)
            run = client.get(leased)
            assert (run.status, run.leased_by, run.fence) == ("leased", "right", 1)
        finally:
            process.kill()
            process.communicate()


def is_now(instant):
    """Whether it is the present, by whichever clock is right."""
    return abs(instant - datetime.now(UTC)) < timedelta(minutes=1)


def ended(client, run_id):
    """Wait until a run has ended."""
    until(lambda: client.get(run_id).status in ("succeeded", "failed"))


ELSEWHERE = {
    "database": "alter database {name} set {setting} = {value}",
    "role": "alter role current_user in database {name} set {setting} = {value}",
    "session": None,
}


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/St_Johns"])
@pytest.mark.parametrize("statement", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_database_elsewhere_keeps_our_time(server, driver, statement, zone):
    """Zones and styles of a database, a role or a session: instants and waits are right."""
    settings = {"timezone": f"'{zone}'", "intervalstyle": "sql_standard"}
    with new_database(server) as database:
        url = database.poller_url
        if statement is None:
            options = " ".join(f"-c {name}={value}" for name, value in settings.items())
            url += "&options=" + quote(options.replace("'", ""))
        else:
            name = database.connection.info.dbname
            for setting, value in (settings | {"datestyle": "German, DMY"}).items():
                database.connection.execute(
                    statement.format(name=name, setting=setting, value=value)
                )
            with psycopg.connect(database.url) as other:
                assert other.execute("show timezone").fetchone() == (zone,)
                assert other.execute("show datestyle").fetchone() == ("German, DMY",)
        is_told_in_time(for_driver(driver, url))


def is_told_in_time(url):
    """Submit, execute, fail and retry; look at every instant."""
    run_at = datetime(2031, 7, 1, 1, 2, 3, 456_789, tzinfo=UTC)
    an_hour_ago = datetime.now(UTC) - HOUR
    poller = a_poller(url)
    poller.register_executor("good.v1", lambda run: None)

    @poller.handler("busy.v1")
    def busy(run):
        if run.attempt == 0:
            raise RetryAfter(0)
        raise RetryAfter(3600)

    with Client(url) as client:
        later = client.submit("good.v1", {}, run_at=run_at).id
        # Across a change to summer time, or back.
        delayed = client.submit("good.v1", {}, delay=timedelta(days=200)).id
        past = client.submit("good.v1", {}, run_at=an_hour_ago).id
        busy_id = client.submit("busy.v1", {}).id
        assert poller.drain(PATIENCE) == 3
        assert client.get(later).run_at == run_at
        run = client.get(delayed)
        assert run.run_at - run.created_at == timedelta(days=200)
        run = client.get(past)
        assert (run.status, run.run_at) == ("succeeded", an_hour_ago)
        run = client.get(busy_id)
        assert (run.status, run.run_at - run.updated_at) == ("pending", HOUR)
        assert kinds(client, busy_id) == ["created", "leased", "retried", "leased", "retried"]
        told = [event.created_at for event in client.events(busy_id)]
        assert told == sorted(told)
        assert all(is_now(instant) for instant in told)
        assert {event.created_at.tzinfo for event in client.events(busy_id)} == {UTC}
