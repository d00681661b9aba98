"""What the code of a task can use: its identity, durable effects, calls, sleeps, signals, approvals, progress.

For: handlers. Not for: the worker's own bookkeeping (see `_attempt`).
Invariant: an entry gets its position when the method is called, not when its answer is awaited, so the order of
calls in the text of the program is the order in the journal.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args, get_origin, get_type_hints, overload

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from typing_extensions import ParamSpec, override

from consort._attempt import Attempt
from consort._documents import adapter, read, write, write_sorted
from consort._errors import Code, Seconds, TaskError, cut, microseconds, shown, whole
from consort._journal import PATCH, Journal
from consort._proto.v1 import common_pb2, worker_pb2
from consort._state import StateSpace, StateTransaction
from consort._update import Sent, Update

T = TypeVar("T")
U = TypeVar("U")
P = ParamSpec("P")

ATTEMPTS_MAX: Final = 1_000
"""Attempts of one task."""
FACTOR_MAX: Final = 1_000_000
"""What a pause grows by, at most."""
PRIORITY_MAX: Final = 2**31 - 1
"""The highest priority; the lowest is one below its negative."""

_CURRENT: ContextVar[TaskContext | None] = ContextVar("consort_context", default=None)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a call is tried, and with what pauses."""

    attempts: int
    """Attempts at most, the first included; from 1 to 1,000."""
    initial: Seconds = 1.0
    """The pause after the first failure."""
    factor: float = 2.0
    """What each further pause grows by; from 1 to 1,000,000."""
    max: Seconds = 60.0
    """The longest pause."""

    def wire(self) -> worker_pb2.Retry:
        """As a message of the protocol; what is out of range is refused by name."""
        if not isinstance(self.factor, (int, float)) or not 1 <= self.factor <= FACTOR_MAX:
            raise TaskError(
                f"the factor of `{shown(self.factor)}` is no number from 1 to {FACTOR_MAX}", code=Code.BAD_REQUEST
            )
        return worker_pb2.Retry(
            attempts=whole("attempts", self.attempts, 1, ATTEMPTS_MAX),
            initial_us=microseconds(self.initial, "first pause"),
            factor_milli=round(self.factor * 1000),
            max_us=microseconds(self.max, "longest pause"),
        )


@dataclass(frozen=True, slots=True)
class Route:
    """Which instances may take a call, beside those that have the capability."""

    version: str = ""
    """Versions of the agent: a range such as `^1.2`, or one version; empty for any."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that the instance or its agent must have."""
    sticky: str = ""
    """Calls with the same text go to the same instance while it is there and healthy; empty for none."""

    def wire(self) -> common_pb2.Route:
        """As a message of the protocol."""
        route: common_pb2.Route = _message(
            common_pb2.Route, version=self.version, labels=dict(self.labels), sticky=self.sticky
        )
        return route


class Approval(BaseModel):
    """A person's decision."""

    approved: bool
    """Whether it was approved."""
    by: str
    """The name of the person who decided."""
    comment: str | None = None
    """The person's comment."""
    value: Any = None
    """What was approved: the detail of the question, or what the person made of it. `None` after a no."""


class Answer(Coroutine[Any, Any, T]):
    """The answer to a journal entry. The entry exists as soon as the answer does, awaited or not.

    It is awaited like a coroutine, also by `asyncio.gather`, `asyncio.create_task` or a task group; unlike one it may
    be awaited more than once.

    A wait (a pause, a signal, an approval) is open until its answer is read, or until nothing refers to it any more:
    one that lost a race, or whose branch was cancelled, is closed durably. Its question leaves the inbox, and a signal
    goes to the next wait of its name. A call whose answer is dropped continues.
    """

    __slots__ = ("_attempt", "_index", "_make", "_read", "_seen", "_steps")

    def __init__(self, attempt: Attempt, index: int, kind: Any, make: Callable[[Any], T] | None = None) -> None:
        self._attempt = attempt
        self._index = index
        self._read = kind
        self._make = make
        self._steps: Generator[Any, None, T] | None = None
        self._seen = False

    def __del__(self) -> None:
        if not self._seen:
            self._attempt.leave(self._index)

    @property
    def index(self) -> int:
        """The entry's position in the journal, from 0."""
        return self._index

    @override
    def __await__(self) -> Generator[Any, None, T]:
        while (found := self.peek()) is None:
            yield from _Wait(self._attempt, [self._index]).__await__()
        return found[0]

    def peek(self) -> tuple[T] | None:
        """The result if the code may see it."""
        try:
            data = self._attempt.journal.poll(self._index)
        except TaskError:
            self._seen = True
            raise
        if data is None:
            return None
        self._seen = True
        if self._read is None:
            # A sleep: its answer is empty.
            return (None,)  # type: ignore[return-value]
        value = read("answer", data, self._read, Code.BAD_OUTPUT)
        return (value if self._make is None else self._make(value),)

    @override
    def send(self, value: Any, /) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.send(value)

    @override
    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        error = typ if isinstance(typ, BaseException) else typ() if val is None else val
        return self._steps.throw(error)

    @override
    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()


