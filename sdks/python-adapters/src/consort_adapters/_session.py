"""One attempt as the adapters see it: its task, its ledger, and its live progress.

For: everything that an adapter shares with the others. Not for: anything that names a framework.
Invariant: the session of an attempt is found by context, so one graph, crew or agent object serves any number of
attempts side by side, and outside of an attempt every wrapper passes straight through.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

from consort import Agent, Effect, TaskContext, TaskError
from consort_adapters._errors import task_error
from consort_adapters._ledger import Codec, Found, Ledger, digest_of
from consort_adapters._types import Usage

T = TypeVar("T")

_IS_ALONE: ContextVar[bool] = ContextVar("consort_adapters_is_alone", default=False)
_IS_RECORDED: ContextVar[bool] = ContextVar("consort_adapters_is_recorded", default=False)
_ACTIVE: ContextVar[Session | None] = ContextVar("consort_adapters_session", default=None)


class Session:
    """What belongs to one attempt."""

    def __init__(self, task: TaskContext, *, durable: bool) -> None:
        """`durable`: whether answers are recorded and replayed."""
        self.task = task
        self.durable = durable
        self.ledger = Ledger(task.run)
        self.usage = Usage()
        self.stopped = False
        """Whether the attempt has ended: threads that still run for it must stop."""
        self._quiet = asyncio.Condition()
        self._asking = 0
        self._alone = 0
        """How many run alone or wait for it; who comes after them waits, so that the order is that of arrival."""
        self._is_alone = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    # What watchers see.

    def progress(self, message: str) -> None:
        """Shows watchers in a few words what is being done. From any thread."""
        self._on_loop(lambda: self.task.progress(message))

    def text(self, text: str) -> None:
        """Shows more of the answer. From any thread."""
        if text:
            self._on_loop(lambda: self.task.stream(text))

    def show(self, document: dict[str, Any]) -> None:
        """Shows a document. From any thread."""
        self._on_loop(lambda: self.task.stream(document))

    def _on_loop(self, tell: Callable[[], None]) -> None:
        if self.stopped:
            return
        if threading.get_ident() == self._thread:
            tell()
        else:
            self._loop.call_soon_threadsafe(tell)

    # Durable answers.

    async def once(self, what: str, question: Any, ask: Callable[[], Awaitable[T]], codec: Codec[T]) -> Found[T]:
        """The recorded answer to `question`, or what `ask` gives, which is durable before it is returned.

        Equal requests are distinguished by their number. A failure of `ask` is not recorded: a framework
        may deal with it in its own way, and the next attempt asks again.
        """
        if not self.durable:
            self.progress(what)
            return Found(await ask(), replayed=False)

        digest = digest_of(what, question)
        async with self.beside():
            recorded = await self.find(what, digest)
            if recorded is not None:
                return Found(codec.load(recorded.value), replayed=True)
            self.progress(what)
            token = _IS_RECORDED.set(True)
            try:
                value = await ask()
            finally:
                _IS_RECORDED.reset(token)
            await self.ledger.answer(what, digest, value, codec)
            return Found(value, replayed=False)

    async def alone(self, what: str, code: Callable[[], Awaitable[T]]) -> T:
        """Runs code that uses the task's journal itself, while nothing else is asked.

        So its entries are in one piece between the others, in the same place in each attempt, and a task that only
        waits for them loses no other work when it parks.
        """
        if _IS_ALONE.get():
            return await code()
        if _IS_RECORDED.get():
            raise TaskError(
                f"{what} uses the task's journal inside of a tool that is recorded as a whole",
                code="C0001",
                hint="name the outer tool in `calls`, too",
            )
        async with self._quiet:
            self._alone += 1
            try:
                await self._quiet.wait_for(lambda: not self._is_alone and not self._asking)
            except BaseException:
                self._alone -= 1
                self._quiet.notify_all()
                raise
            self._is_alone = True
        token = _IS_ALONE.set(True)
        try:
            self.progress(what)
            return await code()
        finally:
            _IS_ALONE.reset(token)
            self._is_alone = False
            self._alone -= 1
            await self._tell_quiet()

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Asks beside others, but not beside code that runs alone, unless it is asked by that code.

        What is asked inside of something that is being asked is part of it.
        """
        if _IS_ALONE.get() or _IS_RECORDED.get():
            yield
            return
        async with self._quiet:
            await self._quiet.wait_for(lambda: not self._alone)
            self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            await self._tell_quiet()

    async def _tell_quiet(self) -> None:
        async with self._quiet:
            self._quiet.notify_all()

    async def find(self, what: str, digest: str) -> Found[Any] | None:
        """The recorded answer as JSON, for adapters that record what they find by themselves."""
        recorded = await self.ledger.find(digest)
        if recorded is not None:
            self.progress(f"{what} (from the journal)")
        return recorded

    def once_in_thread(self, what: str, question: Any, ask: Callable[[], T], codec: Codec[T]) -> Found[T]:
        """Like `once`, for code that runs on a thread of its own."""
        self.check()
        if not self.durable:
            self.progress(what)
            return Found(ask(), replayed=False)
        digest = digest_of(what, question)
        recorded = self.wait(self.find(what, digest))
        if recorded is not None:
            return Found(codec.load(recorded.value), replayed=True)
        self.progress(what)
        value = ask()
        self.check()
        self.wait(self.ledger.answer(what, digest, value, codec))
        return Found(value, replayed=False)

    def check(self) -> None:
        """Stops a thread whose attempt has ended."""
        if self.stopped:
            raise Stopped

    @property
    def may_wait(self) -> bool:
        """Whether the current thread may wait for the event loop, which is not on it."""
        return threading.get_ident() != self._thread

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits on another thread for work of the event loop. Where that fails the thread ends: see `Stopped`."""
        if not self.may_wait:
            work.close()
            raise RuntimeError("the event loop cannot wait for itself: call this from another thread")
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except (Exception, CancelledError) as error:
            raise Stopped(str(error)) from error


async def on_thread(code: Callable[[], T]) -> T:
    """Runs code that blocks on a thread of its own, in a copy of the current context.

    The thread is a daemon: code that hangs keeps neither the place of another task nor the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = copy_context()

    def settle(give: Callable[[], None]) -> None:
        # The loop may have been closed meanwhile; then the result is not awaited.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if future.done() else give())

    def work() -> None:
        try:
            result = context.run(code)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            failure = RuntimeError("the code raised StopIteration") if isinstance(error, StopIteration) else error
            settle(lambda: future.set_exception(failure))
        else:
            settle(lambda: future.set_result(result))

    threading.Thread(target=work, name="consort-adapter", daemon=True).start()
    return await future


