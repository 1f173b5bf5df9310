"""The exam of every backend: one law a test, the same for all.

Subclass StoreContract with one fixture and let pytest collect it:

    class TestMyStore(StoreContract):
        @pytest.fixture
        def open_store(self, tmp_path):
            return lambda clock: MyStore(tmp_path / "runs", clock=clock)

`open_store` is called several times in a test: every call opens another handle onto the same runs,
which at the start of a test are none. The store asks `clock` for the time; the tests move it.

A store that keeps no history (it is no RunReader) skips the laws about it, one that keeps no
schedules (no ScheduleStore) those about them, and so on for RunAdmin, KeyScopes, Endings
and Roster. One whose rows may be marked as deleted gives one more fixture, `delete_run`, and one
that joins transactions of its callers, `open_connection`; without them those laws are skipped.
"""

import pytest

# Before the laws are imported, so that their asserts explain themselves in your tests too.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{concern}"
        for concern in (
            "announcing",
            "cancelling",
            "closing",
            "deletion",
            "examination",
            "fencing",
            "history",
            "joining",
            "keys",
            "leases",
            "operating",
            "ordering",
            "races",
            "reading",
            "routes",
            "scheduling",
            "settling",
            "submitting",
            "values",
            "waiting",
        )
    )
)

from simpleworkflow.testing.contract.announcing import AnnouncingLaws  # noqa: E402
from simpleworkflow.testing.contract.cancelling import CancelLaws  # noqa: E402
from simpleworkflow.testing.contract.closing import ClosingLaws  # noqa: E402
from simpleworkflow.testing.contract.deletion import DeletionLaws  # noqa: E402
from simpleworkflow.testing.contract.examination import DeleteRun, OpenStore  # noqa: E402
from simpleworkflow.testing.contract.fencing import FencingLaws  # noqa: E402
from simpleworkflow.testing.contract.history import HistoryLaws  # noqa: E402
from simpleworkflow.testing.contract.joining import JoiningLaws, OpenConnection  # noqa: E402
from simpleworkflow.testing.contract.keys import KeyLaws  # noqa: E402
from simpleworkflow.testing.contract.leases import LeaseLaws  # noqa: E402
from simpleworkflow.testing.contract.operating import OperatingLaws  # noqa: E402
from simpleworkflow.testing.contract.ordering import OrderLaws  # noqa: E402
from simpleworkflow.testing.contract.races import RaceLaws  # noqa: E402
from simpleworkflow.testing.contract.reading import ReadingLaws  # noqa: E402
from simpleworkflow.testing.contract.routes import RouteLaws  # noqa: E402
from simpleworkflow.testing.contract.scheduling import ScheduleLaws  # noqa: E402
from simpleworkflow.testing.contract.settling import SettleLaws  # noqa: E402
from simpleworkflow.testing.contract.submitting import SubmitLaws  # noqa: E402
from simpleworkflow.testing.contract.values import ValueLaws  # noqa: E402
from simpleworkflow.testing.contract.waiting import WaitingLaws  # noqa: E402

__all__ = ["DeleteRun", "OpenConnection", "OpenStore", "StoreContract"]


class StoreContract(
    SubmitLaws,
    OrderLaws,
    RouteLaws,
    LeaseLaws,
    FencingLaws,
    SettleLaws,
    CancelLaws,
    JoiningLaws,
    RaceLaws,
    HistoryLaws,
    ReadingLaws,
    ScheduleLaws,
    ValueLaws,
    DeletionLaws,
    AnnouncingLaws,
    OperatingLaws,
    KeyLaws,
    WaitingLaws,
    ClosingLaws,
):
    """All laws. Give the fixture `open_store`, and `delete_run` if the store has such rows."""
