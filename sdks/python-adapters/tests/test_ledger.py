"""The ledger on a journal that is played by hand: any order, any number of attempts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from consort import TaskError
from consort_adapters._ledger import ENTRY, PLAIN, Ledger, UnrecordableError, digest_of, dump_json


class Journal:
    """What a task context does with `run`, and nothing else: the same requests in the same order."""

    def __init__(self, entries: list[Any] | None = None) -> None:
        self.entries = [] if entries is None else entries
        self.recorded = len(self.entries)
        self.asked = 0

    async def run(self, name: str, effect: Callable[[], Awaitable[Any]]) -> Any:
        assert name == ENTRY
        index, self.asked = self.asked, self.asked + 1
        await asyncio.sleep(0)
        if index < self.recorded:
            return self.entries[index]
        assert index == len(self.entries), "an entry was requested while another was open"
        self.entries.append(json.loads(json.dumps(await effect())))
        return self.entries[index]


async def ask(ledger: Ledger, question: str, answer: Any, log: list[str]) -> Any:
    """Asks as adapters do."""
    digest = digest_of("model", question)
    recorded = await ledger.find(digest)
    if recorded is not None:
        return recorded.value
    log.append(question)
    await ledger.answer("model", digest, answer, PLAIN)
    return answer


async def test_answers_are_given_again_in_any_order() -> None:
    first = Journal()
    log: list[str] = []
    ledger = Ledger(first.run)
    assert await asyncio.gather(*(ask(ledger, word, word.upper(), log) for word in "abc")) == ["A", "B", "C"]
    second = Journal(first.entries)
    again = Ledger(second.run)
    assert await asyncio.gather(*(ask(again, word, "new", log) for word in "cba")) == ["C", "B", "A"]
    await again.settle()
    assert log == ["a", "b", "c"]
    assert second.asked == second.recorded == 4


async def test_equal_questions_are_told_apart_by_their_number() -> None:
    first = Journal()
    ledger = Ledger(first.run)
    assert [await ask(ledger, "roll", number, []) for number in (1, 2)] == [1, 2]
    again = Ledger(Journal(first.entries).run)
    assert [await ask(again, "roll", 9, []) for _ in range(3)] == [1, 2, 9]


async def test_a_question_that_changed_is_asked_anew_and_the_journal_is_read_to_its_end() -> None:
    first = Journal()
    await ask(Ledger(first.run), "on Monday", "a", [])
    second = Journal(first.entries)
    log: list[str] = []
    again = Ledger(second.run)
    assert await ask(again, "on Tuesday", "b", log) == "b"
    await again.settle()
    assert log == ["on Tuesday"]
    assert second.asked == len(second.entries)


async def test_a_task_that_ends_sooner_reads_what_is_left() -> None:
    first = Journal()
    ledger = Ledger(first.run)
    for word in "abc":
        await ask(ledger, word, word, [])
    second = Journal(first.entries)
    again = Ledger(second.run)
    await ask(again, "b", "new", [])
    await again.settle()
    assert second.asked >= second.recorded


async def test_notes_come_back_in_order_beside_answers() -> None:
    first = Journal()
    ledger = Ledger(first.run)
    assert await ledger.next_note() is None
    await ledger.note({"n": 1})
    await ask(ledger, "a", "A", [])
    await ledger.note({"n": 2})
    again = Ledger(Journal(first.entries).run)
    assert [await again.next_note() for _ in range(3)] == [{"n": 1}, {"n": 2}, None]
    assert await ask(again, "a", "new", []) == "A"


async def test_what_cannot_come_back_is_used_but_not_recorded() -> None:
    journal = Journal()
    ledger = Ledger(journal.run)
    assert await ask(ledger, "a", {1, 2}, []) == {1, 2}
    assert [entry["kind"] for entry in journal.entries] == ["start"]
    for value in ({1: "a number is no key of JSON"}, (1, 2), float("nan"), object()):
        with pytest.raises(UnrecordableError):
            dump_json(value)


async def test_a_journal_that_fails_fails_the_question() -> None:
    async def broken(name: str, effect: Callable[[], Awaitable[Any]]) -> Any:
        raise TaskError("the journal diverged", code="C0303")

    with pytest.raises(TaskError):
        await ask(Ledger(broken), "a", "A", [])


def test_a_digest_does_not_depend_on_the_order_of_members() -> None:
    assert digest_of("m", {"a": 1, "b": [2]}) == digest_of("m", {"b": [2], "a": 1})
    assert digest_of("m", {"a": 1}) != digest_of("m", {"a": 1.5})
    assert digest_of("m", {"a": object()}) == digest_of("m", {"a": object()})
