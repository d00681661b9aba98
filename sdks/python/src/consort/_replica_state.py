"""What a replica knows: the server's values, what is written here, and the push that is on its way.

For: every rule of a replica, as pure functions from a state to the line of its file that changes it. Not for: the file
(see `_replica_file`), or the server (see `_replica`).
Invariant: a state is the fold of its lines; a write that is acknowledged stays until the server has answered it or the
program has given it up, and is done at the server at most once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from consort._errors import Code, ConsortError
from consort._replica_merge import Part, rebase
from consort._values import json_text

FORMAT: Final = 1
"""The version of the file's format."""
CURSORS: Final = "replicas"
"""The space in which the server remembers the last push of each replica."""
BATCH_KEYS: Final = 60
"""Keys of one push: a transaction has at most 64 conditions and operations."""
BATCH_BYTES: Final = 1024 * 1024
"""Bytes of the values of one push, where it is more than one."""
KEY_BYTES_MAX: Final = 512
"""Bytes of a key."""

PARTS: Final = ("server", "sent", "pending", "conflict")
"""The parts of a row."""

Row: TypeAlias = "dict[str, Part]"
Line: TypeAlias = "dict[str, Any]"


class Arrival:
    """What a key has at the server since a record."""

    __slots__ = ("key", "server", "version")

    def __init__(self, key: str, version: int, server: Part | None) -> None:
        self.key = key
        self.version = version
        self.server = server


