"""Labelled traffic: honest background, honest groups that look suspicious, and extraction campaigns.

Knows nothing about the detector and shares nothing with it.
"""

from stream_guard.simulate.engine import simulate
from stream_guard.simulate.model import Traffic
from stream_guard.simulate.scenarios import APART, LADDER, SCENARIOS, Scenario

__all__ = ["APART", "LADDER", "SCENARIOS", "Scenario", "Traffic", "simulate"]
