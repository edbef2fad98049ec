"""The whole product in one place: events, accounts, clusters, campaigns, alerts, decisions.

`Pipeline` runs the stages in one process, with no Kafka and no Redis: this is `stream-guard replay`. The three node
factories give the same stages to the Faust worker, one node a partition. Neither does I/O or reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.accounts import AccountsStage
from stream_guard.clusters import ClustersStage
from stream_guard.decode import Decoder
from stream_guard.desk import Desk
from stream_guard.nodes import AccountsNode, CampaignsNode, ClustersNode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_guard.accounts.stage import Closed
    from stream_guard.nodes.accounts_node import Keep
    from stream_guard.policy import Policy
    from stream_guard.records import Campaign, Feedback, Outputs

CLUSTER_PARTITIONS = 2


@dataclass(slots=True)
class Counts:
    """What a run has seen."""

    records: int = 0
    events: int = 0
    duplicates: int = 0
    limited: int = 0
    late: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class Pipeline:
    """All stages in one process.

    Args:
        policy: what the operator tuned.
        cluster_partitions: how fingerprints are divided; the worker's default.
    """

    def __init__(self, policy: Policy, cluster_partitions: int = CLUSTER_PARTITIONS) -> None:
        self.counts = Counts()
        self.desk = Desk(policy)
        self._seconds = policy.epochs.epoch_seconds
        self._decoder = Decoder()
        self._accounts = AccountsStage(0, policy.epochs)
        self._clusters = [ClustersStage(number, cluster_partitions, policy) for number in range(cluster_partitions)]
        self._feedback: list[Feedback] = []
        self._offset = 0
        self.first_ts = float("inf")  # least event time seen

    @property
    def accounts(self) -> int:
        """Accounts seen so far."""
        return len(self._accounts.table)

    @property
    def watermark(self) -> float:
        """Greatest event time seen; minus infinity before the first event."""
        return self._accounts.watermark

    def feed(self, values: Sequence[bytes], *, latest_ts: float) -> tuple[list[Outputs], list[tuple[int, str]]]:
        """Take records in; returns what became known, and the records refused as (number, reason)."""
        decoded = self._decoder.decode(values, latest_ts=latest_ts)
        first, self._offset = self._offset, self._offset + len(values)
        self.counts.records += len(values)
        for _, error in decoded.refused:
            self.counts.refused[error.reason] = self.counts.refused.get(error.reason, 0) + 1
        self._accounts.add_status((first + position, status) for position, status in decoded.statuses)
        self._accounts.add(decoded.batch, first + decoded.batch_index.astype(np.int64))
        self._feedback += [feedback for _, feedback in decoded.feedback]
        self.counts.late = self._accounts.late
        if len(decoded.batch):
            self.first_ts = min(self.first_ts, float(decoded.batch.ts.min()))
        return self._pass_on(self._accounts.close_due()), [
            (first + position, error.reason) for position, error in decoded.refused
        ]

    def end(self) -> list[Outputs]:
        """No more records: close what is open."""
        if self.watermark == float("-inf"):
            return []
        outputs = self._pass_on(self._accounts.close_idle(self.watermark + self._seconds))
        return outputs + self._judge(float("inf"))

    def finished(self) -> list[Campaign]:
        """Every campaign as it stands."""
        return self.desk.finished()

    def _pass_on(self, closed: Sequence[Closed]) -> list[Outputs]:
        outputs: list[Outputs] = []
        for epoch in closed:
            self.counts.events += epoch.events
            self.counts.duplicates += epoch.duplicates
            self.counts.limited += epoch.limited
            number = epoch.delta.epoch
            bundles = [bundle for stage in self._clusters if (bundle := stage.apply(number, [epoch.delta])) is not None]
            for stage in self._clusters:
                stage.store.dirty.clear()
                stage.dropped.clear()
            self._accounts.dirty.clear()
            if bundles:
                outputs.append(self.desk.evaluate(number, (number + 1) * self._seconds, bundles))
                outputs += self._judge((number + 1) * self._seconds)
        return outputs

    def _judge(self, now: float) -> list[Outputs]:
        """People's judgements take effect at the first evaluation after them."""
        due = sorted((item for item in self._feedback if item.ts <= now), key=lambda item: item.ts)
        self._feedback = [item for item in self._feedback if item.ts > now]
        return [self.desk.feedback(item) for item in due]


def accounts_node(
    partition: int,
    *,
    policy: Policy,
    cluster_partitions: int,
    max_accounts: int | None = None,
    keep: Keep | None = None,
) -> AccountsNode:
    """The accounts stage of one queries partition, for the worker; `max_accounts` stay in memory, `keep` may shed."""
    return AccountsNode(partition, policy, cluster_partitions, Decoder(), max_accounts=max_accounts, keep=keep)


def clusters_node(partition: int, *, policy: Policy, sources: int, partitions: int) -> ClustersNode:
    """The clusters stage of one deltas partition; `sources` = partitions of the queries topic."""
    return ClustersNode(partition, partitions, policy, sources)


def campaigns_node(partition: int, *, policy: Policy, sources: int) -> CampaignsNode:
    """The campaigns stage of one suspicions partition; `sources` = partitions of the deltas topic."""
    return CampaignsNode(partition, policy, sources, Decoder())
