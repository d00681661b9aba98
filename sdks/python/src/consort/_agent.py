"""Agents and their capabilities: what is declared, and the code behind it.

For: saying what an agent can do, with typed inputs and outputs. Not for: running it (see `_worker`).
Invariant: what a capability declares is derived from the types of its function, unless the author overrides it.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, Final, Literal, TypeVar, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from typing_extensions import NotRequired, TypedDict, is_typeddict

from consort._attempt import Runner, call
from consort._context import TaskContext, enter
from consort._documents import adapter, misfit, read, write
from consort._errors import Code, ConsortError, Seconds, microseconds
from consort._proto.v1 import common_pb2

F = TypeVar("F", bound=Callable[..., Any])

Effect = Literal["read", "idempotent", "write"]
"""What repeating a capability may do to the world.

`read` changes nothing, `idempotent` may be repeated, `write` must not be repeated blindly.
"""

OrderBy = Literal["subject", "partitionkey"]
"""By what the events of a subscription are ordered."""

_ORDERS: Final = {
    None: common_pb2.EVENT_ORDER_UNSPECIFIED,
    "subject": common_pb2.EVENT_ORDER_SUBJECT,
    "partitionkey": common_pb2.EVENT_ORDER_PARTITIONKEY,
}

_EFFECTS: Final = {
    "read": common_pb2.EFFECT_CLASS_READ,
    "idempotent": common_pb2.EFFECT_CLASS_IDEMPOTENT,
    "write": common_pb2.EFFECT_CLASS_WRITE,
}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_POSITIONAL: Final = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
_VARIADIC: Final = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


@dataclass(frozen=True)
class _Shape:
    """How a function takes its input."""

    context: str | None
    """The parameter that takes the context."""
    whole: str | None
    """The parameter that takes the whole input; nothing where its members are parameters of their own."""
    kind: Any
    """The type of the input; nothing where the function takes none and any will do."""
    output: Any
    """The type of the output."""


class Capability:
    """A named skill: its declaration and its code."""

    def __init__(
        self, function: Callable[..., Any], declaration: common_pb2.CapabilityDeclaration, shape: _Shape
    ) -> None:
        """Made by `Agent.capability`."""
        self._function = function
        self._shape = shape
        self.declaration = declaration

    @property
    def name(self) -> str:
        """Its name."""
        return self.declaration.name

    async def invoke(self, context: TaskContext, data: bytes, threads: Runner) -> bytes:
        """Does the work of one attempt: a document in, a document out."""
        enter(context)
        shape = self._shape
        value = {} if shape.kind is None else read("input", data, shape.kind, Code.BAD_INPUT)
        arguments: dict[str, Any] = {shape.whole: value} if shape.whole else dict(value)
        if shape.context:
            arguments[shape.context] = context
        # By name where that is possible: then the order of the parameters does not matter.
        result = await call(functools.partial(self._function, **arguments), threads)
        if shape.output is not Any:
            try:
                result = adapter(shape.output).validate_python(result)
            except ValidationError as error:
                raise misfit("output", error, Code.BAD_OUTPUT) from error
        return write("output", result, shape.output)


class Agent:
    """An agent: a name, a version and what it can do.

    ```python
    agent = Agent("writer", version="1.0.0")

    @agent.capability("summarise", effect="read")
    async def summarise(ctx: TaskContext, input: Article) -> Summary: ...
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        version: str = "0",
        description: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """An agent that can do nothing yet. Where `version` is semantic, tasks can request a range of versions."""
        self.name = checked_name("agent", name)
        self.version = version
        self.description = description
        self.labels = dict(labels or {})
        self._capabilities: dict[str, Capability] = {}
        self._subscriptions: dict[str, common_pb2.SubscriptionDeclaration] = {}

    @property
    def capabilities(self) -> Mapping[str, Capability]:
        """What it can do, by name."""
        return self._capabilities

    def capability(
        self,
        name: str | None = None,
        *,
        effect: Effect = "idempotent",
        description: str | None = None,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        cost_hint_microdollars: int | None = None,
        time_hint: Seconds | None = None,
    ) -> Callable[[F], F]:
        """Makes a function a capability of this agent; the function itself stays as it is.

        The input is what the function takes beside the context (the parameter of type `TaskContext`, or named `ctx`):
        a single parameter that is named `input`, or whose type is a Pydantic model, a dataclass or a `TypedDict`, takes
        the whole document; otherwise the document is an object with a member for each parameter. The schemas come from
        the annotations, the description from the first paragraph of the docstring, unless they are given here.
        Functions that are not async run on threads.
        """

        def decorate(function: F) -> F:
            self.add(
                function,
                name,
                effect=effect,
                description=description,
                input_schema=input_schema,
                output_schema=output_schema,
                cost_hint_microdollars=cost_hint_microdollars,
                time_hint=time_hint,
                names=sys._getframe(1).f_locals,  # noqa: SLF001
            )
            return function

        return decorate

    def add(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        *,
        effect: Effect = "idempotent",
        description: str | None = None,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        cost_hint_microdollars: int | None = None,
        time_hint: Seconds | None = None,
        names: Mapping[str, Any] | None = None,
        whole: bool = False,
    ) -> Capability:
        """Adds a capability whose code is this function; see `capability`.

        Annotations that are texts may use `names` beside those of the function's module; where none are given, those
        of the caller. With `whole`, a single parameter takes the whole document, whatever its name and type.
        """
        # Types are often defined beside the function.
        names = sys._getframe(1).f_locals if names is None else names  # noqa: SLF001
        name = checked_name("capability", name or str(getattr(function, "__name__", "")))
        if name in self._capabilities:
            raise ConsortError(
                f"agent `{self.name}` declares the capability `{name}` twice",
                code=Code.BAD_REQUEST,
                hint="give each capability a name of its own",
            )
        if effect not in _EFFECTS:
            raise ConsortError(
                f"`{effect}` is not an effect class", code=Code.BAD_REQUEST, hint="use `read`, `idempotent` or `write`"
            )
        shape = _shape(name, function, names, whole)
        declaration = common_pb2.CapabilityDeclaration(
            name=name,
            description=_first_paragraph(function) if description is None else description,
            effect=_EFFECTS[effect],
            input_schema=_schema(shape.kind, "validation", input_schema),
            output_schema=_schema(shape.output, "serialization", output_schema),
            cost_hint_microdollars=cost_hint_microdollars,
            time_hint_us=None if time_hint is None else microseconds(time_hint),
        )
        made = Capability(function, declaration, shape)
        self._capabilities[name] = made
        return made

    def subscription(
        self,
        topic: str,
        *,
        name: str | None = None,
        filter: str | None = None,  # noqa: A002
        order_by: OrderBy | None = None,
        max_deliveries: int | None = None,
        back_off: tuple[Seconds, Seconds] | None = None,
        timeout: Seconds | None = None,
        max_in_flight: int | None = None,
        keep: Seconds | None = None,
        from_start: bool = False,
        effect: Effect = "idempotent",
        description: str | None = None,
    ) -> Callable[[F], F]:
        """Has a function handle the events of a topic, each as a task; the function itself stays as it is.

        The parameter beside the context takes the event: its attributes by their names, `data`, `position` and
        `published`. When the task completes, the event is acknowledged; when it fails, it is tried again after the
        `back_off` (its first pause, and the longest), and is a dead letter after `max_deliveries` attempts.
        The server makes the subscription `AGENT.NAME` when this version of the agent first joins, and a capability of
        the same name is what handles an event.

        Args:
            topic: The topics: `*` is any one segment, `>` at the end the rest.
            name: Its name among those of the agent; that of the function without it.
            filter: Which of the events: CEL over `event`, such as `event.data.total > 100`.
            order_by: Handle events with the same key one at a time, in their order.
            max_deliveries: After how many attempts an event is a dead letter; 10 without it.
            back_off: The first pause between attempts, and the longest; 1 and 60 seconds without it.
            timeout: How long one attempt may take.
            max_in_flight: How many events are tasks at once; 64 without it.
            keep: How long the run of an acknowledged event is kept, to be looked at; not at all without it.
            from_start: Whether a new subscription begins with the oldest event that is kept.
            effect: What repeating the work may do to the world.
            description: What it does; the first paragraph of the docstring without it.
        """

        def decorate(function: F) -> F:
            own = checked_name("subscription", name or str(getattr(function, "__name__", "")))
            capability = checked_name("capability", f"{self.name}.{own}")
            names, order = sys._getframe(1).f_locals, _order(order_by)  # noqa: SLF001
            self.add(function, capability, effect=effect, description=description, names=names, whole=True)
            first, longest = (None, None) if back_off is None else (microseconds(pause) for pause in back_off)
            self._subscriptions[own] = common_pb2.SubscriptionDeclaration(
                name=own,
                topic=topic,
                capability=capability,
                filter=filter or "",
                order_by=order,
                max_deliveries=max_deliveries,
                back_off_first_us=first,
                back_off_longest_us=longest,
                timeout_us=None if timeout is None else microseconds(timeout),
                max_in_flight=max_in_flight,
                keep_us=None if keep is None else microseconds(keep),
                from_start=from_start,
            )
            return function

        return decorate

    def on_change(
        self,
        space: str,
        *,
        prefix: str = "",
        when: str | None = None,
        name: str | None = None,
        max_deliveries: int | None = None,
        back_off: tuple[Seconds, Seconds] | None = None,
        timeout: Seconds | None = None,
        max_in_flight: int | None = None,
        effect: Effect = "idempotent",
        description: str | None = None,
    ) -> Callable[[F], F]:
        """Has a function handle the changes of keys of a space, each as a task; those of one key in their order.

        It is a `subscription` to `state.SPACE.changed`, ordered by the key: `event["subject"]` is the key, and
        `event["data"]` has `change`, `version`, `value` and `writer`. The space must publish its changes:
        `consort state set SPACE --events`.

        Args:
            space: The space.
            prefix: Only keys that begin with this.
            when: Only changes for which this is true: CEL over `event`, such as `event.data.value.open`.
            name: As of `subscription`.
            max_deliveries: As of `subscription`.
            back_off: As of `subscription`.
            timeout: As of `subscription`.
            max_in_flight: As of `subscription`.
            effect: As of `subscription`.
            description: As of `subscription`.
        """
        conditions = [f"event.subject.startsWith({json.dumps(prefix)})"] if prefix else []
        conditions += [f"({when})"] if when else []
        return self.subscription(
            f"state.{space.replace('.', '/')}.changed",
            name=name,
            filter=" && ".join(conditions) or None,
            order_by="subject",
            max_deliveries=max_deliveries,
            back_off=back_off,
            timeout=timeout,
            max_in_flight=max_in_flight,
            effect=effect,
            description=description,
        )

    def find(self, name: str) -> Capability | None:
        """The capability of that name; with an empty name the only one."""
        if not name and len(self._capabilities) == 1:
            return next(iter(self._capabilities.values()))
        return self._capabilities.get(name)

    def declaration(self) -> common_pb2.AgentDeclaration:
        """What is declared to the server."""
        return common_pb2.AgentDeclaration(
            name=self.name,
            version=self.version,
            description=self.description,
            labels=self.labels,
            capabilities=[capability.declaration for capability in self._capabilities.values()],
            subscriptions=list(self._subscriptions.values()),
        )


def _order(order_by: OrderBy | None) -> common_pb2.EventOrder:
    if order_by not in _ORDERS:
        raise ConsortError(
            f"events cannot be ordered by `{order_by}`",
            code=Code.BAD_REQUEST,
            hint="use `subject` or `partitionkey`",
        )
    return _ORDERS[order_by]


def checked_name(what: str, name: str) -> str:
    """The name, if it is one."""
    if not _NAME.fullmatch(name):
        raise ConsortError(
            f"`{name}` cannot be a name of a {what}",
            code=Code.BAD_NAME,
            hint="use 1 to 128 letters, digits, `_`, `-` and `.`, and start with a letter or digit",
        )
    return name


def _first_paragraph(function: Callable[..., Any]) -> str:
    text = inspect.getdoc(function) if hasattr(function, "__name__") else None
    return " ".join((text or "").split("\n\n", 1)[0].split())


def _schema(kind: Any, mode: Literal["validation", "serialization"], given: Mapping[str, Any] | None) -> bytes:
    """The JSON Schema of a type, as JSON; empty where anything fits."""
    if given is not None:
        return write("schema", given)
    if kind is Any or kind is None:
        return b""
    try:
        return json.dumps(adapter(kind).json_schema(mode=mode)).encode()
    except PydanticInvalidForJsonSchema as error:
        raise ConsortError(
            f"`{kind}` has no JSON Schema: {str(error).splitlines()[0]}",
            code=Code.BAD_REQUEST,
            hint="give the schema by `input_schema` or `output_schema`",
        ) from error


def _shape(name: str, function: Callable[..., Any], names: Mapping[str, Any], whole: bool) -> _Shape:
    """Finds out how a function takes its input, from its signature."""
    try:
        hints = _hints(function, names)
    except NameError as error:
        raise ConsortError(
            f"capability `{name}` has an annotation that cannot be resolved: {error}",
            code=Code.BAD_REQUEST,
            hint="define the type before the function, or give it by `names`",
        ) from error
    parameters = list(inspect.signature(function).parameters.values())
    context = next((p.name for p in parameters if _is_context(p, hints)), None)
    inputs = [p for p in parameters if p.name != context]
    for parameter in inputs:
        if parameter.kind in _VARIADIC or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ConsortError(
                f"capability `{name}`: parameter `{parameter.name}` cannot be given by its name",
                code=Code.BAD_REQUEST,
                hint="use plain parameters, or one parameter named `input`",
            )
    output = hints.get("return", Any)
    if not inputs:
        return _Shape(context, None, None, output)
    if len(inputs) == 1 and (whole or _is_whole(inputs[0].name, hints.get(inputs[0].name, Any))):
        only = inputs[0].name
        return _Shape(context, only, hints.get(only, Any), output)
    return _Shape(context, None, _object_of(name, inputs, hints), output)


def _hints(function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func
    if not (inspect.isfunction(target) or inspect.ismethod(target)):
        target = target.__call__
    return get_type_hints(target, localns=dict(names), include_extras=True)


def _is_context(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    kind = hints.get(parameter.name)
    return kind is TaskContext or (kind is None and parameter.name == "ctx" and parameter.kind in _POSITIONAL)


def _is_whole(name: str, kind: Any) -> bool:
    made = get_origin(kind) or kind
    model = isinstance(made, type) and (issubclass(made, BaseModel) or is_dataclass(made) or is_typeddict(made))
    return name == "input" or model


def _object_of(name: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any]) -> Any:
    """The type of an object with a member for each parameter, and no others."""
    members: dict[str, Any] = {}
    for parameter in parameters:
        kind = hints.get(parameter.name, Any)
        members[parameter.name] = kind if parameter.default is inspect.Parameter.empty else NotRequired[kind]
    make: Any = TypedDict
    made = make(f"Input of {name}", members)
    made.__pydantic_config__ = ConfigDict(extra="forbid")
    return made
