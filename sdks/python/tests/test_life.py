"""The life of attempts, sessions and workers.

For: failures, cancellation, signs of life, reconnects, leaving. Not for: the journal (see `test_replay`).
Invariant: as in the suite: no test waits for time to pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from consort import Agent, Code, ConsortError, TaskContext, TaskError, Worker
from consort._proto.v1 import common_pb2, worker_pb2

from .fake import Rig, hosting, hosting_code, run, serving


async def echo(input: Any) -> Any:
    """Answers its input."""
    return input


class Gate:
    """Code that waits outside the journal, and answers its input."""

    def __init__(self) -> None:
        self.opened = asyncio.Semaphore(0)
        self.begun = asyncio.Semaphore(0)

    async def __call__(self, input: Any) -> Any:
        self.begun.release()
        await self.opened.acquire()
        return input


async def test_the_context_says_who_the_task_is() -> None:
    seen: dict[str, Any] = {}

    async def code(ctx: TaskContext) -> None:
        seen.update(
            task=ctx.task,
            token=ctx.token,
            attempt=ctx.attempt,
            run=ctx.run_id,
            workflow=ctx.workflow,
            step=ctx.step,
            capability=ctx.capability,
            key=ctx.idempotency_key,
            deadline=ctx.deadline and ctx.deadline.isoformat(),
            traceparent=ctx.traceparent,
            current=TaskContext.current() is ctx,
        )

    async with hosting_code(code) as rig:
        rig.offer(deadline_us=1_700_000_000_000_000, traceparent="00-aa-bb-01")
        assert await rig.output() is None
    assert seen == {
        "task": "task-0",
        "token": 1,
        "attempt": 1,
        "run": "run-1",
        "workflow": "test",
        "step": "step",
        "capability": "work",
        "key": "test-key",
        "deadline": "2023-11-14T22:13:20+00:00",
        "traceparent": "00-aa-bb-01",
        "current": True,
    }


async def test_a_worker_introduces_its_agents() -> None:
    first = Agent("first", version="1.2", description="Is first.", labels={"region": "eu"})
    second = Agent("second")
    first.add(echo, "work", effect="write")
    second.add(echo, "work")
    async with hosting(first, second, namespace="team", labels={"zone": "b"}, token="secret") as rig:
        hello = rig.session.hello
        assert (hello.protocol, hello.protocol_min, hello.namespace) == (1, 1, "team")
        assert hello.client.startswith("python/")
        one, two = hello.instances
        assert (one.agent.name, one.agent.version, dict(one.agent.labels)) == ("first", "1.2", {"region": "eu"})
        assert (one.credit, list(one.held), dict(one.labels)) == (4, [], {"zone": "b"})
        assert one.agent.capabilities[0].effect == common_pb2.EFFECT_CLASS_WRITE
        assert two.agent.name == "second"
        assert rig.session.metadata["authorization"] == "Bearer secret"
        rig.offer(value=2, instance=1)
        message = await rig.session.next()
        assert message is not None
        assert (message.instance, message.complete.output) == (1, b"2")


async def test_a_capability_of_another_version_is_a_retryable_failure() -> None:
    async with hosting_code(echo) as rig:
        rig.offer(capability="other")
        failure = await rig.failure()
        assert (failure.error.code, failure.retryable) == (Code.BAD_REQUEST, True)


async def test_without_a_capability_the_only_one_is_meant() -> None:
    async with hosting_code(echo) as rig:
        rig.offer(value="x", capability="")
        assert await rig.output() == "x"


async def test_a_failure_keeps_its_message_and_the_time_to_try_again() -> None:
    def code() -> None:
        raise TaskError("slow down", code=Code.OVERLOADED, hint="wait", retry_after=9)

    async with hosting_code(code) as rig:
        rig.offer()
        assert await rig.failure() == worker_pb2.Fail(
            attempt=worker_pb2.Attempt(task="task-0", token=1),
            error=common_pb2.Error(code=Code.OVERLOADED, message="slow down", hint="wait"),
            retryable=True,
            retry_after_us=9_000_000,
        )


async def test_an_exception_is_a_retryable_failure_and_the_worker_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def code(input: str) -> str:
        if input == "bad":
            raise ValueError("in code")
        return input

    async with hosting_code(code) as rig:
        rig.offer(value="bad")
        failure = await rig.failure()
        assert (failure.error.code, failure.error.message) == (Code.AGENT_FAILED, "ValueError: in code")
        assert failure.retryable
        rig.offer_next(value="good")
        assert await rig.output() == "good"
    # The server gets the message alone; the log has the place.
    assert "raise ValueError" in caplog.text


async def test_code_that_cancels_itself_is_a_retryable_failure() -> None:
    async def code() -> None:
        raise asyncio.CancelledError

    async with hosting_code(code) as rig:
        rig.offer()
        failure = await rig.failure()
        assert (failure.error.message, failure.retryable) == ("the code cancelled itself", True)


async def test_an_exception_inside_an_effect_records_nothing() -> None:
    async def code(ctx: TaskContext) -> None:
        def boom() -> None:
            raise ZeroDivisionError

        await ctx.run("boom", boom)

    async with hosting_code(code) as rig:
        rig.offer()
        failure = await rig.failure()
        assert (failure.error.message, failure.retryable) == ("ZeroDivisionError", True)


async def test_sync_code_runs_on_threads_side_by_side_and_reports() -> None:
    both = threading.Barrier(2, timeout=20)

    def code(ctx: TaskContext, count: int) -> int:
        both.wait()
        ctx.progress("counting")
        ctx.stream("…")
        assert threading.current_thread() is not threading.main_thread()
        return sum(range(count))

    async with hosting_code(code) as rig:
        for task in ("task-1", "task-2"):
            rig.offer(value={"count": 5}, task=task)
        outputs: list[bytes] = []
        kinds: set[str | None] = set()
        while len(outputs) < 2:
            message = await rig.session.next()
            assert message is not None
            kinds.add(message.WhichOneof("kind"))
            if message.HasField("complete"):
                outputs.append(message.complete.output)
        assert outputs == [b"10", b"10"]
        assert kinds >= {"stream", "progress"}


async def test_the_latest_progress_is_sent_and_output_is_streamed_in_order() -> None:
    gate = Gate()

    async def code(ctx: TaskContext) -> Any:
        ctx.progress("one")
        ctx.progress("two")
        ctx.stream("Hel")
        ctx.stream("lo")
        ctx.stream({"done": True})
        return await gate(1)

    async with hosting_code(code) as rig:
        rig.offer()
        deltas = [await rig.session.next() for _ in range(4)]
        found = [(m.stream.delta.text, m.stream.delta.json) for m in deltas if m is not None and m.HasField("stream")]
        assert found == [("Hel", b""), ("lo", b""), ("", b'{"done":true}')]
        assert [m.progress.message for m in deltas if m is not None and m.HasField("progress")] == ["two"]
        gate.opened.release()
        assert await rig.output() == 1


async def test_an_idle_worker_says_that_it_is_alive() -> None:
    async with hosting_code(echo, server={"beat_us": 100_000}) as rig:
        for _ in range(3):
            message = await rig.session.next_of_all()
            assert message is not None
            assert message.HasField("alive")


async def test_cancelled_code_is_told_and_its_report_is_dropped() -> None:
    seen: list[Any] = []

    async def code(ctx: TaskContext) -> str:
        assert not ctx.cancelled
        ctx.progress("at work")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await ctx.cancelled
            seen.append(bool(ctx.cancelled))
        return "too late"

    async with hosting_code(code) as rig:
        rig.offer()
        assert (await rig.session.next()) is not None
        rig.session.cancel()
        rig.session.drain()
        assert await rig.session.next() is None
        assert seen == [True]


async def test_waits_of_cancelled_code_end_and_nothing_more_is_recorded() -> None:
    seen: list[str] = []

    async def code(ctx: TaskContext) -> None:
        try:
            await ctx.call("slow")
        finally:
            seen.append("left")
            ctx.run("more", lambda: seen.append("ran"))

    async with hosting_code(code) as rig:
        rig.offer()
        await rig.session.entry()
        rig.session.cancel()
        rig.session.drain()
        assert await rig.session.next() is None
        assert seen == ["left"]


async def test_code_that_does_not_heed_a_cancellation_is_left_alone_after_the_grace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stubborn = True

    async def code(ctx: TaskContext) -> None:
        ctx.progress("at work")
        while stubborn:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async with hosting_code(code, cancel_grace=0.01) as rig:
        rig.offer()
        assert (await rig.session.next()) is not None
        rig.session.cancel()
        rig.session.drain()
        assert await rig.session.next() is None
        stubborn = False
    assert "it is left alone" in caplog.text


async def test_sync_code_sees_that_it_is_cancelled() -> None:
    ended = threading.Event()

    def code(ctx: TaskContext) -> None:
        ctx.progress("at work")
        while not ctx.cancelled:
            pass
        ended.set()

    async with hosting_code(code) as rig:
        rig.offer()
        assert (await rig.session.next()) is not None
        rig.session.cancel()
        rig.session.drain()
        assert await rig.session.next() is None
        assert await asyncio.to_thread(ended.wait, 20)


async def test_code_that_is_cancelled_before_it_begins_does_not_begin() -> None:
    begun: list[Any] = []

    def code(input: Any) -> None:
        begun.append(input)

    async with hosting_code(code) as rig:
        attempt = worker_pb2.Attempt(task="task-0", token=1)
        # In one batch: both are read before the code gets to run.
        rig.session.send(
            rig.task(),
            worker_pb2.ServerMessage(cancel=worker_pb2.Cancel(attempt=attempt)),
            worker_pb2.ServerMessage(drain=worker_pb2.Drain()),
        )
        assert await rig.session.next() is None
    assert begun == []


async def test_a_cancellation_of_another_attempt_changes_nothing() -> None:
    gate = Gate()
    async with hosting_code(gate) as rig:
        rig.offer()
        rig.session.cancel(token=7)
        gate.opened.release()
        assert await rig.output() is None


@pytest.mark.parametrize("code", [Code.FENCED, Code.TASK_NOT_FOUND, Code.RUN_NOT_FOUND, Code.RUN_ENDED])
async def test_an_attempt_that_is_nobodys_stops_at_once_and_says_nothing(code: str) -> None:
    gate = Gate()
    async with hosting_code(gate) as rig:
        rig.offer()
        await gate.begun.acquire()
        rig.session.refuse(code, "a newer attempt has been made ready")
        rig.session.drain()
        assert await rig.session.next() is None


async def test_a_newer_attempt_replaces_an_older_one_and_a_second_offer_changes_nothing() -> None:
    gate = Gate()
    async with hosting_code(gate) as rig:
        # In one batch, so that none has ended before the next comes; the last one was late on its way.
        offers = [(1, "old"), (2, "new"), (2, "again"), (1, "late")]
        rig.session.send(*(rig.task(value=value, token=token) for token, value in offers))
        rig.session.drain()
        rig.token = 2
        for _ in range(10):
            gate.opened.release()
        assert await rig.output() == "new"
        assert await rig.session.next() is None


async def test_draining_finishes_what_is_held_and_leaves() -> None:
    gate = Gate()
    async with hosting_code(gate, server={"beat_us": 100_000}) as rig:
        rig.offer(value=1)
        rig.session.drain()
        message = await rig.session.next_of_all()
        assert message is not None
        assert message.HasField("alive"), "the task still runs"
        gate.opened.release()
        assert await rig.output() == 1
        assert await rig.session.next() is None
        await rig.running


async def test_a_worker_that_is_stopped_takes_leave_and_finishes_offers_that_cross() -> None:
    gate = Gate()
    async with hosting_code(gate) as rig:
        rig.worker.stop()
        message = await rig.session.next()
        assert message is not None
        assert message.HasField("leaving")
        gate.opened.release()
        rig.offer(value=1)
        assert await rig.output() == 1
        rig.session.drain()
        assert await rig.session.next() is None
        await rig.running


async def test_a_worker_that_is_stopped_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    async with hosting_code(gate, leave_within=0.01) as rig:
        rig.offer()
        await gate.begun.acquire()
        rig.worker.stop()
        await rig.running
    assert "before all that it holds is done" in caplog.text


async def test_a_worker_that_was_never_connected_can_be_stopped() -> None:
    agent = Agent("test")
    agent.add(echo, "work")
    worker = Worker(agent, address="127.0.0.1:1")
    running = asyncio.ensure_future(worker.run())
    await asyncio.sleep(0)
    worker.stop()
    await asyncio.wait_for(running, 20)


async def test_a_result_made_while_nothing_is_connected_is_delivered_after_the_reconnect() -> None:
    gate = Gate()
    async with hosting_code(gate) as rig:
        rig.offer(value="kept")
        await gate.begun.acquire()
        rig.session.disconnect()
        gate.opened.release()
        await rig.connected()
        assert held(rig) == [("task-0", 1)]
        assert await rig.output() == "kept"


async def test_a_report_that_a_broken_connection_may_have_lost_is_sent_again() -> None:
    async with hosting_code(echo) as rig:
        rig.offer(value=1)
        assert await rig.output() == 1
        # The server may have died before it made that durable.
        await rig.reconnect()
        assert held(rig) == [("task-0", 1)]
        assert await rig.output() == 1
        # It is no longer held: an offer of the same task is a new one.
        rig.offer_next(value=2)
        assert await rig.output() == 2


async def test_a_claim_that_is_answered_by_cancel_ends_the_attempt() -> None:
    gate = Gate()
    async with hosting_code(gate) as rig:
        rig.offer()
        await gate.begun.acquire()
        await rig.reconnect()
        rig.session.cancel()
        rig.session.drain()
        assert await rig.session.next() is None


async def test_an_agent_that_was_let_go_does_not_join_again_while_others_do() -> None:
    first, second = Agent("first"), Agent("second")
    first.add(echo, "work")
    second.add(echo, "work")
    async with hosting(first, second) as rig:
        rig.session.drain(instance=0)
        rig.offer(value=1, instance=1)
        assert await rig.output() == 1
        await rig.reconnect()
        assert [instance.agent.name for instance in rig.session.hello.instances] == ["second"]
        assert await rig.output() == 1
        rig.offer_next(value=2)
        assert await rig.output() == 2
        rig.session.drain()
        assert await rig.session.next() is None
        await rig.running


async def test_a_worker_that_leaves_while_it_is_not_connected_asks_for_nothing_more() -> None:
    gate = Gate()
    async with hosting_code(gate) as rig:
        rig.offer(value=1)
        await gate.begun.acquire()
        rig.session.disconnect()
        rig.worker.stop()
        await rig.connected()
        assert rig.session.hello.instances[0].credit == 1, "no server takes less"
        message = await rig.session.next()
        assert message is not None
        assert message.HasField("leaving")
        rig.session.drain()
        gate.opened.release()
        assert await rig.output() == 1
        assert await rig.session.next() is None
        await rig.running


def held(rig: Rig) -> list[tuple[str, int]]:
    return [(attempt.task, attempt.token) for attempt in rig.session.hello.instances[0].held]


async def test_a_server_that_is_away_is_asked_again_and_one_that_refuses_is_not() -> None:
    agent = Agent("test")
    agent.add(echo, "work")
    async with serving() as server:
        away = common_pb2.Error(code=Code.STOPPING, message="not now")
        refusal = common_pb2.Error(code=Code.BAD_REQUEST, message="version 1 is too old", hint="update the SDK")
        server.refusals = [(grpc.StatusCode.UNAVAILABLE, away), (grpc.StatusCode.FAILED_PRECONDITION, refusal)]
        with pytest.raises(ConsortError) as found:
            await asyncio.wait_for(Worker(agent, address=server.address).run(), 20)
        assert (found.value.code, found.value.message) == (Code.BAD_REQUEST, "version 1 is too old")
        assert found.value.hint == "update the SDK"
        assert server.connections == 2


async def test_messages_that_are_too_large_fail_their_attempt_and_not_the_worker() -> None:
    async def code(ctx: TaskContext, where: str) -> str:
        big = "x" * 20_000
        if where == "record":
            await ctx.run("big", lambda: big)
        if where == "stream":
            ctx.stream(big)
            return "ok"
        return big

    async with hosting_code(code, server={"batch_bytes_max": 10_000}) as rig:
        for where in ("record", "output"):
            rig.offer_next(value={"where": where})
            failure = await rig.failure()
            assert (failure.error.code, failure.retryable) == (Code.PAYLOAD_TOO_LARGE, False)
            assert "the server's limit is 10000" in failure.error.message
        rig.offer_next(value={"where": "stream"})
        assert await rig.output() == "ok"


async def test_batches_keep_to_the_limit() -> None:
    async def code(ctx: TaskContext) -> None:
        for _ in range(50):
            ctx.stream("x" * 3_000)

    async with hosting_code(code, server={"batch_bytes_max": 10_000}) as rig:
        rig.offer()
        for _ in range(50):
            message = await rig.session.next()
            assert message is not None
            assert message.HasField("stream")
        assert await rig.output() is None
        assert max(rig.session.batches) == 3


async def test_many_tasks_run_at_once() -> None:
    gate = Gate()
    async with hosting_code(gate) as rig:
        for number in range(50):
            rig.offer(value=number, task=f"task-{number}")
        for _ in range(50):
            gate.opened.release()
        done = []
        for _ in range(50):
            message = await rig.session.next()
            assert message is not None
            done.append(json.loads(message.complete.output))
        assert sorted(done) == list(range(50))


async def test_the_log_names_run_step_and_attempt(caplog: pytest.LogCaptureFixture) -> None:
    async def code(ctx: TaskContext) -> None:
        ctx.log.info("hello %s", "there", extra={"more": 1})

    with caplog.at_level(logging.INFO, logger="consort.agent"):
        async with hosting_code(code) as rig:
            rig.offer()
            await rig.output()
    record = next(record for record in caplog.records if record.name == "consort.agent")
    assert record.getMessage() == "[run-1 step #1] hello there"
    assert (record.__dict__["run"], record.__dict__["attempt"], record.__dict__["more"]) == ("run-1", 1, 1)


async def test_the_log_is_silent_while_what_is_recorded_is_replayed(caplog: pytest.LogCaptureFixture) -> None:
    async def code(ctx: TaskContext) -> None:
        ctx.log.info("begins")
        await ctx.run("a", lambda: 1)
        ctx.log.info("between")
        await ctx.run("b", lambda: 2)
        ctx.log.warning("goes on")

    with caplog.at_level(logging.INFO, logger="consort.agent"):
        async with hosting_code(code) as rig:
            rig.offer([run("a", 1), run("b", 2)])
            await rig.output()
    texts = [record.getMessage() for record in caplog.records if record.name == "consort.agent"]
    assert texts == ["[run-1 step #1] goes on"]


async def test_a_worker_says_where_it_is_connected_and_with_what(caplog: pytest.LogCaptureFixture) -> None:
    agent = Agent("writer", version="1.2.0")
    agent.add(echo, "summarise")
    agent.add(echo, "shorten")
    with caplog.at_level(logging.INFO, logger="consort.worker"):
        async with hosting(agent, Agent("idle")) as rig:
            await rig.reconnect()
            rig.offer(capability="shorten")
            await rig.output()
            address = rig.server.address
    lines = [record.getMessage() for record in caplog.records if "connected to" in record.getMessage()]
    said = f"connected to http://{address} (Consort fake): writer 1.2.0 (summarise, shorten); idle 0 (no capability)"
    assert lines == [said, said]


async def test_the_environment_says_where_the_server_is_unless_the_program_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving() as server, serving() as other:
        monkeypatch.setenv("CONSORT_SERVER", server.address)
        monkeypatch.setenv("CONSORT_TOKEN", "hush")
        for settings, met, token in (
            ({}, server, "Bearer hush"),
            ({"address": other.address, "token": "mine"}, other, "Bearer mine"),
        ):
            running = asyncio.ensure_future(Worker(Agent("a"), **settings).run())  # type: ignore[arg-type]
            session = await asyncio.wait_for(met.sessions.get(), 20)
            assert session.metadata["authorization"] == token
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def test_a_worker_of_its_own_shows_its_log_where_the_program_shows_none(tmp_path: Path) -> None:
    program = (
        "import logging, sys; from consort import Agent, Worker, ConsortError\n"
        "if sys.argv[1] == 'own': logging.getLogger().addHandler(logging.NullHandler())\n"
        "try: Worker(Agent('a'), address='http://x/y').run_forever()\n"
        "except ConsortError: pass\n"
        "worker = Worker(Agent('a'), address='127.0.0.1:1')\n"
        "logging.getLogger('consort.worker').addFilter(lambda record: worker.stop() or True)\n"
        "worker.run_forever()\n"
        "print(logging.getLogger('consort').handlers)\n"
    )
    for kind, shows in (("own", False), ("none", True)):
        done = subprocess.run(
            [sys.executable, "-c", program, kind], capture_output=True, check=True, text=True, timeout=60, cwd=tmp_path
        )
        assert ("not connected" in done.stderr) is shows
        assert done.stdout == "[]\n"


def test_wrong_settings_are_refused_before_anything_connects() -> None:
    agent = Agent("test")
    for settings in ({"concurrency": 0}, {"concurrency": 10_001}, {"cancel_grace": -1}, {"park_after": float("nan")}):
        with pytest.raises(ConsortError):
            Worker(agent, **settings)
    with pytest.raises(ConsortError):
        Worker()
    with pytest.raises(ConsortError, match="was given a list"):
        Worker([agent])  # type: ignore[arg-type]


def test_signals_stop_a_worker_that_runs_for_ever() -> None:
    """The second signal stops it at once, though its code continues."""
    agent = Agent("test")

    @agent.capability("work")
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    before = signal.getsignal(signal.SIGTERM)
    left = threading.Event()

    async def serve(address: asyncio.Future[str], loop: asyncio.AbstractEventLoop) -> None:
        async with serving() as server:
            loop.call_soon_threadsafe(address.set_result, server.address)
            session = await asyncio.wait_for(server.sessions.get(), 20)
            attempt = worker_pb2.Attempt(task="task-0", token=1)
            session.send(worker_pb2.ServerMessage(task=worker_pb2.Task(attempt=attempt, capability="work")))
            message = await session.next()
            assert message is not None
            assert message.HasField("leaving")
            os.kill(os.getpid(), signal.SIGTERM)
            assert await session.next() is None
            left.set()

    start = asyncio.new_event_loop()
    address: asyncio.Future[str] = start.create_future()
    server = threading.Thread(target=lambda: asyncio.run(serve(address, start)))
    server.start()
    Worker(agent, address=start.run_until_complete(address)).run_forever()
    server.join(20)
    start.close()
    assert left.is_set()
    assert signal.getsignal(signal.SIGTERM) is before
