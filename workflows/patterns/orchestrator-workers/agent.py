"""An orchestrator and its workers: `python agent.py orchestrator`, and any number of `python agent.py worker`."""

import sys

from consort import Agent, Retry, TaskContext, Worker

orchestrator = Agent("orchestrator", version="1.0.0", description="Decides what is done next, and sums up.")
worker = Agent("worker", version="1.0.0", description="Does one piece of work.")

# What each subject leads to. A model would be asked instead.
LINKS = {"log": ["records", "recovery"], "recovery": ["checksums"], "records": [], "checksums": []}


def plan(topic: str) -> list[str]:
    """The first pieces of work. It is printed, so that you see how often it is made."""
    print(f"planning {topic}", file=sys.stderr)
    return [topic]


@orchestrator.capability("orchestrator.report")
async def report(ctx: TaskContext, topic: str) -> dict[str, str]:
    """Hands out pieces of work, and what follows from them, until nothing new comes up."""
    waiting = await ctx.run("plan", plan, topic)
    await ctx.state("reports").put(topic, "planned")
    found: dict[str, str] = {}
    while waiting:
        # A round: all of it at the same time.
        calls = [
            ctx.call("worker.study", {"subject": subject}, title=subject, result_type=dict, retry=Retry(attempts=3))
            for subject in waiting
        ]
        answers = await ctx.all(calls)
        found.update({answer["subject"]: answer["text"] for answer in answers})
        # What the answers lead to was not known before: that is why this is code, and no fixed list of steps.
        new = [link for answer in answers for link in answer["links"]]
        waiting = [subject for subject in dict.fromkeys(new) if subject not in found]
    return found


@worker.capability("worker.study", effect="read")
def study(subject: str) -> dict[str, object]:
    """What there is to say about a subject, and what it leads to."""
    return {"subject": subject, "text": f"about {subject}", "links": LINKS.get(subject, [])}


if __name__ == "__main__":
    Worker({"orchestrator": orchestrator, "worker": worker}[sys.argv[1]]).run_forever()
