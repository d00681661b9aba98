"""The Python worker of the conformance scenarios (README.md describes each capability).

For: the driver in crates/conformance. Not for: learning (see sdks/python/examples).
Invariant: it does what the workers in the other languages do.
"""

from __future__ import annotations

import asyncio
import os
import urllib.request
from typing import Any

from consort import Agent, ConsortError, Retry, TaskContext, TaskError, Worker
from pydantic import BaseModel, Field

LEDGER = os.environ["CONFORM_LEDGER"]
VARIANT = os.environ.get("CONFORM_VARIANT", "")
TWO = VARIANT == "b"


class Item(BaseModel):
    """A line of an order."""

    name: str
    qty: int = Field(ge=1)


class Items(BaseModel):
    """An order."""

    items: list[Item]


class Total(BaseModel):
    """What an order comes to."""

    total: int
    names: list[str]


class Failing(BaseModel):
    """How to fail, and until which attempt."""

    kind: str
    until: int


class Odd(BaseModel):
    """What cannot be reported or asked."""

    kind: str


class Named(BaseModel):
    """The name of an effect."""

    name: str


class Count(BaseModel):
    """How often an effect was requested."""

    count: int


class Word(BaseModel):
    """Any word."""

    word: str


agent = Agent("conform", version=os.environ.get("CONFORM_VERSION", "1.0.0"), labels={"suite": "conformance"})


