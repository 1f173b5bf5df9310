"""Many runs at once: how they are checked, in which pieces they are sent, and what is told."""

from __future__ import annotations

import tracemalloc

import pytest

from simpleworkflow import Client, UsageError, open_store
from simpleworkflow.client import BATCH
from simpleworkflow.core.routing import Route

EVERYTHING = Route.of(["%"])
MB = 2**20


def some(count, start=0):
    """So many runs, one after the other."""
    return ({"type": "t.v1", "payload": n} for n in range(start, start + count))


def kept(store_url):
    """The payloads of all runs there are."""
    store = open_store(store_url)
    try:
        return sorted(run.payload for run in store.runs(EVERYTHING, 10_000))
    finally:
        store.close()


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_progress_is_told_after_each_batch(client, store_url, kind):
    """With the number of runs done so far, of whatever they come in."""
    seen = []

    answers = client.submit_many(kind(list(some(2 * BATCH + 1))), progress=seen.append)

    assert seen == [BATCH, 2 * BATCH, 2 * BATCH + 1]
    assert all(answer.created for answer in answers)
    assert [client.get(answers[n].id).payload for n in (0, BATCH, 2 * BATCH)] == [
        0,
        BATCH,
        2 * BATCH,
    ]
    assert kept(store_url) == list(range(2 * BATCH + 1))


@pytest.mark.parametrize("nothing", [[], iter(())])
def test_nothing_is_no_batch(nothing):
    """There is no progress to tell of."""
    seen = []
    with Client("memory://") as client:
        assert client.submit_many(nothing, progress=seen.append) == []
    assert seen == []


def test_a_generator_is_read_as_it_is_sent():
    """No further than the batch that is sent next."""
    read, seen = [], []

    def generate():
        for run in some(2 * BATCH + 5):
            read.append(run)
            yield run

    with Client("memory://") as client:
        client.submit_many(generate(), progress=lambda done: seen.append((done, len(read))))

    ends = [BATCH, 2 * BATCH, 2 * BATCH + 5]
    assert seen == list(zip(ends, ends, strict=True))


def test_a_bad_run_late_in_a_sequence_spoils_it_before_it_begins(client, store_url):
    """All are checked before the first is sent."""
    runs = [*some(BATCH + 5), {"type": "", "payload": {}}]

    with pytest.raises(UsageError, match=rf"run {BATCH + 5} of submit_many: .*nothing was sub"):
        client.submit_many(runs)
    assert kept(store_url) == []


@pytest.mark.parametrize("bad", [{"type": "", "payload": {}}, {"kind": "t.v1"}, None])
def test_a_bad_run_late_in_a_generator_leaves_what_was_sent(client, store_url, bad):
    """The error says which it was, and what exists."""

    def generate():
        yield from some(2 * BATCH + 5)
        yield bad

    with pytest.raises(UsageError) as told:
        client.submit_many(generate())
    assert str(told.value).startswith(f"run {2 * BATCH + 5} of submit_many")
    assert str(told.value).endswith(
        f"runs 0 to {2 * BATCH - 1} were submitted, and none after them"
    )
    assert kept(store_url) == list(range(2 * BATCH))


def test_a_bad_run_early_in_a_generator_leaves_nothing(client, store_url):
    """Its batch is not sent."""

    def generate():
        yield from some(5)
        yield {"type": "t.v1", "payload": {1, 2}}

    with pytest.raises(UsageError, match=r"run 5 of submit_many: .*; nothing was submitted$"):
        client.submit_many(generate())
    assert kept(store_url) == []


@pytest.mark.parametrize("kind", [list, iter])
def test_what_progress_raises_ends_it(client, store_url, kind):
    """It is passed on, and what was told of exists: so one can stop."""

    def stop(done):
        if done == 2 * BATCH:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.submit_many(kind(list(some(3 * BATCH))), progress=stop)
    assert kept(store_url) == list(range(2 * BATCH))


def test_what_the_generator_raises_ends_it(client, store_url):
    """It is passed on as it is, and whole batches exist."""

    def generate():
        yield from some(BATCH + 5)
        raise UsageError("the file ends in the middle")

    with pytest.raises(UsageError, match=r"^the file ends in the middle$"):
        client.submit_many(generate())
    assert kept(store_url) == list(range(BATCH))


def test_a_progress_that_cannot_be_called_is_refused(client, store_url):
    """Before anything is sent."""
    with pytest.raises(UsageError, match="progress='tqdm' must be a function"):
        client.submit_many(some(1), progress="tqdm")
    assert kept(store_url) == []


def test_duplicates_are_told_run_by_run(client):
    """Those of an earlier call, of an earlier batch, and of the same batch; scopes as in submit."""
    first = client.submit("t.v1", "first", idempotency_key="0")
    over = client.submit("t.v1", "over", idempotency_key="1", key_scope="active")
    client.cancel(over.id)
    runs = (
        {"type": "t.v1", "payload": n, "idempotency_key": str(n % 600), "key_scope": "active"}
        for n in range(2 * BATCH)
    )

    answers = client.submit_many(runs)

    assert [answer.created for answer in answers] == [0 < n < 600 for n in range(2 * BATCH)]
    assert [answer.id for answer in answers] == [answers[n % 600].id for n in range(2 * BATCH)]
    assert answers[0].id == first.id
    assert answers[1].id != over.id


@pytest.mark.slow
def test_a_hundred_thousand_runs_take_little_memory(one_database_url):
    """200 MB of payloads from a generator are never held at once, whatever they add up to."""
    runs = ({"type": "t.v1", "payload": f"{n:2000}"} for n in range(100_000))
    with Client(one_database_url, auto_migrate=True) as client:
        client.submit("t.v1", {})
        tracemalloc.start()
        try:
            answers = client.submit_many(runs)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert sum(answer.created for answer in answers) == 100_000
    # About 20 MB are the answers themselves.
    assert peak < 60 * MB
