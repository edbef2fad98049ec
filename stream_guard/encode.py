"""Alerts, decisions and campaigns as the contract's JSON: one object a line, fixed order, the same bytes always.

Times become RFC 3339 in UTC with milliseconds. Log-odds, contributions and confidence keep nine decimals, so the sum of
the contributions still equals the log-odds; other numbers keep nine significant digits.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from stream_guard.errors import DecodeError
from stream_guard.records import (
    Action,
    Alert,
    AlertStatus,
    Campaign,
    Component,
    Decision,
    DecisionStatus,
    Evidence,
    Fingerprint,
    Json,
    Member,
    Scope,
    Severity,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream_guard.records.bodies import (
        AlertBody,
        CampaignBody,
        ComponentBody,
        DecisionBody,
        EvidenceBody,
        FingerprintBody,
        MemberBody,
    )

ALERT_SCHEMA: Final = "stream_guard.alert.v1"
DECISION_SCHEMA: Final = "stream_guard.decision.v1"
CAMPAIGN_SCHEMA: Final = "stream_guard.campaign.v1"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DECIMALS: Final = 9
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(dict[str, Any])
_UNREADABLE: Final = (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, OverflowError)


def time_text(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC with milliseconds.

    >>> time_text(1_700_000_000.1234)
    '2023-11-14T22:13:20.123Z'
    """
    moment = _EPOCH + timedelta(milliseconds=round(seconds * 1_000))
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def time_seconds(text: str) -> float:
    """What `time_text` wrote, back as Unix seconds."""
    return round((datetime.fromisoformat(text) - _EPOCH) / timedelta(milliseconds=1)) / 1_000


def alert_object(alert: Alert) -> Json:
    """The contract's alert; `tenant` is our addition."""
    body: AlertBody = {
        "schema": ALERT_SCHEMA,
        "alert_id": alert.alert_id,
        "campaign_id": alert.campaign_id,
        "subject": {"scope": alert.scope, "id": alert.subject_id},
        "status": alert.status,
        "at": time_text(alert.at),
        "first_seen": time_text(alert.first_seen),
        "severity": alert.severity,
        "verdict": alert.verdict,
        "confidence": _fixed(alert.confidence),
        "log_odds": _fixed(alert.log_odds),
        "evidence": _evidence(alert.evidence),
        "members": alert.members,
        "exchanges": alert.exchanges,
        "output_tokens": alert.output_tokens,
        "exchanges_by_capability": dict(sorted(alert.exchanges_by_capability.items())),
        "links": dict(sorted(alert.links.items())),
        "tenant": alert.tenant,
    }
    return cast("Json", body)


def decision_object(decision: Decision) -> Json:
    """The contract's decision; `schema` and `tenant` are our additions."""
    per_minute = decision.requests_per_minute
    body: DecisionBody = {
        "schema": DECISION_SCHEMA,
        "decision_id": decision.decision_id,
        "alert_id": decision.alert_id,
        "campaign_id": decision.campaign_id,
        "subject": {"scope": decision.scope, "id": decision.subject_id},
        "action": decision.action,
        "limit": None if per_minute is None else {"requests_per_minute": _significant(per_minute)},
        "at": time_text(decision.at),
        "expires_at": time_text(decision.expires_at),
        "simulated": decision.simulated,
        "status": decision.status,
        "reason": decision.reason,
        "evidence_hash": decision.evidence_hash,
        "actor": decision.actor,
        "tenant": decision.tenant,
    }
    return cast("Json", body)


def campaign_object(campaign: Campaign) -> Json:
    """The contract's campaign; what follows `members`, and what follows a member's `membership`, are our additions."""
    share = campaign.extraction_share
    body: CampaignBody = {
        "schema": CAMPAIGN_SCHEMA,
        "campaign_id": campaign.campaign_id,
        "verdict": campaign.verdict,
        "first_seen": time_text(campaign.first_seen),
        "last_seen": time_text(campaign.last_seen),
        "merged_into": campaign.merged_into,
        "split_from": campaign.split_from,
        "exchanges": campaign.exchanges,
        "output_tokens": campaign.output_tokens,
        "members": [_member(member) for member in campaign.members],
        "exchanges_by_capability": dict(sorted(campaign.exchanges_by_capability.items())),
        "exchanges_per_hour": _significant(campaign.exchanges_per_hour),
        "extraction_share": None if share is None else _significant(share),
        "log_odds": _fixed(campaign.log_odds),
        "evidence": _evidence(campaign.evidence),
        "tenant": campaign.tenant,
    }
    if campaign.fingerprints:
        body["fingerprints"] = list(map(_fingerprint, campaign.fingerprints))
    if campaign.components:
        body["components"] = list(map(_component, campaign.components))
    return cast("Json", body)


def encode_alert(alert: Alert) -> bytes:
    """One line, without its end."""
    return _ENCODER.encode(alert_object(alert))


def encode_decision(decision: Decision) -> bytes:
    """One line, without its end."""
    return _ENCODER.encode(decision_object(decision))


def encode_campaign(campaign: Campaign) -> bytes:
    """One line, without its end."""
    return _ENCODER.encode(campaign_object(campaign))