async def effect(ctx: TaskContext, name: str) -> int:
    """Asks the outside service for an effect."""

    def post() -> int:
        body = f'{{"key": "{ctx.idempotency_key}"}}'.encode()
        request = urllib.request.Request(f"{LEDGER}/effects/{name}", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return Count.model_validate_json(answer.read()).count

    return await asyncio.to_thread(post)


@agent.capability("conform.echo", effect="read")
async def echo(ctx: TaskContext, input: Any) -> Any:
    """Gives back what it gets."""
    return input


@agent.capability("conform.total", effect="read")
def total(input: Items) -> Total:
    """Adds up an order, in a thread."""
    return Total(total=sum(item.qty for item in input.items), names=[item.name for item in input.items])


@agent.capability(
    "conform.liar",
    effect="read",
    output_schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
)
async def liar(ctx: TaskContext, input: Any) -> Any:
    """Does not keep to what it declares."""
    return {"n": "three"}


@agent.capability("conform.fail")
async def fail(ctx: TaskContext, input: Failing) -> dict[str, int]:
    """Fails until an attempt."""
    if ctx.attempt >= input.until:
        return {"attempt": ctx.attempt}
    if input.kind == "exception":
        raise RuntimeError("boom")
    raise TaskError("no such page", retryable=input.kind == "retryable")


@agent.capability("conform.identity", effect="read")
async def identity(ctx: TaskContext, input: Any) -> dict[str, Any]:
    """Returns its identity."""
    return {
        "attempt": ctx.attempt,
        "step": ctx.step,
        "workflow": ctx.workflow,
        "keyed": ctx.idempotency_key != "",
        "traced": len(ctx.traceparent) == 55,
    }


@agent.capability("conform.effect")
async def journaled(ctx: TaskContext, input: Named) -> Count:
    """An effect that is recorded."""
    return Count(count=await ctx.run(input.name, effect, ctx, input.name))


@agent.capability("conform.write", effect="write")
async def write(ctx: TaskContext, input: Named) -> Count:
    """An effect that must not be repeated."""
    return Count(count=await effect(ctx, input.name))


@agent.capability("conform.hold")
async def hold(ctx: TaskContext, input: Named) -> Count:
    """An effect that is not recorded."""
    return Count(count=await effect(ctx, input.name))


@agent.capability("conform.flow")
async def flow(ctx: TaskContext, input: Word) -> dict[str, Any]:
    """A workflow as code."""
    first = await ctx.run("first", effect, ctx, "first")
    echoed = await ctx.call("conform.echo", {"n": 1})
    await ctx.sleep(0.03)
    go = await ctx.wait_signal("go")
    left = ctx.call("conform.effect", Named(name="left"), result_type=Count)
    right = ctx.call("conform.effect", Named(name="right"), result_type=Count)
    sides = await ctx.all(left, right)
    last = await ctx.run("last", effect, ctx, "last")
    counts = [first, last]
    return {
        "word": input.word,
        "echoed": echoed["n"],
        "go": go,
        "sides": sum(side.count for side in sides),
        "counts": counts,
    }


@agent.subscription(
    "conform.ordered",
    name="ordered",
    filter="event.data.n > 5",
    order_by="subject",
    max_deliveries=5,
    back_off=(0.001, 0.001),
    from_start=True,
)
async def ordered(ctx: TaskContext, event: Any) -> None:
    """An event that is handled at the second attempt."""
    about = f"{event['subject']}-{event['data']['n']}"
    await ctx.run("begun", effect, ctx, f"begun-{about}")
    if ctx.attempt == 1:
        raise TaskError("not yet", retryable=True)
    await ctx.run("done", effect, ctx, f"done-{about}")


async def branch(ctx: TaskContext, side: str) -> list[Any]:
    """One of two branches."""
    first = await ctx.run(f"{side}-1", effect, ctx, f"{side}-1")
    echoed = await ctx.call("conform.echo", side)
    second = await ctx.run(f"{side}-2", effect, ctx, f"{side}-2")
    return [first, echoed, second]


@agent.capability("conform.branches")
async def branches(ctx: TaskContext, input: Any) -> dict[str, Any]:
    """Two branches side by side."""
    left, right = await asyncio.gather(branch(ctx, "left"), branch(ctx, "right"))
    return {"left": left, "right": right}


@agent.capability("conform.race")
async def race(ctx: TaskContext, input: Any) -> dict[str, Any]:
    """The first of two answers."""
    slow = ctx.call("conform.effect", Named(name="slow"))
    fast = ctx.call("conform.echo", "fast")
    _, winner = await ctx.race(slow, fast)
    return {"winner": winner}


@agent.capability("conform.listen")
async def listen(ctx: TaskContext, input: Any) -> list[Any]:
    """Three times a signal, or nothing after a while."""
    found = []
    for attempt in range(3):
        position, payload = await ctx.race(ctx.wait_signal("go"), ctx.sleep(0.3))
        found.append(payload if position == 0 else None)
        if attempt == 0:
            await ctx.run("between", effect, ctx, "between")
    return found


@agent.capability("conform.shared")
async def shared(ctx: TaskContext, input: Any) -> list[Any]:
    """Reads and writes shared state."""
    space = ctx.state("conform")
    before = await space.get("count")
    await space.put("count", 1, seen=0)
    await ctx.run("between", effect, ctx, "between")
    found = await space.get("count", result_type=int)
    assert found is not None
    stale = None
    try:
        await space.put("count", 2, seen=0)
    except TaskError as error:
        stale = error.code
    written = await space.put("count", found.value + 1, seen=found.version)
    key = {"space": "conform", "key": "count"}
    done = await ctx.transact({"if": [{**key, "equals": 2}], "do": [{**key, "op": "delete"}]})
    first = None if before is None else before.value
    return [first, found.value, stale, written.outcome, done.succeeded, done.results[0].outcome]


@agent.capability("conform.question")
async def question(ctx: TaskContext, input: Any) -> dict[str, Any]:
    """Goes past a first question, and waits for the answer to a second one."""
    await ctx.race(ctx.wait_approval("first?"), ctx.sleep(0.3))
    await ctx.run("between", effect, ctx, "between")
    answer = await ctx.wait_approval("second?")
    return {"approved": answer.approved, "by": answer.by, "comment": answer.comment, "value": answer.value}


class Address(BaseModel):
    """The payload of a signal, and the input of an update."""

    city: str


@agent.capability("conform.address")
async def address(ctx: TaskContext, input: Any) -> str:
    """Waits for a signal with a type."""
    return (await ctx.wait_signal("go", result_type=Address)).city


@agent.capability("conform.asked")
async def asked(ctx: TaskContext, input: Any) -> list[str]:
    """Exposes values, answers an update and rejects another."""
    await ctx.expose("stage", {"n": 1})
    await ctx.set_labels({"stage": "asked"})
    move = await ctx.wait_update("move", result_type=Address)
    await ctx.run("between", effect, ctx, "between")
    await move.answer({"moved": move.input.city})
    await ctx.expose("stage", {"n": 2})
    late = await ctx.wait_update("move", result_type=Address)
    await late.reject("too late")
    return [move.input.city, late.input.city]


@agent.capability("conform.titled")
async def titled(ctx: TaskContext, input: Any) -> Any:
    """What people see has titles."""
    echoed = await ctx.call("conform.echo", "booked", title="inn" if TWO else "hotel")
    await ctx.race(ctx.wait_signal("go", title="desk"), ctx.sleep(3600, title="night"))
    return echoed


@agent.capability("conform.approve")
async def approve(ctx: TaskContext, input: Any) -> dict[str, Any]:
    """Asks a person."""
    answer = await ctx.wait_approval("ship it?", {"version": 3})
    return {"approved": answer.approved, "by": answer.by, "comment": answer.comment, "value": answer.value}


@agent.capability("conform.diverge")
async def diverge(ctx: TaskContext, input: Any) -> Any:
    """Makes another request in its second variant."""
    await ctx.run("two" if TWO else "one", lambda: 1)
    return await ctx.wait_signal("go")


@agent.capability("conform.detail")
async def detail(ctx: TaskContext, input: Any) -> Any:
    """Asks a person about something else in its second variant."""
    answer = await ctx.wait_approval("ship it?", "x" * 40_000 if TWO else {"version": 3})
    return {"approved": answer.approved, "by": answer.by, "comment": answer.comment, "value": answer.value}


async def echo_and_wait(ctx: TaskContext, input: Any) -> dict[str, Any]:
    """Calls `conform.echo` and waits for a signal."""
    echoed = await ctx.call("conform.echo", input)
    return {"echoed": echoed, "go": await ctx.wait_signal("go")}


@agent.capability("conform.reordered")
async def reordered(ctx: TaskContext, input: Any) -> dict[str, Any]:
    """Writes the members of an input in another order in its second variant."""
    return await echo_and_wait(ctx, {"b": [2.5, "x"], "a": 1} if TWO else {"a": 1, "b": [2.5, "x"]})


@agent.capability("conform.changed")
async def changed(ctx: TaskContext, input: Any) -> dict[str, Any]:
    """Calls with another input in its second variant."""
    return await echo_and_wait(ctx, {"a": 2 if TWO else 1})


@agent.capability("conform.order")
async def order(ctx: TaskContext, input: Any) -> dict[str, Any]:
    """Reserves, pays, waits, and mails; each variant is a deploy."""

    async def reserve() -> None:
        await ctx.run("hold" if VARIANT == "renamed" else "reserve", effect, ctx, "reserve")

    async def pay() -> None:
        await ctx.call("conform.write", {"name": "pay"})

    for act in (pay, reserve) if VARIANT == "swapped" else (reserve, pay):
        await act()
    gift = VARIANT == "patched" and await ctx.patched("gift")
    if gift:
        await ctx.run("gift", effect, ctx, "gift")
    packed = await ctx.wait_signal("packed")
    await ctx.run("mail", effect, ctx, "mail")
    return {"variant": VARIANT, "gift": gift, "packed": packed}


@agent.capability("conform.patched")
async def patched(ctx: TaskContext, input: Any) -> dict[str, Any]:
    """Does more in its second variant, and no longer knows the old path in its third."""
    await ctx.run("begun", effect, ctx, "begun")
    new = VARIANT == "c"
    if VARIANT == "b":
        new = await ctx.patched("more")
    elif new:
        await ctx.deprecate_patch("more")
    if new:
        await ctx.run("more", effect, ctx, "more")
    return {"path": "new" if new else "old", "go": await ctx.wait_signal("go")}


@agent.capability("conform.stream")
async def stream(ctx: TaskContext, input: Any) -> str:
    """Shows partial output."""
    await effect(ctx, "opened")
    ctx.progress("half way")
    ctx.stream("a")
    ctx.stream("b")
    ctx.stream({"n": 1})
    await effect(ctx, "streamed")
    return "ab"


@agent.capability("conform.cancel")
async def cancel(ctx: TaskContext, input: Any) -> None:
    """Cleans up when it is cancelled."""
    # Cancelled code gets `CancelledError` where it awaits, which may be the first effect already.
    try:
        await effect(ctx, "begun")
        await ctx.cancelled
    finally:
        await asyncio.shield(effect(ctx, "cleaned"))


@agent.capability("conform.options")
async def options(ctx: TaskContext, input: Any) -> dict[str, Any]:
    """Calls with a policy of their own."""
    done = await ctx.call(
        "conform.fail", {"kind": "retryable", "until": 3}, retry=Retry(attempts=3, initial=0.001, factor=1, max=0.001)
    )
    code = ""
    try:
        await ctx.call("conform.hold", Named(name="never"), timeout=0.3)
    except ConsortError as error:
        code = error.code
    return {"attempt": done["attempt"], "timed_out": code}


@agent.capability("conform.odd")
async def odd(ctx: TaskContext, input: Odd) -> Any:
    """Cannot be reported, or asks what cannot be asked."""
    await effect(ctx, input.kind)
    if input.kind == "race":
        return await ctx.race([])
    if input.kind == "attempts":
        return await ctx.call("conform.echo", 1, retry=Retry(attempts=0))
    value: Any = 1
    for _ in range(65):
        value = [value]
    return value


if __name__ == "__main__":
    Worker(
        agent,
        address=os.environ.get("CONSORT_ADDRESS", "http://127.0.0.1:7878"),
        concurrency=int(os.environ.get("CONFORM_CREDIT", "8")),
    ).run_forever()
