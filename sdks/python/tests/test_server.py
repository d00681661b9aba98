"""Agents, workflows as code and the client on a real server.

For: what only the whole shows: resuming after a kill, reclaiming after a restart. Not for: single rules.
Invariant: nothing is asserted about time; what is waited for is an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from consort import (
    Agent,
    AsyncClient,
    Client,
    Code,
    ConsortError,
    Retry,
    RunFailed,
    TaskContext,
    TaskError,
    Worker,
    models,
)

from .server import Server

pytestmark = pytest.mark.server

FLOW = """
workflow: {name}
input: {{ value: {{}} }}
steps:
  only:
    capability: {capability}
    with: ${{{{ input.value }}}}
output: ${{{{ steps.only.output }}}}
"""


class Word(BaseModel):
    """A text."""

    text: str


@contextlib.asynccontextmanager
async def hosting(address: str, *agents: Agent, **settings: Any) -> AsyncIterator[Worker]:
    worker = Worker(*agents, address=address, **settings)
    running = asyncio.ensure_future(worker.run())
    try:
        yield worker
        worker.stop()
        await asyncio.wait_for(running, 30)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def deploy(client: AsyncClient, capability: str) -> str:
    """Deploys a workflow of one step, and gives its name."""
    return (await client.deploy_workflow(FLOW.format(name=f"flow-{capability}", capability=capability))).name


async def ends(client: AsyncClient, workflow: str, value: Any) -> Any:
    run = await client.start_run(workflow, input={"value": value})
    return await asyncio.wait_for(run.result(), 60)


async def test_an_agent_is_found_and_works(server: Server) -> None:
    agent = Agent("writer", version="1.0.0", description="Writes.", labels={"region": "eu"})

    @agent.capability("count", effect="read")
    async def count(input: Word) -> int:
        return len(input.text.split())

    @agent.capability("shout", effect="read")
    def shout(text: str, mark: str = "!") -> str:
        return text.upper() + mark

    async with hosting(server.address, agent), AsyncClient(server.address) as client:
        counting, shouting = await deploy(client, "count"), await deploy(client, "shout")
        assert await ends(client, counting, {"text": "a b c"}) == 3
        assert await ends(client, shouting, {"text": "hey"}) == "HEY!"
        with pytest.raises(RunFailed) as failed:
            await ends(client, counting, {"txt": "a"})
        assert failed.value.code == Code.BAD_INPUT
        assert "text" in failed.value.message
        (found,) = await client.list_agents(capability="count", label={"region": "eu"}, text="wri")
        assert (found.name, found.version, found.description) == ("writer", "1.0.0", "Writes.")
        assert [capability.name for capability in found.capabilities] == ["count", "shout"]
        assert [instance.client.split("/")[0] for instance in found.instances] == ["python"]
        shout_statistics = next(one for one in found.statistics if one.capability == "shout")
        assert (shout_statistics.completed, shout_statistics.failed) == (1, 0)
        assert await client.list_agents(capability="nothing") == []
        assert {flow.name async for flow in client.list_workflows()} == {"flow-count", "flow-shout"}
        statuses = Counter([run.status async for run in client.list_runs()])
        assert statuses == {"completed": 2, "failed": 1}
        assert [run.run async for run in client.list_runs(workflow="flow-count", status=["failed"])] == [
            failed.value.run.run
        ]


async def test_the_client_watches_signals_and_answers(server: Server) -> None:
    agent = Agent("asker")

    @agent.capability("ask")
    async def ask(ctx: TaskContext, input: Any) -> list[Any]:
        ctx.progress("half way")
        ctx.stream("a")
        ctx.stream({"n": 1})
        name = await ctx.wait_signal("name", result_type=str)
        answer = await ctx.wait_approval("ship it?", {"to": name})
        return [name, answer.approved, answer.by, answer.comment]

    async with AsyncClient(server.address) as client:
        run = await client.start_run(await deploy(client, "ask"), input={"value": None}, idempotency_key="once")
        assert not run.deduplicated
        again = await client.start_run("flow-ask", input={"value": None}, idempotency_key="once")
        assert (again.id, again.deduplicated) == (run.id, True)
        seen: list[Any] = []
        async with hosting(server.address, agent):
            await run.signal("name", "Ada")
            async for found in run.watch():
                seen.append(found)
                if isinstance(found, models.HistoryEntry) and found.event == "step_started":
                    (item,) = await client.list_inbox().all()
                    assert (item.title, item.details, item.kind) == ("ship it?", {"to": "Ada"}, "approval")
                    await client.decide(item.task, "approve", "bob", comment="fine")
        assert isinstance(seen[-1], models.Run)
        assert seen[-1].output == ["Ada", True, "bob", "fine"]
        assert await run.result() == ["Ada", True, "bob", "fine"]
        said = [found for found in seen if isinstance(found, models.Progress)]
        # Code that parked in between sends it again.
        assert [found.text or found.json_ for found in said if found.kind != "message"][:2] == ["a", {"n": 1}]
        assert "half way" in {found.message for found in said}
        assert (await run.show()).status == "completed"


async def test_the_largest_documents_go_there_and_back(server: Server) -> None:
    agent = Agent("large")

    @agent.capability("large", effect="read")
    async def large(input: str) -> str:
        return input

    text = "x" * (63 * 1024 * 1024)
    async with hosting(server.address, agent), AsyncClient(server.address) as client:
        assert await ends(client, await deploy(client, "large"), text) == text


def test_the_client_that_blocks_operates(server: Server) -> None:
    with Client(server.url) as client:
        assert client.check_workflow("workflow: 7").valid is False
        name = client.deploy_workflow(FLOW.format(name="lonely", capability="no.such.capability")).name
        run = client.start_run(name, input={"value": 1}, labels={"team": "red"})
        assert [step.name for step in run.tree()] == ["only"]
        assert [queue.waiting for queue in client.list_queues() if queue.capability == "no.such.capability"] == [1]
        run.pause()
        assert run.show().paused
        run.cancel(reason="not needed")
        with pytest.raises(RunFailed):
            run.result()
        assert [entry.event for entry in run.history()][-1] == "run_ended"
        again = run.retry()
        forked = again.fork(input={"value": 2})
        bulk = client.bulk_runs(models.BulkFilter(workflow=name, status=["running"]), "cancel")
        assert {item.run for item in bulk.results} == {again.id, forked.id}
        with pytest.raises(RunFailed):
            forked.result()
        assert client.compare_runs(run.id, again.id).left == run.id
        run.delete()
        with pytest.raises(ConsortError) as gone:
            run.show()
        assert gone.value.code == Code.RUN_NOT_FOUND
        client.set_quota("key:tenant", max_concurrent=2)
        assert [quota.scope for quota in client.list_quotas()] == ["key:tenant"]
        client.remove_quota("key:tenant")
        client.set_retention(3600)
        client.set_retention(None)
        assert "Durable" in client.openapi()["info"]["description"]
        assert client.show_error("C0201").code == "C0201"
        assert client.draw_workflow(name, format="mermaid").startswith("flowchart")
        assert run.id not in [found.run for found in client.list_runs(limit=1)]


async def test_refusals_have_their_codes(server: Server) -> None:
    async with AsyncClient(server.address) as client:
        with pytest.raises(ConsortError) as refused:
            await client.start_run("nothing")
        assert refused.value.code == Code.WORKFLOW_NOT_FOUND
        assert "nothing" in refused.value.message
        with pytest.raises(ConsortError) as broken:
            await client.deploy_workflow("workflow: 7\nsteps: {}")
        assert broken.value.code == Code.BAD_WORKFLOW
    async with AsyncClient("127.0.0.1:1") as nowhere:
        with pytest.raises(ConsortError) as away:
            await nowhere.list_queues()
        assert away.value.code == Code.UNREACHABLE


async def test_clients_share_state_and_follow_it(server: Server) -> None:
    async with AsyncClient(server.address) as client:
        policy = models.StatePolicy(prefix="n/", policy="counter")
        await client.set_space("team", policies=[policy])
        first = await client.put_state("team", "plans/älice 1", {"v": 1}, version=0, by="ann")
        with pytest.raises(ConsortError) as refused:
            await client.put_state("team", "plans/älice 1", {"v": 2}, version=0)
        assert refused.value.code == Code.STATE_CONFLICT
        for amount in (2, 3):
            added = await client.put_state("team", "n/x", amount)
        assert (added.outcome, added.value) == ("merged", 5)
        found = await client.get_state("team", "plans/älice 1")
        assert (found.value, found.version, found.writer.by) == ({"v": 1}, first.version, "ann")
        done = await client.transact_state(
            if_=[models.StateCondition(space="team", key="n/x", equals=5)],
            do=[models.StateOperation(op="delete", space="team", key="n/x")],
        )
        assert done.succeeded
        assert done.results[0].outcome == "deleted"
        seen = []
        async for change in client.watch_state("team", after="0-0", prefix="n/"):
            seen.append((change.change, change.value))
            if change.change == "deleted":
                break
        assert seen == [("put", 2), ("merged", 5), ("deleted", None)]


async def test_calls_have_options_and_failures_their_kind(server: Server) -> None:
    agent = Agent("caller")

    @agent.capability("flaky")
    async def flaky(ctx: TaskContext, input: int) -> int:
        if ctx.attempt < input:
            raise TaskError("not yet", retryable=True)
        return ctx.attempt

    @agent.capability("never")
    async def never() -> None:
        await asyncio.Event().wait()

    @agent.capability("tries")
    async def tries(ctx: TaskContext, input: Any) -> list[Any]:
        attempts = await ctx.call("flaky", 3, result_type=int, retry=Retry(attempts=3, initial=0.001))
        codes = []
        for answer in (ctx.call("flaky", 2), ctx.call("never", timeout=0.05)):
            try:
                await answer
            except TaskError as error:
                codes.append(error.code)
        return [attempts, *codes]

    async with hosting(server.address, agent), AsyncClient(server.address) as client:
        assert await ends(client, await deploy(client, "tries"), None) == [3, Code.AGENT_FAILED, Code.TIMED_OUT]


async def test_a_run_is_cancelled_in_the_middle(server: Server) -> None:
    agent = Agent("slow")
    begun, told = asyncio.Event(), asyncio.Event()

    @agent.capability("slow")
    async def slow(ctx: TaskContext) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            if ctx.cancelled:
                told.set()

    async with hosting(server.address, agent), AsyncClient(server.address) as client:
        run = await client.start_run(await deploy(client, "slow"), input={"value": None})
        await asyncio.wait_for(begun.wait(), 30)
        await run.cancel(reason="no longer wanted")
        with pytest.raises(RunFailed) as failed:
            await asyncio.wait_for(run.result(), 30)
        assert failed.value.run.status == "cancelled"
        await asyncio.wait_for(told.wait(), 30)


async def test_a_task_is_reclaimed_after_the_server_was_killed(server: Server) -> None:
    agent = Agent("holder")
    begun, gate = asyncio.Semaphore(0), asyncio.Event()
    attempts: list[int] = []

    @agent.capability("hold", effect="write")
    async def hold(ctx: TaskContext, input: Any) -> str:
        attempts.append(ctx.attempt)
        number = await ctx.run("before", lambda: 1)
        begun.release()
        await gate.wait()
        return f"{number} {await ctx.run('after', lambda: 'kept')}"

    async with hosting(server.address, agent) as worker, AsyncClient(server.address) as client:
        run = await client.start_run(await deploy(client, "hold"), input={"value": None})
        await asyncio.wait_for(begun.acquire(), 30)
        server.kill()
        # It connects again to deliver what it holds, though it is to leave.
        worker.stop()
        gate.set()
        await asyncio.to_thread(server.start)
        assert await asyncio.wait_for(run.result(), 60) == "1 kept"
        assert attempts == [1], "the attempt continued"


@pytest.mark.parametrize("grace", ["2s"])
async def test_results_that_a_killed_server_may_have_lost_are_sent_again(server: Server) -> None:
    agent = Agent("many")
    counts: Counter[str] = Counter()
    half = asyncio.Event()

    @agent.capability("one")
    async def one(ctx: TaskContext, input: int) -> int:
        counts[ctx.idempotency_key] += 1
        if len(counts) == 100:
            half.set()
        return input

    source = """
