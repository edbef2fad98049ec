"""Everything about one campaign in one place: for its page in the console, for `/dossier` and for the terminal.

`gather` asks `Operations`; the rest is worked out from the contract's objects. Pure but for `gather`: no I/O, no clock.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from stream_guard.app.operations import MAX_LIST, Operations
from stream_guard.encode import time_seconds, time_text
from stream_guard.records import Action, AlertStatus, DecisionStatus, Json, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stream_guard.policy import Decisions, Rung

_AUDIT_ENTRIES: Final = 200
_COMPARED: Final = 100  # campaigns, to find similar ones
_SIMILAR_FROM: Final = 0.5  # cosine
_DAY_SECONDS: Final = 86_400.0
_LIMITING: Final = frozenset({Action.SLOW, Action.LIMIT, Action.SUSPEND_REQUEST})
_WORD: Final = {
    Action.OBSERVE: "observe",
    Action.SLOW: "slow",
    Action.LIMIT: "limit",
    Action.VERIFY: "ask to verify:",
    Action.SUSPEND_REQUEST: "suspend",
}
_KIND: Final = {
    Verdict.EXTRACTION_CAMPAIGN: "a campaign that extracts the model's abilities",
    Verdict.RESELLER_POOL: "a pool of accounts that is resold to many customers",
    Verdict.ORGANISATION: "one organisation",
    Verdict.SINGLE_ACCOUNT: "a single account",
    Verdict.UNDETERMINED: "a group that nothing is certain about",
}


@dataclass(frozen=True, slots=True)
class PlanDryRun:
    """What each rung of the ladder would mean for the members of one plan, whatever the confidence is now.

    Attributes:
        plan: its name; empty where it is unknown.
        members: how many are in the campaign now.
        spared: of these, how many are on an allow-list, and left alone.
        established: of the rest, how many are asked to verify before anything limits them.
        rungs: one sentence for each rung of the policy.
    """

    plan: str
    members: int
    spared: int
    established: int
    rungs: Sequence[str]


@dataclass(frozen=True, slots=True)
class Dossier:
    """What is known of a campaign, what was done about it, and what the policy would do.

    Attributes:
        campaign: with members and evidence.
        state: `firing`, `resolved`, `merged`, `watched` or `ended`.
        summary: the whole in plain words.
        alert: its newest one.
        decisions: those that wait for a person first.
        audit: newest first; the campaign's, its decisions' and its members'.
        history: Unix seconds of event time, exchanges and members, oldest first.
        similar: other campaigns whose evidence points the same way, with the cosine.
        would_decide: each rung of the policy with what it means for this campaign now.
        by_plan: the same for the members of each plan.
        dry_run: decisions are simulated.
    """

    campaign: Json
    state: str
    summary: str
    alert: Json | None
    decisions: Sequence[Json]
    audit: Sequence[Json]
    history: Sequence[tuple[float, int, int]]
    similar: Sequence[tuple[float, Json]]
    would_decide: Sequence[tuple[Rung, str]]
    by_plan: Sequence[PlanDryRun]
    dry_run: bool


async def gather(
    operations: Operations, policy: Decisions, campaign_id: str, tenant: str, *, compare: bool = True
) -> Dossier:
    """Everything about one campaign; similar ones, which cost most, only where they are wanted.

    Raises:
        UnknownSubjectError: there is none.
    """
    campaign = await operations.get_campaign(campaign_id, tenant)
    alert = (await newest_alerts(operations, tenant)).get(campaign_id)
    decisions = about(await operations.list_decisions(tenant, MAX_LIST), campaign_id)
    others = await operations.whole_campaigns(tenant, _COMPARED) if compare else []
    return Dossier(
        campaign=campaign,
        state=state(campaign, alert),
        summary=summary(campaign, alert),
        alert=alert,
        decisions=decisions,
        audit=trail(await operations.audit(MAX_LIST, tenant), campaign, decisions)[:_AUDIT_ENTRIES],
        history=await operations.history(campaign_id, tenant),
        similar=similar(campaign, others),
        would_decide=ladder(policy, campaign),
        dry_run=policy.dry_run,
        by_plan=by_plan(policy, campaign, await operations.list_allowed(tenant)),
    )


def dossier_object(known: Dossier) -> Json:
    """As JSON: the contract's campaign with the rest beside its fields."""
    return known.campaign | {
        "state": known.state,
        "summary": known.summary,
        "alert": known.alert,
        "decisions": known.decisions,
        "audit": known.audit,
        "history": [
            {"at": time_text(at), "exchanges": exchanges, "members": members}
            for at, exchanges, members in known.history
        ],
        "similar": [
            {"campaign_id": other["campaign_id"], "verdict": other["verdict"], "similarity": round(cosine, 3)}
            for cosine, other in known.similar
        ],
        "would_decide": [
            {
                "action": rung.action,
                "min_confidence": rung.min_confidence,
                "requests_per_minute": rung.requests_per_minute,
                "text": text,
            }
            for rung, text in known.would_decide
        ],
        "by_plan": [{**asdict(one), "rungs": list(one.rungs)} for one in known.by_plan],
        "dry_run": known.dry_run,
    }


async def newest_alerts(operations: Operations, tenant: str) -> dict[str, Json]:
    """Newest alert by campaign."""
    found: dict[str, Json] = {}
    for alert in await operations.list_alerts(tenant, MAX_LIST):
        if alert["campaign_id"] is not None:
            found.setdefault(alert["campaign_id"], alert)
    return found


