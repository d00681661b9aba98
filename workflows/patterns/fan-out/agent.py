"""The agent that asks sources and joins their answers. Start it beside `consort up`: `python agent.py`."""

from consort import Agent, TaskError, Worker

agent = Agent("fan", version="1.0.0", description="Asks sources, and joins what they say.")


@agent.capability("fan.ask", effect="read")
def ask(source: str, question: str) -> str:
    """What a source says; the source `down` cannot be reached."""
    if source == "down":
        raise TaskError("the source cannot be reached")
    return f"{source} on {question}"


@agent.capability("fan.join", effect="read")
def join(answers: list[str]) -> str:
    """One report of all answers."""
    return "; ".join(answers)


if __name__ == "__main__":
    Worker(agent).run_forever()
