"""What the console's pages say, from records alone."""

from __future__ import annotations

import pytest

from stream_guard.app import dossier
from stream_guard.app.console import facts
from stream_guard.encode import campaign_object, decision_object
from stream_guard.policy import Decisions
from stream_guard.records import Evidence, Fingerprint, Member, Verdict
from tests.support.made import AT, campaign, decision


def test_bars_are_on_one_scale_and_the_sum_is_exact() -> None:
    terms = campaign_object(campaign())["evidence"]
    first, _, last = facts.bars(terms)
    assert (first.x, first.width) == (150.0, 150.0)
    assert last.x + last.width == 150.0
    assert last.width / first.width == pytest.approx(3.0 / 4.123456789012, abs=1e-3)
    assert facts.total(terms) == pytest.approx(campaign().log_odds, abs=1e-6)


def test_members_come_in_pages() -> None:
    made = campaign_object(campaign(members=tuple(Member(f"a{n:03}", AT, None, 0.9) for n in range(120))))
    first, pages = facts.members(made, 1)
    last, _ = facts.members(made, 99)
    assert (len(first), len(last), pages) == (50, 20, 3)


def test_similar_campaigns_have_similar_evidence() -> None:
    mine = campaign_object(campaign())
    alike = campaign_object(campaign(campaign_id="cmp_2"))
    other = campaign_object(campaign(campaign_id="cmp_3", evidence=(Evidence("growth", 1.0, 0.0, 0.0, ""),)))
    ((share, found),) = dossier.similar(mine, [mine, alike, other])
    assert share == pytest.approx(1.0)
    assert found["campaign_id"] == "cmp_2"


def test_the_ladder_says_which_rung_is_taken_and_why_none() -> None:
    policy = Decisions()
    sure = dossier.ladder(policy, campaign_object(campaign(log_odds=5.0)))
    assert [text for _, text in sure] == [*["passed: a higher one is reached"] * 2, "now, for 1 members"]
    pool = dossier.ladder(policy, campaign_object(campaign(log_odds=5.0, verdict=Verdict.RESELLER_POOL)))
    assert {text for _, text in pool} == {"never: nothing is decided about reseller pool"}


def test_the_timeline_has_members_exchanges_and_what_happened() -> None:
    made = campaign_object(campaign())
    drawn = facts.timeline(made, [(AT - 3_600.0, 0, 0), (AT, 10, 1)], [decision_object(decision())], [], None)
    assert [mark.text for mark in drawn.marks] == ["first seen", "decision: limit, active"]
    assert drawn.exchanges == "8.0,152.0 632.0,16.0"
    assert drawn.most == 2


def test_fingerprints_are_shown_by_kind() -> None:
    shared = [Fingerprint("client", "01", AT), Fingerprint("payment", "02", AT), Fingerprint("payment", "03", AT)]
    found = facts.shared(campaign_object(campaign(fingerprints=tuple(shared))))
    assert [(kind, [one["value"] for one in values]) for kind, values in found] == [
        ("payment", ["02", "03"]),
        ("client", ["01"]),
    ]
    assert facts.shared(campaign_object(campaign())) == []


def test_the_dry_run_by_plan_spares_who_is_allowed_and_asks_who_is_established() -> None:
    old, new = AT - 200.0 * 86_400.0, AT - 86_400.0
    members = (
        Member("a1", AT, None, 0.9, plan="free", created_at=new),
        Member("a2", AT, None, 0.9, plan="free", created_at=old),
        Member("a3", AT, None, 0.9, plan="free", created_at=new),
        Member("a4", AT, None, 0.9, plan="team", created_at=old),
        Member("a5", AT, None, 0.9),
        Member("a6", AT, AT, 0.9, plan="gone"),
    )
    made = campaign_object(campaign(members=members))
    allowed = [{"scope": "account", "id": "a3"}, {"scope": "campaign", "id": "cmp_other"}]
    found = dossier.by_plan(Decisions(), made, allowed)
    assert [(one.plan, one.members, one.spared, one.established) for one in found] == [
        ("free", 3, 1, 1),
        ("", 1, 0, 0),
        ("team", 1, 0, 1),
    ]
    assert found[0].rungs == ["observe 1", "slow 1, ask 1 to verify", "limit 1, ask 1 to verify"]
    spared = dossier.by_plan(Decisions(), made, [{"scope": "campaign", "id": "cmp_1"}])
    assert {text for one in spared for text in one.rungs} == {"observe 0", "slow 0", "limit 0"}


def test_a_members_evidence_is_told_in_words_strongest_first() -> None:
    evidence = {"groups": -0.5, "billing": 2.0, "client": -0.75, "behaviour": 1.25}
    (member,) = campaign_object(campaign(members=(Member("a", AT, None, 0.9, evidence=evidence),)))["members"]
    assert facts.member_terms(member) == [
        ("billing like the core's", 2.0),
        ("behaves like the core, not like everyone else", 1.25),
        ("client unlike the core's", -0.75),
        ("the suspicious groups it is in", -0.5),
    ]
    assert facts.member_terms({"account_id": "a"}) == []
