"""The real stages on real servers give what one process gives, whatever happens to the workers."""

from __future__ import annotations

import random
import time
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
