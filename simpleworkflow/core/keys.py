"""Key law: only this module says for how long an idempotency key holds.

A key belongs to the run that was created with it, for as long as that run's own scope says. When
the scope has ended, the next submit with the key takes it from that run and creates a new one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.states import TERMINAL, Status
from simpleworkflow.core.storable import check_duration, shown

FOREVER: Literal["forever"] = "forever"
ACTIVE: Literal["active"] = "active"

KeyScope = Literal["forever", "active"] | timedelta
"""For ever, until the run has ended, or for so long from its submit."""


def check_key_scope(value: object, key: str | None) -> KeyScope:
    """Return `value` ("forever", "active", seconds or a timedelta) as the scope of `key`.

    Raises:
        UsageError: it is none of these, or there is no key that it could be of.
    """
    if value == FOREVER:
        return FOREVER
    if key is None:
        raise UsageError(f"key_scope={shown(value)} needs an idempotency_key, of which it is")
    if value == ACTIVE:
        return ACTIVE
    if isinstance(value, str):
        raise UsageError(
            f"key_scope={shown(value)} must be 'forever', 'active' or a duration "
            "(seconds or a timedelta)"
        )
    return check_duration(value, "key_scope")


def has_ended(
    scope: KeyScope, submitted_at: datetime, status: Status, is_deleted: bool, now: datetime
) -> bool:
    """Say whether a run's key may be taken from it.

    Args:
        scope: for how long the run keeps its key.
        submitted_at: when the run was created, by the store's clock.
        status: where the run stands.
        is_deleted: whether it is marked as deleted. Nobody will execute it, so it is not active.
        now: the present instant, by the store's clock.
    """
    if isinstance(scope, timedelta):
        return submitted_at + scope <= now
    return scope == ACTIVE and (is_deleted or status in TERMINAL)
