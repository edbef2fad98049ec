"""The stages as the runtime sees them: which topics they read and how a node of theirs is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from stream_guard.ports import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_guard.nodes.accounts_node import Keep
    from stream_guard.policy import Policy
    from stream_guard.ports import Node
    from stream_guard.settings import Settings

ACCOUNTS = "accounts"
CLUSTERS = "clusters"
CAMPAIGNS = "campaigns"
EAGER_STAGES = frozenset({CLUSTERS, CAMPAIGNS})


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        name: part of every node's name and of its keys in Redis.
        topics: what it reads; all have the same number of partitions and are assigned together.
        make_node: a fresh node of one partition.
        paced: reads the outside's events, so event time is paced and idle partitions follow the others.
        rows: how many states a node of it keeps in memory; None = not shown.
    """

    name: str
    topics: tuple[Topic, ...]
    make_node: Callable[[int], Node]
    paced: bool = False
    rows: Callable[[Node], int] | None = None


def product_stages(settings: Settings, policy: Policy, keep: Keep | None = None) -> tuple[Stage, ...]:
    """The three stages of the product; `keep` chooses what to read when too much comes."""
    from stream_guard.nodes import AccountsNode, CampaignsNode, ClustersNode  # noqa: PLC0415 # as above
    from stream_guard.pipeline import accounts_node, campaigns_node, clusters_node  # noqa: PLC0415 # fakes need none

    partitions = settings.partitions

    def rows(node: Node) -> int:
        match cast("object", node):
            case AccountsNode(stage=stage):
                return len(stage.table)
            case ClustersNode(stage=stage):
                return len(stage.store)
            case CampaignsNode(desk=desk):
                return len(desk.campaigns.ledgers)
        return 0

    def accounts(partition: int) -> Node:
        return cast(
            "Node",
            accounts_node(
                partition,
                policy=policy,
                cluster_partitions=partitions.deltas,
                max_accounts=settings.runtime.max_accounts,
                keep=keep,
            ),
        )

    def clusters(partition: int) -> Node:
        sources, total = partitions.queries, partitions.deltas
        return cast("Node", clusters_node(partition, policy=policy, sources=sources, partitions=total))

    def campaigns(partition: int) -> Node:
        return cast("Node", campaigns_node(partition, policy=policy, sources=partitions.deltas))

    return (
        Stage(ACCOUNTS, (Topic.QUERIES, Topic.ACCOUNT_STATUS), accounts, paced=True, rows=rows),
        Stage(CLUSTERS, (Topic.DELTAS,), clusters, rows=rows),
        Stage(CAMPAIGNS, (Topic.SUSPICIONS, Topic.CALENDAR, Topic.FEEDBACK, Topic.OPERATIONS), campaigns, rows=rows),
    )
