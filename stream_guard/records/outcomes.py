"""Suspicions and everything after them: campaigns, alerts, decisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from stream_guard.records.columns import Kind


class Verdict(StrEnum):
    """What a group of accounts is taken for."""

    EXTRACTION_CAMPAIGN = "extraction_campaign"
    RESELLER_POOL = "reseller_pool"
    ORGANISATION = "organisation"
    SINGLE_ACCOUNT = "single_account"
    UNDETERMINED = "undetermined"


class Scope(StrEnum):
    """What an alert or a decision is about."""

    ACCOUNT = "account"
    CLUSTER = "cluster"
    CAMPAIGN = "campaign"


class Severity(StrEnum):
    """`critical` pages a person."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertStatus(StrEnum):
    """A transition of an alert."""

    FIRING = "firing"
    UPDATED = "updated"
    RESOLVED = "resolved"


class Action(StrEnum):
    """Rungs of the ladder, softest first."""

    OBSERVE = "observe"
    SLOW = "slow"
    LIMIT = "limit"
    VERIFY = "verify"
    SUSPEND_REQUEST = "suspend_request"


class DecisionStatus(StrEnum):
    """Life of a decision; `held` waits for a person."""

    ACTIVE = "active"
    HELD = "held"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One term of the log-odds sum, in natural units, with a sentence for a person."""

    signal: str
    contribution: float
    observed: float
    expected: float
    text: str


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What a clusters partition says about one group at the end of an epoch.

    Attributes:
        cluster: stable id: tenant, kind and value.
        log_odds: sum of the contributions in `evidence`.
        rows: current rows of its members (`ROW`), sorted by account.
        keys: account keys, aligned with `rows`.
        anchors: (kind, value) that most members show, with the share of members and of the population.
        names: readable text of the anchors, where known.
        resold: not suspicious, but shaped like a pool that is resold to many unrelated customers.
    """

    cluster: str
    tenant: str
    kind: Kind
    value: int
    log_odds: float
    evidence: tuple[Evidence, ...]
    rows: NDArray[np.void]
    keys: Sequence[str]
    anchors: tuple[tuple[int, int, float, float], ...]
    names: Mapping[tuple[int, int], str]
    resold: bool = False


@dataclass(frozen=True, slots=True)
class SuspicionBundle:
    """What one clusters partition tells the campaigns stage at the end of an epoch.

    Attributes:
        source: clusters partition.
        epoch: number of the evaluation's epoch.
        suspicions: of all tenants.
        traffic: tenant -> (active accounts, queries an hour).
        reference: tenant -> rows (`ROW`) of a uniform sample of accounts that nobody suspects; only for tenants with
            suspicions.
        confirming: whether these are only the suspicions that were new at the last evaluation, judged again.
    """

    source: int
    epoch: int
    suspicions: Sequence[Suspicion]
    traffic: Mapping[str, tuple[int, float]]
    reference: Mapping[str, NDArray[np.void]]
    confirming: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One account in a campaign.

    Attributes:
        exchanges: of the campaign's, as far as they are counted.
        last_seen: event time of its newest query that is known here.
        plan: where known.
        created_at: sign-up; None when unknown.
        shares: kinds of suspicious groups that it is in, by name.
        evidence: what speaks for and against its membership: log-odds by term, which sum up to the membership's.
    """

    account_id: str
    joined_at: float
    left_at: float | None
    membership: float
    exchanges: int | None = None
    last_seen: float | None = None
    plan: str | None = None
    created_at: float | None = None
    shares: tuple[str, ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Something that a campaign's members have in common: a kind by name, its value as a short hash."""

    kind: str
    value: str
    last_seen: float


@dataclass(frozen=True, slots=True)
class Component:
    """Templates of a campaign that one customer of the pool seems to use.

    Attributes:
        share: of the campaign's templated requests.
        templates: short hashes.
        asked_with: kind by name -> value by name, or short hash -> its share of the component's requests.
    """

    share: float
    templates: tuple[str, ...]
    asked_with: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as it stands; `campaigns.jsonl` and Redis hold the same object."""

    campaign_id: str
    tenant: str
    verdict: Verdict
    first_seen: float
    last_seen: float
    merged_into: str | None
    split_from: str | None
    exchanges: int
    output_tokens: int
    exchanges_by_capability: Mapping[str, int]
    members: tuple[Member, ...]
    log_odds: float
    evidence: tuple[Evidence, ...]
    exchanges_per_hour: float
    extraction_share: float | None = None
    fingerprints: tuple[Fingerprint, ...] = ()
    components: tuple[Component, ...] = ()


@dataclass(frozen=True, slots=True)
class Alert:
    """One transition of an alert."""

    alert_id: str
    tenant: str
    campaign_id: str | None
    scope: Scope
    subject_id: str
    status: AlertStatus
    at: float
    first_seen: float
    severity: Severity
    verdict: Verdict
    confidence: float
    log_odds: float
    evidence: tuple[Evidence, ...]
    members: int
    exchanges: int
    output_tokens: int
    exchanges_by_capability: Mapping[str, int]
    links: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a subject, for how long, and why."""

    decision_id: str
    alert_id: str
    campaign_id: str | None
    tenant: str
    scope: Scope
    subject_id: str
    action: Action
    requests_per_minute: float | None
    at: float
    expires_at: float
    simulated: bool
    status: DecisionStatus
    reason: str
    evidence_hash: str
    actor: str
    accounts: tuple[str, ...] = ()  # whom a campaign decision reaches; not part of the public record


@dataclass(frozen=True, slots=True)
class Outputs:
    """What one epoch made known, in the order in which it must be published."""

    epoch: int
    alerts: Sequence[Alert] = ()
    decisions: Sequence[Decision] = ()
    campaigns: Sequence[Campaign] = ()