class Stopped(BaseException):
    """Ends a thread whose attempt was cancelled or can record nothing more.

    Not an `Exception`: frameworks would ask the model again.
    """


def active() -> Session | None:
    """The session of the attempt that this code runs for; `None` outside of an attempt."""
    session = _ACTIVE.get()
    return None if session is None or session.stopped else session


async def attend(
    task: TaskContext,
    work: Callable[[Session], Awaitable[T]],
    *,
    durable: bool,
    final: tuple[type[BaseException], ...] = (),
) -> T:
    """Does the work of one attempt: makes its session, maps its failure, and leaves the journal read to its end."""
    session = Session(task, durable=durable)
    token = _ACTIVE.set(session)
    try:
        result = await work(session)
        if durable:
            await session.ledger.settle()
        session.show({"usage": session.usage.model_dump()})
    except Stopped as stopped:
        cause = stopped.__cause__ or stopped
        raise task_error(cause, final) from cause
    except Exception as error:
        raise task_error(error, final) from error
    finally:
        session.stopped = True
        _ACTIVE.reset(token)
    return result


@dataclass(frozen=True)
class Schema:
    """A type that is known by its JSON Schema alone."""

    document: dict[str, Any]
    """The schema."""


def declare(
    agent: Agent,
    capability: str,
    *,
    input: Any,
    output: Any,
    effect: Effect,
    description: str | None,
    handler: Callable[[TaskContext, Any], Awaitable[Any]],
) -> Agent:
    """Adds the capability to the agent, with the types that its schemas come from."""

    async def serve(ctx: TaskContext, input: Any) -> Any:
        return await handler(ctx, input)

    kinds = {"input": input, "return": output}
    known = {key: Any if isinstance(kind, Schema) else kind for key, kind in kinds.items()}
    serve.__annotations__ = {"ctx": TaskContext, **known}
    agent.add(
        serve,
        capability,
        effect=effect,
        description=description or "",
        input_schema=input.document if isinstance(input, Schema) else None,
        output_schema=output.document if isinstance(output, Schema) else None,
    )
    return agent
