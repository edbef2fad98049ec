"""Members of a campaign are told from their honest neighbours by what they do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stream_guard.campaigns.likeness import Likeness
from stream_guard.campaigns.membership import judge_members
from stream_guard.records import Kind
from tests.support.events import honest_rows, pool_rows, suspicion

PEOPLE, _ = honest_rows(300, 9)


def test_the_pool_behaves_like_its_core_and_people_like_everyone() -> None:
    pool, _ = pool_rows(40, 1)
    people, _ = honest_rows(40, 2)
    rows = np.concatenate((pool, people))
    ratio = Likeness(rows, PEOPLE).ratio(np.repeat([1.0, 0.0], 40))
    assert np.median(ratio[:40]) > 1.0
    assert np.median(ratio[40:]) < -1.0
    assert (ratio[:40] > ratio[40:].max()).mean() > 0.9


def test_nobody_vouches_for_himself() -> None:
    """Eight people who happen to stand together are like everyone, however well their own mean fits them."""
    people, generator = PEOPLE.copy(), np.random.default_rng(4)
    for name in ("out_mean", "in_mean", "gap_mean"):
        people[name] = generator.normal(5.0, 1.0, len(people))
    eights = people[: len(people) // 8 * 8].reshape(-1, 8)
    ratios = np.array([Likeness(eight, people).ratio(np.ones(8)) for eight in eights])
    assert ratios.mean() < 0.0


def test_a_core_of_equals_can_be_compared() -> None:
    rows = np.repeat(pool_rows(1, 1)[0], 8)
    rows["topic"][0] = 89
    rows["gap_mean"], rows["gap_mean"][0] = 0.1, 0.7  # the other seven have no variance, but for rounding
    everyone = PEOPLE.copy()
    everyone["topic"] = 0
    with np.errstate(invalid="raise", divide="raise"):
        ratio = Likeness(rows, everyone).ratio(np.full(8, 0.93))
    assert np.isfinite(ratio).all()
    assert ratio[1:].min() > ratio[0]


def test_a_core_that_asks_what_everyone_asks_says_nothing() -> None:
    people = PEOPLE.copy()
    people["evidence_events"], people["created_at"] = 0, np.nan  # prompts and capabilities alone
    assert not Likeness(people, people).ratio(np.ones(len(people))).any()


def test_without_a_reference_or_without_a_core_behaviour_says_nothing() -> None:
    pool, _ = pool_rows(40, 1)
    assert not Likeness(pool, PEOPLE[:10]).ratio(np.ones(40)).any()
    assert not Likeness(pool, PEOPLE).ratio(np.zeros(40)).any()


def test_an_account_that_has_hardly_been_used_is_judged_by_its_age_alone() -> None:
    rows, _ = pool_rows(40, 1)
    rows["evidence_events"][0] = rows["prompts"][0] = 1
    rows["capability"][0] = 0.0
    rows["created_at"][0] = np.nan
    assert Likeness(rows, PEOPLE).ratio(np.ones(40))[0] == 0.0


def test_honest_neighbours_behind_the_same_proxy_stay_out_even_where_they_are_more_than_the_pool() -> None:
    pool, pool_keys = pool_rows(20, 1)
    people, people_keys = honest_rows(60, 2)
    rows, keys = np.concatenate((pool, people)), [*pool_keys, *people_keys]
    order = np.argsort(rows["account"])
    proxy = replace(
        suspicion(7, keys, kind=Kind.ASN, anchors=()), rows=rows[order], keys=[keys[index] for index in order.tolist()]
    )
    own = np.argsort(pool["account"])
    template = replace(
        suspicion(8, pool_keys, anchors=()), rows=pool[own], keys=[pool_keys[index] for index in own.tolist()]
    )
    crowd = judge_members([proxy, template], PEOPLE)
    kept = {key for key, probability in zip(crowd.keys, crowd.probability, strict=True) if probability >= 0.5}
    assert kept == set(pool_keys)


def test_where_no_account_is_in_several_kinds_of_groups_the_strongest_say_what_members_show() -> None:
    pool, pool_keys = pool_rows(9, 1)
    people, people_keys = honest_rows(5, 2)
    people["values"][:, Kind.COUNTRY] = pool["values"][:, Kind.COUNTRY] = 3
    rows, keys = np.concatenate((pool, people)), [*pool_keys, *people_keys]
    order, own = np.argsort(rows["account"]), np.argsort(pool["account"])
    country = replace(
        suspicion(7, keys, kind=Kind.CLIENT_COUNTRY, log_odds=0.0, anchors=((int(Kind.COUNTRY), 3, 1.0, 0.1),)),
        rows=rows[order],
        keys=[keys[index] for index in order.tolist()],
    )
    cohort = replace(
        suspicion(
            8, pool_keys, kind=Kind.CLIENT_COHORT, log_odds=1.4, anchors=((int(Kind.COHORT), 31_337, 1.0, 1e-4),)
        ),
        rows=pool[own],
        keys=[pool_keys[index] for index in own.tolist()],
    )
    crowd = judge_members([country, cohort], PEOPLE[:0])
    kept = {key for key, probability in zip(crowd.keys, crowd.probability, strict=True) if probability >= 0.5}
    assert kept == set(pool_keys)
