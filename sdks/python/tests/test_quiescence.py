"""When code is quiescent.

For: following every callback of an attempt to its end, and nothing else. Not for: what follows from it.
Invariant: these tests use the loop alone, without a worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import copy_context
from typing import Any

import pytest

from consort import ConsortError
from consort._quiescence import OWNER, QuiescenceTracker, unwatch, watch


class Probe:
    """Code whose standing still is noted."""

    def __init__(self) -> None:
        self.stills = 0
        self.moves = 0
        self.still = asyncio.Event()
        self.quiescence = QuiescenceTracker("code", self._on_still, self._on_move)

    def _on_still(self) -> None:
        self.stills += 1
        self.still.set()

    def _on_move(self) -> None:
        self.moves += 1
        self.still.clear()

    def start(self, code: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
        context = copy_context()
        context.run(OWNER.set, self.quiescence)
        return context.run(asyncio.get_running_loop().create_task, code())


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    loop = asyncio.get_running_loop()
    watch(loop)
    yield Probe()
    unwatch(loop)
    assert "call_soon" not in vars(loop)


async def test_code_stands_still_when_it_waits_for_something_from_outside(probe: Probe) -> None:
    outside: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    seen: list[int] = []

    async def code() -> None:
        seen.append(await outside)

    task = probe.start(code)
    assert probe.quiescence.pending == 1
    await probe.still.wait()
    assert (probe.quiescence.pending, seen, task.done()) == (0, [], False)
    outside.set_result(1)
    # At once: what is woken counts before it runs.
    assert probe.quiescence.pending == 1
    await task
    assert (seen, probe.moves) == ([1], 2)


@pytest.mark.parametrize("depth", [1, 7, 60])
async def test_chains_of_any_length_are_followed_to_their_end(probe: Probe, depth: int) -> None:
    outside: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    done: list[int] = []

    async def nested(level: int) -> int:
        if level == 0:
            return await outside
        await asyncio.sleep(0)
        found = await asyncio.wait_for(asyncio.gather(asyncio.shield(nested(level - 1))), None)
        await asyncio.sleep(0)
        return found[0] + 1

    async def code() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        lock, event = asyncio.Lock(), asyncio.Event()

        async def put() -> None:
            async with lock:
                await queue.put(await nested(depth))
                event.set()

        async def get() -> None:
            await event.wait()
            async with lock:
                done.append(await queue.get())

        await asyncio.gather(put(), get())

    probe.start(code)
    await probe.still.wait()
    assert (probe.stills, done) == (1, [])
    outside.set_result(0)
    probe.still.clear()
    await probe.still.wait()
    assert (probe.stills, done) == (2, [depth]), "it was quiescent once, at the end"


async def test_other_code_does_not_count(probe: Probe) -> None:
    async def nothing() -> None: ...

    probe.start(nothing)
    await probe.still.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert (probe.stills, probe.moves) == (1, 1)


async def test_a_callback_that_is_cancelled_counts_no_more(probe: Probe) -> None:
    async def code() -> None:
        handle = asyncio.get_running_loop().call_soon(lambda: None)
        handle.cancel()

    probe.start(code)
    await probe.still.wait()
    assert probe.quiescence.pending == 0


async def test_a_callback_that_raises_counts_no_more(probe: Probe) -> None:
    loop = asyncio.get_running_loop()
    raised: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: raised.append(context["exception"]))

    async def code() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)

    probe.start(code)
    await probe.still.wait()
    assert probe.quiescence.pending == 0
    assert [type(error) for error in raised] == [ZeroDivisionError]


async def test_every_task_of_the_code_is_known(probe: Probe) -> None:
    outside: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    left: list[asyncio.Task[Any]] = []

    async def code() -> None:
        async def waits() -> None:
            await outside

        left.extend(asyncio.ensure_future(waits()) for _ in range(3))
        await asyncio.sleep(0)

    main = probe.start(code)
    await main
    await probe.still.wait()
    assert set(probe.quiescence.tasks) == {main, *left}
    outside.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def test_the_loop_is_watched_until_the_last_watch_ends() -> None:
    loop = asyncio.get_running_loop()
    watch(loop)
    watch(loop)
    unwatch(loop)
    assert "call_soon" in vars(loop)
    unwatch(loop)
    assert "call_soon" not in vars(loop)


class Sealed:
    """A loop whose methods cannot be replaced, as one written in C may be."""

    __slots__ = ()

    def call_soon(self) -> None: ...


def test_a_loop_that_cannot_be_watched_is_refused_by_name() -> None:
    with pytest.raises(ConsortError, match=r"test_quiescence\.Sealed") as error:
        watch(Sealed())  # type: ignore[arg-type]
    assert "uvloop" in (error.value.hint or "")
