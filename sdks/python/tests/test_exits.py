"""Code that raises what is no `Exception`, and code that holds the event loop.

For: keeping the worker and the neighbours out of it. Not for: ordinary failures (see `test_life`).
Invariant: as in the suite: no test waits for time to pass; where time matters, the test's own clock tells it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from consort import Agent, Code, TaskContext

from .fake import hosting


class Odd(BaseException):
    """Neither an `Exception` nor one of Python's own."""


def exits() -> None:
    sys.exit(3)


def interrupts() -> None:
    raise KeyboardInterrupt("by the code")


def odd() -> None:
    raise Odd("strange")


def closes() -> None:
    raise GeneratorExit


async def in_code(_ctx: TaskContext, end: Callable[[], None]) -> None:
    end()


async def in_an_effect(ctx: TaskContext, end: Callable[[], None]) -> None:
    async def effect() -> None:
        await asyncio.sleep(0)
        end()

    await ctx.run("x", effect)


async def in_an_effect_on_a_thread(ctx: TaskContext, end: Callable[[], None]) -> None:
    await ctx.run("x", end)


async def in_a_task_of_an_effect(ctx: TaskContext, end: Callable[[], None]) -> None:
    async def inner() -> None:
        end()

    async def effect() -> None:
        await asyncio.ensure_future(inner())

    await ctx.run("x", effect)


async def in_a_task(_ctx: TaskContext, end: Callable[[], None]) -> None:
    async def inner() -> None:
        end()

    await asyncio.gather(inner(), asyncio.sleep(0))


async def in_a_task_of_a_group(ctx: TaskContext, end: Callable[[], None]) -> None:
    async def inner() -> None:
        await ctx.run("x", lambda: 1)
        end()

    await ctx.race(inner(), asyncio.Event().wait())


async def on_a_thread(_ctx: TaskContext, end: Callable[[], None]) -> None:
    await asyncio.to_thread(end)


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    """Signals are handled, as in `run_forever`: a `KeyboardInterrupt` is not the user's."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "where",
    [in_code, in_an_effect, in_an_effect_on_a_thread, in_a_task_of_an_effect, in_a_task, on_a_thread],
)
@pytest.mark.parametrize(
    ("end", "message"),
    [
        (exits, "SystemExit: 3"),
        (interrupts, "KeyboardInterrupt: by the code"),
        (odd, "Odd: strange"),
        (closes, "GeneratorExit"),
    ],
)
async def test_what_is_no_exception_ends_its_attempt_alone(where: Any, end: Any, message: str) -> None:
    agent = Agent("test")
    going = asyncio.Event()

    @agent.capability("work")
    async def work(ctx: TaskContext) -> None:
        await where(ctx, end)

    @agent.capability("sync")
    def sync() -> None:
        end()

    @agent.capability("neighbour")
    async def neighbour(ctx: TaskContext) -> str:
        ctx.progress("begun")
        await going.wait()
        return "done"

    async with hosting(agent) as rig:
        rig.offer(task="task-1", capability="neighbour")
        assert (await rig.session.next()) is not None
        for name in ("work", "sync"):
            rig.token += 1
            rig.offer(capability=name)
            failure = await rig.failure()
            assert failure.error.code == Code.AGENT_FAILED
            assert (failure.error.message, failure.retryable) == (message, True)
        going.set()
        rig.token = 1
        assert await rig.output() == "done"


async def test_a_branch_that_exits_ends_its_attempt_alone() -> None:
    agent = Agent("test")

    @agent.capability("work")
    async def work(ctx: TaskContext) -> None:
        await in_a_task_of_a_group(ctx, exits)

    async with hosting(agent) as rig:
        rig.offer()
        await rig.session.record_next()
        assert (await rig.failure()).error.message == "SystemExit: 3"
        assert not rig.running.done()


async def test_code_that_holds_the_loop_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr("consort._quiescence.clock", lambda: now)
    agent = Agent("test")

    @agent.capability("big.block")
    async def block(ctx: TaskContext, inside: bool) -> None:
        nonlocal now

        async def hold() -> None:
            nonlocal now
            await asyncio.sleep(0)
            now += 5.0

        if inside:
            await ctx.run("x", hold)
        else:
            await hold()

    async with hosting(agent) as rig:
        for inside in (False, True):
            rig.token += 1
            rig.offer(value={"inside": inside}, capability="big.block")
            if inside:
                await rig.session.record_next()
            await rig.output()
    held = [record.getMessage() for record in caplog.records if "blocked" in record.getMessage()]
    assert len(held) == 2
    assert all(text.startswith("`big.block` blocked the event loop for 5.0 s; ") for text in held)


async def test_quick_code_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    agent = Agent("test")

    @agent.capability("work")
    async def work() -> None:
        await asyncio.sleep(0)

    async with hosting(agent) as rig:
        rig.offer(capability="work", value={})
        await rig.output()
    assert "blocked" not in caplog.text
