"""For tests of programs that use this library, and of backends for it."""

from simpleworkflow.testing.asserts import (
    assert_history,
    assert_not_submitted,
    assert_status,
    assert_submitted,
)
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.executing import ExecutorResult, run_executor

__all__ = [
    "ExecutorResult",
    "FakeClock",
    "assert_history",
    "assert_not_submitted",
    "assert_status",
    "assert_submitted",
    "run_executor",
]
