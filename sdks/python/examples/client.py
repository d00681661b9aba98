"""Deploys a workflow, starts a run, watches it and answers its question."""

import asyncio
import sys

from consort import Client, RunEvent

WORKFLOW = """
workflow: orders
input:
  item: { type: string }
steps:
  order:
    capability: shop.order
    with: { item: "${{ input.item }}", quantity: 2 }
output: ${{ steps.order.output }}
"""


async def main(address: str) -> None:
    async with Client(address) as client:
        await client.deploy(WORKFLOW)
        run = await client.start("orders", {"item": "tea"}, idempotency_key="order-1")
        async for found in run.watch():
            if isinstance(found, RunEvent):
                print(found.event, found.step)
            for question in await client.inbox():
                if question.run == run.id:
                    await client.approve(question.task, by="ada")
        print(await run.result())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7878"))
