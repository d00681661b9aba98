"""A CrewAI crew as a Consort agent.

For: `from_crewai`. Not for: flows, training, or tasks that ask a person on the terminal.
Invariant: each attempt runs a crew of its own on a thread of its own; the answers of its models and the results of its
tools are recorded one by one, and a cancelled attempt stops at its next question.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from crewai import Crew
from crewai.crews.crew_output import CrewOutput
from crewai.events import (
    AgentExecutionStartedEvent,
    LLMStreamChunkEvent,
    TaskStartedEvent,
    crewai_event_bus,
)
from crewai.llms.base_llm import BaseLLM
from crewai.tools import BaseTool
from pydantic import BaseModel, create_model

from consort import Agent, Effect, TaskContext
from consort_adapters._ledger import PLAIN, Codec, UnrecordableError, plain
from consort_adapters._session import Session, active, attend, declare, on_thread
from consort_adapters._types import TextAnswer, fit

__all__ = ["from_crewai"]

_VENDORS = ("openai", "anthropic", "litellm", "google", "crewai", "pydantic")
"""Packages whose objects a model may answer with."""

_INSIDE: ContextVar[bool] = ContextVar("consort_adapters_inside_tool", default=False)


def from_crewai(
    name: str,
    crew: Crew | Callable[[], Crew],
    *,
    capability: str,
    input: Any = None,
    output: Any = None,
    inputs: Callable[[Any], dict[str, Any]] | None = None,
    effect: Effect = "read",
    durable: bool = True,
    stream: bool = True,
    description: str | None = None,
    version: str = "1.0.0",
    **options: Any,
) -> Agent:
    """A Consort agent whose one capability kicks a crew off.

    A crew is copied for each attempt; a function that makes one is called instead. `input` has a text for each
    `{placeholder}` of the crew by default, `inputs` makes the crew's inputs of it. `output` is the last
    task's `output_pydantic` or `output_json` by default, and `TextAnswer` where it has none. `effect` says
    what a repeat may do: choose `write` where tools change the world and must not be repeated blindly.
    `durable=False` records nothing; `stream=False` leaves the models' own setting. `options` go to `consort.Agent`.
    """
    template = crew if isinstance(crew, Crew) else crew()
    last = template.tasks[-1]
    typed = last.output_pydantic or last.output_json
    declared_in = _placeholders(template) if input is None else input
    declared_out = (typed or TextAnswer) if output is None else output
    _listen()

    async def work(session: Session, value: Any) -> Any:
        made = crew.copy() if isinstance(crew, Crew) else crew()
        _journal(made, session, stream=stream)
        given = inputs(value) if inputs is not None else _document(value)
        result = await on_thread(lambda: made.kickoff(inputs=given))
        if not isinstance(result, CrewOutput):
            raise TypeError("the crew streams by itself; leave `stream` of the crew off, the adapter shows its text")
        if output is None and typed is None:
            return TextAnswer(text=result.raw, usage=session.usage)
        return fit(declared_out, result.pydantic or result.json_dict or result.raw)

    async def handle(ctx: TaskContext, value: Any) -> Any:
        return await attend(ctx, lambda session: work(session, value), durable=durable)

    made = Agent(name, version=version, **options)
    return declare(
        made, capability, input=declared_in, output=declared_out, effect=effect, description=description, handler=handle
    )


def _placeholders(crew: Crew) -> type[BaseModel]:
    """The input with a text for each placeholder of the crew."""
    fields: dict[str, Any] = dict.fromkeys(sorted(crew.fetch_inputs()), (str, ...))
    return create_model("Inputs", **fields)


def _document(value: Any) -> dict[str, Any]:
    return value.model_dump() if isinstance(value, BaseModel) else dict(value)


def _journal(crew: Crew, session: Session, *, stream: bool) -> None:
    """Puts the journal between the crew and its models and tools."""
    agents = [*crew.agents, *([crew.manager_agent] if crew.manager_agent else [])]
    for holder in [crew, *agents]:
        for field in ("llm", "function_calling_llm", "manager_llm", "planning_llm"):
            model = getattr(holder, field, None)
            if isinstance(model, BaseLLM):
                setattr(holder, field, _model(model, session, stream=stream))
    keepers: list[Any] = [*agents, *crew.tasks]
    for keeper in keepers:
        if keeper.tools:
            keeper.tools = [_tool(tool, session) if isinstance(tool, BaseTool) else tool for tool in keeper.tools]


def _model(model: BaseLLM, session: Session, *, stream: bool) -> BaseLLM:
    """A copy of the model whose calls are recorded; it stays of its class, which CrewAI looks at."""
    copied = copy.copy(model)
    # The counters are shared between copies otherwise, and with them what two attempts took.
    copied._token_usage = dict.fromkeys(copied._token_usage, 0)  # noqa: SLF001
    if stream:
        copied.stream = True
    ask = copied.call
    what = f"model {model.model}"

    def call(*args: Any, **kwargs: Any) -> Any:
        question = _question(ask, args, kwargs)
        codec = _answer(kwargs.get("response_model"))
        found = session.once_in_thread(what, question, lambda: (ask(*args, **kwargs), _used(copied)), codec)
        return _take(found.value, session)

    # On the object: a wrapper class would hide what CrewAI asks the model's own class.
    object.__setattr__(copied, "call", call)
    object.__setattr__(copied, "_consort_counted", (0, 0))
    return copied


def _used(model: BaseLLM) -> tuple[int, int]:
    """Tokens that the model took since this was asked last."""
    total = model.get_token_usage_summary()
    before = model.__dict__["_consort_counted"]
    now = (total.prompt_tokens, total.completion_tokens)
    object.__setattr__(model, "_consort_counted", now)
    return (max(0, now[0] - before[0]), max(0, now[1] - before[1]))


def _take(value: tuple[Any, tuple[int, int]], session: Session) -> Any:
    answer, (sent, got) = value
    session.usage.add(input_tokens=sent, output_tokens=got)
    return answer


def _question(ask: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the model is asked, without who asks: tasks and agents have identities that change with each attempt."""
    asked = inspect.signature(ask).bind(*args, **kwargs).arguments
    form = asked.get("response_model")
    return {
        "messages": asked.get("messages"),
        "tools": asked.get("tools"),
        "form": form.model_json_schema() if isinstance(form, type) and issubclass(form, BaseModel) else None,
    }


