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
from dataclasses import dataclass
from typing import Any, Final

from typing_extensions import override

from consort._agent import Agent, Capability
from consort._attempt import Attempt, Timeouts
from consort._context import Approval, TaskContext
from consort._documents import document, write
from consort._errors import Code, TaskError, reported, shown, task_error
from consort._journal import Divergence, Journal, Stage, wire_error
from consort._proto.v1 import worker_pb2
from consort._quiescence import unwatch, watch
from consort._recorded import journal_entries
from consort._threads import Threads

__all__ = ["Divergence", "Replayed", "replay_task", "run_task"]

_TOKENS: Final = itertools.count(1)


async def run_task(
    agent: Agent,
    capability: str,
    input: Any = None,  # noqa: A002 - the word that workflows use
    *,
    calls: Callable[[str, Any], Any] | None = None,
    signals: Mapping[str, Iterable[Any]] | None = None,
    updates: Mapping[str, Iterable[Any]] | None = None,
    approve: Callable[[str, Any], Approval] | None = None,
    replay: bool = True,
) -> Any:
    """The output of a capability for an input, as a parsed document; raises `TaskError` where it fails.

    `calls` answers `ctx.call` (with the capability and the input; async or not; what it raises is the call's failure),
    `signals` has the payloads of each signal in order (`{"paid": [True]}`), `updates` the inputs of each update (whose
    answers go nowhere), `approve` decides approvals. Pauses end at once. A wait that is not answered is a failure. With
    `replay` the code runs a second time on what was recorded, as after a crash: code that makes another request then
    fails with `C0303`.
    """
    loop = asyncio.get_running_loop()
    engine = _Engine(calls, signals or {}, updates or {}, approve)
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


@dataclass(frozen=True, slots=True)
class Replayed:
    """How code replayed a recorded journal."""

    entries: int
    """How many recorded entries the code has requested."""
    waiting: tuple[int, ...] = ()
    """The entries that the code waits for at the end, which the journal has no answer to."""
    failure: TaskError | None = None
    """How the code failed, where it had requested all that is recorded."""
    divergence: Divergence | None = None
    """Where the code took another path; nothing where it fits."""

    @property
    def fits(self) -> bool:
        """Whether the code requests all that is recorded, and then continues, waits or ends."""
        return self.divergence is None


async def replay_task(agent: Agent, capability: str, input: Any, journal: Any) -> Replayed:  # noqa: A002 - as above
    """Replays a recorded journal against the code of a capability, without a server: whether tasks in flight continue.

    `journal` is a list of entries as JSON has them, or the text of that: `{"kind": "run", "name": "number", "output":
    4711}`. Nothing is done: the code is stopped when it requests what is not recorded. It raises `TaskError` where the
    agent has no such capability, or the journal cannot be read.
    """
    loop = asyncio.get_running_loop()
    entries = journal_entries(journal)
    replayer = _Replayer()
    watch(loop)
    try:
        return await replayer.replay(_found(agent, capability), write("input", input), entries)
    finally:
        replayer.threads.close()
        unwatch(loop)


class _RecordedOnly(Journal):
    """A journal that takes what is recorded, and calls `beyond` at the first request after that."""

    def __init__(self, entries: list[worker_pb2.JournalEntry], beyond: Callable[[], None]) -> None:
        super().__init__(entries)
        self._beyond = beyond

    @override
    def _append(self, request: worker_pb2.JournalEntry, stage: Stage) -> None:
        self._beyond()
        self._check()
        super()._append(request, stage)

    @override
    def _record_left(self) -> None:
        """What the code has dropped is recorded by an attempt that continues."""


class _Replayer:
    """A server that only hands out a journal."""

    timeouts = Timeouts(park_after=0.05, cancel_grace=2.0)
    epoch = 1

    def __init__(self) -> None:
        self.threads = Threads(32)
        self._concluded: asyncio.Future[worker_pb2.WorkerMessage | None] = asyncio.get_running_loop().create_future()

    async def replay(self, found: Capability, data: bytes, entries: list[worker_pb2.JournalEntry]) -> Replayed:
        """One attempt on that journal."""
        attempt = Attempt(_offer(found, data, entries), self)
        # What stops the attempt ends the journal, so that the request itself is refused.
        journal = attempt.journal = _RecordedOnly(entries, attempt.abort)
        context = TaskContext(attempt)
        attempt.start(lambda: found.invoke(context, data, attempt.threads))
        try:
            report = await self._concluded
        finally:
            attempt.abort()
        waiting: tuple[int, ...] = ()
        failure = None
        did = "the end of the code"
        if report is not None and report.HasField("park"):
            waiting = tuple(report.park.waiting)
            did = f"a wait for entry {waiting[0]}, which has no answer"
        elif report is not None and report.HasField("fail"):
            error = report.fail.error
            failure = reported(error.code, error.message, error.hint)
            did = f"the failure `{error.message}`"
        divergence = journal.divergence or journal.left_over(did)
        if divergence is not None:
            return Replayed(divergence.entry, divergence=divergence)
        return Replayed(len(entries), waiting, failure)

    # What an attempt needs of its host.

    def send(self, message: worker_pb2.WorkerMessage) -> None:
        """Nothing is recorded or shown."""

    def concluded(self, attempt: Attempt, report: worker_pb2.WorkerMessage | None) -> None:
        """The attempt is over: it has ended, it waits, or it was stopped behind the journal."""
        if attempt.over and not self._concluded.done():
            self._concluded.set_result(report)

    def freed(self, attempt: Attempt) -> None:
        """Nothing waits for the end of its code."""


