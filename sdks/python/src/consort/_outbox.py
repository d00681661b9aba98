"""What waits for the present connection, in order.

For: handing messages from the event loop to the thread that sends them. Not for: what must outlive a connection (see
`_session`).
Invariant: a message is sent on the connection that was open when it was put, or not at all; a batch keeps to the
server's limit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from consort._proto.v1 import worker_pb2

STREAM_BYTES_WAITING_MAX: Final = 16 * 1024 * 1024
"""Bytes of partial output that wait for the connection; more is dropped, as watchers are a courtesy."""
BATCH_OVERHEAD_BYTES: Final = 16
"""What a message costs in a batch beside its own bytes, at most."""


class Outbox:
    """See the module. Filled on the event loop, emptied by a thread."""

    def __init__(self) -> None:
        self.epoch = 0
        """Counts the connections, from 1."""
        self.is_open = False
        """Whether there is a connection."""
        self.batch_bytes_max = 1 << 22
        """Bytes of one batch."""
        self._line: deque[tuple[worker_pb2.WorkerMessage, int]] = deque()
        self._stream_bytes = 0
        # Whether a batch was taken that may not be on its way yet.
        self._is_sending = False
        self._on_empty: Callable[[], object] | None = None
        self._changed = threading.Condition()

    def open(self, batch_bytes_max: int) -> None:
        """Messages go to a new connection from now on."""
        self.epoch += 1
        self.is_open = True
        self.batch_bytes_max = batch_bytes_max or self.batch_bytes_max

    def close(self) -> None:
        """The connection is closed, and its pending messages are dropped."""
        with self._changed:
            self.is_open = False
            self._line.clear()
            self._stream_bytes = 0
            self._is_sending = False
            self._on_empty = None

    def put(self, message: worker_pb2.WorkerMessage) -> bool:
        """Hands a message over; false where it is too large for the connection."""
        if not self.is_open:
            return True
        size = message.ByteSize() + BATCH_OVERHEAD_BYTES
        if size > self.batch_bytes_max:
            return False
        with self._changed:
            if message.HasField("stream"):
                if self._stream_bytes + size > STREAM_BYTES_WAITING_MAX:
                    return True
                self._stream_bytes += size
            self._line.append((message, size))
            self._changed.notify()
        return True

    def when_empty(self, call: Callable[[], object]) -> None:
        """Calls it once everything was sent: now, or on the thread that sends."""
        with self._changed:
            if self._line or self._is_sending:
                self._on_empty = call
                return
        call()

    # On the thread that sends.

    def take(
        self, timeout: Callable[[], float | None], is_over: Callable[[], bool]
    ) -> list[worker_pb2.WorkerMessage] | None:
        """The messages that wait, as many as a batch holds; an empty batch where none came in time, and nothing where
        it is over or was woken. What was taken before has been sent.
        """
        with self._changed:
            if is_over():
                return None
            self._is_sending = False
            woken = True
            if not self._line:
                on_empty, self._on_empty = self._on_empty, None
                if on_empty is not None:
                    on_empty()
                woken = self._changed.wait(timeout())
            if is_over():
                # A later connection may be open by now: its messages are not for this one.
                return None
            batch = self._next()
            self._is_sending = bool(batch)
            return batch if batch or not woken else None

    def wake(self) -> None:
        """Lets `take` look again."""
        with self._changed:
            self._changed.notify_all()

    def _next(self) -> list[worker_pb2.WorkerMessage]:
        batch: list[worker_pb2.WorkerMessage] = []
        total = 0
        while self._line and total + self._line[0][1] <= self.batch_bytes_max:
            message, size = self._line.popleft()
            total += size
            if message.HasField("stream"):
                self._stream_bytes -= size
            batch.append(message)
        return batch
