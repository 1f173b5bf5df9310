"""Typed payloads: only this module reads a payload into a class, and writes an instance as JSON.

What fits a class is for a library to say: pydantic reads and writes its own models, msgspec attrs
classes, dataclasses and TypedDicts. Each is imported when such a class is met.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import lru_cache, partial
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

from simpleworkflow.core import records
from simpleworkflow.core.errors import PayloadMismatch, UsageError
from simpleworkflow.core.records import NewRun
from simpleworkflow.core.storable import encode_json
from simpleworkflow.run import WorkflowRun

_JSON = (dict, list, tuple, str, int, float, bool, NoneType)
_JSON_HINTS = (*_JSON, Any, object, Mapping, Sequence, Union, UnionType)
_WITH_PATH = re.compile(r"(?P<problem>.*) - at `\$(?P<path>.*)`", re.DOTALL)


@attrs.frozen
class Codec:
    """How the payloads of a class are read and written.

    Args:
        read: makes an instance of JSON text; raises PayloadMismatch where it does not fit.
        write: makes of an instance what JSON can hold.
    """

    read: Callable[[str], Any]
    write: Callable[[Any], object]


def new_run(id: str, type: str, payload: object, **options: Any) -> NewRun:
    """Make the record of a run as `core.records` does, of a payload that may be an instance."""
    return records.new_run(id, type, as_json(payload), **options)


def as_json(payload: object) -> object:
    """Return an instance of a class for payloads as what JSON can hold, anything else as it is.

    Raises:
        UsageError: it cannot be written, or its class would not read it again.
    """
    cls: Any = type(payload)
    if cls in _JSON or not (_is_model(cls) or attrs.has(cls) or is_dataclass(cls)):
        return payload
    codec = _known_codec(cls)
    try:
        value = codec.write(payload)
    except Exception as exc:
        raise UsageError(f"this {_name(cls)} cannot be written as JSON: {exc}") from exc
    # Nobody has looked at what is in its fields yet, and here the mistake is the caller's to mend.
    codec.read(encode_json(value, "payload"))
    return value


def payload_type_of(function: Callable[..., Any]) -> Any:
    """Return the `Order` of a function that takes a `WorkflowRun[Order]`; None when it names none.

    Types of JSON's own, such as `dict[str, Any]`, are for type checkers only.

    Raises:
        UsageError: it names something that cannot be found at run time.
    """
    hint = _hint_of_run(function)
    if get_origin(hint) is not WorkflowRun:
        return None
    (named,) = get_args(hint)
    return None if _is_json(named) else named


def codec_of(payload_type: Any) -> Codec:
    """Return how the payloads of a class are read and written.

    Raises:
        UsageError: it is no class for payloads, or the library that reads it is not installed.
    """
    return (
        _pydantic_codec(payload_type) if _is_model(payload_type) else _msgspec_codec(payload_type)
    )


_known_codec = lru_cache(maxsize=1_000)(codec_of)


def _is_model(cls: Any) -> bool:
    """Say whether it is a model of pydantic 2, without importing that."""
    return hasattr(cls, "model_validate_json")


def _is_json(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return isinstance(origin, TypeVar) or (
        origin in _JSON_HINTS and all(map(_is_json, get_args(hint)))
    )


def _hint_of_run(function: Callable[..., Any]) -> Any:
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        return None  # A builtin without a signature.
    annotation = next(iter(parameters.values())).annotation
    if annotation is inspect.Parameter.empty:
        return None

    # This one alone: the others may name what is imported for type checkers only.
    def holder() -> None: ...

    holder.__annotations__ = {"run": annotation}
    try:
        return get_type_hints(holder, _globals_of(function))["run"]
    except Exception as exc:
        if "WorkflowRun[" not in str(annotation):
            return None
        raise UsageError(
            f"the annotation {annotation} of an executor cannot be read: {exc}; give the class as "
            "payload_type=, or define it and import it where the executor is defined"
        ) from exc


def _globals_of(function: Any) -> dict[str, Any]:
    plain = inspect.unwrap(function)
    if isinstance(plain, partial):
        return _globals_of(plain.func)
    # A method tells those of its function; an object that is called has a method for it.
    found: dict[str, Any] | None = getattr(plain, "__globals__", None)
    return found or getattr(plain.__call__, "__globals__", {})


def _pydantic_codec(cls: Any) -> Codec:
    from pydantic import ValidationError

    def read(text: str) -> Any:
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            first, *others = exc.errors(include_url=False, include_context=False)
        more = f" (and {len(others)} more)" if others else ""
        raise _mismatch(cls, _path(first["loc"]), _problem(first) + more)

    def write(model: Any) -> object:
        # Aliases, and no computed fields: what it reads. Wrong values are told by reading them.
        return model.model_dump(mode="json", by_alias=True, round_trip=True, warnings=False)

    return Codec(read, write)


def _problem(error: Mapping[str, Any]) -> str:
    message: str = error["msg"]
    if " should be " not in message:
        return message
    return f"{message}, got `{type(error['input']).__name__}`"


def _path(places: Sequence[int | str]) -> str:
    return "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places)


def _msgspec_codec(cls: Any) -> Codec:
    try:
        import msgspec
    except ImportError as exc:
        raise UsageError(
            f"{_name(cls)} as a payload needs msgspec: pip install 'simpleworkflow[typed]'"
        ) from exc
    try:
        decode = msgspec.json.Decoder(cls).decode
        # The decoder lets classes pass that nothing can be read into; the schema does not.
        msgspec.json.schema(cls)
    except Exception as exc:
        why = str(exc).rpartition("\n")[2]
        raise UsageError(
            f"{_name(cls)} cannot be a payload: {why}; declare an attrs class, a dataclass, "
            "a TypedDict or a pydantic 2 model"
        ) from exc

    def read(text: str) -> Any:
        try:
            return decode(text)
        except (msgspec.DecodeError, RecursionError) as exc:
            told = _WITH_PATH.fullmatch(str(exc))
            problem, path = (told["problem"], told["path"]) if told else (str(exc), "")
        # Outside, so that nobody prints the chain: a field's own error may show its value.
        raise _mismatch(cls, path, problem)

    return Codec(read, msgspec.to_builtins)


def _mismatch(cls: Any, path: str, problem: str) -> PayloadMismatch:
    return PayloadMismatch(f"the payload is no {_name(cls)}: payload{path}: {problem}")


def _name(cls: Any) -> str:
    return getattr(cls, "__name__", str(cls))
