"""Tells observers; what they do wrong is logged and harms nobody."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.events import Observer, ObserverEvent

logger = logging.getLogger("simpleworkflow.observers")


class Report:
    """Passes events to those who want them.

    Args:
        observers: who they are, in the order in which they are told.

    Raises:
        UsageError: one of them cannot be called.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        for observer in observers:
            if isinstance(observer, type):
                raise UsageError(
                    f"the observer {observer.__name__} is a class: give an instance, "
                    f"{observer.__name__}()"
                )
            if not callable(observer):
                raise UsageError(
                    f"the observer {observer!r} must be a callable that takes an event"
                )
        self._observers = tuple(observers)
        self._of_kind: dict[type, tuple[Observer, ...]] = {}

    def hears(self, kind: type) -> bool:
        """Say whether anyone wants events of a kind; without, none needs to be made."""
        return bool(self._who_hears(kind))

    def tell(self, event: ObserverEvent) -> None:
        """Give the event to everyone who wants it."""
        self._answers(event)

    def around(self, event: ObserverEvent) -> AbstractContextManager[None]:
        """Give the event to everyone who wants it; return what is to be around what it tells of."""
        return _Around(type(event), self._answers(event))

    def _answers(self, event: ObserverEvent) -> list[tuple[Observer, Any]]:
        answers = []
        for observer in self._who_hears(type(event)):
            try:
                answers.append((observer, observer(event)))
            except BaseException:
                # SystemExit included: it would end a thread of the worker.
                _log(observer, type(event))
        return answers

    def _who_hears(self, kind: type) -> tuple[Observer, ...]:
        try:
            return self._of_kind[kind]
        except KeyError:
            found = tuple(o for o in self._observers if kind in getattr(o, "event_kinds", (kind,)))
            self._of_kind[kind] = found
            return found


class _Around(AbstractContextManager[None]):
    """What observers answered to one event, entered together; changes nothing of what is inside."""

    def __init__(self, kind: type, answers: Sequence[tuple[Observer, Any]]) -> None:
        self._kind = kind
        self._answers = [(o, answer) for o, answer in answers if hasattr(answer, "__enter__")]
        self._entered: list[tuple[Observer, Any]] = []

    def __enter__(self) -> None:
        for observer, answer in self._answers:
            try:
                answer.__enter__()
            except BaseException:
                _log(observer, self._kind)
            else:
                self._entered.append((observer, answer))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._entered:
            observer, answer = self._entered.pop()
            try:
                answer.__exit__(kind, error, trace)
            except BaseException as exc:
                # A context manager that only lets pass what it was given has done nothing wrong.
                if exc is not error:
                    _log(observer, self._kind)


def _log(observer: Observer, kind: type) -> None:
    logger.exception("observer %r failed on %s", observer, kind.__name__)
