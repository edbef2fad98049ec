"""How loud an alert is: harm, not score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stream_guard.records import Severity, Verdict

if TYPE_CHECKING:
    from stream_guard.policy import Alerts


def confidence_of(log_odds: float) -> float:
    """Logistic of the log-odds."""
    if log_odds >= 0.0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    return math.exp(log_odds) / (1.0 + math.exp(log_odds))


def severity_of(verdict: Verdict, confidence: float, exchanges_per_hour: float, policy: Alerts) -> Severity:
    """`critical` pages a person: only a campaign that is sure enough and leaks fast enough does.

    Honest kinds of groups are `info`; everything else is `warning`.
    """
    if verdict in {Verdict.RESELLER_POOL, Verdict.ORGANISATION, Verdict.UNDETERMINED}:
        return Severity.INFO
    if (
        verdict is Verdict.EXTRACTION_CAMPAIGN
        and confidence >= policy.critical_confidence
        and confidence * exchanges_per_hour >= policy.critical_exchanges_per_hour
    ):
        return Severity.CRITICAL
    return Severity.WARNING
