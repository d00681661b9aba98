"""One stream to the server, read and written on threads of its own.

For: carrying batches between the server and the event loop of the agents. Not for: what the messages mean (see
`_session`), or when to connect (see `_worker`).
Invariant: code that holds the event loop does not silence the worker: signs of life come from a thread. Everything that
is handed to the loop comes in order; what comes after `close` is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from consort._errors import Code, ConsortError
from consort._outbox import Outbox
from consort._proto.v1 import worker_pb2, worker_pb2_grpc
from consort._quiescence import look
from consort._transport import metadata, open_channel, rpc_error


class Link:
    """See the module. Made and closed on the event loop."""

    def __init__(
        self,
        hello: worker_pb2.Hello,
        *,
        address: str,
        token: str | None,
        credentials: grpc.ChannelCredentials | None,
        outbox: Outbox,
        take: Callable[[worker_pb2.ServerMessages], None],
    ) -> None:
        """Connects and says `hello`; `take` gets each batch after the welcome, on the loop and after `begin`."""
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._outbox = outbox
        self._take = take
        self._hello = worker_pb2.WorkerMessages(messages=[worker_pb2.WorkerMessage(hello=hello)])
        self.is_finishing = False
        """Whether this side has said everything."""
        self._stopped = False
        self._closed = False
        self._interval: float | None = None
        # What came between the welcome and `begin`.
        self._early: list[worker_pb2.ServerMessages] = []
        self.welcome: asyncio.Future[worker_pb2.Welcome] = self._loop.create_future()
        """The server's welcome, or why there is none."""
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the stream has ended, with an error where it broke."""
        self._channel = open_channel(address, credentials)
        stub: Any = worker_pb2_grpc.WorkerServiceStub
        self._stream = stub(self._channel).Connect(self._outgoing(), metadata=metadata(token))
        threading.Thread(target=self._read, name="consort-link", daemon=True).start()

    def begin(self, interval: float) -> None:
        """Passes on what comes from now on, and sends what waits, or a sign of life where nothing was sent for so many
        seconds.
        """
        self._interval = interval
        self._outbox.wake()
        early, self._early = self._early, []
        for batch in early:
            self._take(batch)

    def finish(self) -> None:
        """Says nothing more; the server then ends the stream."""
        self.is_finishing = True
        self._stopped = True
        self._outbox.wake()

    def close(self) -> None:
        """Breaks the stream."""
        self._closed = self._stopped = True
        self._outbox.wake()
        self._stream.cancel()
        self._channel.close()
        for future in (self.welcome, self.ended):
            if future.done() and not future.cancelled():
                # It may not have been awaited.
                future.exception()

    # On threads.

    def _outgoing(self) -> Iterator[worker_pb2.WorkerMessages]:
        """What is sent; the next batch is taken when the one before it was."""
        yield self._hello
        while not self._stopped:
            batch = self._outbox.take(lambda: self._interval, lambda: self._stopped)
            if batch is None:
                continue
            if not batch:
                look(self._loop)
                batch.append(worker_pb2.WorkerMessage(alive=worker_pb2.Alive()))
            yield worker_pb2.WorkerMessages(messages=batch)

    def _read(self) -> None:
        error: ConsortError | None = None
        try:
            for batch in self._stream:
                self._post(self._received, batch)
        except grpc.RpcError as broken:
            error = rpc_error(broken, self._address)
        finally:
            self._stopped = True
            self._outbox.wake()
            self._post(self._over, error)

    def _post(self, call: Callable[[Any], None], value: Any) -> None:
        # The loop may have been closed meanwhile; then no task waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, value)

    # On the loop.

    def _received(self, batch: worker_pb2.ServerMessages) -> None:
        if self._closed:
            return
        if self.welcome.done():
            if self._interval is None:
                self._early.append(batch)
            else:
                self._take(batch)
        elif batch.messages and batch.messages[0].HasField("welcome"):
            self.welcome.set_result(batch.messages[0].welcome)
        else:
            self._over(ConsortError("the server sent something else than a welcome", code=Code.UNREACHABLE))

    def _over(self, error: ConsortError | None) -> None:
        if self._closed:
            return
        if not self.welcome.done():
            self.welcome.set_exception(
                error or ConsortError("the server sent something else than a welcome", code=Code.UNREACHABLE)
            )
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
