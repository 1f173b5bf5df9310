"""Bad input gets an error that says what is wrong, where, and what to do; no password is told."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest
from servers import schema_of
from workers import Seen, a_poller, working

from simpleworkflow import (
    Client,
    IntentPoller,
    RetryPolicy,
    RunNotFound,
    StoreUnavailable,
    UsageError,
    WorkflowExecutor,
    migrate,
    open_store,
)
from simpleworkflow.core.events import PollFailed, PollSucceeded, RunSettled

SECRET = "hunter2"


def nothing(run):
    return None


class Executor(WorkflowExecutor):
    def execute(self, run):
        return None


class TakesNothing:
    def execute(self):
        return None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:hunter2@h/d", ["mysql://", "known are", "postgresql", "memory"]),
        ("postgresql+psycopg2://h/d", ["postgresql+psycopg2://", "known are"]),
        ("workflow", ["no store", "postgresql://", "memory://"]),
        ("", ["no store", "postgresql://"]),
        (None, ["None", "postgresql://"]),
        (7, ["int", "postgresql://"]),
        ("host=h password=hunter2 x=postgres://", ["no store", "postgresql://"]),
        ("postgresql://h/d?search_path=a,b", ["'a,b'", "one schema"]),
        ("postgresql://h/d?search_path=pg_mine", ["pg_mine", "not starting with 'pg_'"]),
        ("postgresql://h/d?search_path=", ["''", "one schema"]),
        ('postgresql://h/d?schema=a"b', ["one schema"]),
        ("postgresql://h/d?schema=a;drop", ["a;drop", "one schema"]),
        ("postgresql://h/d?search_path=a&schema=b", ["several schemas", "'a'", "'b'"]),
        ("postgresql://[::1/d", ["cannot be read", "user:password@host"]),
        ("postgresql://h:port/d", ["cannot be read"]),
    ],
)
def test_a_url_that_names_no_store(url, words):
    """Poller, client, migrate and open_store all refuse it at once, in the same words."""
    for use in (lambda: IntentPoller(url), lambda: Client(url), lambda: migrate(url)):
        with pytest.raises(UsageError) as caught:
            use()
        for word in words:
            assert word in str(caught.value)
        assert SECRET not in told(caught.value)


def test_a_missing_driver_names_what_to_install(monkeypatch):
    """The hint can be pasted."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "simpleworkflow.backends.psycopg", raising=False)
    with pytest.raises(UsageError, match=r"postgresql:// is not installed.*pip install 'psycopg"):
        open_store("postgresql://h/d")


def test_no_executor_is_registered():
    """A worker that could do nothing says so, and works once it can."""
    poller = a_poller("memory://")
    for use in (poller.start, poller.drain):
        with pytest.raises(UsageError, match=r"no executor.*register_executor\(type, executor\)"):
            use()
    poller.register_executor("t.v1", nothing)
    assert poller.drain() == 0


def test_no_executor_lies_within_the_prefixes():
    """Both sides are named."""
    poller = a_poller("memory://", ["billing.%"])
    poller.register_executor("notify.v1", nothing)
    with pytest.raises(UsageError, match=r"notify\.v1.*billing\.%.*nothing would ever be claimed"):
        poller.drain()


def test_an_executor_outside_the_prefixes_is_warned_of(caplog):
    """It is not an error, but never silent."""
    poller = a_poller("memory://", ["billing.%"])
    poller.register_executor("billing.v1", nothing)
    poller.register_executor("notify.v1", nothing)
    poller.drain()
    assert "notify.v1" in caplog.text


@pytest.mark.parametrize(
    ("executor", "words"),
    [
        (None, ["'t.v1'", "NoneType", "function"]),
        ("work", ["'t.v1'", "str"]),
        (Executor, ["class Executor", "Executor()"]),
        (lambda: None, ["'t.v1'", "run"]),
        (lambda run, other: None, ["other"]),
        (TakesNothing(), ["'t.v1'", "run"]),
    ],
)
def test_an_executor_that_is_none(executor, words):
    """The error names the type it was given for, what it is, and what it should be."""
    with pytest.raises(UsageError) as caught:
        a_poller("memory://").register_executor("t.v1", executor)
    for word in words:
        assert word in str(caught.value)


def test_two_executors_for_one_type():
    """The second is refused."""
    poller = a_poller("memory://")
    poller.register_executor("t.v1", nothing)
    with pytest.raises(UsageError, match=r"'t\.v1' has an executor already"):
        poller.register_executor("t.v1", nothing)


