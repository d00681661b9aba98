"""The journal of a task, from the agent's code to the wire and back.

For: recording, replay, parking, divergence. Not for: the life of a session (see `test_life`).
Invariant: every test plays the server by hand; nothing answers by itself.
"""

from __future__ import annotations

import asyncio
from typing import Any

from consort import TaskContext

from .fake import hosting_code, run


async def two_effects(ctx: TaskContext, input: Any) -> Any:
    """Two effects, one after the other."""
    first: int = await ctx.run("first", lambda: 7)

    async def second() -> int:
        return first * 6

    return [first, await ctx.run("second", second)]


async def two_calls(ctx: TaskContext, input: Any) -> Any:
    """Asks two capabilities side by side."""
    a = ctx.call("a", 1, result_type=int)
    b = ctx.call("b", 2, result_type=int)
    return list(await asyncio.gather(a, b))


async def test_an_effect_is_durable_before_the_code_goes_on() -> None:
    async with hosting_code(two_effects) as rig:
        rig.offer()
        first = await rig.session.entry()
        assert (first.index, first.entry) == (0, run("first", 7))
        rig.session.record("task-0", 0, first.entry)
        second = await rig.session.entry()
        assert (second.index, list(second.entry.after)) == (1, [0])
        rig.session.record("task-0", 1, second.entry)
        assert await rig.output() == [7, 42]
