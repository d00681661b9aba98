"""Deploys a workflow, starts a run, watches it and answers its question."""

import sys

from consort import Client, models

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


def main(address: str) -> None:
    with Client(address) as client:
        client.deploy_workflow(WORKFLOW)
        run = client.start_run("orders", input={"item": "tea"}, idempotency_key="order-1")
        for found in run.watch():
            if isinstance(found, models.HistoryEntry):
                print(found.event, found.step)
            for question in client.list_inbox():
                if question.run == run.id:
                    client.decide(question.task, "approve", by="ada")
        print(run.result())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7878")
