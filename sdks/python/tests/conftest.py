"""What tests of the suite share.

For: fixtures, and skipping what needs a server. Not for: the fake server (see `fake`).
Invariant: a test marked `server` runs on a server of its own, in a temporary folder, on ports that the system chooses.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from .server import Server

BINARY = os.environ.get("CONSORT_BIN", "")

LOOPS: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {"asyncio": asyncio.new_event_loop}
"""The event loops that the SDK runs on."""
if sys.platform != "win32":
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop

ON_EVERY_LOOP: Final = {"test_chaos", "test_replay", "test_quiescence"}
"""The files whose tests rest on how the loop calls back."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS if item.path.stem in ON_EVERY_LOOP else {"asyncio": LOOPS["asyncio"]}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("server") and not BINARY:
            item.add_marker(pytest.mark.skip(reason="CONSORT_BIN does not name the server's binary"))


@pytest.fixture
def grace() -> str:
    """How long the server lets tasks wait for a disconnected worker; tests may set another span."""
    return "30s"


@pytest.fixture
def server(tmp_path: Path, grace: str) -> Iterator[Server]:
    """A running server."""
    running = Server(Path(BINARY), tmp_path, grace)
    running.start()
    yield running
    running.kill()
