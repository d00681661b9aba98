"""The agent that books and cancels. Start it beside `consort up`: `python agent.py`."""

from consort import Agent, TaskContext, TaskError, Worker

agent = Agent("trips", version="1.0.0", description="Books the parts of a trip, and cancels them.")


# Both may be repeated: the key of a booking is its trip and its part. Shared state plays the booking system.
@agent.capability("trip.book", effect="idempotent")
async def book(ctx: TaskContext, trip: str, what: str, broken: str = "") -> str:
    """Books a part of a trip; the one that is broken cannot be had."""
    if what == broken:
        raise TaskError(f"no {what} can be had")
    await ctx.state("bookings").put(f"{trip}/{what}", "booked")
    return f"{trip}/{what}"


@agent.capability("trip.cancel", effect="idempotent")
async def cancel(ctx: TaskContext, trip: str, what: str) -> None:
    """Cancels a part of a trip, booked or not."""
    await ctx.state("bookings").put(f"{trip}/{what}", "cancelled")


if __name__ == "__main__":
    Worker(agent).run_forever()
