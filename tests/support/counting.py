"""Small nodes that count: they show whether the runtime loses or repeats anything.

accounts: events per account, loaded on demand; every record sends its account's new total downstream.
clusters: keeps the greatest total per account. campaigns: keeps the greatest sum per source.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from stream_guard.app.stages import ACCOUNTS, CAMPAIGNS, CLUSTERS, Stage
from stream_guard.ports import Checkpoint, Envelope, Message, Output, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stream_guard.ports import Node


@dataclass(frozen=True, slots=True)
class Counted:
    envelope: Envelope
    rows: list[tuple[str, float]]
    missing: Sequence[bytes]
    refused: list[int] = field(default_factory=list)


class CountingNode:
    """Counts events per account, in memory of `held` accounts and in the store."""

    def __init__(self, partition: int, delta_partitions: int = 2) -> None:
        self.partition = partition
        self.counts: dict[str, int] = {}
        self.changed: set[str] = set()
        self.next: dict[Topic, int] = {}
        self.watermark: float | None = None
        self.refused = 0
        self._delta_partitions = delta_partitions

    @property
    def eager(self) -> bool:
        return False

    @property
    def dirty(self) -> int:
        return len(self.changed)

    def decode(self, envelope: Envelope, *, latest_ts: float) -> Counted:
        rows, refused = [], []
        for offset, value in zip(envelope.offsets, envelope.values, strict=True):
            try:
                record = json.loads(value or b"")
                ts = float(record["ts"]) if record["ts"] <= latest_ts else float("nan")
                rows.append((record["account_id"], ts))
            except (ValueError, KeyError, TypeError):
                refused.append(offset)
        missing = sorted({account.encode() for account, _ in rows if account not in self.counts})
        return Counted(envelope, rows, missing, refused)

    def load(self, states: Mapping[bytes, bytes | None]) -> None:
        for key, state in states.items():
            self.counts[key.decode()] = int(state) if state is not None else 0

    def process(self, prepared: Counted) -> Output:
        totals = {}
        for account, ts in prepared.rows:
            self.counts[account] += 1
            self.changed.add(account)
            totals[account] = self.counts[account]
            self.watermark = max(ts, self.watermark or ts)
        self.next[prepared.envelope.topic] = prepared.envelope.offsets[-1] + 1
        self.refused += len(prepared.refused)
        messages = [
            Message(Topic.DEAD_LETTER, b"x", json.dumps([prepared.envelope.partition, offset]).encode())
            for offset in prepared.refused
        ]
        for target in range(self._delta_partitions):
            rows = {
                account: total
                for account, total in totals.items()
                if hash_of(account) % self._delta_partitions == target
            }
            if rows:
                messages.append(Message(Topic.DELTAS, b"%d" % self.partition, json.dumps(rows).encode(), target))
        return Output(messages=messages, counts={"events": len(prepared.rows)}, watermark=self.watermark)

    def idle(self, watermark: float) -> Output:
        return Output(watermark=watermark)

    def checkpoint(self) -> Checkpoint:
        states: dict[bytes, bytes | None] = {key.encode(): b"%d" % self.counts[key] for key in self.changed}
        return Checkpoint(states, json.dumps(self.watermark).encode(), dict(self.next))

    def saved(self, checkpoint: Checkpoint) -> None:
        del checkpoint
        self.changed.clear()

    def restore(self, meta: bytes | None, states: Mapping[bytes, bytes]) -> None:
        del states
        if meta is not None:
            self.watermark = json.loads(meta)


class GreatestNode:
    """Keeps the greatest number per key; everything is restored at once."""

    def __init__(self, partition: int, send_to: Topic | None) -> None:
        self.partition, self._send_to = partition, send_to
        self.greatest: dict[str, int] = {}
        self.changed: set[str] = set()
        self.next: dict[Topic, int] = {}
        self.watermark: float | None = None

    @property
    def eager(self) -> bool:
        return True

    @property
    def dirty(self) -> int:
        return len(self.changed)

    def decode(self, envelope: Envelope, *, latest_ts: float) -> Counted:
        del latest_ts
        rows = [(key, number) for value in envelope.values for key, number in json.loads(value or b"{}").items()]
        return Counted(envelope, rows, ())

    def load(self, states: Mapping[bytes, bytes | None]) -> None:
        assert not states, "an eager node has everything"

    def process(self, prepared: Counted) -> Output:
        for key, number in prepared.rows:
            if number > self.greatest.get(key, 0):
                self.greatest[key] = int(number)
                self.changed.add(key)
        self.next[prepared.envelope.topic] = prepared.envelope.offsets[-1] + 1
        if self._send_to is None:
            return Output()
        total = {f"source-{self.partition}": sum(self.greatest.values())}
        return Output(messages=[Message(self._send_to, b"%d" % self.partition, json.dumps(total).encode(), 0)])

    def idle(self, watermark: float) -> Output:
        del watermark
        return Output()

    def checkpoint(self) -> Checkpoint:
        states: dict[bytes, bytes | None] = {key.encode(): b"%d" % self.greatest[key] for key in self.changed}
        return Checkpoint(states, b"1", dict(self.next))

    def saved(self, checkpoint: Checkpoint) -> None:
        del checkpoint
        self.changed.clear()

    def restore(self, meta: bytes | None, states: Mapping[bytes, bytes]) -> None:
        del meta
        self.greatest = {key.decode(): int(value) for key, value in states.items()}


def hash_of(account: str) -> int:
    return sum(account.encode())


def counting_stages(delta_partitions: int) -> tuple[Stage, ...]:
    return (
        Stage(
            ACCOUNTS,
            (Topic.QUERIES, Topic.ACCOUNT_STATUS),
            lambda p: cast("Node", CountingNode(p, delta_partitions)),
            paced=True,
        ),
        Stage(CLUSTERS, (Topic.DELTAS,), lambda p: cast("Node", GreatestNode(p, Topic.SUSPICIONS))),
        Stage(CAMPAIGNS, (Topic.SUSPICIONS,), lambda p: cast("Node", GreatestNode(p, None))),
    )
