"""The file of a replica: lines, each with a checksum, and a lock beside it.

For: keeping a `ReplicaState` through crashes; `docs/replicas.md` has the format, which the three SDKs share. Not for:
what a line means.
Invariant: a line is on the disk when `commit` returns; one that was torn by a crash, which can only be the last, counts
as not written; damage elsewhere is an error and is not repaired.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
import zlib
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_json

from consort._errors import Code, ConsortError
from consort._replica_state import FORMAT, Line, ReplicaState

COMPACT_BYTES: Final = 64 * 1024
"""A file that is smaller is not compacted."""

_OPEN: Final[set[Path]] = set()
"""The files that this process has open."""


class ReplicaFile:
    """An open file, and its state."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        """Opens the file, or makes it; `header` says of what it is the replica."""
        self.path = path.absolute()
        self.state = ReplicaState()
        self._lock = Lock(self.path)
        self._descriptor = -1
        self._broken = False
        try:
            if self.path.exists():
                self._read(header)
            else:
                self.state.fold({"meta": {"format": FORMAT, **header}})
                self._rewrite()
        except BaseException:
            self.close()
            raise

    def commit(self, line: Line) -> None:
        """Appends a line, and then does what it says."""
        if not line:
            return
        if self._broken or self._descriptor < 0:
            why = "is closed" if self._descriptor < 0 else "could not be written before, so what it has is not known"
            raise ConsortError(f"the replica `{self.path}` {why}", code=Code.REPLICA_DAMAGED, hint="open it again")
        data = encode(line)
        try:
            _write_all(self._descriptor, data)
            os.fsync(self._descriptor)
        except BaseException:
            self._broken = True
            raise
        self.state.fold(line)
        self._size += len(data)
        if self._size > 2 * max(self._live, COMPACT_BYTES):
            self._rewrite()

    def close(self) -> None:
        """Closes it; another process may open it then."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._lock.release()

    def _read(self, header: dict[str, Any]) -> None:
        data = self.path.read_bytes()
        end = 0
        lines = data.split(b"\n")
        for number, text in enumerate(lines[:-1], 1):
            line = decode(text)
            if line is None:
                if any(lines[number:]):
                    raise self._damaged(f"line {number} does not fit its checksum")
                break
            self.state.fold(line)
            end += len(text) + 1
        meta = self.state.meta
        if meta.get("format") != FORMAT:
            raise self._damaged(f"its format is `{meta.get('format')}`, this version knows {FORMAT}")
        for name, value in header.items():
            if meta.get(name) != value:
                raise ConsortError(
                    f"the file `{self.path}` is a replica with the {name} `{meta.get(name)}`, not `{value}`",
                    code=Code.REPLICA_TAKEN,
                    hint="use a file of its own for each replica",
                )
        self._descriptor = os.open(self.path, os.O_WRONLY)
        os.ftruncate(self._descriptor, end)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        self._size = end
        self._live = sum(len(encode(line)) for line in self.state.lines())

    def _damaged(self, why: str) -> ConsortError:
        return ConsortError(
            f"the replica `{self.path}` is damaged: {why}",
            code=Code.REPLICA_DAMAGED,
            hint="keep the file to see what it holds, and open another one: it begins with what the server has",
        )

    def _rewrite(self) -> None:
        """Writes the file again, without what is over, and puts it in the place of the old one."""
        fresh = self.path.with_name(self.path.name + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            size = 0
            for line in self.state.lines():
                data = encode(line)
                _write_all(descriptor, data)
                size += len(data)
            os.fsync(descriptor)
            fresh.replace(self.path)
            _sync_folder(self.path.parent)
        except BaseException:
            os.close(descriptor)
            self._broken = True
            raise
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._size = self._live = size


def encode(line: Line) -> bytes:
    """A line as it is in the file."""
    text = to_json(line)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode(data: bytes) -> Line | None:
    """A line without its end; nothing where it does not fit its checksum."""
    sum_text, _, text = data.partition(b" ")
    if sum_text != b"%08x" % zlib.crc32(text):
        return None
    found = json.loads(text)
    return found if isinstance(found, dict) else None


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Lock:
    """A file that names the process that has the replica open. One of a process that has ended is taken over."""

    def __init__(self, path: Path) -> None:
        """Acquires it."""
        self._path = path.with_name(path.name + ".lock")
        self._of = path
        if path in _OPEN:
            raise self._held(os.getpid())
        if not self._make(self._path):
            self._take_over()
        _OPEN.add(path)
        self._is_held = True

    def release(self) -> None:
        """Lets another process have it."""
        if self._is_held:
            self._is_held = False
            _OPEN.discard(self._of)
            self._path.unlink(missing_ok=True)

    @staticmethod
    def _make(path: Path) -> bool:
        # It has its content from the first moment on.
        draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        draft.write_bytes(to_json({"process": os.getpid(), "host": socket.gethostname()}))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True

    def _take_over(self) -> None:
        # Of two that find the same old lock, one may remove it.
        guard = self._path.with_name(self._path.name + ".old")
        if not self._make(guard):
            raise self._held(None, guard)
        try:
            holder = self._holder()
            if holder is not None:
                raise self._held(holder)
            self._path.unlink(missing_ok=True)
            if not self._make(self._path):
                raise self._held(None)
        finally:
            guard.unlink(missing_ok=True)

    def _holder(self) -> int | None:
        """The process that holds the lock; nothing where it has ended."""
        try:
            found = json.loads(self._path.read_bytes())
            process, host = int(found["process"]), str(found["host"])
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            # Power was lost before it was on the disk.
            return None
        if host == socket.gethostname() and (process == os.getpid() or not _lives(process)):
            return None
        return process

    def _held(self, process: int | None, file: Path | None = None) -> ConsortError:
        who = f"process `{process}`" if process is not None else "another process"
        return ConsortError(
            f"the replica `{self._of}` is open in {who}",
            code=Code.REPLICA_TAKEN,
            hint=f"close it there; where that process is gone, remove `{file or self._path}`",
        )


def _lives(process: int) -> bool:
    if os.name == "nt":
        # There, a signal of number 0 is one that ends the process.
        return True
    with contextlib.suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True
