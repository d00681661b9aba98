"""A replica without its server: reading and writing, and the steps of synchronising.

For: what both kinds of replica share. Not for: sending (see `_replica`), or the rules (see `_replica_state`).
Invariant: a write is on the disk when it returns; threads may use a replica at once.
"""

from __future__ import annotations

import asyncio
import copy
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from typing_extensions import Self

from consort._documents import read, write
from consort._errors import Code, ConsortError
from consort._replica_file import ReplicaFile
from consort._replica_merge import Part
from consort._replica_state import Arrival, Line, check_key, saw
from consort._values import json_text

NAME_BYTES_MAX: Final = 128
"""Bytes of the name of a replica, as of every name."""

AsyncLock = asyncio.Lock
"""One synchronisation at a time."""
Lock = threading.Lock
"""The same, for the replica that blocks."""

OnChange: TypeAlias = Callable[[str, Any], None]
"""Called with a key and its value when what a reader sees was changed by the server; with `None` where it has none."""

Keys: TypeAlias = "list[str]"
"""A replica has a method of the name `list`."""
Conflicts: TypeAlias = "list[ReplicaConflict]"
"""The same."""

LISTINGS: Final = 5
"""So many times a space is listed again while its changes go faster than they can be followed."""

REFUSALS: Final = frozenset({"C0001", "C0002", Code.BAD_JSON, Code.PAYLOAD_TOO_LARGE, Code.LIMIT_REACHED})


def is_refusal(code: str) -> bool:
    """Whether the server will never do such a write, so that its key is in conflict."""
    return code in REFUSALS or code.startswith("C07")


@dataclass(frozen=True)
class ReplicaValue:
    """What a replica has of a key."""

    key: str
    value: Any
    """What a reader sees: what was written here, or else what the server has."""
    version: int
    """The version of the server's value that is here; 0 where it has none."""
    pending: bool
    """Whether something was written here that the server has not answered yet."""
    conflict: str | None
    """The conflict that waits for a decision about the key at the server (policy `agent`)."""
    siblings: list[Any]
    """The values that are kept beside the server's until then."""


@dataclass(frozen=True)
class ReplicaConflict:
    """A write that the server refused. It stays until `put`, `delete` or `take_server` decides about the key."""

    key: str
    code: str
    """Why it was refused, such as `C0703`."""
    message: str
    base: Any
    """The value that the writer had seen; `None` where there was none."""
    local: Any
    """The value that was written here; `None` where it was removed."""
    server: Any
    """The value that the server has; `None` where it has none."""


@dataclass(frozen=True)
class ReplicaSync:
    """What a synchronisation did."""

    position: str
    """All changes of the space up to this position are here."""
    pushed: list[str] = field(default_factory=list)
    """The keys whose writes are done."""
    changed: list[str] = field(default_factory=list)
    """The keys of which a reader sees another value."""
    conflicts: list[ReplicaConflict] = field(default_factory=list)
    """The writes that were refused, also earlier, and are not decided."""


