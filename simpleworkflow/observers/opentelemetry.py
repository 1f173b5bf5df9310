"""Traces: spans of submits and of attempts, by the OpenTelemetry API.

Names and attributes follow the semantic conventions for messaging spans, version 1.44.0, status
"Development": https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from __future__ import annotations

import traceback
from collections.abc import Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from simpleworkflow.core.errors import RunCancelled, UsageError
from simpleworkflow.core.events import (
    AttemptFailed,
    ObserverEvent,
    RunsSubmitted,
    RunsSubmitting,
    RunStarted,
)
from simpleworkflow.core.records import Claim, decode_headers

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Link, Span, TracerProvider

NAME = "simpleworkflow"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

BATCH_COUNT = "messaging.batch.message_count"
"""An attribute, and a header too: it tells that runs share the context in their headers."""


class OpenTelemetry:
    """Traces submits and attempts; an observer for clients and pollers alike.

    A submit is a span `send <type>`, whose context travels in the headers of its runs. Each attempt
    is a span `process <type>`, current while the executor works and linked to that context; of a
    run that was submitted alone it is a child of it as well.

    Args:
        tracer_provider: makes the spans; None takes the global one.
        propagator: writes contexts into headers and reads them; None takes the global one, which is
            for `traceparent`, `tracestate` and `baggage` unless the program sets another.

    Raises:
        UsageError: opentelemetry-api is not installed.

    Attributes:
        event_kinds: the kinds of events that it takes.
    """

    event_kinds = (AttemptFailed, RunStarted, RunsSubmitted, RunsSubmitting)

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        propagator: TextMapPropagator | None = None,
    ) -> None:
        try:
            from opentelemetry import propagate, trace
        except ImportError as exc:
            raise UsageError(
                "OpenTelemetry() needs opentelemetry-api: pip install 'simpleworkflow[otel]'"
            ) from exc
        from importlib.metadata import version

        self._tracer = trace.get_tracer(NAME, version(NAME), tracer_provider, SCHEMA_URL)
        # The module has the same functions, by the propagator that is global when they are called.
        self._propagator: Any = propagate if propagator is None else propagator
        self._open: dict[Hashable, Span] = {}

    def __call__(self, event: ObserverEvent) -> AbstractContextManager[None] | None:
        """See Observer."""
        match event:
            case RunsSubmitting():
                return self._sending(event)
            case RunStarted():
                return self._processing(event.claim)
            case RunsSubmitted():
                self._sent(event)
            case AttemptFailed():
                self._failed(event)
            case _:
                pass
        return None

    @contextmanager
    def _sending(self, event: RunsSubmitting) -> Iterator[None]:
        from opentelemetry.trace import SpanKind, set_span_in_context

        runs = event.runs
        types = {run.type for run in runs}
        attributes: dict[str, str | int] = {}
        if len(types) == 1:
            attributes["messaging.destination.name"] = runs[0].type
        if len(runs) == 1:
            attributes["messaging.message.id"] = runs[0].id
        else:
            attributes[BATCH_COUNT] = len(runs)
        # A context that the producer gave by hand stays as it is.
        given = [
            link
            for run in runs
            if run.headers_json is not None
            for link in _links_to(self._context_in(decode_headers(run.headers_json)))
        ]
        span = self._start("send", attributes, kind=SpanKind.PRODUCER, links=given)
        with self._current(runs[0].id, span, set_span_in_context(span)):
            if len(given) < len(runs):
                self._propagator.inject(event.carrier)
                if event.carrier and len(runs) > 1:
                    event.carrier[BATCH_COUNT] = str(len(runs))
            yield

    @contextmanager
    def _processing(self, claim: Claim) -> Iterator[None]:
        from opentelemetry.trace import INVALID_SPAN, SpanKind, set_span_in_context

        headers = claim.headers
        context = self._context_in(headers)
        # A trace of all runs of a large batch would be more than its backend takes or shows.
        parent = set_span_in_context(INVALID_SPAN, context) if BATCH_COUNT in headers else context
        attributes: dict[str, str | int] = {
            "messaging.destination.name": claim.type,
            "messaging.message.id": claim.run_id,
            "messaging.client.id": claim.worker_id,
            "messaging.simpleworkflow.attempt": claim.attempt,
            "messaging.simpleworkflow.fence": claim.fence,
        }
        links = _links_to(context)
        span = self._start(
            "process", attributes, context=parent, kind=SpanKind.CONSUMER, links=links
        )
        with self._current(_key(claim), span, set_span_in_context(span, context)):
            yield

    def _start(self, operation: str, attributes: Mapping[str, str | int], **options: Any) -> Span:
        destination = attributes.get("messaging.destination.name")
        return self._tracer.start_span(
            operation if destination is None else f"{operation} {destination}",
            attributes={
                "messaging.system": NAME,
                "messaging.operation.name": operation,
                "messaging.operation.type": operation,
                **attributes,
            },
            **options,
        )

    @contextmanager
    def _current(self, key: Hashable, span: Span, context: Context) -> Iterator[None]:
        """Make a span current; end it with what comes of the block."""
        from opentelemetry.context import attach, detach

        token = attach(context)
        self._open[key] = span
        try:
            yield
        except BaseException as exc:
            if not isinstance(exc, RunCancelled):
                _fail(span, _type_of(exc), _line_of(exc))
                span.record_exception(exc)
            raise
        finally:
            self._open.pop(key, None)
            detach(token)
            span.end()

    def _sent(self, event: RunsSubmitted) -> None:
        span = self._open.get(event.runs[0].id)
        if span is not None and len(event.answers) == 1:
            # Another run's, where the idempotency key was taken.
            span.set_attribute("messaging.message.id", event.answers[0].id)

    def _failed(self, event: AttemptFailed) -> None:
        span = self._open.get(_key(event.claim))
        if span is not None:
            # The executor is at work still: its time is over, which it may never notice.
            _fail(span, event.reason.partition(":")[0], event.reason)

    def _context_in(self, headers: Mapping[str, object]) -> Context:
        from opentelemetry.context import Context

        texts = {name: value for name, value in headers.items() if isinstance(value, str)}
        # From an empty one: what happens to be current on this thread is nothing to the run.
        found: Context = self._propagator.extract(texts, Context())
        return found


def _key(claim: Claim) -> Hashable:
    return claim.run_id, claim.fence


def _links_to(context: Context) -> list[Link]:
    from opentelemetry.trace import Link, get_current_span

    found = get_current_span(context).get_span_context()
    return [Link(found)] if found.is_valid else []


def _fail(span: Span, error_type: str, description: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR, description)


def _type_of(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _line_of(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()
