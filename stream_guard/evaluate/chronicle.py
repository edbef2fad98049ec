"""Remembers how a trial went, for its report: scores, alerts and actions over time, and how true the confidence was.

Cost: a few numbers for each campaign and evaluation; whatever compares members is done once, at the end.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from stream_guard.evaluate.scoring import rounded
from stream_guard.evaluate.truth import same_group
from stream_guard.records import Action, DecisionStatus, Scope, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import TypeVar

    from stream_guard.evaluate.truth import Attack, Truth
    from stream_guard.records import Alert, Campaign, Decision, Json, Outputs

    Item = TypeVar("Item")

BINS: Final = 10
_HOUR: Final = 3_600.0
_MAX_POINTS: Final = 120  # of a line in the report
_MAX_CAMPAIGNS: Final = 4  # lines of score of one attack
_MAX_MARKS: Final = 40  # alerts, and actions, of one attack
_MAX_LISTED: Final = 50  # honest accounts acted on


@dataclass(frozen=True, slots=True)
class _Score:
    at: float
    log_odds: float
    members: int


class Chronicle:
    """Follows one trial.

    Args:
        truth: what is true; asked only when the trial is over.
    """

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._scores: dict[str, list[_Score]] = defaultdict(list)
        self._latest: dict[str, Campaign] = {}
        self._alerts: list[Alert] = []
        self._actions: list[Decision] = []
        self._known_actions: set[tuple[str, Action, DecisionStatus]] = set()

    def observe(self, outputs: Outputs) -> None:
        """Take one step of the pipeline in."""
        for campaign in outputs.campaigns:
            self._latest[campaign.campaign_id] = campaign
            scores = self._scores[campaign.campaign_id]
            if not scores or campaign.last_seen > scores[-1].at:  # one that fades keeps its last score
                scores.append(_Score(campaign.last_seen, campaign.log_odds, len(campaign.members)))
        self._alerts += outputs.alerts
        for decision in outputs.decisions:
            key = (decision.subject_id, decision.action, decision.status)
            lasting = decision.status in {DecisionStatus.ACTIVE, DecisionStatus.HELD}
            if lasting and decision.action is not Action.OBSERVE and key not in self._known_actions:
                self._known_actions.add(key)
                self._actions.append(decision)

    def timelines(self) -> dict[str, Json]:
        """What happened to each attack, by its label; times are hours since it began."""
        return {attack.label: self._timeline(attack) for attack in self._truth.attacks}

    def reliability(self, finished: Sequence[Campaign]) -> Json:
        """Predicted against observed, in ten bins of confidence: count, sum of predicted, sum of observed.

        Args:
            finished: campaigns as they stand at the end.

        Returns:
            `campaigns`: every campaign, candidate and alert about an account, at its last word, against whether most
            of its members are hostile. `members`: every member of a campaign that stands and alerted, its membership
            against whether the account is hostile.
        """
        hostile = self._truth.hostile
        groups = [
            (_confidence(campaign.log_odds), 2 * len(names & hostile) > len(names))
            for campaign in self._latest.values()
            if (names := _names(campaign))
        ]
        last = {alert.subject_id: alert for alert in self._alerts if alert.scope is Scope.ACCOUNT}
        groups += [(alert.confidence, subject in hostile) for subject, alert in last.items()]
        alerted = {alert.campaign_id for alert in self._alerts if alert.verdict is Verdict.EXTRACTION_CAMPAIGN}
        members = [
            (member.membership, member.account_id in hostile)
            for campaign in finished
            if campaign.merged_into is None and campaign.campaign_id in alerted
            for member in campaign.members
        ]
        return {"campaigns": _binned(groups), "members": _binned(members)}

    def honest_acted_on(self, accounts: Collection[str]) -> list[Json]:
        """Honest accounts that were acted on, the first of them, with the groups that they belong to."""
        return [
            {
                "account_id": account,
                "groups": [label for label, group in self._truth.groups.items() if account in group],
            }
            for account in sorted(accounts)[:_MAX_LISTED]
        ]

    def _timeline(self, attack: Attack) -> Json:
        about = [one for one in self._latest.values() if same_group(_names(one), attack.accounts)]
        about.sort(key=lambda one: (-len(_names(one) & attack.accounts), one.campaign_id))
        subjects = {one.campaign_id for one in about}
        if len(attack.accounts) == 1:
            subjects |= attack.accounts
        alerts = [alert for alert in self._alerts if alert.subject_id in subjects]
        times = np.sort(np.frombuffer(attack.times)) if attack.times else np.zeros(0)
        return {
            "scores": [
                {
                    "campaign_id": one.campaign_id,
                    "points": [
                        [_hours(score.at, attack), rounded(score.log_odds), score.members]
                        for score in _thinned(self._scores[one.campaign_id])
                    ],
                }
                for one in about[:_MAX_CAMPAIGNS]
            ],
            "exchanges": [
                [_hours(float(times[place]), attack), place + 1] for place in _thinned(range(len(times)))
            ],
            "alerts": [
                [_hours(alert.at, attack), alert.status.value, alert.severity.value, alert.verdict.value,
                 rounded(alert.log_odds)]
                for alert in alerts[:_MAX_MARKS]
            ],
            "actions": [
                [_hours(decision.at, attack), decision.action.value, decision.status.value, len(decision.accounts) or 1]
                for decision in self._actions
                if decision.subject_id in subjects
            ][:_MAX_MARKS],
        }  # fmt: skip


def calibration_error(bins: Sequence[Sequence[float]]) -> float | None:
    """Expected calibration error: mean distance of predicted and observed, weighted by count (Naeini 2015).

    Args:
        bins: count, sum of predicted and sum of observed of each.
    """
    total = sum(count for count, _, _ in bins)
    return sum(abs(predicted - observed) for _, predicted, observed in bins) / total if total else None


def summed(bins: Sequence[Sequence[Sequence[float]]]) -> list[list[float]]:
    """Bins of many trials together."""
    return [[sum(trial[number][part] for trial in bins) for part in range(3)] for number in range(BINS)]


def _binned(pairs: Sequence[tuple[float, bool]]) -> list[list[float]]:
    bins = [[0.0, 0.0, 0.0] for _ in range(BINS)]
    for predicted, observed in pairs:
        one = bins[min(int(predicted * BINS), BINS - 1)]
        one[0] += 1
        one[1] += predicted
        one[2] += observed
    return [[count, round(predicted, 6), observed] for count, predicted, observed in bins]


def _confidence(log_odds: float) -> float:
    return float(1.0 / (1.0 + np.exp(-log_odds)))


def _names(campaign: Campaign) -> frozenset[str]:
    return frozenset(member.account_id for member in campaign.members)


def _hours(at: float, attack: Attack) -> float:
    return round((at - attack.starts) / _HOUR, 4)


def _thinned(items: Sequence[Item]) -> list[Item]:
    """At most so many, evenly spread, the first and the last among them."""
    if len(items) <= _MAX_POINTS:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, _MAX_POINTS).tolist()]
