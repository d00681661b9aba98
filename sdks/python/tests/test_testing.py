"""The means by which agents are tested without a server.

For: `consort.testing`. Not for: the SDK's own tests.
Invariant: nothing here connects.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from consort import Agent, Approval, Code, TaskContext, TaskError
from consort.testing import run_task


async def test_code_runs_against_answers_of_the_test_and_again_on_its_journal() -> None:
    agent = Agent("shop")
    numbers: list[int] = []

    @agent.capability("order")
    async def order(ctx: TaskContext, items: list[str]) -> dict[str, Any]:
        def number() -> int:
            numbers.append(4711)
            return numbers[-1]

        found = await ctx.run("number", number)
        prices = await ctx.all(ctx.call("price", item, result_type=int) for item in items)
        await ctx.sleep(3600)
        paid = await ctx.wait_signal("paid", result_type=bool)
        decision = await ctx.wait_approval("ship?", {"total": sum(prices)})
        ctx.progress("shipping")
        return {"number": found, "total": sum(prices), "paid": paid, "by": decision.by}

    async def price(capability: str, item: str) -> int:
        assert capability == "price"
        return len(item)

    found = await run_task(
        agent,
        "order",
        {"items": ["tea", "milk"]},
        calls=price,
        signals={"paid": [True]},
        approve=lambda prompt, detail: Approval(approved=detail["total"] == 7, by=prompt),
    )
    assert found == {"number": 4711, "total": 7, "paid": True, "by": "ship?"}
    assert numbers == [4711], "the replay did nothing again"


async def test_code_that_is_not_deterministic_is_found() -> None:
    agent = Agent("dice")
    rolls = iter([1, 2])

    @agent.capability("name")
    async def name(ctx: TaskContext) -> None:
        await ctx.call(f"roll-{next(rolls)}")

    @agent.capability("value")
    async def value() -> float:
        return random.random()  # noqa: S311

    with pytest.raises(TaskError) as error:
        await run_task(agent, "name", calls=lambda _name, _input: None)
    assert error.value.code == Code.JOURNAL_DIVERGED
    with pytest.raises(TaskError, match="a replay gave"):
        await run_task(agent, "value")
    assert 0 <= await run_task(agent, "value", replay=False) < 1


async def test_failures_and_waits_without_an_answer_are_errors() -> None:
    agent = Agent("fails")

    @agent.capability("fail")
    async def fail(ctx: TaskContext) -> None:
        await ctx.call("other")

    @agent.capability("wait")
    async def wait(ctx: TaskContext) -> None:
        await ctx.wait_signal("never")

    def refuse(_name: str, _input: Any) -> None:
        raise TaskError("no", code=Code.OVERLOADED)

    with pytest.raises(TaskError) as failed:
        await run_task(agent, "fail", calls=refuse)
    assert (failed.value.code, failed.value.retryable) == (Code.OVERLOADED, False)
    with pytest.raises(TaskError, match=r"waits for entries \[0\]"):
        await run_task(agent, "wait")
    with pytest.raises(TaskError, match="no capability `other`"):
        await run_task(agent, "other")


@pytest.mark.parametrize("signals", [{"go": True}, {"go": "yes"}, {"go": {"a": 1}}, ["go"]])
async def test_signals_of_a_wrong_shape_are_refused_by_name(signals: Any) -> None:
    agent = Agent("waits")

    @agent.capability("wait")
    async def wait(ctx: TaskContext) -> Any:
        return await ctx.wait_signal("go")

    with pytest.raises(TypeError, match=r"the signal `go` has .*; write `\[.*\]`|`signals` is"):
        await run_task(agent, "wait", signals=signals)
    assert await run_task(agent, "wait", signals={"go": [True]}) is True
