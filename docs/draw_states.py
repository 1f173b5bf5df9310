"""Draws docs/states.md from the transition table: `python docs/draw_states.py`."""

from __future__ import annotations

from pathlib import Path

from simpleworkflow.core.states import EVENT_OF, TERMINAL, TRANSITIONS, Move, Status, sources

DOCUMENT = Path(__file__).with_name("states.md")

MEANING = {
    Move.CLAIM: "a worker leases a due run",
    Move.EXTEND: "a heartbeat renews the lease",
    Move.RESCUE: "another worker takes over an expired lease",
    Move.SUCCEED: "the executor returned",
    Move.RETRY: "the attempt failed or its worker died, and another attempt is left",
    Move.FAIL: "the attempt failed or its worker died, and none is left or wanted",
    Move.RELEASE: "a worker gives back an unfinished run; no attempt is counted",
    Move.CANCEL: "somebody no longer wants it",
    Move.REVIVE: "an operator has it tried again, with all its attempts",
}


def document() -> str:
    """The whole of docs/states.md."""
    arrows = [
        f"    {status} --> {target}: {move}" for (status, move), target in TRANSITIONS.items()
    ]
    ends = [status for status in Status if status in TERMINAL]
    arrows += [f"    {status} --> [*]" for status in ends]
    return f"""# The states of a run

Drawn from the table in `simpleworkflow/core/states.py` by `python docs/draw_states.py`.
Edit the table, not this page.

```mermaid
stateDiagram-v2
    [*] --> {Status.PENDING}: submit
{chr(10).join(arrows)}
```

| move | from | to | event | when |
|---|---|---|---|---|
{chr(10).join(_row(move) for move in Move)}

No worker leads a run out of {_listed(ends)}: a run that stands there has ended.
`retried` after `failed` is an operator's, and says so in its data (`"by": "operator"`). An outcome
that arrives after a cancel is kept as the event `discarded`, and the run stays as it is.
"""


def _row(move: Move) -> str:
    origins = [status for status in Status if status in sources(move)]
    targets = {TRANSITIONS[status, move] for status in origins}
    event = f"`{EVENT_OF[move]}`" if move in EVENT_OF else "none"
    cells = [f"`{move}`", _listed(origins), _listed(sorted(targets)), event, MEANING[move]]
    return f"| {' | '.join(cells)} |"


def _listed(statuses: list[Status]) -> str:
    return ", ".join(f"`{status}`" for status in statuses)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
