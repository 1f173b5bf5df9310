"""The endpoints of a worker's process: /metrics, /healthz and /readyz."""

from __future__ import annotations

import http.client
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psutil
import pytest
from prometheus_client import CollectorRegistry
from proxy import Proxy
from workers import PATIENCE, Seen, a_poller, memory_url, met, until, working

from simpleworkflow import Client, PrometheusMetrics, UsageError, endpoints, migrate, serve_metrics
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.backends.postgres import driver as drivers
from simpleworkflow.core import health
from simpleworkflow.core.events import PollFailed
from simpleworkflow.endpoints import MetricsServer
from simpleworkflow.worker import sampler

LIMITS = "&connect_timeout=2&options=-c%20statement_timeout%3D500ms"
PAGES = ("/healthz", "/readyz", "/metrics")
HANG_UP = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket whose close is an RST."""


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> PrometheusMetrics:
    return PrometheusMetrics(registry)


@pytest.fixture
def server(registry: CollectorRegistry) -> Iterator[MetricsServer]:
    """The endpoints of a registry."""
    with serve_metrics(0, registry=registry) as server:
        yield server


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is looked at all the time, and stops being ready within a second or so."""
    monkeypatch.setattr(sampler, "EVERY", 0.02)
    monkeypatch.setattr(health, "SLACK", 0.5)


