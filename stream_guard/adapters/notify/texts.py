"""Alerts in words, and as Alertmanager wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stream_guard.encode import time_seconds, time_text

if TYPE_CHECKING:
    from stream_guard.records import Json

HOLDS_SECONDS: Final = 900.0  # how long Alertmanager keeps an alert that nobody repeats
_CLOCKS_DIFFER_SECONDS: Final = 10.0
_URGENCY: Final = {"info": "info", "warning": "ticket", "critical": "page"}  # as in deploy/alertmanager
_RANKS: Final = ("info", "ticket", "page")
_KINDS: Final = {"info": "info", "warning": "warning", "critical": "failure"}
_REASONS: Final = 3


def alertmanager_alert(alert: Json | None, known: Json | None, now: float) -> Json:
    """An alert for Alertmanager's API v2.

    Args:
        alert: the contract's alert; None = nothing new, `known` goes on.
        known: what Alertmanager was told before; its labels stay but for a severity that rises.
        now: Unix seconds.
    """
    holds = time_text(now + HOLDS_SECONDS)
    if alert is None:
        return {**(known or {}), "endsAt": holds}
    severity = _URGENCY[alert["severity"]]
    if known is not None:
        severity = max(severity, known["labels"]["severity"], key=_RANKS.index)
    labels = {
        "alertname": f"StreamGuard{alert['subject']['scope'].capitalize()}",
        "alert_id": alert["alert_id"],
        "tenant": alert.get("tenant", "default"),
        "severity": severity,
    }
    if alert["campaign_id"] is not None:
        labels["campaign_id"] = alert["campaign_id"]
    title, text, _ = title_and_text(alert)
    annotations = {"summary": title, "description": text, "verdict": alert["verdict"]}
    annotations |= {f"{name}_url": url for name, url in alert["links"].items()}
    starts = known["startsAt"] if known is not None else time_text(min(now, time_seconds(alert["first_seen"])))
    found: Json = {
        "labels": labels,
        "annotations": annotations,
        "startsAt": starts,
        "endsAt": ended(starts, now) if alert["status"] == "resolved" else holds,
    }
    if "console" in alert["links"]:
        found["generatorURL"] = alert["links"]["console"]
    return found


def ended(starts: str, now: float) -> str:
    """The end of an alert that is over: a little in the past.

    An end that is still to come by Alertmanager's clock loses against the later end that it was told before, and the
    alert would stay open until then.
    """
    return time_text(max(time_seconds(starts), now - _CLOCKS_DIFFER_SECONDS))


def title_and_text(alert: Json) -> tuple[str, str, str]:
    """Title, text and Apprise's kind of message."""
    subject = f"{alert['subject']['scope']} {alert['subject']['id']}"
    verdict = alert["verdict"].replace("_", " ")
    resolved = alert["status"] == "resolved"
    title = f"{'Resolved' if resolved else alert['severity'].capitalize()}: {verdict}, {subject}"
    counts = f"{alert['members']:,} accounts, {alert['exchanges']:,} exchanges, confidence {alert['confidence']:.0%}"
    reasons = [term["text"] for term in alert["evidence"] if term["signal"] != "prior" and term["contribution"] > 0.0]
    links = [f"{name}: {url}" for name, url in alert["links"].items()]
    text = "\n".join([counts, *(f"- {reason}" for reason in reasons[:_REASONS]), *links])
    return title, text, "success" if resolved else _KINDS[alert["severity"]]
