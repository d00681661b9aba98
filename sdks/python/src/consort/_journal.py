"""The journal of one attempt: what the code asked, what came of it, and when the code learned of it.

For: replay and recording, as plain state without tasks or clocks. Not for: running code or sending messages.
Invariant: code is given results one at a time, each only when it is quiescent; the order is recorded with the
next entry (`JournalEntry.after`) and kept to on replay. So the n-th thing that the code asks is the same in each
attempt, even where several branches run side by side, as long as the code itself is deterministic.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Protocol

from consort._errors import Code, TaskError, reported
from consort._proto.v1.common_pb2 import Error
from consort._proto.v1.worker_pb2 import ForgetRequest, JournalEntry, RunRequest
from consort._replay import is_same

ENTRIES_MAX: Final = 10_000
"""Entries in one task's journal."""

_WAITS: Final = frozenset({"sleep", "signal", "approval", "update"})
"""Entries that wait for something outside, which is withdrawn when the code drops the wait."""

PATCH: Final = "patch:"
"""What the names of markers begin with; see `Journal.patch`."""


class Waiter(Protocol):
    """The waiter for a result: in practice an `asyncio.Future`."""

    def done(self) -> bool:
        """Whether it no longer waits."""
        ...

    def set_result(self, result: None, /) -> None:
        """Wakes it."""
        ...


class Stage(Enum):
    """How far an entry is."""

    RUNNING = auto()
    """A local effect that has not ended: it holds back the entries after it, so that the journal has no gaps."""
    DROPPED = auto()
    """A local effect that the code dropped: recorded as cancelled, if the code continues."""
    READY = auto()
    """To be sent."""
    SENT = auto()
    """Sent, and not known to be durable."""
    DURABLE = auto()
    """In the server's journal."""


@dataclass(slots=True)
class _Slot:
    entry: JournalEntry
    stage: Stage
    released: bool = False
    """Whether the code may see the result."""
    waiters: list[Waiter] = field(default_factory=list)
    forgotten: bool = False
    """Whether a `forget` entry closes it: its result has no receiver."""

    @property
    def is_answered(self) -> bool:
        return self.stage is Stage.DURABLE and self.entry.WhichOneof("result") is not None

    @property
    def is_due(self) -> bool:
        """Whether there is a result that the code may be given."""
        return self.is_answered and not self.released and not self.forgotten and not self.entry.HasField("forget")


@dataclass(frozen=True, slots=True)
class Asked:
    """What an attempt gets for asking."""

    index: int
    """The entry's position."""
    recorded: bool
    """Whether an earlier attempt recorded it: then nothing is done again."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where code differs from the journal that it replays."""

    entry: int
    """The entry's position, from 0."""
    recorded: str
    """What is recorded there."""
    found: str
    """What the code did in place of it."""


