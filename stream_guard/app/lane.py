"""The batch lane: Faust's consumer hands over one envelope per fetched list instead of one message per record.

This is the one file that touches private members of Faust 0.15.3 and aiokafka; `tests/unit/test_runner_lane.py`
pins them. Faust keeps membership, rebalancing, streams and agents. Differences to its own consumer:

- `getmany` yields one message per partition whose value is a `LaneEnvelope`; nothing is decoded or acknowledged.
- Topics between the stages come first: what follows from earlier records does not wait behind new ones.
- Only partitions that a runner has opened at a stored position are fetched, and only while nobody holds them back.
- Every seek draws a new ticket. Envelopes carry the ticket under which they were fetched, so that a runner can
  tell records fetched before its seek from those after it. Ticket and fetch meet in the consumer's own thread.
- Committed offsets are written for monitoring only. Nothing ever seeks to them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import faust
from aiokafka.consumer.fetcher import FetchResult  # type: ignore[import-untyped] # aiokafka ships no types
from aiokafka.errors import KafkaError  # type: ignore[import-untyped] # aiokafka ships no types
from aiokafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped] # aiokafka ships no types
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP, ConsumerMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    import aiokafka  # type: ignore[import-untyped] # aiokafka ships no types

    from stream_guard.app.assignor import StageAssignor

FETCH_SECONDS = 0.1  # how long one fetch waits when nothing is there; also how soon a resumed partition is noticed
FETCH_WAIT_MS = 50  # of one request, in which a partition just emptied takes no part
BACK_OFF_SECONDS = 0.005  # aiokafka asks a broker for nothing while records of any of its partitions wait, so long


@dataclass(frozen=True, slots=True)
class LaneEnvelope:
    """One fetched list, by real topic name, with the ticket of the seek it follows."""

    tp: TP
    ticket: int
    offsets: Sequence[int]
    values: Sequence[bytes | None]


class PassThrough(faust.Schema[Any, Any]):
    """Hands a message's value on untouched: nothing can fail to decode in the stream."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ANN401, ARG002 # Faust's signature
        """Keys are not used."""
        return None

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ANN401, ARG002 # Faust's signature
        """The envelope as it is."""
        return message.value


def _as_it_is(tp: TopicPartition, record: Any) -> Any:  # noqa: ANN401, ARG001 # aiokafka's signature
    """A record of the fetched bytes has an offset and a value; aiokafka's larger one costs a microsecond more."""
    return record


