"""The frozen records that cross every seam. Payloads and results travel as JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from attrs import evolve, frozen

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.keys import FOREVER, KeyScope, check_key_scope
from simpleworkflow.core.states import EventType, Move, Status, next_status
from simpleworkflow.core.storable import (
    DEFAULT_JSON_BYTES,
    check_duration,
    check_instant,
    check_int,
    check_key,
    check_size,
    check_type,
    decode_json,
    encode_json,
    shown,
)

NO_DELAY = timedelta(0)
DEFAULT_PRIORITY = 100
DEFAULT_MAX_ATTEMPTS = 3


# Without slots, which every submitted run pays for: attrs makes these in half the time.
@frozen(slots=False)
class NewRun:
    """A run to be submitted; `new_run` makes and checks one.

    Args:
        id: the run's id, a UUID as text; given by the producer, so that a submit whose reply was
            lost can be repeated.
        type: the dotted, versioned name, such as `billing.invoice.v1`.
        payload_json: the payload as JSON text.
        priority: lower runs first.
        run_at: the earliest execution, an instant; None means now, plus `delay`.
        delay: how long after the submit it may run, by the store's clock.
        max_attempts: how many attempts it has.
        idempotency_key: at most one run with this key exists.
        headers_json: what travels beside the payload, as JSON text.
        key_scope: for how long the key holds.
    """

    id: str
    type: str
    payload_json: str
    priority: int = DEFAULT_PRIORITY
    run_at: datetime | None = None
    delay: timedelta = NO_DELAY
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    idempotency_key: str | None = None
    headers_json: str | None = None
    key_scope: KeyScope = FOREVER


def new_run(
    id: str,
    type: str,
    payload: object,
    *,
    priority: int = DEFAULT_PRIORITY,
    run_at: datetime | None = None,
    delay: float | timedelta | None = None,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    idempotency_key: str | None = None,
    headers: Mapping[str, object] | None = None,
    key_scope: str | float | timedelta = FOREVER,
    max_payload_bytes: int = DEFAULT_JSON_BYTES,
) -> NewRun:
    """Check what a producer gave and make the record of it; the id is checked by the store.

    `max_payload_bytes` is the limit of payload and headers together, as JSON in UTF-8.

    Raises:
        UsageError: something in it no store could hold; the message names it.
    """
    if run_at is not None and delay is not None:
        raise UsageError("give run_at (an instant) or delay (a duration), not both")
    if headers is not None and not isinstance(headers, Mapping):
        raise UsageError(f"headers={shown(headers)} must be a mapping of text to JSON values")
    payload_json = encode_json(payload, "payload")
    headers_json = None if headers is None else encode_json(dict(headers), "headers")
    if headers_json is None:
        check_size(payload_json, "payload", max_payload_bytes, "max_payload_bytes")
    else:
        both = payload_json + headers_json
        check_size(both, "payload with its headers", max_payload_bytes, "max_payload_bytes")
    return NewRun(
        id=id,
        type=check_type(type),
        payload_json=payload_json,
        priority=check_int(priority, "priority"),
        run_at=None if run_at is None else check_instant(run_at, "run_at"),
        delay=NO_DELAY if delay is None else check_duration(delay, "delay", allow_zero=True),
        max_attempts=check_int(max_attempts, "max_attempts", at_least=1),
        idempotency_key=None if idempotency_key is None else check_key(idempotency_key),
        headers_json=headers_json,
        key_scope=check_key_scope(key_scope, idempotency_key),
    )


def with_headers(run: NewRun, more: Mapping[str, object]) -> NewRun:
    """Return a run with these headers beside its own, which win."""
    headers = {**more, **decode_headers(run.headers_json)}
    return evolve(run, headers_json=encode_json(headers, "headers"))


@frozen
class Submitted:
    """The answer to a submit: the run's id, and whether this submit created it."""

    id: str
    created: bool


@frozen
class Run:
    """A run as the store holds it."""

    id: str
    type: str
    status: Status
    payload_json: str
    priority: int
    run_at: datetime
    attempt: int
    max_attempts: int
    idempotency_key: str | None
    leased_by: str | None
    lease_until: datetime | None
    fence: int
    last_error: str | None
    result_json: str | None
    headers_json: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def payload(self) -> Any:
        """The payload, read from its JSON text."""
        return decode_json(self.payload_json, "payload")

    @property
    def result(self) -> Any:
        """The result, read from its JSON text; None while there is none."""
        return None if self.result_json is None else decode_json(self.result_json, "result")

    @property
    def headers(self) -> dict[str, Any]:
        """What travels beside the payload; empty when nothing does."""
        return decode_headers(self.headers_json)


