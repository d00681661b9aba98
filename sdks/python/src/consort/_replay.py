"""The replay rule: whether a request matches the entry of a journal.

For: the journal. Not for: what a difference leads to (see `_journal`).
Invariant: it agrees with `sdks/conformance/replay-vectors.json`, which the server and the other SDKs follow too.

Inputs are compared by value, as JSON Schema compares instances, and numbers by their exact mathematical value: an id
that does not fit into a double is common.
"""

from __future__ import annotations

import json
from typing import Final, NoReturn

from consort._proto.v1.worker_pb2 import JournalEntry

_EXPONENT_DIGITS_MAX: Final = 9
"""Digits of an exponent that is calculated with; beyond, a number is compared as it is written."""


def is_same(recorded: JournalEntry, asked: JournalEntry) -> bool:
    """Whether `asked` is the request that was recorded.

    How a call is to be done (retry, timeout, route), what an approval is about, and what others are shown or answered
    may change between two attempts: that does not change what the answer means.
    """
    kind = recorded.WhichOneof("request")
    if kind is None or kind != asked.WhichOneof("request"):
        return False
    if kind == "call":
        known, given = recorded.call, asked.call
        return known.capability == given.capability and is_same_document(known.input, given.input)
    if kind == "state":
        return is_same_document(recorded.state.transaction, asked.state.transaction)
    if kind == "labels":
        return True
    member = {"sleep": "span_us", "approval": "prompt", "forget": "entries", "answer": "update"}.get(kind, "name")
    return bool(getattr(getattr(recorded, kind), member) == getattr(getattr(asked, kind), member))


def is_same_document(one: bytes, other: bytes) -> bool:
    """Whether two JSON documents have the same value.

    The order of members and white space do not count; of members with one name the last counts. `1`, `1.0` and `1e0`
    are one number, `-0` is `0`, and no digit is lost. What is no JSON is the same as equal bytes only.
    """
    if one == other:
        return True
    try:
        return bool(_value(one) == _value(other))
    except (ValueError, RecursionError):
        return False


def _value(document: bytes) -> object:
    """The document with the normal form of each number in its place, as a tuple, which nothing else in JSON is."""
    text = document.decode()
    return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_no_json)


def _number(text: str) -> tuple[str]:
    """One form for all ways to write a number: its sign, its digits without zeros at either end, and its exponent."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return ("0",)
    size = exponent.lstrip("+-").lstrip("0") or "0"
    if len(size) > _EXPONENT_DIGITS_MAX:
        return (text,)
    significant = digits.rstrip("0")
    power = -int(size) if exponent.startswith("-") else int(size)
    power += len(digits) - len(significant) - len(fraction)
    sign = "-" if mantissa.startswith("-") else ""
    return (f"{sign}{significant}e{power}",)


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"`{constant}` is no number in JSON")
