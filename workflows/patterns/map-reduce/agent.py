"""The agent that maps and reduces. Start it beside `consort up`, as often as you like: `python agent.py`."""

from collections import Counter

from consort import Agent, Worker

agent = Agent("counter", version="1.0.0", description="Counts words, and adds up counts.")


@agent.capability("map.count", effect="read")
def count(texts: list[str]) -> dict[str, int]:
    """How often each word is in the texts of a chunk."""
    return dict(Counter(word for text in texts for word in text.lower().split()))


@agent.capability("reduce.add", effect="read")
def add(counts: list[dict[str, int]]) -> dict[str, int]:
    """The sum of the counts of all chunks."""
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)


if __name__ == "__main__":
    Worker(agent).run_forever()
