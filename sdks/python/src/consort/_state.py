"""Shared state from the code of a task.

For: reading and writing keys of spaces as entries of the journal: what was read is recorded, and nothing is written
twice. Not for: clients (they call the server), or what a write comes to (the server decides).
Invariant: one call is one entry and one transaction, so all that it does is done, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from pydantic import BaseModel, ConfigDict

from consort._documents import read, write
from consort._errors import Code, Seconds, microseconds, whole

if TYPE_CHECKING:
    from consort._context import Answer

T = TypeVar("T")

VERSION_MAX = 2**64 - 1
"""The highest version."""


class StateValue(BaseModel, Generic[T]):
    """A value with its version: the number of the record that wrote it."""

    model_config = ConfigDict(frozen=True)

    value: T
    version: int


class StateWritten(BaseModel):
    """The outcome of an operation."""

    model_config = ConfigDict(frozen=True)

    space: str
    key: str
    outcome: str
    """`written`, `merged` with others, `superseded` by another, `undecided`, `deleted`, `absent`, or `read`."""
    version: int
    """The version that the key has now; 0 where it has no value."""
    value: Any = None
    """Of a read: the value. Of a write: what the key has now, where that is another one than was written."""
    conflict: str | None = None
    """The conflict, where the write had not seen the latest value."""


class StateTransaction(BaseModel):
    """The outcome of a transaction."""

    model_config = ConfigDict(frozen=True)

    version: int
    """That of every key that it wrote."""
    succeeded: bool
    """Whether the conditions held."""
    results: list[StateWritten]
    """The outcome of each operation, in order."""


Ask = Callable[[Mapping[str, Any], Callable[[StateTransaction], Any], str], "Answer[Any]"]
"""Requests a transaction; the function makes the answer of its outcome."""


class StateSpace:
    """A space of shared state, as the code of a task uses it. Each call is an entry of the journal.

    A write that names a version that is not the latest fails with `C0703`, where the policy of the key is `reject`.
    That failure is recorded: read the key again, and decide again.
    """

    __slots__ = ("_ask", "_space")

    def __init__(self, ask: Ask, space: str) -> None:
        self._ask = ask
        self._space = space

    @overload
    def get(self, key: str, *, result_type: type[T], title: str = ...) -> Answer[StateValue[T] | None]: ...
    @overload
    def get(self, key: str, *, result_type: Any = ..., title: str = ...) -> Answer[StateValue[Any] | None]: ...
    def get(self, key: str, *, result_type: Any = Any, title: str = "") -> Answer[Any]:
        """The value of a key with its version; `None` where it has none."""

        def found(done: StateTransaction) -> StateValue[Any] | None:
            first = done.results[0]
            if "value" not in first.model_fields_set:
                return None
            value = first.value
            if result_type is not Any:
                value = read("value", write("value", value), result_type, Code.BAD_OUTPUT)
            return StateValue[Any](value=value, version=first.version)

        return self._ask({"do": [self._operation("get", key)]}, found, title)

    def put(
        self, key: str, value: Any, *, seen: int | None = None, ttl: Seconds | None = None, title: str = ""
    ) -> Answer[StateWritten]:
        """Gives a key a value.

        `seen` is the version that the code has read, 0 where it has read that there is none. Without it, the code has
        seen nothing: by the policy `reject` the write overwrites, by the others it is merged. `ttl` is how long the
        value stays, in seconds.
        """
        operation = {**self._operation("put", key, seen), "value": value}
        if ttl is not None:
            operation["ttl"] = f"{microseconds(ttl, 'time to live')}us"
        return self._ask({"do": [operation]}, _first, title)

    def delete(self, key: str, *, seen: int | None = None, title: str = "") -> Answer[StateWritten]:
        """Removes the value of a key: whatever is there, or where it is the version `seen`."""
        return self._ask({"do": [self._operation("delete", key, seen)]}, _first, title)

    def _operation(self, op: str, key: str, seen: int | None = None) -> dict[str, Any]:
        operation: dict[str, Any] = {"op": op, "space": self._space, "key": key}
        if seen is not None:
            operation["version"] = whole("version", seen, 0, VERSION_MAX)
        return operation


def _first(done: StateTransaction) -> StateWritten:
    return done.results[0]
