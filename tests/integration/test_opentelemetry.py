"""Traces: from a producer, through the headers of a run, to each of its attempts."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import opentelemetry.semconv._incubating.attributes.messaging_attributes as messaging
import psycopg
import pytest
from documents import ROOT
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.semconv.schemas import Schemas
from workers import AT_ONCE, PATIENCE, Seen, a_poller, memory_url, met, python, until, working

from simpleworkflow import (
    AsyncClient,
    Client,
    IntentPoller,
    OpenTelemetry,
    PermanentFailure,
    UsageError,
    migrate,
)
from simpleworkflow.backends.postgres.url import parse_url
from simpleworkflow.core.events import AttemptFailed
from simpleworkflow.observers.opentelemetry import SCHEMA_URL
from simpleworkflow.testing import run_executor

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"

Spans = list[dict[str, Any]]


class Traced:
    """A provider that keeps its spans, and an observer of it."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(**options)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.provider = provider
        self.observer = OpenTelemetry(provider)
        self.tracer = provider.get_tracer("the program")

    def client(self, url: str) -> Client:
        return Client(url, observers=[self.observer])

    def poller(self, url: str, **options: Any) -> IntentPoller:
        return a_poller(url, observers=[self.observer], retry_policy=AT_ONCE, **options)

    def spans(self, name: str = "") -> Spans:
        """What has ended so far, of this name if one is given."""
        every = [json.loads(span.to_json()) for span in self._exporter.get_finished_spans()]
        return [span for span in every if name in ("", span["name"])]

    def span(self, name: str) -> dict[str, Any]:
        """The only one of this name."""
        (found,) = self.spans(name)
        return found


@pytest.fixture
def traced() -> Traced:
    return Traced()


@pytest.fixture
def url() -> str:
    return memory_url()


def place(span: dict[str, Any]) -> tuple[str, str]:
    """The ids of a span and its trace."""
    return span["context"]["trace_id"], span["context"]["span_id"]


def parent(span: dict[str, Any]) -> tuple[str, str] | None:
    """The ids of a span's parent."""
    return span["parent_id"] and (span["context"]["trace_id"], span["parent_id"])


def links(span: dict[str, Any]) -> list[tuple[str, str]]:
    """The ids of what a span is linked to."""
    return [place(link) for link in span["links"]]


def carried(headers: dict[str, Any]) -> tuple[str, str]:
    """The ids in a traceparent."""
    _, trace_id, span_id, _ = headers["traceparent"].split("-")
    return f"0x{trace_id}", f"0x{span_id}"


@contextmanager
def with_baggage(name: str, value: str) -> Iterator[None]:
    """Let this be current baggage."""
    token = attach(baggage.set_baggage(name, value))
    try:
        yield
    finally:
        detach(token)


WORKER = """
import asyncio, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from simpleworkflow import IntentPoller, OpenTelemetry, RetryPolicy

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("the program")
poller = IntentPoller(
    sys.argv[1], worker_id="second", retry_policy=RetryPolicy.constant(0),
    observers=[OpenTelemetry(provider)],
)

@poller.handler("shop.charge.v1")
def charge(run):
    with tracer.start_as_current_span("ask the bank"):
        pass
    if run.attempt == 0:
        raise ConnectionError("the bank does not answer")

@poller.handler("shop.mail.v1")
async def mail(run):
    await asyncio.sleep(0)
    with tracer.start_as_current_span("ask the server"):
        await asyncio.sleep(0)

poller.drain(30)
for span in exporter.get_finished_spans():
    print(span.to_json(indent=None))
"""


