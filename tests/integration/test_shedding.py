"""A worker that is too far behind reads the members of live campaigns whole, and says how many queries it left out."""

from __future__ import annotations

import asyncio
import http.client
from typing import TYPE_CHECKING

import pytest
import redis.asyncio

from stream_guard.adapters.redis_registry import RedisRegistry
from stream_guard.adapters.redis_suspects import RedisSuspects
from stream_guard.ports import Output, Topic
from stream_guard.records import Member
from tests.support.cluster import PRODUCT, Cluster
from tests.support.events import START, record
from tests.support.made import campaign
from tests.support.product import STAGES, counted
from tests.support.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

ACCOUNTS, ROUNDS = 200, 600  # seconds of work, so that every partition is behind when the lag is noticed
SUSPECTS = ("acc_7", "acc_8")
LEFT = "acc_9"


async def a_live_campaign(redis_url: str) -> frozenset[str]:
    """Write one; who is suspected now."""
    client = redis.asyncio.Redis.from_url(redis_url)
    members = (*(Member(name, START, None, 0.9) for name in SUSPECTS), Member(LEFT, START, START + 1.0, 0.1))
    await RedisRegistry(client).publish(Output(campaigns=[campaign(campaign_id="cmp_shed", members=members)]))
    suspects = await RedisSuspects(client).members()
    await client.aclose()
    return suspects


def test_members_of_live_campaigns_are_read_whole(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> None:
    suspects = asyncio.run(a_live_campaign(redis_url))
    assert suspects >= set(SUSPECTS)
    assert LEFT not in suspects
    port = free_port()
    cluster = Cluster(
        kafka_bootstrap,
        redis_url,
        tmp_path,
        PRODUCT,
        {
            "STREAM_GUARD_RUNTIME__SHED_LAG_RECORDS": "100",
            "STREAM_GUARD_RUNTIME__SHED_KEEP_SHARE": "0",
            "STREAM_GUARD_WEB__PORT": str(port),
        },
    )
    cluster.create_topics()
    try:
        sent = cluster.produce(
            (f"acc_{number}".encode(), record(f"acc_{number}", START + turn, f"{turn}-{number}"))
            for turn in range(ROUNDS)
            for number in range(ACCOUNTS)
        )
        cluster.start_worker()
        cluster.wait_until_drained(120.0, STAGES)
        shed, read = metric(port, "stream_guard_shed_events_total"), metric(port, "stream_guard_events_total")
        assert cluster.stop() == [0]
        events = {key: count for key, (count, _) in counted(cluster.lazy_states("accounts", Topic.QUERIES)).items()}
    finally:
        cluster.stop()
        cluster.delete_topics()
    assert shed > 0, "a fifth of a second passes before a lag is noticed"
    assert read + shed == sent
    assert {events[name] for name in SUSPECTS} == {ROUNDS} != {events.get(LEFT)}
    assert sum(events.values()) == read


def metric(port: int, name: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))
