"""From a finished trial to numbers: leak, time, members, identity, and what honest accounts suffered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stream_guard.encode import time_text
from stream_guard.evaluate.judge import RANK
from stream_guard.evaluate.truth import same_group
from stream_guard.records import Scope, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from stream_guard.evaluate.judge import FirstAlert, Judge, Story
    from stream_guard.evaluate.truth import Attack, Truth
    from stream_guard.records import Campaign, Json

_DIGITS: Final = 6


def score(truth: Truth, judge: Judge, campaigns: Sequence[Campaign], accounts: int) -> Json:
    """Score one trial.

    Args:
        truth: what is true; its attacks have seen every record.
        judge: what left the pipeline.
        campaigns: as they stand at the end.
        accounts: number of accounts in the file.

    Returns:
        A JSON object.
    """
    honest = accounts - len(truth.hostile & {account for attack in truth.attacks for account in attack.seen})
    acted = judge.acted_on - truth.hostile
    elsewhere = [story for story in judge.stories.values() if story.honest and not story.attacks]
    critical = sum(story.severity is Severity.CRITICAL for story in elsewhere)
    return {
        "accounts": accounts,
        "attacks": [_score_attack(attack, judge, campaigns) for attack in truth.attacks],
        "benign_groups": [_score_group(label, group, judge, campaigns) for label, group in truth.groups.items()],
        "honest": {
            "accounts": honest,
            "acted_on": len(acted),
            "acted_on_per_million": rounded(1e6 * len(acted) / honest) if honest else None,
            "alerts": len(elsewhere),
            "alerts_by_severity": {
                severity.value: sum(story.severity is severity for story in elsewhere) for severity in Severity
            },
            "alerts_by_verdict": _count(story.verdict.value for story in elsewhere),
            "critical_per_day": rounded(critical / truth.days),
            "campaign_alerts": sum(_bothers(story) for story in elsewhere),
        },
    }


def _bothers(story: Story) -> bool:
    """Whether an alert about a group says more than that a pool is resold or an organisation."""
    return story.scope is not Scope.ACCOUNT and (
        story.verdict is Verdict.EXTRACTION_CAMPAIGN or story.severity is not Severity.INFO
    )


def rounded(value: float | None) -> float | None:
    """Six digits after the point are enough."""
    return None if value is None else round(float(value), _DIGITS)


def _score_attack(attack: Attack, judge: Judge, campaigns: Sequence[Campaign]) -> Json:
    first = judge.first.get(attack.label)
    stories = [story for story in judge.stories.values() if attack.label in story.attacks]
    leaked = attack.exchanges if first is None else attack.leaked_before(first.at)
    result: Json = {
        "label": attack.label,
        "accounts": len(attack.accounts),
        "exchanges": attack.exchanges,
        "exchanges_planned": attack.planned,
        "exact": attack.exact,
        "detected": first is not None,
        "alert_at": None if first is None else time_text(first.at),
        "hours_to_alert": None if first is None else rounded((first.at - attack.starts) / 3_600),
        "leaked": leaked,
        "leaked_share": rounded(leaked / max(attack.exchanges, 1)),
        "leaked_share_of_planned": rounded(leaked / attack.planned) if attack.planned else None,
        "at_alert": None if first is None else _agreement(first.members, attack, attack.seen_before(first.at)),
        "alerts": len(stories),
        "critical_alerts": sum(story.severity is Severity.CRITICAL for story in stories),
        "acted_on": len(judge.acted_on & attack.accounts),
        "signals": {name: rounded(value) for name, value in sorted(judge.signals[attack.label].items())},
    }
    return result | _identity(attack, judge, first, campaigns) | _extras(attack, judge, campaigns)


def _identity(attack: Attack, judge: Judge, first: FirstAlert | None, campaigns: Sequence[Campaign]) -> Json:
    """Whether one id holds the attack, and how well its members are known at the end, those who left included."""
    standing = [
        campaign
        for campaign in campaigns
        if campaign.merged_into is None and same_group(_everyone(campaign), attack.accounts)
    ]
    alerted = {_survivor(campaign_id, campaigns) for campaign_id in judge.alerted_campaigns}
    ids = [campaign.campaign_id for campaign in standing]
    known = [campaign for campaign in standing if campaign.campaign_id in alerted]
    last = None if first is None or first.campaign_id is None else _survivor(first.campaign_id, campaigns)
    final = next((campaign for campaign in campaigns if campaign.campaign_id == last), None)
    largest = max(standing, key=lambda campaign: len(_everyone(campaign) & attack.accounts), default=None)
    return {
        "at_end": None if final is None else _agreement(_everyone(final), attack, len(attack.seen)),
        "at_end_all_ids": _agreement(frozenset().union(*map(_everyone, known)), attack, len(attack.seen))
        if known
        else None,
        "campaign_ids": len(ids),
        "campaign_ids_alerted": len(known),
        "same_id": None if final is None else largest is not None and final.campaign_id == largest.campaign_id,
        "verdict_at_end": None if final is None else final.verdict.value,
    }


def _extras(attack: Attack, judge: Judge, campaigns: Sequence[Campaign]) -> Json:
    """What only some scenarios ask for."""
    first = judge.first.get(attack.label)
    extra: Json = {}
    if attack.second_pool:
        known = judge.second_pool_known.get(attack.label)
        times = np.sort(np.frombuffer(attack.second_times)) if attack.second_times else np.zeros(0)
        leaked = len(times) if known is None else int(np.searchsorted(times, known))
        extra["second_pool_leaked"] = leaked
        extra["second_pool_leaked_share"] = rounded(leaked / max(len(attack.times), 1))
    bulk = attack.facts.get("bulk_starts")
    if bulk is not None:
        extra["bulk_starts"] = time_text(bulk / 1_000)
        extra["alert_before_bulk"] = first is not None and first.at < bulk / 1_000
    if "answered" in attack.facts:
        days = (attack.facts["ends"] - attack.facts["starts"]) / 86_400_000
        extra["useful_a_day"] = rounded(attack.facts["answered"] / days) if days else None
        extra["evasions"] = attack.facts["evasions"]
    if "share" in attack.facts:
        last = None if first is None or first.campaign_id is None else _survivor(first.campaign_id, campaigns)
        found = next((campaign for campaign in campaigns if campaign.campaign_id == last), None)
        extra["share"] = rounded(attack.facts["share"])
        extra["share_estimated"] = rounded(None if found is None else found.extraction_share)
        extra["components"] = (
            []
            if found is None
            else [{"share": rounded(one.share), "asked_with": one.asked_with} for one in found.components]
        )
    return extra


def _score_group(label: str, group: frozenset[str], judge: Judge, campaigns: Sequence[Campaign]) -> Json:
    """What an honest group was taken for; `clear` where nothing was said that would bother a person."""
    found = [
        campaign for campaign in campaigns if campaign.merged_into is None and same_group(_everyone(campaign), group)
    ]
    largest = max(found, key=lambda campaign: len(_everyone(campaign) & group), default=None)
    stories = [story for story in judge.stories.values() if label in story.groups]
    worst = max((story.severity for story in stories), key=RANK.__getitem__, default=None)
    acted = len(judge.acted_on & group)
    return {
        "label": label,
        "accounts": len(group),
        "verdict": None if largest is None else largest.verdict.value,
        "alerts": len(stories),
        "alert_verdicts": _count(story.verdict.value for story in stories),
        "worst_severity": None if worst is None else worst.value,
        "acted_on": acted,
        "clear": acted == 0
        and RANK[worst] <= RANK[Severity.INFO]
        and all(story.verdict is not Verdict.EXTRACTION_CAMPAIGN for story in stories),
    }


def _agreement(members: Collection[str], attack: Attack, seen: int) -> Json:
    """Precision and recall of members; `recall_seen` asks only for accounts that have sent something."""
    shared = sum(account in attack.accounts for account in members)
    return {
        "members": len(members),
        "precision": rounded(shared / len(members)) if members else None,
        "recall": rounded(shared / max(len(attack.accounts), 1)),
        "recall_seen": rounded(min(1.0, shared / max(seen, 1))),
    }


def _everyone(campaign: Campaign) -> frozenset[str]:
    return frozenset(member.account_id for member in campaign.members)


def _survivor(campaign_id: str, campaigns: Sequence[Campaign]) -> str:
    """Follow merges to the campaign that goes on."""
    into = {campaign.campaign_id: campaign.merged_into for campaign in campaigns}
    passed: set[str] = set()
    while (after := into.get(campaign_id)) is not None and after not in passed:
        passed.add(campaign_id)
        campaign_id = after
    return campaign_id


def _count(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in sorted(values):
        counts[value] = counts.get(value, 0) + 1
    return counts
