"""What values of Python become as documents, and which are refused.

For: every way out of the process. Not for: the types of inputs and outputs (see `test_agent`).
Invariant: nothing here depends on the hash seed of the process that runs it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import pytest
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, PlainSerializer, SecretStr, computed_field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from consort import Agent, Client, Code, ConsortError, TaskContext, TaskError
from consort._documents import write, write_sorted

from .fake import hosting, hosting_code

NAN, INF = float("nan"), float("inf")


class Colour(Enum):
    """A text of a fixed set."""

    RED = "red"


class Number(IntEnum):
    """A number of a fixed set."""

    ONE = 1


class Named(NamedTuple):
    """A tuple with names."""

    x: int


@dataclasses.dataclass
class Plain:
    """A dataclass whose member may be anything."""

    value: Any


@pydantic_dataclass
class Checked:
    """A dataclass of Pydantic."""

    value: Any


class Score(BaseModel):
    """A model with a number."""

    value: float


class Loose(BaseModel):
    """A model whose member may be anything."""

    value: Any = None


class Texts(BaseModel):
    """A model that writes such numbers as text, because its author wants it."""

    model_config = ConfigDict(ser_json_inf_nan="strings")
    value: float


class Constants(BaseModel):
    """A model that writes such numbers as they are."""

    model_config = ConfigDict(ser_json_inf_nan="constants")
    value: float


class Tags(BaseModel):
    """A model with sets."""

    tags: set[str] = Field(alias="Tags", default_factory=set)
    pairs: frozenset[tuple[str, frozenset[str]]] = frozenset()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def upper(self) -> set[str]:
        return {tag.upper() for tag in self.tags}


class Encoded(BaseModel):
    """A model that says how its bytes become text."""

    data: Base64Bytes


class Configured(BaseModel):
    """A model that says it for all its bytes."""

    model_config = ConfigDict(ser_json_bytes="base64")
    data: bytes


class Raw(BaseModel):
    """A model that does not say it."""

    data: bytes


class Hooked(BaseModel):
    """A model with serialisers of its author's own."""

    secret: SecretStr = SecretStr("x")
    span: Annotated[timedelta, PlainSerializer(lambda span: span.total_seconds())] = timedelta(minutes=1)
    ranked: Annotated[set[str], PlainSerializer(lambda tags: sorted(tags, reverse=True))] = {"a", "b", "c"}


