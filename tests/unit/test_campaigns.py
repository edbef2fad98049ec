"""Identity, members and explanation of campaigns, from suspicions made up for the purpose."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from stream_guard.campaigns import CampaignsStage
from stream_guard.campaigns.explanation import explain
from stream_guard.campaigns.grouping import group_suspicions
from stream_guard.campaigns.identity import match
from stream_guard.errors import StateError
from stream_guard.policy import Policy
from stream_guard.records import Campaign, Feedback, FeedbackLabel, Kind, Suspicion, Verdict
from tests.support.events import DAY, START, bundle, suspicion

POLICY = Policy()


def keys(prefix: str, count: int = 20) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def step(stage: CampaignsStage, number: int, *suspicions: Suspicion) -> list[Campaign]:
    return stage.apply(10 * number, START + 600.0 * number, [bundle(10 * number, *suspicions)])


def members(campaign: Campaign) -> set[str]:
    return {member.account_id for member in campaign.members if member.left_at is None}


def test_the_id_outlives_every_account_through_a_lasting_fingerprint() -> None:
    stage = CampaignsStage(POLICY)
    (first,) = step(stage, 0, suspicion(1, keys("a")))
    step(stage, 1, suspicion(1, keys("a", 10) + keys("b", 10), now=START + 600.0))
    (last,) = step(stage, 2, suspicion(1, keys("b"), now=START + 1_200.0))
    assert last.campaign_id == first.campaign_id
    later = START + 5 * DAY
    stage.apply(9_000, later, [bundle(9_000, suspicion(1, keys("c"), now=later))])
    (campaign,) = stage.finished()
    assert campaign.campaign_id == first.campaign_id
    assert members(campaign) == set(keys("c"))
    assert {member.account_id for member in campaign.members} == {*keys("a"), *keys("b"), *keys("c")}


def test_the_id_outlives_every_fingerprint_through_the_accounts() -> None:
    stage = CampaignsStage(POLICY)
    (first,) = step(stage, 0, suspicion(1, keys("a")))
    (second,) = step(stage, 1, suspicion(2, keys("a"), kind=Kind.PAYMENT))
    assert second.campaign_id == first.campaign_id


def test_strangers_are_two_campaigns_and_their_ids_do_not_depend_on_the_order() -> None:
    ids = []
    for turn in (1, -1):
        stage = CampaignsStage(POLICY)
        found = step(stage, 0, *[suspicion(1, keys("a")), suspicion(2, keys("b"))][::turn])
        ids.append({campaign.campaign_id: members(campaign) for campaign in found})
    assert ids[0] == ids[1]
    assert sorted(map(sorted, ids[0].values())) == [sorted(keys("a")), sorted(keys("b"))]


def test_campaigns_that_turn_out_to_be_one_keep_the_oldest_id() -> None:
    stage = CampaignsStage(POLICY)
    (old,) = step(stage, 0, suspicion(1, keys("a")))
    for number in (1, 2):
        two = step(stage, number, suspicion(1, keys("a")), suspicion(2, keys("b")))
    (young,) = [campaign for campaign in two if campaign.campaign_id != old.campaign_id]
    found = step(stage, 3, suspicion(3, keys("a") + keys("b"), kind=Kind.PAYMENT))
    by_id = {campaign.campaign_id: campaign for campaign in found}
    assert by_id[young.campaign_id].merged_into == old.campaign_id
    assert members(by_id[old.campaign_id]) == {*keys("a"), *keys("b")}
    (alone,) = step(stage, 4, suspicion(3, keys("a") + keys("b"), kind=Kind.PAYMENT))
    assert alone.campaign_id == old.campaign_id


def test_groups_that_stay_apart_become_campaigns_of_their_own() -> None:
    stage = CampaignsStage(POLICY)
    (whole,) = step(stage, 0, suspicion(1, keys("a") + keys("b")))
    number, parts = 0, [whole]
    while len(parts) == 1 and number < 40:
        number += 1
        parts = step(stage, number, suspicion(2, keys("a"), kind=Kind.PAYMENT), suspicion(3, keys("b"), kind=Kind.TLS))
    assert number > 2  # not for a moment's separation
    (child,) = [campaign for campaign in parts if campaign.campaign_id != whole.campaign_id]
    (parent,) = [campaign for campaign in parts if campaign.campaign_id == whole.campaign_id]
    assert child.split_from == whole.campaign_id
    assert {frozenset(members(parent)), frozenset(members(child))} == {frozenset(keys("a")), frozenset(keys("b"))}


def test_log_odds_are_the_sum_of_the_evidence_and_the_prior_stands_once() -> None:
    suspicions = [
        suspicion(1, keys("a")),
        suspicion(2, keys("a", 15), kind=Kind.PAYMENT, log_odds=1.7),
        suspicion(3, keys("a", 9), kind=Kind.TLS, log_odds=0.31),
    ]
    log_odds, evidence = explain(suspicions)
    assert sum(term.contribution for term in evidence) == pytest.approx(log_odds, abs=1e-6)
    names = [term.signal for term in evidence]
    assert names.count("prior") == 1
    assert len(set(names)) == len(names)
    sizes = [abs(term.contribution) for term in evidence]
    assert sizes == sorted(sizes, reverse=True)
    assert {"agreement", "breadth"} <= set(names)
    assert next(term for term in evidence if term.signal == "prior").contribution == -6.0
    alone, terms = explain(suspicions[:1])
    assert alone == pytest.approx(suspicions[0].log_odds, abs=1e-6)
    assert {term.signal for term in terms} == {"prior", "even_counts", "shared_template"}


def terms(*suspicions: Suspicion) -> dict[str, float]:
    return {term.signal: term.contribution for term in explain(suspicions)[1]}


def test_what_one_program_shows_is_one_cause_and_the_same_members_are_no_second_group() -> None:
    """An app that goes viral sends one header set, one prompt template, and is all that its new users share."""
    app = [suspicion(1, keys("a"), kind=kind) for kind in (Kind.TLS, Kind.HEADER, Kind.TEMPLATE, Kind.SYSTEM_PROMPT)]
    assert not {"agreement", "breadth"} & set(terms(*app))
    cohort = [suspicion(2, keys("a"), kind=kind) for kind in (Kind.CLIENT_COHORT, Kind.COHORT)]
    assert terms(*app, *cohort)["agreement"] == pytest.approx(0.5)
    assert terms(*app, *cohort, suspicion(3, keys("a"), kind=Kind.PAYMENT))["agreement"] == pytest.approx(1.0)


def test_breadth_counts_groups_that_have_other_members() -> None:
    cards = [suspicion(number, keys(f"c{number}"), kind=Kind.PAYMENT) for number in range(8)]
    everyone = suspicion(1, [key for number in range(8) for key in keys(f"c{number}")], kind=Kind.CLIENT)
    assert terms(*cards)["breadth"] == pytest.approx(0.75)
    assert terms(*cards, everyone)["breadth"] == pytest.approx(0.75)  # it holds the same accounts once more
    assert "breadth" not in terms(cards[0], suspicion(9, keys("c0"), kind=Kind.PAYMENT))


def test_groups_join_by_members_or_by_what_is_too_rare_to_be_chance() -> None:
    rare = ((int(Kind.ADDRESS), 9, 1.0, 1e-5), (int(Kind.TLS), 8, 1.0, 1e-5))
    common = ((int(Kind.ADDRESS), 9, 1.0, 0.6), (int(Kind.TLS), 8, 1.0, 0.6))
    policy = POLICY.campaigns
    sharing = [suspicion(1, keys("a")), suspicion(2, keys("a", 12) + keys("b", 8))]
    assert group_suspicions(sharing, policy) == [[0, 1]]
    chain = [*sharing, suspicion(3, keys("b", 8) + keys("c", 4))]
    assert group_suspicions(chain, policy) == [[0, 1, 2]]
    for anchors, expected in ((rare, [[0, 1]]), (common, [[0], [1]])):
        cards = [suspicion(number, keys(f"c{number}"), kind=Kind.PAYMENT, anchors=anchors) for number in (1, 2)]
        assert group_suspicions(cards, policy) == expected
    assert group_suspicions([], policy) == []


def test_matching_follows_chains_of_merges() -> None:
    known = {name: (frozenset({name}), frozenset[str]()) for name in ("old", "middle", "young")}
    matching = match(
        [(frozenset({"middle", "young"}), frozenset()), (frozenset({"old", "middle"}), frozenset())], known
    )
    assert dict(matching.merged) == {"middle": "old", "young": "old"}
    assert dict(matching.of_campaign) == {"old": (0, 1)}
    assert matching.new == ()


def test_a_candidate_below_the_least_size_is_no_campaign() -> None:
    assert step(CampaignsStage(POLICY), 0, suspicion(1, keys("a", POLICY.campaigns.min_members - 1))) == []


def test_a_campaign_is_undetermined_until_it_convinced_often_enough() -> None:
    stage = CampaignsStage(POLICY)
    found = suspicion(1, keys("a"), log_odds=POLICY.campaigns.fire_log_odds + 1.0)
    verdicts = [step(stage, number, found)[0].verdict for number in range(3)]
    needed = POLICY.campaigns.fire_evaluations
    assert verdicts[: needed - 1] == [Verdict.UNDETERMINED] * (needed - 1)
    assert set(verdicts[needed - 1 :]) == {Verdict.EXTRACTION_CAMPAIGN}


def test_who_was_taken_in_before_anything_was_convincing_has_to_be_judged_again() -> None:
    stage = CampaignsStage(POLICY)
    (guess,) = step(stage, 0, suspicion(1, keys("a") + keys("b"), log_odds=POLICY.campaigns.fire_log_odds - 0.5))
    assert members(guess) == {*keys("a"), *keys("b")}
    convincing = suspicion(1, keys("a"), log_odds=POLICY.campaigns.fire_log_odds + 1.0)
    for number in range(1, 1 + POLICY.campaigns.fire_evaluations):
        (campaign,) = step(stage, number, convincing)
    assert campaign.verdict is Verdict.EXTRACTION_CAMPAIGN
    assert {member.account_id for member in campaign.members} == set(keys("a"))


def test_who_joined_while_it_was_convincing_stays_though_one_evaluation_does_not_name_it() -> None:
    stage = CampaignsStage(POLICY)
    strong = POLICY.campaigns.fire_log_odds + 1.0
    step(stage, 0, suspicion(1, keys("a") + keys("b"), log_odds=strong))
    (campaign,) = step(stage, 1, suspicion(1, keys("a"), log_odds=strong))
    assert members(campaign) == {*keys("a"), *keys("b")}


@pytest.mark.parametrize(("above", "verdict"), [(-0.1, Verdict.UNDETERMINED), (0.1, Verdict.EXTRACTION_CAMPAIGN)])
def test_overwhelming_evidence_need_not_stay(above: float, verdict: Verdict) -> None:
    found = suspicion(1, keys("a"), log_odds=POLICY.campaigns.fire_at_once_log_odds + above)
    (campaign,) = step(CampaignsStage(POLICY), 0, found)
    assert campaign.verdict is verdict


def test_joined_at_is_when_the_detector_attached_the_account() -> None:
    stage = CampaignsStage(POLICY)
    step(stage, 0, suspicion(1, keys("a")))
    (campaign,) = step(stage, 1, suspicion(1, keys("a", 21)))
    joined = {member.account_id: member.joined_at for member in campaign.members}
    assert joined["a-0"] == START
    assert joined["a-20"] == START + 600.0


def test_exchanges_count_once_however_many_groups_name_an_account() -> None:
    stage = CampaignsStage(POLICY)
    groups = suspicion(1, keys("a")), suspicion(2, keys("a"), kind=Kind.PAYMENT)
    (campaign,) = step(stage, 0, *groups)
    (campaign,) = step(stage, 1, *groups)
    assert campaign.exchanges == 20 * 100
    assert campaign.output_tokens == 20 * 50_000
    assert campaign.exchanges_by_capability == {"reasoning": 2_000}


def test_the_honest_past_of_an_old_account_is_not_the_campaigns() -> None:
    stage = CampaignsStage(POLICY)
    step(stage, 0, suspicion(1, keys("a"), created_at=START - 400 * DAY))
    (campaign,) = step(stage, 1, suspicion(1, keys("a"), created_at=START - 400 * DAY, events=130))
    assert campaign.exchanges == 20 * 30


def test_a_campaign_ends_when_its_quiet_lasts_and_comes_back_under_its_id() -> None:
    stage = CampaignsStage(POLICY)
    for number in range(3):
        (campaign,) = step(stage, number, suspicion(1, keys("a")))
    over = START + 1_200.0 + POLICY.campaigns.resolve_after_seconds
    (quiet,) = stage.apply(50, over - 60.0, [bundle(50)])
    assert not stage.ledgers[campaign.campaign_id].ended
    assert members(quiet) == set(keys("a"))
    (ended,) = stage.apply(60, over, [bundle(60)])
    assert stage.ledgers[campaign.campaign_id].ended
    assert members(ended) == set()
    assert stage.apply(61, over + 60.0, [bundle(61)]) == []
    (back,) = stage.apply(70, over + 600.0, [bundle(70, suspicion(1, keys("b"), now=over + 600.0))])
    assert back.campaign_id == campaign.campaign_id


def test_a_candidate_that_never_fired_leaves_nothing_behind() -> None:
    stage = CampaignsStage(POLICY)
    (campaign,) = step(stage, 0, suspicion(1, keys("a"), log_odds=0.1))
    stage.apply(99, START + 2 * POLICY.campaigns.resolve_after_seconds, [bundle(99)])
    assert stage.finished() == []
    assert stage.dump(stage.dirty) == {b"c" + campaign.campaign_id.encode(): None}


def test_a_persons_judgement_stays() -> None:
    stage = CampaignsStage(POLICY)
    for number in range(3):
        (campaign,) = step(stage, number, suspicion(1, keys("a")))
    said = Feedback(FeedbackLabel.RESELLER, "ann", "known", START, campaign_id=campaign.campaign_id)
    judged = stage.judge(said)
    assert judged is not None
    assert judged.verdict is Verdict.RESELLER_POOL
    assert step(stage, 4, suspicion(1, keys("a")))[0].verdict is Verdict.RESELLER_POOL
    assert stage.judge(Feedback(FeedbackLabel.RESELLER, "ann", "", START, campaign_id="cmp_unknown")) is None


def test_stored_campaigns_come_back_and_go_on_alike() -> None:
    stage, again = CampaignsStage(POLICY), CampaignsStage(POLICY)
    for number in range(3):
        step(stage, number, suspicion(1, keys("a")), suspicion(2, keys("b")))
    for state in stage.dump(stage.ledgers).values():
        assert state is not None
        again.load(state)
    assert again.dump(again.ledgers) == stage.dump(stage.ledgers)
    assert step(again, 4, suspicion(3, keys("a") + keys("b"))) == step(stage, 4, suspicion(3, keys("a") + keys("b")))


@pytest.mark.parametrize(
    "broken", [b"", b"\xc1", b"\x80", b"\x81\xa7version\x02", b"\x90", b"\x82\xa7version\x01\xa6ledger\x80"]
)
def test_a_campaign_that_cannot_be_read_is_refused(broken: bytes) -> None:
    with pytest.raises(StateError):
        CampaignsStage(POLICY).load(broken)


def resold(value: int, names: list[str], now: float) -> Suspicion:
    return replace(suspicion(value, names, now=now), resold=True)


def test_groups_that_agree_about_resale_are_no_campaign() -> None:
    stage = CampaignsStage(POLICY)
    for number in range(4):
        now = START + 600.0 * number
        kinds = (Kind.PAYMENT, Kind.CLIENT, Kind.ADDRESS, Kind.COHORT)
        groups = [replace(suspicion(1, keys("a"), now=now, kind=kind), resold=True) for kind in kinds]
        (campaign,) = step(stage, number, *groups)
        assert campaign.log_odds >= POLICY.campaigns.fire_log_odds
        assert campaign.verdict is Verdict.RESELLER_POOL


def test_what_an_ended_campaign_takes_over_is_stored_too() -> None:
    stage, stored = CampaignsStage(POLICY), dict[bytes, bytes | None]()
    for number in range(4):
        step(stage, number, suspicion(1, keys("a")))
    later = START + 2 * POLICY.campaigns.resolve_after_seconds
    stage.apply(4_000, later, [bundle(4_000, resold(2, keys("b"), later))])
    (old, young) = stage.finished()
    stored.update(stage.dump(stage.dirty))
    stage.dirty.clear()
    both = keys("a") + keys("b")
    stage.apply(4_010, later + 600.0, [bundle(4_010, resold(1, both, later), resold(2, both, later))])
    assert stage.ledgers[young.campaign_id].merged_into == old.campaign_id
    stored.update(stage.dump(stage.dirty))
    assert stored == stage.dump(stage.ledgers)


def test_campaigns_that_became_one_share_no_member_books() -> None:
    """Or the younger one's record would go on changing until the next restart, and stop then."""
    stage = CampaignsStage(POLICY)
    for number in range(4):
        step(stage, number, suspicion(1, keys("a")), suspicion(2, keys("b")))
    step(stage, 4, suspicion(1, keys("a") + keys("b")), suspicion(2, keys("a") + keys("b")))
    (younger,) = [ledger for ledger in stage.ledgers.values() if ledger.merged_into is not None]
    older = stage.ledgers[younger.merged_into or ""]
    shared = younger.members.keys() & older.members.keys()
    assert shared
    assert not [key for key in shared if younger.members[key] is older.members[key]]


