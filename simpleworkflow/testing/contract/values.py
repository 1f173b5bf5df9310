"""Laws about what a run may hold: JSON, text, instants and ids come back as they were."""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import attrs
import pytest

from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.records import new_run
from simpleworkflow.core.storable import DEFAULT_ERROR_CHARS, MAX_KEY_BYTES, MAX_TYPE_BYTES
from simpleworkflow.core.store import Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    A_TYPE,
    TICK,
    Examination,
    claim,
    claim_one,
    events,
    failed,
    get,
    rescue,
    retried,
    settle_one,
    submit,
    succeeded,
)

HOSTILE = {
    "quotes": "'; drop table run; -- \" ' `",
    "backslashes": "\\ \\\\ \\n \\u0000",
    "percent signs": "100 % of %s and %(name)s and %%",
    "placeholders": ":name ::text $1 {schema} {} ?",
    "control characters": "line\nbreak\ttab\r\x01\x7f",
    "other scripts": "\U0001f600 é e\u0301 \ud7ff\ue000\U0010ffff 日本",
    "spaces": "  spaces  ",
}
"""Texts that a careless statement would take for something else."""

JSON_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**63,
    10**40,
    1.5,
    -2.25e-7,
    1e22,
    0.1,
    "",
    [],
    {},
    [[], {}, [None]],
    {"": {"": ""}, "a": [1, {"b": None}], "é\U0001f600": "\U0010ffff"},
    {"text": list(HOSTILE.values())},
    dict.fromkeys(HOSTILE, 1),
    ["x" * 200_000],
]


