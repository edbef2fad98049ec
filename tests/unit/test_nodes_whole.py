"""The nodes together, in memory: the same result as the pipeline, however partitioned and whatever crashes."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

import pytest

from stream_guard.pipeline import Pipeline
from stream_guard.policy import Policy
from stream_guard.ports import Topic
from stream_guard.records import AlertStatus
from tests.support.events import NEVER, World, record, small_world, status_record
from tests.support.network import Network

if TYPE_CHECKING:
    from stream_guard.records import Campaign


@cache
def world() -> World:
    return small_world(hours=1.0)


@cache
def expected() -> tuple[tuple[Campaign, ...], int]:
    pipeline = Pipeline(Policy())
    values = [value for _, value in world().records]
    for first in range(0, len(values), 97):
        pipeline.feed(values[first : first + 97], latest_ts=NEVER)
    pipeline.end()
    return tuple(pipeline.finished()), pipeline.counts.events


def run_network(accounts: int, clusters: int) -> Network:
    network = Network(Policy(), accounts, clusters)
    network.publish(world().records)
    return network


def test_the_small_world_has_one_campaign_with_exactly_the_pool_in_it() -> None:
    campaigns, events = expected()
    assert [{member.account_id for member in campaign.members} for campaign in campaigns] == [world().pool]
    assert events == len(world().records)


@pytest.mark.parametrize("accounts", [1, 3])
@pytest.mark.parametrize("clusters", [1, 2])
def test_any_partitioning_gives_the_campaigns_of_the_pipeline(accounts: int, clusters: int) -> None:
    network = run_network(accounts, clusters)
    network.finish(world().end + 120.0)
    found = network.campaigns()
    campaigns, events = expected()
    assert [(item.campaign_id, item.verdict, item.exchanges, item.output_tokens) for item in found] == [
        (item.campaign_id, item.verdict, item.exchanges, item.output_tokens) for item in campaigns
    ] or clusters == 1  # the pipeline has two clusters partitions, and only there the ids are the same
    assert [item.members for item in found] == [item.members for item in campaigns]
    assert [item.exchanges for item in found] == [item.exchanges for item in campaigns]
    assert network.counts["events"] == events
    assert network.letters == []


@pytest.mark.parametrize("accounts", [1, 3])
def test_with_the_pipelines_own_partitions_everything_is_the_same(accounts: int) -> None:
    network = run_network(accounts, 2)
    network.finish(world().end + 60.0)
    assert network.campaigns() == list(expected()[0])


@pytest.mark.parametrize("seed", range(4))
def test_crashes_after_any_message_change_no_final_state(seed: int) -> None:
    calm = run_network(2, 2)
    calm.finish(world().end + 60.0)
    generator = random.Random(seed)
    network = run_network(2, 2)
    while True:
        name = generator.choice(network.names)
        network.step(name, generator.randint(1, 90))
        fate = generator.random()
        if fate < 0.3:
            network.checkpoint(name)
        elif fate < 0.4:
            network.crash(generator.choice(network.names))
        if all(
            network.positions[f"accounts:{number}"].get(Topic.QUERIES, 0) == len(network.logs[Topic.QUERIES, number])
            for number in range(2)
        ):
            break
    network.finish(world().end + 60.0)
    assert network.campaigns() == calm.campaigns()
    for name in calm.names:
        assert _comparable(network.stored[name]) == _comparable(calm.stored[name]), name
    assert {(alert.alert_id, alert.status) for alert in network.alerts} == {
        (alert.alert_id, alert.status) for alert in calm.alerts
    }


def _comparable(states: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Without the duplicate windows: which epochs they are cut into is nobody's business."""
    return {key: state for key, state in states.items() if key[:1] != b"d"}


def test_one_firing_alert_for_the_campaign() -> None:
    network = run_network(2, 2)
    network.finish(world().end + 60.0)
    assert [alert.status for alert in network.alerts].count(AlertStatus.FIRING) == 1


def test_malformed_bytes_on_every_topic_become_dead_letters_and_nothing_else() -> None:
    rubbish = [b"", b"\x00", b"{", b"[]", b"\xff" * 40, b'{"type": "query"}', None]
    calm = run_network(2, 2)
    calm.finish(world().end + 60.0)
    network = Network(Policy(), 2, 2)
    records = list(world().records)
    network.publish(records[:500])
    partitioned = (Topic.QUERIES, Topic.ACCOUNT_STATUS, Topic.DELTAS)
    for topic in (*partitioned, Topic.SUSPICIONS, Topic.OPERATIONS, Topic.FEEDBACK):
        network.drain(50)
        for partition in range(2 if topic in partitioned else 1):
            network.logs.setdefault((topic, partition), []).extend(rubbish)
    network.publish(records[500:])
    network.finish(world().end + 60.0)
    assert len(network.letters) == len(rubbish) * (3 * 2 + 3)
    assert all(len(letter.sha256) == 64 for letter in network.letters)
    assert network.campaigns() == calm.campaigns()


def test_a_banned_account_leaves_its_campaign_at_the_time_of_the_ban() -> None:
    network = Network(Policy(), 2, 2)
    end = world().end
    banned = min(world().pool)
    network.publish(world().records)
    network.drain()
    network.publish([(banned, status_record(banned, end - 1_000.0, "banned"))], Topic.ACCOUNT_STATUS)
    others = sorted(world().pool - {banned})
    network.publish((name, record(name, end + 700.0, f"last-{name}")) for name in others)
    network.finish(end + 1_500.0)
    (campaign,) = network.campaigns()
    left = {member.account_id: member.left_at for member in campaign.members if member.left_at is not None}
    assert left == {banned: end - 1_000.0}
