"""Ends a process that is alive but does nothing: stalled partitions, or an event loop that no longer turns."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from stream_guard.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from stream_guard.app.partitions import Partitions

TICK_SECONDS = 1.0
EXIT_STALLED = 1


class LoopGuard:
    """A thread that ends the process when the event loop has not turned for `limit_seconds`.

    It counts its own ticks instead of reading a clock, so a suspended process does not end when it is resumed.
    """

    def __init__(self, limit_seconds: float) -> None:
        self._limit_ticks = max(1, int(limit_seconds / TICK_SECONDS))
        self._silent_ticks = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-guard", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def beat(self) -> None:
        """The loop turns."""
        self._silent_ticks = 0

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(TICK_SECONDS):
            self._silent_ticks += 1
            if self._silent_ticks > self._limit_ticks:
                sys.stderr.write("stream-guard: the event loop has stopped turning; ending the process\n")
                sys.stderr.flush()
                os._exit(EXIT_STALLED)  # nothing else would get through: the loop is blocked


async def watch(partitions: Partitions, guard: LoopGuard, limit_seconds: float) -> None:
    """Beat for the loop guard and look for stalled partitions.

    Raises:
        ServiceUnavailableError: records wait, but some partition has made no progress for `limit_seconds`.
    """
    previous = time.monotonic()
    while True:
        await asyncio.sleep(TICK_SECONDS)
        guard.beat()
        now = time.monotonic()
        suspended, previous = now - previous > limit_seconds / 2, now
        if suspended:
            for runner in partitions.runners.values():
                runner.progress_at = now
        stalled = partitions.stalled(limit_seconds)
        partitions.health.stalled = stalled
        if stalled:
            raise ServiceUnavailableError(f"no progress for {limit_seconds:g} s: {', '.join(stalled)}")
