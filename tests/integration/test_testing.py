"""What simpleworkflow.testing gives to tests: time that is moved, and asserts that explain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from textwrap import dedent

import pytest

import simpleworkflow.testing
from simpleworkflow import (
    Client,
    IntentPoller,
    PermanentFailure,
    RetryPolicy,
    Status,
    Store,
    UsageError,
    WorkflowRun,
    open_store,
)
from simpleworkflow.core.routing import Route
from simpleworkflow.testing import (
    FakeClock,
    assert_history,
    assert_not_submitted,
    assert_status,
    assert_submitted,
)

MINUTE = timedelta(minutes=1)
NO_SUCH_RUN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def clock() -> FakeClock:
    """The store's time."""
    return FakeClock()


@pytest.fixture
def store(store_url: str, clock: FakeClock) -> Iterator[Store]:
    """An empty store of each kind, on the test's clock."""
    store = open_store(store_url, clock=clock)
    yield store
    store.close()


@pytest.fixture
def client(store: Store) -> Client:
    """A client of the store."""
    return Client(store)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def failing_until(attempt: int) -> Callable[[WorkflowRun], str]:
    """An executor that fails every attempt before this one."""

    def executor(run: WorkflowRun) -> str:
        if run.attempt < attempt:
            raise ConnectionError(f"attempt {run.attempt}")
        return "done"

    return executor


def test_the_face_is_sorted_and_whole():
    """Every public name is there, in the order of the alphabet."""
    names = simpleworkflow.testing.__all__

    assert names == sorted(names)
    assert [name for name in names if not hasattr(simpleworkflow.testing, name)] == []


def test_a_test_walks_through_retries_of_one_and_four_minutes(store, client, clock):
    """Minutes pass when the test says so, in memory and on PostgreSQL alike."""
    poller = IntentPoller(store, retry_policy=RetryPolicy.quadratic(jitter=0))
    poller.register_executor("mail.send.v1", failing_until(2))
    run_id = client.submit("mail.send.v1", {}).id

    assert poller.drain(timeout=60) == 1
    assert poller.drain(timeout=60) == 0
    clock.advance(MINUTE)
    assert poller.drain(timeout=60) == 1
    clock.advance(4 * MINUTE - timedelta(microseconds=1))
    assert poller.drain(timeout=60) == 0
    clock.advance(timedelta(microseconds=1))
    assert poller.drain(timeout=60) == 1

    run = assert_status(store, run_id, "succeeded")
    assert (run.result, run.updated_at - run.created_at) == ("done", 5 * MINUTE)
    assert_history(
        store,
        run_id,
        ["created", "leased", "retried", "leased", "retried", "leased", "succeeded"],
    )


def test_the_default_policy_is_due_when_its_jitter_is_over(store, client, clock):
    """With up to 10 % of jitter, 1.1 and 4.4 minutes are always enough."""
    poller = IntentPoller(store)
    poller.register_executor("mail.send.v1", failing_until(2))
    run_id = client.submit("mail.send.v1", {}).id

    for minutes in (0, 1.1, 4.4):
        clock.advance(minutes * MINUTE)
        assert poller.drain(timeout=60) == 1

    assert_status(store, run_id, Status.SUCCEEDED)


def test_a_worker_that_died_is_found_when_its_lease_has_run_out(store, client, clock):
    """A test need not wait for a lease either."""
    run_id = client.submit("mail.send.v1", {}).id
    store.claim(Route.of(["mail.send.v1"]), 1, "a-dead-worker", timedelta(seconds=30))
    poller = IntentPoller(store)
    poller.register_executor("mail.send.v1", lambda run: run.attempt)

    assert poller.drain(timeout=60) == 0
    clock.advance(30)
    assert poller.drain(timeout=60) == 1

    assert assert_status(store, run_id, Status.SUCCEEDED).result == 1


# Asserts


def test_a_submitted_run_is_found_by_what_is_said_of_it(store, client, clock):
    """By type alone, by a pattern, and by any field; the newest is returned."""
    client.submit("mail.send.v1", {"to": ("ada", 1)}, priority=10)
    clock.advance(1)
    newest = client.submit("mail.send.v1", {"to": "bob"}, headers={"trace": "abc"}).id

    assert assert_submitted(store, "mail.send.v1").id == newest
    assert assert_submitted(store, "mail.%", times=2).id == newest
    assert assert_submitted(store, "mail.send.v1", payload={"to": "bob"}).id == newest
    assert assert_submitted(store, "mail.%", headers={"trace": "abc"}, priority=100).id == newest
    assert assert_submitted(store, "mail.send.v1", payload={"to": ("ada", 1)}).priority == 10
    assert_not_submitted(store, "mail.send.v2")
    assert_not_submitted(store, "mail.send.v1", payload={"to": "eve"})


