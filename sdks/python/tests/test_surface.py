"""What the package offers, by name.

For: noticing that something becomes public, or goes, which is to be decided and not to happen. Not for: behaviour.
Invariant: the lists are written by hand; a member counts where its name does not begin with an underscore.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Final

import pytest

import consort
from consort import _context, _documents, _errors, _journal, _replica_local, _replica_state, _values, _worker

EXPORTS: Final = """
    Agent Answer Approval AsyncClient AsyncReplica AsyncRun Capability Client Code ConsortError Effect Replica
    ReplicaConflict ReplicaSync ReplicaValue Retry Route Run RunFailed
    StateSpace StateTransaction StateValue StateWritten TaskContext TaskError Update Worker __version__ models
"""

MEMBERS: Final = {
    "Agent": "add capabilities capability declaration find on_change subscription",
    "Answer": "close index peek send throw",
    "Capability": "invoke name",
    "ConsortError": "code diagnostics hint is_unavailable message",
    "Replica": """
        add add_to close conflicts delete entry get list open pending position put remove_from sync take_server
    """,
    "RunFailed": "code diagnostics hint is_unavailable message run",
    "TaskContext": """
        all attempt call cancelled capability current deadline deprecate_patch expose idempotency_key log patched
        progress race run run_id set_labels sleep state step stream task token traceparent transact wait_approval
        wait_signal wait_update workflow
    """,
    "TaskError": "code diagnostics hint is_unavailable message retry_after retryable",
    "Update": "answer id input reject",
    "Worker": "run run_forever stop",
}


def test_the_package_exports_what_is_decided() -> None:
    assert sorted(consort.__all__) == sorted(EXPORTS.split())
    modules = {name for name, value in vars(consort).items() if inspect.ismodule(value)} - {"models"}
    public = {name for name in vars(consort) if not name.startswith("_")} - modules
    assert public == {name for name in consort.__all__ if not name.startswith("_")}


GENERATED: Final = {"operations", "blocking.operations"}
"""Modules whose members are those of the interface: see `test_client`."""

BESIDE_OPERATIONS: Final = {
    "AsyncClient": "aclose back_off call events run",
    "AsyncRun": "deduplicated id result",
    "Client": "back_off call close events run",
    "Run": "deduplicated id result",
}


@pytest.mark.parametrize("name", BESIDE_OPERATIONS)
def test_a_client_has_what_is_decided_beside_the_operations(name: str) -> None:
    own = [kind for kind in getattr(consort, name).__mro__ if kind.__module__.startswith("consort")]
    written = [kind for kind in own if kind.__module__.removeprefix("consort._generated.") not in GENERATED]
    members = {member for kind in written for member in vars(kind) if not member.startswith("_")}
    if name.endswith("Run"):
        members |= set(vars(getattr(consort, name)(None, "r", deduplicated=False))) - {"_client"}
    assert sorted(members) == BESIDE_OPERATIONS[name].split()


@pytest.mark.parametrize("name", MEMBERS)
def test_a_class_has_the_members_that_are_decided(name: str) -> None:
    own = [kind for kind in getattr(consort, name).__mro__ if kind.__module__.startswith("consort")]
    members = {member for kind in own for member in [*vars(kind), *vars(kind).get("__annotations__", {})]}
    assert sorted(member for member in members if not member.startswith("_")) == MEMBERS[name].split()


def test_limits_are_those_of_the_server() -> None:
    table = (Path(__file__).parents[3] / "docs" / "reference" / "limits.md").read_text()
    limits = {
        name: int(value.replace(",", "")) for name, value in re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", table, re.M)
    }
    assert {
        "ATTEMPTS_MAX": _context.ATTEMPTS_MAX,
        "NESTING_DEPTH_MAX": _values.DEPTH_MAX,
        "PAYLOAD_BYTES_MAX": _documents.PAYLOAD_BYTES_MAX,
        "ERROR_MESSAGE_BYTES_MAX": _errors.MESSAGE_BYTES_MAX,
        "TASK_JOURNAL_ENTRIES_MAX": _journal.ENTRIES_MAX,
        "INSTANCE_CREDIT_MAX": _worker.CREDIT_MAX,
        "STATE_KEY_BYTES_MAX": _replica_state.KEY_BYTES_MAX,
        "NAME_BYTES_MAX": _replica_local.NAME_BYTES_MAX,
    }.items() <= limits.items()
