"""A replica of a space: it works without the server, and synchronises with it.

For: programs that read and write shared state while they are offline. Not for: the rules (see `_replica_state`).
Invariant: whatever is lost or killed, each local write is done at the server once, or is reported as a conflict.

`scripts/generate` makes the client that blocks from this file, too; every word that differs is in its table.
"""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from typing_extensions import Self

from consort._client import AsyncClient
from consort._documents import write
from consort._errors import Code, ConsortError
from consort._generated import table
from consort._replica_local import (
    LISTINGS,
    AsyncLock,
    LocalReplica,
    OnChange,
    ReplicaSync,
    is_reference,
    is_refusal,
    listed_value,
    order,
    outcome,
)
from consort._replica_merge import Part
from consort._replica_state import CURSORS, Arrival

CHANGES: Final = 500
"""Changes that become one line of the file."""
NOTHING: Final = {Code.SPACE_NOT_FOUND, Code.KEY_NOT_FOUND}
"""What is answered where there is no value."""


class AsyncReplica(LocalReplica):
    """A replica of a space in a file.

    ```python
    async with AsyncClient() as client, AsyncReplica.open(client, "team", "team.replica", "laptop") as replica:
        replica.put("plan", {"goal": "ship"})
        replica.add("visits")
        report = await replica.sync()
    ```

    Reading and writing need no server. `sync` pushes what was written and pulls what others wrote; conflicts are
    resolved by the policies of the space.
    """

    def __init__(
        self,
        client: AsyncClient,
        space: str,
        path: str | Path,
        name: str,
        *,
        prefix: str = "",
        on_change: OnChange | None = None,
    ) -> None:
        super().__init__(client, space, path, name, prefix=prefix, on_change=on_change)
        self._syncing = AsyncLock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def sync(self) -> ReplicaSync:
        """Pushes what was written here, and pulls what the server has.

        A write that the server refuses does not hold up the others: it is in `conflicts`. Without a server it fails
        with an error that `is_unavailable`, and may be called again at any time; nothing is done twice.

        Raises `ConsortError`: `C0844` where another file has the name of this replica.
        """
        async with self._syncing:
            pushed: dict[str, None] = {}
            changed: dict[str, None] = {}
            alone: set[str] = set()
            space = await self._show()
            if self._state.push is not None and "done" not in self._state.push:
                await self._send(pushed, changed, alone)
                # It may have been done since.
                space = await self._show()
            await self._pull(space, changed)
            while self._begin(alone, await self._cursor()):
                await self._send(pushed, changed, alone)
                if self._state.push is not None:
                    await self._pull(await self._show(), changed)
            await self._pull(await self._show(), changed)
            return self._report(pushed, changed)

    async def _call(self, operation: Any, params: dict[str, Any], body: Any = None) -> Any:
        content = b"" if body is None else write("request", body, envelope=4)
        return await self._client.call(operation, params, content, kind=Any)

    async def _show(self) -> Any:
        """The space as it is now; nothing where it is not there."""
        try:
            found = await self._call(table.SHOW_SPACE, {"space": self._space})
        except ConsortError as error:
            if error.code != Code.SPACE_NOT_FOUND:
                raise
            found = None
        self._state.policies = found["policies"] if found else ()
        return found

    async def _cursor(self) -> Part:
        """What the cursor has before the first push; nothing is asked later."""
        if self._state.meta.get("done"):
            return {}
        meta = self._state.meta
        try:
            found = await self._call(table.GET_STATE, {"space": CURSORS, "key": f"{meta['space']}/{meta['name']}"})
        except ConsortError as error:
            if error.code not in NOTHING:
                raise
            return {}
        return {"value": found["value"]}

    async def _send(self, pushed: dict[str, None], changed: dict[str, None], alone: set[str]) -> None:
        """Sends the push that is on its way, for the first time or again."""
        push = self._state.meta["push"]
        try:
            answer = await self._call(table.TRANSACT_STATE, {}, self._state.request())
        except ConsortError as error:
            if not is_refusal(error.code):
                raise
            self._refuse(error, alone)
            return
        results = answer["results"]
        if answer["succeeded"]:
            arrivals = [await self._outcome(key, result) for key, result in zip(push["keys"], results[1:], strict=True)]
            self._arrive(changed, self._state.answered, arrivals, answer["version"])
        elif results[0].get("value") == self._state.cursor():
            self._arrive(changed, self._state.found_done, results[0]["version"])
        else:
            raise self._not_done(results[0].get("value"))
        pushed.update(dict.fromkeys(push["keys"]))

    async def _outcome(self, key: str, result: dict[str, Any]) -> Arrival:
        arrival = outcome(key, result, self._state.rows[key]["sent"])
        if arrival.server is None or (result["outcome"] != "undecided" and not is_reference(arrival.server["value"])):
            return arrival
        found = await self._read(key, None if result["outcome"] == "undecided" else arrival.version)
        return Arrival(key, arrival.version, found)

    async def _pull(self, space: Any, changed: dict[str, None]) -> None:
        """Pulls all changes up to those of now, and ends a push whose answer was lost."""
        for _ in range(LISTINGS):
            at = self._state.meta.get("at")
            if space is None:
                self._arrive(changed, self._state.listed, [], {"position": "0-0"})
                break
            if at is None or at.get("made") != space["created_at"]:
                await self._list(space, changed)
            elif order(at["position"]) >= order(space["position"]):
                break
            else:
                try:
                    await self._follow(at["position"], space["position"], changed)
                    break
                except ConsortError as error:
                    if error.code not in {Code.VERSION_GONE, Code.SPACE_NOT_FOUND}:
                        raise
                    await self._list(space, changed)
            space = await self._show()
        else:
            raise ConsortError(
                f"space `{self._space}` changes faster than it can be followed",
                code=Code.OVERLOADED,
                hint="have the space keep more changes, or synchronise again",
            )
        self._arrive(changed, self._state.settled)

    async def _list(self, space: Any, changed: dict[str, None]) -> None:
        """Pulls all that is there, because the changes since then are not kept, or were never seen."""
        found: list[Arrival] = []
        position: str | None = None
        pages = self._client.list_state(self._space, prefix=self._state.prefix or None, limit=1000).pages()
        async for page in pages:
            position = position or page.position
            for item in page.items:
                value = item.model_dump(mode="json", exclude_unset=True)
                server: Part | None = listed_value(value)
                if item.conflict or is_reference(item.value):
                    server = await self._read(item.key, None)
                if server is not None:
                    found.append(Arrival(item.key, server["version"], server))
        self._arrive(changed, self._state.listed, found, {"position": position, "made": space["created_at"]})

    async def _follow(self, after: str, until: str, changed: dict[str, None]) -> None:
        """Pulls the changes behind a position, up to another one."""
        # Those of other keys are read, too: they tell when all have come.
        params = {"space": self._space, "after": after}
        events: Any = self._client.events(table.WATCH_STATE, params, {"change": Any})
        arrivals: list[Arrival] = []
        count = 0
        async with aclosing(events) as changes:
            async for change in changes:
                count += 1
                if change["key"].startswith(self._state.prefix):
                    arrivals.append(await self._arrival(change))
                over = order(change["position"]) >= order(until)
                if over or count % CHANGES == 0:
                    self._arrive(changed, self._state.pulled, arrivals, change["position"])
                    arrivals = []
                if over:
                    return

    async def _arrival(self, change: dict[str, Any]) -> Arrival:
        key, version = change["key"], change["version"]
        if "value" not in change:
            return Arrival(key, version, None)
        server: Part | None = {"version": version, "value": change["value"]}
        if change["change"] == "undecided":
            server = await self._read(key, None)
        elif is_reference(change["value"]):
            server = await self._read(key, version)
        return Arrival(key, version, server)

    async def _read(self, key: str, version: int | None) -> Part | None:
        """The value of a key in whole, at a version where that is kept."""
        try:
            found = await self._call(table.GET_STATE, {"space": self._space, "key": key, "version": version})
        except ConsortError as error:
            if version is not None and error.code == Code.VERSION_GONE:
                return await self._read(key, None)
            if error.code not in {*NOTHING, Code.VERSION_GONE}:
                raise
            return None
        return listed_value(found)
