"""An agent of the OpenAI Agents SDK as a Consort agent.

For: `from_openai_agents`. Not for: hosted tools (their work is part of the model's answer) or voice.
Invariant: the agents that are handed in stay as they are; copies of them, and of the agents that they hand over to,
run with models and tools whose answers are recorded.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import replace
from typing import Any

from agents import Agent as OpenAIAgent
from agents import (
    AgentOutputSchema,
    AgentOutputSchemaBase,
    FunctionTool,
    Handoff,
    Model,
    ModelProvider,
    ModelResponse,
    ModelSettings,
    ModelTracing,
    RunConfig,
    Runner,
    RunResultStreaming,
    RunState,
    Tool,
    exceptions,
)
from agents.items import TResponseInputItem, TResponseOutputItem, TResponseStreamEvent
from agents.tool_context import ToolContext
from agents.usage import Usage as ModelUsage
from openai.types.responses import Response, ResponseCompletedEvent, ResponseTextDeltaEvent
from openai.types.responses.response_prompt_param import ResponsePromptParam
from pydantic import TypeAdapter

from consort import Agent, Effect, TaskContext
from consort_adapters._ledger import PLAIN, Codec, digest_of
from consort_adapters._session import Schema, Session, active, attend, declare
from consort_adapters._types import Prompt, TextAnswer, fit, prompt_of

__all__ = ["from_openai_agents"]

FINAL = (
    exceptions.UserError,
    exceptions.MaxTurnsExceeded,
    exceptions.InputGuardrailTripwireTriggered,
    exceptions.OutputGuardrailTripwireTriggered,
    exceptions.ToolInputGuardrailTripwireTriggered,
    exceptions.ToolOutputGuardrailTripwireTriggered,
    exceptions.ModelRefusalError,
)
"""Failures that another attempt would only meet again."""


def from_openai_agents(
    name: str,
    agent: OpenAIAgent[Any],
    *,
    capability: str,
    input: Any = Prompt,
    output: Any = None,
    prompt: Callable[[Any], str | list[TResponseInputItem]] = prompt_of,
    context: Callable[[TaskContext, Any], Any] | None = None,
    run_config: RunConfig | None = None,
    max_turns: int = 10,
    calls: Collection[str] = (),
    effect: Effect = "read",
    durable: bool = True,
    description: str | None = None,
    version: str = "1.0.0",
    **options: Any,
) -> Agent:
    """A Consort agent whose one capability runs an agent of the OpenAI Agents SDK.

    `output` is the agent's own `output_type` by default; plain text becomes `TextAnswer`. `prompt` makes
    the input items of the input, `context` the SDK's run context. `calls` names the function tools that use the task's
    journal themselves (to call other capabilities, or to wait): they run alone, and again in each attempt. A tool that
    needs an approval waits for a person's. Tracing to OpenAI is off unless `run_config` says otherwise. `effect` says
    what a repeat may do: choose `write` where tools change the world and must not be repeated blindly.
    `durable=False` records nothing. `options` go to `consort.Agent`.
    """
    plain_text = output is None and agent.output_type in (None, str)
    declared = TextAnswer if plain_text else agent_output(agent) if output is None else output
    journaled = _Copies(frozenset(calls)).agent(agent)
    config = run_config or RunConfig(tracing_disabled=True)
    model = _JournaledModel(config.model) if isinstance(config.model, Model) else config.model
    config = replace(config, model=model, model_provider=_JournaledProvider(config.model_provider))

    async def work(session: Session, value: Any) -> Any:
        extra = {} if context is None else {"context": context(session.task, value)}
        given: str | list[TResponseInputItem] | RunState[Any] = prompt(value)
        while True:
            run = Runner.run_streamed(journaled, given, run_config=config, max_turns=max_turns, **extra)
            await _show(session, run)
            if not run.interruptions:
                break
            given = await _decide(session, run)
        if plain_text:
            return TextAnswer(text=run.final_output, usage=session.usage)
        return run.final_output if output is None else fit(output, run.final_output)

    async def handle(ctx: TaskContext, value: Any) -> Any:
        return await attend(ctx, lambda session: work(session, value), durable=durable, final=FINAL)

    made = Agent(name, version=version, **options)
    return declare(
        made, capability, input=input, output=declared, effect=effect, description=description, handler=handle
    )


async def _show(session: Session, run: RunResultStreaming) -> None:
    """Follows a run until it ends or waits for an approval, and shows it to watchers."""
    try:
        async for event in run.stream_events():
            if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
                session.text(event.data.delta)
            elif event.type == "agent_updated_stream_event":
                session.progress(f"agent {event.new_agent.name}")
    finally:
        if not run.is_complete:
            run.cancel()
    used = run.context_wrapper.usage
    session.usage.requests = used.requests
    session.usage.input_tokens = used.input_tokens
    session.usage.output_tokens = used.output_tokens


async def _decide(session: Session, run: RunResultStreaming) -> RunState[Any]:
    """Requests a person's approval of each tool that needs one; returns the state to resume from."""
    state = run.to_state()
    for item in run.interruptions:
        detail = {"agent": item.agent.name, "tool": item.name, "arguments": item.arguments}
        decision = await session.task.wait_approval(f"may the agent use the tool `{item.name}`?", detail)
        if decision.approved:
            state.approve(item)
        else:
            state.reject(item, rejection_message=decision.comment)
    return state


