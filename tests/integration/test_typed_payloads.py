"""Payloads of a class: what is submitted as an instance is executed as one, and nothing else is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from uuid import UUID

import attrs
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpleworkflow import (
    Client,
    IntentPoller,
    PermanentFailure,
    Status,
    UsageError,
    WorkflowExecutor,
    WorkflowRun,
)
from simpleworkflow.core.errors import NotStorable, PayloadMismatch
from simpleworkflow.core.storable import canonical_json, encode_json
from simpleworkflow.testing import run_executor
from simpleworkflow.typed import as_json, codec_of

TYPE = "shop.order.v1"


class Colour(Enum):
    """Two of them."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Line:
    """A class within others."""

    article: str
    quantity: int
    price: Decimal


@attrs.define
class Order:
    """An attrs class with a field of every kind."""

    number: int
    placed_at: datetime
    id: UUID
    colour: Colour
    lines: list[Line]
    prices: dict[str, float] = attrs.Factory(dict)
    note: str | None = None
    reference: int | str | None = None
    days: tuple[date, time] | None = None
    anything: Any = None


@dataclass
class Invoice:
    """A dataclass with the same."""

    number: int
    placed_at: datetime
    id: UUID
    colour: Colour
    lines: list[Line]
    prices: dict[str, float] = field(default_factory=dict)
    note: str | None = None
    reference: int | str | None = None
    days: tuple[date, time] | None = None
    anything: Any = None


class LineModel(pydantic.BaseModel):
    """A model within another."""

    article: str
    quantity: int
    price: Decimal


class Parcel(pydantic.BaseModel):
    """A pydantic model with the same, and two fields that are named otherwise in JSON."""

    number: int
    placed_at: datetime
    id: UUID
    colour: Colour
    lines: list[LineModel]
    prices: dict[str, float] = {}
    note: str | None = pydantic.Field(None, alias="remark")
    reference: int | str | None = None
    days: tuple[date, time] | None = None
    anything: Any = None

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        """What is computed does not travel."""
        return len(self.lines)


class OrderDict(TypedDict):
    """A TypedDict, whose instances are plain dicts."""

    number: int
    note: NotRequired[str]


CLASSES: list[tuple[Any, Any]] = [(Order, Line), (Invoice, Line), (Parcel, LineModel)]


def an_order(cls: Any = Order, line: Any = Line, **changed: Any) -> Any:
    """An instance with something in each field."""
    given: dict[str, Any] = {
        "number": 7,
        "placed_at": datetime(2026, 11, 24, 9, 30, tzinfo=UTC),
        "id": UUID("0b9d7c52-5a8e-4a9b-8f43-0d8a4c6d2f10"),
        "colour": Colour.RED,
        "lines": [line(article="tea", quantity=2, price=Decimal("4.50"))],
        "prices": {"gold": 1.5},
        "reference": "R7",
        "days": (date(2026, 11, 24), time(9, 30)),
        **({"remark": "with care"} if cls is Parcel else {}),
        **changed,
    }
    return cls(**given)


def its_json(**changed: Any) -> dict[str, Any]:
    """The payload of `an_order()` as another program writes it; None leaves a field out."""
    payload: Any = as_json(an_order())
    return {name: value for name, value in (payload | changed).items() if value is not ...}


def echo(run: WorkflowRun) -> Any:
    """Tells the kind of its payload."""
    return type(run.payload).__name__


# Executors


def by_annotation(run: WorkflowRun[Order]) -> Any:
    """Declares its payload by its annotation."""
    return run.payload.lines[0].article


async def by_annotation_async(run: WorkflowRun[Order]) -> Any:
    """The same, as a coroutine function."""
    return run.payload.lines[0].article


class ByAttribute(WorkflowExecutor):
    """Declares its payload by a class attribute."""

    payload_type = Order

    def execute(self, run: WorkflowRun) -> Any:
        return run.payload.lines[0].article


