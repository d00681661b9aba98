"""One attempt at a task: runs its code, sends what it asks, gives it results, parks it, stops it.

For: keeping the promises of the journal on an event loop. Not for: connections (see `_worker`) or replay rules (see
`_journal`).
Invariant: an attempt is concluded exactly once, with one last report (complete, fail or park) or with none where it
was stopped; nothing that its code does afterwards is recorded or reported.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, Final, Protocol

from consort._documents import write
from consort._errors import Code, TaskError, microseconds, reported, task_error
from consort._journal import Asked, Journal, wire_error
from consort._proto.v1 import common_pb2, worker_pb2
from consort._quiescence import EFFECT_OF, OWNER, QuiescenceTracker, is_interrupt
from consort._threads import Threads

LOG = logging.getLogger("consort.worker")

SDK_CONTEXT: Final = Context()
"""The context of the SDK's own callbacks: none of them counts as code of an attempt."""

LAG: Final = 0.01
"""Seconds by which a timer may be late before the loop counts as busy, at least."""

INSIDE: ContextVar[Attempt | None] = ContextVar("consort_inside", default=None)
"""The attempt whose local effect runs in this context."""

GONE: Final = frozenset({Code.FENCED, Code.TASK_NOT_FOUND, Code.RUN_NOT_FOUND, Code.RUN_ENDED})
"""Refusals that mean that the worker no longer owns the attempt."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long attempts are waited for, in seconds."""

    park_after: float
    """How long code is quiescent before its task parks."""
    cancel_grace: float
    """How long cancelled code may continue."""


class Host(Protocol):
    """What an attempt needs of the instance that runs it."""

    timeouts: Timeouts
    threads: Threads

    @property
    def epoch(self) -> int:
        """Counts the connections."""
        ...

    def send(self, message: worker_pb2.WorkerMessage) -> None:
        """Hands a message to the present connection; without one it is dropped."""
        ...

    def concluded(self, attempt: Attempt, report: worker_pb2.WorkerMessage | None) -> None:
        """The attempt is over; its last report is to be delivered, however long that takes."""
        ...

    def freed(self, attempt: Attempt) -> None:
        """Nothing of the code of an attempt that is over runs any more."""
        ...


class Runner(Protocol):
    """Where code that is not async runs."""

    async def run(self, code: Callable[[], Any]) -> Any:
        """Runs it, and gives its result."""
        ...


