"""The transition table, examined entry by entry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import QUICK

from simpleworkflow.core.errors import IllegalTransition
from simpleworkflow.core.states import (
    EVENT_OF,
    TERMINAL,
    TRANSITIONS,
    EventType,
    Move,
    Status,
    is_legal,
    next_status,
    sources,
)

EXPECTED = {
    "pending --claim--> leased",
    "pending --cancel--> cancelled",
    "leased --extend--> leased",
    "leased --rescue--> leased",
    "leased --succeed--> succeeded",
    "leased --retry--> pending",
    "leased --fail--> failed",
    "leased --release--> pending",
    "leased --cancel--> cancelled",
    "failed --revive--> pending",
}


def test_the_table_is_what_the_documentation_says() -> None:
    """No entry is missing and none is extra."""
    drawn = {f"{before} --{move}--> {after}" for (before, move), after in TRANSITIONS.items()}

    assert drawn == EXPECTED


@pytest.mark.parametrize("move", Move)
@pytest.mark.parametrize("status", Status)
def test_a_missing_entry_is_an_illegal_transition(status: Status, move: Move) -> None:
    """Every pair either has its entry or is refused by name."""
    if (status, move) in TRANSITIONS:
        assert is_legal(status, move)
        assert next_status(status, move) is TRANSITIONS[status, move]
    else:
        assert not is_legal(status, move)
        with pytest.raises(IllegalTransition, match=f"{status} cannot {move}"):
            next_status(status, move)


def test_three_statuses_are_terminal() -> None:
    """Of succeeded, failed and cancelled, only an operator's move leads out of failed."""
    assert {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED} == TERMINAL
    assert {key for key in TRANSITIONS if key[0] in TERMINAL} == {(Status.FAILED, Move.REVIVE)}


@given(st.lists(st.sampled_from(sorted(set(Move) - {Move.REVIVE})), max_size=12))
@QUICK
def test_no_worker_leads_a_run_out_of_a_terminal_status(moves: list[Move]) -> None:
    """Whatever workers try in whatever order, the first end is the last."""
    status = Status.PENDING
    for move in moves:
        if status in TERMINAL:
            assert not is_legal(status, move)
        elif is_legal(status, move):
            status = next_status(status, move)


@pytest.mark.parametrize("move", Move)
def test_sources_are_the_statuses_with_an_entry(move: Move) -> None:
    """`sources` and the table say the same."""
    assert sources(move) == {status for status in Status if is_legal(status, move)}
    assert sources(move), "a move that is legal nowhere is no move"


def test_every_move_but_a_lease_renewal_has_an_event() -> None:
    """History can name every move: by the event, and by the status before it."""
    assert set(EVENT_OF) == set(Move) - {Move.EXTEND}
    named = [(status, EVENT_OF[move]) for status, move in TRANSITIONS if move in EVENT_OF]
    assert len(set(named)) == len(named)
    assert set(EventType) - set(EVENT_OF.values()) == {EventType.CREATED, EventType.DISCARDED}