class Frozen(BaseModel):
    """A model that can be in a set."""

    model_config = ConfigDict(frozen=True)
    x: int


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "document"),
    [
        (None, None),
        ((1, True, 1.5, "é"), [1, True, 1.5, "é"]),
        (deque([1]), [1]),
        ((number for number in [1, 2]), [1, 2]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({3, 20, 1}), [1, 20, 3]),
        ([{("b", frozenset({"z", "y"})), ("a", frozenset())}], [[["a", []], ["b", ["y", "z"]]]]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (OrderedDict(a=1), {"a": 1}),
        ({1: "a", Colour.RED: "b", False: "c"}, {"1": "a", "red": "b", "false": "c"}),
        ({1.5: 1, date(2026, 1, 2): 2, UUID(int=1): 3}, {"1.5": 1, "2026-01-02": 2, str(UUID(int=1)): 3}),
        ([Colour.RED, Number.ONE, Named(1)], ["red", 1, [1]]),
        (datetime(2026, 1, 2, tzinfo=timezone.utc), "2026-01-02T00:00:00Z"),
        (timedelta(hours=1), "PT1H"),
        ([Decimal("0.10"), UUID(int=1), Path("a/b")], ["0.10", str(UUID(int=1)), "a/b"]),
        ([2**64 - 1, -(2**63)], [18446744073709551615, -9223372036854775808]),
        (Plain({"b", "a"}), {"value": ["a", "b"]}),
        (Checked({"b", "a"}), {"value": ["a", "b"]}),
        (Loose(value={"x": {"b", "a"}}), {"value": {"x": ["a", "b"]}}),
        (Loose(value=Plain(frozenset({"b", "a"}))), {"value": {"value": ["a", "b"]}}),
        (
            Tags(Tags={"b", "a"}, pairs=frozenset({("q", frozenset({"d", "c"}))})),
            {"Tags": ["a", "b"], "pairs": [["q", ["c", "d"]]], "upper": ["A", "B"]},
        ),
        (Encoded(data=b"aGk="), {"data": "aGk="}),
        (Encoded(data=b""), {"data": ""}),
        (Configured(data=b"hi"), {"data": "aGk="}),
        (Texts(value=NAN), {"value": "NaN"}),
        (Hooked(), {"secret": "**********", "span": 60.0, "ranked": ["c", "b", "a"]}),
        (nested(64), nested(64)),
    ],
)
def test_each_type_becomes_one_document(value: Any, document: Any) -> None:
    data = write("x", value)
    assert json.loads(data) == document


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (NAN, "`$` is `nan`"),
        ({"a": [1, {"b": INF}]}, "`$.a[1].b` is `inf`"),
        ({NAN: 1}, "`$` has the key `nan`"),
        (Score(value=NAN), "`$.value` is `nan`"),
        ([Score(value=-INF)], "`$[0].value` is `-inf`"),
        (Loose(value=NAN), "`$.value` is `nan`"),
        (Loose(value=[{"a": NAN}]), "`$.value[0].a` is `nan`"),
        (Loose(value={NAN, "a", 1, 2, 3}), "`$.value` is `nan`"),
        (Loose(value=Plain(NAN)), "`$.value.value` is `nan`"),
        (Constants(value=NAN), "`$.value` is `nan`"),
        (Plain(NAN), "`$.value` is `nan`"),
        (Checked(NAN), "`$.value` is `nan`"),
        (Decimal("NaN"), "`$` is `NaN`"),
        (Loose(value=Decimal("Infinity")), "`$.value` is `Infinity`"),
        (1j, "of the type `complex`"),
        (Loose(value=[1j]), "`$.value[0]` is of the type `complex`"),
        (b"plain", "`$` is of the type `bytes`"),
        (b"", "`$` is of the type `bytes`"),
        ([bytearray(b"\xff")], "`$[0]` is of the type `bytearray`"),
        (Raw(data="é".encode()), "`$.data` is of the type `bytes`"),
        (Raw(data=b"\xff"), "`$.data` is of the type `bytes`"),
        (Loose(value=b"x"), "`$.value` is of the type `bytes`"),
        ({(1, 2): 1}, "has a key of the type `tuple`"),
        ({None: 1}, "has a key of the type `NoneType`"),
        (Loose(value={(1, 2): 1}), "`$.value` has a key of the type `tuple`"),
        ({1: "a", "1": "b"}, "`$` has two keys that both become `1`"),
        (Loose(value=[{1: "a", "1": "b"}]), "`$.value[0]` has two keys that both become `1`"),
        ("\ud800", "`$` has half of a character"),
        ({"a": "x\udfff"}, "`$.a` has half of a character (a lone surrogate) at 1"),
        ({"\ud800": 1}, "`$` has half of a character"),
        (Loose(value="\ud800"), "`$.value` has half of a character"),
        (2**64, "`$` is a whole number beyond 64 bits"),
        ([-(2**63) - 1], "`$[0]` is a whole number beyond 64 bits"),
        (Loose(value=2**70), "`$.value` is a whole number beyond 64 bits"),
        (object(), "`$` is of the type `object`"),
        ({"f": [len]}, "`$.f[0]` is of the type `builtin_function_or_method`"),
        ({"t": int}, "`$.t` is of the type `type`"),
        (Loose(value={Frozen(x=1)}), "has a set of objects, which have no order"),
    ],
)
def test_what_json_does_not_have_is_refused_by_its_path(value: Any, message: str) -> None:
    for written in (write, write_sorted):
        with pytest.raises(TaskError) as error:
            written("output", value)
        assert (error.value.code, error.value.retryable) == (Code.BAD_JSON, False)
        assert message in error.value.message
        assert error.value.message.startswith("the output cannot be written as JSON: ")


