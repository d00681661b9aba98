"""How an attempt ends, whatever prevents it from saying so.

For: reports that are refused or cannot be made, and requests that cannot be sent. Not for: ordinary ends (see
`test_life`).
Invariant: as in the suite: no test waits for time to pass.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from consort import Agent, Code, ConsortError, Retry, Route, TaskContext, TaskError
from consort._errors import task_error

from .fake import hosting, hosting_code


async def echo(input: Any) -> Any:
    """Answers its input."""
    return input


@pytest.mark.parametrize("span", [float("nan"), float("inf"), -5, -0.5, "30", True, 2**64, timedelta(seconds=-1)])
def test_a_failure_with_a_time_that_is_none_is_refused_where_it_is_made(span: Any) -> None:
    with pytest.raises(ValueError, match=r"the time to try again of `.*` is no span .* \(of the failure: busy\)"):
        TaskError("busy", retry_after=span)


@pytest.mark.parametrize("wrong", [{"hint": 5}, {"code": 5}, {"message": ValueError("x")}])
def test_a_failure_whose_parts_are_no_text_is_refused_where_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="of an error is text, not"):
        ConsortError(**{"message": "busy", **wrong})


async def test_an_attempt_fails_with_the_words_of_a_failure_that_cannot_be_made() -> None:
    def code() -> None:
        raise TaskError("busy", retry_after=float("nan"))

    async with hosting_code(code) as rig:
        rig.offer()
        failure = await rig.failure()
        assert "(of the failure: busy)" in failure.error.message
        assert (failure.retryable, failure.HasField("retry_after_us")) == (True, False)


class Mute(Exception):
    """An exception that has no text."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def changed() -> TaskError:
    """A failure whose author has changed it after it was made."""
    error = TaskError("changed", retry_after=1)
    error.hint = 5  # type: ignore[assignment]
    error.retry_after = float("nan")
    return error


async def test_whatever_is_raised_ends_the_attempt_in_code_and_in_an_effect() -> None:
    class Loop(Exception):
        """An exception that contains itself."""

        exceptions: tuple[Any, ...] = ()

    loop = Loop()
    loop.exceptions = (loop,)
    wrong_code = ConsortError("odd", code="oops")
    raised: list[tuple[BaseException, str]] = [
        (Mute(), "Mute, whose text cannot be read"),
        (loop, "Loop, whose text cannot be read"),
        (wrong_code, "odd"),
        (TaskError("half \ud800", hint="half \ud800"), "half ?"),
    ]

    async def code(ctx: TaskContext, number: int, inside: bool) -> None:
        def fail() -> None:
            raise raised[number][0]

        if inside:
            await ctx.run("effect", fail)
        fail()

    async with hosting_code(code) as rig:
        for number, (_, message) in enumerate(raised):
            for inside in (False, True):
                rig.offer_next(value={"number": number, "inside": inside})
                if inside and not task_error(raised[number][0]).retryable:
                    await rig.session.record_next()
                    recorded: Any = rig
                    assert (await recorded.failure()).error.message == message
                    continue
                assert (await rig.failure()).error.message == message


async def test_a_failure_that_was_changed_after_it_was_made_is_reported_in_fixed_words() -> None:
    async def code(ctx: TaskContext, inside: bool) -> None:
        if inside:
            await ctx.run("effect", lambda: (_ for _ in ()).throw(changed()))
        raise changed()

    async with hosting_code(code) as rig:
        for inside in (False, True):
            rig.offer_next(value={"inside": inside})
            failure = await rig.failure()
            assert failure.error.code == Code.AGENT_FAILED
            assert "cannot be" in failure.error.message


async def test_a_result_that_the_server_refuses_becomes_a_permanent_failure(caplog: pytest.LogCaptureFixture) -> None:
    async with hosting_code(echo) as rig:
        rig.offer(value="x")
        assert await rig.output() == "x"
        rig.session.refuse(Code.LIMIT_REACHED, "the output nests too deep")
        failure = await rig.failure()
        assert (failure.error.code, failure.error.message) == (Code.LIMIT_REACHED, "the output nests too deep")
        assert not failure.retryable
        # A failure that is refused too is said once more, in fixed words; then the worker says nothing more.
        rig.session.refuse(Code.BAD_JSON, "the failure cannot be read")
        assert (await rig.failure()).error.message.startswith("the attempt ended, but")
        rig.session.refuse(Code.BAD_JSON, "nor this one")
        rig.session.drain()
        assert await rig.session.next() is None
    refusals = [record for record in caplog.records if "was refused" in record.getMessage()]
    assert [record.levelno for record in refusals] == [logging.WARNING] * 3