class Patch(Awaitable[T]):
    """What `patched` and `deprecate_patch` give: to be awaited, and nothing to be tested without that.

    It may be awaited more than once.
    """

    __slots__ = ("_marker", "_read")

    def __init__(self, marker: Answer[Any] | None, kind: Callable[[bool], T]) -> None:
        self._marker = marker
        self._read = kind

    @override
    def __await__(self) -> Generator[Any, None, T]:
        if self._marker is not None:
            yield from self._marker.__await__()
        return self._read(self._marker is not None)

    def __bool__(self) -> bool:
        raise TypeError("whether the code is patched is not known yet; write `await ctx.patched(…)`")


class _Wait(Awaitable[None]):
    """Waits until the result of one of the entries is released.

    Where the wait is broken off, local effects that have no other waiter are dropped.
    """

    __slots__ = ("_attempt", "_indexes")

    def __init__(self, attempt: Attempt, indexes: list[int]) -> None:
        self._attempt = attempt
        self._indexes = indexes

    @override
    def __await__(self) -> Generator[Any, None, None]:
        journal = self._attempt.journal
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for index in self._indexes:
            journal.wait(index, waiter)
        try:
            yield from waiter
        except BaseException:
            for index in self._indexes:
                if journal.forget(index, waiter):
                    self._attempt.drop_effect(index)
            raise
        for index in self._indexes:
            journal.forget(index, waiter)


class Cancelled(Awaitable[None]):
    """Whether the attempt is cancelled, timed out or fenced: true or false, and to be awaited."""

    __slots__ = ("_event",)

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def __bool__(self) -> bool:
        return self._event.is_set()

    @override
    def __await__(self) -> Generator[Any, None, None]:
        yield from self._event.wait().__await__()

    def __repr__(self) -> str:
        return f"Cancelled({bool(self)})"


if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    # Python 3.10 has no such subscript.
    _Adapter = logging.LoggerAdapter


class _Log(_Adapter):
    """Puts run, step and attempt into each record, and before its text; silent while what is recorded is replayed."""

    def __init__(self, extra: Mapping[str, object], journal: Journal) -> None:
        super().__init__(logging.getLogger("consort.agent"), extra)
        self._journal = journal

    @override
    def isEnabledFor(self, level: int) -> bool:
        return not self._journal.is_replaying and super().isEnabledFor(level)

    @override
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        extra = self.extra or {}
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        return f"[{extra['run']} {extra['step']} #{extra['attempt']}] {msg}", kwargs


