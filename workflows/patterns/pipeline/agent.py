"""The agent of the three stages. Start it beside `consort up`: `python agent.py`."""

from consort import Agent, TaskContext, TaskError, Worker

agent = Agent("pipeline", version="1.0.0", description="Cleans, splits and counts texts.")


@agent.capability("pipeline.clean", effect="read")
def clean(text: str) -> str:
    """Small letters, one blank between words."""
    return " ".join(text.lower().split())


@agent.capability("pipeline.split", effect="read")
def split(ctx: TaskContext, text: str, failures: int = 0) -> list[str]:
    """The words. Fails on its first attempts where it is told to."""
    if ctx.attempt <= failures:
        raise TaskError(f"attempt {ctx.attempt} fails", retryable=True)
    return text.split()


@agent.capability("pipeline.count", effect="read")
def count(words: list[str]) -> int:
    """How many words there are."""
    return len(words)


if __name__ == "__main__":
    Worker(agent).run_forever()
