"""An update that the code of a task has: a signal whose sender waits for an answer.

For: answering it, or rejecting it. Not for: waiting for one (see `_context`), or sending one (clients do).
Invariant: the first answer counts; each is an entry of the journal, so a replay answers nothing again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from consort._context import Answer

T = TypeVar("T")


class Sent(BaseModel, Generic[T]):
    """What an entry that waits for an update is answered."""

    id: str
    input: T


class Update(Generic[T]):
    """An update that the code has: its sender waits for an answer."""

    __slots__ = ("_say", "id", "input")

    def __init__(self, say: Callable[[Any, str | None], Answer[None]], sent: Sent[T]) -> None:
        """Made by `wait_update`."""
        self._say = say
        self.id = sent.id
        """Its id, unique in the run."""
        self.input = sent.input
        """What was sent."""

    def answer(self, value: Any = None) -> Answer[None]:
        """Answers the sender. The first answer counts, and stays: a sender that asks again by the id gets it again. At
        most 256 KiB of JSON.
        """
        return self._say(value, None)

    def reject(self, reason: str) -> Answer[None]:
        """Rejects the update: its sender is given the reason as an error (`C0211`)."""
        return self._say(None, reason)

    def __repr__(self) -> str:
        return f"Update(id={self.id!r}, input={self.input!r})"
