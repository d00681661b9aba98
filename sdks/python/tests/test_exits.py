"""Code that raises what is no `Exception`, and code that holds the event loop.

For: keeping the worker and the neighbours out of it. Not for: ordinary failures (see `test_life`).
Invariant: as in the suite: no test waits for time to pass; where time matters, the test's own clock tells it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest

from consort import Agent, Code, TaskContext, Worker
from consort._quiescence import OWNER, QuiescenceTracker, look, unwatch, watch
from consort._threads import Threads

from .fake import Rig, hosting, serving


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


async def test_a_worker_gives_signs_of_life_while_code_holds_its_loop() -> None:
    agent = Agent("test")
    begun, alive = threading.Event(), threading.Event()

    @agent.capability("work")
    async def block() -> str:
        begun.set()
        # The server, on a thread of its own, lets it go once it has heard the worker.
        return "done" if alive.wait(20) else "silent"

    async def serve(address: asyncio.Future[str], loop: asyncio.AbstractEventLoop) -> Any:
        async with serving(beat_us=100_000) as server:
            loop.call_soon_threadsafe(address.set_result, server.address)
            session = await asyncio.wait_for(server.sessions.get(), 20)
            rig = Rig(server, worker, asyncio.Future(), session)
            rig.offer()
            assert await asyncio.to_thread(begun.wait, 20)
            while not session.received.empty():
                session.received.get_nowait()
            for _ in range(3):
                message = await session.next_of_all()
                assert message is not None
                assert message.HasField("alive")
            alive.set()
            return await rig.output()

    loop = asyncio.get_running_loop()
    address: asyncio.Future[str] = loop.create_future()
    serves = asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(serve(address, loop))))
    worker = Worker(agent, address=await address)
    running = asyncio.ensure_future(worker.run())
    assert await serves == "done"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_code_that_holds_the_loop_without_end_is_named_while_it_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr("consort._quiescence.clock", lambda: now)
    loop = asyncio.get_running_loop()
    watch(loop)
    owner = QuiescenceTracker("big.block", lambda: None, lambda: None)
    looked = threading.Event()

    def look_from_a_thread() -> None:
        look(loop)
        look(loop)
        looked.set()

    async def code() -> None:
        nonlocal now
        now += 7.0
        threading.Thread(target=look_from_a_thread).start()
        assert looked.wait(20)

    context = copy_context()
    context.run(OWNER.set, owner)
    await context.run(loop.create_task, code())
    unwatch(loop)
    texts = [record.getMessage() for record in caplog.records]
    assert [text.split(";")[0] for text in texts] == [
        "`big.block` blocks the event loop, for 7.0 s so far",
        "`big.block` blocked the event loop for 7.0 s",
    ]


class Side:
    """Code on a thread that does not heed a cancellation, and knows how much of it runs."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.at_once = 0
        self.most = 0
        self.opened = threading.Semaphore(0)

    def __call__(self, ctx: TaskContext, input: Any) -> Any:
        self.begun.append(input)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        ctx.progress("begun")
        assert self.opened.acquire(timeout=20)
        self.at_once -= 1
        return input


@pytest.fixture
def side() -> Side:
    return Side()


def sided(code: Any) -> Agent:
    agent = Agent("test")
    agent.add(code, "work")

    @agent.capability("neighbour")
    async def neighbour() -> str:
        return "here"

    return agent


async def neighbour_answers(rig: Rig) -> None:
    """Everything that was sent before has been acted on."""
    rig.offer(task="neighbour", capability="neighbour", token=1)
    message = await rig.session.next()
    assert message is not None
    assert message.complete.attempt.task == "neighbour"


async def test_an_attempt_begins_only_when_nothing_of_an_older_one_runs(side: Side) -> None:
    async with hosting(sided(side)) as rig:
        rig.offer(value="old")
        assert (await rig.session.next()) is not None
        rig.offer_next(value="new")
        await neighbour_answers(rig)
        assert side.begun == ["old"]
        side.opened.release()
        message = await rig.session.next()
        assert message is not None
        assert message.progress.message == "begun"
        side.opened.release()
        assert await rig.output() == "new"
        assert (side.begun, side.most) == (["old", "new"], 1)


async def test_an_attempt_begins_after_cancelled_code_that_was_left_alone(
    side: Side, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(sided(side), cancel_grace=0.0) as rig:
        rig.offer(value="old")
        assert (await rig.session.next()) is not None
        rig.session.cancel()
        await neighbour_answers(rig)
        rig.offer_next(value="new")
        await neighbour_answers(rig)
        assert side.begun == ["old"]
        side.opened.release()
        side.opened.release()
        assert (await rig.session.next()) is not None
        assert await rig.output() == "new"
        assert side.most == 1
    assert "begins when an older attempt, whose code still runs here, has ended" in caplog.text


async def test_an_attempt_that_waits_for_an_older_one_may_be_cancelled_or_replaced(side: Side) -> None:
    async with hosting(sided(side)) as rig:
        rig.offer(value="old")
        assert (await rig.session.next()) is not None
        rig.offer_next(value="cancelled")
        rig.session.cancel(token=2)
        rig.offer_next(value="replaced")
        rig.offer_next(value="last")
        await neighbour_answers(rig)
        side.opened.release()
        side.opened.release()
        assert (await rig.session.next()) is not None
        assert await rig.output() == "last"
        assert (side.begun, side.most) == (["old", "last"], 1)


async def test_code_that_waits_for_a_thread_and_is_cancelled_never_runs() -> None:
    threads = Threads(1)
    opened, ran = threading.Event(), []
    first = asyncio.ensure_future(threads.run(lambda: opened.wait(20)))
    ended = asyncio.Event()
    second = asyncio.ensure_future(threads.run(lambda: ran.append("second"), ended.set))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    opened.set()
    assert await first
    await asyncio.wait_for(ended.wait(), 20)
    assert ran == []
    threads.close()
