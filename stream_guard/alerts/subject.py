"""What an alert can be about, reduced to what its life depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_guard.records import Campaign, Capability, Scope, Suspicion, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream_guard.records import Evidence


@dataclass(frozen=True, slots=True)
class Subject:
    """One campaign or account as of an evaluation."""

    tenant: str
    scope: Scope
    subject_id: str
    campaign_id: str | None
    verdict: Verdict
    log_odds: float
    evidence: tuple[Evidence, ...]
    first_seen: float
    members: int
    exchanges: int
    output_tokens: int
    exchanges_by_capability: Mapping[str, int]
    exchanges_per_hour: float
    over: bool
    over_reason: str


def subject_of_campaign(campaign: Campaign, *, over: bool) -> Subject:
    """A campaign as a subject; a merged campaign is over."""
    merged = campaign.merged_into is not None
    return Subject(
        tenant=campaign.tenant,
        scope=Scope.CAMPAIGN,
        subject_id=campaign.campaign_id,
        campaign_id=campaign.campaign_id,
        verdict=campaign.verdict,
        log_odds=campaign.log_odds,
        evidence=campaign.evidence,
        first_seen=campaign.first_seen,
        members=sum(member.left_at is None for member in campaign.members),
        exchanges=campaign.exchanges,
        output_tokens=campaign.output_tokens,
        exchanges_by_capability=campaign.exchanges_by_capability,
        exchanges_per_hour=campaign.exchanges_per_hour,
        over=over or merged,
        over_reason=f"merged into {campaign.merged_into}" if merged else "no longer active",
    )


def subject_of_account(suspicion: Suspicion) -> Subject:
    """A single account as a subject."""
    row = suspicion.rows[0]
    return Subject(
        tenant=suspicion.tenant,
        scope=Scope.ACCOUNT,
        subject_id=suspicion.keys[0].rpartition("\x1f")[2],
        campaign_id=None,
        verdict=Verdict.SINGLE_ACCOUNT,
        log_odds=suspicion.log_odds,
        evidence=tuple(sorted(suspicion.evidence, key=lambda term: (-abs(term.contribution), term.signal))),
        first_seen=float(row["first_ts"]),
        members=1,
        exchanges=int(row["events"]),
        output_tokens=int(row["output_tokens"]),
        exchanges_by_capability={
            Capability(number).name.lower(): int(count)
            for number, count in enumerate(row["capability"].tolist())
            if count
        },
        exchanges_per_hour=float(row["rate_1h"]),
        over=False,
        over_reason="",
    )
