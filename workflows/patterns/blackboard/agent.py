"""The agents that work on the board. Start it beside `consort up`, as often as you like: `python agent.py`."""

from consort import Agent, TaskError, Worker

splitter = Agent("splitter", version="1.0.0", description="Makes two problems of one.")
counter = Agent("counter", version="1.0.0", description="Counts words.")


@splitter.capability("board.halve", effect="read")
def halve(text: str) -> list[str]:
    """The first and the second half of a text."""
    words = text.split()
    return [" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])]


@counter.capability("board.count", effect="read")
def count(text: str) -> int:
    """How many words a text has; one with a question mark it does not understand."""
    if "?" in text:
        raise TaskError("that is a question")
    return len(text.split())


if __name__ == "__main__":
    Worker(splitter, counter).run_forever()
