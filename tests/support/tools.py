"""Command-line tools that tests ask for their verdict."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def run(tool: str, *arguments: str | Path) -> str:
    """What a tool prints; the test fails where the tool does."""
    path = shutil.which(tool)
    if path is None:
        pytest.fail(f"{tool} is missing: run tests/install.sh")
    result = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
