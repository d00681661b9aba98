"""What a worker does under `consort replay-check`.

For: the files that the command and the worker exchange. Not for: the replay itself (`test_patches`), or the command.
Invariant: no server is reached, and no effect is done.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from consort import Agent, TaskContext, Worker

RUN = "01J8Z3K4M5N6P7Q8R9S0T1V2W3"


def shop() -> Agent:
    agent = Agent("shop")

    @agent.capability("order")
    async def order(ctx: TaskContext, input: str) -> Any:
        def effect() -> int:
            raise AssertionError("a replay does nothing")

        await ctx.run("price", effect)
        return await ctx.wait_signal("go")

    return agent


def task(step: str, items: list[dict[str, Any]], agent: str = "shop", capability: str = "order") -> dict[str, Any]:
    return {
        "run": RUN,
        "step": step,
        "agent": agent,
        "version": "1.0.0",
        "capability": capability,
        "input": "tea",
        "items": items,
    }


async def test_the_tasks_of_the_workers_agents_are_replayed_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    price = {"index": 0, "kind": "run", "name": "price", "output": 7}
    tasks = [
        task("fits", [price, {"index": 1, "kind": "signal", "name": "go", "after": [0]}]),
        task("diverges", [{**price, "name": "prize"}]),
        task("unknown", [price], capability="refund"),
        task("elsewhere", [price], agent="other"),
    ]
    asked, said = tmp_path / "tasks.json", tmp_path / "results.jsonl"
    asked.write_text(json.dumps({"tasks": tasks}), encoding="utf-8")
    monkeypatch.setenv("CONSORT_REPLAY", str(asked))
    monkeypatch.setenv("CONSORT_REPLAY_RESULTS", str(said))
    await Worker(shop(), address="127.0.0.1:1").run()
    results = [json.loads(line) for line in said.read_text(encoding="utf-8").splitlines()]
    assert [result["step"] for result in results] == ["fits", "diverges", "unknown"]
    assert results[0] == {"run": RUN, "step": "fits", "fits": True, "waiting": [1]}
    assert (results[1]["fits"], results[1]["entry"], results[1]["found"]) == (False, 0, "run `price`")
    assert "has no capability `refund`" in results[2]["failure"]
