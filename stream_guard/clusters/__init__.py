"""Deltas to groups, statistics, online models and suspicions."""

from stream_guard.clusters.signal import Signal
from stream_guard.clusters.signals import SIGNALS
from stream_guard.clusters.stage import ClustersStage

__all__ = ["SIGNALS", "ClustersStage", "Signal"]
