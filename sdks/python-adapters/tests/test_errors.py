"""What failures of frameworks, vendors and transports mean for a task."""

from __future__ import annotations

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from consort import TaskError
from consort_adapters._errors import task_error
from consort_adapters._types import Prompt, fit, prompt_of


def status(code: int, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1:9/")
    response = httpx.Response(code, headers=headers, request=request)
    return httpx.HTTPStatusError("no", request=request, response=response)


def wrapped(cause: Exception) -> Exception:
    """A framework's own exception around another."""
    try:
        raise RuntimeError("the agent failed") from cause
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 529])
def test_busy_vendors_are_tried_again(code: int) -> None:
    assert task_error(wrapped(status(code))).retryable


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_refusals_are_final(code: int) -> None:
    assert not task_error(wrapped(status(code))).retryable


def test_the_vendor_says_when_to_come_back() -> None:
    assert task_error(status(429, **{"retry-after": "7"})).retry_after == 7
    assert task_error(status(429, **{"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT"})).retry_after == 0
    assert task_error(status(429, **{"retry-after": "soon"})).retry_after is None


def test_timeouts_and_lost_connections_are_tried_again() -> None:
    for error in (TimeoutError(), ConnectionResetError(), httpx.ConnectError("no"), httpx.ReadTimeout("slow")):
        assert task_error(wrapped(error)).retryable


def test_what_the_framework_calls_final_is_final_unless_the_transport_says_otherwise() -> None:
    assert not task_error(LookupError("no such tool"), (LookupError,)).retryable
    assert task_error(LookupError("no such tool")).retryable
    assert task_error(wrapped(status(503)), (RuntimeError,)).retryable


def test_validation_is_final_and_a_task_error_stays_what_it_is() -> None:
    with pytest.raises(ValidationError) as caught:
        Prompt.model_validate({})
    assert not task_error(caught.value).retryable
    own = TaskError("diverged", code="C0303")
    assert task_error(wrapped(own)) is own


def test_members_of_a_group_count() -> None:
    class GroupError(Exception):
        exceptions = (status(401),)

    assert not task_error(GroupError("all failed")).retryable


class Order(BaseModel):
    item: str
    count: int


def test_a_prompt_is_the_only_text_or_the_whole_input() -> None:
    assert prompt_of(Prompt(prompt="why")) == "why"
    assert prompt_of({"question": "why"}) == "why"
    assert prompt_of(Order(item="pen", count=2)) == '{"item":"pen","count":2}'


def test_a_result_is_made_to_fit_the_declared_output() -> None:
    made = Order(item="pen", count=2)
    assert fit(Order, made) is made
    assert fit(Order, '{"item":"pen","count":2}') == made
    assert fit(Order, {"item": "pen", "count": 2, "more": True}) == made
    assert fit(str, "text") == "text"
    with pytest.raises(TaskError, match=r"\$\.count") as caught:
        fit(Order, {"item": "pen", "count": "many"})
    assert caught.value.retryable
