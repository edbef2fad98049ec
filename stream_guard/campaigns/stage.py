"""Suspicions in, campaigns out: identity, members, verdict, explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from stream_guard.campaigns.explanation import explain
from stream_guard.campaigns.grouping import group_suspicions
from stream_guard.campaigns.identity import match, new_id
from stream_guard.campaigns.ledger import Ledger, known_traits
from stream_guard.campaigns.membership import judge_members
from stream_guard.campaigns.mixture import extraction_share, own_templates
from stream_guard.errors import StateError
from stream_guard.records import ROW, Campaign, FeedbackLabel, Kind, Suspicion, Verdict, take_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from stream_guard.campaigns.membership import Crowd
    from stream_guard.policy import Policy
    from stream_guard.records import Feedback, SuspicionBundle

STATE_VERSION = 1
_SPLIT_EVALUATIONS = 12
_CLUSTER_MEMORY_SECONDS = 30 * 86_400.0
_LIKELY = 0.5  # membership from which an account's requests are the campaign's
_NOBODY: NDArray[np.void] = np.zeros(0, ROW)

_VERDICT_OF_LABEL = {
    FeedbackLabel.TRUE_POSITIVE: Verdict.EXTRACTION_CAMPAIGN,
    FeedbackLabel.FALSE_POSITIVE: Verdict.UNDETERMINED,
    FeedbackLabel.ORGANISATION: Verdict.ORGANISATION,
    FeedbackLabel.RESELLER: Verdict.RESELLER_POOL,
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """When the suspicions of one tenant are judged, and against whom.

    Attributes:
        epoch: number of the evaluation's epoch.
        now: its event time.
        reference: rows of accounts that are presumed honest, a uniform sample.
    """

    epoch: int
    now: float
    reference: NDArray[np.void]


def _by_cluster(bundles: Sequence[SuspicionBundle]) -> list[Suspicion]:
    return sorted((item for bundle in bundles for item in bundle.suspicions), key=lambda item: item.cluster)


def _references(bundles: Sequence[SuspicionBundle]) -> dict[str, NDArray[np.void]]:
    found: dict[str, NDArray[np.void]] = {}
    for bundle in bundles:
        for tenant, rows in bundle.reference.items():
            found.setdefault(tenant, rows)  # every partition sends the same sample, but for its suspects
    return found


class CampaignsStage:
    """Every campaign of the tenants of one partition. Pure: no I/O, no clock."""

    def __init__(self, policy: Policy) -> None:
        self.ledgers: dict[str, Ledger] = {}
        self.traffic: dict[str, tuple[int, float]] = {}
        self.alone: dict[str, Suspicion] = {}
        self.dirty: set[str] = set()
        self._policy = policy.campaigns

    def apply(self, epoch: int, now: float, bundles: Sequence[SuspicionBundle]) -> list[Campaign]:
        """Take one evaluation in and return the campaigns that are alive or have just ended.

        Args:
            epoch: number of the evaluation's epoch.
            now: event time of the evaluation.
            bundles: one from each clusters partition.
        """
        suspicions = _by_cluster(bundles)
        for bundle in bundles:
            for tenant, (accounts, per_hour) in bundle.traffic.items():
                self.traffic[tenant] = (accounts, per_hour)
        self.alone = {suspicion.cluster: suspicion for suspicion in suspicions if suspicion.kind == Kind.ACCOUNT}
        tenants = {suspicion.tenant for suspicion in suspicions} | {ledger.tenant for ledger in self.ledgers.values()}
        reference = _references(bundles)
        changed: list[Campaign] = []
        for tenant in sorted(tenants):
            mine = [item for item in suspicions if item.tenant == tenant and item.kind != Kind.ACCOUNT]
            changed += self._apply_tenant(tenant, Evaluation(epoch, now, reference.get(tenant, _NOBODY)), mine)
        return changed

    def confirm(self, epoch: int, now: float, bundles: Sequence[SuspicionBundle]) -> list[Campaign]:
        """Take in what was new at the last evaluation and has been judged again: it can confirm, and refutes nothing.

        Returns:
            If a candidate fires now, every campaign that is alive; otherwise none.
        """
        suspicions, reference = _by_cluster(bundles), _references(bundles)
        alive = [ledger for _, ledger in sorted(self.ledgers.items()) if not ledger.ended]
        fires = False
        for ledger in alive:
            if ledger.fired or not ledger.streak:
                continue
            mine = [item for item in suspicions if item.cluster in ledger.clusters and not item.resold]
            if mine and explain(mine)[0] >= self._policy.fire_log_odds:
                self._update(ledger, mine, Evaluation(epoch, now, reference.get(ledger.tenant, _NOBODY)))
                self.dirty.add(ledger.campaign_id)
                fires |= ledger.fired
        return [ledger.snapshot() for ledger in alive] if fires else []

    def judge(self, feedback: Feedback) -> Campaign | None:
        """Record a person's judgement about a campaign; None when it is not known."""
        ledger = self.ledgers.get(feedback.campaign_id or "")
        if ledger is None:
            return None
        ledger.label = feedback.label
        ledger.verdict = _VERDICT_OF_LABEL[feedback.label]
        self.dirty.add(ledger.campaign_id)
        return ledger.snapshot()

    def finished(self) -> list[Campaign]:
        """Every campaign as it stands."""
        ordered = sorted(self.ledgers.values(), key=lambda ledger: (ledger.first_seen, ledger.campaign_id))
        return [ledger.snapshot() for ledger in ordered]

    def member_of(self, key: str, tenant: str) -> str | None:
        """The live campaign that an account belongs to."""
        for ledger in self.ledgers.values():
            member = ledger.members.get(key) if ledger.tenant == tenant and not ledger.ended else None
            if member is not None and member.left_at is None:
                return ledger.campaign_id
        return None

    def _apply_tenant(self, tenant: str, at: Evaluation, suspicions: list[Suspicion]) -> list[Campaign]:
        groups = self._group([item for item in suspicions if not item.resold])
        named = {key for group in groups for suspicion in group for key in suspicion.keys}
        groups += self._group([item for item in suspicions if item.resold and named.isdisjoint(item.keys)])
        live = [ledger for ledger in self.ledgers.values() if ledger.tenant == tenant and ledger.merged_into is None]
        matching = match(
            [
                (
                    frozenset(suspicion.cluster for suspicion in group),
                    frozenset(key for suspicion in group for key in suspicion.keys),
                )
                for group in groups
            ],
            known_traits(live),
        )
        touched: set[str] = set()
        for younger, older in matching.merged.items():
            self.ledgers[older].absorb(self.ledgers[younger])
            self.dirty.add(older)  # also where it is over, and nothing else touches it
            self.ledgers[younger].merged_into = older
            self.ledgers[younger].ended = True
            touched.add(younger)
        for campaign_id, numbers in matching.of_campaign.items():
            parts = self._split(self.ledgers[campaign_id], [groups[number] for number in numbers], at)
            for ledger, group in parts:
                self.dirty.add(ledger.campaign_id)
                if ledger.fired and all(suspicion.resold for suspicion in group):
                    continue  # what is left of a campaign may look like a pool that is resold: it fades
                self._update(ledger, group, at)
                touched.add(ledger.campaign_id)
        for number in matching.new:
            members = {key for suspicion in groups[number] for key in suspicion.keys}
            if len(members) < self._policy.min_members:
                continue
            clusters = [suspicion.cluster for suspicion in groups[number]]
            ledger = Ledger(new_id(tenant, clusters, at.epoch), tenant, at.now, at.now)
            self.ledgers[ledger.campaign_id] = ledger
            self._update(ledger, groups[number], at)
            touched.add(ledger.campaign_id)
        for ledger in live:
            if ledger.campaign_id not in touched and not ledger.ended:
                self._fade(ledger, at.now)
                touched.add(ledger.campaign_id)
        self.dirty.update(touched)
        self._forget(touched)
        return [self.ledgers[campaign_id].snapshot() for campaign_id in sorted(touched) if campaign_id in self.ledgers]

    def _group(self, suspicions: list[Suspicion]) -> list[list[Suspicion]]:
        return [[suspicions[index] for index in group] for group in group_suspicions(suspicions, self._policy)]

    def _split(
        self, ledger: Ledger, groups: list[list[Suspicion]], at: Evaluation
    ) -> Iterable[tuple[Ledger, list[Suspicion]]]:
        """One campaign stays one while its groups come and go; groups that stay apart become campaigns of their own."""
        if len(groups) < 2:
            ledger.apart = 0
            return [(ledger, groups[0])]
        ledger.apart += 1
        if ledger.apart < _SPLIT_EVALUATIONS:
            return [(ledger, [suspicion for group in groups for suspicion in group])]
        ledger.apart = 0
        groups.sort(key=lambda group: (-len({key for suspicion in group for key in suspicion.keys}), group[0].cluster))
        parts = [(ledger, groups[0])]
        for group in groups[1:]:
            child = Ledger(
                new_id(ledger.tenant, [suspicion.cluster for suspicion in group], at.epoch),
                ledger.tenant,
                at.now,
                at.now,
            )
            child.split_from = ledger.campaign_id
            for suspicion in group:
                ledger.clusters.pop(suspicion.cluster, None)
                for key in suspicion.keys:
                    if key in ledger.members and key not in child.members:
                        child.members[key] = ledger.members.pop(key)
            self.ledgers[child.campaign_id] = child
            parts.append((child, group))
        return parts

    def _update(self, ledger: Ledger, suspicions: list[Suspicion], at: Evaluation) -> None:
        now, since = at.now, ledger.last_seen
        ledger.last_seen = now
        ledger.ended = False
        ledger.log_odds, ledger.evidence = explain(suspicions)
        for suspicion in suspicions:
            ledger.clusters[suspicion.cluster] = now
        ledger.clusters = {
            cluster: seen for cluster, seen in ledger.clusters.items() if now - seen < _CLUSTER_MEMORY_SECONDS
        }
        crowd = judge_members(suspicions, at.reference)
        resold = all(suspicion.resold for suspicion in suspicions)  # groups that agree about that are no campaign
        convincing = not resold and ledger.log_odds >= self._policy.fire_log_odds
        if convincing and not ledger.fired and ledger.streak == 0 and ledger.label is None:
            ledger.keep_only(crowd.keys)  # who was taken in while nothing was convincing was a guess
        ledger.admit(crowd, now, self._policy)
        ledger.extraction_share = extraction_share(crowd.rows, crowd.probability, at.reference)
        self._count_templates(ledger, crowd, suspicions, at, since)
        enough = len(ledger.member_keys) >= self._policy.min_members
        convincing &= enough
        ledger.streak = ledger.streak + 1 if convincing else 0
        at_once = convincing and ledger.log_odds >= self._policy.fire_at_once_log_odds
        if at_once or ledger.streak >= self._policy.fire_evaluations:
            ledger.fired = True
        if ledger.label is not None:
            ledger.verdict = _VERDICT_OF_LABEL[ledger.label]
        elif ledger.fired:
            ledger.verdict = Verdict.EXTRACTION_CAMPAIGN
        elif resold and enough:
            ledger.verdict = Verdict.RESELLER_POOL

    @staticmethod
    def _count_templates(
        ledger: Ledger, crowd: Crowd, suspicions: list[Suspicion], at: Evaluation, since: float
    ) -> None:
        """Note what the members' newest templated requests were asked with."""
        members = take_rows(crowd.rows, crowd.probability > _LIKELY)
        own = own_templates(members, at.reference)
        names: dict[tuple[int, int], str] = {}
        for suspicion in suspicions:
            names |= suspicion.names
        ledger.asked.add(take_rows(members, members["last_ts"] > since), own, names)

    def _fade(self, ledger: Ledger, now: float) -> None:
        """No group of the campaign is suspicious now; it ends when that lasts."""
        ledger.streak = 0
        if now - ledger.last_seen >= self._policy.resolve_after_seconds:
            ledger.ended = True
            for member in ledger.members.values():
                if member.left_at is None:
                    member.left_at = ledger.last_seen

    def _forget(self, touched: set[str]) -> None:
        """A candidate that never fired and is over leaves nothing behind."""
        for campaign_id in [
            campaign_id
            for campaign_id, ledger in self.ledgers.items()
            if not ledger.fired and ledger.verdict is Verdict.UNDETERMINED and (ledger.ended or not ledger.members)
        ]:
            if self.ledgers[campaign_id].merged_into is None or campaign_id in touched:
                del self.ledgers[campaign_id]
                self.dirty.add(campaign_id)

    def dump(self, campaign_ids: Iterable[str]) -> dict[bytes, bytes | None]:
        """Stored form of some campaigns as msgpack; None deletes."""
        encode = msgspec.msgpack.encode
        return {
            b"c" + campaign_id.encode(): (
                encode({"version": STATE_VERSION, "ledger": self.ledgers[campaign_id].dump()})
                if campaign_id in self.ledgers
                else None
            )
            for campaign_id in campaign_ids
        }

    def load(self, data: bytes) -> None:
        """Take one stored campaign in.

        Raises:
            StateError: another version, or not readable.
        """
        try:
            state = msgspec.msgpack.decode(data)
            if state["version"] != STATE_VERSION:
                raise StateError(f"campaign: version {state['version']} is not {STATE_VERSION}")
            ledger = Ledger.load(state["ledger"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise StateError("campaign: not readable") from error
        self.ledgers[ledger.campaign_id] = ledger
