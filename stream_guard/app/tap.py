"""Binds a runner to the lane: logical topics to real ones, stored positions to what Kafka still has."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import structlog
from aiokafka.errors import IllegalStateError, KafkaError  # type: ignore[import-untyped] # aiokafka ships no types
from faust.types import TP

from stream_guard.errors import FencedError
from stream_guard.pausing import pause

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream_guard.app.lane import LaneConsumer
    from stream_guard.ports import Topic

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5
ANSWER_SECONDS = 2.0


class LaneTap:
    """One partition's records.

    Args:
        lane: the consumer.
        tps: real partition of each logical topic.
        look_back_seconds: where a cold start begins; None = with the earliest record.
        trust_high_watermark: whether Kafka's end offsets are right (the embedded broker's are not).
    """

    def __init__(
        self,
        lane: LaneConsumer,
        tps: Mapping[Topic, TP],
        *,
        look_back_seconds: float | None = None,
        trust_high_watermark: bool = True,
    ) -> None:
        self._lane = lane
        self._tps = dict(tps)
        self._look_back_seconds = look_back_seconds
        self._trust_high_watermark = trust_high_watermark

    async def start(self, stored: Mapping[Topic, int]) -> tuple[int, Mapping[Topic, int], bool]:
        """Fetch from the stored positions where Kafka still has them, else from the look-back."""
        cold = not stored
        since_ms = None
        if cold and self._look_back_seconds is not None:
            since_ms = int((time.time() - self._look_back_seconds) * 1000)
        bounds = await self._bounds(since_ms)
        positions = {}
        for topic, tp in self._tps.items():
            earliest, end, look_back = bounds[tp]
            position = stored.get(topic, look_back)
            if position < earliest:
                log.error("records expired unread", topic=tp.topic, partition=tp.partition, lost=earliest - position)
                position = earliest
            elif position > end and self._trust_high_watermark:
                log.error("topic is shorter than the checkpoint", topic=tp.topic, partition=tp.partition, end=end)
                position = earliest
            positions[topic] = position
        return await self.resume(positions), positions, cold

    async def resume(self, positions: Mapping[Topic, int]) -> int:
        """Fetch from exactly these positions.

        Raises:
            FencedError: the partition is no longer assigned to this worker.
        """
        try:
            return await self._lane.open({self._tps[topic]: offset for topic, offset in positions.items()})
        except IllegalStateError as error:
            raise FencedError(f"no longer assigned: {error}") from error

    def hold(self, reason: str) -> None:
        """Do not fetch for now."""
        self._lane.hold(self._tps.values(), reason)

    def release(self, reason: str) -> None:
        """`reason` no longer holds."""
        self._lane.release(self._tps.values(), reason)

    def shut(self) -> None:
        """Fetch no more."""
        self._lane.shut(self._tps.values())

    def record(self, positions: Mapping[Topic, int]) -> None:
        """Note durable positions in Kafka, some time soon: nothing depends on it."""
        offsets = {self._tps[topic]: offset for topic, offset in positions.items()}
        self._lane.record_soon(offsets)

    def waiting(self, positions: Mapping[Topic, int]) -> Mapping[Topic, int] | None:
        """Records that Kafka has beyond the positions; None while one of its ends is unknown."""
        waiting = {}
        for topic, tp in self._tps.items():
            end = cast("int | None", self._lane.highwater(tp))  # None before the first fetch
            if end is None or topic not in positions:
                return None
            waiting[topic] = max(0, end - positions[topic]) if self._trust_high_watermark else 0
        return waiting

    async def at_ends(self, positions: Mapping[Topic, int]) -> bool:
        """Whether Kafka, asked now, has nothing beyond the positions; False when it does not answer soon."""
        if not self._trust_high_watermark:
            return True
        try:
            ends = await asyncio.wait_for(self._lane.ends(list(self._tps.values())), ANSWER_SECONDS)
        except (KafkaError, TimeoutError):
            return False
        return all(positions.get(topic, -1) >= ends[tp] for topic, tp in self._tps.items())

    async def _bounds(self, since_ms: int | None) -> Mapping[TP, tuple[int, int, int]]:
        while True:
            try:
                return await self._lane.bounds(list(self._tps.values()), since_ms)
            except KafkaError as error:
                log.warning("offsets are not available yet", error=repr(error))
                await pause(RETRY_SECONDS)


def partition_of(tps: Mapping[Topic, str], partition: int) -> dict[Topic, TP]:
    """Real partitions of a unit."""
    return {topic: TP(name, partition) for topic, name in tps.items()}
