"""From the last query that an evaluation waits for to the alert in Kafka, while queries come at a steady rate.

Simulated campaigns, one in each of several tenants, fire in the middle of anonymous traffic of many accounts. What came
before is taken in first; then event time runs faster than the clock, and batches that were built beforehand are sent
when they are due, so that the sender takes little of the processors that it shares with the worker.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped] # aiokafka ships no types
from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped] # kafka-python ships no types

from stream_guard.encode import parse_alert
from stream_guard.policy import Policy
from stream_guard.ports import Topic
from tests.benchmarks.crowd import Shapes, chosen, produce, records_of
from tests.benchmarks.hops import Watcher, hop_seconds
from tests.benchmarks.worker import make_cluster, ready
from tests.support.product import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.support.cluster import Cluster

TENANTS: Final = 20
ACCOUNTS: Final = 50_000
SECONDS: Final = 20.0
LEAD_SECONDS: Final = 600.0  # of event time before the first alert, and after the second
TICK_SECONDS: Final = 0.05
ENFORCING: Final = "[decisions]\ndry_run = false\nmax_share_of_accounts = 1.0\nmax_share_of_traffic = 1.0\n"

Sent = list[tuple[float, int, float]]
"""Event time of the newest query of a batch, its partition, and the Unix time when it went."""


class Latency(msgspec.Struct, frozen=True):
    """Seconds, over `alerts` transitions, while `rate` queries a second came.

    Attributes:
        alerts: transitions.
        p50: median of the seconds from the last query that an evaluation waits for to the alert in Kafka.
        p99: likewise.
        rate: queries a second.
        target: what was asked for.
        hops: median seconds of each part of the way.
        decided: share of the decisions that could be read in Redis when their alert came.
    """

    alerts: int
    p50: float
    p99: float
    rate: float
    target: float
    hops: dict[str, float]
    decided: float


def measure_latency(  # noqa: PLR0917 # one call, in one place
    servers: tuple[str, str],
    directory: Path,
    lines: Sequence[bytes],
    alerts: Sequence[float],
    shapes: Shapes,
    rate: float,
) -> Latency:
    """Send the campaign of `lines`, once for each tenant, around the times at which it is known to give `alerts`."""
    since, until = alerts[0] - LEAD_SECONDS, alerts[1] + LEAD_SECONDS
    cluster, port = make_cluster(*servers, directory / "latency")
    policy = directory / "policy.toml"
    policy.write_text(ENFORCING, encoding="utf-8")
    cluster.values["STREAM_GUARD_POLICY"] = str(policy)
    try:
        cluster.start_worker()
        produce(cluster, ((hash(account), value) for ts, account, value in _for_tenants(lines) if ts < since))
        cluster.wait_until_drained(300.0, STAGES)
        while not ready(port):
            time.sleep(TICK_SECONDS)
        rows = [row for row in _for_tenants(lines) if since <= row[0] < until]
        count = int(SECONDS * rate) - len(rows)
        per_second = count / (until - since)
        crowd = records_of(shapes, chosen(ACCOUNTS, count, skewed=True).tolist(), since, "crowd", per_second)
        rows += [(since + number / per_second, account, value) for number, (account, value) in enumerate(crowd)]
        rows.sort(key=_time)
        watcher = Watcher(cluster)
        watcher.start()
        sent, seconds = asyncio.run(_paced(cluster, rows, since, (until - since) / SECONDS))
        cluster.wait_until_drained(120.0, STAGES)
        decided = watcher.stop()
        waits, last_query = _waits(cluster, sent)
        hops = hop_seconds(cluster, last_query)
    finally:
        cluster.stop()
        cluster.delete_topics()
    if not waits:
        raise RuntimeError("no alert fired while queries came")
    p50, p99 = np.percentile(waits, (50, 99)).tolist()
    return Latency(len(waits), p50, p99, len(rows) / seconds, rate, hops, decided)


def _time(row: tuple[float, int, bytes]) -> float:
    return row[0]


def _for_tenants(lines: Iterable[bytes]) -> Iterator[tuple[float, int, bytes]]:
    """Event time, a number that stands for the account, and the query."""
    for line in lines:
        record: dict[str, Any] = msgspec.json.decode(line)
        for number in range(TENANTS):
            record["tenant"] = f"tenant-{number}"
            yield record["ts"] / 1_000.0, hash(record["account_id"]), msgspec.json.encode(record)


async def _paced(
    cluster: Cluster, rows: Sequence[tuple[float, int, bytes]], since: float, speed: float
) -> tuple[Sent, float]:
    """Send in order, event time `speed` times as fast as the clock; what went when, and how long it took."""
    partitions = cluster.settings.partitions.queries
    producer = AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, max_batch_size=1 << 20, linger_ms=0)
    await producer.start()
    try:
        ticks: dict[tuple[int, int], Any] = {}
        newest: dict[tuple[int, int], float] = {}
        for ts, account, value in rows:
            place = int((ts - since) / speed / TICK_SECONDS), account % partitions
            if place not in ticks:
                ticks[place] = producer.create_batch()
            if ticks[place].append(key=None, value=value, timestamp=None) is None:
                raise RuntimeError("a batch is full: send more often")
            newest[place] = ts
        started, sent, waiting = time.monotonic(), Sent(), []
        for (tick, partition), batch in sorted(ticks.items(), key=_place):
            await asyncio.sleep(max(0.0, started + (tick + 1) * TICK_SECONDS - time.monotonic()))
            waiting.append(await producer.send_batch(batch, cluster.name(Topic.QUERIES), partition=partition))
            sent.append((newest[tick, partition], partition, time.time()))
        await asyncio.gather(*waiting)
        return sent, time.monotonic() - started
    finally:
        await producer.stop()


def _place(item: tuple[tuple[int, int], Any]) -> tuple[int, int]:
    return item[0]


def _waits(cluster: Cluster, sent: Sent) -> tuple[list[float], dict[float, float]]:
    """Of every alert, seconds between its time stamp in Kafka and the last query that its evaluation waited for.

    Returns:
        The seconds, and by event time of an alert when that query went.
    """
    lateness = Policy().epochs.allowed_lateness_seconds
    consumer = KafkaConsumer(bootstrap_servers=cluster.bootstrap, consumer_timeout_ms=3_000)
    partition = TopicPartition(cluster.name(Topic.ALERTS), 0)
    consumer.assign([partition])
    consumer.seek_to_beginning()
    waits: list[float] = []
    last_query: dict[float, float] = {}
    for message in consumer:
        at_event_time = parse_alert(message.value).at
        closing = at_event_time + lateness
        begun: dict[int, float] = {}
        for ts, owner, at in sent:
            if ts >= closing:
                begun.setdefault(owner, at)
        if len(begun) == len({owner for _, owner, _ in sent}) and min(ts for ts, _, _ in sent) < closing:
            last_query[at_event_time] = max(begun.values())
            waits.append(message.timestamp / 1_000.0 - last_query[at_event_time])
    consumer.close()
    return waits, last_query
