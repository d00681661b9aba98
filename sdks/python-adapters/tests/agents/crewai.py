"""A worker with CrewAI crews on a scripted model."""

from __future__ import annotations

import threading
from typing import Any

from crewai import Agent, BaseLLM, Crew, Task
from crewai.llms.base_llm import llm_call_context
from crewai.tools import tool
from openai.types.chat import ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel

from consort_adapters.crewai import from_crewai
from tests.scripted import asked, serve, status_error, times


class City(BaseModel):
    """A typed answer."""

    name: str
    people: int


class Scripted(BaseLLM):
    """Asks a tool, then answers; some topics make trouble."""

    def call(
        self,
        messages: Any,
        tools: Any = None,
        callbacks: Any = None,
        available_functions: Any = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: Any = None,
    ) -> Any:
        said = str(messages)
        role = from_agent.role if from_agent is not None else "unknown"
        turn = sum(message["role"] == "tool" for message in messages)
        asked(f"model {role} {turn}")
        self._track_token_usage_internal({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7})
        if "limit once" in said and times("model researcher 0") == 1:
            # A gateway that is down: a rate limit is tried again by CrewAI itself.
            raise status_error(503)
        if "refuse" in said:
            raise status_error(401)
        if "hang" in said:
            hanging.wait()
        if tools and turn == 0:
            call = {"id": "one", "type": "function", "function": {"name": "look", "arguments": '{"word": "a"}'}}
            return [ChatCompletionMessageFunctionToolCall.model_validate(call)]
        text = '{"name": "Oslo", "people": 700000}' if role == "geographer" else f"done by {role}"
        with llm_call_context():
            self._emit_stream_chunk_event(chunk=text, from_task=from_task, from_agent=from_agent)
        return text

    def supports_function_calling(self) -> bool:
        return True


hanging = threading.Event()


@tool("look")
def look(word: str) -> str:
    """Looks a word up."""
    asked("tool look")
    return word.upper()


def pair() -> Crew:
    """A researcher with a tool, and a writer on the same model object."""
    model = Scripted(model="scripted")
    researcher = Agent(role="researcher", goal="Know {topic}", backstory="Curious.", llm=model, tools=[look])
    writer = Agent(role="writer", goal="Write", backstory="Brief.", llm=model)
    research = Task(description="Research {topic}", expected_output="facts", agent=researcher)
    write = Task(description="Write it up", expected_output="a text", agent=writer, context=[research])
    return Crew(agents=[researcher, writer], tasks=[research, write])


def geography() -> Crew:
    """A crew with a typed result."""
    agent = Agent(role="geographer", goal="Know", backstory="Travelled.", llm=Scripted(model="scripted"))
    task = Task(description="Which city? {topic}", expected_output="a city", agent=agent, output_pydantic=City)
    return Crew(agents=[agent], tasks=[task])


if __name__ == "__main__":
    serve(
        from_crewai("crewai-pair", pair(), capability="crewai.pair"),
        # A function that makes a crew serves as well.
        from_crewai("crewai-typed", geography, capability="crewai.typed"),
    )
