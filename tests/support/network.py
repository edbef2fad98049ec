"""All nodes in memory, with dictionaries for checkpoints: a network that can be cut anywhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from stream_guard.accounts.table import account_hash
from stream_guard.nodes import AccountsNode, CampaignsNode, ClustersNode
from stream_guard.pipeline import accounts_node, campaigns_node, clusters_node
from stream_guard.ports import Envelope, Topic
from tests.support.events import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from stream_guard.policy import Policy
    from stream_guard.ports import Output
    from stream_guard.records import Alert, Campaign, DeadLetter, Decision

    Rows = NDArray[np.void]


class Network:
    """All nodes in memory: lists for topics, dictionaries for checkpoints, and a hand that may stop any node."""

    def __init__(self, policy: Policy, accounts: int, clusters: int) -> None:
        self.policy = policy
        self.accounts = accounts
        self.clusters = clusters
        self.logs: dict[tuple[Topic, int], list[bytes | None]] = {}
        self.stored: dict[str, dict[bytes, bytes]] = {}
        self.meta: dict[str, bytes] = {}
        self.stored_positions: dict[str, dict[Topic, int]] = {}
        self.letters: list[DeadLetter] = []
        self.alerts: list[Alert] = []
        self.decisions: list[Decision] = []
        self.counts: Counter[str] = Counter()
        self.names = [
            *(f"accounts:{number}" for number in range(accounts)),
            *(f"clusters:{number}" for number in range(clusters)),
            "campaigns:0",
        ]
        self.nodes: dict[str, AccountsNode | ClustersNode | CampaignsNode] = {}
        self.positions: dict[str, dict[Topic, int]] = {}
        for name in self.names:
            self.crash(name)

    def publish(self, records: Iterable[tuple[str, bytes]], topic: Topic = Topic.QUERIES) -> None:
        """Put records on the log, partitioned by account."""
        for account, value in records:
            self.logs.setdefault((topic, account_hash(account) % self.accounts), []).append(value)

    def crash(self, name: str) -> None:
        """Forget a node and start it again from its last checkpoint."""
        stage, number = name.split(":")
        node: AccountsNode | ClustersNode | CampaignsNode
        if stage == "accounts":
            node = accounts_node(int(number), policy=self.policy, cluster_partitions=self.clusters)
        elif stage == "clusters":
            node = clusters_node(int(number), policy=self.policy, sources=self.accounts, partitions=self.clusters)
        else:
            node = campaigns_node(int(number), policy=self.policy, sources=self.clusters)
        node.restore(self.meta.get(name), self.stored.get(name, {}) if node.eager else {})
        self.nodes[name] = node
        self.positions[name] = dict(self.stored_positions.get(name, {}))

    def checkpoint(self, name: str) -> None:
        """Make everything durable that a node has done."""
        node = self.nodes[name]
        point = node.checkpoint()
        states = self.stored.setdefault(name, {})
        for key, state in point.states.items():
            if state is None:
                states.pop(key, None)
            else:
                states[key] = state
        self.meta[name] = point.meta
        self.stored_positions.setdefault(name, {}).update(point.positions)
        node.saved(point)

    def step(self, name: str, most: int) -> bool:
        """Let a node process up to `most` records of each of its topics; False when there was nothing."""
        stage, number = name.split(":")
        worked = False
        for topic in _INPUTS[stage]:
            log = self.logs.get((topic, int(number)), [])
            first = self.positions[name].get(topic, 0)
            values = log[first : first + most]
            if values:
                worked = True
                offsets = range(first, first + len(values))
                self._drive(name, Envelope(topic, int(number), offsets, values))
                self.positions[name][topic] = first + len(values)
        return worked

    def drain(self, most: int = 200) -> None:
        """Run until every log is read."""
        while sum(self.step(name, most) for name in self.names):
            pass

    def finish(self, watermark: float) -> None:
        """Close what is open, as the runtime does when event time elsewhere has moved on."""
        self.drain()
        for name in self.names:
            self._take(self.nodes[name].idle(watermark))
        self.drain()
        for name in self.names:
            self.checkpoint(name)

    def campaigns(self) -> list[Campaign]:
        """Every campaign as it stands."""
        node = self.nodes["campaigns:0"]
        if not isinstance(node, CampaignsNode):
            raise TypeError("the last node is the campaigns node")
        return node.desk.finished()

    def _drive(self, name: str, envelope: Envelope) -> None:
        node = self.nodes[name]
        prepared = node.decode(envelope, latest_ts=NEVER)
        if prepared.missing:
            node.load({key: self.stored.get(name, {}).get(key) for key in prepared.missing})
        self._take(node.process(prepared))  # type: ignore[arg-type] # each node is given what it decoded

    def _take(self, output: Output) -> None:
        self.letters += output.dead_letters
        self.alerts += output.alerts
        self.decisions += output.decisions
        self.counts.update(output.counts)
        for message in output.messages:
            self.logs.setdefault((message.topic, message.partition or 0), []).append(message.value)


_INPUTS = {
    "accounts": (Topic.QUERIES, Topic.ACCOUNT_STATUS),
    "clusters": (Topic.DELTAS,),
    "campaigns": (Topic.SUSPICIONS, Topic.OPERATIONS, Topic.FEEDBACK),
}
