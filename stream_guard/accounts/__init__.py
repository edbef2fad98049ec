"""Events to account features, online models and deltas."""

from stream_guard.accounts.ew_gaussian import EwGaussianTail
from stream_guard.accounts.stage import AccountsStage

__all__ = ["AccountsStage", "EwGaussianTail"]
