"""What operators do at a terminal: runs, stats and purge, as they are shown and as they act."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pexpect
import pytest
from click.testing import CliRunner, Result
from goldens import check_golden

from simpleworkflow import Client, cli, migrate, open_store
from simpleworkflow.core.records import Settlement, new_run
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import Move
from simpleworkflow.core.store import Store
from simpleworkflow.testing import FakeClock

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=30)
EVERYTHING = Route.of(["%"])


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wide lines in one time zone, and no database that the test has not named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of this process, without runs, which the commands find by themselves."""
    url = f"memory://{uuid4()}"
    monkeypatch.setenv("DATABASE_URL", url)
    return url


def call(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli.main, arguments, prog_name="simpleworkflow")


def told(*arguments: str) -> str:
    """A command and its answer."""
    result = call(*arguments)
    code = f"(exit code {result.exit_code})\n" if result.exit_code else ""
    return f"$ simpleworkflow {' '.join(arguments)}\n{result.output}{code}"


def run_id(number: int) -> str:
    """The id of the n-th run of a test."""
    return f"00000000-0000-4000-8000-{number:012}"


def fill(store: Store, clock: FakeClock, type_: str = "billing.invoice.v1") -> None:
    """Six runs: two failed, one succeeded, one leased, one scheduled, one cancelled."""
    for number in range(1, 6):
        clock.advance(1)
        payload = {"number": number}
        store.submit([new_run(run_id(number), type_, payload, headers={"trace": "4bf9"})])
    error = "Traceback (most recent call last):\nValueError: the card \x1b[31m has expired"
    for claim in store.claim(EVERYTHING, 3, "worker-1", LEASE):
        move = Move.SUCCEED if claim.run_id == run_id(3) else Move.FAIL
        result, failed = ('{"sent":true}', None) if move is Move.SUCCEED else (None, error)
        store.settle([Settlement(claim, move, 1, None, result, failed, timedelta(seconds=0.25))])
    store.claim(EVERYTHING, 1, "worker-2", LEASE)
    store.cancel([run_id(5)])
    later = clock() + timedelta(days=1_000 * 365)
    store.submit([new_run(run_id(6), "report.daily.v1", None, run_at=later, idempotency_key="k")])


@pytest.fixture
def filled(url: str) -> Store:
    """The same store with six runs of a fixed time."""
    clock = FakeClock(START)
    store = open_store(url, clock=clock)
    fill(store, clock)
    return store


def statuses(store: Store) -> list[str | None]:
    """Where the six runs stand; None is none."""
    found = [store.get(run_id(number)) for number in range(1, 7)]
    return [None if run is None else run.status.value for run in found]


BEFORE = ["failed", "failed", "succeeded", "leased", "cancelled", "pending"]

# What is shown


def test_runs_are_listed(filled):
    """All, and by each filter; nothing is told as nothing."""
    shown = [
        told("runs", "list"),
        told("runs", "list", "--status", "failed", "--error", "EXPIRED", "--limit", "1"),
        told("runs", "list", "--status", "leased", "--status", "pending", "--type", "billing.%"),
        told("runs", "list", "--worker", "worker-2"),
        told("runs", "list", "--key", "k"),
        told("runs", "list", "--newer-than", "1s"),
    ]
    check_golden("runs_list.txt", "".join(shown))


def test_a_run_is_shown(filled):
    """With what it holds and what happened to it, in letters that steer no terminal."""
    shown = told("runs", "show", run_id(2)) + told("runs", "show", run_id(3))
    assert "\x1b" not in shown
    check_golden("runs_show.txt", shown)


def test_runs_are_told_as_json(filled):
    """Each as it is, payload and error included."""
    [run] = json.loads(call("runs", "list", "--json", "--status", "succeeded").stdout)
    assert (run["id"], run["payload"], run["result"]) == (run_id(3), {"number": 3}, {"sent": True})
    assert run["created_at"] == "2026-01-02T03:04:08+00:00"
    shown = json.loads(call("runs", "show", "--json", run_id(2)).stdout)
    assert shown["last_error"].startswith("Traceback")
    assert [event["type"] for event in shown["events"]] == ["created", "leased", "failed"]
    assert json.loads(call("runs", "list", "--json", "--key", "no").stdout) == []


