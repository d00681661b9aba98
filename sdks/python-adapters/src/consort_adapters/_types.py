"""What goes in and out where a framework declares no type of its own.

For: schemas that people see in `consort agents show`. Not for: the frameworks' messages.
Invariant: each is an object, so that a workflow can name its parts.
"""

from __future__ import annotations

from typing import Any

import pydantic
from pydantic import BaseModel, Field

from consort import TaskError


class Usage(BaseModel):
    """Tokens and requests that a task took, replayed answers included, as far as the framework reports them."""

    requests: int = Field(default=0, ge=0, description="How many answers of models the task used")
    input_tokens: int = Field(default=0, ge=0, description="Tokens that were sent")
    output_tokens: int = Field(default=0, ge=0, description="Tokens of the answers")

    def add(self, *, input_tokens: int | None, output_tokens: int | None) -> None:
        """Counts one more answer."""
        self.requests += 1
        self.input_tokens += input_tokens or 0
        self.output_tokens += output_tokens or 0


class Prompt(BaseModel):
    """The input of an agent that is asked in plain words."""

    prompt: str = Field(description="What the agent is asked")


class TextAnswer(BaseModel):
    """The output of an agent that answers in plain words."""

    text: str = Field(description="The answer")
    usage: Usage = Field(default_factory=Usage, description="What the answer took")


def prompt_of(value: Any) -> str:
    """The words to ask an agent with: the only text of the input, or else the whole input as JSON."""
    if isinstance(value, str):
        return value
    document = pydantic.TypeAdapter(type(value)).dump_python(value, mode="json")
    if isinstance(document, dict) and len(document) == 1:
        (only,) = document.values()
        if isinstance(only, str):
            return only
    return pydantic.TypeAdapter(Any).dump_json(document).decode()


def fit(output: Any, value: Any) -> Any:
    """The framework's result as a value of the declared output type."""
    if isinstance(output, type) and isinstance(value, output):
        return value
    document = value.model_dump() if isinstance(value, BaseModel) else value
    if isinstance(document, str) and not (output is str or output is Any):
        try:
            return pydantic.TypeAdapter(output).validate_json(document)
        except pydantic.ValidationError as error:
            raise misfit(error) from error
    try:
        return pydantic.TypeAdapter(output).validate_python(document)
    except pydantic.ValidationError as error:
        raise misfit(error) from error


def misfit(error: pydantic.ValidationError) -> TaskError:
    """A result that does not fit the declared output; another attempt may bring a better one."""
    first = error.errors(include_url=False, include_context=False)[0]
    path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    message = f"the framework's result does not fit the declared output at `{path}`: {first['msg'].lower()}"
    return TaskError(message, code="C0311", retryable=True)
