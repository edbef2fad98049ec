"""The life of decisions: taken, held, renewed while the alert stands, released with grace, expired.

Order of the checks: allow-list, ladder, blast radius, dry run. A person's release wins over the ladder for a day, a
person's approval over the blast radius for as long as the decision lives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from stream_guard.decisions.ladder import Reach, hold_reason, rung_for
from stream_guard.records import Action, Alert, Decision, DecisionStatus, Operation, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stream_guard.policy import Decisions, Rung

_AUTOMATIC = "stream_guard"
_RELEASED_SECONDS = 86_400.0
_RENEW_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Standing:
    """An open alert with whom it reaches: the input of a review."""

    alert: Alert
    accounts: Sequence[str]
    established: Sequence[str]
    exchanges_per_hour: float


class DecisionBook:
    """Decisions by subject. Pure: no I/O, no clock."""

    def __init__(self, policy: Decisions) -> None:
        self.decisions: dict[str, Decision] = {}
        self.allowed: dict[str, float] = {}
        self._policy = policy
        self._released: dict[str, float] = {}
        self._approved: set[str] = set()

    def review(
        self, standings: Iterable[Standing], traffic: Mapping[str, tuple[int, float]], now: float
    ) -> list[Decision]:
        """Decisions that change now: new, renewed, held, released, expired."""
        changed: list[Decision] = []
        wanted: set[str] = set()
        for standing in sorted(standings, key=lambda item: item.alert.alert_id):
            for key, decision in self._decide(standing, traffic.get(standing.alert.tenant, (0, 0.0)), now):
                wanted.add(key)
                if self._is_news(self.decisions.get(key), decision, now):
                    self.decisions[key] = decision
                    changed.append(decision)
        for key, decision in list(self.decisions.items()):
            if key in wanted:
                continue
            if now >= decision.expires_at:
                changed.append(self._close(key, DecisionStatus.EXPIRED, "time ran out", _AUTOMATIC, now))
            elif decision.expires_at - now > self._policy.release_grace_seconds:
                # The alert has resolved: let the decision run out after the grace time instead of at once.
                self.decisions[key] = replace(decision, at=now, expires_at=now + self._policy.release_grace_seconds)
                changed.append(self.decisions[key])
        return changed

    def operate(self, operation: Operation) -> list[Decision]:
        """Carry out what a person asked for; the decisions that change at once."""
        subject = f"{operation.tenant}\x1f{operation.subject_id}"
        if operation.action == "allow":
            self.allowed[subject] = operation.expires_at or float("inf")
            return self._release(operation, subject)
        if operation.action == "disallow":
            self.allowed.pop(subject, None)
            return []
        if operation.action == "release":
            self._released[subject] = operation.ts + _RELEASED_SECONDS
            return self._release(operation, subject)
        if operation.action == "approve":
            return self._approve(operation)
        return []

    def release_alert(self, alert_id: str, actor: str, reason: str, now: float) -> list[Decision]:
        """Release everything that an alert led to, at once: a person said that it was wrong."""
        return [
            self._close(key, DecisionStatus.RELEASED, reason, actor, now)
            for key, decision in list(self.decisions.items())
            if decision.alert_id == alert_id
        ]

    def _decide(self, standing: Standing, traffic: tuple[int, float], now: float) -> Iterable[tuple[str, Decision]]:
        alert = standing.alert
        rung = rung_for(alert, self._policy)
        if rung is None or self._is_spared(alert.tenant, alert.subject_id, now):
            return
        if alert.subject_id in self._policy.allow_campaigns or alert.subject_id in self._policy.allow_accounts:
            return
        accounts = [account for account in standing.accounts if not self._is_allowed(alert.tenant, account, now)]
        if not accounts:
            return
        reach = Reach(len(accounts), traffic[0], standing.exchanges_per_hour, traffic[1])
        key = f"{alert.tenant}\x1f{alert.subject_id}\x1f{rung.action}"
        reason = f"{alert.verdict} at confidence {alert.confidence:.2f}"
        held = "" if key in self._approved else hold_reason(rung, reach, self._policy)
        firm = [account for account in accounts if account not in set(standing.established)]
        if firm:
            yield (
                key,
                self._new(
                    key, alert, alert.scope, alert.subject_id, rung, held or reason, now, held=bool(held), accounts=firm
                ),
            )
        for account in standing.established:
            if account in accounts and rung.action in {Action.SLOW, Action.LIMIT, Action.SUSPEND_REQUEST}:
                own = f"{alert.tenant}\x1f{account}\x1f{Action.VERIFY}"
                softer = rung.model_copy(update={"action": Action.VERIFY, "requests_per_minute": None})
                text = f"established account in {alert.subject_id}: ask its owner before limiting it"
                yield (
                    own,
                    self._new(own, alert, Scope.ACCOUNT, account, softer, text, now, held=False, accounts=[account]),
                )

    def _new(  # noqa: PLR0913, PLR0917 - a decision has this many independent parts
        self,
        key: str,
        alert: Alert,
        scope: Scope,
        subject_id: str,
        rung: Rung,
        reason: str,
        now: float,
        *,
        held: bool,
        accounts: Sequence[str],
    ) -> Decision:
        old = self.decisions.get(key)
        return Decision(
            decision_id=old.decision_id if old else _decision_id(key, now),
            alert_id=alert.alert_id,
            campaign_id=alert.campaign_id,
            tenant=alert.tenant,
            scope=scope,
            subject_id=subject_id,
            action=rung.action,
            requests_per_minute=rung.requests_per_minute,
            at=now,
            expires_at=now + rung.ttl_seconds,
            simulated=self._policy.dry_run,
            status=DecisionStatus.HELD if held else DecisionStatus.ACTIVE,
            reason=reason,
            evidence_hash=evidence_hash(alert),
            actor=old.actor if old and key in self._approved else _AUTOMATIC,
            accounts=tuple(sorted(accounts)),
        )

    def _is_news(self, old: Decision | None, new: Decision, now: float) -> bool:
        if old is None or old.status is not new.status:
            return True
        half_gone = old.expires_at - now < _RENEW_SHARE * (new.expires_at - now)
        return half_gone or (new.status is DecisionStatus.ACTIVE and bool(set(new.accounts) - set(old.accounts)))

    def _is_spared(self, tenant: str, subject_id: str, now: float) -> bool:
        released = self._released.get(f"{tenant}\x1f{subject_id}", 0.0) > now
        return released or self._is_allowed(tenant, subject_id, now)

    def _is_allowed(self, tenant: str, subject_id: str, now: float) -> bool:
        return subject_id in self._policy.allow_accounts or self.allowed.get(f"{tenant}\x1f{subject_id}", 0.0) > now

    def _approve(self, operation: Operation) -> list[Decision]:
        for key, decision in self.decisions.items():
            if _is_named(decision, operation) and decision.status is DecisionStatus.HELD:
                self._approved.add(key)
                self.decisions[key] = replace(
                    decision,
                    status=DecisionStatus.ACTIVE,
                    actor=operation.actor,
                    reason=operation.reason,
                )
                return [self.decisions[key]]
        return []

    def _release(self, operation: Operation, subject: str) -> list[Decision]:
        released = []
        for key, decision in list(self.decisions.items()):
            named = _is_named(decision, operation)
            if named:  # or the next review would take the same decision again
                self._released[f"{decision.tenant}\x1f{decision.subject_id}"] = operation.ts + _RELEASED_SECONDS
            if named or key.startswith(f"{subject}\x1f"):
                released.append(
                    self._close(key, DecisionStatus.RELEASED, operation.reason, operation.actor, operation.ts)
                )
        return released

    def _close(self, key: str, status: DecisionStatus, reason: str, actor: str, now: float) -> Decision:
        decision = self.decisions.pop(key)
        self._approved.discard(key)
        return replace(decision, status=status, reason=reason, actor=actor, at=now)

    def dump(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "decisions": {key: asdict(decision) for key, decision in self.decisions.items()},
            "allowed": self.allowed,
            "released": self._released,
            "approved": sorted(self._approved),
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Put back what `dump` gave."""
        self.decisions = {
            key: Decision(
                **{
                    **decision,
                    "scope": Scope(decision["scope"]),
                    "action": Action(decision["action"]),
                    "status": DecisionStatus(decision["status"]),
                    "accounts": tuple(decision["accounts"]),
                }
            )
            for key, decision in data["decisions"].items()
        }
        self.allowed = dict(data["allowed"])
        self._released = dict(data["released"])
        self._approved = set(data["approved"])


def _is_named(decision: Decision, operation: Operation) -> bool:
    """Ids are no secret: an operator of one tenant reaches nothing of another by knowing one."""
    return decision.decision_id == operation.subject_id and decision.tenant == operation.tenant


def evidence_hash(alert: Alert) -> str:
    """Hash of the evidence that a decision rests on, for the audit."""
    text = "\n".join(f"{term.signal}={term.contribution:.6f}" for term in alert.evidence)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _decision_id(key: str, now: float) -> str:
    return "dec_" + blake2b(f"{key}\x1f{now:.3f}".encode(), digest_size=8).hexdigest()