class ByMethod(WorkflowExecutor):
    """Declares its payload by the annotation of its method."""

    def execute(self, run: WorkflowRun[Order]) -> Any:
        return run.payload.lines[0].article


class Callee:
    """An object that is called."""

    def __call__(self, run: WorkflowRun[Order]) -> Any:
        return run.payload.lines[0].article


def with_an_argument(shop: str, run: WorkflowRun[Order]) -> Any:
    """Takes something before the run."""
    return run.payload.lines[0].article


@contextmanager
def session() -> Iterator[None]:
    """As a decorator, it wraps executors with a function of another module."""
    yield


EXECUTORS: dict[str, Any] = {
    "function": by_annotation,
    "coroutine": by_annotation_async,
    "attribute": ByAttribute(),
    "method": ByMethod(),
    "object": Callee(),
    "partial": partial(with_an_argument, "shop"),
    "decorated": session()(by_annotation),
}


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS)
def test_every_way_to_declare_a_payload_is_understood(executor):
    """Whatever the form of the executor, it gets an instance."""
    assert run_executor(executor, an_order()).result == "tea"


@pytest.mark.parametrize(("cls", "line"), CLASSES, ids=lambda each: each.__name__)
def test_what_is_submitted_is_what_is_executed(store_url, client, cls, line):
    """The worker's instance equals the producer's, through every store."""
    order = an_order(cls, line)
    seen = []
    poller = IntentPoller(store_url)
    poller.register_executor(TYPE, lambda run: seen.append(run.payload), payload_type=cls)

    one = client.submit(TYPE, order)
    client.submit_many([{"type": TYPE, "payload": order}])
    poller.drain()

    assert seen == [order, order]
    assert client.get(one.id).payload["days"] == ["2026-11-24", "09:30:00"]


def test_a_payload_that_does_not_fit_fails_its_run_for_good(store_url, client, caplog):
    """The executor is not called, and the run says which field, what it must be and what it is."""
    seen: list[WorkflowRun] = []
    poller = IntentPoller(store_url)
    poller.handler(TYPE, payload_type=Order)(seen.append)
    payload = its_json(lines=[{"article": "tea", "quantity": "s3cret", "price": "1"}])
    run_id = client.submit(TYPE, payload, max_attempts=3).id

    assert poller.drain() == 1

    run = client.get(run_id)
    assert (run.status, run.attempt, seen) == (Status.FAILED, 1, [])
    assert run.last_error == (
        "the payload is no Order: payload.lines[0].quantity: Expected `int`, got `str`"
    )
    assert "lines[0].quantity" in caplog.text
    assert "s3cret" not in caplog.text


MISFITS: list[tuple[Any, dict[str, Any], str]] = [
    (Order, {"number": ...}, "payload: Object missing required field `number`"),
    (Order, {"number": "7"}, "payload.number: Expected `int`, got `str`"),
    (Order, {"number": True}, "payload.number: Expected `int`, got `bool`"),
    (Order, {"lines": {}}, "payload.lines: Expected `array`, got `object`"),
    (Order, {"prices": {"a": None}}, "payload.prices[...]: Expected `float`, got `null`"),
    (Order, {"reference": []}, "payload.reference: Expected `int | str | null`, got `array`"),
    (Order, {"placed_at": "soon"}, "payload.placed_at: Invalid RFC3339 encoded datetime"),
    (Order, {"id": "7"}, "payload.id: Invalid UUID"),
    (Order, {"colour": "green"}, "payload.colour: Invalid enum value 'green'"),
    (Invoice, {"number": 1.5}, "payload.number: Expected `int`, got `float`"),
    (Parcel, {"number": ...}, "payload.number: Field required"),
    (
        Parcel,
        {"id": 7},
        "payload.id: UUID input should be a string, bytes or UUID object, got `int`",
    ),
    (
        Parcel,
        {"lines": [{"article": "tea", "quantity": None, "price": "1"}]},
        "payload.lines[0].quantity: Input should be a valid integer, got `NoneType`",
    ),
    (Parcel, {"number": [], "lines": []}, "Input should be a valid integer, got `list`"),
    (Parcel, {"number": [], "colour": 7}, "(and 1 more)"),
    (OrderDict, {"number": "7", "note": ...}, "payload.number: Expected `int`, got `str`"),
]


