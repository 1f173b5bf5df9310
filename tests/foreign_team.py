"""Programs in another language at work: their database, and what they do with it all the time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import foreign
from servers import Server, schema_of
from workers import PATIENCE

TYPE = "go.task.v1"


class Shared:
    """A database that programs in another language use, with rows in flight; not migrated.

    Args:
        server: where.
        url: of the schema.
    """

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.url = url
        self.schema = schema_of(url)
        self.connection = server.connect()
        self.connection.execute((foreign.TABLES + foreign.ROWS).format(schema=self.schema))

    def __enter__(self) -> Shared:
        """It is there."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.connection.close()

    def ask(self, sql: str, params: Any = None) -> Any:
        """Run one of their statements; the rows, if it has some."""
        cursor = self.connection.execute(sql.format(schema=self.schema), params)
        return cursor.fetchall() if cursor.description else None

    def insert(self, type_: str = "both.v1", payload: str = "{}", key: str | None = None) -> Any:
        """Insert a run as they do; its id, or None when the key is taken."""
        found = self.ask(foreign.INSERT, [type_, payload, key])
        return found[0][0] if found else None

    def claim(self, sql: str = foreign.CLAIM, worker: str = "go") -> list[str]:
        """Claim, or take over, a run of both sides as they do."""
        found = self.ask(sql, {"worker": worker, "pattern": "both.%"})
        return [run_id for (run_id,) in found]

    def settle(self, run_id: str, result: str = '"theirs"') -> None:
        """Settle a run as they do: by its id."""
        self.ask(foreign.SETTLE, {"id": run_id, "result": result})

    def fail(self, run_id: str) -> None:
        """Fail an attempt as they do: by its id."""
        self.ask(foreign.FAIL, {"id": run_id, "error": "theirs"})

    def run(self, columns: str, run_id: str) -> tuple[Any, ...]:
        """Some columns of a run."""
        [row] = self.ask(f"select {columns} from {{schema}}.workflow_run where id = %s", [run_id])
        return row

    def events(self, run_id: str) -> list[str]:
        """The types of a run's events, oldest first."""
        found = self.ask(
            "select event_type from {schema}.workflow_event where workflow_id = %s order by id",
            [run_id],
        )
        return [kind for (kind,) in found]

    def until(self, sql: str, *params: Any) -> None:
        """Wait until a question is answered with yes."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.ask(sql, params)[0][0]:
                return
        raise AssertionError(f"never came true: {sql}")

    @contextmanager
    def transaction(self, *statements: str) -> Iterator[Any]:
        """A transaction of theirs that has done this, and stays open."""
        with self.server.connect(application_name="go-report") as other:
            other.autocommit = False
            for sql in statements:
                other.execute(sql.format(schema=self.schema))
            yield other


class Team:
    """A producer, workers and a ticker, as threads; a context manager, until whose end they work.

    Args:
        server: where.
        schema: with the tables; whether migrated or not is nothing to them.
        lock_timeout: what waits longer for a lock is an error.

    Attributes:
        errors: what any of their statements raised.
        inserted: the ids that they were told of.
        done: how often each of them went round.
        settled: the ids that they settled as succeeded.
        failed: the ids that they settled as failed.
    """

    def __init__(self, server: Server, schema: str, *, lock_timeout: str = "5s") -> None:
        self.errors: list[Exception] = []
        self.inserted: list[str] = []
        self.settled: list[str] = []
        self.failed: list[str] = []
        self.done: Counter[str] = Counter()
        self._server = server
        self._schema = schema
        self._options = f"-c lock_timeout={lock_timeout} -c application_name=go"
        self._is_over = threading.Event()
        self._went_round = threading.Condition()
        parts = {
            "producer": self._produce,
            "careful producer": self._produce_in_transaction,
            "ticker": self._tick,
            "worker-1": self._work,
            "worker-2": self._work,
            "rescuer": self._rescue,
        }
        self._threads = [
            threading.Thread(target=self._repeat, args=part, name=part[0], daemon=True)
            for part in parts.items()
        ]

    def __enter__(self) -> Team:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let each finish its round."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"the {thread.name} is stuck"

    def go_round(self, times: int) -> None:
        """Wait until each of them has gone round so many times more, or one has failed."""
        with self._went_round:
            goals = {thread.name: self.done[thread.name] + times for thread in self._threads}
            there = self._went_round.wait_for(
                lambda: self.errors or all(self.done[name] >= goal for name, goal in goals.items()),
                PATIENCE,
            )
        assert not self.errors, self.errors[0]
        assert there, f"of {goals} only {self.done} came"

    def _repeat(self, name: str, part: Callable[[Any, str, int], None]) -> None:
        try:
            with self._server.connect(options=self._options) as connection:
                # They prepare what they send, as most drivers do.
                connection.prepare_threshold = 0
                while not self._is_over.is_set():
                    part(connection, name, self.done[name])
                    self._count(name)
        except Exception as exc:
            self.errors.append(exc)
            self._count(name)

    def _count(self, name: str) -> None:
        with self._went_round:
            self.done[name] += 1
            self._went_round.notify_all()

    def _ask(self, connection: Any, sql: str, params: object) -> list[Any]:
        cursor = connection.execute(sql.format(schema=self._schema), params)
        return cursor.fetchall() if cursor.description else []

    def _produce(self, connection: Any, name: str, number: int) -> None:
        # Each key comes twice; the second time there is nothing to insert.
        for new in self._ask(connection, foreign.INSERT, [TYPE, "{}", f"{name}-{number // 2}"]):
            self.inserted += new

    def _produce_in_transaction(self, connection: Any, name: str, number: int) -> None:
        with connection.transaction():
            [(new,)] = self._ask(connection, foreign.INSERT, [TYPE, "{}", f"{name}-{number}"])
            self._ask(connection, foreign.RECORD, [new, "created"])
        self.inserted.append(new)

    def _tick(self, connection: Any, name: str, number: int) -> None:
        later = "update {schema}.workflow_schedule set next_run_at = next_run_at + '1 minute'"
        self._ask(connection, foreign.FIRE, ["report.weekly.v1"])
        self._ask(connection, later + " where type = %s", ["report.weekly.v1"])

    def _work(self, connection: Any, name: str, number: int) -> None:
        for (run_id,) in self._claimed(connection, foreign.CLAIM, name):
            self._ask(connection, foreign.RECORD, [run_id, "started"])
            if number % 7 == 0:
                # It dies with the run in hand.
                self._ask(connection, foreign.EXPIRE, [run_id])
            elif number % 5 == 0:
                self._ask(connection, foreign.FAIL, {"id": run_id, "error": "no"})
                self.failed.append(run_id)
            else:
                self._settle(connection, run_id)

    def _rescue(self, connection: Any, name: str, number: int) -> None:
        for (run_id,) in self._claimed(connection, foreign.RECLAIM, name):
            self._settle(connection, run_id)

    def _claimed(self, connection: Any, sql: str, name: str) -> list[Any]:
        return self._ask(connection, sql, {"worker": f"go-{name}", "pattern": "go.%"})

    def _settle(self, connection: Any, run_id: str) -> None:
        self._ask(connection, foreign.SETTLE, {"id": run_id, "result": '"go"'})
        self._ask(connection, foreign.RECORD, [run_id, "succeeded"])
        self.settled.append(run_id)
