"""Many accounts: records of them for Kafka, and their states for Redis, from the shapes of simulated ones."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped] # aiokafka ships no types

from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_state import RedisStateStore
from stream_guard.app.stages import ACCOUNTS, EAGER_STAGES
from stream_guard.pipeline import Pipeline
from stream_guard.policy import Policy
from stream_guard.ports import Checkpoint, Topic
from tests.benchmarks.traffic import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import redis
    from numpy.typing import NDArray

    from tests.support.cluster import Cluster

SEED: Final = 11
SHAPES: Final = 2_000
CHUNK: Final = 2_000
EVENTS_PER_SECOND: Final = 400.0  # of event time: some epochs close, and two evaluations fall into 250,000 events


@dataclass(frozen=True, slots=True)
class Shapes:
    """What simulated accounts look like.

    Attributes:
        records: JSON of queries without id, account and time.
        states: stored accounts, as they were when the simulation ended.
        queries: how many queries each of `states` has seen.
        until: event time at which it ended, Unix seconds.
    """

    records: list[bytes]
    states: list[bytes]
    queries: NDArray[np.int64]
    until: float

    def bytes_by_queries(self) -> dict[str, float]:
        """Mean bytes of a stored account, without its key, by how many queries it has seen."""
        sizes = np.array([len(state) for state in self.states])
        bounds = ((1, 1), (2, 3), (4, 12), (13, 50), (51, 1 << 40))
        chosen = {(low, high): (self.queries >= low) & (self.queries <= high) for low, high in bounds}
        return {
            f"{low}" if low == high else f"{low} to {high}" if high < 1 << 40 else f"more than {low - 1}": float(
                sizes[mine].mean()
            )
            for (low, high), mine in chosen.items()
            if mine.any()
        }


def shapes_of(path: Path) -> Shapes:
    """Run the pipeline over a file of queries and keep what it gives."""
    pipeline, lines = Pipeline(Policy()), list(lines_of(path))
    for start in range(0, len(lines), CHUNK):
        pipeline.feed(lines[start : start + CHUNK], latest_ts=time.time() + 300.0)
    pipeline.end()
    table = pipeline._accounts.table
    every = range(len(table))
    records = []
    for line in lines[:: max(1, len(lines) // SHAPES)]:
        record: dict[str, Any] = msgspec.json.decode(line)
        for name in ("event_id", "account_id", "ts"):
            del record[name]
        records.append(msgspec.json.encode(record)[1:])
    return Shapes(
        records,
        list(table.dump(every).values()),
        table.rows["events"][: len(table)].astype(np.int64),
        pipeline.watermark,
    )


def chosen(accounts: int, events: int, *, skewed: bool, seed: int = SEED) -> NDArray[np.int64]:
    """Which account each query is of: uniform, or so that ten times the rank is a tenth as busy."""
    draws = np.random.default_rng(seed).random(events)
    return (accounts**draws - 1 if skewed else accounts * draws).astype(np.int64)


def records_of(
    shapes: Shapes, accounts: Iterable[int], since: float, tag: str, per_second: float = EVENTS_PER_SECOND
) -> Iterator[tuple[int, bytes]]:
    """Queries of numbered accounts in order of event time, each with the account's number."""
    for number, account in enumerate(accounts):
        head = b'{"event_id":"%s-%d","account_id":"acct_%012d","ts":%d,' % (
            tag.encode(),
            number,
            account,
            int(1_000 * (since + number / per_second)),
        )
        yield account, head + shapes.records[account % len(shapes.records)]


def produce(cluster: Cluster, records: Iterable[tuple[int, bytes]]) -> int:
    """Send queries, an account always to the same partition; how many there were."""
    return asyncio.run(_produce(cluster, records))


async def _produce(cluster: Cluster, records: Iterable[tuple[int, bytes]]) -> int:
    partitions = cluster.settings.partitions.queries
    producer = AIOKafkaProducer(
        bootstrap_servers=cluster.bootstrap, linger_ms=50, max_batch_size=262_144, enable_idempotence=True
    )
    await producer.start()
    sent = 0
    try:
        for account, value in records:
            last = await producer.send(cluster.name(Topic.QUERIES), value, partition=account % partitions)
            sent += 1
        await producer.flush()
        await last
    finally:
        await producer.stop()
    return sent


def store(cluster: Cluster, client: redis.Redis, shapes: Shapes, accounts: int) -> float:
    """Put states of numbered accounts into Redis, as a worker stores them; bytes of Redis that one takes."""
    before = int(client.info("memory")["used_memory"])
    asyncio.run(_store(cluster, shapes, accounts))
    after = int(client.info("memory")["used_memory"])
    return (after - before) / accounts


async def _store(cluster: Cluster, shapes: Shapes, accounts: int) -> None:
    client = connect(cluster.settings.redis)
    owner = RedisStateStore(client, cluster.group, EAGER_STAGES)
    partitions = cluster.settings.partitions.queries
    for partition in range(partitions):
        node = f"{ACCOUNTS}:{partition}"
        token = await owner.acquire(node)
        for start in range(partition, accounts, partitions * CHUNK):
            numbers = range(start, min(start + partitions * CHUNK, accounts), partitions)
            states = {b"aacct_%012d" % number: shapes.states[number % len(shapes.states)] for number in numbers}
            await owner.write(node, token, Checkpoint(states, b"", {}))
        await client.delete(f"sg:{{{cluster.group}:{node}}}:meta")  # or the worker would look for its own in it
    await client.aclose()
