"""The contract, bound to whichever store the fixture `examinee` names; run by test_mutants.py."""

from __future__ import annotations

import pytest
from contract.mutants.broken_stores import Broken

from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract import DeleteRun, OpenStore, StoreContract, examination


class TestExaminee(StoreContract):
    """Not collected by itself: the file is not named like a test."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Some mistakes go on for ever; what is in memory takes no second when it is right."""
        monkeypatch.setattr(examination, "PATIENCE", 3.0)

    @pytest.fixture
    def open_store(self, examinee: type[Broken]) -> OpenStore:
        return examinee.opener()

    @pytest.fixture
    def delete_run(self, open_store: OpenStore, clock: FakeClock) -> DeleteRun:
        return lambda run_id: open_store(clock).hide([run_id])  # type: ignore[attr-defined]