# What every run makes one of on its way through a worker is a tuple: made in a quarter of the time
# that attrs takes for a frozen record.
class Claim(NamedTuple):
    """A leased run and the proof of the lease: (run_id, worker_id, fence).

    Args:
        run_id: the run's id.
        worker_id: who holds the lease.
        fence: greater at each claim of a run, so two holders are told apart.
        type, payload_json, headers_json: what to execute.
        attempt: which try this is, from 0.
        max_attempts: how many there are.
        waited: seconds from `run_at` to this claim, by the store's clock.
        crashes: in how many crashes of a worker this run was, whether it had been started or not.
    """

    run_id: str
    worker_id: str
    fence: int
    type: str
    payload_json: str
    headers_json: str | None
    attempt: int
    max_attempts: int
    waited: float
    crashes: int = 0

    @property
    def headers(self) -> dict[str, Any]:
        """What travels beside the payload; empty when nothing does."""
        return decode_headers(self.headers_json)


@frozen
class Rescued:
    """An expired lease that was taken over, and who had held it."""

    claim: Claim
    lost_by: str | None


class Succeeded(NamedTuple):
    """The executor returned; its result as JSON text."""

    result_json: str


@frozen
class Failed:
    """The executor raised, or its result cannot be stored.

    Args:
        error: what to record as `last_error`.
        is_permanent: no further attempt is wanted.
        retry_after: the delay the executor asked for; None leaves it to the retry policy.
    """

    error: str
    is_permanent: bool = False
    retry_after: timedelta | None = None


@frozen
class Crashed:
    """The lease ran out before an outcome came: its worker died or was cut off."""

    worker_id: str | None


@frozen
class Released:
    """The run was not finished and is given back; it costs no attempt."""


Outcome = Succeeded | Failed | Crashed | Released


class Settlement(NamedTuple):
    """What is to be written for a claim; `core.decide` makes it.

    Args:
        claim: the proof; refused when it is not the current one.
        move: how the run moves.
        attempt: the run's attempt number afterwards.
        delay: how long until it may run again; None leaves `run_at` as it is.
        result_json: the result to keep, as JSON text.
        error: the `last_error` to keep.
        ran: how long the executor ran, for the history.
    """

    claim: Claim
    move: Move
    attempt: int
    delay: timedelta | None = None
    result_json: str | None = None
    error: str | None = None
    ran: timedelta | None = None

    @property
    def status(self) -> Status:
        """The run's status afterwards."""
        return next_status(Status.LEASED, self.move)


class Verdict(StrEnum):
    """What the store says to a settlement."""

    APPLIED = "applied"
    """Written, now or by an earlier try of the same settlement."""
    LOST = "lost"
    """Refused: the claim is not the current one."""
    CANCELLED = "cancelled"
    """Refused: the run was cancelled; the outcome is kept in its history."""
    UNSTORABLE = "unstorable"
    """Refused: the database cannot hold it; the claim is still held."""


@frozen
class Settled:
    """The answer to one settlement; `reason` explains an UNSTORABLE one."""

    verdict: Verdict
    reason: str | None = None


@frozen
class Extension:
    """A lease to renew from now for `duration`; a duration of zero only asks how it stands."""

    claim: Claim
    duration: timedelta


class Hold(StrEnum):
    """What the store says to an extension."""

    KEPT = "kept"
    BUSY = "busy"
    """Held, but not renewed: somebody else has the run's row locked at the moment."""
    LOST = "lost"
    CANCELLED = "cancelled"


@frozen
class Event:
    """One row of a run's history."""

    id: int
    run_id: str
    type: EventType | str
    data: dict[str, Any]
    created_at: datetime


def decode_headers(headers_json: str | None) -> dict[str, Any]:
    """Return what travels beside a payload; empty when nothing does."""
    headers = {} if headers_json is None else decode_json(headers_json, "headers")
    return headers if isinstance(headers, dict) else {}
