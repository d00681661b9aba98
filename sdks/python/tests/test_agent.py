"""What agents declare, and how documents become values.

For: signatures, schemas, validation, errors. Not for: running attempts on a server (see `test_life`).
Invariant: nothing here connects.
"""

from __future__ import annotations

import asyncio
import functools
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from consort import Agent, Code, ConsortError, Retry, Route, TaskContext, TaskError
from consort._attempt import Attempt, Timeouts
from consort._documents import json_path, read, write, write_sorted
from consort._errors import cut, microseconds, task_error
from consort._proto.v1 import common_pb2, worker_pb2
from consort._threads import Threads
from consort._transport import error_of


class Query(BaseModel):
    """A question."""

    text: str
    limit: Annotated[int, Field(ge=1)] = 10


class Search(BaseModel):
    """Several questions."""

    queries: list[Query]


@dataclass
class Found:
    """What was found."""

    hits: int


class Place(TypedDict):
    """Where."""

    city: str


class Aliased(BaseModel):
    """A model whose document has other names."""

    kind: str = Field(alias="type", serialization_alias="Type")


class NoHost:
    """A host for attempts whose code never asks anything."""

    timeouts = Timeouts(1, 1)
    threads = Threads(2)
    epoch = 1

    def send(self, message: Any) -> None:
        raise AssertionError(message)

    def concluded(self, attempt: Attempt, report: Any) -> None:
        raise AssertionError(report)

    def freed(self, attempt: Attempt) -> None:
        raise AssertionError


async def invoke(agent: Agent, name: str, value: Any) -> Any:
    """Runs a capability on a document, outside of any worker."""
    host = NoHost()
    context = TaskContext(Attempt(worker_pb2.Task(capability=name), host))
    capability = agent.find(name)
    assert capability is not None
    return json.loads(await capability.invoke(context, json.dumps(value).encode(), host.threads))


def same_again(input: Any) -> Any:
    return input


def schema(agent: Agent, name: str) -> tuple[Any, Any]:
    found = agent.capabilities[name].declaration
    return json.loads(found.input_schema or b"null"), json.loads(found.output_schema or b"null")


async def test_a_model_is_the_whole_input() -> None:
    agent = Agent("search", version="1.2")

    @agent.capability("find", effect="read", cost_hint_microdollars=3, time_hint=timedelta(seconds=2))
    async def find(ctx: TaskContext, request: Search) -> Found:
        """Finds things
        in places.

        This is more than a caller wants to know.
        """
        return Found(hits=sum(query.limit for query in request.queries))

    takes, gives = schema(agent, "find")
    assert takes["required"] == ["queries"]
    assert takes["$defs"]["Query"]["properties"]["limit"]["minimum"] == 1
    assert gives["properties"]["hits"]["type"] == "integer"
    declared = agent.declaration()
    assert (declared.name, declared.version) == ("search", "1.2")
    (find_declared,) = declared.capabilities
    assert find_declared.description == "Finds things in places."
    assert (find_declared.cost_hint_microdollars, find_declared.time_hint_us) == (3, 2_000_000)
    assert find_declared.effect == common_pb2.EFFECT_CLASS_READ
    assert await invoke(agent, "find", {"queries": [{"text": "a"}, {"text": "b", "limit": 1}]}) == {"hits": 11}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"queries": [{"text": "a"}, {"text": 3}]}, "`$.queries[1].text`: input should be a valid string"),
        ({"queries": [{}]}, "`$.queries[0].text`: field required"),
        (7, "`$`: input should be an object"),
        ({"queries": [{"text": 1}, {"text": 2}]}, "`$.queries[0].text`: input should be a valid string (and 1 more)"),
    ],
)
async def test_input_that_does_not_fit_is_named_by_its_path_and_not_tried_again(value: Any, found: str) -> None:
    agent = Agent("search")

    @agent.capability()
    def find(request: Search) -> None:
        raise AssertionError(request)

    with pytest.raises(TaskError) as error:
        await invoke(agent, "find", value)
    assert (error.value.code, error.value.retryable) == (Code.BAD_INPUT, False)
    assert error.value.message == f"the input does not fit at {found}"


