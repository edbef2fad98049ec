"""Two workers of neighbouring versions: going up keeps every state, going down starts cold, and neither misreads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from stream_guard.ports import Topic
from tests.support.cluster import PRODUCT, Cluster
from tests.support.next_version_worker import mapped_back
from tests.support.product import STAGES, counted, found, keyed, replayed, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.integration

NEXT = "tests.support.next_version_worker"
DRAIN_SECONDS = 180.0


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Sequence[bytes]:
    path = tmp_path_factory.mktemp("traffic") / "demo.jsonl"
    simulate(path, "demo", "--background-accounts", "200", "--days", "0.75", "--seed", "7")
    return path.read_bytes().splitlines()


@pytest.fixture
def cluster(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Iterator[Cluster]:
    # Silence between the halves must not close an epoch, or its later records would be late.
    patient = {"STREAM_GUARD_RUNTIME__IDLE_SECONDS": "8"}
    cluster = Cluster(kafka_bootstrap, redis_url, tmp_path, PRODUCT, patient)
    cluster.create_topics()
    yield cluster
    cluster.stop()
    cluster.delete_topics()


def hand_over(cluster: Cluster, lines: Sequence[bytes], first: str, second: str) -> None:
    """A worker of `first` begins; one of `second` joins, takes half over, and in the end everything."""
    cluster.module = first
    leaving = cluster.start_worker()
    cluster.produce(keyed(lines))
    cluster.wait_for_progress(0.2, DRAIN_SECONDS)
    cluster.module = second
    cluster.start_worker()
    cluster.wait_for_progress(0.5, DRAIN_SECONDS)
    leaving.terminate()
    assert leaving.wait(30) == 0
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    assert cluster.stop() == [0, 0]


def versions(cluster: Cluster) -> set[int]:
    """Of the stored accounts."""
    states = cluster.lazy_states("accounts", Topic.QUERIES)
    return {msgspec.msgpack.decode(state)[0] for key, state in states.items() if key[:1] == b"a"}


def test_a_rolling_upgrade_keeps_every_state(cluster: Cluster, lines: Sequence[bytes]) -> None:
    hand_over(cluster, lines, PRODUCT, NEXT)
    assert 2 in versions(cluster)
    assert found(cluster, mapped_back) == replayed(lines)


def test_a_rolling_downgrade_starts_cold_and_counts_nothing_twice(cluster: Cluster, lines: Sequence[bytes]) -> None:
    hand_over(cluster, lines, NEXT, PRODUCT)
    expected = replayed(lines).accounts
    states = cluster.lazy_states("accounts", Topic.QUERIES)
    present = {key: state for key, state in states.items() if msgspec.msgpack.decode(state)[0] == 1}
    assert present, "the present version wrote"
    found_again = counted(present)
    assert found_again.keys() <= expected.keys()
    assert not {key: events for key, (events, _) in found_again.items() if events > expected[key][0]}
    assert sum(events for events, _ in found_again.values()) < sum(events for events, _ in expected.values())
    assert cluster.read_topic(Topic.DEAD_LETTER) == []
