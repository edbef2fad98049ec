"""Campaigns and accounts to alerts."""

from stream_guard.alerts.book import AlertBook
from stream_guard.alerts.severity import confidence_of
from stream_guard.alerts.subject import Subject, subject_of_account, subject_of_campaign

__all__ = ["AlertBook", "Subject", "confidence_of", "subject_of_account", "subject_of_campaign"]
