"""What tells a resold pool from a campaign that is bound as closely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stream_guard.clusters import SIGNALS, ClustersStage
from stream_guard.clusters.groups import form_groups
from stream_guard.clusters.population import Population
from stream_guard.clusters.resale import explained_by_resale, looks_resold, worth_a_report
from stream_guard.clusters.signals.content import prompt_difference
from stream_guard.clusters.view import GroupView
from stream_guard.policy import Policy
from stream_guard.records import Kind, Suspicion
from tests.support.events import CORPORATE, DISPOSABLE, START, delta, honest_rows, pool_rows

if TYPE_CHECKING:
    from tests.support.events import Rows

PRIOR = -6.0
CARD = 4_242
ALIKE, OTHERS = 0, 60  # by how much the topic bits of the pool are moved
RESOLD = {
    "billing_reuse": 0.9,
    "binding": 3.0,
    "one_organisation": 1.0,
    "institution": 0.25,
    "shared_template": 0.04,
    "capability_focus": 0.2,
}


def people_and_pool(size: int, moved: int) -> Rows:
    """People, and a pool that shares a card; what the pool asks is what people ask, or moved away from it."""
    people, _ = honest_rows(1_500, 1)
    pool, _ = honest_rows(size, 2)
    pool["values"][:, Kind.PAYMENT] = CARD
    pool["topic"] += np.int8(moved)
    rows = np.concatenate((people, pool))
    rows["prompts"] = 20
    return rows[np.argsort(rows["account"])]


def view_of(rows: Rows, *cards: int) -> GroupView:
    groups = form_groups(rows, 5, 0, 1)
    chosen = np.isin(groups.fingerprint, [(Kind.PAYMENT << 32) | card for card in cards])
    return GroupView(rows, groups.subset(chosen), Population.of(rows), START, {})


def explained(
    *, size: int = 40, moved: int = ALIKE, purpose: float = 0.0, excess: float = 3.0, **changed: float
) -> bool:
    columns = {name: np.array([value]) for name, value in (RESOLD | changed).items()}
    terms = {signal.name: np.zeros(1) for signal in SIGNALS} | {"flat_day": np.array([purpose])}
    view = view_of(people_and_pool(size, moved), CARD)
    return bool(explained_by_resale(columns, terms, view, np.array([excess]))[0])


def test_a_pool_that_asks_what_everyone_asks_is_explained_by_resale() -> None:
    assert explained()


def test_a_pool_that_asks_something_else_is_not() -> None:
    assert not explained(moved=OTHERS)


@pytest.mark.parametrize(
    "purpose",
    [{"shared_template": 0.15}, {"capability_focus": 1.3}, {"capability_focus": float("nan")}, {"purpose": 1.5}],
)
def test_a_purpose_is_not_explained_by_resale(purpose: dict[str, Any]) -> None:
    assert not explained(**purpose)


@pytest.mark.parametrize("customers", [{"shared_template": 0.15}, {"moved": OTHERS}])
def test_what_one_large_customer_asks_counts_against_a_clearly_suspicious_pool(customers: dict[str, Any]) -> None:
    assert explained(excess=1.0, **customers)
    assert not explained(excess=1.0, purpose=1.5, **customers)
    assert not explained(excess=3.0, **customers)


def test_what_is_not_suspicious_needs_no_explanation() -> None:
    assert not explained(excess=-0.1)


def test_a_template_that_one_member_of_few_shows_is_not_shared() -> None:
    assert explained(size=8, shared_template=0.125)
    assert not explained(size=40, shared_template=0.125)


def test_what_few_prompts_show_is_no_difference() -> None:
    rows = people_and_pool(40, OTHERS)
    rows["prompts"] = 4
    assert np.isnan(prompt_difference(view_of(rows, CARD))).all()


def test_hardly_any_group_of_people_differs_from_people() -> None:
    rows = people_and_pool(40, OTHERS)
    cards = np.random.default_rng(3).integers(1, 101, len(rows))
    mine = rows["values"][:, Kind.PAYMENT] == CARD
    rows["values"][:, Kind.PAYMENT] = np.where(mine, CARD, cards)
    difference = prompt_difference(view_of(rows, *range(1, 101)))
    assert len(difference) > 90
    assert (difference > 0.0).mean() <= 0.1
    assert prompt_difference(view_of(rows, CARD)) > difference.max()


@pytest.mark.parametrize(("total", "size", "reported"), [(-3.0, 20, True), (-3.0, 19, False), (-9.0, 600, False)])
def test_only_what_is_large_and_bound_beyond_chance_is_reported(total: float, size: int, *, reported: bool) -> None:
    assert looks_resold({name: np.array([value]) for name, value in RESOLD.items()}, np.array([40])).all()
    assert bool(worth_a_report(np.array([size]), np.array([total]), PRIOR)[0]) is reported


def test_few_members_differ_from_everyone_by_chance() -> None:
    narrow = {name: np.array([value]) for name, value in {**RESOLD, "capability_focus": 0.8}.items()}
    assert looks_resold(narrow, np.array([9])).all()
    assert not looks_resold(narrow, np.array([40])).any()


def judged(moved: int) -> list[Suspicion]:
    """A pool on one card and one client, signed up within an hour, used evenly; a quarter has company mail."""
    rows, keys = pool_rows(40, 101)
    usual, _ = honest_rows(40, 7)
    for name in ("capability", "templates", "template_share", "day_shape", "gap_var", "topic"):
        rows[name] = usual[name]
    rows["capability"] *= (rows["events"] / usual["events"])[:, None]
    rows["values"][:, Kind.EMAIL_CLASS] = np.where(np.arange(40) % 4, DISPOSABLE, CORPORATE)
    rows["values"][:, [Kind.TLS, Kind.HEADER, Kind.CLIENT]] = 99
    rows["topic"] += np.int8(moved)
    stage = ClustersStage(0, 1, Policy())
    found = stage.apply(int(START // 60.0), [delta(int(START // 60.0), honest_rows(1_500, 1), (rows, keys))])
    assert found is not None
    return [suspicion for suspicion in found.suspicions if suspicion.kind is Kind.PAYMENT]


def test_the_same_pool_is_suspicious_or_reported_as_resold_by_what_it_asks() -> None:
    assert [suspicion.resold for suspicion in judged(OTHERS)] == [False]
    assert [suspicion.resold for suspicion in judged(ALIKE)] == [True]
