"""The demo's runs as they stand: submitted, followed until each has ended, and told at the end."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from attrs import frozen

from simpleworkflow import Client, Event, Run, SimpleWorkflowError, Status
from simpleworkflow.cli.demo_work import KINDS, Kind, submissions

ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)
_OUTCOMES = ("succeeded", "retried", "failed", "discarded")
"""The events that end an attempt."""


class Board:
    """Submits the demo's runs and follows them."""

    def __init__(self, client: Client, runs: int) -> None:
        self._client = client
        planned = submissions(runs)
        answers = client.submit_many(arguments for _, arguments in planned)
        self._kind_of = {
            answer.id: kind for (kind, _), answer in zip(planned, answers, strict=True)
        }
        self._status_of = dict.fromkeys(self._kind_of, Status.PENDING)

    @property
    def open_ids(self) -> list[str]:
        """The ids of those that have not ended, as far as was seen."""
        return [id for id, status in self._status_of.items() if status not in ENDED]

    @property
    def ended(self) -> int:
        """How many have ended."""
        return len(self._status_of) - len(self.open_ids)

    def __len__(self) -> int:
        return len(self._status_of)

    def standings(self) -> dict[Kind, Counter[Status]]:
        """Return how many runs of each kind stand where."""
        found: dict[Kind, Counter[Status]] = {kind: Counter() for kind in KINDS}
        for id, status in self._status_of.items():
            found[self._kind_of[id]][status] += 1
        return found

    def look(self) -> None:
        """Look at every run that has not ended, and cancel the one that waits for it."""
        for id in self.open_ids:
            status = self._client.get(id).status
            self._status_of[id] = status
            if status is Status.LEASED and self._is_to_be_cancelled(id):
                self._client.cancel(id)

    def _is_to_be_cancelled(self, id: str) -> bool:
        # Not at once, so that it is seen at work.
        return self._kind_of[id].is_cancelled_at_work and 2 * self.ended >= len(self)

    def abandon(self) -> None:
        """Cancel what has not ended, as far as the store can be reached."""
        with contextlib.suppress(SimpleWorkflowError):
            for id in self.open_ids:
                self._client.cancel(id)

    def stories(self) -> list[Story]:
        """Return every run with its history, in the order they were submitted."""
        return [
            Story(kind, self._client.get(id), tuple(self._client.events(id)))
            for id, kind in self._kind_of.items()
        ]


@frozen
class Story:
    """A run as it ended, and its history."""

    kind: Kind
    run: Run
    events: tuple[Event, ...]

    @property
    def attempts(self) -> list[str]:
        """Who made each attempt, in order."""
        return [str(e.data.get("worker_id")) for e in self.events if e.type in _OUTCOMES]

    @property
    def is_as_planned(self) -> bool:
        """Whether it ended as its kind should, and its history agrees."""
        return self.run.status is self.kind.ends and any(
            event.type == self.kind.ends.value for event in self.events
        )

    def timed_events(self) -> Iterator[tuple[timedelta, Event]]:
        """Yield each event with the time since the first."""
        for event in self.events:
            yield event.created_at - self.events[0].created_at, event


@frozen
class Tally:
    """What happened to the runs of a kind."""

    kind: Kind
    submitted: int
    ended: Counter[Status]
    attempts_of: Counter[str]

    def as_row(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "type": self.kind.type,
            "submitted": self.submitted,
            **{status.value: self.ended[status] for status in ENDED},
            "attempts": self.attempts_of.total(),
            "attempts_by_worker": dict(self.attempts_of),
        }


def tallies(stories: list[Story]) -> list[Tally]:
    """Return what happened, by kind."""
    found = []
    for kind in KINDS:
        own = [story for story in stories if story.kind is kind]
        found.append(
            Tally(
                kind,
                len(own),
                Counter(story.run.status for story in own),
                Counter(worker for story in own for worker in story.attempts),
            )
        )
    return found