workflow: many
steps:
  all:
    for_each: ${{ input.numbers }}
    capability: one
    with: ${{ item }}
output: ${{ steps.all.output }}
input: { numbers: { type: array } }
"""
    async with hosting(server.address, agent), AsyncClient(server.address) as client:
        await client.deploy_workflow(source)
        run = await client.start_run("many", input={"numbers": list(range(200))})
        await asyncio.wait_for(half.wait(), 30)
        server.kill()
        await asyncio.to_thread(server.start)
        assert await asyncio.wait_for(run.result(), 60) == list(range(200))
    # What was done is not done again; what was assigned and never arrived is, after the grace.
    assert (len(counts), set(counts.values())) == (200, {1})


class Killed:
    """The worker process that hosts the workflow."""

    def __init__(self, address: str, log: Path) -> None:
        self._address = address
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self) -> None:
        with self._log.open("a") as log:
            program = Path(__file__).parent / "programs" / "order.py"
            self._process = subprocess.Popen([sys.executable, program, self._address], stderr=log)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def again(self) -> None:
        """Kills it and starts another one."""
        self.kill()
        self.kills += 1
        self.start()


@pytest.mark.parametrize("grace", ["50ms"])
async def test_a_workflow_as_code_that_is_killed_three_times_ends_once(server: Server, tmp_path: Path) -> None:
    """Five calls and a wait; the worker's process is killed while a call runs, while it waits, and again."""
    flow = Killed(server.address, tmp_path / "flow.log")
    parts = Agent("parts")
    effects: Counter[str] = Counter()

    @parts.capability("part", effect="write")
    async def part(ctx: TaskContext, input: str) -> str:
        effects[input] += 1
        if input in {"price", "pack"}:
            await asyncio.to_thread(flow.again)
        return f"{input} done"

    flow.start()
    try:
        async with hosting(server.address, parts), AsyncClient(server.address) as client:
            run = await client.start_run(await deploy(client, "order"), input={"value": {"item": "tea"}})
            async for found in run.watch():
                if isinstance(found, models.HistoryEntry) and found.what == "wait for signal approved":
                    await asyncio.to_thread(flow.again)
                    await run.signal("approved", payload=True)
            ended = await run.show()
            assert ended.output == {
                "item": "tea",
                "parts": [f"{name} done" for name in ("reserve", "price", "pay", "pack", "send")],
                "approved": True,
                "number": 4711,
            }
            assert flow.kills == 3
            assert effects == dict.fromkeys(("reserve", "price", "pay", "pack", "send"), 1)
            ends = [e async for e in run.watch() if isinstance(e, models.HistoryEntry) and e.event == "run_ended"]
            assert len(ends) == 1
    finally:
        flow.kill()
