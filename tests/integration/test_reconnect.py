"""A worker goes on by itself when its way to the database was interrupted."""

from __future__ import annotations

import contextlib
import threading

import pytest
from proxy import Proxy
from replication import primary_and_standby
from servers import Unavailable, with_schema
from workers import Seen, a_poller, met, working

from simpleworkflow import Client, migrate
from simpleworkflow.backends.postgres import driver as drivers
from simpleworkflow.core.events import PollFailed, PollSucceeded, RunSettled

LIMITS = "&connect_timeout=2&options=-c%20statement_timeout%3D500ms"
PARTS = ("polling for runs", "the heartbeat", "settling runs")


@pytest.fixture(params=["postgresql+psycopg:", "postgresql+pg8000:"])
def scheme(request):
    """The beginning of a URL for each driver in turn."""
    return request.param


@pytest.fixture(autouse=True)
def _short_margin(monkeypatch):
    monkeypatch.setattr(drivers, "ANSWER_MARGIN", 0.1)


@contextlib.contextmanager
def at_work(url, **options):
    """A worker in the midst of a run: the run's id, what was seen, what lets the run end."""
    seen, begun, may_end = Seen(), threading.Event(), threading.Event()
    poller = a_poller(url, observers=[seen], **options)

    @poller.handler("long.v1")
    def work(_run):
        begun.set()
        met(may_end)

    with Client(url) as client:
        run_id = client.submit("long.v1", {}).id
    with working(poller):
        met(begun)
        yield run_id, seen, may_end


def check_log(log):
    """Each part has told of its trouble once when it began and once when it ended."""
    assert f"{PARTS[0]} fails" in log
    for part in PARTS:
        assert log.count(f"{part} fails") <= 1
        assert log.count(f"{part} works again") == log.count(f"{part} fails")


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_an_outcome_outlives_a_silence(scheme, one_database_url, is_forgotten, caplog):
    """It is kept while nobody answers and settled afterwards, with its first attempt."""
    caplog.set_level("INFO", "simpleworkflow.worker")
    migrate(one_database_url)
    with Proxy(one_database_url.replace("postgresql:", scheme)) as proxy:
        with at_work(proxy.url + LIMITS) as (run_id, seen, may_end):
            proxy.blackhole()
            if is_forgotten:
                proxy.abandon()
            may_end.set()
            seen.wait(PollFailed, 2)
            assert seen.of(RunSettled) == []
            proxy.resume()
            seen.wait(RunSettled)
            seen.wait(PollSucceeded, len(seen.of(PollSucceeded)) + 1)
        with Client(one_database_url) as client:
            run = client.get(run_id)
            assert (run.status, run.attempt) == ("succeeded", 0)
            moves = [event.type for event in client.events(run_id)]
            assert moves == ["created", "leased", "succeeded"]
    check_log(caplog.text)


def test_a_lease_is_renewed_on_a_new_connection(scheme, one_database_url):
    """A heartbeat that nobody answers leaves time for the next one."""
    migrate(one_database_url)
    with (
        Proxy(one_database_url.replace("postgresql:", scheme)) as proxy,
        at_work(proxy.url + LIMITS, lease_duration=3) as (run_id, seen, may_end),
        Client(one_database_url) as client,
    ):
        proxy.abandon()
        until = client.get(run_id).lease_until
        pause = threading.Event()
        while client.get(run_id).lease_until == until:
            pause.wait(0.02)
        may_end.set()
        seen.wait(RunSettled)
        assert client.get(run_id).status == "succeeded"


def test_a_worker_follows_a_failover(scheme, server, caplog):
    """The run that it was at is settled on the server that took over, and new ones found there."""
    caplog.set_level("INFO", "simpleworkflow.worker")
    try:
        with primary_and_standby(server) as pair:
            url = with_schema(pair.url, "jobs").replace("postgresql:", scheme)
            migrate(url)
            with at_work(url) as (run_id, seen, may_end):
                pair.stop_primary()
                may_end.set()
                seen.wait(PollFailed)
                pair.promote()
                seen.wait(RunSettled)
                with Client(url) as client:
                    assert client.get(run_id).status == "succeeded"
                    client.submit("long.v1", {})
                    seen.wait(RunSettled, 2)
            check_log(caplog.text)
    except Unavailable as reason:
        pytest.skip(str(reason))
