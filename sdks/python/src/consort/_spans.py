"""Spans of time, as documents of the interface write them: `250ms`, `30s`, `1h30m`.

For: fields and parameters that are a length of time. Not for: the worker protocol, which counts microseconds.
Invariant: what is written is read again as the same span, to the microsecond.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer

from consort._errors import Seconds, microseconds

_UNITS: Final = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_PART: Final = re.compile(r"(\d+)(ms|us|[dhms])")


def span_text(span: Seconds) -> str:
    """A span as a text with units, the largest first."""
    left = microseconds(span)
    parts = []
    for unit, size in _UNITS.items():
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = _PART.findall(value)
    if not parts or "".join(map("".join, parts)) != value:
        raise ValueError("it is no span of time; one looks like `1h30m`")
    return timedelta(microseconds=sum(int(count) * _UNITS[unit] for count, unit in parts))


Duration = Annotated[timedelta, BeforeValidator(_read), PlainSerializer(span_text, when_used="json")]
"""A span in a document."""
