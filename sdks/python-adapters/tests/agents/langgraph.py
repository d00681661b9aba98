"""A worker with LangGraph graphs on a scripted model."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from consort_adapters.langgraph import JournalSaver, ModelCache, from_langgraph
from tests.scripted import asked, serve, status_error, times


class Scripted(BaseChatModel):
    """Asks two tools at once, then answers; some prompts make trouble."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _answer(self, messages: list[BaseMessage]) -> AIMessage:
        prompt = str(messages[0].content)
        asked(f"model {len(messages)}" if prompt in KNOWN else f"model {prompt}")
        if prompt == "limit once" and times("model 1") == 1:
            raise status_error(429)
        if prompt == "refuse":
            raise status_error(401)
        usage: Any = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
        if prompt == "use tools" and len(messages) == 1:
            calls: Any = [
                {"name": "slow", "args": {"word": "a"}, "id": "one"},
                {"name": "quick", "args": {"word": "b"}, "id": "two"},
            ]
            return AIMessage("", tool_calls=calls, usage_metadata=usage)
        return AIMessage("all done" if prompt in KNOWN else prompt.upper(), usage_metadata=usage)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._answer(messages)
        words = str(answer.content).split(" ")
        for index, word in enumerate(words):
            last = index == len(words) - 1
            chunk = AIMessageChunk(
                content=word if last else f"{word} ",
                tool_calls=answer.tool_calls if last else [],
                usage_metadata=answer.usage_metadata if last else None,
            )
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        if messages[0].content == "hang":
            asked("model 1")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asked("cancelled")
                raise
        for chunk in self._stream(messages):
            yield chunk


KNOWN = ("use tools", "limit once", "refuse", "hang", "hello")
model = Scripted()
cached = Scripted(cache=ModelCache())
_quick_done = asyncio.Event()


@tool
async def quick(word: str) -> str:
    """Ends first."""
    asked("tool quick")
    _quick_done.set()
    return word.upper()


@tool
async def slow(word: str) -> str:
    """Begins first and ends last."""
    await _quick_done.wait()
    asked("tool slow")
    return word.upper()


def chat() -> Any:
    """The usual loop of a model and its tools."""

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode([slow, quick]))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    return graph.compile()


class Finding(BaseModel):
    """What a branch has found."""

    text: str


class Question(TypedDict):
    topic: str


class Report(TypedDict):
    findings: Annotated[list[Finding], operator.add]


class State(Question, Report):
    pass


left_is_durable = asyncio.Event()
_put_writes = JournalSaver.aput_writes


async def _put_and_tell(
    self: JournalSaver, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
) -> None:
    """Returns once the left node is recorded: the right one waits for that before it can be killed."""
    await _put_writes(self, config, writes, task_id, task_path)
    if any(channel == "findings" for channel, _ in writes):
        left_is_durable.set()


def fan_out() -> Any:
    """Two nodes side by side, one of them synchronous; the second ends last and asks its model twice."""

    async def plan(state: State) -> dict[str, Any]:
        get_stream_writer()({"planned": state["topic"]})
        return {}

    def left(state: State) -> dict[str, Any]:
        return {"findings": [Finding(text=str(model.invoke("left").content))]}

    async def right(state: State) -> dict[str, Any]:
        if not times("model first"):
            await left_is_durable.wait()
        first = await cached.ainvoke("first")
        second = await cached.ainvoke("second")
        return {"findings": [Finding(text=f"{first.content} {second.content}")]}

    graph = StateGraph(State, input_schema=Question, output_schema=Report)
    for name, node in (("plan", plan), ("left", left), ("right", right)):
        graph.add_node(name, node)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "left")
    graph.add_edge("plan", "right")
    graph.add_edge(["left", "right"], END)
    return graph.compile()


class Draft(TypedDict, total=False):
    text: str
    verdict: str


def reviewed() -> Any:
    """A graph that waits for a person, twice in one node."""

    async def write(state: Draft) -> Draft:
        return {"text": str((await model.ainvoke("draft")).content)}

    def review(state: Draft) -> Draft:
        first = interrupt({"question": "publish?", "text": state["text"]})
        second = interrupt("really?")
        return {"verdict": f"{first['approved']} {second['approved']}"}

    graph = StateGraph(Draft)
    graph.add_node("write", write)
    graph.add_node("review", review)
    graph.add_edge(START, "write")
    graph.add_edge("write", "review")
    graph.add_edge("review", END)
    return graph.compile()


if __name__ == "__main__":
    JournalSaver.aput_writes = _put_and_tell  # type: ignore[method-assign]
    serve(
        from_langgraph("langgraph-chat", chat(), capability="langgraph.chat"),
        from_langgraph("langgraph-fan", fan_out(), capability="langgraph.fan"),
        from_langgraph("langgraph-review", reviewed(), capability="langgraph.review"),
    )
