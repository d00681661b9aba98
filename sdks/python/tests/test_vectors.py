"""The replay rule against the vectors that every SDK and the server follow.

For: what counts as the same request. Not for: what a difference leads to (see `test_replay`).
Invariant: no event loop, and every vector is compared both ways round.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from consort._proto.v1 import worker_pb2
from consort._replay import is_same, is_same_document

VECTORS: Final = json.loads(
    (Path(__file__).parents[2] / "conformance" / "replay-vectors.json").read_text(encoding="utf-8")
)


def request(said: dict[str, Any]) -> worker_pb2.JournalEntry:  # noqa: PLR0911 - one for each kind
    match said:
        case {"kind": "run", "name": name}:
            return worker_pb2.JournalEntry(run=worker_pb2.RunRequest(name=name))
        case {"kind": "signal", "name": name}:
            return worker_pb2.JournalEntry(signal=worker_pb2.SignalRequest(name=name))
        case {"kind": "sleep", "span_us": span_us}:
            return worker_pb2.JournalEntry(sleep=worker_pb2.SleepRequest(span_us=span_us))
        case {"kind": "approval", "prompt": prompt, "detail": detail}:
            approval = worker_pb2.ApprovalRequest(prompt=prompt, detail=detail.encode())
            return worker_pb2.JournalEntry(approval=approval)
        case {"kind": "state", "transaction": transaction}:
            return worker_pb2.JournalEntry(state=worker_pb2.StateRequest(transaction=transaction.encode()))
        case {"kind": "expose", "name": name, "value": value}:
            return worker_pb2.JournalEntry(expose=worker_pb2.ExposeRequest(name=name, value=value.encode()))
        case {"kind": "labels", "labels": labels}:
            return worker_pb2.JournalEntry(labels=worker_pb2.LabelsRequest(labels=labels))
        case {"kind": "update", "name": name}:
            return worker_pb2.JournalEntry(update=worker_pb2.UpdateRequest(name=name))
        case {"kind": "answer", "update": update, "value": value}:
            return worker_pb2.JournalEntry(answer=worker_pb2.AnswerRequest(update=update, value=value.encode()))
        case {"kind": "answer", "update": update, "rejection": rejection}:
            return worker_pb2.JournalEntry(answer=worker_pb2.AnswerRequest(update=update, rejection=rejection))
        case {"kind": "call", "capability": capability, "input": document}:
            options = worker_pb2.CallOptions(priority=said["priority"]) if "priority" in said else None
            called = worker_pb2.CallRequest(capability=capability, input=document.encode(), options=options)
            return worker_pb2.JournalEntry(call=called)
    raise AssertionError(f"{said} is not understood")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_requests_are_compared_as_the_vectors_say(vector: dict[str, Any]) -> None:
    recorded, asked = request(vector["recorded"]), request(vector["asked"])
    assert is_same(recorded, asked) is vector["same"]
    assert is_same(asked, recorded) is vector["same"]


def test_a_request_of_a_newer_kind_is_the_same_as_nothing() -> None:
    assert not is_same(worker_pb2.JournalEntry(), worker_pb2.JournalEntry())


@pytest.mark.parametrize("bad", ["", "{", "[1 2]", "01", "1.", "nul", "NaN", "[" * 100_000])
def test_what_is_no_document_is_the_same_as_equal_bytes_only(bad: str) -> None:
    assert is_same_document(bad.encode(), bad.encode())
    assert not is_same_document(bad.encode(), f"{bad} ".encode())


def test_bytes_that_are_no_text_are_the_same_as_equal_bytes_only() -> None:
    assert not is_same_document(b'"\xff"', b'"\xff" ')


def test_exponents_of_any_length_are_compared() -> None:
    huge = b"9" * 40
    assert is_same_document(b"0e" + huge, b"-0e-1")
    assert is_same_document(b"[1e" + huge + b"]", b"[1e" + huge + b" ]")
    assert not is_same_document(b"1e" + huge, b"1e9")
    assert not is_same_document(b"1e-" + huge, b"1e" + huge)
    assert is_same_document(b"1e0000000000000000000002", b"100")
