"""What tests of the suite share.

For: fixtures, and skipping what needs a server. Not for: the fake server (see `fake`).
Invariant: a test marked `server` runs on a server of its own, in a temporary folder, on ports that the system chooses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import Server

BINARY = os.environ.get("CONSORT_BIN", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("server") and not BINARY:
            item.add_marker(pytest.mark.skip(reason="CONSORT_BIN does not name the server's binary"))


@pytest.fixture
def grace() -> str:
    """How long the server lets tasks wait for a worker that is gone; tests may ask for another span."""
    return "30s"


@pytest.fixture
def server(tmp_path: Path, grace: str) -> Iterator[Server]:
    """A running server."""
    running = Server(Path(BINARY), tmp_path, grace)
    running.start()
    yield running
    running.kill()
