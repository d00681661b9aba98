"""Contractors: `python agent.py ann=9 bob=7` starts two with their prices; `bob=7!` takes the job, and fails."""

import sys
from dataclasses import dataclass

from consort import Agent, TaskError, Worker


@dataclass
class Job:
    """The input of the task that is bid for."""

    job: str


@dataclass
class Call:
    """What a bidder is called with."""

    capability: str
    input: Job


def contractor(name: str, price: int, *, fails: bool) -> Agent:
    """An agent that bids for jobs, and does them."""
    agent = Agent(name, version="1.0.0", description="Bids for jobs, and does them.")

    @agent.capability("contract.do.bid", effect="read")
    def bid(call: Call) -> dict[str, object]:
        # What it would cost this one: its load, its distance, its model.
        return {"cost": price + len(call.input.job)}

    @agent.capability("contract.do", effect="idempotent")
    def do(job: str) -> dict[str, object]:
        if fails:
            raise TaskError(f"{name} cannot do it after all")
        return {"contractor": name, "job": job}

    return agent


def main(words: list[str]) -> None:
    """Starts a contractor for each word."""
    parts = [word.split("=") for word in words]
    Worker(*(contractor(name, int(price.strip("!")), fails="!" in price) for name, price in parts)).run_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
