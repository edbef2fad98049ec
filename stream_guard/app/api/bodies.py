"""What the API takes and gives, beside the contract's objects, which are in `records.bodies`.

Requests are decoded by these very definitions, and `/openapi.json` is made from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NotRequired, TypedDict

from msgspec import UNSET, Meta, Struct, UnsetType

from stream_guard.app.operations import MAX_ID, MAX_LIST, MAX_REASON, TEXT_PATTERN
from stream_guard.records import FeedbackLabel  # noqa: TC001 # schemas are made from the annotations
from stream_guard.records.bodies import (  # likewise
    AlertBody,
    CampaignBody,
    CampaignFacts,
    DecisionBody,
    SubjectBody,
    Time,
)


def _text(most: int) -> dict[str, Any]:
    """What `operations.checked` holds texts to."""
    return {"minLength": 1, "maxLength": most, "pattern": TEXT_PATTERN}


Name = Annotated[str, Meta(extra_json_schema=_text(MAX_ID))]
Reason = Annotated[str, Meta(description="Why; kept in the audit", extra_json_schema=_text(MAX_REASON))]
Until = Annotated[Time | None, Meta(description="When it ends by itself, in the future; RFC 3339 with its offset")]

# What requests say ----------------------------------------------------------------------------------------------


class Nothing(Struct, frozen=True):
    """No parameters."""


class Which(Struct, frozen=True):
    """Of which tenant; where none is named, the token's own, else `default`."""

    tenant: Annotated[Name, Meta(description="The token's own where none is named, else `default`")] | UnsetType = UNSET


class Some(Which, frozen=True):
    """Of which tenant, and how many."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LIST, description="How many at most")] = 100


class Act(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every action says. Without `actor` the token's name stands in the audit, which names it in any case."""

    reason: Reason
    actor: Name | None = None
    tenant: Name | None = None


class ActUntil(Act, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An action that ends by itself."""

    expires_at: Until = None


class Spare(ActUntil, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom to leave alone; for ever where no end is given."""

    scope: Literal["account", "campaign"]
    id: Name


class SpareNoMore(Act, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom to leave alone no more."""

    scope: Literal["account", "campaign"]
    id: Name


class Judge(Act, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What something really is; exactly one of the ids."""

    label: FeedbackLabel
    campaign_id: Name | None = None
    account_id: Name | None = None


_EITHER: Final = [
    {"required": [one], "properties": {one: {"type": "string"}, other: {"type": "null"}}}
    for one, other in (("campaign_id", "account_id"), ("account_id", "campaign_id"))
]
Judgement = Annotated[Judge, Meta(extra_json_schema={"oneOf": _EITHER})]

# What answers say -----------------------------------------------------------------------------------------------


class Failure(TypedDict):
    """One clear line."""

    error: str


class StreamEvent(TypedDict):
    """One server-sent event; `docs/reference/api.md` says what they promise."""

    event: Literal["decision", "resync", "synced", "kill_switch"]
    data: Annotated[str, Meta(description="JSON", extra_json_schema={"contentMediaType": "application/json"})]
    id: NotRequired[str]


class CampaignSummary(CampaignFacts):
    """A campaign in a list; `member_count` says how many accounts are in it now."""

    member_count: int


class AuditEntry(TypedDict):
    """What a person did (`kind` is `operation`) or how a decision changed (`decision`).

    `tenant` is missing where it concerns all of them.
    """

    kind: Literal["operation", "decision"]
    action: str
    at: Time
    actor: str
    reason: str
    tenant: NotRequired[str]
    scope: NotRequired[str]
    id: NotRequired[str]
    via: NotRequired[str]
    operation_id: NotRequired[str]
    expires_at: NotRequired[Time]
    deleted: NotRequired[int]
    was_engaged: NotRequired[bool]
    status: NotRequired[str]
    simulated: NotRequired[bool]
    decision_id: NotRequired[str]
    subject: NotRequired[SubjectBody]


class Campaigns(TypedDict):
    """Fastest first."""

    campaigns: list[CampaignSummary]


class Alerts(TypedDict):
    """Newest first."""

    alerts: list[AlertBody]


class Decisions(TypedDict):
    """Newest first."""

    decisions: list[DecisionBody]


class Audit(TypedDict):
    """Newest first."""

    audit: list[AuditEntry]


class Allowed(TypedDict):
    """What operators put on the allow-list; the policy file may hold more."""

    allowed: list[AuditEntry]


class EngagedBody(TypedDict):
    """Who stopped the limits, why, and when."""

    actor: str
    reason: str
    at: str


class Switch(TypedDict):
    """Whether every limit is stopped; a token that is bound to a tenant does not learn by whom."""

    engaged: bool
    state: EngagedBody | None


class HistoryPoint(TypedDict):
    """How far a campaign was at one evaluation."""

    at: Time
    exchanges: int
    members: int


class SimilarBody(TypedDict):
    """Another campaign whose evidence points the same way: cosine of the contributions."""

    campaign_id: str
    verdict: str
    similarity: float


class WouldDecide(TypedDict):
    """A rung of the policy's ladder and what it means for the campaign now."""

    action: str
    min_confidence: float
    requests_per_minute: float | None
    text: str


class PlanBody(TypedDict):
    """What each rung of the ladder would mean for the members of one plan; `plan` is empty where it is unknown."""

    plan: str
    members: int
    spared: int
    established: int
    rungs: list[str]


class DossierBody(CampaignBody):
    """Everything about one campaign; `dry_run` says that decisions are simulated."""

    state: Literal["firing", "resolved", "merged", "watched", "ended"]
    summary: str
    alert: AlertBody | None
    decisions: list[DecisionBody]
    audit: list[AuditEntry]
    history: list[HistoryPoint]
    similar: list[SimilarBody]
    would_decide: list[WouldDecide]
    by_plan: list[PlanBody]
    dry_run: bool
