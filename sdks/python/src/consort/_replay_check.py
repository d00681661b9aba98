"""What a worker does in place of working when `consort replay-check` starts it.

For: replaying the journals of tasks in flight against the code of this process. Not for: choosing the tasks (the
command does), or a replay in a test (see `testing`).
Invariant: no server is reached, nothing is recorded and no effect is done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from consort._errors import TaskError

if TYPE_CHECKING:
    from consort._agent import Agent
    from consort.testing import Replayed

TASKS: Final = "CONSORT_REPLAY"
"""Names the file with the tasks: `{"tasks": [{"run", "step", "agent", "capability", "input", "items"}]}`."""
RESULTS: Final = "CONSORT_REPLAY_RESULTS"
"""Names the file to which a line of JSON is added for each task of an agent of this process."""


def is_wanted() -> bool:
    """Whether this process was started to replay, and not to work."""
    return bool(os.environ.get(TASKS)) and bool(os.environ.get(RESULTS))


async def replay_tasks(agents: Iterable[Agent]) -> None:
    """Replays every task of these agents, and adds the outcomes to the file of results."""
    from consort.testing import replay_task  # noqa: PLC0415 - the tests' module is not loaded by workers that work

    tasks = _read_tasks()
    by_name = {agent.name: agent for agent in agents}
    lines: list[str] = []
    for task in tasks:
        agent = by_name.get(task.get("agent") or "")
        if agent is None:
            continue
        result: dict[str, Any] = {"run": task["run"], "step": task["step"]}
        try:
            result |= _told(await replay_task(agent, task["capability"], task["input"], task["items"]))
        except TaskError as error:
            result |= {"fits": False, "failure": str(error)}
        lines.append(json.dumps(result) + "\n")
    _add_results(lines)


def _read_tasks() -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = json.loads(Path(os.environ[TASKS]).read_text(encoding="utf-8"))["tasks"]
    return tasks


def _add_results(lines: Iterable[str]) -> None:
    with Path(os.environ[RESULTS]).open("a", encoding="utf-8") as results:
        results.writelines(lines)


def _told(replayed: Replayed) -> dict[str, Any]:
    told: dict[str, Any] = {"fits": replayed.fits, "waiting": list(replayed.waiting)}
    if replayed.divergence is not None:
        divergence = replayed.divergence
        told |= {"entry": divergence.entry, "recorded": divergence.recorded, "found": divergence.found}
    if replayed.failure is not None:
        told["failure"] = str(replayed.failure)
    return told
