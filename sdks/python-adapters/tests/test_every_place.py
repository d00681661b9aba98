"""Attempts that break off at every place of their journal, one after the other; the journal is played by hand."""

from __future__ import annotations

import json
import operator
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from agents import RunConfig
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

from consort import Agent, TaskError
from consort_adapters import Prompt
from consort_adapters.langgraph import from_langgraph
from consort_adapters.openai_agents import from_openai_agents
from consort_adapters.pydantic_ai import from_pydantic_ai
from tests.agents import openai_agents as openai_worker
from tests.agents import pydantic_ai as pydantic_worker

ENTRIES_MAX = 60


class Task:
    """A task context whose journal can be written up to a place, and no further."""

    idempotency_key = "key"

    def __init__(self, entries: list[Any], ends_at: int = ENTRIES_MAX) -> None:
        self.entries = entries
        self._ends_at = ends_at
        self._recorded = len(entries)
        self._asked = 0

    async def run(self, _name: str, effect: Callable[[], Awaitable[Any]]) -> Any:
        index, self._asked = self._asked, self._asked + 1
        if index < self._recorded:
            return self.entries[index]
        if index >= self._ends_at:
            raise TaskError("the attempt breaks off here", retryable=True)
        self.entries.append(json.loads(json.dumps(await effect())))
        return self.entries[index]

    def progress(self, message: str) -> None:
        assert message

    def stream(self, delta: Any) -> None:
        json.dumps(delta)


class Calls:
    """What was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def take(self) -> list[str]:
        found = self.path.read_text().splitlines() if self.path.exists() else []
        self.path.write_text("")
        return found

    def add(self, what: str) -> None:
        with self.path.open("a") as notes:
            notes.write(f"{what}\n")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    path = tmp_path / "calls"
    monkeypatch.setenv("CALLS", str(path))
    monkeypatch.setenv("DIE_AT", "0")
    return Calls(path)


async def break_everywhere(agent: Agent, value: Any, expected: Any, whole: list[str], calls: Calls) -> None:
    """Interrupts at each place, resumes, and checks the output and the requests of the second attempt."""
    (capability,) = agent.capabilities.values()
    function: Any = capability._function
    asked_again = len(whole)
    for place in range(ENTRIES_MAX):
        first = Task([], place)
        try:
            result = await function(first, value)
        except TaskError:
            result = None
        calls.take()
        assert await function(Task(first.entries), value) == expected
        again = calls.take()
        assert set(again) <= set(whole)
        assert len(again) <= asked_again, f"more is asked again at {place}, where more is recorded"
        asked_again = len(again)
        if result is not None:
            assert (result, again) == (expected, [])
            return
    pytest.fail("the journal has no end")


class State(TypedDict):
    n: int
    out: Annotated[list[int], operator.add]


class Part(TypedDict):
    out: Annotated[list[int], operator.add]


async def test_a_graph_with_subgraphs_side_by_side(calls: Calls) -> None:
    async def plan(state: State) -> dict[str, Any]:
        calls.add("plan")
        return {"n": state["n"] + 1}

    async def inner(state: State) -> dict[str, Any]:
        calls.add(f"inner {state['n']}")
        return {"out": [state["n"] * 10]}

    async def end(state: State) -> dict[str, Any]:
        calls.add("end")
        return {"out": [99]}

    part = StateGraph(State, output_schema=Part)
    part.add_node("inner", inner)
    part.add_edge(START, "inner")
    graph = StateGraph(State)
    graph.add_node("plan", plan)
    graph.add_node("part", part.compile())
    graph.add_node("end", end)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda _: [Send("part", {"n": n, "out": []}) for n in range(3)], ["part"])
    graph.add_edge("part", "end")
    graph.add_edge("end", END)
    agent = from_langgraph("graph", graph.compile(), capability="graph")
    whole = ["plan", "inner 0", "inner 1", "inner 2", "end"]
    await break_everywhere(agent, {"n": 1, "out": []}, {"n": 2, "out": [0, 10, 20, 99]}, whole, calls)


async def test_a_graph_of_the_functional_interface(calls: Calls) -> None:
    @task
    async def one(n: int) -> int:
        calls.add("one")
        return n + 1

    @task
    async def two(n: int) -> int:
        calls.add("two")
        return n * 2

    @entrypoint()
    async def flow(value: dict[str, int]) -> dict[str, int]:
        return {"result": await two(await one(value["n"]))}

    agent = from_langgraph("flow", flow, capability="flow")
    await break_everywhere(agent, {"n": 1}, {"result": 4}, ["one", "two"], calls)


async def test_a_pydantic_ai_agent(calls: Calls) -> None:
    agent = from_pydantic_ai("agent", pydantic_worker.chatty, capability="chat")
    expected = {"text": "all done", "usage": {"requests": 2}}
    whole = ["model 1", "tool quick", "tool slow", "model 3"]
    await break_everywhere(agent, Prompt(prompt="use tools"), _Like(expected), whole, calls)


async def test_an_agent_of_the_openai_agents_sdk(calls: Calls) -> None:
    config = RunConfig(model_provider=openai_worker.Provider(), tracing_disabled=True)
    agent = from_openai_agents("agent", openai_worker.opener, capability="chat", run_config=config)
    expected = {"text": "all done", "usage": {"requests": 3, "input_tokens": 15, "output_tokens": 6}}
    whole = ["model 1", "tool quick", "tool slow", "model 5", "model 7"]
    await break_everywhere(agent, Prompt(prompt="use tools"), _Like(expected), whole, calls)


class _Like:
    """Equal to a model that has at least these members."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, members: dict[str, Any]) -> None:
        self._members = members

    def __eq__(self, other: object) -> bool:
        def within(members: dict[str, Any], found: dict[str, Any]) -> bool:
            return all(
                within(value, found[key]) if isinstance(value, dict) else found[key] == value
                for key, value in members.items()
            )

        return within(self._members, other.model_dump())  # type: ignore[attr-defined]