class Journal:
    """See the module."""

    def __init__(self, entries: list[JournalEntry]) -> None:
        self._slots = [_Slot(entry, Stage.DURABLE) for entry in entries]
        self._recorded = len(entries)
        self._asked = 0
        # Positions whose results are to be released next, in order.
        self._due: deque[int] = deque()
        # Positions released since the last entry was asked.
        self._released: list[int] = []
        # Whether replay still keeps to the recorded order.
        self._strict = True
        # The first position that was not sent.
        self._unsent = self._recorded
        # How many entries are not known to be durable.
        self._open = 0
        # Positions to be sent again after a reconnect.
        self._again: deque[int] = deque()
        # Entries that the code waits for.
        self._waiting: set[int] = set()
        # Waits that the code has dropped, and that no `forget` entry closes yet. Objects are dropped on any thread.
        self._left: set[int] = set()
        # What was said of each patch: the entry of its marker, or nothing.
        self._patches: dict[str, Asked | None] = {}
        self._closed: TaskError | None = None
        self.divergence: Divergence | None = None
        """Where the code took another path than the recorded one, if it did."""
        self._ended = False
        self._plan_releases()

    @property
    def _replays(self) -> bool:
        return self._strict and self._asked < self._recorded

    @property
    def is_replaying(self) -> bool:
        """Whether the code has not yet requested all that was recorded."""
        return self._asked < self._recorded

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is taken from the code."""
        return self._ended or self._closed is not None

    def ask(self, request: JournalEntry) -> Asked:
        """Takes the code's next request; on replay it must be the recorded one."""
        self._check()
        self._pass_forgets(asks=True)
        index = self._asked
        if index < self._recorded:
            recorded = self._slots[index].entry
            if not is_same(recorded, request):
                raise self._diverge(index, describe(recorded), describe(request))
            self._take_recorded()
            return Asked(index, recorded=True)
        if request.HasField("run"):
            # Behind the effect it would wait for its end.
            self._record_left()
            index = self._asked
        if index >= ENTRIES_MAX:
            raise self.close(
                TaskError(
                    f"the task requested entry {index + 1}, the limit is {ENTRIES_MAX}",
                    code=Code.LIMIT_REACHED,
                    hint="let the workflow fan out, or move parts into tasks of their own by `call`",
                )
            )
        self._append(request, Stage.RUNNING if request.HasField("run") else Stage.READY)
        return Asked(index, recorded=False)

    def _append(self, request: JournalEntry, stage: Stage) -> None:
        request.after.extend(self._released)
        self._released.clear()
        self._slots.append(_Slot(request, stage))
        self._asked += 1
        self._open += 1

    def _take_recorded(self) -> None:
        """The next recorded entry is behind the code."""
        self._asked += 1
        self._released.clear()
        if self._strict:
            self._plan_releases()

    def _pass_forgets(self, *, asks: bool) -> bool:
        """Passes over `forget` entries that are recorded next; whether there were any.

        Code that is quiescent has dropped what they name, or will not: only then are they passed over unless it asks
        for something.
        """
        passed = False
        while self.is_replaying and (entry := self._slots[self._asked].entry).HasField("forget"):
            entries = set(entry.forget.entries)
            if not asks and self._strict and not entries <= self._left:
                break
            self._left -= entries
            for index in entries:
                if index < len(self._slots):
                    self._slots[index].forgotten = True
            self._take_recorded()
            passed = True
        return passed

    def leave(self, index: int) -> None:
        """The code has dropped the answer to an entry unread: a wait is closed, if the code continues."""
        slot = self._slots[index]
        if slot.entry.WhichOneof("request") in _WAITS and not slot.forgotten and not self.is_closed:
            self._left.add(index)

    def _record_left(self) -> None:
        """The code continues without what it has dropped: records that, so that nothing outside waits."""
        if not self._left or self.is_replaying or self._asked >= ENTRIES_MAX:
            return
        entries = sorted(self._left)
        self._left.difference_update(entries)
        for index in entries:
            self._slots[index].forgotten = True
        self._append(JournalEntry(forget=ForgetRequest(entries=entries)), Stage.READY)

    def patch(self, name: str, *, record: bool) -> Asked | None:
        """The marker of a patch; nothing where the journal has something else here, which is left alone: the task was
        begun by code of before the patch.

        Past the end of the journal the marker is recorded, unless `record` is false. What was said of a name holds for
        the whole attempt.
        """
        self._check()
        if name in self._patches:
            return self._patches[name]
        self._pass_forgets(asks=True)
        marker = JournalEntry(run=RunRequest(name=PATCH + name))
        asked = None
        if is_same(self._slots[self._asked].entry, marker) if self.is_replaying else record:
            asked = self.ask(marker)
            if not asked.recorded:
                self.finish_run(asked.index, b"true")
        self._patches[name] = asked
        return asked

    def left_over(self, found: str) -> Divergence | None:
        """The first recorded entry that the code has not requested, with what it did in place of it."""
        if not self.is_replaying:
            return None
        return Divergence(self._asked, describe(self._slots[self._asked].entry), found)

    def _check(self) -> None:
        if self._ended:
            raise asyncio.CancelledError("the attempt has ended")
        if self._closed is not None:
            raise self._closed

    def _plan_releases(self) -> None:
        """What is released next: what was released before the next recorded entry, or (when all were asked) whatever
        else is answered.
        """
        if self._replays:
            self._due.extend(self._slots[self._asked].entry.after)
            return
        due = set(self._due)
        self._due.extend(index for index, slot in enumerate(self._slots) if slot.is_due and index not in due)

    @property
    def holds_back(self) -> bool:
        """Whether results wait because the recorded order does not have them yet."""
        return self._replays and any(slot.is_due for slot in self._slots)

    def stop_holding_back(self) -> None:
        """Gives up the recorded order: the code is quiescent, and its result comes later in the record.

        What it asks is compared all the same.
        """
        self._strict = False
        self._plan_releases()

    def release(self) -> bool:
        """Releases results until one has a waiter; false where nothing is due."""
        while True:
            while self._due:
                index = self._due.popleft()
                if index >= len(self._slots) or not self._slots[index].is_due:
                    continue
                self._slots[index].released = True
                self._released.append(index)
                if self._wake(index):
                    return True
            if not self._pass_forgets(asks=False):
                return False

    def _wake(self, index: int) -> bool:
        slot = self._slots[index]
        waiters, slot.waiters = slot.waiters, []
        self._waiting.discard(index)
        woken = False
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
                woken = True
        return woken

    def poll(self, index: int) -> bytes | None:
        """The result of an entry if the code may see it, else nothing; raises what was recorded as a failure."""
        slot = self._slots[index]
        if slot.released:
            entry = slot.entry
            if entry.WhichOneof("result") == "error":
                error = entry.error
                # A replay gives the same failure again: another attempt cannot help.
                raise reported(error.code, error.message, error.hint)
            return entry.output
        self._check()
        return None

    def wait(self, index: int, waiter: Waiter) -> None:
        """The code waits for the entry: `waiter` is woken when its result is released."""
        self._slots[index].waiters.append(waiter)
        self._waiting.add(index)

    def forget(self, index: int, waiter: Waiter) -> bool:
        """The code no longer waits for the entry in this way; returns whether no waiter is left."""
        waiters = self._slots[index].waiters
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._waiting.discard(index)
        return not waiters

    def finish_run(self, index: int, result: bytes | TaskError) -> None:
        """A local effect has ended with a result that is to be recorded."""
        slot = self._slots[index]
        if slot.stage is not Stage.RUNNING:
            return
        if isinstance(result, bytes):
            slot.entry.output = result
        else:
            slot.entry.error.CopyFrom(wire_error(result))
        slot.stage = Stage.READY

    def drop_run(self, index: int) -> None:
        """The code dropped a local effect before it ended."""
        slot = self._slots[index]
        if slot.stage is Stage.RUNNING and not self.is_closed:
            slot.stage = Stage.DROPPED

    def next_to_send(self) -> tuple[int, JournalEntry] | None:
        """The next entry to send, with its position; none while a local effect before it runs."""
        if self._again:
            index = self._again.popleft()
            return index, self._slots[index].entry
        if self.is_closed:
            return None
        self._record_left()
        if self._unsent >= len(self._slots):
            return None
        slot = self._slots[self._unsent]
        if slot.stage is Stage.RUNNING:
            return None
        if slot.stage is Stage.DROPPED:
            slot.entry.error.CopyFrom(
                Error(code=Code.CANCELLED, message="the code dropped this effect before it ended")
            )
        slot.stage = Stage.SENT
        self._unsent += 1
        return self._unsent - 1, slot.entry

    def send_again(self) -> None:
        """Sends again what the server has not answered: after a reconnect, as messages may have been lost."""
        sent = enumerate(self._slots[: self._unsent])
        closed = (Stage.DURABLE, True)
        self._again = deque(
            index for index, slot in sent if not slot.is_answered and (slot.stage, slot.forgotten) != closed
        )

    def record(self, index: int, entry: JournalEntry) -> None:
        """The server has recorded (or answered) the entry; what it has recorded is the truth."""
        if index >= len(self._slots):
            return
        slot = self._slots[index]
        # Entries that were not sent are not in the server's journal, and the first answer stays.
        if slot.stage not in {Stage.SENT, Stage.DURABLE} or slot.is_answered:
            return
        if slot.stage is Stage.SENT:
            slot.stage = Stage.DURABLE
            self._open -= 1
        kind = entry.WhichOneof("result")
        if kind == "output":
            slot.entry.output = entry.output
        elif kind == "error":
            slot.entry.error.CopyFrom(entry.error)
        if slot.is_due and not self._replays:
            self._due.append(index)

    @property
    def is_parkable(self) -> bool:
        """Whether waiting is all that the code does, as far as the journal knows: it waits for an entry, every
        request is durable and no local effect runs.
        """
        rests = self._open == 0 and not self.is_closed and not self._again and not self._due
        return rests and bool(self._waiting)

    def parkable(self) -> list[int]:
        """The entries that the code waits for, where waiting is all that it does; else empty."""
        return sorted(self._waiting) if self.is_parkable else []

    def close(self, error: TaskError) -> TaskError:
        """Takes nothing more: every wait ends with the first such error. Returns it."""
        if self._closed is None:
            self._closed = error
        for index in sorted(self._waiting):
            self._wake(index)
        return self._closed

    def end(self) -> None:
        """The attempt is over for the code: it is cancelled wherever it waits or asks."""
        self._ended = True
        for index in sorted(self._waiting):
            self._wake(index)

    def verdict(self, *, well: bool) -> TaskError | None:
        """Why the attempt diverged, if it did: code that succeeds must have requested all that was recorded."""
        if self._closed is not None and self._closed.code == Code.JOURNAL_DIVERGED:
            return self._closed
        self._pass_forgets(asks=True)
        if well and self._asked < len(self._slots):
            return self._diverge(self._asked, describe(self._slots[self._asked].entry), "the end of the code")
        return None

    def _diverge(self, index: int, recorded: str, found: str) -> TaskError:
        self.divergence = self.divergence or Divergence(index, recorded, found)
        return self.close(
            TaskError(
                f"entry {index} is recorded as {recorded}, but found {found}",
                code=Code.JOURNAL_DIVERGED,
                hint="code that records must make the same requests in the same order each time; put what may differ "
                "(clock, chance, outside reads) into `run`, and changes while tasks are in flight behind `patched`",
            )
        )


