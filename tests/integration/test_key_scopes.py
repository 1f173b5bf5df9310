"""Idempotency keys that end, among processes and among programs in other languages."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context

import foreign
import psycopg
import pytest
from key_racers import KEYS, THREADS, submit_all
from servers import schema_of, without_schema

from simpleworkflow import Client, StoreError, open_store
from simpleworkflow.core.routing import Route

PROCESSES = 4


def test_free_keys_raced_by_processes_are_one_run_each(one_database_url):
    """Sixteen threads of four processes submit keys of runs that have ended."""
    with Client(one_database_url, auto_migrate=True) as client:
        old = [
            client.submit("t.v1", {}, idempotency_key=key, key_scope="active").id for key in KEYS
        ]
        assert all(map(client.cancel, old))
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        parts = pool.map(submit_all, [one_database_url] * PROCESSES, range(PROCESSES))
        answers = [one for part in parts for one in part]
    assert len(answers) == PROCESSES * THREADS * len(KEYS)
    for key in KEYS:
        of_key = [(run_id, created) for each, run_id, created in answers if each == key]
        assert sum(created for _, created in of_key) == 1
        assert len({run_id for run_id, _ in of_key} - set(old)) == 1
        assert len({run_id for run_id, _ in of_key}) == 1


@pytest.fixture
def other_side(server, database_url):
    """A session of a program in another language, which shares the tables."""
    with Client(database_url, auto_migrate=True) as client:
        client.cancel(client.submit("t.v1", {}).id)
    with psycopg.connect(without_schema(database_url), autocommit=True) as connection:
        yield connection


def test_other_producers_know_no_scopes(other_side, database_url):
    """To them a key is taken while any run has it; what they insert has its key for ever."""
    insert = foreign.INSERT.format(schema=schema_of(database_url)).encode()
    with Client(database_url) as client:
        old = client.submit("t.v1", {}, idempotency_key="ours", key_scope="active").id
        client.cancel(old)
        assert other_side.execute(insert, ["t.v1", "{}", "ours"]).fetchone() is None
        new = client.submit("t.v1", {}, idempotency_key="ours", key_scope="active").id
        assert new != old
        assert other_side.execute(insert, ["t.v1", "{}", "ours"]).fetchone() is None

        [theirs] = other_side.execute(insert, ["t.v1", "{}", "theirs"]).fetchone()
        client.cancel(theirs)
        again = client.submit("t.v1", {}, idempotency_key="theirs", key_scope="active")
        assert (again.id, again.created) == (theirs, False)


def test_the_tables_tell_who_had_a_key(other_side, database_url):
    """One run has it, and of the others the column former_key says that they had it."""
    with Client(database_url) as client:
        ids = []
        for _ in range(3):
            ids.append(client.submit("t.v1", {}, idempotency_key="k", key_scope="active").id)
            client.cancel(ids[-1])
        with closing(open_store(database_url)) as store:
            assert [run.idempotency_key for run in store.runs(Route.of(["%"]), 3)] == ["k"] * 3
    found = other_side.execute(
        "select id::text, idempotency_key, former_key"
        f" from {schema_of(database_url)}.workflow_run"
        " where 'k' in (idempotency_key, former_key) order by created_at"
    ).fetchall()
    assert found == [(ids[0], None, "k"), (ids[1], None, "k"), (ids[2], "k", None)]


def test_a_submit_that_fails_takes_no_key_away(other_side, database_url):
    """Giving a key up and creating the next run are one step."""
    schema = schema_of(database_url)
    with Client(database_url) as client:
        old = client.submit("t.v1", {}, idempotency_key="k", key_scope="active").id
        client.cancel(old)
        other_side.execute(
            f"alter table {schema}.workflow_run"
            " add constraint mine check (priority <> 7) not valid".encode()
        )
        with pytest.raises((StoreError, ValueError)):
            client.submit("t.v1", {}, priority=7, idempotency_key="k", key_scope="active")
    row = other_side.execute(
        f"select idempotency_key from {schema}.workflow_run where id = %s", [old]
    )
    assert row.fetchone() == ("k",)
