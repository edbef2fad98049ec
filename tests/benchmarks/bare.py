"""The bare loop: aiokafka's `getmany` and the product's decoder, nothing else. BOOTSTRAP TOPIC PARTITIONS EVENTS."""

from __future__ import annotations

import asyncio
import sys
import time

from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped] # aiokafka ships no types

from stream_guard.decode import Decoder
from tests.benchmarks.contestant import Stopwatch, Timing, tell

MAX_RECORDS = 2_000  # as the worker's envelopes


async def consume(bootstrap: str, topic: str, partitions: int, events: int) -> Timing:
    """Read and decode `events` records; the clock starts when the first list has arrived."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, max_partition_fetch_bytes=4 * 1024 * 1024)
    await consumer.start()
    try:
        owned = [TopicPartition(topic, number) for number in range(partitions)]
        decoders = {partition: Decoder() for partition in owned}
        latest_ts = time.time() + 300.0
        consumer.assign(owned)
        await consumer.seek_to_beginning(*owned)
        watch, seen, first = None, 0, 0
        while seen < events:
            fetched = await consumer.getmany(timeout_ms=1_000, max_records=MAX_RECORDS)
            for partition, records in fetched.items():
                decoded = decoders[partition].decode([record.value for record in records], latest_ts=latest_ts)
                seen += len(decoded.batch)
            if watch is None and seen:
                watch, first = Stopwatch(), seen
        if watch is None:
            raise RuntimeError("no events")
        return watch.timing(seen - first)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    tell(asyncio.run(consume(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