@pytest.mark.parametrize(("cls", "changed", "words"), MISFITS)
def test_the_error_names_the_field_what_is_expected_and_what_is_there(cls, changed, words):
    """For each kind of class and field."""
    ran = run_executor(echo, its_json(**changed), payload_type=cls)

    assert ran.status is Status.FAILED
    assert isinstance(ran.error, PayloadMismatch)
    assert ran.last_error.startswith(f"the payload is no {cls.__name__}: payload")
    assert words in ran.last_error
    assert ran.error.__cause__ is ran.error.__context__ is None


@pytest.mark.parametrize("payload", [None, 7, "text", [], {"a": 1}])
@pytest.mark.parametrize("cls", [Order, Parcel, OrderDict])
def test_a_payload_of_another_shape_is_a_mismatch(cls, payload):
    """Whatever JSON holds."""
    ran = run_executor(echo, payload, payload_type=cls)

    assert (ran.status, type(ran.error)) == (Status.FAILED, PayloadMismatch)


@pytest.mark.parametrize("cls", [Order, Parcel])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"anything":' + "[" * 3_000 + "]" * 3_000 + "}"])
def test_json_that_nobody_can_read_is_a_mismatch(cls, text):
    """What other programs wrote, deep or cut off, ends no worker."""
    with pytest.raises(PayloadMismatch):
        codec_of(cls).read(text)


@pytest.mark.parametrize("cls", [Order, Invoice, Parcel, OrderDict])
def test_fields_that_a_class_does_not_know_are_passed_over(cls):
    """Producers are deployed before workers: what they add harms none of these."""
    payload = its_json(note="with care", new_in_version_2={"a": 1})

    ran = run_executor(echo, payload, payload_type=cls)

    assert ran.status is Status.SUCCEEDED


def test_a_model_may_be_stricter_than_that():
    """What pydantic is configured to do it does."""

    class Strict(pydantic.BaseModel, extra="forbid"):
        number: int

    ran = run_executor(echo, {"number": 7, "more": 1}, payload_type=Strict)

    assert "payload.more: Extra inputs are not permitted" in (ran.last_error or "")


@attrs.define
class Checked:
    """Has a rule of its own."""

    number: int = attrs.field(validator=attrs.validators.gt(0))


@dataclass
class Odd:
    """Its code does more than to check."""

    number: int

    def __post_init__(self) -> None:
        if self.number == 0:
            raise ValueError("must not be zero")
        if self.number == 1:
            raise PermanentFailure("one is no number")
        if self.number == 2:
            raise KeyError("a mistake")
        if self.number == 3:
            raise SystemExit


class Validated(pydantic.BaseModel):
    """The same in pydantic's way."""

    number: int = pydantic.Field(gt=0)

    @pydantic.field_validator("number")
    @classmethod
    def even(cls, number: int) -> int:
        """It must be even."""
        if number % 2:
            raise ValueError("must be even")
        return number


@pytest.mark.parametrize(
    ("cls", "number", "words"),
    [
        (Checked, -1, "payload: 'number' must be > 0: -1"),
        (Odd, 0, "payload: must not be zero"),
        (Validated, -1, "payload.number: Input should be greater than 0, got `int`"),
        (Validated, 1, "payload.number: Value error, must be even"),
    ],
)
def test_the_rules_of_a_class_hold(cls, number, words):
    """Validators are asked, and told in their own words."""
    ran = run_executor(echo, {"number": number}, payload_type=cls)

    assert ran.last_error == f"the payload is no {cls.__name__}: {words}"


