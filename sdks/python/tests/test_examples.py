"""What the README shows is what the examples do, and they run.

For: the README and `examples`. Not for: the SDK's rules.
Invariant: the README shows code of the examples word for word.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from consort import Agent, Approval, AsyncClient, TaskError, Worker
from consort.testing import run_task

from .server import Server

SDK = Path(__file__).resolve().parent.parent
README = (SDK / "README.md").read_text()


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", SDK / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where annotations of the example are looked up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def agent_of(name: str) -> Agent:
    found = example(name).agent
    assert isinstance(found, Agent)
    return found


def test_the_readme_shows_the_examples() -> None:
    shown = re.findall(r"<!-- (examples/\w+\.py) -->\n```python\n(.*?)```", README, re.DOTALL)
    assert [name for name, _ in shown] == ["examples/writer.py", "examples/order.py"]
    for name, code in shown:
        assert code.rstrip() in (SDK / name).read_text()


def test_an_agent_has_less_than_twenty_lines() -> None:
    lines = (SDK / "examples" / "writer.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) < 20


def test_every_block_of_the_readme_is_python() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 9
    for block in blocks:
        indented = "\n".join(f"    {line}" for line in block.splitlines())
        compile(f"async def shown():\n{indented}", "README.md", "exec")


async def order(item: str, *, stock: bool = True, approved: bool = True) -> Any:
    answers = {"shop.in_stock": stock, "shop.price": 6}
    return await run_task(
        agent_of("order"),
        "shop.order",
        {"item": item, "quantity": 2},
        calls=lambda capability, _input: answers[capability],
        approve=lambda _prompt, _detail: Approval(approved=approved, by="ada"),
    )


async def test_the_order_is_made() -> None:
    assert await order("tea") == {"number": 4711, "total": 6, "approved_by": "ada"}
    with pytest.raises(TaskError, match="out of stock"):
        await order("unicorn", stock=False)


async def test_the_summary_is_made() -> None:
    assert await run_task(agent_of("writer"), "summarise", {"text": "It rained. We stayed in."}) == "It rained."


@pytest.mark.server
async def test_the_client_of_the_examples_orders_tea(server: Server) -> None:
    worker = Worker(agent_of("order"), address=server.address)
    running = asyncio.ensure_future(worker.run())
    program = [sys.executable, str(SDK / "examples" / "client.py"), server.address]

    def start() -> subprocess.CompletedProcess[str]:
        return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)

    client = await asyncio.to_thread(start)
    worker.stop()
    await running
    assert client.returncode == 0, client.stderr
    assert client.stdout.splitlines()[-1] == "{'approved_by': 'ada', 'number': 4711, 'total': 6}"


@pytest.mark.server
async def test_the_readme_s_workflow_runs_on_its_agent(server: Server) -> None:
    source = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert source is not None
    worker = Worker(agent_of("writer"), address=server.address)
    running = asyncio.ensure_future(worker.run())
    async with AsyncClient(server.address) as client:
        name = (await client.deploy_workflow(source[1])).name
        run = await client.start_run(name, input={"text": "It rained. We stayed in."})
        assert await asyncio.wait_for(run.result(str), 60) == "It rained."
    worker.stop()
    await running