def confidence(log_odds: float) -> float:
    """Logistic."""
    return 1.0 / (1.0 + math.exp(-max(min(log_odds, 500.0), -500.0)))


def present(campaign: Json) -> int:
    """How many members it has now."""
    return sum(member["left_at"] is None for member in campaign["members"])


def summary(campaign: Json, alert: Json | None) -> str:
    """The whole in plain words."""
    count, per_hour = present(campaign), campaign["exchanges_per_hour"] or 0.0
    kind = _KIND.get(campaign["verdict"], campaign["verdict"])
    parts = [
        f"{count:,} accounts look like {kind}.",
        f"Together they made {campaign['exchanges']:,} exchanges, now {per_hour:,.0f} an hour.",
        f"They got {campaign['output_tokens']:,} output tokens.",
    ]
    strongest = [term["text"] or term["signal"] for term in campaign["evidence"] if term["contribution"] > 0.0][:2]
    if strongest:
        parts.append(f"What speaks most for it: {'; '.join(strongest)}.")
    if alert is None:
        parts.append("No alert is open about it.")
    elif alert["status"] == AlertStatus.RESOLVED:
        parts.append("Its alert is resolved.")
    return " ".join(parts)


def state(campaign: Json, alert: Json | None) -> str:
    """One word."""
    if campaign["merged_into"]:
        return "merged"
    if alert is not None:
        return "resolved" if alert["status"] == AlertStatus.RESOLVED else "firing"
    return "watched" if present(campaign) else "ended"


def about(decisions: Iterable[Json], campaign_id: str) -> list[Json]:
    """Decisions of one campaign, those that wait for a person first."""
    found = [one for one in decisions if one["campaign_id"] == campaign_id]
    order = {DecisionStatus.HELD: 0, DecisionStatus.ACTIVE: 1}
    return sorted(found, key=lambda one: order.get(one["status"], 2))


def trail(audit: Iterable[Json], campaign: Json, decisions: Iterable[Json]) -> list[Json]:
    """Entries of the audit about a campaign, its decisions or its members."""
    mine = {campaign["campaign_id"]} | {one["decision_id"] for one in decisions}
    mine |= {member["account_id"] for member in campaign["members"]}
    return [
        entry
        for entry in audit
        if entry.get("tenant") == campaign["tenant"]
        and mine & {entry.get("id"), entry.get("decision_id"), (entry.get("subject") or {}).get("id")}
    ]


def similar(campaign: Json, others: Iterable[Json]) -> list[tuple[float, Json]]:
    """Campaigns with evidence like this one's: cosine of the contributions without the prior, O(signals) each."""
    mine = _profile(campaign)
    found = []
    for other in others:
        if other["campaign_id"] != campaign["campaign_id"]:
            theirs = _profile(other)
            dot = sum(value * theirs.get(name, 0.0) for name, value in mine.items())
            norm = math.hypot(*mine.values()) * math.hypot(*theirs.values())
            if norm > 0.0 and dot / norm >= _SIMILAR_FROM:
                found.append((dot / norm, other))
    return sorted(found, key=lambda one: -one[0])[:5]


def ladder(policy: Decisions, campaign: Json) -> list[tuple[Rung, str]]:
    """Each rung of the policy with what it means for this campaign now; the highest that is reached counts."""
    sure = confidence(campaign["log_odds"])
    reached = [rung for rung in policy.ladder if sure >= rung.min_confidence]
    acts = campaign["verdict"] == Verdict.EXTRACTION_CAMPAIGN
    found = []
    for rung in policy.ladder:
        if not acts:
            text = f"never: nothing is decided about {campaign['verdict'].replace('_', ' ')}"
        elif reached and rung is reached[-1]:
            text = f"now, for {present(campaign):,} members"
        else:
            text = "passed: a higher one is reached" if rung in reached else "not reached"
        found.append((rung, text))
    return found


def _profile(campaign: Json) -> dict[str, float]:
    return {term["signal"]: term["contribution"] for term in campaign["evidence"] if term["signal"] != "prior"}


def by_plan(policy: Decisions, campaign: Json, allowed: Iterable[Json]) -> list[PlanDryRun]:
    """What the ladder would mean for the members of each plan, the plan with most members first.

    The guard for wide decisions looks at the whole campaign and is not part of it.
    """
    listed = [(one["scope"], one["id"]) for one in allowed]
    listed += [("account", name) for name in policy.allow_accounts]
    listed += [("campaign", name) for name in policy.allow_campaigns]
    spared = {name for scope, name in listed if scope == "account"}
    whole = ("campaign", campaign["campaign_id"]) in listed
    before = time_seconds(campaign["first_seen"]) - policy.softer_for_established_days * _DAY_SECONDS
    plans: dict[str, list[Json]] = {}
    for member in campaign["members"]:
        if member["left_at"] is None:
            plans.setdefault(member.get("plan") or "", []).append(member)
    found = []
    for plan, mine in sorted(plans.items(), key=lambda item: (-len(item[1]), item[0])):
        reached = [member for member in mine if not whole and member["account_id"] not in spared]
        old = sum("created_at" in member and time_seconds(member["created_at"]) < before for member in reached)
        rungs = [_rung_for_plan(rung.action, len(reached) - old, old) for rung in policy.ladder]
        found.append(PlanDryRun(plan, len(mine), len(mine) - len(reached), old, rungs))
    return found


def _rung_for_plan(action: Action, firm: int, established: int) -> str:
    if action not in _LIMITING:
        return f"{_WORD[action]} {firm:,}"
    asked = f", ask {established:,} to verify" if established else ""
    return f"{_WORD[action]} {firm:,}{asked}"
