"""Threads for synchronous code.

For: capabilities and effects that block. Not for: the SDK's own work, which is all on the event loop.
Invariant: the threads are daemons: code that does not heed a cancellation cannot keep the process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """At most so many threads, made when there is work and no idle one."""

    def __init__(self, threads_max: int) -> None:
        self._max = threads_max
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    async def run(self, code: Callable[[], T], ended: Callable[[], None] | None = None) -> T:
        """Runs the code on a thread, in a copy of the current context.

        Where the wait is cancelled, code that has begun runs on, and what comes of it is dropped. `ended` is called on
        the loop when nothing of it runs any more.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = copy_context()

        def work() -> None:
            settle: Callable[[], None] | None = None
            # No caller waits any more for what was cancelled before its turn.
            if not future.cancelled():
                try:
                    settle = _done(future, context.run(code))
                except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
                    settle = _failed(future, error)

            def over() -> None:
                if settle is not None:
                    settle()
                if ended is not None:
                    ended()

            # The loop may have been closed meanwhile; then the result is not awaited.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(over)

        self._work.put(work)
        if not self._idle.acquire(blocking=False) and self._count < self._max:
            self._count += 1
            threading.Thread(target=self._serve, name=f"consort-{self._count}", daemon=True).start()
        return await future

    def close(self) -> None:
        """Lets idle threads end."""
        for _ in range(self._count):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._work.get_nowait()
        except queue.Empty:
            self._idle.release()
            return self._work.get()


def _done(future: asyncio.Future[T], result: T) -> Callable[[], None]:
    return lambda: None if future.done() else future.set_result(result)


def _failed(future: asyncio.Future[T], error: BaseException) -> Callable[[], None]:
    if isinstance(error, StopIteration):
        # A future cannot carry it.
        error = RuntimeError("the code raised StopIteration")
    return lambda: None if future.done() else future.set_exception(error)
