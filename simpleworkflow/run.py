"""WorkflowRun: what an executor sees of the run it works on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Protocol

from simpleworkflow.core.errors import RunCancelled
from simpleworkflow.core.records import Claim
from simpleworkflow.core.storable import check_duration, decode_json

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    PayloadT = TypeVar("PayloadT", default=Any)
else:
    # Python's own knows of defaults from 3.13 on, and only type checkers need this one.
    from typing import TypeVar

    PayloadT = TypeVar("PayloadT")


class Lease(Protocol):
    """What keeps a run's lease while its executor works."""

    def renew(self, duration: timedelta) -> None:
        """Extend the lease from now; raise LeaseLost when it is someone else's."""
        ...

    def is_cancelled(self) -> bool:
        """Say whether to stop working: the run was cancelled, or its lease is lost."""
        ...


class WorkflowRun(Generic[PayloadT]):
    """A claimed run, as its executor sees it; a `WorkflowRun[Order]` has an Order as its payload.

    Attributes:
        id: the run's id.
        type: its type, such as `billing.invoice.v1`.
        payload: its JSON payload; an instance of the class that the executor declares, if any.
        attempt: which try this is, from 0.
        max_attempts: how many there are.
        headers: what the producer sent beside the payload; a dict, empty when nothing.
        fence: a number that is greater at each claim of this run. Hand it to downstream systems
            that can refuse writes with a lower one than they have seen.
        worker_id: the worker that claimed it.
    """

    __slots__ = (
        "_lease",
        "attempt",
        "fence",
        "headers",
        "id",
        "max_attempts",
        "payload",
        "type",
        "worker_id",
    )

    def __init__(
        self, claim: Claim, lease: Lease, read: Callable[[str], PayloadT] | None = None
    ) -> None:
        self.id = claim.run_id
        self.type = claim.type
        text = claim.payload_json
        self.payload: PayloadT = decode_json(text, "payload") if read is None else read(text)
        self.attempt = claim.attempt
        self.max_attempts = claim.max_attempts
        self.headers = claim.headers
        self.fence = claim.fence
        self.worker_id = claim.worker_id
        self._lease = lease

    def __repr__(self) -> str:
        return f"<WorkflowRun {self.id} {self.type} attempt {self.attempt}/{self.max_attempts}>"

    def heartbeat(self, duration_seconds: float | timedelta = 30) -> None:
        """Extend the lease so that it holds for at least `duration_seconds` from now.

        A worker with `auto_heartbeat` does this by itself. While the store cannot be reached,
        the call returns as long as the lease it last got still holds.

        Args:
            duration_seconds: seconds, or a timedelta; 30 by default.

        Raises:
            LeaseLost: another worker took the run over, or it has ended: stop working on it.
            UsageError: the duration is not positive.
        """
        self._lease.renew(check_duration(duration_seconds, "heartbeat(duration_seconds)"))

    def is_cancelled(self) -> bool:
        """Say whether to stop: the run was cancelled, timed out, or its lease is lost.

        Asks the store at most once a second, however often it is called.
        """
        return self._lease.is_cancelled()

    def raise_if_cancelled(self) -> None:
        """Raise RunCancelled if `is_cancelled()`.

        Raises:
            RunCancelled: there is no use in going on.
        """
        if self.is_cancelled():
            raise RunCancelled(f"run {self.id} was cancelled or its lease is lost: stop working")
