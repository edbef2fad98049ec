"""Drives one node: the numbered steps of `ports`, for one partition of one stage.

One task per partition runs everything in sequence, so a checkpoint never overlaps with processing. While Redis is
away, processing goes on from memory until `max_dirty` states wait or an unknown account needs its stored state.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from stream_guard.app.outbox import Outbox
from stream_guard.errors import ServiceUnavailableError, StateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stream_guard.app.health import MetricsPort, NodeHealth
    from stream_guard.app.outbox import Sender
    from stream_guard.app.sinks import OutputSink
    from stream_guard.ports import Envelope, Node, Output, StateStore, Topic

log = structlog.get_logger(__name__)

QUEUE_HIGH = 4  # envelopes that wait for a partition before it is held back
QUEUE_LOW = 1
MAX_PENDING_OUTPUTS = 10_000  # outputs that wait for their sinks


@dataclass(frozen=True, slots=True)
class Limits:
    """How a runner paces itself; wall-clock seconds."""

    checkpoint_seconds: float = 1.0
    max_dirty: int = 20_000
    retry_first_seconds: float = 0.1
    retry_most_seconds: float = 5.0
    future_skew_seconds: float = 300.0


class Tap(Protocol):
    """How a runner asks for its records: the lane, bound to the partition's topics."""

    async def start(self, stored: Mapping[Topic, int]) -> tuple[int, Mapping[Topic, int], bool]:
        """Fetch from the stored positions, or from the look-back; (ticket, where it starts, whether cold)."""
        ...

    async def resume(self, positions: Mapping[Topic, int]) -> int:
        """Fetch from exactly these positions; the ticket."""
        ...

    def hold(self, reason: str) -> None:
        """Do not fetch for now."""
        ...

    def release(self, reason: str) -> None:
        """`reason` no longer holds."""
        ...

    def shut(self) -> None:
        """Fetch no more."""
        ...

    def record(self, positions: Mapping[Topic, int]) -> None:
        """Note durable positions in Kafka, for monitoring."""
        ...

    def waiting(self, positions: Mapping[Topic, int]) -> Mapping[Topic, int] | None:
        """Records between the positions and the ends of the topics; None when an end is unknown."""
        ...


@dataclass(slots=True)
class Kept:
    """A node that was given up cleanly; good again if nobody owned its partition in between."""

    token: int
    node: Node
    positions: Mapping[Topic, int]


@dataclass(slots=True)
class Collaborators:
    """What every runner of a worker shares."""

    store: StateStore
    sender: Sender
    sinks: Sequence[OutputSink]
    metrics: MetricsPort
    limits: Limits = field(default_factory=Limits)


