"""Scripts that change tables which others are using: in steps, none of which holds them up.

Who asks for a lock that excludes writers makes all of them wait who come later, for as long as it
waits itself. So each step of a script is a transaction of its own, which waits `LOCK_TIMEOUT` for a
lock, then stands aside and tries again. A file of SQL says where its steps begin:

    -- step                    another transaction; what stands before the first mark is one, too
    -- step: concurrently      one `create index concurrently`, outside of any transaction

A step may be repeated, for a file that was broken off begins anew. It changes one table, so that it
has one lock to wait for. The last step of a file is a transaction.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence

from attrs import frozen

from simpleworkflow.backends.postgres import statements
from simpleworkflow.backends.postgres.driver import Connection, LockNotGranted, Row
from simpleworkflow.backends.postgres.url import Address
from simpleworkflow.core.errors import StoreConflict, StoreUnavailable

LOCK_TIMEOUT = 0.3
"""Seconds that a transaction waits for a lock, and others behind it. Two such waits are shorter
than the second (deadlock_timeout) after which the server ends one of those who wait for each other:
we stand aside before that, so it is never one of the others."""

LIMITS = f"set local lock_timeout = {1_000 * LOCK_TIMEOUT:.0f};\nset local statement_timeout = 0;"

PATIENCE = 600.0
"""Seconds after which a step that others keep from its lock is given up."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two tries, in which the others go on; the pause doubles, up to the longest."""

_MARK = re.compile(r"^-- step(: concurrently)?\n", re.MULTILINE)
_ADVICE = "-- Stop at an error (psql -v ON_ERROR_STOP=1), then begin with what is printed anew.\n"
_ALONE = "-- Outside of a transaction, so sent alone (no psql -1).\n"

logger = logging.getLogger("simpleworkflow.store")


@frozen
class Step:
    """What is sent at once.

    Args:
        sql: a transaction, or one statement.
        is_alone: it is a statement that no transaction may hold.
    """

    sql: str
    is_alone: bool

    @property
    def text(self) -> str:
        """As psql needs it."""
        return f"{_ALONE}{self.sql}\n" if self.is_alone else f"begin;\n{self.sql}\ncommit;\n"


@frozen
class Script:
    """A named file of SQL in steps."""

    name: str
    steps: tuple[Step, ...]

    @property
    def text(self) -> str:
        """The whole of it for psql."""
        return _ADVICE + "\n".join(step.text for step in self.steps)


@frozen
class Holder:
    """Who is in the way.

    Args:
        pid: the process of the server.
        role: who logged in.
        application: the name that the session gave itself.
        seconds: since when its transaction is open; None where we may not look.
        query: the beginning of what it sent last.
    """

    pid: int
    role: str
    application: str
    seconds: float | None
    query: str

    def __str__(self) -> str:
        since = "" if self.seconds is None else f", in a transaction for {self.seconds:.1f} s"
        return f"process {self.pid} of {self.role!r} ({self.application!r}{since}: {self.query})"


def split(name: str, sql: str, *, is_in_use: bool) -> Script:
    """Return the steps of a file.

    Args:
        name: of the file.
        sql: what it says, its places filled in.
        is_in_use: the tables are there, maybe with runs and others at work. New ones need no more
            than transactions, which are quicker and wait for nobody.
    """
    if not is_in_use:
        sql = sql.replace("create index concurrently", "create index")
    _, *found = _MARK.split(f"-- step\n{sql}")
    return Script(
        name,
        tuple(
            Step(body.strip(), True)
            if mark and is_in_use
            else Step(f"{LIMITS}\n{body.strip()}", False)
            for mark, body in zip(found[::2], found[1::2], strict=True)
        ),
    )


class Mover:
    """Runs scripts on one connection, and tells once of each who is in the way.

    Args:
        connection: used by nobody else meanwhile.
        address: where the tables are.
    """

    def __init__(self, connection: Connection, address: Address) -> None:
        self._connection = connection
        self._address = address
        self._told: set[int] = set()

    def run(self, script: Script) -> None:
        """Run a script for as long as it takes: an index on many rows takes long.

        Raises:
            StoreUnavailable: others kept a step from its lock for `PATIENCE`; it names one.
            StoreError: as `translate` says.
        """
        limit, self._connection.answer_timeout = self._connection.answer_timeout, None
        try:
            for step in script.steps:
                if step.is_alone:
                    self._send_alone(script.name, step)
                else:
                    self._send_until_granted(script.name, step)
        finally:
            self._connection.answer_timeout = limit

    def _send_until_granted(self, name: str, step: Step) -> None:
        deadline, pause = time.monotonic() + PATIENCE, FIRST_PAUSE
        while True:
            try:
                self._connection.run_script(step.sql)
                return
            except (LockNotGranted, StoreConflict) as exc:
                if time.monotonic() >= deadline:
                    raise self._gave_up(name) from exc
            self._tell("%s has to wait for %s before it can lock a table of %s", name)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _send_alone(self, name: str, step: Step) -> None:
        # It holds nobody up, so it may wait as long as it likes; but nothing is heard meanwhile.
        words = "%s may have to wait for %s before it can build an index of %s"
        self._tell(words, name, is_reader_too=True)
        limit = {"milliseconds": f"{1_000 * PATIENCE:.0f}"}
        self._fetch("patience", limit)
        try:
            self._connection.run_script(step.sql)
        except LockNotGranted as exc:
            raise self._gave_up(name, is_reader_too=True) from exc
        finally:
            if self._connection.is_usable():
                self._connection.run_script("reset lock_timeout; reset statement_timeout")

    def _tell(self, words: str, name: str, *, is_reader_too: bool = False) -> None:
        holder = self._holder(is_reader_too)
        if holder and holder.pid not in self._told:
            self._told.add(holder.pid)
            logger.warning(words, name, holder, self._address)

    def _holder(self, is_reader_too: bool) -> Holder | None:
        """Return who has been in the way for longer than a lock is waited for, if one is seen.

        Args:
            is_reader_too: whoever reads anything in the database is in the way.
        """
        given = {"seconds": LOCK_TIMEOUT, "is_reader_too": is_reader_too}
        found = self._fetch("lock_holder", given)
        return Holder(*found[0]) if found else None

    def _gave_up(self, name: str, *, is_reader_too: bool = False) -> StoreUnavailable:
        who = self._holder(is_reader_too) or "somebody who has no process (see pg_prepared_xacts)"
        return StoreUnavailable(
            f"{name} was given up: for {PATIENCE:g} s the tables of {self._address} were locked by "
            f"{who}; wait until that has ended, or end it (pg_terminate_backend), and migrate again"
        )

    def _fetch(self, name: str, given: Mapping[str, object]) -> Sequence[Row]:
        statement = statements.load(name, self._address.quoted_schema)
        return self._connection.fetch(statement, given)
