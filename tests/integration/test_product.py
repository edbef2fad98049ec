"""The product on real servers counts what one process counts, whatever stops: workers, Redis, Kafka."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from stream_guard.decode import DeadLetterReason
from stream_guard.ports import Topic
from tests.support.product import STAGES, found, keyed, product_cluster, replayed, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.support.cluster import Cluster
    from tests.support.product import Outcome
    from tests.support.servers import KafkaServer, RedisServer

pytestmark = pytest.mark.integration

DRAIN_SECONDS = 240.0
MANY = 200_000
REDIS_AWAY_SECONDS = 30.0


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Sequence[bytes]:
    path = tmp_path_factory.mktemp("traffic") / "demo.jsonl"
    simulate(path, "demo", "--background-accounts", "300", "--days", "1.5", "--seed", "7")
    return path.read_bytes().splitlines()


@pytest.fixture(scope="module")
def expected(lines: Sequence[bytes]) -> Outcome:
    return _expected(lines)


@pytest.fixture(scope="module")
def many_lines(tmp_path_factory: pytest.TempPathFactory) -> Sequence[bytes]:
    path = tmp_path_factory.mktemp("traffic") / "many.jsonl"
    background = ["--background-accounts", "3000", "--background-scale", "14"]
    simulate(path, "S5", *background, "--days", "0.5", "--seed", "7")
    lines = path.read_bytes().splitlines()
    assert len(lines) >= MANY
    return lines


def _expected(lines: Sequence[bytes]) -> Outcome:
    outcome = replayed(lines)
    assert outcome.campaigns, "the traffic must hold a campaign, or agreement would mean nothing"
    assert sum(events for events, _ in outcome.accounts.values()) == len(lines)
    return outcome


@pytest.fixture
def cluster(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Iterator[Cluster]:
    yield from _cluster(kafka_bootstrap, redis_url, tmp_path)


@pytest.fixture
def own_cluster(own_kafka: KafkaServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Cluster]:
    """On servers that the test may stop."""
    yield from _cluster(own_kafka.bootstrap, own_redis.url, tmp_path)


def _cluster(bootstrap: str, url: str, directory: Path) -> Iterator[Cluster]:
    cluster = product_cluster(bootstrap, url, directory)
    cluster.create_topics()
    yield cluster
    cluster.stop()
    cluster.delete_topics()


def test_two_workers_find_what_a_replay_finds(cluster: Cluster, lines: Sequence[bytes], expected: Outcome) -> None:
    cluster.produce(keyed(lines))
    cluster.start_worker()
    cluster.start_worker()
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    assert found(cluster) == expected
    assert cluster.read_topic(Topic.DEAD_LETTER) == []
    assert cluster.stop() == [0, 0]


MALFORMED: dict[str, list[bytes | None]] = {
    "not_json": [b"{", b"\xff\xfe\x00", b'{"event_id":"x","ts":1,'],
    "not_an_object": [b"[]", b"null", b'"text"'],
    "missing_field": [b'{"event_id":"x","ts":1760000000000}', b'{"account_id":"x","ts":1760000000000}'],
    "wrong_type": [b'{"event_id":7,"ts":1760000000000,"account_id":"x"}'],
    "bad_value": [b'{"event_id":"x","ts":1760000000000,"account_id":"x\\u0001"}'],
    "bad_time": [b'{"event_id":"x","ts":"yesterday","account_id":"x"}'],
    "future_time": [b'{"event_id":"x","ts":"2099-01-01T00:00:00Z","account_id":"x"}'],
    "unknown_type": [b'{"type":"rumour","event_id":"x","ts":1760000000000,"account_id":"x"}'],
    "tombstone": [None],
    "too_large": [b'{"event_id":"x","ts":1760000000000,"account_id":"x","prompt":"' + b"a" * 1_048_576 + b'"}'],
    "wrong_topic": [b'{"type":"model_release","model":"m","at":1760000000000,"ts":1760000000000}'],
}


def test_malformed_records_become_dead_letters_and_change_nothing(
    cluster: Cluster, lines: Sequence[bytes], expected: Outcome
) -> None:
    assert set(MALFORMED) == set(DeadLetterReason), "every kind"
    kinds = [(reason, value) for reason, values in MALFORMED.items() for value in values]
    records: list[tuple[bytes, bytes | None]] = []
    refused: Counter[str] = Counter()
    for number, pair in enumerate(keyed(lines)):
        records.append(pair)
        if number % 100 == 0:
            reason, value = kinds[number // 100 % len(kinds)]
            refused[reason] += 1
            records.append((pair[0], value))
    cluster.produce(records)
    cluster.start_worker()
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    letters = [json.loads(value) for _, value in cluster.read_topic(Topic.DEAD_LETTER)]
    unique = {(letter["topic"], letter["partition"], letter["offset"]): letter["reason"] for letter in letters}
    assert Counter(unique.values()) == refused
    assert found(cluster) == expected


@pytest.mark.slow
def test_workers_killed_at_three_random_moments_change_no_count(cluster: Cluster, many_lines: Sequence[bytes]) -> None:
    cluster.produce(keyed(many_lines))
    generator = random.Random(7)
    workers = [cluster.start_worker(), cluster.start_worker()]
    for share in (0.1, 0.35, 0.6):
        cluster.wait_for_progress(share + 0.2 * generator.random(), DRAIN_SECONDS)
        time.sleep(0.5 * generator.random())
        victim = generator.randrange(len(workers))
        workers[victim].kill()
        workers[victim].wait()
        workers[victim] = cluster.start_worker()
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    assert found(cluster) == _expected(many_lines)


@pytest.mark.slow
def test_redis_away_for_half_a_minute_changes_no_count(
    own_cluster: Cluster, own_redis: RedisServer, lines: Sequence[bytes], expected: Outcome
) -> None:
    own_cluster.produce(keyed(lines))
    own_cluster.start_worker()
    own_cluster.start_worker()
    own_cluster.wait_for_progress(0.2, DRAIN_SECONDS)
    own_redis.stop()
    time.sleep(REDIS_AWAY_SECONDS)
    own_redis.start()
    assert own_cluster.positions("accounts", Topic.QUERIES) != own_cluster.ends(Topic.QUERIES), "stopped too late"
    own_cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    assert found(own_cluster) == expected
    assert all(worker.poll() is None for worker in own_cluster.workers), "workers live through it"


@pytest.mark.slow
def test_a_broker_restart_changes_no_count(
    own_cluster: Cluster, own_kafka: KafkaServer, lines: Sequence[bytes], expected: Outcome
) -> None:
    own_cluster.produce(keyed(lines))
    own_cluster.start_worker()
    own_cluster.start_worker()
    own_cluster.wait_for_progress(0.2, DRAIN_SECONDS)
    own_kafka.stop()
    time.sleep(3)
    own_kafka.start()
    assert own_cluster.positions("accounts", Topic.QUERIES) != own_cluster.ends(Topic.QUERIES), "stopped too late"
    own_cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    assert found(own_cluster) == expected
