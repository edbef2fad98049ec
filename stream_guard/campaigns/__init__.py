"""Suspicions to campaigns."""

from stream_guard.campaigns.stage import CampaignsStage

__all__ = ["CampaignsStage"]
