"""The contract fails for every broken store: a suite that nobody can fail proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract.mutants.broken_stores import MUTANTS, Broken, ScanningControl

EXAM = Path(__file__).with_name("exam.py")


class Examiner:
    """Runs the contract on one store, and notes which laws passed and which failed."""

    def __init__(self, examinee: type[Broken]) -> None:
        self._examinee = examinee
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    @pytest.fixture
    def examinee(self) -> type[Broken]:
        return self._examinee

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        law = report.nodeid.rpartition("::")[2].partition("[")[0]
        if report.failed:
            self.failed.add(law)
        elif report.when == "call" and report.passed:
            self.passed.add(law)


def examine(store: type[Broken]) -> Examiner:
    examiner = Examiner(store)
    options = ["-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly"]
    pytest.main([str(EXAM), *options], plugins=[examiner])
    return examiner


@pytest.mark.parametrize("store", [Broken, ScanningControl], ids=["same", "built differently"])
def test_a_store_without_a_mistake_passes_every_law(store: type[Broken]) -> None:
    """So what fails below fails because of its one mistake."""
    examiner = examine(store)

    assert examiner.failed == set()
    assert len(examiner.passed) > 100


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_contract_catches(mutant: type[Broken]) -> None:
    """The law that was broken is the law that fails; most others still hold."""
    examiner = examine(mutant)

    assert mutant.LAW in examiner.failed
    assert len(examiner.failed) < len(examiner.passed) / 2, "this is no store with one mistake"


def test_there_are_enough_of_them() -> None:
    """At least fourteen, each against a law of its own or nearly so."""
    assert len(MUTANTS) >= 14
    assert len({mutant.LAW for mutant in MUTANTS}) >= len(MUTANTS) - 2
