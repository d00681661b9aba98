"""Sends the requests of operations, reads their answers, and follows events.

For: the generated methods. Not for: any one operation (see `_generated.operations`).
Invariant: every refusal and every lost connection is a `ConsortError` with a stable code. Following survives lost
connections: it continues behind the last event that was seen.

`scripts/generate` makes the client that blocks from this file; every word that differs is in its table.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar

import httpx
from httpx_sse import EventSource, ServerSentEvent
from typing_extensions import Self

from consort._address import DEFAULT_ADDRESS, Address
from consort._errors import ConsortError, Seconds, microseconds
from consort._generated import models, table
from consort._operation import TIMEOUT, BackOff, Operation, StreamOver, answer, request, unreachable
from consort._problems import problem_error, refusal

LOG = logging.getLogger("consort.client")

Page = TypeVar("Page")
Item = TypeVar("Item")


class AsyncPager(Generic[Page, Item]):
    """The items of a listing: an iterable, which requests the next page when it gets there."""

    def __init__(self, caller: AsyncCaller, operation: Operation, params: Mapping[str, Any], kind: Any) -> None:
        self._caller = caller
        self._operation = operation
        self._params = params
        self._kind = kind

    async def pages(self) -> AsyncIterator[Page]:
        """The pages; each has `items`, and in `next` the cursor of the one after it."""
        params = dict(self._params)
        while True:
            page = await self._caller.call(self._operation, params, kind=self._kind)
            yield page
            if not page.next:
                return
            params[self._operation.cursor] = page.next

    async def __aiter__(self) -> AsyncIterator[Item]:
        async for page in self.pages():
            for item in page.items:  # type: ignore[attr-defined]
                yield item

    async def all(self) -> list[Item]:
        """Every item."""
        return [item async for item in self]


class AsyncCaller:
    """A connection to a server."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        namespace: str = table.NAMESPACE_DEFAULT,
        token: str | None = None,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        reconnect_timeout: Seconds = 60.0,
    ) -> None:
        """A client of one namespace; it connects when it is first used.

        `token` is the server's token, if it has one; `verify` is how certificates are checked, where the
        address is `https`; `transport` is another way there, such as through a proxy. `reconnect_timeout` is how
        long the server may be unreachable before a watch, or a wait for a result, fails; until then they connect again
        and continue where they were.

        Raises `ConsortError` where the address is none.
        """
        found = Address.parse(address)
        self._namespace = namespace
        self._reconnect_timeout = microseconds(reconnect_timeout) / 1_000_000
        self._http = httpx.AsyncClient(
            base_url=found.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            verify=verify if found.is_secure else False,
            transport=transport,
            timeout=TIMEOUT,
            # The address is the server's own: no proxy of the environment is used.
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    def back_off(self) -> BackOff:
        """A new account of how long the server is away."""
        return BackOff(self._reconnect_timeout)

    async def call(
        self, operation: Operation, params: Mapping[str, Any], content: bytes = b"", *, kind: Any = None
    ) -> Any:
        """Calls an operation of `_generated.table`; what the generated methods do."""
        asked = request(operation, self._given(operation, params), content)
        try:
            response = await self._http.request(
                asked.method, asked.target, headers=asked.headers, content=asked.content
            )
        except httpx.TransportError as error:
            raise unreachable(str(self._http.base_url), error) from error
        if not response.is_success:
            raise refusal(response.status_code, response.content)
        return answer(operation.id, response.content, kind)

    async def events(
        self, operation: Operation, params: Mapping[str, Any], kinds: Mapping[str, Any]
    ) -> AsyncIterator[Any]:
        """Follows the events of an operation, each as a value of the type that its name has in `kinds`; an event with
        another name, of a newer server, is left out.
        """
        seen = ""
        back_off = self.back_off()
        while True:
            lost = unreachable(str(self._http.base_url), "the stream of events broke off")
            try:
                async for event in self._stream(operation, params, seen):
                    back_off.reached()
                    if event is None:
                        continue
                    if event.event == "error":
                        raise problem_error(answer(operation.id, event.data.encode(), models.Problem))
                    seen = event.id or seen
                    kind = kinds.get(event.event)
                    if kind is not None:
                        yield answer(operation.id, event.data.encode(), kind)
                    if event.event == "end":
                        return
            except StreamOver:
                return
            except ConsortError as error:
                lost = error
            pause = back_off.after(lost)
            LOG.info("events of `%s` are followed again in %.1f s: %s", operation.id, pause, lost)
            await asyncio.sleep(pause)

    async def _stream(
        self, operation: Operation, params: Mapping[str, Any], seen: str
    ) -> AsyncIterator[ServerSentEvent | None]:
        """The events of one connection; first `None`, once it is open."""
        asked = request(operation, self._given(operation, params), b"")
        headers = {**asked.headers, "Accept": "text/event-stream", **({"Last-Event-ID": seen} if seen else {})}
        try:
            async with self._http.stream(asked.method, asked.target, headers=headers) as response:
                if response.status_code == httpx.codes.NO_CONTENT:
                    raise StreamOver
                if not response.is_success:
                    raise refusal(response.status_code, await response.aread())
                yield None
                async for event in EventSource(response).aiter_sse():
                    yield event
        except httpx.TransportError as error:
            raise unreachable(str(self._http.base_url), error) from error

    def _given(self, operation: Operation, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"namespace": self._namespace, **params} if "namespace" in operation.places else params
