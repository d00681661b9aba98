"""The journal as plain state.

For: what the wire cannot show well: what is released when, and what is sent when. Not for: code (see `test_replay`).
Invariant: no event loop.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consort import Code, TaskError
from consort._journal import ENTRIES_MAX, Journal, describe, describe_span
from consort._proto.v1 import worker_pb2

from .fake import call, failed, run, signal, sleep


class Waiter:
    """Notes that it was woken."""

    def __init__(self, name: str, order: list[str]) -> None:
        self.name = name
        self.order = order
        self.woken = False

    def done(self) -> bool:
        return self.woken

    def set_result(self, result: None, /) -> None:
        self.woken = True
        self.order.append(self.name)


def answered(*results: Any) -> list[worker_pb2.JournalEntry]:
    return [call(f"c{index}", None, result) for index, result in enumerate(results)]


def test_results_are_released_one_at_a_time_lowest_first() -> None:
    journal = Journal(answered(1, 2, 3))
    order: list[str] = []
    for index in range(3):
        journal.ask(call(f"c{index}", None))
        journal.wait(index, Waiter(str(index), order))
    assert journal.poll(0) is None
    for index in range(3):
        assert journal.release()
        assert order == [str(found) for found in range(index + 1)]
        assert journal.poll(index) == str(index + 1).encode()
    assert not journal.release()


def test_results_that_nobody_waits_for_are_passed_over() -> None:
    journal = Journal(answered(1, 2))
    journal.ask(call("c0", None))
    journal.ask(call("c1", None))
    order: list[str] = []
    journal.wait(1, Waiter("1", order))
    assert journal.release()
    assert order == ["1"]
    assert journal.ask(run("next")).index == 2
    journal.finish_run(2, b"0")
    found = journal.next_to_send()
    assert found is not None
    assert list(found[1].after) == [0, 1]


def test_on_replay_only_what_the_record_says_is_released() -> None:
    journal = Journal([call("a", None, 1), call("b", None, 2), run("c", 3, after=[1])])
    order: list[str] = []
    for index, name in enumerate("ab"):
        journal.ask(call(name, None))
        journal.wait(index, Waiter(name, order))
    assert journal.release()
    assert order == ["b"]
    assert not journal.release()
    assert journal.holds_back
    journal.ask(run("c"))
    assert not journal.holds_back
    assert journal.release()
    assert order == ["b", "a"]


def test_what_is_held_back_is_released_when_the_order_is_given_up() -> None:
    journal = Journal([call("a", None, 1), call("b", None, 2), run("c", 3, after=[1])])
    order: list[str] = []
    for name in "ab":
        journal.ask(call(name, None))
    journal.wait(0, Waiter("a", order))
    assert not journal.release()
    journal.stop_holding_back()
    assert journal.release()
    assert order == ["a"]


def test_entries_are_sent_in_order_and_not_past_a_running_effect() -> None:
    journal = Journal([])
    journal.ask(call("a", None))
    journal.ask(run("b"))
    journal.ask(call("c", None))
    first = journal.next_to_send()
    assert first is not None
    assert first[0] == 0
    assert journal.next_to_send() is None
    journal.finish_run(1, b"1")
    assert [found[0] for found in (journal.next_to_send(), journal.next_to_send()) if found] == [1, 2]
    assert journal.next_to_send() is None


def test_only_what_was_sent_can_be_recorded_and_the_first_answer_stays() -> None:
    journal = Journal([])
    journal.ask(call("a", None))
    journal.record(0, call("a", None, 1))
    journal.record(9, call("a", None, 1))
    assert not journal.release()
    journal.next_to_send()
    journal.record(0, call("a", None))
    journal.record(0, call("a", None, 1))
    journal.record(0, call("a", None, 2))
    assert not journal.release(), "there is no waiter"
    assert journal.poll(0) == b"1"


def test_an_effect_that_is_recorded_without_its_result_keeps_it() -> None:
    journal = Journal([])
    journal.ask(run("a"))
    journal.finish_run(0, b"1")
    journal.next_to_send()
    journal.record(0, run("a"))
    journal.release()
    assert journal.poll(0) == b"1"


def test_code_can_park_only_when_all_is_durable_and_nothing_is_due() -> None:
    journal = Journal([])
    journal.ask(call("a", None))
    waiter = Waiter("a", [])
    journal.wait(0, waiter)
    assert journal.parkable() == []
    journal.next_to_send()
    assert journal.parkable() == []
    journal.record(0, call("a", None))
    assert journal.parkable() == [0]
    journal.send_again()
    assert journal.parkable() == []
    journal.next_to_send()
    assert journal.parkable() == [0]
    assert journal.forget(0, waiter)
    assert journal.parkable() == []
    journal.wait(0, waiter)
    journal.record(0, call("a", None, 1))
    assert journal.parkable() == []


def test_after_a_reconnect_what_is_unanswered_is_sent_again() -> None:
    journal = Journal([call("old", None, 1), call("open", None)])
    journal.ask(call("old", None))
    journal.ask(call("open", None))
    journal.ask(call("sent", None))
    journal.ask(run("runs"))
    journal.next_to_send()
    journal.send_again()
    sent = [found[0] for found in iter(journal.next_to_send, None)]
    assert sent == [1, 2]


def test_a_closed_journal_gives_what_was_released_and_nothing_else() -> None:
    journal = Journal(answered(1, 2))
    order: list[str] = []
    for index in range(2):
        journal.ask(call(f"c{index}", None))
        journal.wait(index, Waiter(str(index), order))
    journal.release()
    first = journal.close(TaskError("first"))
    assert journal.close(TaskError("second")) is first
    assert order == ["0", "1"], "every waiter is woken"
    assert journal.poll(0) == b"1"
    with pytest.raises(TaskError, match="first"):
        journal.poll(1)
    with pytest.raises(TaskError, match="first"):
        journal.ask(run("more"))
    journal.end()
    with pytest.raises(asyncio.CancelledError):
        journal.ask(run("more"))
    assert journal.next_to_send() is None


def test_a_journal_has_a_limit() -> None:
    journal = Journal([])
    for _ in range(ENTRIES_MAX):
        journal.ask(call("a", None))
    with pytest.raises(TaskError) as error:
        journal.ask(call("a", None))
    assert error.value.code == Code.LIMIT_REACHED
    assert error.value.message == "the task requested entry 10001, the limit is 10000"


def test_a_recorded_failure_is_not_retryable() -> None:
    journal = Journal([failed(call("a", None), "C0305", "slow")])
    journal.ask(call("a", None))
    journal.release()
    with pytest.raises(TaskError) as error:
        journal.poll(0)
    assert (error.value.code, error.value.message, error.value.retryable) == ("C0305", "slow", False)


def test_positions_that_are_not_there_are_left_alone() -> None:
    journal = Journal([run("a", 1, after=[7])])
    assert not journal.release()
    journal.ask(run("a"))
    assert not journal.release()
    assert journal.poll(0) == b"1"


def test_requests_and_spans_are_described_for_people() -> None:
    assert [describe(entry) for entry in (run("a"), sleep(61.5), signal("s"), worker_pb2.JournalEntry())] == [
        "run `a`",
        "sleep `1m1s500ms`",
        "signal `s`",
        "a request of a newer version",
    ]
    assert describe_span(0) == "0s"
    assert describe_span(90_061_000_001) == "1d1h1m1s1us"
