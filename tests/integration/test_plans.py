"""The hot statements look at few rows, whatever the planner knows of the tables."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psycopg
import pytest
from servers import Server, schema_of

from simpleworkflow import RetryPolicy, open_store
from simpleworkflow.backends.postgres import params, statements
from simpleworkflow.backends.postgres.driver import SESSION_SETTINGS
from simpleworkflow.backends.postgres.store import PostgresStore
from simpleworkflow.client import new_run_ids
from simpleworkflow.core.admin import new_filter
from simpleworkflow.core.decide import decide
from simpleworkflow.core.records import (
    Claim,
    Extension,
    Failed,
    Outcome,
    Released,
    Settlement,
    Succeeded,
    new_run,
)
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import TERMINAL, Status

GROUP = 50
LEASE = timedelta(seconds=30)
ROUTE = Route.of(["mine.%"])

FILL = """
insert into {schema}.workflow_run (type, payload, status, priority, run_at)
select 'aaa.' || n % 7, '{{}}'::jsonb, 'pending', 1, now() - interval '1 day'
  from generate_series(1, {n}) n
union all
select 'mine.' || n % 5, '{{}}'::jsonb, 'pending', n % 3, now() + interval '1 day'
  from generate_series(1, {n}) n
union all
select 'mine.' || n % 5, '{{}}'::jsonb, 'succeeded', n % 3, now() - interval '1 day'
  from generate_series(1, {n}) n
"""


def never_analysed(connection: psycopg.Connection[Any], fill: Callable[[int], None]) -> None:
    fill(5_000)


def analysed_empty(connection: psycopg.Connection[Any], fill: Callable[[int], None]) -> None:
    connection.execute("analyze workflow_run")
    fill(5_000)


def analysed_full(connection: psycopg.Connection[Any], fill: Callable[[int], None]) -> None:
    fill(5_000)
    connection.execute("analyze workflow_run")


def analysed_long_ago(connection: psycopg.Connection[Any], fill: Callable[[int], None]) -> None:
    fill(50)
    connection.execute("analyze workflow_run")
    fill(5_000)


@pytest.fixture(params=[never_analysed, analysed_empty, analysed_full, analysed_long_ago])
def store(
    request: pytest.FixtureRequest, server: Server, database_url: str
) -> Iterator[PostgresStore]:
    """A store with 15,000 runs that no claim of ours may look at, and 100 that are due."""
    store = open_store(database_url)
    assert isinstance(store, PostgresStore)
    store.migrate()
    schema = schema_of(database_url)
    with server.connect() as connection:
        connection.execute(f"set search_path = {schema}")
        for table in ("workflow_run", "workflow_event"):
            # An autovacuum in the middle would change what the planner knows.
            connection.execute(f"alter table {table} set (autovacuum_enabled = off)")
        request.param(connection, lambda n: connection.execute(FILL.format(schema=schema, n=n)))
    store.submit([new_run(str(uuid.uuid4()), f"mine.{i % 5}", {}) for i in range(2 * GROUP)])
    yield store
    store.close()


class Explained:
    """Explains a statement in its generic plan, as a session of the store's would run it."""

    def __init__(self, server: Server, schema: str) -> None:
        self._schema = schema
        self._connection = server.connect()
        # Rolled back at the end: an explained statement is a statement that was run.
        self._connection.execute("begin")
        for name, value in SESSION_SETTINGS.items():
            self._connection.execute(f"set {name} = {value}")

    def close(self) -> None:
        self._connection.execute("rollback")
        self._connection.close()

    def nodes(self, name: str, params: dict[str, object]) -> list[dict[str, Any]]:
        """Run the statement and return the nodes of its plan."""
        source = statements.load(name, f'"{self._schema}"')
        names = list(dict.fromkeys(re.findall(r"(?<![:\w]):([a-z_]+)", source)))
        numbered = re.sub(
            r"(?<![:\w]):([a-z_]+)", lambda match: f"${names.index(match[1]) + 1}", source
        )
        self._connection.execute(f"prepare one as {numbered}".encode())
        values = [params.get(parameter) for parameter in names]
        literals = psycopg.sql.SQL(", ").join(
            psycopg.sql.Literal(str(v)) if v is not None else psycopg.sql.NULL for v in values
        )
        answer = self._connection.execute(
            psycopg.sql.SQL("explain (analyze, format json) execute one ({})").format(literals)
        ).fetchone()
        assert answer is not None
        self._connection.execute("deallocate one")
        plan = answer[0] if isinstance(answer[0], list) else json.loads(answer[0])
        return list(_walk(plan[0]["Plan"]))


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _walk(child)


@pytest.fixture
def explained(server: Server, database_url: str) -> Iterator[Explained]:
    """What explains statements in this test's schema."""
    explained = Explained(server, schema_of(database_url))
    yield explained
    explained.close()


