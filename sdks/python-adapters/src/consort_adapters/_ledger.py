"""What a task already paid for: answers of models and tools, kept in the task's journal and found by what was asked.

For: durability under frameworks that run in any order. Not for: knowing what a framework's objects look like.
Invariant: the adapter asks the journal for one thing only, `run "framework"`, one at a time; so the replay rule ("the
same requests in the same order") holds whatever the framework does, and an answer can only be given to the very
question that it was recorded for.

How it works. Each journal entry is a small document: an *answer* (with a digest of the question), a *note* (whatever
an adapter wants back, in order) or a *start* (an attempt began to do new work here). A question is first looked up
among the answers that were read; while there are unread entries, one more is read. When the journal has no more, the
read is itself recorded as the *start* mark, and from then on requests are sent and their answers recorded.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pydantic_core

Run = Callable[[str, Callable[[], Any]], Awaitable[Any]]
"""The `run` of a task context: a name and what is to be done once."""

ENTRY = "framework"
"""The name of every entry that the ledger makes."""

T = TypeVar("T")

_log = logging.getLogger("consort_adapters")


class UnrecordableError(Exception):
    """A value has no JSON form that it can be rebuilt from; it is used, but not recorded."""


@dataclass(frozen=True)
class Found(Generic[T]):
    """An answer, with where it comes from."""

    value: T
    """The answer."""
    replayed: bool
    """Whether an earlier attempt got it: then the request was not repeated."""


@dataclass(frozen=True)
class Codec(Generic[T]):
    """The conversion of an answer to JSON and back."""

    dump: Callable[[T], Any]
    """To JSON; may raise `UnrecordableError`."""
    load: Callable[[Any], T]
    """From JSON."""


class Ledger:
    """The journal of one attempt, as adapters use it. All of it belongs to one event loop."""

    def __init__(self, run: Run) -> None:
        """`run` is that of the task context."""
        self._run = run
        self._lock = asyncio.Lock()
        self._answers: dict[str, deque[Any]] = {}
        self._live = False

    async def find(self, digest: str) -> Found[Any] | None:
        """The recorded answer to the question with that digest, as JSON; each answer is given once."""
        async with self._lock:
            while True:
                waiting = self._answers.get(digest)
                if waiting:
                    return Found(waiting.popleft(), replayed=True)
                if self._live:
                    return None
                self._keep(await self._read())

    async def answer(self, what: str, digest: str, value: T, codec: Codec[T]) -> None:
        """Records an answer that was found by asking."""
        try:
            document = codec.dump(value)
        except UnrecordableError as reason:
            _log.warning("the answer of %s is not recorded, a retry will ask again: %s", what, reason)
            return
        await self._record({"kind": "answer", "what": what, "digest": digest, "value": document})

    async def note(self, value: Any) -> None:
        """Records a note, durable when this returns. `read_notes` must have reached the end before."""
        await self._record({"kind": "note", "value": value})

    async def next_note(self) -> Any | None:
        """The next recorded note; `None` where there is none, and from then on the attempt does new work."""
        async with self._lock:
            while not self._live:
                entry = await self._read()
                if entry["kind"] == "note":
                    return entry["value"]
                self._keep(entry)
            return None

    async def settle(self) -> None:
        """Reads what is left in the journal, so that code that succeeded has requested all that was recorded."""
        async with self._lock:
            while not self._live and any(self._answers.values()):
                self._keep(await self._read())
        unused = sum(len(waiting) for waiting in self._answers.values())
        if unused:
            _log.warning("%d recorded answers were not requested again: the requests change between attempts", unused)

    def _keep(self, entry: dict[str, Any]) -> None:
        if entry["kind"] == "answer":
            self._answers.setdefault(entry["digest"], deque()).append(entry["value"])

    async def _read(self) -> dict[str, Any]:
        async def start() -> dict[str, Any]:
            # Only called where the journal holds no more entries.
            self._live = True
            return {"kind": "start"}

        entry: dict[str, Any] = await self._run(ENTRY, start)
        return entry

    async def _record(self, entry: dict[str, Any]) -> None:
        async def same() -> dict[str, Any]:
            return entry

        async with self._lock:
            while not self._live:
                self._keep(await self._read())
            await self._run(ENTRY, same)


def digest_of(what: str, question: Any) -> str:
    """What a question is known by: the same for equal JSON, whatever the order of keys."""
    text = json.dumps([what, plain(question)], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """The JSON form of a value; without one, the name of its type, which is the same in each attempt."""
    return pydantic_core.to_jsonable_python(value, fallback=lambda other: f"<{type(other).__qualname__}>")


def dump_json(value: Any) -> Any:
    """JSON itself, for answers that are JSON already; anything else is `UnrecordableError`."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as reason:
        raise UnrecordableError(str(reason)) from reason
    if json.loads(text) != value:
        raise UnrecordableError(f"`{type(value).__qualname__}` is not the same after a conversion to JSON and back")
    return value


PLAIN: Codec[Any] = Codec(dump=dump_json, load=lambda value: value)
"""For answers that are JSON already."""
