"""Epochs of several sources, put side by side.

A receiver hears from every partition of the stage before it, in whatever order. An epoch is handed on when each source
has reported it or a later one, so the result does not depend on who was faster. A bundle of an epoch that was handed on
before (sent again after a crash) goes with the next one: bundles are absolute, so nothing counts twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream_guard.nodes.wire import Part


@dataclass(slots=True)
class _Pending:
    parts: dict[int, bytes] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)
    expected: int = 0


class Aligner:
    """Joins the parts of bundles and releases epochs in order. Memory: the epochs that wait for a slow source."""

    def __init__(self, sources: int) -> None:
        self.sources = sources
        self.applied = -1
        self.next_offset: int | None = None
        self._reported: dict[int, int] = {}
        self._pending: dict[tuple[int, int], _Pending] = {}
        self._complete: dict[int, list[tuple[int, bytes, list[int]]]] = {}

    def offer(self, offset: int, part: Part) -> None:
        """Take one message in."""
        self.next_offset = offset + 1
        pending = self._pending.setdefault((part.source, part.epoch), _Pending())
        if pending.expected != part.parts or part.part in pending.parts:
            pending.parts.clear()  # the sender starts again
            pending.expected = part.parts
        pending.parts[part.part] = part.data
        pending.offsets.append(offset)
        if len(pending.parts) < part.parts:
            return
        del self._pending[part.source, part.epoch]
        data = b"".join(pending.parts[number] for number in range(part.parts))
        epoch = max(part.epoch, self.applied + 1)
        self._complete.setdefault(epoch, []).append((part.source, data, pending.offsets))
        self._reported[part.source] = max(part.epoch, self._reported.get(part.source, -1))

    def skip(self, offset: int) -> None:
        """A record that is no part passes by."""
        self.next_offset = offset + 1

    def ready(self) -> list[tuple[int, list[tuple[int, bytes]]]]:
        """Epochs that every source has passed, oldest first, each with its bundles by source."""
        if len(self._reported) < self.sources:
            return []
        through = min(self._reported.values())
        due = sorted(epoch for epoch in self._complete if epoch <= through)
        released = []
        for epoch in due:
            bundles = sorted(self._complete.pop(epoch), key=lambda item: item[0])
            released.append((epoch, [(source, data) for source, data, _ in bundles]))
            self.applied = max(self.applied, epoch)
        return released

    @property
    def waiting(self) -> int:
        """Bundles that wait for other sources."""
        return sum(len(bundles) for bundles in self._complete.values()) + len(self._pending)

    @property
    def resume_offset(self) -> int | None:
        """Where reading must start again after a crash; None before the first message."""
        offsets = [offset for pending in self._pending.values() for offset in pending.offsets]
        offsets += [offset for bundles in self._complete.values() for _, _, held in bundles for offset in held]
        return min(offsets, default=self.next_offset)

    def dump(self) -> dict[str, object]:
        """What must survive beside the log: how far each source has come."""
        return {"applied": self.applied, "reported": dict(self._reported)}

    def load(self, state: Mapping[str, object]) -> None:
        """Put back what `dump` gave; messages that were waiting are read again from `resume_offset`."""
        applied, reported = state["applied"], state["reported"]
        if isinstance(applied, int) and isinstance(reported, dict):
            self.applied = applied
            self._reported = {int(source): min(int(epoch), applied) for source, epoch in reported.items()}