def _answer(form: Any) -> Codec[tuple[Any, tuple[int, int]]]:
    """How an answer of a model, with its tokens, becomes JSON: text, tool calls, or an object of the asked form."""

    def dump(value: tuple[Any, tuple[int, int]]) -> Any:
        answer, used = value
        if isinstance(form, type) and isinstance(answer, form) and isinstance(answer, BaseModel):
            return {"form": answer.model_dump(mode="json"), "used": used}
        return {"answer": _dump(answer), "used": used}

    def load(document: Any) -> tuple[Any, tuple[int, int]]:
        sent, got = document["used"]
        if "form" in document:
            return form.model_validate(document["form"]), (sent, got)
        return _load(document["answer"]), (sent, got)

    return Codec(dump=dump, load=load)


def _dump(value: Any) -> Any:
    """JSON, with the objects of vendors' packages by the name of their class."""
    if isinstance(value, BaseModel):
        kind = type(value)
        if kind.__module__.split(".")[0] not in _VENDORS or "<" in kind.__qualname__:
            raise UnrecordableError(f"`{kind.__qualname__}` is not of a known package")
        return {"class": [kind.__module__, kind.__qualname__], "fields": value.model_dump(mode="json")}
    if isinstance(value, list):
        return {"list": [_dump(member) for member in value]}
    return {"plain": PLAIN.dump(value)}


def _load(document: Any) -> Any:
    if "plain" in document:
        return document["plain"]
    if "list" in document:
        return [_load(member) for member in document["list"]]
    module, path = document["class"]
    if module.split(".")[0] not in _VENDORS:
        raise ValueError(f"the journal names `{module}`, which is not of a known package")
    kind: Any = importlib.import_module(module)
    for part in path.split("."):
        kind = getattr(kind, part)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        raise TypeError(f"the journal names `{module}.{path}`, which is not a model")
    return kind.model_validate(document["fields"])


def _tool(tool: BaseTool, session: Session) -> BaseTool:
    """A copy of the tool whose results are recorded."""
    copied = tool.model_copy()

    def journaled(run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            # A tool's `run` may go by its `_run`: what is inside is recorded with the outside.
            if _INSIDE.get():
                return run(*args, **kwargs)
            token = _INSIDE.set(True)
            try:
                question = {"args": plain(args), "kwargs": plain(kwargs)}
                return session.once_in_thread(f"tool {tool.name}", question, lambda: run(*args, **kwargs), PLAIN).value
            finally:
                _INSIDE.reset(token)

        return call

    object.__setattr__(copied, "run", journaled(copied.run))
    object.__setattr__(copied, "_run", journaled(copied._run))  # noqa: SLF001
    return copied


_listening = False


def _listen() -> None:
    """Listens to the events of all crews once; each goes to the attempt in whose context it happened."""
    global _listening  # noqa: PLW0603
    if _listening:
        return
    _listening = True

    @crewai_event_bus.on(LLMStreamChunkEvent)
    def _chunk(_: Any, event: LLMStreamChunkEvent) -> None:
        session = active()
        if session is not None and event.tool_call is None:
            session.text(event.chunk)

    @crewai_event_bus.on(TaskStartedEvent)
    def _task(_: Any, event: TaskStartedEvent) -> None:
        session = active()
        if session is not None:
            session.progress(f"task {event.task_name or ''}".rstrip())

    @crewai_event_bus.on(AgentExecutionStartedEvent)
    def _agent(_: Any, event: AgentExecutionStartedEvent) -> None:
        session = active()
        if session is not None:
            session.progress(f"agent {event.agent.role}")