@pytest.mark.parametrize(
    "pattern", ["", "a%b", "%a", "a%%", "a.%.v1", None, 3, "a\x00", "x" * 1001]
)
def test_a_pattern_that_is_none(pattern):
    """The right form is shown, whether it is registered or a prefix."""
    for use in (
        lambda: a_poller("memory://").register_executor(pattern, nothing),
        lambda: IntentPoller("memory://", [pattern]),
    ):
        with pytest.raises(UsageError, match=r"billing\.%|longer than|NUL"):
            use()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"type_prefixes": []}, ["type_prefixes is empty", "None"]),
        ({"type_prefixes": "billing.%"}, ["must be a list", "['billing.%']"]),
        ({"worker_id": ""}, ["worker_id=''"]),
        ({"worker_id": "a\x00"}, ["worker_id", "NUL"]),
        ({"poll_interval": -1}, ["poll_interval=-1", "positive"]),
        ({"poll_interval": 0}, ["poll_interval=0", "positive"]),
        ({"poll_interval": float("nan")}, ["poll_interval=nan"]),
        ({"poll_interval": float("inf")}, ["poll_interval=inf", "100 years"]),
        ({"poll_interval": "2"}, ["poll_interval='2'", "timedelta"]),
        ({"lease_duration": timedelta(seconds=-5)}, ["lease_duration"]),
        ({"lease_duration": 0.5}, ["lease_duration=0.5", "at least 1 second"]),
        ({"lease_duration": None}, ["lease_duration=None"]),
        ({"execution_timeout": 0}, ["execution_timeout=0"]),
        ({"shutdown_timeout": -1}, ["shutdown_timeout=-1"]),
        ({"concurrency": 0}, ["concurrency=0", "from 1"]),
        ({"concurrency": 1.5}, ["concurrency=1.5", "whole number"]),
        ({"concurrency": True}, ["concurrency=True"]),
        ({"max_result_bytes": 99}, ["max_result_bytes=99", "from 100 to 268,435,455"]),
        ({"max_result_bytes": 2**28}, ["max_result_bytes=268435456", "268,435,455"]),
        ({"max_result_bytes": "1 MB"}, ["max_result_bytes='1 MB'", "whole number"]),
        ({"max_error_chars": 0}, ["max_error_chars=0", "from 100 to 67,108,863"]),
        ({"max_error_chars": None}, ["max_error_chars=None", "whole number"]),
        ({"retry_policy": 3}, ["retry_policy=3", "RetryPolicy()"]),
        ({"observers": [3]}, ["observer 3", "callable"]),
        ({"metrics": "yes"}, ["observer 'yes'", "callable"]),
    ],
    ids=str,
)
def test_a_setting_that_cannot_work(options, words):
    """The error names the argument, its value, and what it must be."""
    with pytest.raises(UsageError) as caught:
        IntentPoller("memory://", **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("value", [99, -1, 2**28, 1e6, "1 MB", None, True])
def test_a_limit_of_payloads_that_cannot_be_kept(value):
    """The error names the argument, its value, and from where to where it goes."""
    with pytest.raises(UsageError, match=r"max_payload_bytes=.* from 100 to 268,435,455"):
        Client("memory://", max_payload_bytes=value)


@pytest.mark.parametrize("value", [-1, float("nan"), "1", -timedelta(seconds=1), 10**400])
def test_a_negative_interval_anywhere(value):
    """Drain, retry policies and delays refuse it too."""
    poller = a_poller("memory://")
    poller.register_executor("t.v1", nothing)
    for use in (
        lambda: poller.drain(value),
        lambda: RetryPolicy.constant(value),
        lambda: RetryPolicy(cap=value),
        lambda: Client("memory://").submit("t.v1", {}, delay=value),
    ):
        with pytest.raises(UsageError, match="must be"):
            use()


deep: list = []
for _ in range(600):
    deep = [deep]

BAD_RUNS = [
    ({"type": ""}, ["the type ''", "billing.invoice.v1"]),
    ({"type": "a.%"}, ["'a.%'", "carries '%'"]),
    ({"type": None}, ["the type None"]),
    ({"type": "a\x00"}, ["type", "NUL"]),
    ({"type": "é" * 501}, ["type", "1,000 bytes"]),
    ({"payload": float("nan")}, ["payload is nan"]),
    ({"payload": {"a": [1, float("inf")]}}, ["payload['a'][1] is inf", "None"]),
    ({"payload": {"a": "\x00"}}, ["payload['a']", "NUL"]),
    ({"payload": {"\x00": 1}}, ["payload has a key", "NUL"]),
    ({"payload": ["\udc00"]}, ["payload[0]", "surrogate"]),
    ({"payload": {"tags": {1}}}, ["payload['tags'] is a set", "list"]),
    ({"payload": {"n": 10**5000}}, ["payload['n']", "4,300 digits", "text"]),
    ({"payload": {(1, 2): 3}}, ["key (1, 2)", "tuple"]),
    ({"payload": deep}, ["nested deeper than 500"]),
    ({"payload": b"x"}, ["payload is a bytes"]),
    ({"payload": "x" * 999}, ["payload takes 1,001 bytes", "max_payload_bytes=1,000"]),
    ({"headers": {"a": "é" * 496}}, ["payload with its headers takes 1,002", "1,000", "keep"]),
    ({"headers": [1]}, ["headers=[1]", "mapping"]),
    ({"headers": {"a": {1}}}, ["headers['a'] is a set"]),
    ({"priority": 2**31}, ["priority", "2,147,483,647"]),
    ({"priority": "high"}, ["priority='high'", "whole number"]),
    ({"max_attempts": 0}, ["max_attempts=0", "from 1"]),
    ({"idempotency_key": ""}, ["idempotency_key=''"]),
    ({"idempotency_key": "k" * 2001}, ["idempotency_key", "2,000 bytes"]),
    ({"run_at": datetime(2030, 1, 1)}, ["run_at", "time zone"]),
    ({"run_at": "tomorrow"}, ["run_at='tomorrow'", "datetime"]),
    ({"run_at": datetime.fromisoformat("2030-01-01T00:00Z"), "delay": 1}, ["not both"]),
    ({"delay": 10**12}, ["delay", "100 years"]),
]


@pytest.mark.parametrize(("change", "words"), BAD_RUNS)
def test_a_run_that_cannot_be_stored(change, words):
    """submit says where in it and why; submit_many says which, and creates none of the others."""
    good = {"type": "t.v1", "payload": {}}
    with Client("memory://bad-input", max_payload_bytes=1_000) as client:
        run = good | change
        with pytest.raises(UsageError) as caught:
            client.submit(run.pop("type"), run.pop("payload"), **run)
        for word in words:
            assert word in str(caught.value)
        with pytest.raises(UsageError, match=r"run 1 of submit_many") as many:
            client.submit_many([good, good | change, good])
        assert "nothing was submitted" in str(many.value)
        assert type(many.value) is type(caught.value)
    poller = a_poller("memory://bad-input")
    poller.register_executor("%", nothing)
    assert poller.drain() == 0


@pytest.mark.parametrize(
    "run",
    [
        None,
        "t.v1",
        3,
        {},
        {"type": "t"},
        {"kind": "t", "payload": 1},
        {"type": "t", "payload": 1, "max_payload_bytes": 100},
    ],
)
def test_submit_many_of_something_else(run):
    """What is no mapping of submit's arguments is named by its place."""
    with Client("memory://") as client, pytest.raises(UsageError, match="run 0 of submit_many"):
        client.submit_many([run])


def test_an_unknown_run(client):
    """A run id that is none, and one that nobody has."""
    for ask in (client.get, client.cancel):
        with pytest.raises(UsageError, match=r"'7' is no UUID.*submit"):
            ask("7")
        with pytest.raises(RunNotFound, match="0b9d7c52"):
            ask("0b9d7c52-5a8e-4a9b-8f43-0d8a4c6d2f10")


def told(error: BaseException) -> str:
    """All that a program could print of an error: its text, repr, and traceback with causes."""
    return f"{error} {error!r} {''.join(traceback.format_exception(error))}".replace(
        f'SECRET = "{SECRET}"', ""
    )


ODD_PASSWORDS = [
    "hunter2", "a:hunter2", "hunter2#x", "hunter2/x", "hunter2?x", "hunter2@x", "hunter2[x",
    "hunter2]x", "hunter2%zz", "hunter2%", "hunter2 x", "12/hunter2", "1#hunter2", "1?hunter2",
    "x@hunter2", "hunter2%00x", "hunter2&x=1", "hunter2\\x", "?password=hunter2", "hünter2hunter2",
]  # fmt: skip


@pytest.mark.parametrize("password", ODD_PASSWORDS)
@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid", "[::1", "127.0.0.1:x"])
def test_no_password_is_ever_told(password, host, caplog):
    """Not in errors, reprs or logs, however the URL is mangled by special characters."""
    shown = ""
    for url in (
        f"postgresql://user:{password}@{host}/db?connect_timeout=2",
        f"postgresql://user@{host}/db?password={password}&connect_timeout=2",
        f"postgresql://user:{quote(password, safe='')}@{host}/db?connect_timeout=2&nonsense=1",
    ):
        try:
            poller = a_poller(url)
            poller.register_executor("t.v1", nothing)
            shown += repr(poller) + repr(poller._settings)
            shown += repr(open_store(url)) + repr(Client(url))
            if not host.startswith("no-such"):  # Resolving takes its time.
                poller.start()
        except (UsageError, StoreUnavailable) as error:
            shown += told(error)
        try:
            client = Client(url)
            if not host.startswith("no-such"):
                client.submit("t.v1", {})
        except (UsageError, StoreUnavailable) as error:
            shown += told(error)
    assert SECRET not in shown
    assert SECRET not in caplog.text


def test_a_wrong_password_is_not_told(one_server, one_database_url, caplog):
    """The server's refusal is passed on, with the URL but without the password."""
    migrate(one_database_url)
    parts = urlsplit(one_database_url)
    name = schema_of(one_database_url).replace("t_", "r_")
    with one_server.connect() as connection:
        connection.execute(f"create role {name} login password 'right'")
        try:
            url = parts._replace(
                netloc=f"{name}:{SECRET}@{parts.netloc.rpartition('@')[2]}"
            ).geturl()
            poller = a_poller(url)
            poller.register_executor("t.v1", nothing)
            said = ""
            with caplog.at_level(logging.DEBUG):
                for use in (poller.start, lambda: migrate(url), lambda: Client(url).get("0" * 32)):
                    try:
                        use()
                    except StoreUnavailable as error:
                        said += told(error)
            # A server that trusts everyone on this machine refuses nobody.
            assert not said or name in said
            assert SECRET not in said + caplog.text
        finally:
            connection.execute(f"drop role {name}")


def test_an_unreachable_database_is_named():
    """Where it was looked for, and what came back."""
    url = f"postgresql://user:{SECRET}@127.0.0.1:1/db?search_path=mine"
    poller = a_poller(url)
    poller.register_executor("t.v1", nothing)
    for use in (
        poller.start,
        poller.drain,
        lambda: migrate(url),
        lambda: Client(url).submit("t", 1),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            use()
        assert "postgresql://user@127.0.0.1:1/db?search_path=mine" in str(caught.value)
        assert "refused" in str(caught.value)


def test_a_database_that_does_not_exist_is_named(one_database_url):
    """The server's words tell which."""
    url = urlsplit(one_database_url)._replace(path="/nowhere").geturl()
    with pytest.raises(StoreUnavailable, match='database "nowhere" does not exist'):
        migrate(url)


def test_a_read_only_database_is_named(one_database_url, caplog):
    """A client and migrate are told at once; a worker says so and works when it can again."""
    migrate(one_database_url)
    url = f"{one_database_url}&options=-c%20default_transaction_read_only%3Don"
    with Client(url) as client:
        with pytest.raises(StoreUnavailable, match=r"read-only: connect to the primary"):
            client.submit("t.v1", {})
        with pytest.raises(StoreUnavailable, match="read-only"):
            migrate(url.replace(schema_of(url), "t_other"))
    seen = Seen()
    poller = a_poller(url, observers=[seen])
    poller.register_executor("t.v1", nothing)
    with working(poller):
        failed = seen.wait(PollFailed, 2)
    assert "read-only" in str(failed[0].error)
    assert "read-only" in caplog.text
    assert caplog.text.count("will keep trying") == 1, "told once, however often it is met"


def test_a_server_that_goes_away_is_waited_for(own_server):
    """Nothing is lost: the worker goes on by itself when the server is back."""
    with own_server.fresh_schema() as url:
        migrate(url)
        seen = Seen()
        poller = a_poller(url, observers=[seen])
        poller.register_executor("t.v1", nothing)
        with working(poller):
            seen.wait(PollSucceeded)
            own_server.stop()
            seen.wait(PollFailed)
            own_server.start()
            with Client(url) as client:
                run_id = client.submit("t.v1", {}).id
                seen.wait(RunSettled)
                assert client.get(run_id).status == "succeeded"
