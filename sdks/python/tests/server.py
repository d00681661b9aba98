"""A real server as a process.

For: tests marked `server`. Not for: anything that `fake` can play.
Invariant: it lives on a folder of its own, which outlives its processes.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path


class Server:
    """A server that can be killed and started again."""

    def __init__(self, binary: Path, folder: Path, grace: str) -> None:
        """`grace` is how long the tasks of a disconnected worker wait for it."""
        self._binary = binary
        self._folder = folder
        self._environment = {**os.environ, "CONSORT_GRACE": grace}
        self._process: subprocess.Popen[str] | None = None
        self._listen = "127.0.0.1:0"
        self.address = ""

    @property
    def url(self) -> str:
        """The address with its scheme."""
        return f"http://{self.address}"

    def start(self) -> None:
        """Starts it, and knows its address. A restart listens where it listened before."""
        command = [str(self._binary), "up", "--data-dir", str(self._folder / "data"), "--listen", self._listen]
        log = (self._folder / "server.log").open("a")
        with log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=self._environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = re.match(r"http://(\S+)", line)
            if found:
                self.address = self._listen = found[1]
                return
        raise AssertionError(f"the server did not start: {(self._folder / 'server.log').read_text()}")

    def kill(self) -> None:
        """Kills it, and waits until it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
