"""Runs a capability without a server, for the tests of agents.

For: unit tests. Not for: how work is scheduled, retried or routed; that takes a server.
Invariant: everything that the code asks is recorded at once and answered by the test; nothing is left to chance.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from consort._agent import Agent
from consort._attempt import Attempt, Timeouts
from consort._context import Approval, TaskContext
from consort._documents import document, write
from consort._errors import Code, TaskError, shown, task_error
from consort._journal import wire_error
from consort._proto.v1 import worker_pb2
from consort._quiescence import unwatch, watch
from consort._threads import Threads

__all__ = ["run_task"]

_TOKENS: Final = itertools.count(1)


async def run_task(
    agent: Agent,
    capability: str,
    input: Any = None,  # noqa: A002 - the word that workflows use
    *,
    calls: Callable[[str, Any], Any] | None = None,
    signals: Mapping[str, Iterable[Any]] | None = None,
    approve: Callable[[str, Any], Approval] | None = None,
    replay: bool = True,
) -> Any:
    """The output of a capability for an input, as a parsed document; raises `TaskError` where it fails.

    `calls` answers `ctx.call` (with the capability and the input; async or not; what it raises is the call's failure),
    `signals` has the payloads of each signal in order (`{"paid": [True]}`), `approve` decides approvals. Pauses end at
    once. A wait that is not answered is a failure. With `replay` the code runs a second time on what was recorded, as
    after a crash: code that makes another request then fails with `C0303`.
    """
    loop = asyncio.get_running_loop()
    engine = _Engine(calls, signals or {}, approve)
    watch(loop)
    try:
        output = await engine.attempt(agent, capability, write("input", input), [])
        if replay:
            again = await engine.attempt(agent, capability, write("input", input), engine.journal)
            if again != output:
                raise TaskError(
                    f"a replay gave `{again!r}`, the first attempt `{output!r}`",
                    code=Code.JOURNAL_DIVERGED,
                    hint="put what may differ (clock, chance, outside reads) into `run`",
                )
        return output
    finally:
        engine.threads.close()
        unwatch(loop)


class _Engine:
    """A server for one task: records everything at once."""

    timeouts = Timeouts(park_after=0.05, cancel_grace=2.0)
    epoch = 1

    def __init__(
        self,
        calls: Callable[[str, Any], Any] | None,
        signals: Mapping[str, Iterable[Any]],
        approve: Callable[[str, Any], Approval] | None,
    ) -> None:
        self.threads = Threads(32)
        self.journal: list[worker_pb2.JournalEntry] = []
        self._calls = calls
        self._signals = _queued(signals)
        self._approve = approve
        self._attempt: Attempt | None = None
        self._concluded: asyncio.Future[worker_pb2.WorkerMessage | None] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    async def attempt(self, agent: Agent, name: str, data: bytes, journal: list[worker_pb2.JournalEntry]) -> Any:
        """One attempt on that journal."""
        found = agent.find(name)
        if found is None:
            raise TaskError(f"agent `{agent.name}` has no capability `{name}`", code=Code.BAD_REQUEST)
        token = next(_TOKENS)
        offer = worker_pb2.Task(
            attempt=worker_pb2.Attempt(task="test", token=token),
            number=2 if journal else 1,
            capability=found.name,
            run="test",
            workflow="test",
            step="test",
            input=data,
            idempotency_key="test",
            journal=journal,
        )
        self._concluded = asyncio.get_running_loop().create_future()
        attempt = self._attempt = Attempt(offer, self)
        context = TaskContext(attempt)
        attempt.start(lambda: found.invoke(context, data, attempt.threads))
        try:
            report = await self._concluded
        finally:
            attempt.abort()
            for task in self._answering:
                task.cancel()
        return self._outcome(report)

    def _outcome(self, report: worker_pb2.WorkerMessage | None) -> Any:
        kind = None if report is None else report.WhichOneof("kind")
        if report is not None and kind == "complete":
            return document(report.complete.output)
        if report is not None and kind == "fail":
            error = report.fail.error
            raise TaskError(error.message, code=error.code, retryable=report.fail.retryable, hint=error.hint)
        waits = [] if report is None else list(report.park.waiting)
        raise TaskError(f"the code waits for entries {waits}, which the test does not answer", code=Code.TIMED_OUT)

    # What an attempt needs of its host.

    def send(self, message: worker_pb2.WorkerMessage) -> None:
        """Records an entry; what watchers would see is dropped."""
        if message.HasField("record"):
            entry = worker_pb2.JournalEntry()
            entry.CopyFrom(message.record.entry)
            self.journal.append(entry)
            task = asyncio.ensure_future(self._answer(message.record.index, entry))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    def concluded(self, attempt: Attempt, report: worker_pb2.WorkerMessage | None) -> None:
        """The attempt is over."""
        if attempt is self._attempt and self._concluded is not None and not self._concluded.done():
            self._concluded.set_result(report)

    def freed(self, attempt: Attempt) -> None:
        """Nothing waits for the end of its code."""

    async def _answer(self, index: int, entry: worker_pb2.JournalEntry) -> None:
        attempt = self._attempt
        if entry.WhichOneof("result") is None:
            try:
                found = await self._result(entry)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
                entry.error.CopyFrom(wire_error(task_error(error)))
            else:
                if found is not _NOTHING:
                    entry.output = write("answer of the test", found)
        if attempt is not None:
            attempt.recorded(index, entry)

    async def _result(self, entry: worker_pb2.JournalEntry) -> Any:
        match entry.WhichOneof("request"):
            case "call" if self._calls is not None:
                found = self._calls(entry.call.capability, document(entry.call.input))
                return await found if inspect.isawaitable(found) else found
            case "sleep":
                return None
            case "signal" if self._signals[entry.signal.name]:
                return self._signals[entry.signal.name].popleft()
            case "approval" if self._approve is not None:
                return self._approve(entry.approval.prompt, document(entry.approval.detail))
            case _:
                return _NOTHING


_NOTHING: Final = object()


def _queued(signals: Mapping[str, Iterable[Any]]) -> defaultdict[str, deque[Any]]:
    """The payloads of each signal; a wrong shape is refused by name."""
    if not isinstance(signals, Mapping):
        raise TypeError(f"`signals` is `{shown(signals)}`, but has the payloads by the names, as `{{'paid': [True]}}`")
    queued: defaultdict[str, deque[Any]] = defaultdict(deque)
    for name, payloads in signals.items():
        if not isinstance(payloads, Iterable) or isinstance(payloads, (str, bytes, Mapping)):
            found = shown(payloads)
            raise TypeError(f"the signal `{name}` has `{found}` in place of a list of payloads; write `[{found}]`")
        queued[name].extend(payloads)
    return queued
