"""IntentPoller: the worker that users see. It checks its settings and starts the parts."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from simpleworkflow.backends.registry import open_store, run_admin
from simpleworkflow.core.errors import UsageError
from simpleworkflow.core.events import Observer
from simpleworkflow.core.lease import check_lease
from simpleworkflow.core.retry import RetryPolicy
from simpleworkflow.core.routing import parse_prefixes
from simpleworkflow.core.storable import (
    DEFAULT_ERROR_CHARS,
    DEFAULT_JSON_BYTES,
    check_duration,
    check_int,
    check_max_bytes,
    check_max_chars,
    check_worker_id,
)
from simpleworkflow.core.store import Migratable, Store
from simpleworkflow.environment import database_url, environment
from simpleworkflow.executor import ExecutorFunction, ExecutorRegistry, WorkflowExecutor
from simpleworkflow.observers.logging import LogEvents
from simpleworkflow.report import Report
from simpleworkflow.worker.log import logger
from simpleworkflow.worker.settings import Settings

if TYPE_CHECKING:
    from simpleworkflow.worker.session import Session

Function = TypeVar("Function", bound=ExecutorFunction)


class IntentPoller:
    """Claims runs of the types it serves, executes them, and settles each.

    Args:
        db_url: a database URL, `memory://name`, or a Store. A URL without `search_path` (or its
            alias `schema`) means the schema `workflow`.
        type_prefixes: patterns of the types to serve, such as `["billing.%"]`; of these, only types
            with a registered executor are claimed. None serves exactly what is registered.
        worker_id: names this worker in the tables and the history.
        poll_interval: how long an idle worker waits before it looks again; seconds (int or float)
            or a timedelta, 2 seconds by default.
        lease_duration: how long a claim holds without a heartbeat, 30 seconds by default, at least
            1 second. A worker that dies loses its runs to others after this time.
        metrics: an observer that collects metrics.
        concurrency: how many runs are executed at once, each on a thread; 1 by default.
        retry_policy: how long failed runs wait; n² minutes plus up to 10 % by default.
        auto_heartbeat: keep the leases of running executors, which is the default. Without it an
            executor that works longer than `lease_duration` must call `run.heartbeat()`.
        execution_timeout: how long an executor may take before its attempt fails; None, the
            default, is no limit. Python cannot end a thread: the executor should look at
            `run.is_cancelled()`, and its slot stays taken until it returns.
        shutdown_timeout: how long `stop()` waits for executors before it gives their runs back to
            others, which costs no attempt; 30 seconds by default.
        wakeups: let the store say at once that there are new runs, where it can; True by default.
            Without, an idle worker finds them within `poll_interval`.
        schedules: submit the runs of schedules that are due, which is the default. Any number of
            workers may; each firing is submitted once.
        max_result_bytes: the most bytes of JSON (UTF-8) a result may have; 64 MiB by default, from
            100 to 268,435,455, which is what `jsonb` holds. A larger one fails its run for good:
            the work is done, and another attempt would do it again.
        max_error_chars: to how many characters an error is cut, and marked as cut, before it is
            recorded as `last_error`; 16,384 by default, from 100 to 67,108,863.
        retention: delete runs with their histories and keys so long after they ended, in small
            batches beside the work; seconds or a timedelta. None, the default, keeps them.
        observers: callables that are told of every event of `simpleworkflow.core.events`.
        auto_migrate: create or update the tables at the start; False by default.

    Raises:
        UsageError: one of these cannot work; the message says which and why.
    """

    def __init__(
        self,
        db_url: str | Store,
        type_prefixes: Sequence[str] | None = None,
        worker_id: str = "python-worker",
        poll_interval: float | timedelta = 2,
        lease_duration: float | timedelta = 30,
        metrics: Observer | None = None,
        *,
        concurrency: int = 1,
        retry_policy: RetryPolicy | None = None,
        auto_heartbeat: bool = True,
        execution_timeout: float | timedelta | None = None,
        shutdown_timeout: float | timedelta = 30,
        wakeups: bool = True,
        schedules: bool = True,
        max_result_bytes: int = DEFAULT_JSON_BYTES,
        max_error_chars: int = DEFAULT_ERROR_CHARS,
        retention: float | timedelta | None = None,
        observers: Iterable[Observer] = (),
        auto_migrate: bool = False,
    ) -> None:
        observers = tuple(observers)  # with_options() hands them on, and an iterator ends
        # First of all, when nothing else is local.
        self._options = {name: value for name, value in locals().items() if name != "self"}
        self._db_url = db_url
        self._registry = ExecutorRegistry()
        self._settings = Settings(
            worker_id=check_worker_id(worker_id),
            type_prefixes=None if type_prefixes is None else parse_prefixes(type_prefixes),
            poll_interval=_seconds(poll_interval, "poll_interval"),
            lease=check_lease(lease_duration),
            concurrency=check_int(concurrency, "concurrency", at_least=1),
            retry_policy=_policy(retry_policy),
            auto_heartbeat=auto_heartbeat,
            execution_timeout=(
                None
                if execution_timeout is None
                else _seconds(execution_timeout, "execution_timeout")
            ),
            shutdown_timeout=_seconds(shutdown_timeout, "shutdown_timeout", allow_zero=True),
            wakeups=wakeups,
            schedules=schedules,
            max_result_bytes=check_max_bytes(max_result_bytes, "max_result_bytes"),
            max_error_chars=check_max_chars(max_error_chars, "max_error_chars"),
            retention=None if retention is None else check_duration(retention, "retention"),
        )
        # The log first, so that it is told whatever others do.
        told = [LogEvents(), *([] if metrics is None else [metrics]), *observers]
        self._report = Report(told)
        self._auto_migrate = auto_migrate
        self._session: Session | None = None
        self._is_stop_wanted = False
        self._starting = threading.Lock()
        # A URL that cannot work is the caller's mistake here, not one of a thread started later.
        self._store: Store | None = open_store(db_url)
        if retention is not None:
            run_admin(self._store)

    @classmethod
    def from_env(
        cls, env_file: str | os.PathLike[str] | None = ".env", **options: Any
    ) -> IntentPoller:
        """Make a poller from environment variables, and a `.env` file for those not set.

        Reads `DATABASE_URL` (required), `WORKER_TYPE_PREFIXES` (comma-separated; absent means what
        is registered), `WORKER_ID`, `WORKER_LEASE_DURATION` and `POLL_INTERVAL` (seconds).

        Args:
            env_file: the file, looked up from the current folder; None reads no file.
            options: any other argument of IntentPoller; it wins over the environment.

        Raises:
            UsageError: a variable is missing or cannot be read; the message names it.
        """
        return cls(**{**_from_environment(environment(env_file), options), **options})

    def __repr__(self) -> str:
        return f"<IntentPoller {self._settings.worker_id}: {self._registry.route or 'no executor'}>"

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that this poller was made with, by name, with the defaults of the others.

        `db_url` may hold a password.
        """
        return MappingProxyType(self._options)

    def with_options(self, **options: Any) -> Self:
        """Return another poller with the same executors, and these arguments in place of its own.

        Each is started and stopped by itself, and has executors registered later for itself.

        Args:
            options: any argument of IntentPoller; the others are as in `options`.

        Raises:
            UsageError: one of these cannot work; the message says which and why.
        """
        made = copy.copy(self)
        IntentPoller.__init__(made, **{**self._options, **options})
        made._registry = self._registry.copy()
        return made

    def register_executor(
        self,
        workflow_type: str,
        executor: WorkflowExecutor | ExecutorFunction,
        *,
        retry_policy: RetryPolicy | None = None,
        payload_type: type[Any] | None = None,
    ) -> None:
        """Execute runs of a type, or of a pattern such as `notify.%`, with an executor.

        Args:
            workflow_type: an exact type, or a prefix with one `%` at its end. Where several match,
                the most specific one wins.
            executor: a WorkflowExecutor, or a function or coroutine function that takes the run.
            retry_policy: how long its failed runs wait; the poller's policy by default.
            payload_type: the attrs class, dataclass, TypedDict or pydantic model that `run.payload`
                is to be an instance of; the Order of an executor that takes a `WorkflowRun[Order]`
                by default, and without one plain JSON. A payload that does not fit fails its run
                for good, before the executor is called.

        Raises:
            UsageError: that is no pattern, no executor or no class for payloads, the pattern has an
                executor already, or a library for the class is not installed.
        """
        self._registry.register(workflow_type, executor, retry_policy, payload_type)

    def handler(
        self,
        workflow_type: str,
        *,
        retry_policy: RetryPolicy | None = None,
        payload_type: type[Any] | None = None,
    ) -> Callable[[Function], Function]:
        """Register the decorated function as the executor of a type; see `register_executor`."""

        def register(function: Function) -> Function:
            self.register_executor(
                workflow_type, function, retry_policy=retry_policy, payload_type=payload_type
            )
            return function

        return register

    def start(self) -> None:
        """Work until `stop()`; blocks. May be called again afterwards.

        In the main thread SIGTERM and SIGINT stop the worker too, a second one without waiting for
        executors; the previous handlers are put back at the end.

        Raises:
            UsageError: no executor is registered, none lies within `type_prefixes`, or the poller
                runs already.
            StoreUnavailable: the store cannot be reached now. Once started, the worker waits and
                tries again by itself.
            SchemaNotReady: the tables are missing or too old; the message names the command.
        """
        self._run()

    def drain(self, timeout: float | timedelta | None = None) -> int:
        """Work until nothing is claimable or at work; return how many runs were executed.

        Runs that wait for their retry or their `run_at` are left for later.

        Args:
            timeout: stop after so long at the latest, as `stop()` does; None is no limit.

        Raises:
            As `start()`.
        """
        seconds = None if timeout is None else _seconds(timeout, "drain(timeout)", allow_zero=True)
        return self._run(until_idle=True, timeout=seconds)

    def check(self) -> None:
        """Raise what `start()` would raise before it looks for the store, and do nothing else.

        Raises:
            UsageError: no executor is registered, or none lies within `type_prefixes`.
        """
        prefixes = self._settings.type_prefixes
        if not self._registry.route:
            raise UsageError(
                "no executor is registered: call register_executor(type, executor) before start()"
            )
        if prefixes is not None and not self._registry.route.within(prefixes):
            raise UsageError(
                f"no registered executor ({self._registry.route}) lies within "
                f"type_prefixes=[{prefixes}]: nothing would ever be claimed"
            )

    def stop(self) -> None:
        """Claim no more, let executors finish up to `shutdown_timeout`, and let `start()` return.

        Does not wait. Safe from any thread, a signal handler and an executor. A second call gives
        back what is still at work at once. Does nothing when the poller does not run.
        """
        # Kept for the session of a start() that is still coming up.
        self._is_stop_wanted = True
        session = self._session
        if session is not None:
            session.stop()

    def _run(self, *, until_idle: bool = False, timeout: float | None = None) -> int:
        if not self._starting.acquire(blocking=False):
            raise UsageError("this poller runs already: stop it first, or make another one")
        self._is_stop_wanted = False
        try:
            # Here, so that producers, who import this package too, need not load a worker's parts.
            from simpleworkflow.worker.session import Session
            from simpleworkflow.worker.signals import stopping_on_signals

            store = self._opened_store()
            try:
                # Known before anything that may take its time, so that stop() is not missed.
                session = Session(store, self._registry, self._settings, self._report)
                self._session = session
                if self._is_stop_wanted:
                    session.stop()
                self.check()
                self._warn_of_left_out()
                self._prepare(store)
                with stopping_on_signals(session.stop):
                    return session.run(until_idle=until_idle, timeout=timeout)
            finally:
                self._session = None
                self._close(store)
        finally:
            self._starting.release()

    def _opened_store(self) -> Store:
        store, self._store = self._store, None
        return store or open_store(self._db_url)

    def _close(self, store: Store) -> None:
        # A store that the caller made is the caller's to close.
        if store is not self._db_url:
            store.close()

    def _prepare(self, store: Store) -> None:
        if isinstance(store, Migratable):
            if self._auto_migrate:
                store.migrate()
            store.check_schema()

    def _warn_of_left_out(self) -> None:
        prefixes = self._settings.type_prefixes
        if left_out := self._registry.outside(prefixes):
            logger.warning(
                "executors outside type_prefixes=[%s] are never called: %s",
                prefixes,
                ", ".join(map(str, left_out)),
            )


def _seconds(value: float | timedelta, what: str, *, allow_zero: bool = False) -> float:
    return check_duration(value, what, allow_zero=allow_zero).total_seconds()


def _policy(policy: RetryPolicy | None) -> RetryPolicy:
    if policy is not None and not isinstance(policy, RetryPolicy):
        raise UsageError(f"retry_policy={policy!r} must be a RetryPolicy, such as RetryPolicy()")
    return policy or RetryPolicy()


def _from_environment(
    variables: Mapping[str, str | None], options: Mapping[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "db_url" not in options:
        found["db_url"] = database_url(variables)
    if worker_id := variables.get("WORKER_ID"):
        found["worker_id"] = worker_id
    if prefixes := variables.get("WORKER_TYPE_PREFIXES"):
        found["type_prefixes"] = [part.strip() for part in prefixes.split(",") if part.strip()]
    for variable, option in (
        ("WORKER_LEASE_DURATION", "lease_duration"),
        ("POLL_INTERVAL", "poll_interval"),
    ):
        if text := variables.get(variable):
            found[option] = _number(text, variable)
    return found


def _number(text: str, variable: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{variable}={text!r} must be a number of seconds") from None
