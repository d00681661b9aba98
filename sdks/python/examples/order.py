"""A workflow as code: it may be killed anywhere and continues after its last entry."""

import logging
from datetime import timedelta

from pydantic import BaseModel

from consort import Agent, Retry, TaskContext, TaskError, Worker


class Order(BaseModel):
    item: str
    quantity: int


class Receipt(BaseModel):
    number: int
    total: int
    approved_by: str


agent = Agent("shop", version="1.0.0")


def new_number() -> int:
    """A substitute for an outside service that returns a new number each time."""
    return 4711


@agent.capability("shop.in_stock", effect="read")
def in_stock(item: str) -> bool:
    return item != "unicorn"


@agent.capability("shop.price", effect="read")
def price(item: str, quantity: int) -> int:
    return len(item) * quantity


@agent.capability("shop.order")
async def order(ctx: TaskContext, input: Order) -> Receipt:
    # Done once; its result is durable before the code continues.
    number = await ctx.run("number", new_number)

    # Tasks for other capabilities, here side by side: a call begins when it is made.
    stock = ctx.call("shop.in_stock", {"item": input.item}, result_type=bool, timeout=10)
    total = ctx.call("shop.price", input, result_type=int, retry=Retry(attempts=3))
    if not await stock:
        raise TaskError("out of stock", hint="order something else")

    # Waits of any length cost nothing: the task leaves the worker and is offered again.
    approval = ctx.wait_approval("Ship it?", {"item": input.item, "total": await total})
    _, decision = await ctx.race(approval, ctx.sleep(timedelta(days=3)))
    if decision is None or not decision.approved:
        raise TaskError("not approved")

    ctx.log.info("order %s goes out", number)
    return Receipt(number=number, total=await total, approved_by=decision.by)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    Worker(agent, concurrency=8).run_forever()
