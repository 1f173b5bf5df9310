"""Transition law: a run moves only as TRANSITIONS says; a missing entry is an IllegalTransition.

1. A run is born `pending` and is claimed at most by one worker at a time.
2. `succeeded`, `failed` and `cancelled` are terminal: no worker's move leads out of them. Of a
   `failed` run an operator may think better: `revive` makes it `pending` again.
3. Every move but a lease's upkeep leaves one event in the run's history, named by EVENT_OF. The
   event and the status before it name the move.
"""

from __future__ import annotations

from enum import StrEnum

from simpleworkflow.core.errors import IllegalTransition


class Status(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    LEASED = "leased"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Move(StrEnum):
    """What may happen to a run."""

    CLAIM = "claim"
    EXTEND = "extend"
    RESCUE = "rescue"
    SUCCEED = "succeed"
    RETRY = "retry"
    FAIL = "fail"
    RELEASE = "release"
    CANCEL = "cancel"
    REVIVE = "revive"


class EventType(StrEnum):
    """What a row of a run's history says happened."""

    CREATED = "created"
    LEASED = "leased"
    RESCUED = "rescued"
    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    FAILED = "failed"
    RELEASED = "released"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"
    """An outcome that came after the run was cancelled: kept in the history, without effect."""


TRANSITIONS: dict[tuple[Status, Move], Status] = {
    (Status.PENDING, Move.CLAIM): Status.LEASED,
    (Status.PENDING, Move.CANCEL): Status.CANCELLED,
    (Status.LEASED, Move.EXTEND): Status.LEASED,
    (Status.LEASED, Move.RESCUE): Status.LEASED,
    (Status.LEASED, Move.SUCCEED): Status.SUCCEEDED,
    (Status.LEASED, Move.RETRY): Status.PENDING,
    (Status.LEASED, Move.FAIL): Status.FAILED,
    (Status.LEASED, Move.RELEASE): Status.PENDING,
    (Status.LEASED, Move.CANCEL): Status.CANCELLED,
    (Status.FAILED, Move.REVIVE): Status.PENDING,
}

TERMINAL = frozenset(Status) - {status for status, move in TRANSITIONS if move is not Move.REVIVE}
"""A run that stands there has ended: nothing more happens to it, unless it is revived."""

EVENT_OF: dict[Move, EventType] = {
    Move.CLAIM: EventType.LEASED,
    Move.RESCUE: EventType.RESCUED,
    Move.SUCCEED: EventType.SUCCEEDED,
    Move.RETRY: EventType.RETRIED,
    Move.FAIL: EventType.FAILED,
    Move.RELEASE: EventType.RELEASED,
    Move.CANCEL: EventType.CANCELLED,
    Move.REVIVE: EventType.RETRIED,
}


def next_status(status: Status, move: Move) -> Status:
    """Return the status that `move` leads to from `status`.

    Raises:
        IllegalTransition: the table has no such entry.
    """
    try:
        return TRANSITIONS[status, move]
    except KeyError:
        raise IllegalTransition(
            f"a run that is {status} cannot {move}: the transition table has no such entry"
        ) from None


def is_legal(status: Status, move: Move) -> bool:
    """Say whether a run in `status` may make this `move`."""
    return (status, move) in TRANSITIONS


def sources(move: Move) -> frozenset[Status]:
    """Return every status from which `move` is legal."""
    return frozenset(status for status, other in TRANSITIONS if other is move)