class Draft:
    """Changes that become one line."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._old = rows
        self._new: dict[str, Row] = {}
        self.meta: dict[str, Any] = {}

    def row(self, key: str) -> Row:
        """The row of a key, to be changed; its parts are replaced, never changed."""
        if key not in self._new:
            self._new[key] = dict(self._old.get(key, {}))
        return self._new[key]

    def line(self) -> Line:
        """What has changed; nothing at all where nothing has."""
        rows = {}
        for key, row in self._new.items():
            old = self._old.get(key, {})
            parts = {part: row.get(part) for part in PARTS if row.get(part) is not old.get(part)}
            if parts:
                rows[key] = parts
        return {**({"meta": self.meta} if self.meta else {}), **({"rows": rows} if rows else {})}


class ReplicaState:
    """The fold of the lines of a file."""

    def __init__(self) -> None:
        self.meta: dict[str, Any] = {}
        self.rows: dict[str, Row] = {}
        self.policies: Sequence[Mapping[str, Any]] = ()
        """Those of the space, as the server said last; they are not in the file."""

    def fold(self, line: Line) -> None:
        """Does what a line says: it names what is new, and `null` where nothing is."""
        for name, value in line.get("meta", {}).items():
            _set(self.meta, name, value)
        for key, parts in line.get("rows", {}).items():
            row = self.rows.setdefault(key, {})
            for part, value in parts.items():
                _set(row, part, value)
            if not row:
                del self.rows[key]

    def lines(self) -> Iterable[Line]:
        """The lines of a file that is written again."""
        yield {"meta": self.meta}
        for key, row in self.rows.items():
            yield {"rows": {key: row}}

    @property
    def prefix(self) -> str:
        """What its keys begin with."""
        return str(self.meta["prefix"])

    @property
    def push(self) -> dict[str, Any] | None:
        """The push that is on its way."""
        return self.meta.get("push")

    def policy(self, key: str) -> str:
        """The policy of a key."""
        fitting = [one for one in self.policies if key.startswith(one["prefix"])]
        return str(max(fitting, key=lambda one: len(one["prefix"]))["policy"]) if fitting else "reject"

    def visible(self, key: str) -> Part:
        """What a reader sees of a key."""
        row = self.rows.get(key, {})
        return row.get("pending") or row.get("sent") or row.get("server") or {}

    # Local writes.

    def write(self, key: str, value: Part) -> Line:
        """A local write, or where `value` is empty a removal."""
        draft = Draft(self.rows)
        row = draft.row(key)
        pending = row.get("pending")
        if "sent" in row:
            row["pending"] = value
        elif pending is not None and "conflict" not in row:
            kept = {name: one for name, one in pending.items() if name != "value"}
            row["pending"] = {**kept, **value}
        else:
            # Where there was a conflict, what the server has was seen, and this decides.
            row["pending"] = {"version": _version(row), **value}
            row.pop("conflict", None)
        _forget_nothing(row)
        return draft.line()

    def give_up(self, key: str) -> Line:
        """Forgets what is written here and not on its way."""
        draft = Draft(self.rows)
        row = draft.row(key)
        row.pop("pending", None)
        row.pop("conflict", None)
        return draft.line()

    # Pushes.

    def begin_push(self, id: str, alone: set[str], expect: Part) -> Line:  # noqa: A002 - as in the file
        """Begins a push of the next keys under an id that no other push has; an empty line where there are none.

        Keys that are likely to be refused, and those of `alone`, are pushed alone: so that the others get there. Before
        the first push that was done, `expect` has as its value what the cursor has.
        """
        waiting = [key for key in sorted(self.rows) if self._is_waiting(key)]
        apart = [key for key in waiting if key in alone or self._is_stale(key)]
        keys = apart[:1] or self._batch(waiting)
        if not keys:
            return {}
        draft = Draft(self.rows)
        number = self.meta.get("number", 0) + 1
        push: dict[str, Any] = {"number": number, "id": id, "keys": keys}
        if not self.meta.get("done"):
            push |= {"expect": expect["value"]} if "value" in expect else {}
        draft.meta = {"number": number, "push": push}
        for key in keys:
            row = draft.row(key)
            row["sent"] = row.pop("pending")
        return draft.line()

    def _is_waiting(self, key: str) -> bool:
        row = self.rows[key]
        return "pending" in row and "conflict" not in row

    def _is_stale(self, key: str) -> bool:
        row = self.rows[key]
        return self.policy(key) == "reject" and row["pending"]["version"] != _version(row)

    def _batch(self, waiting: Sequence[str]) -> list[str]:
        keys: list[str] = []
        size = 0
        for key in waiting[:BATCH_KEYS]:
            size += len(json_text(self.rows[key]["pending"].get("value")))
            if keys and size > BATCH_BYTES:
                break
            keys.append(key)
        return keys

    def cursor(self) -> dict[str, Any]:
        """What the server remembers of the push that is on its way."""
        push = self.meta["push"]
        return {"push": push["number"], "id": push["id"]}

    def request(self) -> dict[str, Any]:
        """The transaction of the push that is on its way."""
        push = self.meta["push"]
        place = {"space": CURSORS, "key": f"{self.meta['space']}/{self.meta['name']}"}
        if self.meta.get("done"):
            condition: dict[str, Any] = {"equals": self.meta["done"]}
        else:
            condition = {"equals": push["expect"]} if "expect" in push else {"exists": False}
        moves = {"op": "put", **place, "value": self.cursor()}
        return {
            "if": [{**place, **condition}],
            "do": [moves, *(self._operation(key) for key in push["keys"])],
            "else": [{"op": "get", **place}],
            "by": self.meta["name"],
        }

    def _operation(self, key: str) -> dict[str, Any]:
        row = self.rows[key]
        sent = row["sent"]
        place = {"space": self.meta["space"], "key": key, "version": sent["version"]}
        if "value" not in sent:
            return {"op": "delete", **place}
        saw = _saw(row, sent)
        base = {"base": saw["value"]} if sent.get("base") and "value" in saw else {}
        return {"op": "put", **place, "value": sent["value"], **base}

    def answered(self, arrivals: Sequence[Arrival], version: int) -> Line:
        """The push was done in a record, and these are what its keys have."""
        draft = Draft(self.rows)
        for arrival in arrivals:
            self._settle(draft.row(arrival.key), arrival.key, arrival.server, version)
        return self._end(draft)

    def found_done(self, version: int) -> Line:
        """The push was done in a record, and its answer was lost: what it came to is pulled."""
        return {"meta": {"push": {**self.meta["push"], "done": version}}}

    def settled(self) -> Line:
        """All changes up to a push whose answer was lost are here: what has not changed, it has not changed."""
        push = self.push
        if push is None or "done" not in push:
            return {}
        draft = Draft(self.rows)
        for key in push["keys"]:
            row = draft.row(key)
            if "sent" in row:
                self._settle(row, key, row.get("server"), push["done"])
        return self._end(draft)

    def _end(self, draft: Draft) -> Line:
        draft.meta = {"push": None, "done": self.cursor()}
        return draft.line()

    def refused(self, code: str, message: str) -> Line:
        """The push was refused, so nothing of it was done. Of a single key that is a conflict."""
        keys = self.meta["push"]["keys"]
        draft = Draft(self.rows)
        draft.meta = {"push": None}
        for key in keys:
            row = draft.row(key)
            sent = row.pop("sent")
            later = row.get("pending")
            kept = {name: one for name, one in sent.items() if name != "value"}
            row["pending"] = sent if later is None else {**kept, **later}
            if code == Code.VERSION_GONE and len(keys) == 1 and "base" not in sent and "value" in sent:
                # The server is told what was seen.
                row["pending"] = {**row["pending"], "base": True}
            elif len(keys) == 1 and later is None:
                row["conflict"] = {"code": code, "message": message}
            _forget_nothing(row)
        return draft.line()

    # What comes.

    def pulled(self, arrivals: Iterable[Arrival], position: str) -> Line:
        """Changes in their order, up to a position."""
        draft = Draft(self.rows)
        for arrival in arrivals:
            row = draft.row(arrival.key)
            if "sent" in row and self.meta["push"].get("done") == arrival.version:
                self._settle(row, arrival.key, arrival.server, arrival.version)
            elif arrival.version > _version(row) or (
                # The answer to a push does not say in which order a set is kept.
                arrival.version == _version(row) and json_text(arrival.server) != json_text(row.get("server"))
            ):
                replace(row, arrival.server)
        draft.meta = {"at": {**self.meta["at"], "position": position}}
        return draft.line()

    def listed(self, arrivals: Iterable[Arrival], at: Mapping[str, Any]) -> Line:
        """All that the server has."""
        draft = Draft(self.rows)
        found = {arrival.key: arrival.server for arrival in arrivals}
        push = self.push or {}
        for key in {**self.rows, **found}:
            row = draft.row(key)
            if "sent" in row and "done" in push:
                self._settle(row, key, found.get(key), push["done"])
            elif found.get(key, {"version": 0}) != row.get("server", {"version": 0}):
                replace(row, found.get(key))
        draft.meta = {"at": dict(at)}
        return draft.line()

    def _settle(self, row: Row, key: str, made: Part | None, version: int) -> None:
        sent = {**row["sent"], **_saw_field(row, row["sent"])}
        replace(row, made)
        row.pop("sent")
        later = row.get("pending")
        if later is not None:
            row["pending"] = rebase(self.policy(key), sent, later, made, version)
        _forget_nothing(row)


def _set(into: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        into.pop(name, None)
    else:
        into[name] = value


def _version(row: Row) -> int:
    """The version of the server's value; 0 where it has none."""
    return int(row.get("server", {"version": 0})["version"])