@pytest.mark.parametrize(
    ("number", "status", "error"),
    [
        (1, Status.FAILED, PermanentFailure),
        (2, Status.PENDING, KeyError),
        (3, Status.PENDING, SystemExit),
    ],
)
def test_whatever_else_a_class_raises_is_as_if_the_executor_did(number, status, error):
    """It is the user's code, and may have a bad day."""
    ran = run_executor(echo, {"number": number}, payload_type=Odd)

    assert (ran.status, type(ran.error)) == (status, error)


# Producers


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (
            an_order(number="7"),
            "the payload is no Order: payload.number: Expected `int`, got `str`",
        ),
        (an_order(Invoice, lines=None), "payload.lines: Expected `array`, got `null`"),
        (Parcel.model_construct(number=7), "the payload is no Parcel: payload.placed_at: Field"),
        (an_order(Parcel, LineModel).model_copy(update={"number": []}), "integer, got `list`"),
        (an_order(anything=object()), "this Order cannot be written as JSON: Encoding objects of"),
        (an_order(anything=float("nan")), "payload['anything'] is nan, which JSON cannot hold"),
        (an_order(note="\x00"), "payload['note'] has a NUL"),
    ],
)
def test_an_instance_that_no_executor_could_read_is_not_submitted(payload, words, recwarn):
    """The producer is told in one sentence, nothing is sent, and nothing else is said."""
    with Client("memory://") as client:
        with pytest.raises(UsageError) as caught:
            client.submit(TYPE, payload)
        assert words in str(caught.value)
        with pytest.raises(UsageError, match=r"run 0 of submit_many: .*nothing was submitted"):
            client.submit_many([{"type": TYPE, "payload": payload}])
    assert recwarn.list == []


def test_an_instance_within_other_values_is_refused_as_ever():
    """An instance is a payload, not a part of one: nobody would read it as such."""
    with Client("memory://") as client, pytest.raises(NotStorable, match=r"payload\['order'\] is"):
        client.submit(TYPE, {"order": an_order()})


def test_a_model_is_written_as_it_is_read():
    """By the names that it has in JSON, and without what it computes."""
    written = as_json(an_order(Parcel, LineModel))

    assert isinstance(written, dict)
    assert written["remark"] == "with care"
    assert written.keys() & {"note", "size"} == set()


@pytest.mark.parametrize("payload", [{"a": [1, None]}, [1], "text", 7, 1.5, True, None])
def test_plain_payloads_stay_as_they_are(payload):
    """The same object, untouched."""
    assert as_json(payload) is payload


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
numbers = st.integers(-(10**40), 10**40)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=3)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


def orders(cls: Any, line: Any) -> st.SearchStrategy[Any]:
    """Any instance of a class."""
    return st.builds(
        partial(an_order, cls, line),
        number=st.integers(-(2**63), 2**63 - 1),
        placed_at=st.datetimes() | st.datetimes(timezones=st.just(UTC)),
        id=st.uuids(),
        colour=st.sampled_from(Colour),
        lines=st.lists(
            st.builds(line, article=texts, quantity=st.integers(0, 9), price=decimals), max_size=3
        ),
        prices=st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=2),
        reference=st.none() | texts | st.integers(0, 9),
        days=st.none() | st.tuples(st.dates(), st.times()),
        anything=json_values,
    )


@pytest.mark.parametrize(("cls", "line"), CLASSES, ids=lambda each: each.__name__)
def test_what_submit_writes_the_class_reads(cls, line):
    """Any instance comes back equal, in the text that a database makes of it."""
    read = codec_of(cls).read

    @given(orders(cls, line))
    def check(order: Any) -> None:
        text = canonical_json(encode_json(as_json(order), "payload"), "payload")
        assert read(text) == order

    check()


# Declarations


class Both(WorkflowExecutor):
    """Declares two things."""

    payload_type = OrderDict

    def execute(self, run: WorkflowRun[Order]) -> Any:
        """Tell which it was."""
        return echo(run)


def test_an_argument_wins_over_an_attribute_and_that_over_an_annotation():
    """The nearest to the worker knows best."""
    assert run_executor(Both(), {"number": 2}, payload_type=Odd).status is Status.PENDING
    assert run_executor(Both(), {"number": 2}).result == "dict"