class PartitionRunner:
    """One partition of one stage, from assignment to revocation.

    Args:
        name: node name, such as `accounts:3`.
        make_node: a fresh node, used unless `kept` is still good.
        tap: where records come from.
        shared: store, sender, sinks, metrics, limits.
        health: what the web server shows.
        kept: the node as this worker last left it, if it did.
    """

    def __init__(
        self,
        name: str,
        make_node: Callable[[], Node],
        tap: Tap,
        shared: Collaborators,
        health: NodeHealth,
        kept: Kept | None = None,
    ) -> None:
        self.name = name
        self.partition = int(name.rpartition(":")[2])
        self.node = kept.node if kept is not None else make_node()
        self._make_node = make_node
        self.positions: dict[Topic, int] = {}
        self.progress_at = time.monotonic()
        self.closed_through: float | None = None
        self.finished = False
        self._tap, self._shared, self._health, self._kept = tap, shared, health, kept
        self._limits = shared.limits
        self._outbox = Outbox(shared.sender)
        self._outputs: list[Output] = []
        self._queue: deque[tuple[int, Envelope]] = deque()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._idle_request: float | None = None
        self._ticket = 0
        self._token = 0
        self._retry_at = 0.0
        self._retry_seconds = self._limits.retry_first_seconds
        self._checkpointed_at = time.monotonic()
        self._changed = False
        self._ahead = False

    # What others call -------------------------------------------------------------------------------------------

    def offer(self, ticket: int, envelope: Envelope) -> None:
        """Queue an envelope; holds the partition back when enough is queued."""
        self._queue.append((ticket, envelope))
        if len(self._queue) >= QUEUE_HIGH:
            self._tap.hold("queue")
        self._wake.set()

    def request_idle(self, watermark: float) -> None:
        """Close what ends by `watermark`, unless something arrives first."""
        self._idle_request = watermark
        self._wake.set()

    def stop(self) -> None:
        """Finish the envelope under way, checkpoint, and return from `run`."""
        self._tap.shut()
        self._stopping.set()
        self._wake.set()

    @property
    def drained(self) -> bool:
        """Nothing is queued and Kafka has no more."""
        waiting = self._tap.waiting(self.positions)
        return self._health.restored and not self._queue and waiting is not None and not any(waiting.values())

    @property
    def behind(self) -> bool:
        """Records wait, here or in Kafka, and nothing outside explains why."""
        if not self._health.restored or self._health.degraded or self._ahead:
            return False
        return bool(self._queue) or any(self.lag().values())

    def lag(self) -> Mapping[Topic, int]:
        """Records that wait in Kafka, by topic, as far as known."""
        return self._tap.waiting(self.positions) or {}

    def wait_for_others(self, *, active: bool) -> None:
        """Stop or resume fetching because this partition is ahead in event time."""
        if active == self._ahead:
            return
        self._ahead = active
        self.progress_at = time.monotonic()
        if active:
            self._tap.hold("ahead")
        else:
            self._tap.release("ahead")

    # The life of a partition ------------------------------------------------------------------------------------

    async def run(self) -> Kept | None:
        """Own the partition until stopped.

        Returns:
            The node, when it was given up with everything durable.

        Raises:
            FencedError: another worker owns the partition; nothing was written.
            ServiceUnavailableError: Kafka refuses messages for good; the process must end.
        """
        try:
            await self._restore()
            if not self._stopping.is_set():
                await self._loop()
            return await self._give_up()
        finally:
            self._tap.shut()
            self.finished = True

    async def _restore(self) -> None:
        while not self._stopping.is_set():
            try:
                self._token = await self._shared.store.acquire(self.name)
                if self._kept is not None and self._token == self._kept.token + 1:
                    self.node = self._kept.node
                    self.positions = dict(self._kept.positions)
                    self._ticket = await self._tap.resume(self.positions)
                    log.info("partition kept", node=self.name)
                else:
                    await self._restore_from_store()
            except StateUnavailableError as error:
                self._set_degraded(active=True, error=error)
                await self._pause(self._back_off())
                continue
            self._kept = None
            self._set_degraded(active=False)
            self._health.restored = True
            self._health.watermark = self.node.watermark
            self.progress_at = self._checkpointed_at = time.monotonic()
            return

    async def _restore_from_store(self) -> None:
        store = self._shared.store
        meta, stored = await store.read_meta(self.name)
        states = await store.read_all(self.name) if self.node.eager else {}
        self.node = self._make_node()
        self.node.restore(meta, states)
        self._ticket, starts, cold = await self._tap.start(stored)
        self.positions = dict(starts)
        self._health.warming = cold
        if cold:
            log.warning("warming: no checkpoint, starting from the look-back", node=self.name)
            self._shared.metrics.cold_start("no_checkpoint", 1)
        else:
            log.info("partition restored", node=self.name, states=len(states))

    async def _loop(self) -> None:
        while not self._stopping.is_set():
            if self._queue:
                await self._next_envelope()
                await asyncio.sleep(0)  # other partitions share the loop
            elif self._idle_request is not None:
                watermark, self._idle_request = self._idle_request, None
                await self._deliver(self.node.idle(watermark))
                self.closed_through = max(watermark, self.closed_through or watermark)
            else:
                await self._pause(self._until_checkpoint())
            if self._due():
                await self._try_checkpoint()

    async def _next_envelope(self) -> None:
        if self.node.dirty >= self._limits.max_dirty:
            await self._try_checkpoint()
            if self.node.dirty >= self._limits.max_dirty:
                self._tap.hold("dirty")
                await self._pause(max(self._retry_at - time.monotonic(), 0.01))
                return
        ticket, envelope = self._queue.popleft()
        if len(self._queue) <= QUEUE_LOW:
            self._tap.release("queue")
        if ticket != self._ticket or not envelope.offsets:
            return
        self._idle_request = None
        prepared = self.node.decode(envelope, latest_ts=time.time() + self._limits.future_skew_seconds)
        if prepared.missing and not await self._load(prepared.missing):
            return  # stopping: the envelope stays unprocessed and its offsets unrecorded
        await self._deliver(self.node.process(prepared))
        self.positions[envelope.topic] = envelope.offsets[-1] + 1
        self.progress_at = time.monotonic()

    async def _load(self, missing: Sequence[bytes]) -> bool:
        while not self._stopping.is_set():
            try:
                states = await self._shared.store.read(self.name, missing)
            except StateUnavailableError as error:
                self._set_degraded(active=True, error=error)
                await self._pause(self._back_off())
                continue
            self.node.load(states)
            return True
        return False

    async def _deliver(self, output: Output) -> None:
        self._changed = True
        await self._outbox.send(output.messages)
        if output.alerts or output.decisions or output.campaigns:
            self._outputs.append(output)
        self._shared.metrics.observe_output(self.name, output)
        if output.watermark is not None:
            self._shared.metrics.watermark(self.name, output.watermark)
        self._health.watermark = self.node.watermark
        self._health.dirty = self.node.dirty

    # Checkpoints ------------------------------------------------------------------------------------------------

    def _due(self) -> bool:
        now = time.monotonic()
        full = self.node.dirty >= self._limits.max_dirty or len(self._outputs) >= MAX_PENDING_OUTPUTS
        elapsed = now - self._checkpointed_at >= self._limits.checkpoint_seconds
        return self._changed and now >= self._retry_at and (full or elapsed)

    def _until_checkpoint(self) -> float:
        if not self._changed:
            return 1.0
        now = time.monotonic()
        return max(self._checkpointed_at + self._limits.checkpoint_seconds - now, self._retry_at - now, 0.001)

    async def _try_checkpoint(self) -> bool:
        """Steps 4 to 6 of `ports`; False when the store or a sink is away."""
        started = time.monotonic()
        if started < self._retry_at:
            return False
        try:
            await self._outbox.acknowledged()
            await self._publish()
            checkpoint = self.node.checkpoint()
            await self._shared.store.write(self.name, self._token, checkpoint)
        except StateUnavailableError as error:
            self._retry_at = time.monotonic() + self._back_off()
            self._set_degraded(active=True, error=error)
            return False
        self.node.saved(checkpoint)
        self._changed = False
        self._checkpointed_at = self._health.checkpoint_at = time.monotonic()
        self._set_degraded(active=False)
        self._tap.release("dirty")
        self._health.dirty = self.node.dirty
        self._shared.metrics.checkpoint(self.name, self._checkpointed_at - started)
        self._shared.metrics.dirty(self.name, self.node.dirty)
        self._tap.record(checkpoint.positions)
        return True

    async def _publish(self) -> None:
        while self._outputs:
            for sink in self._shared.sinks:
                try:
                    await sink.publish(self._outputs[0])
                except ServiceUnavailableError as error:
                    raise StateUnavailableError(str(error)) from error
            self._outputs.pop(0)

    async def _give_up(self) -> Kept | None:
        self._queue.clear()
        if not self._health.restored:
            return None
        self._retry_at = 0.0
        if self._changed and not await self._try_checkpoint():
            log.warning("partition given up without a checkpoint; its next owner reads again", node=self.name)
            return None
        return Kept(self._token, self.node, dict(self.positions))

    def _set_degraded(self, *, active: bool, error: Exception | None = None) -> None:
        if active and not self._health.degraded:
            log.warning("state store away: going on from memory, committing nothing", node=self.name, error=str(error))
        if not active:
            if self._health.degraded:
                log.info("state store back", node=self.name)
            self._retry_seconds, self._retry_at = self._limits.retry_first_seconds, 0.0
        self._health.degraded = active

    def _back_off(self) -> float:
        seconds = self._retry_seconds
        self._retry_seconds = min(seconds * 2, self._limits.retry_most_seconds)
        return seconds

    async def _pause(self, seconds: float) -> None:
        """Wait for something to do, at most `seconds`."""
        self._wake.clear()
        if self._stopping.is_set():
            return
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return