def agent_output(agent: OpenAIAgent[Any]) -> Any:
    """The type of what the agent answers, as one that schemas can be made of."""
    kind = agent.output_type
    if isinstance(kind, AgentOutputSchema):
        return kind.output_type
    if isinstance(kind, AgentOutputSchemaBase):
        return Schema(kind.json_schema())
    return kind


class _Copies:
    """Copies of agents with recorded models and tools; each agent is copied once, however often it is reached."""

    def __init__(self, calls: frozenset[str]) -> None:
        self._calls = calls
        self._made: dict[int, tuple[OpenAIAgent[Any], OpenAIAgent[Any]]] = {}

    def agent(self, agent: OpenAIAgent[Any]) -> OpenAIAgent[Any]:
        """The copy of an agent, and of all that it hands over to."""
        if not isinstance(agent, OpenAIAgent):
            return agent
        if id(agent) in self._made:
            return self._made[id(agent)][1]
        model = _JournaledModel(agent.model) if isinstance(agent.model, Model) else agent.model
        copied = agent.clone(model=model, tools=[_tool(tool, self._calls) for tool in agent.tools])
        # Before its handoffs are looked at: agents may hand over in circles. The original is kept, so that its
        # identity is not given to another object.
        self._made[id(agent)] = (agent, copied)
        copied.handoffs = [self._handoff(other) for other in agent.handoffs]
        return copied

    def _handoff(self, handoff: Any) -> Any:
        if not isinstance(handoff, Handoff):
            return self.agent(handoff)
        plain = handoff.on_invoke_handoff

        async def invoke(context: Any, arguments: str) -> Any:
            return self.agent(await plain(context, arguments))

        return replace(handoff, on_invoke_handoff=invoke)


def _tool(tool: Tool, calls: frozenset[str]) -> Tool:
    """The tool with its results recorded; hosted and local system tools stay as they are."""
    if not isinstance(tool, FunctionTool):
        return tool
    plain: Callable[[ToolContext[Any], str], Awaitable[Any]] = tool.on_invoke_tool

    async def invoke(context: ToolContext[Any], arguments: str) -> Any:
        session = active()
        if session is None:
            return await plain(context, arguments)
        if tool.name in calls:
            return await session.alone(f"tool {tool.name}", lambda: plain(context, arguments))
        question = {"call": context.tool_call_id, "arguments": arguments}
        found = await session.once(f"tool {tool.name}", question, lambda: plain(context, arguments), PLAIN)
        return found.value

    copied = copy.copy(tool)
    copied.on_invoke_tool = invoke
    return copied


_ITEMS: TypeAdapter[list[TResponseOutputItem]] = TypeAdapter(list[TResponseOutputItem])
_USAGE: TypeAdapter[ModelUsage] = TypeAdapter(ModelUsage)


