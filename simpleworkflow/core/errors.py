"""Every error this library raises: one root; below it "you misused it" and "the store failed"."""

from __future__ import annotations


class SimpleWorkflowError(Exception):
    """Root of every error of this library."""


class UsageError(SimpleWorkflowError, ValueError):
    """The caller gave something that cannot work; the message says what, where and what to do."""


class InvalidPattern(UsageError):
    """A type pattern is neither a literal nor a literal followed by one `%` at its end."""


class InvalidType(UsageError):
    """A workflow type is empty, carries `%`, or cannot be stored as text."""


class NotStorable(UsageError):
    """A payload, header or result cannot be held as JSON by every store."""


class PayloadMismatch(UsageError):
    """A payload does not fit the class that its executor declares; the message names the field."""


class RunNotFound(UsageError, LookupError):
    """No run has this id."""


class InvalidSchedule(UsageError):
    """A cron line, a time zone or a rule for missed firings cannot be read, or never fires."""


class ScheduleNotFound(UsageError, LookupError):
    """No schedule has this id."""


class IllegalTransition(SimpleWorkflowError):
    """The transition table has no entry for this status and move."""


class StoreError(SimpleWorkflowError):
    """The store failed; nothing is known to be wrong with what the caller gave."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or cannot write at the moment; trying again later may work."""


class StoreConflict(StoreError):
    """The store undid this statement because of a concurrent one; it may be sent again at once."""


class SchemaNotReady(StoreError):
    """The database lacks the tables of this library, or has those of an older version."""


class StoreClosed(StoreError):
    """The store was used after `close()`."""


# What executors raise and catch is shown in a run's last_error under its public name.


class RunFailed(SimpleWorkflowError):
    """The run whose result was asked for has failed for good; the first line of why is the message.

    Args:
        run_id: the run's id.
        error: its `last_error`, as a rule with a traceback; None when none was recorded.
    """

    __module__ = "simpleworkflow"

    def __init__(self, run_id: str, error: str | None) -> None:
        super().__init__(run_id, error)
        self.run_id = run_id
        self.error = error

    def __str__(self) -> str:
        line = (self.error or "").strip().partition("\n")[0]
        return f"run {self.run_id} failed: {line or 'no error was recorded'}"


class WaitTimeout(SimpleWorkflowError, TimeoutError):
    """The run had not ended when the time to wait for it was over; it goes on all the same."""

    __module__ = "simpleworkflow"


class LeaseLost(SimpleWorkflowError):
    """The run is no longer leased to the caller: someone else took it over, or it has ended."""

    __module__ = "simpleworkflow"


class RunCancelled(SimpleWorkflowError):
    """Raised in an executor by `raise_if_cancelled()`, and by `Client.result` of such a run."""

    __module__ = "simpleworkflow"


class PermanentFailure(SimpleWorkflowError):
    """Raise it from an executor to fail the run for good: no further attempt is made."""

    __module__ = "simpleworkflow"


class RetryAfter(SimpleWorkflowError):
    """Raise it from an executor to fail this attempt and choose the wait before the next one.

    Args:
        seconds: the delay before the next attempt, in seconds, 0 or more; no jitter is added.
        reason: what to record as the run's `last_error`.

    The attempt counts: a run that has none left ends `failed`. Seconds that are not a number from 0
    to 100 years make it an ordinary failure that says so.
    """

    __module__ = "simpleworkflow"

    def __init__(self, seconds: float, reason: str = "") -> None:
        super().__init__(reason or f"retry after {seconds} s")
        self.seconds = seconds
