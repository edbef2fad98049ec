"""Alerts to decisions."""

from stream_guard.decisions.book import DecisionBook, Standing, evidence_hash

__all__ = ["DecisionBook", "Standing", "evidence_hash"]
