"""What holds of every store whatever many threads do to it at once, in whichever order.

No run is held twice, none is lost, fences only grow, and a run that has ended never moves, unless
an operator has a failed one tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from random import Random
from uuid import UUID, uuid4

import attrs
import pytest
from histories import walk
from pgbouncer import PgBouncer
from schemas import Schemas
from servers import Server

from simpleworkflow.backends.registry import open_store
from simpleworkflow.core.decide import decide
from simpleworkflow.core.records import (
    Claim,
    Crashed,
    Extension,
    Failed,
    Hold,
    NewRun,
    Outcome,
    Released,
    Settlement,
    Succeeded,
    Verdict,
    new_run,
)
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import TERMINAL, Status
from simpleworkflow.core.store import RunAdmin, Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import together

THREADS = 6
STEPS = 40
RUNS = 30
LEASE = timedelta(seconds=30)
EVERYTHING = Route.of(["%"])
OUTCOMES: list[Outcome] = [
    Succeeded('"done"'),
    Failed("boom"),
    Failed("no use", is_permanent=True),
    Released(),
]


@pytest.fixture(params=["memory", "psycopg", "pg8000", "psycopg behind pgbouncer"])
def url(request: pytest.FixtureRequest) -> str:
    """A URL without any runs, of each backend in turn."""
    if request.param == "memory":
        return f"memory://{uuid4()}"
    schemas: Schemas = request.getfixturevalue("schemas")
    server: Server = request.getfixturevalue("one_server")
    url = schemas.empty(server)
    if request.param == "pg8000":
        pytest.importorskip("pg8000")
        return url.replace("postgresql://", "postgresql+pg8000://", 1)
    if request.param == "psycopg":
        return url
    pooler_of: Callable[[Server], PgBouncer] = request.getfixturevalue("pooler_of")
    return pooler_of(server).lead(url)


@pytest.fixture
def clock() -> FakeClock:
    """One time for all threads, which any of them moves."""
    return FakeClock()


@pytest.fixture
def handles(url: str, clock: FakeClock) -> Iterator[list[Store]]:
    """Two handles onto the same runs; each serves half of the threads."""
    with closing(open_store(url, clock=clock)) as one, closing(open_store(url, clock=clock)) as two:
        yield [one, two]


@attrs.define
class Witness:
    """A thread that does random things to a store, and remembers what it was told.

    Args:
        name: what it calls itself as a worker.
        store: where it works.
        clock: the time, which it moves.
        rng: what it does next.
        runs: what all threads may submit.
    """

    name: str
    store: Store
    clock: FakeClock
    rng: Random
    runs: list[NewRun]
    created: list[str] = attrs.field(factory=list)
    claims: list[Claim] = attrs.field(factory=list)
    sent: list[Settlement] = attrs.field(factory=list)
    applied: list[Settlement] = attrs.field(factory=list)
    ended: list[tuple[str, Status]] = attrs.field(factory=list)
    fences: dict[str, int] = attrs.field(factory=dict)
    lost: set[Claim] = attrs.field(factory=set)

    def act(self) -> None:
        """Take all steps."""
        steps = [
            self.submit, self.claim, self.claim, self.settle, self.settle, self.settle_again,
            self.extend, self.rescue, self.cancel, self.retry, self.look, self.look, self.pass_time,
        ]  # fmt: skip
        for _ in range(STEPS):
            self.rng.choice(steps)()

    def submit(self) -> None:
        """Create some runs, which others may create at this moment."""
        answers = self.store.submit(self.rng.sample(self.runs, 3))
        self.created += [answer.id for answer in answers if answer.created]

    def claim(self) -> None:
        """Lease some runs."""
        self.claims += self.store.claim(EVERYTHING, self.rng.randint(1, 4), self.name, LEASE)

    def rescue(self) -> None:
        """Take over some runs, and settle half of them as crashed."""
        rescued = self.store.rescue(EVERYTHING, 4, self.name, LEASE)
        self.claims += [r.claim for r in rescued]
        self.send([decided(r.claim, Crashed(r.lost_by), self.rng) for r in rescued[::2]])

    def settle(self) -> None:
        """Settle runs that it holds, or held."""
        chosen = self.some(self.claims, 3)
        self.send([decided(claim, self.rng.choice(OUTCOMES), self.rng) for claim in chosen])

    def settle_again(self) -> None:
        """Repeat settlements, as when a reply was lost."""
        self.send(self.some(self.sent, 3))

    def send(self, settlements: list[Settlement]) -> None:
        """Settle, and remember what was done."""
        for settlement, answer in zip(settlements, self.store.settle(settlements), strict=True):
            self.sent.append(settlement)
            if answer.verdict is Verdict.APPLIED:
                self.applied.append(settlement)

    def extend(self) -> None:
        """Renew leases, and see that what was lost stays lost."""
        chosen = self.some(self.claims, 3)
        holds = self.store.extend([Extension(claim, LEASE) for claim in chosen])
        for claim, hold in zip(chosen, holds, strict=True):
            assert not (hold is Hold.KEPT and claim in self.lost), f"held again: {claim}"
            if hold is Hold.LOST:
                self.lost.add(claim)

    def cancel(self) -> None:
        """Cancel a run."""
        [run] = self.some(self.runs, 1)
        [status] = self.store.cancel([run.id])
        if status is not None:
            self.ended.append((run.id, status))

    def retry(self) -> None:
        """Have some runs tried again, as an operator does."""
        assert isinstance(self.store, RunAdmin)
        for answer in self.store.retry([run.id for run in self.some(self.runs, 5)]):
            assert answer.done <= (answer.status is Status.PENDING)

    def look(self) -> None:
        """Read a run, and see that its fence has not shrunk."""
        run = self.store.get(self.rng.choice(self.runs).id)
        if run is not None:
            assert run.fence >= self.fences.get(run.id, 0), f"an older fence: {run}"
            self.fences[run.id] = run.fence
            if run.status in TERMINAL:
                self.ended.append((run.id, run.status))

    def pass_time(self) -> None:
        """Let leases run out and runs become due."""
        self.clock.advance(self.rng.choice([1, 10, 31, 90]))

    def some(self, items: list, count: int) -> list:
        """Choose up to so many different ones, late ones more often."""
        late = items[-2 * count :] if self.rng.random() < 0.7 else items
        return self.rng.sample(late, min(count, len(late)))


def decided(claim: Claim, outcome: Outcome, rng: Random) -> Settlement:
    """What every worker would write of this outcome."""
    return decide(claim, outcome, RetryPolicy(), rng)


@pytest.mark.parametrize("seed", range(3))
def test_threads_break_no_promise(handles: list[Store], clock: FakeClock, seed: int) -> None:
    """What the threads were told, what the runs show and what their histories tell agree."""
    rng = Random(seed)
    runs = [
        new_run(
            str(UUID(int=rng.getrandbits(128), version=4)),
            f"type.{n % 3}",
            {"n": n},
            priority=n % 2,
            max_attempts=3,
            idempotency_key=f"key-{n % 20}" if n % 5 else None,
        )
        for n in range(RUNS)
    ]
    witnesses = [
        Witness(f"worker-{n % 2}", handles[n % 2], clock, Random(f"{seed}-{n}"), runs)
        for n in range(THREADS)
    ]
    together([witness.act for witness in witnesses])
    last = Witness("worker-last", handles[0], clock, rng, runs)
    finish(last)
    check([*witnesses, last], handles[1])


def finish(witness: Witness) -> None:
    """Execute whatever is left, until nothing is."""
    for _ in range(2 * RUNS):
        witness.clock.advance(3_600)
        rescued = witness.store.rescue(EVERYTHING, RUNS, witness.name, LEASE)
        claims = witness.store.claim(EVERYTHING, RUNS, witness.name, LEASE)
        if not rescued and not claims:
            return
        witness.claims += [*(r.claim for r in rescued), *claims]
        witness.send([decided(claim, OUTCOMES[0], witness.rng) for claim in claims])
        witness.send([decided(r.claim, Crashed(r.lost_by), witness.rng) for r in rescued])
    raise AssertionError("there is always something left to do")


def check(witnesses: list[Witness], store: Store) -> None:
    """See that nothing was promised that does not hold."""
    created = [id_ for witness in witnesses for id_ in witness.created]
    assert len(created) == len(set(created)), "created twice"
    known = {id_: store.get(id_) for id_ in created}
    assert all(run and run.status in TERMINAL for run in known.values()), "some runs were lost"
    keys = [run.idempotency_key for run in known.values() if run and run.idempotency_key]
    assert len(keys) == len(set(keys)), "two runs with one key"

    ended = {fact for w in witnesses for fact in w.ended if fact[1] is not Status.FAILED}
    assert ended <= {(run.id, run.status) for run in known.values() if run}, "it ended, and moved"

    leased, settled = set(), set()
    for run in known.values():
        history = list(walk(run, store.events(run.id)))
        leased |= {(run.id, fence, worker) for fence, worker, _ in history if worker}
        settled |= {(run.id, fence, move) for fence, _, move in history if move}
    held = [(c.run_id, c.fence, c.worker_id) for witness in witnesses for c in witness.claims]
    assert len(held) == len(set(held)), "held twice"
    assert set(held) == leased, "who was told of a lease is not who got it"
    applied = {
        (s.claim.run_id, s.claim.fence, s.move) for witness in witnesses for s in witness.applied
    }
    assert applied == settled, "what was said to be written is not what was written"