def test_a_campaign_says_what_its_members_share_and_how_much_each_asked() -> None:
    (found,) = step(CampaignsStage(POLICY), 0, suspicion(7, keys("a"), kind=Kind.PAYMENT))
    ((kind, value),) = {(one.kind, one.value) for one in found.fingerprints}
    assert (kind, int(value, 16)) == ("payment", 7)
    assert sum(member.exchanges or 0 for member in found.members) == found.exchanges


def test_a_members_own_evidence_sums_to_its_membership_and_says_what_it_shares() -> None:
    everyone = keys("a", 10)
    by_card = replace(suspicion(7, everyone, kind=Kind.PAYMENT, log_odds=3.6), names={(int(Kind.PLAN), 5): "pro"})
    by_card.rows["values"][:, Kind.PLAN] = 5
    by_template = suspicion(3, everyone[:8], log_odds=3.6)
    (found,) = step(CampaignsStage(POLICY), 0, by_card, by_template)
    shares = {member.account_id: member.shares for member in found.members}
    assert shares == {key: ("payment", "template") if key in everyone[:8] else ("payment",) for key in shares}
    assert everyone[0] in shares
    for member in found.members:
        log_odds = math.log(member.membership / (1.0 - member.membership))
        assert sum(member.evidence.values()) == pytest.approx(log_odds, abs=0.05)  # all of it is rounded
        assert {"groups", "billing"} <= member.evidence.keys()
        assert member.plan == "pro"
        assert member.created_at == START - 3.0 * DAY