class LaneThread(AIOKafkaConsumerThread):
    """The consumer's thread: fetches and seeks under tickets."""

    urgent_topics: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._tickets: dict[TP, int] = {}
        self._last_ticket = 0

    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 # a long poll delays newly opened partitions
        self.urgent_topics = cast("LaneTransport", transport).urgent_topics
        assignor = cast("LaneTransport", transport).assignor
        if assignor is not None:
            consumer._partition_assignment_strategy = (assignor,)  # noqa: SLF001 # Faust offers no setting for it
        return consumer

    async def on_thread_stop(self) -> None:
        """Leave the group. aiokafka keeps the place of a member with a name of its own; one that ends needs it not."""
        if self._consumer is not None and self._consumer._coordinator is not None:  # noqa: SLF001 # no setting for it
            self._consumer._coordinator._group_instance_id = None  # noqa: SLF001 # as above
        await super().on_thread_stop()

    async def fetch(self, wanted: set[TP]) -> list[LaneEnvelope]:
        """Fetched lists of the wanted partitions."""
        return cast("list[LaneEnvelope]", await self.call_thread(self._fetch_in_thread, wanted))

    async def _fetch_in_thread(self, wanted: set[TP]) -> list[LaneEnvelope]:
        consumer, urgent = self._ensure_consumer(), set[TP]()
        consumer._fetcher._prefetch_backoff = BACK_OFF_SECONDS  # noqa: SLF001 # aiokafka offers no setting for it
        for partition, result in consumer._fetcher._records.items():  # noqa: SLF001 # see `_as_it_is`
            if isinstance(result, FetchResult) and result.has_more():
                result._partition_records._consumer_record = _as_it_is  # noqa: SLF001 # as above
                if partition.topic in self.urgent_topics and partition in wanted:
                    urgent.add(partition)
        fetched = await self._fetch_records(
            consumer,
            urgent or wanted,
            timeout=0.0 if urgent else FETCH_SECONDS,
            max_records=consumer._max_poll_records,  # noqa: SLF001 # as Faust's own `getmany`
        )
        # No await between the fetcher's return and this line: the tickets are those of the fetched positions.
        return [
            LaneEnvelope(
                tp=tp,
                ticket=self._tickets[tp],
                offsets=[record.offset for record in records],
                values=[record.value for record in records],
            )
            for topic_partition, records in fetched.items()
            if records and (tp := TP(topic_partition.topic, topic_partition.partition)) in self._tickets
        ]

    async def seek_under_ticket(self, positions: Mapping[TP, int]) -> int:
        """Seek and draw a ticket, in one step."""
        return cast("int", await self.call_thread(self._seek_in_thread, positions))

    async def _seek_in_thread(self, positions: Mapping[TP, int]) -> int:
        consumer = self._ensure_consumer()
        self._last_ticket += 1
        for tp, offset in positions.items():
            consumer.seek(TopicPartition(tp.topic, tp.partition), offset)
            self._tickets[tp] = self._last_ticket
        return self._last_ticket

    async def bounds(self, tps: Sequence[TP], since_ms: int | None) -> dict[TP, tuple[int, int, int]]:
        """Earliest offset, end offset and look-back offset (earliest when `since_ms` is None) of partitions."""
        return cast("dict[TP, tuple[int, int, int]]", await self.call_thread(self._bounds_in_thread, tps, since_ms))

    async def _bounds_in_thread(self, tps: Sequence[TP], since_ms: int | None) -> dict[TP, tuple[int, int, int]]:
        consumer = self._ensure_consumer()
        partitions = [TopicPartition(tp.topic, tp.partition) for tp in tps]
        earliest = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
        since: Mapping[TopicPartition, Any] = {}
        if since_ms is not None:
            since = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        answer = {}
        for tp, partition in zip(tps, partitions, strict=True):
            start = earliest[partition]
            if since_ms is not None:
                found = since.get(partition)
                start = found.offset if found is not None else end[partition]
            answer[tp] = (earliest[partition], end[partition], start)
        return answer

    async def ends(self, tps: Sequence[TP]) -> dict[TP, int]:
        """End offsets, asked for now."""
        return cast("dict[TP, int]", await self.call_thread(self._ends_in_thread, tps))

    async def _ends_in_thread(self, tps: Sequence[TP]) -> dict[TP, int]:
        partitions = {TopicPartition(tp.topic, tp.partition): tp for tp in tps}
        ends = await self._ensure_consumer().end_offsets(list(partitions))
        return {partitions[partition]: offset for partition, offset in ends.items()}

    async def record_positions(self, positions: Mapping[TP, int]) -> bool:
        """Commit to Kafka for whoever watches the lag; False when that did not work."""
        return cast("bool", await self.call_thread(self._record_in_thread, positions))

    async def _record_in_thread(self, positions: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        offsets = {
            partition: OffsetAndMetadata(offset, "")
            for tp, offset in positions.items()
            if (partition := TopicPartition(tp.topic, tp.partition)) in assigned
        }
        try:
            if offsets:
                await consumer.commit(offsets)
        except KafkaError:
            return False
        return True


class LaneConsumer(Consumer):
    """Faust's consumer with the batch lane; `open`, `hold`, `release` and `shut` are for the runners."""

    _thread: LaneThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 # passed on
        super().__init__(*args, **kwargs)
        self._opened: set[TP] = set()
        self._holds: dict[TP, set[str]] = {}
        self._fetchable = asyncio.Event()
        self._to_record: dict[TP, int] = {}

    def _new_consumer_thread(self) -> LaneThread:
        return LaneThread(self, loop=self.loop, beacon=self.beacon)

    async def open(self, positions: Mapping[TP, int]) -> int:
        """Start fetching at `positions`; returns the ticket that the envelopes will carry."""
        ticket = await self._thread.seek_under_ticket(positions)
        self._opened.update(positions)
        self._fetchable.set()
        return ticket

    def shut(self, tps: Iterable[TP]) -> None:
        """Stop fetching these partitions and forget their holds."""
        for tp in tps:
            self._opened.discard(tp)
            self._holds.pop(tp, None)

    def hold(self, tps: Iterable[TP], reason: str) -> None:
        """Do not fetch these for now; reasons add up."""
        for tp in tps:
            self._holds.setdefault(tp, set()).add(reason)

    def release(self, tps: Iterable[TP], reason: str) -> None:
        """`reason` no longer holds these back."""
        for tp in tps:
            reasons = self._holds.get(tp)
            if reasons is not None:
                reasons.discard(reason)
                if not reasons:
                    del self._holds[tp]
        self._fetchable.set()

    async def bounds(self, tps: Sequence[TP], since_ms: int | None) -> dict[TP, tuple[int, int, int]]:
        """Earliest, end and look-back offsets of partitions."""
        return await self._thread.bounds(tps, since_ms)

    async def ends(self, tps: Sequence[TP]) -> dict[TP, int]:
        """End offsets of partitions, as Kafka says when asked."""
        return await self._thread.ends(tps)

    def record_soon(self, positions: Mapping[TP, int]) -> None:
        """Commit with the next periodic commit: once for all partitions, and nothing depends on it."""
        self._to_record.update(positions)

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ANN401, ARG002, FBT001, FBT002 # Faust's signature
        """Write the recorded positions to Kafka; Faust calls this at its commit interval and when it stops."""
        positions, self._to_record = self._to_record, {}
        return bool(positions) and await self._thread.record_positions(positions)

    async def perform_seek(self) -> None:
        """Positions come from the checkpoints: nothing to do."""

    async def verify_all_partitions_active(self) -> None:
        """The worker's own watchdog does this."""

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109 # Faust's signature
        """One message per fetched list; its value is the envelope."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type] # Faust does the same
        wanted = {tp for tp in self._opened if tp not in self._holds}
        if not wanted:
            self._fetchable.clear()
            await self.wait_first(self._fetchable.wait(), timeout=min(timeout, FETCH_SECONDS))
            return
        for envelope in await self._thread.fetch(wanted):
            if self.flow_active and not self.should_stop and envelope.tp in self._opened:
                yield envelope.tp, self._message(envelope)

    async def _drain_messages(self, fetcher: Any) -> None:  # noqa: ANN401 # a mode service
        """Deliver envelopes to the streams until stopped; Faust's own version orders and drops by single offset."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                messages = [message async for _, message in self.getmany(timeout=1.0)]
                if messages:
                    # What is in hand when the flow stops belongs to partitions being revoked: dropping it is right.
                    handed_on = asyncio.gather(*(self.callback(message) for message in messages))
                    await self.wait_first(handed_on, self.suspend_flow.wait())
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise

    def _message(self, envelope: LaneEnvelope) -> ConsumerMessage:
        return ConsumerMessage(
            envelope.tp.topic,
            envelope.tp.partition,
            envelope.offsets[0],
            0.0,
            0,
            None,
            None,
            envelope,  # type: ignore[arg-type] # `PassThrough` hands it on untouched
            None,
            0,
            0,
            envelope.tp,
            generation_id=self.app.consumer_generation_id,
        )


class LaneTransport(Transport):
    """Faust's aiokafka transport with the batch lane in it."""

    Consumer = LaneConsumer
    assignor: StageAssignor | None = None
    urgent_topics: frozenset[str] = frozenset()
