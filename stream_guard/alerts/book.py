"""The life of alerts: one per subject, whatever its size; fires once, is updated when it matters, resolves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stream_guard.alerts.severity import confidence_of, severity_of
from stream_guard.records import Alert, AlertStatus, Evidence, Scope, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stream_guard.alerts.subject import Subject
    from stream_guard.policy import Alerts

_LOUD = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)


@dataclass(frozen=True, slots=True)
class AlertState:
    """What must be remembered about one alert that is open: its last transition, and when it was last heard of."""

    alert: Alert
    seen_at: float
    snoozed_until: float = 0.0


class AlertBook:
    """Open alerts by subject. Pure: no I/O, no clock."""

    def __init__(self, policy: Alerts, quiet_seconds: float) -> None:
        self.open: dict[str, AlertState] = {}
        self._policy = policy
        self._quiet_seconds = quiet_seconds

    def review(self, subjects: Iterable[Subject], now: float) -> list[tuple[Alert, Subject]]:
        """Transitions that the subjects' present state calls for, in order of subject.

        An alert whose subject is not mentioned any more resolves after the quiet time.
        """
        transitions: list[tuple[Alert, Subject]] = []
        for subject in sorted(subjects, key=lambda item: (item.tenant, item.scope, item.subject_id)):
            alert = self._review(subject, now)
            if alert is not None:
                transitions.append((alert, subject))
        return transitions

    def overdue(self, now: float) -> list[Alert]:
        """Resolve the alerts about single accounts that have not been mentioned for the quiet time."""
        gone = [
            key
            for key, state in sorted(self.open.items())
            if state.alert.scope is Scope.ACCOUNT and now - state.seen_at >= self._quiet_seconds
        ]
        return [replace(self.open.pop(key).alert, status=AlertStatus.RESOLVED, at=now) for key in gone]

    def current(self, subject: Subject, now: float) -> Alert | None:
        """The open alert about a subject with the subject's present numbers; not a transition."""
        state = self.open.get(_key(subject.tenant, subject.subject_id))
        if state is None:
            return None
        return self._alert(state.alert.alert_id, subject, AlertStatus.UPDATED, now)

    def snooze(self, subject_id: str, tenant: str, until: float) -> bool:
        """Hold updates back until `until`; False when there is no such alert."""
        key = _key(tenant, subject_id)
        if key not in self.open:
            return False
        self.open[key] = replace(self.open[key], snoozed_until=until)
        return True

    def _review(self, subject: Subject, now: float) -> Alert | None:
        key = _key(subject.tenant, subject.subject_id)
        state = self.open.get(key)
        wanted = not subject.over and subject.verdict not in {Verdict.UNDETERMINED, Verdict.ORGANISATION}
        if state is None:
            if not wanted:
                return None
            alert = self._alert(_alert_id(key, now), subject, AlertStatus.FIRING, now)
            self.open[key] = AlertState(alert, now)
            return alert
        if not wanted:
            del self.open[key]
            return self._alert(state.alert.alert_id, subject, AlertStatus.RESOLVED, now)
        alert = self._alert(state.alert.alert_id, subject, AlertStatus.UPDATED, now)
        if self._news(state, alert, now):
            self.open[key] = replace(state, alert=alert, seen_at=now)
            return alert
        self.open[key] = replace(state, seen_at=now)
        return None

    def _news(self, state: AlertState, alert: Alert, now: float) -> bool:
        last = state.alert
        if now < state.snoozed_until:
            return False
        if alert.verdict is not last.verdict or _LOUD.index(alert.severity) > _LOUD.index(last.severity):
            return True
        growth = 1.0 + self._policy.update_growth
        grown = alert.members > growth * last.members or alert.exchanges > growth * last.exchanges
        return grown and now - last.at >= self._policy.update_min_seconds

    def _alert(self, alert_id: str, subject: Subject, status: AlertStatus, now: float) -> Alert:
        confidence = confidence_of(subject.log_odds)
        return Alert(
            alert_id=alert_id,
            tenant=subject.tenant,
            campaign_id=subject.campaign_id,
            scope=subject.scope,
            subject_id=subject.subject_id,
            status=status,
            at=now,
            first_seen=subject.first_seen,
            severity=severity_of(subject.verdict, confidence, subject.exchanges_per_hour, self._policy),
            verdict=subject.verdict,
            confidence=confidence,
            log_odds=subject.log_odds,
            evidence=subject.evidence,
            members=subject.members,
            exchanges=subject.exchanges,
            output_tokens=subject.output_tokens,
            exchanges_by_capability=subject.exchanges_by_capability,
            links=self._links(alert_id, subject),
        )

    def _links(self, alert_id: str, subject: Subject) -> dict[str, str]:
        links = {}
        if self._policy.console_url and subject.campaign_id:
            path = f"campaigns/{quote(subject.tenant, safe='')}/{quote(subject.campaign_id, safe='')}"
            links["console"] = f"{self._policy.console_url.rstrip('/')}/{path}"
        if self._policy.grafana_url:
            links["grafana"] = f"{self._policy.grafana_url.rstrip('/')}?var-alert={alert_id}"
        return links

    def dump(self) -> dict[str, dict[str, Any]]:
        """Plain data."""
        return {key: asdict(state) for key, state in self.open.items()}

    def load(self, data: Mapping[str, Mapping[str, Any]]) -> None:
        """Put back what `dump` gave."""
        self.open = {
            key: AlertState(_load_alert(state["alert"]), state["seen_at"], state["snoozed_until"])
            for key, state in data.items()
        }


def _load_alert(data: Mapping[str, Any]) -> Alert:
    return Alert(
        **{
            **data,
            "scope": Scope(data["scope"]),
            "status": AlertStatus(data["status"]),
            "severity": Severity(data["severity"]),
            "verdict": Verdict(data["verdict"]),
            "evidence": tuple(Evidence(**term) for term in data["evidence"]),
        }
    )


def _key(tenant: str, subject_id: str) -> str:
    return f"{tenant}\x1f{subject_id}"


def _alert_id(key: str, now: float) -> str:
    return "alr_" + blake2b(f"{key}\x1f{now:.3f}".encode(), digest_size=8).hexdigest()
