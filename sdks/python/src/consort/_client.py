"""The client: every operation of the interface, and runs to be waited for.

For: programs that use Consort. Not for: agents (see `_worker`), or the operations themselves (they are generated).
Invariant: waiting for a run survives lost connections.

`scripts/generate` makes the client that blocks from this file; every word that differs is in its table.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, TypeVar, overload

from consort._documents import read
from consort._errors import Code, ConsortError
from consort._failed import WAIT_SECONDS, RunFailed
from consort._generated import models, table
from consort._generated.operations import AsyncOperations, AsyncRunOperations

LOG = logging.getLogger("consort.client")

T = TypeVar("T")


class AsyncClient(AsyncOperations):
    """A client of a server.

    ```python
    async with AsyncClient() as client:
        run = await client.start_run("greet", input={"name": "Ada"})
        print(await run.result(str))
    ```
    """

    def run(self, id: str) -> AsyncRun:  # noqa: A002 - the word that users know
        """A run that was started before; nothing is asked yet."""
        return AsyncRun(self, id, deduplicated=True)

    def _started(self, started: models.Started) -> AsyncRun:
        return AsyncRun(self, started.run, deduplicated=started.deduplicated)


class AsyncRun(AsyncRunOperations):
    """A run: everything that can be asked of it, and its result."""

    def __init__(self, client: AsyncClient, id: str, *, deduplicated: bool) -> None:  # noqa: A002 - as above
        """Made by a client."""
        self._client = client
        self.id = id
        """Its id."""
        self.deduplicated = deduplicated
        """Whether it was started before this handle was made, such as by the same idempotency key."""

    @overload
    async def result(self, kind: type[T]) -> T: ...
    @overload
    async def result(self, kind: Any = ...) -> Any: ...
    async def result(self, kind: Any = Any) -> Any:
        """Waits for the end of the run; its output, as a value of that type.

        Raises `RunFailed` where it failed or was cancelled. A server that is away is waited for as long as the client
        allows.
        """
        back_off = self._client.back_off()
        while True:
            try:
                run = await self.show(wait=WAIT_SECONDS)
                back_off.reached()
                if run.ended_at is None:
                    continue
                if run.status != "completed":
                    raise RunFailed(run)
                output = await self._client.call(table.RUN_OUTPUT, {"run": self.id}, kind=bytes)
                return read("output", output, kind, Code.BAD_OUTPUT)
            except RunFailed:
                raise
            except ConsortError as error:
                pause = back_off.after(error)
                LOG.info("run %s is waited for again in %.1f s: %s", self.id, pause, error)
            await asyncio.sleep(pause)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"
