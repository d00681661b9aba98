"""The generated code is that of the interface and of the protocol.

For: noticing that one of them has changed. Not for: what it means.
Invariant: where their files are not at hand, as in a source distribution, there is nothing to compare.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SDK = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("script", "source"),
    [("generate_proto.py", "crates/proto/proto"), ("generate_client.py", "docs/reference/openapi.json")],
)
def test_the_generated_code_is_current(script: str, source: str) -> None:
    if not (SDK.parent.parent / source).exists():
        pytest.skip(f"{source} is not here")
    subprocess.run([sys.executable, SDK / "scripts" / script, "--check"], check=True)
