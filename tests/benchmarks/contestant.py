"""What a contestant's process reports, and how it is started and read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final

import msgspec

from tests.support.cluster import ROOT

LIMIT_SECONDS: Final = 300.0


class Timing(msgspec.Struct, frozen=True):
    """Events, and the wall-clock and processor seconds that they took."""

    events: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        """Processor time an event, of the measured process alone."""
        return 1e6 * self.cpu_seconds / self.events


class Stopwatch:
    """Wall clock and processor time since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def timing(self, events: int) -> Timing:
        """What `events` took."""
        return Timing(events, time.perf_counter() - self._wall, time.process_time() - self._cpu)


def tell(timing: msgspec.Struct) -> None:
    """Report to the parent process."""
    sys.stdout.write(msgspec.json.encode(timing).decode() + "\n")
    sys.stdout.flush()


def ask(module: str, *arguments: object) -> bytes:
    """Run a module of `tests.benchmarks` in a process of its own; the last line that it writes.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, err = process.communicate(timeout=LIMIT_SECONDS)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
    lines = out.splitlines()
    if process.returncode != 0 or not lines:
        raise RuntimeError(f"{module} ended with {process.returncode}:\n{err.decode()[-4_000:]}")
    return lines[-1]


def ask_timing(module: str, *arguments: object) -> Timing:
    """Run a module that reports a timing."""
    return msgspec.json.decode(ask(module, *arguments), type=Timing)
