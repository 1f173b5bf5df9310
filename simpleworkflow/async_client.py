"""AsyncClient: a Client for asyncio programs, whose calls wait on threads of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextvars import copy_context
from datetime import timedelta
from functools import partial, wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from simpleworkflow.backends.registry import migrate
from simpleworkflow.client import Client
from simpleworkflow.core.errors import StoreClosed, StoreUnavailable, UsageError
from simpleworkflow.core.events import Observer
from simpleworkflow.core.records import Run
from simpleworkflow.core.states import TERMINAL
from simpleworkflow.core.storable import DEFAULT_JSON_BYTES
from simpleworkflow.core.store import Store
from simpleworkflow.results import Patience, result_of
from simpleworkflow.schedules import Schedules

THREADS = 16
"""Calls that are under way at once; more wait for their turn."""

P = ParamSpec("P")
T = TypeVar("T")


def _awaited(
    method: Callable[Concatenate[Client, P], T],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """Return a method of Client as one of AsyncClient: the same, to be awaited."""

    @wraps(method)
    async def call(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._call(partial(method, self._client, *args), kwargs)

    return call


def _awaited_schedules(
    method: Callable[Concatenate[Schedules, P], T],
) -> Callable[Concatenate[AsyncSchedules, P], Coroutine[Any, Any, T]]:
    """Return a method of Schedules as one of AsyncSchedules: the same, to be awaited."""

    @wraps(method)
    async def call(self: AsyncSchedules, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._client._call(partial(method, self._schedules, *args), kwargs)

    return call


class AsyncClient:
    """A Client whose methods are awaited; for asyncio programs, and an async context manager.

    Args:
        url_or_store: a database URL, `memory://name`, or a Store, which stays the caller's to
            close.
        auto_migrate: create or update the tables before the first call; False by default.
        max_payload_bytes: as for `Client`; 64 MiB by default.
        observers: as for `Client`.

    Raises:
        UsageError: the URL names no store that can be opened, or another argument cannot be.

    A call runs on one of up to 16 threads of its own, so that the event loop never waits for the
    database, and may be made from any event loop. Cancelling the task that awaits it changes
    nothing in the database: a call that had not begun is not made, another goes on to its end
    unheard. A submit may thus have happened; with an `idempotency_key` it can be repeated.

    `connection=` takes an AsyncSession or AsyncConnection of SQLAlchemy. Such a call runs on the
    event loop, as all that they do, and when it is cancelled so is the statement.
    """

    def __init__(
        self,
        url_or_store: str | Store,
        *,
        auto_migrate: bool = False,
        max_payload_bytes: int = DEFAULT_JSON_BYTES,
        observers: Iterable[Observer] = (),
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._client = Client(
            url_or_store, max_payload_bytes=max_payload_bytes, observers=observers
        )
        self._to_migrate = url_or_store if auto_migrate else None
        self._threads = ThreadPoolExecutor(THREADS, "simpleworkflow-async")
        self._is_closed = False

    async def __aenter__(self) -> AsyncClient:
        await self._prepare()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return repr(self._client).replace("<Client", "<AsyncClient", 1)

    submit = _awaited(Client.submit)
    submit_many = _awaited(Client.submit_many)
    cancel = _awaited(Client.cancel)
    get = _awaited(Client.get)
    events = _awaited(Client.events)

    async def wait(self, run_id: str, timeout: float | timedelta | None = None) -> Run:
        import asyncio

        # Between its questions it holds no thread: any number of tasks may wait.
        patience = Patience(timeout)
        run = await self.get(run_id)
        pause = patience.pause()
        while run.status not in TERMINAL:
            await asyncio.sleep(min(patience.left(run), pause))
            try:
                run = await self.get(run_id)
                patience.answered()
                pause = patience.pause()
            except StoreUnavailable as exc:
                pause = patience.after(exc)
        return run

    wait.__doc__ = Client.wait.__doc__

    async def result(self, run_id: str, timeout: float | timedelta | None = None) -> Any:
        return result_of(await self.wait(run_id, timeout))

    result.__doc__ = Client.result.__doc__

    @property
    def schedules(self) -> AsyncSchedules:
        """What submits runs at set times; see `Schedules`.

        Raises:
            UsageError: this store keeps no schedules.
        """
        return AsyncSchedules(self, self._client.schedules)

    async def aclose(self) -> None:
        """Give up connections and threads; waits for the calls that are under way."""
        import asyncio

        self._is_closed = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._client.close()
        self._threads.shutdown()

    async def _call(self, method: Callable[..., T], kwargs: dict[str, Any]) -> T:
        await self._prepare()
        connection = kwargs.get("connection")
        if connection is None:
            return await self._on_a_thread(partial(method, **kwargs))
        run_sync = getattr(connection, "run_sync", None)
        if run_sync is None:
            kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
            raise UsageError(
                f"connection={kind} is none that AsyncClient can use: give an AsyncSession or "
                "AsyncConnection of SQLAlchemy, or give it to Client.submit if it is not "
                "asynchronous"
            )
        answer: T = await run_sync(lambda joined: method(**{**kwargs, "connection": joined}))
        return answer

    async def _prepare(self) -> None:
        if self._is_closed:
            raise StoreClosed("this client was closed: open a new one")
        if self._to_migrate is not None:
            # Two calls that are both the first do it twice, which does no harm.
            await self._on_a_thread(partial(migrate, self._to_migrate))
            self._to_migrate = None

    async def _on_a_thread(self, call: Callable[[], T]) -> T:
        import asyncio

        loop = asyncio.get_running_loop()
        # With the task's context, as tracing libraries expect it.
        return await loop.run_in_executor(self._threads, copy_context().run, call)


class AsyncSchedules:
    """The `Schedules` of an AsyncClient, as `client.schedules`; their methods are awaited."""

    def __init__(self, client: AsyncClient, schedules: Schedules) -> None:
        self._client = client
        self._schedules = schedules

    create = _awaited_schedules(Schedules.create)
    list = _awaited_schedules(Schedules.list)
    get = _awaited_schedules(Schedules.get)
    pause = _awaited_schedules(Schedules.pause)
    resume = _awaited_schedules(Schedules.resume)
    update = _awaited_schedules(Schedules.update)
    delete = _awaited_schedules(Schedules.delete)
    run_now = _awaited_schedules(Schedules.run_now)
