"""Completion in real shells, as it is typed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASH = ["bash", "--norc", "--noprofile", "-i"]
ZSH = ["zsh", "-f", "-i"]
START = {"bash": "PS1=;", "zsh": "PS1=; autoload -Uz compinit; compinit -u -D;"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One with `stream-guard` on its path."""
    program = tmp_path / "stream-guard"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m stream_guard.cli "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "TERM": "dumb", "LANG": "C.UTF-8"}


@pytest.mark.parametrize(
    ("shell", "typed", "completed"),
    [
        (BASH, "kill-sw", "kill-switch"),
        (BASH, "decisions fol", "follow"),
        (BASH, "decisions release x --scope cam", "campaign"),
        (BASH, "feedback --label org", "organisation"),
        (BASH, "completion fi", "fish"),
        (BASH, "snooze --rea", "--reason"),
        (ZSH, "kill-sw", "kill-switch"),
    ],
)
def test_a_shell_completes_what_is_typed(
    environment: dict[str, str], tmp_path: Path, shell: list[str], typed: str, completed: str
) -> None:
    name = shell[0]
    parent, child = pty.openpty()
    with subprocess.Popen(
        shell, stdin=child, stdout=child, stderr=child, env=environment, cwd=tmp_path, start_new_session=True
    ) as process:
        os.close(child)
        os.write(parent, f'{START[name]} eval "$(stream-guard completion {name})"; echo rea""dy\n'.encode())
        read_until(parent, b"ready\r")
        os.write(parent, f"stream-guard {typed}\t".encode())
        read_until(parent, completed.encode()[len(typed.rpartition(" ")[2]) :])
        os.write(parent, b"\x03\nexit\n")
        os.close(parent)
        process.terminate()


def test_fish_completes_what_is_typed(environment: dict[str, str]) -> None:
    script = 'stream-guard completion fish | source; complete -C "stream-guard kill-sw"'
    done = subprocess.run(
        ["fish", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("kill-switch\t")


def read_until(terminal: int, wanted: bytes, seconds: float = 30.0) -> None:
    shown, ends = b"", time.monotonic() + seconds
    while wanted not in shown:
        assert time.monotonic() < ends, shown.decode(errors="replace")
        shown += os.read(terminal, 4_096)
