"""Owns the runners of this worker: starts them on assignment, feeds them, stops them on revocation."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from stream_guard.app.health import HealthState, NodeHealth
from stream_guard.app.runner import Kept, PartitionRunner
from stream_guard.app.tap import LaneTap, partition_of
from stream_guard.errors import FencedError
from stream_guard.ports import Envelope, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from faust.types import TP

    from stream_guard.app.checkpoint import Collaborators
    from stream_guard.app.lane import LaneConsumer, LaneEnvelope
    from stream_guard.app.stages import Stage

log = structlog.get_logger(__name__)

QUERIES_PATIENCE_SECONDS = 1.0  # by which queries yield to what follows from earlier ones: alerts come of that


class Partitions:
    """Runners by unit (stage name, partition).

    Args:
        stages: what this worker runs.
        topic_name: real name of a logical topic.
        shared: store, sender, sinks, metrics and limits.
        health: shown by the web server.
        look_back_seconds: where cold starts begin; None = with the earliest record.
        trust_high_watermark: False only for the embedded broker.
        fenced_retry_seconds: how long a fenced partition that is still assigned here waits before it is taken again.
    """

    def __init__(  # noqa: PLR0913 # named collaborators
        self,
        stages: Sequence[Stage],
        topic_name: Callable[[Topic], str],
        shared: Collaborators,
        health: HealthState,
        *,
        look_back_seconds: float | None = None,
        trust_high_watermark: bool = True,
        fenced_retry_seconds: float = 30.0,
    ) -> None:
        self.health = health
        self.runners: dict[tuple[str, int], PartitionRunner] = {}
        self._stages = {stage.name: stage for stage in stages}
        self._topics = {topic_name(topic): (stage.name, topic) for stage in stages for topic in stage.topics}
        self._names = {stage.name: {topic: topic_name(topic) for topic in stage.topics} for stage in stages}
        self._shared = shared
        self._look_back_seconds = look_back_seconds
        self._trust_high_watermark = trust_high_watermark
        self._fenced_retry_seconds = fenced_retry_seconds
        self._tasks: dict[tuple[str, int], asyncio.Task[Kept | None]] = {}
        self._kept: dict[tuple[str, int], Kept] = {}
        self._assigned: set[tuple[str, int]] = set()
        self._retries: set[asyncio.Task[None]] = set()
        self.lane: LaneConsumer | None = None
        self.failed: asyncio.Future[BaseException] | None = None

    def deliver(self, envelope: LaneEnvelope) -> None:
        """Hand an envelope to its runner; what belongs to nobody here is read again by its owner."""
        stage, topic = self._topics[envelope.tp.topic]
        runner = self.runners.get((stage, envelope.tp.partition))
        if runner is not None and not runner.finished:
            runner.offer(envelope.ticket, Envelope(topic, envelope.tp.partition, envelope.offsets, envelope.values))

    def assign(self, tps: Iterable[TP]) -> None:
        """Start a runner for every unit assigned; returns at once."""
        self._assigned = {(self._topics[tp.topic][0], tp.partition) for tp in tps if tp.topic in self._topics}
        for unit in sorted(self._assigned):
            if unit not in self._tasks:
                self._start(unit)
        self._kept = {}
        self.health.joined = True
        log.info("partitions assigned", nodes=[f"{stage}:{partition}" for stage, partition in sorted(self._assigned)])

    async def revoke(self, deadline_seconds: float) -> None:
        """Stop all runners, giving each the chance of a last checkpoint before the deadline they share."""
        self._assigned = set()
        tasks, self._tasks = self._tasks, {}
        for unit in tasks:
            self.runners[unit].stop()
        if tasks:
            _, late = await asyncio.wait(tasks.values(), timeout=deadline_seconds)
            for task in late:
                task.cancel()
            if late:
                log.warning("partitions given up at the deadline", count=len(late))
                await asyncio.wait(late, timeout=1.0)
        for unit, task in tasks.items():
            if task.done() and not task.cancelled() and task.exception() is None:
                kept = task.result()
                if kept is not None:
                    self._kept[unit] = kept
        self.runners.clear()
        self.health.nodes.clear()

    def abandon(self) -> None:
        """Drop everything without writing; the next owner starts from the last checkpoints."""
        self._assigned = set()
        for task in self._tasks.values():
            task.cancel()

    def _start(self, unit: tuple[str, int]) -> None:
        if self.lane is None:
            raise RuntimeError("the lane is set before anything is assigned")
        stage = self._stages[unit[0]]
        name = f"{stage.name}:{unit[1]}"
        tap = LaneTap(
            self.lane,
            partition_of(self._names[stage.name], unit[1]),
            look_back_seconds=self._look_back_seconds,
            trust_high_watermark=self._trust_high_watermark,
        )
        health = self.health.nodes[name] = NodeHealth(name)
        kept = self._kept.pop(unit, None)
        runner = PartitionRunner(
            name,
            make_node=lambda: stage.make_node(unit[1]),
            tap=tap,
            shared=self._shared,
            health=health,
            patience_seconds=QUERIES_PATIENCE_SECONDS if stage.paced else 0.0,
            kept=kept,
        )
        self.runners[unit] = runner
        task = self._tasks[unit] = asyncio.create_task(runner.run(), name=name)
        task.add_done_callback(lambda done: self._ended(unit, done))

    def _ended(self, unit: tuple[str, int], task: asyncio.Task[Kept | None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        name = f"{unit[0]}:{unit[1]}"
        if isinstance(error, FencedError):
            log.warning("fenced: partition dropped without writing", node=name)
            self._shared.metrics.fenced()
            if self._tasks.get(unit) is task:
                del self._tasks[unit]
                retry = asyncio.create_task(self._take_again(unit))
                self._retries.add(retry)
                retry.add_done_callback(self._retries.discard)
            return
        log.error("partition failed", node=name, error=repr(error), exc_info=error)
        self.health.failure = f"{name}: {error!r}"
        if self.failed is not None and not self.failed.done():
            self.failed.set_result(error)

    async def _take_again(self, unit: tuple[str, int]) -> None:
        await asyncio.sleep(self._fenced_retry_seconds)
        if unit in self._assigned and unit not in self._tasks:
            self._start(unit)

    def rows(self, unit: tuple[str, int]) -> int | None:
        """States that a runner's node keeps in memory; None when its stage does not say."""
        count = self._stages[unit[0]].rows
        return None if count is None else count(self.runners[unit].node)

    def stalled(self, limit_seconds: float) -> tuple[str, ...]:
        """Nodes with records waiting but no progress for longer than the limit."""
        now = time.monotonic()
        return tuple(
            runner.name
            for runner in self.runners.values()
            if not runner.finished and runner.behind and now - runner.progress_at > limit_seconds
        )
