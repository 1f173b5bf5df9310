"""What must hold after whatever happened: the promises of the library, checked run by run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from faults.facts import Fact
from histories import walk

from simpleworkflow.core.errors import IllegalTransition
from simpleworkflow.core.records import Run
from simpleworkflow.core.states import TERMINAL, Move, Status
from simpleworkflow.core.store import RunReader


def broken(runs: Collection[Run], store: RunReader, facts: Sequence[Fact]) -> Iterator[str]:
    """Say what does not hold of these runs, given what the producer and the workers wrote down.

    1. A run whose submit returned exists.
    2. Every run has ended.
    3. Under one fence a run is executed once.
    4. Every history is legal by the transition table and ends as the run shows.
    5. A run succeeds once, under its last fence, and as the worker was told.
    """
    known = {run.id for run in runs}
    promised = [fact.words[0] for fact in facts if fact.what == "submitted"]
    yield from _some("do not exist", [id_ for id_ in promised if id_ not in known])
    yield from _some("have not ended", [run.id for run in runs if run.status not in TERMINAL])
    begun = Counter(fact.words for fact in facts if fact.what == "effect")
    twice = [words for words, count in begun.items() if count > 1]
    yield from _some("were executed twice under one fence", twice)
    told = successes(facts)
    for run in runs:
        try:
            history = list(walk(run, store.events(run.id)))
        except (AssertionError, IllegalTransition) as exc:
            yield f"the history of {run.id} is not legal: {exc}"
            continue
        fences = [fence for fence, _, move in history if move is Move.SUCCEED]
        if fences != [run.fence] * (run.status is Status.SUCCEEDED):
            yield f"{run.id} is {run.status} and succeeded under the fences {fences}"
        if not told.get(run.id, set()) <= set(fences):
            yield f"{run.id} succeeded under {fences}, and workers were told {told[run.id]}"


def successes(facts: Sequence[Fact]) -> dict[str, set[int]]:
    """Return the fences under which workers were told that a run has succeeded."""
    told: dict[str, set[int]] = {}
    for fact in facts:
        if fact.what == "settled" and fact.words[2:] == (Move.SUCCEED, "applied"):
            told.setdefault(fact.words[0], set()).add(int(fact.words[1]))
    return told


def _some(problem: str, found: Sequence[object]) -> Iterator[str]:
    if found:
        yield f"{len(found)} runs {problem}, such as {found[0]}"
