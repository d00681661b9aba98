"""The client: deploys workflows, starts and watches runs, answers the inbox, lists agents.

For: programs that use Consort. Not for: agents (see `_worker`).
Invariant: watching and waiting survive a lost connection: they go on behind the last entry that was seen.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar, overload

import grpc
import grpc.aio
from typing_extensions import Self

from consort._documents import document, read, write
from consort._errors import Code, ConsortError, Seconds, microseconds
from consort._proto.v1 import client_pb2, client_pb2_grpc
from consort._records import (
    AgentInfo,
    Delta,
    Deployed,
    InboxItem,
    Progress,
    RunEnded,
    RunEvent,
    RunInfo,
    RunStatus,
    WorkflowInfo,
    instant,
)
from consort._transport import DEFAULT_ADDRESS, metadata, open_channel, rpc_error

LOG = logging.getLogger("consort.client")

T = TypeVar("T")

BACK_OFF_FIRST: Final = 0.1
"""Seconds of the first pause after a lost connection."""
BACK_OFF_LONGEST: Final = 5.0
"""Seconds of the longest pause."""
PAGE_ITEMS: Final = 100
"""Items that are asked for at once."""


class RunFailed(ConsortError):
    """A run that was waited for failed or was cancelled."""

    run: RunInfo
    """The run."""

    def __init__(self, run: RunInfo) -> None:
        error = run.error or ConsortError(f"the run is {run.status.value}", code=Code.CANCELLED)
        super().__init__(error.message, code=error.code, hint=error.hint)
        self.run = run


class Client:
    """A connection to a server.

    ```python
    async with Client() as client:
        run = await client.start("greet", {"name": "Ada"})
        print(await run.result(str))
    ```
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        namespace: str = "default",
        token: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """A client of one namespace; connects when it is first used."""
        self._address = address
        self._namespace = namespace
        self._metadata = metadata(token)
        self._credentials = credentials
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)

    def _stub(self, kind: Any) -> Any:
        if self._channel is None:
            self._channel = open_channel(self._address, self._credentials)
        return kind(self._channel)

    async def ask(self, service: str, method: str, request: Any) -> Any:
        """Calls a method of the client interface with a message of it, in this client's namespace; for what has no
        method of its own here.
        """
        request.namespace = self._namespace
        call = getattr(self._stub(getattr(client_pb2_grpc, f"{service}Stub")), method)
        try:
            return await call(request, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise rpc_error(error, self._address) from error

    async def deploy(self, source: str) -> Deployed:
        """Deploys a workflow's YAML text; the same text again is the same revision."""
        found = await self.ask("WorkflowService", "DeployWorkflow", client_pb2.DeployWorkflowRequest(source=source))
        return Deployed(name=found.name, revision=found.revision, hash=found.hash, new=found.new)

    async def workflows(self) -> list[WorkflowInfo]:
        """The deployed workflows, by name."""
        found = await self.ask("WorkflowService", "ListWorkflows", client_pb2.ListWorkflowsRequest())
        return [WorkflowInfo(w.name, w.revision, w.version, w.description, w.hash) for w in found.workflows]

    async def start(
        self,
        workflow: str,
        input: Any = None,  # noqa: A002 - the word that workflows use
        *,
        version: str = "",
        idempotency_key: str = "",
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        timeout: Seconds | None = None,
    ) -> Run:
        """Starts a run. `idempotency_key` makes the start repeatable; `timeout` is how long the run may take."""
        request = client_pb2.StartRunRequest(
            workflow=workflow,
            version=version,
            input=b"" if input is None else write("input", input),
            idempotency_key=idempotency_key,
            labels=dict(labels or {}),
            priority=priority,
            timeout_us=None if timeout is None else microseconds(timeout),
        )
        found = await self.ask("RunService", "StartRun", request)
        return Run(self, found.run, existing=found.existing)

    def run(self, id: str) -> Run:  # noqa: A002 - the word that users know
        """A run that was started before; nothing is asked yet."""
        return Run(self, id, existing=True)

    async def runs(
        self,
        *,
        workflow: str = "",
        statuses: Sequence[RunStatus | str] = (),
        labels: Mapping[str, str] | None = None,
    ) -> AsyncIterator[RunInfo]:
        """Runs, newest first, page by page; without their documents."""
        request = client_pb2.ListRunsRequest(
            workflow=workflow,
            statuses=[RunStatus(status).wire for status in statuses],
            labels=dict(labels or {}),
            page_size=PAGE_ITEMS,
        )
        while True:
            page = await self.ask("RunService", "ListRuns", request)
            for run in page.runs:
                yield RunInfo.of(run)
            if not page.next:
                return
            request.cursor = page.next

    async def inbox(self) -> list[InboxItem]:
        """What waits for a person."""
        items: list[InboxItem] = []
        request = client_pb2.ListInboxRequest(page_size=PAGE_ITEMS)
        while True:
            page = await self.ask("InboxService", "ListInbox", request)
            items.extend(_inbox_item(item) for item in page.items)
            if not page.next:
                return items
            request.cursor = page.next

    async def approve(self, task: str, *, approved: bool = True, by: str, comment: str = "") -> None:
        """Decides an approval, in the name of `by`."""
        request = client_pb2.ApproveRequest(task=task, approved=approved, by=by, comment=comment)
        await self.ask("InboxService", "Approve", request)

    async def agents(
        self, *, capability: str = "", labels: Mapping[str, str] | None = None, text: str = ""
    ) -> list[AgentInfo]:
        """The agents that match, with what they declare and how they do."""
        request = client_pb2.ListAgentsRequest(capability=capability, labels=dict(labels or {}), text=text)
        found = await self.ask("AgentService", "ListAgents", request)
        return [AgentInfo.of(agent) for agent in found.agents]

    async def watch_run(
        self, run: str, *, after: str = "", live: bool = True
    ) -> AsyncIterator[RunEvent | Progress | Delta | RunEnded]:
        """See `Run.watch`."""
        back_off = BACK_OFF_FIRST
        while True:
            request = client_pb2.WatchRunRequest(namespace=self._namespace, run=run, after=after, live=live)
            stream = self._stub(client_pb2_grpc.RunServiceStub).WatchRun(request, metadata=self._metadata)
            try:
                async for message in stream:
                    back_off = BACK_OFF_FIRST
                    found = _watched(message)
                    if found is None:
                        continue
                    if isinstance(found, RunEvent):
                        after = found.cursor
                    yield found
                    if isinstance(found, RunEnded):
                        return
            except grpc.aio.AioRpcError as error:
                failure = rpc_error(error, self._address)
                if not failure.is_unavailable:
                    raise failure from error
                LOG.info("the watch of run %s is broken off (%s)", run, failure)
            finally:
                stream.cancel()
            await asyncio.sleep(back_off * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
            back_off = min(back_off * 2, BACK_OFF_LONGEST)


class Run:
    """A run, to be waited for, watched and told things."""

    def __init__(self, client: Client, id: str, *, existing: bool) -> None:  # noqa: A002 - the word that users know
        """Made by `Client.start` and `Client.run`."""
        self._client = client
        self.id = id
        """Its id."""
        self.existing = existing
        """Whether its idempotency key had started it before."""

    @overload
    async def result(self, kind: type[T]) -> T: ...
    @overload
    async def result(self, kind: Any = ...) -> Any: ...
    async def result(self, kind: Any = Any) -> Any:
        """Waits for the end of the run; its output, as a value of that type.

        Raises `RunFailed` where it failed or was cancelled. A lost connection is opened again; `asyncio.wait_for` sets
        a limit.
        """
        async for found in self.watch(live=False):
            if isinstance(found, RunEnded):
                if found.run.status is not RunStatus.COMPLETED:
                    raise RunFailed(found.run)
                return read("output", write("output", found.run.output), kind, Code.BAD_OUTPUT)
        raise ConsortError("the server ended the watch before the run", code=Code.INTERNAL)

    def watch(self, *, after: str = "", live: bool = True) -> AsyncIterator[RunEvent | Progress | Delta | RunEnded]:
        """Follows the run: what has happened and what happens, and with `live` what attempts say and stream; the last
        is `RunEnded`.

        `after` is the cursor of the last event that was seen. A lost connection is opened again; live messages that
        came meanwhile are lost, events are not.
        """
        return self._client.watch_run(self.id, after=after, live=live)

    async def status(self) -> RunInfo:
        """How it stands, with its documents."""
        found = await self._client.ask("RunService", "GetRun", client_pb2.GetRunRequest(run=self.id))
        return RunInfo.of(found.run)

    async def signal(self, name: str, payload: Any = None) -> None:
        """Sends a signal, which the run's workflow or one of its tasks waits for, now or later."""
        request = client_pb2.SignalRunRequest(run=self.id, name=name, payload=write("payload", payload))
        await self._client.ask("RunService", "SignalRun", request)

    async def cancel(self, reason: str = "", *, force: bool = False) -> None:
        """Cancels the run and all below it; with `force` clean-up steps too."""
        request = client_pb2.CancelRunRequest(run=self.id, reason=reason, force=force)
        await self._client.ask("RunService", "CancelRun", request)

    async def pause(self) -> None:
        """Holds back the run's tasks."""
        await self._client.ask("RunService", "PauseRun", client_pb2.PauseRunRequest(run=self.id))

    async def resume(self) -> None:
        """Lets a paused run go on."""
        await self._client.ask("RunService", "ResumeRun", client_pb2.ResumeRunRequest(run=self.id))

    def __repr__(self) -> str:
        return f"Run({self.id!r})"


def _watched(message: client_pb2.WatchRunResponse) -> RunEvent | Progress | Delta | RunEnded | None:
    kind = message.WhichOneof("kind")
    if kind == "entry":
        entry = message.entry
        details = document(entry.details) or {}
        return RunEvent(entry.cursor, instant(entry.time_us), entry.step, entry.event, details)
    if kind == "ended":
        return RunEnded(RunInfo.of(message.ended))
    live = message.live
    match live.WhichOneof("kind"):
        case "message":
            return Progress(live.step, live.attempt, live.message)
        case "text":
            return Delta(live.step, live.attempt, live.text)
        case "json":
            return Delta(live.step, live.attempt, document(live.json))
        case _:
            # Of a newer server.
            return None


def _inbox_item(item: client_pb2.InboxItem) -> InboxItem:
    return InboxItem(
        task=item.task,
        run=item.run,
        workflow=item.workflow,
        step=item.step,
        since=instant(item.since_us),
        ask=item.ask,
        title=item.title,
        details=document(item.details),
    )
