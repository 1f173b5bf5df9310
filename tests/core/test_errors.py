"""The family tree of errors."""

from __future__ import annotations

import copy

import pytest

from simpleworkflow.core import errors
from simpleworkflow.core.errors import (
    RetryAfter,
    RunFailed,
    SimpleWorkflowError,
    StoreError,
    UsageError,
    WaitTimeout,
)

ALL = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, BaseException)]


@pytest.mark.parametrize("error", ALL)
def test_every_error_has_the_one_root_and_says_when_it_comes(error: type[BaseException]) -> None:
    """Catching the root catches all; misuse and a failing store are never the same thing."""
    assert issubclass(error, SimpleWorkflowError)
    assert not (issubclass(error, UsageError) and issubclass(error, StoreError))
    assert error.__doc__


def test_misuse_is_a_value_error_too() -> None:
    """As Python programmers expect."""
    assert issubclass(UsageError, ValueError)


def test_retry_after_explains_itself() -> None:
    """With the reason given, or else with the wait."""
    assert str(RetryAfter(5)) == "retry after 5 s"
    assert str(RetryAfter(5, "busy")) == "busy"
    assert RetryAfter(5).seconds == 5


def test_a_failed_run_explains_itself_in_one_line() -> None:
    """The whole error, as a rule with a traceback, stands beside; a copy says the same."""
    failed = RunFailed("7", "ValueError: boom\n\nTraceback")

    assert str(failed) == str(copy.copy(failed)) == "run 7 failed: ValueError: boom"
    assert (failed.run_id, failed.error) == ("7", "ValueError: boom\n\nTraceback")
    for nothing in (None, "", "\n"):
        assert str(RunFailed("7", nothing)) == "run 7 failed: no error was recorded"


def test_waiting_too_long_is_a_timeout_error_too() -> None:
    """As Python programmers expect."""
    assert issubclass(WaitTimeout, TimeoutError)