def nested(depth: int) -> list[Any]:
    """Return lists in each other, so deep."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


every_json = pytest.mark.parametrize(
    "value", [*JSON_VALUES, nested(400)], ids=lambda value: ascii(value)[:20]
)
every_text = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


class ValueLaws(Examination):
    """What goes in comes out."""

    @every_json
    def test_payload_and_result_come_back_as_they_were(self, store: Store, value: Any) -> None:
        """Any JSON, to the producer, to the worker and to the reader."""
        run_id = submit(store, payload=value)
        claimed = claim_one(store)
        settle_one(store, succeeded(claimed, value))

        run = get(store, run_id)
        assert claimed.payload_json == run.payload_json
        assert run.payload == value
        assert type(run.payload) is type(value) or value == 1e22
        assert run.result == value

    def test_headers_come_back_as_they_were(self, store: Store) -> None:
        """To the reader and to the worker."""
        headers = {"traceparent": "00-abc", "n": 1, "deep": {"é": [None]}}

        run_id = submit(store, headers=headers)

        assert get(store, run_id).headers == headers
        assert claim_one(store).headers == headers

    @every_text
    def test_texts_are_taken_as_they_are(self, store: Store, clock: FakeClock, text: str) -> None:
        """Types, keys, worker ids and errors mean nothing to the store."""
        type_ = text.replace("%", "_")
        run_id = submit(store, type_, {"text": text}, idempotency_key=text)
        [claimed] = claim(store, type_, worker=text)
        assert (claimed.type, claimed.worker_id) == (type_, text)
        clock.advance(60)
        [rescued] = rescue(store, type_, worker=text + "2")
        assert rescued.lost_by == text
        settle_one(store, failed(rescued.claim, error=text))

        run = get(store, run_id)
        assert (run.type, run.idempotency_key, run.last_error) == (type_, text, text)
        assert events(store, run_id)[-1].data["error"] == text

    def test_the_longest_allowed_texts_are_held(self, store: Store) -> None:
        """A type, a key and an error at their limits, in characters that take the most room."""
        type_ = "\U0001f600" * (MAX_TYPE_BYTES // 4)
        key = "\U0001f600" * (MAX_KEY_BYTES // 4)
        error = "\U0001f600" * DEFAULT_ERROR_CHARS

        run_id = submit(store, type_, idempotency_key=key)
        settle_one(store, failed(claim_one(store), error))

        run = get(store, run_id)
        assert (run.type, run.idempotency_key, run.last_error) == (type_, key, error)

    def test_instants_are_kept_to_the_microsecond(self, store: Store, clock: FakeClock) -> None:
        """The clock's, the producer's, and those that the store works out."""
        clock.advance(0.123457)
        run_at = clock() - timedelta(days=1, microseconds=7)
        run_id = submit(store, run_at=run_at)
        claim_one(store, lease=timedelta(seconds=30, microseconds=1))

        run = get(store, run_id)

        assert run.created_at.microsecond == 123457
        assert run.run_at == run_at
        assert run.lease_until == clock() + timedelta(seconds=30, microseconds=1)

    @pytest.mark.parametrize("microseconds", [1, 999_999, 1_000_001, 86_399_999_999])
    def test_durations_are_kept_to_the_microsecond(
        self, store: Store, clock: FakeClock, microseconds: int
    ) -> None:
        """Delays of a submit and of a retry."""
        delay = timedelta(microseconds=microseconds)
        run_id = submit(store, delay=delay)
        assert get(store, run_id).run_at == clock() + delay
        clock.advance(delay)
        settle_one(store, retried(claim_one(store), delay))

        assert get(store, run_id).run_at == clock() + delay

    @pytest.mark.parametrize(
        "zone",
        [timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-12)), UTC],
        ids=str,
    )
    def test_an_instant_is_the_same_in_every_time_zone(
        self, store: Store, clock: FakeClock, zone: timezone
    ) -> None:
        """It is due at its instant, and is given back in UTC."""
        run_at = (clock() + timedelta(hours=1)).astimezone(zone)
        # Put in by hand, because `new_run` would already turn it into UTC.
        run = attrs.evolve(new_run(str(uuid4()), A_TYPE, {}), run_at=run_at)
        [run_id] = [answer.id for answer in store.submit([run])]

        assert get(store, run_id).run_at == run_at
        for instant in instants_of(store, run_id):
            assert instant.utcoffset() == timedelta(0)
        clock.advance(timedelta(hours=1) - TICK)
        assert claim(store) == []
        clock.advance(TICK)
        assert claim_one(store).run_id == run_id

    @pytest.mark.parametrize("year", [1000, 1900, 1970, 2038, 2100, 9000])
    def test_any_year_can_be_run_at(self, store: Store, year: int) -> None:
        """Long past and far off, summer or winter."""
        run_at = datetime(year, 7, 1, 12, 30, 0, 1, tzinfo=UTC)

        assert get(store, submit(store, run_at=run_at)).run_at == run_at

    def test_events_are_dated_in_utc(self, store: Store, clock: FakeClock) -> None:
        """To the microsecond, too."""
        clock.advance(0.000001)

        [event] = events(store, submit(store))

        assert event.created_at == clock()
        assert event.created_at.utcoffset() == timedelta(0)

    def test_a_run_is_found_by_its_id_in_any_spelling(self, store: Store) -> None:
        """Capitals are the same hexadecimal digits; ids are given back in small letters."""
        given = str(uuid4()).upper()
        [answer] = store.submit([attrs.evolve(new_run(given, A_TYPE, {}), id=given)])

        assert answer.id == given.lower()
        assert get(store, given).id == get(store, given.lower()).id == answer.id
        assert claim_one(store).run_id == answer.id

    @pytest.mark.parametrize("bad", ["", "order-7", "123", "00000000-0000-4000-8000-00000000000g"])
    def test_what_is_no_run_id_is_a_slip_of_the_caller(self, store: Store, bad: str) -> None:
        """A clear error, and not "there is no such run"."""
        with pytest.raises(UsageError):
            store.get(bad)
        with pytest.raises(UsageError):
            store.cancel([bad])
        with pytest.raises(UsageError):
            events(store, bad)

    @pytest.mark.parametrize(
        "payload_json", ['"\\u0000"', '{"a": "\\ud800"}', "NaN", "{", ""], ids=ascii
    )
    def test_json_that_cannot_be_held_is_refused(self, store: Store, payload_json: str) -> None:
        """As the caller's slip; the store itself is well."""
        run = attrs.evolve(new_run(str(uuid4()), A_TYPE, {}), payload_json=payload_json)

        with pytest.raises(UsageError):
            store.submit([run])

        assert store.get(run.id) is None
        assert submit(store)


def instants_of(store: Store, run_id: str) -> list[datetime]:
    """Every instant that a run shows."""
    run = get(store, run_id)
    return [run.run_at, run.created_at, run.updated_at]