@pytest.mark.parametrize("value", [nested(65), nested(100_000), Loose(value=nested(64)), {"a": Plain(nested(63))}])
def test_what_nests_too_deep_is_refused(value: Any) -> None:
    with pytest.raises(TaskError) as error:
        write("output", value)
    assert (error.value.code, error.value.retryable) == (Code.LIMIT_REACHED, False)
    assert error.value.message == "the output nests more than 64 levels deep, the limit is 64"


def test_a_value_that_contains_itself_nests_too_deep() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(TaskError) as error:
        write("output", value)
    assert error.value.code == Code.LIMIT_REACHED


@pytest.mark.parametrize(
    "kind", [dict, list, Any, dict[str, Any], list[Any], Loose, Plain, Score, float, set, set[Any]]
)
async def test_a_number_that_is_none_is_refused_whatever_the_annotation_says(kind: Any) -> None:
    values: dict[Any, Any] = {Loose: Loose(value=NAN), Plain: Plain(NAN), Score: Score(value=NAN), float: NAN}
    made = values.get(kind, {NAN} if "set" in str(kind) else [NAN] if "list" in str(kind) else {"a": NAN})
    agent = Agent("test")

    def work() -> Any:
        return made

    work.__annotations__["return"] = kind
    agent.add(work)
    async with hosting(agent) as rig:
        rig.offer()
        failure = await rig.failure()
        assert (failure.error.code, failure.retryable) == (Code.BAD_JSON, False)
        assert "nan" in failure.error.message


@pytest.mark.parametrize(
    "ask",
    [
        lambda ctx: ctx.run("x", lambda: {"a": NAN}),
        lambda ctx: ctx.call("x", {"a": NAN}),
        lambda ctx: ctx.call("x", Score(value=NAN)),
        lambda ctx: ctx.wait_approval("x", {"a": NAN}),
        lambda ctx: ctx.stream({"a": NAN}),
    ],
)
async def test_each_way_out_refuses_alike(ask: Callable[[TaskContext], Any]) -> None:
    async def code(ctx: TaskContext) -> None:
        await ask(ctx)

    async with hosting_code(code) as rig:
        rig.offer()
        message = await rig.session.next()
        if message is not None and message.HasField("record"):
            # The failure of an effect is permanent, so it is recorded first.
            rig.session.record("task-0", 0, message.record.entry)
            message = await rig.session.next()
        assert message is not None
        assert message.fail.error.code == Code.BAD_JSON
        assert "is `nan`" in message.fail.error.message


def test_clients_refuse_alike() -> None:
    with Client("http://127.0.0.1:1") as client:
        for send in (
            lambda: client.start_run("w", input=Score(value=INF)),
            lambda: client.signal_run("r", "go", {"a": {1: 1, "1": 2}}),
            lambda: client.start_run("w", input={"n": 2**70}),
        ):
            with pytest.raises(ConsortError) as error:
                send()
            assert error.value.code == Code.BAD_JSON


def test_an_input_of_a_request_may_nest_as_deep_as_the_server_takes_it() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(ConsortError) as error:
        client.start_run("w", input=nested(64))
    assert error.value.code == Code.UNREACHABLE


PROGRAM = """
from consort._documents import write, write_sorted
from tests.test_values import Loose, Plain, Tags
tags = {"alpha", "beta", "gamma", "delta", "epsilon"}
value = [tags, frozenset(tags), Loose(value={"x": tags}), Tags(Tags=tags), Plain(tags), {("a", frozenset(tags))}]
print(write("x", value).decode(), write_sorted("x", value).decode(), write("x", value, list).decode())
"""


def test_sets_are_written_alike_whatever_the_hash_seed() -> None:
    root = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - as a path of the environment
    outputs = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1
