"""Rebalances, fencing and an emptied Redis lose nothing and repeat nothing. Counting nodes, real servers."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from stream_guard.ports import Topic
from tests.support.cluster import Cluster
from tests.support.traffic import plain_events, totals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import KafkaServer, RedisServer

pytestmark = pytest.mark.integration

STAGES = (
    ("accounts", Topic.QUERIES),
    ("clusters", Topic.DELTAS),
    ("campaigns", Topic.SUSPICIONS),
)
ACCOUNTS = 3_000
DRAIN_SECONDS = 90.0


@pytest.fixture
def cluster(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Iterator[Cluster]:
    yield from _cluster(kafka_bootstrap, redis_url, tmp_path)


@pytest.fixture
def own_cluster(own_kafka: KafkaServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Cluster]:
    """On servers that the test may stop."""
    yield from _cluster(own_kafka.bootstrap, own_redis.url, tmp_path)


def _cluster(bootstrap: str, url: str, directory: Path) -> Iterator[Cluster]:
    cluster = Cluster(bootstrap, url, directory)
    cluster.create_topics()
    yield cluster
    cluster.stop()
    cluster.delete_topics()


def check_counts(cluster: Cluster, expected: dict[bytes, bytes]) -> None:
    assert cluster.lazy_states("accounts", Topic.QUERIES) == expected
    assert cluster.eager_states("clusters", Topic.DELTAS) == expected
    sums = cluster.eager_states("campaigns", Topic.SUSPICIONS)
    assert sum(int(value) for value in sums.values()) == sum(int(value) for value in expected.values())


def feed(cluster: Cluster, count: int, seed: int) -> dict[bytes, bytes]:
    cluster.produce(plain_events(count, ACCOUNTS, seed))
    return totals(plain_events(count, ACCOUNTS, seed))


def test_a_joining_and_a_leaving_worker_change_nothing(cluster: Cluster) -> None:
    expected = feed(cluster, 120_000, seed=2)
    first = cluster.start_worker()
    cluster.wait_for_progress(0.1, DRAIN_SECONDS)
    cluster.start_worker()
    cluster.wait_for_progress(0.4, DRAIN_SECONDS)
    first.terminate()
    assert first.wait(30) == 0
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    check_counts(cluster, expected)


@pytest.mark.slow
def test_a_killed_worker_with_a_name_is_back_long_before_its_session_ends(cluster: Cluster) -> None:
    cluster.values |= {
        "STREAM_GUARD_KAFKA__SESSION_TIMEOUT_SECONDS": "40",
        "STREAM_GUARD_KAFKA__REBALANCE_TIMEOUT_SECONDS": "40",
        "STREAM_GUARD_KAFKA__INSTANCE_ID": "one",
    }
    expected = feed(cluster, 60_000, seed=11)
    first = cluster.start_worker()
    cluster.wait_for_progress(0.2, DRAIN_SECONDS)
    first.kill()
    first.wait()
    started = time.monotonic()
    cluster.start_worker()
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    assert time.monotonic() - started < 35.0
    check_counts(cluster, expected)


@pytest.mark.slow
def test_a_worker_with_a_name_that_ends_politely_leaves_its_partitions_to_others(cluster: Cluster) -> None:
    cluster.values |= {
        "STREAM_GUARD_KAFKA__SESSION_TIMEOUT_SECONDS": "40",
        "STREAM_GUARD_KAFKA__REBALANCE_TIMEOUT_SECONDS": "40",
        "STREAM_GUARD_KAFKA__INSTANCE_ID": "one",
    }
    expected = feed(cluster, 60_000, seed=12)
    first = cluster.start_worker()
    cluster.wait_for_progress(0.2, DRAIN_SECONDS)
    first.terminate()
    assert first.wait(30) == 0
    cluster.values["STREAM_GUARD_KAFKA__INSTANCE_ID"] = "another"
    started = time.monotonic()
    cluster.start_worker()
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    assert time.monotonic() - started < 35.0
    check_counts(cluster, expected)


@pytest.mark.slow
def test_a_suspended_worker_never_overwrites_its_successor(cluster: Cluster) -> None:
    expected = feed(cluster, 150_000, seed=7)
    cluster.start_worker()
    suspended = cluster.start_worker()
    cluster.wait_for_progress(0.15, DRAIN_SECONDS)
    suspended.send_signal(signal.SIGSTOP)
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    check_counts(cluster, expected)
    suspended.send_signal(signal.SIGCONT)
    time.sleep(6)
    check_counts(cluster, expected)
    more = feed(cluster, 20_000, seed=8)
    for key, count in more.items():
        expected[key] = b"%d" % (int(expected.get(key, b"0")) + int(count))
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    check_counts(cluster, expected)


def test_a_redis_that_lost_everything_is_filled_again(own_cluster: Cluster) -> None:
    expected = feed(own_cluster, 20_000, seed=10)
    own_cluster.start_worker()
    own_cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    own_cluster.redis.flushdb()
    own_cluster.produce([(b"acct-new", b'{"account_id":"acct-new","ts":1760000000}')])
    own_cluster.produce([(b"acct-%d" % number, b'{"account_id":"acct-%d","ts":1}' % number) for number in range(50)])
    for number in range(50):
        key = b"acct-%d" % number
        expected[key] = b"%d" % (int(expected.get(key, b"0")) + 1)
    expected[b"acct-new"] = b"1"
    own_cluster.wait_until_drained(DRAIN_SECONDS, STAGES[:1])
    assert own_cluster.lazy_states("accounts", Topic.QUERIES) == expected
