"""The journal of a task, from the agent's code to the wire and back.

For: recording, replay, parking, divergence. Not for: the life of a session (see `test_life`).
Invariant: every test plays the server by hand; nothing answers by itself.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from consort import Code, TaskContext, TaskError

from .fake import call, failed, hosting_code, recorded, run, signal, sleep


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


async def test_the_server_has_the_last_word_on_a_result() -> None:
    async with hosting_code(two_effects) as rig:
        rig.offer()
        await rig.session.entry()
        rig.session.record("task-0", 0, run("first", 1))
        await rig.session.record_next()
        assert await rig.output() == [1, 6]


async def test_replay_answers_from_the_journal_and_does_nothing_again() -> None:
    def never() -> int:
        raise AssertionError("it was recorded")

    async def code(ctx: TaskContext) -> list[int]:
        return [await ctx.run("old", never), await ctx.run("new", lambda: 2)]

    async with hosting_code(code) as rig:
        rig.offer([run("old", 1)])
        found = await rig.session.entry()
        assert (found.index, found.entry.run.name) == (1, "new")
        rig.session.record("task-0", 1, found.entry)
        assert await rig.output() == [1, 2]


async def test_a_permanent_failure_of_an_effect_is_recorded_and_a_retryable_one_is_not() -> None:
    async def code(ctx: TaskContext, input: bool) -> None:
        def risky() -> None:
            if input:
                raise TaskError("never")
            raise OSError("later")

        with pytest.raises(TaskError) as failure:
            await ctx.run("risky", risky)
        # Code that continues all the same must not record what depends on an outcome that is not recorded.
        if failure.value.retryable:
            with pytest.raises(TaskError):
                ctx.run("after", lambda: 1)
        else:
            await ctx.run("after", lambda: 1)
        raise failure.value

    async with hosting_code(code) as rig:
        rig.offer([], value=True)
        recorded = await rig.session.record_next()
        assert (recorded.error.code, recorded.error.message) == (Code.AGENT_FAILED, "never")
        await rig.session.record_next()
        assert not (await rig.failure()).retryable
        rig.offer_next([], value=False)
        found = await rig.failure()
        assert (found.error.message, found.retryable) == ("OSError: later", True)


async def test_calls_run_side_by_side_and_answers_before_a_park_need_none() -> None:
    async with hosting_code(two_calls) as rig:
        rig.offer()
        assert await rig.session.record_next() == call("a", 1)
        assert await rig.session.record_next() == call("b", 2)
        rig.session.record("task-0", 1, call("b", 2, 20))
        rig.session.record("task-0", 0, call("a", 1, 10))
        assert await rig.output() == [10, 20]


async def test_a_task_that_only_waits_parks_and_resumes_under_the_same_or_a_newer_token() -> None:
    async with hosting_code(two_calls) as rig:
        rig.offer()
        await rig.session.record_next()
        await rig.session.record_next()
        assert await rig.parked() == [0, 1]
        rig.offer([call("a", 1, 10), call("b", 2)])
        assert await rig.parked() == [1]
        rig.offer_next([call("a", 1, 10), call("b", 2, 20)])
        assert await rig.output() == [10, 20]


async def test_code_that_parks_can_clean_up_but_not_record() -> None:
    seen: list[str] = []

    async def code(ctx: TaskContext) -> None:
        try:
            await ctx.call("slow")
        except asyncio.CancelledError:
            seen.append(f"cancelled {bool(ctx.cancelled)}")
            raise
        finally:
            await asyncio.sleep(0)
            try:
                ctx.run("clean up", lambda: seen.append("ran"))
            except asyncio.CancelledError:
                seen.append("refused")
                raise

    async with hosting_code(code) as rig:
        rig.offer()
        await rig.session.record_next()
        assert await rig.parked() == [0]
        # What parks is no longer wanted, but it was not cancelled from outside.
        assert seen == ["cancelled False", "refused"]
        rig.session.drain()
        assert await rig.session.next() is None


async def test_a_branch_that_is_left_over_ends_with_its_task() -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def code(ctx: TaskContext) -> int:
        branch = asyncio.create_task(forever())
        value: int = await ctx.run("one", lambda: 1)
        assert not branch.done()
        return value

    async with hosting_code(code) as rig:
        rig.offer()
        await rig.session.record_next()
        assert await rig.output() == 1
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_task_does_not_park_before_its_requests_are_durable() -> None:
    async with hosting_code(two_calls, server={"beat_us": 150_000}, park_after=0.001) as rig:
        rig.offer()
        a, b = await rig.session.entry(), await rig.session.entry()
        # Signs of life come after the time to park has long passed.
        for _ in range(3):
            message = await rig.session.next_of_all()
            assert message is not None
            assert message.HasField("alive")
        rig.session.record("task-0", 0, a.entry)
        rig.session.record("task-0", 1, b.entry)
        assert await rig.parked() == [0, 1]


async def test_a_local_effect_keeps_its_task_from_parking_and_holds_back_later_entries() -> None:
    gate = asyncio.Event()

    async def slow() -> int:
        await gate.wait()
        return 1

    async def code(ctx: TaskContext) -> int:
        first, quick = ctx.run("slow", slow), ctx.call("quick", 0, result_type=int)
        ctx.progress("waiting")
        return await first + await quick

    async with hosting_code(code, park_after=0) as rig:
        rig.offer()
        message = await rig.session.next()
        assert message is not None
        assert message.progress.message == "waiting"
        gate.set()
        assert await rig.session.record_next() == run("slow", 1)
        assert (await rig.session.entry()).entry == call("quick", 0)
        rig.session.record("task-0", 1, call("quick", 0, 2))
        assert await rig.output() == 3


async def test_a_fan_out_parks_for_its_first_open_call() -> None:
    async def code(ctx: TaskContext) -> list[int]:
        return await ctx.all(ctx.call("square", n, result_type=int) for n in (1, 2, 3))

    async with hosting_code(code) as rig:
        rig.offer()
        for _ in range(3):
            await rig.session.record_next()
        assert await rig.parked() == [0]
        rig.offer([call("square", n, n * n) for n in (1, 2, 3)])
        assert await rig.output() == [1, 4, 9]


async def branches(ctx: TaskContext) -> list[int]:
    """Two branches of two calls each: which one asks its second call first depends on which answer comes first."""

    async def branch(name: str) -> int:
        first = await ctx.call(name, 1, result_type=int)
        return await ctx.call(name, first + 1, result_type=int)

    return list(await asyncio.gather(branch("a"), branch("b")))


async def test_branches_are_replayed_in_the_order_in_which_answers_came() -> None:
    async with hosting_code(branches) as rig:
        rig.offer()
        await rig.session.record_next()
        await rig.session.record_next()
        # `b` is answered first, and so `b` asks first.
        rig.session.record("task-0", 1, call("b", 1, 5))
        assert await rig.session.record_next() == call("b", 6, after=[1])
        rig.session.record("task-0", 0, call("a", 1, 3))
        assert await rig.session.record_next() == call("a", 4, after=[0])
        assert await rig.parked() == [2, 3]
        # All is answered when it is offered again: still `b` must make its request before `a`.
        rig.offer([call("a", 1, 3), call("b", 1, 5), call("b", 6, 60, after=[1]), call("a", 4, 40, after=[0])])
        assert await rig.output() == [40, 60]


async def test_a_branch_runs_to_its_end_before_the_next_result_is_given() -> None:
    hops = 200

    async def code(ctx: TaskContext) -> list[str]:
        """Each branch takes many rounds of the loop from its answer to its next request."""
        seen: list[str] = []
        lock = asyncio.Lock()

        async def deep(depth: int, name: str) -> str:
            if depth:
                (found,) = await asyncio.gather(deep(depth - 1, name))
                return found
            async with lock:
                await asyncio.sleep(0)
                return name

        async def branch(name: str) -> None:
            await ctx.call(name)
            for _ in range(hops):
                await asyncio.sleep(0)
            seen.append(await deep(20, name))
            await ctx.call(f"{name}-next")

        await asyncio.gather(*(branch(name) for name in "abc"))
        return seen

    async with hosting_code(code) as rig:
        rig.offer()
        for _ in range(3):
            await rig.session.record_next()
        # All at once: still each branch comes to its next request before another one moves.
        rig.session.send(*(recorded(index, call(name, None, index)) for index, name in ((2, "c"), (0, "a"), (1, "b"))))
        for index, name in ((2, "c"), (0, "a"), (1, "b")):
            assert await rig.session.record_next() == call(f"{name}-next", None, after=[index])
        assert await rig.parked() == [3, 4, 5]
        rig.offer(
            [
                *(call(name, None, 0) for name in "abc"),
                *(call(f"{name}-next", None, 0, after=[index]) for index, name in ((2, "c"), (0, "a"), (1, "b"))),
            ]
        )
        assert await rig.output() == ["c", "a", "b"]


async def test_a_journal_without_the_order_of_answers_is_replayed_too_where_the_code_has_one_branch() -> None:
    async with hosting_code(two_effects) as rig:
        rig.offer([run("first", 7), run("second", 42)])
        assert await rig.output() == [7, 42]


async def race(ctx: TaskContext) -> str:
    """A call against a pause; the winner is noted."""
    slow, timeout = ctx.call("slow", 0), ctx.sleep(60)
    winner, value = await ctx.race(slow, timeout)
    return await ctx.run("note", lambda: "timeout" if winner == 1 else str(value))


async def test_a_race_is_decided_by_the_answer_that_came_first_also_on_replay() -> None:
    async with hosting_code(race) as rig:
        # Both are answered by now; by the note, the pause came first.
        rig.offer([call("slow", 0, "late"), sleep(60, None), run("note", "timeout", after=[1])])
        assert await rig.output() == "timeout"
        rig.offer_next([call("slow", 0, "early"), sleep(60, None)])
        note = await rig.session.record_next()
        assert list(note.after) == [0]
        assert await rig.output() == "early"


async def test_a_race_of_branches_has_one_winner_and_cancels_the_others() -> None:
    cancelled: list[str] = []

    async def code(ctx: TaskContext) -> tuple[int, str]:
        async def branch(name: str) -> str:
            try:
                return await ctx.call(name, result_type=str)
            except asyncio.CancelledError:
                cancelled.append(name)
                raise

        return await ctx.race(branch("a"), branch("b"), ctx.call("c", result_type=str))

    async with hosting_code(code) as rig:
        rig.offer()
        # The branches begin when the code waits, and so the third is asked first.
        assert [(await rig.session.record_next()).call.capability for _ in range(3)] == ["c", "a", "b"]
        rig.session.record("task-0", 2, call("b", None, "won"))
        assert await rig.output() == [1, "won"]
        assert cancelled == ["a"]


async def test_signals_bring_their_payload_pauses_end_and_people_decide() -> None:
    async def code(ctx: TaskContext) -> list[Any]:
        await ctx.sleep(3600)
        name = await ctx.wait_signal("name", result_type=str)
        decision = await ctx.wait_approval("send it?", {"to": name})
        return [name, decision.approved, decision.by, decision.comment]

    async with hosting_code(code) as rig:
        rig.offer()
        assert await rig.session.record_next() == sleep(3600)
        assert await rig.parked() == [0]
        rig.offer([sleep(3600, None)])
        waits = await rig.session.record_next()
        assert (waits.signal.name, json.loads(waits.signal.schema), list(waits.after)) == (
            "name",
            {"type": "string"},
            [0],
        )
        rig.session.record("task-0", 1, signal("name", "Ada"))
        asked = await rig.session.record_next()
        assert (asked.approval.prompt, json.loads(asked.approval.detail)) == ("send it?", {"to": "Ada"})
        asked.output = b'{"approved": true, "by": "bob", "comment": null}'
        rig.session.record("task-0", 2, asked)
        assert await rig.output() == ["Ada", True, "bob", None]


@pytest.mark.parametrize(
    ("journal", "found"),
    [
        ([run("other", 1)], "entry 0 is recorded as run `other`, but found run `first`"),
        (
            [run("first", 1), call("x", {"q": 1}, after=[0])],
            'entry 1 is recorded as call `x` with `{"q":1}`, but found run `second`',
        ),
        ([sleep(5400)], "entry 0 is recorded as sleep `1h30m`, but found run `first`"),
        (
            [run("first", 1), run("second", 2), run("third", 3)],
            "entry 2 is recorded as run `third`, but found the end of the code",
        ),
    ],
)
async def test_code_that_takes_another_path_is_told_where(journal: list[Any], found: str) -> None:
    async with hosting_code(two_effects) as rig:
        rig.offer(journal)
        failure = await rig.failure()
        assert (failure.error.code, failure.error.message) == (Code.JOURNAL_DIVERGED, found)
        assert not failure.retryable


async def test_code_cannot_hide_a_divergence() -> None:
    async def code(ctx: TaskContext) -> str:
        with pytest.raises(TaskError):
            ctx.run("mine", lambda: 1)
        return "all is well"

    async with hosting_code(code) as rig:
        rig.offer([run("other", 1)])
        assert (await rig.failure()).error.code == Code.JOURNAL_DIVERGED


async def test_the_input_of_a_call_may_be_written_otherwise_and_its_options_may_differ() -> None:
    async def code(ctx: TaskContext) -> int:
        return await ctx.call("a", {"y": [1, 2.5], "x": "é"}, timeout=3, result_type=int)

    async with hosting_code(code) as rig:
        entry = call("a", None, 1)
        entry.call.input = b' { "x": "\\u00e9", "y":[1,2.5]}'
        rig.offer([entry])
        assert await rig.output() == 1


async def test_an_integer_is_the_same_input_as_a_float_of_its_value() -> None:
    async with hosting_code(two_calls) as rig:
        rig.offer([call("a", 1.0, 1), call("b", 2.0, 2)])
        assert await rig.output() == [1, 2]


async def test_a_failed_call_is_permanent_and_keeps_its_code() -> None:
    async with hosting_code(two_calls) as rig:
        rig.offer()
        await rig.session.record_next()
        await rig.session.record_next()
        for index, name in enumerate("ab"):
            entry = failed(call(name, index + 1), Code.TIMED_OUT, f"{name} was slow")
            rig.session.record("task-0", index, entry)
        failure = await rig.failure()
        assert (failure.error.code, failure.error.message) == (Code.TIMED_OUT, "a was slow")
        assert not failure.retryable


async def test_a_failure_in_a_task_group_is_the_failure_of_the_branch() -> None:
    groups: Any = getattr(asyncio, "TaskGroup", None)
    if groups is None:
        pytest.skip("Python 3.10 has no task groups")

    async def code(ctx: TaskContext) -> None:
        async with groups() as group:
            group.create_task(ctx.call("a"))
            group.create_task(ctx.call("b"))

    async with hosting_code(code) as rig:
        rig.offer()
        await rig.session.record_next()
        await rig.session.record_next()
        rig.session.record("task-0", 1, failed(call("b", None), Code.AGENT_FAILED, "no"))
        failure = await rig.failure()
        assert (failure.error.message, failure.retryable) == ("no", False)


async def test_an_answer_of_another_type_is_named_by_its_path() -> None:
    async def code(ctx: TaskContext) -> list[int]:
        return await ctx.call("list", 0, result_type=list[int])

    async with hosting_code(code) as rig:
        rig.offer([call("list", 0, [1, "two"])])
        failure = await rig.failure()
        assert (failure.error.code, failure.retryable) == (Code.BAD_OUTPUT, False)
        assert failure.error.message.startswith("the answer does not fit at `$[1]`: input should be a valid integer")


async def test_the_journal_cannot_be_used_inside_an_effect() -> None:
    async def code(ctx: TaskContext) -> int:
        async def outer() -> int:
            return await ctx.call("x", 0, result_type=int)

        return await ctx.run("outer", outer)

    async with hosting_code(code) as rig:
        rig.offer()
        assert (await rig.session.record_next()).error.code == Code.BAD_REQUEST
        assert (await rig.failure()).error.code == Code.BAD_REQUEST


async def test_a_dropped_effect_is_recorded_as_cancelled_so_that_later_entries_can_follow() -> None:
    stopped = asyncio.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def code(ctx: TaskContext) -> int:
        waits = asyncio.ensure_future(ctx.run("never", never))
        await asyncio.sleep(0)
        waits.cancel()
        return await ctx.run("next", lambda: 2)

    async with hosting_code(code) as rig:
        rig.offer()
        assert (await rig.session.record_next()).error.code == Code.CANCELLED
        await rig.session.record_next()
        assert await rig.output() == 2
        assert stopped.is_set()


async def test_after_a_reconnect_open_entries_are_asked_again_and_the_attempt_goes_on() -> None:
    async with hosting_code(two_calls) as rig:
        rig.offer()
        await rig.session.entry()
        b = await rig.session.entry()
        await rig.reconnect()
        assert [(held.task, held.token) for held in rig.session.hello.instances[0].held] == [("task-0", 1)]
        assert (await rig.session.entry()).index == 0
        again = await rig.session.entry()
        assert (again.index, again.entry) == (1, b.entry)
        rig.session.record("task-0", 0, call("a", 1, 1))
        rig.session.record("task-0", 1, call("b", 2, 2))
        assert await rig.output() == [1, 2]


async def test_a_refused_entry_fails_the_attempt_with_the_reason() -> None:
    async with hosting_code(two_calls) as rig:
        rig.offer()
        await rig.session.entry()
        await rig.session.entry()
        rig.session.refuse(Code.LIMIT_REACHED, "too deep")
        failure = await rig.failure()
        assert (failure.error.code, failure.error.message, failure.retryable) == (
            Code.LIMIT_REACHED,
            "too deep",
            False,
        )


async def test_answers_of_many_calls_in_any_order_find_their_place() -> None:
    async def code(ctx: TaskContext, input: int) -> list[int]:
        return list(await asyncio.gather(*(ctx.call("double", n, result_type=int) for n in range(input))))

    async with hosting_code(code) as rig:
        rig.offer(value=100)
        entries = [await rig.session.entry() for _ in range(100)]
        for entry in reversed(entries):
            value = json.loads(entry.entry.call.input)
            rig.session.record("task-0", entry.index, call("double", value, value * 2))
        assert await rig.output() == [2 * n for n in range(100)]
        assert len(rig.session.batches) < 100, "messages travel in batches"


async def test_an_answer_may_be_awaited_twice_and_by_several() -> None:
    async def code(ctx: TaskContext) -> list[int]:
        answer = ctx.call("a", result_type=int)
        found = await asyncio.gather(answer, asyncio.create_task(_wait(answer)), _wait(answer))
        return [*found, await answer]

    async def _wait(answer: Any) -> int:
        return int(await answer)

    async with hosting_code(code) as rig:
        rig.offer()
        await rig.session.record_next()
        rig.session.record("task-0", 0, call("a", None, 3))
        assert await rig.output() == [3, 3, 3, 3]


async def test_replay_that_stands_still_gives_up_the_recorded_order() -> None:
    async def code(ctx: TaskContext) -> int:
        a, b = ctx.call("a", result_type=int), ctx.call("b", result_type=int)
        first = await b
        return first + await a + await ctx.run("c", lambda: 3)

    async with hosting_code(code) as rig:
        # The code that recorded waited for `a` alone before it asked `c`; this one waits for `b` first.
        rig.offer([call("a", None, 1), call("b", None, 2), run("c", 3, after=[0])])
        assert await rig.output() == 6
