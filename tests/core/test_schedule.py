"""The schedule law: tables of instants written by hand, and the law of missed firings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count, islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from samples import A_RUN_ID, QUICK

from simpleworkflow.core.errors import InvalidSchedule
from simpleworkflow.core.schedule import (
    MAX_FIRINGS,
    MISSED_AFTER,
    CatchUp,
    DueSchedule,
    Schedule,
    check_cron,
    firing_key,
    next_fire,
    plan,
)

ZURICH, NEW_YORK, SANTIAGO = "Europe/Zurich", "America/New_York", "America/Santiago"
LORD_HOWE, KATHMANDU = "Australia/Lord_Howe", "Asia/Kathmandu"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def utc(text: str) -> datetime:
    """An instant written as `2026-03-29 01:00`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def firings(cron: str, zone: str, after: datetime, number: int) -> list[datetime]:
    """The next so many firings."""
    found = []
    for _ in range(number):
        after = next_fire(cron, zone, after)
        found.append(after)
    return found


# One row: the zone, the line, and its firings one after the other, in UTC. The first column of the
# comments is what the clock there shows.
FIRINGS: list[tuple[str, str, list[str]]] = [
    # Zurich leaves out 02:00 to 03:00 on 29 March 2026 and 28 March 2027.
    # 02:30, 03:00 (right after the gap), 02:30
    (ZURICH, "30 2 * * *", ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"]),
    (ZURICH, "30 2 * * *", ["2027-03-27 01:30", "2027-03-28 01:00", "2027-03-29 00:30"]),
    # 02:00 and 03:00, then 03:00 for both, then 02:00
    (
        ZURICH,
        "0 2,3 * * *",
        ["2026-03-28 01:00", "2026-03-28 02:00", "2026-03-29 01:00", "2026-03-30 00:00"],
    ),
    # 02:00, 02:30, nothing on the 29th, 02:00
    (ZURICH, "*/30 2 * * *", ["2026-03-28 01:00", "2026-03-28 01:30", "2026-03-30 00:00"]),
    # 01:00, 03:00, 04:00: an hour apart
    (ZURICH, "0 * * * *", ["2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00"]),
    # 00:00, 04:00: 02:00 is not shown
    (ZURICH, "0 */2 * * *", ["2027-03-27 23:00", "2027-03-28 02:00"]),
    # It shows 02:00 to 03:00 twice on 25 October 2026 and 31 October 2027.
    # 02:30 the first time, and 02:30 on the next day
    (ZURICH, "30 2 * * *", ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"]),
    (ZURICH, "30 2 * * *", ["2027-10-30 00:30", "2027-10-31 00:30", "2027-11-01 01:30"]),
    # 02:00, 02:30, 02:00, 02:30, and 02:00 on the next day
    (
        ZURICH,
        "*/30 2 * * *",
        [
            "2026-10-25 00:00",
            "2026-10-25 00:30",
            "2026-10-25 01:00",
            "2026-10-25 01:30",
            "2026-10-26 01:00",
        ],
    ),
    # 00:00, 02:00, 02:00, 04:00
    (
        ZURICH,
        "0 */2 * * *",
        ["2027-10-30 22:00", "2027-10-31 00:00", "2027-10-31 01:00", "2027-10-31 03:00"],
    ),
    # New York leaves out 02:00 to 03:00 on 8 March 2026 and 14 March 2027.
    (NEW_YORK, "30 2 * * *", ["2026-03-07 07:30", "2026-03-08 07:00", "2026-03-09 06:30"]),
    (NEW_YORK, "30 2 * * *", ["2027-03-13 07:30", "2027-03-14 07:00", "2027-03-15 06:30"]),
    # Sundays at 02:05, which on the 8th is 03:00
    (NEW_YORK, "5 2 * * 0", ["2026-03-01 07:05", "2026-03-08 07:00", "2026-03-15 06:05"]),
    # It shows 01:00 to 02:00 twice on 1 November 2026 and 7 November 2027.
    (NEW_YORK, "30 1 * * *", ["2026-10-31 05:30", "2026-11-01 05:30", "2026-11-02 06:30"]),
    (NEW_YORK, "30 1 * * *", ["2027-11-06 05:30", "2027-11-07 05:30", "2027-11-08 06:30"]),
    # 00:59, 01:00 and on, a minute apart for 61 minutes: see the test of the hour below
    (
        NEW_YORK,
        "*/20 1 * * *",
        [
            "2026-11-01 05:00",
            "2026-11-01 05:20",
            "2026-11-01 05:40",
            "2026-11-01 06:00",
            "2026-11-01 06:20",
            "2026-11-01 06:40",
            "2026-11-02 06:00",
        ],
    ),
    # Lord Howe leaves out half an hour, 02:00 to 02:30, on 4 October 2026 and 3 October 2027.
    # 02:15, 02:30, 02:15
    (LORD_HOWE, "15 2 * * *", ["2026-10-02 15:45", "2026-10-03 15:30", "2026-10-04 15:15"]),
    (LORD_HOWE, "15 2 * * *", ["2027-10-01 15:45", "2027-10-02 15:30", "2027-10-03 15:15"]),
    # 01:45, 02:30, 02:45, 03:00
    (
        LORD_HOWE,
        "*/15 * * * *",
        ["2026-10-03 15:15", "2026-10-03 15:30", "2026-10-03 15:45", "2026-10-03 16:00"],
    ),
    # All of the hour after it: 03:00, 03:10, 03:20, 03:30
    (
        LORD_HOWE,
        "*/10 3 * * *",
        ["2026-10-03 16:00", "2026-10-03 16:10", "2026-10-03 16:20", "2026-10-03 16:30"],
    ),
    # It shows 01:30 to 02:00 twice on 5 April 2026 and 4 April 2027.
    # 01:45 the first time, 01:45 on the next day
    (LORD_HOWE, "45 1 * * *", ["2026-04-03 14:45", "2026-04-04 14:45", "2026-04-05 15:15"]),
    (LORD_HOWE, "45 1 * * *", ["2027-04-02 14:45", "2027-04-03 14:45", "2027-04-04 15:15"]),
    # 01:15, 01:30, 01:45, 01:30, 01:45, 02:00
    (
        LORD_HOWE,
        "*/15 * * * *",
        [
            "2026-04-04 14:15",
            "2026-04-04 14:30",
            "2026-04-04 14:45",
            "2026-04-04 15:00",
            "2026-04-04 15:15",
            "2026-04-04 15:30",
        ],
    ),
    # Santiago leaves out midnight to 01:00 on 6 September 2026 and 5 September 2027.
    # 00:00, 01:00, 00:00
    (SANTIAGO, "0 0 * * *", ["2026-09-05 04:00", "2026-09-06 04:00", "2026-09-07 03:00"]),
    (SANTIAGO, "0 0 * * *", ["2027-09-04 04:00", "2027-09-05 04:00", "2027-09-06 03:00"]),
    # Still the sixth of the month
    (SANTIAGO, "0 0 6 9 *", ["2026-09-06 04:00", "2027-09-06 03:00"]),
    # It shows 23:00 to midnight twice on 4 April 2026 and 3 April 2027.
    (SANTIAGO, "30 23 * * *", ["2026-04-04 02:30", "2026-04-05 02:30", "2026-04-06 03:30"]),
    (SANTIAGO, "30 23 * * *", ["2027-04-03 02:30", "2027-04-04 02:30", "2027-04-05 03:30"]),
    # 23:00, 23:30, 23:00, 23:30, 00:00
    (
        SANTIAGO,
        "*/30 * * * *",
        [
            "2026-04-05 02:00",
            "2026-04-05 02:30",
            "2026-04-05 03:00",
            "2026-04-05 03:30",
            "2026-04-05 04:00",
        ],
    ),
    # Midnight after the hour that comes twice
    (SANTIAGO, "0 0 * * *", ["2027-04-03 03:00", "2027-04-04 04:00", "2027-04-05 04:00"]),
    # Kathmandu never changes its clock, which is 5:45 ahead.
    (KATHMANDU, "0 9 * * 1", ["2026-03-23 03:15", "2026-03-30 03:15", "2026-04-06 03:15"]),
    (KATHMANDU, "30 2 * * *", ["2027-03-27 20:45", "2027-03-28 20:45", "2027-03-29 20:45"]),
    (KATHMANDU, "*/30 * * * *", ["2026-10-25 00:15", "2026-10-25 00:45", "2026-10-25 01:15"]),
    # UTC, and what cron means by days
    ("UTC", "0 9 * * 1-5", ["2026-06-05 09:00", "2026-06-08 09:00"]),
    ("UTC", "0 0 13 * fri", ["2026-02-06 00:00", "2026-02-13 00:00", "2026-02-20 00:00"]),
    ("UTC", "0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
    ("UTC", "59 23 31 12 *", ["2026-12-31 23:59", "2027-12-31 23:59"]),
]


@pytest.mark.parametrize(("zone", "cron", "expected"), FIRINGS)
def test_firings_by_hand(zone: str, cron: str, expected: list[str]) -> None:
    """From a minute before the first, one after the other, and from each on its own."""
    instants = [utc(text) for text in expected]

    assert firings(cron, zone, instants[0] - MINUTE, len(instants)) == instants


@pytest.mark.parametrize(("zone", "cron", "expected"), FIRINGS)
def test_a_firing_is_the_next_from_any_instant_before_it(
    zone: str, cron: str, expected: list[str]
) -> None:
    """From the one before it on, to the last microsecond: also from within a gap or a repeat."""
    instants = [utc(text) for text in expected]
    for before, at in pairwise(instants):
        step = (at - before) / 50
        for n in range(50):
            assert next_fire(cron, zone, before + n * step) == at
        assert next_fire(cron, zone, at - timedelta(microseconds=1)) == at


CHANGES = [
    (zone, utc(text))
    for zone, text in [
        (ZURICH, "2026-03-29 01:00"),
        (ZURICH, "2027-10-31 01:00"),
        (NEW_YORK, "2027-03-14 07:00"),
        (NEW_YORK, "2026-11-01 06:00"),
        (LORD_HOWE, "2026-10-03 15:30"),
        (LORD_HOWE, "2027-04-03 15:00"),
        (SANTIAGO, "2027-09-05 04:00"),
        (SANTIAGO, "2026-04-05 03:00"),
        (KATHMANDU, "2026-03-29 01:00"),
    ]
]


@given(
    st.sampled_from(CHANGES),
    st.sampled_from([1, 7, 10, 15, 30]),
    st.sets(st.integers(0, 23), min_size=1),
    st.integers(-240, 240),
)
@example((LORD_HOWE, utc("2026-10-03 15:30")), 10, {3}, -10)
@QUICK
def test_a_line_with_a_star_fires_whenever_the_clock_shows_it(
    change: tuple[str, datetime], step: int, hours: set[int], minutes: int
) -> None:
    """Around every change, as a look at the clock in each minute would have it."""
    zone, at = change
    after = at + minutes * MINUTE

    def is_shown(instant: datetime) -> bool:
        clock = instant.astimezone(ZoneInfo(zone))
        return clock.minute % step == 0 and clock.hour in hours

    looks = (after + n * MINUTE for n in count(1))
    cron = f"*/{step} {','.join(map(str, hours))} * * *"

    assert firings(cron, zone, after, 5) == list(islice(filter(is_shown, looks), 5))


@pytest.mark.parametrize(
    ("cron", "timezone", "says"),
    [
        ("0 9 * *", "UTC", "five fields"),
        ("0 0 9 * * 1", "UTC", "five fields"),
        ("@daily", "UTC", "five fields"),
        ("", "UTC", "five fields"),
        (None, "UTC", "five fields"),
        (9, "UTC", "five fields"),
        ("1," * 100 + "1 * * * *", "UTC", "200 characters"),
        ("0 0 30 2 *", "UTC", "never fires: bad day-of-month"),
        ("0 0 31 4,6,9,11 *", "Europe/Zurich", "never fires: bad day-of-month"),
        ("60 * * * *", "UTC", "cannot be read or never fires: bad minute"),
        ("x * * * *", "UTC", "bad minute"),
        ("0 24 * * *", "UTC", "bad hour"),
        ("0 0 * * 8", "UTC", "bad day-of-week"),
        ("0 0 * 2 mon#6", "UTC", "bad day-of-week"),
        ("0 0 * 13 *", "UTC", "bad month"),
        ("*/0 * * * *", "UTC", "bad minute"),
        ("\0 * * * *", "UTC", "bad minute"),
        ("0 9 * * 1", "Mars/Olympus", "is no zone that this machine knows"),
        ("0 9 * * 1", "Europe", "is no zone"),
        ("0 9 * * 1", "localtime", "is another zone on another machine"),
        ("0 9 * * 1", "posixrules", "is another zone on another machine"),
        ("0 9 * * 1", "", "is no zone"),
        ("0 9 * * 1", "../../etc/passwd", "is no zone"),
        ("0 9 * * 1", "\0", "is no zone"),
        ("0 9 * * 1", "x" * 5_000, "is no zone"),
        ("0 9 * * 1", None, "is no zone"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(cron: Any, timezone: Any, says: str) -> None:
    """What it is, and what would do."""
    with pytest.raises(InvalidSchedule, match=says) as told:
        next_fire(cron, timezone, NOON)

    assert "\n" not in str(told.value)


@pytest.mark.parametrize("cron", ["0 0 29 2 *", "*/5 0 29 2 *"])
def test_a_line_that_fires_no_more_is_said_so(cron: str) -> None:
    """At the end of all years there is no other."""
    for year in (9998, 9999):
        with pytest.raises(InvalidSchedule, match="never fires within 50 years"):
            next_fire(cron, ZURICH, datetime(year, 12, 31, 22, 58, tzinfo=UTC))


@pytest.mark.parametrize("cron", ["0 0 29 2 mon#5", "*/5 0 29 2 mon#5"])
def test_a_rare_line_is_found_and_an_impossible_one_is_not(cron: str) -> None:
    """With both days given, one beginning with a star means both of them."""
    assert next_fire(cron, "UTC", NOON).month == 2
    with pytest.raises(InvalidSchedule, match="never fires within 50 years"):
        # No February has a fifth Monday before its 29th.
        next_fire(cron.replace("29", "*/40").replace("mon#5", "2#5"), "UTC", NOON)


@given(
    st.lists(
        st.text(st.sampled_from("0123456789*,-/#LWmonTUE")) | st.just("*"), min_size=5, max_size=5
    )
)
@QUICK
def test_any_text_is_read_or_refused(fields: list[str]) -> None:
    """Nothing else comes of it."""
    try:
        found = next_fire(" ".join(fields), ZURICH, NOON)
    except InvalidSchedule:
        return
    assert found > NOON


def test_a_line_is_kept_with_single_spaces() -> None:
    """However it was typed."""
    assert check_cron("  0 9\t*  *\n1 ") == "0 9 * * 1"


def test_the_key_of_a_firing_names_its_second() -> None:
    """The same for every program that shares the tables; a fraction of a second does not count."""
    assert firing_key(A_RUN_ID, NOON) == f"schedule:{A_RUN_ID}:1780315200"
    assert firing_key("s", NOON + timedelta(seconds=1.9)) == "schedule:s:1780315201"
    assert firing_key("s", datetime(1969, 12, 31, 23, 59, 58, 1, tzinfo=UTC)) == "schedule:s:-2"


def due(catch_up: str, cron: str = "0 12 * * *", at: datetime = NOON) -> DueSchedule:
    """A schedule that was next at noon."""
    return DueSchedule(A_RUN_ID, cron, "UTC", catch_up, at)


EVERY_RULE = [each.value for each in CatchUp]


@pytest.mark.parametrize("catch_up", EVERY_RULE)
@pytest.mark.parametrize("late", [timedelta(0), MISSED_AFTER - timedelta(microseconds=1)])
def test_who_is_in_time_fires_once(catch_up: str, late: timedelta) -> None:
    """Under each rule; then comes the firing of the next day."""
    firing = plan(due(catch_up), NOON + late)

    assert (firing.instants, firing.next_run_at) == ((NOON,), NOON + DAY)


@pytest.mark.parametrize(
    ("catch_up", "instants"),
    [("latest", (NOON + 3 * DAY,)), ("all", tuple(NOON + n * DAY for n in range(4))), ("none", ())],
)
def test_what_was_missed_is_made_up_for_by_the_rule(
    catch_up: str, instants: tuple[datetime, ...]
) -> None:
    """Nobody was there for three days and an hour."""
    firing = plan(due(catch_up), NOON + 3 * DAY + timedelta(hours=1))

    assert (firing.instants, firing.next_run_at) == (instants, NOON + 4 * DAY)


def test_a_minute_late_is_missed() -> None:
    """And no firing can be due beside one that is not missed, whatever the line."""
    assert plan(due("none"), NOON + MISSED_AFTER).instants == ()
    every_minute = plan(due("none", "* * * * *"), NOON + 10 * MINUTE)
    assert (every_minute.instants, every_minute.next_run_at) == (
        (NOON + 10 * MINUTE,),
        NOON + 11 * MINUTE,
    )


def test_all_comes_in_portions() -> None:
    """The next tick goes on where this one stopped."""
    first = plan(due("all", "* * * * *"), NOON + DAY)
    rest = plan(attrs.evolve(first.schedule, next_run_at=first.next_run_at), NOON + DAY)

    assert len(first.instants) == MAX_FIRINGS
    assert first.next_run_at == rest.instants[0] == NOON + MAX_FIRINGS * MINUTE


@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "0 */5 * * *", "30 2 * * *", "0 0 * * 1"]),
    st.timedeltas(timedelta(0), timedelta(days=20)),
    st.timedeltas(timedelta(0), timedelta(minutes=2)),
)
@QUICK
def test_the_latest_is_the_last_of_all(cron: str, late: timedelta, odd: timedelta) -> None:
    """Found by halves, it is what counting would find; also from a time that is no firing."""
    start, now = NOON + odd, NOON + odd + late
    counted = start
    while (following := next_fire(cron, ZURICH, counted)) <= now:
        counted = following

    firing = plan(attrs.evolve(due("latest", cron, start), timezone=ZURICH), now)

    assert (firing.instants, firing.next_run_at) == ((counted,), following)


@pytest.mark.parametrize("catch_up", ["some", "", None, "ALL"])
def test_an_unknown_rule_is_refused(catch_up: Any) -> None:
    """By a sentence that names the known ones."""
    with pytest.raises(InvalidSchedule, match="must be one of 'latest', 'all', 'none'"):
        plan(due(catch_up), NOON)


def a_schedule(**fields: Any) -> Schedule:
    """A schedule as a store holds it."""
    values: dict[str, Any] = {
        "id": A_RUN_ID,
        "type": "report.daily.v1",
        "payload_json": '{"n": 1}',
        "cron": "0 9 * * 1",
        "timezone": ZURICH,
        "next_run_at": NOON,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return Schedule(**values | fields)


def test_a_schedule_shows_its_values() -> None:
    """JSON is read when it is asked for."""
    assert a_schedule().payload == {"n": 1}
    assert a_schedule().headers == {}
    assert a_schedule(headers_json='{"trace": "t"}').headers == {"trace": "t"}


def test_a_schedule_tells_why_it_cannot_fire() -> None:
    """What another program wrote may be anything."""
    assert a_schedule().problem is None
    assert "five fields" in str(a_schedule(cron="@daily").problem)
    assert "is no zone" in str(a_schedule(timezone="Local").problem)
    assert "must be one of" in str(a_schedule(catch_up="some").problem)
