"""What a framework's failure means for the task: whether another attempt may help, and when.

For: one place where exceptions of models, transports and frameworks become a `TaskError`. Not for: the frameworks'
own classes; an adapter names those that are final in its framework.
Invariant: an unknown error is retryable, because an attempt costs less than a lost task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pydantic

from consort import TaskError

_RETRYABLE_STATUS = frozenset({408, 409, 425, 429})
_STATUS_FAILED = 400
_STATUS_SERVER = 500
_DEPTH_MAX = 20


def task_error(error: BaseException, final: tuple[type[BaseException], ...] = ()) -> TaskError:
    """The task's failure that `error` means. `final` are exceptions that another attempt would only meet again."""
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, TaskError):
            return cause
    for cause in chain:
        known = _by_transport(cause)
        if known is not None:
            return _made(error, retryable=known, after=_retry_after(cause) if known else None)
    if any(isinstance(cause, (*final, pydantic.ValidationError)) for cause in chain):
        return _made(error, retryable=False)
    return _made(error, retryable=True)


def _made(error: BaseException, *, retryable: bool, after: float | None = None) -> TaskError:
    text = " ".join(str(error).split()) or "without a message"
    message = f"{type(error).__name__}: {text}"
    if retryable:
        return TaskError(message, retryable=True, retry_after=after)
    return TaskError(message, retryable=False)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, then its causes, members of groups included; each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) < _DEPTH_MAX:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting.extend(member for member in getattr(current, "exceptions", ()) if isinstance(member, BaseException))
        waiting.extend(cause for cause in (current.__cause__, current.__context__) if cause is not None)


def _by_transport(error: BaseException) -> bool | None:
    """Whether another attempt may help, by the transport's status; `None` where it has none."""
    status = _status(error)
    if status is not None:
        return status in _RETRYABLE_STATUS or status >= _STATUS_SERVER
    if isinstance(error, (TimeoutError, asyncio.TimeoutError, ConnectionError)):
        return True
    # The HTTP clients of model vendors have no common base; their names are what they share.
    names = {base.__name__ for base in type(error).__mro__}
    if names & {"APIConnectionError", "APITimeoutError", "RateLimitError", "TransportError", "TimeoutException"}:
        return True
    return None


def _status(error: BaseException) -> int | None:
    for source in (error, getattr(error, "response", None)):
        status = getattr(source, "status_code", None)
        if isinstance(status, int) and status >= _STATUS_FAILED:
            return status
    return None


def _retry_after(error: BaseException) -> float | None:
    """Seconds that the other side asked to wait, from its `Retry-After` header."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    if not hasattr(headers, "get"):
        return None
    text = headers.get("retry-after") or headers.get("Retry-After")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds())
    except (TypeError, ValueError):
        return None
