"""One connection after another: instances, what they hold, and what waits to be sent.

For: the state of a worker that outlives its connections. Not for: opening them (see `_worker`).
Invariant: for each task at most one attempt is live; an offer with a newer token stops the older one, and begins only
when nothing of the older one's code runs any more. Last reports
wait for a connection that takes them, and are sent again on the next where the broken one may not have delivered
them. Messages in between belong to one connection and are lost with it; their attempt sends again what is open.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from consort._agent import Agent
from consort._attempt import GONE, Attempt, Timeouts
from consort._context import TaskContext
from consort._errors import Code, TaskError, reported
from consort._outbox import Outbox
from consort._proto.v1 import common_pb2, worker_pb2
from consort._threads import Threads

LOG = logging.getLogger("consort.worker")

DELIVERY_SECONDS: Final = 15.0
"""How long a report is kept after it was handed to a connection, in case that breaks."""
DELIVERY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of the reports that are kept so; the oldest are dropped."""
DELIVERIES_BEYOND: Final = 64
"""Reports that are kept so, beyond twice the credit: no more can be on their way, and as many may not be durable."""


class Instance:
    """One connected agent."""

    def __init__(
        self,
        number: int,
        agent: Agent,
        *,
        outbox: Outbox,
        threads: Threads,
        timeouts: Timeouts,
        credit: int,
        labels: Mapping[str, str],
        left: Callable[[], None],
    ) -> None:
        """`left` is called when an attempt is over or its report was handed over."""
        self.agent = agent
        self.threads = threads
        self.timeouts = timeouts
        self.drained = False
        """Whether the server lets the instance go: it gets nothing more, on this connection and on later ones."""
        self.number = number
        """How messages of the present connection name it."""
        self._outbox = outbox
        self._credit = credit
        self._labels = dict(labels)
        self._left = left
        # Attempts that run, or ended with a report that no connection has taken.
        self._live: dict[str, Attempt] = {}
        # Attempts that are over, but whose code still runs, by their task; and what begins when it has ended.
        self._lingering: dict[str, set[Attempt]] = {}
        self._held_back: dict[str, Callable[[], None]] = {}
        # What a connection has taken, when, and how large it was.
        self._handed: deque[tuple[float, Attempt, int]] = deque()
        self._handed_bytes = 0
        self._loop = asyncio.get_running_loop()

    @property
    def epoch(self) -> int:
        """Counts the connections."""
        return self._outbox.epoch

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held."""
        return not self._live

    def hello(self, number: int, *, leaving: bool) -> worker_pb2.HelloInstance:
        """How the instance introduces itself on a connection where it has this number."""
        self.number = number
        return worker_pb2.HelloInstance(
            agent=self.agent.declaration(),
            # A server refuses none at all; `Leaving` or `Credit` follows at once.
            credit=1 if leaving or self.drained else self._credit,
            held=[attempt.wire for attempt in self._live.values()],
            labels=self._labels,
        )

    def recall(self) -> None:
        """Takes back what the last connection may not have delivered."""
        self._prune()
        for _, attempt, _ in self._handed:
            self._live.setdefault(attempt.task, attempt)
        self._handed.clear()
        self._handed_bytes = 0

    def connected(self) -> None:
        """There is a new connection: sends what the last one left open."""
        if self.drained:
            self.send(worker_pb2.WorkerMessage(credit=worker_pb2.Credit(tasks=0)))
        for attempt in list(self._live.values()):
            if not attempt.over:
                attempt.reconnected()
            elif attempt.report is not None:
                self._deliver(attempt, attempt.report)

    def take(self, message: worker_pb2.ServerMessage) -> None:
        """Acts on a message of the server."""
        match message.WhichOneof("kind"):
            case "task":
                self._start(message.task)
            case "recorded":
                found = self._live.get(message.recorded.task)
                if found is not None and not found.over:
                    found.recorded(message.recorded.index, message.recorded.entry)
            case "cancel":
                self._cancel(message.cancel.attempt, message.cancel.reason)
            case "refused":
                self._refused(message.refused.attempt, message.refused.error)
            case "drain":
                self.drained = True
                self._left()
            case _:
                LOG.debug("a message of a newer protocol is left alone")

    def _find(self, wire: worker_pb2.Attempt) -> Attempt | None:
        found = self._live.get(wire.task)
        return found if found is not None and found.token == wire.token else None

    def _cancel(self, wire: worker_pb2.Attempt, reason: str) -> None:
        found = self._find(wire)
        if found is None:
            return
        if found.over:
            # Its report has no effect.
            self._forget(found)
        else:
            found.cancel(reason)

    def _refused(self, wire: worker_pb2.Attempt, error: common_pb2.Error) -> None:
        found = self._find(wire)
        if found is not None and not found.over:
            found.refused(error)
            return
        known = found or next((one for _, one, _ in self._handed if one.wire == wire), None)
        if error.code in GONE:
            LOG.info("task %s is no longer of this worker: [%s] %s", wire.task, error.code, error.message)
            if found is not None:
                self._forget(found)
            return
        LOG.warning("the report on task %s was refused: [%s] %s", wire.task, error.code, error.message)
        if known is not None:
            self._report_instead(known, error)

    def _report_instead(self, attempt: Attempt, error: common_pb2.Error) -> None:
        """A last report was not taken, and the task still needs one."""
        refused = attempt.report
        if refused is None or refused == attempt.last_resort():
            return
        words = attempt.failure(reported(error.code, error.message, error.hint))
        attempt.report = attempt.last_resort() if refused.HasField("fail") else words
        attempt.report.instance = self.number
        self._handed = deque(one for one in self._handed if one[1] is not attempt)
        self._handed_bytes = sum(size for _, _, size in self._handed)
        self._live.setdefault(attempt.task, attempt)
        if self._outbox.is_open and self._live[attempt.task] is attempt:
            self._deliver(attempt, attempt.report)

    def _start(self, offer: worker_pb2.Task) -> None:
        """Starts an attempt, unless it is an old one or runs already."""
        task, token = offer.attempt.task, offer.attempt.token
        older = self._live.get(task)
        if older is not None:
            if token < older.token or (token == older.token and not older.over):
                return
            if token > older.token:
                older.abort()
        attempt = Attempt(offer, self)
        self._live[task] = attempt
        context = TaskContext(attempt)
        capability = self.agent.find(offer.capability)
        code: Callable[[], Awaitable[bytes]] = functools.partial(_unknown, offer.capability)
        if capability is not None:
            code = functools.partial(capability.invoke, context, offer.input, attempt.threads)
        if task not in self._lingering:
            attempt.start(code)
            return
        LOG.log(
            logging.DEBUG if older is not None else logging.WARNING,
            "task %s (%s) begins when an older attempt, whose code still runs here, has ended",
            task,
            offer.capability,
        )
        self._held_back[task] = functools.partial(attempt.start, code)

    def freed(self, attempt: Attempt) -> None:
        """Nothing of the code of an attempt that is over runs any more."""
        lingering = self._lingering.get(attempt.task, set())
        lingering.discard(attempt)
        if not lingering:
            self._lingering.pop(attempt.task, None)
            self._held_back.pop(attempt.task, _nothing)()

    # What attempts do.

    def send(self, message: worker_pb2.WorkerMessage) -> None:
        """Hands a message to the present connection; without one it is dropped."""
        message.instance = self.number
        if not self._outbox.put(message):
            self._too_large(message)

    def concluded(self, attempt: Attempt, report: worker_pb2.WorkerMessage | None) -> None:
        """The attempt is over; its last report is to be delivered, however long that takes."""
        if attempt.is_running:
            self._lingering.setdefault(attempt.task, set()).add(attempt)
        if self._live.get(attempt.task) is not attempt:
            return
        if report is None:
            self._forget(attempt)
            return
        report.instance = self.number
        if self._outbox.is_open:
            self._deliver(attempt, report)

    def _deliver(self, attempt: Attempt, report: worker_pb2.WorkerMessage) -> None:
        if not self._outbox.put(report):
            attempt.report = report = self._replacement(report)
            self._outbox.put(report)
        size = report.ByteSize()
        self._handed.append((self._loop.time(), attempt, size))
        self._handed_bytes += size
        self._prune()
        self._forget(attempt)

    def _prune(self) -> None:
        """Drops reports that have certainly arrived, and the oldest where there are too many."""
        since = self._loop.time() - DELIVERY_SECONDS
        most = 2 * self._credit + DELIVERIES_BEYOND
        while self._handed and (
            self._handed[0][0] < since or len(self._handed) > most or self._handed_bytes > DELIVERY_BYTES_MAX
        ):
            self._handed_bytes -= self._handed.popleft()[2]

    def _forget(self, attempt: Attempt) -> None:
        if self._live.get(attempt.task) is attempt:
            del self._live[attempt.task]
        self._left()

    def _too_large(self, message: worker_pb2.WorkerMessage) -> None:
        if message.HasField("record"):
            found = self._live.get(message.record.attempt.task)
            if found is not None:
                self._loop.call_soon(found.refused, self._size_error(message))
        else:
            LOG.warning("partial output of %d bytes is too large to be sent", message.ByteSize())

    def _replacement(self, report: worker_pb2.WorkerMessage) -> worker_pb2.WorkerMessage:
        """The failure for a report that is too large."""
        fail = worker_pb2.Fail(attempt=report.complete.attempt, error=self._size_error(report))
        return worker_pb2.WorkerMessage(instance=self.number, fail=fail)

    def _size_error(self, message: worker_pb2.WorkerMessage) -> common_pb2.Error:
        return common_pb2.Error(
            code=Code.PAYLOAD_TOO_LARGE,
            message=f"the message has {message.ByteSize()} bytes, the server's limit is {self._outbox.batch_bytes_max}",
            hint="store the document elsewhere and pass a reference",
        )

    def stop(self) -> None:
        """Stops the attempts that still run; nothing is reported."""
        for attempt in list(self._live.values()):
            attempt.abort()


def _nothing() -> None:
    """Begins nothing."""


async def _unknown(name: str) -> bytes:
    message = (
        f"this version of the agent has no capability `{name}`"
        if name
        else "the step names no capability, and the agent has several"
    )
    raise TaskError(message, code=Code.BAD_REQUEST, retryable=True)