def spans_of_a_second_process(url: str) -> Spans:
    """Work until nothing is left, in another process; its spans as they ended."""
    worker = python(WORKER, url)
    out, err = worker.communicate(timeout=2 * PATIENCE)
    assert worker.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_a_trace_goes_from_a_producer_through_a_second_process(database_url, traced):
    """One trace: the caller, the submit, each attempt, and what executors do in it."""
    migrate(database_url)
    with traced.client(database_url) as client, traced.tracer.start_as_current_span("the caller"):
        charge = client.submit("shop.charge.v1", {}).id
        mail = client.submit("shop.mail.v1", {}).id

    theirs = spans_of_a_second_process(database_url)

    caller = traced.span("the caller")
    assert {span["context"]["trace_id"] for span in [*traced.spans(), *theirs]} == {
        caller["context"]["trace_id"]
    }
    for run_id, type_, attempts in ((charge, "shop.charge.v1", 2), (mail, "shop.mail.v1", 1)):
        send = traced.span(f"send {type_}")
        assert (send["kind"], parent(send)) == ("SpanKind.PRODUCER", place(caller))
        assert send["attributes"] == {
            "messaging.system": "simpleworkflow",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": type_,
            "messaging.message.id": run_id,
        }
        processes = [span for span in theirs if span["name"] == f"process {type_}"]
        assert len(processes) == attempts
        for attempt, process in enumerate(processes):
            assert process["kind"] == "SpanKind.CONSUMER"
            assert (parent(process), links(process)) == (place(send), [place(send)])
            failed = {"error.type": "ConnectionError"} if attempt + 1 < attempts else {}
            assert process["attributes"] == failed | {
                "messaging.system": "simpleworkflow",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": type_,
                "messaging.message.id": run_id,
                "messaging.client.id": "second",
                "messaging.simpleworkflow.attempt": attempt,
                "messaging.simpleworkflow.fence": attempt + 1,
            }
    first, second = [span for span in theirs if span["name"] == "process shop.charge.v1"]
    said = "ConnectionError: the bank does not answer"
    assert first["status"] == {"status_code": "ERROR", "description": said}
    (event,) = first["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"] == "ConnectionError"
    assert event["attributes"]["exception.message"] == "the bank does not answer"
    assert "in charge" in event["attributes"]["exception.stacktrace"]
    assert (second["status"], second["events"]) == ({"status_code": "UNSET"}, [])
    asked = [span for span in theirs if span["name"] == "ask the bank"]
    assert [parent(span) for span in asked] == [place(first), place(second)]
    (mailed,) = [span for span in theirs if span["name"] == "ask the server"]
    (process,) = [span for span in theirs if span["name"] == "process shop.mail.v1"]
    assert parent(mailed) == place(process)


def test_a_batch_is_one_span_to_which_each_run_is_linked(database_url, traced):
    """Its runs begin traces of their own: one trace of all of them would be too large to show."""
    migrate(database_url)
    runs = [{"type": "shop.mail.v1", "payload": n} for n in range(3)]
    with traced.client(database_url) as client, traced.tracer.start_as_current_span("the caller"):
        ids = [run.id for run in client.submit_many(runs)]
        headers = client.get(ids[0]).headers

    theirs = spans_of_a_second_process(database_url)

    send = traced.span("send shop.mail.v1")
    assert parent(send) == place(traced.span("the caller"))
    assert send["attributes"]["messaging.batch.message_count"] == 3
    assert "messaging.message.id" not in send["attributes"]
    assert headers["messaging.batch.message_count"] == "3"
    processes = [span for span in theirs if span["name"] == "process shop.mail.v1"]
    assert {span["attributes"]["messaging.message.id"] for span in processes} == set(ids)
    assert len({span["context"]["trace_id"] for span in [send, *processes]}) == 4
    assert all((parent(span), links(span)) == (None, [place(send)]) for span in processes)


def test_a_batch_of_several_types_names_none(url, traced):
    """There is no one destination; a batch of one run is that run's."""
    with traced.client(url) as client:
        client.submit_many([{"type": type_, "payload": 1} for type_ in ("a.v1", "b.v1")])
        (alone,) = client.submit_many([{"type": "c.v1", "payload": 1}])
    attributes = traced.span("send")["attributes"]
    assert "messaging.destination.name" not in attributes
    assert attributes["messaging.batch.message_count"] == 2
    attributes = traced.span("send c.v1")["attributes"]
    assert attributes["messaging.message.id"] == alone.id
    assert "messaging.batch.message_count" not in attributes


