"""Detects when the code of an attempt is quiescent on an event loop that it shares with other code.

For: giving code one result at a time (see `_journal`), and telling whose code holds or would end the loop. Not for:
deciding which result.
Invariant: code is quiescent when no callback that belongs to it is in the loop's queue. A callback belongs to an
attempt by its context: asyncio runs each step of a task, and each callback of a future, in the context in which the
task or the callback was made, and a task that code makes inherits the context of that code. So chains of any length
(tasks, `gather`, locks, queues) are followed to their end, without guessing how many rounds of the loop they take.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Final

from consort._errors import Code, ConsortError

LOG = logging.getLogger("consort.worker")

HELD_SECONDS: Final = 1.0
"""How long one step of async code may take before the log names it."""
HELD_HINT: Final = (
    "nothing else of this worker runs meanwhile: use an async client, `asyncio.to_thread`, or a plain `def`, "
    "which runs on a thread"
)

clock = time.monotonic
"""The time; tests replace it."""


class QuiescenceTracker:
    """Counts the callbacks of one attempt that wait to run, and knows its tasks."""

    __slots__ = ("__weakref__", "_on_move", "_on_still", "name", "pending", "tasks")

    def __init__(self, name: str, on_still: Callable[[], None], on_move: Callable[[], None]) -> None:
        """`on_still` is called when the last waiting callback has run, `on_move` when the first one waits."""
        self._on_still = on_still
        self._on_move = on_move
        self.name = name
        """The capability, for logs."""
        self.pending = 0
        """Callbacks that wait to run, or run."""
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        """Every task that ran in the attempt's context."""

    def enter(self, callback: object) -> None:
        """A callback waits to run."""
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            self.tasks.add(owner)
        self.pending += 1
        if self.pending == 1:
            self._on_move()

    def leave(self) -> None:
        """A callback has run, or will never run."""
        self.pending -= 1
        if self.pending == 0:
            self._on_still()


OWNER: ContextVar[QuiescenceTracker | None] = ContextVar("consort_owner", default=None)
"""Whose code runs in this context."""

EFFECT_OF: ContextVar[str | None] = ContextVar("consort_effect_of", default=None)
"""The capability whose local effect runs in this context; its callbacks are guarded, but do not count."""


class _Counted:
    """A callback of an attempt's code: guarded, and counted until it has run or its handle was cancelled.

    asyncio lets `SystemExit` and `KeyboardInterrupt` of a task out of the loop, beside giving them to what awaits
    the task. Here they go no further: they are the outcome of the code that raised them, not of the worker.
    """

    __slots__ = ("_callback", "_name", "_owner", "_watch")

    def __init__(
        self, callback: Callable[..., object], owner: QuiescenceTracker | None, name: str, watch: _Watch
    ) -> None:
        self._callback = callback
        self._owner = owner
        self._name = name
        self._watch = watch

    @property
    def __self__(self) -> object:
        # asyncio shows handles by the object that their callback is bound to.
        return getattr(self._callback, "__self__", None)

    def __call__(self, *args: Any) -> None:
        owner, self._owner = self._owner, None
        self._watch.entered(self._name)
        try:
            self._callback(*args)
        except (SystemExit, KeyboardInterrupt) as error:
            if is_interrupt(error):
                raise
        finally:
            if owner is not None:
                owner.leave()
            self._watch.left()

    def __del__(self) -> None:
        # A handle that is cancelled drops its callback.
        if self._owner is not None:
            self._owner.leave()

    def __repr__(self) -> str:
        return repr(self._callback)


class _Watch:
    """The watched `call_soon` of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.users = 0
        self._plain = loop.call_soon
        # The capability whose callback runs, and since when; read by other threads too.
        self._runs: tuple[str, float] | None = None
        self._told: tuple[str, float] | None = None

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        owner = OWNER.get() if context is None else context.get(OWNER)
        if owner is None:
            name = EFFECT_OF.get() if context is None else context.get(EFFECT_OF)
            if name is not None:
                callback = _Counted(callback, None, name, self)
            return self._plain(callback, *args, context=context)
        owner.enter(callback)
        return self._plain(_Counted(callback, owner, owner.name, self), *args, context=context)

    # Code that holds the loop.

    def entered(self, name: str) -> None:
        """A callback of this capability begins to run."""
        self._runs = (name, clock())

    def left(self) -> None:
        """It has ended."""
        runs, self._runs = self._runs, None
        if runs is not None and (held := clock() - runs[1]) >= HELD_SECONDS:
            LOG.warning("`%s` blocked the event loop for %.1f s; %s", runs[0], held, HELD_HINT)

    def look(self) -> None:
        """Tells once, from any thread, of code that holds the loop and has not ended."""
        runs = self._runs
        if runs is None or runs == self._told or (held := clock() - runs[1]) < HELD_SECONDS:
            return
        self._told = runs
        LOG.warning("`%s` blocks the event loop, for %.1f s so far; %s", runs[0], held, HELD_HINT)


def is_interrupt(error: BaseException) -> bool:
    """Whether it may be the user's Ctrl-C: raised on the main thread, where Python's handler was not replaced."""
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def look(loop: asyncio.AbstractEventLoop) -> None:
    """Tells of code that holds the loop for long; to be called now and then, from another thread."""
    found = getattr(loop.call_soon, "__self__", None)
    if isinstance(found, _Watch):
        found.look()


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Watches the loop until `unwatch` was called as often; refuses a loop that cannot be watched.

    asyncio's own loops and uvloop's can: their tasks and futures look `call_soon` up on the loop.
    """
    current: Any = loop.call_soon
    found = getattr(current, "__self__", None)
    if not isinstance(found, _Watch):
        found = _Watch(loop)
        # On the object, not its class: other loops of the process stay as they are.
        try:
            loop.call_soon = found.call_soon  # type: ignore[method-assign, assignment]
        except AttributeError as error:
            kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
            raise ConsortError(
                f"agents cannot run on an event loop of the type `{kind}`: its `call_soon` cannot be watched",
                code=Code.BAD_REQUEST,
                hint="run the worker by `asyncio.run` or `uvloop.run`",
            ) from error
    found.users += 1


def unwatch(loop: asyncio.AbstractEventLoop) -> None:
    """Ends a `watch`. Where other code has replaced `call_soon` since, ours stays below and only passes on."""
    current: Any = loop.call_soon
    found = getattr(current, "__self__", None)
    if isinstance(found, _Watch):
        found.users -= 1
        if found.users == 0:
            del loop.call_soon
