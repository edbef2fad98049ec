"""What a page says about a campaign, worked out from the contract's objects. Pure: no I/O, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stream_guard.encode import time_seconds
from stream_guard.records import AlertStatus, DecisionStatus, Json, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stream_guard.policy import Decisions, Rung

MEMBERS_A_PAGE: Final = 50
BAR_WIDTH: Final = 300.0  # units of the drawing
WIDTH, HEIGHT, _MARGIN = 640.0, 160.0, 8.0
_LABEL_WIDTH: Final = 16.0
_SIMILAR_FROM: Final = 0.5  # cosine
_KIND: Final = {
    Verdict.EXTRACTION_CAMPAIGN: "a campaign that extracts the model's abilities",
    Verdict.RESELLER_POOL: "a pool of accounts that is resold to many customers",
    Verdict.ORGANISATION: "one organisation",
    Verdict.SINGLE_ACCOUNT: "a single account",
    Verdict.UNDETERMINED: "a group that nothing is certain about",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One term of the sum as a bar from the middle line."""

    signal: str
    contribution: float
    text: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment on the timeline."""

    x: float
    at: str
    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Members and exchanges over time as lines, each on its own scale, and what happened, as marks."""

    members: str
    exchanges: str
    most: int
    starts: str
    ends: str
    marks: Sequence[Mark]


def confidence(log_odds: float) -> float:
    """Logistic."""
    return 1.0 / (1.0 + math.exp(-max(min(log_odds, 500.0), -500.0)))


def bars(evidence: Sequence[Json]) -> list[Bar]:
    """Bars on one scale; towards the right speaks for a campaign."""
    most = max((abs(term["contribution"]) for term in evidence), default=0.0) or 1.0
    half = BAR_WIDTH / 2.0
    found = []
    for term in evidence:
        size = half * abs(term["contribution"]) / most
        x = half if term["contribution"] >= 0.0 else half - size
        found.append(Bar(term["signal"], term["contribution"], term["text"], round(x, 1), round(size, 1)))
    return found


def total(evidence: Iterable[Json]) -> float:
    """The sum, which is the log-odds."""
    return math.fsum(term["contribution"] for term in evidence)


def present(campaign: Json) -> int:
    """How many members it has now."""
    return sum(member["left_at"] is None for member in campaign["members"])


def members(campaign: Json, page: int) -> tuple[list[Json], int]:
    """One page of members, the surest first and those who left last, and how many pages there are."""
    ordered = sorted(
        campaign["members"],
        key=lambda one: (one["left_at"] is not None, -(one["membership"] or 0.0), one["account_id"]),
    )
    pages = max(1, -(-len(ordered) // MEMBERS_A_PAGE))
    first = (min(page, pages) - 1) * MEMBERS_A_PAGE
    return ordered[first : first + MEMBERS_A_PAGE], pages


def shared(campaign: Json) -> list[tuple[str, list[Json]]]:
    """Fingerprints by kind, the kind with most values first."""
    kinds: dict[str, list[Json]] = {}
    for one in campaign.get("fingerprints", ()):
        kinds.setdefault(one["kind"], []).append(one)
    return sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))


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


def timeline(
    campaign: Json,
    history: Sequence[tuple[float, int, int]],
    decisions: Iterable[Json],
    entries: Iterable[Json],
    alert: Json | None,
) -> Timeline:
    """How the campaign grew, and when it was noticed, decided on and judged."""
    steps = [(time_seconds(one["joined_at"]), 1) for one in campaign["members"]]
    steps += [(time_seconds(one["left_at"]), -1) for one in campaign["members"] if one["left_at"] is not None]
    moments = [(campaign["first_seen"], "first seen")]
    if alert is not None:
        moments.append((alert["at"], f"alert {alert['status']}"))
    moments += [(one["at"], f"decision: {one['action']}, {one['status']}") for one in decisions]
    moments += [(one["at"], f"{one['actor']}: {one['action']}") for one in entries if one.get("kind") == "operation"]
    times = [at for at, _ in steps] + [time_seconds(campaign[name]) for name in ("first_seen", "last_seen")]
    times += [time_seconds(at) for at, _ in moments] + [at for at, _, _ in history]
    start, end = min(times), max(times)
    span = max(end - start, 1.0)

    def across(at: float) -> float:
        return round(_MARGIN + (at - start) / span * (WIDTH - 2 * _MARGIN), 1)

    def line(points: Sequence[tuple[float, int]], most: int) -> str:
        rise = HEIGHT - 3 * _MARGIN
        return " ".join(f"{across(at)},{round(HEIGHT - _MARGIN - number / most * rise, 1)}" for at, number in points)

    counts, count = [(start, 0)], 0
    for at, change in sorted(steps):
        counts.append((at, count))
        count += change
        counts.append((at, count))
    counts.append((end, count))
    most = max(number for _, number in counts) or 1
    grown = [(at, exchanges) for at, exchanges, _ in history]
    exchanges = line(grown, max((number for _, number in grown), default=0) or 1)
    marks: list[Mark] = []
    named = -_LABEL_WIDTH
    for number, (at, text) in enumerate(sorted(moments), 1):
        x = across(time_seconds(at))
        apart = x - named >= _LABEL_WIDTH  # or numbers would cover each other
        marks.append(Mark(x, at, text, str(number) if apart else ""))
        named = x if apart else named
    return Timeline(line(counts, most), exchanges, most, campaign["first_seen"], campaign["last_seen"], marks)


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
