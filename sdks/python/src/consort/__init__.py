"""Durable AI agents and code-first workflows in Python, on the Consort orchestrator.

For: `from consort import Agent, TaskContext, Worker`. Not for: anything whose name begins with an underscore.
"""

from consort._agent import Agent, Capability, Effect
from consort._context import Answer, Approval, Retry, Route, TaskContext
from consort._errors import Code, ConsortError, TaskError
from consort._version import __version__
from consort._worker import Worker

__all__ = [
    "Agent",
    "Answer",
    "Approval",
    "Capability",
    "Code",
    "ConsortError",
    "Effect",
    "Retry",
    "Route",
    "TaskContext",
    "TaskError",
    "Worker",
    "__version__",
]