async def test_a_result_of_an_attempt_that_is_no_longer_the_owners_is_dropped() -> None:
    async with hosting_code(echo) as rig:
        rig.offer(value="x")
        assert await rig.output() == "x"
        rig.session.refuse(Code.FENCED, "a newer attempt is at work")
        rig.session.drain()
        assert await rig.session.next() is None


async def test_a_refused_result_is_a_failure_after_a_reconnect_too() -> None:
    async with hosting_code(echo) as rig:
        rig.offer(value="x")
        assert await rig.output() == "x"
        rig.session.refuse(Code.LIMIT_REACHED, "too deep")
        assert (await rig.failure()).error.code == Code.LIMIT_REACHED
        await rig.reconnect()
        assert (await rig.failure()).error.code == Code.LIMIT_REACHED, "it is delivered again, not the result"


async def test_a_refusal_with_an_unknown_code_ends_its_attempt_alone() -> None:
    async def code(ctx: TaskContext) -> None:
        await ctx.call("other")

    async with hosting_code(code) as rig:
        rig.offer()
        await rig.session.entry()
        rig.session.refuse("", "for a reason of a newer server")
        failure = await rig.failure()
        assert (failure.error.code, failure.error.message) == (Code.INTERNAL, "for a reason of a newer server")


BAD: list[tuple[str, Any]] = [
    ("the pause of `-1`", lambda ctx: ctx.sleep(-1)),
    ("the pause of `nan`", lambda ctx: ctx.sleep(float("nan"))),
    ("the pause of `9223372036854775808`", lambda ctx: ctx.sleep(2**63)),
    ("the pause of `'1h'`", lambda ctx: ctx.sleep("1h")),
    ("the timeout of `inf`", lambda ctx: ctx.call("x", timeout=float("inf"))),
    ("the timeout of `9223372036854775808`", lambda ctx: ctx.call("x", timeout=2**63)),
    ("the priority of `1.5`", lambda ctx: ctx.call("x", priority=1.5)),
    ("the priority of `1099511627776`", lambda ctx: ctx.call("x", priority=2**40)),
    ("the attempts of `0`", lambda ctx: ctx.call("x", retry=Retry(0))),
    ("the attempts of `1099511627776`", lambda ctx: ctx.call("x", retry=Retry(2**40))),
    ("the attempts of `2.5`", lambda ctx: ctx.call("x", retry=Retry(2.5))),  # type: ignore[arg-type]
    ("the factor of `nan`", lambda ctx: ctx.call("x", retry=Retry(2, factor=float("nan")))),
    ("the factor of `0.5`", lambda ctx: ctx.call("x", retry=Retry(2, factor=0.5))),
    ("the first pause of `9223372036854775808`", lambda ctx: ctx.call("x", retry=Retry(2, initial=2**63))),
    ("the longest pause of `-1`", lambda ctx: ctx.call("x", retry=Retry(2, max=-1))),
    ("the capability of `5`", lambda ctx: ctx.call(5)),
    ("the name of `None`", lambda ctx: ctx.wait_signal(None)),
    ("the name of `5`", lambda ctx: ctx.run(5, int)),
    ("the prompt of `5`", lambda ctx: ctx.wait_approval(5)),
    ("the sticky of `5`", lambda ctx: ctx.call("x", route=Route(sticky=5))),  # type: ignore[arg-type]
    ("the request cannot be sent", lambda ctx: ctx.wait_signal("\ud800")),
    ("the request cannot be sent", lambda ctx: ctx.call("x", route=Route(labels={"a": 5}))),  # type: ignore[dict-item]
    ("the request cannot be sent", lambda ctx: ctx.stream("half \ud800")),
    ("a race needs at least one answer", lambda ctx: ctx.race()),
    ("a race needs at least one answer", lambda ctx: ctx.race([])),
]


@pytest.mark.parametrize(("message", "ask"), BAD, ids=[f"{number}" for number in range(len(BAD))])
async def test_what_cannot_be_asked_fails_permanently_in_the_code_that_asks_it(message: str, ask: Any) -> None:
    agent = Agent("test")

    @agent.capability("work")
    async def work(ctx: TaskContext) -> None:
        await ask(ctx)

    agent.add(echo, "neighbour")
    async with hosting(agent) as rig:
        rig.offer()
        failure = await rig.failure()
        assert (failure.error.code, failure.retryable) == (Code.BAD_REQUEST, False)
        assert failure.error.message.startswith(message)
        rig.offer(value=1, task="task-1", capability="neighbour")
        assert await rig.output() == 1
