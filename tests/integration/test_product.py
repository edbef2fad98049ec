"""The real stages on real servers give what one process gives, whatever happens to the workers."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from stream_guard.ports import Topic
from tests.support.product import STAGES, found, keyed, outline, product_cluster, replayed, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from stream_guard.records import Campaign
    from tests.support.cluster import Cluster

pytestmark = pytest.mark.integration

DRAIN_SECONDS = 180.0


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Sequence[bytes]:
    path = tmp_path_factory.mktemp("traffic") / "demo.jsonl"
    simulate(path, "demo", "--background-accounts", "300", "--days", "1.5", "--seed", "7")
    return path.read_bytes().splitlines()


@pytest.fixture(scope="module")
def expected(lines: Sequence[bytes]) -> dict[str, Campaign]:
    campaigns = replayed(lines)
    assert campaigns, "the traffic must hold a campaign, or agreement would mean nothing"
    return campaigns


@pytest.fixture
def cluster(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Iterator[Cluster]:
    cluster = product_cluster(kafka_bootstrap, redis_url, tmp_path)
    cluster.create_topics()
    yield cluster
    cluster.stop()
    cluster.delete_topics()


def test_two_workers_find_what_a_replay_finds(
    cluster: Cluster, lines: Sequence[bytes], expected: dict[str, Campaign]
) -> None:
    cluster.produce(keyed(lines))
    cluster.start_worker()
    cluster.start_worker()
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    assert outline(found(cluster)) == outline(expected)
    assert cluster.read_topic(Topic.DEAD_LETTER) == []
    assert cluster.stop() == [0, 0]


MALFORMED: dict[str, list[bytes | None]] = {
    "not_json": [b"{", b"\xff\xfe\x00", b'{"event_id":"x","ts":1,'],
    "not_an_object": [b"[]", b"null", b'"text"'],
    "missing_field": [b'{"event_id":"x","ts":1760000000000}', b'{"account_id":"x","ts":1760000000000}'],
    "wrong_type": [b'{"event_id":7,"ts":1760000000000,"account_id":"x"}'],
    "bad_time": [b'{"event_id":"x","ts":"yesterday","account_id":"x"}'],
    "future_time": [b'{"event_id":"x","ts":"2099-01-01T00:00:00Z","account_id":"x"}'],
    "unknown_type": [b'{"type":"rumour","event_id":"x","ts":1760000000000,"account_id":"x"}'],
    "tombstone": [None],
    "too_large": [b'{"event_id":"x","ts":1760000000000,"account_id":"x","prompt":"' + b"a" * 1_048_576 + b'"}'],
    "wrong_topic": [b'{"type":"model_release","model":"m","at":1760000000000,"ts":1760000000000}'],
}


def test_malformed_records_become_dead_letters_and_change_nothing(
    cluster: Cluster, lines: Sequence[bytes], expected: dict[str, Campaign]
) -> None:
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
    assert outline(found(cluster)) == outline(expected)


@pytest.mark.slow
def test_killed_workers_change_no_campaign(
    cluster: Cluster, lines: Sequence[bytes], expected: dict[str, Campaign]
) -> None:
    cluster.produce(keyed(lines))
    generator = random.Random(7)
    cluster.start_worker()
    victim = cluster.start_worker()
    for _ in range(3):
        time.sleep(4.0 + 3.0 * generator.random())
        victim.kill()
        victim.wait()
        victim = cluster.start_worker()
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    assert outline(found(cluster)) == outline(expected)
