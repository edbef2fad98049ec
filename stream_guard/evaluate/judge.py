"""Follows what leaves the pipeline, step by step, and remembers what scoring needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stream_guard.evaluate.truth import FEW, same_group
from stream_guard.records import Action, AlertStatus, DecisionStatus, Scope, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_guard.evaluate.truth import Attack, Truth
    from stream_guard.records import Alert, Campaign, Outputs

RANK: Final = {None: 0, Severity.INFO: 1, Severity.WARNING: 2, Severity.CRITICAL: 3}


@dataclass(frozen=True, slots=True)
class FirstAlert:
    """The first alert that says what an attack is."""

    at: float
    alert_id: str
    campaign_id: str | None
    members: frozenset[str]


@dataclass(slots=True)
class Story:
    """One alert over its life.

    Attributes:
        scope: what it is about: an account or a campaign.
        severity: the worst so far.
        verdict: the last.
        honest: the most members at one transition that belong to no attack.
        attacks: labels of the attacks that it was about at some time.
        groups: labels of the honest groups that it was about at some time.
    """

    scope: Scope
    severity: Severity
    verdict: Verdict
    honest: int = 0
    attacks: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)


class Judge:
    """Watches one trial.

    Args:
        truth: what is true.

    Attributes:
        first: the first alert that says what an attack is, by the attack's label.
        stories: every alert, by its id.
        acted_on: accounts that an active decision beyond `observe` reaches.
        alerted_campaigns: ids of campaigns with an alert of verdict extraction_campaign.
        signals: by attack, the largest contribution of every signal in alerts about it.
        second_pool_known: by attack, when an alerted campaign first held half of the second pool that had spoken.
    """

    def __init__(self, truth: Truth) -> None:
        self.first: dict[str, FirstAlert] = {}
        self.stories: dict[str, Story] = {}
        self.acted_on: set[str] = set()
        self.alerted_campaigns: set[str] = set()
        self.signals: dict[str, dict[str, float]] = {attack.label: {} for attack in truth.attacks}
        self.second_pool_known: dict[str, float] = {}
        self._truth = truth
        self._latest: dict[str, Campaign] = {}

    def observe(self, outputs: Outputs) -> None:
        """Take one step of the pipeline in."""
        for campaign in outputs.campaigns:
            self._latest[campaign.campaign_id] = campaign
        for alert in outputs.alerts:
            self._alert(alert)
        for attack in self._truth.attacks:
            if attack.second_pool and attack.label not in self.second_pool_known:
                self._look_for_second_pool(attack, outputs.campaigns)
        for decision in outputs.decisions:
            if decision.action is not Action.OBSERVE and decision.status is DecisionStatus.ACTIVE:
                self.acted_on.update(decision.accounts)
                if decision.scope is Scope.ACCOUNT:
                    self.acted_on.add(decision.subject_id)

    def _alert(self, alert: Alert) -> None:
        members = self._members(alert)
        story = self.stories.setdefault(alert.alert_id, Story(alert.scope, alert.severity, alert.verdict))
        story.severity = max(story.severity, alert.severity, key=RANK.__getitem__)
        story.verdict = alert.verdict
        if alert.status is AlertStatus.RESOLVED:
            return
        story.honest = max(story.honest, len(members - self._truth.hostile))
        if alert.verdict is Verdict.EXTRACTION_CAMPAIGN and alert.campaign_id is not None:
            self.alerted_campaigns.add(alert.campaign_id)
        story.groups |= {label for label, group in self._truth.groups.items() if same_group(members, group)}
        for attack in self._truth.attacks:
            if same_group(members, attack.accounts):
                story.attacks.add(attack.label)
                self._note_signals(attack.label, alert)
                if attack.label not in self.first and _names(alert, attack):
                    self.first[attack.label] = FirstAlert(alert.at, alert.alert_id, alert.campaign_id, members)

    def _note_signals(self, label: str, alert: Alert) -> None:
        largest = self.signals[label]
        for term in alert.evidence:
            largest[term.signal] = max(term.contribution, largest.get(term.signal, term.contribution))

    def _look_for_second_pool(self, attack: Attack, campaigns: Sequence[Campaign]) -> None:
        for campaign in campaigns:
            if campaign.campaign_id in self.alerted_campaigns:
                found = sum(member.account_id in attack.second_pool for member in campaign.members)
                if found >= FEW and 2 * found >= attack.second_pool_seen_before(campaign.last_seen):
                    self.second_pool_known[attack.label] = campaign.last_seen

    def _members(self, alert: Alert) -> frozenset[str]:
        if alert.scope is Scope.ACCOUNT:
            return frozenset({alert.subject_id})
        campaign = self._latest.get(alert.subject_id)
        if campaign is None:
            return frozenset()
        return frozenset(
            member.account_id
            for member in campaign.members
            if member.joined_at <= alert.at and (member.left_at is None or member.left_at > alert.at)
        )


def _names(alert: Alert, attack: Attack) -> bool:
    """Whether an alert says what the attack is; an attack of one account is well described by an account alert."""
    if len(attack.accounts) == 1 and alert.scope is Scope.ACCOUNT:
        return alert.verdict in {Verdict.SINGLE_ACCOUNT, Verdict.EXTRACTION_CAMPAIGN}
    return alert.verdict is Verdict.EXTRACTION_CAMPAIGN
