"""What the package offers, by name.

For: noticing that something becomes public, or goes, which is to be decided and not to happen. Not for: behaviour.
Invariant: the lists are written by hand; a member counts where its name does not begin with an underscore.
"""

from __future__ import annotations

import inspect
from typing import Final

import pytest

import consort

EXPORTS: Final = """
    Agent AgentInfo Answer Approval Capability Client Code ConsortError Delta Deployed Effect InboxItem Progress Retry
    Route Run RunEnded RunEvent RunFailed RunInfo RunStatus TaskContext TaskError Worker WorkflowInfo __version__
"""

MEMBERS: Final = {
    "Agent": "add capabilities capability declaration find",
    "Answer": "close index peek send throw",
    "Capability": "invoke name",
    "Client": "agents approve ask close deploy inbox run runs start watch_run workflows",
    "ConsortError": "code hint is_unavailable message",
    "Run": "cancel pause result resume signal status watch",
    "RunFailed": "code hint is_unavailable message run",
    "TaskContext": """
        all attempt call cancelled capability current deadline idempotency_key log progress race run run_id sleep step
        stream task token traceparent wait_approval wait_signal workflow
    """,
    "TaskError": "code hint is_unavailable message retry_after retryable",
    "Worker": "run run_forever stop",
}


def test_the_package_exports_what_is_decided() -> None:
    assert sorted(consort.__all__) == sorted(EXPORTS.split())
    public = {name for name, value in vars(consort).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public == {name for name in consort.__all__ if not name.startswith("_")}


@pytest.mark.parametrize("name", MEMBERS)
def test_a_class_has_the_members_that_are_decided(name: str) -> None:
    own = [kind for kind in getattr(consort, name).__mro__ if kind.__module__.startswith("consort")]
    members = {member for kind in own for member in [*vars(kind), *vars(kind).get("__annotations__", {})]}
    assert sorted(member for member in members if not member.startswith("_")) == MEMBERS[name].split()
