"""What the clients know about any operation: its request, its answer, and when to try again.

For: the generated methods and both kinds of client. Not for: any one operation, or sending (see `_caller`).
Invariant: nothing here waits or sends, so the same code serves the client that blocks and the one that does not.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
from pydantic import BaseModel, ValidationError

from consort._documents import adapter, read, write
from consort._errors import Code, ConsortError

BACK_OFF_FIRST: Final = 0.1
"""Seconds of the first pause after a lost connection."""
BACK_OFF_LONGEST: Final = 5.0
"""Seconds of the longest pause."""
TIMEOUT: Final = httpx.Timeout(90.0, connect=10.0)
"""The server sends something at least every 60 s: the answer to a request that waits, or a sign of life in a stream."""


class Model(BaseModel):
    """What documents of the interface have in common."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the interface."""

    id: str
    """Its name."""
    method: str
    """The HTTP method."""
    path: str
    """The path; a part in braces is a parameter."""
    places: Mapping[str, str] = field(default_factory=dict)
    """The place of each parameter: `path`, `query`, `header`, or `family` (`label.KEY` in the query)."""
    cursor: str = ""
    """The parameter with the cursor of a listing, where it has pages."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request, ready to be sent."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes


def request(operation: Operation, params: Mapping[str, Any], content: bytes) -> Request:
    """The request of an operation; a parameter that is `None` is left out."""
    path = operation.path
    query: list[tuple[str, str]] = []
    headers = {"Content-Type": "application/json"} if content else {}
    for name, value in params.items():
        place = operation.places[name]
        if value is None:
            continue
        if place == "path":
            path = path.replace(f"{{{name}}}", quote(_text(value), safe=""))
        elif place == "family":
            query += [(f"{name}.{key}", text) for key, text in value.items()]
        elif place == "query":
            query.append((name, _text(value)))
        else:
            headers[name] = _text(value)
    target = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
    return Request(operation.method, target, headers, content)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)


def fields(required: Mapping[str, Any], optional: Mapping[str, Any]) -> bytes:
    """The body of a request; an optional field that is `None` is left out."""
    given = {name: value for name, value in optional.items() if value is not None}
    return write("request", {name: _plain(value) for name, value in {**required, **given}.items()}, envelope=1)


def _plain(value: Any) -> Any:
    # In documents of callers, members that are `None` stay.
    return value.model_dump(mode="json", by_alias=True, exclude_none=True) if isinstance(value, Model) else value


def answer(operation: str, content: bytes, kind: Any) -> Any:
    """The answer as a value of that type: `bytes` as it is, `str` as text, anything else from JSON."""
    if kind is None:
        return None
    if kind is bytes:
        return content
    if kind is str:
        return content.decode("utf-8", "replace")
    try:
        return read("answer", content, Any, Code.INTERNAL) if kind is Any else adapter(kind).validate_json(content)
    except (ValidationError, ConsortError) as error:
        text = str(error).replace("\n", " ")
        raise ConsortError(
            f"the server's answer to `{operation}` cannot be understood: {text}",
            code=Code.INTERNAL,
            hint="use the same version of Consort on both sides",
        ) from error


def unreachable(address: str, error: object) -> ConsortError:
    """The failure of a request that got no answer."""
    why = str(error) or type(error).__name__
    hint = "check the address, and that `consort up` runs"
    return ConsortError(f"the server at `{address}` cannot be reached: {why}", code=Code.UNREACHABLE, hint=hint)


class StreamOver(Exception):
    """Nothing comes after the last event that was seen."""


class BackOff:
    """When to try again what failed because the server is away, and when to give up."""

    def __init__(self, timeout: float) -> None:
        """`timeout` is how many seconds the server may be away."""
        self._timeout = timeout
        self._pause = BACK_OFF_FIRST
        self._since: float | None = None

    def reached(self) -> None:
        """The server has answered."""
        self._pause = BACK_OFF_FIRST
        self._since = None

    def after(self, error: ConsortError) -> float:
        """The seconds until the next try; raises the error where another try will not help, or none has so far."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if not error.is_unavailable or now - self._since > self._timeout:
            raise error
        pause, self._pause = self._pause, min(self._pause * 2, BACK_OFF_LONGEST)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
