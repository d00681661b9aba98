"""Values of Python as values of JSON: what each type becomes, and what is refused.

For: every document that leaves the process. Not for: its bytes, or reading (see `_documents`).
Invariant: the same value becomes the same document in each process, and nothing is changed silently: what JSON cannot
hold is refused with its JSON path.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, to_jsonable_python

DEPTH_MAX: Final = 64
"""Levels of lists and objects in a document."""
WHOLE_MIN: Final = -(2**63)
"""The least whole number in a document."""
WHOLE_MAX: Final = 2**64 - 1
"""The greatest."""

_BYTES: Final = (bytes, bytearray, memoryview)
_SETS: Final = (set, frozenset)
_LISTS: Final = (list, tuple, deque)
_KEYS: Final = (int, float, Decimal, UUID, date, datetime, time)


Encodes: TypeAlias = "Callable[[], bool]"
"""Asked only where bytes are met."""


class Serializer(Protocol):
    """A serialiser of Pydantic."""

    def to_python(self, value: Any, /, *, mode: str, by_alias: bool, warnings: bool) -> Any:
        """The value with models and dataclasses as plain objects, everything else as it is."""
        ...

    def to_json(self, value: Any, /, *, by_alias: bool, warnings: bool) -> bytes:
        """The document."""
        ...


class Unwritable(Exception):
    """A value that JSON cannot hold: where it is, and why."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self._why = why
        self._steps: list[str] = []

    def inside(self, key: str | int) -> Unwritable:
        """The same, seen from the list or object that has it at this place."""
        self._steps.append(f"[{key}]" if isinstance(key, int) else f".{key}")
        return self

    def __str__(self) -> str:
        return f"`${''.join(reversed(self._steps))}` {self._why}"


class TooDeep(Exception):
    """A document with too many levels."""


def plain(value: object, *, envelope: int = 0) -> Any:
    """The value of JSON that a value becomes, by its own type. So many outer levels do not count as its depth."""
    return _plain(value, -envelope)


def dumped(value: object, serializer: Serializer, *, encodes: Encodes) -> Any:
    """The value of JSON that a serialiser of Pydantic makes of a value; `encodes` tells whether bytes are declared to
    become text.
    """
    return _plain(_dumped(value, serializer, encodes), 0)


_SORTED: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def json_text(document: object) -> str:
    """The text of a value of JSON, without spaces, members in the order of their names."""
    return _SORTED.encode(document)


def encodes_bytes(kind: Any) -> bool:
    """Whether a type declares bytes as base64, and nowhere as they are."""
    try:
        schema = _schema_text(kind)
    except Exception:  # noqa: BLE001 - a type without a schema declares nothing
        return False
    return '"format": "base64' in schema and '"format": "binary"' not in schema


@lru_cache(maxsize=1024)
def _schema_text(kind: Any) -> str:
    return json.dumps(TypeAdapter(kind).json_schema(mode="serialization"))


def check_text(text: str) -> str:
    """The text, if it can be UTF-8."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Unwritable(f"has half of a character (a lone surrogate) at {error.start}") from None
    return text


# By the value's own type.


def _plain(value: Any, depth: int) -> Any:
    """Goes through a value; a value of JSON stays as it is."""
    check = _SCALARS.get(type(value))
    if check is not None:
        return check(value)
    if isinstance(value, Enum):
        return _plain(value.value, depth)
    if isinstance(value, (str, int, float)):
        return _plain(_scalar(value), depth)
    # The two that are common are looked up first, since looking up the others takes longer.
    if isinstance(value, (dict, list, Mapping, *_LISTS, *_SETS, Iterator)):
        return _container(value, depth + 1)
    return _other(value, depth)


def _scalar(value: Any) -> Any:
    """A value of a type that extends one of JSON's, as that one."""
    return str.__str__(value) if isinstance(value, str) else int(value) if isinstance(value, int) else float(value)


