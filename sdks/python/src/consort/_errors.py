"""Errors: what the server answers, and how an attempt fails.

For: authors of agents and clients. Not for: control flow inside the package.
Invariant: nothing that a replay would only repeat (a recorded failure, a divergence) is retryable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from consort._generated.models import Diagnostic

Seconds: TypeAlias = "float | int | timedelta"
"""A span of time: a number of seconds, or a `timedelta`."""

MESSAGE_BYTES_MAX: Final = 4 * 1024
"""Bytes of an error or progress message; more is cut."""

_CODE = re.compile(r"C\d{4}")


class Code:
    """Stable codes of errors that agents and clients meet often.

    A code is plain text, such as `"C0302"`; the reference of Consort explains each.
    """

    BAD_REQUEST: Final = "C0001"
    BAD_NAME: Final = "C0002"
    BAD_JSON: Final = "C0005"
    PAYLOAD_TOO_LARGE: Final = "C0006"
    LIMIT_REACHED: Final = "C0007"
    BAD_WORKFLOW: Final = "C0101"
    WORKFLOW_NOT_FOUND: Final = "C0102"
    BAD_INPUT: Final = "C0103"
    RUN_NOT_FOUND: Final = "C0201"
    RUN_ENDED: Final = "C0202"
    IDEMPOTENCY_MISMATCH: Final = "C0204"
    TASK_NOT_FOUND: Final = "C0301"
    FENCED: Final = "C0302"
    JOURNAL_DIVERGED: Final = "C0303"
    AGENT_FAILED: Final = "C0304"
    TIMED_OUT: Final = "C0305"
    BAD_OUTPUT: Final = "C0311"
    CANCELLED: Final = "C0312"
    OVERLOADED: Final = "C0401"
    STOPPING: Final = "C0402"
    UNREACHABLE: Final = "C0405"
    DENIED: Final = "C0601"
    INTERNAL: Final = "C0901"


class ConsortError(Exception):
    """A refusal or failure with a stable code, what is wrong, and what to do next."""

    code: str
    """The stable code, such as `C0102`."""
    message: str
    """What is wrong, with the value and the limit."""
    hint: str | None
    """What to do next, where that is known."""
    diagnostics: Sequence[Diagnostic] = ()
    """Of the source of a workflow: every finding."""

    def __init__(self, message: str, *, code: str = Code.INTERNAL, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = cut(message)
        self.code = code
        self.hint = hint or None

    @property
    def is_unavailable(self) -> bool:
        """Whether trying again later may help: an overload, a restart, a lost connection."""
        return self.code.startswith("C04") or self.code == "C0502"

    def __str__(self) -> str:
        hint = f" (hint: {self.hint})" if self.hint else ""
        return f"[{self.code}] {self.message}{hint}"


class TaskError(ConsortError):
    """The failure of an attempt, of a recorded effect or of a call.

    Raised by a handler it ends the attempt: for good, or until the next attempt where it is `retryable`. Any other
    exception is a retryable failure. `retry_after` is when to try again, and makes the failure retryable.
    """

    retryable: bool
    """Whether another attempt may help."""
    retry_after: Seconds | None
    """When to try again, where that is known."""

    def __init__(
        self,
        message: str,
        *,
        code: str = Code.AGENT_FAILED,
        retryable: bool = False,
        retry_after: Seconds | None = None,
        hint: str | None = None,
    ) -> None:
        if not _CODE.fullmatch(code):
            raise ValueError(f"`{code}` is not an error code; one looks like `C0304`")
        super().__init__(message, code=code, hint=hint)
        self.retryable = retryable or retry_after is not None
        self.retry_after = retry_after


def task_error(error: BaseException) -> TaskError:
    """What an exception means for an attempt."""
    if isinstance(error, TaskError):
        return error
    if isinstance(error, ConsortError):
        return TaskError(error.message, code=error.code, retryable=error.is_unavailable, hint=error.hint)
    inner = getattr(error, "exceptions", None)
    if isinstance(inner, tuple) and inner:
        # A task group wraps what its branches raise, also where that is a single failure.
        return task_error(inner[0])
    text = str(error)
    name = type(error).__name__
    return TaskError(f"{name}: {text}" if text else name, retryable=True)


def cut(message: str) -> str:
    """The message within the limit, cut between characters."""
    data = message.encode("utf-8", "replace")
    if len(data) <= MESSAGE_BYTES_MAX:
        return data.decode("utf-8")
    return data[:MESSAGE_BYTES_MAX].decode("utf-8", "ignore")


def microseconds(span: Seconds) -> int:
    """A span as whole microseconds; refuses what is negative or not a number."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else float(span)
    # Not a number compares as false, too.
    if not 0 <= seconds < float("inf"):
        raise TaskError(f"`{span}` is not a span of time", code=Code.BAD_REQUEST, hint="give seconds, zero or more")
    return round(seconds * 1_000_000)
