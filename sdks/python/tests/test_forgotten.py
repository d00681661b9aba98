"""Waits that code continues without: when they are closed, and that a replay sees it at the same place.

For: the `forget` entries of the SDK. Not for: what the server does with them.
Invariant: a server that is played by hand, or none.
"""

from __future__ import annotations

import asyncio
from typing import Any

from consort import Agent, TaskContext, TaskError
from consort._proto.v1 import worker_pb2
from consort.testing import replay_task, run_task

from .fake import hosting_code, signal


def slept(result: Any = ..., after: list[int] | None = None) -> worker_pb2.JournalEntry:
    entry = worker_pb2.JournalEntry(sleep=worker_pb2.SleepRequest(span_us=2_000_000), after=after or [])
    if result is not ...:
        entry.output = b"null"
    return entry


def waits(after: list[int] | None = None) -> worker_pb2.JournalEntry:
    return worker_pb2.JournalEntry(signal=worker_pb2.SignalRequest(name="go"), after=after or [])


def forget(*entries: int) -> worker_pb2.JournalEntry:
    return worker_pb2.JournalEntry(forget=worker_pb2.ForgetRequest(entries=entries), output=b"null")


async def listen(ctx: TaskContext) -> Any:
    """A signal, or nothing after a while."""
    position, value = await ctx.race(ctx.wait_signal("go"), ctx.sleep(2))
    return value if position == 0 else None


async def twice(ctx: TaskContext, input: Any) -> Any:
    return [await listen(ctx), await listen(ctx)]


async def test_what_lost_is_closed_behind_the_requests_that_follow_it() -> None:
    async with hosting_code(twice) as rig:
        rig.offer()
        await rig.session.record_next()
        await rig.session.entry()
        rig.session.record("task-0", 1, slept(None))
        wait = await rig.session.entry()
        assert (wait.index, wait.entry.signal.name, list(wait.entry.after)) == (2, "go", [1])
        rig.session.record("task-0", 2, wait.entry)
        await rig.session.record_next()
        closed = await rig.session.entry()
        assert (closed.index, list(closed.entry.forget.entries)) == (4, [0])
        # An answer that crossed has no receiver.
        rig.session.record("task-0", 0, signal("go", "late"))
        rig.session.record("task-0", 4, forget(0))
        rig.session.record("task-0", 2, signal("go", "hi"))
        assert await rig.output() == [None, "hi"]


async def test_a_replay_passes_over_it_and_records_nothing_again() -> None:
    journal = [waits(), slept(None), waits([1]), slept(), forget(0)]
    async with hosting_code(twice) as rig:
        rig.offer(journal)
        message = await rig.session.next()
        assert message is not None
        assert list(message.park.waiting) == [2, 3]
    async with hosting_code(twice) as rig:
        rig.offer([*journal[:2], signal("go", "hi", after=[1]), *journal[3:]])
        assert await rig.output() == [None, "hi"]


async def test_a_journal_of_before_is_replayed_and_what_it_left_open_is_closed_then() -> None:
    async with hosting_code(twice) as rig:
        rig.offer([waits(), slept(None), waits([1]), slept()])
        closed = await rig.session.entry()
        assert (closed.index, list(closed.entry.forget.entries)) == (4, [0])


async def test_a_recorded_journal_with_it_fits() -> None:
    agent = Agent("a", description="A test.")
    agent.capability("work")(twice)
    recorded = [
        {"kind": "signal", "name": "go"},
        {"kind": "sleep", "span": "2s", "output": None},
        {"kind": "signal", "name": "go", "after": [1], "output": "hi"},
        {"kind": "sleep", "span": "2s"},
        {"kind": "forget", "entries": [0], "output": None},
    ]
    replayed = await replay_task(agent, "work", None, recorded)
    assert replayed.fits, replayed


async def test_what_a_cancelled_branch_waited_for_is_closed() -> None:
    async def inner(ctx: TaskContext) -> Any:
        return await ctx.wait_signal("go")

    async def code(ctx: TaskContext, input: Any) -> Any:
        await ctx.race(inner(ctx), ctx.sleep(2))
        ctx.wait_approval("never awaited")
        return await ctx.wait_signal("go")

    async with hosting_code(code) as rig:
        rig.offer()
        kinds = []
        for _ in range(2):
            found = await rig.session.entry()
            kind = found.entry.WhichOneof("request")
            kinds.append(kind)
            answer = slept(None) if kind == "sleep" else found.entry
            rig.session.record("task-0", found.index, answer)
        assert sorted(kinds) == ["signal", "sleep"]
        first = kinds.index("signal")
        rest: dict[str, list[int]] = {}
        while "signal" not in rest or sum(len(found) for found in rest.values()) < 4:
            found = await rig.session.entry()
            kind = str(found.entry.WhichOneof("request"))
            rest.setdefault(kind, []).extend(found.entry.forget.entries or [found.index])
            entry = forget(*found.entry.forget.entries) if kind == "forget" else found.entry
            rig.session.record("task-0", found.index, entry)
        assert sorted(rest["forget"]) == sorted([first, *rest["approval"]])


async def test_a_wait_that_the_code_still_has_stays_open() -> None:
    async def code(ctx: TaskContext, input: Any) -> Any:
        deadline = ctx.sleep(60)
        found = []
        for name in "ab":
            position, value = await ctx.race(deadline, ctx.wait_signal(name))
            found.append([position, value])
        return found

    async with hosting_code(code) as rig:
        rig.offer()
        await rig.session.record_next()
        for index, name in ((1, "a"), (2, "b")):
            found = await rig.session.entry()
            assert (found.index, found.entry.signal.name) == (index, name)
            rig.session.record("task-0", index, signal(name, index))
        assert await rig.output() == [[1, 1], [1, 2]]


async def test_it_is_recorded_before_an_effect() -> None:
    begun = asyncio.Event()

    async def effect() -> int:
        begun.set()
        return 1

    async def code(ctx: TaskContext, input: Any) -> Any:
        await ctx.race(ctx.wait_signal("go"), ctx.sleep(2))
        return await ctx.run("effect", effect)

    async with hosting_code(code) as rig:
        rig.offer([waits(), slept(None)])
        closed = await rig.session.entry()
        assert (closed.index, list(closed.entry.forget.entries), list(closed.entry.after)) == (2, [0], [1])
        await begun.wait()


async def test_code_that_fails_closes_nothing() -> None:
    async def code(ctx: TaskContext, input: Any) -> Any:
        open_wait = ctx.wait_signal("go")
        await ctx.sleep(2)
        del open_wait
        raise TaskError("later", retryable=True)

    async with hosting_code(code) as rig:
        rig.offer([waits(), slept(None)])
        message = await rig.session.next()
        assert message is not None
        assert message.fail.error.message == "later"


async def test_a_signal_that_nobody_has_read_is_there_for_the_next_wait_in_a_test() -> None:
    agent = Agent("a", description="A test.")

    @agent.capability("work")
    async def work(ctx: TaskContext, input: Any) -> Any:
        ctx.wait_signal("go")
        await ctx.sleep(1)
        return await ctx.wait_signal("go")

    assert await run_task(agent, "work", None, signals={"go": [7]}) == 7
