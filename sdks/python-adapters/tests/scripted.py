"""What scripted models and tools have in common: they note that they were asked, and may kill their process.

For: the worker processes of tests. Not for: tests themselves.
Invariant: a note is on disk before the answer is given.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import httpx

from consort import Agent, Worker


def asked(what: str) -> None:
    """Notes a question; at the one that `DIE_AT` names the process is killed before it can answer."""
    path = Path(os.environ["CALLS"])
    with path.open("a") as notes:
        notes.write(f"{what}\n")
    if len(path.read_text().splitlines()) == int(os.environ["DIE_AT"]):
        os.kill(os.getpid(), signal.SIGKILL)


def times(what: str) -> int:
    """How often that was asked so far."""
    path = Path(os.environ["CALLS"])
    return path.read_text().splitlines().count(what) if path.exists() else 0


def status_error(status: int) -> httpx.HTTPStatusError:
    """What an HTTP client raises where a vendor answers with that status."""
    request = httpx.Request("POST", "http://127.0.0.1:9/v1/chat/completions")
    response = httpx.Response(status, headers={"Retry-After": "0"}, request=request)
    return httpx.HTTPStatusError(f"status {status}", request=request, response=response)


def echo(capability: str) -> Agent:
    """An agent without a framework, for tools to call."""
    agent = Agent(capability.replace(".", "-"), version="1.0.0")

    @agent.capability(capability)
    async def shout(input: dict[str, str]) -> str:
        asked(f"call {input['word']}")
        return input["word"].upper()

    return agent


def serve(*agents: Agent) -> None:
    """Runs the agents until the process ends."""
    Worker(*agents, address=sys.argv[1]).run_forever()
