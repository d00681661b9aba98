"""Changing code while tasks are in flight: patches, and replaying recorded journals.

For: `patched`, `deprecate_patch` and `consort.testing.replay_task`. Not for: what the server does (the conformance
scenarios have that).
Invariant: a server that is played by hand, or none.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from consort import Agent, Code, TaskContext, TaskError
from consort.testing import Divergence, replay_task, run_task

from .fake import hosting_code, run, signal


async def changed(ctx: TaskContext, input: Any) -> Any:
    """An effect that a change put a fee behind."""
    first = await ctx.run("price", lambda: 10)
    fee = await ctx.run("fee", lambda: 2) if await ctx.patched("fee") else 0
    again = await ctx.patched("fee")
    return [first, fee, again, await ctx.wait_signal("go")]


async def deprecated(ctx: TaskContext, input: Any) -> Any:
    """The same when no task is left on the old path."""
    first = await ctx.run("price", lambda: 10)
    await ctx.deprecate_patch("fee")
    fee = await ctx.run("fee", lambda: 2)
    return [first, fee, await ctx.wait_signal("go")]


async def test_a_marker_is_durable_before_the_code_takes_the_new_path() -> None:
    async with hosting_code(changed) as rig:
        rig.offer()
        await rig.session.record_next()
        marker = await rig.session.entry()
        assert (marker.index, marker.entry.run.name, marker.entry.output) == (1, "patch:fee", b"true")
        rig.session.record("task-0", 1, marker.entry)
        fee = await rig.session.entry()
        assert (fee.index, fee.entry.run.name, list(fee.entry.after)) == (2, "fee", [1])
        rig.session.record("task-0", 2, fee.entry)
        wait = await rig.session.entry()
        assert wait.index == 3, "the second question made no entry"
        rig.session.record("task-0", 3, signal("go", "ok"))
        assert await rig.output() == [10, 2, True, "ok"]


@pytest.mark.parametrize(
    ("journal", "output"),
    [
        ([run("price", 7), signal("go", "ok", after=[0])], [7, 0, False, "ok"]),
        (
            [
                run("price", 7),
                run("patch:fee", True, after=[0]),
                run("fee", 3, after=[1]),
                signal("go", "ok", after=[2]),
            ],
            [7, 3, True, "ok"],
        ),
    ],
    ids=["begun before the patch", "begun with the patch"],
)
async def test_a_task_stays_on_the_path_that_its_journal_shows(journal: Any, output: Any) -> None:
    async with hosting_code(changed) as rig:
        rig.offer(journal)
        assert await rig.output() == output


async def test_a_deprecated_patch_passes_over_its_marker_and_records_none() -> None:
    begun = [run("price", 7), run("patch:fee", True, after=[0]), run("fee", 3, after=[1]), signal("go", 1, after=[2])]
    later = [run("price", 7), run("fee", 3, after=[0]), signal("go", 1, after=[1])]
    for journal in [begun, later]:
        async with hosting_code(deprecated) as rig:
            rig.offer(journal)
            assert await rig.output() == [7, 3, 1]
    async with hosting_code(deprecated) as rig:
        rig.offer()
        assert [(await rig.session.record_next()).run.name for _ in range(2)] == ["price", "fee"]


async def test_branches_that_ask_for_one_patch_replay_what_they_recorded() -> None:
    agent = Agent("branches")

    async def branch(ctx: TaskContext, side: str) -> list[Any]:
        said = await ctx.call("echo", side)
        new = await ctx.patched("fee")
        return [said, new, await ctx.run(side, lambda: 1) if new else None]

    @agent.capability("both")
    async def both(ctx: TaskContext, input: Any) -> Any:
        return await asyncio.gather(branch(ctx, "left"), branch(ctx, "right"), ctx.patched("fee"))

    # It runs twice: a replay that requests in another order fails.
    found = await run_task(agent, "both", calls=lambda _capability, side: side)
    assert found == [["left", True, 1], ["right", True, 1], True]


async def test_names_of_markers_are_reserved_and_a_patch_must_be_awaited() -> None:
    async def code(ctx: TaskContext, input: Any) -> Any:
        errors = []
        for attempt in (
            lambda: ctx.run("patch:x", lambda: 1),
            lambda: ctx.patched(5),  # type: ignore[arg-type]
            lambda: bool(ctx.patched("x")),
        ):
            with pytest.raises((TaskError, TypeError)) as error:
                attempt()
            errors.append(str(error.value))
        return errors

    async with hosting_code(code) as rig:
        rig.offer()
        await rig.session.record_next()
        reserved, no_text, not_awaited = await rig.output()
        assert "`patch:x`" in reserved
        assert "the name of `5` is no text" in no_text
        assert "await" in not_awaited


# Replaying a recorded journal.

RECORDED: list[dict[str, Any]] = [
    {"entry": 0, "kind": "run", "name": "price", "output": 7},
    {"entry": 1, "kind": "call", "capability": "ship", "input": {"b": 1, "a": 2}, "after": [0], "output": None},
    {"entry": 2, "kind": "sleep", "span": "1h30m", "after": [1], "output": None},
    {"entry": 3, "kind": "signal", "name": "go", "after": [2]},
]


def shop(*, fee: bool = False, patch: bool = False, hasty: bool = False) -> Agent:
    agent = Agent("shop")

    @agent.capability("order")
    async def order(ctx: TaskContext, input: dict[str, int]) -> Any:
        def price() -> int:
            raise AssertionError("a replay does nothing")

        await ctx.run("price", price)
        if fee and (not patch or await ctx.patched("fee")):
            await ctx.run("fee", price)
        await ctx.call("ship", {"a": 2, "b": 1})
        if hasty:
            raise TaskError("the shop is shut")
        await ctx.sleep(5400)
        await ctx.wait_signal("go")
        return await ctx.run("bill", price)

    return agent


async def test_a_recorded_journal_shows_whether_code_fits() -> None:
    replayed = await replay_task(shop(), "order", {}, RECORDED)
    assert (replayed.fits, replayed.entries, replayed.waiting) == (True, 4, (3,))
    # The text of the page that has the entries, with the wait answered: the code continues with what is not recorded.
    page = json.dumps({"items": [*RECORDED[:3], {**RECORDED[3], "output": 1}], "next": None})
    replayed = await replay_task(shop(), "order", {}, page)
    assert (replayed.fits, replayed.entries, replayed.waiting) == (True, 4, ())


async def test_a_recorded_journal_shows_where_changed_code_differs() -> None:
    replayed = await replay_task(shop(fee=True), "order", {}, RECORDED)
    assert not replayed.fits
    assert replayed.divergence == Divergence(1, 'call `ship` with `{"b":1,"a":2}`', "run `fee`")
    replayed = await replay_task(shop(hasty=True), "order", {}, RECORDED)
    assert replayed.divergence == Divergence(2, "sleep `1h30m`", "the failure `the shop is shut`")
    # The wait for the signal has no answer, so the code does not get to what is recorded behind it.
    behind = [*RECORDED, {"kind": "run", "name": "bill", "output": 1}]
    replayed = await replay_task(shop(), "order", {}, behind)
    assert replayed.divergence == Divergence(4, "run `bill`", "a wait for entry 3, which has no answer")


async def test_patched_makes_changed_code_fit_a_recorded_journal() -> None:
    assert (await replay_task(shop(fee=True, patch=True), "order", {}, RECORDED)).fits
    begun_with_it = [RECORDED[0], {"kind": "run", "name": "patch:fee", "output": True, "after": [0]}]
    for journal in [RECORDED[:1], begun_with_it]:
        assert (await replay_task(shop(fee=True, patch=True), "order", {}, journal)).fits
    replayed = await replay_task(shop(), "order", {}, begun_with_it)
    assert replayed.divergence == Divergence(1, "run `patch:fee`", 'call `ship` with `{"a":2,"b":1}`')


async def test_failures_at_the_end_fit_and_what_is_no_journal_is_refused() -> None:
    failed = [*RECORDED[:1], {**RECORDED[1], "error": {"code": "C0305", "message": "too late"}}]
    del failed[1]["output"]
    replayed = await replay_task(shop(), "order", {}, failed)
    assert replayed.fits
    assert replayed.failure is not None
    assert replayed.failure.code == Code.TIMED_OUT
    with pytest.raises(TaskError, match=r"items\[0\]"):
        await replay_task(shop(), "order", {}, [{"kind": "dance"}])
    with pytest.raises(TaskError, match="no capability `sing`"):
        await replay_task(shop(), "sing", {}, [])
