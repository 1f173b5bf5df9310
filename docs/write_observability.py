"""Writes the tables of docs/observability.md: `python docs/write_observability.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, get_args

import attrs
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from simpleworkflow import OpenTelemetry
from simpleworkflow.core import events
from simpleworkflow.core.records import Claim, new_run
from simpleworkflow.observers.series import SERIES

DOCUMENT = Path(__file__).with_name("observability.md")

_PLACE = re.compile(
    r"(?P<begin><!-- table: (?P<name>\w+) -->\n).*?(?P<end><!-- end of table -->)", re.DOTALL
)

_ARGUMENT = re.compile(r"^    (\w+): (.+(?:\n        .+)*)$", re.MULTILINE)
"""One argument in a docstring, with the lines that go on."""

Row = tuple[str, ...]


def document() -> str:
    """The whole of docs/observability.md, with its tables anew."""
    kinds = get_args(events.ObserverEvent)
    parts = [
        value
        for value in vars(events).values()
        if getattr(value, "__module__", "") == events.__name__ and _fields(value)
        if value not in kinds
    ]
    tables = {
        "series": _table(("series", "kind", "labels", "what it tells"), _series()),
        "spans": _table(("span", "of", "kind", "attributes"), _spans()),
        "events": _table(("event", "when", "fields"), map(_record, kinds)),
        "parts": _table(("record", "what it is", "fields"), map(_record, parts)),
    }
    text = DOCUMENT.read_text(encoding="utf-8")
    return _PLACE.sub(lambda place: place["begin"] + tables[place["name"]] + place["end"], text)


def _series() -> Iterator[Row]:
    for series in SERIES.values():
        labels = ", ".join(f"`{label}`" for label in series.labels)
        yield f"`{series.exposed_name}`", series.kind, labels or "none", series.help


def _spans() -> Iterator[Row]:
    """One row for each kind of span, as the observer makes it of something that fails."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    observer = OpenTelemetry(provider)
    one, another = new_run("id", "<type>", {}), new_run("id", "<another>", {})
    claim = Claim("id", "worker", 1, one.type, "{}", None, attempt=0, max_attempts=3, waited=0.0)
    events_of: dict[str, events.ObserverEvent] = {
        "a submit": events.RunsSubmitting([one], {}),
        "a batch of one type": events.RunsSubmitting([one, one], {}),
        "a batch of several types": events.RunsSubmitting([one, another], {}),
        "an attempt": events.RunStarted(events.WorkerInfo("id", "worker", 1), claim),
    }
    for what, event in events_of.items():
        with suppress(ValueError), observer(event) or nullcontext():
            raise ValueError
        (span,) = exporter.get_finished_spans()
        exporter.clear()
        attributes = ", ".join(f"`{name}`" for name in span.attributes or ())
        yield f"`{span.name}`", what, span.kind.name, attributes


def _record(kind: type) -> Row:
    """One row: the name, the first line of its docstring, and every field with its meaning."""
    text = inspect.getdoc(kind) or ""
    meanings = {name: " ".join(words.split()) for name, words in _ARGUMENT.findall(text)}
    names = _fields(kind)
    if missing := [name for name in names if name not in meanings]:
        raise SystemExit(f"{kind.__name__}: its docstring says nothing of {', '.join(missing)}")
    fields = (f"`{name}`: {meanings[name].removesuffix('.')}" for name in names)
    return f"`{kind.__name__}`", text.partition("\n")[0], "<br>".join(fields)


def _fields(value: Any) -> Sequence[str]:
    """The fields of a record, attrs' or a tuple's; none of what is no record."""
    return list(attrs.fields_dict(value)) if attrs.has(value) else getattr(value, "_fields", ())


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
