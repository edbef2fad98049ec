"""Epochs of several sources, put side by side.

A receiver hears from every partition of the stage before it, in whatever order. An epoch is handed on when each source
has reported it or a later one, so the result does not depend on who was faster. A bundle that is sent again before its
epoch was handed on replaces the first one; sent again afterwards, it goes along with the next epoch under its own
number, and the receiver sees that it is an old one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from stream_guard.errors import StateError

if TYPE_CHECKING:
    from stream_guard.nodes.wire import Part

META_VERSION = 1


@dataclass(frozen=True, slots=True)
class Bundle:
    """The joined parts of one bundle, and the offset of each."""

    source: int
    epoch: int
    data: bytes
    offsets: tuple[int, ...]


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
        self._complete: dict[int, dict[int, Bundle]] = {}
        self._again: list[Bundle] = []

    def offer(self, offset: int, part: Part) -> None:
        """Take one message in."""
        self.skip(offset)
        pending = self._pending.setdefault((part.source, part.epoch), _Pending())
        if part.part == 0 or pending.expected != part.parts:
            pending.parts.clear()  # the sender starts again; a later part that comes twice takes its own place
            pending.offsets.clear()
            pending.expected = part.parts
        pending.parts[part.part] = part.data
        pending.offsets.append(offset)
        if len(pending.parts) < part.parts:
            return
        data = b"".join(pending.parts[number] for number in range(part.parts))
        bundle = Bundle(part.source, part.epoch, data, tuple(pending.offsets))
        for key in [key for key in self._pending if key[0] == part.source and key[1] <= part.epoch]:
            del self._pending[key]  # a source sends one bundle after the other: what is incomplete stays so
        if part.epoch <= self.applied:
            self._again.append(bundle)
        else:
            self._complete.setdefault(part.epoch, {})[part.source] = bundle
        self._reported[part.source] = max(part.epoch, self._reported.get(part.source, -1))

    def skip(self, offset: int) -> None:
        """A record passes by."""
        self.next_offset = max(offset + 1, self.next_offset or 0)

    def ready(self) -> list[tuple[int, list[Bundle]]]:
        """Epochs that every source has passed, oldest first, each with its bundles by source after old ones."""
        if len(self._reported) < self.sources:
            return []
        through = min(self._reported.values())
        released = []
        for epoch in sorted(epoch for epoch in self._complete if epoch <= through):
            again, self._again = self._again, []
            bundles = self._complete.pop(epoch)
            released.append((epoch, [*again, *(bundles[source] for source in sorted(bundles))]))
            self.applied = max(self.applied, epoch)
        return released

    @property
    def waiting(self) -> int:
        """Bundles that wait for other sources."""
        return sum(len(bundles) for bundles in self._complete.values()) + len(self._pending) + len(self._again)

    @property
    def resume_offset(self) -> int | None:
        """Where reading must start again after a crash; None before the first message."""
        offsets = [offset for pending in self._pending.values() for offset in pending.offsets]
        held = [bundle for bundles in self._complete.values() for bundle in bundles.values()]
        offsets += [offset for bundle in (*held, *self._again) for offset in bundle.offsets]
        return min(offsets, default=self.next_offset)

    def dump(self) -> bytes:
        """What must survive beside the log: how far each source has come, as msgpack."""
        return msgspec.msgpack.encode(_Meta(META_VERSION, self.applied, self._reported))

    def load(self, data: bytes) -> None:
        """Put back what `dump` gave; messages that were waiting are read again from `resume_offset`.

        Raises:
            StateError: another version, or not readable.
        """
        try:
            meta = _META.decode(data)
        except (msgspec.DecodeError, ValueError) as error:
            raise StateError("progress of the sources: not readable") from error
        if meta.version != META_VERSION:
            raise StateError(f"progress of the sources: version {meta.version} is not {META_VERSION}")
        self.applied = meta.applied
        self._reported = {source: min(epoch, meta.applied) for source, epoch in meta.reported.items()}


class _Meta(msgspec.Struct):
    version: int
    applied: int
    reported: dict[int, int]


_META = msgspec.msgpack.Decoder(_Meta, strict=False)
