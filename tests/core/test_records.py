"""What a producer may give, and what records answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from samples import A_RUN_ID, a_claim

from simpleworkflow.core.errors import IllegalTransition, NotStorable, UsageError
from simpleworkflow.core.events import PollFailed, RunSettled, WorkerInfo, log_fields
from simpleworkflow.core.records import (
    NewRun,
    Run,
    Settled,
    Settlement,
    Verdict,
    new_run,
    with_headers,
)
from simpleworkflow.core.states import Move, Status

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def a_new_run(**fields: Any) -> NewRun:
    values: dict[str, Any] = {"id": A_RUN_ID, "type": "media.thumb.v1", "payload": {}}
    return new_run(**values | fields)


def a_run(**fields: Any) -> Run:
    values = dict.fromkeys(field.name for field in attrs.fields(Run)) | {
        "id": A_RUN_ID,
        "status": Status.PENDING,
        "payload_json": '{"n":1}',
    }
    return Run(**values | fields)


def test_a_new_run_has_the_defaults_of_the_tables() -> None:
    """Priority 100, three attempts, at once."""
    run = a_new_run()

    assert (run.priority, run.max_attempts, run.run_at) == (100, 3, None)
    assert (run.delay, run.idempotency_key, run.headers_json) == (timedelta(0), None, None)
    assert run.payload_json == "{}"


def test_a_new_run_keeps_what_was_given() -> None:
    """An instant of any zone is the same instant in UTC; a number is seconds."""
    zone = timezone(timedelta(hours=5, minutes=30))
    run = a_new_run(
        payload=[1, None],
        priority=-5,
        run_at=NOON.astimezone(zone),
        max_attempts=1,
        idempotency_key="order-7",
        headers={"trace": "abc"},
    )

    assert (run.id, run.payload_json, run.priority) == (A_RUN_ID, "[1,null]", -5)
    assert (run.run_at, run.max_attempts) == (NOON, 1)
    assert run.run_at is not None
    assert run.run_at.tzinfo is UTC
    assert (run.idempotency_key, run.headers_json) == ("order-7", '{"trace":"abc"}')
    assert a_new_run(delay=1.5).delay == timedelta(seconds=1.5)
    assert a_new_run(idempotency_key="k", key_scope=60).key_scope == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", ""),
        ("type", "a.%"),
        ("priority", 1.5),
        ("priority", True),
        ("priority", 2**31),
        ("max_attempts", 0),
        ("run_at", datetime(2030, 1, 1)),
        ("run_at", "tomorrow"),
        ("key_scope", "active"),
        ("delay", -1),
        ("delay", timedelta(days=40_000)),
        ("idempotency_key", ""),
        ("idempotency_key", 7),
        ("headers", [("a", 1)]),
    ],
)
def test_what_no_store_could_hold_is_refused_by_name(name: str, value: Any) -> None:
    """Before anything is written, with the name of the argument in the message."""
    with pytest.raises(UsageError, match=name):
        a_new_run(**{name: value})


def test_an_instant_and_a_delay_are_not_both_taken() -> None:
    """One of them would be ignored."""
    with pytest.raises(UsageError, match="not both"):
        a_new_run(run_at=NOON, delay=5)


@pytest.mark.parametrize("name", ["payload", "headers"])
def test_values_that_json_cannot_hold_are_refused_with_their_path(name: str) -> None:
    """So that a producer finds the value in a large payload."""
    with pytest.raises(NotStorable, match=rf"{name}\['a'\] is nan"):
        a_new_run(**{name: {"a": float("nan")}})


def test_a_payload_and_its_headers_have_one_limit() -> None:
    """Counted together, in bytes of JSON."""
    fitting = a_new_run(payload="x" * 98, max_payload_bytes=100)
    both = a_new_run(payload="x" * 88, headers={"a": "é"}, max_payload_bytes=100)

    assert len(fitting.payload_json) == 100
    assert len((both.payload_json + str(both.headers_json)).encode()) == 100
    with pytest.raises(NotStorable, match=r"the payload takes 101 bytes.*max_payload_bytes=100"):
        a_new_run(payload="x" * 99, max_payload_bytes=100)
    with pytest.raises(NotStorable, match=r"the payload with its headers takes 101 bytes"):
        a_new_run(payload="x" * 89, headers={"a": "é"}, max_payload_bytes=100)


@pytest.mark.parametrize("headers", [None, {}, {"trace": "theirs"}, {"tenant": 7, "trace": None}])
def test_headers_are_added_beside_those_of_the_producer(headers: dict[str, Any] | None) -> None:
    """Which win, whatever they say; nothing else of the run is changed, nor the run itself."""
    run = a_new_run(headers=headers)
    before = attrs.asdict(run)
    more = with_headers(run, {"trace": "ours", "baggage": "é"})

    assert json.loads(str(more.headers_json)) == {
        "trace": "ours",
        "baggage": "é",
        **(headers or {}),
    }
    assert attrs.evolve(more, headers_json=run.headers_json) == run
    assert attrs.asdict(run) == before


def test_headers_that_json_cannot_hold_are_refused_when_they_are_added() -> None:
    """As those of the producer are."""
    with pytest.raises(NotStorable, match=r"headers\['a'\] is nan"):
        with_headers(a_new_run(), {"a": float("nan")})


def test_a_run_reads_its_json() -> None:
    """What is missing reads as nothing."""
    bare = a_run()
    full = a_run(result_json="[1]", headers_json='{"trace":"abc"}')

    assert (bare.payload, bare.result, bare.headers) == ({"n": 1}, None, {})
    assert (full.result, full.headers) == ([1], {"trace": "abc"})


def test_headers_that_another_program_wrote_as_no_object_read_as_none() -> None:
    """They must not cost a worker the run."""
    assert a_claim(headers_json="[1]").headers == {}
    assert a_claim(headers_json='{"trace":"abc"}').headers == {"trace": "abc"}


@pytest.mark.parametrize(
    ("move", "status"),
    [
        (Move.SUCCEED, Status.SUCCEEDED),
        (Move.FAIL, Status.FAILED),
        (Move.RETRY, Status.PENDING),
        (Move.RELEASE, Status.PENDING),
    ],
)
def test_a_settlement_says_where_its_move_leads(move: Move, status: Status) -> None:
    """By the transition table, from leased."""
    assert Settlement(a_claim(), move, 0).status is status


def test_a_settlement_with_an_illegal_move_leads_nowhere() -> None:
    """A leased run cannot be claimed."""
    with pytest.raises(IllegalTransition):
        _ = Settlement(a_claim(), Move.CLAIM, 0).status


def test_records_are_frozen() -> None:
    """What crossed a seam never changes."""
    settlement = Settlement(a_claim(), Move.SUCCEED, 0)
    for record, name in (
        (a_claim(), "fence"),
        (settlement, "attempt"),
        (Settled(Verdict.LOST), "verdict"),
        (a_new_run(), "id"),
    ):
        # Of a frozen record of attrs it is a kind of that, too.
        with pytest.raises(AttributeError):
            setattr(record, name, "other")


def test_what_observers_are_told_is_a_value() -> None:
    """Two records of the same happening are equal."""
    settlement = Settlement(a_claim(), Move.SUCCEED, 0)
    error = OSError()
    worker = WorkerInfo("an id", "w", 1)

    assert RunSettled(settlement, Verdict.APPLIED) == RunSettled(settlement, Verdict.APPLIED)
    assert PollFailed(worker, error, 1) != PollFailed(worker, error, 2)


def test_a_line_of_the_log_tells_which_attempt_it_is_about() -> None:
    """And how long its executor ran, in seconds, where it did."""
    claim = a_claim()
    fields = {
        "run_id": claim.run_id,
        "type": claim.type,
        "attempt": claim.attempt,
        "worker_id": claim.worker_id,
    }

    assert log_fields(claim) == {**fields, "duration": None}
    assert log_fields(claim, timedelta(seconds=1.5)) == {**fields, "duration": 1.5}
