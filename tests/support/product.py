"""The product in one process and as a cluster, over the same records, for comparison."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_guard.accounts.table import AccountTable
from stream_guard.pipeline import Pipeline, campaigns_node
from stream_guard.policy import Policy
from stream_guard.ports import Topic
from tests.support.cluster import PRODUCT, ROOT, Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from stream_guard.records import Campaign

STAGES = (("accounts", Topic.QUERIES), ("clusters", Topic.DELTAS), ("campaigns", Topic.SUSPICIONS))
CHUNK = 1_000


def simulate(path: Path, *options: str) -> None:
    """Labelled traffic, from the product's own simulator."""
    command = [sys.executable, "-m", "stream_guard.simulate", *options, "--out", str(path)]
    subprocess.run(
        command, check=True, cwd=path.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )


def keyed(lines: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Queries with the key that a gateway gives them."""
    for line in lines:
        yield json.loads(line)["account_id"].encode(), line


@dataclass(frozen=True, slots=True)
class Outcome:
    """What must agree, whatever happened on the way."""

    accounts: Mapping[str, tuple[int, float]]
    """Events and output tokens by account key."""
    campaigns: Mapping[str, tuple[object, ...]]
    """All that a campaign counts, and its members, by id."""


def replayed(lines: Sequence[bytes]) -> Outcome:
    """What one process finds that nothing interrupts."""
    pipeline = Pipeline(Policy())
    for start in range(0, len(lines), CHUNK):
        pipeline.feed(lines[start : start + CHUNK], latest_ts=time.time() + 300.0)
    pipeline.end()
    return Outcome(_counts(pipeline._accounts.table), outline(pipeline.finished()))


def as_stored(data: bytes) -> bytes:
    """A state as it is."""
    return data


def found(cluster: Cluster, read: Callable[[bytes], bytes] = as_stored) -> Outcome:
    """What the cluster stored, each state through `read`."""
    node = campaigns_node(0, policy=Policy(), sources=cluster.settings.partitions.deltas)
    meta = cluster.redis.hget(f"sg:{{{cluster.group}:campaigns:0}}:meta", "meta")
    states = {key: read(state) for key, state in cluster.eager_states("campaigns", Topic.SUSPICIONS).items()}
    node.restore(read(meta), states)  # type: ignore[arg-type] # redis-py cannot know that it is bytes
    return Outcome(counted(cluster.lazy_states("accounts", Topic.QUERIES), read), outline(node.desk.finished()))


def counted(states: Mapping[bytes, bytes], read: Callable[[bytes], bytes] = as_stored) -> dict[str, tuple[int, float]]:
    """Events and output tokens by account, from stored states."""
    table = AccountTable()
    table.load({key: read(state) for key, state in states.items() if key[:1] == b"a"})  # or windows of duplicates
    return _counts(table)


def _counts(table: AccountTable) -> dict[str, tuple[int, float]]:
    rows = table.rows[: len(table)]
    return dict(zip(table.keys, zip(rows["events"].tolist(), rows["output_tokens"].tolist(), strict=True), strict=True))


def outline(campaigns: Iterable[Campaign]) -> dict[str, tuple[object, ...]]:
    """All that campaigns count, and their members, by id."""
    return {
        campaign.campaign_id: (
            campaign.verdict,
            campaign.first_seen,
            campaign.last_seen,
            campaign.merged_into,
            campaign.exchanges,
            campaign.output_tokens,
            sorted((member.account_id, member.joined_at, member.left_at) for member in campaign.members),
        )
        for campaign in campaigns
    }


def product_cluster(bootstrap: str, redis_url: str, directory: Path) -> Cluster:
    """Workers of the real product."""
    return Cluster(bootstrap, redis_url, directory, PRODUCT)
