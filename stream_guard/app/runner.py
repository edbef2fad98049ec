"""Drives one node: the numbered steps of `ports`, for one partition of one stage.

One task per partition runs everything in sequence, so a checkpoint never overlaps with processing. While Redis is
away, processing goes on from memory until `max_dirty` states wait or an unknown account needs its stored state.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from stream_guard.app.checkpoint import Checkpointer
from stream_guard.errors import StateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stream_guard.app.checkpoint import Collaborators
    from stream_guard.app.health import NodeHealth
    from stream_guard.ports import Envelope, Node, Output, Prepared, Topic

log = structlog.get_logger(__name__)

QUEUE_HIGH = 4  # envelopes that wait for a partition before it is held back
QUEUE_LOW = 1
APART_SECONDS = 1.0  # of processor time: Redis and whoever asks for health wait three seconds
NOTABLE_SECONDS = 0.1  # less is no evaluation and says nothing about the next one


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

    async def at_ends(self, positions: Mapping[Topic, int]) -> bool:
        """Whether Kafka, asked now, has nothing beyond the positions; False when it does not answer."""
        ...


@dataclass(slots=True)
class Kept:
    """A node that was given up cleanly; good again if nobody owned its partition in between."""

    token: int
    node: Node
    positions: Mapping[Topic, int]


class PartitionRunner:
    """One partition of one stage, from assignment to revocation.

    Args:
        name: node name, such as `accounts:3`.
        make_node: a fresh node, used unless `kept` is still good.
        tap: where records come from.
        shared: store, sender, sinks, metrics, limits.
        health: what the web server shows.
        patience_seconds: by how much its envelopes yield to those of other partitions.
        kept: the node as this worker last left it, if it did.
    """

    def __init__(  # noqa: PLR0913 # named collaborators
        self,
        name: str,
        *,
        make_node: Callable[[], Node],
        tap: Tap,
        shared: Collaborators,
        health: NodeHealth,
        patience_seconds: float = 0.0,
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
        self._limits, self._patience_seconds = shared.limits, patience_seconds
        self._checkpoints = Checkpointer(name, shared, health)
        self._queue: deque[tuple[int, Envelope]] = deque()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._idle_request: float | None = None
        self._ticket = 0
        self._ahead = False
        self._spoilt = False
        self._longest_seconds = 0.0

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
                token = self._checkpoints.token = await self._shared.store.acquire(self.name)
                if self._kept is not None and token == self._kept.token + 1:
                    self.node = self._kept.node
                    self.positions = dict(self._kept.positions)
                    self._ticket = await self._tap.resume(self.positions)
                    log.info("partition kept", node=self.name)
                else:
                    await self._restore_from_store()
            except StateUnavailableError as error:
                await self._pause(self._checkpoints.away(error))
                continue
            self._kept = None
            self._checkpoints.back()
            self._health.restored = True
            self._health.watermark = self.node.watermark
            self.progress_at = time.monotonic()
            return

    async def _restore_from_store(self) -> None:
        store = self._shared.store
        meta, stored = await store.read_meta(self.name)
        states = await store.read_all(self.name) if self.node.eager else {}
        self.node = self._make_node()
        await asyncio.to_thread(self.node.restore, meta, states)  # seconds where there are many: others go on
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
            elif self._idle_request is not None:
                watermark, self._idle_request = self._idle_request, None
                await self._close_idle(watermark)
            else:
                await self._pause(self._checkpoints.seconds_until_due())
            if self._checkpoints.due(self.node):
                await self._shared.turns.take(self._patience_seconds)  # all partitions' checkpoints fall due together
                await self._settle()

    async def _next_envelope(self) -> None:
        if self.node.dirty >= self._limits.max_dirty:
            await self._settle()
            if self.node.dirty >= self._limits.max_dirty:
                self._tap.hold("dirty")
                await self._pause(self._checkpoints.seconds_until_retry())
                return
        await self._shared.turns.take(self._patience_seconds)
        ticket, envelope = self._queue.popleft()
        if len(self._queue) <= QUEUE_LOW:
            self._tap.release("queue")
        if ticket != self._ticket or not envelope.offsets:
            return
        self._idle_request = None
        started = time.perf_counter()
        prepared = self.node.decode(envelope, latest_ts=time.time() + self._limits.future_skew_seconds)
        spent = time.perf_counter() - started
        if prepared.missing:
            if not await self._load(prepared.missing):
                self._spoilt = True  # its decoder has given away names that this envelope was to bring
                return  # stopping: the envelope stays unprocessed and its offsets unrecorded
            await self._shared.turns.take(self._patience_seconds)
        started = time.perf_counter()
        output = await self._process(prepared)
        spent += time.perf_counter() - started
        self._shared.metrics.observe_batch(self.name, len(envelope.offsets), spent)
        await self._deliver(output)
        self.positions[envelope.topic] = envelope.offsets[-1] + 1
        self.progress_at = time.monotonic()

    async def _process(self, prepared: Prepared) -> Output:
        """In the loop, which is quickest, unless that took long lately: an evaluation of very many accounts."""
        began = time.thread_time()
        if self._longest_seconds > APART_SECONDS:
            output, spent = await self._shared.turns.apart(lambda: _timed(self.node, prepared))
        else:
            output, spent = self.node.process(prepared), time.thread_time() - began
        if spent > NOTABLE_SECONDS:
            self._longest_seconds = max(spent, self._longest_seconds / 2.0)
        return output

    async def _close_idle(self, watermark: float) -> None:
        """Close, unless records wait after all: what a fetch said last is old after a pause of ours or of Kafka's."""
        if await self._tap.at_ends(self.positions) and not self._queue:
            await self._deliver(self.node.idle(watermark))
            self.closed_through = max(watermark, self.closed_through or watermark)

    async def _load(self, missing: Sequence[bytes]) -> bool:
        while not self._stopping.is_set():
            try:
                states = await self._shared.store.read(self.name, missing)
            except StateUnavailableError as error:
                await self._pause(self._checkpoints.away(error))
                continue
            self.node.load(states)
            return True
        return False

    async def _deliver(self, output: Output) -> None:
        await self._checkpoints.owe(output)
        self._shared.metrics.observe_output(self.name, output)
        if output.watermark is not None:
            self._shared.metrics.watermark(self.name, output.watermark)
        self._health.watermark = self.node.watermark
        self._health.dirty = self.node.dirty

    async def _settle(self, *, at_once: bool = False) -> bool:
        positions = await self._checkpoints.settle(self.node, at_once=at_once)
        if positions is None:
            return False
        self._tap.release("dirty")
        self._tap.record(positions)
        return True

    async def _give_up(self) -> Kept | None:
        self._queue.clear()
        if not self._health.restored:
            return None
        if self._checkpoints.changed and not await self._settle(at_once=True):
            log.warning("partition given up without a checkpoint; its next owner reads again", node=self.name)
            return None
        return None if self._spoilt else Kept(self._checkpoints.token, self.node, dict(self.positions))

    async def _pause(self, seconds: float) -> None:
        """Wait for something to do, at most `seconds`."""
        self._wake.clear()
        if self._stopping.is_set():
            return
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return


def _timed(node: Node, prepared: Prepared) -> tuple[Output, float]:
    began = time.thread_time()
    return node.process(prepared), time.thread_time() - began