def _found(agent: Agent, name: str) -> Capability:
    found = agent.find(name)
    if found is None:
        raise TaskError(f"agent `{agent.name}` has no capability `{name}`", code=Code.BAD_REQUEST)
    return found


def _offer(found: Capability, data: bytes, journal: list[worker_pb2.JournalEntry]) -> worker_pb2.Task:
    """The task of a test."""
    return worker_pb2.Task(
        attempt=worker_pb2.Attempt(task="test", token=next(_TOKENS)),
        number=2 if journal else 1,
        capability=found.name,
        run="test",
        workflow="test",
        step="test",
        input=data,
        idempotency_key="test",
        journal=journal,
    )


class _Engine:
    """A server for one task: records everything at once."""

    timeouts = Timeouts(park_after=0.05, cancel_grace=2.0)
    epoch = 1

    def __init__(
        self,
        calls: Callable[[str, Any], Any] | None,
        signals: Mapping[str, Iterable[Any]],
        updates: Mapping[str, Iterable[Any]],
        approve: Callable[[str, Any], Approval] | None,
    ) -> None:
        self.threads = Threads(32)
        self.journal: list[worker_pb2.JournalEntry] = []
        self._calls = calls
        self._signals = _queued("signal", signals)
        self._updates = _queued("update", updates)
        self._approve = approve
        self._attempt: Attempt | None = None
        self._concluded: asyncio.Future[worker_pb2.WorkerMessage | None] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    async def attempt(self, agent: Agent, name: str, data: bytes, journal: list[worker_pb2.JournalEntry]) -> Any:
        """One attempt on that journal."""
        found = _found(agent, name)
        offer = _offer(found, data, journal)
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

    async def _result(self, entry: worker_pb2.JournalEntry) -> Any:  # noqa: PLR0911 - one for each kind
        match entry.WhichOneof("request"):
            case "call" if self._calls is not None:
                found = self._calls(entry.call.capability, document(entry.call.input))
                return await found if inspect.isawaitable(found) else found
            case "sleep" | "expose" | "labels" | "answer":
                return None
            case "forget":
                self._forget(entry.forget.entries)
                return None
            case "signal" if self._signals[entry.signal.name]:
                return self._signals[entry.signal.name].popleft()
            case "update" if self._updates[entry.update.name]:
                return {"id": f"update-{next(_TOKENS)}", "input": self._updates[entry.update.name].popleft()}
            case "approval" if self._approve is not None:
                return self._approve(entry.approval.prompt, document(entry.approval.detail))
            case _:
                return _NOTHING

    def _forget(self, entries: Iterable[int]) -> None:
        """Waits are closed; a signal that no code has read is there for the next wait."""
        for closed in sorted(entries, reverse=True):
            entry = self.journal[closed]
            if entry.HasField("signal") and entry.HasField("output"):
                self._signals[entry.signal.name].appendleft(document(entry.output))
            if entry.HasField("update") and entry.HasField("output"):
                self._updates[entry.update.name].appendleft(document(entry.output)["input"])
            entry.ClearField("result")


_NOTHING: Final = object()


def _queued(what: str, signals: Mapping[str, Iterable[Any]]) -> defaultdict[str, deque[Any]]:
    """The payloads of each signal, or the inputs of each update; a wrong shape is refused by name."""
    if not isinstance(signals, Mapping):
        raise TypeError(f"`{what}s` is `{shown(signals)}`, but has the payloads by the names, as `{{'paid': [True]}}`")
    queued: defaultdict[str, deque[Any]] = defaultdict(deque)
    for name, payloads in signals.items():
        if not isinstance(payloads, Iterable) or isinstance(payloads, (str, bytes, Mapping)):
            found = shown(payloads)
            raise TypeError(f"the {what} `{name}` has `{found}` in place of a list of payloads; write `[{found}]`")
        queued[name].extend(payloads)
    return queued