def test_a_submit_in_a_transaction_is_traced(one_database_url, traced):
    """The context is committed with the run; a rollback leaves the span and nothing else."""
    migrate(one_database_url)
    with (
        traced.client(one_database_url) as client,
        psycopg.connect(parse_url(one_database_url).url) as connection,
    ):
        gone = client.submit("a.v1", {}, connection=connection)
        connection.rollback()
        kept = client.submit("a.v1", {}, connection=connection)
        connection.commit()
        with pytest.raises(UsageError):
            client.get(gone.id)
        headers = client.get(kept.id).headers
    first, second = traced.spans("send a.v1")
    assert carried(headers) == place(second) != place(first)
    assert second["attributes"]["messaging.message.id"] == kept.id


@pytest.mark.parametrize("is_joined", [False, True], ids=["own", "session"])
def test_an_async_submit_is_a_child_of_its_caller(one_database_url, traced, is_joined):
    """On a thread of the client's and in an AsyncSession alike; the caller stays current."""
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    driver_url = parse_url(one_database_url).url.partition("?")[0]
    engine = create_async_engine(re.sub("^postgres(ql)?:", "postgresql+psycopg:", driver_url))

    async def submit(client: AsyncClient, n: int) -> None:
        with traced.tracer.start_as_current_span(f"caller {n}") as caller:
            async with AsyncSession(engine) as session:
                options = {"connection": session} if is_joined else {}
                sent = await client.submit(f"t{n}.v1", n, **options)
                await session.commit()
            assert trace.get_current_span() is caller
        headers = (await client.get(sent.id)).headers
        assert carried(headers) == place(traced.span(f"send t{n}.v1"))

    async def program() -> None:
        observers = [traced.observer]
        async with AsyncClient(one_database_url, auto_migrate=True, observers=observers) as client:
            await asyncio.gather(*(submit(client, n) for n in range(5)))
        await engine.dispose()

    asyncio.run(program())
    for n in range(5):
        assert parent(traced.span(f"send t{n}.v1")) == place(traced.span(f"caller {n}"))


@pytest.mark.skipif(
    importlib.util.find_spec("fastapi.telemetry") is None,
    reason="this FastAPI makes no spans of its own",
)
def test_a_request_to_fastapi_begins_the_trace(url, traced):
    """Its spans, the submit and the attempt are one trace; only the provider has to be named."""
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    client = AsyncClient(url, observers=[traced.observer])
    app = FastAPI(telemetry={"tracer_provider": traced.provider})

    @app.post("/orders")
    async def order() -> str:
        return (await client.submit("shop.ship.v1", {})).id

    with TestClient(app) as web:
        assert web.post("/orders").status_code == 200
    poller = traced.poller(url)
    poller.register_executor("shop.ship.v1", lambda run: None)
    assert poller.drain(PATIENCE) == 1
    asyncio.run(client.aclose())
    send, process = traced.span("send shop.ship.v1"), traced.span("process shop.ship.v1")
    (request,) = [span for span in traced.spans() if span["kind"] == "SpanKind.SERVER"]
    trace_ids = {span["context"]["trace_id"] for span in traced.spans()}
    assert trace_ids == {request["context"]["trace_id"]}
    assert parent(send) in map(place, traced.spans())
    assert parent(process) == place(send)


