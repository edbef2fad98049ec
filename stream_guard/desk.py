"""From suspicions to what leaves the system: campaigns, then alerts, then decisions, in one step an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from stream_guard.alerts import AlertBook, Subject, subject_of_account, subject_of_campaign
from stream_guard.campaigns import CampaignsStage
from stream_guard.decisions import DecisionBook, Standing
from stream_guard.errors import StateError
from stream_guard.records import Alert, Campaign, Decision, Feedback, Operation, Outputs, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stream_guard.policy import Policy
    from stream_guard.records import SuspicionBundle

STATE_VERSION = 1
BOOKS_KEY = b"books"
_DAY_SECONDS = 86_400.0


class Desk:
    """Campaigns, alerts and decisions of one suspicions partition. Pure: no I/O, no clock."""

    def __init__(self, policy: Policy) -> None:
        self.campaigns = CampaignsStage(policy)
        self.alerts = AlertBook(policy.alerts, policy.campaigns.resolve_after_seconds)
        self.decisions = DecisionBook(policy.decisions)
        self.now = float("-inf")
        self._policy = policy

    def evaluate(self, epoch: int, now: float, bundles: Sequence[SuspicionBundle]) -> Outputs:
        """Take one evaluation in, from every clusters partition."""
        self.now = max(self.now, now)
        if any(bundle.confirming for bundle in bundles):
            changed = self.campaigns.confirm(epoch, now, bundles)
            if not changed:
                return Outputs(epoch)
        else:
            changed = self.campaigns.apply(epoch, now, bundles)
        subjects = [self._subject(campaign) for campaign in changed] + self._alone()
        transitions = self.alerts.review(subjects, now)
        alerts = [alert for alert, _ in transitions] + self.alerts.overdue(now)
        by_id = {campaign.campaign_id: campaign for campaign in changed}
        standings = []
        for subject in subjects:
            alert = self.alerts.current(subject, now)
            if alert is not None:
                standings.append(self._standing(alert, subject, by_id.get(subject.subject_id)))
        decisions = self.decisions.review(standings, self.campaigns.traffic, now)
        return Outputs(epoch, alerts, decisions, changed)

    def feedback(self, feedback: Feedback) -> Outputs:
        """A person's judgement: the verdict changes, and what a wrong alert led to is released at once."""
        self.now = max(self.now, feedback.ts)
        if feedback.account_id is not None:
            operation = Operation(
                f"feedback-{feedback.ts}",
                "disallow" if feedback.label == "true_positive" else "allow",
                feedback.tenant,
                "account",
                feedback.account_id,
                feedback.actor,
                feedback.reason,
                feedback.ts,
            )
            return self.operate(operation)
        campaign = self.campaigns.judge(feedback)
        if campaign is None:
            return Outputs(-1)
        open_alert = self.alerts.current(self._subject(campaign), self.now)
        transitions = self.alerts.review([self._subject(campaign)], self.now)
        decisions: list[Decision] = []
        if open_alert is not None and feedback.label != "true_positive":
            reason = f"{feedback.label}: {feedback.reason}"
            decisions = self.decisions.release_alert(open_alert.alert_id, feedback.actor, reason, self.now)
        return Outputs(-1, [alert for alert, _ in transitions], decisions, [campaign])

    def operate(self, operation: Operation) -> Outputs:
        """Carry out an operator's action."""
        if operation.action == "snooze":
            until = operation.expires_at or operation.ts + _DAY_SECONDS
            self.alerts.snooze(operation.subject_id, operation.tenant, until)
            return Outputs(-1)
        return Outputs(-1, decisions=self.decisions.operate(operation))

    def finished(self) -> list[Campaign]:
        """Every campaign as it stands."""
        return self.campaigns.finished()

    def _subject(self, campaign: Campaign) -> Subject:
        ledger = self.campaigns.ledgers.get(campaign.campaign_id)
        return subject_of_campaign(campaign, over=ledger is None or ledger.ended)

    def _alone(self) -> list[Subject]:
        """Single accounts that are not part of a campaign that already has an alert."""
        subjects = []
        for suspicion in self.campaigns.alone.values():
            campaign = self.campaigns.member_of(suspicion.keys[0], suspicion.tenant)
            if campaign is None or not self.campaigns.ledgers[campaign].fired:
                subjects.append(subject_of_account(suspicion))
        return subjects

    def _standing(self, alert: Alert, subject: Subject, campaign: Campaign | None) -> Standing:
        if campaign is None or alert.scope is Scope.ACCOUNT:
            return Standing(alert, [subject.subject_id], [], subject.exchanges_per_hour)
        ledger = self.campaigns.ledgers[campaign.campaign_id]
        before = ledger.first_seen - self._policy.decisions.softer_for_established_days * _DAY_SECONDS
        present = [(key, member) for key, member in ledger.members.items() if member.left_at is None]
        return Standing(
            alert,
            sorted(key.rpartition("\x1f")[2] for key, _ in present),
            sorted(key.rpartition("\x1f")[2] for key, member in present if member.created_at < before),
            subject.exchanges_per_hour,
        )

    def dump(self) -> dict[bytes, bytes | None]:
        """Changed campaigns, and the books of alerts and decisions, as msgpack."""
        states = self.campaigns.dump(self.campaigns.dirty)
        states[BOOKS_KEY] = msgspec.msgpack.encode(
            {
                "version": STATE_VERSION,
                "now": self.now,
                "alerts": self.alerts.dump(),
                "decisions": self.decisions.dump(),
                "traffic": self.campaigns.traffic,
            }
        )
        return states

    def load(self, states: Iterable[tuple[bytes, bytes]]) -> None:
        """Put back what `dump` gave.

        Raises:
            StateError: something is of another version or not readable.
        """
        for key, data in states:
            if key != BOOKS_KEY:
                self.campaigns.load(data)
                continue
            try:
                books: dict[str, Any] = msgspec.msgpack.decode(data)
                if books["version"] != STATE_VERSION:
                    raise StateError(
                        f"books of alerts and decisions: version {books['version']} is not {STATE_VERSION}"
                    )
                self.alerts.load(books["alerts"])
                self.decisions.load(books["decisions"])
                self.campaigns.traffic = {tenant: tuple(value) for tenant, value in books["traffic"].items()}
                self.now = books["now"]
            except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
                raise StateError("books of alerts and decisions: not readable") from error
