"""A server that tests play by hand: nothing answers by itself.

For: the tests of this suite. Not for: agents' tests.
Invariant: real gRPC on loopback, on a port that the system chooses.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from consort import Agent, Worker
from consort._proto.v1 import common_pb2, worker_pb2, worker_pb2_grpc

BEAT_US = 5_000_000
END: Any = grpc.aio.EOF  # type: ignore[attr-defined]


class Session:
    """One stream of a worker."""

    def __init__(self, hello: worker_pb2.Hello, metadata: dict[str, str]) -> None:
        self.hello = hello
        self.metadata = metadata
        self.received: asyncio.Queue[worker_pb2.WorkerMessage | None] = asyncio.Queue()
        self.outgoing: asyncio.Queue[worker_pb2.ServerMessages | grpc.StatusCode] = asyncio.Queue()
        self.batches: list[int] = []

    def send(self, *messages: worker_pb2.ServerMessage) -> None:
        """Sends messages as one batch."""
        self.outgoing.put_nowait(worker_pb2.ServerMessages(messages=messages))

    def disconnect(self) -> None:
        """Breaks the stream."""
        self.outgoing.put_nowait(grpc.StatusCode.UNAVAILABLE)

    async def next_of_all(self) -> worker_pb2.WorkerMessage | None:
        """The next message; none where the worker has closed its side."""
        return await asyncio.wait_for(self.received.get(), 20)

    async def next(self) -> worker_pb2.WorkerMessage | None:
        """The next message that is no sign of life."""
        while (message := await self.next_of_all()) is not None and message.HasField("alive"):
            pass
        return message

    async def entry(self) -> worker_pb2.Record:
        """The journal entry that must come next."""
        message = await self.next()
        assert message is not None
        assert message.HasField("record"), message
        return message.record

    def record(self, task: str, index: int, entry: worker_pb2.JournalEntry, instance: int = 0) -> None:
        """Reports that an entry is durable."""
        recorded = worker_pb2.Recorded(task=task, index=index, entry=entry)
        self.send(worker_pb2.ServerMessage(instance=instance, recorded=recorded))

    async def record_next(self) -> worker_pb2.JournalEntry:
        """Records the entry that must come next as it is."""
        found = await self.entry()
        self.record(found.attempt.task, found.index, found.entry)
        return found.entry

    def drain(self, instance: int = 0) -> None:
        self.send(worker_pb2.ServerMessage(instance=instance, drain=worker_pb2.Drain()))

    def cancel(self, token: int = 1, task: str = "task-0") -> None:
        attempt = worker_pb2.Attempt(task=task, token=token)
        self.send(worker_pb2.ServerMessage(cancel=worker_pb2.Cancel(attempt=attempt, reason="the run was cancelled")))

    def refuse(self, code: str, message: str, token: int = 1, task: str = "task-0") -> None:
        attempt = worker_pb2.Attempt(task=task, token=token)
        error = common_pb2.Error(code=code, message=message)
        self.send(worker_pb2.ServerMessage(refused=worker_pb2.Refused(attempt=attempt, error=error)))


class FakeServer(worker_pb2_grpc.WorkerServiceServicer):
    """Accepts workers and hands their streams to the test."""

    def __init__(self, batch_bytes_max: int = 1 << 22, beat_us: int = BEAT_US) -> None:
        self.sessions: asyncio.Queue[Session] = asyncio.Queue()
        self.address = ""
        self.refusals: list[tuple[grpc.StatusCode, common_pb2.Error]] = []
        self.batch_bytes_max = batch_bytes_max
        self.beat_us = beat_us
        self.connections = 0

    async def Connect(self, request_iterator: Any, context: Any) -> None:  # noqa: N802 - gRPC's name
        self.connections += 1
        first = await context.read()
        if self.refusals:
            code, error = self.refusals.pop(0)
            await context.abort(code, error.message, (("consort-error-bin", error.SerializeToString()),))
        assert len(first.messages) == 1
        hello = first.messages[0].hello
        session = Session(hello, dict(context.invocation_metadata()))
        welcome = worker_pb2.Welcome(
            protocol=1,
            server="fake",
            instances=[f"i{number}" for number in range(len(hello.instances))],
            heartbeat_interval_us=self.beat_us,
            batch_bytes_max=self.batch_bytes_max,
            payload_bytes_max=64 * 1024 * 1024,
        )
        await context.write(worker_pb2.ServerMessages(messages=[worker_pb2.ServerMessage(welcome=welcome)]))
        self.sessions.put_nowait(session)
        reader = asyncio.ensure_future(self._read(session, context))
        try:
            await self._write(session, context, reader)
        finally:
            reader.cancel()

    @staticmethod
    async def _read(session: Session, context: Any) -> None:
        while (batch := await context.read()) is not END:
            session.batches.append(len(batch.messages))
            for message in batch.messages:
                session.received.put_nowait(message)
        session.received.put_nowait(None)

    @staticmethod
    async def _write(session: Session, context: Any, reader: asyncio.Future[None]) -> None:
        while True:
            outgoing = asyncio.ensure_future(session.outgoing.get())
            either: list[asyncio.Future[Any]] = [outgoing, reader]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not outgoing.done():
                outgoing.cancel()
                return
            batch = outgoing.result()
            if isinstance(batch, grpc.StatusCode):
                session.received.put_nowait(None)
                await context.abort(batch, "the test broke the stream")
            await context.write(batch)


@contextlib.asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[FakeServer]:
    """A server while the block runs."""
    fake = FakeServer(**settings)
    server = grpc.aio.server()
    join: Any = worker_pb2_grpc.add_WorkerServiceServicer_to_server
    join(fake, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(None)


class Rig:
    """A worker with one agent on a fake server; one task, `task-0`, whose offers carry the rig's token."""

    def __init__(self, server: FakeServer, worker: Worker, running: asyncio.Future[None], session: Session) -> None:
        self.server = server
        self.worker = worker
        self.running = running
        self.session = session
        self.token = 1

    def task(
        self,
        journal: list[worker_pb2.JournalEntry] | None = None,
        value: Any = None,
        *,
        task: str = "task-0",
        token: int | None = None,
        capability: str = "work",
        instance: int = 0,
        **fields: Any,
    ) -> worker_pb2.ServerMessage:
        """An offer of the task, under the token of the last offer unless another one is given."""
        offer = worker_pb2.Task(
            attempt=worker_pb2.Attempt(task=task, token=token or self.token),
            number=1,
            capability=capability,
            run="run-1",
            workflow="test",
            step="step",
            input=json.dumps(value).encode(),
            idempotency_key="test-key",
            journal=journal or [],
            **fields,
        )
        return worker_pb2.ServerMessage(instance=instance, task=offer)

    def offer(self, journal: list[worker_pb2.JournalEntry] | None = None, value: Any = None, **fields: Any) -> None:
        """Offers the task."""
        self.session.send(self.task(journal, value, **fields))

    def offer_next(self, journal: list[worker_pb2.JournalEntry] | None = None, value: Any = None) -> None:
        """Offers the task under the next token."""
        self.token += 1
        self.offer(journal, value)

    async def output(self) -> Any:
        """The output of the task, which must be the worker's next message."""
        message = await self.session.next()
        assert message is not None
        assert message.HasField("complete"), message
        assert message.complete.attempt.token == self.token
        return json.loads(message.complete.output)

    async def failure(self) -> worker_pb2.Fail:
        """The failure of the task, which must be the worker's next message."""
        message = await self.session.next()
        assert message is not None
        assert message.HasField("fail"), message
        return message.fail

    async def parked(self) -> list[int]:
        """What the task parks for, which must be the worker's next message."""
        message = await self.session.next()
        assert message is not None
        assert message.HasField("park"), message
        return list(message.park.waiting)

    async def connected(self) -> None:
        """Waits for the next connection."""
        self.session = await asyncio.wait_for(self.server.sessions.get(), 20)

    async def reconnect(self) -> None:
        """Breaks the connection and waits for the next one."""
        self.session.disconnect()
        await self.connected()


