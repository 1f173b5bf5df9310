"""Whatever breaks: no run is lost, none succeeds twice, and workers go on by themselves."""

from __future__ import annotations

import os

import pytest
from faults.arena import Arena
from faults.scenarios import FAULTS
from servers import Unavailable

IS_LONG = os.environ.get("SIMPLEWORKFLOW_TEST_FAULTS") == "long"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("driver", ["psycopg", "pg8000"])
@pytest.mark.parametrize("name", FAULTS)
def test_no_run_is_lost_and_none_succeeds_twice(name, driver, fault_server, tmp_path, report):
    """Every run that was promised ends, under one fence, by legal moves; every worker goes on."""
    fault = FAULTS[name]
    try:
        with fault.ground(fault_server) as ground:
            arena = Arena(ground, driver, tmp_path, fault.long if IS_LONG else fault.short)
            outcome = arena.play(fault.break_things)
    except Unavailable as reason:
        pytest.skip(str(reason))
    report(name, driver, outcome)
    assert not outcome.wrong, outcome.wrong