class Attempt:
    """See the module."""

    def __init__(self, offer: worker_pb2.Task, host: Host) -> None:
        self.journal = Journal(list(offer.journal))
        self.offer = offer
        self.task = offer.attempt.task
        self.token = offer.attempt.token
        self.cancelled = asyncio.Event()
        self.over = False
        self.report: worker_pb2.WorkerMessage | None = None
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._quiescence = QuiescenceTracker(offer.capability or offer.step, self._schedule, self._moved)
        self._main: asyncio.Task[bytes] | None = None
        self._effects: dict[int, asyncio.Task[None]] = {}
        self._epoch = host.epoch
        self._scheduled = False
        self._stopping = False
        self._still: asyncio.TimerHandle | None = None
        self._still_due = 0.0
        self._grace: asyncio.TimerHandle | None = None
        self._progress: str | None = None
        # Pieces of code that run on threads, or wait for one.
        self._on_threads = 0

    @property
    def wire(self) -> worker_pb2.Attempt:
        """How messages name the attempt."""
        return self.offer.attempt

    @property
    def threads(self) -> Runner:
        """The worker's threads, which know here what runs for this attempt."""
        return _OwnThreads(self)

    @property
    def is_running(self) -> bool:
        """Whether any of its code runs: as a task, as a local effect or on a thread."""
        tasks: set[asyncio.Task[Any]] = {*self._quiescence.tasks, *self._effects.values()}
        if self._main is not None:
            tasks.add(self._main)
        return self._on_threads > 0 or any(not task.done() for task in tasks)

    async def run_on_thread(self, code: Callable[[], Any]) -> Any:
        """Runs code that is not async."""
        self._on_threads += 1
        return await self._host.threads.run(code, self._thread_ended)

    def _thread_ended(self) -> None:
        self._on_threads -= 1
        self._tell_freed()

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            # Its result is no longer awaited, so its exception would go unretrieved.
            task.exception()
        self._tell_freed()

    def _tell_freed(self) -> None:
        if self.over and not self.is_running:
            self._host.freed(self)

    def start(self, code: Callable[[], Awaitable[bytes]]) -> None:
        """Runs the code as a task of its own, unless the attempt is over already."""
        if self.over:
            return

        async def main() -> bytes:
            return await code()

        context = SDK_CONTEXT.copy()
        context.run(OWNER.set, self._quiescence)
        self._main = context.run(self._loop.create_task, main())
        self._main.add_done_callback(self._ended, context=SDK_CONTEXT)

    # What the code does, by its context.

    def ask(self, entry: worker_pb2.JournalEntry) -> Asked:
        """Requests the next entry."""
        self._check_outside()
        asked = self.journal.ask(entry)
        self._schedule()
        return asked

    def patch(self, name: str, *, record: bool) -> Asked | None:
        """Requests the marker of a patch; see `Journal.patch`."""
        self._check_outside()
        asked = self.journal.patch(name, record=record)
        self._schedule()
        return asked

    def _check_outside(self) -> None:
        if INSIDE.get() is self:
            raise TaskError(
                "the journal was used inside `run`",
                code=Code.BAD_REQUEST,
                hint="let the effect return what it found, and use the journal after it",
            )

    def start_effect(self, index: int, effect: Callable[[], Any], kind: Any) -> None:
        """Runs a local effect, whose result becomes that entry."""
        context = copy_context()
        context.run(OWNER.set, None)
        context.run(EFFECT_OF.set, self.offer.capability)
        context.run(INSIDE.set, self)
        self._effects[index] = context.run(self._loop.create_task, self._run_effect(index, effect, kind))

    async def _run_effect(self, index: int, effect: Callable[[], Any], kind: Any) -> None:
        try:
            value = await call(effect, self.threads)
            self.journal.finish_run(index, write("result of `run`", value, kind))
        except asyncio.CancelledError:
            self.journal.drop_run(index)
        except BaseException as error:
            if is_interrupt(error):
                raise
            failure = task_error(error)
            if failure.retryable:
                failure.__cause__ = error if failure is not error else error.__cause__
                self.journal.close(failure)
            else:
                self.journal.finish_run(index, failure)
        finally:
            self._effects.pop(index, None)
            self._schedule()

    def drop_effect(self, index: int) -> None:
        """The code no longer waits for a local effect: it is stopped."""
        effect = self._effects.get(index)
        if effect is not None and not self.over:
            self.journal.drop_run(index)
            effect.cancel()
            self._schedule()

    def leave(self, index: int) -> None:
        """The code has dropped an answer unread. It is recorded when the code is quiescent, if it continues."""
        self.journal.leave(index)

    def progress(self, message: str) -> None:
        """Shows watchers a message; where messages come too fast the latest is sent."""
        if self._progress is None and not self.over:
            self._loop.call_soon(self._send_progress, context=SDK_CONTEXT)
        self._progress = message

    def _send_progress(self) -> None:
        message, self._progress = self._progress, None
        if message is not None and not self.over:
            self._send(worker_pb2.WorkerMessage(progress=worker_pb2.Progress(attempt=self.wire, message=message)))

    def stream(self, delta: common_pb2.Delta) -> None:
        """Sends partial output to watchers."""
        if not self.over:
            self._send(worker_pb2.WorkerMessage(stream=worker_pb2.Stream(attempt=self.wire, delta=delta)))

    def on_loop(self, code: Callable[[], None]) -> None:
        """Does it now where this is the loop's thread, else there soon."""
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            code()
        else:
            self._loop.call_soon_threadsafe(code)

    # What the session does.

    def recorded(self, index: int, entry: worker_pb2.JournalEntry) -> None:
        """The server has recorded or answered an entry."""
        self.journal.record(index, entry)
        self._schedule()

    def cancel(self, reason: str) -> None:
        """Asks the code to end: it gets `CancelledError` and a short grace."""
        if self.over or self._stopping:
            return
        self._stopping = True
        self.journal.end()
        self.cancelled.set()
        LOG.debug("task %s is cancelled: %s", self.task, reason)
        self._cancel_code()

    def abort(self) -> None:
        """Stops at once and reports nothing: another attempt owns the task, or it was cancelled."""
        if not self.over:
            self._conclude(None)

    def refused(self, error: common_pb2.Error) -> None:
        """A report was refused: an owner that is none stops, any other fails with the reason."""
        if error.code in GONE:
            self.abort()
        elif not self.over:
            self._end(self.failure(reported(error.code, error.message, error.hint)))

    def reconnected(self) -> None:
        """The connection is a new one."""
        self._schedule()

    # How it is driven.

    def _moved(self) -> None:
        """The code runs on."""
        if self._still is not None:
            self._still.cancel()
            self._still = None

    def _schedule(self) -> None:
        if not self._scheduled and not self.over:
            self._scheduled = True
            self._loop.call_soon(self._drive, context=SDK_CONTEXT)

    def _drive(self) -> None:
        """Where the code is quiescent: sends its requests, and gives it the next result."""
        self._scheduled = False
        if self.over or self._stopping or self._quiescence.pending:
            # Running code comes here again when it is quiescent.
            return
        if self._epoch != self._host.epoch:
            self._epoch = self._host.epoch
            self.journal.send_again()
        while (found := self.journal.next_to_send()) is not None:
            index, entry = found
            record = worker_pb2.Record(attempt=self.wire, index=index, entry=entry)
            self._send(worker_pb2.WorkerMessage(record=record))
        while self.journal.release():
            if self._quiescence.pending:
                return
        self._rest()

    def _rest(self) -> None:
        """The code is quiescent and nothing is due: checks again after a while."""
        idle = self.journal.holds_back or self.journal.is_parkable
        if idle and self._still is None:
            after = self._host.timeouts.park_after
            self._still_due = self._loop.time() + after
            self._still = self._loop.call_at(self._still_due, self._stood_still, context=SDK_CONTEXT)
        elif not idle:
            self._moved()

    def _stood_still(self) -> None:
        self._still = None
        if self.over or self._stopping or self._quiescence.pending:
            return
        if self._loop.time() - self._still_due > max(self._host.timeouts.park_after, LAG):
            # The loop was busy: what would have moved the code may not have been read yet.
            self._rest()
        elif self.journal.holds_back:
            self.journal.stop_holding_back()
            self._drive()
        elif waiting := self.journal.parkable():
            park = worker_pb2.Park(attempt=self.wire, waiting=waiting)
            self._end(worker_pb2.WorkerMessage(park=park))

    def _end(self, report: worker_pb2.WorkerMessage) -> None:
        """Drops the code, and reports when it has ended, or when that takes too long."""
        if self._stopping:
            return
        self._stopping = True
        self.report = report
        self.journal.end()
        self._cancel_code()

    def _cancel_code(self) -> None:
        if self._main is None:
            # It has not begun.
            self._conclude(self.report)
            return
        if self._main.done():
            return
        self._grace = self._loop.call_later(self._host.timeouts.cancel_grace, self._abandoned, context=SDK_CONTEXT)
        self._main.cancel()

    def _abandoned(self) -> None:
        LOG.warning(
            "the code of task %s (%s) still runs %g s after it was cancelled; it is left alone",
            self.task,
            self.offer.capability,
            self._host.timeouts.cancel_grace,
        )
        self._conclude(self.report)

    def _ended(self, main: asyncio.Task[bytes]) -> None:
        """The code has come to its end."""
        failure = None if main.cancelled() else main.exception()
        if self.over:
            return
        try:
            report = self.report if self._stopping else self._outcome(main, failure)
        except Exception:
            LOG.exception("the report on task %s (%s) cannot be made", self.task, self.offer.capability)
            report = self.last_resort()
        self._conclude(report)

    def _outcome(self, main: asyncio.Task[bytes], failure: BaseException | None) -> worker_pb2.WorkerMessage:
        """The last report that the end of the code means."""
        if main.cancelled():
            error = TaskError("the code cancelled itself", retryable=True)
        elif failure is not None:
            error = task_error(failure)
        else:
            diverged = self.journal.verdict(well=True)
            if diverged is None:
                complete = worker_pb2.Complete(attempt=self.wire, output=main.result())
                return worker_pb2.WorkerMessage(complete=complete)
            error = diverged
        error = self.journal.verdict(well=False) or error
        unforeseen = failure is not None and not isinstance(failure, TaskError)
        LOG.log(
            logging.WARNING if unforeseen else logging.INFO,
            "task %s (%s, step %s of run %s) failed: %s",
            self.task,
            self.offer.capability,
            self.offer.step,
            self.offer.run,
            error,
            exc_info=failure if unforeseen else None,
        )
        return self.failure(error)

    def failure(self, error: TaskError) -> worker_pb2.WorkerMessage:
        """The report that the attempt failed with this error; where that cannot be written, with fixed words."""
        try:
            fail = worker_pb2.Fail(attempt=self.wire, error=wire_error(error), retryable=error.retryable)
            if error.retry_after is not None:
                fail.retry_after_us = microseconds(error.retry_after)
        except Exception:
            LOG.exception("the failure of task %s (%s) cannot be written", self.task, self.offer.capability)
            return self.last_resort()
        return worker_pb2.WorkerMessage(fail=fail)

    def last_resort(self) -> worker_pb2.WorkerMessage:
        """A report that can always be made and is always taken: the attempt must not stay taken for want of one."""
        error = common_pb2.Error(
            code=Code.AGENT_FAILED,
            message="the attempt ended, but what came of it cannot be reported",
            hint="the log of the worker says why",
        )
        return worker_pb2.WorkerMessage(fail=worker_pb2.Fail(attempt=self.wire, error=error))

    def _conclude(self, report: worker_pb2.WorkerMessage | None) -> None:
        self._send_progress()
        self.over = True
        self.report = report
        self.journal.end()
        self.cancelled.set()
        self._moved()
        if self._grace is not None:
            self._grace.cancel()
        left: set[asyncio.Task[Any]] = {*self._quiescence.tasks, *self._effects.values()}
        if self._main is not None:
            left.add(self._main)
        for task in left:
            if not task.done():
                task.add_done_callback(self._task_ended, context=SDK_CONTEXT)
                task.cancel()
        self._host.concluded(self, report)

    def _send(self, message: worker_pb2.WorkerMessage) -> None:
        self._host.send(message)


class _OwnThreads:
    """The worker's threads, as one attempt uses them."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    async def run(self, code: Callable[[], Any]) -> Any:
        """Runs it, and gives its result."""
        return await self._attempt.run_on_thread(code)


async def call(code: Callable[[], Any], threads: Runner) -> Any:
    """Calls code of either kind: async code here, other code on a thread."""
    if is_async(code):
        return await code()
    value = await threads.run(code)
    # Such as a lambda around an async function.
    return await value if inspect.isawaitable(value) else value


def is_async(code: Callable[..., Any]) -> bool:
    """Whether calling it gives an awaitable and does not block, as far as one can see."""
    while isinstance(code, functools.partial):
        code = code.func
    return inspect.iscoroutinefunction(code) or inspect.iscoroutinefunction(getattr(code, "__call__", None))  # noqa: B004