def of_lines(run: WorkflowRun[list[Line]]) -> Any:
    """Takes several."""
    return run.payload[0].article


def test_several_instances_are_read_too():
    """What is made of JSON's own types and classes is no plain JSON."""
    line = {"article": "tea", "quantity": 2, "price": "4.50"}

    assert run_executor(of_lines, [line]).result == "tea"
    assert run_executor(of_lines, [line | {"article": 7}]).last_error == (
        "the payload is no list: payload[0].article: Expected `str`, got `int`"
    )


def plain(run: WorkflowRun) -> Any:
    """No class is named."""
    return echo(run)


def any_payload(run: WorkflowRun[Any]) -> Any:
    """For type checkers."""
    return echo(run)


def json_payload(run: WorkflowRun[dict[str, list[int | None]]]) -> Any:
    """For type checkers too."""
    return echo(run)


def unannotated(run):
    """Nothing is said."""
    return echo(run)


def of_somebody_else(run: Annotated[list[Order], "no run"]) -> Any:
    """Nothing of ours."""
    return echo(run)  # type: ignore[arg-type]


def unknown_to_run_time(run: Nowhere) -> Nowhere:  # type: ignore[name-defined] # noqa: F821
    """Such as a name that is imported for type checkers only."""
    return echo(run)


@pytest.mark.parametrize(
    "executor",
    [plain, any_payload, json_payload, unannotated, of_somebody_else, unknown_to_run_time, echo],
)
def test_an_annotation_that_names_no_class_changes_nothing(executor, monkeypatch):
    """The payload is what JSON makes of it, and no library is needed."""
    monkeypatch.setitem(sys.modules, "msgspec", None)

    assert run_executor(executor, {"number": "7"}).result == "dict"


def test_an_annotation_that_cannot_be_found_is_told():
    """A class that is out of reach would silently be no class at all."""

    @dataclass
    class Local:
        number: int

    def execute(run: WorkflowRun[Local]) -> Any:
        return run.payload.number

    with pytest.raises(UsageError, match=r"WorkflowRun\[Local\].*'Local' is not defined.*payload_"):
        run_executor(execute, {"number": 7})
    assert run_executor(execute, {"number": 7}, payload_type=Local).result == 7


class Plain:
    """Nobody knows how to read it."""


@dataclass
class Holder:
    """A class with a field that nobody knows how to read."""

    field: Plain


@dataclass
class Ambiguous:
    """JSON does not tell these apart."""

    field: Line | Checked


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Plain, ["Plain cannot be a payload", "is not supported", "a dataclass"]),
        (Holder, ["Holder cannot be a payload", "Plain"]),
        (Ambiguous, ["Ambiguous cannot be a payload", "more than one dataclass or attrs type"]),
        (7, ["7 cannot be a payload"]),
    ],
)
def test_a_class_that_nothing_can_be_read_into_is_refused_at_once(cls, words):
    """Not when the first run comes."""
    with pytest.raises(UsageError) as caught:
        IntentPoller("memory://").register_executor(TYPE, echo, payload_type=cls)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_library_names_what_to_install(monkeypatch):
    """For a worker and for a producer; pydantic's models do without."""
    monkeypatch.setitem(sys.modules, "msgspec", None)

    with pytest.raises(UsageError, match=r"Order as a payload needs msgspec: pip install 'simple"):
        run_executor(by_annotation, {})
    with Client("memory://") as client, pytest.raises(UsageError, match="pip install"):
        client.submit(TYPE, Odd(number=7))
    assert run_executor(echo, {"number": 2}, payload_type=Validated).result == "Validated"


def test_a_class_of_literals_and_constraints_is_what_its_library_makes_of_it():
    """What msgspec knows besides is there too."""

    @dataclass
    class Rich:
        kind: Literal["a", "b"]

    ran = run_executor(echo, {"kind": "c"}, payload_type=Rich)

    assert ran.last_error == "the payload is no Rich: payload.kind: Invalid enum value 'c'"
