"""A worker with agents of the OpenAI Agents SDK on a scripted model."""

from __future__ import annotations

import asyncio
from typing import Any

from agents import Agent, AgentOutputSchema, ModelResponse, RunConfig, function_tool
from agents.items import TResponseOutputItem
from agents.models.interface import Model, ModelProvider
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call
from agents.usage import Usage
from pydantic import BaseModel

from consort import TaskContext
from consort_adapters.openai_agents import from_openai_agents
from tests.scripted import asked, echo, serve, status_error, times


class City(BaseModel):
    """A typed answer."""

    name: str
    people: int


def step(output: list[TResponseOutputItem]) -> ModelStep:
    """An answer that took some tokens."""
    return ModelStep(output=output, usage=Usage(requests=1, input_tokens=5, output_tokens=2, total_tokens=7))


def text_of(call: ModelCall) -> str:
    """What the person said first."""
    if isinstance(call.input, str):
        return call.input
    return next(str(item["content"]) for item in call.input if item.get("role") == "user")


async def answer(call: ModelCall) -> ModelStep:
    """Asks two tools at once, hands over, and then answers; some prompts make trouble."""
    prompt = text_of(call)
    turn = 1 if isinstance(call.input, str) else len(call.input)
    asked(f"model {turn}")
    if prompt == "limit once" and times("model 1") == 1:
        raise status_error(429)
    if prompt == "refuse":
        raise status_error(401)
    if prompt == "hang":
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            asked("cancelled")
            raise
    return step(play(call, prompt, turn))


def play(call: ModelCall, prompt: str, turn: int) -> list[TResponseOutputItem]:
    """The script's answer to that."""
    tools: dict[str, list[tuple[str, str]]] = {
        "use tools": [("slow", "a"), ("quick", "b")],
        "call others": [("quick", "a"), ("delegate", "b"), ("delegate", "c")],
        "ask a person": [("pay", "rent"), ("pay", "toys")],
    }
    if turn == 1 and prompt in tools:
        return [function_call(name, {"word": word}, call_id=word) for name, word in tools[prompt]]
    if prompt in ("call others", "ask a person"):
        return [assistant_message(" ".join(str(item["output"]) for item in call.input if "output" in item))]
    if prompt == "use tools" and call.handoffs:
        return [function_call("transfer_to_closer", {}, call_id="over")]
    return [assistant_message("all done" if call.output_schema is None else '{"name":"Oslo","people":700000}')]


class Endless(Model):
    """A scripted model without an end to its script."""

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return await ScriptedModel([ModelStep.respond(answer)]).get_response(*args, **kwargs)

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        async for event in ScriptedModel([ModelStep.respond(answer)]).stream_response(*args, **kwargs):
            yield event


class Provider(ModelProvider):
    """Finds the scripted model by any name."""

    def get_model(self, model_name: str | None) -> Model:
        return Endless()


_quick_done = asyncio.Event()


@function_tool
async def quick(word: str) -> str:
    """Ends first."""
    asked("tool quick")
    _quick_done.set()
    return word.upper()


@function_tool
async def delegate(word: str) -> str:
    """Asks another capability."""
    return await TaskContext.current().call("openai.echo", {"word": word}, result_type=str)


@function_tool(needs_approval=True)
async def pay(word: str) -> str:
    """Needs an approval."""
    asked(f"tool pay {word}")
    return f"paid {word}"


@function_tool
async def slow(word: str) -> str:
    """Begins first and ends last."""
    await _quick_done.wait()
    asked("tool slow")
    return word.upper()


# One model is an object and one is a name: each way is recorded.
closer = Agent(name="closer", model=Endless())
opener = Agent(name="opener", model="scripted", tools=[slow, quick, delegate, pay], handoffs=[closer])
closer.handoffs = []
typed = Agent(name="typed", model=Endless(), output_type=AgentOutputSchema(City))

if __name__ == "__main__":
    config = RunConfig(model_provider=Provider(), tracing_disabled=True)
    serve(
        from_openai_agents("openai-chat", opener, capability="openai.chat", run_config=config, calls=["delegate"]),
        echo("openai.echo"),
        from_openai_agents("openai-typed", typed, capability="openai.typed"),
    )
