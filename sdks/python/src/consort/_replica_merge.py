"""What was written while a push was on its way, put on top of what the push came to.

For: the state of a replica. Not for: merging with what other writers did (the server does, by the policy of the key).
Invariant: pure; what was inserted since the push is kept, and so is what the push came to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from consort._values import json_text

T = TypeVar("T")

Part: TypeAlias = "dict[str, Any]"
"""A part of a row: a value (absent where there is none), and a version."""

_MISFIT: Final = object()


def rebase(policy: str, sent: Part, later: Part, made: Part | None, version: int) -> Part:
    """The write that is left, with the version that it has seen.

    `sent` was pushed in the record `version`, which made `made` of it; `later` was written on top of `sent`.
    """
    now = {"version": 0} if made is None else {"version": made["version"]}
    if same(made or {}, sent):
        return {**later, **now}
    if "value" not in later or "value" not in sent:
        # A removal has not seen what others did; and one that others have superseded has changed nothing.
        return {**later, **seen(sent)}
    if policy in {"reject", "last_writer_wins"}:
        return {**later, "version": version, "saw": sent["value"]}
    before, after, found = sent["value"], later["value"], (made or {}).get("value", _MISFIT)
    value = _moved(policy, before, after, _empty(before) if made is None else found)
    if value is _MISFIT:
        return {**later, **seen(sent)}
    return {**later, **now, "value": value}


def seen(part: Part) -> Part:
    """What a write says of the version that its writer has seen."""
    return {name: part[name] for name in ("version", "saw", "base") if name in part}


def same(one: Part, other: Part) -> bool:
    """Whether two parts have the same value, or both have none."""
    if "value" not in one or "value" not in other:
        return ("value" in one) == ("value" in other)
    return json_text(one["value"]) == json_text(other["value"])


def _empty(value: Any) -> Any:
    """What a value of that form is before anything is written."""
    for kind in (str, list, dict):
        if isinstance(value, kind):
            return kind()
    return 0


def _moved(policy: str, before: Any, after: Any, found: Any) -> Any:
    """What `found` is with the change from `before` to `after`."""
    kind, move = _MOVES.get(policy, (object, None))
    fits = all(isinstance(one, kind) and not isinstance(one, bool) for one in (before, after, found))
    return move(before, after, found) if move is not None and fits else _MISFIT


def _set(before: Any, after: Any, found: Any) -> Any:
    old, new = ({json_text(one): one for one in each} for each in (before, after))
    kept = {key: one for one in found if (key := json_text(one)) not in old or key in new}
    return list({**kept, **{key: one for key, one in new.items() if key not in old}}.values())


def _map(before: Any, after: Any, found: Any) -> Any:
    kept = {name: one for name, one in found.items() if name not in before or name in after}
    changed = (name for name in after if name not in before or json_text(before[name]) != json_text(after[name]))
    return {**kept, **{name: after[name] for name in changed}}


def _list(before: Any, after: Any, found: Any) -> Any:
    elements = {json_text(one): one for each in (before, after, found) for one in each}
    texts = [[json_text(one) for one in each] for each in (before, after, found)]
    return [elements[text] for text in splice(*texts)]


_MOVES: Final[Mapping[str, tuple[type, Callable[[Any, Any, Any], Any]]]] = {
    "counter": (int, lambda before, after, found: found + after - before),
    "max": (object, lambda _, after, __: after),
    "min": (object, lambda _, after, __: after),
    "set": (list, _set),
    "map": (dict, _map),
    "text": (str, lambda *values: "".join(splice(*values))),
    "list": (list, _list),
}
"""What values a policy takes, and how one is moved."""


def splice(before: Sequence[T], after: Sequence[T], found: Sequence[T]) -> list[T]:
    """The elements of `found` with the change from `before` to `after`.

    Each of the two changes is taken as one, from the first element that differs to the last. Where they overlap, what
    both inserted stays, that of `found` first.
    """
    ours, theirs = _hunk(before, after), _hunk(before, found)
    inserted = list(after[ours[0] : len(after) - len(before) + ours[1]])
    shift = len(found) - len(before)
    if ours[0] >= theirs[1]:
        return [*found[: ours[0] + shift], *inserted, *found[ours[1] + shift :]]
    if ours[1] <= theirs[0]:
        return [*found[: ours[0]], *inserted, *found[ours[1] :]]
    other = found[theirs[0] : theirs[1] + shift]
    return [*before[: min(ours[0], theirs[0])], *other, *inserted, *before[max(ours[1], theirs[1]) :]]


def _hunk(before: Sequence[T], after: Sequence[T]) -> tuple[int, int]:
    """The range of `before` that `after` has replaced."""
    most = min(len(before), len(after))
    first = next((place for place in range(most) if before[place] != after[place]), most)
    last = next((place for place in range(most - first) if before[-1 - place] != after[-1 - place]), most - first)
    return first, len(before) - last
