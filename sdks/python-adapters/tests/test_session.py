"""What a session lets happen side by side, on a journal that is played by hand."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from consort import TaskContext, TaskError
from consort_adapters._ledger import PLAIN, Run
from consort_adapters._session import Session, Stopped, on_thread
from tests.test_ledger import Journal


class Task:
    """As much of a task context as a session uses."""

    def __init__(self) -> None:
        self.run: Run = Journal().run
        self.said: list[str] = []

    def progress(self, message: str) -> None:
        self.said.append(message)


def session_of(task: Task, *, durable: bool = True) -> Session:
    return Session(cast("TaskContext", task), durable=durable)


async def test_code_that_runs_alone_waits_for_what_is_asked_and_lets_nothing_begin() -> None:
    session = session_of(Task())
    order: list[str] = []
    begun, release = asyncio.Event(), asyncio.Event()

    async def answer(name: str) -> str:
        order.append(f"{name} begins")
        if name == "first":
            begun.set()
            await release.wait()
        order.append(f"{name} ends")
        return name

    async def ask(name: str) -> Any:
        return (await session.once(name, name, lambda: answer(name), PLAIN)).value

    first = asyncio.create_task(ask("first"))
    await begun.wait()
    alone = asyncio.create_task(session.alone("alone", lambda: answer("alone")))
    await asyncio.sleep(0)
    last = asyncio.create_task(ask("last"))
    await asyncio.sleep(0)
    release.set()
    assert list(await asyncio.gather(first, alone, last)) == [
        "first",
        "alone",
        "last",
    ]
    assert order == ["first begins", "first ends", "alone begins", "alone ends", "last begins", "last ends"]


async def test_what_runs_alone_may_ask_and_run_alone_again() -> None:
    session = session_of(Task())

    async def inner() -> str:
        async def again() -> str:
            return "again"

        asked = await session.once("model", "q", again, PLAIN)
        return await session.alone("inner", again) + str(asked.value)

    assert await session.alone("outer", inner) == "againagain"


async def test_what_is_asked_inside_of_a_question_does_not_wait_for_who_waits_for_the_question() -> None:
    session = session_of(Task())
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def inner() -> str:
        return "inner"

    async def outer() -> str:
        begun.set()
        await go_on.wait()
        return str((await session.once("model", "q", inner, PLAIN)).value)

    asked = asyncio.create_task(session.once("tool", "q", outer, PLAIN))
    await begun.wait()
    alone = asyncio.create_task(session.alone("alone", inner))
    await asyncio.sleep(0)
    go_on.set()
    assert (await asyncio.wait_for(asked, 10)).value == await asyncio.wait_for(alone, 10) == "inner"


async def test_the_journal_cannot_be_used_inside_of_what_is_recorded_as_a_whole() -> None:
    session = session_of(Task())

    async def never() -> str:
        raise AssertionError("it must not run")

    with pytest.raises(TaskError, match="recorded as a whole"):
        await session.once("tool outer", "q", lambda: session.alone("tool inner", never), PLAIN)


async def test_threads_ask_through_the_loop_and_stop_with_the_attempt() -> None:
    task = Task()
    session = session_of(task)
    found = await on_thread(lambda: session.once_in_thread("model", "q", lambda: "answer", PLAIN))
    assert (found.value, found.replayed) == ("answer", False)
    await asyncio.sleep(0)
    assert task.said == ["model"]
    session.stopped = True
    with pytest.raises(Stopped):
        await on_thread(lambda: session.once_in_thread("model", "q", lambda: "answer", PLAIN))


async def test_a_thread_whose_journal_fails_ends_with_the_reason() -> None:
    task = Task()

    async def broken(*_: Any) -> Any:
        raise TaskError("the journal diverged", code="C0303")

    task.run = broken
    session = session_of(task)
    with pytest.raises(Stopped) as caught:
        await on_thread(lambda: session.once_in_thread("model", "q", lambda: "answer", PLAIN))
    assert isinstance(caught.value.__cause__, TaskError)


async def test_nothing_is_recorded_where_nothing_is_to_be_durable() -> None:
    async def answer() -> str:
        return "answer"

    task = Task()
    session = session_of(task, durable=False)
    assert [(await session.once("model", "q", answer, PLAIN)).replayed for _ in range(2)] == [False, False]
    assert task.said == ["model", "model"]