def parse_alert(line: bytes) -> Alert:
    """Read what `encode_alert` wrote.

    Raises:
        DecodeError: it is something else.
    """
    try:
        data = _DECODER.decode(line)
        return Alert(
            alert_id=data["alert_id"],
            tenant=data.get("tenant", "default"),
            campaign_id=data["campaign_id"],
            scope=Scope(data["subject"]["scope"]),
            subject_id=data["subject"]["id"],
            status=AlertStatus(data["status"]),
            at=time_seconds(data["at"]),
            first_seen=time_seconds(data["first_seen"]),
            severity=Severity(data["severity"]),
            verdict=Verdict(data["verdict"]),
            confidence=data["confidence"],
            log_odds=data["log_odds"],
            evidence=_parse_evidence(data["evidence"]),
            members=data["members"],
            exchanges=data["exchanges"],
            output_tokens=data["output_tokens"],
            exchanges_by_capability=data["exchanges_by_capability"],
            links=data["links"],
        )
    except _UNREADABLE as error:
        raise DecodeError("not_an_alert", repr(error)) from error


def parse_decision(line: bytes) -> Decision:
    """Read what `encode_decision` wrote; whom it reaches is not part of it.

    Raises:
        DecodeError: it is something else.
    """
    try:
        data = _DECODER.decode(line)
        return Decision(
            decision_id=data["decision_id"],
            alert_id=data["alert_id"],
            campaign_id=data["campaign_id"],
            tenant=data.get("tenant", "default"),
            scope=Scope(data["subject"]["scope"]),
            subject_id=data["subject"]["id"],
            action=Action(data["action"]),
            requests_per_minute=None if data["limit"] is None else data["limit"]["requests_per_minute"],
            at=time_seconds(data["at"]),
            expires_at=time_seconds(data["expires_at"]),
            simulated=data["simulated"],
            status=DecisionStatus(data["status"]),
            reason=data["reason"],
            evidence_hash=data["evidence_hash"],
            actor=data["actor"],
        )
    except _UNREADABLE as error:
        raise DecodeError("not_a_decision", repr(error)) from error


def parse_campaign(line: bytes) -> Campaign:
    """Read what `encode_campaign` wrote, or any line that has the contract's fields.

    Raises:
        DecodeError: it is something else.
    """
    try:
        data = _DECODER.decode(line)
        return Campaign(
            campaign_id=data["campaign_id"],
            tenant=data.get("tenant", "default"),
            verdict=Verdict(data["verdict"]),
            first_seen=time_seconds(data["first_seen"]),
            last_seen=time_seconds(data["last_seen"]),
            merged_into=data["merged_into"],
            split_from=data["split_from"],
            exchanges=data["exchanges"],
            output_tokens=data["output_tokens"],
            exchanges_by_capability=data.get("exchanges_by_capability", {}),
            members=tuple(
                Member(
                    account_id=member["account_id"],
                    joined_at=time_seconds(member["joined_at"]),
                    left_at=None if member["left_at"] is None else time_seconds(member["left_at"]),
                    membership=member["membership"],
                    exchanges=member.get("exchanges"),
                    last_seen=time_seconds(member["last_seen"]) if "last_seen" in member else None,
                    plan=member.get("plan"),
                    created_at=time_seconds(member["created_at"]) if "created_at" in member else None,
                    shares=tuple(member.get("shares", ())),
                    evidence=dict(member.get("evidence", {})),
                )
                for member in data["members"]
            ),
            log_odds=data.get("log_odds", math.nan),
            evidence=_parse_evidence(data.get("evidence", ())),
            exchanges_per_hour=data.get("exchanges_per_hour", 0.0),
            extraction_share=data.get("extraction_share"),
            fingerprints=tuple(
                Fingerprint(one["kind"], one["value"], time_seconds(one["last_seen"]))
                for one in data.get("fingerprints", ())
            ),
            components=tuple(
                Component(one["share"], tuple(one["templates"]), one["asked_with"])
                for one in data.get("components", ())
            ),
        )
    except _UNREADABLE as error:
        raise DecodeError("not_a_campaign", repr(error)) from error


def _member(member: Member) -> MemberBody:
    found: MemberBody = {
        "account_id": member.account_id,
        "joined_at": time_text(member.joined_at),
        "left_at": None if member.left_at is None else time_text(member.left_at),
        "membership": _significant(member.membership),
    }
    if member.exchanges is not None:
        found["exchanges"] = member.exchanges
    if member.last_seen is not None:
        found["last_seen"] = time_text(member.last_seen)
    if member.plan is not None:
        found["plan"] = member.plan
    if member.created_at is not None:
        found["created_at"] = time_text(member.created_at)
    if member.shares:
        found["shares"] = list(member.shares)
    if member.evidence:
        found["evidence"] = dict(member.evidence)
    return found


def _fingerprint(fingerprint: Fingerprint) -> FingerprintBody:
    return {
        "kind": fingerprint.kind,
        "value": fingerprint.value,
        "last_seen": time_text(fingerprint.last_seen),
    }


def _component(component: Component) -> ComponentBody:
    return {
        "share": _significant(component.share),
        "templates": list(component.templates),
        "asked_with": {kind: dict(values) for kind, values in component.asked_with.items()},
    }


def _evidence(evidence: Iterable[Evidence]) -> list[EvidenceBody]:
    return [
        {
            "signal": term.signal,
            "contribution": _fixed(term.contribution),
            "observed": _significant(term.observed),
            "expected": _significant(term.expected),
            "text": term.text,
        }
        for term in evidence
    ]


def _parse_evidence(terms: Iterable[Json]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            signal=term["signal"],
            contribution=term["contribution"],
            observed=math.nan if term["observed"] is None else term["observed"],
            expected=math.nan if term["expected"] is None else term["expected"],
            text=term["text"],
        )
        for term in terms
    )


def _fixed(value: float) -> float:
    return round(float(value), _DECIMALS) + 0.0  # no negative zero


def _significant(value: float) -> float | None:
    number = float(value)
    return float(f"{number:.9g}") + 0.0 if math.isfinite(number) else None
