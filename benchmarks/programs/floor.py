"""The floor: the same rows written by bare SQL, as fast as a plain program can, with no library.

Its statements keep what ours keep: the lease with its fence, the outcome, and an event for each
move. They are held to index access in the same way, so that the planner's statistics do not matter.
Nothing else is done: no retry, no heartbeat, no time-out, no executor.
"""

from __future__ import annotations

import json
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg

from benchmarks.programs.protocol import Task, clock, cpu, main, on_stop, pauses, tell, wait_for_go

TYPE = "bench.noop.v1"
WORKER = "floor"
BATCH = 200
THREADS = 2

OPTIONS = "-c enable_seqscan=off -c plan_cache_mode=force_generic_plan -c jit=off"

CLAIM = """
with due as (
    select ctid from workflow.workflow_run
     where status = 'pending' and deleted_at is null and type collate "C" = %(type)s::text
       and run_at <= now()
     order by type collate "C", priority, run_at, created_at
     limit %(limit)s::bigint
       for no key update skip locked
),
place as (
    select place from unnest(array(select ctid from due)) as p (place) limit %(limit)s::bigint
),
leased as (
    update workflow.workflow_run r
       set status = 'leased', leased_by = %(worker)s::text, fence = fence + 1,
           lease_until = now() + interval '30 seconds', updated_at = now()
      from place
     where r.ctid = place.place
    returning id, type, payload, attempt, max_attempts, fence
),
history as (
    insert into workflow.workflow_event (workflow_id, event_type, data)
    select id, 'leased',
           jsonb_build_object('worker_id', %(worker)s::text, 'fence', fence, 'attempt', attempt)
      from leased
)
select id::text, type, payload::text, attempt, max_attempts, fence from leased
"""

SETTLE = """
with asked as (
    select * from unnest(%(ids)s::uuid[], %(fences)s::bigint[]) as a (id, fence)
     limit %(count)s::bigint
),
current as (
    select r.ctid, a.id, a.fence, r.attempt
      from asked a
     cross join lateral (
        select ctid, attempt, fence, status, leased_by
          from workflow.workflow_run r where r.id = a.id offset 0
     ) r
     where r.status = 'leased' and r.leased_by = %(worker)s::text and r.fence = a.fence
),
settled as (
    update workflow.workflow_run r
       set status = 'succeeded', result = 'null', leased_by = null, lease_until = null,
           updated_at = now()
      from current
     where r.ctid = current.ctid and r.status = 'leased' and r.fence = current.fence
    returning current.id, current.fence, current.attempt
),
history as (
    insert into workflow.workflow_event (workflow_id, event_type, data)
    select id, 'succeeded',
           jsonb_build_object(
               'worker_id', %(worker)s::text, 'fence', fence, 'attempt', attempt, 'ran', 0.0001)
      from settled
)
select id::text from settled
"""

INSERT = """
with created as (
    insert into workflow.workflow_run (type, payload) values ({type}, {payload}) returning id
),
history as (
    insert into workflow.workflow_event (workflow_id, event_type, data)
    select id, 'created', '{{}}' from created
)
select id::text{wake} from created
"""

INSERT_MANY = """
with created as (
    insert into workflow.workflow_run (type, payload)
    select {type}, payload from unnest({payloads}::jsonb[]) as p (payload)
    returning id
),
history as (
    insert into workflow.workflow_event (workflow_id, event_type, data)
    select id, 'created', '{{}}' from created
)
select id::text from created
"""

CHANNEL = "floor"

Fetch = Callable[[dict[str, object]], Sequence[Any]]


def _connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True, options=OPTIONS)


def _claim(connection: psycopg.Connection[Any], worker: str, limit: int) -> list[Any]:
    params = {"type": TYPE, "worker": worker, "limit": limit}
    return connection.execute(CLAIM, params, prepare=True).fetchall()


def _settle(connection: psycopg.Connection[Any], worker: str, claimed: Sequence[Any]) -> int:
    params = {
        "ids": "{" + ",".join(row[0] for row in claimed) + "}",
        "fences": "{" + ",".join(str(row[-1]) for row in claimed) + "}",
        "count": len(claimed),
        "worker": worker,
    }
    return len(connection.execute(SETTLE, params, prepare=True).fetchall())


