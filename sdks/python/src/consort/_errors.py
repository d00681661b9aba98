"""Errors: what the server answers, and how an attempt fails.

For: authors of agents and clients. Not for: control flow inside the package.
Invariant: nothing that a replay would only repeat (a recorded failure, a divergence) is retryable. What cannot be
reported is refused where the error is made, so reporting one cannot fail.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from numbers import Real
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from consort._generated.models import Diagnostic

Seconds: TypeAlias = "float | int | timedelta"
"""A span of time: a number of seconds, or a `timedelta`."""

MESSAGE_BYTES_MAX: Final = 4 * 1024
"""Bytes of an error or progress message; more is cut."""

SHOWN_MAX: Final = 64
"""Characters of a value that an error shows; more is cut."""

SPAN_US_MAX: Final = 2**63 - 1
"""Microseconds of the longest span."""

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
    SPACE_NOT_FOUND: Final = "C0701"
    KEY_NOT_FOUND: Final = "C0702"
    STATE_CONFLICT: Final = "C0703"
    VERSION_GONE: Final = "C0704"
    NOT_MERGEABLE: Final = "C0706"
    REPLICA_DAMAGED: Final = "C0843"
    REPLICA_TAKEN: Final = "C0844"
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
        for name, value in (("message", message), ("code", code), ("hint", "" if hint is None else hint)):
            if not isinstance(value, str):
                raise TypeError(f"the {name} of an error is text, not `{value!r}`")
        super().__init__(message)
        self.message = cut(message)
        self.code = code
        self.hint = cut(hint) if hint else None

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

    Raises `ValueError` or `TypeError`, with the message of the failure, where an argument cannot be reported.
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
        try:
            if retry_after is not None:
                microseconds(retry_after, "time to try again")
        except TaskError as error:
            raise ValueError(f"{error.message} (of the failure: {self.message})") from None
        self.retryable = bool(retryable) or retry_after is not None
        self.retry_after = retry_after


def task_error(error: BaseException) -> TaskError:
    """What an exception means for an attempt; whatever the exception is, there is an answer."""
    try:
        return _task_error(error)
    except Exception:  # noqa: BLE001 - code of the exception itself, such as its `__str__`, may fail
        return TaskError(f"{type(error).__name__}, whose text cannot be read", retryable=True)


def _task_error(error: BaseException) -> TaskError:
    if isinstance(error, TaskError):
        return error
    if isinstance(error, ConsortError):
        code = error.code if _CODE.fullmatch(error.code) else Code.AGENT_FAILED
        return TaskError(error.message, code=code, retryable=error.is_unavailable, hint=error.hint)
    inner = getattr(error, "exceptions", None)
    if isinstance(inner, tuple) and inner and isinstance(inner[0], BaseException):
        # A task group wraps what its branches raise, also where that is a single failure.
        return _task_error(inner[0])
    text = str(error)
    name = type(error).__name__
    return TaskError(f"{name}: {text}" if text else name, retryable=True)


def reported(code: str, message: str, hint: str) -> TaskError:
    """A failure that the server reported or recorded: it is met again, so another attempt cannot help."""
    return TaskError(message, code=code if _CODE.fullmatch(code) else Code.INTERNAL, hint=hint)


def cut(message: str) -> str:
    """The message within the limit, cut between characters."""
    data = message.encode("utf-8", "replace")
    if len(data) <= MESSAGE_BYTES_MAX:
        return data.decode("utf-8")
    return data[:MESSAGE_BYTES_MAX].decode("utf-8", "ignore")


def microseconds(span: Seconds, what: str = "span") -> int:
    """A span as whole microseconds; what is none, or is too long, is refused with its name, its value and the limit."""
    found = _span_us(span)
    if found is None or found > SPAN_US_MAX:
        raise TaskError(
            f"the {what} of `{shown(span)}` is no span of time from 0 to {SPAN_US_MAX // 1_000_000} s",
            code=Code.BAD_REQUEST,
            hint="give seconds as a number, or a `timedelta`",
        )
    return found


def _span_us(span: object) -> int | None:
    if isinstance(span, timedelta):
        return span // timedelta(microseconds=1) if span >= timedelta() else None
    if isinstance(span, bool) or not isinstance(span, Real):
        return None
    seconds = span if isinstance(span, int) else float(span)
    # Not a number compares as false.
    return round(seconds * 1_000_000) if 0 <= seconds <= SPAN_US_MAX else None


def whole(what: str, value: object, least: int, most: int) -> int:
    """A whole number within its limits; any other value is refused with its name and the limits."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise TaskError(
            f"the {what} of `{shown(value)}` is no whole number from {least} to {most}", code=Code.BAD_REQUEST
        )
    return int(value)


def shown(value: object) -> str:
    """A value for people, in one short line."""
    try:
        text = str(value) if isinstance(value, timedelta) else repr(value)
    except Exception:  # noqa: BLE001 - code of the value itself, or a number with too many digits
        return f"a {type(value).__name__}"
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"
