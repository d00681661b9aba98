"""Recorded journals as JSON, for replaying them without a server.

For: `consort.testing.replay_task`. Not for: the wire, which has its own form.
Invariant: an entry that cannot be read is refused with its position, never passed over.

An entry is an object: `kind` (`run`, `call`, `sleep`, `signal`, `approval`, `forget` or `state`) with the members of
that request (`name`; `capability` and `input`; `span`; `name`; `prompt` and `detail`; `entries`; `input`), `after`,
and `output` or `error` where it is answered.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from consort._documents import document, read, write
from consort._errors import Code, microseconds
from consort._proto.v1 import common_pb2, worker_pb2
from consort._spans import Duration


class _Failure(BaseModel):
    code: str
    message: str
    hint: str | None = None


class _Entry(BaseModel):
    after: list[int] = []
    output: Any = None
    error: _Failure | None = None


class _Run(_Entry):
    kind: Literal["run"]
    name: str


class _Call(_Entry):
    kind: Literal["call"]
    capability: str
    input: Any = None


class _Sleep(_Entry):
    kind: Literal["sleep"]
    span: Duration


class _Signal(_Entry):
    kind: Literal["signal"]
    name: str


class _Approval(_Entry):
    kind: Literal["approval"]
    prompt: str
    detail: Any = None


class _Forget(_Entry):
    kind: Literal["forget"]
    entries: list[int]


class _State(_Entry):
    kind: Literal["state"]
    input: Any = None


class _Expose(_Entry):
    kind: Literal["expose"]
    name: str
    value: Any = None


class _Labels(_Entry):
    kind: Literal["labels"]
    labels: dict[str, str] = {}


class _Update(_Entry):
    kind: Literal["update"]
    name: str


class _Answer(_Entry):
    kind: Literal["answer"]
    update: int
    value: Any = None
    rejection: str | None = None


_Kind = _Run | _Call | _Sleep | _Signal | _Approval | _Forget | _State | _Expose | _Labels | _Update | _Answer


class _Journal(BaseModel):
    items: list[Annotated[_Kind, Field(discriminator="kind")]]


def journal_entries(journal: Any) -> list[worker_pb2.JournalEntry]:
    """The entries of a journal: of its list, of the page that has it as `items`, or of the text of either."""
    data = journal.encode() if isinstance(journal, str) else journal
    found = document(data if isinstance(data, bytes) else write("journal", data))
    page = {"items": found} if isinstance(found, list) else found
    return [_message(entry) for entry in read("journal", write("journal", page), _Journal, Code.BAD_INPUT).items]


def _message(entry: _Entry) -> worker_pb2.JournalEntry:
    message = worker_pb2.JournalEntry(after=entry.after)
    if not _told(entry, message):
        _asked(entry, message)
    if entry.error is not None:
        error = entry.error
        message.error.CopyFrom(common_pb2.Error(code=error.code, message=error.message, hint=error.hint or ""))
    elif "output" in entry.model_fields_set:
        message.output = write("output", entry.output)
    return message


def _told(entry: _Entry, message: worker_pb2.JournalEntry) -> bool:
    """Fills in what the code tells others; false where the entry is something else."""
    match entry:
        case _Expose():
            message.expose.name = entry.name
            message.expose.value = write("exposed value", entry.value)
        case _Labels():
            message.labels.labels.update(entry.labels)
            message.labels.SetInParent()
        case _Answer(rejection=str(rejection)):
            message.answer.update = entry.update
            message.answer.rejection = rejection
        case _Answer():
            message.answer.update = entry.update
            message.answer.value = write("answer", entry.value)
        case _:
            return False
    return True


def _asked(entry: _Entry, message: worker_pb2.JournalEntry) -> None:
    """Fills in what the code requests."""
    match entry:
        case _Run():
            message.run.name = entry.name
        case _Call():
            message.call.capability = entry.capability
            message.call.input = write("input of the call", entry.input)
        case _Sleep():
            message.sleep.span_us = microseconds(entry.span)
        case _Signal():
            message.signal.name = entry.name
        case _Approval():
            message.approval.prompt = entry.prompt
            message.approval.detail = write("detail of the approval", entry.detail)
        case _Forget():
            message.forget.entries.extend(entry.entries)
        case _State():
            message.state.transaction = write("transaction", entry.input)
        case _Update():
            message.update.name = entry.name
