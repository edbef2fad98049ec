"""What a partition owes the outside: sinks, messages, the fenced write; how long to wait when Redis is away."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from stream_guard.app.outbox import Outbox
from stream_guard.app.turns import Turns
from stream_guard.errors import ServiceUnavailableError, StateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stream_guard.app.health import MetricsPort, NodeHealth
    from stream_guard.app.outbox import Sender
    from stream_guard.app.sinks import OutputSink
    from stream_guard.ports import Node, Output, StateStore, Topic

log = structlog.get_logger(__name__)

MAX_PENDING_OUTPUTS = 10_000  # outputs that wait for their sinks


@dataclass(frozen=True, slots=True)
class Limits:
    """How a runner paces itself; wall-clock seconds."""

    checkpoint_seconds: float = 1.0
    max_dirty: int = 20_000
    retry_first_seconds: float = 0.1
    retry_most_seconds: float = 5.0
    future_skew_seconds: float = 300.0


@dataclass(slots=True)
class Collaborators:
    """What every runner of a worker shares."""

    store: StateStore
    sender: Sender
    sinks: Sequence[OutputSink]
    metrics: MetricsPort
    limits: Limits = field(default_factory=Limits)
    turns: Turns = field(default_factory=Turns)


class Checkpointer:
    """What one partition owes the outside since its last checkpoint, and the way to settle it."""

    def __init__(self, name: str, shared: Collaborators, health: NodeHealth) -> None:
        self.token = 0
        self._name, self._shared, self._health, self._limits = name, shared, health, shared.limits
        self._outbox = Outbox(shared.sender)
        self._outputs: list[Output] = []
        self._changed = False
        self._written_at = time.monotonic()
        self._retry_at = 0.0
        self._retry_seconds = self._limits.retry_first_seconds

    @property
    def changed(self) -> bool:
        """Something was processed since the last checkpoint."""
        return self._changed

    async def owe(self, output: Output) -> None:
        """Send the messages of an output and remember what must be done before the next checkpoint.

        Who reads an alert from Kafka finds its decision in Redis: the sinks come first. Where one is away, alerts do
        not wait for it; the checkpoint does.
        """
        self._changed = True
        if output.alerts or output.decisions or output.campaigns:
            self._outputs.append(output)
            if not self._health.degraded:
                with suppress(StateUnavailableError), self._shared.turns.alone():
                    await self._publish()
        await self._outbox.send(output.messages)

    def due(self, node: Node) -> bool:
        """Whether it is time to write."""
        now = time.monotonic()
        full = node.dirty >= self._limits.max_dirty or len(self._outputs) >= MAX_PENDING_OUTPUTS
        elapsed = now - self._written_at >= self._limits.checkpoint_seconds
        return self._changed and now >= self._retry_at and (full or elapsed)

    def seconds_until_due(self) -> float:
        """How long there is nothing to write."""
        if not self._changed:
            return 1.0
        now = time.monotonic()
        return max(self._written_at + self._limits.checkpoint_seconds - now, self._retry_at - now, 0.001)

    def seconds_until_retry(self) -> float:
        """How long there is no use in trying."""
        return max(self._retry_at - time.monotonic(), 0.01)

    async def settle(self, node: Node, *, at_once: bool = False) -> Mapping[Topic, int] | None:
        """Steps 4 to 6: the positions that are durable now; None when the store or a sink is away.

        Raises:
            FencedError: another worker owns the partition; nothing was written.
            ServiceUnavailableError: Kafka refuses messages for good.
        """
        started = time.monotonic()
        if started < self._retry_at and not at_once:
            return None
        try:
            await self._outbox.acknowledged()
            await self._publish()
            checkpoint = node.checkpoint()
            await self._shared.store.write(self._name, self.token, checkpoint)
        except StateUnavailableError as error:
            self._retry_at = time.monotonic() + self.away(error)
            return None
        node.saved(checkpoint)
        self._changed = False
        self._written_at = self._health.checkpoint_at = time.monotonic()
        self._health.dirty = node.dirty
        self.back()
        self._shared.metrics.checkpoint(self._name, self._written_at - started)
        return checkpoint.positions

    async def _publish(self) -> None:
        while self._outputs:
            for sink in self._shared.sinks:
                try:
                    await sink.publish(self._outputs[0])
                except ServiceUnavailableError as error:
                    raise StateUnavailableError(str(error)) from error
            self._outputs.pop(0)

    def away(self, error: Exception) -> float:
        """Note that the store is away; how long to wait before the next attempt."""
        if not self._health.degraded:
            log.warning("state store away: from memory, committing nothing", node=self._name, error=str(error))
        self._health.degraded = True
        seconds = self._retry_seconds
        self._retry_seconds = min(seconds * 2, self._limits.retry_most_seconds)
        return seconds

    def back(self) -> None:
        """Note that the store answers."""
        if self._health.degraded:
            log.info("state store back", node=self._name)
        self._health.degraded = False
        self._retry_seconds, self._retry_at = self._limits.retry_first_seconds, 0.0
