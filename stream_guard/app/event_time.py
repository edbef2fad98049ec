"""How partitions keep step in event time, across workers.

Each worker writes a mark per paced partition to a shared board and reads all of them. From the marks follow:

- an idle partition closes its epochs up to the greatest watermark seen anywhere;
- when all are idle for long enough, the open epoch is closed too;
- a partition far ahead of the slowest busy one waits, so that what is buffered downstream stays bounded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

FRESH_SECONDS = 30.0


class WatermarkBoard(Protocol):
    """Marks of all partitions by node name; bytes that only this module reads."""

    async def exchange(self, mine: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Write some marks and read all.

        Raises:
            StateUnavailableError: the board cannot be reached.
        """
        ...


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one partition is: event time seen, and when it fell idle and was written, in seconds of its own clock.

    Clocks of workers differ and may be set, so a reader uses only the time between the two: see `heard`.
    """

    seen: float | None
    idle_since: float | None
    at: float

    def heard(self, at: float) -> Mark:
        """The same on the reader's clock, on which it was written at `at`."""
        idle_since = None if self.idle_since is None else at - max(0.0, self.at - self.idle_since)
        return Mark(self.seen, idle_since, at)

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps([self.seen, self.idle_since, self.at]).encode()

    @classmethod
    def decode(cls, data: bytes) -> Mark | None:
        """None when it is not a mark."""
        try:
            seen, idle_since, at = json.loads(data)
        except (ValueError, TypeError):
            return None
        numbers = [value for value in (seen, idle_since, at) if value is not None]
        if at is None or not all(isinstance(value, int | float) for value in numbers):
            return None
        return cls(seen, idle_since, at)


@dataclass(frozen=True, slots=True)
class Pacing:
    """Wall-clock seconds of silence, and event-time seconds of lead."""

    idle_seconds: float = 2.0
    idle_close_seconds: float = 5.0
    max_lead_seconds: float = 600.0
    lateness_seconds: float = 5.0  # event time that records may still be late
    tail_seconds: float = 10.0  # one epoch: beyond the last event, so that its epoch closes


@dataclass(frozen=True, slots=True)
class Pace:
    """What the marks ask for: how far idle partitions may close, and beyond which event time a partition waits."""

    idle_through: float | None
    wait_beyond: float | None


def pace(marks: Mapping[str, Mark], expected: int, now: float, pacing: Pacing) -> Pace:
    """Read the board.

    Args:
        marks: by node name.
        expected: number of paced partitions that exist.
        now: the reader's clock, as in the marks.
        pacing: the limits.
    """
    seen = [mark.seen for mark in marks.values() if mark.seen is not None]
    if not seen:
        return Pace(None, None)
    fresh = [mark for mark in marks.values() if now - mark.at <= FRESH_SECONDS]
    busy = [mark.seen for mark in fresh if mark.idle_since is None and mark.seen is not None]
    idle_through = max(seen) - pacing.lateness_seconds
    if len(fresh) >= expected and not busy:
        since = [mark.idle_since for mark in fresh if mark.idle_since is not None]
        if len(since) == len(fresh) and now - max(since) >= pacing.idle_close_seconds:
            idle_through = max(seen) + pacing.tail_seconds
    return Pace(idle_through, min(busy) + pacing.max_lead_seconds if busy else None)
