"""JSON documents: between values of Python and the bytes on the wire.

For: inputs, outputs, results. Not for: messages of the protocol.
Invariant: what is written is strict JSON, and the same value gives the same bytes in each attempt.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from consort._errors import Code, TaskError

PAYLOAD_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of one document."""


@lru_cache(maxsize=1024)
def _cached_adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def adapter(kind: Any) -> TypeAdapter[Any]:
    """The adapter of a type; made once for each type."""
    try:
        return _cached_adapter(kind) if isinstance(kind, Hashable) else TypeAdapter(kind)
    except PydanticUserError as error:
        raise TaskError(
            f"`{kind}` cannot be a document: {str(error).splitlines()[0]}",
            code=Code.BAD_REQUEST,
            hint="use types that Pydantic supports, or pass the type as `result_type`",
        ) from error


def write(what: str, value: object, kind: Any = Any) -> bytes:
    """A value as a document within the limit; `what` names it in the error."""
    try:
        data = to_json(value) if kind is Any else _dump(value, kind)
        if b"NaN" in data or b"Infinity" in data:
            json.loads(data, parse_constant=_no_json)
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        raise TaskError(f"the {what} cannot be written as JSON: {error}", code=Code.BAD_JSON) from error
    if len(data) > PAYLOAD_BYTES_MAX:
        raise TaskError(
            f"the {what} has {len(data)} bytes, the limit is {PAYLOAD_BYTES_MAX}",
            code=Code.PAYLOAD_TOO_LARGE,
            hint="store the document elsewhere and pass a reference",
        )
    return data


def _dump(value: object, kind: Any) -> bytes:
    found = adapter(kind)
    data = found.dump_json(value, by_alias=True, warnings=False)
    if b"null" in data:
        # Pydantic writes `null` for numbers that JSON does not have; that would be another value.
        json.dumps(found.dump_python(value, mode="json", by_alias=True, warnings=False), allow_nan=False)
    return data


def write_sorted(what: str, value: object) -> bytes:
    """Like `write`, with the members of objects in order of their names, so that equal inputs are equal bytes."""
    return canonical(write(what, value))


def read(what: str, data: bytes, kind: Any, code: str) -> Any:
    """A document as a value of that type; where it does not fit the error names the place."""
    if kind is Any:
        try:
            return json.loads(data)
        except ValueError as error:
            raise TaskError(f"the {what} is not JSON: {error}", code=Code.BAD_JSON) from error
    try:
        return adapter(kind).validate_json(data)
    except ValidationError as error:
        raise misfit(what, error, code) from error


def document(data: bytes) -> Any:
    """A document of a message, parsed; nothing where there is none."""
    return json.loads(data) if data else None


def misfit(what: str, error: ValidationError, code: str) -> TaskError:
    """The failure of a document that does not fit its type, with the JSON path of the first place."""
    found = error.errors(include_url=False, include_context=False)
    first = found[0]
    message = first["msg"]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    text = f"the {what} does not fit at `{json_path(first['loc'])}`: {message[:1].lower()}{message[1:]}{more}"
    return TaskError(text, code=code)


def json_path(parts: Sequence[int | str]) -> str:
    """The JSON path of a place, such as `$.queries[1].text`."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def canonical(data: bytes) -> bytes:
    """The document with sorted members and no spaces."""
    return json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"`{constant}` is no number in JSON")