def test_stats_are_shown(url):
    """What waits, is leased and has ended, by type."""
    store = open_store(url)
    clock = FakeClock(datetime.now(UTC) - timedelta(seconds=600))
    fill(open_store(url, clock=clock), clock)
    store.submit([new_run(run_id(7), "billing.invoice.v1", {})])
    shown = told("stats")
    check_golden("stats.txt", re.sub(r"\d:\d\d:\d\d", "H:MM:SS", shown))
    [billing, report] = json.loads(call("stats", "--json").stdout)
    assert (billing["due"], billing["leased"], billing["failed_last_hour"]) == (1, 1, 2)
    assert billing["oldest_due"] < 60
    assert report["scheduled"] == 1


def test_stats_of_nothing_are_told_in_a_line(url):
    """There is no table without a row."""
    assert call("stats").stdout == "no runs wait, and none ended within the last hour\n"
    assert json.loads(call("stats", "--json").stdout) == []


# What is done


def test_runs_are_changed_by_their_ids(filled):
    """Each command tells what it did; what it could not do is named, with exit code 1."""
    shown = [
        told("runs", "cancel", run_id(6)),
        told("runs", "retry", run_id(1), run_id(3), run_id(9)),
        told("runs", "delete", run_id(4), run_id(5)),
        told("runs", "delete", "--json", run_id(3)),
    ]
    check_golden("runs_change.txt", "".join(shown))
    assert statuses(filled) == ["pending", "failed", None, "leased", None, "cancelled"]


def test_runs_that_a_filter_means_are_shown_and_changed_when_somebody_is_sure(filled):
    """Only those that can be; without a word nothing is changed."""
    asked = told("runs", "retry", "--type", "billing.%")
    assert statuses(filled) == BEFORE
    shown = [
        asked,
        told("runs", "retry", "--type", "billing.%", "--yes", "--limit", "1"),
        told("runs", "cancel", "--error", "expired", "--json", "--yes"),
        told("runs", "delete", "--older-than", "1d", "--yes"),
        told("runs", "delete", "--older-than", "1d", "--yes"),
    ]
    check_golden("runs_bulk.txt", "".join(shown))
    assert statuses(filled) == [None, None, None, "leased", None, "pending"]


def test_more_runs_than_are_shown_are_counted(url):
    """And all of them are changed, however many pages they fill."""
    store = open_store(url)
    store.submit([new_run(str(uuid4()), "a.v1", {}) for _ in range(2_500)])
    result = call("runs", "cancel", "--type", "a.v1", "--yes")
    assert result.stdout.startswith("2,500 runs will be cancelled, such as\n")
    assert result.stdout.count(" a.v1 ") == 5
    assert result.stdout.endswith("2,500 of 2,500 runs cancelled\n")


def test_purge_deletes_old_runs(url):
    """Those that ended so, and so long ago; it tells how many."""
    clock = FakeClock(LONG_AGO)
    store = open_store(url, clock=clock)
    fill(store, clock)
    shown = [
        told("purge", "--older-than", "36500d"),
        told("purge", "--older-than", "30d", "--status", "failed"),
        told("purge", "--older-than", "30d", "--json"),
    ]
    check_golden("purge.txt", "".join(shown))
    assert statuses(store) == [None, None, None, "leased", None, "pending"]


@pytest.mark.parametrize(
    ("text", "lasts"),
    [("45s", 45), ("90m", 5_400), ("12h", 43_200), ("30d", 2_592_000)],
)
def test_a_duration_is_a_number_and_a_letter(url, text, lasts):
    """Days, hours, minutes or seconds: a run is older than it a moment later, and not before."""
    now = datetime.now(UTC)
    for id_, age in ((run_id(1), lasts - 20), (run_id(2), lasts + 1)):
        clock = FakeClock(now - timedelta(seconds=age))
        open_store(url, clock=clock).submit([new_run(id_, "a.v1", {})])
    found = json.loads(call("runs", "list", "--older-than", text, "--json").stdout)
    assert [run["id"] for run in found] == [run_id(2)]