def test_headers_of_the_producer_win(url, traced):
    """A context that was given by hand is not touched; submit and attempt are linked to it."""
    poller = traced.poller(url)
    poller.register_executor("a.v1", lambda run: run.headers)
    given = {"traceparent": TRACEPARENT, "tenant": "7"}
    with traced.client(url) as client:
        with traced.tracer.start_as_current_span("the caller"), with_baggage("of", "the caller"):
            run_id = client.submit("a.v1", {}, headers=given).id
        poller.drain(PATIENCE)
        assert client.get(run_id).result == given
    send, process = traced.span("send a.v1"), traced.span("process a.v1")
    there = (f"0x{TRACE}", f"0x{SPAN}")
    assert parent(send) == place(traced.span("the caller"))
    assert (links(send), links(process), parent(process)) == ([there], [there], there)


def test_in_a_batch_each_run_keeps_the_headers_it_was_given(url, traced):
    """Those without a context of their own get the submit's."""
    with traced.client(url) as client:
        mine, yours = client.submit_many(
            [
                {"type": "a.v1", "payload": 1, "headers": {"traceparent": TRACEPARENT}},
                {"type": "a.v1", "payload": 2, "headers": {"tenant": "7"}},
            ]
        )
        assert client.get(mine.id).headers["traceparent"] == TRACEPARENT
        headers = client.get(yours.id).headers
    assert headers["tenant"] == "7"
    assert carried(headers) == place(traced.span("send a.v1"))


def test_baggage_and_tracestate_reach_the_executor(url, traced):
    """All that the propagator writes is current while the executor works."""
    poller = traced.poller(url)

    @poller.handler("a.v1")
    def read(run):
        return baggage.get_baggage("tenant")

    with traced.client(url) as client:
        with with_baggage("tenant", "7"):
            run_id = client.submit("a.v1", {}).id
        poller.drain(PATIENCE)
        assert client.get(run_id).result == "7"
        assert client.get(run_id).headers["baggage"] == "tenant=7"


def test_a_run_that_nobody_traced_begins_a_trace(url, traced):
    """As those of schedules, of SQL, and of producers without this observer."""
    poller = traced.poller(url)
    poller.register_executor("a.v1", lambda run: None)
    with Client(url) as client:
        client.submit("a.v1", {})
    poller.drain(PATIENCE)
    process = traced.span("process a.v1")
    assert (parent(process), links(process)) == (None, [])