class TaskContext:
    """The interface of a task's code to Consort.

    `run`, `call`, `sleep`, `wait_signal` and `wait_approval` each make an entry in the task's journal. The code may be
    dropped wherever it waits for one and started again, by a retry, a crash or because it only waits (it *parks*);
    then what is recorded is answered from the journal, and the code continues after the last entry. So it must request
    the same things in the same order each time: whatever may differ (clock, chance, outside reads) belongs into
    `run`. Code that parks sees `asyncio.CancelledError`; what it asks in `finally` is not recorded.
    """

    def __init__(self, attempt: Attempt) -> None:
        """Made by the worker."""
        self._attempt = attempt
        self._offer = attempt.offer
        self._log: _Log | None = None

    @staticmethod
    def current() -> TaskContext:
        """The context of the task whose code runs here, for code that it was not handed to."""
        found = _CURRENT.get()
        if found is None:
            raise LookupError("no task runs here")
        return found

    @property
    def task(self) -> str:
        """The task."""
        return self._attempt.task

    @property
    def token(self) -> int:
        """The fencing token of this attempt: hand it to stores that can refuse an older one."""
        return self._attempt.token

    @property
    def attempt(self) -> int:
        """Which try this is, from 1."""
        return self._offer.number

    @property
    def capability(self) -> str:
        """The capability that was called."""
        return self._offer.capability

    @property
    def run_id(self) -> str:
        """The run that the task belongs to."""
        return self._offer.run

    @property
    def workflow(self) -> str:
        """The workflow of the run."""
        return self._offer.workflow

    @property
    def step(self) -> str:
        """The step's path in the run, such as `gather[3]`."""
        return self._offer.step

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts of the task: hand it, with the name of the effect, to services that know such
        keys.
        """
        return self._offer.idempotency_key

    @property
    def deadline(self) -> datetime | None:
        """When the attempt is given up, in UTC."""
        if not self._offer.HasField("deadline_us"):
            return None
        return datetime.fromtimestamp(self._offer.deadline_us / 1_000_000, tz=timezone.utc)

    @property
    def traceparent(self) -> str:
        """The trace that the attempt belongs to, as a W3C `traceparent`; may be empty."""
        return self._offer.traceparent

    @property
    def cancelled(self) -> Cancelled:
        """Whether the attempt is cancelled, timed out or fenced: a result would change nothing.

        `if ctx.cancelled:` asks, also from threads; `await ctx.cancelled` waits. Async code gets
        `asyncio.CancelledError` as well, and has a short grace to end.
        """
        return Cancelled(self._attempt.cancelled)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry the run, the step and the attempt. It is silent while what an earlier attempt
        recorded is replayed.
        """
        if self._log is None:
            extra = {"run": self.run_id, "step": self.step, "attempt": self.attempt}
            self._log = _Log(extra, self._attempt.journal)
        return self._log

    def progress(self, text: str) -> None:
        """Shows watchers what is being done. Messages are not kept; where they come too fast the latest is shown."""
        message = cut(text)
        self._attempt.on_loop(lambda: self._attempt.progress(message))

    def stream(self, delta: Any) -> None:
        """Sends partial output to watchers: text, which is put behind what came before, or any other value as a JSON
        document of its own. Only a bounded tail is kept.
        """
        is_text = isinstance(delta, str)
        wire = _message(common_pb2.Delta, **({"text": delta} if is_text else {"json": write("delta", delta)}))
        self._attempt.on_loop(lambda: self._attempt.stream(wire))

    # Journaled work.

    @overload
    def run(
        self, name: str, effect: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Answer[T]: ...
    @overload
    def run(self, name: str, effect: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> Answer[T]: ...
    @overload
    def run(self, name: str, effect: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Answer[T]: ...
    def run(self, name: str, effect: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Answer[Any]:
        """Does something once: its result is durable before it is given, and a replay gives that instead.

        It begins at once, awaited or not; a function that is not async runs on a thread. It runs at least once: a
        crash between the effect and its record makes it run again, so an outside service should be given
        `idempotency_key` with the name. A failure that is not retryable (a `TaskError`) is recorded and replayed like a
        result. Any other is not: it ends what this attempt can record, and the next attempt tries again. What the
        code asks while an effect runs is sent when it has ended. The effect itself must not use the journal. Where
        the code breaks off its wait, the effect is cancelled.

        The type of the result is taken from the function's annotation, unless it is given by `result_type`.
        """
        kind = kwargs.pop("result_type", None) or returned(effect)
        adapter(kind)
        entry = _entry("run", name=name)
        if name.startswith(PATCH):
            raise TaskError(
                f"the name `{name}` begins with `{PATCH}`, which is reserved for the markers of patches",
                code=Code.BAD_REQUEST,
                hint="choose another name, or ask `ctx.patched`",
            )
        asked = self._attempt.ask(entry)
        if not asked.recorded:
            self._attempt.start_effect(asked.index, functools.partial(effect, *args, **kwargs), kind)
        return Answer(self._attempt, asked.index, kind)

    @overload
    def call(
        self,
        capability: str,
        input: Any = ...,
        *,
        result_type: type[T],
        agent: str = ...,
        route: Route | None = ...,
        retry: Retry | None = ...,
        timeout: Seconds | None = ...,
        priority: int | None = ...,
        title: str = ...,
    ) -> Answer[T]: ...
    @overload
    def call(
        self,
        capability: str,
        input: Any = ...,
        *,
        result_type: Any = ...,
        agent: str = ...,
        route: Route | None = ...,
        retry: Retry | None = ...,
        timeout: Seconds | None = ...,
        priority: int | None = ...,
        title: str = ...,
    ) -> Answer[Any]: ...
    def call(
        self,
        capability: str,
        input: Any = None,  # noqa: A002 - the word that workflows use
        *,
        result_type: Any = Any,
        agent: str = "",
        route: Route | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        priority: int | None = None,
        title: str = "",
    ) -> Answer[Any]:
        """Asks another capability: a child task that Consort schedules, retries and records like any other.

        Calls that are made before the first is awaited run side by side. Without `retry` it is tried once; `timeout`
        is for one attempt. Its failure is a `TaskError` that is not retryable: it is recorded. `title` is shown to
        people (`book (hotel)`); a replay does not compare it.
        """
        options = None
        if agent or route or retry or timeout is not None or priority is not None:
            options = _message(
                worker_pb2.CallOptions,
                agent=agent,
                route=route.wire() if route else None,
                retry=retry.wire() if retry else None,
                timeout_us=None if timeout is None else microseconds(timeout, "timeout"),
                priority=None if priority is None else whole("priority", priority, -PRIORITY_MAX - 1, PRIORITY_MAX),
            )
        document = write_sorted("input of the call", input)
        entry = _entry("call", capability=capability, input=document, options=options)
        return self._asked(_titled(entry, title), result_type)

    def sleep(self, span: Seconds, *, title: str = "") -> Answer[None]:
        """Pauses; a long pause leaves the worker and survives restarts. `title` is shown to people."""
        return self._asked(_titled(_entry("sleep", span_us=microseconds(span, "pause")), title), None)

    @overload
    def wait_signal(self, name: str, *, result_type: type[T], title: str = ...) -> Answer[T]: ...
    @overload
    def wait_signal(self, name: str, *, result_type: Any = ..., title: str = ...) -> Answer[Any]: ...
    def wait_signal(self, name: str, *, result_type: Any = Any, title: str = "") -> Answer[Any]:
        """Waits for the next signal of that name to the run; its payload is the answer. `title` is shown to people.

        While the code waits, a payload that does not fit `result_type` is refused where it is sent. One that came
        before is not checked there: awaiting it then fails.
        """
        entry = _entry("signal", name=name, schema=signal_schema(result_type))
        return self._asked(_titled(entry, title), result_type)

    @overload
    def wait_update(self, name: str, *, result_type: type[T], title: str = ...) -> Answer[Update[T]]: ...
    @overload
    def wait_update(self, name: str, *, result_type: Any = ..., title: str = ...) -> Answer[Update[Any]]: ...
    def wait_update(self, name: str, *, result_type: Any = Any, title: str = "") -> Answer[Update[Any]]:
        """Waits for the next update of that name to the run: a signal whose sender is answered, by `answer` or `reject`
        of what this gives. `title` is shown to people.

        While the code waits, an input that does not fit `result_type` is refused where it is sent. One that came
        before is not checked there: awaiting it then fails.
        """
        entry = _titled(_entry("update", name=name, schema=signal_schema(result_type)), title)
        index = self._attempt.ask(entry).index

        def say(value: Any, rejection: str | None) -> Answer[None]:
            given = {"rejection": rejection} if rejection is not None else {"value": write("answer", value)}
            return self._asked(_entry("answer", update=index, **given), None)

        return Answer(self._attempt, index, Sent[result_type], functools.partial(Update, say))

    def expose(self, name: str, value: Any) -> Answer[None]:
        """Gives the run a value that anyone may read by its name, while it is active and after (`consort runs query`):
        of each name the last counts. At most 64 KiB of JSON, and 100 names in a run.

        A replay compares the name alone. Await it to know that it is durable.
        """
        return self._asked(_entry("expose", name=name, value=write("exposed value", value)), None)

    def set_labels(self, labels: Mapping[str, str]) -> Answer[None]:
        """Gives the run labels, beside those that it has: `consort runs list --label` finds it by them."""
        return self._asked(_entry("labels", labels=dict(labels)), None)

    def wait_approval(self, prompt: str, detail: Any = None, *, title: str = "") -> Answer[Approval]:
        """Asks a person; `detail` is shown beside the prompt, and `title` in the tree of the run."""
        document = write("detail of the approval", detail)
        return self._asked(_titled(_entry("approval", prompt=prompt, detail=document), title), Approval)

    def state(self, space: str) -> StateSpace:
        """A space of shared state. Each use of it is an entry of the journal: a replay gives what was read then, and
        writes nothing again.
        """
        return StateSpace(self._transact, space)

    def transact(self, transaction: Mapping[str, Any], *, title: str = "") -> Answer[StateTransaction]:
        """Reads and writes keys of any spaces together, as one entry: `{"if": […], "do": […], "else": […]}`, as for
        `POST /v1/state/transact`. A write that is rejected fails it, and nothing is done.
        """
        return self._transact(transaction, None, title)

    def _transact(
        self, transaction: Mapping[str, Any], make: Callable[[StateTransaction], Any] | None, title: str
    ) -> Answer[Any]:
        entry = _titled(_entry("state", transaction=write_sorted("transaction", transaction)), title)
        return Answer(self._attempt, self._attempt.ask(entry).index, StateTransaction, make)

    def patched(self, name: str) -> Patch[bool]:
        """Whether the code takes the path of the change `name`: `if await ctx.patched("name"): new else: old`.

        It is true for tasks that get here for the first time, which is recorded and durable before it is given, and
        for those whose journal says so. It is false where the journal has something else here: code of before the
        change began the task, and it continues on the old path. Asked again in the same attempt, the answer is the
        same. Ask before the code branches, where the position in the journal is the same whatever comes first.
        """
        return Patch(self._marker(name, record=True), bool)

    def deprecate_patch(self, name: str) -> Patch[None]:
        """In place of `patched`, once no task is left on the old path, whose code can go: passes over the marker where
        the journal has it, and records nothing. Once no journal has the marker, this call can go too.
        """
        return Patch(self._marker(name, record=False), _nothing)

    def _marker(self, name: str, *, record: bool) -> Answer[Any] | None:
        # Names are those of `run`.
        _entry("run", name=name)
        asked = self._attempt.patch(name, record=record)
        return None if asked is None else Answer(self._attempt, asked.index, Any)

    def _asked(self, entry: worker_pb2.JournalEntry, kind: Any) -> Answer[Any]:
        return Answer(self._attempt, self._attempt.ask(entry).index, kind)

    def all(self, *answers: Awaitable[T] | Iterable[Awaitable[T]]) -> Coroutine[Any, Any, list[T]]:
        """The results of answers (or other awaitables), in their order; fails with the first failure in that order.

        They are awaited one after the other, so a task with many calls parks for the first open one, not for each.
        """
        return _all(*_started(answers))

    def race(self, *answers: Awaitable[T] | Iterable[Awaitable[T]]) -> Coroutine[Any, Any, tuple[int, T]]:
        """Which of some answers (or other awaitables) came first, with its result; fails where that is a failure.

        The journal keeps the order, so a replay has the same winner. A call that lost continues; a `run` that lost is
        cancelled, and a wait that lost is closed, unless the code still has its answer.
        """
        started, tasks = _started(answers)
        if not started:
            raise TaskError("a race needs at least one answer to wait for", code=Code.BAD_REQUEST)
        if tasks:
            return _race_tasks(started, tasks)
        return _race_answers(self._attempt, [answer for answer in started if isinstance(answer, Answer)])

    def __repr__(self) -> str:
        return f"TaskContext(task={self.task!r}, token={self.token}, attempt={self.attempt})"


_REQUESTS: Final[Mapping[str, Any]] = {
    "run": worker_pb2.RunRequest,
    "call": worker_pb2.CallRequest,
    "sleep": worker_pb2.SleepRequest,
    "signal": worker_pb2.SignalRequest,
    "approval": worker_pb2.ApprovalRequest,
    "state": worker_pb2.StateRequest,
    "expose": worker_pb2.ExposeRequest,
    "labels": worker_pb2.LabelsRequest,
    "update": worker_pb2.UpdateRequest,
    "answer": worker_pb2.AnswerRequest,
}
SIGNAL_SCHEMA_BYTES_MAX: Final = 16 * 1024
"""Bytes of the schema of a signal."""

TITLE_BYTES_MAX: Final = 128
"""Bytes of what the code calls an entry."""

_TEXTS: Final = {"name", "capability", "prompt", "agent", "version", "sticky", "rejection"}
"""The fields of requests that are texts."""


def _entry(kind: str, **fields: Any) -> worker_pb2.JournalEntry:
    request = _message(_REQUESTS[kind], **fields)
    members: dict[str, Any] = {kind: request}
    return worker_pb2.JournalEntry(**members)


def signal_schema(kind: Any) -> bytes:
    """What senders of a signal are held to, as JSON; empty where that is not known, or too long."""
    if kind is Any or kind is None:
        return b""
    try:
        schema = json.dumps(adapter(kind).json_schema()).encode()
    except PydanticInvalidForJsonSchema:
        return b""
    return schema if len(schema) <= SIGNAL_SCHEMA_BYTES_MAX else b""


def _titled(entry: worker_pb2.JournalEntry, title: str) -> worker_pb2.JournalEntry:
    """The entry, with what the code calls it."""
    if not isinstance(title, str) or len(title.encode("utf-8", "surrogatepass")) > TITLE_BYTES_MAX:
        raise TaskError(
            f"the title of the entry, `{shown(title)}`, is no text of at most {TITLE_BYTES_MAX} bytes",
            code=Code.BAD_REQUEST,
        )
    try:
        entry.title = title
    except ValueError as error:
        raise TaskError(f"the request cannot be sent: {error}", code=Code.BAD_REQUEST) from error
    return entry


def _message(kind: Any, **fields: Any) -> Any:
    """A message of the protocol; a field with a value of another type, or text that is no UTF-8, is refused."""
    for name in _TEXTS & fields.keys():
        if not isinstance(fields[name], str):
            raise TaskError(f"the {name} of `{shown(fields[name])}` is no text", code=Code.BAD_REQUEST)
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise TaskError(f"the request cannot be sent: {error}", code=Code.BAD_REQUEST) from error


def _nothing(_found: bool) -> None:
    return None


def enter(context: TaskContext) -> None:
    """Makes it the current one in this context of Python."""
    _CURRENT.set(context)


async def _all(started: list[Awaitable[T]], tasks: list[asyncio.Future[T]]) -> list[T]:
    try:
        return [await answer for answer in started]
    finally:
        _cancel(tasks)


async def _race_answers(attempt: Attempt, answers: list[Answer[T]]) -> tuple[int, T]:
    indexes = [answer.index for answer in answers]
    while True:
        for position, answer in enumerate(answers):
            try:
                found = answer.peek()
            except TaskError:
                _drop(attempt, indexes, position)
                raise
            if found is not None:
                _drop(attempt, indexes, position)
                return position, found[0]
        await _Wait(attempt, indexes)


def _drop(attempt: Attempt, indexes: list[int], winner: int) -> None:
    for position, index in enumerate(indexes):
        if position != winner:
            attempt.drop_effect(index)


async def _race_tasks(started: list[Awaitable[T]], tasks: list[asyncio.Future[T]]) -> tuple[int, T]:
    futures = [asyncio.ensure_future(awaitable) for awaitable in started]
    try:
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        return next((position, future.result()) for position, future in enumerate(futures) if future.done())
    finally:
        _cancel([*futures, *tasks])


def _started(
    answers: Iterable[Awaitable[T] | Iterable[Awaitable[T]]],
) -> tuple[list[Awaitable[T]], list[asyncio.Future[T]]]:
    """The awaitables, with those that are no answers begun as tasks; and these tasks."""
    started: list[Awaitable[T]] = []
    tasks: list[asyncio.Future[T]] = []
    for item in answers:
        for answer in [item] if isinstance(item, Awaitable) else item:
            if isinstance(answer, Answer):
                started.append(answer)
            else:
                task = asyncio.ensure_future(answer)
                started.append(task)
                tasks.append(task)
    return started, tasks


def _cancel(tasks: list[asyncio.Future[T]]) -> None:
    for task in tasks:
        if not task.done():
            task.cancel()


def returned(function: Callable[..., Any]) -> Any:
    """The type that a function is annotated to return; `Any` without annotation."""
    while isinstance(function, functools.partial):
        function = function.func
    kind = getattr(function, "__annotations__", {}).get("return", Any)
    if isinstance(kind, str):
        try:
            kind = get_type_hints(function, include_extras=True)["return"]
        except NameError:
            # A name that only a type checker knows.
            return Any
    if get_origin(kind) in {Awaitable, Coroutine}:
        kind = get_args(kind)[-1]
    return Any if kind is None or kind is type(None) else kind
