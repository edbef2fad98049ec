"""The few protocols that the adapters and the runtime rely on.

A *node* is one partition of one stage with bytes on both sides: it decodes what Kafka holds, runs the stage and
encodes what follows. Nodes do no I/O and read no clock, so `replay` and the Faust worker run the same code.

The runtime drives a node in numbered steps, for each envelope:

1. `prepared = node.decode(envelope, latest_ts=…)`
2. read the stored states named by `prepared.missing` and hand them to `node.load(…)`
3. `output = node.process(prepared)`; tell the sinks, so that a decision is there before its alert, then send
   `output.messages` without waiting

and at a checkpoint, when the interval has passed or too much is dirty:

4. await the acknowledgement of every message sent since the last checkpoint
5. `checkpoint = node.checkpoint()`; write states, meta and positions in one atomic, fenced step
6. `node.saved(checkpoint)`, then commit the positions to Kafka

After a crash the partition resumes from the stored positions. What was sent between checkpoints is then sent again;
rows and suspicions are absolute, so receivers are unmoved by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stream_guard.records import Alert, Campaign, DeadLetter, Decision


class Topic(StrEnum):
    """Logical topics; settings map them to names (defaults below are the contract's)."""

    QUERIES = "stream_guard.queries.v1"
    ACCOUNT_STATUS = "stream_guard.account-status.v1"
    CALENDAR = "stream_guard.calendar.v1"
    FEEDBACK = "stream_guard.feedback.v1"
    OPERATIONS = "stream_guard.operations.v1"
    DELTAS = "stream_guard.deltas.v1"
    SUSPICIONS = "stream_guard.suspicions.v1"
    ALERTS = "stream_guard.alerts.v1"
    DECISIONS = "stream_guard.decisions.v1"
    DEAD_LETTER = "stream_guard.dead-letter.v1"


@dataclass(frozen=True, slots=True)
class Envelope:
    """One fetched list of records of one partition, in offset order; a value is None for a tombstone."""

    topic: Topic
    partition: int
    offsets: Sequence[int]
    values: Sequence[bytes | None]


@dataclass(frozen=True, slots=True)
class Message:
    """One record to send. `partition` None lets the key decide."""

    topic: Topic
    key: bytes
    value: bytes
    partition: int | None = None


class Prepared(Protocol):
    """A decoded envelope."""

    @property
    def missing(self) -> Sequence[bytes]:
        """Keys of stored states that `process` needs and the node does not hold; often empty."""
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """What processing gave.

    Attributes:
        messages: to send, in order.
        counts: increments for the counters of `adapters.prometheus`, by name (`events`, `duplicates`, `late`, …).
        dead_letters: records refused, already encoded among `messages` too; here for the counters.
        alerts: transitions, already encoded among `messages` too; here for notifiers.
        decisions: changed decisions; the limits adapter turns them into gateway keys.
        campaigns: campaigns that changed; the registry adapter stores them while they live.
        watermark: event time up to which this partition is complete; None before the first event.
    """

    messages: Sequence[Message] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    dead_letters: Sequence[DeadLetter] = ()
    alerts: Sequence[Alert] = ()
    decisions: Sequence[Decision] = ()
    campaigns: Sequence[Campaign] = ()
    watermark: float | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What must be durable together.

    Attributes:
        states: changed states by key; None deletes the key.
        meta: the node's own small state (watermark, what is under way).
        positions: next offset to read, by topic, for this node's partition.
    """

    states: Mapping[bytes, bytes | None]
    meta: bytes
    positions: Mapping[Topic, int]


class Node(Protocol):
    """One partition of one stage."""

    def decode(self, envelope: Envelope, *, latest_ts: float) -> Prepared:
        """Decode; records with a time after `latest_ts` and malformed ones become dead letters. Never raises."""
        ...

    def load(self, states: Mapping[bytes, bytes | None]) -> None:
        """Take stored states in; None says that nothing is stored. Unreadable ones start cold and are counted."""
        ...

    def process(self, prepared: Prepared) -> Output:
        """Run the stage over one prepared envelope."""
        ...

    def idle(self, watermark: float) -> Output:
        """Nothing arrives here while event time elsewhere has reached `watermark`: close what can be closed."""
        ...

    @property
    def dirty(self) -> int:
        """Number of states that the next checkpoint will write."""
        ...

    @property
    def watermark(self) -> float | None:
        """Event time up to which input has been seen; None before the first event."""
        ...

    def checkpoint(self) -> Checkpoint:
        """Describe everything changed since the last saved checkpoint; changes nothing."""
        ...

    def saved(self, checkpoint: Checkpoint) -> None:
        """`checkpoint` is durable; what it covered is clean now."""
        ...

    def restore(self, meta: bytes | None, states: Mapping[bytes, bytes]) -> None:
        """Start from a stored checkpoint. `states` is everything for eager nodes and empty for lazy ones."""
        ...

    @property
    def eager(self) -> bool:
        """Whether `restore` needs all stored states (clusters, campaigns) or loads them on demand (accounts)."""
        ...


class StateStore(Protocol):
    """Checkpoints of partitions. One implementation for Redis, one in memory for unit tests."""

    async def acquire(self, node: str) -> int:
        """Become the owner of `node` (for example `accounts:3`); returns a fencing token that only grows."""
        ...

    async def read_meta(self, node: str) -> tuple[bytes | None, Mapping[Topic, int]]:
        """Meta and positions of the last checkpoint; (None, {}) when there is none."""
        ...

    async def read(self, node: str, keys: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        """Stored states of some keys."""
        ...

    async def read_all(self, node: str) -> Mapping[bytes, bytes]:
        """Every stored state of an eager node."""
        ...

    async def write(self, node: str, token: int, checkpoint: Checkpoint) -> None:
        """Write atomically.

        Raises:
            FencedError: `token` is no longer the newest.
            StateUnavailableError: the store does not answer; nothing may be committed.
        """
        ...
