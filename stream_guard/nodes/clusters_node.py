"""One clusters partition with bytes on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from stream_guard.clusters import ClustersStage
from stream_guard.clusters.rows import row_key
from stream_guard.decode import dead_letter, encode_dead_letter
from stream_guard.errors import DecodeError, StateError
from stream_guard.nodes.align import Aligner
from stream_guard.nodes.wire import Part, decode_deltas, decode_part, encode_suspicions
from stream_guard.ports import Checkpoint, Envelope, Message, Output, Topic
from stream_guard.records import DeltaBundle, SuspicionBundle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stream_guard.nodes.align import Bundle
    from stream_guard.policy import Policy
    from stream_guard.records import DeadLetter

Refused = tuple[int, DecodeError, bytes | None]
"""Offset, why, and the bytes."""
_MODELS_KEY = b"models"


@dataclass(frozen=True, slots=True)
class PartsPrepared:
    """An envelope of bundle parts; what is none is refused."""

    envelope: Envelope
    parts: Sequence[tuple[int, Part]]
    refused: Sequence[Refused]
    missing: Sequence[bytes] = ()


def decode_parts(envelope: Envelope, sources: int) -> PartsPrepared:
    """Read the parts of an envelope; who is not one of `sources` has no say."""
    parts: list[tuple[int, Part]] = []
    refused: list[Refused] = []
    for offset, value in zip(envelope.offsets, envelope.values, strict=True):
        try:
            parts.append((offset, decode_part(value or b"", sources)))
        except StateError as error:
            refused.append((offset, DecodeError("bad_bundle", str(error)), value))
    return PartsPrepared(envelope, parts, refused)


def refuse(envelope: Envelope, refused: Sequence[Refused]) -> tuple[list[Message], list[DeadLetter]]:
    """Dead letters of an envelope, as messages and for the counters."""
    letters = [
        dead_letter(envelope.topic, envelope.partition, offset, error, value) for offset, error, value in refused
    ]
    return [
        Message(Topic.DEAD_LETTER, f"{letter.topic}-{letter.partition}".encode(), encode_dead_letter(letter))
        for letter in letters
    ], letters


Opened = TypeVar("Opened", DeltaBundle, SuspicionBundle)


def open_bundles(
    bundles: Sequence[Bundle], decode: Callable[[int, int, bytes], Opened]
) -> tuple[list[Opened], list[Refused]]:
    """Decode joined bundles; what cannot be read is refused under the offset of its last part."""
    opened: list[Opened] = []
    refused: list[Refused] = []
    for bundle in bundles:
        try:
            opened.append(decode(bundle.source, bundle.epoch, bundle.data))
        except StateError as error:
            refused.append((bundle.offsets[-1], DecodeError("bad_bundle", str(error)), bundle.data))
    return opened, refused


class ClustersNode:
    """`ports.Node` around `ClustersStage`; all its rows are in memory."""

    eager = True

    def __init__(self, partition: int, partitions: int, policy: Policy, sources: int) -> None:
        self.stage = ClustersStage(partition, partitions, policy)
        self._aligner = Aligner(sources)
        self._epoch_seconds = policy.epochs.epoch_seconds
        self._cold_starts = 0

    def decode(self, envelope: Envelope, *, latest_ts: float) -> PartsPrepared:
        """Read the parts."""
        del latest_ts
        return decode_parts(envelope, self._aligner.sources)

    def load(self, states: Mapping[bytes, bytes | None]) -> None:
        """Everything came with `restore`."""

    def process(self, prepared: PartsPrepared) -> Output:
        """Merge the epochs that every source has passed; judge when it is time."""
        refused = list(prepared.refused)
        messages: list[Message] = []
        for offset, part in prepared.parts:
            self._aligner.offer(offset, part)
        for offset in prepared.envelope.offsets[-1:]:
            self._aligner.skip(offset)
        for epoch, bundles in self._aligner.ready():
            deltas, bad = open_bundles(bundles, decode_deltas)
            refused += bad
            suspicions = self.stage.apply(epoch, deltas)
            if suspicions is not None:
                key = b"%d" % self.stage.partition
                messages += [Message(Topic.SUSPICIONS, key, value, 0) for value in encode_suspicions(suspicions)]
        letter_messages, letters = refuse(prepared.envelope, refused)
        messages += letter_messages
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
        for account in self.stage.dropped:
            states.setdefault(row_key(account), None)
        for tenant in sorted(self.stage.new_populations):
            states[b"p" + tenant.encode("utf-8", "surrogatepass")] = self.stage.dump_population(tenant)
        if self.stage.models_dirty:
            states[_MODELS_KEY] = self.stage.dump_models()
        meta = self._aligner.dump()
        resume = self._aligner.resume_offset
        return Checkpoint(states, meta, {Topic.DELTAS: resume} if resume is not None else {})

    def saved(self, checkpoint: Checkpoint) -> None:
        """Everything in `checkpoint` is clean."""
        del checkpoint  # nothing was processed since it was made
        self.stage.store.dirty.clear()
        self.stage.new_names.clear()
        self.stage.new_populations.clear()
        self.stage.dropped.clear()
        self.stage.models_dirty = False

    def restore(self, meta: bytes | None, states: Mapping[bytes, bytes]) -> None:
        """Start from a checkpoint; what cannot be read starts cold and is counted."""
        self._cold_starts += self.stage.store.load(state for key, state in states.items() if key[:1] == b"r")
        for key, state in states.items():
            try:
                if key[:1] == b"n":
                    name = state.decode("utf-8", "surrogatepass")
                    self.stage.remember({_named(key): name})
                elif key[:1] == b"p":
                    self.stage.load_population(key[1:].decode("utf-8", "surrogatepass"), state)
            except (StateError, ValueError):  # a key or a name that is none
                self._cold_starts += 1
        if _MODELS_KEY in states:
            try:
                self.stage.load_models(states[_MODELS_KEY])
            except StateError:
                self._cold_starts += 1
        self.stage.new_names.clear()
        if meta is not None:
            try:
                self._aligner.load(meta)
            except StateError:
                self._cold_starts += 1


def _named(key: bytes) -> tuple[int, int]:
    """Kind and value that a stored name belongs to.

    Raises:
        ValueError: the key of no name.
    """
    kind, value = int(key[1:3]), int(key[3:], 16)
    if not 0 <= value < 1 << 32 or b"n%02d%08x" % (kind, value) != key:
        raise ValueError("the key of no name")
    return kind, value
