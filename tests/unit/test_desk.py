"""Suspicions in, alerts and decisions out, with people in between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream_guard.desk import BOOKS_KEY, Desk
from stream_guard.errors import StateError
from stream_guard.policy import Decisions, Policy
from stream_guard.records import (
    Action,
    AlertStatus,
    Campaign,
    DecisionStatus,
    Feedback,
    FeedbackLabel,
    Kind,
    Operation,
    Outputs,
    Scope,
    Suspicion,
    Verdict,
)
from tests.support.events import DAY, START, bundle, suspicion

POLICY = Policy(decisions=Decisions(dry_run=False))
MEMBERS = [f"a-{number}" for number in range(20)]


def step(desk: Desk, number: int, *suspicions: Suspicion) -> Outputs:
    return desk.evaluate(10 * number, START + 600.0 * number, [bundle(10 * number, *suspicions)])


def confirm(desk: Desk, number: int, *suspicions: Suspicion) -> Outputs:
    """Halfway after the step of that number."""
    again = replace(bundle(10 * number + 5, *suspicions), confirming=True)
    return desk.evaluate(10 * number + 5, START + 600.0 * number + 300.0, [again])


def fired() -> tuple[Desk, Campaign]:
    desk = Desk(POLICY)
    for number in range(3):
        outputs = step(desk, number, suspicion(1, MEMBERS))
    return desk, outputs.campaigns[0]


def lonely(key: str) -> Suspicion:
    return suspicion(99, [key], kind=Kind.ACCOUNT, anchors=())


def test_one_firing_alert_and_one_limit_for_all_members() -> None:
    desk = Desk(POLICY)
    outputs = [step(desk, number, suspicion(1, MEMBERS)) for number in range(12)]
    alerts = [alert for output in outputs for alert in output.alerts]
    assert [alert.status for alert in alerts].count(AlertStatus.FIRING) == 1
    (first,) = [alert for alert in alerts if alert.status is AlertStatus.FIRING]
    assert sum(term.contribution for term in first.evidence) == pytest.approx(first.log_odds, abs=1e-6)
    assert [term.signal for term in first.evidence].count("prior") == 1
    limits = [item for output in outputs for item in output.decisions if item.action is Action.LIMIT]
    assert {item.decision_id for item in limits} == {limits[0].decision_id}
    assert set(limits[0].accounts) == set(MEMBERS)
    assert limits[0].scope is Scope.CAMPAIGN


def test_a_candidate_that_is_judged_again_fires_halfway() -> None:
    desk = Desk(POLICY)
    assert step(desk, 0, suspicion(1, MEMBERS, log_odds=1.2)).alerts == []
    outputs = confirm(desk, 0, suspicion(1, MEMBERS, log_odds=1.2))
    assert [alert.status for alert in outputs.alerts] == [AlertStatus.FIRING]
    assert {decision.status for decision in outputs.decisions} == {DecisionStatus.ACTIVE}


@pytest.mark.parametrize("again", [[], [suspicion(1, MEMBERS, log_odds=0.5)], [suspicion(2, MEMBERS, log_odds=2.0)]])
def test_what_is_judged_again_refutes_nothing(again: list[Suspicion]) -> None:
    desk = Desk(POLICY)
    step(desk, 0, suspicion(1, MEMBERS, log_odds=1.2))
    assert confirm(desk, 0, *again) == Outputs(5)
    assert [alert.status for alert in step(desk, 1, suspicion(1, MEMBERS, log_odds=1.2)).alerts] == [AlertStatus.FIRING]


def test_what_is_judged_again_leaves_other_campaigns_as_they_are() -> None:
    desk, _ = fired()
    others = [f"b-{number}" for number in range(20)]
    step(desk, 3, suspicion(1, MEMBERS), suspicion(2, others, log_odds=1.2))
    before = dict(desk.decisions.decisions)
    outputs = confirm(desk, 3, suspicion(2, others, log_odds=1.2))
    assert len(outputs.campaigns) == 2
    assert {key: desk.decisions.decisions[key].status for key in before} == {
        key: decision.status for key, decision in before.items()
    }
    assert all(desk.decisions.decisions[key].expires_at >= decision.expires_at for key, decision in before.items())


def test_a_false_positive_resolves_the_alert_and_releases_the_decision() -> None:
    desk, campaign = fired()
    outputs = desk.feedback(
        Feedback(FeedbackLabel.FALSE_POSITIVE, "ann", "our own test", START + 2_000.0, campaign_id=campaign.campaign_id)
    )
    assert [alert.status for alert in outputs.alerts] == [AlertStatus.RESOLVED]
    assert {(item.status, item.actor) for item in outputs.decisions} == {(DecisionStatus.RELEASED, "ann")}
    assert "our own test" in outputs.decisions[0].reason
    later = step(desk, 5, suspicion(1, MEMBERS))
    assert (list(later.alerts), list(later.decisions)) == ([], [])


def test_a_true_positive_keeps_what_was_decided() -> None:
    desk, campaign = fired()
    outputs = desk.feedback(
        Feedback(FeedbackLabel.TRUE_POSITIVE, "ann", "", START + 2_000.0, campaign_id=campaign.campaign_id)
    )
    assert outputs.decisions == []
    assert outputs.campaigns[0].verdict is Verdict.EXTRACTION_CAMPAIGN


def test_feedback_about_an_account_spares_it() -> None:
    desk, _ = fired()
    desk.feedback(Feedback(FeedbackLabel.FALSE_POSITIVE, "ann", "", START + 2_000.0, account_id="a-3"))
    (made,) = desk.decisions.review(
        [desk._standing(alert, subject, campaign) for alert, subject, campaign in _standing_parts(desk)],
        desk.campaigns.traffic,
        START + 9_000.0,
    )
    assert "a-3" not in made.accounts
    assert "a-4" in made.accounts


def _standing_parts(desk: Desk):  # type: ignore[no-untyped-def] # noqa: ANN202 # what the desk puts together
    for campaign in desk.finished():
        subject = desk._subject(campaign)
        alert = desk.alerts.current(subject, START + 9_000.0)
        if alert is not None:
            yield alert, subject, campaign


def test_feedback_about_nothing_known_is_no_output() -> None:
    outputs = Desk(POLICY).feedback(Feedback(FeedbackLabel.RESELLER, "ann", "", START, campaign_id="cmp_x"))
    assert (list(outputs.alerts), list(outputs.decisions), list(outputs.campaigns)) == ([], [], [])


def test_an_account_alone_has_its_own_alert_and_a_member_of_a_fired_campaign_has_none() -> None:
    desk, _ = fired()
    outputs = step(desk, 3, suspicion(1, MEMBERS), lonely("a-7"), lonely("loner"))
    assert [(alert.subject_id, alert.scope, alert.verdict) for alert in outputs.alerts] == [
        ("loner", Scope.ACCOUNT, Verdict.SINGLE_ACCOUNT)
    ]
    assert outputs.alerts[0].campaign_id is None


def test_the_end_of_a_campaign_resolves_its_alert_and_lets_the_decision_run_out() -> None:
    desk, campaign = fired()
    at = START + 1_200.0 + POLICY.campaigns.resolve_after_seconds
    outputs = desk.evaluate(9_000, at, [bundle(9_000)])
    assert [(alert.status, alert.campaign_id) for alert in outputs.alerts] == [
        (AlertStatus.RESOLVED, campaign.campaign_id)
    ]
    assert {item.status for item in outputs.decisions} == {DecisionStatus.EXPIRED}


def test_accounts_older_than_the_campaign_are_asked_first() -> None:
    desk = Desk(POLICY)
    created = [START - 400 * DAY if number == 0 else START - 3 * DAY for number in range(20)]
    for number in range(3):
        made = suspicion(1, MEMBERS)
        for row, key in zip(made.rows, made.keys, strict=True):
            row["created_at"] = created[MEMBERS.index(key)]
        outputs = step(desk, number, made)
    del outputs
    by_subject = {decision.subject_id: decision for decision in desk.decisions.decisions.values()}
    assert by_subject["a-0"].action is Action.VERIFY


def test_snoozed_alerts_stay_open() -> None:
    desk, campaign = fired()
    operation = Operation("1", "snooze", "default", "campaign", campaign.campaign_id, "ann", "", START, START + 9_999.0)
    assert desk.operate(operation) == Outputs(-1)
    (state,) = desk.alerts.open.values()
    assert state.snoozed_until == START + 9_999.0


def test_a_stored_desk_says_what_the_first_one_would_have_said() -> None:
    desk, campaign = fired()
    desk.operate(Operation("1", "allow", "default", "account", "a-2", "ann", "", START + 1_300.0, None))
    states = desk.dump()
    again = Desk(POLICY)
    again.load((key, state) for key, state in states.items() if state is not None)
    growing = suspicion(1, [*MEMBERS, *(f"b-{number}" for number in range(20))])
    for number in range(3, 15):
        assert step(again, number, growing) == step(desk, number, growing)
    said = Feedback(FeedbackLabel.ORGANISATION, "ann", "", START + 1e5, campaign_id=campaign.campaign_id)
    assert again.feedback(said) == desk.feedback(said)
    assert again.dump()[BOOKS_KEY] == desk.dump()[BOOKS_KEY]


@pytest.mark.parametrize("broken", [b"", b"\xc1", b"\x80", b"\x90", b"\x81\xa7version\x02", b"\x81\xa7version\x01"])
def test_books_that_cannot_be_read_are_refused(broken: bytes) -> None:
    with pytest.raises(StateError):
        Desk(POLICY).load([(BOOKS_KEY, broken)])