class LocalReplica:
    """The part of a replica that needs no server."""

    def __init__(
        self,
        client: Any,
        space: str,
        path: str | Path,
        name: str,
        *,
        prefix: str = "",
        on_change: OnChange | None = None,
    ) -> None:
        size = len(name.encode())
        if not 0 < size <= NAME_BYTES_MAX or "/" in name:
            raise ConsortError(
                f"the name `{name[:64]}` of a replica has {size} bytes, or a `/`; it has 1 to {NAME_BYTES_MAX} bytes",
                code=Code.BAD_REQUEST,
            )
        self._client = client
        self._space = space
        self._on_change = on_change
        self._guard = threading.RLock()
        self._file = ReplicaFile(Path(path), {"space": space, "name": name, "prefix": prefix})
        self._state = self._file.state

    @classmethod
    def open(
        cls,
        client: Any,
        space: str,
        path: str | Path,
        name: str,
        *,
        prefix: str = "",
        on_change: OnChange | None = None,
    ) -> Self:
        """Opens the replica of a space in a file, which is made where it is not there. The server is not needed.

        `name` is that of the replica: no other replica of the space has it. `prefix` has it hold only the keys that
        begin so. `on_change` is called by `sync` with each key of which a reader sees another value, and that value.

        Raises `ConsortError`: `C0844` where the file is open elsewhere or is that of another replica, `C0843` where it
        is damaged.
        """
        return cls(client, space, path, name, prefix=prefix, on_change=on_change)

    def close(self) -> None:
        """Closes the file; another process may open it then."""
        with self._guard:
            self._file.close()

    @property
    def position(self) -> str | None:
        """All changes of the space up to it are here; nothing before the first synchronisation."""
        with self._guard:
            at = self._state.meta.get("at")
            return None if at is None else str(at["position"])

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, with what was written here."""
        with self._guard:
            return copy.deepcopy(self._state.visible(key).get("value", default))

    def entry(self, key: str) -> ReplicaValue | None:
        """The value of a key with what is known of it; `None` where it has none."""
        with self._guard:
            row = self._state.rows.get(key, {})
            part = self._state.visible(key)
            if "value" not in part:
                return None
            server = row.get("server", {})
            return ReplicaValue(
                key=key,
                value=copy.deepcopy(part["value"]),
                version=server.get("version", 0),
                pending="pending" in row or "sent" in row,
                conflict=server.get("conflict"),
                siblings=copy.deepcopy(server.get("siblings", [])),
            )

    def list(self, prefix: str = "") -> dict[str, Any]:
        """The keys that begin with `prefix`, in the order of their bytes, with their values."""
        with self._guard:
            keys = sorted((key for key in self._state.rows if key.startswith(prefix)), key=str.encode)
            found = {key: self._state.visible(key) for key in keys}
            return {key: copy.deepcopy(part["value"]) for key, part in found.items() if "value" in part}

    def pending(self) -> Keys:
        """The keys whose writes the server has not answered yet, or has refused."""
        with self._guard:
            return sorted(key for key, row in self._state.rows.items() if "pending" in row or "sent" in row)

    def conflicts(self) -> Conflicts:
        """The writes that the server refused, until it is decided about their keys."""
        with self._guard:
            found = [(key, row) for key, row in sorted(self._state.rows.items()) if "conflict" in row]
            return [
                ReplicaConflict(
                    key=key,
                    code=row["conflict"]["code"],
                    message=row["conflict"]["message"],
                    base=copy.deepcopy(saw(row).get("value")),
                    local=copy.deepcopy(row["pending"].get("value")),
                    server=copy.deepcopy(row.get("server", {}).get("value")),
                )
                for key, row in found
            ]

    def put(self, key: str, value: Any) -> None:
        """Gives a key a value, here. It is on the disk when this returns, and at the server after `sync`.

        Of a key in conflict it decides: it has seen what the server has.
        """
        plain = read("value", write("value", value), Any, Code.BAD_JSON)
        with self._guard:
            self._file.commit(self._state.write(self._checked(key), {"value": plain}))

    def delete(self, key: str) -> None:
        """Removes the value of a key, here; as `put`."""
        with self._guard:
            self._file.commit(self._state.write(self._checked(key), {}))

    def add(self, key: str, amount: int = 1) -> int:
        """Adds to a whole number, which is 0 where there is none; the new number. For keys of the policy `counter`."""
        with self._guard:
            found = self._state.visible(key).get("value", 0)
            if not isinstance(found, int) or isinstance(found, bool):
                raise self._misfit(key, "a whole number")
            self.put(key, found + amount)
            return found + amount

    def add_to(self, key: str, *elements: Any) -> None:
        """Adds elements to a list that has each once. For keys of the policy `set`."""
        with self._guard:
            found = self._elements(key)
            wanted = {json_text(one): one for one in read("value", write("value", list(elements)), Any, Code.BAD_JSON)}
            self.put(key, list({**found, **wanted}.values()))

    def remove_from(self, key: str, *elements: Any) -> None:
        """Removes elements from such a list."""
        with self._guard:
            gone = {json_text(one) for one in read("value", write("value", list(elements)), Any, Code.BAD_JSON)}
            self.put(key, [one for text, one in self._elements(key).items() if text not in gone])

    def take_server(self, key: str) -> None:
        """Gives up what was written here about a key: what the server has counts, also where that is nothing.

        What is on its way to the server stays.
        """
        with self._guard:
            self._file.commit(self._state.give_up(key))

    def _elements(self, key: str) -> dict[str, Any]:
        found = self._state.visible(key).get("value", [])
        if not isinstance(found, list):
            raise self._misfit(key, "a list")
        return {json_text(one): one for one in found}

    def _misfit(self, key: str, wanted: str) -> ConsortError:
        return ConsortError(f"the value of key `{key}` is not {wanted}", code=Code.NOT_MERGEABLE)

    def _checked(self, key: str) -> str:
        if not check_key(key).startswith(self._state.prefix):
            raise ConsortError(
                f"the key `{key}` does not begin with `{self._state.prefix}`, as the keys of this replica do",
                code=Code.BAD_REQUEST,
            )
        return key

    # Steps of synchronising.

    def _arrive(self, changed: dict[str, None], make: Callable[..., Line], *said: Any) -> None:
        """Commits the line that follows from what the server has said, and tells of what a reader sees of it."""
        told: list[tuple[str, Any]] = []
        with self._guard:
            line = make(*said)
            rows = line.get("rows", {})
            before = {key: self._state.visible(key) for key in rows}
            self._file.commit(line)
            for key, old in before.items():
                new = self._state.visible(key)
                if old is not new and ("value" in old, old.get("value")) != ("value" in new, new.get("value")):
                    told.append((key, copy.deepcopy(new.get("value"))))
        for key, value in told:
            changed[key] = None
            if self._on_change is not None:
                self._on_change(key, value)

    def _begin(self, alone: set[str], expect: Part) -> bool:
        with self._guard:
            line = self._state.begin_push(uuid.uuid4().hex, alone, expect)
            self._file.commit(line)
            return bool(line)

    def _refuse(self, error: ConsortError, alone: set[str]) -> None:
        """The server has refused what is on its way: each key is tried alone."""
        with self._guard:
            keys = self._state.meta["push"]["keys"]
            self._file.commit(self._state.refused(error.code, error.message))
        if len(keys) > 1:
            alone.update(keys)

    def _not_done(self, found: Any) -> ConsortError:
        meta = self._state.meta
        return ConsortError(
            f"the last push of replica `{meta['name']}` is `{json_text(found)}` at the server, "
            f"which is not what this file did",
            code=Code.REPLICA_TAKEN,
            hint="another file has the name, or this one is an older copy: open a new file with a name of its own, and "
            "write again what `pending` shows and the server does not have",
        )

    def _report(self, pushed: Iterable[str], changed: Iterable[str]) -> ReplicaSync:
        with self._guard:
            meta = self._state.meta
            return ReplicaSync(meta["at"]["position"], list(pushed), list(changed), self.conflicts())


def is_reference(value: Any) -> bool:
    """Whether an answer has a reference in place of a value that is large."""
    return isinstance(value, dict) and set(value) == {"$blob", "bytes"}


def order(position: str) -> tuple[int, int]:
    """A position as numbers."""
    record, _, place = position.partition("-")
    return int(record), int(place)


def listed_value(found: dict[str, Any]) -> Part:
    """What a row keeps of a value of the server."""
    undecided = {"conflict": found["conflict"]} if found.get("conflict") else {}
    siblings = [one["value"] for one in found.get("siblings", []) if "value" in one]
    beside = {"siblings": siblings} if siblings else {}
    return {"version": found["version"], "value": found["value"], **undecided, **beside}


def outcome(key: str, result: dict[str, Any], sent: Part) -> Arrival:
    """What a key has after an operation of a push."""
    version = result["version"]
    if result["outcome"] in {"deleted", "absent"}:
        return Arrival(key, version, None)
    return Arrival(key, version, {"version": version, "value": result["value"] if "value" in result else sent["value"]})
