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
def server(tmp_path: Path) -> Iterator[Server]:
    """A running server."""
    running = Server(Path(BINARY), tmp_path)
    running.start()
    yield running
    running.kill()
