"""Fixtures: one server for the session, a worker for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server import QUIET, Server, Worker

os.environ.update(QUIET)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server; CONSORT_BIN names its binary."""
    binary = os.environ.get("CONSORT_BIN", "")
    if not binary:
        pytest.fail("CONSORT_BIN must name the `consort` binary; scripts/test does so")
    made = Server(binary, tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


@pytest.fixture
def work(server: Server, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts worker processes that share their notes; they end with the test."""
    made: list[Worker] = []

    def start(module: str, *, die_at: int = 0) -> Worker:
        made.append(Worker(server, module, tmp_path, die_at=die_at))
        return made[-1]

    yield start
    for worker in made:
        worker.stop()
