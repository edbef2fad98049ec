"""What two replays decide differently. Campaigns are matched by their members, since their ids may differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_guard.adapters.publish import ALERTS, CAMPAIGNS, DECISIONS, read_records
from stream_guard.encode import parse_alert, parse_campaign, parse_decision
from stream_guard.records import Action, DecisionStatus, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import TypeVar

    from stream_guard.records import Alert, Campaign, Decision, Json

    Key = tuple[str, str, str]  # tenant, scope, subject
    Item = TypeVar("Item", Alert, Decision)


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay's results: campaigns that stand, and the last word on every subject."""

    campaigns: Mapping[Key, Campaign]
    alerts: Mapping[Key, Alert]
    decisions: Mapping[Key, Decision]
    acted_on: frozenset[tuple[str, str]]


def read_replay(directory: Path) -> Replay:
    """Read what `replay` wrote.

    Raises:
        InputError: a file is missing or is not what it should be.
    """
    every = list(read_records(directory / CAMPAIGNS, parse_campaign))
    into = {campaign.campaign_id: campaign.merged_into for campaign in every}
    by_id = {(campaign.tenant, campaign.campaign_id): campaign for campaign in every}
    alerts: dict[Key, Alert] = {}
    decisions: dict[Key, Decision] = {}
    acted_on: set[tuple[str, str]] = set()
    for alert in read_records(directory / ALERTS, parse_alert):
        _put_last(alerts, (alert.tenant, alert.scope.value, _standing(alert.subject_id, into)), alert)
    for decision in read_records(directory / DECISIONS, parse_decision):
        key = (decision.tenant, decision.scope.value, _standing(decision.subject_id, into))
        _put_last(decisions, key, decision)
        acted_on.update((decision.tenant, account) for account in _reached(decision, by_id))
    return Replay(
        campaigns={
            (campaign.tenant, Scope.CAMPAIGN.value, campaign.campaign_id): campaign
            for campaign in every
            if campaign.merged_into is None
        },
        alerts=alerts,
        decisions=decisions,
        acted_on=frozenset(acted_on),
    )


def compare(first: Replay, second: Replay) -> Json:
    """Everything that differs; every list is empty where the two decide alike."""
    pairs = _match(first.campaigns, second.campaigns)
    names = {theirs: ours for ours, theirs in pairs}  # subjects of the second by those of the first
    alerts = {names.get(key, key): alert for key, alert in second.alerts.items()}
    decisions = {names.get(key, key): decision for key, decision in second.decisions.items()}
    matched = {ours for ours, _ in pairs}
    return {
        "campaigns_changed": [
            change
            for ours, theirs in sorted(pairs)
            if (change := _campaign_change(first.campaigns[ours], second.campaigns[theirs]))
        ],
        "campaigns_only_in_a": [_brief(first.campaigns[key]) for key in sorted(first.campaigns) if key not in matched],
        "campaigns_only_in_b": [_brief(second.campaigns[key]) for key in sorted(second.campaigns) if key not in names],
        "alerts_only_in_a": [_alert(first.alerts[key]) for key in sorted(first.alerts.keys() - alerts.keys())],
        "alerts_only_in_b": [_alert(alerts[key]) for key in sorted(alerts.keys() - first.alerts.keys())],
        "alerts_changed": list(_changes(first.alerts, alerts, _alert)),
        "decisions_only_in_a": [
            _decision(first.decisions[key]) for key in sorted(first.decisions.keys() - decisions.keys())
        ],
        "decisions_only_in_b": [_decision(decisions[key]) for key in sorted(decisions.keys() - first.decisions.keys())],
        "decisions_changed": list(_changes(first.decisions, decisions, _decision)),
        "accounts_acted_on_only_in_a": _accounts(first.acted_on - second.acted_on),
        "accounts_acted_on_only_in_b": _accounts(second.acted_on - first.acted_on),
    }


