"""Whether everybody was told of every alert, and of nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from stream_guard.adapters.notify import verify
from stream_guard.encode import time_seconds
from tests.chaos.endpoints import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.chaos.compare import Difference, Key
    from tests.chaos.endpoints import Taken

URGENCY = {"info": "info", "warning": "ticket", "critical": "page"}
RANKS = ("info", "ticket", "page")


def never_told(alerts: Mapping[Key, frozenset[bytes]], taken: Iterable[Taken]) -> list[Key]:
    """Transitions that a webhook did not get."""
    names = {one.headers.get("idempotency-key") for one in taken}
    return sorted(key for key in alerts if _name(key) not in names)


def webhook(alerts: Mapping[Key, frozenset[bytes]], taken: Sequence[Taken], differs: Difference) -> None:
    """Every transition at least once, under its key, signed, the same each time; those of an alert in their order."""
    for key in never_told(alerts, taken):
        differs.alerts_lost += 1
        differs.told.append(f"alert never told to the webhook: {key}")
    want = {_name(key): {_plain(value) for value in values} for key, values in alerts.items()}
    seen: dict[str, str] = {}
    for one in taken:
        body = json.loads(one.body)
        name, said = body["notification_id"], _plain(json.dumps(body["alert"]))
        if one.headers.get("idempotency-key") != name or not verify(SECRET.encode(), one.headers, one.body, one.at):
            differs.mismatch(f"webhook: {name} came without its key or its signature")
        if name not in want or said not in want[name] or seen.setdefault(name, said) != said:
            differs.alerts_doubled += 1
            differs.told.append(f"webhook: {name} {'is none' if name not in want else 'says something else'}")
    for text in _out_of_order(taken):
        differs.mismatch(f"webhook: {text}")


def pager(alerts: Mapping[Key, frozenset[bytes]], taken: Sequence[Taken], differs: Difference) -> None:
    """What Alertmanager would show in the end: one open alert, under its gravest severity, where ours is open."""
    want: dict[str, tuple[str, ...]] = {}
    rank: defaultdict[str, int] = defaultdict(int)
    for (alert_id, _, status), values in sorted(alerts.items(), key=lambda item: item[0][1]):
        rank[alert_id] = max(rank[alert_id], RANKS.index(URGENCY[json.loads(min(values))["severity"]]))
        if status == "resolved":
            want[alert_id] = ()
            rank.pop(alert_id)
        else:
            want[alert_id] = (RANKS[rank[alert_id]],)
    open_until: dict[tuple[str, str], float] = {}
    for one in taken:
        for alert in json.loads(one.body):
            labels = alert["labels"]
            open_until[labels["alert_id"], labels["severity"]] = time_seconds(alert["endsAt"]) - one.at
    told = {alert_id for alert_id, _ in open_until}
    for alert_id in sorted(want.keys() | told):
        found = tuple(
            severity for (name, severity), left in sorted(open_until.items()) if name == alert_id and left > 0
        )
        if alert_id not in told:
            differs.alerts_lost += 1
            differs.told.append(f"alert never told to the pager: {alert_id}")
        elif found != want.get(alert_id):
            differs.mismatch(f"pager: {alert_id} is open as {found} instead of {want.get(alert_id)}")


def _out_of_order(taken: Sequence[Taken]) -> list[str]:
    """Transitions that came for the first time after a later one of the same alert."""
    told: set[str] = set()
    late: list[str] = []
    latest: dict[str, str] = {}
    for one in taken:
        body = json.loads(one.body)
        name, alert_id, at = body["notification_id"], body["alert"]["alert_id"], body["alert"]["at"]
        if name not in told and at < latest.get(alert_id, ""):
            late.append(f"{name} came after {latest[alert_id]}")
        told.add(name)
        latest[alert_id] = max(at, latest.get(alert_id, ""))
    return late


def _name(key: Key) -> str:
    alert_id, at, status = key
    return f"{alert_id}:{status}:{at}"


def _plain(value: bytes | str) -> str:
    found: Any = json.loads(value)
    return json.dumps(found, sort_keys=True)
