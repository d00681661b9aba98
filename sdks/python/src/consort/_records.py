"""What clients read: runs, events, inbox, agents.

For: typed answers of the client. Not for: the messages that carry them.
Invariant: plain values; instants are in UTC, documents are parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

from consort._documents import document
from consort._errors import ConsortError
from consort._proto.v1 import client_pb2, common_pb2


class RunStatus(str, Enum):
    """How far a run is."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"
    UNKNOWN = "unknown"
    """A status of a newer server."""

    @property
    def is_final(self) -> bool:
        """Whether it never changes again."""
        return self in {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.DELETED}

    @classmethod
    def of(cls, wire: int) -> RunStatus:
        """The status in a message."""
        try:
            name = client_pb2.RunStatus.Name(wire)
            return cls(name.removeprefix("RUN_STATUS_").lower())
        except ValueError:
            return cls.UNKNOWN

    @property
    def wire(self) -> Any:
        """As it stands in messages."""
        return client_pb2.RunStatus.Value(f"RUN_STATUS_{self.name}")


@dataclass(frozen=True, slots=True)
class Deployed:
    """A workflow that was deployed."""

    name: str
    revision: int
    hash: str
    """The content hash, in hexadecimal digits."""
    new: bool
    """Whether this revision is new."""


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """A workflow."""

    name: str
    revision: int
    version: str
    """As its author wrote it; may be empty."""
    description: str
    hash: str


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run."""

    id: str
    workflow: str
    status: RunStatus
    paused: bool
    created: datetime
    ended: datetime | None
    labels: Mapping[str, str]
    priority: int
    input: Any
    """Absent in listings."""
    output: Any
    """Absent in listings, and where there is none."""
    error: ConsortError | None
    """Why it failed or was cancelled."""

    @classmethod
    def of(cls, wire: client_pb2.Run) -> RunInfo:
        """The run in a message."""
        return cls(
            id=wire.run,
            workflow=wire.workflow,
            status=RunStatus.of(wire.status),
            paused=wire.paused,
            created=instant(wire.created_us),
            ended=instant(wire.ended_us) if wire.HasField("ended_us") else None,
            labels=dict(wire.labels),
            priority=wire.priority,
            input=document(wire.input),
            output=document(wire.output),
            error=error(wire.error) if wire.HasField("error") else None,
        )


@dataclass(frozen=True, slots=True)
class RunEvent:
    """An entry of a run's journal."""

    cursor: str
    """Its place: `watch(after=cursor)` gives what comes after it."""
    time: datetime
    step: str
    """The step's path; empty where it is about the run."""
    event: str
    """What happened, such as `step_completed`."""
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """What an attempt says that it is doing."""

    step: str
    attempt: int
    message: str


@dataclass(frozen=True, slots=True)
class Delta:
    """More of an attempt's partial output."""

    step: str
    attempt: int
    value: Any
    """Text, to be put behind what came before; anything else is a document of its own."""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run has ended; nothing follows."""

    run: RunInfo


@dataclass(frozen=True, slots=True)
class InboxItem:
    """What waits for a person."""

    task: str
    """What to name in the decision."""
    run: str
    workflow: str
    step: str
    since: datetime
    ask: str
    """`approval` or `unknown_outcome`."""
    title: str
    details: Any
    """What to decide upon."""


@dataclass(frozen=True, slots=True)
class SkillInfo:
    """What was observed of a capability, since the server started."""

    capability: str
    completed: int
    failed: int
    unknown: int
    expired: int
    lost: int
    p50: timedelta | None
    p95: timedelta | None


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """A live connection that takes tasks for an agent."""

    name: str
    client: str
    labels: Mapping[str, str]
    health: str
    reason: str
    held: int
    credit: int


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """A version of an agent: what it declares, and how it does."""

    name: str
    version: str
    description: str
    labels: Mapping[str, str]
    capabilities: tuple[str, ...]
    health: str
    """`healthy`, `degraded`, `unhealthy`, `draining` or `lost`."""
    reason: str
    weight: int
    draining: bool
    instances: tuple[InstanceInfo, ...]
    skills: tuple[SkillInfo, ...]

    @classmethod
    def of(cls, wire: client_pb2.Agent) -> AgentInfo:
        """The agent in a message."""
        declared = wire.declaration
        return cls(
            name=declared.name,
            version=declared.version,
            description=declared.description,
            labels=dict(declared.labels),
            capabilities=tuple(capability.name for capability in declared.capabilities),
            health=health(wire.health),
            reason=wire.reason,
            weight=wire.weight,
            draining=wire.draining,
            instances=tuple(_instance(found) for found in wire.instances),
            skills=tuple(_skill(found) for found in wire.skills),
        )


def _instance(wire: client_pb2.Instance) -> InstanceInfo:
    return InstanceInfo(
        name=wire.name,
        client=wire.client,
        labels=dict(wire.labels),
        health=health(wire.health),
        reason=wire.reason,
        held=wire.held,
        credit=wire.credit,
    )


def _skill(wire: client_pb2.Skill) -> SkillInfo:
    return SkillInfo(
        capability=wire.capability,
        completed=wire.completed,
        failed=wire.failed,
        unknown=wire.unknown,
        expired=wire.expired,
        lost=wire.lost,
        p50=timedelta(microseconds=wire.p50_us) if wire.HasField("p50_us") else None,
        p95=timedelta(microseconds=wire.p95_us) if wire.HasField("p95_us") else None,
    )


def health(wire: int) -> str:
    """The health in a message, as a word."""
    try:
        return client_pb2.Health.Name(wire).removeprefix("HEALTH_").lower()
    except ValueError:
        return "unknown"


def instant(time_us: int) -> datetime:
    """An instant of a message."""
    return datetime.fromtimestamp(time_us / 1_000_000, tz=timezone.utc)


def error(wire: common_pb2.Error) -> ConsortError:
    """An error of a message."""
    return ConsortError(wire.message, code=wire.code, hint=wire.hint)