async def test_parameters_are_members_of_the_input() -> None:
    agent = Agent("greeter")

    @agent.capability("greet")
    async def greet(name: str, ctx: TaskContext, *, mark: str = "!", times: Annotated[int, Field(le=3)] = 1) -> str:
        return ctx.capability + ":" + (name + mark) * times

    takes, _ = schema(agent, "greet")
    assert takes["required"] == ["name"]
    assert takes["additionalProperties"] is False
    assert takes["properties"]["times"]["maximum"] == 3
    assert await invoke(agent, "greet", {"name": "Ada", "times": 2}) == "greet:Ada!Ada!"
    for value in ({"name": "Ada", "tims": 2}, {}, {"name": "Ada", "times": 4}, "Ada"):
        with pytest.raises(TaskError) as error:
            await invoke(agent, "greet", value)
        assert error.value.code == Code.BAD_INPUT


async def test_one_parameter_is_the_whole_input_where_it_is_named_so_or_is_a_structure() -> None:
    agent = Agent("kinds")
    agent.add(same_again, "untyped")
    agent.add(lambda: 1, "none")

    @agent.capability("number")
    def number(input: int) -> int:
        return input + 1

    @agent.capability("place")
    def place(where: Place) -> str:
        return where["city"]

    @agent.capability("found")
    def found(what: Found) -> int:
        return what.hits

    @agent.capability("member")
    def member(city: str) -> str:
        return city

    assert schema(agent, "untyped") == (None, None)
    assert await invoke(agent, "untyped", [1, None]) == [1, None]
    assert await invoke(agent, "none", "whatever") == 1
    assert await invoke(agent, "number", 1) == 2
    assert await invoke(agent, "place", {"city": "Rome"}) == "Rome"
    assert await invoke(agent, "found", {"hits": 3}) == 3
    assert await invoke(agent, "member", {"city": "Rome"}) == "Rome"


async def test_methods_partials_and_callable_objects_can_be_capabilities() -> None:
    class Adder:
        def __init__(self, base: int) -> None:
            self.base = base

        async def add(self, input: int) -> int:
            return self.base + input

        async def __call__(self, number: int) -> int:
            return self.base * number

    agent = Agent("objects")
    agent.add(Adder(1).add)
    agent.add(Adder(3), "call")
    agent.add(functools.partial(Adder.add, Adder(5)), "partial")
    assert await invoke(agent, "add", 1) == 2
    assert await invoke(agent, "call", {"number": 2}) == 6
    assert await invoke(agent, "partial", 1) == 6


async def test_output_is_checked_and_written_as_its_schema_says() -> None:
    agent = Agent("outputs")

    @agent.capability("model")
    def model() -> Aliased:
        return Aliased(type="x")

    @agent.capability("coerced")
    def coerced() -> Found:
        return {"hits": 3}  # type: ignore[return-value]

    @agent.capability("liar")
    def liar() -> Search:
        return {"queries": [{"text": 1}]}  # type: ignore[return-value]

    @agent.capability("unwritable")
    def unwritable() -> Any:
        return object()

    @agent.capability("infinite")
    def infinite() -> float:
        return float("inf")

    _, gives = schema(agent, "model")
    assert list(gives["properties"]) == ["Type"]
    assert await invoke(agent, "model", None) == {"Type": "x"}
    assert await invoke(agent, "coerced", None) == {"hits": 3}
    for name, code, message in (
        ("liar", Code.BAD_OUTPUT, "the output does not fit at `$.queries[0].text`"),
        ("unwritable", Code.BAD_JSON, "the output cannot be written as JSON"),
        ("infinite", Code.BAD_JSON, "the output cannot be written as JSON: `$` is `inf`"),
    ):
        with pytest.raises(TaskError) as error:
            await invoke(agent, name, None)
        assert (error.value.code, error.value.retryable) == (code, False)
        assert error.value.message.startswith(message)