def replace(row: Row, server: Part | None) -> None:
    """Gives a row what the server has now. Writes keep what they saw."""
    for part in ("pending", "sent"):
        if part in row and "version" in row[part]:
            field = _saw_field(row, row[part])
            if field and (server is None or server["version"] != row[part]["version"]):
                row[part] = {**row[part], **field}
    _set(row, "server", server)


def _saw(row: Row, part: Part) -> Part:
    """The value that a write saw; empty where it saw none."""
    if "saw" in part:
        return {"value": part["saw"]}
    server = row.get("server")
    return {"value": server["value"]} if server and server["version"] == part.get("version") else {}


def _saw_field(row: Row, part: Part) -> Part:
    saw = _saw(row, part)
    return {"saw": saw["value"]} if saw and "saw" not in part else {}


def saw(row: Row) -> Part:
    """The value that the pending write of a row saw; empty where it saw none."""
    return _saw(row, row["pending"]) if "pending" in row else {}


def _forget_nothing(row: Row) -> None:
    """A removal of what the server never had is no write."""
    pending = row.get("pending")
    if pending is not None and "sent" not in row and "value" not in pending and pending.get("version") == 0:
        del row["pending"]
        row.pop("conflict", None)


def check_key(key: str) -> str:
    """The key, where it can be one."""
    size = len(key.encode("utf-8", "surrogatepass"))
    if not 0 < size <= KEY_BYTES_MAX or any(ord(one) < ord(" ") or ord(one) == 0x7F for one in key):  # noqa: PLR2004
        raise ConsortError(
            f"the key `{key[:64]}` has {size} bytes, or control characters; a key has 1 to {KEY_BYTES_MAX} bytes",
            code=Code.BAD_REQUEST,
        )
    return key
