"""The smallest agent."""

from pydantic import BaseModel

from consort import Agent, TaskContext, Worker


class Article(BaseModel):
    text: str


agent = Agent("writer", version="1.0.0", description="Writes summaries.")


@agent.capability("summarise", effect="read")
async def summarise(ctx: TaskContext, input: Article) -> str:
    ctx.progress("reading")
    return input.text.split(".")[0] + "."


if __name__ == "__main__":
    Worker(agent).run_forever()
