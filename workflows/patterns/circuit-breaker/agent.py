"""A service that is there or not. Start it beside `consort up`: `python agent.py`; the file `down` takes it down."""

from pathlib import Path

from consort import Agent, TaskError, Worker

agent = Agent("services", version="1.0.0", description="Calls services.")


@agent.capability("service.call", effect="read")
def call(service: str, request: str) -> str:
    """What the service answers."""
    if Path("down").exists():
        raise TaskError(f"{service} cannot be reached")
    return f"{service} answers {request}"


if __name__ == "__main__":
    Worker(agent).run_forever()
