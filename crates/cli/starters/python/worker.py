"""An agent with one capability. `consort dev` starts it beside a server; without that, `python worker.py` beside `consort up`."""

from dataclasses import dataclass

from consort import Agent, TaskContext, Worker

agent = Agent("writer", version="1.0.0", description="Makes texts short.")


@dataclass
class Article:
    text: str
    sentences: int = 1


# `read`: repeating it changes nothing outside. The default is `idempotent`; `write` is never repeated blindly.
@agent.capability("summarise", effect="read")
def summarise(ctx: TaskContext, input: Article) -> str:
    """The first sentences of a text."""
    ctx.progress("reading")
    sentences = [sentence.strip() for sentence in input.text.split(".") if sentence.strip()]
    return ". ".join(sentences[: input.sentences]) + "."


if __name__ == "__main__":
    Worker(agent).run_forever()
