"""Durable AI agents and code-first workflows in Python, on the Consort orchestrator.

For: `from consort import Agent, Client, TaskContext, Worker`. Not for: anything whose name begins with an underscore.
"""

from consort._agent import Agent, Capability, Effect
from consort._client import Client, Run, RunFailed
from consort._context import Answer, Approval, Retry, Route, TaskContext
from consort._errors import Code, ConsortError, TaskError
from consort._records import (
    AgentInfo,
    Delta,
    Deployed,
    InboxItem,
    Progress,
    RunEnded,
    RunEvent,
    RunInfo,
    RunStatus,
    WorkflowInfo,
)
from consort._version import __version__
from consort._worker import Worker

__all__ = [
    "Agent",
    "AgentInfo",
    "Answer",
    "Approval",
    "Capability",
    "Client",
    "Code",
    "ConsortError",
    "Delta",
    "Deployed",
    "Effect",
    "InboxItem",
    "Progress",
    "Retry",
    "Route",
    "Run",
    "RunEnded",
    "RunEvent",
    "RunFailed",
    "RunInfo",
    "RunStatus",
    "TaskContext",
    "TaskError",
    "Worker",
    "WorkflowInfo",
    "__version__",
]
