"""One accounts partition with bytes on both sides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from stream_guard.accounts import AccountsStage
from stream_guard.accounts.stage import take
from stream_guard.accounts.table import dump_events, load_events
from stream_guard.decode import Decoded, Decoder, dead_letter, encode_dead_letter
from stream_guard.errors import DecodeError, StateError
from stream_guard.nodes.wire import encode_deltas
from stream_guard.ports import Checkpoint, Envelope, Message, Output, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from stream_guard.accounts.stage import Closed
    from stream_guard.policy import Policy
    from stream_guard.records import DeadLetter

    Keep = Callable[[int, Sequence[str]], NDArray[np.bool_] | None]
    """Which queries of a partition to read, by account key; None = all."""

META_VERSION = 1


@dataclass(frozen=True, slots=True)
class AccountsPrepared:
    """A decoded envelope of queries or account statuses."""

    envelope: Envelope
    decoded: Decoded
    missing: Sequence[bytes]


class AccountsNode:
    """`ports.Node` around `AccountsStage`. Accounts are loaded when they are first seen."""

    eager = False

    def __init__(  # noqa: PLR0913 # named options
        self,
        partition: int,
        policy: Policy,
        cluster_partitions: int,
        decoder: Decoder,
        *,
        max_accounts: int | None = None,
        keep: Keep | None = None,
    ) -> None:
        self.stage = AccountsStage(partition, policy.epochs)
        self._cluster_partitions = cluster_partitions
        self._decoder = decoder
        self._next: dict[Topic, int] = {}
        self._saved_epochs: set[int] = set()
        self._unloaded_epochs: set[int] = set()
        self._cold_starts = 0
        self._max_accounts, self._keep = max_accounts, keep
        self._evicted = self._shed = 0

    def decode(self, envelope: Envelope, *, latest_ts: float) -> AccountsPrepared:
        """Decode; what is refused becomes a dead letter when processed."""
        decoded = self._without_shed(self._decoder.decode(envelope.values, latest_ts=latest_ts))
        keys = [*decoded.batch.key, *(status.key for _, status in decoded.statuses)]
        missing = self.stage.unknown(keys) + [_epoch_key(number) for number in sorted(self._unloaded_epochs)]
        return AccountsPrepared(envelope, decoded, missing)

    def _without_shed(self, decoded: Decoded) -> Decoded:
        kept = None if self._keep is None else self._keep(self.stage.partition, decoded.batch.key)
        if kept is None or kept.all():
            return decoded
        index = np.flatnonzero(kept)
        self._shed += len(kept) - len(index)
        keys = list(compress(decoded.batch.key, kept.tolist()))
        batch = replace(take(decoded.batch, index), key=keys, names=decoded.batch.names)
        return replace(decoded, batch=batch, batch_index=decoded.batch_index[index])

    def load(self, states: Mapping[bytes, bytes | None]) -> None:
        """Take accounts and duplicate windows in; unreadable ones start cold and are counted."""
        recent, accounts = [], {}
        for key, state in states.items():
            if key[:1] == b"d":
                self._unloaded_epochs.discard(int(key[1:]))
            if state is None:
                continue
            try:
                if key[:1] == b"d":
                    recent.append((int(key[1:]), load_events(state)))
                else:
                    accounts[key] = state
            except StateError:
                self._cold_starts += 1
        self._cold_starts += self.stage.load(accounts)
        self.stage.restore_recent(recent)

    def process(self, prepared: AccountsPrepared) -> Output:
        """Add the events; close and report the epochs that event time has passed."""
        envelope, decoded = prepared.envelope, prepared.decoded
        offsets = np.asarray(envelope.offsets, np.int64)
        refused = list(decoded.refused)
        for position, _ in [*decoded.releases, *decoded.feedback]:
            refused.append((position, DecodeError("wrong_topic", "belongs on another topic")))
        letters = [
            dead_letter(
                envelope.topic, envelope.partition, envelope.offsets[position], error, envelope.values[position]
            )
            for position, error in sorted(refused, key=lambda item: item[0])
        ]
        late = self.stage.late
        self.stage.add(decoded.batch, offsets[decoded.batch_index])
        self.stage.add_status((envelope.offsets[position], status) for position, status in decoded.statuses)
        if len(offsets):
            self._next[envelope.topic] = int(offsets[-1]) + 1
        return self._output(self.stage.close_due(), letters, self.stage.late - late)

    def idle(self, watermark: float) -> Output:
        """Close what ends by `watermark`."""
        return self._output(self.stage.close_idle(watermark), [], 0)

    def _output(self, closed: Sequence[Closed], letters: Sequence[DeadLetter], late: int) -> Output:
        messages = [
            Message(Topic.DEAD_LETTER, f"{letter.topic}-{letter.partition}".encode(), encode_dead_letter(letter))
            for letter in letters
        ]
        for epoch in closed:
            key = b"%d" % self.stage.partition
            for value in encode_deltas(epoch.delta):
                messages += [
                    Message(Topic.DELTAS, key, value, partition) for partition in range(self._cluster_partitions)
                ]
        cold, self._cold_starts = self._cold_starts, 0
        evicted, self._evicted = self._evicted, 0
        shed, self._shed = self._shed, 0
        return Output(
            messages=messages,
            counts={
                "events": sum(epoch.events for epoch in closed),
                "duplicates": sum(epoch.duplicates for epoch in closed),
                "limited": sum(epoch.limited for epoch in closed),
                "late": late,
                "cold_starts": cold,
                "evicted": evicted,
                "shed": shed,
            },
            dead_letters=letters,
            watermark=self.watermark,
        )

    @property
    def watermark(self) -> float | None:
        """Greatest event time seen here."""
        return self.stage.watermark if self.stage.watermark > float("-inf") else None

    @property
    def dirty(self) -> int:
        """Accounts that the next checkpoint will write."""
        return len(self.stage.dirty)

    def checkpoint(self) -> Checkpoint:
        """Changed accounts, the duplicate window, and from where to read again."""
        states: dict[bytes, bytes | None] = dict(self.stage.table.dump(sorted(self.stage.dirty)))
        recent = self.stage.recent_events()
        alive = {number for number, _ in recent} | self._unloaded_epochs
        for number, events in recent:
            if number not in self._saved_epochs:
                states[_epoch_key(number)] = dump_events(events)
        states.update((_epoch_key(number), None) for number in self._saved_epochs - alive)
        positions = dict(self._next)
        for topic, waiting in (
            (Topic.QUERIES, self.stage.first_waiting_offset),
            (Topic.ACCOUNT_STATUS, self.stage.first_waiting_status_offset),
        ):
            if waiting is not None and topic in positions:
                positions[topic] = min(waiting, positions[topic])
        meta = _Meta(
            META_VERSION,
            self.stage.closed_epoch,
            self.watermark,
            sorted(alive),
            self.stage.late,
            self.stage.zones(self._next.get(Topic.QUERIES, 0)),
            self.stage.late_waiting(self._next.get(Topic.QUERIES, 0)),
        )
        return Checkpoint(states, msgspec.msgpack.encode(meta), positions)

    def saved(self, checkpoint: Checkpoint) -> None:
        """Everything in `checkpoint` is clean, so accounts above the bound can go; they come back on demand."""
        del checkpoint  # nothing was processed since it was made
        self.stage.dirty.clear()
        if self._max_accounts is not None:
            self._evicted += self.stage.evict(self._max_accounts)
        self._saved_epochs = {number for number, _ in self.stage.recent_events()} | self._unloaded_epochs

    def restore(self, meta: bytes | None, states: Mapping[bytes, bytes]) -> None:
        """Start from a checkpoint; accounts and the duplicate window follow on demand."""
        del states
        if meta is None:
            return
        try:
            state = _META.decode(meta)
        except (msgspec.DecodeError, ValueError):
            self._cold_starts += 1
            return
        if state.version != META_VERSION:
            self._cold_starts += 1
            return
        self.stage.resume(state.closed_epoch, state.zones, state.late_waiting)
        self.stage.late = state.late
        if state.watermark is not None:
            self.stage.watermark = state.watermark
        self._saved_epochs = set(state.recent)
        self._unloaded_epochs = set(state.recent)


class _Meta(msgspec.Struct):
    version: int
    closed_epoch: int
    watermark: float | None
    recent: list[int]
    late: int
    zones: list[tuple[int, int]]
    late_waiting: list[int]


_META = msgspec.msgpack.Decoder(_Meta)


def _epoch_key(number: int) -> bytes:
    return b"d%d" % number
