"""The generated stubs are those of the protocol.

For: noticing that the protocol has changed. Not for: what it means.
Invariant: where the protocol's files are not at hand, as in a source distribution, there is nothing to compare.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SDK = Path(__file__).resolve().parent.parent


def test_the_stubs_are_current() -> None:
    if not (SDK.parent.parent / "crates" / "proto" / "proto").exists():
        pytest.skip("the protocol's files are not here")
    subprocess.run([sys.executable, SDK / "scripts" / "generate_proto.py", "--check"], check=True)
