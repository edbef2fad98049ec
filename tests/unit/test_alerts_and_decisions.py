"""The life of alerts and decisions, one rule a test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream_guard.alerts import AlertBook, Subject, confidence_of
from stream_guard.alerts.severity import severity_of
from stream_guard.decisions import DecisionBook, Standing
from stream_guard.policy import Alerts, Decisions
from stream_guard.records import (
    Action,
    AlertStatus,
    DecisionStatus,
    Evidence,
    Operation,
    Scope,
    Severity,
    Verdict,
)
from tests.support.made import alert

T = 1_760_000_000.0
TRAFFIC = {"default": (1_000, 10_000.0)}


def subject(**changes: object) -> Subject:
    made = Subject(
        tenant="default",
        scope=Scope.CAMPAIGN,
        subject_id="cmp_1",
        campaign_id="cmp_1",
        verdict=Verdict.EXTRACTION_CAMPAIGN,
        log_odds=4.0,
        evidence=(Evidence("x", 4.0, 1.0, 0.0, "x"),),
        first_seen=T - 60.0,
        members=20,
        exchanges=1_000,
        output_tokens=10,
        exchanges_by_capability={},
        exchanges_per_hour=10.0,
        over=False,
        over_reason="",
    )
    return replace(made, **changes)  # type: ignore[arg-type] # fields of a subject


class TestAlertBook:
    def statuses(self, book: AlertBook, now: float, **changes: object) -> list[AlertStatus]:
        return [made.status for made, _ in book.review([subject(**changes)], now)]

    def test_fires_once_however_often_it_is_reviewed(self) -> None:
        book = AlertBook(Alerts(), 3_600.0)
        found = [status for number in range(50) for status in self.statuses(book, T + 600.0 * number)]
        assert found == [AlertStatus.FIRING]

    def test_is_updated_when_it_has_grown_enough_and_not_too_soon(self) -> None:
        policy = Alerts(update_growth=0.5, update_min_seconds=3_600.0)
        book = AlertBook(policy, 3_600.0)
        self.statuses(book, T)
        assert self.statuses(book, T + 600.0, members=31) == []
        assert self.statuses(book, T + 3_600.0, members=30) == []
        assert self.statuses(book, T + 3_600.0, members=31) == [AlertStatus.UPDATED]
        assert self.statuses(book, T + 9_000.0, members=31, exchanges=1_501) == [AlertStatus.UPDATED]

    def test_louder_or_another_verdict_is_news_at_once_and_quieter_is_none(self) -> None:
        book = AlertBook(Alerts(), 3_600.0)
        self.statuses(book, T)
        assert self.statuses(book, T + 1.0, exchanges_per_hour=1e6) == [AlertStatus.UPDATED]
        assert self.statuses(book, T + 2.0) == []
        assert self.statuses(book, T + 3.0, verdict=Verdict.RESELLER_POOL) == [AlertStatus.UPDATED]

    @pytest.mark.parametrize(
        "ending", [{"over": True}, {"verdict": Verdict.UNDETERMINED}, {"verdict": Verdict.ORGANISATION}]
    )
    def test_resolves_once_and_a_new_alert_has_a_new_id(self, ending: dict[str, object]) -> None:
        book = AlertBook(Alerts(), 3_600.0)
        first = book.review([subject()], T)[0][0]
        resolved = book.review([subject(**ending)], T + 60.0)[0][0]
        assert (resolved.alert_id, resolved.status) == (first.alert_id, AlertStatus.RESOLVED)
        assert book.review([subject(**ending)], T + 120.0) == []
        again = book.review([subject()], T + 180.0)[0][0]
        assert again.status is AlertStatus.FIRING
        assert again.alert_id != first.alert_id

    def test_an_undetermined_subject_never_fires(self) -> None:
        assert self.statuses(AlertBook(Alerts(), 3_600.0), T, verdict=Verdict.UNDETERMINED) == []

    def test_an_account_that_is_not_mentioned_any_more_resolves_after_the_quiet_time(self) -> None:
        book = AlertBook(Alerts(), 3_600.0)
        book.review([subject(scope=Scope.ACCOUNT, subject_id="a", campaign_id=None), subject()], T)
        assert book.overdue(T + 3_599.0) == []
        assert [(made.subject_id, made.status) for made in book.overdue(T + 3_600.0)] == [("a", AlertStatus.RESOLVED)]
        assert book.overdue(T + 9_000.0) == []

    def test_snoozing_holds_updates_back_but_not_the_end(self) -> None:
        book = AlertBook(Alerts(), 3_600.0)
        assert not book.snooze("cmp_1", "default", T)
        self.statuses(book, T)
        assert book.snooze("cmp_1", "default", T + 1_000.0)
        assert self.statuses(book, T + 10.0, verdict=Verdict.RESELLER_POOL) == []
        assert self.statuses(book, T + 20.0, over=True) == [AlertStatus.RESOLVED]

    def test_links_where_configured(self) -> None:
        book = AlertBook(Alerts(console_url="https://c/", grafana_url="https://g"), 3_600.0)
        made = book.review([subject()], T)[0][0]
        assert made.links["console"] == "https://c/campaigns/default/cmp_1"
        assert made.alert_id in made.links["grafana"]

    def test_confidence_is_the_logistic_of_the_log_odds(self) -> None:
        assert confidence_of(0.0) == 0.5
        assert confidence_of(800.0) == 1.0
        assert confidence_of(-800.0) == 0.0
        assert confidence_of(2.0) + confidence_of(-2.0) == pytest.approx(1.0)

    @pytest.mark.parametrize(
        ("verdict", "confidence", "per_hour", "severity"),
        [
            (Verdict.EXTRACTION_CAMPAIGN, 0.9, 1_000.0, Severity.CRITICAL),
            (Verdict.EXTRACTION_CAMPAIGN, 0.79, 1e9, Severity.WARNING),
            (Verdict.EXTRACTION_CAMPAIGN, 0.99, 1.0, Severity.WARNING),
            (Verdict.SINGLE_ACCOUNT, 1.0, 1e9, Severity.WARNING),
            (Verdict.RESELLER_POOL, 1.0, 1e9, Severity.INFO),
            (Verdict.ORGANISATION, 1.0, 1e9, Severity.INFO),
        ],
    )
    def test_only_a_sure_and_fast_campaign_pages(
        self, verdict: Verdict, confidence: float, per_hour: float, severity: Severity
    ) -> None:
        assert severity_of(verdict, confidence, per_hour, Alerts()) is severity

    def test_the_book_comes_back_as_it_was(self) -> None:
        book, again = AlertBook(Alerts(), 3_600.0), AlertBook(Alerts(), 3_600.0)
        book.review([subject()], T)
        book.snooze("cmp_1", "default", T + 9.0)
        again.load(book.dump())
        assert again.open == book.open


class TestDecisionBook:
    LIVE = Decisions(dry_run=False)

    def standing(
        self, confidence: float = 0.95, accounts: int = 20, established: tuple[str, ...] = (), **changes: object
    ) -> Standing:
        made = alert(confidence=confidence, status=AlertStatus.UPDATED, **changes)
        return Standing(made, [f"a{number:02}" for number in range(accounts)], established, 100.0)

    def operation(self, action: str, subject_id: str = "cmp_1", **changes: object) -> Operation:
        made = Operation("op", action, "default", "campaign", subject_id, "ann", "because", T + 10.0, None)
        return replace(made, **changes)  # type: ignore[arg-type] # fields of an operation

    @pytest.mark.parametrize(
        ("confidence", "action"),
        [(0.49, None), (0.5, Action.OBSERVE), (0.75, Action.SLOW), (0.9, Action.LIMIT), (1.0, Action.LIMIT)],
    )
    def test_the_ladder(self, confidence: float, action: Action | None) -> None:
        found = DecisionBook(self.LIVE).review([self.standing(confidence)], TRAFFIC, T)
        assert [made.action for made in found] == ([action] if action else [])

    @pytest.mark.parametrize("verdict", [Verdict.ORGANISATION, Verdict.RESELLER_POOL, Verdict.UNDETERMINED])
    def test_honest_kinds_of_groups_are_left_alone(self, verdict: Verdict) -> None:
        assert DecisionBook(self.LIVE).review([self.standing(verdict=verdict)], TRAFFIC, T) == []

    def test_dry_run_is_the_default_and_marks_everything(self) -> None:
        assert [made.simulated for made in DecisionBook(Decisions()).review([self.standing()], TRAFFIC, T)] == [True]
        assert [made.simulated for made in DecisionBook(self.LIVE).review([self.standing()], TRAFFIC, T)] == [False]

    def test_the_allow_list_comes_first(self) -> None:
        for policy in (
            Decisions(allow_campaigns=("cmp_1",)),
            Decisions(allow_accounts=tuple(f"a{number:02}" for number in range(20))),
        ):
            assert DecisionBook(policy).review([self.standing()], TRAFFIC, T) == []
        (made,) = DecisionBook(Decisions(allow_accounts=("a03",))).review([self.standing()], TRAFFIC, T)
        assert "a03" not in made.accounts
        assert len(made.accounts) == 19
        book = DecisionBook(self.LIVE)
        book.operate(self.operation("allow", "a04"))
        assert "a04" not in book.review([self.standing()], TRAFFIC, T)[0].accounts
        book.operate(self.operation("disallow", "a04"))
        assert "a04" in DecisionBook.review(book, [self.standing()], TRAFFIC, T + 1.0)[0].accounts

    def test_an_allowance_ends(self) -> None:
        book = DecisionBook(self.LIVE)
        book.operate(self.operation("allow", expires_at=T + 100.0))
        assert book.review([self.standing()], TRAFFIC, T + 99.0) == []
        assert len(book.review([self.standing()], TRAFFIC, T + 101.0)) == 1

    @pytest.mark.parametrize(
        "policy",
        [
            Decisions(dry_run=False, max_accounts=19),
            Decisions(dry_run=False, max_share_of_accounts=0.019),
            Decisions(dry_run=False, max_share_of_traffic=0.009),
        ],
    )
    def test_a_wide_decision_waits_for_a_person(self, policy: Decisions) -> None:
        book = DecisionBook(policy)
        (held,) = book.review([self.standing()], TRAFFIC, T)
        assert held.status is DecisionStatus.HELD
        assert "blast radius" in held.reason
        assert book.review([self.standing()], TRAFFIC, T + 60.0) == []
        (approved,) = book.operate(self.operation("approve", held.decision_id))
        assert (approved.status, approved.actor, approved.decision_id) == (
            DecisionStatus.ACTIVE,
            "ann",
            held.decision_id,
        )
        assert book.operate(self.operation("approve", held.decision_id)) == []
        renewed = book.review([self.standing()], TRAFFIC, T + 3_000.0)
        assert [(made.status, made.actor) for made in renewed] == [(DecisionStatus.ACTIVE, "ann")]

    def test_observing_never_waits(self) -> None:
        (made,) = DecisionBook(Decisions(max_accounts=1)).review([self.standing(0.6)], TRAFFIC, T)
        assert made.status is DecisionStatus.ACTIVE

    def test_renewed_while_the_alert_stands_and_expired_after_it(self) -> None:
        book = DecisionBook(Decisions(dry_run=False, release_grace_seconds=600.0))
        (first,) = book.review([self.standing()], TRAFFIC, T)
        assert first.expires_at == T + 3_600.0
        assert book.review([self.standing()], TRAFFIC, T + 600.0) == []
        (renewed,) = book.review([self.standing()], TRAFFIC, T + 2_400.0)
        assert (renewed.decision_id, renewed.expires_at) == (first.decision_id, T + 6_000.0)
        (fading,) = book.review([], TRAFFIC, T + 2_500.0)
        assert fading.expires_at == T + 3_100.0
        assert book.review([], TRAFFIC, T + 2_600.0) == []
        (expired,) = book.review([], TRAFFIC, T + 3_100.0)
        assert expired.status is DecisionStatus.EXPIRED
        assert book.decisions == {}

    def test_newcomers_are_reached_at_once(self) -> None:
        book = DecisionBook(self.LIVE)
        book.review([self.standing()], TRAFFIC, T)
        assert book.review([self.standing(accounts=19)], TRAFFIC, T + 60.0) == []
        (made,) = book.review([self.standing(accounts=21)], TRAFFIC, T + 60.0)
        assert len(made.accounts) == 21

    @pytest.mark.parametrize("by_id", [True, False])
    def test_what_a_person_released_stays_released_for_a_day(self, by_id: bool) -> None:  # noqa: FBT001 # a parameter
        book = DecisionBook(self.LIVE)
        (made,) = book.review([self.standing()], TRAFFIC, T)
        (released,) = book.operate(self.operation("release", made.decision_id if by_id else "cmp_1"))
        assert (released.status, released.actor, released.reason) == (DecisionStatus.RELEASED, "ann", "because")
        assert book.review([self.standing()], TRAFFIC, T + 600.0) == []
        assert book.review([self.standing()], TRAFFIC, T + 86_000.0) == []
        assert len(book.review([self.standing()], TRAFFIC, T + 86_411.0)) == 1

    def test_established_accounts_are_asked_not_limited(self) -> None:
        found = DecisionBook(self.LIVE).review([self.standing(established=("a01",))], TRAFFIC, T)
        by_subject = {made.subject_id: made for made in found}
        assert "a01" not in by_subject["cmp_1"].accounts
        own = by_subject["a01"]
        assert (own.action, own.scope, own.requests_per_minute) == (Action.VERIFY, Scope.ACCOUNT, None)

    def test_a_wrong_alert_releases_everything_it_led_to(self) -> None:
        book = DecisionBook(self.LIVE)
        book.review([self.standing(established=("a01",))], TRAFFIC, T)
        released = book.release_alert("alr_1", "ann", "no", T + 5.0)
        assert [made.status for made in released] == [DecisionStatus.RELEASED] * 2
        assert book.decisions == {}

    def test_unknown_operations_change_nothing(self) -> None:
        assert DecisionBook(self.LIVE).operate(self.operation("dance")) == []

    def test_the_hash_tells_the_evidence_apart(self) -> None:
        first = DecisionBook(self.LIVE).review([self.standing()], TRAFFIC, T)[0]
        other = self.standing(evidence=(Evidence("x", 1.0, 0.0, 0.0, ""),))
        assert first.evidence_hash != DecisionBook(self.LIVE).review([other], TRAFFIC, T)[0].evidence_hash

    def test_the_book_comes_back_as_it_was(self) -> None:
        book, again = DecisionBook(self.LIVE), DecisionBook(self.LIVE)
        book.review([self.standing(established=("a01",))], TRAFFIC, T)
        book.operate(self.operation("allow", "a09"))
        book.operate(self.operation("release"))
        again.load(book.dump())
        assert again.dump() == book.dump()
        assert again.decisions == book.decisions
