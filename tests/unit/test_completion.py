"""Completion in a real bash, as it is typed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("kill-sw", "kill-switch"),
        ("decisions fol", "follow"),
        ("decisions release x --scope cam", "campaign"),
        ("feedback --label org", "organisation"),
        ("completion fi", "fish"),
        ("snooze --rea", "--reason"),
    ],
)
def test_bash_completes_what_is_typed(tmp_path: Path, typed: str, completed: str) -> None:
    program = tmp_path / "stream-guard"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m stream_guard.cli "$@"\n')
    program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "TERM": "dumb",
    }  # fmt: skip
    parent, child = pty.openpty()
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=child, stdout=child, stderr=child, env=environment, cwd=tmp_path, start_new_session=True,
    ) as shell:  # fmt: skip
        os.close(child)
        os.write(parent, b'PS1=; eval "$(stream-guard completion bash)"; echo rea""dy\n')
        read_until(parent, b"ready")
        os.write(parent, f"stream-guard {typed}\t".encode())
        read_until(parent, f"stream-guard {typed.rpartition(' ')[0]}".strip().encode() + b" " + completed.encode())
        os.write(parent, b"\x03\nexit\n")
        os.close(parent)
        shell.terminate()


def read_until(terminal: int, wanted: bytes, seconds: float = 20.0) -> None:
    shown, ends = b"", time.monotonic() + seconds
    while wanted not in shown:
        assert time.monotonic() < ends, shown.decode(errors="replace")
        shown += os.read(terminal, 4_096)
