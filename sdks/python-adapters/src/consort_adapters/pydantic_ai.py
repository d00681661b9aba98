"""A Pydantic AI agent as a Consort agent.

For: `from_pydantic_ai`, and `Durable` for agents that are used inside tools. Not for: building agents.
Invariant: each model request and each tool call of the agent is answered at most once per task, however often the
task is tried, as long as the question is the same; a request that changed is sent again, never answered wrongly.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, is_dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic_ai import exceptions
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import (
    AgentStreamEvent,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext, ToolDenied
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset
from typing_extensions import override

from consort import Agent, Effect, TaskContext
from consort_adapters._ledger import PLAIN, Codec, digest_of
from consort_adapters._session import Schema, Session, active, attend, declare
from consort_adapters._types import Prompt, TextAnswer, fit, prompt_of

__all__ = ["Durable", "from_pydantic_ai"]

FINAL = (
    exceptions.UserError,
    exceptions.UsageLimitExceeded,
    exceptions.ModelRequestRejectedError,
    exceptions.ContentFilterError,
)
"""Failures that another attempt would only meet again."""


def from_pydantic_ai(
    name: str,
    agent: AbstractAgent[Any, Any],
    *,
    capability: str,
    input: Any = Prompt,
    output: Any = None,
    prompt: Callable[[Any], Any] = prompt_of,
    deps: Callable[[TaskContext, Any], Any] | None = None,
    calls: Collection[str] = (),
    effect: Effect = "read",
    durable: bool = True,
    stream: bool = True,
    description: str | None = None,
    version: str = "1.0.0",
    **options: Any,
) -> Agent:
    """A Consort agent whose one capability runs a Pydantic AI agent.

    `output` is the agent's own `output_type` by default; plain text becomes `TextAnswer`. `prompt` makes
    the user prompt of the input, `deps` the dependencies of the run. `calls` names the tools that use the task's
    journal themselves (to call other capabilities, or to wait): they run alone, and again in each attempt. A tool
    that needs an approval waits for a person's. `effect` says what a repeat may do: choose `write` where tools change
    the world and must not be repeated blindly. `durable=False` records nothing; `stream=False` is for models that
    cannot stream. `options` go to `consort.Agent`.
    """
    plain_text = output is None and agent.output_type is str
    declared = TextAnswer if plain_text else agent_output(agent) if output is None else output

    async def work(session: Session, value: Any) -> Any:
        extra: dict[str, Any] = {"event_stream_handler": _show} if stream else {}
        if deps is not None:
            extra["deps"] = deps(session.task, value)
        result = await agent.run(prompt(value), capabilities=[Durable(frozenset(calls))], **extra)
        usage = result.usage
        session.usage.requests = usage.requests
        session.usage.input_tokens = usage.input_tokens
        session.usage.output_tokens = usage.output_tokens
        if plain_text:
            return TextAnswer(text=result.output, usage=session.usage)
        return fit(declared, result.output) if output is not None else result.output

    async def handle(ctx: TaskContext, value: Any) -> Any:
        return await attend(ctx, lambda session: work(session, value), durable=durable, final=FINAL)

    made = Agent(name, version=version, **options)
    return declare(
        made, capability, input=input, output=declared, effect=effect, description=description, handler=handle
    )


def agent_output(agent: AbstractAgent[Any, Any]) -> Any:
    """The type of what the agent answers, as one that schemas can be made of."""
    kind = agent.output_type
    if isinstance(kind, type):
        return kind
    return Schema(agent.output_json_schema())


async def _show(_: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
    """Shows watchers what the agent writes."""
    session = active()
    async for event in events:
        if session is None:
            continue
        if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
            session.text(event.part.content)
        elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
            session.text(event.delta.content_delta)


@dataclass
class Durable(AbstractCapability[Any]):
    """Records the model's answers and the tools' results in the journal of the task that the agent runs for.

    `from_pydantic_ai` adds it by itself. Add it to an agent that is run inside a tool, so that its answers are
    recorded one by one, too. Outside of a task it changes nothing.
    """

    calls: frozenset[str] = frozenset()
    """Tools that use the task's journal themselves."""

    def get_wrapper_model(self, model: Model) -> Model | None:
        """The model, with its answers recorded."""
        return JournaledModel(model)

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any] | None:
        """The tools, with their results recorded."""
        return JournaledToolset(toolset, self.calls)

    @override
    async def handle_deferred_tool_calls(
        self, ctx: RunContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Has a person decide about tools that need an approval; what is executed elsewhere is left to others."""
        session = active()
        if session is None or not requests.approvals:
            return None
        return await session.alone("wait for approval", lambda: _approvals(session, requests))


async def _approvals(session: Session, requests: DeferredToolRequests) -> DeferredToolResults:
    """Asks a person about each tool that needs an approval."""
    results = DeferredToolResults()
    for call in requests.approvals:
        detail = {"tool": call.tool_name, "arguments": call.args_as_dict()}
        decision = await session.task.wait_approval(f"may the agent use the tool `{call.tool_name}`?", detail)
        denied = ToolDenied(decision.comment) if decision.comment else ToolDenied()
        results.approvals[call.tool_call_id] = True if decision.approved else denied
        results.answered_by[call.tool_call_id] = decision.by
    return results


def _dump_response(response: ModelResponse) -> Any:
    return ModelMessagesTypeAdapter.dump_python([response], mode="json")[0]


def _load_response(document: Any) -> ModelResponse:
    (message,) = ModelMessagesTypeAdapter.validate_python([document])
    if not isinstance(message, ModelResponse):
        raise TypeError("the journal holds a request where an answer was recorded")
    return message


RESPONSE: Codec[ModelResponse] = Codec(dump=_dump_response, load=_load_response)

# What differs between two attempts without changing the question.
_VOLATILE = ("timestamp", "run_id", "conversation_id", "metadata")


class JournaledModel(WrapperModel):
    """A model whose answers are recorded."""

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """The recorded answer, or the model's."""

        async def ask() -> ModelResponse:
            return await self.wrapped.request(messages, model_settings, model_request_parameters)

        session = active()
        if session is None:
            return await ask()
        question = _question(messages, model_settings, model_request_parameters)
        found = await session.once(f"model {self.model_name}", question, ask, RESPONSE)
        return found.value

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """The recorded answer, without events (they were shown before), or the model's stream, recorded at its end."""
        session = active()
        if session is None:
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                yield stream
            return
        what = f"model {self.model_name}"
        digest = digest_of(what, _question(messages, model_settings, model_request_parameters))
        async with session.beside():
            recorded = await session.find(what, digest) if session.durable else None
            if recorded is not None:
                response = _load_response(recorded.value)
                yield CompletedStreamedResponse(response, model_request_parameters=model_request_parameters)
                return
            session.progress(what)
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                yield stream
                if session.durable:
                    async for _ in stream:
                        # Only a whole answer is recorded; its reader may have stopped before its end.
                        pass
                    await session.ledger.answer(what, digest, stream.get(), RESPONSE)


def _question(
    messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
) -> dict[str, Any]:
    """What the model is asked, without what differs between attempts by itself."""
    asked = []
    for message in ModelMessagesTypeAdapter.dump_python(messages, mode="json"):
        parts = [_part(part) for part in message["parts"]]
        kept = {key: value for key, value in message.items() if key not in _VOLATILE}
        asked.append({**kept, "parts": parts})
    return {"messages": asked, "settings": settings, "parameters": parameters}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in part.items() if key not in _VOLATILE}
    if kept.get("part_kind") == "retry-prompt" and kept.get("tool_name") is None:
        # Generated each time, where the retry is not about a tool.
        kept.pop("tool_call_id", None)
    return kept


@dataclass
class JournaledToolset(WrapperToolset[Any]):
    """Tools whose results are recorded. What has no JSON form (files, images) is not, and is fetched again."""

    calls: frozenset[str] = frozenset()

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """The recorded result, or the tool's."""

        async def ask() -> Any:
            return await self.wrapped.call_tool(name, tool_args, ctx, tool)

        session = active()
        if session is None:
            return await ask()
        if name in self.calls:
            return await session.alone(f"tool {name}", ask)
        question = {"call": ctx.tool_call_id, "arguments": tool_args}
        return (await session.once(f"tool {name}", question, ask, TOOL)).value


def _dump_tool(value: Any) -> Any:
    return PLAIN.dump(_JSON.dump_python(value, mode="json") if _is_data(value) else value)


def _is_data(value: Any) -> bool:
    """Whether the model sees nothing of the value but its JSON."""
    return isinstance(value, BaseModel) or (
        is_dataclass(value) and type(value).__module__.split(".")[0] != "pydantic_ai"
    )


_JSON: TypeAdapter[Any] = TypeAdapter(Any)
TOOL: Codec[Any] = Codec(dump=_dump_tool, load=lambda value: value)