MISTAKES = [
    ("purge",),
    ("purge", "--older-than", "P30D"),
    ("purge", "--older-than", "30"),
    ("purge", "--older-than", "0d"),
    ("purge", "--older-than", "1.5h"),
    ("purge", "--older-than", "40000d"),
    ("purge", "--older-than", "30d", "--status", "leased"),
    ("purge", "--older-than", "30d", "--store", "nonsense"),
    ("stats", "--watch"),
    ("stats", "--watch", "--json"),
    ("runs", "nonsense"),
    ("runs", "list", "--type", "a%b"),
    ("runs", "list", "--status", "done"),
    ("runs", "list", "--limit", "0"),
    ("runs", "list", "--older-than", "yesterday"),
    ("runs", "list", "--error", ""),
    ("runs", "show"),
    ("runs", "show", "17"),
    ("runs", "show", run_id(9)),
    ("runs", "retry"),
    ("runs", "retry", "17"),
    ("runs", "retry", run_id(1), "--type", "a.v1"),
    ("runs", "retry", "--status", "cancelled"),
    ("runs", "delete", "--type", "%"),
    ("runs", "delete", "--type", "%", "--json"),
]


def test_mistakes_are_told_in_one_line(filled):
    """Each says what is wrong and what to do, with exit code 2; nothing is changed."""
    shown = [told(*arguments) for arguments in MISTAKES]
    for text in shown:
        assert "\nError: " in text
        assert text.endswith("(exit code 2)\n")
    check_golden("operating_mistakes.txt", "".join(shown))
    assert statuses(filled) == BEFORE


def test_runs_alone_tells_its_commands(url):
    """A question is answered."""
    result = call("runs")
    assert result.exit_code == 0
    assert {"cancel", "delete", "list", "retry", "show"} <= set(result.stdout.split())


def test_a_third_partys_store_may_offer_none_of_this(monkeypatch):
    """It is told so in one line."""
    monkeypatch.setattr("simpleworkflow.operator.open_store", lambda url: Bare())
    for arguments in (["runs", "list"], ["stats"], ["purge", "--older-than", "1d"]):
        result = call(*arguments, "--store", "memory://")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "is no RunAdmin" in result.stderr


class Bare:
    """A store that does nothing for operators."""


# At a real terminal, on a real server


def terminal(url: str, *arguments: str, kind: str = "xterm") -> pexpect.spawn:
    """The command at a terminal of its own."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return pexpect.spawn(
        sys.executable,
        ["-m", "simpleworkflow", *arguments],
        env={**os.environ, "PYTHONPATH": paths, "DATABASE_URL": url, "TERM": kind},
        encoding="utf-8",
        timeout=30,
        dimensions=(40, 160),
    )


def test_at_a_terminal_somebody_is_asked(one_database_url):
    """No is no, and yes is yes."""
    migrate(one_database_url)
    with Client(one_database_url) as client:
        ids = [client.submit("a.v1", {}).id for _ in range(3)]
        for answer, expected in (("n", "pending"), ("y", "cancelled")):
            asked = terminal(one_database_url, "runs", "cancel", "--type", "a.%")
            asked.expect("3 runs would be cancelled")
            asked.expect(r"Go on\? \[y/N\]")
            asked.sendline(answer)
            asked.expect(pexpect.EOF)
            asked.close()
            assert asked.exitstatus == (answer == "n")
            assert {client.get(id_).status.value for id_ in ids} == {expected}


def test_stats_are_watched_live(one_database_url):
    """What changes is seen in the same place, until Ctrl-C, which ends it well."""
    migrate(one_database_url)
    with Client(one_database_url) as client:
        watched = terminal(one_database_url, "stats", "--watch")
        watched.expect("no runs wait")
        client.submit("live.v1", {})
        watched.expect("live.v1 +1 ")
        # Drawn over the line before, not below it.
        watched.expect("\x1b\\[1A")
        watched.sendintr()
        watched.expect(pexpect.EOF)
        watched.close()
        assert watched.exitstatus == 0
        assert "Traceback" not in watched.before


def test_a_terminal_that_cannot_redraw_is_told_so():
    """As in an editor's shell, where a watch would show nothing at all."""
    dumb = terminal("memory://", "stats", "--watch", kind="dumb")
    dumb.expect("Error: --watch needs a terminal that can redraw")
    dumb.expect(pexpect.EOF)
    dumb.close()
    assert dumb.exitstatus == 2


def test_a_database_that_is_away_is_told_in_one_line():
    """Of a watch, too: it does not hide it."""
    away = terminal("postgresql://anna:s3cret@127.0.0.1:1/shop", "stats", "--watch")
    away.expect("Error: the database .* is unavailable")
    away.expect(pexpect.EOF)
    away.close()
    assert away.exitstatus == 1
