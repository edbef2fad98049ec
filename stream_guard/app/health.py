"""What the worker knows about itself: read by the web server, written by the runners; and the metrics port."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_guard.ports import Output


class MetricsPort(Protocol):
    """What `adapters.prometheus` offers to the runtime. `node` is a stage and partition, such as `accounts:3`."""

    def observe_output(self, node: str, output: Output) -> None:
        """Count what one envelope or idle step gave."""
        ...

    def observe_batch(self, node: str, records: int, seconds: float) -> None:
        """An envelope of `records` took `seconds` to decode and process."""
        ...

    def rows(self, node: str, count: int) -> None:
        """States that a node keeps in memory."""
        ...

    def checkpoint(self, node: str, seconds: float) -> None:
        """A checkpoint became durable after `seconds`."""
        ...

    def dirty(self, node: str, count: int) -> None:
        """States that wait for the next checkpoint."""
        ...

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Records of a logical topic's partition that wait in Kafka."""
        ...

    def watermark(self, node: str, ts: float) -> None:
        """Event time seen by a node."""
        ...

    def degraded(self, active: bool) -> None:  # noqa: FBT001 # a gauge of 0 and 1
        """Redis is away: scoring goes on from memory, nothing is committed."""
        ...

    def fenced(self) -> None:
        """A partition was given up because another worker owns it."""
        ...

    def cold_start(self, reason: str, count: int) -> None:
        """States or partitions that started without history."""
        ...


class NullMetrics:
    """Metrics for tests and tools: counts nothing."""

    def observe_output(self, node: str, output: Output) -> None:
        """Nothing."""

    def observe_batch(self, node: str, records: int, seconds: float) -> None:
        """Nothing."""

    def rows(self, node: str, count: int) -> None:
        """Nothing."""

    def checkpoint(self, node: str, seconds: float) -> None:
        """Nothing."""

    def dirty(self, node: str, count: int) -> None:
        """Nothing."""

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Nothing."""

    def watermark(self, node: str, ts: float) -> None:
        """Nothing."""

    def degraded(self, active: bool) -> None:  # noqa: FBT001 # as in the protocol
        """Nothing."""

    def fenced(self) -> None:
        """Nothing."""

    def cold_start(self, reason: str, count: int) -> None:
        """Nothing."""


@dataclass(slots=True)
class NodeHealth:
    """One partition of one stage. Ages are in seconds of the monotonic clock, the watermark is event time."""

    node: str
    restored: bool = False
    warming: bool = False
    degraded: bool = False
    watermark: float | None = None
    dirty: int = 0
    lag: int = 0
    checkpoint_at: float | None = None
    holds: tuple[str, ...] = ()

    def checkpoint_age(self, now: float) -> float | None:
        """Seconds since the last durable checkpoint of this process; None before the first."""
        return None if self.checkpoint_at is None else now - self.checkpoint_at


@dataclass(slots=True)
class HealthState:
    """The worker as a whole.

    Attributes:
        nodes: partitions assigned to this worker, by node name.
        joined: the consumer group has assigned something (perhaps nothing) at least once.
        stopping: a shutdown is under way.
        failure: why the process is about to end; None while all is well.
        stalled: nodes that the watchdog found without progress.
    """

    nodes: dict[str, NodeHealth] = field(default_factory=dict)
    joined: bool = False
    stopping: bool = False
    failure: str | None = None
    stalled: tuple[str, ...] = ()
    monotonic: Callable[[], float] = time.monotonic

    @property
    def ready(self) -> bool:
        """Every assigned partition is restored."""
        return self.joined and not self.stopping and all(node.restored for node in self.nodes.values())

    @property
    def live(self) -> bool:
        """Nothing failed and nothing stalls; a supervisor may restart the process otherwise."""
        return self.failure is None and not self.stalled

    @property
    def degraded(self) -> bool:
        """Some partition cannot write its checkpoints."""
        return any(node.degraded for node in self.nodes.values())

    def summary(self) -> dict[str, object]:
        """Plain data for an HTTP answer."""
        now = self.monotonic()
        return {
            "ready": self.ready,
            "live": self.live,
            "degraded": self.degraded,
            "failure": self.failure,
            "stalled": list(self.stalled),
            "nodes": {
                name: {
                    "restored": node.restored,
                    "warming": node.warming,
                    "degraded": node.degraded,
                    "watermark": node.watermark,
                    "dirty": node.dirty,
                    "lag": node.lag,
                    "checkpoint_age_seconds": node.checkpoint_age(now),
                    "holds": list(node.holds),
                }
                for name, node in sorted(self.nodes.items())
            },
        }
