"""A worker with a code-first workflow of five calls and a wait, to be killed in the middle.

For: `test_server`. Not for: learning (see `examples`).
Invariant: what it does outside the journal is nothing.
"""

from __future__ import annotations

import sys

from consort import Agent, TaskContext, Worker

agent = Agent("orders", version="1.0.0")


@agent.capability("order")
async def order(ctx: TaskContext, item: str) -> dict[str, object]:
    """Five calls, a wait, and an effect of its own."""
    reserved = await ctx.call("part", "reserve", result_type=str)
    priced = await ctx.call("part", "price", result_type=str)
    approved = await ctx.wait_signal("approved", result_type=bool)
    first, second = await ctx.all(ctx.call("part", name, result_type=str) for name in ("pay", "pack"))
    number = await ctx.run("number", lambda: 4711)
    sent = await ctx.call("part", "send", result_type=str)
    return {"item": item, "parts": [reserved, priced, first, second, sent], "approved": approved, "number": number}


if __name__ == "__main__":
    Worker(agent, address=sys.argv[1], concurrency=4).run_forever()