def wire_error(error: TaskError) -> Error:
    """The error as a message of the protocol. What its author has put into it since it was made is not trusted."""
    try:
        return Error(code=error.code, message=error.message, hint=error.hint or "")
    except (TypeError, ValueError):
        return Error(code=Code.AGENT_FAILED, message=f"{type(error).__name__}, whose text cannot be sent")


def describe(entry: JournalEntry) -> str:  # noqa: PLR0911 - one for each kind
    """A request, for people."""
    match entry.WhichOneof("request"):
        case "run":
            return f"run `{entry.run.name}`"
        case "call":
            return f"call `{entry.call.capability}` with `{entry.call.input.decode('utf-8', 'replace')[:80]}`"
        case "sleep":
            return f"sleep `{describe_span(entry.sleep.span_us)}`"
        case "signal":
            return f"signal `{entry.signal.name}`"
        case "approval":
            return f"approval `{entry.approval.prompt}`"
        case "forget":
            return f"forget `{', '.join(map(str, entry.forget.entries))}`"
        case "state":
            return f"state `{entry.state.transaction.decode('utf-8', 'replace')[:80]}`"
        case "expose" | "update" as kind:
            return f"{kind} `{getattr(entry, kind).name}`"
        case "labels":
            return "labels"
        case "answer":
            return f"answer to the update of entry {entry.answer.update}"
        case _:
            return "a request of a newer version"


_UNITS: Final = (
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
)


def describe_span(span_us: int) -> str:
    """A span as Consort writes it, such as `1h30m`."""
    text = ""
    for name, unit in _UNITS:
        count, span_us = divmod(span_us, unit)
        if count:
            text += f"{count}{name}"
    return text or "0s"