def looked_at(nodes: list[dict[str, Any]]) -> int:
    """Count the rows of workflow_run that were read, those thrown away included."""
    return sum(
        round(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
        for node in nodes
        if node.get("Relation Name") == "workflow_run" and node["Node Type"] != "ModifyTable"
    )


def assert_frugal(nodes: list[dict[str, Any]], at_most: int, sorts: int | None = None) -> None:
    """Check that the runs were found by indexes, and no more of them than asked for.

    Nor is more sorted, unless `sorts` rows are: those that the statement was given.
    """
    runs = [node for node in nodes if node.get("Relation Name") == "workflow_run"]
    kinds = {node["Node Type"] for node in runs} - {"ModifyTable"}
    assert kinds <= {"Index Scan", "Index Only Scan", "Tid Scan"}
    assert looked_at(nodes) <= at_most
    for node in nodes:
        if "Sort" in node["Node Type"]:
            assert node["Actual Rows"] * node["Actual Loops"] <= (sorts or at_most)


CLAIM = params.of_claim(ROUTE, GROUP, "w", LEASE, floors={}, remember=False)


def claimed(store: PostgresStore) -> list[Claim]:
    claims = store.claim(ROUTE, GROUP, "w", LEASE)
    assert len(claims) == GROUP
    return claims


def test_a_claim_looks_at_little_more_than_it_takes(
    store: PostgresStore, explained: Explained
) -> None:
    """Neither other types, nor later runs, nor finished ones are read."""
    nodes = explained.nodes("claim", CLAIM)
    # Each of 20 pairs is looked for and its first runs are read at most three times.
    assert_frugal(nodes, at_most=20 * 2 + 6 * GROUP)


@pytest.mark.parametrize(
    ("outcome", "asked", "given"),
    [
        (Released(), "asked_settlements", params.of_settle),
        (Succeeded("{}"), "asked_successes", params.of_successes),
    ],
)
def test_a_settlement_looks_up_each_run_once(
    store: PostgresStore,
    explained: Explained,
    outcome: Outcome,
    asked: str,
    given: Callable[[Sequence[Settlement]], params.Params],
) -> None:
    """A group of settlements reads its own rows, to find and to update them."""
    settlements = [decide(c, outcome, RetryPolicy(), Random(1)) for c in claimed(store)]
    nodes = explained.nodes(f"settle:{asked}", given(settlements))
    assert_frugal(nodes, at_most=2 * GROUP)


def test_a_refused_settlement_looks_up_each_run_once(
    store: PostgresStore, explained: Explained
) -> None:
    """Also the second look reads its own rows only."""
    settlements = [decide(c, Released(), RetryPolicy(), Random(1)) for c in claimed(store)]
    nodes = explained.nodes("settle_refused:asked_settlements", params.of_settle(settlements))
    assert_frugal(nodes, at_most=2 * GROUP)


def test_a_heartbeat_looks_up_each_run_once(store: PostgresStore, explained: Explained) -> None:
    """It reads the held rows: to lock, to renew and to answer."""
    extensions = [Extension(claim, LEASE) for claim in claimed(store)]
    nodes = explained.nodes("extend", params.of_extend(extensions))
    assert_frugal(nodes, at_most=3 * GROUP)


def test_a_rescue_looks_at_expired_leases(store: PostgresStore, explained: Explained) -> None:
    """Neither waiting nor finished runs are read."""
    claimed(store)
    later = {"now": datetime.now(UTC) + 2 * LEASE}
    nodes = explained.nodes("rescue", params.of_rescue(ROUTE, GROUP, "v", LEASE) | later)
    assert looked_at(nodes) == 2 * GROUP
    assert_frugal(nodes, at_most=2 * GROUP)


def test_a_cancel_looks_up_each_run_once(store: PostgresStore, explained: Explained) -> None:
    """It reads its own rows, to find and to update them."""
    ids = [claim.run_id for claim in claimed(store)]
    assert_frugal(explained.nodes("cancel", params.of_ids(ids)), at_most=2 * GROUP)


# What operators ask: no list looks at all runs for a few of them, and a purge only at old ones.


def found(
    explained: Explained, part: str, limit: int = GROUP, **given: Any
) -> list[dict[str, Any]]:
    """The plan by which runs are found."""
    return explained.nodes(f"find:{part}", params.of_find(new_filter(**given), limit, None))


def in_statuses(store: PostgresStore, *statuses: str) -> int:
    """How many runs stand in one of these."""
    return len(store.find(new_filter(statuses=statuses), 100_000, None))


def test_a_list_is_read_from_its_new_end(store: PostgresStore, explained: Explained) -> None:
    """In both indexes by age, of this library's ids and of others; nothing is sorted."""
    store.submit([new_run(id_, "mine.1", {}) for id_ in new_run_ids(3 * GROUP)])
    for part in ("asked_by_time", "asked_others"):
        nodes = found(explained, part)
        # Random ids among those that begin with the time: one in seventy of 15,000.
        assert_frugal(nodes, at_most=GROUP + 400)
        assert not any("Sort" in node["Node Type"] for node in nodes)


def test_failed_runs_have_an_index(store: PostgresStore, explained: Explained) -> None:
    """None of the others is read, however rare they are."""
    ids = new_run_ids(GROUP)
    store.submit([new_run(id_, "mine.1", {}) for id_ in ids])
    store.cancel(ids[:5])
    nodes = found(explained, "asked_unlucky", statuses="cancelled")
    assert_frugal(nodes, at_most=5)


def test_leased_runs_are_found_by_their_leases(store: PostgresStore, explained: Explained) -> None:
    """They are looked up one by one, and sorted."""
    claimed(store)
    nodes = found(explained, "asked_open", limit=10, statuses="leased")
    assert_frugal(nodes, at_most=2 * GROUP)


def test_a_key_is_found_by_its_index(store: PostgresStore, explained: Explained) -> None:
    """One run is read."""
    store.submit([new_run(str(uuid.uuid4()), "mine.1", {}, idempotency_key="k")])
    assert_frugal(found(explained, "asked_key", idempotency_key="k"), at_most=1)


def test_an_age_ends_the_search(store: PostgresStore, explained: Explained) -> None:
    """Of a type that is not there, no run is read that is too old."""
    for part in ("asked_by_time", "asked_others"):
        nodes = found(explained, part, types="nothing.%", newer_than=0.001)
        assert_frugal(nodes, at_most=400)


@pytest.mark.parametrize("name", ["retry", "delete"])
def test_an_operators_change_looks_up_each_run_once(
    store: PostgresStore, explained: Explained, name: str
) -> None:
    """It reads its own rows, to find and to update them."""
    claims = claimed(store)
    store.settle([decide(c, Failed("boom", True), RetryPolicy(), Random(1)) for c in claims])
    given = params.of_ids([c.run_id for c in claims]) | params.of_statuses(TERMINAL)
    assert_frugal(explained.nodes(name, given), at_most=2 * GROUP)


def of_purge(limit: int) -> dict[str, object]:
    """The parameters of a batch that looks for what ended an hour ago."""
    statuses = params.of_statuses(TERMINAL)
    moment = datetime.now(UTC)
    return {**statuses, "older_than": 3_600.0, "limit": limit, "lock": 1, "now": moment}


def test_a_purge_looks_at_one_batch(store: PostgresStore, explained: Explained) -> None:
    """It reads so many ids, and so many rows to lock and to delete."""
    assert_frugal(explained.nodes("purge", of_purge(GROUP)), at_most=3 * GROUP)


def test_a_purge_passes_over_the_young(store: PostgresStore, explained: Explained) -> None:
    """Ids that begin with the time say that they cannot be old enough: they are not read."""
    others = in_statuses(store, *Status)
    store.submit([new_run(id_, "mine.1", {}) for id_ in new_run_ids(3 * GROUP)])
    nodes = explained.nodes("purge", of_purge(100_000))
    assert looked_at([n for n in nodes if n["Node Type"] == "Index Only Scan"]) == others


def test_stats_look_at_open_runs_and_new_events(store: PostgresStore, explained: Explained) -> None:
    """Neither at finished runs, nor at old events."""
    claims = claimed(store)
    store.settle([decide(c, Succeeded("{}"), RetryPolicy(), Random(1)) for c in claims])
    assert looked_at(explained.nodes("stats_open", {})) <= in_statuses(store, "pending", "leased")
    nodes = explained.nodes("stats_ended", {"limit": 2 * GROUP})
    assert looked_at(nodes) == GROUP
    events = [node for node in nodes if node.get("Relation Name") == "workflow_event"]
    assert [node["Node Type"] for node in events] == ["Index Scan"]
    assert events[0]["Actual Rows"] == 2 * GROUP


@pytest.mark.parametrize("group", [1, GROUP])
def test_a_submit_of_keys_looks_up_each_key_once(
    store: PostgresStore, explained: Explained, group: int
) -> None:
    """Those whose run has ended are read, to be given up; the new runs alone are sorted."""
    keyed = [
        new_run(str(uuid.uuid4()), "mine.1", {}, idempotency_key=f"k{n}", key_scope="active")
        for n in range(GROUP)
    ]
    store.cancel([answer.id for answer in store.submit(keyed)])
    again = [
        new_run(str(uuid.uuid4()), "mine.1", {}, idempotency_key=f"k{2 * n}") for n in range(group)
    ]
    given = params.of_submit(again) | {"count": group}
    nodes = explained.nodes(params.name_of_submit(again), given)
    given_up = min(group, GROUP // 2)
    assert looked_at(nodes) == given_up
    assert_frugal(nodes, at_most=given_up, sorts=group)


def test_a_look_whether_runs_have_ended_reads_each_once(
    store: PostgresStore, explained: Explained
) -> None:
    """And no other."""
    ids = [claim.run_id for claim in claimed(store)]
    assert_frugal(explained.nodes("ended", params.of_ids(ids)), at_most=GROUP)
