"""Reads a run's history by the transition table: what must hold of each, come what may."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simpleworkflow.core.records import Event, Run
from simpleworkflow.core.states import EVENT_OF, TRANSITIONS, EventType, Move, Status, next_status

MOVE_OF = {kind: move for move, kind in EVENT_OF.items() if move is not Move.REVIVE}
MOVES_FROM = {(status, EVENT_OF[m]): m for status, m in TRANSITIONS if m in EVENT_OF}


def walk(run: Run, events: Sequence[Event]) -> Iterator[tuple[int, str | None, Move | None]]:
    """See that a history is legal and ends as the run shows, and give its leases and settlements.

    Each is (fence, who leased it, None) or (fence, None, how it was settled).
    """
    assert events[0].type is EventType.CREATED
    status, fence, holder, is_discarded = Status.PENDING, 0, None, False
    for event in events[1:]:
        if event.type is EventType.DISCARDED:
            assert (status, is_discarded) == (Status.CANCELLED, False), events
            assert (event.data["fence"], event.data["worker_id"]) == (fence, holder), events
            is_discarded = True
            continue
        kind = EventType(event.type)
        move = MOVES_FROM.get((status, kind), MOVE_OF[kind])
        # An IllegalTransition here is a run that moved as none may.
        status = next_status(status, move)
        if move in (Move.CLAIM, Move.RESCUE):
            assert event.data["fence"] == fence + 1, events
            assert event.data.get("lost_by") == (holder if move is Move.RESCUE else None), events
            fence, holder = fence + 1, event.data["worker_id"]
            yield fence, holder, None
        elif move is Move.REVIVE:
            assert event.data.get("by") == "operator", events
            fence += 1
        elif move is not Move.CANCEL:
            assert (event.data["fence"], event.data["worker_id"]) == (fence, holder), events
            holder = None
            yield fence, None, move
    assert (run.status, run.fence) == (status, fence), events