BROKEN = {
    "number": {"traceparent": 7},
    "null": {"traceparent": None},
    "list": {"traceparent": [TRACEPARENT]},
    "object": {"traceparent": {"trace": TRACEPARENT}},
    "rubbish": {"traceparent": "rubbish"},
    "empty": {"traceparent": ""},
    "zeros": {"traceparent": f"00-{'0' * 32}-{'0' * 16}-01"},
    "long": {"traceparent": "x" * 10_000},
    "future": {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
    "other": {"baggage": "=,=;%%%,", "tracestate": "=,=", "messaging.batch.message_count": [1]},
}


@pytest.mark.parametrize("headers", BROKEN.values(), ids=BROKEN)
def test_broken_headers_harm_no_run(url, traced, headers, caplog):
    """Submitted and executed all the same; the attempt begins a trace of its own."""
    poller = traced.poller(url)
    poller.register_executor("a.v1", lambda run: run.headers)
    with Client(url) as plain:
        run_id = plain.submit("a.v1", {}, headers=headers).id
        with traced.client(url) as client:
            client.submit("a.v1", {}, headers=headers)
        assert poller.drain(PATIENCE) == 2
        assert plain.get(run_id).result == headers
    process = traced.spans("process a.v1")[0]
    assert (parent(process), links(process), process["events"]) == (None, [], [])
    assert links(traced.span("send a.v1")) == []
    assert not [r for r in caplog.records if r.name == "simpleworkflow.observers"]


def test_broken_state_beside_a_context_harms_no_run(url, traced):
    """What can be read is used."""
    poller = traced.poller(url)
    poller.register_executor("a.v1", lambda run: None)
    headers = {"traceparent": TRACEPARENT, "tracestate": "=,=", "baggage": 7}
    with Client(url) as client:
        client.submit("a.v1", {}, headers=headers)
    assert poller.drain(PATIENCE) == 1
    assert parent(traced.span("process a.v1")) == (f"0x{TRACE}", f"0x{SPAN}")


class Unprintable(Exception):
    """An exception that refuses to be shown."""

    def __str__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize("is_coroutine", [False, True], ids=["function", "coroutine"])
@pytest.mark.parametrize(
    ("error", "name", "description"),
    [
        (ValueError("no"), "ValueError", "ValueError: no"),
        (KeyError, "KeyError", "KeyError"),
        (PermanentFailure("gone"), "simpleworkflow.PermanentFailure", "gone"),
        (SystemExit(3), "SystemExit", "SystemExit: 3"),
        (Unprintable(), f"{__name__}.Unprintable", "Unprintable"),
    ],
    ids=["ValueError", "class", "PermanentFailure", "SystemExit", "Unprintable"],
)
def test_what_an_executor_raises_is_recorded(url, traced, error, name, description, is_coroutine):
    """Whatever it is: as an event, and as the reason of the status; the run fails as ever."""

    def work(run):
        raise error

    async def work_later(run):
        raise error

    poller = traced.poller(url)
    poller.register_executor("a.v1", work_later if is_coroutine else work)
    with traced.client(url) as client:
        run_id = client.submit("a.v1", {}, max_attempts=1).id
        assert poller.drain(PATIENCE) == 1
        assert client.get(run_id).status == "failed"
    process = traced.span("process a.v1")
    assert process["attributes"]["error.type"] == name
    assert process["status"]["status_code"] == "ERROR"
    assert description in process["status"]["description"]
    # What cannot be printed cannot be recorded; the status says which it was.
    recorded = [event["attributes"]["exception.type"] for event in process["events"]]
    assert recorded == ([] if isinstance(error, Unprintable) else [name])


def test_what_would_end_a_generator_is_recorded(url, traced):
    """As any other: context managers are often generators, for which StopIteration is special."""
    poller = traced.poller(url)
    poller.register_executor("a.v1", lambda run: next(iter([])))
    with traced.client(url) as client:
        run_id = client.submit("a.v1", {}, max_attempts=1).id
        assert poller.drain(PATIENCE) == 1
        assert client.get(run_id).last_error.startswith("StopIteration")
    process = traced.span("process a.v1")
    assert process["status"] == {"status_code": "ERROR", "description": "StopIteration"}
    assert [event["attributes"]["exception.type"] for event in process["events"]] == [
        "StopIteration"
    ]


def test_what_a_submit_raises_is_recorded(url, traced):
    """On the span of the submit, and the caller gets it."""
    with traced.client(url) as client, pytest.raises(UsageError, match="no transactions"):
        client.submit("a.v1", {}, connection=object())
    send = traced.span("send a.v1")
    assert send["status"]["status_code"] == "ERROR"
    assert "no transactions that a submit could join" in send["status"]["description"]
    assert send["attributes"]["error.type"] == "simpleworkflow.core.errors.UsageError"
    assert [event["name"] for event in send["events"]] == ["exception"]


def test_a_cancelled_run_is_no_error(url, traced):
    """Its executor did what it should: stop."""
    poller = traced.poller(url)

    @poller.handler("a.v1")
    def work(run):
        client.cancel(run.id)
        until(run.is_cancelled)
        run.raise_if_cancelled()

    with traced.client(url) as client:
        run_id = client.submit("a.v1", {}).id
        poller.drain(PATIENCE)
        assert client.get(run_id).status == "cancelled"
    process = traced.span("process a.v1")
    assert (process["status"], process["events"]) == ({"status_code": "UNSET"}, [])
    assert "error.type" not in process["attributes"]


def test_a_function_that_outlives_its_limit_has_failed(url, traced):
    """The attempt was failed while it worked: its span says so, whatever it does afterwards."""
    seen, may_end = Seen(), threading.Event()
    poller = a_poller(url, execution_timeout=0.1, observers=[traced.observer, seen])

    @poller.handler("a.v1")
    def hang(run):
        met(may_end)

    with traced.client(url) as client, working(poller):
        client.submit("a.v1", {}, max_attempts=1)
        seen.wait(AttemptFailed)
        may_end.set()
    process = traced.span("process a.v1")
    assert process["status"] == {
        "status_code": "ERROR",
        "description": "TimeoutError: execution_timeout of 0.1 s exceeded",
    }
    assert process["attributes"]["error.type"] == "TimeoutError"


def test_a_payload_that_does_not_fit_is_recorded(url, traced):
    """The attempt has its span, although the executor was never called."""
    poller = traced.poller(url)
    poller.register_executor("a.v1", lambda run: None, payload_type=dict[str, int])
    with traced.client(url) as client:
        client.submit("a.v1", "no dict")
    poller.drain(PATIENCE)
    process = traced.span("process a.v1")
    assert process["status"]["status_code"] == "ERROR"
    assert parent(process) == place(traced.span("send a.v1"))


@pytest.mark.parametrize("is_coroutine", [False, True], ids=["function", "coroutine"])
def test_a_result_that_cannot_be_stored_is_recorded(url, traced, is_coroutine):
    """The executor returned, but its attempt has failed, and so has the span."""

    async def work_later(run):
        return {1, 2}

    poller = traced.poller(url)
    poller.register_executor("a.v1", work_later if is_coroutine else lambda run: {1, 2})
    with traced.client(url) as client:
        run_id = client.submit("a.v1", {}).id
        poller.drain(PATIENCE)
        run = client.get(run_id)
    assert run.status == "failed"
    process = traced.span("process a.v1")
    assert process["status"]["status_code"] == "ERROR"
    assert "result is a set" in process["status"]["description"]
    [event] = process["events"]
    assert run.last_error.startswith(f"{event['attributes']['exception.type']}: result is a set")


def test_a_key_that_is_taken_names_the_run_that_has_it(url, traced):
    """The id on the span is that of a run which exists."""
    with traced.client(url) as client:
        ids = [client.submit("a.v1", n, idempotency_key="k").id for n in range(2)]
    assert ids[0] == ids[1]
    spans = traced.spans("send a.v1")
    assert [span["attributes"]["messaging.message.id"] for span in spans] == ids


def test_who_samples_the_submit_samples_the_attempts(url):
    """A submit that is left out takes its attempts with it, whose sampler asks the parent."""
    left_out, traced = Traced(sampler=ALWAYS_OFF), Traced()
    poller = traced.poller(url)
    poller.register_executor("a.v1", lambda run: None)
    with left_out.client(url) as client:
        run_id = client.submit("a.v1", {}).id
        assert poller.drain(PATIENCE) == 1
        flags = client.get(run_id).headers["traceparent"].rpartition("-")[2]
        assert not int(flags, 16) & trace.TraceFlags.SAMPLED
    assert left_out.spans() + traced.spans() == []


def test_without_an_sdk_nothing_is_written(url):
    """The API alone makes no spans: no header is added, and runs are executed."""
    observer = OpenTelemetry(trace.NoOpTracerProvider())
    poller = a_poller(url, observers=[observer])
    poller.register_executor("a.v1", lambda run: run.headers)
    with Client(url, observers=[observer]) as client:
        batch = client.submit_many([{"type": "a.v1", "payload": n} for n in range(2)])
        runs = [client.submit("a.v1", {}), *batch]
        assert poller.drain(PATIENCE) == 3
        assert [client.get(run.id).result for run in runs] == [{}] * 3


class Propagator:
    """One of the program's own, for one header."""

    fields = frozenset({"x-trace"})

    def __init__(self, does_break: bool = False) -> None:
        self._does_break = does_break

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
        if self._does_break:
            raise ValueError("the propagator is broken")
        span = trace.get_current_span(context).get_span_context()
        carrier["x-trace"] = f"{span.trace_id:032x}-{span.span_id:016x}"

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
        if self._does_break:
            raise ValueError("the propagator is broken")
        if "x-trace" not in carrier:
            return context
        ids = [int(text, 16) for text in carrier["x-trace"].split("-")]
        remote = trace.SpanContext(*ids, is_remote=True, trace_flags=trace.TraceFlags(1))
        return trace.set_span_in_context(trace.NonRecordingSpan(remote), context)


def test_a_propagator_may_be_given(url, traced):
    """It alone writes and reads headers."""
    observer = OpenTelemetry(traced.provider, Propagator())
    poller = a_poller(url, observers=[observer])
    poller.register_executor("a.v1", lambda run: sorted(run.headers))
    with Client(url, observers=[observer]) as client:
        with traced.tracer.start_as_current_span("the caller"):
            run_id = client.submit("a.v1", {}, headers={"tenant": "7"}).id
        poller.drain(PATIENCE)
        assert client.get(run_id).result == ["tenant", "x-trace"]
    assert links(traced.span("send a.v1")) == []
    assert parent(traced.span("process a.v1")) == place(traced.span("send a.v1"))


def test_a_propagator_that_breaks_harms_no_run(url, traced, caplog):
    """It is logged; the run is submitted and executed, and no span is left open."""
    observer = OpenTelemetry(traced.provider, Propagator(does_break=True))
    poller = a_poller(url, observers=[observer])
    poller.register_executor("a.v1", lambda run: run.headers)
    with Client(url, observers=[observer]) as client:
        run_id = client.submit("a.v1", {}).id
        assert trace.get_current_span() is trace.INVALID_SPAN
        assert poller.drain(PATIENCE) == 1
        assert client.get(run_id).result == {}
    assert "the propagator is broken" in caplog.text
    assert traced.span("send a.v1")["status"]["status_code"] == "ERROR"


def test_contexts_of_runs_never_mix(url, traced):
    """Many at once, on threads and on one event loop: each sees its own trace and baggage alone."""
    number, pairs = 40, threading.Barrier(2)
    poller = traced.poller(url, concurrency=8)

    def look(run: Any) -> list[Any]:
        with traced.tracer.start_as_current_span(f"inside {run.payload}"):
            context = trace.get_current_span().get_span_context()
            return [f"0x{context.trace_id:032x}", baggage.get_baggage("n")]

    @poller.handler("function.v1")
    def function(run):
        first = look(run)
        # Two are in here at once, on two threads.
        pairs.wait(PATIENCE)
        return [first, look(run)]

    @poller.handler("coroutine.v1")
    async def coroutine(run):
        looks = []
        for _ in range(5):
            looks.append(look(run))
            await asyncio.sleep(0)
        return looks

    with traced.client(url) as client:
        sent = {}
        for n in range(number):
            caller = traced.tracer.start_as_current_span(f"caller {n}")
            with caller, with_baggage("n", str(n)):
                type_ = "function.v1" if n % 2 else "coroutine.v1"
                sent[n] = client.submit(type_, n, max_attempts=1).id
        assert poller.drain(2 * PATIENCE) == number
        spans = traced.spans()
        by_name = {span["name"]: span for span in spans}
        for n, run_id in sent.items():
            trace_id, _ = place(by_name[f"caller {n}"])
            run = client.get(run_id)
            assert run.status == "succeeded", run.last_error
            assert all(seen == [trace_id, str(n)] for seen in run.result)
            (process,) = [
                span
                for span in spans
                if span["attributes"].get("messaging.message.id") == run_id
                and span["kind"] == "SpanKind.CONSUMER"
            ]
            inside = [span for span in spans if span["name"] == f"inside {n}"]
            assert len(inside) == len(run.result)
            assert {parent(span) for span in inside} == {place(process)}
    assert traced.observer._open == {}


def test_what_an_executor_leaves_current_does_not_stay(url, traced):
    """A context that it attached and forgot is nothing to the next run on its thread."""
    poller = traced.poller(url, concurrency=1)

    @poller.handler("a.v1")
    def forget(run):
        before = baggage.get_baggage("left")
        attach(baggage.set_baggage("left", "behind"))
        return before

    with Client(url) as client:
        ids = [client.submit("a.v1", {}).id for _ in range(3)]
        assert poller.drain(PATIENCE) == 3
        assert [client.get(run_id).result for run_id in ids] == [None] * 3
    assert [parent(span) for span in traced.spans("process a.v1")] == [None] * 3


def test_run_executor_makes_no_spans(traced):
    """In a unit test there is no worker: the executor's own spans are what they are without one."""

    def work(run):
        with traced.tracer.start_as_current_span("inside"):
            return run.headers

    with traced.tracer.start_as_current_span("the test"):
        ran = run_executor(work, headers={"traceparent": TRACEPARENT})
    assert ran.result == {"traceparent": TRACEPARENT}
    assert [span["name"] for span in traced.spans()] == ["inside", "the test"]
    assert parent(traced.span("inside")) == place(traced.span("the test"))


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    """In one sentence."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(UsageError) as raised:
        OpenTelemetry()
    assert str(raised.value) == (
        "OpenTelemetry() needs opentelemetry-api: pip install 'simpleworkflow[otel]'"
    )


def test_nothing_is_loaded_unless_it_is_used(url):
    """A program that submits and executes without the observer never imports opentelemetry."""
    program = """
import sys
from simpleworkflow import Client, IntentPoller, OpenTelemetry
from simpleworkflow.testing import run_executor
poller = IntentPoller(sys.argv[1])
poller.register_executor("a.v1", lambda run: None)
with Client(sys.argv[1]) as client:
    client.submit("a.v1", {})
    print(poller.drain(30), run_executor(lambda run: None).status)
print(*(name for name in sys.modules if "opentelemetry" in name))
"""
    out, err = python(program, url).communicate(timeout=PATIENCE)
    assert (out.splitlines(), err) == (
        ["1 succeeded", "simpleworkflow.observers.opentelemetry"],
        "",
    )


def attributes_of_everything(url: str, traced: Traced) -> dict[str, set[str]]:
    """The attributes of every kind of span there is, failed ones among them."""
    poller = traced.poller(url)
    poller.register_executor("a.v1", lambda run: {}[run.id])
    with traced.client(url) as client:
        client.submit("a.v1", {}, max_attempts=1)
        client.submit_many([{"type": "a.v1", "payload": n, "max_attempts": 1} for n in range(2)])
        with pytest.raises(UsageError):
            client.submit("a.v1", {}, connection=object())
    poller.drain(PATIENCE)
    found: dict[str, set[str]] = {}
    for span in traced.spans():
        found.setdefault(span["name"].split()[0], set()).update(span["attributes"])
    return found


def test_attributes_are_those_of_the_conventions(url, traced):
    """OpenTelemetry's own package lists them, in the version that is named."""
    assert Schemas.V1_44_0.value == SCHEMA_URL
    known = {
        value
        for module in (messaging, error_attributes)
        for name, value in vars(module).items()
        if name.isupper()
    }
    used = set.union(*attributes_of_everything(url, traced).values())
    ours = {name for name in used if name.startswith("messaging.simpleworkflow.")}
    assert used - ours <= known
    assert ours == {"messaging.simpleworkflow.attempt", "messaging.simpleworkflow.fence"}


def test_the_documents_table_has_every_attribute(url, traced):
    """And says on which spans it is."""
    text = (ROOT / "docs/traces.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \| ([^|]*) \|", text, re.MULTILINE)
    listed: dict[str, set[str]] = {"send": set(), "process": set()}
    for attribute, spans in rows:
        for span in spans.replace("`", "").split(", "):
            listed[span].add(attribute)
    assert listed == attributes_of_everything(url, traced)