def _dump_response(response: ModelResponse) -> Any:
    return {
        "output": _ITEMS.dump_python(response.output, mode="json", exclude_unset=True),
        "usage": _USAGE.dump_python(response.usage, mode="json"),
        "response_id": response.response_id,
        "request_id": response.request_id,
    }


def _load_response(document: Any) -> ModelResponse:
    return ModelResponse(
        output=_ITEMS.validate_python(document["output"]),
        usage=_USAGE.validate_python(document["usage"]),
        response_id=document["response_id"],
        request_id=document["request_id"],
    )


RESPONSE: Codec[ModelResponse] = Codec(dump=_dump_response, load=_load_response)
COMPLETED: Codec[Response] = Codec(
    dump=lambda response: response.model_dump(mode="json", exclude_unset=True), load=Response.model_validate
)


class _JournaledProvider(ModelProvider):
    """Finds models by name, with their answers recorded."""

    def __init__(self, plain: ModelProvider) -> None:
        self._plain = plain

    def get_model(self, model_name: str | None) -> Model:
        return _JournaledModel(self._plain.get_model(model_name))

    async def aclose(self) -> None:
        await self._plain.aclose()


class _JournaledModel(Model):
    """A model whose answers are recorded."""

    def __init__(self, plain: Model) -> None:
        self._plain = plain
        self._what = f"model {getattr(plain, 'model', None) or type(plain).__name__}"

    async def close(self) -> None:
        await self._plain.close()

    async def _cleanup_on_run_end(self, owner: object) -> None:
        await self._plain._cleanup_on_run_end(owner)  # noqa: SLF001

    def get_retry_advice(self, request: Any) -> Any:
        return self._plain.get_retry_advice(request)

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None,
        conversation_id: str | None,
        prompt: ResponsePromptParam | None,
    ) -> ModelResponse:
        """The recorded answer, or the model's."""
        asked = (system_instructions, input, model_settings, tools, output_schema, handoffs)
        ids = {"previous_response_id": previous_response_id, "conversation_id": conversation_id, "prompt": prompt}

        async def ask() -> ModelResponse:
            return await self._plain.get_response(
                *asked,
                tracing,
                previous_response_id=previous_response_id,
                conversation_id=conversation_id,
                prompt=prompt,
            )

        session = active()
        if session is None:
            return await ask()
        return (await session.once(self._what, _question(*asked, ids), ask, RESPONSE)).value

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None,
        conversation_id: str | None,
        prompt: ResponsePromptParam | None,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """The recorded answer as one last event, or the model's stream, recorded before its last event is passed on."""
        asked = (system_instructions, input, model_settings, tools, output_schema, handoffs)
        ids = {"previous_response_id": previous_response_id, "conversation_id": conversation_id, "prompt": prompt}
        events = self._plain.stream_response(
            *asked,
            tracing,
            previous_response_id=previous_response_id,
            conversation_id=conversation_id,
            prompt=prompt,
        )
        session = active()
        if session is None:
            async for event in events:
                yield event
            return
        digest = digest_of(self._what, _question(*asked, ids))
        async with session.beside():
            recorded = await session.find(self._what, digest) if session.durable else None
            if recorded is not None:
                response = COMPLETED.load(recorded.value)
                yield ResponseCompletedEvent(response=response, sequence_number=0, type="response.completed")
                return
            session.progress(self._what)
            async for event in events:
                if session.durable and isinstance(event, ResponseCompletedEvent):
                    await session.ledger.answer(self._what, digest, event.response, COMPLETED)
                yield event


def _question(
    system_instructions: str | None,
    input: str | list[TResponseInputItem],
    model_settings: ModelSettings,
    tools: list[Tool],
    output_schema: AgentOutputSchemaBase | None,
    handoffs: list[Handoff],
    ids: dict[str, Any],
) -> dict[str, Any]:
    """What the model is asked, as JSON."""
    return {
        "instructions": system_instructions,
        "input": input,
        "settings": model_settings.to_json_dict(),
        "tools": [[tool.name, getattr(tool, "params_json_schema", None)] for tool in tools],
        "output": None if output_schema is None or output_schema.is_plain_text() else output_schema.json_schema(),
        "handoffs": [[handoff.tool_name, handoff.input_json_schema] for handoff in handoffs],
        "ids": ids,
    }
