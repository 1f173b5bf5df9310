"""Laws about runs that are submitted in a transaction of the caller's.

A store that cannot join any, or whose binder gives no `open_connection`, skips them.
"""

# ruff: noqa: S101  (laws assert)

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import attrs
import pytest

from simpleworkflow.core.errors import StoreClosed, UsageError
from simpleworkflow.core.records import Submitted, new_run
from simpleworkflow.core.store import JoinsTransactions, Store
from simpleworkflow.testing.clock import FakeClock
from simpleworkflow.testing.contract.examination import (
    A_TYPE,
    Examination,
    claim,
    event_types,
    events,
    get,
    submit,
)

OpenConnection = Callable[[], Any]
"""Opens a connection as a caller has it: one of the DB-API, with `commit` and `rollback`."""


class JoiningLaws(Examination):
    """What is submitted in a transaction is there when it commits, and never if it does not."""

    @pytest.fixture
    def open_connection(self) -> OpenConnection | None:
        """Give a function that opens a caller's connection; None says that there is no such."""
        return None

    @pytest.fixture
    def joining(self, store: Store) -> JoinsTransactions:
        """The store, as one that joins transactions."""
        if not isinstance(store, JoinsTransactions):
            pytest.skip("this store joins no transactions: it is no JoinsTransactions")
        return store

    @pytest.fixture
    def connection(self, open_connection: OpenConnection | None) -> Iterator[Any]:
        """A caller's connection."""
        if open_connection is None:
            pytest.skip("this backend has no callers' connections: it gives no open_connection")
        with closing(open_connection()) as connection:
            yield connection

    def test_a_run_is_there_once_its_transaction_commits(
        self, store: Store, joining: JoinsTransactions, connection: Any, clock: FakeClock
    ) -> None:
        """Before, nobody sees or claims it; then it is as any other, its first event included."""
        run = new_run(str(uuid4()), A_TYPE, {"n": 1})
        assert joining.submit_on(connection, [run]) == [Submitted(run.id, True)]
        assert store.get(run.id) is None
        assert claim(store) == []

        connection.commit()

        assert event_types(store, run.id) == ["created"]
        assert get(store, run.id).created_at == clock()
        assert [c.run_id for c in claim(store)] == [run.id]

    def test_a_transaction_that_is_undone_leaves_nothing(
        self, store: Store, joining: JoinsTransactions, connection: Any
    ) -> None:
        """No run, no event, and the key is free."""
        run = new_run(str(uuid4()), A_TYPE, {}, idempotency_key="k")
        joining.submit_on(connection, [run])

        connection.rollback()

        assert store.get(run.id) is None
        assert events(store, run.id) == []
        assert submit(store, idempotency_key="k") != run.id

    def test_runs_of_a_transaction_are_answered_as_by_submit(
        self, store: Store, joining: JoinsTransactions, connection: Any
    ) -> None:
        """In order, and a taken key names the run that has it, of this transaction or another."""
        taken = submit(store, idempotency_key="taken")
        first, again, met, other = (
            new_run(str(uuid4()), A_TYPE, {}, idempotency_key=key)
            for key in ("k", "k", "taken", None)
        )

        assert joining.submit_on(connection, []) == []
        assert joining.submit_on(connection, [first]) == [Submitted(first.id, True)]
        assert joining.submit_on(connection, [again, met, other]) == [
            Submitted(first.id, False),
            Submitted(taken, False),
            Submitted(other.id, True),
        ]
        connection.commit()
        assert {c.run_id for c in claim(store)} == {taken, first.id, other.id}

    def test_what_cannot_be_held_is_told_and_creates_none(
        self, store: Store, joining: JoinsTransactions, connection: Any
    ) -> None:
        """Whatever the caller then does with his transaction."""
        good = new_run(str(uuid4()), A_TYPE, {})
        bad = attrs.evolve(good, id=str(uuid4()), payload_json='"\\u0000"')

        with pytest.raises(UsageError):
            joining.submit_on(connection, [good, bad])
        connection.rollback()

        assert claim(store) == []

    def test_what_is_no_connection_is_refused(self, joining: JoinsTransactions) -> None:
        """By the name of what it is."""
        with pytest.raises(UsageError, match="object"):
            joining.submit_on(object(), [new_run(str(uuid4()), A_TYPE, {})])

    def test_a_closed_store_joins_nothing(
        self, store: Store, joining: JoinsTransactions, connection: Any
    ) -> None:
        """As it does nothing else."""
        store.close()

        with pytest.raises(StoreClosed):
            joining.submit_on(connection, [new_run(str(uuid4()), A_TYPE, {})])
