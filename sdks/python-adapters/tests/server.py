"""A real Consort server for tests, and worker processes that tests may kill.

For: the tests of the adapters. Not for: anything else.
Invariant: everything is on loopback, on free ports and in temporary folders.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds after which something that must happen counts as not happening."""

QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_TESTING": "true",
    "OTEL_SDK_DISABLED": "true",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    # Nothing may leave the machine: requests to a vendor fail.
    "OPENAI_BASE_URL": "http://127.0.0.1:9",
    "OPENAI_API_KEY": "none",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
}


def free_ports(count: int) -> list[int]:
    """Ports on loopback without a listener."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Server:
    """`consort up` on a folder of its own."""

    def __init__(self, binary: str, folder: Path) -> None:
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        self.log = folder / "server.log"
        settings = {"CONSORT_LISTEN": self.address, "CONSORT_GRACE": "100ms"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [binary, "--data-dir", str(folder / "data"), "up"],
                cwd=folder,
                env={**os.environ, **settings},
                stdout=log,
                stderr=log,
            )
        wait_for("the server", self._is_ready)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            return bool(self.request("GET", "/readyz") is not None)
        except (OSError, AssertionError):
            return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    def request(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """A JSON answer, or the text of another."""
        data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error
        return json.loads(text) if text.startswith(("{", "[", '"')) else text

    def start(self, capability: str, document: Any) -> str:
        """Starts a run whose only step asks the capability; returns its id."""
        name = capability.replace(".", "-")
        source = f"""
workflow: {name}
input:
  document: {{ type: object }}
steps:
  ask:
    capability: {capability}
    with: ${{{{ input.document }}}}
    retry: {{ attempts: 3, backoff: {{ initial: 10ms }} }}
output: ${{{{ steps.ask.output }}}}
"""
        self.request("POST", "/v1/workflows", source, "text/yaml")
        started = self.request("POST", "/v1/runs", {"workflow": name, "input": {"document": document}})
        return str(started["run"])

    def ended(self, run: str) -> dict[str, Any]:
        """The run, once it has ended."""
        found: dict[str, Any] = {}

        def is_over() -> bool:
            found.update(self.request("GET", f"/v1/runs/{run}?wait=10s"))
            return found["status"] in ("completed", "failed", "cancelled")

        wait_for(f"the end of run {run}", is_over)
        return found

    def output(self, run: str) -> Any:
        """The output of the run, once it has completed."""
        found = self.ended(run)
        assert found["status"] == "completed", found
        return self.request("GET", f"/v1/runs/{run}/output")

    def attempts(self, run: str) -> int:
        """How many attempts the step of the run took."""
        (step,) = self.request("GET", f"/v1/runs/{run}/steps")["items"]
        return int(step["attempts"] if "attempts" in step else step["attempt"])

    def agent(self, name: str) -> dict[str, Any]:
        """What the agent of that name declares, once it is there."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [a for a in self.request("GET", "/v1/agents")["items"] if a["name"] == name]
            return bool(found)

        wait_for(f"agent {name}", is_there)
        return found[0]

    def waits_for(self, run: str, text: str) -> dict[str, Any]:
        """That item of the inbox, once it is there."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            items = self.request("GET", "/v1/inbox")["items"]
            found[:] = [item for item in items if item["run"] == run and text in str(item)]
            return bool(found)

        wait_for(f"the question {text}", is_there)
        return found[0]

    def decide(self, run: str, text: str, decision: str) -> None:
        """Decides what waits."""
        task = self.waits_for(run, text)["task"]
        self.request("POST", f"/v1/inbox/{task}", {"decision": decision, "by": "ada"})


class Watch:
    """What a watcher of a run sees, from before its first attempt to its end."""

    def __init__(self, server: Server, run: str) -> None:
        request = urllib.request.Request(f"http://{server.address}/v1/runs/{run}/watch")
        self._stream = urllib.request.urlopen(request, timeout=PATIENCE)  # noqa: S310
        self.live: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        event = ""
        for raw in self._stream:
            line = raw.decode().rstrip("\n")
            if line.startswith("event:"):
                event = line[6:].strip()
            elif line.startswith("data:") and event == "progress":
                self.live.append(json.loads(line[5:]))

    def to_end(self) -> list[dict[str, Any]]:
        """All live messages, after the run has ended."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the watch does not end"
        return self.live

    def text(self) -> str:
        """The text that was streamed."""
        return "".join(one["text"] for one in self.to_end() if one["kind"] == "text")

    def messages(self) -> list[str]:
        """What was said to be done."""
        return [one["message"] for one in self.to_end() if one["kind"] == "message"]

    def documents(self) -> list[Any]:
        """The documents that were streamed."""
        return [one["json"] for one in self.to_end() if one["kind"] == "json"]


class Worker:
    """A worker process; its scripted model records its requests, and kills it where the script requires that."""

    def __init__(self, server: Server, module: str, folder: Path, *, die_at: int = 0) -> None:
        self.calls_file = folder / "calls"
        self.log = folder / "worker.log"
        env = {**os.environ, **QUIET, "CALLS": str(self.calls_file), "DIE_AT": str(die_at), "HOME": str(folder)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"tests.agents.{module}", server.address],
                cwd=Path(__file__).parent.parent,
                env=env,
                stdout=log,
                stderr=log,
            )

    def calls(self) -> list[str]:
        """What models and tools were asked, in order, over all processes of the folder."""
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    def dies(self) -> None:
        """Waits until the process has been killed by itself."""
        code = self._process.wait(PATIENCE)
        assert code == -signal.SIGKILL, self.log.read_text()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE)


def wait_for(what: str, is_so: Any) -> None:
    """Asks until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE} s"
        time.sleep(0.02)