def test_a_missing_run_is_explained_by_the_others_of_its_type(store, client):
    """What is there instead is what one looks for next."""
    run_id = client.submit("mail.send.v1", {"to": "ada"}).id
    client.submit("billing.invoice.v1", {})

    with pytest.raises(AssertionError) as raised:
        assert_submitted(store, "mail.send.v1", payload={"to": "bob"})

    assert str(raised.value) == dedent(
        f"""\
        expected a run of 'mail.send.v1' with payload={{'to': 'bob'}}, found none; \
of 'mail.send.v1' there are:
          mail.send.v1 {run_id} pending attempt=0/3 priority=100 payload={{'to': 'ada'}}"""
    )


def test_a_missing_type_is_explained_by_the_types_there_are(store, client):
    """A slip of the pen in a type is seen at once; a long list is cut."""
    client.submit_many([{"type": "mail.sent.v1", "payload": n} for n in range(12)])

    with pytest.raises(AssertionError, match=r"the store has:\n  mail\.sent\.v1 ") as raised:
        assert_submitted(store, "mail.send.v1")

    assert str(raised.value).endswith("… and 2 more")


def test_an_empty_store_is_told_as_such(store):
    """Nothing was submitted at all: perhaps to another store."""
    with pytest.raises(AssertionError, match="the store has no runs at all"):
        assert_submitted(store, "mail.send.v1")


def test_a_run_too_many_is_explained(store, client):
    """Once means once."""
    for _ in range(2):
        client.submit("mail.send.v1", {})

    with pytest.raises(AssertionError, match=r"expected 1 run of 'mail\.send\.v1', found 2"):
        assert_submitted(store, "mail.send.v1", times=1)
    with pytest.raises(AssertionError, match=r"expected no run of 'mail\.%', found 2:\n  mail"):
        assert_not_submitted(store, "mail.%")


def test_a_wrong_status_is_explained_by_history_and_error(store, client):
    """Why it failed is told with the fact that it did."""
    poller = IntentPoller(store)

    @poller.handler("mail.send.v1")
    def send(run: WorkflowRun) -> None:
        raise PermanentFailure("no such address")

    run_id = client.submit("mail.send.v1", {}).id
    poller.drain(timeout=60)

    assert_status(store, run_id, "failed")
    with pytest.raises(AssertionError) as raised:
        assert_status(store, run_id, "succeeded")
    lines = str(raised.value).splitlines()
    assert lines[0] == f"expected run {run_id} to be succeeded, it is failed:"
    assert lines[2] == "  history: created, leased, failed"
    assert lines[3].startswith("  last_error: ")
    assert "no such address" in lines[3]


def test_a_wrong_history_is_explained_by_the_whole_of_it(store, client):
    """With times and data."""
    run_id = client.submit("mail.send.v1", {}).id
    client.cancel(run_id)

    assert [event.data for event in assert_history(store, run_id, ["created", "cancelled"])] == [
        {},
        {"was": "pending"},
    ]
    with pytest.raises(AssertionError) as raised:
        assert_history(store, run_id, ["created", "leased"])
    assert str(raised.value) == dedent(
        f"""\
        expected this history of run {run_id}:
          created, leased
        it is:
          created, cancelled
        in full:
          2030-01-01 00:00:00+00:00 created {{}}
          2030-01-01 00:00:00+00:00 cancelled {{'was': 'pending'}}"""
    )


def test_an_unknown_run_is_told_as_such(store):
    """It has no status and no history."""
    with pytest.raises(AssertionError, match="there is no such run"):
        assert_status(store, NO_SUCH_RUN, "pending")
    with pytest.raises(AssertionError, match="it has none"):
        assert_history(store, NO_SUCH_RUN, ["created"])


def test_a_slip_in_an_assert_is_no_failed_assert(store):
    """A field, a status or a type that does not exist is the test's own mistake."""
    with pytest.raises(UsageError, match="a run has no paylod: it has attempt, "):
        assert_submitted(store, "mail.send.v1", paylod={})
    with pytest.raises(UsageError, match="'done' is no status: there are pending, "):
        assert_status(store, NO_SUCH_RUN, "done")
    with pytest.raises(UsageError, match="times=0"):
        assert_submitted(store, "mail.send.v1", times=0)
    with pytest.raises(UsageError, match="misplaced '%'"):
        assert_not_submitted(store, "%.send")


def test_a_store_that_cannot_be_read_is_told_as_such():
    """Its runs can be got by their ids only."""
    with pytest.raises(UsageError, match="it is no RunReader"):
        assert_not_submitted(object(), "mail.send.v1")