def drain(task: Task) -> None:
    """Claim 200 and settle them, on two connections, until nothing is left."""
    settled = [0] * THREADS

    def work(number: int) -> None:
        with _connect(task["url"]) as connection:
            while claimed := _claim(connection, f"{WORKER}-{number}", BATCH):
                settled[number] += _settle(connection, f"{WORKER}-{number}", claimed)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    wait_for_go()
    started, computed = clock(), cpu()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell(started=started, ended=clock(), executed=sum(settled), cpu=cpu() - computed)


def serve(task: Task) -> None:
    """Wait for notifications and claim what they announce; note when, until told to stop."""
    starts: dict[int, float] = {}
    stopped = threading.Event()
    with _connect(task["url"]) as connection:
        connection.execute(f"listen {CHANNEL}")
        on_stop(stopped.set)
        while not stopped.is_set():
            select.select([connection.fileno()], [], [], 0.5)
            for _ in connection.notifies(timeout=0):
                pass
            while claimed := _claim(connection, WORKER, 1):
                starts[json.loads(claimed[0][2])["i"]] = clock()
                _settle(connection, WORKER, claimed)
    tell(starts=starts)


def timed(task: Task) -> None:
    """Insert one run after the other, each with its notification, and note when."""
    times: dict[int, float] = {}
    wake = f", pg_notify('{CHANNEL}', '')"
    statement = INSERT.format(type="%(type)s", payload="%(payload)s", wake=wake)
    with _connect(task["url"]) as connection:
        wait_for_go()
        for i, pause in enumerate(pauses(task["runs"])):
            time.sleep(pause)
            times[i] = clock()
            connection.execute(statement, {"type": TYPE, "payload": _payload(i)}, prepare=True)
    tell(times=times)


def single(task: Task) -> None:
    """Insert runs one at a time, each with its event."""
    fetch = _fetcher(task, INSERT, "payload", wake="")
    fetch({"type": TYPE, "payload": _payload(-1)})
    wait_for_go()
    started = clock()
    for i in range(task["runs"]):
        fetch({"type": TYPE, "payload": _payload(i)})
    tell(started=started, ended=clock())


def bulk(task: Task) -> None:
    """Insert a thousand runs by one statement, with their events."""
    fetch = _fetcher(task, INSERT_MANY, "payloads")
    fetch({"type": TYPE, "payloads": _array([-1])})
    wait_for_go()
    started = clock()
    for first in range(0, task["runs"], 1_000):
        fetch({"type": TYPE, "payloads": _array(range(first, first + 1_000))})
    tell(started=started, ended=clock())


def _fetcher(task: Task, statement: str, parameter: str, **parts: str) -> Fetch:
    """Return what runs the statement, prepared, on the driver that the task names."""
    if task["driver"] == "pg8000":
        names = {"type": ":type", parameter: f":{parameter}"}
        return _pg8000_fetcher(task["url"], statement.format(**names, **parts))
    names = {"type": "%(type)s", parameter: f"%({parameter})s"}
    text = statement.format(**names, **parts)
    connection = _connect(task["url"])
    return lambda params: connection.execute(text, params, prepare=True).fetchall()


def _pg8000_fetcher(url: str, statement: str) -> Fetch:
    from pg8000.native import Connection

    parts = urlsplit(url)
    connection = Connection(
        unquote(parts.username or ""),
        host=parts.hostname,
        port=parts.port or 5432,
        password=unquote(parts.password or ""),
        database=parts.path.removeprefix("/"),
    )
    prepared = connection.prepare(statement)
    return lambda params: prepared.run(**params)


def _payload(i: int) -> str:
    return json.dumps({"i": i})


def _array(numbers: Sequence[int]) -> str:
    elements = (_payload(i).replace('"', '\\"') for i in numbers)
    return "{" + ",".join(f'"{element}"' for element in elements) + "}"


if __name__ == "__main__":
    main({"drain": drain, "serve": serve, "timed": timed, "single": single, "bulk": bulk})
