"""One event-loop thread, on which all coroutine executors of a worker run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from simpleworkflow.worker.log import logger

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class CoroutineThread:
    """Runs awaitables on an event loop of its own, which starts when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._new: deque[tuple[Awaitable[Any], Callable[[Any], None]]] = deque()
        self._is_called = False
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, awaitable: Awaitable[T], on_done: Callable[[T], None]) -> None:
        """Begin to wait for an awaitable, and call `on_done` with its result, on the loop's thread.

        The awaitable must not raise.
        """
        self._new.append((awaitable, on_done))
        loop = self._started()
        # One call for all that gather until the loop gets to it: each wakes it by a system call.
        if not self._is_called:
            self._is_called = True
            loop.call_soon_threadsafe(self._begin)

    def stop(self) -> None:
        """Cancel what still runs and end the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _begin(self) -> None:
        import asyncio

        # First, so that what is appended from now on calls again.
        self._is_called = False
        loop = asyncio.get_running_loop()
        while self._new:
            task = loop.create_task(_finish(*self._new.popleft()))
            # The loop itself keeps no task alive.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                import asyncio

                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_serve, args=(self._loop,), name="simpleworkflow-loop", daemon=True
                ).start()
            return self._loop


async def _finish(awaitable: Awaitable[T], on_done: Callable[[T], None]) -> None:
    on_done(await awaitable)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    asyncio.set_event_loop(loop)
    try:
        while True:
            try:
                loop.run_forever()
                break
            except BaseException:
                # asyncio lets SystemExit in a task end the loop; the task's own waiter gets it too.
                logger.exception("a task on the event loop of coroutine executors raised")
        unfinished = asyncio.all_tasks(loop)
        for task in unfinished:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*unfinished, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
