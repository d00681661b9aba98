"""Three experts, of which each sees something else. Start them beside `consort up`: `python agent.py`."""

from typing import Any

from consort import Agent, Worker

# What each can see. A model with its own tools would look instead.
SEEN = {
    "storage": {"disk": ["the queue of the disk is long"]},
    "links": {"network": ["packets are lost"], "disk": ["packets are lost only while the backup runs"]},
    "heap": {"memory": ["the heap grows"], "disk": ["the heap grows only while writes wait"]},
}
FIRST = {"storage": "disk", "links": "network", "heap": "memory"}


def expert(name: str) -> Agent:
    """An agent that first says what it sees, and then what explains all that was said."""
    agent = Agent(name, version="1.0.0", description="Argues.")

    @agent.capability("debate.vote", effect="read")
    def vote(question: str, number: int, said: list[dict[str, Any]]) -> dict[str, str]:
        # A model would be asked the question here. `said` has the votes of the round before, with their reasons.
        others = {vote["choice"] for vote in said if vote["voter"] != name}
        # What it has seen itself decides between its own opinion and those that it has heard.
        known = SEEN[name]
        heard = [choice for choice in known if choice in others]
        choice = max([FIRST[name], *heard], key=lambda choice: (choice in heard, choice == FIRST[name]))
        return {"choice": choice, "reason": known[choice][0]}

    return agent


if __name__ == "__main__":
    Worker(*(expert(name) for name in SEEN)).run_forever()