def _standing(subject: str, into: Mapping[str, str | None]) -> str:
    """The campaign that a merged one became; any other subject as it is."""
    passed: set[str] = set()
    while (after := into.get(subject)) is not None and after not in passed:
        passed.add(subject)
        subject = after
    return subject


def _put_last(known: dict[Key, Item], key: Key, item: Item) -> None:
    """The later line wins, but the end of a merged campaign does not hide the one that goes on."""
    before = known.get(key)
    if before is None or item.subject_id == key[2] or before.subject_id != key[2]:
        known[key] = item


def _reached(decision: Decision, campaigns: Mapping[tuple[str, str], Campaign]) -> Iterator[str]:
    """Accounts that a decision acts on; those of a campaign are its members while the decision lasts."""
    if decision.action is Action.OBSERVE or decision.status is not DecisionStatus.ACTIVE:
        return
    if decision.scope is Scope.ACCOUNT:
        yield decision.subject_id
        return
    campaign = campaigns.get((decision.tenant, decision.subject_id))
    for member in campaign.members if campaign else ():
        if member.joined_at <= decision.expires_at and (member.left_at is None or member.left_at > decision.at):
            yield member.account_id


def _match(first: Mapping[Key, Campaign], second: Mapping[Key, Campaign]) -> list[tuple[Key, Key]]:
    """Pair campaigns, largest overlap first; a pair shares at least half of the smaller one's members."""
    where: dict[tuple[str, str], list[Key]] = {}
    for key, campaign in second.items():
        for account in _members(campaign):
            where.setdefault((campaign.tenant, account), []).append(key)
    shared: Counter[tuple[Key, Key]] = Counter()
    for key, campaign in first.items():
        for account in _members(campaign):
            for other in where.get((campaign.tenant, account), ()):
                shared[key, other] += 1
    pairs: list[tuple[Key, Key]] = []
    taken: set[tuple[int, Key]] = set()
    for (ours, theirs), count in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
        smaller = min(len(_members(first[ours])), len(_members(second[theirs])))
        if 2 * count >= smaller and (0, ours) not in taken and (1, theirs) not in taken:
            pairs.append((ours, theirs))
            taken |= {(0, ours), (1, theirs)}
    return pairs


def _members(campaign: Campaign) -> set[str]:
    return {member.account_id for member in campaign.members}


def _campaign_change(ours: Campaign, theirs: Campaign) -> Json:
    gained, lost = _members(theirs) - _members(ours), _members(ours) - _members(theirs)
    if not gained and not lost and ours.verdict is theirs.verdict:
        return {}
    return {
        "a": ours.campaign_id,
        "b": theirs.campaign_id,
        "verdict_a": ours.verdict.value,
        "verdict_b": theirs.verdict.value,
        "members_gained": sorted(gained),
        "members_lost": sorted(lost),
    }


def _brief(campaign: Campaign) -> Json:
    return {
        "campaign_id": campaign.campaign_id,
        "verdict": campaign.verdict.value,
        "members": sorted(_members(campaign)),
    }


def _changes(ours: Mapping[Key, Item], theirs: Mapping[Key, Item], show: Callable[[Item], Json]) -> Iterator[Json]:
    for key in sorted(ours.keys() & theirs.keys()):
        a, b = show(ours[key]), show(theirs[key])
        if any(a[name] != b[name] for name in a if name != "subject"):
            yield {"a": a, "b": b}


def _alert(alert: Alert) -> Json:
    return {
        "subject": {"scope": alert.scope.value, "id": alert.subject_id},
        "status": alert.status.value,
        "severity": alert.severity.value,
        "verdict": alert.verdict.value,
    }


def _decision(decision: Decision) -> Json:
    return {
        "subject": {"scope": decision.scope.value, "id": decision.subject_id},
        "action": decision.action.value,
        "requests_per_minute": decision.requests_per_minute,
        "status": decision.status.value,
    }


def _accounts(accounts: frozenset[tuple[str, str]]) -> list[str]:
    return [account if tenant == "default" else f"{tenant}/{account}" for tenant, account in sorted(accounts)]
