"""One clusters partition with bytes on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from stream_guard.clusters import ClustersStage
from stream_guard.decode import dead_letter, encode_dead_letter
from stream_guard.errors import DecodeError, StateError
from stream_guard.nodes.align import Aligner
from stream_guard.nodes.wire import Part, decode_deltas, decode_part, encode_suspicions
from stream_guard.ports import Checkpoint, Envelope, Message, Output, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stream_guard.policy import Policy
    from stream_guard.records import DeadLetter

META_VERSION = 1
_MODELS_KEY = b"models"


@dataclass(frozen=True, slots=True)
class PartsPrepared:
    """An envelope of bundle parts; what is none is refused."""

    envelope: Envelope
    parts: Sequence[tuple[int, Part]]
    refused: Sequence[tuple[int, DecodeError]]
    missing: Sequence[bytes] = ()


def decode_parts(envelope: Envelope) -> PartsPrepared:
    """Read the parts of an envelope."""
    parts: list[tuple[int, Part]] = []
    refused: list[tuple[int, DecodeError]] = []
    for position, value in enumerate(envelope.values):
        try:
            parts.append((envelope.offsets[position], decode_part(value or b"")))
        except StateError as error:
            refused.append((position, DecodeError("bad_bundle", str(error))))
    return PartsPrepared(envelope, parts, refused)


def refuse(envelope: Envelope, refused: Sequence[tuple[int, DecodeError]]) -> tuple[list[Message], list[DeadLetter]]:
    """Dead letters of an envelope, as messages and for the counters."""
    letters = [
        dead_letter(envelope.topic, envelope.partition, envelope.offsets[position], error, envelope.values[position])
        for position, error in refused
    ]
    return [
        Message(Topic.DEAD_LETTER, f"{letter.topic}-{letter.partition}".encode(), encode_dead_letter(letter))
        for letter in letters
    ], letters


class ClustersNode:
    """`ports.Node` around `ClustersStage`; all its rows are in memory."""

    eager = True

    def __init__(self, partition: int, partitions: int, policy: Policy, sources: int) -> None:
        self.stage = ClustersStage(partition, partitions, policy)
        self._aligner = Aligner(sources)
        self._epoch_seconds = policy.epochs.epoch_seconds
        self._dropped: set[bytes] = set()
        self._cold_starts = 0

    def decode(self, envelope: Envelope, *, latest_ts: float) -> PartsPrepared:
        """Read the parts."""
        del latest_ts
        return decode_parts(envelope)

    def load(self, states: Mapping[bytes, bytes | None]) -> None:
        """Everything came with `restore`."""

    def process(self, prepared: PartsPrepared) -> Output:
        """Merge the epochs that every source has passed; judge when it is time."""
        messages, letters = refuse(prepared.envelope, prepared.refused)
        for offset in prepared.envelope.offsets[-1:]:
            self._aligner.skip(offset)
        for offset, part in prepared.parts:
            self._aligner.offer(offset, part)
        for epoch, bundles in self._aligner.ready():
            deltas = [decode_deltas(source, epoch, data) for source, data in bundles]
            suspicions = self.stage.apply(epoch, deltas)
            if suspicions is not None:
                key = b"%d" % self.stage.partition
                messages += [Message(Topic.SUSPICIONS, key, value, 0) for value in encode_suspicions(suspicions)]
        cold, self._cold_starts = self._cold_starts, 0
        return Output(
            messages=messages,
            counts={"cold_starts": cold},
            dead_letters=letters,
            watermark=self.watermark,
        )

    def idle(self, watermark: float) -> Output:
        """Event time comes with the deltas; nothing to do."""
        del watermark
        return Output()

    @property
    def watermark(self) -> float | None:
        """End of the last epoch that was merged."""
        return (self._aligner.applied + 1) * self._epoch_seconds if self._aligner.applied >= 0 else None

    @property
    def dirty(self) -> int:
        """Rows that the next checkpoint will write."""
        return len(self.stage.store.dirty)

    def checkpoint(self) -> Checkpoint:
        """Changed rows, new names, models, and from where to read again."""
        states: dict[bytes, bytes | None] = dict(self.stage.store.dump(sorted(self.stage.store.dirty)))
        for kind, value in sorted(self.stage.new_names):
            states[b"n%02d%08x" % (kind, value)] = self.stage.names[kind, value].encode("utf-8", "surrogatepass")
        if self.stage.models_dirty:
            states[_MODELS_KEY] = self.stage.dump_models()
        meta = msgspec.msgpack.encode({"version": META_VERSION, **self._aligner.dump()})
        resume = self._aligner.resume_offset
        return Checkpoint(states, meta, {Topic.DELTAS: resume} if resume is not None else {})

    def saved(self, checkpoint: Checkpoint) -> None:
        """Everything in `checkpoint` is clean."""
        del checkpoint  # nothing was processed since it was made
        self.stage.store.dirty.clear()
        self.stage.new_names.clear()
        self.stage.models_dirty = False

    def restore(self, meta: bytes | None, states: Mapping[bytes, bytes]) -> None:
        """Start from a checkpoint; what cannot be read starts cold and is counted."""
        for key, state in states.items():
            try:
                if key[:1] == b"r":
                    self.stage.store.load(state)
                elif key[:1] == b"n":
                    name = state.decode("utf-8", "surrogatepass")
                    self.stage.remember({(int(key[1:3]), int(key[3:], 16)): name})
            except StateError:
                self._cold_starts += 1
        if _MODELS_KEY in states:
            try:
                self.stage.load_models(states[_MODELS_KEY])
            except StateError:
                self._cold_starts += 1
        self.stage.new_names.clear()
        if meta is not None:
            state = msgspec.msgpack.decode(meta, strict=False)
            if state.get("version") == META_VERSION:
                self._aligner.load(state)
            else:
                self._cold_starts += 1