def ask(
    server: MetricsServer, path: str, host: str = "127.0.0.1", method: str = "GET"
) -> tuple[int, str]:
    """The status and the text of a page."""
    with closing(http.client.HTTPConnection(host, server.port, timeout=PATIENCE)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def is_ready(server: MetricsServer) -> Callable[[], bool]:
    """A question."""
    return lambda: ask(server, "/readyz")[0] == 200


def is_late(server: MetricsServer) -> Callable[[], bool]:
    """A question: whether it is said of the worker that it was not heard of lately."""
    return lambda: ask(server, "/readyz") == (503, "w has not polled and beaten lately\n")


def a_worker(store: Any, metrics: PrometheusMetrics, **options: Any) -> Any:
    """A poller that serves something, and counts."""
    poller = a_poller(store, metrics=metrics, **options)
    poller.register_executor("t.v1", lambda run: None)
    return poller


# Pages


def test_a_process_is_alive_and_its_worker_ready_while_it_works(server, metrics):
    """Before and after, `/readyz` says what is missing, and `/healthz` that the process lives."""
    missing = (503, "1 of 1 workers are not at work\n")
    assert ask(server, "/readyz") == missing
    assert ask(server, "/healthz") == (200, "alive\n")
    with working(a_worker(memory_url(), metrics)):
        until(is_ready(server))
        assert ask(server, "/readyz") == (200, "ready: w\n")
        assert ask(server, "/healthz") == (200, "alive\n")
        status, text = ask(server, "/metrics")
        assert status == 200
        assert 'workflow_worker_capacity{worker_id="w"} 1.0\n' in text
    assert ask(server, "/readyz") == missing
    assert ask(server, "/healthz") == (200, "alive\n")


def test_any_other_path_is_told_which_there_are(server):
    """And nothing of the program's is told."""
    for path in ("/", "/metrics/", "/ready", "/healthz/x", "/favicon.ico", "//"):
        assert ask(server, path) == (404, "/metrics, /healthz or /readyz\n"), path


def test_each_page_is_text(server):
    """As people read it; what is asked for beside the path changes nothing."""
    for path in PAGES:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        with closing(connection):
            connection.request("GET", f"{path}?verbose=1")
            answer = connection.getresponse()
            assert answer.headers["Content-Type"].startswith("text/plain; "), path


def test_a_worker_is_ready_from_its_first_poll_on(server, metrics, short_limits):
    """A store that has not answered yet is nothing to wait for runs of."""
    asked, may_answer = threading.Event(), threading.Event()

    class Slow(MemoryStore):
        def claim(self, *args):
            asked.set()
            met(may_answer)
            return super().claim(*args)

    try:
        with working(a_worker(Slow(), metrics)):
            met(asked)
            until(is_late(server))
            may_answer.set()
            until(is_ready(server))
    finally:
        may_answer.set()


def test_readiness_ends_with_the_way_to_the_store_and_comes_back(
    one_database_url, server, metrics, short_limits, monkeypatch
):
    """A worker that was not heard of for the limits is not ready, until it is heard of again."""
    monkeypatch.setattr(drivers, "ANSWER_MARGIN", 0.1)
    migrate(one_database_url)
    seen = Seen()
    with Proxy(one_database_url) as proxy:
        poller = a_worker(proxy.url + LIMITS, metrics, lease_duration=1, observers=[seen])
        with working(poller):
            until(is_ready(server))
            proxy.blackhole()
            seen.wait(PollFailed)
            until(is_late(server))
            assert ask(server, "/healthz") == (200, "alive\n")
            assert ask(server, "/metrics")[0] == 200
            proxy.resume()
            until(is_ready(server))


def test_heartbeats_that_fail_end_readiness_too(server, metrics, short_limits):
    """Though polls are answered: a worker that cannot keep its leases should get no more runs."""
    fails = threading.Event()

    class Halved(MemoryStore):
        def extend(self, extensions):
            if fails.is_set():
                raise ConnectionError("away")
            return super().extend(extensions)

    with working(a_worker(Halved(), metrics, lease_duration=1)):
        until(is_ready(server))
        fails.set()
        until(is_late(server))
        fails.clear()
        until(is_ready(server))


def test_a_worker_that_wants_no_more_runs_stays_ready(server, metrics, registry, short_limits):
    """For longer than a poll may take: with all slots taken it does not poll, nor should it."""
    store, at_work, end = MemoryStore(), threading.Event(), threading.Event()
    poller = a_poller(store, metrics=metrics, lease_duration=1)

    @poller.handler("t.v1")
    def work(run):
        at_work.set()
        met(end)

    def told(name: str) -> float:
        return registry.get_sample_value(f"workflow_worker_{name}", {"worker_id": "w"}) or 0.0

    Client(store).submit("t.v1", {})
    try:
        with working(poller):
            met(at_work)
            until(is_ready(server))
            polls, heard_at = told("poll_cycle_total"), told("last_poll_timestamp")
            limit = health.POLLS * 0.05 + health.SLACK
            until(lambda: told("last_poll_timestamp") > heard_at + 2 * limit)
            until(is_ready(server))
            assert told("poll_cycle_total") <= polls + 1
            end.set()
    finally:
        end.set()


def test_every_worker_has_to_be_ready(registry, metrics):
    """As many as were asked for, by their names; a line for each that is not."""
    first, second = (a_worker(memory_url(), metrics, worker_id=name) for name in "ab")
    with serve_metrics(0, registry=registry, workers=2) as server:
        with working(first):
            until(lambda: ask(server, "/readyz") == (503, "1 of 2 workers are not at work\n"))
            with working(second):
                until(is_ready(server))
                assert ask(server, "/readyz") == (200, "ready: a, b\n")
            assert ask(server, "/readyz") == (503, "1 of 2 workers are not at work\n")
        assert ask(server, "/readyz") == (503, "2 of 2 workers are not at work\n")


def test_more_workers_than_were_asked_for_have_to_be_ready_too(registry, metrics, short_limits):
    """One that is late is told of, whoever else is at work."""
    away = threading.Event()

    class Failing(MemoryStore):
        def claim(self, *args):
            if away.is_set():
                raise ConnectionError("away")
            return super().claim(*args)

    with (
        serve_metrics(0, registry=registry, workers=1) as server,
        working(a_worker(memory_url(), metrics, worker_id="a")),
        working(a_worker(Failing(), metrics, worker_id="b")),
    ):
        until(lambda: ask(server, "/readyz") == (200, "ready: a, b\n"))
        away.set()
        until(lambda: ask(server, "/readyz") == (503, "b has not polled and beaten lately\n"))


def test_a_collector_of_somebodys_that_raises_is_answered(registry, server, capfd):
    """As unavailable, with its words, until it works again; that is no sign of a dead process."""
    collect = registry.collect

    def broken() -> Any:
        raise RuntimeError("out of order")

    registry.collect = broken
    text = "the metrics cannot be read now: RuntimeError('out of order')\n"
    assert ask(server, "/metrics") == ask(server, "/readyz") == (503, text)
    assert ask(server, "/healthz") == (200, "alive\n")
    registry.collect = collect
    assert ask(server, "/metrics")[0] == 200
    assert capfd.readouterr() == ("", "")


# Where


def listening(port: int) -> list[str]:
    """The addresses at which this process listens on a port."""
    return [
        found.laddr.ip
        for found in psutil.Process().net_connections("inet")
        if found.status == psutil.CONN_LISTEN and found.laddr.port == port
    ]


def test_only_this_machine_is_listened_to_unless_told_otherwise(server):
    """At 127.0.0.1, and at no other address."""
    assert listening(server.port) == ["127.0.0.1"]
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/healthz", host="127.0.0.2")


def test_an_address_may_be_given(registry):
    """Any of this machine's, and no other is listened at."""
    with serve_metrics(0, host="127.0.0.3", registry=registry) as server:
        assert listening(server.port) == ["127.0.0.3"]
        assert ask(server, "/healthz", host="127.0.0.3") == (200, "alive\n")


def test_an_address_may_be_of_ipv6(registry):
    """Where the machine has it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as reason:
        pytest.skip(f"no IPv6: {reason}")
    with serve_metrics(0, host="::1", registry=registry) as server:
        assert listening(server.port) == ["::1"]
        assert ask(server, "/healthz", host="::1") == (200, "alive\n")


def test_a_port_that_is_taken_is_told_in_a_sentence(server, registry):
    """With the place and the system's reason; whoever has it goes on."""
    with pytest.raises(UsageError) as caught:
        serve_metrics(server.port, registry=registry)
    assert str(caught.value).startswith(f"127.0.0.1 port {server.port} cannot be listened on: ")
    assert "Address already in use" in str(caught.value)
    assert ask(server, "/healthz") == (200, "alive\n")


@pytest.mark.parametrize(
    ("port", "options", "says"),
    [
        (-1, {}, "port=-1"),
        (65_536, {}, "port=65536 must be from 0 to 65535"),
        ("9100", {}, "port='9100'"),
        (True, {}, "port=True"),
        (91.5, {}, "port=91.5"),
        (0, {"workers": -1}, "workers=-1"),
        (0, {"workers": 1.5}, "workers=1.5"),
        (0, {"host": "nowhere.invalid"}, "nowhere.invalid port 0 cannot be listened on: "),
        (0, {"host": "300.1.1.1"}, "300.1.1.1 port 0 cannot be listened on: "),
        (0, {"host": "x" * 70}, "port 0 cannot be listened on: "),
        (0, {"host": "203.0.113.7"}, "203.0.113.7 port 0 cannot be listened on: "),
        (0, {"host": 7}, "7 port 0 cannot be listened on: "),
    ],
)
def test_what_cannot_be_listened_on_is_told_in_a_sentence(registry, port, options, says):
    """Which says what and why, in one line; and nothing is left listening."""
    before = threading.active_count()
    with pytest.raises(UsageError) as caught:
        serve_metrics(port, registry=registry, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert threading.active_count() == before


def test_closing_gives_up_the_port_and_the_thread(registry):
    """At once, so that whoever comes next may have it; closing once more does nothing."""
    before = set(threading.enumerate())
    server = serve_metrics(0, registry=registry)
    assert ask(server, "/healthz") == (200, "alive\n")
    server.close()
    server.close()
    assert listening(server.port) == []
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/healthz")
    until(lambda: set(threading.enumerate()) <= before)
    with serve_metrics(server.port, registry=registry) as again:
        assert again.port == server.port
        assert ask(again, "/healthz") == (200, "alive\n")


# Clients


def at_rest() -> bool:
    """Whether no request is being answered."""
    return not any("process_request_thread" in one.name for one in threading.enumerate())


def test_clients_that_hang_up_leave_no_trace(server, capfd):
    """In the middle of a request, or before: the next one is answered, and nothing is printed."""
    for said in (b"", b"GET /hea", b"GET /metrics HTTP/1.0\r\n\r\n"):
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(said)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HANG_UP)
        client.close()
    assert ask(server, "/healthz") == (200, "alive\n")
    until(at_rest)
    assert capfd.readouterr() == ("", "")


def test_clients_that_say_nothing_are_let_go(registry, monkeypatch, capfd):
    """Each has a thread, and nobody knows what it waits for; others are answered meanwhile."""
    monkeypatch.setattr(endpoints, "CLIENT_TIMEOUT", 0.3)
    with serve_metrics(0, registry=registry) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
            assert ask(server, "/healthz") == (200, "alive\n")
            assert client.recv(1) == b""
        until(at_rest)
    assert capfd.readouterr() == ("", "")


def test_many_clients_are_answered_at_once(server, metrics):
    """One that is slow to ask keeps nobody waiting."""
    answers: list[tuple[int, str]] = []
    with socket.create_connection(("127.0.0.1", server.port)):
        clients = [
            threading.Thread(target=lambda: answers.append(ask(server, "/metrics")))
            for _ in range(8)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join(PATIENCE)
    assert [status for status, _ in answers] == [200] * 8


# Whose metrics


def test_without_a_registry_it_is_the_default_one(monkeypatch):
    """Which other metrics of the program are in, too."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    with serve_metrics(0) as server:
        assert "python_info" in ask(server, "/metrics")[1]


def test_without_a_registry_it_is_what_the_processes_of_a_folder_count(tmp_path, monkeypatch):
    """Of all of them; a folder that is not there is told in a sentence."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with serve_metrics(0) as server:
        assert ask(server, "/metrics") == (200, "")
        assert ask(server, "/readyz")[0] == 503
        # As a process leaves one that has just made its file.
        (tmp_path / f"counter_{os.getpid()}.db").touch()
        assert ask(server, "/metrics")[0] == 503
        assert ask(server, "/healthz") == (200, "alive\n")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="absent' is no folder: make it, or unset the variable"):
        serve_metrics(0)