def test_given_schemas_replace_those_of_the_types() -> None:
    agent = Agent("given")
    agent.add(same_again, "any", input_schema={"type": "string"}, output_schema={"type": "null"})
    assert schema(agent, "any") == ({"type": "string"}, {"type": "null"})


def test_what_cannot_be_declared_is_refused() -> None:
    agent = Agent("a")
    agent.add(lambda: None, "work")

    def variadic(*inputs: int) -> None: ...

    def positional(first: int, /, second: int) -> None: ...

    class Odd:
        """No document."""

    def odd(input: Odd) -> None: ...

    def unknown(input: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    attempts: list[tuple[Any, str | None]] = [
        (lambda: None, "work"),
        (lambda: None, "not a name"),
        (lambda: None, None),
        (variadic, None),
        (positional, None),
        (odd, None),
        (unknown, None),
    ]
    for function, name in attempts:
        with pytest.raises(ConsortError) as error:
            agent.add(function, name)
        assert error.value.code in {Code.BAD_NAME, Code.BAD_REQUEST}
        assert error.value.hint
    with pytest.raises(ConsortError):
        agent.add(lambda: None, "more", effect="maybe")  # type: ignore[arg-type]
    with pytest.raises(ConsortError):
        Agent("ü")


def test_documents_are_strict_and_stable() -> None:
    assert write_sorted("x", {"b": 1, "a": {"d": 2.5, "c": "é"}}) == '{"a":{"c":"é","d":2.5},"b":1}'.encode()
    assert write("x", Query(text="a")) == b'{"text":"a","limit":10}'
    assert json_path(("a", 0, "b")) == "$.a[0].b"
    assert read("x", b'{"hits": 1}', Found, Code.BAD_INPUT) == Found(1)
    with pytest.raises(TaskError) as error:
        read("x", b"{", Any, Code.BAD_INPUT)
    assert error.value.code == Code.BAD_JSON
    with pytest.raises(TaskError):
        write("x", "\ud800")


def test_documents_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consort._documents.PAYLOAD_BYTES_MAX", 5)
    assert write("x", "abc") == b'"abc"'
    with pytest.raises(TaskError) as error:
        write("output", "abcd")
    assert error.value.code == Code.PAYLOAD_TOO_LARGE
    assert error.value.message == "the output has 6 bytes, the limit is 5"


def test_exceptions_become_failures() -> None:
    found = task_error(ValueError("no"))
    assert (found.code, found.message, found.retryable) == (Code.AGENT_FAILED, "ValueError: no", True)
    assert task_error(KeyError()).message == "KeyError"
    own = TaskError("mine")
    assert task_error(own) is own
    assert (own.retryable, TaskError("x", retry_after=1).retryable) == (False, True)
    assert task_error(ConsortError("busy", code=Code.OVERLOADED)).retryable
    assert not task_error(ConsortError("gone", code=Code.RUN_NOT_FOUND)).retryable
    with pytest.raises(ValueError, match="is not an error code"):
        TaskError("x", code="oops")
    assert str(ConsortError("busy", code=Code.OVERLOADED, hint="wait")) == "[C0401] busy (hint: wait)"


def test_long_messages_are_cut_between_characters() -> None:
    assert len(cut("é" * 4096).encode()) == 4096
    assert len(cut("x" + "é" * 4096).encode()) == 4095
    assert cut("\ud800") == "?"


def test_spans_are_seconds_or_timedeltas() -> None:
    assert microseconds(1.5) == microseconds(timedelta(seconds=1.5)) == 1_500_000
    for bad in (-1, float("nan"), float("inf")):
        with pytest.raises(TaskError):
            microseconds(bad)


def test_options_of_calls_are_written_down() -> None:
    assert Retry(3, initial=0.1, factor=1.5, max=timedelta(minutes=1)).wire() == worker_pb2.Retry(
        attempts=3, initial_us=100_000, factor_milli=1500, max_us=60_000_000
    )
    assert Route(version="^1", labels={"a": "b"}, sticky="s").wire() == common_pb2.Route(
        version="^1", labels={"a": "b"}, sticky="s"
    )


def test_errors_of_the_wire_keep_their_code() -> None:
    import grpc  # noqa: PLC0415 - used here alone

    wire = common_pb2.Error(code="C0102", message="no such workflow", hint="deploy it").SerializeToString()
    found = error_of(grpc.StatusCode.NOT_FOUND, "x", (("consort-error-bin", wire),), "here")
    assert (found.code, found.message, found.hint) == ("C0102", "no such workflow", "deploy it")
    away = error_of(grpc.StatusCode.UNAVAILABLE, "refused", (), "here")
    assert (away.code, away.is_unavailable) == (Code.UNREACHABLE, True)
    assert error_of(grpc.StatusCode.INTERNAL, "oops", None, "here").code == Code.INTERNAL
    for code, details, hint in (
        (grpc.StatusCode.UNIMPLEMENTED, "Received http2 header with status: 404", "where it takes workers"),
        (grpc.StatusCode.UNAVAILABLE, "Failed parsing HTTP/2", "something else than Consort listens there"),
        (grpc.StatusCode.UNAVAILABLE, "SSL routines:WRONG_VERSION_NUMBER", "write `http://`"),
        (grpc.StatusCode.UNAVAILABLE, "Connection refused", "that `consort up` runs"),
    ):
        mistaken = error_of(code, details, (), "http://here:1")
        assert "`http://here:1`" in mistaken.message
        assert hint in (mistaken.hint or "")


async def test_threads_are_made_when_they_are_needed_and_used_again() -> None:
    threads = Threads(2)
    names = {await threads.run(lambda: __import__("threading").current_thread().name) for _ in range(20)}
    assert len(names) <= 2
    results = await asyncio.gather(*(threads.run(functools.partial(int, n)) for n in range(50)))
    assert results == list(range(50))
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(lambda: next(iter(())))
    threads.close()


def test_no_task_runs_here() -> None:
    with pytest.raises(LookupError):
        TaskContext.current()


async def test_a_function_is_handed_events_whatever_its_parameter_is_called() -> None:
    shop = Agent("shop")

    @shop.subscription(
        "orders.>",
        name="orders",
        filter="event.data.total > 100",
        order_by="subject",
        max_deliveries=5,
        back_off=(1, timedelta(seconds=9)),
        timeout=7,
        effect="write",
    )
    async def handle(ctx: TaskContext, event: dict[str, Any]) -> str:
        """Bills an order."""
        return f"{event['subject']} {event['data']['total']}"

    declared = shop.declaration()
    (subscription,) = declared.subscriptions
    assert (subscription.name, subscription.topic, subscription.capability) == ("orders", "orders.>", "shop.orders")
    assert (subscription.filter, subscription.order_by) == ("event.data.total > 100", common_pb2.EVENT_ORDER_SUBJECT)
    assert (subscription.max_deliveries, subscription.timeout_us) == (5, 7_000_000)
    assert (subscription.back_off_first_us, subscription.back_off_longest_us) == (1_000_000, 9_000_000)
    assert not subscription.HasField("keep_us")
    assert declared.capabilities[0].description == "Bills an order."
    assert declared.capabilities[0].effect == common_pb2.EFFECT_CLASS_WRITE
    assert await invoke(shop, "shop.orders", {"subject": "o-17", "data": {"total": 120}}) == "o-17 120"
    with pytest.raises(ConsortError) as wrong:
        shop.subscription("a", order_by="age")(handle)  # type: ignore[arg-type]
    assert wrong.value.code == Code.BAD_REQUEST


def test_changes_of_a_space_are_a_subscription() -> None:
    solver = Agent("solver")

    @solver.on_change("team.board", prefix="problems/", when="event.data.value.open")
    def solve(event: dict[str, Any]) -> None:
        """Works on it."""

    (subscription,) = solver.declaration().subscriptions
    assert (subscription.topic, subscription.name) == ("state.team/board.changed", "solve")
    assert subscription.filter == 'event.subject.startsWith("problems/") && (event.data.value.open)'
    assert subscription.order_by == common_pb2.EVENT_ORDER_SUBJECT
