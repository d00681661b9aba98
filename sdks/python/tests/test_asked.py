"""What code shows and answers: exposed values, labels, updates.

For: the entries that the SDK makes of them, and that a replay shows and answers nothing again. Not for: what the server
does with them.
Invariant: a server that is played by hand, or none.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from consort import Agent, TaskContext, TaskError
from consort.testing import replay_task, run_task

from .fake import hosting_code


class Place(BaseModel):
    """Where something goes."""

    city: str


async def asked(ctx: TaskContext, input: Any) -> Any:
    await ctx.expose("stage", {"n": 1})
    await ctx.set_labels({"stage": "asked"})
    update = await ctx.wait_update("move", result_type=Place)
    if update.input.city == "nowhere":
        await update.reject("no such place")
    else:
        await update.answer({"moved": update.input.city})
    return [update.id, update.input.city]


async def test_each_use_is_an_entry() -> None:
    async with hosting_code(asked) as rig:
        rig.offer()
        exposed = (await rig.session.entry()).entry
        assert (exposed.expose.name, exposed.expose.value) == ("stage", b'{"n":1}')
        exposed.output = b"null"
        rig.session.record("task-0", 0, exposed)
        labels = (await rig.session.entry()).entry
        assert dict(labels.labels.labels) == {"stage": "asked"}
        labels.output = b"null"
        rig.session.record("task-0", 1, labels)
        wait = (await rig.session.entry()).entry
        assert (wait.update.name, b'"city"' in wait.update.schema) == ("move", True)
        wait.output = b'{"id":"u1","input":{"city":"Bonn"}}'
        rig.session.record("task-0", 2, wait)
        answer = (await rig.session.entry()).entry
        assert (answer.answer.update, answer.answer.value) == (2, b'{"moved":"Bonn"}')
        answer.output = b"null"
        rig.session.record("task-0", 3, answer)
        assert await rig.output() == ["u1", "Bonn"]


async def test_a_replay_compares_names_and_the_position_of_the_update() -> None:
    journal: list[dict[str, Any]] = [
        {"kind": "expose", "name": "stage", "value": 7, "output": None},
        {"kind": "labels", "labels": {"other": "label"}, "output": None},
        {"kind": "update", "name": "move", "output": {"id": "u1", "input": {"city": "nowhere"}}},
        {"kind": "answer", "update": 2, "value": 1, "output": None},
    ]
    agent = Agent("test")
    agent.capability("asked")(asked)
    replayed = await replay_task(agent, "asked", None, journal=journal)
    assert replayed.fits
    journal[3]["update"] = 1
    replayed = await replay_task(agent, "asked", None, journal=journal)
    assert replayed.divergence is not None
    assert replayed.divergence.found == "answer to the update of entry 2"


async def test_a_test_sends_updates_of_its_own() -> None:
    agent = Agent("test")
    agent.capability("asked")(asked)
    update, city = await run_task(agent, "asked", updates={"move": [{"city": "Bonn"}]})
    assert (update.startswith("update-"), city) == (True, "Bonn")
    with pytest.raises(TypeError, match="the update `move`"):
        await run_task(agent, "asked", updates={"move": "Bonn"})


async def test_an_update_that_lost_a_race_is_closed() -> None:
    async def code(ctx: TaskContext, input: Any) -> Any:
        position, _ = await ctx.race(ctx.wait_update("move"), ctx.sleep(2))
        await ctx.expose("position", position)
        return position

    async with hosting_code(code) as rig:
        rig.offer()
        await rig.session.record_next()
        pause = (await rig.session.entry()).entry
        pause.output = b"null"
        rig.session.record("task-0", 1, pause)
        await rig.session.record_next()
        closed = (await rig.session.entry()).entry
        assert list(closed.forget.entries) == [0]


async def test_what_cannot_be_sent_is_refused_by_name() -> None:
    async def code(ctx: TaskContext, input: Any) -> Any:
        with pytest.raises(TaskError, match="no text"):
            ctx.expose(7, 1)  # type: ignore[arg-type]
        with pytest.raises(TaskError):
            ctx.set_labels({"a": 7})  # type: ignore[dict-item]
        return True

    async with hosting_code(code) as rig:
        rig.offer()
        assert await rig.output() is True
