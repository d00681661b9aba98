"""JSON documents: between values of Python and the bytes on the wire.

For: inputs, outputs, results. Not for: messages of the protocol.
Invariant: what is written is strict JSON, and the same value gives the same bytes in each attempt.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any, Final

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from consort._errors import Code, TaskError
from consort._values import DEPTH_MAX, TooDeep, Unwritable, dumped, encodes_bytes, json_text, plain

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


def write(what: str, value: object, kind: Any = Any, *, envelope: int = 0) -> bytes:
    """A value as a document within the limits; `what` names it in the error. So many outer levels of the document do
    not count as its depth.
    """
    return _written(what, _tree(what, value, kind, envelope), sort=False)


def write_sorted(what: str, value: object) -> bytes:
    """Like `write`, with the members of objects in order of their names, so that equal inputs are equal bytes."""
    return _written(what, _tree(what, value, Any, 0), sort=True)


def _tree(what: str, value: object, kind: Any, envelope: int) -> Any:
    """The value of JSON that a value becomes."""
    try:
        if kind is Any:
            return plain(value, envelope=envelope)
        return dumped(value, adapter(kind).serializer, encodes=lambda: encodes_bytes(kind))
    except (TooDeep, RecursionError) as error:
        raise TaskError(
            f"the {what} nests more than {DEPTH_MAX} levels deep, the limit is {DEPTH_MAX}",
            code=Code.LIMIT_REACHED,
            hint="flatten the document",
        ) from error
    except (Unwritable, PydanticSerializationError, ValueError, TypeError) as error:
        raise TaskError(f"the {what} cannot be written as JSON: {error}", code=Code.BAD_JSON) from error


def _written(what: str, document: object, *, sort: bool) -> bytes:
    # Nothing is left that the quicker writer would change.
    data = json_text(document).encode() if sort else to_json(document)
    if len(data) > PAYLOAD_BYTES_MAX:
        raise TaskError(
            f"the {what} has {len(data)} bytes, the limit is {PAYLOAD_BYTES_MAX}",
            code=Code.PAYLOAD_TOO_LARGE,
            hint="store the document elsewhere and pass a reference",
        )
    return data


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
