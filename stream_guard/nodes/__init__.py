"""The stages with bytes on both sides: what the runtime drives."""

from stream_guard.nodes.accounts_node import AccountsNode
from stream_guard.nodes.campaigns_node import CampaignsNode
from stream_guard.nodes.clusters_node import ClustersNode

__all__ = ["AccountsNode", "CampaignsNode", "ClustersNode"]
