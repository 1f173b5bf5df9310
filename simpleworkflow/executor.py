"""Executors: the user's code for a type, in any of the forms it may have."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from attrs import frozen

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.routing import Route, TypePattern, most_specific
from simpleworkflow.run import WorkflowRun
from simpleworkflow.typed import codec_of, payload_type_of


class WorkflowExecutor(ABC):
    """The user's code for one or more types.

    Attributes:
        retry_policy: how long its failed runs wait; None leaves it to the poller's.
        payload_type: the class that `run.payload` is to be an instance of; None leaves it to the
            annotation of `execute`, and without one there the payload is plain JSON.
    """

    retry_policy: RetryPolicy | None = None
    payload_type: type[Any] | None = None

    @abstractmethod
    def execute(self, run: WorkflowRun) -> Any:
        """Do the work and return its result, which must be storable as JSON.

        May be `async def`. Whatever it raises fails this attempt; PermanentFailure fails the run
        for good, and RetryAfter chooses the wait before the next attempt.
        """


ExecutorFunction = Callable[[WorkflowRun], Any]


@frozen
class Registration:
    """What is to be called for the types of a pattern."""

    pattern: TypePattern
    function: ExecutorFunction
    retry_policy: RetryPolicy | None
    is_coroutine: bool = False
    read_payload: Callable[[str], Any] | None = None


class ExecutorRegistry:
    """Knows which executor serves a type; the most specific one wins."""

    def __init__(self) -> None:
        self._registrations: dict[TypePattern, Registration] = {}
        self._found: dict[str, Registration | None] = {}
        self._route = Route(())

    def register(
        self,
        workflow_type: str,
        executor: WorkflowExecutor | ExecutorFunction,
        retry_policy: RetryPolicy | None = None,
        payload_type: type[Any] | None = None,
    ) -> None:
        """Serve a type, or all types of a pattern, with an executor.

        Raises:
            UsageError: that is no pattern, no executor or no class for payloads, or the pattern has
                an executor already.
        """
        pattern = TypePattern.parse(workflow_type)
        if pattern in self._registrations:
            raise UsageError(
                f"{str(pattern)!r} has an executor already: register one executor for each pattern"
            )
        function = _function_of(executor, pattern)
        policy = retry_policy or getattr(executor, "retry_policy", None)
        if policy is not None and not isinstance(policy, RetryPolicy):
            raise UsageError(f"retry_policy={policy!r} for {str(pattern)!r} is no RetryPolicy")
        payload_type = payload_type or getattr(executor, "payload_type", None)
        self._registrations[pattern] = Registration(
            pattern,
            function,
            policy,
            _is_coroutine_function(function),
            _reader_of(payload_type or payload_type_of(function)),
        )
        # Replaced, not cleared: a find() in another thread may write an outdated answer.
        self._found = {}
        self._route = Route.of(self._registrations)

    def copy(self) -> ExecutorRegistry:
        """Return another registry that has the same executors so far."""
        made = ExecutorRegistry()
        made._registrations = dict(self._registrations)
        made._route = self._route
        return made

    @property
    def route(self) -> Route:
        """What is served."""
        return self._route

    def inside(self, type_prefixes: Route | None) -> list[TypePattern]:
        """Return the patterns of which a worker of these prefixes claims something, sorted."""
        return sorted((p for p in self._registrations if _is_claimed(p, type_prefixes)), key=str)

    def outside(self, type_prefixes: Route | None) -> list[TypePattern]:
        """Return the patterns that a worker of these prefixes never claims."""
        return [p for p in self._route.patterns if not _is_claimed(p, type_prefixes)]

    def find(self, type_: str) -> Registration | None:
        """Return what serves this type; None when nothing does."""
        known = self._found
        try:
            return known[type_]
        except KeyError:
            pattern = most_specific(list(self._registrations), type_)
            found = None if pattern is None else self._registrations[pattern]
            known[type_] = found
            return found


def _reader_of(payload_type: Any) -> Callable[[str], Any] | None:
    return None if payload_type is None else codec_of(payload_type).read


def _is_claimed(pattern: TypePattern, type_prefixes: Route | None) -> bool:
    return type_prefixes is None or bool(Route((pattern,)).within(type_prefixes))


def _is_coroutine_function(function: ExecutorFunction) -> bool:
    called = getattr(function, "__call__", None)  # noqa: B004 (an object may have one that is)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def _function_of(executor: object, pattern: TypePattern) -> ExecutorFunction:
    if isinstance(executor, type):
        raise UsageError(
            f"the executor for {str(pattern)!r} is the class {executor.__name__}: "
            f"register an instance, {executor.__name__}()"
        )
    function: Any = getattr(executor, "execute", executor)
    if not callable(function):
        raise UsageError(
            f"the executor for {str(pattern)!r} is a {type(executor).__name__}: register a "
            "WorkflowExecutor, or a function that takes the run"
        )
    try:
        inspect.signature(function).bind(None)
    except TypeError as exc:
        raise UsageError(
            f"the executor for {str(pattern)!r} cannot be called with a run alone: {exc}"
        ) from None
    except ValueError:
        pass  # A builtin without a signature is taken at its word.
    checked: ExecutorFunction = function
    return checked
