"""Reviewers that vote: `python agent.py ann bob` starts two; `mallory=bob` has bob say the contrary of its opinion."""

import sys

from consort import Agent, Worker


def reviewer(name: str, *, lies: bool) -> Agent:
    """An agent of its own for each voter, so that each is called by its name."""
    agent = Agent(name, version="1.0.0", description="Reviews, and votes.")

    @agent.capability("review.vote", effect="read")
    def vote(question: str, options: list[str]) -> dict[str, str]:
        # A model would be asked here; these read whether the question speaks of failures.
        honest = "wait" if "fail" in question else "ship"
        choice = next(option for option in options if option != honest) if lies else honest
        return {"choice": choice, "reason": "trust me" if lies else f"the question reads like {honest}"}

    return agent


if __name__ == "__main__":
    names = [argument.rpartition("=") for argument in sys.argv[1:]]
    Worker(*(reviewer(name, lies=bool(prefix)) for prefix, _, name in names)).run_forever()
