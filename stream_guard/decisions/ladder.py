"""From an alert to what should be done: the ladder, its guards, and who is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_guard.records import Action, Alert, AlertStatus, Verdict

if TYPE_CHECKING:
    from stream_guard.policy import Decisions, Rung


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a decision would go, against everything that is active."""

    accounts: int
    active_accounts: int
    exchanges_per_hour: float
    active_exchanges_per_hour: float


def rung_for(alert: Alert, policy: Decisions) -> Rung | None:
    """Highest rung that the alert's confidence reaches; None for honest kinds of groups and resolved alerts.

    A single account is never slowed further than one campaign would be: the same ladder holds.
    """
    if alert.status is AlertStatus.RESOLVED or alert.verdict not in {
        Verdict.EXTRACTION_CAMPAIGN,
        Verdict.SINGLE_ACCOUNT,
    }:
        return None
    reached = [rung for rung in policy.ladder if alert.confidence >= rung.min_confidence]
    return reached[-1] if reached else None


def hold_reason(rung: Rung, reach: Reach, policy: Decisions) -> str:
    """Why a person must agree first; empty when nobody must. Observing never waits."""
    if rung.action is Action.OBSERVE:
        return ""
    if reach.accounts > policy.max_accounts:
        return f"blast radius: {reach.accounts} accounts, at most {policy.max_accounts} without a person"
    share = reach.accounts / max(reach.active_accounts, 1)
    if reach.accounts > 1 and share > policy.max_share_of_accounts:
        return f"blast radius: {share:.0%} of active accounts, at most {policy.max_share_of_accounts:.0%}"
    traffic = reach.exchanges_per_hour / max(reach.active_exchanges_per_hour, 1e-9)
    if reach.accounts > 1 and traffic > policy.max_share_of_traffic:
        return f"blast radius: {traffic:.0%} of traffic, at most {policy.max_share_of_traffic:.0%}"
    return ""
