"""A LangGraph graph as a Consort agent.

For: `from_langgraph`, and `ModelCache` for nodes that ask a model more than once. Not for: building graphs.
Invariant: what a node has written is durable before the next step begins, and a node that has written is not run
again; nodes that run side by side are recorded each by itself, in whatever order they end.

The seam is LangGraph's own: a checkpointer. Checkpoints and the writes of single nodes become notes in the task's
journal; a further attempt gives them back to the graph, which continues where they end.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from langchain_core.caches import BaseCache
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.errors import EmptyInputError, GraphRecursionError, InvalidUpdateError
from langgraph.pregel import Pregel
from langgraph.types import Command, StreamMode
from pydantic import BaseModel
from pydantic.errors import PydanticUserError
from typing_extensions import override

from consort import Agent, Effect, TaskContext, TaskError
from consort_adapters._ledger import PLAIN, digest_of, plain
from consort_adapters._session import Schema, Session, active, attend, declare
from consort_adapters._types import Prompt, TextAnswer, Usage, fit

__all__ = ["ModelCache", "from_langgraph"]

FINAL = (GraphRecursionError, InvalidUpdateError, EmptyInputError)
"""Failures that another attempt would only meet again."""

_THREAD = "task"


def from_langgraph(
    name: str,
    graph: Pregel[Any, Any, Any, Any],
    *,
    capability: str,
    input: Any = None,
    output: Any = None,
    state: Callable[[Any], Any] | None = None,
    context: Callable[[TaskContext, Any], Any] | None = None,
    config: RunnableConfig | None = None,
    serde: SerializerProtocol | None = None,
    effect: Effect = "read",
    durable: bool = True,
    description: str | None = None,
    version: str = "1.0.0",
    **options: Any,
) -> Agent:
    """A Consort agent whose one capability runs a LangGraph graph.

    `input` and `output` are the graph's own schemas by default; a graph of messages alone takes a `Prompt`
    and gives a `TextAnswer`. `state` makes the graph's input of the capability's, `context` its run context; `config`
    is merged into the run's; `serde` writes the graph's state into the journal (LangGraph's own by default).
    An `interrupt` of the graph becomes an approval that a person decides. A graph that was compiled with a checkpointer
    keeps it, with the task as its thread, and may not interrupt. `effect` says what a repeat may do: choose
    `write` where nodes change the world and must not be repeated blindly. `durable=False` records nothing. `options`
    go to `consort.Agent`.
    """
    chat = _is_chat(graph)
    declared_in = (Prompt if chat else _schema(graph, "input")) if input is None else input
    declared_out = (TextAnswer if chat else _schema(graph, "output")) if output is None else output
    begin = state or (_messages if chat and input is None else _document)

    async def work(session: Session, value: Any) -> Any:
        extra = {} if context is None else {"context": context(session.task, value)}
        values = await _Run(session, graph, config, serde, extra).to_end(begin(value))
        if output is not None:
            return fit(output, _shown(values))
        if chat:
            return TextAnswer(text=_last_text(values), usage=session.usage)
        return plain(_shown(values))

    async def handle(ctx: TaskContext, value: Any) -> Any:
        return await attend(ctx, lambda session: work(session, value), durable=durable, final=FINAL)

    made = Agent(name, version=version, **options)
    return declare(
        made, capability, input=declared_in, output=declared_out, effect=effect, description=description, handler=handle
    )


def _is_chat(graph: Pregel[Any, Any, Any, Any]) -> bool:
    """Whether the graph takes messages and nothing else."""
    channels = graph.output_channels
    return list([channels] if isinstance(channels, str) else channels) == ["messages"]


def _schema(graph: Pregel[Any, Any, Any, Any], side: Literal["input", "output"]) -> Any:
    try:
        schema = graph.get_input_jsonschema() if side == "input" else graph.get_output_jsonschema()
    except PydanticUserError:
        # `typing.TypedDict` has no schema before Python 3.12; `typing_extensions.TypedDict` has.
        schema = {"type": "object"}
    return Schema(schema)


def _messages(value: Any) -> dict[str, Any]:
    return {"messages": [("user", value.prompt)]}


def _document(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value


def _shown(values: Any) -> Any:
    """The graph's values with messages as plain dictionaries."""
    if isinstance(values, BaseMessage):
        return values.model_dump(mode="json")
    if isinstance(values, Mapping):
        return {key: _shown(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_shown(value) for value in values]
    return values


def _last_text(values: Mapping[str, Any]) -> str:
    for message in reversed(values.get("messages", [])):
        if isinstance(message, AIMessage):
            return str(message.text)
    return ""


class _Run:
    """One attempt at a graph."""

    def __init__(
        self,
        session: Session,
        graph: Pregel[Any, Any, Any, Any],
        config: RunnableConfig | None,
        serde: SerializerProtocol | None,
        extra: dict[str, Any],
    ) -> None:
        self._session = session
        own = isinstance(graph.checkpointer, BaseCheckpointSaver)
        self._saver = None if own or not session.durable else JournalSaver(session, serde)
        self._graph = graph if self._saver is None else graph.copy(update={"checkpointer": self._saver})
        self._keeps = own or self._saver is not None
        base: dict[str, Any] = dict(config or {})
        thread = session.task.idempotency_key if own else _THREAD
        configurable = {**base.pop("configurable", {}), "thread_id": thread}
        callbacks = [*(base.pop("callbacks", None) or []), _Watcher(session)]
        self._config: Any = {**base, "configurable": configurable, "callbacks": callbacks}
        self._extra = extra
        self._values: Any = None

    async def to_end(self, begin: Any) -> Any:
        """Runs the graph to its end, from where an earlier attempt got to; returns its values."""
        given: Any = begin
        resume = None if self._saver is None else await self._saver.read_back()
        if self._keeps and await self._has_begun():
            given = None
        if resume is not None:
            given = Command(resume=resume)
        while True:
            await self._pass(given)
            if not self._keeps:
                return self._values
            snapshot = await self._graph.aget_state(self._config)
            if not snapshot.interrupts:
                return self._outcome(snapshot.values)
            given = Command(resume=await self._decide(snapshot.interrupts))

    async def _has_begun(self) -> bool:
        """Whether an earlier attempt left a checkpoint; the first one holds the input."""
        return (await self._graph.aget_state(self._config)).created_at is not None

    async def _pass(self, given: Any) -> None:
        """Runs the graph until it ends or is interrupted."""
        modes: list[StreamMode] = ["updates", "messages", "custom", "values"]
        durability: Any = {"durability": "sync"} if self._keeps else {}
        stream = self._graph.astream(
            given, self._config, stream_mode=modes, subgraphs=True, **durability, **self._extra
        )
        async for path, mode, payload in stream:
            if mode == "values" and not path:
                self._values = payload
            else:
                self._show(mode, payload)

    def _show(self, mode: str, payload: Any) -> None:
        if mode == "messages":
            message = payload[0]
            if isinstance(message, AIMessage):
                self._session.text(str(message.text))
        elif mode == "custom":
            self._session.show({"custom": plain(payload)})
        elif mode == "updates":
            replayed = bool((payload.get("__metadata__") or {}).get("cached"))
            for node in payload:
                if not node.startswith("__"):
                    self._session.progress(f"node {node}" + (" (from the journal)" if replayed else ""))

    async def _decide(self, interrupts: Sequence[Any]) -> dict[str, Any]:
        """Asks a person about each interrupt; the answers by the interrupts' ids."""
        answers = {}
        for interrupt in interrupts:
            detail = plain(interrupt.value)
            prompt = detail if isinstance(detail, str) else "the graph waits for a decision"
            if isinstance(detail, dict):
                prompt = next((str(detail[key]) for key in ("question", "prompt", "message") if key in detail), prompt)
            if self._saver is None:
                raise TaskError(
                    f"the graph waits for a person: {prompt}",
                    hint="compile the graph without a checkpointer of its own; the task's journal is one",
                )
            answers[interrupt.id] = plain(await self._saver.decide(interrupt.id, prompt, detail))
        return answers

    def _outcome(self, values: Any) -> Any:
        channels = self._graph.output_channels
        if isinstance(channels, str) or not isinstance(values, Mapping):
            return values
        return {key: values[key] for key in channels if key in values}


class JournalSaver(InMemorySaver):
    """A checkpointer that lives as long as the attempt, with everything in it recorded as notes of the journal."""

    def __init__(self, session: Session, serde: SerializerProtocol | None = None) -> None:
        """For one attempt."""
        super().__init__(serde=serde)
        self._session = session

    async def read_back(self) -> dict[str, Any] | None:
        """Takes what earlier attempts recorded; answers that the graph has not taken up yet are returned."""
        answers: dict[str, Any] = {}
        while (note := await self._session.ledger.next_note()) is not None:
            if note["kind"] == "question":
                # The entry after it is the approval itself: it must be asked here, to keep the journal's order.
                answers[note["id"]] = plain(await self._session.task.wait_approval(note["prompt"], note["detail"]))
                continue
            answers.clear()
            usage = Usage.model_validate(note["usage"])
            if usage.requests > self._session.usage.requests:
                self._session.usage = usage
            content = self.serde.loads_typed((note["type"], base64.b64decode(note["data"])))
            if note["kind"] == "checkpoint":
                super().put(*content)
            else:
                super().put_writes(*content)
        return answers or None

    async def decide(self, id: str, prompt: str, detail: Any) -> Any:
        """A person's decision on an interrupt, recorded with the question."""
        await self._session.ledger.note({"kind": "question", "id": id, "prompt": prompt, "detail": detail})
        return await self._session.task.wait_approval(prompt, detail)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keeps a checkpoint: of the values only those that are new, as the others are in earlier ones."""
        placed = super().put(config, checkpoint, metadata, new_versions)
        changed = {key: value for key, value in checkpoint["channel_values"].items() if key in new_versions}
        kept = {**checkpoint, "channel_values": changed}
        await self._note("checkpoint", (_place(config), kept, metadata, new_versions))
        return placed

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keeps what a node has written."""
        super().put_writes(config, writes, task_id, task_path)
        lasting = [(channel, value) for channel, value in writes if channel != "__error__"]
        if lasting:
            await self._note("writes", (_place(config), lasting, task_id, task_path))

    async def _note(self, kind: str, content: tuple[Any, ...]) -> None:
        form, data = self.serde.dumps_typed(content)
        note = {"kind": kind, "type": form, "data": base64.b64encode(data).decode()}
        await self._session.ledger.note({**note, "usage": self._session.usage.model_dump()})


def _place(config: RunnableConfig) -> dict[str, Any]:
    """Where in the thread something belongs; the rest of the configuration is made in each attempt."""
    found = config["configurable"]
    return {
        "configurable": {key: found[key] for key in ("thread_id", "checkpoint_ns", "checkpoint_id") if key in found}
    }


class _Watcher(AsyncCallbackHandler):
    """Shows watchers models and tools, and counts tokens."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @override
    async def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        parameters = kwargs.get("metadata") or {}
        self._session.progress(f"model {parameters.get('ls_model_name') or kwargs.get('name') or 'chat'}")

    @override
    async def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self._session.progress(f"tool {(serialized or {}).get('name') or kwargs.get('name') or 'tool'}")

    @override
    async def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        for generation in (one for several in response.generations for one in several):
            used = (
                generation.message.usage_metadata
                if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage)
                else None
            )
            self._session.usage.add(
                input_tokens=used["input_tokens"] if used else 0, output_tokens=used["output_tokens"] if used else 0
            )


class ModelCache(BaseCache):
    """Records single answers of a LangChain model, for nodes that ask more than once: `ChatModel(cache=ModelCache())`.

    Outside of a task, and in code that blocks the event loop itself, it finds and keeps nothing.
    """

    def lookup(self, prompt: str, llm_string: str) -> Any:
        """The recorded answer, for synchronous nodes."""
        session = active()
        if session is None or not session.durable or not session.may_wait:
            return None
        return _generations(session.wait(self._find(session, prompt, llm_string)))

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        """Records an answer, for synchronous nodes."""
        session = active()
        if session is not None and session.durable and session.may_wait:
            session.wait(self._keep(session, prompt, llm_string, return_val))

    async def alookup(self, prompt: str, llm_string: str) -> Any:
        """The recorded answer."""
        session = active()
        if session is None or not session.durable:
            return None
        return _generations(await self._find(session, prompt, llm_string))

    async def aupdate(self, prompt: str, llm_string: str, return_val: Any) -> None:
        """Records an answer."""
        session = active()
        if session is not None and session.durable:
            await self._keep(session, prompt, llm_string, return_val)

    def clear(self, **kwargs: Any) -> None:
        """Nothing: a task's journal is not cleared."""

    async def _find(self, session: Session, prompt: str, llm_string: str) -> Any:
        found = await session.find("model", digest_of("model", [prompt, llm_string]))
        return None if found is None else found.value

    async def _keep(self, session: Session, prompt: str, llm_string: str, answer: Any) -> None:
        document = [dumpd(generation) for generation in answer]
        await session.ledger.answer("model", digest_of("model", [prompt, llm_string]), document, PLAIN)


def _generations(document: Any) -> Any:
    return None if document is None else [load(one, allowed_objects="core") for one in document]
