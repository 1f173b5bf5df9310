"""One event-loop thread, on which all coroutine executors of a worker run."""

from __future__ import annotations

import threading
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from simpleworkflow.worker.report import logger

if TYPE_CHECKING:
    import asyncio


class CoroutineThread:
    """Runs awaitables on an event loop of its own, which starts when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, awaitable: Awaitable[Any], timeout: float | None) -> Any:
        """Wait for an awaitable's result, at most `timeout` seconds; what it raises is raised here.

        Raises:
            TimeoutError: it took longer, and was cancelled.
        """
        import asyncio

        async def outcome() -> tuple[Any, BaseException | None]:
            try:
                return await asyncio.wait_for(awaitable, timeout), None
            except asyncio.CancelledError:
                raise
            except BaseException as exc:
                # SystemExit would end the loop, and with it every other coroutine.
                return None, exc

        result, error = asyncio.run_coroutine_threadsafe(outcome(), self._started()).result()
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """Cancel what still runs and end the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                import asyncio

                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_serve, args=(self._loop,), name="simpleworkflow-loop", daemon=True
                ).start()
            return self._loop


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
