"""The worker: hosts agents and keeps them connected.

For: a process (or a part of one) that takes tasks. Not for: what the agents do.
Invariant: one stream carries all agents, one instance each; whatever breaks it, the worker connects again, until it
is stopped, drained or refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import signal
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

import grpc

from consort._address import DEFAULT_ADDRESS, Address
from consort._agent import Agent
from consort._attempt import Timeouts
from consort._errors import Code, ConsortError, Seconds, microseconds
from consort._link import Link
from consort._outbox import Outbox
from consort._proto.v1 import worker_pb2
from consort._quiescence import unwatch, watch
from consort._replay_check import is_wanted, replay_tasks
from consort._session import Instance
from consort._threads import Threads
from consort._transport import PROTOCOL
from consort._version import __version__

LOG = logging.getLogger("consort.worker")

CREDIT_MAX: Final = 10_000
"""Tasks that one instance holds at once."""
BACK_OFF_FIRST: Final = 0.1
"""Seconds of the first pause after a lost connection."""
BACK_OFF_LONGEST: Final = 5.0
"""Seconds of the longest pause."""
WELCOME_WITHIN: Final = 15.0
"""Seconds that the server has for its welcome."""
SETTLED_AFTER: Final = 5.0
"""Seconds after which a connection counts as a good one: the next pause is a short one again."""


@dataclass(frozen=True, slots=True)
class _Settings:
    address: str
    namespace: str
    concurrency: int
    labels: dict[str, str]
    token: str | None
    credentials: grpc.ChannelCredentials | None
    timeouts: Timeouts
    leave_within: float


class Worker:
    """Hosts agents on a connection to a server.

    ```python
    Worker(agent).run_forever()      # or, in async code: await Worker(agent).run()
    ```
    """

    def __init__(
        self,
        *agents: Agent,
        address: str | None = None,
        namespace: str = "default",
        concurrency: int = 16,
        labels: Mapping[str, str] | None = None,
        token: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        park_after: Seconds = 0.01,
        cancel_grace: Seconds = 2.0,
        leave_within: Seconds = 30.0,
    ) -> None:
        """A worker for these agents.

        `address` is where the server listens, and `token` the server's token, if it has one; without them
        `CONSORT_SERVER` and `CONSORT_TOKEN` of the environment are used, and without those `http://127.0.0.1:7878`.
        `credentials` are for servers behind TLS. `concurrency` is how many tasks each agent holds at once, from 1 to
        10,000; `labels` are those of the instances, above those of the agents. `park_after` is how long a task only
        waits before it frees its place, `cancel_grace` how long cancelled code may continue, `leave_within` how long a
        worker that was stopped stays for what it holds.
        """
        if not agents:
            raise ConsortError("a worker without an agent has nothing to do", code=Code.BAD_REQUEST)
        if other := next((given for given in agents if not isinstance(given, Agent)), None):
            raise ConsortError(
                f"a worker hosts agents, and was given a {type(other).__name__}",
                code=Code.BAD_REQUEST,
                hint="give the agents one by one: `Worker(first, second)`",
            )
        if not 1 <= concurrency <= CREDIT_MAX:
            raise ConsortError(
                f"a concurrency of {concurrency} is not within 1 to {CREDIT_MAX}", code=Code.LIMIT_REACHED
            )
        self._agents = agents
        self._settings = _Settings(
            address=address or os.environ.get("CONSORT_SERVER") or DEFAULT_ADDRESS,
            namespace=namespace,
            concurrency=concurrency,
            labels=dict(labels or {}),
            token=os.environ.get("CONSORT_TOKEN") if token is None else token,
            credentials=credentials,
            timeouts=Timeouts(_seconds(park_after), _seconds(cancel_grace)),
            leave_within=_seconds(leave_within),
        )
        self._running: _Running | None = None
        self._stopped = False

    async def run(self) -> None:
        """Takes tasks until every instance has left: because the server let it go, or because the worker was stopped
        and what it held is done. Lost connections are opened again.

        Raises `ConsortError` where the server refuses the worker. Under `consort replay-check` it replays the journals
        of tasks in flight against the code of its agents instead, and ends.
        """
        if is_wanted():
            return await replay_tasks(self._agents)
        if self._running is not None:
            raise ConsortError("this worker runs already", code=Code.BAD_REQUEST)
        loop = asyncio.get_running_loop()
        self._running = _Running(self._agents, self._settings)
        if self._stopped:
            self._running.stopping.set()
        watch(loop)
        try:
            await self._running.work()
        finally:
            self._running.close()
            unwatch(loop)
            self._running = None

    def run_forever(self) -> None:
        """Runs on an event loop of its own. SIGINT and SIGTERM stop it; the second such signal stops it at once.

        Where the program has set no handler for logs, those of Consort go to standard error, from INFO on.
        """
        with _logging(), contextlib.suppress(KeyboardInterrupt):
            asyncio.run(self._run_with_signals())

    def stop(self) -> None:
        """Requests no more tasks, finishes those that are held, and leaves. To be called on the loop's thread."""
        self._stopped = True
        if self._running is not None:
            self._running.stopping.set()

    async def _run_with_signals(self) -> None:
        loop = asyncio.get_running_loop()
        work = asyncio.ensure_future(self.run())

        def stop() -> None:
            if self._stopped:
                work.cancel()
            else:
                LOG.info("the worker leaves when what it holds is done; a second signal stops it at once")
                self.stop()

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(stop)

        before: dict[int, Any] = {
            number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            await work
        except asyncio.CancelledError:
            if not self._stopped:
                raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Running:
    """A worker while it runs."""

    def __init__(self, agents: tuple[Agent, ...], settings: _Settings) -> None:
        self.stopping = asyncio.Event()
        """Set when the worker is to leave."""
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        # More than tasks: code that does not heed its cancellation keeps its thread.
        self._threads = Threads(max(32, 2 * settings.concurrency * len(agents)))
        self._changed = asyncio.Event()
        self._instances = [
            Instance(
                number,
                agent,
                outbox=self._outbox,
                threads=self._threads,
                timeouts=settings.timeouts,
                credit=settings.concurrency,
                labels=settings.labels,
                left=self._changed.set,
            )
            for number, agent in enumerate(agents)
        ]
        # Identifies this worker, over its reconnects.
        self._identity = secrets.token_hex(16)
        # The instances of the present connection: those that were not drained.
        self._joined: list[Instance] = []
        self._welcomed = False

    @property
    def _is_idle(self) -> bool:
        return all(instance.is_idle for instance in self._instances)

    async def work(self) -> None:
        """One connection after another."""
        leaving = asyncio.ensure_future(self._leave())
        sessions = asyncio.ensure_future(self._sessions())
        try:
            await asyncio.wait([leaving, sessions], return_when=asyncio.FIRST_COMPLETED)
            if sessions.done():
                sessions.result()
        finally:
            for task in (leaving, sessions):
                task.cancel()
            await asyncio.gather(leaving, sessions, return_exceptions=True)

    async def _leave(self) -> None:
        """Ends when the worker was stopped and has stayed long enough."""
        await self.stopping.wait()
        self._changed.set()
        await asyncio.sleep(self._settings.leave_within)
        if not self._is_idle:
            LOG.warning("the worker leaves before all that it holds is done")

    async def _sessions(self) -> None:
        back_off = BACK_OFF_FIRST
        while self._join():
            begun = self._loop.time()
            self._welcomed = False
            try:
                if await self._session():
                    return
                lost = "the stream was closed"
            except ConsortError as error:
                # Once it was welcome a worker reconnects whatever happens. (gRPC itself also reports `internal` where
                # a connection breaks.)
                if not (self._welcomed or error.is_unavailable or error.code == Code.INTERNAL):
                    raise
                lost = str(error)
            if self.stopping.is_set() and self._is_idle:
                return
            if self._loop.time() - begun >= SETTLED_AFTER:
                back_off = BACK_OFF_FIRST
            pause = back_off * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
            back_off = min(back_off * 2, BACK_OFF_LONGEST)
            LOG.warning("not connected (%s); again in %.1f s", lost, pause)
            # A worker that is stopped meanwhile, and holds nothing, need not connect first.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._left_without(), pause)
                return

    def _join(self) -> bool:
        """Chooses the instances of the next connection; false where none has a reason for one."""
        for instance in self._instances:
            instance.recall()
        self._joined = [instance for instance in self._instances if not (instance.drained and instance.is_idle)]
        return bool(self._joined)

    async def _left_without(self) -> None:
        await self.stopping.wait()
        while not self._is_idle:
            self._changed.clear()
            await self._changed.wait()

    async def _session(self) -> bool:
        """Serves one connection until it closes; true where the worker has left."""
        settings = self._settings
        link = Link(
            self._hello(),
            address=settings.address,
            token=settings.token,
            credentials=settings.credentials,
            outbox=self._outbox,
            take=self._take,
        )
        try:
            # Before Python 3.12 `wait_for` forgets a cancellation that comes together with the welcome.
            await asyncio.wait([link.welcome], timeout=WELCOME_WITHIN)
            if not link.welcome.done():
                raise ConsortError("the server sent no welcome", code=Code.UNREACHABLE)
            welcome = link.welcome.result()
            with self._connected(welcome):
                link.begin(max(welcome.heartbeat_interval_us / 1_000_000, 0.1) / 3)
                return await self._serve(link)
        finally:
            link.close()

    def _hello(self) -> worker_pb2.Hello:
        return worker_pb2.Hello(
            protocol=PROTOCOL,
            protocol_min=PROTOCOL,
            namespace=self._settings.namespace,
            instances=[
                instance.hello(number, leaving=self.stopping.is_set()) for number, instance in enumerate(self._joined)
            ],
            client=f"python/{__version__} {socket.gethostname()}:{os.getpid()}",
            worker=self._identity,
        )

    @contextlib.contextmanager
    def _connected(self, welcome: worker_pb2.Welcome) -> Iterator[None]:
        LOG.info(
            "connected to %s (Consort %s): %s",
            Address.parse(self._settings.address).url,
            welcome.server,
            "; ".join(_introduced(instance.agent) for instance in self._joined),
        )
        self._welcomed = True
        self._outbox.open(welcome.batch_bytes_max)
        for instance in self._joined:
            instance.connected()
        try:
            yield
        finally:
            self._outbox.close()

    def _take(self, batch: worker_pb2.ServerMessages) -> None:
        for message in batch.messages:
            if message.instance >= len(self._joined):
                continue
            try:
                self._joined[message.instance].take(message)
            except Exception:
                # It is about one task: the others are not to suffer from it.
                LOG.exception("a message of the server cannot be acted on: %s", message.WhichOneof("kind"))

    async def _serve(self, link: Link) -> bool:
        part = asyncio.ensure_future(self._part(link))
        try:
            await asyncio.wait([link.ended, part], return_when=asyncio.FIRST_COMPLETED)
            if part.done() or link.is_finishing:
                await part
                return True
            link.ended.result()
            return False
        finally:
            part.cancel()
            await asyncio.gather(part, return_exceptions=True)

    async def _part(self, link: Link) -> None:
        """Ends when every instance was drained and all that was held is reported."""
        sent = False
        while True:
            if self.stopping.is_set() and not sent:
                sent = True
                for number in range(len(self._joined)):
                    self._outbox.put(worker_pb2.WorkerMessage(instance=number, leaving=worker_pb2.Leaving()))
            if self._is_idle and all(instance.drained for instance in self._instances):
                break
            self._changed.clear()
            await self._changed.wait()
        sent_all = asyncio.Event()
        self._outbox.when_empty(lambda: self._loop.call_soon_threadsafe(sent_all.set))
        await sent_all.wait()
        link.finish()
        # The server closes its side when it has read everything.
        with contextlib.suppress(ConsortError, asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(link.ended), 2)

    def close(self) -> None:
        """Closes everything."""
        for instance in self._instances:
            instance.stop()
        self._threads.close()


def _seconds(span: Seconds) -> float:
    return microseconds(span) / 1_000_000


def _introduced(agent: Agent) -> str:
    """An agent for people: its name, its version and what it can do."""
    return f"{agent.name} {agent.version} ({', '.join(agent.capabilities) or 'no capability'})"


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Shows the logs of Consort where no handler does."""
    logger = logging.getLogger("consort")
    if logger.hasHandlers():
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    if level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