def _container(value: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise TooDeep
    if isinstance(value, (dict, Mapping)):
        return _object(value, depth)
    items: list[Any] = []
    try:
        for item in value:
            items.append(_plain(item, depth))  # noqa: PERF401 - where it fails, its length is the place
    except Unwritable as error:
        error.inside(len(items))
        raise
    return sorted(items, key=json_text) if isinstance(value, _SETS) else items


def _object(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, item in value.items():
        text = check_text(key) if type(key) is str else _key(key)
        if text in document:
            raise _collision(text)
        try:
            document[text] = _plain(item, depth)
        except Unwritable as error:
            error.inside(text)
            raise
    return document


def _collision(text: str) -> Unwritable:
    return Unwritable(f"has two keys that both become `{text}`")


def _key(key: Any) -> str:
    """The text that a key becomes."""
    found = key.value if isinstance(key, Enum) else key
    if isinstance(found, str):
        return check_text(str.__str__(found))
    if not isinstance(found, _KEYS):
        raise Unwritable(f"has a key of the type `{type(key).__name__}`, which is no text")
    if isinstance(found, (float, Decimal)) and not math.isfinite(found):
        raise Unwritable(f"has the key `{found}`, which is no number in JSON")
    return str(next(iter(to_jsonable_python({found: None}))))


def _whole(value: int) -> int:
    if not WHOLE_MIN <= value <= WHOLE_MAX:
        raise Unwritable(f"is a whole number beyond 64 bits ({value.bit_length()} bits); write it as text")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise Unwritable(f"is `{value}`, which is no number in JSON")
    return value


def _same(value: object) -> object:
    return value


_SCALARS: Final[dict[type, Callable[[Any], Any]]] = {
    type(None): _same,
    bool: _same,
    str: check_text,
    int: _whole,
    float: _finite,
}


def _other(value: Any, depth: int) -> Any:
    kind = type(value)
    if isinstance(value, _BYTES):
        raise Unwritable(f"is of the type `{kind.__name__}`, which JSON does not have; encode it, as by base64")
    if isinstance(value, complex):
        raise Unwritable("is of the type `complex`, which JSON does not have")
    if isinstance(value, Decimal) and not value.is_finite():
        raise Unwritable(f"is `{value}`, which is no number in JSON")
    serializer = getattr(kind, "__pydantic_serializer__", None)
    if serializer is not None:
        return _plain(_dumped(value, serializer, lambda: encodes_bytes(kind)), depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        return _container(members, depth + 1)
    try:
        return _plain(to_jsonable_python(value), depth)
    except PydanticSerializationError as error:
        raise Unwritable(f"is of the type `{kind.__name__}`, which JSON does not have") from error


# By a serialiser of Pydantic.


def _dumped(value: object, serializer: Serializer, encodes: Encodes) -> Any:
    """What the serialiser writes, beside the value itself, which shows what it may have changed: the order of sets,
    numbers that became null, bytes that became text.
    """
    try:
        shown = serializer.to_python(value, mode="python", by_alias=True, warnings=False)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        raise Unwritable("has a set of objects, which have no order; use a list") from error
    try:
        document = json.loads(serializer.to_json(value, by_alias=True, warnings=False))
    except PydanticSerializationError:
        # Pydantic does not say where it is.
        _plain(shown, 0)
        raise
    return _compared(document, shown, encodes)


def _compared(document: Any, shown: Any, encodes: Encodes) -> Any:
    """The document that the mode `json` gave, beside what the mode `python` shows of the same value."""
    if isinstance(shown, Enum):
        shown = shown.value
    if isinstance(document, dict) and isinstance(shown, Mapping):
        return _compared_object(document, shown, encodes)
    if isinstance(document, list) and isinstance(shown, _SETS):
        return _compared_set(document, shown, encodes)
    if isinstance(document, list) and isinstance(shown, _LISTS) and len(document) == len(shown):
        for index, (part, other) in enumerate(zip(document, shown, strict=True)):
            document[index] = _compared_at(index, part, other, encodes)
        return document
    _check_leaf(document, shown, encodes)
    return document


def _compared_at(key: str | int, document: Any, shown: Any, encodes: Encodes) -> Any:
    try:
        return _compared(document, shown, encodes)
    except Unwritable as error:
        error.inside(key)
        raise


def _compared_object(document: dict[str, Any], shown: Mapping[Any, Any], encodes: Encodes) -> dict[str, Any]:
    texts = [key if isinstance(key, str) else _key(key) for key in shown]
    if len(set(texts)) < len(texts):
        raise _collision(next(text for index, text in enumerate(texts) if text in texts[:index]))
    if len(document) != len(texts):
        # A serialiser of the author's own has left members out: what is there is theirs.
        return document
    pairs = zip(document.items(), shown.values(), strict=True)
    return {key: _compared_at(key, part, other, encodes) for (key, part), other in pairs}


def _compared_set(document: list[Any], shown: Iterable[Any], encodes: Encodes) -> list[Any]:
    """In the order of the texts. Each mode makes a set of its own, so members do not stand at the same positions."""
    if any(isinstance(item, (tuple, frozenset)) for item in shown):
        found: list[Any] = _plain(shown, 0)
        return found
    for item in shown:
        lost: str | None = bytes(item).decode("utf-8", "replace") if isinstance(item, _BYTES) else str(item)
        if isinstance(item, float) and not math.isfinite(item):
            lost = None
        if isinstance(item, complex) or lost in document:
            _check_leaf(lost, item, encodes)
    return sorted(document, key=json_text)


def _check_leaf(document: Any, shown: Any, encodes: Encodes) -> None:
    if isinstance(shown, complex):
        raise Unwritable("is of the type `complex`, which JSON does not have")
    if isinstance(shown, float) and document is None:
        raise Unwritable(f"is `{shown}`, which is no number in JSON")
    if isinstance(shown, Decimal) and not shown.is_finite() and isinstance(document, str):
        raise Unwritable(f"is `{shown}`, which is no number in JSON")
    is_raw = isinstance(shown, _BYTES) and document and document == bytes(shown).decode("utf-8", "replace")
    if is_raw and not encodes():
        raise Unwritable("is of the type `bytes`, which JSON does not have; declare it as `Base64Bytes`")