@contextlib.asynccontextmanager
async def hosting(*agents: Agent, server: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Rig]:
    """A worker with these agents, connected."""
    async with serving(**(server or {})) as fake:
        worker = Worker(*agents, address=fake.address, **{"concurrency": 4, **settings})
        running = asyncio.ensure_future(worker.run())
        try:
            session = await asyncio.wait_for(fake.sessions.get(), 20)
            yield Rig(fake, worker, running, session)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def hosting_code(code: Callable[..., Any], **settings: Any) -> contextlib.AbstractAsyncContextManager[Rig]:
    """A worker whose only capability, `work`, is this code."""
    agent = Agent("test")
    agent.add(code, "work")
    return hosting(agent, **settings)


# Journal entries.


def _entry(after: list[int], result: Any, **request: Any) -> worker_pb2.JournalEntry:
    entry = worker_pb2.JournalEntry(after=after, **request)
    if result is not Ellipsis:
        entry.output = json.dumps(result).encode()
    return entry


def run(name: str, result: Any = ..., after: list[int] | None = None) -> worker_pb2.JournalEntry:
    """A local effect, with its result."""
    return _entry(after or [], result, run=worker_pb2.RunRequest(name=name))


def call(capability: str, value: Any, result: Any = ..., after: list[int] | None = None) -> worker_pb2.JournalEntry:
    """A call, pending unless a result is given."""
    data = json.dumps(value, separators=(",", ":")).encode()
    return _entry(after or [], result, call=worker_pb2.CallRequest(capability=capability, input=data))


def sleep(seconds: float, result: Any = ..., after: list[int] | None = None) -> worker_pb2.JournalEntry:
    """A pause."""
    return _entry(after or [], result, sleep=worker_pb2.SleepRequest(span_us=int(seconds * 1_000_000)))


def signal(name: str, result: Any = ..., after: list[int] | None = None) -> worker_pb2.JournalEntry:
    """A wait for a signal."""
    return _entry(after or [], result, signal=worker_pb2.SignalRequest(name=name))


def failed(entry: worker_pb2.JournalEntry, code: str, message: str) -> worker_pb2.JournalEntry:
    """The entry with a failure as its result."""
    entry.error.CopyFrom(common_pb2.Error(code=code, message=message))
    return entry


def recorded(index: int, entry: worker_pb2.JournalEntry) -> worker_pb2.ServerMessage:
    """The message by which an entry of `task-0` is durable."""
    return worker_pb2.ServerMessage(recorded=worker_pb2.Recorded(task="task-0", index=index, entry=entry))
