"""Both PostgreSQL drivers do, step by step, what MemoryStore does under the same random programs.

`SIMPLEWORKFLOW_MODEL_EXAMPLES=2000` tries that many new programs; else they are always the same.
"""

from __future__ import annotations

import json
import os
from contextlib import closing
from datetime import timedelta
from random import Random
from uuid import UUID

import attrs
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)
from schemas import Schemas
from servers import Server

from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.backends.postgres.url import parse_url
from simpleworkflow.backends.registry import open_store
from simpleworkflow.core.admin import new_filter
from simpleworkflow.core.decide import decide
from simpleworkflow.core.records import (
    Claim,
    Crashed,
    Extension,
    Failed,
    Released,
    Succeeded,
    new_run,
)
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import TERMINAL, Status
from simpleworkflow.testing.clock import FakeClock

EXAMPLES = os.environ.get("SIMPLEWORKFLOW_MODEL_EXAMPLES")
PROFILE = settings(
    max_examples=int(EXAMPLES or 100),
    stateful_step_count=40,
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

TICK = timedelta(milliseconds=1)
UNKNOWN = "00000000-0000-4000-8000-000000000000"

OUTCOMES = {
    "succeeds": lambda _: Succeeded('{"done":1}'),
    "returns null": lambda _: Succeeded("null"),
    "fails": lambda _: Failed("boom"),
    "fails for good": lambda _: Failed("no use", is_permanent=True),
    "asks for a minute": lambda _: Failed("busy", retry_after=timedelta(minutes=1)),
    "crashes": lambda claim: Crashed(claim.worker_id),
    "is released": lambda _: Released(),
    "returns what no store can hold": lambda _: Succeeded('"\\u0000"'),
}

types = st.sampled_from(["a", "a.b", "a.b.c", "a-", "b_", "bX", "null"])
routes = st.sampled_from([["%"], ["%"], ["a%", "null"], ["a"], ["a.%"], ["b_"], ["a.b", "b%"]])
outcomes = st.sampled_from([*OUTCOMES, "is released", "fails"])
workers = st.sampled_from(["ann", "bob"])
delays = st.sampled_from([0, 0, 0, 5, 60])
leases = st.sampled_from([30, 5, 60, 300])
scopes = st.sampled_from(["forever", "active", 5, 60])


def _plain(claim):
    # JSON text has spaces or not, and the last digits of a float are the database's own.
    return claim._replace(
        payload_json=json.dumps(json.loads(claim.payload_json)),
        headers_json=json.dumps(claim.headers),
        waited=round(claim.waited, 3),
    )


def _held_by(store):
    """Every run by its id, as a dict with its history."""
    held = {}
    for run in store.runs(Route.of(["%"]), 1_000):
        held[run.id] = attrs.asdict(run) | {
            "payload_json": run.payload,
            "headers_json": run.headers,
            # A result that is null is not the same as none.
            "result_json": run.result_json and [run.result],
            "history": [(str(e.type), e.data, str(e.created_at)) for e in store.events(run.id)],
        }
    return held


def _difference(found, expected):
    """Every field of a run that is not as expected, one a line; empty when all are."""
    lines = []
    for id_ in sorted(found.keys() | expected.keys()):
        one, other = found.get(id_, {}), expected.get(id_, {})
        for name in one.keys() | other.keys():
            if one.get(name) != other.get(name):
                lines.append(f"run {id_}: {name} is {one.get(name)} instead of {other.get(name)}")
    return "\n".join(lines)


def _first(pair):
    return pair[0]


class TwoStores(RuleBasedStateMachine):
    """Whatever is done is done to both, and both must answer the same."""

    def __init__(self, real, clock, delete):
        super().__init__()
        self.clock = clock
        self.memory = MemoryStore(clock)
        self.real = real
        self._delete = delete
        self._ids = []
        self._sent = {}

    runs = Bundle("runs")
    claims = Bundle("claims")

    def both(self, ask):
        """Ask both stores and return the answer, which must be one."""
        # No two steps happen at one instant, so no two runs tie.
        self.clock.advance(TICK)
        answer, real_answer = ask(self.memory), ask(self.real)
        if real_answer != answer:
            raise AssertionError(f"answered {real_answer}\ninstead of {answer}")
        difference = _difference(_held_by(self.real), _held_by(self.memory))
        if difference:
            raise AssertionError(difference)
        return answer

    @rule(
        target=runs,
        type=types,
        priority=st.integers(0, 2),
        delay=delays,
        max_attempts=st.integers(1, 2),
        key=st.sampled_from([None, None, "null", "k"]),
        scope=scopes,
    )
    def submit(self, type, priority, delay, max_attempts, key, scope):
        """Submit one run, whose key may be taken."""
        return self._submit([self._new(type, priority, delay, max_attempts, key, scope)])

    @initialize(target=runs, types=st.lists(types, min_size=2, max_size=4))
    def begin(self, types):
        """Begin with runs that are due."""
        return self._submit([self._new(type, n, 0, 3, None) for n, type in enumerate(types)])

    @rule(
        target=runs,
        types=st.lists(types, min_size=2, max_size=4),
        key=st.sampled_from("kl"),
        scope=scopes,
        again=runs,
    )
    def submit_group(self, types, key, scope, again):
        """Submit several at once, two with one key, and some once more."""
        keys = [key, *[None] * (len(types) - 2), key]
        new = [self._new(type, n, 0, 3, keys[n], scope) for n, type in enumerate(types)]
        return self._submit([*new, again, new[-1]])

    def _new(self, type, priority, delay, max_attempts, key, scope="forever"):
        id_ = str(UUID(int=len(self._ids) + 1, version=4))
        self._ids.append(id_)
        return new_run(
            id_,
            type,
            {"n": len(self._ids)},
            priority=priority,
            delay=delay,
            max_attempts=max_attempts,
            idempotency_key=key,
            key_scope=scope if key else "forever",
            headers={"trace": id_},
        )

    def _submit(self, runs):
        self.both(lambda store: store.submit(runs))
        return multiple(*runs)

    @rule(
        target=claims,
        patterns=routes,
        limit=st.sampled_from([1, 2, 3, 4, 0]),
        worker=workers,
        lease=leases,
    )
    def claim(self, patterns, limit, worker, lease):
        """Lease the first due runs of a route."""
        return multiple(*self._claim(patterns, limit, worker, lease))

    def _claim(self, patterns, limit, worker, lease):
        lease = timedelta(seconds=lease)
        return self.both(
            lambda store: [
                _plain(claim) for claim in store.claim(Route.of(patterns), limit, worker, lease)
            ]
        )

    @rule(target=claims, pause=st.sampled_from([301, 31, 0]), patterns=routes, worker=workers)
    def rescue(self, pause, patterns, worker):
        """Wait, then take over every expired lease of a route."""
        self.clock.advance(pause)
        lease = timedelta(seconds=30)
        found = self.both(
            lambda store: sorted(
                (rescued.claim.run_id, _plain(rescued.claim), rescued.lost_by)
                for rescued in store.rescue(Route.of(patterns), 1_000, worker, lease)
            )
        )
        return multiple(*(claim for _, claim, _ in found))

    @rule(
        group=st.lists(
            st.tuples(claims, st.sampled_from([0, 5, 60])), min_size=1, max_size=3, unique_by=_first
        )
    )
    def extend(self, group):
        """Renew leases, current and stale ones; for 0 seconds it only asks."""
        extensions = [Extension(claim, timedelta(seconds=s)) for claim, s in group]
        self.both(lambda store: store.extend(extensions))

    @rule(
        target=claims,
        worker=workers,
        outcomes=st.lists(outcomes, min_size=1, max_size=4),
    )
    def work(self, worker, outcomes):
        """Lease whatever is due, at most so many runs, and settle them."""
        found = self._claim(["%"], len(outcomes), worker, 30)
        self._settle(list(zip(found, outcomes, strict=False)))
        return multiple(*found)

    @rule(group=st.lists(st.tuples(claims, outcomes), min_size=1, max_size=4, unique_by=_first))
    def settle(self, group):
        """Write outcomes of claims, current and stale ones."""
        self._settle(group)

    @rule(group=st.lists(claims, min_size=1, max_size=2))
    def settle_again(self, group):
        """Repeat settlements whose reply was lost, perhaps twice in one group."""
        self._send([self._sent[claim] for claim in group if claim in self._sent])

    def _settle(self, group):
        for claim, outcome in group:
            self._sent[claim] = decide(
                claim,
                OUTCOMES[outcome](claim),
                RetryPolicy.constant(5),
                Random(len(self._sent)),
                ran=timedelta(seconds=1.5),
            )
        self._send([self._sent[claim] for claim, _ in group])

    def _send(self, settlements):
        self.both(lambda store: [settled.verdict for settled in store.settle(settlements)])

    @rule(
        group=st.lists(claims | runs, min_size=1, max_size=2),
        how=st.sampled_from(
            ["cancel", "cancel with an unknown one", "mark as deleted", "retry", "delete"]
        ),
    )
    def operate(self, group, how):
        """Do what an operator does with runs, claimed ones or any, or mark them as deleted."""
        ids = [one.run_id if isinstance(one, Claim) else one.id for one in group]
        if how == "mark as deleted":
            self.memory.hide(ids)
            self._delete(ids)
        elif how == "cancel":
            self.both(lambda store: store.cancel(ids))
        elif how == "retry":
            self.both(lambda store: store.retry([*ids, UNKNOWN]))
        elif how == "delete":
            self.both(lambda store: store.delete([*ids, UNKNOWN]))
        else:
            self.both(lambda store: store.cancel([UNKNOWN, *ids]))

    @rule(seconds=st.sampled_from([1, 60, 3_600]))
    def purge(self, seconds):
        """Delete what ended long ago."""
        self.both(lambda store: store.purge(timedelta(seconds=seconds), TERMINAL, 100, None).count)

    @rule(status=st.sampled_from([None, *Status]), limit=st.integers(1, 3))
    def look(self, status, limit):
        """List some runs, page by page, and count them."""
        wanted = new_filter(statuses=status)

        def pages(store):
            first = store.find(wanted, limit, None)
            then = store.find(wanted, limit, first[-1]) if first else []
            return [run.id for run in (*first, *then)]

        self.both(pages)
        self.both(lambda store: store.stats())

    @rule(seconds=st.sampled_from([30, 5, 1, 60, 300, 3_600]))
    def pass_time(self, seconds):
        """Let leases run out and runs become due."""
        self.clock.advance(seconds)


@pytest.mark.slow
@pytest.mark.timeout(0 if EXAMPLES else 600)
@pytest.mark.parametrize("driver", ["psycopg", "pg8000"])
def test_postgresql_does_what_memory_does(driver: str, one_server: Server, schemas: Schemas):
    """No sequence of steps tells the stores apart."""
    pytest.importorskip(driver)
    url = schemas.empty(one_server)
    address = parse_url(url)
    clock = FakeClock()
    real = open_store(f"postgresql+{driver}{url[url.index('://') :]}", clock=clock)
    with closing(real), psycopg.connect(address.url, autocommit=True) as connection:

        def delete(ids: list[str]) -> None:
            connection.execute(
                f"update {address.quoted_schema}.workflow_run"
                " set deleted_at = %s, updated_at = %s where id = any(%s::uuid[])",
                [clock(), clock(), ids],
            )

        def two_stores() -> TwoStores:
            schemas.empty(one_server)
            return TwoStores(real, clock, delete)

        run_state_machine_as_test(two_stores, settings=PROFILE)
