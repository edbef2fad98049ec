"""The contract's output objects as JSON, field by field: what `encode` writes and what the API describes.

mypy holds `encode` to them, and `/openapi.json` is made from them, so neither can say what the other does not.
"""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from stream_guard.records.outcomes import (  # noqa: TC001 # schemas are made from the annotations
    Action,
    AlertStatus,
    DecisionStatus,
    Scope,
    Severity,
    Verdict,
)

Time = Annotated[str, Meta(description="RFC 3339", extra_json_schema={"format": "date-time"})]


class EvidenceBody(TypedDict):
    """One term of the sum that is the log-odds; a number is null where it cannot be known."""

    signal: str
    contribution: float
    observed: float | None
    expected: float | None
    text: str


class MemberBody(TypedDict):
    """An account of a campaign; `left_at` is null while it is one.

    `shares` names the kinds of suspicious groups that it is in; `evidence` has what speaks for
    (above 0) or against its membership, and sums up to the log-odds of `membership`.
    """

    account_id: str
    joined_at: Time
    left_at: Time | None
    membership: float | None
    exchanges: NotRequired[int]
    last_seen: NotRequired[Time]
    plan: NotRequired[str]
    created_at: NotRequired[Time]
    shares: NotRequired[list[str]]
    evidence: NotRequired[dict[str, float]]


class FingerprintBody(TypedDict):
    """Something that members have in common; `value` is a short hash."""

    kind: str
    value: str
    last_seen: Time


class ComponentBody(TypedDict):
    """Templates of a campaign that one customer of the pool seems to use."""

    share: float | None
    templates: list[str]
    asked_with: dict[str, dict[str, float]]


class CampaignFacts(TypedDict):
    """A campaign without its members and evidence."""

    schema: str
    campaign_id: str
    verdict: Verdict
    first_seen: Time
    last_seen: Time
    merged_into: str | None
    split_from: str | None
    exchanges: int
    output_tokens: int
    exchanges_by_capability: dict[str, int]
    exchanges_per_hour: float | None
    extraction_share: float | None
    log_odds: float
    tenant: str
    fingerprints: NotRequired[list[FingerprintBody]]
    components: NotRequired[list[ComponentBody]]


class CampaignBody(CampaignFacts):
    """A campaign as it stands."""

    members: list[MemberBody]
    evidence: list[EvidenceBody]


class SubjectBody(TypedDict):
    """What an alert or a decision is about."""

    scope: Scope
    id: str


class AlertBody(TypedDict):
    """The newest transition of an alert."""

    schema: str
    alert_id: str
    campaign_id: str | None
    subject: SubjectBody
    status: AlertStatus
    at: Time
    first_seen: Time
    severity: Severity
    verdict: Verdict
    confidence: float
    log_odds: float
    evidence: list[EvidenceBody]
    members: int
    exchanges: int
    output_tokens: int
    exchanges_by_capability: dict[str, int]
    links: dict[str, str]
    tenant: str


class LimitBody(TypedDict):
    """How much is left; shared by all members when the subject is a campaign."""

    requests_per_minute: float | None


class DecisionBody(TypedDict):
    """A decision as it stands."""

    schema: str
    decision_id: str
    alert_id: str
    campaign_id: str | None
    subject: SubjectBody
    action: Action
    limit: LimitBody | None
    at: Time
    expires_at: Time
    simulated: bool
    status: DecisionStatus
    reason: str
    evidence_hash: str
    actor: str
    tenant: str
