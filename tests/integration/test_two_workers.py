"""Two worker processes and 5,000 runs: each executed exactly once, with a complete history."""

from __future__ import annotations

from collections import Counter

from servers import schema_of
from workers import python

from simpleworkflow import Client, migrate

RUNS = 5_000

WORKER = """
import os, sys, time
from pathlib import Path
from simpleworkflow import IntentPoller
url, name, other, folder = sys.argv[1:]
poller = IntentPoller(url, ["load.%"], name, 0.05, 30, concurrency=2)
out = os.open(f"{folder}/executed", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@poller.handler("load.task.v1")
def work(run):
    # Neither goes on before the other has begun: it might find nothing left to do.
    Path(folder, name).touch()
    while not Path(folder, other).exists():
        time.sleep(0.01)
    # Appended as a whole line, whichever process and thread it comes from.
    os.write(out, f"{run.id} {run.payload} {run.worker_id}\\n".encode())
    return run.payload

print(poller.drain())
"""


def test_two_processes_execute_5000_runs_exactly_once(server, database_url, tmp_path):
    """All succeed, none twice, and each history is created, leased, succeeded."""
    migrate(database_url)
    with Client(database_url) as client:
        submitted = client.submit_many(
            {"type": "load.task.v1", "payload": number} for number in range(RUNS)
        )
    workers = [
        python(WORKER, database_url, name, other, str(tmp_path))
        for name, other in (("one", "two"), ("two", "one"))
    ]
    counts = []
    for worker in workers:
        out, err = worker.communicate(timeout=90)
        assert worker.returncode == 0, err
        assert "ERROR" not in err
        counts.append(int(out))
    executed = [line.split() for line in (tmp_path / "executed").read_text().splitlines()]
    assert sum(counts) == len(executed) == RUNS
    assert {run_id for run_id, _, _ in executed} == {run.id for run in submitted}
    assert Counter(int(payload) for _, payload, _ in executed) == Counter(range(RUNS))
    assert set(Counter(name for _, _, name in executed)) == {"one", "two"}
    schema = schema_of(database_url)
    with server.connect() as connection:
        rows = connection.execute(
            f"select status, attempt, fence, leased_by is null, lease_until is null, "
            f"result = payload, count(*) from {schema}.workflow_run group by 1, 2, 3, 4, 5, 6"
        ).fetchall()
        assert rows == [("succeeded", 0, 1, True, True, True, RUNS)]
        histories = connection.execute(
            f"select kinds, in_time, count(*) from (select workflow_id, "
            f"array_agg(event_type order by id) as kinds, "
            f"array_agg(id order by id) = array_agg(id order by created_at, id) as in_time "
            f"from {schema}.workflow_event group by workflow_id) as h group by 1, 2"
        ).fetchall()
        assert histories == [(["created", "leased", "succeeded"], True, RUNS)]
