"""One campaign's books: members, counts and what is known about it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stream_guard.campaigns.components import Asked
from stream_guard.records import (
    CAPABILITIES,
    AccountStatusValue,
    Campaign,
    Capability,
    Evidence,
    FeedbackLabel,
    Fingerprint,
    Kind,
    Member,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from stream_guard.campaigns.membership import Crowd
    from stream_guard.policy import Campaigns

_GONE = (AccountStatusValue.BANNED, AccountStatusValue.CLOSED)
_ESTABLISHED_SECONDS = 90 * 86_400.0
_RATE_SCALE_SECONDS = 3_600.0
_FINGERPRINTS_SHOWN = 200


@dataclass(slots=True)
class MemberState:
    """One account in a campaign. Counts before `base_*` belong to the account's honest past."""

    joined_at: float
    left_at: float | None
    membership: float
    events: int
    output_tokens: float
    capability: list[float]
    base_events: int = 0
    base_output_tokens: float = 0.0
    base_capability: list[float] = field(default_factory=list)
    last_ts: float = 0.0
    per_hour: float = 0.0
    created_at: float = float("nan")
    plan: str | None = None
    kinds: int = 0
    evidence: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Ledger:
    """A campaign while it is kept; mutable, owned by the stage."""

    campaign_id: str
    tenant: str
    first_seen: float
    last_seen: float
    verdict: Verdict = Verdict.UNDETERMINED
    log_odds: float = 0.0
    evidence: tuple[Evidence, ...] = ()
    clusters: dict[str, float] = field(default_factory=dict)
    members: dict[str, MemberState] = field(default_factory=dict)
    streak: int = 0
    apart: int = 0
    fired: bool = False
    ended: bool = False
    merged_into: str | None = None
    split_from: str | None = None
    label: FeedbackLabel | None = None
    per_hour: float = 0.0
    extraction_share: float | None = None
    asked: Asked = field(default_factory=Asked)

    @property
    def member_keys(self) -> frozenset[str]:
        """Accounts that are members now."""
        return frozenset(key for key, member in self.members.items() if member.left_at is None)

    def admit(self, crowd: Crowd, now: float, policy: Campaigns) -> None:
        """Take the newest rows of the accounts in, attach those that belong, and let go of those that left."""
        keep = policy.member_probability
        compared = crowd.terms.get("behaviour", np.zeros(len(crowd.keys))) != 0.0  # 0: too little to compare
        joins = np.where(compared, max(policy.join_probability, keep), keep).tolist()
        terms = {name: np.round(term, 2).tolist() for name, term in crowd.terms.items()}
        kinds = crowd.kinds or [0] * len(crowd.keys)
        news = zip(crowd.keys, crowd.probability.tolist(), kinds, _newest(crowd.rows), strict=True)
        for index, (key, probability, kind, row) in enumerate(news):
            member = self.members.get(key)
            if member is None:
                if probability < joins[index]:
                    continue
                member = self.members[key] = self._join(row, now)
            member.membership = round(probability, 4)
            member.evidence = {name: term[index] for name, term in terms.items() if term[index]}
            member.kinds = kind
            member.plan = crowd.plans.get(row.plan, member.plan)
            if probability < keep and member.left_at is None:
                if not self.fired:
                    del self.members[key]  # of a candidate nobody has heard: it was a guess
                    continue
                member.left_at = now
            elif probability >= joins[index] and row.status not in _GONE:
                member.left_at = None
            self._count(member, row, now)
        for member in self.members.values():
            if member.left_at is None and now - member.last_ts > policy.member_leaves_after_seconds:
                member.left_at = member.last_ts
        present = [(member.per_hour, member.last_ts) for member in self.members.values() if member.left_at is None]
        per_hour, last_ts = np.array(present, np.float64).reshape(-1, 2).T
        decayed = per_hour * np.exp(-np.maximum(now - last_ts, 0.0) / _RATE_SCALE_SECONDS)
        self.per_hour = round(sum(decayed.tolist()), 3)

    def keep_only(self, judged: Iterable[str]) -> None:
        """Forget the members that are not judged now."""
        here = set(judged)
        self.members = {key: member for key, member in self.members.items() if key in here}

    def absorb(self, other: Ledger) -> None:
        """Take over the members and fingerprints of a campaign that turned out to be this one.

        Where only one of the two has fired, the other was a guess: its accounts are judged again with everyone else.
        """
        if other.fired and not self.fired:
            self.members = {}
        if other.fired or not self.fired:
            for key, member in other.members.items():
                mine = self.members.get(key)
                if mine is None or member.joined_at < mine.joined_at:
                    self.members[key] = replace(member)  # from here on the two go their own ways
        for cluster, seen in other.clusters.items():
            self.clusters[cluster] = max(seen, self.clusters.get(cluster, seen))
        self.asked.absorb(other.asked)
        self.first_seen = min(self.first_seen, other.first_seen)
        self.fired = self.fired or other.fired

    def snapshot(self) -> Campaign:
        """The campaign as the contract shows it."""
        members = self.members.values()
        nothing = [0.0] * CAPABILITIES
        counts = np.array([member.capability for member in members], np.float64).reshape(-1, CAPABILITIES)
        before = np.array([member.base_capability or nothing for member in members], np.float64).reshape(counts.shape)
        asked = np.maximum(np.trunc(counts - before), 0.0).sum(axis=0)
        shown = np.flatnonzero((counts > before).any(axis=0)).tolist()
        capability = {Capability(number).name.lower(): int(asked[number]) for number in shown}
        return Campaign(
            campaign_id=self.campaign_id,
            tenant=self.tenant,
            verdict=self.verdict,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
            merged_into=self.merged_into,
            split_from=self.split_from,
            exchanges=sum(member.events - member.base_events for member in members),
            output_tokens=int(sum(member.output_tokens - member.base_output_tokens for member in members)),
            exchanges_by_capability=dict(sorted(capability.items())),
            members=tuple(
                Member(
                    account_id=key.rpartition("\x1f")[2],
                    joined_at=member.joined_at,
                    left_at=member.left_at,
                    membership=member.membership,
                    exchanges=member.events - member.base_events,
                    last_seen=member.last_ts,
                    plan=member.plan,
                    created_at=None if math.isnan(member.created_at) else member.created_at,
                    shares=_names(member.kinds),
                    evidence=member.evidence,
                )
                for key, member in sorted(self.members.items())
            ),
            log_odds=self.log_odds,
            evidence=self.evidence,
            exchanges_per_hour=self.per_hour,
            fingerprints=self._shared(),
            extraction_share=self.extraction_share,
            components=self.asked.components(),
        )

    def _shared(self) -> tuple[Fingerprint, ...]:
        """The newest fingerprints whose groups are or were suspicious, of many."""
        newest = sorted(self.clusters.items(), key=lambda item: (-item[1], item[0]))[:_FINGERPRINTS_SHOWN]
        found = []
        for cluster, seen in newest:
            kind, value = cluster.rsplit("/", 2)[-2:]
            found.append(Fingerprint(kind, value, seen))
        return tuple(sorted(found, key=lambda one: (one.kind, one.value)))

    def dump(self) -> dict[str, Any]:
        """Plain data; what is not known is left out, so that a version without it reads the rest."""
        plain = asdict(self)
        if self.extraction_share is None:
            del plain["extraction_share"]
        if not self.asked.counts:
            del plain["asked"]
        for member in plain["members"].values():
            for name in ("plan", "kinds", "evidence"):
                if not member[name]:
                    del member[name]
        return plain

    @classmethod
    def load(cls, data: dict[str, Any]) -> Ledger:
        """Put back what `dump` gave."""
        members = {key: MemberState(**member) for key, member in data.pop("members").items()}
        evidence = tuple(Evidence(**term) for term in data.pop("evidence"))
        label = data.pop("label")
        asked = Asked(**data.pop("asked", {}))
        return cls(
            **{**data, "verdict": Verdict(data["verdict"])},
            members=members,
            evidence=evidence,
            label=FeedbackLabel(label) if label else None,
            asked=asked,
        )

    def _join(self, row: _Row, now: float) -> MemberState:
        member = MemberState(joined_at=now, left_at=None, membership=0.0, events=0, output_tokens=0.0, capability=[])
        if row.created_at < self.first_seen - _ESTABLISHED_SECONDS:  # an old account's past is not this campaign's
            member.base_events = row.events
            member.base_output_tokens = row.output_tokens
            member.base_capability = row.capability
        member.created_at = row.created_at
        return member

    @staticmethod
    def _count(member: MemberState, row: _Row, now: float) -> None:
        member.events = row.events
        member.output_tokens = row.output_tokens
        member.capability = row.capability
        member.last_ts = row.last_ts
        member.per_hour = row.rate_1h
        if row.status in _GONE and member.left_at is None:
            member.left_at = min(row.status_at, now)


class _Row(NamedTuple):
    """What a ledger needs of an account's row."""

    events: int
    output_tokens: float
    capability: list[float]
    last_ts: float
    rate_1h: float
    status: int
    status_at: float
    created_at: float
    plan: int


def _newest(rows: NDArray[np.void]) -> list[_Row]:
    """Rows as plain numbers, taken column by column: one structured element at a time is slow."""
    columns = [rows[name].tolist() for name in _Row._fields[:-1]]
    return list(map(_Row._make, zip(*columns, rows["values"][:, Kind.PLAN].tolist(), strict=True)))


@lru_cache(maxsize=4_096)
def _names(kinds: int) -> tuple[str, ...]:
    """Kinds of a bit set by name; few sets occur."""
    return tuple(kind.name.lower() for kind in Kind if kinds >> kind & 1)


def known_traits(ledgers: Sequence[Ledger]) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Fingerprints and members of the campaigns that can continue, oldest first."""
    ordered = sorted(ledgers, key=lambda ledger: (ledger.first_seen, ledger.campaign_id))
    return {ledger.campaign_id: (frozenset(ledger.clusters), ledger.member_keys) for ledger in ordered}
