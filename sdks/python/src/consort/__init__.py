"""Durable AI agents and code-first workflows in Python, on the Consort orchestrator.

For: `from consort import Agent, Client, TaskContext, Worker`. Not for: anything whose name begins with an underscore.
"""

from consort import models
from consort._agent import Agent, Capability, Effect
from consort._client import AsyncClient, AsyncRun
from consort._context import Answer, Approval, Retry, Route, TaskContext
from consort._errors import Code, ConsortError, TaskError
from consort._failed import RunFailed
from consort._generated.blocking.client import Client, Run
from consort._generated.blocking.replica import Replica
from consort._replica import AsyncReplica
from consort._replica_local import ReplicaConflict, ReplicaSync, ReplicaValue
from consort._state import StateSpace, StateTransaction, StateValue, StateWritten
from consort._update import Update
from consort._version import __version__
from consort._worker import Worker

__all__ = [
    "Agent",
    "Answer",
    "Approval",
    "AsyncClient",
    "AsyncReplica",
    "AsyncRun",
    "Capability",
    "Client",
    "Code",
    "ConsortError",
    "Effect",
    "Replica",
    "ReplicaConflict",
    "ReplicaSync",
    "ReplicaValue",
    "Retry",
    "Route",
    "Run",
    "RunFailed",
    "StateSpace",
    "StateTransaction",
    "StateValue",
    "StateWritten",
    "TaskContext",
    "TaskError",
    "Update",
    "Worker",
    "__version__",
    "models",
]
