"""A worker with Pydantic AI agents on scripted models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from consort import TaskContext
from consort_adapters.pydantic_ai import from_pydantic_ai
from tests.scripted import asked, echo, serve, status_error, times


class City(BaseModel):
    """A typed answer."""

    name: str
    people: int


BILLS = ("rent", "toys")


async def chat(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    """Asks two tools at once, then answers; some prompts make trouble."""
    prompt = str(messages[0].parts[-1].content)  # type: ignore[union-attr]
    asked(f"model {len(messages)}")
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
    if len(messages) == 1 and prompt == "use tools":
        yield {
            0: DeltaToolCall(name="slow", json_args='{"word":"a"}', tool_call_id="one"),
            1: DeltaToolCall(name="quick", json_args='{"word":"b"}', tool_call_id="two"),
        }
        return
    if len(messages) == 1 and prompt == "call others":
        yield {
            0: DeltaToolCall(name="quick", json_args='{"word":"a"}', tool_call_id="one"),
            1: DeltaToolCall(name="delegate", json_args='{"word":"b"}', tool_call_id="two"),
            2: DeltaToolCall(name="delegate", json_args='{"word":"c"}', tool_call_id="three"),
        }
        return
    if len(messages) == 1 and prompt == "ask a person":
        yield {n: DeltaToolCall(name="pay", json_args=f'{{"word":"{w}"}}', tool_call_id=w) for n, w in enumerate(BILLS)}
        return
    if prompt in ("call others", "ask a person"):
        yield " ".join(str(part.content) for part in messages[-1].parts)  # type: ignore[union-attr]
        return
    yield "all "
    yield "done"


chatty = Agent(FunctionModel(stream_function=chat), instructions="Be brief.")
_quick_done = asyncio.Event()


@chatty.tool_plain
async def quick(word: str) -> str:
    """Ends first."""
    asked("tool quick")
    _quick_done.set()
    return word.upper()


@chatty.tool_plain
async def delegate(word: str) -> str:
    """Asks another capability."""
    return await TaskContext.current().call("pydantic.echo", {"word": word}, result_type=str)


@chatty.tool_plain(requires_approval=True)
async def pay(word: str) -> str:
    """Needs an approval."""
    asked(f"tool pay {word}")
    return f"paid {word}"


@chatty.tool_plain
async def slow(word: str) -> City:
    """Begins first and ends last."""
    await _quick_done.wait()
    asked("tool slow")
    return City(name=word, people=1)


async def typed(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[DeltaToolCalls]:
    """Answers by the output tool."""
    asked("model typed")
    yield {
        0: DeltaToolCall(name=info.output_tools[0].name, json_args='{"name":"Oslo","people":700000}', tool_call_id="o")
    }


if __name__ == "__main__":
    serve(
        from_pydantic_ai("pydantic-chat", chatty, capability="pydantic.chat", calls=["delegate"]),
        echo("pydantic.echo"),
        from_pydantic_ai(
            "pydantic-typed", Agent(FunctionModel(stream_function=typed), output_type=City), capability="pydantic.typed"
        ),
    )
