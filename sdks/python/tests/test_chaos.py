"""Random programs on a random server: whatever happens on the way, a task ends, and a replay ends alike.

For: the journal's promise as a whole, on an event loop. Not for: single rules (see `test_replay`).
Invariant: all choices of program and server come from the seed that names the test.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from consort import Code, TaskContext, TaskError
from consort._attempt import Attempt, Timeouts
from consort._documents import document, write
from consort._proto.v1 import worker_pb2
from consort._quiescence import unwatch, watch
from consort._threads import Threads

Program = tuple[str, Any]

LEAVES = ("run", "call", "fail", "sleep", "race")


def program(chance: random.Random, depth: int) -> Program:
    """A program that an agent may be."""
    if depth == 0 or chance.random() < 0.4:
        return chance.choice(LEAVES), chance.randrange(1, 100)
    kind = chance.choice(("sequence", "gather", "all"))
    return kind, [program(chance, depth - 1) for _ in range(chance.randrange(1, 5))]


class Handler:
    """Executes a program; effects are counted by their place in it."""

    def __init__(self, ctx: TaskContext, effects: Counter[str]) -> None:
        self.ctx = ctx
        self.effects = effects

    async def execute(self, what: Program, place: str) -> Any:
        kind, value = what
        return await getattr(self, kind)(value, place)

    async def run(self, value: int, place: str) -> Any:
        async def effect() -> int:
            await asyncio.sleep(0)
            self.effects[place] += 1
            return value

        return await self.ctx.run(place, effect)

    async def call(self, value: int, _place: str) -> Any:
        return await self.ctx.call("double", value, result_type=int)

    async def fail(self, value: int, _place: str) -> Any:
        try:
            return await self.ctx.call("fail", value)
        except TaskError as error:
            return error.message

    async def sleep(self, value: int, _place: str) -> Any:
        await self.ctx.sleep(value)
        return value

    async def race(self, value: int, place: str) -> Any:
        winner, found = await self.ctx.race(self.ctx.call("double", value), self.ctx.sleep(value))
        # What is asked next depends on who won.
        return await (self.run(found, place) if winner == 0 else self.call(value, place))

    async def sequence(self, parts: list[Program], place: str) -> Any:
        return [await self.execute(part, f"{place}.{number}") for number, part in enumerate(parts)]

    async def gather(self, parts: list[Program], place: str) -> Any:
        return await asyncio.gather(*(self.execute(part, f"{place}.{number}") for number, part in enumerate(parts)))

    async def all(self, parts: list[Program], place: str) -> Any:
        return await self.ctx.all(self.execute(part, f"{place}.{number}") for number, part in enumerate(parts))


class Chaos:
    """A server that does everything allowed, in any order."""

    timeouts = Timeouts(park_after=0, cancel_grace=1)
    epoch = 1

    def __init__(self, what: Program, chance: random.Random) -> None:
        self.threads = Threads(4)
        self.journal: list[worker_pb2.JournalEntry] = []
        self.effects: Counter[str] = Counter()
        self.crashes = self.parks = 0
        self._what = what
        self._chance = chance
        self._token = 0
        self._attempt: Attempt | None = None
        self._durable: list[int] = []
        self._report: worker_pb2.WorkerMessage | None = None

    def send(self, message: worker_pb2.WorkerMessage) -> None:
        record = message.record
        assert record.attempt.token == self._token, "an attempt that is over says nothing"
        if record.index == len(self.journal):
            self.journal.append(worker_pb2.JournalEntry.FromString(record.entry.SerializeToString()))
            for closed in record.entry.forget.entries:
                self.journal[closed].ClearField("result")
            if record.entry.HasField("forget"):
                self.journal[-1].output = b"null"
        assert record.index < len(self.journal), "no gaps"
        self._durable.append(record.index)

    def concluded(self, attempt: Attempt, report: worker_pb2.WorkerMessage | None) -> None:
        if attempt is self._attempt:
            self._report = report

    def freed(self, attempt: Attempt) -> None:
        assert attempt.over

    def offer(self) -> None:
        """Starts the next attempt, as after a crash or an answer."""
        if self._attempt is not None:
            self._attempt.abort()
        self._token += 1
        self._durable.clear()
        self._report = None
        wire = worker_pb2.Attempt(task="t", token=self._token)
        attempt = self._attempt = Attempt(worker_pb2.Task(attempt=wire, journal=self.journal), self)
        code = Handler(TaskContext(attempt), self.effects)

        async def main() -> bytes:
            return write("output", await code.execute(self._what, "p"))

        attempt.start(main)

    async def end(self) -> Any:
        """Lets things happen until the task has ended; its output."""
        self.offer()
        for _ in range(100_000):
            for _ in range(self._chance.randrange(8)):
                await asyncio.sleep(0)
            report = self._report
            if report is None:
                if not self._happen():
                    await asyncio.sleep(0.0002)
            elif report.HasField("complete"):
                return document(report.complete.output)
            else:
                assert report.HasField("park"), report
                self.parks += 1
                self._wake(list(report.park.waiting))
        raise AssertionError("the task does not end")

    def _happen(self) -> bool:
        assert self._attempt is not None
        if self.crashes < 5 and self._chance.random() < 0.03:
            self.crashes += 1
            # A result that the code has not got may be lost with a crash.
            while self.journal and len(self.journal) - 1 in self._durable and self._chance.random() < 0.7:
                self.journal.pop()
            self.offer()
            return True
        if self._durable and self._chance.random() < 0.7:
            index = self._durable.pop(self._chance.randrange(len(self._durable)))
            self._attempt.recorded(index, self.journal[index])
            return True
        known = [index for index in self._open() if index not in self._durable]
        if known and self._chance.random() < 0.5:
            index = self._chance.choice(known)
            self._answer(index)
            self._attempt.recorded(index, self.journal[index])
            return True
        return False

    def _wake(self, waiting: list[int]) -> None:
        """Answers entries until one is that the task waits for."""
        assert waiting
        while all(self.journal[index].WhichOneof("result") is None for index in waiting):
            self._answer(self._chance.choice(self._open()))
        self.offer()

    def _open(self) -> list[int]:
        closed = {index for entry in self.journal for index in entry.forget.entries}
        unanswered = (index for index, entry in enumerate(self.journal) if entry.WhichOneof("result") is None)
        return [index for index in unanswered if index not in closed]

    def _answer(self, index: int) -> None:
        entry = self.journal[index]
        if entry.HasField("sleep"):
            entry.output = b"null"
        elif entry.call.capability == "fail":
            entry.error.code, entry.error.message = Code.AGENT_FAILED, f"no {document(entry.call.input)}"
        else:
            entry.output = write("answer", document(entry.call.input) * 2)


@pytest.mark.parametrize("seed", range(60))
async def test_a_task_ends_whatever_happens_and_a_replay_ends_alike(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - chosen by the seed
    loop = asyncio.get_running_loop()
    watch(loop)
    try:
        what = ("sequence", [program(chance, 3) for _ in range(3)])
        chaos = Chaos(what, chance)
        found = await chaos.end()
        entries = [worker_pb2.JournalEntry.FromString(entry.SerializeToString()) for entry in chaos.journal]
        effects = chaos.effects.copy()
        chaos.crashes = 5
        for index in chaos._open():
            # Such as the loser of a race: it may be answered long after.
            chaos._answer(index)
        again = await chaos.end()
        assert again == found
        assert len(chaos.journal) == len(entries), "a replay makes no new requests"
        assert chaos.effects == effects, "a replay does nothing again"
        assert all(count <= 6 for count in effects.values()), "once, and once for each crash"
    finally:
        unwatch(loop)


async def test_the_chaos_is_one() -> None:
    """The seeds above bring about what they are there for."""
    loop = asyncio.get_running_loop()
    watch(loop)
    try:
        crashes = parks = repeats = 0
        for seed in range(20):
            chance = random.Random(seed)  # noqa: S311 - chosen by the seed
            chaos = Chaos(("sequence", [program(chance, 3) for _ in range(3)]), chance)
            await chaos.end()
            crashes += chaos.crashes
            parks += chaos.parks
            repeats += sum(count > 1 for count in chaos.effects.values())
        assert crashes > 5
        assert parks > 20
        assert repeats > 0
    finally:
        unwatch(loop)
